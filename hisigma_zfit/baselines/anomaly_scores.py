"""Scores of events by what else a search for an unknown signal could do, and by the search itself.

- `lump_scores`, `cross_fitted_scores`: of the search, with and without the mass;
- `weak_classifier`: events of the window against events that the learned background draws, as CATHODE does
  (arXiv:2109.00546);
- `supervised_classifier`: what is possible where the signal is known;
- `residual_fit`, `residual_scores`: a flow as the signal's density, as R-ANODE does (arXiv:2312.11629).

`statistics.significance_improvement` makes a curve of each.  No event is scored by what has seen it: not those of a
classifier's own training, which folds take care of, and not others, which are new to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from hisigma_zfit.baselines.classifiers import Classifier, CrossFit, cross_fit, train_classifier, with_folds
from hisigma_zfit.data import Dataset
from hisigma_zfit.density.gaussianised import drawn_background, log_normal
from hisigma_zfit.density.residual import ResidualFit, train_residual
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.blobs import Blobs, Points
from hisigma_zfit.learn.streams import Purpose, seed_for, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.inference.search_scene import Scene

__all__ = [
    "Scores",
    "averaged_trees",
    "background_events",
    "cross_fitted_scores",
    "lump_scores",
    "place_events",
    "residual_fit",
    "residual_scores",
    "supervised_classifier",
    "weak_classifier",
]

FOLDS = 5
SEEDS = 6  # classifiers whose log odds are averaged
TIMES = 4  # as many events of the background as of data, for their noise not to matter
_MASSES, _FEATURES, _TREES = range(3)  # streams


@dataclass(frozen=True)
class Scores:
    """Log ratios of signal to background.

    Attributes:
        x_only: log p_s(x) / p_b(x | m), shape (n,): the same for a signal at any mass.
        joint: log p_s(m, x) / p_b(m, x), shape (n,).
    """

    x_only: Array
    joint: Array


def lump_scores(here: Scene, blobs: Blobs, events: Dataset) -> Scores:
    """Score events that were not searched, such as simulated ones, by the best lumps of a search.

    Args:
        here: What was searched; for the coordinates and the background.
        blobs: Lumps, those of the first search are taken.
        events: Events of the window.

    Returns:
        Of each event, -inf where the background's density is not defined.

    Raises:
        InputError: Events outside of the window, or several on an edge of a feature.
    """
    points, known = place_events(here, events)
    inner = _scores(blobs.take(np.array([0])), points)
    x_only, joint = np.full((2, len(events)), -np.inf)
    x_only[known], joint[known] = inner.x_only, inner.joint
    return Scores(x_only, joint)


def place_events(here: Scene, events: Dataset) -> tuple[Points, Integers]:
    """Coordinates and background density of further events, as a search sees its own.

    Args:
        here: What was searched.
        events: Events of the window.

    Returns:
        Points of the events in the background's domain, and their rows.

    Raises:
        InputError: Events outside of the window, or several on an edge of a feature.
    """
    place = here.place
    x, m = events.array(place.features), events[place.given]
    low, high = place.mass.marginals[0].limits
    if not len(m) or m.min() < low or m.max() > high:
        raise InputError.from_parts(
            expected=f"events with {place.given} from {low:g} to {high:g}",
            got=f"{len(m)} events" if not len(m) else f"{m.min():g} to {m.max():g}",
            do="select those of the window",
        )
    known = np.flatnonzero(here.background.inside(x, m))
    x, m = x[known], m[known]
    y, log_jacobian = place.forward(x, m)
    return Points.of(y, place.log_background(here.background, x, m, log_jacobian=log_jacobian)), known


def cross_fitted_scores(found: FoundSignal) -> Scores:
    """Score the events that were searched, each by the lumps that were learned without its fold.

    Args:
        found: The search.

    Returns:
        In the order of `found.scores`, which is the joint score.
    """
    points, x_only = found.scene.points, np.empty(len(found.folds))
    for fold, blobs in enumerate(found.parts):
        own = found.folds == fold
        x_only[own] = _scores(blobs, points.select(own)).x_only
    return Scores(x_only, found.scores)


def _scores(blobs: Blobs, points: Points) -> Scores:
    """A lump without its mass is its marginal, the background given the mass is p_b(y) / phi(y_0)."""
    given = Points.of(points.y[:, 1:], points.log_background - log_normal(points.y[:, 0]))
    return Scores(blobs.without_mass.log_ratio(given)[:, 0], blobs.log_ratio(points)[:, 0])


def background_events(here: Scene, n: int, *, seed: int) -> Dataset:
    """Draw from the learned background in the window.

    Args:
        here: What is searched.
        n: Events.
        seed: Same seed, same events.
    """
    place = here.place
    rng = stream(seed, Purpose.COMPARISON_SCORES, _MASSES)
    own = seed_for(seed, Purpose.COMPARISON_SCORES, _FEATURES)
    x, m = drawn_background(here.background, place.mass, n, rng, seed=own)
    return Dataset.from_arrays({place.given: m, **dict(zip(place.features, x.T, strict=True))})


def residual_fit(here: Scene, *, seed: int, **options: Any) -> ResidualFit:
    """Learn the signal's density as a flow, on folds; see `train_residual`, which takes the options.

    Args:
        here: What is searched.
        seed: Of everything that is random.
        options: Of `train_residual`.
    """
    return train_residual(*_on_the_cube(here.points), identity=here.identity, seed=seed, **options)


def residual_scores(here: Scene, fit: ResidualFit, events: Dataset) -> Scores:
    """Score events that were not searched, as `lump_scores` does, by a learned flow.

    Args:
        here: What was searched.
        fit: The flow.
        events: Events of the window.

    Raises:
        InputError: As for `lump_scores`.
    """
    points, known = place_events(here, events)
    x_only, joint = np.full((2, len(events)), -np.inf)
    joint[known], x_only[known] = fit.log_ratios(*_on_the_cube(points))
    return Scores(x_only, joint)


def _on_the_cube(points: Points) -> tuple[Array, Array]:
    """Levels of the features and, last, of the mass; and the background's density of these."""
    return ndtr(np.roll(points.y, -1, axis=1)), points.log_background - log_normal(points.y).sum(axis=1)


def weak_classifier(
    data: Dataset,
    background: Dataset,
    features: Sequence[str],
    *,
    folds: int = FOLDS,
    seeds: int = SEEDS,
    seed: int,
) -> CrossFit:
    """Tell data of the window from background; what it can tell apart is signal (arXiv:2109.00546).

    Args:
        data: Events of the window.
        background: Events of the background, `background_events` of the learned one, at least four for each of data.
        features: Columns to use; the mass is none of them, or the score would shape the spectrum.
        folds: Parts of the data that are scored by classifiers that have not seen them.
        seeds: Classifiers of each fold, whose log odds are averaged.
        seed: Of everything that is random.

    Returns:
        Scores `classifiers.with_folds(data, folds)`; its `mean()` scores events that are in neither sample.

    Raises:
        InputError: Too few events of background, fewer than two folds, no seeds, or as for `train_classifier`.
    """
    if len(background) < TIMES * len(data):
        raise InputError.from_parts(
            expected=f"at least {TIMES * len(data)} background events",
            got=str(len(background)),
            do="draw more: their fluctuations look like signal",
        )
    return _cross_fitted(data, background, features, folds=folds, seeds=seeds, seed=seed)


def supervised_classifier(
    signal: Dataset,
    background: Dataset,
    features: Sequence[str],
    *,
    folds: int = FOLDS,
    seeds: int = 1,
    seed: int,
) -> CrossFit:
    """Tell signal from background where both are known: what a search for that signal could reach.

    Args:
        signal: Signal events of the window.
        background: Background events of the window.
        features: Columns to use.
        folds: Parts that are scored by classifiers that have not seen them.
        seeds: Classifiers of each fold, whose log odds are averaged.
        seed: Of everything that is random.

    Returns:
        Scores `classifiers.with_folds` of either sample.

    Raises:
        InputError: Fewer than two folds, no seeds, or as for `train_classifier`.
    """
    return _cross_fitted(signal, background, features, folds=folds, seeds=seeds, seed=seed)


def _cross_fitted(
    signal: Dataset, background: Dataset, features: Sequence[str], *, folds: int, seeds: int, seed: int
) -> CrossFit:
    if seeds < 1:
        raise InputError.from_parts(expected="seeds >= 1", got=str(seeds), do="raise seeds")

    def train(signal: Dataset, background: Dataset, fold: int) -> Classifier:
        return averaged_trees(signal, background, features, seeds=seeds, seed=seed, fold=fold)

    return cross_fit(with_folds(signal, folds), with_folds(background, folds), folds, train)


def averaged_trees(
    signal: Dataset, background: Dataset, features: Sequence[str], *, seeds: int = SEEDS, seed: int, fold: int = 0
) -> Classifier:
    """Boosted trees of several seeds, whose log odds are averaged; for events that are in neither sample.

    Args:
        signal: Events of one kind.
        background: Events of the other kind; both kinds have the same total weight.
        features: Columns to use.
        seeds: Classifiers.
        seed: Of everything that is random.
        fold: Part of the events that they are trained without, for other seeds.

    Raises:
        InputError: As for `train_classifier`.
    """
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    # one thread: on a busy machine the threads wait for each other many times longer than they work
    with threadpool_limits(1, user_api="openmp"):
        members = [
            train_classifier(
                signal,
                background,
                features,
                kind="large trees",
                seed=seed_for(seed, Purpose.COMPARISON_SCORES, _TREES, fold, k) % 2**32,
            )
            for k in range(seeds)
        ]

    def log_odds(values: Array) -> Array:
        return np.asarray(np.mean([member.log_odds(values) for member in members], axis=0))

    return Classifier(tuple(features), log_odds)
