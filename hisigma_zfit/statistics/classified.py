"""Statistical tests behind `diagnostics`: arrays in, numbers out; no knowledge of flows and data sets.

x are data, y are samples of the model, m are masses, w and v are weights of x and y.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy import stats

from hisigma_zfit.arrays import Array

__all__ = ["Classified", "Conditional", "Marginal", "classify", "conditional_pit", "conditional_test", "marginal_test"]

LogProb = Callable[[Array, Array], Array]

_MARGINAL_BINS = 40
# fine at both ends: where an edge moves, the transform of the data is empty in a thin layer at 0 or 1
_PIT_EDGES = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1])
_SLICES = 6
_FOLDS = 3
_CLASSIFIER_BINS = 200


def conditional_pit(
    log_prob: LogProb,
    x: Array,
    m: Array,
    j: int,
    *,
    proposal: Array,
    rng: np.random.Generator,
    points: int = 32,
    atoms: Sequence[float] = (),
) -> Array:
    """Integral transform of p(x_j | all other features, m); uniform, whatever x and m, when the density is right.

    No quadrature error: the value u of the proposal's CDF at x_j and its shifts u + i / points (mod 1) are equally
    likely under the proposal q, so under p the event is the i-th of them with probability w_i / sum w, w = p / q.  A
    random position inside its share of the cumulative weights is then exactly uniform; few points cost power only.
    An atom is an interval of u, in which an event at the atom has a random place.

    Args:
        log_prob: log p(x|m) of events (n, d) and masses (n,), not necessarily normalised.
        x: Events, shape (n, d).
        m: Masses, shape (n,).
        j: Column of the feature.
        proposal: Values of the feature that cover its range, such as flow samples; their histogram is q.
        rng: For the position inside the event's share.
        points: Densities by event.
        atoms: Values of the feature with a probability of their own.

    Returns:
        Shape (n,), in [0, 1].
    """
    own = _Proposal.of(np.concatenate([proposal, x[:, j]]), np.array(atoms, dtype=np.float64))
    u = (own.levels_of(x[:, j], rng)[:, None] + np.arange(points) / points) % 1.0
    candidates, log_q = own.values_at(u)
    candidates[:, 0] = x[:, j]  # not moved by rounding: at a hard edge that would cost its density
    shifted = np.repeat(x, points, axis=0)
    shifted[:, j] = candidates.ravel()
    log_p = log_prob(shifted, np.repeat(m, points)).reshape(u.shape)
    log_w = log_p - log_q
    # an event to which the model gives no density anywhere has a largest weight of -inf: compare with 0 instead
    top = log_w.max(axis=1, keepdims=True)
    weight = np.exp(log_w - np.where(np.isfinite(top), top, 0.0))
    below = np.sum(weight * (u < u[:, :1]), axis=1)
    total = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
    pit: Array = (below + rng.random(len(x)) * weight[:, 0]) / total
    return pit


@dataclass(frozen=True)
class _Proposal:
    """A histogram, and atoms with their shares: the levels of its CDF from 0 to 1 begin with those of the atoms.

    Attributes:
        knots: Of the histogram, shape (k,).
        levels: Of the CDF at the knots, shape (k,).
        atoms: Those that it has, shape (a,).
        ends: Of the atoms' intervals, shape (a + 1,), from 0 to the first level.
    """

    knots: Array
    levels: Array
    atoms: Array
    ends: Array

    @classmethod
    def of(cls, values: Array, atoms: Array) -> Self:
        counts = np.array([np.sum(values == atom) for atom in atoms])
        atoms, counts = atoms[counts > 0], counts[counts > 0]
        ends = np.append(0.0, np.cumsum(counts)) / len(values)
        beside = values[~np.isin(values, atoms)]
        levels = np.linspace(0.0, 1.0, 101)
        if len(beside) < 2:  # atoms alone
            return cls(np.empty(0), np.empty(0), atoms, ends / ends[-1])
        knots, first = np.unique(np.quantile(beside, levels), return_index=True)
        levels = np.append(levels[first[:-1]], 1.0)
        return cls(knots, ends[-1] + (1.0 - ends[-1]) * levels, atoms, ends)

    def levels_of(self, x: Array, rng: np.random.Generator) -> Array:
        """Of values, shape (n,)."""
        if not len(self.atoms):
            return np.interp(x, self.knots, self.levels)
        at = np.isin(x, self.atoms)
        number = np.where(at, np.searchsorted(self.atoms, x), 0)
        inside = self.ends[number] + rng.random(len(x)) * np.diff(self.ends)[number]
        return np.where(at, inside, np.interp(x, self.knots, self.levels) if len(self.knots) else inside)

    def values_at(self, u: Array) -> tuple[Array, Array]:
        """Values at levels, and the logarithm of the proposal there: of its density, or of the share of an atom."""
        values, log_q = np.empty_like(u), np.empty_like(u)
        at = u < self.ends[-1] if len(self.knots) else np.ones(u.shape, dtype=bool)
        number = np.clip(np.searchsorted(self.ends, u[at], side="right") - 1, 0, max(len(self.atoms) - 1, 0))
        if at.any():
            values[at], log_q[at] = self.atoms[number], np.log(np.diff(self.ends))[number]
        if len(self.knots):
            values[~at] = np.interp(u[~at], self.levels, self.knots)
            cell = np.clip(np.searchsorted(self.knots, values[~at], side="right") - 1, 0, len(self.knots) - 2)
            log_q[~at] = np.log(np.diff(self.levels) / np.diff(self.knots))[cell]
        return values, log_q


class Marginal(NamedTuple):
    """Histogram test of one feature; the fields of `diagnostics.FeatureClosure` of the same names."""

    chi2: float
    ndf: int
    p_value: float
    misfit: float
    edges: Array
    data: Array
    expected: Array


def marginal_test(x: Array, w: Array, y: Array, v: Array) -> Marginal:
    """Chi-square of the histogram of x with weights w against that of model samples y with weights v."""
    edges = np.unique(np.quantile(y, np.linspace(0.0, 1.0, _MARGINAL_BINS + 1)))
    if len(edges) < 3:  # nearly all events at one value: a bin for that and one for the others
        ends = np.unique(np.concatenate([x, y]))
        edges = np.append(ends[0], 0.5 * (ends[1:] + ends[:-1]))[[0, 1]] if len(ends) > 1 else edges
        edges = np.append(edges, ends[-1] + 1.0)
    edges[[0, -1]] = min(edges[0], x.min()), max(edges[-1], x.max())
    scale = w.sum() / v.sum()
    data, expected = np.histogram(x, edges, weights=w)[0], scale * np.histogram(y, edges, weights=v)[0]
    # weights do not know the bin, so that a bin's variance is its content times that of one event
    per_event = np.sum(w**2) / w.sum() + scale * np.sum(v**2) / v.sum()
    chi2 = float(np.sum((data - expected) ** 2 / expected) / per_event)
    ndf = len(data) - 1
    misfit = 0.5 * (chi2 - ndf) * per_event / w.sum()
    return Marginal(chi2, ndf, float(stats.chi2.sf(chi2, ndf)), float(misfit), edges, data, expected)


class Conditional(NamedTuple):
    """Test of one conditional density; the fields of `diagnostics.FeatureClosure` of the same names."""

    conditional_p_value: float
    conditional_misfit: float
    partner: str
    pit_edges: Array
    pit: Array


def conditional_test(u: Array, w: Array, slices: Array, names: Sequence[str]) -> Conditional:
    """Test that u is uniform in equal-population slices of every other variable.

    Args:
        u: Integral transform of one feature, shape (n,).
        w: Weights, shape (n,).
        slices: The other variables, shape (n, k).
        names: Their names.
    """
    cell = np.clip(np.searchsorted(_PIT_EDGES, u, side="right") - 1, 0, len(_PIT_EDGES) - 2)
    per_event = np.sum(w**2) / w.sum()
    ndf = _SLICES * (len(_PIT_EDGES) - 2)
    chi2 = []
    for values in slices.T:
        edges = np.quantile(values, np.arange(1, _SLICES) / _SLICES)
        table = np.zeros((_SLICES, len(_PIT_EDGES) - 1))
        np.add.at(table, (np.searchsorted(edges, values, side="right"), cell), w)
        expected = np.maximum(table.sum(axis=1, keepdims=True) * np.diff(_PIT_EDGES), np.finfo(float).tiny)
        chi2.append(float(np.sum((table - expected) ** 2 / expected) / per_event))
    worst = int(np.argmax(chi2))
    return Conditional(
        conditional_p_value=min(1.0, len(names) * float(stats.chi2.sf(chi2[worst], ndf))),
        conditional_misfit=float(0.5 * (chi2[worst] - ndf) * per_event / w.sum()),
        partner=names[worst],
        pit_edges=_PIT_EDGES,
        pit=np.bincount(cell, weights=w, minlength=len(_PIT_EDGES) - 1).astype(float),
    )


class Classified(NamedTuple):
    """Answer of the classifier; the fields of `diagnostics.Closure`, and the importance of each feature."""

    auc: float
    auc_error: float
    kl: float
    kl_error: float
    importance: Array


def classify(x: Array, y: Array, m: Array, w: Array, *, seed: int) -> Classified:
    """Cross-validate a classifier of data x, shape (n, d), against samples y, shape (n, d), at the same masses m.

    The samples carry the weights w of the data at their masses.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    rng = np.random.default_rng(seed)
    n, d = x.shape
    # an event and the sample of its mass go to the same fold, or the mass alone would give the label away
    fold = np.tile(rng.permutation(n) % _FOLDS, 2)
    inputs = np.column_stack([np.concatenate([x, y]), np.tile(m, 2)])
    label, weight = np.repeat([1, 0], n), np.tile(w, 2) / w.mean()
    columns = _Columns.of(inputs, pairs=_overlapping_pairs(y))
    logit = np.empty(2 * n)
    auc, drop = np.empty(_FOLDS), np.empty((_FOLDS, d))
    # one thread: on a busy machine the threads wait for each other many times longer than they work
    with threadpool_limits(1, user_api="openmp"):
        for k in range(_FOLDS):
            test = fold == k
            # shallow and stopped early: an over-trained classifier spoils the bound on KL
            model = HistGradientBoostingClassifier(
                max_iter=100, max_leaf_nodes=16, min_samples_leaf=100, early_stopping=True, random_state=seed % 2**32
            )
            model.fit(columns(inputs[~test]), label[~test], sample_weight=weight[~test])
            logit[test] = model.decision_function(columns(inputs[test]))
            auc[k] = roc_auc_score(label[test], logit[test], sample_weight=weight[test])
            for j in range(d):
                shuffled = inputs[test]
                shuffled[:, j] = rng.permutation(shuffled[:, j])
                score = model.decision_function(columns(shuffled))
                drop[k, j] = auc[k] - roc_auc_score(label[test], score, sample_weight=weight[test])
    # folds agree by chance now and then: never quote less than the error of the null hypothesis
    n_effective = w.sum() ** 2 / np.sum(w**2)
    null_error = np.sqrt((2 * n_effective + 1) / 12) / n_effective
    kl, kl_error = _donsker_varadhan(logit[:n], logit[n:], w)
    return Classified(
        auc=float(auc.mean()),
        auc_error=float(max(auc.std(ddof=1) / np.sqrt(_FOLDS), null_error)),
        kl=kl,
        kl_error=kl_error,
        importance=drop.mean(axis=0),
    )


def _overlapping_pairs(y: Array) -> list[tuple[int, int]]:
    """Pairs of features of which sometimes one is the larger, sometimes the other: they can be in a wrong order."""
    pairs = [(i, j) for j in range(y.shape[1]) for i in range(j)]
    return [(i, j) for i, j in pairs if 1e-3 < np.mean(y[:, i] > y[:, j]) < 1 - 1e-3]


@dataclass(frozen=True)
class _Columns:
    """What the classifier sees: features, mass and differences of features, in bins of equal population.

    Trees cut along the axes, and would need many cuts for an edge x2 < x1.  They bin their inputs anyway, but slowly
    when events have weights.
    """

    pairs: Sequence[tuple[int, int]]
    edges: Sequence[Array]

    @classmethod
    def of(cls, inputs: Array, *, pairs: Sequence[tuple[int, int]]) -> Self:
        levels = np.linspace(0.0, 1.0, _CLASSIFIER_BINS + 1)[1:-1]
        return cls(pairs, [np.unique(np.quantile(column, levels)) for column in cls._values(inputs, pairs)])

    @staticmethod
    def _values(inputs: Array, pairs: Sequence[tuple[int, int]]) -> list[Array]:
        return [*inputs.T, *(inputs[:, i] - inputs[:, j] for i, j in pairs)]

    def __call__(self, inputs: Array) -> Array:
        values = zip(self.edges, self._values(inputs, self.pairs), strict=True)
        return np.column_stack([np.searchsorted(edges, column, side="right") for edges, column in values]).astype(float)


def _donsker_varadhan(data: Array, flow: Array, w: Array) -> tuple[float, float]:
    """KL(p || q) >= E_p[T] - log E_q[exp T] for any T, here the held-out log-odds; and its standard error."""
    ratio = np.exp(flow)
    mean, norm = np.average(data, weights=w), np.average(ratio, weights=w)
    share = np.sum(w**2) / w.sum() ** 2
    variance = np.average((data - mean) ** 2, weights=w) + np.average((ratio / norm - 1.0) ** 2, weights=w)
    return float(mean - np.log(norm)), float(np.sqrt(share * variance))
