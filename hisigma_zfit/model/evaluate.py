"""Value, gradient and exact Hessian of the extended likelihood in one pass over cached columns.

`ColumnEvaluator` is the quick path: mass shapes that are frozen or belong to the exponential family, systematic
variations, and yields that are parameters or know their own derivatives.  It works through the columns in blocks that
fit the processor's cache, one exponential and one logarithm an event, and leaves the sums of products to BLAS; nothing
is traced or compiled, so toys and bootstraps cost nothing to set up.
`hisigma_zfit.model.graph.GraphEvaluator` is the generic path for any other zfit shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hisigma_zfit.model.shapes import ExponentialFamily, exponential_family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.model.columns import Columns, Term
    from hisigma_zfit.model.morphing import Morph, MorphWeights

__all__ = ["ColumnEvaluator", "ComposedYield", "Evaluation", "Evaluator", "column_evaluator"]

Array = npt.NDArray[np.float64]

# Events in a block: a handful of such buffers fits the second-level cache, and numpy's overhead is spread over many.
_BLOCK = 8192


@dataclass(frozen=True)
class Evaluation:
    """-log L with its gradient, shape (P,), and Hessian, shape (P, P)."""

    value: float
    gradient: Array
    hessian: Array


class Evaluator(Protocol):
    """-log L (without the constants of the data) as a function of all parameters, in the order of `parameters`."""

    parameters: tuple[Any, ...]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""


@runtime_checkable
class ComposedYield(Protocol):
    """A yield that depends on several parameters and knows its derivatives, such as `systematics.LogNormalYield`."""

    sources: tuple[Any, ...]

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) with respect to the `sources`, at their values (Q,)."""


@dataclass(frozen=True)
class _Slot:
    """Where one component finds its numbers in the parameter vector.

    Attributes:
        extended: Parameters of the yield; one, unless the yield is composed.
        composed: The yield if it is composed, with its own `derivatives`.
        family: The mass shape, or None if it is cached.
        shape: Parameters of the family, q of them.
        morph: The systematic variations, or None.
        nuisances: Their parameters, J of them.
    """

    extended: tuple[int, ...]
    composed: ComposedYield | None
    family: ExponentialFamily | None
    shape: tuple[int, ...]
    morph: Morph | None
    nuisances: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Derivatives with respect to the yield, the shape and the nuisances."""
        return 1 + len(self.shape) + len(self.nuisances)

    def size(self, theta: Array) -> tuple[float, Array, Array]:
        """The yield with its gradient and Hessian with respect to the parameters in `extended`."""
        if self.composed is None:
            return float(theta[self.extended[0]]), np.ones(1), np.zeros((1, 1))
        return self.composed.derivatives(theta[list(self.extended)])


@dataclass(frozen=True)
class _Moments:
    """What a component's derivatives need besides sums over events: log-partition, mean and covariance of T."""

    log_partition: float
    mean: Array
    covariance: Array


_NO_MOMENTS = _Moments(0.0, np.empty(0), np.empty((0, 0)))


class ColumnEvaluator:
    """Quick path for one data set; see the module's text.

    Args:
        slots: One for each row of the columns.
        columns: The data set.
        parameters: All parameters, P of them.
    """

    def __init__(self, slots: Sequence[_Slot], columns: Columns, parameters: tuple[Any, ...]) -> None:
        self.parameters = parameters
        self._slots = tuple(slots)
        # events where variations act come first: the others are spared their weights
        acting = [morph.active for morph in columns.morphs if morph is not None]
        active = np.logical_or.reduce(acting) if acting else np.zeros(columns.mass.size, dtype=bool)
        self._n_active = int(np.count_nonzero(active))
        if 0 < self._n_active < active.size:
            columns = columns.take(np.argsort(~active, kind="stable"))
        self._columns = columns
        self._statistics = [
            None if slot.family is None else np.ascontiguousarray(slot.family.statistics(columns.mass))
            for slot in self._slots
        ]
        self._starts = [0, *np.cumsum([slot.rows for slot in self._slots]).tolist()]

    def _blocks(self) -> list[slice]:
        """Blocks of events, with a border where the variations cease to act."""
        n = self._columns.mass.size
        parts = ((0, self._n_active), (self._n_active, n))
        return [slice(at, min(at + _BLOCK, stop)) for start, stop in parts for at in range(start, stop, _BLOCK)]

    def _weights(self, theta: Array) -> list[MorphWeights | None]:
        return [
            None if slot.morph is None or columns is None else slot.morph.weights(columns, theta[list(slot.nuisances)])
            for slot, columns in zip(self._slots, self._columns.morphs, strict=True)
        ]

    def _densities(self, theta: Array, block: slice, moments: list[_Moments], out: Array) -> Array:
        """ratio_k f_k(m) of the events in a block, shape (K, B)."""
        for k, slot in enumerate(self._slots):
            statistics = self._statistics[k]
            if statistics is None:
                out[k] = self._columns.ratio[k, block]
            else:
                row = np.dot(theta[list(slot.shape)], statistics[:, block], out=out[k])
                row -= moments[k].log_partition
                np.exp(row, out=row)
                row *= self._columns.ratio[k, block]
        return out

    def _moments(self, theta: Array) -> list[_Moments]:
        return [
            _NO_MOMENTS if slot.family is None else _Moments(*slot.family.log_partition(theta[list(slot.shape)]))
            for slot in self._slots
        ]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""
        moments, morphs = self._moments(theta), self._weights(theta)
        yields = np.array([slot.size(theta)[0] for slot in self._slots])
        weights = self._columns.weights
        buffer, total = np.empty((len(self._slots), _BLOCK)), 0.0
        for block in self._blocks():
            densities = self._densities(theta, block, moments, buffer[:, : block.stop - block.start])
            if block.start < self._n_active:
                for k, morph in enumerate(morphs):
                    if morph is not None:
                        densities[k] *= morph.value(block)
            density = yields @ densities
            if not density.min() > 0.0:
                return np.inf
            logs = np.log(density, out=density)
            total += float(logs.sum() if weights is None else logs @ weights[block])
        return float(yields.sum() - total)

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,).

        With a_k = ratio_k W_k f_k / L the derivatives of log L_i are a_k for a yield and y_k a_k S for the parameters
        of a component, where S is T - <T> for a shape and d log W_k / d nu for a nuisance.  Those of second order
        follow from the same sums and from dS, which is -Cov(T) for every event for a shape.
        """
        moments, morphs = self._moments(theta), self._weights(theta)
        sizes = [slot.size(theta) for slot in self._slots]
        yields = np.array([size for size, _, _ in sizes])
        rows = self._starts[-1]
        weights = self._columns.weights
        densities_buffer, buffer = np.empty((len(self._slots), _BLOCK)), np.empty((rows, _BLOCK))
        total, first, products = 0.0, np.zeros(rows), np.zeros((rows, rows))
        seconds = [np.zeros((slot.rows - 1,) * 2) for slot in self._slots]
        for block in self._blocks():
            size = block.stop - block.start
            densities = self._densities(theta, block, moments, densities_buffer[:, :size])
            slopes: list[Array | None] = [None if s is None else s[:, block] for s in self._statistics]
            bends: list[Array | None] = [None] * len(slopes)
            for k, morph in enumerate(morphs):
                if morph is not None and block.start < self._n_active:
                    weight, slope, bends[k] = morph.derivatives(block)
                    densities[k] *= weight
                    own = slopes[k]
                    slopes[k] = slope if own is None else np.concatenate([own, slope])
            density = yields @ densities
            if not density.min() > 0.0:
                nan = np.full(theta.size, np.nan)
                return Evaluation(np.inf, nan, np.outer(nan, nan))
            derivatives = buffer[:, :size]
            if block.start == self._n_active:
                buffer[:] = 0.0  # from here on nothing is written to the rows of the nuisances
            inverse = np.reciprocal(density)
            for k, start in enumerate(self._starts[:-1]):
                share = np.multiply(densities[k], inverse, out=derivatives[start])
                own = slopes[k]
                if own is not None:
                    np.multiply(share, own, out=derivatives[start + 1 : start + 1 + len(own)])
            logs = np.log(density, out=density)
            weighted = derivatives if weights is None else derivatives * weights[block]
            total += float(logs.sum() if weights is None else logs @ weights[block])
            first += weighted.sum(axis=1)
            products += weighted @ derivatives.T
            for k, start in enumerate(self._starts[:-1]):
                own, bend = slopes[k], bends[k]
                if own is not None:
                    seconds[k][: len(own), : len(own)] += weighted[start + 1 : start + 1 + len(own)] @ own.T
                if bend is not None:
                    n = len(self._slots[k].nuisances)
                    sums = np.zeros((n, n))
                    sums[np.tril_indices(n)] = bend @ weighted[start]
                    seconds[k][-n:, -n:] += sums + np.tril(sums, -1).T
        return self._assemble(theta, float(yields.sum() - total), first, products, seconds, moments, sizes)

    def _assemble(
        self,
        theta: Array,
        value: float,
        first: Array,
        products: Array,
        seconds: list[Array],
        moments: list[_Moments],
        sizes: list[tuple[float, Array, Array]],
    ) -> Evaluation:
        """Turn sums over raw statistics into derivatives with respect to the parameters."""
        rows = self._starts[-1]
        local = np.zeros((rows, rows))  # derivative rows -> derivatives of log L by local parameter
        scatter = np.zeros((theta.size, rows))  # local parameter -> parameter
        curvature = np.zeros((rows, rows))
        gradient, hessian = np.zeros(theta.size), np.zeros((theta.size, theta.size))
        for k, (slot, start) in enumerate(zip(self._slots, self._starts[:-1], strict=True)):
            size, slope, bend = sizes[k]
            at, q = list(slot.extended), len(slot.shape)
            np.add.at(scatter[:, start], at, slope)
            np.add.at(gradient, at, slope)
            np.add.at(hessian, np.ix_(at, at), bend * (1.0 - first[start]))
            local[start, start] = 1.0
            if slot.rows == 1:
                continue
            rest = slice(start + 1, start + slot.rows)
            mean, covariance = np.zeros(slot.rows - 1), np.zeros((slot.rows - 1,) * 2)
            mean[:q], covariance[:q, :q] = moments[k].mean, moments[k].covariance
            scatter[[*slot.shape, *slot.nuisances], range(rest.start, rest.stop)] = 1.0
            local[rest, rest] = size * np.eye(slot.rows - 1)
            local[rest, start] = -size * mean
            centred = first[rest] - mean * first[start]
            curvature[start, rest] = curvature[rest, start] = centred
            outer = np.outer(first[rest], mean)
            spread = seconds[k] - outer - outer.T + np.outer(mean, mean) * first[start]
            curvature[rest, rest] = size * (spread - covariance * first[start])
        gradient -= scatter @ (local @ first)
        hessian += scatter @ (local @ products @ local.T - curvature) @ scatter.T
        return Evaluation(value, gradient, hessian)


def column_evaluator(terms: Sequence[Term], columns: Columns, parameters: tuple[Any, ...]) -> ColumnEvaluator | None:
    """The quick path for a model, or None if one of its shapes or yields is outside of what it knows."""
    index = {parameter: k for k, parameter in enumerate(parameters)}
    slots = []
    for term in terms:
        composed = term.extended if isinstance(term.extended, ComposedYield) else None
        sources = (term.extended,) if composed is None else composed.sources
        if not all(source in index for source in sources):
            return None  # a yield composed of other parameters
        family = None if term.frozen else exponential_family(term.mass)
        if family is None and not term.frozen:
            return None
        shape = () if family is None else tuple(index[p] for p in family.parameters)
        nuisances = () if term.morph is None else tuple(index[p] for p in term.morph.nuisances)
        slots.append(_Slot(tuple(index[p] for p in sources), composed, family, shape, term.morph, nuisances))
    return ColumnEvaluator(slots, columns, parameters)
