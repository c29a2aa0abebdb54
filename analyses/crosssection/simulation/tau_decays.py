"""Decays of taus from a library: helicity by helicity, turned, boosted, and put into an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyses.crosssection.simulation.particles import Particles, ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Integers, Mask

__all__ = ["Decays", "TauLibrary", "Taus", "random_helicities"]

MASS = 1.777  # GeV
LEPTONIC, HADRONIC, ANY = 0, 1, 2
HIGGS, BOSONS, W = 25, (22, 23), 24
POSITIVE_AT_Z = 0.4265  # share of tau- with positive helicity: polarisation -0.147
OWN_ANTIPARTICLES = (22, 130, 310)


@dataclass(frozen=True)
class Taus:
    """Taus of many events, sorted by event.

    Attributes:
        event: Shape (n,).
        momentum: px, py, pz in GeV, shape (n, 3).
        energy: GeV, shape (n,).
        minus: Whether it is a tau-, shape (n,).
        origin: abs(PDG code) of what it comes from, shape (n,).
    """

    event: Integers
    momentum: Array
    energy: Array
    minus: Mask
    origin: Integers

    def take(self, index: Integers, event: Integers) -> Taus:
        """Those of an index, in other events."""
        return Taus(event, self.momentum[index], self.energy[index], self.minus[index], self.origin[index])


@dataclass(frozen=True)
class Decays:
    """Which decay each tau has.

    Attributes:
        number: In the library, shape (n,).
        turn: Angle around the tau's direction, shape (n,).
        hadronic: Shape (n,).
    """

    number: Integers
    turn: Array
    hadronic: Mask


def random_helicities(taus: Taus, events: int, rng: np.random.Generator) -> Mask:
    """Whether each tau decays as a tau- of positive helicity.

    Both of a Higgs boson do alike, of a Z as its polarisation asks; from a W it is never positive.

    Args:
        taus: n of them.
        events: Number of events.
        rng: Of everything.
    """
    from_higgs, from_z = rng.random(events) < 0.5, rng.random(events) < POSITIVE_AT_Z
    anything = rng.random(len(taus.event)) < 0.5
    return np.select(
        [taus.origin == HIGGS, np.isin(taus.origin, BOSONS), taus.origin == W],
        [from_higgs[taus.event] == taus.minus, from_z[taus.event], np.zeros_like(taus.minus)],
        anything,
    )


@dataclass(frozen=True)
class TauLibrary:
    """Decays of tau- in their rest frame, the z axis along their flight.

    Attributes:
        offsets: First product of each decay, shape (decays + 1,).
        momentum: Visible products' px, py, pz and energy in GeV, shape (products, 4).
        code: Their PDG codes, shape (products,).
        hadronic: Whether a decay has no electron and no muon, shape (decays,).
        positive: Whether the tau- had positive helicity, shape (decays,).
    """

    offsets: Integers
    momentum: Array
    code: Integers
    hadronic: Mask
    positive: Mask

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> TauLibrary:
        """From what `libraries` wrote."""
        code, offsets = arrays["tau_code"].astype(np.int64), arrays["tau_offsets"].astype(np.int64)
        hadronic, positive = arrays["tau_hadronic"].astype(bool), arrays["tau_positive"].astype(bool)
        return cls(offsets, arrays["tau_momentum"].astype(np.float64), code, hadronic, positive)

    def draw(self, positive: Mask, wanted: Integers, rng: np.random.Generator) -> Decays:
        """A decay for each tau.

        Args:
            positive: Helicity, shape (n,).
            wanted: LEPTONIC, HADRONIC or ANY, shape (n,).
            rng: Of the choice.
        """
        number = np.empty(len(positive), dtype=np.int64)
        for helicity in (False, True):
            for kind in (LEPTONIC, HADRONIC, ANY):
                own = np.flatnonzero((positive == helicity) & (wanted == kind))
                fits = (self.positive == helicity) & ((kind == ANY) | (self.hadronic == (kind == HADRONIC)))
                number[own] = rng.choice(np.flatnonzero(fits), len(own))
        return Decays(number, 2.0 * np.pi * rng.random(len(positive)), self.hadronic[number])

    def products(self, taus: Taus, decays: Decays) -> tuple[Particles, Integers]:
        """Visible products in the laboratory, and the tau of each.

        Args:
            taus: n of them.
            decays: n of them.
        """
        at, tau = ranges(self.offsets[decays.number], np.diff(self.offsets)[decays.number])
        x, y, z, e = self.momentum[at].T
        cos, sin = np.cos(decays.turn[tau]), np.sin(decays.turn[tau])
        size = np.linalg.norm(taus.momentum, axis=1)
        gamma, beta = (taus.energy / MASS)[tau], (size / taus.energy)[tau]
        flight = taus.momentum / size[:, None]
        first = _perpendicular(flight)
        second = np.cross(flight, first)
        along = gamma * (z + beta * e)
        momentum = (
            (cos * x - sin * y)[:, None] * first[tau]
            + (sin * x + cos * y)[:, None] * second[tau]
            + along[:, None] * flight[tau]
        )
        code = self.code[at]
        code = np.where(taus.minus[tau] | np.isin(code, OWN_ANTIPARTICLES), code, -code)
        return Particles(taus.event[tau], *momentum.T, gamma * (e + beta * z), code), tau


def _perpendicular(unit: Array) -> Array:
    """A unit vector at right angles to each of shape (n, 3)."""
    helper = np.where(np.abs(unit[:, :1]) < 0.8, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    found = np.cross(unit, helper)
    return found / np.linalg.norm(found, axis=1)[:, None]
