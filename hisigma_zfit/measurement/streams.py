"""Seeds of the random steps of a measurement, one stream for each purpose."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Stream", "stream_seed"]


class Stream(IntEnum):
    """What random numbers are drawn for; from 1, because numpy does not tell a trailing 0 from nothing."""

    BACKGROUND = 1
    SIGNAL = 2
    SAMPLE = 3
    CLOSURE = 4
    RESPONSE = 5


def stream_seed(seed: int, stream: Stream) -> int:
    """Seed of one purpose; those of neighbouring `seed` do not overlap, whatever the user picks."""
    return int(np.random.SeedSequence([seed, int(stream)]).generate_state(1)[0])
