"""Where a profile reaches a level, found for all parameters at once: a third of the evaluations of conditional fits.

The point is where -log L has the wanted value and its slopes by all other parameters vanish.  Each step takes both from
one evaluation: the parabola there says what the profile is, how it goes on, and where the others go with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Integers, Mask
    from hisigma_zfit.likelihood.evaluate import Evaluation, Evaluator

__all__ = ["quick_crossing"]

_STEPS = 12
_NEAR = 1e-4  # of the first step: a step so short has an error of third order, which nobody sees
_FLAT = 1e-6  # distance of the others from their conditional minimum, in units of -log L, with the same argument


def quick_crossing(
    evaluator: Evaluator,
    start: Array,
    index: int,
    others: Sequence[int],
    limits: tuple[Array, Array],
    *,
    target: float,
    step: float,
) -> float | None:
    """The value of a parameter where its profile reaches a level.

    Args:
        evaluator: The likelihood.
        start: All parameters near the crossing, shape (P,).
        index: Of the parameter.
        others: Indices of those that are profiled.
        limits: Lower and upper limits of all parameters, each of shape (P,).
        target: -log L at the crossing.
        step: From the best fit to where the crossing is expected; its sign says on which side it is.

    Returns:
        The crossing, or None where this way does not lead to one: the level is never reached or lies beyond a limit,
        or a parabola has no minimum.
    """
    lower, upper = limits
    theta, side = start.copy(), np.sign(step)
    free = np.array(others, dtype=np.intp)
    for _ in range(_STEPS):
        if not lower[index] < theta[index] < upper[index]:
            return None
        here = evaluator.evaluate(theta)
        if not (np.isfinite(here.value) and np.isfinite(here.hessian).all()):
            return None
        active = free[~_blocked(here, theta, free, lower, upper)]
        found = _parabola(here, index, active)
        if found is None:
            return None
        back, way, value, slope, bend = found
        missing = target - value
        square = slope**2 + 2.0 * bend * missing
        if slope * side <= 0.0 or square < 0.0:
            return None
        move = 2.0 * missing / (slope + side * np.sqrt(square))
        theta[index] += move
        theta[active] = np.clip(theta[active] + back + way * move, lower[active], upper[active])
        if abs(move) < _NEAR * abs(step) and here.value - value < _FLAT:
            return float(np.clip(theta[index], lower[index], upper[index]))
    return None


def _blocked(here: Evaluation, theta: Array, free: Integers, lower: Array, upper: Array) -> Mask:
    """Which parameters are at a limit that the gradient pushes beyond."""
    gradient = here.gradient[free]
    return np.asarray(((theta[free] <= lower[free]) & (gradient > 0)) | ((theta[free] >= upper[free]) & (gradient < 0)))


def _parabola(here: Evaluation, index: int, active: Integers) -> tuple[Array, Array, float, float, float] | None:
    """Way of the others to their conditional minimum, their derivative, and the profile with its two derivatives."""
    if not active.size:
        nothing = np.zeros(0)
        return nothing, nothing, here.value, float(here.gradient[index]), float(here.hessian[index, index])
    gradient, mixed = here.gradient[active], here.hessian[active, index]
    try:
        root = np.linalg.cholesky(here.hessian[np.ix_(active, active)])
    except np.linalg.LinAlgError:
        return None
    half = np.linalg.solve(root, np.stack([gradient, mixed], axis=1))
    back, way = -np.linalg.solve(root.T, half).T
    return (
        back,
        way,
        here.value + 0.5 * float(gradient @ back),
        float(here.gradient[index] + gradient @ way),
        float(here.hessian[index, index] + mixed @ way),
    )
