"""Newton's method with limits on an exact Hessian: the minimiser behind fits, scans and toys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotrs

from hisigma_zfit.errors import FitError, NoMaximumError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluation, Evaluator

__all__ = ["Minimum", "Status", "minimise", "sandwich"]


_STALLED = 1e-5  # distance to the minimum, in units of -log L, that is as good as none where rounding stops the search
_DETERMINED = 1e-10  # least eigenvalue of a Hessian in units of its diagonal that is not taken for rounding
_RUNAWAY = 1e8  # distance from the start, in its units, up to which a search without end is followed
_FAR_GONE = 1e3  # distance from which on a parameter is one of those that run away
_LOST = 1e6  # the same for a search that is given up
_FEWEST_STEPS = 10  # of a search before it may be called one without end
_SAFE = 0.01  # root of the least pivot, in units of the diagonal, from which a Hessian is inverted as it is
_LEAST = 1e-8  # of the squared gradient: no single parameter promises more than 5e7 units of -log L


class Status(Enum):
    """What came of a minimisation."""

    CONVERGED = "converged"  # a minimum, within the limits
    FLAT = "flat"  # the same, but some parameters have no effect on the likelihood there
    NOT_CONVERGED = "not converged"  # the search stopped elsewhere: its value says nothing
    UNBOUNDED = "unbounded"  # -log L falls for ever as parameters run away: there is no minimum
    UNDEFINED = "undefined"  # the density is not positive for all events: -log L is infinite

    @property
    def is_minimum(self) -> bool:
        """Whether a minimum was found."""
        return self in {Status.CONVERGED, Status.FLAT}


@dataclass(frozen=True)
class Minimum:
    """Where the minimiser stopped.

    Attributes:
        theta: All parameters, shape (P,).
        evaluation: Value, gradient and Hessian there, with respect to all parameters.
        free: Indices of the parameters that floated, are not held at a limit and have an effect.
        flat: Indices of those that floated and have none.
        edm: Estimated distance to the minimum, in units of -log L.
        iterations: Newton steps that were taken.
        calls: Evaluations of the likelihood.
        status: Whether it is a minimum; ask for it before anything else is used.
        away: Where the parameters run to if there is none, in units of their start, shape (P,); else None.
    """

    theta: Array
    evaluation: Evaluation
    free: npt.NDArray[np.intp]
    flat: npt.NDArray[np.intp]
    edm: float
    iterations: int
    calls: int
    status: Status
    away: Array | None = None

    @property
    def converged(self) -> bool:
        """Whether a minimum was found."""
        return self.status.is_minimum

    def required(self, what: str, names: Sequence[str] = ()) -> Minimum:
        """Itself, if it is a minimum.

        Args:
            what: What was fitted, for the message.
            names: Names of all parameters, P of them.

        Raises:
            NoMaximumError: There is none.
            FitError: It is none.
        """
        if self.away is not None:
            running = np.flatnonzero(np.abs(self.away) > 0.01 * np.abs(self.away).max()).tolist()
            known = names or [f"parameter {k}" for k in range(self.away.size)]
            ends = [f"{known[k]} runs to {'+' if self.away[k] > 0 else '-'}inf" for k in running]
            raise NoMaximumError(
                f"{what} has no best values: the likelihood has no maximum, {' and '.join(ends)}; give "
                f"{known[running[0]]} a limit, or more events"
            )
        if self.status is Status.UNDEFINED:
            raise FitError(f"{what} has no positive density at some event; check start values and limits")
        if not self.converged:
            raise FitError(f"{what} did not converge (edm {self.edm:.3g}); check start values and limits")
        return self

    @property
    def value(self) -> float:
        """-log L at the minimum, without the constants of the data."""
        return self.evaluation.value

    def covariance(self, scatter: Array | None = None) -> Array:
        """Inverse Hessian, shape (P, P); zero for parameters that did not move, NaN where the data say nothing.

        Args:
            scatter: Covariance of the gradient, if it is not the Hessian, shape (P, P); see `sandwich`.
        """
        covariance = np.zeros_like(self.evaluation.hessian)
        at = np.ix_(self.free, self.free)
        try:
            covariance[at] = sandwich(self.evaluation.hessian, scatter, self.free)
        except np.linalg.LinAlgError:
            covariance[at] = np.nan
        covariance[self.flat] = covariance[:, self.flat] = np.nan
        return covariance

    def undetermined(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of the parameters that the data do not determine: those without effect, or a combination of several.

        Args:
            names: Names of all parameters, P of them.
        """
        if self.flat.size or not self.free.size:
            return tuple(names[k] for k in self.flat)
        hessian = self.evaluation.hessian[np.ix_(self.free, self.free)]
        if not np.isfinite(hessian).all():
            return ()
        values, vectors = np.linalg.eigh(_scaled(hessian)[0])
        least = int(np.argmin(np.abs(values)))
        if abs(values[least]) > _DETERMINED:
            return ()
        return tuple(names[k] for k, part in zip(self.free, vectors[:, least], strict=True) if abs(part) > 0.1)


def sandwich(hessian: Array, scatter: Array | None, free: npt.ArrayLike) -> Array:
    """Covariance H^-1 J H^-1 of the k parameters that float, shape (k, k); H^-1 where J is H.

    Args:
        hessian: H, the Hessian of -log L, shape (P, P).
        scatter: J, the covariance of its gradient, shape (P, P); None if it is the Hessian.
        free: Indices of the parameters that float.

    Raises:
        LinAlgError: H has no inverse.
    """
    at = np.ix_(*[np.asarray(free, dtype=np.intp)] * 2)
    inverse = np.linalg.inv(hessian[at])
    return np.asarray(inverse if scatter is None else inverse @ scatter[at] @ inverse)


def _scaled(hessian: Array) -> tuple[Array, Array]:
    """A Hessian in units of its diagonal, and what it was multiplied by."""
    scale = 1.0 / np.sqrt(np.maximum(np.abs(hessian.diagonal()), 1e-300))
    return hessian * (scale[:, None] * scale), scale


def _direction(gradient: Array, hessian: Array) -> tuple[Array, bool]:
    """Downhill Newton step, and whether the Hessian is positive definite.

    The step is found in units of the diagonal, so that yields of 40,000 and slopes of one are alike, and negative
    curvature is turned round.  A component that no event supports has next to no curvature; what couples it to the
    others is rounding, and without a floor its huge step would take them with it.
    """
    curvature, least = hessian.diagonal(), _LEAST * gradient**2
    weak = np.abs(curvature) < least
    if weak.any():
        hessian = hessian + np.diag(np.where(weak, least - curvature, 0.0))
    scaled, scale = _scaled(hessian)
    root, fault = dpotrf(scaled)
    # so positive that no eigenvalue needs to be looked at
    if not fault and root.diagonal().min() > _SAFE:
        return -scale * dpotrs(root, scale * gradient)[0], True
    values, vectors = np.linalg.eigh(scaled)
    safe = np.maximum(np.abs(values), 1e-9)
    step = -scale * (vectors @ ((vectors.T @ (scale * gradient)) / safe))
    return step, bool(values[0] > 0.0)


def _descended(
    evaluator: Evaluator,
    theta: Array,
    value: float,
    active: npt.NDArray[np.intp],
    step: Array,
    slope: float,
    lower: Array,
    upper: Array,
) -> tuple[tuple[Array, Evaluation] | None, int]:
    """The first point on a shortened step that is low enough, and the number of evaluations; None if there is none."""
    length, calls = 1.0, 0
    while length > 1e-10:
        trial = theta.copy()
        trial[active] = np.clip(theta[active] + length * step, lower[active], upper[active])
        there = evaluator.evaluate(trial)
        calls += 1
        # rounding of a sum over many events must not stop the last step
        if there.value <= value + 1e-4 * length * slope + 1e-12 * abs(value):
            return (trial, there), calls
        length *= 0.5 if np.isfinite(there.value) else 0.1
    return None, calls


def _away(evaluator: Evaluator, path: Sequence[tuple[Array, float]], lower: Array, upper: Array) -> Array | None:
    """The direction in which -log L falls for ever, if the way of a search says so; its parts in units of the start.

    Where a likelihood has no maximum, Newton's steps double: the straight line on which they run away, a thousand times
    as far, tells it from a search that got stuck.  A likelihood of few events has none if all of them are unlike the
    signal: the density may then be negative between them, and fewer events than none be expected.
    """
    start = path[0][0]
    size = 1.0 + np.abs(start)
    near = [k for k, (theta, _) in enumerate(path) if (np.abs(theta - start) / size).max() < _RUNAWAY]
    last = near[-1]
    if last < _FEWEST_STEPS:
        return None
    theta, value = path[last]
    gone = (np.abs(theta - start) / size > _FAR_GONE) & (theta > lower) & (theta < upper)  # the others may stay
    # in proportion, so that the ratio of two numbers of events stays what it is: it may be all that keeps a density
    way = np.where(gone, theta, 0.0)
    if not way.any():
        return None
    for factor in (10.0, 100.0, 1000.0):
        there = evaluator.value(np.clip(theta + factor * way, lower, upper))
        if not there < value - 0.01:
            return None
        value = there
    return np.asarray(way / size)


def _lost(path: Sequence[tuple[Array, float]], lower: Array, upper: Array) -> Array | None:
    """The same where that way is not straight: a search that did not end, a million times as far, and still descended.

    The density of a single event is the larger the narrower a shape is around it.  Its parameters do not run away in
    proportion, and beside their way the density of the event is zero.
    """
    (start, _), (end, value) = path[0], path[-1]
    size = 1.0 + np.abs(start)
    gone = (np.abs(end - start) / size > _LOST) & (end > lower) & (end < upper)
    if not gone.any() or not value < path[len(path) // 2][1] - 0.01:
        return None
    return np.asarray(np.where(gone, end, 0.0) / size)


def minimise(
    evaluator: Evaluator,
    start: Array,
    free: npt.ArrayLike,
    *,
    limits: tuple[Array, Array] | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 100,
) -> Minimum:
    """Minimise -log L over some parameters.

    Args:
        evaluator: The likelihood.
        start: All parameters, shape (P,).
        free: Indices of the parameters to vary.
        limits: Lower and upper limits of all parameters, each of shape (P,); none by default.
        tolerance: Largest estimated distance to the minimum, in units of -log L.
        max_iterations: Newton steps before giving up.

    Returns:
        Where the search ended, and as its `status` what that is.
    """
    free = np.asarray(free, dtype=np.intp)
    lower, upper = limits or (np.full(len(start), -np.inf), np.full(len(start), np.inf))
    theta = start.astype(np.float64, copy=True)
    theta[free] = np.clip(theta[free], lower[free], upper[free])
    here, calls, edm, status = evaluator.evaluate(theta), 1, np.inf, Status.NOT_CONVERGED
    active, flat, path = free, free[:0], [(theta, here.value)]
    while len(path) <= max_iterations + 1:
        if not np.isfinite(here.value):
            status = Status.UNDEFINED
            break
        gradient = here.gradient[free]
        # a parameter at its limit that the gradient pushes outwards stays there for this step
        blocked = ((theta[free] <= lower[free]) & (gradient > 0)) | ((theta[free] >= upper[free]) & (gradient < 0))
        active = free[~blocked]
        gradient, hessian = here.gradient[active], here.hessian[active][:, active]
        # the slope of a background whose yield is zero: nothing depends on it there
        idle = (gradient == 0.0) & ~hessian.any(axis=1)
        flat = active[idle]
        if flat.size:
            active, gradient, hessian = active[~idle], gradient[~idle], hessian[np.ix_(~idle, ~idle)]
        if not active.size:
            edm, status = 0.0, Status.CONVERGED
            break
        if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
            break
        try:
            step, convex = _direction(gradient, hessian)
        except np.linalg.LinAlgError:  # squares of what is next to infinite
            break
        slope = float(gradient @ step)
        edm = -0.5 * slope
        if edm < tolerance and convex:
            status = Status.CONVERGED
            break
        further, tried = _descended(evaluator, theta, here.value, active, step, slope, lower, upper)
        calls += tried
        if further is None:
            status = Status.CONVERGED if convex and edm < _STALLED else status
            break
        theta, here = further
        path.append((theta, here.value))
        if len(path) % 25 == 0 and _away(evaluator, path, lower, upper) is not None:
            break
    if status is Status.CONVERGED and flat.size:
        status = Status.FLAT
    away = None
    if status is not Status.UNDEFINED and len(path) > _FEWEST_STEPS:
        # where all slopes vanish in the distance, a search may take it for a minimum
        away = _away(evaluator, path, lower, upper)
        if away is None and status is Status.NOT_CONVERGED:
            away = _lost(path, lower, upper)
        status = status if away is None else Status.UNBOUNDED
    return Minimum(theta, here, active, flat, float(edm), len(path) - 1, calls, status, away)
