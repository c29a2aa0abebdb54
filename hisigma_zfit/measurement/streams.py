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
    RESONANT = 6


def stream_seed(seed: int, stream: Stream, *names: str) -> int:
    """Seed of one purpose; those of neighbouring `seed` do not overlap, whatever the user picks.

    Args:
        seed: The user's seed.
        stream: The purpose.
        names: Of the component and the category it is for, so that another one more or less changes none of the others;
            empty ones do not count.
    """
    letters = [number for name in names if name for number in (256, *name.encode())]  # 256 is no letter
    return int(np.random.SeedSequence([seed, int(stream), *letters]).generate_state(1)[0])
