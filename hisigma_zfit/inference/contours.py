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
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.results.explanations import Contour
from hisigma_zfit.statistics.intervals import ONE_SIGMA

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["contour", "spread", "surface"]


_ACCURACY = 1e-4  # of t on a contour
_MAX_STEPS = 60


def spread(profiler: Profiler) -> Array:
    """Covariance of the profiled parameters at the best fit, shape (k, k): the plane in which rays are even.

    Parameters at a limit are treated as if they were free, and negative curvature as positive: it only chooses
    directions.
    """
    if profiler.weighted:
        return profiler.covariance[np.ix_(profiler.indices, profiler.indices)]
    at = [profiler.moved.index(k) for k in profiler.indices]
    hessian = profiler.minimum.evaluation.hessian[np.ix_(profiler.moved, profiler.moved)]
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    inverse = (vectors / np.maximum(np.abs(values), 1e-9)) @ vectors.T
    return np.asarray((inverse * np.outer(scale, scale))[np.ix_(at, at)])


def _reach(profiler: Profiler, direction: Array) -> float:
    """How far one can go from the best fit along `direction`, shape (k,), before a parameter's limit."""
    lower, upper = (edge[profiler.indices] for edge in profiler.limits)
    with np.errstate(divide="ignore", invalid="ignore"):
        ways = np.where(direction > 0, (upper - profiler.values) / direction, (lower - profiler.values) / direction)
    return float(np.min(ways[direction != 0.0], initial=np.inf))


def _crossing(profiler: Profiler, direction: Array, level: float, start: Array) -> tuple[float, Array, bool]:
    """Where t reaches `level` along a ray from the best fit.

    sqrt(t) grows almost in proportion to the distance, and the envelope theorem gives its slope from the gradient
    at the conditional minimum, so that Newton's method needs two or three fits; a bracket makes it safe.

    Args:
        profiler: Joint profile of k parameters.
        direction: Shape (k,); a length of one is about sqrt(t) = 1.
        level: Wanted t.
        start: All parameters, from which the first conditional fit starts.

    Returns:
        The distance in units of `direction`, all parameters there, and whether a limit came first.

    Raises:
        FitError: t never reaches `level`, or jumps over it.
    """
    edge, inflation = _reach(profiler, direction), profiler.inflation_along(direction)
    low, high, distance, theta = 0.0, np.inf, min(np.sqrt(level), edge), start
    for _ in range(_MAX_STEPS):
        minimum = profiler.at(profiler.values + distance * direction, theta)
        t = max(0.0, 2.0 * (profiler.nll(minimum) - profiler.minimum.value))
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
        slope = 2.0 * float(minimum.evaluation.gradient[profiler.indices] @ direction) if np.isfinite(t) else np.nan
        slope /= inflation
        root = np.sqrt(t)
        step = (np.sqrt(level) - root) * 2.0 * root / slope if slope > 0 else np.nan
        distance += step
        if not low < distance < high or distance > 3.0 * max(low, np.sqrt(level)):
            distance = 0.5 * (low + high) if np.isfinite(high) else 2.0 * max(low, np.sqrt(level))
        distance = min(distance, edge)
    raise FitError(f"the profile of {profiler.name} does not reach {level:g} on a ray; use surface() on a grid instead")


def contour(loss: Any, x: str | Any, y: str | Any, *, cl: float = ONE_SIGMA, points: int = 48) -> Contour:
    """Trace the contour of two parameters at one confidence level (Wilks, two degrees of freedom).

    Rays leave the best fit at equal angles in the plane where the covariance is the unit matrix, so that long, thin
    contours are covered evenly; every conditional fit starts at its neighbour's minimum.

    Args:
        loss: The likelihood, or the result of its fit.
        x: First parameter, or its name.
        y: Second parameter, or its name.
        cl: Confidence level: 0.683, by default, gives t = 2.30, 0.95 gives 5.99.
        points: Number of rays.

    Raises:
        InputError: `cl` is not between 0 and 1, there are fewer than four points, or a parameter is unknown.
        FitError: The global fit did not converge, or the level is never reached.
    """
    if not 0.0 < cl < 1.0:
        raise InputError.from_parts(expected="0 < cl < 1", got=str(cl), do="give it as a fraction, such as 0.95")
    if points < 4:
        raise InputError.from_parts(expected="four or more points", got=str(points), do="ask for more")
    profiler = Profiler(getattr(loss, "loss", loss), (x, y))
    level = float(chi2.ppf(cl, 2))
    root = np.linalg.cholesky(spread(profiler))
    line, bounded, theta = np.empty((points, 2)), np.zeros(points), profiler.minimum.theta
    for k, angle in enumerate(2.0 * np.pi * np.arange(points) / points):
        direction = root @ np.array([np.cos(angle), np.sin(angle)])
        distance, theta, at_limit = _crossing(profiler, direction, level, theta)
        line[k], bounded[k] = profiler.values + distance * direction, at_limit
    first, second = profiler.values
    return Contour(
        x=profiler.names[0],
        y=profiler.names[1],
        best=(float(first), float(second)),
        cl=cl,
        level=level,
        points=line,
        bounded=bounded,
        weights_corrected=profiler.weighted,
    )


def surface(loss: Any, x: str | Any, y: str | Any, x_values: npt.ArrayLike, y_values: npt.ArrayLike) -> Array:
    """Profiled 2 dNLL of two parameters on a grid.

    Args:
        loss: The likelihood, or the result of its fit.
        x: First parameter, or its name.
        y: Second parameter, or its name.
        x_values: Its values, shape (n,).
        y_values: Those of the second, shape (k,).

    Returns:
        t, shape (n, k); infinite where the density is not positive.

    Raises:
        InputError: A parameter is unknown, or they are the same.
        FitError: A fit did not converge.
    """
    profiler = Profiler(getattr(loss, "loss", loss), (x, y))
    rows, columns = np.asarray(x_values, dtype=np.float64), np.asarray(y_values, dtype=np.float64)
    t, theta = np.empty((rows.size, columns.size)), profiler.minimum.theta
    for i, first in enumerate(rows):
        # back and forth: every fit has its neighbour's minimum to start from
        for j in range(columns.size)[:: 1 if i % 2 == 0 else -1]:
            minimum = profiler.at((first, columns[j]), theta)
            t[i, j] = max(0.0, 2.0 * (profiler.nll(minimum) - profiler.minimum.value))
            theta = minimum.theta if np.isfinite(t[i, j]) else profiler.minimum.theta
    return t
