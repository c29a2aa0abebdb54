"""Which events a training sees, and how often: functions of its seed, so that others can ask for them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Integers, Mask
    from hisigma_zfit.data import Dataset

__all__ = ["ORDER", "START", "bootstrap_weights", "held_out_events", "held_out_mask"]

HELD_OUT = 0.05
MAX_HELD_OUT = 20_000
# what a stream of random numbers is for; the second word of its seed
SPLIT, RESAMPLE, ORDER, START = range(4)


def bootstrap_weights(seed: int, bootstrap: int, n_events: int) -> Integers:
    """Poisson(1) weights of one bootstrap of `train_flow`, shape (n_events,): how often each event is drawn.

    Independent Poisson weights resample a data set whose size fluctuates too, and need no second pass over it.
    """
    return np.random.default_rng([seed, RESAMPLE, bootstrap]).poisson(1.0, size=n_events)


def held_out_events(data: Dataset, *, seed: int) -> Dataset:
    """Events that `train_flow` with this seed only validates with: 5 %, at most 20,000, the same for all members.

    Args:
        data: The data that were given to `train_flow`.
        seed: The seed that was given to it.

    Example:
        >>> len(hz.held_out_events(hz.examples.simulation(), seed=1))
        50
    """
    used = np.ones(len(data), dtype=bool) if data.weights is None else data.weights > 0
    held_out = np.zeros(len(data), dtype=bool)
    held_out[used] = held_out_mask(int(used.sum()), seed=seed)
    return data.select(held_out)


def held_out_mask(n: int, *, seed: int) -> Mask:
    """The same for the n events of positive weight."""
    mask = np.zeros(n, dtype=bool)
    mask[np.random.default_rng([seed, SPLIT]).permutation(n)[: min(int(HELD_OUT * n), MAX_HELD_OUT)]] = True
    return mask
