"""Where a training stops: at the last step before held-out events say that it hurts.

A net that has seen few events many times describes them and no others.  The loss of events that did not train tells
when that begins, and the parameters are kept of the last step whose loss is not above the smallest one by more than
`TOLERANCE`.  The smallest loss itself would be too early: densities that are stopped there are smoother than the truth
where it is steep, and the fitted yield is further off, although the divergence is smaller (measured on known truths,
see docs/coverage.md).

The start is one of the candidates.  Where it is the uniform density of the cube, as that of `spline_flow`, no training
is worse than independent features on events that it has not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOLERANCE", "checks", "hopeless", "kept"]

TOLERANCE = 0.004  # nats by event; what the yield gains from longer training outweighs as much of the divergence
FIRST = 12  # steps before the first check
GROWTH = 1.25  # of the steps from one check to the next
HOPELESS = 0.05  # nats by event above the smallest loss, from where it has never come back
LATELY = 3  # checks in a row that must be there: twice the steps of the best one


def checks(n_steps: int) -> tuple[int, ...]:
    """Steps after which held-out events are evaluated: the start, then in growing distances, and the end.

    Args:
        n_steps: Steps of the whole training.
    """
    n = int(np.log(max(n_steps / FIRST, 1.0)) / np.log(GROWTH))
    inner = {round(FIRST * GROWTH**k) for k in range(n + 1)}
    return tuple(sorted({0, n_steps} | {step for step in inner if step < n_steps}))


def kept(losses: Sequence[float]) -> int:
    """Which check is kept.

    Args:
        losses: Mean loss of the held-out events at each check, the first at the start.
    """
    values = np.asarray(losses, dtype=np.float64)
    allowed = min(np.nanmin(values) + TOLERANCE, values[0])
    return int(np.flatnonzero(values <= allowed)[-1])


def hopeless(losses: Sequence[float]) -> bool:
    """Whether the loss has risen so far that going on is a waste.

    Args:
        losses: As for `kept`, so far.
    """
    lately = np.asarray(losses[-LATELY:], dtype=np.float64)
    return len(losses) > LATELY and bool(np.all(lately > np.nanmin(losses) + HOPELESS))
