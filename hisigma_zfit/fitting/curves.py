"""The profile likelihood of one parameter as a smooth curve through few exact points.

At a conditional minimum the exact gradient and Hessian give t = 2 dNLL with its first two derivatives, and the
direction in which the other parameters move.  Between two such points a polynomial of degree five is determined; where
it foretells a third one, its halves are better by 2^6 and no fit is needed for the points that lie on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.fitting.newton import Minimum, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array

__all__ = ["ProfileCurve"]


# Largest error of a foretold t; what is then interpolated is better than 1e-4.
_TOLERANCE = 3e-5


@dataclass(frozen=True)
class _Point:
    """The profile at one value.

    Attributes:
        value: Of the parameter.
        theta: All parameters at the conditional minimum, shape (P,).
        slope: d theta / d value, shape (P,); zero for those at a limit.
        t: t with its first and second derivative.
        free: Indices of the other parameters that are not at a limit.
    """

    value: float
    theta: Array
    slope: Array
    t: tuple[float, float, float]
    free: tuple[int, ...]


class ProfileCurve:
    """Profile of one parameter.

    Args:
        conditional: Finds the conditional minimum over the other parameters from a start, shape (P,), in which the
            parameter has its value; its `status` says whether it did.
        best: The global minimum.
        index: Index of the parameter.
    """

    def __init__(self, conditional: Callable[[Array], Minimum], best: Minimum, index: int) -> None:
        self._conditional, self._index, self._lowest = conditional, index, best.value
        self._best = self._point(best)

    def _point(self, minimum: Minimum) -> _Point:
        gradient, hessian = minimum.evaluation.gradient, minimum.evaluation.hessian
        free = [k for k in minimum.free.tolist() if k != self._index]
        at, own = np.ix_(free, free), self._index
        slope, rest = np.zeros(minimum.theta.size), np.zeros(len(free))
        slope[own] = 1.0
        if free:
            # the last step that the minimiser found too small to take is still worth its value
            rest, slope[free] = np.linalg.solve(hessian[at], -np.stack([gradient[free], hessian[free, own]], axis=1)).T
        t = 2.0 * (minimum.value + 0.5 * float(gradient[free] @ rest) - self._lowest)
        first = 2.0 * float(gradient[own] + hessian[own, free] @ rest)
        second = 2.0 * float(hessian[own, own] + hessian[own, free] @ slope[free])
        return _Point(float(minimum.theta[own]), minimum.theta, slope, (max(t, 0.0), first, second), tuple(free))

    def _exact(self, value: float, below: _Point, above: _Point) -> _Point | float:
        """The profile at a value between two points; t alone where it has none: inf if -log L is, else NaN."""
        if below.free == above.free and below is not above:
            start = _hermite(below, above, (below.theta, below.slope), (above.theta, above.slope), value)
        else:
            nearest = min((below, above), key=lambda point: abs(point.value - value))
            start = nearest.theta + nearest.slope * (value - nearest.value)
        start[self._index] = value
        found = self._conditional(start)
        if found.converged:
            return self._point(found)
        return np.inf if found.status is Status.UNDEFINED else np.nan

    def scan(self, values: Array) -> Array:
        """Values t at scan points of shape (n,): inf where -log L is, NaN where a fit did not converge."""
        t = np.full(values.shape, np.inf)
        order = np.argsort(values, kind="stable")
        middle = int(np.searchsorted(values[order], self._best.value))
        for side in (order[:middle][::-1], order[middle:]):
            self._fill(self._best, side.tolist(), values, t)
        return t

    def _fill(self, start: _Point, side: list[int], values: Array, t: Array) -> None:
        """Outwards from a point, as far as -log L is finite."""
        while side:
            end = self._exact(float(values[side[-1]]), start, start)
            if isinstance(end, _Point):
                t[side[-1]] = end.t[0]
                self._between(start, end, side[:-1], values, t)
                return
            nearest = self._exact(float(values[side[0]]), start, start)
            if isinstance(nearest, _Point):
                t[side[0]], start, side = nearest.t[0], nearest, side[1:]
            elif np.isnan(nearest):
                t[side[0]], side = nearest, side[1:]
            else:
                return

    def _between(self, start: _Point, end: _Point, inside: list[int], values: Array, t: Array) -> None:
        """Between two points, whose polynomial is tested at the scan point in the middle."""
        if not inside:
            return
        at = len(inside) // 2
        middle = self._exact(float(values[inside[at]]), start, end)
        if not isinstance(middle, _Point):
            t[inside[at]] = middle
            self._between(start, end, inside[:at] + inside[at + 1 :], values, t)
            return
        t[inside[at]] = middle.t[0]
        halves = ((start, middle, inside[:at]), (middle, end, inside[at + 1 :]))
        smooth = start.free == middle.free == end.free
        foretold = abs(float(_hermite(start, end, start.t, end.t, middle.value)) - middle.t[0]) < _TOLERANCE
        for a, b, own in halves:
            if not (smooth and foretold):
                self._between(a, b, own, values, t)
            elif own:
                t[own] = np.maximum(_hermite(a, b, a.t, b.t, values[own]), 0.0)


# Hermite's polynomials on [0, 1], coefficients of 1, u, u^2, ...: rows belong to value (and slope, and curvature) at 0,
# then at 1.
_CUBIC = np.array([[1, 0, -3, 2], [0, 1, -2, 1], [0, 0, 3, -2], [0, 0, -1, 1]], dtype=np.float64)
_EXPONENTS = np.arange(6)
_QUINTIC = np.array(
    [
        [1, 0, 0, -10, 15, -6],
        [0, 1, 0, -6, 8, -3],
        [0, 0, 0.5, -1.5, 1.5, -0.5],
        [0, 0, 0, 10, -15, 6],
        [0, 0, 0, -4, 7, -3],
        [0, 0, 0, 0.5, -1, 0.5],
    ]
)


def _hermite(a: _Point, b: _Point, at_a: Any, at_b: Any, x: npt.ArrayLike) -> Array:
    """Polynomial with given value and derivatives at two points, each a sequence of k numbers or of k arrays.

    Args:
        a: One point.
        b: The other.
        at_a: Value, slope (and curvature) at the first.
        at_b: The same at the second.
        x: Where it is asked for: a number, or shape (n,) where the polynomial is that of numbers.
    """
    derivatives, width = len(at_a), b.value - a.value
    u = (np.asarray(x, dtype=np.float64) - a.value) / width
    powers = np.power.outer(u, _EXPONENTS[: 2 * derivatives])
    weights = powers @ (_CUBIC if derivatives == 2 else _QUINTIC).T
    weights *= width ** (_EXPONENTS[: 2 * derivatives] % derivatives)
    return np.asarray(weights @ np.array([*at_a, *at_b]))
