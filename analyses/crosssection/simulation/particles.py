"""Particles of many events in flat arrays, sorted by event, and how to pair what is in one event."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Integers

__all__ = ["Particles", "distance2", "pairs", "ranges", "wrapped"]

NEUTRINOS = (12, 14, 16)


def wrapped(angle: Array) -> Array:
    """An angle in (-pi, pi]."""
    return np.pi - np.mod(np.pi - angle, 2.0 * np.pi)


def distance2(eta_a: Array, phi_a: Array, eta_b: Array, phi_b: Array) -> Array:
    """Squared angular distance."""
    return (eta_a - eta_b) ** 2 + wrapped(phi_a - phi_b) ** 2


def ranges(starts: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Indices of many ranges one behind the other, and which range each is of.

    Args:
        starts: First index of each range, shape (n,).
        counts: How many it has, shape (n,).

    Returns:
        Both of shape (sum of counts,).
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return np.arange(len(owner)) - first[owner] + starts[owner], owner


def pairs(event_a: Integers, event_b: Integers) -> tuple[Integers, Integers]:
    """Indices of all pairs of an a and a b of one event.

    Args:
        event_a: Events of the first ones, in any order, shape (n,).
        event_b: Events of the second ones, sorted, shape (m,).
    """
    starts = np.searchsorted(event_b, event_a, side="left")
    counts = np.searchsorted(event_b, event_a, side="right") - starts
    b, a = ranges(starts, counts)
    return a, b


@dataclass(frozen=True)
class Particles:
    """Particles, sorted by event.

    Attributes:
        event: Shape (n,).
        px: Momentum in GeV, shape (n,); py and pz alike.
        e: Energy in GeV, shape (n,).
        code: PDG code, shape (n,).
    """

    event: Integers
    px: Array
    py: Array
    pz: Array
    e: Array
    code: Integers

    def __len__(self) -> int:
        return len(self.event)

    @cached_property
    def pt(self) -> Array:
        """Transverse momentum in GeV."""
        return np.hypot(self.px, self.py)

    @cached_property
    def eta(self) -> Array:
        """Pseudorapidity."""
        return np.arcsinh(self.pz / np.maximum(self.pt, 1e-9))

    @cached_property
    def phi(self) -> Array:
        """Azimuth."""
        return np.arctan2(self.py, self.px)

    def take(self, index: npt.NDArray[Any]) -> Particles:
        """Those of an index or a mask, which keeps the order of events."""
        return Particles(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Particles]) -> Particles:
        """All of them, sorted."""
        whole = cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
        return whole.take(np.argsort(whole.event, kind="stable"))
