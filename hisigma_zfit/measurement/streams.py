"""Seeds of the random steps of a measurement, one stream for each purpose."""

from __future__ import annotations

from enum import IntEnum

from hisigma_zfit.learn.streams import Purpose, seed_for

__all__ = ["Stream", "stream_seed"]


class Stream(IntEnum):
    """What random numbers are drawn for."""

    BACKGROUND = 1
    SIGNAL = 2
    SAMPLE = 3
    CLOSURE = 4
    RESPONSE = 5
    RESONANT = 6
    NORMALISATION = 7
    LIMIT = 8
    FORECAST = 9
    GOODNESS = 10


def stream_seed(seed: int, stream: Stream, *names: str) -> int:
    """Seed of one purpose; those of neighbouring `seed` do not overlap, whatever the user picks.

    Args:
        seed: The user's seed.
        stream: The purpose.
        names: Of the component and the category it is for, so that another one more or less changes none of the others;
            empty ones do not count.
    """
    letters = [number for name in names if name for number in (256, *name.encode())]  # 256 is no letter
    return seed_for(seed, Purpose.MEASUREMENT, stream, *letters)
