"""Every stream of random numbers of the package has a name here.

numpy takes ``[7]``, ``[7, 0]`` and ``[7, 0, 0]`` for one seed, so that two steps that count from zero may draw the same
numbers.  Here a stream is told by the seed, what it is for, and any further numbers (which bootstrap, which member);
no two that differ in anything, be it in how many numbers there are, have anything in common.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Integers

    _Bits = npt.NDArray[np.uint64]

__all__ = ["Purpose", "hashed", "hashed_uniform", "seed_for", "stream"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, as splitmix64 counts


@unique
class Purpose(IntEnum):
    """What random numbers are for.  A new purpose takes the next number; a number is never given again."""

    HELD_OUT = 1
    """Which events only validate a training."""
    RESAMPLE = 2
    """How often a bootstrap draws each event."""
    ORDER = 3
    """Order of the events in an epoch."""
    START = 4
    """Starting parameters of a member."""
    FLOW = 5
    """What a single density draws."""
    COMPONENT = 6
    """Which component of a mixture an event comes from."""
    PART = 7
    """What a part of a composed density draws."""
    SUBSAMPLE = 8
    """Which events are compared, where all would be too many."""
    COMPARISON = 9
    """The density's events that data are compared with."""
    TRANSFORM = 10
    """Positions inside of the steps of an integral transform."""
    CLASSIFIER = 11
    """Folds and trees of a classifier."""
    NORMALISATION = 12
    """Events that normalise a varied density."""
    VARIED = 13
    """What a varied density draws."""
    PROJECTION = 14
    """Events of a fitted model for figures."""
    POOL = 15
    """Events of every component, from which Asimov sets and toys are made."""
    PSEUDO_DATA = 16
    """Events of a whole model that stand for data."""
    MEASUREMENT = 17
    """What the steps of the task `measure` take as their seeds."""
    TOY = 18
    """One pseudo-experiment of a study."""
    TEST_TOY = 19
    """One pseudo-experiment of a hypothesis, for the distribution of a test statistic."""
    GOODNESS_OF_FIT = 20
    """Events of the fitted model that data are tested with, and the test."""
    RESPONSE = 21
    """Events of the model's signal that simulation is compared with."""
    BASELINE = 22
    """Masses, starts and orders of the classifiers that the method is compared with."""
    FOLD = 23
    """Which part of the events a member does not see."""
    HALF = 24
    """Which half of the events an event is in."""
    VALIDATION = 25
    """What the jobs of the task `validate` take as theirs, and which simulated signal they inject."""
    PILOT = 26
    """Events and starts of the short trainings that choose coordinates."""
    SEARCH = 27
    """Starts, folds, blocks and bootstraps of a search for lumps, and the points that measure its regions."""
    NULL_TOY = 28
    """A background-only experiment that is searched."""
    UNSEEN = 29
    """Masses at which events are put that a density has not seen."""
    YIELD_RESPONSE = 30
    """Experiments with an injected learned signal, and the starts of their searches."""
    WINDOW_SCAN = 41
    """Trainings, starts and background-only experiments of windows that are searched one after the other."""
    COMPARISON_SCORES = 42
    """Background events, trees, folds and nets of the scores that a search is compared with."""
    SEARCH_FEATURES = 43
    """Data sets with useless features that a benchmark searches."""
    RATIO_POSTERIOR = 44
    """Trees, starts and orders of the classifiers of a cross-section's posteriors."""
    RATIO_EXPONENTS = 45
    """Starts and orders of the nets that learn systematic variations of a ratio."""
    SMEARING = 46
    """What a random shift adds to an event, the same at every design point."""
    DATA_FOLD = 47
    """Which fold's models score an event of data."""
    HELD_BACK = 48
    """Which simulated events nothing is learned from."""
    REPLICA = 49
    """Fits of resampled simulation, and the trainings of replicas of the whole learning."""
    RATIO_TOYS = 50
    """Nuisances, numbers of events and shifts of a cross-section's pseudo-experiments."""
    SHARED_ANALYSIS = 61
    """Numbers of events and seeds of the pseudo-experiments of an exported analysis."""
    SIGNAL_FAMILY = 40
    """Starts of a family of signals, and its pseudo-experiments."""


def stream(seed: int, purpose: Purpose, *numbers: int) -> np.random.Generator:
    """Generator of the stream that these name.

    Args:
        seed: The user's, not negative.
        purpose: What it is for.
        numbers: Which one of its kind; not negative.
    """
    return np.random.default_rng(_sequence(seed, purpose, numbers))


def seed_for(seed: int, purpose: Purpose, *numbers: int) -> int:
    """A seed of 63 bits for something that takes a seed itself; see `stream`."""
    return int(_keys(seed, purpose, numbers, 1)[0] >> np.uint64(1))


def hashed(identity: Integers, seed: int, purpose: Purpose, *numbers: int) -> _Bits:
    """A random number for every event, which depends on nothing but these names and the identity of the event.

    So an event has the same number in every sample that it is in, wherever in it it stands.

    Args:
        identity: Of the events, integers of shape (n,).
        seed: The user's, not negative.
        purpose: What it is for.
        numbers: Which one of its kind.

    Returns:
        64 random bits by event, shape (n,).
    """
    first, second = _keys(seed, purpose, numbers, 2)
    # twice the generator splitmix64, with keys of its own each time: the streams of two keys have no common numbers
    return _mixed(_mixed(identity.astype(np.uint64) * _GOLDEN + first) + second)


def hashed_uniform(identity: Integers, seed: int, purpose: Purpose, *numbers: int) -> Array:
    """The same as numbers in [0, 1), shape (n,)."""
    bits = hashed(identity, seed, purpose, *numbers)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _sequence(seed: int, purpose: Purpose, numbers: tuple[int, ...]) -> np.random.SeedSequence:
    # a spawn key is kept apart from the seed; its first number keeps it apart from keys of another length
    return np.random.SeedSequence(seed, spawn_key=(len(numbers), purpose, *numbers))


def _keys(seed: int, purpose: Purpose, numbers: tuple[int, ...], n: int) -> _Bits:
    return _sequence(seed, purpose, numbers).generate_state(n, np.uint64).astype(np.uint64, copy=False)


def _mixed(z: _Bits) -> _Bits:
    """The output of splitmix64 (Steele, Lea, Flood 2014) at state z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
