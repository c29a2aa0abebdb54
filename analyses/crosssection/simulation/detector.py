"""Parametrised response of an ATLAS-like detector: tracks, calorimeter cells, their efficiencies and resolutions.

The numbers are those of the card of Delphes (arXiv:1307.6346) with which the challenge's events were made.  Without
pile-up and without a full particle flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyses.crosssection.simulation.particles import wrapped

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Integers

__all__ = [
    "ECAL",
    "ELECTRON",
    "HADRON",
    "HCAL",
    "MUON",
    "Calorimeter",
    "at_calorimeter",
    "charge",
    "lognormal",
    "species",
    "track_efficiency",
    "track_resolution",
]

ELECTRON, MUON, HADRON = 0, 1, 2

BARREL, TRACKER = 1.5, 2.5  # abs(eta)
TRACK_EFFICIENCY = np.array(
    [  # species; barrel, end cap; pT below 1, to 100, above 100 GeV
        [[0.73, 0.95, 0.99], [0.50, 0.83, 0.90]],
        [[0.75, 0.99, 0.99], [0.70, 0.98, 0.98]],
        [[0.70, 0.95, 0.95], [0.60, 0.85, 0.85]],
    ]
)
# species; abs(eta) below 0.5, to 1.5, above: constant term, and the one that grows with pT, 1/GeV
RESOLUTION_CONSTANT = np.array([[0.03, 0.05, 0.15], [0.010, 0.015, 0.025], [0.06, 0.10, 0.25]])
RESOLUTION_SLOPE = np.array([[1.3e-3, 1.7e-3, 3.1e-3], [1.0e-4, 1.5e-4, 3.5e-4], [1.3e-3, 1.7e-3, 3.1e-3]])

RADIUS, HALF_LENGTH, FIELD = 1.15, 3.51, 2.0  # m, m, T
CURVATURE = 0.3  # pT [GeV] = 0.3 B [T] radius [m]

POSITIVE = (211, 321, 2212, 3222)  # hadrons of positive charge by their code
NEGATIVE = (11, 13, 3112, 3312, 3334)


def species(code: Integers) -> Integers:
    """How the tracker sees a charged particle: ELECTRON, MUON or HADRON."""
    return np.select([np.abs(code) == 11, np.abs(code) == 13], [ELECTRON, MUON], HADRON)


def charge(code: Integers) -> Array:
    """Charge of a particle that lives long enough to be seen, by its PDG code."""
    size = np.isin(np.abs(code), POSITIVE).astype(np.float64) - np.isin(np.abs(code), NEGATIVE)
    return size * np.sign(code)


def lognormal(mean: Array, sigma: Array, rng: np.random.Generator) -> Array:
    """A response of that mean and standard deviation which is never negative."""
    safe = np.where(mean > 0.0, mean, 1.0)
    squared = np.log1p((sigma / safe) ** 2)
    drawn = safe * np.exp(np.sqrt(squared) * rng.standard_normal(len(mean)) - 0.5 * squared)
    return np.where(mean > 0.0, drawn, 0.0)


def track_efficiency(kind: Integers, pt: Array, eta: Array) -> Array:
    """Probability that a charged particle leaves a track.

    Args:
        kind: See `species`, shape (n,).
        pt: GeV, shape (n,).
        eta: Shape (n,).
    """
    found = TRACK_EFFICIENCY[kind, (np.abs(eta) > BARREL).astype(int), np.searchsorted([1.0, 100.0], pt)]
    return np.where((np.abs(eta) <= TRACKER) & (pt > 0.1), found, 0.0)


def track_resolution(kind: Integers, pt: Array, eta: Array) -> Array:
    """Relative resolution of a track's transverse momentum; arguments as of `track_efficiency`."""
    region = np.searchsorted([0.5, 1.5], np.abs(eta))
    return np.hypot(RESOLUTION_CONSTANT[kind, region], RESOLUTION_SLOPE[kind, region] * pt)


def at_calorimeter(pt: Array, eta: Array, phi: Array, q: Array) -> tuple[Array, Array]:
    """Direction, seen from the centre, in which a particle that starts there reaches the calorimeter.

    Args:
        pt: GeV, shape (n,).
        eta: Shape (n,).
        phi: Shape (n,).
        q: Charge, shape (n,).

    Returns:
        Pseudorapidity and azimuth; those of the particle if it is neutral or never arrives.
    """
    radius = np.maximum(pt, 1e-6) / (CURVATURE * FIELD)
    slope = np.sinh(eta)
    half = RADIUS / (2.0 * radius)
    at_barrel = np.where(half < 1.0, 2.0 * np.arcsin(np.minimum(half, 1.0)), np.inf)
    at_end = HALF_LENGTH / (radius * np.maximum(np.abs(slope), 1e-9))
    turned = np.minimum(at_barrel, at_end)
    side = np.sin(turned / 2.0)
    z = radius * turned * slope
    new_phi = phi - q * turned / 2.0 + np.where(side < 0.0, np.pi, 0.0)
    new_eta = np.arcsinh(z / np.maximum(2.0 * radius * np.abs(side), 1e-6))
    return np.where(q == 0.0, eta, new_eta), wrapped(np.where(q == 0.0, phi, new_phi))


@dataclass(frozen=True)
class Calorimeter:
    """Cells and resolution of a calorimeter.

    Attributes:
        fine: Size of its cells in eta, and number of them around, in the centre.
        coarse: The same outside.
        border: abs(eta) between both.
        regions: Edges in abs(eta) of the regions of its resolution; there is nothing beyond the last.
        constant: Constant term by region.
        stochastic: Stochastic term by region, GeV^1/2.
        noise: By region, GeV.
        least: Smallest energy of a cell, GeV.
    """

    fine: tuple[float, int]
    coarse: tuple[float, int]
    border: float
    regions: tuple[float, ...]
    constant: tuple[float, ...]
    stochastic: tuple[float, ...]
    noise: tuple[float, ...]
    least: float

    def resolution(self, energy: Array, eta: Array) -> Array:
        """Absolute resolution in GeV; 0 beyond the last region."""
        region = np.searchsorted(self.regions, np.abs(eta))
        constant, stochastic, noise = (
            np.array([*v, 0.0])[region] for v in (self.constant, self.stochastic, self.noise)
        )
        return np.sqrt((constant * energy) ** 2 + stochastic**2 * energy + noise**2)

    def towers(
        self, event: Integers, energy: Array, eta: Array, phi: Array, rng: np.random.Generator
    ) -> tuple[Integers, Array, Array, Array]:
        """Add up what falls into the same cell, smear it, and drop what is noise.

        Args:
            event: Shape (n,).
            energy: GeV, shape (n,).
            eta: At the calorimeter, shape (n,).
            phi: Shape (n,).
            rng: Of the response, and of the position inside of a cell.

        Returns:
            Event, transverse momentum in GeV, pseudorapidity and azimuth of the towers, sorted by event.
        """
        outside = np.abs(eta) >= self.border
        size, around = (np.where(outside, *pair) for pair in zip(self.coarse, self.fine, strict=True))
        row, column = np.floor(eta / size), np.floor((wrapped(phi) + np.pi) / (2.0 * np.pi / around))
        key = ((event * 2 + outside) * 1000 + row.astype(int) + 500) * 1000 + column.astype(int)
        _, first, cell = np.unique(key, return_index=True, return_inverse=True)
        total, near = np.bincount(cell, weights=energy, minlength=len(first)), eta[first]
        seen = lognormal(total, self.resolution(total, near), rng)
        kept = (seen >= self.least) & (seen >= 2.0 * self.resolution(seen, near)) & (np.abs(near) < self.regions[-1])
        cells, seen = first[kept], seen[kept]
        eta_in = (row[cells] + rng.random(len(cells))) * size[cells]
        phi_in = -np.pi + (column[cells] + rng.random(len(cells))) * 2.0 * np.pi / around[cells]
        order = np.argsort(event[cells], kind="stable")
        return event[cells][order], (seen / np.cosh(eta_in))[order], eta_in[order], phi_in[order]


ECAL = Calorimeter(
    fine=(0.0174, 360),
    coarse=(0.175, 36),
    border=2.958,
    regions=(3.2, 4.9),
    constant=(0.0017, 0.035),
    stochastic=(0.101, 0.285),
    noise=(0.0, 0.0),
    least=0.5,
)
HCAL = Calorimeter(
    fine=(0.1, 36),
    coarse=(0.2, 18),
    border=2.6,
    regions=(1.7, 3.2, 4.9),
    constant=(0.0302, 0.05, 0.0942),
    stochastic=(0.5205, 0.706, 1.0),
    noise=(1.59, 0.0, 0.0),
    least=1.0,
)
