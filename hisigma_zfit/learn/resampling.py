"""Which events a training sees, how often and in which order.

All of it hangs on the seed and on the identity of the events (see `Dataset`), not on where they stand.  So trainings of
nominal and varied samples treat the events that these share alike, and their noise cancels in ratios, also where cuts
keep some events of the one and not of the other; and others can ask again for what a training has not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import poisson

from hisigma_zfit.learn.streams import Purpose, hashed, hashed_uniform

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Integers, Mask
    from hisigma_zfit.data import Dataset

__all__ = [
    "bootstrap_weights",
    "event_order",
    "fold_of",
    "half_of",
    "held_out_events",
    "held_out_mask",
    "validation_mask",
]

HELD_OUT = 0.05
FOLDS = 5  # parts of the events, of which a member leaves out one
MAX_VALIDATED = 20_000  # more of them would cost time and tell nothing new

_POISSON = poisson.cdf(np.arange(20), 1.0)  # the rest has a probability of 2e-20


def bootstrap_weights(seed: int, bootstrap: int, identity: Integers) -> Integers:
    """Poisson(1) weights of one bootstrap of `train_flow`: how often each event is drawn.

    Independent Poisson weights resample a data set whose size fluctuates too, and need no second pass over it.

    Args:
        seed: The seed that was given to `train_flow`.
        bootstrap: Its number, from 0.
        identity: Of the events, shape (n,).

    Returns:
        Shape (n,).
    """
    return np.searchsorted(_POISSON, hashed_uniform(identity, seed, Purpose.RESAMPLE, bootstrap), side="right")


def held_out_events(data: Dataset, *, seed: int) -> Dataset:
    """Events that `train_flow` with this seed does not train with: each with a chance of 5 %, the same for all members.

    Args:
        data: The data that were given to `train_flow`.
        seed: The seed that was given to it.

    Example:
        >>> len(hz.held_out_events(hz.examples.simulation(), seed=1))  # of 1,000
        46
    """
    used = np.ones(len(data), dtype=bool) if data.weights is None else data.weights > 0
    held_out = np.zeros(len(data), dtype=bool)
    held_out[used] = held_out_mask(data.identity[used], seed=seed)
    return data.select(held_out, reason="trained with")


def held_out_mask(identity: Integers, *, seed: int) -> Mask:
    """The same for the events of positive weight with these identities, shape (n,)."""
    chance = hashed_uniform(identity, seed, Purpose.HELD_OUT)
    # one at least, so that few events have a validation too
    return chance <= max(HELD_OUT, chance.min(initial=1.0))


def validation_mask(identity: Integers, *, seed: int) -> Mask:
    """Those of the held-out events that validate the training: 20,000 at most, shape (n,)."""
    mask = held_out_mask(identity, seed=seed)
    if np.count_nonzero(mask) > MAX_VALIDATED:
        chance = hashed_uniform(identity, seed, Purpose.HELD_OUT)
        mask &= chance <= np.partition(chance, MAX_VALIDATED - 1)[MAX_VALIDATED - 1]
    return mask


def fold_of(identity: Integers, *, seed: int, folds: int = FOLDS) -> Integers:
    """Part of the sample that each event is in, 0 to `folds` - 1, shape (n,); a member of `train_flow` leaves out one.

    Args:
        identity: Of the events, shape (n,).
        seed: The seed that was given to `train_flow`.
        folds: How many parts there are.
    """
    return (hashed_uniform(identity, seed, Purpose.FOLD) * folds).astype(np.int8)


def half_of(identity: Integers, *, seed: int) -> Integers:
    """Half of the sample that each event is in, 0 or 1, shape (n,); `train_flow` with bootstraps learns each apart.

    Args:
        identity: Of the events, shape (n,).
        seed: The seed that was given to `train_flow`.
    """
    return (hashed(identity, seed, Purpose.HALF) & np.uint64(1)).astype(np.int8)


def event_order(identity: Integers, epoch: int, *, seed: int, bootstrap: int) -> Integers:
    """Order of the events in an epoch: a permutation of 0 to n - 1, in which shared events follow each other alike.

    Args:
        identity: Of the events, shape (n,).
        epoch: Its number, from 0.
        seed: The seed of the training.
        bootstrap: Its number, from 0.
    """
    return np.argsort(hashed(identity, seed, Purpose.ORDER, bootstrap, epoch), kind="stable")
