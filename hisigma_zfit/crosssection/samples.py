"""Simulated events of one process: those that are learned from, and those that are held back from everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from hisigma_zfit.crosssection.smearing import row_keys
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.resampling import bootstrap_weights, fold_of
from hisigma_zfit.learn.streams import Purpose, hashed_uniform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Integers, Mask
    from hisigma_zfit.crosssection.nuisances import Process
    from hisigma_zfit.data import Dataset

__all__ = ["Part", "Sample", "split_sample", "weights_of"]


@dataclass(frozen=True)
class Part:
    """Which hard events of a process are used.

    Attributes:
        seed: The user's.
        held_back: Share of hard events that nothing is learned from.
        which: Those, or all the others.
        scale: Factor on the weights, so that the part stands for the whole yield.
        replica: Number of the bootstrap by which hard events are drawn again; None for each once.
    """

    seed: int
    held_back: float
    which: Literal["used", "held"] = "used"
    scale: float = 1.0
    replica: int | None = None

    def mask(self, identity: Integers) -> Mask:
        """Which rows belong to it, by the identity of the hard events behind them, shape (n,)."""
        held = hashed_uniform(identity, self.seed, Purpose.HELD_BACK) < self.held_back
        return held if self.which == "held" else ~held

    def copies(self, identity: Integers) -> Integers | None:
        """How often hard events are drawn, shape (n,); None if each is there once."""
        return None if self.replica is None else bootstrap_weights(self.seed, self.replica, identity)


@dataclass(frozen=True)
class Sample:
    """Rows of one process before any shift and selection.

    Attributes:
        process: The process.
        events: Its rows; weights are expected events, and the identity is that of the hard event.
        part: Which of its hard events they are.
        folds: How many folds there are.
    """

    process: Process
    events: Dataset
    part: Part
    folds: int

    @property
    def name(self) -> str:
        """Name of the process."""
        return self.process.name

    @property
    def columns(self) -> Mapping[str, Array]:
        """Its columns, each of shape (n,)."""
        return self.events.columns

    @cached_property
    def weights(self) -> Array:
        """Expected events that each row stands for, shape (n,)."""
        return weights_of(self.events)

    @cached_property
    def fold(self) -> Integers:
        """Fold of each row, shape (n,): of the hard event behind it."""
        return self.fold_of(self.events.identity)

    @cached_property
    def keys(self) -> Integers:
        """What tells rows apart wherever they stand, shape (n,)."""
        return row_keys(self.events.identity)

    @cached_property
    def _by_key(self) -> tuple[Integers, Integers]:
        order = np.argsort(self.keys, kind="stable")
        return self.keys[order], order

    def fold_of(self, identity: Integers) -> Integers:
        """Fold of hard events, shape (n,)."""
        return fold_of(identity, seed=self.part.seed, folds=self.folds)

    def rows_of(self, identity: Integers) -> Integers:
        """Own row of each of other rows, shape (n,); -1 where there is none.

        Several rows of one hard event are matched in the order in which they stand.
        """
        ordered, order = self._by_key
        wanted = row_keys(identity)
        at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        return np.where(ordered[at] == wanted, order[at], -1)

    def like(self, events: Dataset) -> Dataset:
        """Of varied events of the whole process those of this part, with weights on the same scale."""
        found = events.select(self.part.mask(events.identity), reason="held back")
        found = replace(found, weights=weights_of(found) * self.part.scale)
        return _drawn_again(found, self.part)

    def replica(self, number: int) -> Sample:
        """The same with its hard events drawn again: each a Poisson number of times, of mean one.

        Args:
            number: Of the bootstrap; processes need numbers of their own, since they number their events alike.
        """
        part = replace(self.part, replica=number)
        return Sample(self.process, _drawn_again(self.events, part), part, self.folds)


def _drawn_again(events: Dataset, part: Part) -> Dataset:
    copies = part.copies(events.identity)
    if copies is None:
        return events
    found = events.select(copies > 0, reason="not drawn")
    return replace(found, weights=weights_of(found) * copies[copies > 0])


def weights_of(events: Dataset) -> Array:
    """Weights of events, shape (n,); one where there are none."""
    return np.ones(len(events)) if events.weights is None else events.weights


def split_sample(process: Process, *, seed: int, held_back: float, folds: int) -> tuple[Sample, Sample | None]:
    """What is learned from and what is held back, each scaled to the whole yield.

    Args:
        process: With all its events.
        seed: The user's.
        held_back: Share of hard events that nothing is learned from.
        folds: How many folds there are.

    Raises:
        InputError: Nothing is left on a side, or its weights sum to nothing.
    """
    total = float(weights_of(process.events).sum())
    samples = []
    for which in ("used", "held") if held_back > 0.0 else ("used",):
        part = Part(seed, held_back, "held" if which == "held" else "used")
        mask = part.mask(process.events.identity)
        own = process.events if mask.all() else process.events.select(mask, reason="held back")
        expected = float(weights_of(own).sum())
        if not len(own) or expected <= 0.0:
            raise InputError.from_parts(
                expected=f"events of {process.name} with a positive sum of weights, {which}",
                got=f"{len(own)} rows that sum to {expected:g}",
                do="use more events, or hold fewer back",
            )
        scaled = replace(own, weights=weights_of(own) * (total / expected))
        samples.append(Sample(process, scaled, replace(part, scale=total / expected), folds))
    return samples[0], samples[1] if len(samples) > 1 else None
