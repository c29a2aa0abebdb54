"""Parametrised response of an HL-LHC-like detector to photons and b-jets.

Resolutions and efficiencies follow the HL-LHC card of Delphes (arXiv:1307.6346) and ATL-PHYS-PUB-2015-022.  An
efficiency enters in two parts: its largest value as a factor of the cross-section (EFFICIENCY), its shape by dropping
objects, so that all events keep weight one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

MAX_PHOTON_EFFICIENCY = 0.95
MAX_BTAG_EFFICIENCY = 0.735
EFFICIENCY = MAX_PHOTON_EFFICIENCY**2 * MAX_BTAG_EFFICIENCY**2

CONVERTED = 0.10  # share of the photons that convert before the calorimeter


def photon_efficiency(eta: Array) -> Array:
    """Identification efficiency of an isolated photon."""
    return np.where(np.abs(eta) < 1.5, MAX_PHOTON_EFFICIENCY, 0.85)


def btag_efficiency(pt: Array) -> Array:
    """Probability that a b-jet is tagged, pt in GeV."""
    return 0.80 * np.tanh(0.003 * pt) * 30.0 / (1 + 0.086 * pt)


def photon_resolution(energy: Array, eta: Array) -> Array:
    """Relative energy resolution of the calorimeter: constant, stochastic (GeV^1/2) and noise (GeV) terms by region."""
    region = np.searchsorted([1.5, 1.75, 2.15], np.abs(eta))
    constant = np.array([0.009, 0.006, 0.007, 0.008])[region]
    stochastic = np.array([0.12, 0.20, 0.21, 0.24])[region]
    noise = np.array([0.45, 0.0, 0.0, 0.0])[region]
    return np.sqrt(constant**2 + stochastic**2 / energy + (noise / energy) ** 2)


def photon_response(energy: Array, eta: Array, rng: np.random.Generator) -> Array:
    """Measured over true energy.

    One per cent is added in quadrature for calibration and pile-up; converted photons have twice the resolution and
    lose energy, 1.2 % on average.
    """
    relative = np.hypot(photon_resolution(energy, eta), 0.010)
    n = len(energy)
    converted = rng.uniform(size=n) < CONVERTED
    smearing = rng.normal(size=n) * relative * np.where(converted, 2.0, 1.0)
    loss = np.where(converted, rng.exponential(0.012, size=n), 0.0)
    return np.maximum(0.05, 1 + smearing - loss)


def jet_resolution(pt: Array) -> Array:
    """Relative resolution of a jet's transverse momentum, pt in GeV."""
    return np.sqrt((2.0 / pt) ** 2 + 0.75**2 / pt + 0.04**2)


def jet_response(pt: Array, rng: np.random.Generator) -> Array:
    """Measured over true transverse momentum."""
    return np.maximum(0.1, 1 + rng.normal(size=len(pt)) * jet_resolution(np.maximum(pt, 10.0)))
