"""What a search found, to be looked at: its features beside the background, the mass of the events that it likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.density.gaussianised import drawn_background, window_transform
from hisigma_zfit.inference.blobs import Points
from hisigma_zfit.inference.search_scene import fold_of
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.results.anomaly import LearnedFeature
from hisigma_zfit.results.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hisigma_zfit.arrays import Array, Integers, Mask
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.model.spectrum import Spectrum

__all__ = ["enriched_mass", "feature_scores", "learned_events", "learned_features"]

BINS = 40
SHOWN = 20_000  # events of the learned signal, and of the background in the window
GENERATED = 200_000  # background events of the whole range
ENRICHED = 0.01  # share of the window's events that is kept
_SIGNAL, _MASS, _BACKGROUND, _RANGE, _RANGE_FEATURES, _FOLDS = range(50, 56)  # streams, after those of the search


def learned_events(found: FoundSignal, n: int) -> dict[str, Array]:
    """Events of the learned signal: mass and features by name, at most n, for those in the background's domain."""
    here = found.scene
    x, m = here.place.inverse(found.blobs.sample(n, stream(found.result.seed, Purpose.SEARCH, _SIGNAL)))
    known = here.background.inside(x, m)
    return dict(zip(here.names, np.column_stack([m, x])[known].T, strict=True))


def learned_features(
    found: FoundSignal,
    *,
    properties: Mapping[str, Callable[[Mapping[str, Array]], Array]] | None = None,
    truth: Mask | None = None,
) -> tuple[LearnedFeature, ...]:
    """Mass, features and properties of the learned signal and of the learned background, in bins.

    Args:
        found: The search.
        properties: Further observables, as in `find_signal`.
        truth: Which of the search's events are known to be signal, shape (n,).
    """
    here, seed = found.scene, found.result.seed
    signal = learned_events(found, SHOWN)
    rng, own = stream(seed, Purpose.SEARCH, _MASS), seed_for(seed, Purpose.SEARCH, _BACKGROUND)
    x, m = drawn_background(here.background, here.place.mass, SHOWN, rng, seed=own)
    background = dict(zip(here.names, np.column_stack([m, x]).T, strict=True))
    known: dict[str, Array] = {}
    if truth is not None and truth.any():
        known = dict(zip(here.names, here.observables[truth].T, strict=True))
    samples = (background, signal, known)
    for name, function in (properties or {}).items():
        for events in samples:
            if events:
                events[name] = np.asarray(function(events), dtype=np.float64)
    names = (*here.names, *(properties or {}))
    return tuple(_feature(name, background[name], signal[name], known.get(name)) for name in names)


def _feature(name: str, background: Array, signal: Array, truth: Array | None) -> LearnedFeature:
    # events of densities may lie where a property is not defined
    background, signal = (values[np.isfinite(values)] for values in (background, signal))
    both = np.concatenate([background, signal])
    low, high = map(float, np.quantile(both, [0.002, 0.998]))
    edges = np.linspace(low, high, BINS + 1)

    def density(values: Array) -> Array:
        counts, _ = np.histogram(values, edges, density=True)
        return np.asarray(counts)

    if truth is None:
        return LearnedFeature(name, edges, density(background), density(signal))
    # fewer events, wider bins
    coarse = edges[::4]
    counts, _ = np.histogram(truth, coarse)
    scale = 1.0 / (max(counts.sum(), 1) * np.diff(coarse))
    return LearnedFeature(
        name,
        edges,
        density(background),
        density(signal),
        counts * scale,
        np.sqrt(counts) * scale,
    )


def feature_scores(found: FoundSignal, x: Array, m: Array, folds: Integers) -> Array:
    """Log p_s(x) / p_b(x | m) at any mass, by the lumps that were learned without an event's fold.

    The mass itself does not count, so that it is not sculpted by more than the background's features depend on it.

    Args:
        found: The search.
        x: Features, shape (n, d).
        m: Masses, shape (n,); need not be in the window.
        folds: Fold of each event, shape (n,).

    Returns:
        Shape (n,); minus infinity outside of the background's domain.
    """
    here, scores = found.scene, np.full(len(m), -np.inf)
    inside = here.background.inside(x, m)
    y, log_background = here.place.features_forward(here.background, x[inside], m[inside])
    points = Points.of(y, log_background)
    own = np.empty(len(y))
    for fold, blobs in enumerate(found.parts):
        rows = folds[inside] == fold
        own[rows] = blobs.without_mass.log_ratio(points.select(rows))[:, 0]
    scores[inside] = own
    return scores


def enriched_mass(found: FoundSignal, data: Dataset, spectrum: Spectrum, *, bins: int = BINS) -> Projection:
    """Mass of the events whose features the search likes best, over the whole range, with the background's expectation.

    The events are the best percent of the window's, by cross-fitted scores that do not know the mass; the expectation
    is that of generated background with the spectrum of the sidebands.

    Args:
        found: The search.
        data: Events of the whole range.
        spectrum: The mass spectrum from the sidebands.
        bins: Of the whole range.
    """
    here, seed, given = found.scene, found.result.seed, found.result.given
    folds = len(found.parts)
    m = data[given]
    inside = (m >= spectrum.limits[0]) & (m < spectrum.limits[1])
    data, m = data.select(inside), m[inside]
    scores = feature_scores(found, data.array(here.place.features), m, fold_of(data.identity, seed, folds))
    low, high = found.result.region
    window = scores[(m >= low) & (m < high)]
    cut = float(np.quantile(window, 1.0 - ENRICHED))
    edges = np.linspace(*spectrum.limits, bins + 1)
    counts, _ = np.histogram(m[scores > cut], edges)
    whole = window_transform(spectrum.density, spectrum.limits, name=given)
    rng, own = stream(seed, Purpose.SEARCH, _RANGE), seed_for(seed, Purpose.SEARCH, _RANGE_FEATURES)
    x, drawn = drawn_background(here.background, whole, GENERATED, rng, seed=own)
    chosen = stream(seed, Purpose.SEARCH, _FOLDS).integers(folds, size=GENERATED)
    kept = feature_scores(found, x, drawn, chosen) > cut
    template, _ = np.histogram(drawn[kept], edges)
    scale = spectrum.events / GENERATED
    return Projection(
        observable=given,
        edges=edges,
        data=counts.astype(np.float64),
        data_variance=counts.astype(np.float64),
        components={"background": template * scale},
        component_variance={"background": template * scale**2},
        selection=f"best {100 * ENRICHED:g} % by features",
    )
