"""Where a function that grows from zero at a minimum reaches a level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from hisigma_zfit.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["find_crossing"]

_FAR = 1e6  # beyond the edge of validity t is infinite; a large finite number lets the root finder bisect


def find_crossing(
    t: Callable[[float], float], level: float, *, best: float, step: float, limit: float, name: str
) -> float:
    """Where t reaches `level`, or `limit` if it does not before.

    The search is in the square root of t, which is next to straight, and asks for no value twice.  Where t has no
    value the steps become shorter: what is looked for may be nearer.

    Args:
        t: Not negative, zero at `best`.
        level: The level, positive.
        best: Where the search begins.
        step: Its first step, with its sign.
        limit: Where it ends.
        name: Of the parameter, for the message.

    Raises:
        FitError: The level was not reached in sixty steps, or `t` raises it all the way there.
    """
    known = {best: -np.sqrt(level)}

    def excess(value: float) -> float:
        if value not in known:
            known[value] = np.sqrt(min(t(value), _FAR)) - np.sqrt(level)
        return float(known[value])

    inner, outer, failed = best, best + step, None
    for _ in range(60):
        try:
            if (outer - limit) * step >= 0.0:
                if t(limit) <= level:
                    return limit
                outer = limit
            beyond = excess(outer) > 0.0
        except FitError as error:
            step = 0.25 * (outer - inner)
            outer, failed = inner + step, error
            continue
        if beyond:
            return float(brentq(excess, inner, outer, xtol=1e-6 * abs(step), rtol=1e-10))
        inner, outer = outer, outer + step
    raise failed or FitError(f"the profile of {name} never reaches {level:g}; check that the data constrain it")
