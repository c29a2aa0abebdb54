"""Classifiers of signal against background, for the strategies that the method is compared with.

`train_classifier` trains one, `cross_fit` several on all events but a part, so that every simulated event has a score
of a classifier that has not seen it, and `train_ratio` one that sees the mass as a known shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import zfit

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset

__all__ = ["FOLD", "Classifier", "CrossFit", "cross_fit", "train_classifier", "train_ratio", "with_folds"]

Kind = Literal["trees", "large trees", "net"]

FOLD = "fold"  # column with the part of the sample to which an event belongs

_BINS = 255  # of a feature, as scikit-learn's trees have
_TREES: dict[str, dict[str, Any]] = {
    "trees": {
        "max_iter": 600,
        "max_leaf_nodes": 8,  # small trees and many: deep ones overshoot where signal is purest
        "min_samples_leaf": 200,
        "l2_regularization": 20.0,
        "validation_fraction": 0.15,
        "n_iter_no_change": 20,
    },
    # what searches for anomalies use: a small signal among many events needs deep cuts
    "large trees": {"max_iter": 100, "max_leaf_nodes": 31, "l2_regularization": 1.0},
}

# of the net
_HIDDEN = 3
_BATCH = 1024


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        names: Columns that it sees.
        log_odds: From columns of shape (n, d) to log odds of shape (n,), for classes of equal size.
    """

    names: tuple[str, ...]
    log_odds: Callable[[Array], Array]

    def __call__(self, events: Dataset) -> Array:
        """Estimate log p_s(x) / p_b(x) of the events, shape (n,)."""
        return self.log_odds(events.array(self.names))


@dataclass(frozen=True)
class CrossFit(Classifier):
    """Classifiers that have each seen all folds but one; an event is scored by the one that has not seen its fold.

    Attributes:
        members: The classifiers, by the fold that each has not seen.
    """

    members: tuple[Classifier, ...] = ()

    def mean(self) -> Classifier:
        """Mean of the log odds of all members: better than each, for events that none has seen."""

        def log_odds(values: Array) -> Array:
            return np.asarray(np.mean([member.log_odds(values) for member in self.members], axis=0))

        return Classifier(self.members[0].names, log_odds)


def train_classifier(
    signal: Dataset, background: Dataset, names: Sequence[str], *, kind: Kind = "trees", seed: int
) -> Classifier:
    """Train a classifier on simulated events, both classes with the same total weight.

    Args:
        signal: Simulated signal; its weights, if there are any, count.
        background: Simulated background, likewise.
        names: Columns to use.
        kind: ``"trees"``: scikit-learn's histogram gradient boosting; ``"large trees"``: the same with fewer and larger
            trees, as `anomaly_scores` uses them; ``"net"``: a dense Keras net as in the paper.
        seed: Seed of the split for early stopping and of the start.

    Raises:
        InputError: Negative weights, too few events, or another kind.
    """
    if min(len(signal), len(background)) < 100:
        raise InputError.from_parts(
            expected="at least 100 events of each kind",
            got=f"{len(signal)} of signal and {len(background)} of background",
            do="give more simulated events",
        )
    if kind not in get_args(Kind):
        raise InputError.from_parts(
            expected=f"kind to be one of {', '.join(get_args(Kind))}", got=repr(kind), do="correct it"
        )
    x = np.concatenate([signal.array(names), background.array(names)])
    y = np.repeat([1, 0], [len(signal), len(background)])
    shares = [
        np.ones(len(events)) if events.weights is None else events.weights
        for events in (signal.require_nonnegative_weights(), background.require_nonnegative_weights())
    ]
    weight = np.concatenate([0.5 * len(y) * share / share.sum() for share in shares])
    if kind == "net":
        return Classifier(tuple(names), _net(x, y, weight, seed))
    if kind == "trees":
        return Classifier(tuple(names), _trees(x, y, weight, seed, _TREES[kind]))
    # scikit-learn looks for the edges of weighted bins one by one, which takes nine tenths of a training
    edges = [_edges(column, weight) for column in x.T]
    log_odds = _trees(_binned(x, edges), y, weight, seed, _TREES[kind])
    return Classifier(tuple(names), lambda values: log_odds(_binned(values, edges)))


def with_folds(events: Dataset, n: int) -> Dataset:
    """Events with a column `FOLD`: their row modulo n."""
    return events.with_columns(**{FOLD: np.arange(len(events)) % n})


def cross_fit(
    signal: Dataset, background: Dataset, n: int, train: Callable[[Dataset, Dataset, int], Classifier]
) -> CrossFit:
    """Train n classifiers, each on all folds of the events but one.

    An event is scored by the classifier that has not seen its fold.  Score data of the same kind with `with_folds`:
    their scores then have the distribution of those of the simulated events, all of which may so define cuts and
    templates.

    Args:
        signal: Simulated signal with a column `FOLD`.
        background: Simulated background, likewise.
        n: Number of folds, at least two.
        train: Makes a classifier of signal, background and the number of the fold that is left out.

    Returns:
        A classifier of the same columns and of `FOLD`.

    Raises:
        InputError: Fewer than two folds.
    """
    if n < 2:
        raise InputError.from_parts(expected="two or more folds", got=str(n), do="use train_classifier for none")
    members = []
    for k in range(n):
        seen_s, seen_b = (events.select(events[FOLD] != k) for events in (signal, background))
        members.append(train(seen_s, seen_b, k))

    def log_odds(values: Array) -> Array:
        result = np.empty(len(values))
        for k, member in enumerate(members):
            mine = values[:, -1] == k
            if mine.any():
                result[mine] = member.log_odds(values[mine, :-1])
        return result

    return CrossFit((*members[0].names, FOLD), log_odds, tuple(members))


def train_ratio(
    signal: Dataset,
    background: Dataset,
    features: Sequence[str],
    *,
    mass: zfit.Space,
    kind: Kind = "net",
    seeds: Sequence[int],
) -> Classifier:
    """Learn log p_s(x) / p_b(x) as the ratio of mass shapes times that of the features given the mass.

    A narrow peak is hard to learn and easy to write down.  The classifiers see signal whose masses are drawn from the
    background, so that they learn p_s(x') / p_b(x'|m) with background of all masses; the signal's features may not
    depend on its mass inside the narrow peak.

    Args:
        signal: Simulated signal.
        background: Simulated background.
        features: Columns besides the mass.
        mass: Space of the mass.
        kind: See `train_classifier`.
        seeds: One for each classifier; their log odds are averaged.

    Raises:
        InputError: As for `train_classifier`.
    """
    import zfit

    from hisigma_zfit.model.shapes import ExpQuadratic, evaluate, fit_shape

    name = mass.obs[0]
    background.require_nonnegative_weights()
    peak = fit_shape(zfit.pdf.DoubleCB, signal, mass)
    falling = fit_shape(ExpQuadratic, background, mass)
    share = None if background.weights is None else background.weights / background.weights.sum()
    masses = stream(seeds[0], Purpose.BASELINE, 0).choice(background[name], len(signal), p=share)
    moved = signal.with_columns(**{name: masses})
    members = [train_classifier(moved, background, (name, *features), kind=kind, seed=seed) for seed in seeds]

    def log_odds(values: Array) -> Array:
        m = values[:, 0]
        shapes = np.log(np.maximum(evaluate(peak, m), 1e-300)) - np.log(evaluate(falling, m))
        return np.asarray(shapes + np.mean([member.log_odds(values) for member in members], axis=0))

    return Classifier((name, *features), log_odds)


def _edges(values: Array, weight: Array) -> Array:
    """Edges between bins of the same weight, no more than scikit-learn keeps as they are."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return np.unique(values[order][np.searchsorted(total, total[-1] * np.arange(1, _BINS) / _BINS)])


def _binned(values: Array, edges: Sequence[Array]) -> Array:
    """Numbers of the bins, shape (n, d)."""
    columns = [np.searchsorted(own, column) for own, column in zip(edges, values.T, strict=True)]
    return np.stack(columns, axis=1).astype(np.float64)


def _trees(
    x: Array, y: npt.NDArray[np.int64], weight: Array, seed: int, options: Mapping[str, Any]
) -> Callable[[Array], Array]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(learning_rate=0.1, early_stopping=True, random_state=seed, **options)
    model.fit(x, y, sample_weight=weight)

    def log_odds(values: Array) -> Array:
        return np.asarray(model.decision_function(values), dtype=np.float64)

    return log_odds


def _net(x: Array, y: npt.NDArray[np.int64], weight: Array, seed: int) -> Callable[[Array], Array]:
    import tf_keras as keras

    centre, width = x.mean(axis=0), x.std(axis=0)
    # every start has a seed of its own, so that the random numbers of the process are left alone
    seeds = stream(seed, Purpose.BASELINE, 2).integers(2**31, size=_HIDDEN + 1).tolist()
    starts = (keras.initializers.GlorotUniform(seed=start) for start in seeds)
    layers = [keras.layers.Dense(64, activation="swish", kernel_initializer=next(starts)) for _ in range(_HIDDEN)]
    model: Any = keras.Sequential([*layers, keras.layers.Dense(1, kernel_initializer=next(starts))])
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    rng = stream(seed, Purpose.BASELINE, 1)
    order = rng.permutation(len(y))
    columns = ((x - centre) / width)[order], y[order], weight[order]
    n = int(0.85 * len(y))
    model.fit(
        _batches([column[:n] for column in columns], rng),
        steps_per_epoch=-(-n // _BATCH),
        epochs=30,
        validation_data=tuple(column[n:] for column in columns),
        callbacks=[keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)],
        verbose=0,
    )

    def log_odds(values: Array) -> Array:
        return np.asarray(model.predict((values - centre) / width, batch_size=16_384, verbose=0)[:, 0], np.float64)

    return log_odds


def _batches(columns: Sequence[npt.NDArray[Any]], rng: np.random.Generator) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Columns in batches, epoch after epoch, each in another order."""
    while True:
        order = rng.permutation(len(columns[0]))
        for start in range(0, order.size, _BATCH):
            yield tuple(column[order[start : start + _BATCH]] for column in columns)
