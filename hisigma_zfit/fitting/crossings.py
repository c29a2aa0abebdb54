"""Where a function that grows from zero at a minimum reaches a level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from hisigma_zfit.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bracket", "find_crossing"]

_FAR = 1e6  # beyond the edge of validity t is infinite; a large finite number lets the root finder bisect
_TRIES = 60  # of a search that steps outwards
_PATIENCE = 20  # steps of one length, after which a width that was foreseen is not believed any more
_GROWTH = 1.3  # of each step from then on
_NEARER = 0.25  # of a step that led where nothing can be fitted


def bracket(
    excess: Callable[[float], float],
    start: float,
    step: float,
    *,
    missed: str,
    stride: float | None = None,
    limit: float = np.inf,
    patience: int = _PATIENCE,
    growth: float = _GROWTH,
) -> tuple[float, float]:
    """Two places between which a function becomes positive, found by steps away from one where it is not.

    All searches for a level of a profile or a confidence level go this way.  Where the function has no value, because
    a fit fails there, the steps become shorter: what is looked for may be nearer.  After twenty steps of one length
    they become longer: a curvature that belongs to a few rare events says nothing of the width further out.

    Args:
        excess: Not positive at `start`.
        start: Where the search begins.
        step: The first step, with its sign.
        missed: What is said before the last place if the function does not become positive.
        stride: The later steps, with their sign; as the first by default.
        limit: Where the search ends, on the side to which it goes.
        patience: Steps before they become longer.
        growth: By how much each of them does then.

    Returns:
        The last place where the function was not positive, and the first where it was; both are `limit` if it is not
        positive there.

    Raises:
        FitError: It was positive nowhere in sixty steps, or `excess` raises it all the way there.
    """
    side, stride = np.sign(step), step if stride is None else stride
    inner, outer, failed = start, start + step, None
    for k in range(_TRIES):
        outer = outer if side * (outer - limit) < 0.0 else limit
        try:
            beyond = excess(outer) > 0.0
        except FitError as error:
            stride = _NEARER * (outer - inner)
            outer, failed = inner + stride, error
            continue
        if beyond:
            return inner, outer
        if outer == limit:
            return limit, limit
        stride *= growth if k >= patience else 1.0
        inner, outer = outer, outer + stride
    raise failed or FitError(f"{missed} {outer:g}; check that the data constrain it")


def find_crossing(
    t: Callable[[float], float], level: float, *, best: float, step: float, limit: float, name: str
) -> float:
    """Where t reaches `level`, or `limit` if it does not before.

    The search is in the square root of t, which is next to straight, and asks for no value twice.

    Args:
        t: Not negative, zero at `best`.
        level: The level, positive.
        best: Where the search begins.
        step: Its first step, with its sign.
        limit: Where it ends.
        name: Of the parameter, for the message.

    Raises:
        FitError: As `bracket` does.
    """
    known = {best: -np.sqrt(level)}

    def excess(value: float) -> float:
        if value not in known:
            known[value] = np.sqrt(min(t(value), _FAR)) - np.sqrt(level)
        return float(known[value])

    missed = f"the profile of {name} never reaches {level:g}, not even at"
    inner, outer = bracket(excess, best, step, missed=missed, limit=limit)
    if inner == outer:
        return limit
    return float(brentq(excess, inner, outer, xtol=1e-6 * min(abs(step), abs(outer - inner)), rtol=1e-10))
