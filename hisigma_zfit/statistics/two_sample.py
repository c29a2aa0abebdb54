"""Do two samples come from one density?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from scipy.stats import permutation_test, rankdata

from hisigma_zfit.arrays import Array, Mask
from hisigma_zfit.errors import InputError
from hisigma_zfit.results import GoodnessOfFit

__all__ = [
    "Method",
    "two_sample",
]


Method = Literal["classifier", "energy", "neighbours"]
# labels, shape (n,), and their statistic: labels of shape (..., n) and the axis of events, -1, to shape (...)
Exchangeable = tuple[tuple[Mask], Callable[[Mask, int], Array]]

_NEIGHBOURS = 10
_BLOCK = 64  # permutations at a time
_ROWS = 512  # of the matrix of distances at a time
# events of each kind at most: the energy distance needs all pairs, the others do not
_MAX_EVENTS = {"classifier": 50_000, "energy": 2_500, "neighbours": 20_000}


def two_sample(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    method: Method = "classifier",
    permutations: int = 499,
    max_events: int | None = None,
    seed: int,
) -> GoodnessOfFit:
    """Test that two samples come from one density.

    Args:
        x: Data, shape (n, d).
        y: Events of the model, shape (m, d).
        method: See the module's text.
        permutations: Number of permutations of the labels.
        max_events: Events of each kind at most, drawn at random.
        seed: Seed of everything that is random.

    Raises:
        InputError: Fewer than 50 events in a sample, other numbers of columns, or an unknown method.
    """
    _require_method(method)
    rng = np.random.default_rng(seed)
    first, second = (
        rng.permutation(np.asarray(sample, dtype=np.float64))[: max_events or _MAX_EVENTS[method]] for sample in (x, y)
    )
    if min(len(first), len(second)) < 50 or first.shape[1:] != second.shape[1:] or first.ndim != 2:
        raise InputError.from_parts(
            expected="two samples of at least 50 events with the same columns",
            got=f"shapes {first.shape} and {second.shape}",
            do="loosen the selection",
        )
    events = np.concatenate([first, second])
    labels = np.arange(len(events)) < len(first)
    prepare = {"classifier": _classifier, "energy": _energy, "neighbours": _neighbours}[method]
    test = permutation_test(
        *prepare(events, labels, rng),
        permutation_type="pairings",  # of labels with events
        vectorized=True,
        n_resamples=permutations,
        batch=_BLOCK,
        alternative="greater",
        rng=rng,
    )
    return GoodnessOfFit(
        method=method,
        statistic=float(test.statistic),
        null=np.asarray(test.null_distribution),
        p_value=float(test.pvalue),
        n_data=len(first),
        n_model=len(second),
        seed=seed,
    )


def _require_method(method: str) -> None:
    if method not in get_args(Method):
        raise InputError.from_parts(
            expected=f"a method among {', '.join(get_args(Method))}", got=repr(method), do="choose one"
        )


def _classifier(events: Array, labels: Mask, rng: np.random.Generator) -> Exchangeable:
    """AUC on the events that the trees have not seen: there labels are exchangeable, whatever was learned."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    train = rng.permuted(np.arange(len(events)) % 2 == 0)
    # shallow trees with a generous leaf: over-training costs power, though never validity
    model = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=max(10, len(events) // 40),
        early_stopping=False,
        random_state=int(rng.integers(2**31)),
    )
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for busy cores cost a factor of ten
        model.fit(events[train], labels[train])
        ranks = rankdata(model.decision_function(events[~train]))

    def auc(held: Mask, axis: int) -> Array:
        n = held.sum(axis=axis)
        area: Array = (held @ ranks - n * (n + 1) / 2) / (n * (len(ranks) - n))
        return area

    return (labels[~train],), auc


def _normal_scores(events: Array) -> Array:
    """Every column replaced by the normal quantiles of its ranks in both samples: no scale is left to choose."""
    return np.asarray(ndtri((rankdata(events, axis=0) - 0.5) / len(events)))


def _energy(events: Array, labels: Mask, _: np.random.Generator) -> Exchangeable:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|: zero for equal densities, positive for all others."""
    scores = _normal_scores(events)
    distance = np.empty((len(scores),) * 2, dtype=np.float32)
    for start in range(0, len(scores), _ROWS):
        distance[start : start + _ROWS] = cdist(scores[start : start + _ROWS], scores)
    n = labels.sum()

    def energy(rows: Mask, axis: int) -> Array:
        z = np.where(rows, 1.0 / n, -1.0 / (len(labels) - n)).astype(np.float32)
        return np.asarray(-np.sum(z * (z @ distance), axis=axis, dtype=np.float64))

    return (labels,), energy


def _neighbours(events: Array, labels: Mask, _: np.random.Generator) -> Exchangeable:
    """Fraction of the nearest neighbours in the mixed sample that are of the event's own kind."""
    scores = _normal_scores(events)
    near = KDTree(scores).query(scores, k=_NEIGHBOURS + 1)[1][:, 1:]

    def same(rows: Mask, axis: int) -> Array:
        kin = [np.count_nonzero(rows.take(other, axis) == rows, axis) for other in near.T]
        return np.asarray(np.sum(kin, axis=0) / near.size)

    return (labels,), same
