"""Four-momenta: arrays of shape (4, n), components (E, px, py, pz) in GeV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

BEAM_ENERGY = 7000.0  # GeV
S = (2 * BEAM_ENERGY) ** 2
MASS_B = 4.8
GEV2_TO_PB = 0.3893794e9  # (hbar c)^2

MASS_GG_RANGE = (87.0, 186.0)  # the selection asks 90-180: room for the detector's resolution
MASS_BB_MIN = 40.0


def dot(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray:
    """Minkowski product a.b without complex conjugation; shape (4, ...) to (...)."""
    return a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]


def pt(p: Array) -> Array:
    """Transverse momentum."""
    return np.hypot(p[1], p[2])


def eta(p: Array) -> Array:
    """Pseudorapidity."""
    return np.arcsinh(p[3] / np.maximum(pt(p), 1e-9))


def delta_phi(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray:
    """Difference of two angles, in [-pi, pi)."""
    return (a - b + np.pi) % (2 * np.pi) - np.pi


def delta_r(a: Array, b: Array) -> Array:
    """Angular distance in the plane of pseudorapidity and azimuth."""
    return np.hypot(eta(a) - eta(b), delta_phi(np.arctan2(a[2], a[1]), np.arctan2(b[2], b[1])))


def boost(p: Array, velocity: Array) -> Array:
    """Take p (4, n) from the rest frame of something that moves with `velocity` (3, n) into the frame it moves in."""
    v2 = np.sum(velocity**2, axis=0)
    gamma = 1 / np.sqrt(1 - v2)
    along = np.sum(velocity * p[1:], axis=0)
    shift = (gamma - 1) / np.maximum(v2, 1e-30) * along + gamma * p[0]
    return np.concatenate([(gamma * (p[0] + along))[None], p[1:] + shift * velocity])


def boost_along_beam(p: Array, rapidity: Array) -> Array:
    """Shift the rapidity of p (4, n)."""
    ch, sh = np.cosh(rapidity), np.sinh(rapidity)
    return np.array([p[0] * ch + p[3] * sh, p[1], p[2], p[3] * ch + p[0] * sh])


def back_to_back(mass: Array | float, cosine: Array, phi: Array, daughter_mass: float = 0.0) -> tuple[Array, Array]:
    """Two particles of equal mass in the rest frame of their parent."""
    energy = np.broadcast_to(np.asarray(mass, float) / 2, np.shape(cosine))
    k = np.sqrt(energy**2 - daughter_mass**2)
    sine = np.sqrt(1 - cosine**2)
    direction = np.array([sine * np.cos(phi), sine * np.sin(phi), cosine])
    return np.concatenate([energy[None], k * direction]), np.concatenate([energy[None], -k * direction])


def incoming(x1: Array, x2: Array) -> tuple[Array, Array]:
    """Massless partons that carry the fractions x1 and x2 of the beams along +z and -z."""
    zero = np.zeros_like(x1)
    e1, e2 = x1 * BEAM_ENERGY, x2 * BEAM_ENERGY
    return np.array([e1, zero, zero, e1]), np.array([e2, zero, zero, -e2])


def passes_generator_cuts(b: Array, bbar: Array, g1: Array, g2: Array, *, between_partners: bool) -> Mask:
    """Loose version of the selection, on partons, so that few of the showered events are wasted.

    Args:
        b: b quark, (4, n).
        bbar: b antiquark, (4, n).
        g1: One photon, (4, n).
        g2: The other photon, (4, n).
        between_partners: Also separate the photons from each other and the quarks from each other: the continuum
            diverges where they are collinear.

    Returns:
        Boolean mask, shape (n,).
    """
    photons, quarks = np.sort([pt(g1), pt(g2)], axis=0), np.sort([pt(b), pt(bbar)], axis=0)
    keep = (photons[1] > 26.0) & (photons[0] > 17.0) & (quarks[1] > 25.0) & (quarks[0] > 17.0)
    for g in (g1, g2):
        keep &= np.abs(eta(g)) < 2.55
        for q in (b, bbar):
            keep &= delta_r(g, q) > 0.8
    for q in (b, bbar):
        keep &= np.abs(eta(q)) < 2.65
    if between_partners:
        keep &= (delta_r(g1, g2) > 0.3) & (delta_r(b, bbar) > 0.2)
    return keep
