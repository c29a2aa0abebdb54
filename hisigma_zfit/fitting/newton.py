"""Newton's method with limits on an exact Hessian: the minimiser behind fits, scans and toys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluation, Evaluator

__all__ = ["Minimum", "minimise"]


_LEAST = 1e-8  # of the squared gradient: no single parameter promises more than 5e7 units of -log L


@dataclass(frozen=True)
class Minimum:
    """Where the minimiser stopped.

    Attributes:
        theta: All parameters, shape (P,).
        evaluation: Value, gradient and Hessian there, with respect to all parameters.
        free: Indices of the parameters that floated and are not held at a limit.
        edm: Estimated distance to the minimum, in units of -log L.
        iterations: Newton steps that were taken.
        calls: Evaluations of the likelihood.
        converged: True if `edm` is below the tolerance and the Hessian is positive definite.
    """

    theta: Array
    evaluation: Evaluation
    free: npt.NDArray[np.intp]
    edm: float
    iterations: int
    calls: int
    converged: bool

    @property
    def value(self) -> float:
        """-log L at the minimum, without the constants of the data."""
        return self.evaluation.value

    def covariance(self) -> Array:
        """Inverse Hessian, shape (P, P); zero for parameters that did not move."""
        covariance = np.zeros_like(self.evaluation.hessian)
        at = np.ix_(self.free, self.free)
        covariance[at] = np.linalg.inv(self.evaluation.hessian[at])
        return covariance


def _direction(gradient: Array, hessian: Array) -> tuple[Array, bool]:
    """Downhill Newton step, and whether the Hessian is positive definite.

    The step is found in units of the diagonal, so that yields of 40,000 and slopes of one are alike, and negative
    curvature is turned round.  A component that no event supports has next to no curvature; what couples it to the
    others is rounding, and without a floor its huge step would take them with it.
    """
    curvature = np.diag(hessian)
    floor = np.where(np.abs(curvature) < _LEAST * gradient**2, _LEAST * gradient**2 - curvature, 0.0)
    hessian = hessian + np.diag(floor)
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    safe = np.maximum(np.abs(values), 1e-9)
    step = -scale * (vectors @ ((vectors.T @ (scale * gradient)) / safe))
    return step, bool(values[0] > 0.0)


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
        The minimum; look at its `converged`.
    """
    free = np.asarray(free, dtype=np.intp)
    lower, upper = limits or (np.full(len(start), -np.inf), np.full(len(start), np.inf))
    theta = start.astype(np.float64, copy=True)
    theta[free] = np.clip(theta[free], lower[free], upper[free])
    here, calls, edm, converged = evaluator.evaluate(theta), 1, np.inf, False
    active, iterations = free, 0
    while iterations <= max_iterations:
        if not np.isfinite(here.value) or not free.size:
            converged = not free.size
            break
        # a parameter at its limit that the gradient pushes outwards stays there for this step
        gradient = here.gradient[free]
        blocked = ((theta[free] <= lower[free]) & (gradient > 0)) | ((theta[free] >= upper[free]) & (gradient < 0))
        active = free[~blocked]
        if blocked.any():
            # the slope of a background whose yield is held at zero: nothing depends on it there
            flat = (here.gradient[active] == 0.0) & ~here.hessian[np.ix_(active, active)].any(axis=1)
            active = active[~flat]
        if not active.size:
            edm, converged = 0.0, True
            break
        step, convex = _direction(here.gradient[active], here.hessian[np.ix_(active, active)])
        slope = float(here.gradient[active] @ step)
        edm = -0.5 * slope
        if edm < tolerance and convex:
            converged = True
            break
        length, accepted = 1.0, False
        while length > 1e-10:
            trial = theta.copy()
            trial[active] = np.clip(theta[active] + length * step, lower[active], upper[active])
            there = evaluator.evaluate(trial)
            calls += 1
            # rounding of a sum over many events must not stop the last step
            if there.value <= here.value + 1e-4 * length * slope + 1e-12 * abs(here.value):
                theta, here, accepted = trial, there, True
                iterations += 1
                break
            length *= 0.5 if np.isfinite(there.value) else 0.1
        if not accepted:
            break
    return Minimum(theta, here, active, float(edm), iterations, calls, converged)
