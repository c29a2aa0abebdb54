"""Value, gradient and exact Hessian of the extended likelihood in one pass over cached columns.

`ColumnEvaluator` is the quick path: mass shapes that are frozen or belong to the exponential family.  It works through
the columns in blocks that fit the processor's cache, one exponential and one logarithm an event, and leaves the sums
of products to BLAS; nothing is traced or compiled, so toys and bootstraps cost nothing to set up.
`hisigma_zfit.model.graph.GraphEvaluator` is the generic path for any other zfit shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from hisigma_zfit.model.shapes import ExponentialFamily, exponential_family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.model.columns import Columns, Term

__all__ = ["ColumnEvaluator", "Evaluation", "Evaluator", "column_evaluator"]

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


@dataclass(frozen=True)
class _Slot:
    """Where one component finds its numbers in the parameter vector."""

    extended: int
    family: ExponentialFamily | None
    shape: tuple[int, ...]


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
        self._columns = columns
        self._statistics = [
            None if slot.family is None else np.ascontiguousarray(slot.family.statistics(columns.mass))
            for slot in self._slots
        ]

    def _densities(self, theta: Array, block: slice, log_partitions: list[float], out: Array) -> Array:
        """ratio_k f_k(m) of the events in a block, shape (K, B)."""
        for k, slot in enumerate(self._slots):
            statistics = self._statistics[k]
            if statistics is None:
                out[k] = self._columns.ratio[k, block]
            else:
                row = np.dot(theta[list(slot.shape)], statistics[:, block], out=out[k])
                row -= log_partitions[k]
                np.exp(row, out=row)
                row *= self._columns.ratio[k, block]
        return out

    def _log_partitions(self, theta: Array) -> list[tuple[float, Array, Array]]:
        empty = (0.0, np.empty(0), np.empty((0, 0)))
        return [
            empty if slot.family is None else slot.family.log_partition(theta[list(slot.shape)]) for slot in self._slots
        ]

    def _blocks(self) -> list[slice]:
        n = self._columns.mass.size
        return [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""
        partitions = [a for a, _, _ in self._log_partitions(theta)]
        yields = theta[[slot.extended for slot in self._slots]]
        weights = self._columns.weights
        buffer, total = np.empty((len(self._slots), _BLOCK)), 0.0
        for block in self._blocks():
            densities = self._densities(theta, block, partitions, buffer[:, : block.stop - block.start])
            density = yields @ densities
            if not density.min() > 0.0:
                return np.inf
            logs = np.log(density, out=density)
            total += float(logs.sum() if weights is None else logs @ weights[block])
        return float(yields.sum() - total)

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,).

        With a_k = ratio_k f_k / L the derivatives of log L_i are a_k for a yield and y_k a_k (T - <T>) for a shape
        parameter, and those of second order follow from the same sums, because Hess log f = -Cov(T) for every event.
        """
        moments = self._log_partitions(theta)
        partitions = [a for a, _, _ in moments]
        yields = theta[[slot.extended for slot in self._slots]]
        starts, rows = self._layout()
        weights = self._columns.weights
        densities_buffer, buffer = np.empty((len(self._slots), _BLOCK)), np.empty((rows, _BLOCK))
        total, first, products = 0.0, np.zeros(rows), np.zeros((rows, rows))
        seconds = [np.zeros((len(slot.shape),) * 2) for slot in self._slots]
        for block in self._blocks():
            size = block.stop - block.start
            densities = self._densities(theta, block, partitions, densities_buffer[:, :size])
            density = yields @ densities
            if not density.min() > 0.0:
                nan = np.full(theta.size, np.nan)
                return Evaluation(np.inf, nan, np.outer(nan, nan))
            derivatives = buffer[:, :size]
            inverse = np.reciprocal(density)
            for k, start in enumerate(starts):
                share = np.multiply(densities[k], inverse, out=derivatives[start])
                statistics = self._statistics[k]
                if statistics is not None:
                    np.multiply(share, statistics[:, block], out=derivatives[start + 1 : start + 1 + len(statistics)])
            logs = np.log(density, out=density)
            weighted = derivatives if weights is None else derivatives * weights[block]
            total += float(logs.sum() if weights is None else logs @ weights[block])
            first += weighted.sum(axis=1)
            products += weighted @ derivatives.T
            for k, start in enumerate(starts):
                statistics = self._statistics[k]
                if statistics is not None:
                    seconds[k] += weighted[start + 1 : start + 1 + len(statistics)] @ statistics[:, block].T
        return self._assemble(theta, float(yields.sum() - total), first, products, seconds, moments)

    def _layout(self) -> tuple[list[int], int]:
        """First row of each component among the derivative rows, and the number of rows."""
        starts, row = [], 0
        for slot in self._slots:
            starts.append(row)
            row += 1 + len(slot.shape)
        return starts, row

    def _assemble(
        self,
        theta: Array,
        value: float,
        first: Array,
        products: Array,
        seconds: list[Array],
        moments: list[tuple[float, Array, Array]],
    ) -> Evaluation:
        """Turn sums over raw statistics into derivatives with respect to the parameters."""
        starts, rows = self._layout()
        local = np.zeros((rows, rows))  # derivative rows -> derivatives of log L by local parameter
        scatter = np.zeros((theta.size, rows))  # local parameter -> parameter
        curvature = np.zeros((rows, rows))
        gradient = np.zeros(theta.size)
        for k, (slot, start) in enumerate(zip(self._slots, starts, strict=True)):
            scatter[slot.extended, start] = 1.0
            gradient[slot.extended] += 1.0
            local[start, start] = 1.0
            if slot.family is None:
                continue
            size, rest = theta[slot.extended], slice(start + 1, start + 1 + len(slot.shape))
            _, mean, covariance = moments[k]
            scatter[list(slot.shape), range(rest.start, rest.stop)] = 1.0
            local[rest, rest] = size * np.eye(len(slot.shape))
            local[rest, start] = -size * mean
            centred = first[rest] - mean * first[start]
            curvature[start, rest] = curvature[rest, start] = centred
            outer = np.outer(first[rest], mean)
            spread = seconds[k] - outer - outer.T + np.outer(mean, mean) * first[start]
            curvature[rest, rest] = size * (spread - covariance * first[start])
        gradient -= scatter @ (local @ first)
        hessian = scatter @ (local @ products @ local.T - curvature) @ scatter.T
        return Evaluation(value, gradient, hessian)


def column_evaluator(terms: Sequence[Term], columns: Columns, parameters: tuple[Any, ...]) -> ColumnEvaluator | None:
    """The quick path for a model, or None if one of its shapes or yields is outside of what it knows."""
    index = {parameter: k for k, parameter in enumerate(parameters)}
    slots = []
    for term in terms:
        if term.extended not in index:
            return None  # a yield composed of other parameters
        family = None if term.frozen else exponential_family(term.mass)
        if family is None and not term.frozen:
            return None
        shape = () if family is None else tuple(index[p] for p in family.parameters)
        slots.append(_Slot(index[term.extended], family, shape))
    return ColumnEvaluator(slots, columns, parameters)
