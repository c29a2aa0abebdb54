"""Profile likelihood in two parameters: contours and surfaces.

What to use when: `contour` traces the line of one confidence level along rays from the best fit, in a few conditional
fits a ray; it assumes that every ray crosses the line once.  `surface` profiles on a grid and assumes nothing: use it
where the first two rings of a contour look odd, or where several minima are expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.newton import Minimum, minimise
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import limits_of
from hisigma_zfit.results.explanations import Contour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["JointProfiler", "contour", "surface"]


_ACCURACY = 1e-4  # of t on a contour
_MAX_STEPS = 60


class JointProfiler:
    """Profile likelihood of several parameters at once: -log L minimised over all others.

    Args:
        loss: The `ExtendedNLL`, or the result of its fit; its parameters are not changed.
        parameters: The parameters, or their names, k of them.

    Raises:
        InputError: A parameter is unknown or named twice.
        FitError: The global fit did not converge.
    """

    def __init__(self, loss: Any, parameters: Sequence[str | Any]) -> None:
        loss = getattr(loss, "loss", loss)
        profilers = [Profiler(loss, p) for p in parameters]
        self.names = tuple(p.name for p in profilers)
        self.index = [p.index for p in profilers]
        if len(set(self.index)) < len(self.index):
            raise InputError.from_parts(
                expected="different parameters", got=", ".join(self.names), do="name each of them once"
            )
        self.minimum = min((p.minimum for p in profilers), key=lambda minimum: minimum.value)
        self.evaluator = loss.evaluator(around=self.minimum.theta)
        self._limits = limits_of(loss.parameters)
        floating = [k for k, p in enumerate(loss.parameters) if p.floating]
        self._others = [k for k in floating if k not in self.index]
        self._free = sorted({*floating, *self.index})

    @property
    def best(self) -> Array:
        """Best-fit values, shape (k,)."""
        return self.minimum.theta[self.index]

    @property
    def limits(self) -> tuple[Array, Array]:
        """Lower and upper limits of the parameters, each of shape (k,)."""
        lower, upper = self._limits
        return lower[self.index], upper[self.index]

    def covariance(self) -> Array:
        """Covariance at the best fit, shape (k, k); parameters at a limit are treated as if they were free."""
        at = [self._free.index(k) for k in self.index]
        hessian = self.minimum.evaluation.hessian[np.ix_(self._free, self._free)]
        scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
        values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
        inverse = (vectors / np.maximum(np.abs(values), 1e-9)) @ vectors.T
        return (inverse * np.outer(scale, scale))[np.ix_(at, at)]

    def at(self, values: npt.ArrayLike, start: Array | None = None) -> Minimum:
        """Conditional minimum with the parameters held at `values`, shape (k,)."""
        theta = (self.minimum.theta if start is None else start).copy()
        theta[self.index] = values
        return minimise(self.evaluator, theta, self._others, limits=self._limits, tolerance=1e-7)

    def t(self, values: npt.ArrayLike, start: Array | None = None) -> float:
        """2 (-log L(values) + log L(best)); not negative."""
        return self._t(self.at(values, start))

    def _t(self, minimum: Minimum) -> float:
        return max(0.0, 2.0 * (minimum.value - self.minimum.value))

    def reach(self, direction: Array) -> float:
        """How far one can go from the best fit along `direction`, shape (k,), before a parameter's limit."""
        lower, upper = self.limits
        with np.errstate(divide="ignore", invalid="ignore"):
            ways = np.where(direction > 0, (upper - self.best) / direction, (lower - self.best) / direction)
        return float(np.min(ways[direction != 0.0], initial=np.inf))

    def crossing(self, direction: Array, level: float, start: Array) -> tuple[float, Array, bool]:
        """Where t reaches `level` along a ray from the best fit.

        sqrt(t) grows almost in proportion to the distance, and the envelope theorem gives its slope from the gradient
        at the conditional minimum, so that Newton's method needs two or three fits; a bracket makes it safe.

        Args:
            direction: Shape (k,); a length of one is about sqrt(t) = 1.
            level: Wanted t.
            start: All parameters, from which the first conditional fit starts.

        Returns:
            The distance in units of `direction`, all parameters there, and whether a limit came first.

        Raises:
            FitError: t never reaches `level`, or jumps over it.
        """
        edge = self.reach(direction)
        low, high, distance, theta = 0.0, np.inf, min(np.sqrt(level), edge), start
        for _ in range(_MAX_STEPS):
            minimum = self.at(self.best + distance * direction, theta)
            t = self._t(minimum)
            if abs(t - level) < _ACCURACY:
                return distance, minimum.theta, False
            if t < level:
                if distance >= edge:
                    return distance, minimum.theta, True
                low, theta = distance, minimum.theta
            else:
                high = distance
                if high - low < 1e-9 * high:  # the density ends here, and t with it
                    return low, theta, True
                theta = minimum.theta if np.isfinite(t) else theta
            slope = 2.0 * float(minimum.evaluation.gradient[self.index] @ direction) if np.isfinite(t) else np.nan
            root = np.sqrt(t)
            step = (np.sqrt(level) - root) * 2.0 * root / slope if slope > 0 else np.nan
            distance += step
            if not low < distance < high or distance > 3.0 * max(low, np.sqrt(level)):
                distance = 0.5 * (low + high) if np.isfinite(high) else 2.0 * max(low, np.sqrt(level))
            distance = min(distance, edge)
        names = " and ".join(self.names)
        raise FitError(f"the profile of {names} does not reach {level:g} on a ray; use surface() on a grid instead")


def contour(loss: Any, x: str | Any, y: str | Any, *, cl: float = 0.6827, points: int = 48) -> Contour:
    """Trace the contour of two parameters at one confidence level (Wilks, two degrees of freedom).

    Rays leave the best fit at equal angles in the plane where the covariance is the unit matrix, so that long, thin
    contours are covered evenly; every conditional fit starts at its neighbour's minimum.

    Args:
        loss: The `ExtendedNLL`, or the result of its fit.
        x: First parameter, or its name.
        y: Second parameter, or its name.
        cl: Confidence level: 0.6827 gives t = 2.30, 0.95 gives 5.99.
        points: Number of rays.

    Raises:
        InputError: `cl` is not between 0 and 1, there are fewer than four points, or a parameter is unknown.
        FitError: The global fit did not converge, or the level is never reached.
    """
    if not 0.0 < cl < 1.0:
        raise InputError.from_parts(expected="0 < cl < 1", got=str(cl), do="give it as a fraction, such as 0.95")
    if points < 4:
        raise InputError.from_parts(expected="four or more points", got=str(points), do="ask for more")
    profiler = JointProfiler(loss, (x, y))
    level = float(chi2.ppf(cl, 2))
    root = np.linalg.cholesky(profiler.covariance())
    line, bounded, theta = np.empty((points, 2)), np.zeros(points), profiler.minimum.theta
    for k, angle in enumerate(2.0 * np.pi * np.arange(points) / points):
        direction = root @ np.array([np.cos(angle), np.sin(angle)])
        distance, theta, at_limit = profiler.crossing(direction, level, theta)
        line[k], bounded[k] = profiler.best + distance * direction, at_limit
    first, second = profiler.best
    return Contour(
        x=profiler.names[0],
        y=profiler.names[1],
        best=(float(first), float(second)),
        cl=cl,
        level=level,
        points=line,
        bounded=bounded,
    )


def surface(loss: Any, x: str | Any, y: str | Any, x_values: npt.ArrayLike, y_values: npt.ArrayLike) -> Array:
    """Profiled 2 dNLL of two parameters on a grid.

    Args:
        loss: The `ExtendedNLL`, or the result of its fit.
        x: First parameter, or its name.
        y: Second parameter, or its name.
        x_values: Its values, shape (n,).
        y_values: Those of the second, shape (k,).

    Returns:
        t, shape (n, k); infinite where the density is not positive.
    """
    profiler = JointProfiler(loss, (x, y))
    rows, columns = np.asarray(x_values, dtype=np.float64), np.asarray(y_values, dtype=np.float64)
    t, theta = np.empty((rows.size, columns.size)), profiler.minimum.theta
    for i, first in enumerate(rows):
        # back and forth: every fit has its neighbour's minimum to start from
        for j in range(columns.size)[:: 1 if i % 2 == 0 else -1]:
            minimum = profiler.at((first, columns[j]), theta)
            t[i, j] = max(0.0, 2.0 * (minimum.value - profiler.minimum.value))
            theta = minimum.theta if np.isfinite(t[i, j]) else profiler.minimum.theta
    return t
