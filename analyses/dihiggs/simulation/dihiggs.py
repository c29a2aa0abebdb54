"""g g -> H H at leading order with the exact top mass, for any trilinear coupling, and its b bbar gamma gamma events.

The cross-section is a parabola in kappa_lambda: sigma = kappa^2 A + kappa B + C, from the triangle, the interference
and the boxes (T. Plehn, M. Spira and P. M. Zerwas, hep-ph/9603205).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from form_factors import MASS_HIGGS
from kinematics import GEV2_TO_PB, MASS_B, S, back_to_back, boost, boost_along_beam, incoming, passes_generator_cuts
from les_houches import FINAL, INCOMING, INTERMEDIATE, Event, Particle
from parton_densities import GLUON, alpha_s, xf
from sampling import Vegas, ceiling, unweighted_copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Density = Callable[[int, Array, Array], Array]

GRID = Path(__file__).with_name("form_factors.npz")
FERMI_CONSTANT = 1.16637e-5
BRANCHING_RATIO = 2 * 0.5824 * 0.00227  # H -> b bbar, H -> gamma gamma: CERN-2017-002 (arXiv:1610.07922), 125 GeV
EXCESS = 0.001  # share of the cross-section above the unweighting height

_MASS_RANGE = (250.5, 2500.0)


@cache
def _table() -> tuple[Array, tuple[npt.NDArray, npt.NDArray, npt.NDArray]]:
    """Masses, and at each the coefficients of even polynomials in cos theta: triangle, F_box, G_box / sin^2 theta."""
    with np.load(GRID) as grid:
        cos2 = grid["cosine"] ** 2
        powers = np.vander(cos2, 3, increasing=True)
        f_box = np.linalg.lstsq(powers, grid["f_box"].T, rcond=None)[0]
        g_box = np.linalg.lstsq(powers, (grid["g_box"] / (1 - cos2)).T, rcond=None)[0]
        return grid["mass"], (grid["f_triangle"][:, :1].T, f_box, g_box)


def coupling_terms(mass: Array, cosine: Array) -> Array:
    """A, B and C of |M|^2 = kappa^2 A + kappa B + C, up to common factors.

    Args:
        mass: Mass of the Higgs pair in GeV, shape (n,).
        cosine: Cosine of the scattering angle, shape (n,).

    Returns:
        Shape (3, n).
    """
    masses, coefficients = _table()
    triangle, f_box, g_box = (
        sum(np.interp(mass, masses, c) * cosine ** (2 * k) for k, c in enumerate(rows)) for rows in coefficients
    )
    triangle = triangle * 3 * MASS_HIGGS**2 / (mass**2 - MASS_HIGGS**2)
    g_box = g_box * (1 - cosine**2)
    interference = 2 * (triangle * f_box.conj()).real
    return np.array([np.abs(triangle) ** 2, interference, np.abs(f_box) ** 2 + np.abs(g_box) ** 2])


def squared(terms: Array, kappa: float) -> Array:
    """kappa^2 A + kappa B + C; shape (3, n) to (n,)."""
    return kappa**2 * terms[0] + kappa * terms[1] + terms[2]


class Pairs(NamedTuple):
    """Higgs pairs of n events; `weight` is their density without the coupling terms, in fb."""

    weight: Array
    mass: Array
    cosine: Array
    x1: Array
    x2: Array


def phase_space(u: Array, density: Density = xf, coupling: Callable[[Array], Array] = alpha_s) -> Pairs:
    """Map the unit cube (3, n) to pairs; renormalisation and factorisation scale are half of the pair's mass."""
    log_range = np.log(_MASS_RANGE[1] / _MASS_RANGE[0])
    mass = _MASS_RANGE[0] * np.exp(u[0] * log_range)
    tau = mass**2 / S
    y_max = -0.5 * np.log(tau)
    y, cosine = y_max * (2 * u[1] - 1), 2 * u[2] - 1
    x1, x2 = np.sqrt(tau) * np.exp(y), np.sqrt(tau) * np.exp(-y)
    beta = np.sqrt(1 - 4 * MASS_HIGGS**2 / mass**2)
    d_tau_dy = 2 * tau * log_range * 2 * y_max
    d_t = mass**2 * beta  # over the full range of the cosine
    mu2 = (mass / 2) ** 2
    identical = 0.5
    # d sigma / dt = G_F^2 alpha_s^2 / (256 (2 pi)^3) (|triangle + F|^2 + |G|^2), eq. (6) of hep-ph/9603205
    prefactor = identical * FERMI_CONSTANT**2 * coupling(mu2) ** 2 / (256 * (2 * np.pi) ** 3) * GEV2_TO_PB * 1e3
    inside = (x1 < 0.9) & (x2 < 0.9)
    safe1, safe2 = np.minimum(x1, 0.9), np.minimum(x2, 0.9)
    luminosity = density(GLUON, safe1, mu2) * density(GLUON, safe2, mu2) / (safe1 * safe2)
    return Pairs(np.where(inside, prefactor * luminosity * d_tau_dy * d_t, 0.0), mass, cosine, x1, x2)


def cross_sections(density: Density = xf, coupling: Callable[[Array], Array] = alpha_s) -> Array:
    """A, B and C of the total cross-section at 14 TeV in fb, shape (3,): sigma(kappa) = kappa^2 A + kappa B + C.

    A product of quadrature rules: exact in the angle, in which the terms are polynomials of degree 12.
    """
    mass = (np.arange(400) + 0.5) / 400  # equal steps: the two-top threshold is a kink
    (y, weight_y), (cosine, weight_cosine) = (np.polynomial.legendre.leggauss(n) for n in (40, 8))
    u = np.array(np.meshgrid(mass, 0.5 * (y + 1), 0.5 * (cosine + 1), indexing="ij")).reshape(3, -1)
    pairs = phase_space(u, density, coupling)
    values = (pairs.weight * coupling_terms(pairs.mass, pairs.cosine)).reshape(3, 400, 40, 8)
    return np.einsum("kmyc,y,c->k", values, weight_y, weight_cosine) / (400 * 2 * 2)


class DiHiggs:
    """Unweighted g g -> H H -> b bbar gamma gamma events that pass the generator cuts.

    Args:
        seed: Of sampler and unweighting.
        kappa: Trilinear coupling relative to the standard model.
        points: Points per training iteration.
    """

    def __init__(self, seed: int, kappa: float, points: int = 40_000) -> None:
        self.kappa = kappa
        self._rng = np.random.default_rng([seed, 1])  # a stream of its own, apart from the sampler's
        self._vegas = Vegas(3, seed)
        self.sigma, self.error = self._vegas.train(lambda u: self._integrand(u)[0], iterations=12, points=points)  # fb
        u, jacobian, _ = self._vegas.sample(5 * points)
        self._height = ceiling(self._integrand(u)[0] * jacobian, EXCESS)
        self._tried = self._kept = 0

    @property
    def acceptance(self) -> float:
        """Share of the decayed pairs tried so far that passed the generator cuts."""
        return self._kept / self._tried

    def _integrand(self, u: Array) -> tuple[Array, Pairs]:
        pairs = phase_space(u)
        return pairs.weight * squared(coupling_terms(pairs.mass, pairs.cosine), self.kappa), pairs

    def generate(self, n: int) -> Iterator[Event]:
        """N events, one after the other; `acceptance` counts every pair tried for them."""
        made = 0
        while made < n:
            u, jacobian, _ = self._vegas.sample(30_000)
            weight, pairs = self._integrand(u)
            chosen = unweighted_copies(weight * jacobian, self._height, self._rng)
            momenta, keep = self._decay(Pairs(*(a[chosen] for a in pairs)))
            passed = np.flatnonzero(keep)[: n - made]
            made += len(passed)
            self._kept += len(passed)
            self._tried += len(keep) if made < n else int(passed[-1]) + 1
            yield from (_event(momenta[..., i]) for i in passed)

    def _decay(self, pairs: Pairs) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Momenta (8, 4, n) of gluons, Higgs bosons, b, bbar and photons, and which events pass the cuts."""
        n = len(pairs.mass)
        rapidity = 0.5 * np.log(pairs.x1 / pairs.x2)
        azimuth = self._rng.uniform(0, 2 * np.pi, n)
        higgses = [boost_along_beam(h, rapidity) for h in back_to_back(pairs.mass, pairs.cosine, azimuth, MASS_HIGGS)]
        daughters: list[Array] = []
        for higgs, mass in zip(higgses, (MASS_B, 0.0), strict=True):
            cosine, phi = self._rng.uniform(-1, 1, n), self._rng.uniform(0, 2 * np.pi, n)
            velocity = higgs[1:] / higgs[0]
            daughters += [boost(p, velocity) for p in back_to_back(MASS_HIGGS, cosine, phi, mass)]
        keep = passes_generator_cuts(*daughters, between_partners=False)
        return np.array([*incoming(pairs.x1, pairs.x2), *higgses, *daughters]), keep


def _event(momenta: Array) -> Event:
    lines = (
        (GLUON, INCOMING, (0, 0), (501, 502), 0.0),
        (GLUON, INCOMING, (0, 0), (502, 501), 0.0),
        (25, INTERMEDIATE, (1, 2), (0, 0), MASS_HIGGS),
        (25, INTERMEDIATE, (1, 2), (0, 0), MASS_HIGGS),
        (5, FINAL, (3, 3), (503, 0), MASS_B),
        (-5, FINAL, (3, 3), (0, 503), MASS_B),
        (22, FINAL, (4, 4), (0, 0), 0.0),
        (22, FINAL, (4, 4), (0, 0), 0.0),
    )
    particles = [Particle(*line[:4], p, line[4]) for line, p in zip(lines, momenta, strict=True)]
    pair = momenta[2] + momenta[3]
    return Event(particles, 0.5 * float(np.sqrt(pair[0] ** 2 - np.sum(pair[1:] ** 2))))


def pair_variables(higgs1: Array, higgs2: Array) -> tuple[Array, Array]:
    """Mass of the pair and cosine of the scattering angle from the two Higgs momenta (4, n) before the shower."""
    total = higgs1 + higgs2
    mass = np.sqrt(total[0] ** 2 - np.sum(total[1:] ** 2, axis=0))
    rapidity = np.arctanh(total[3] / total[0])
    rest = boost_along_beam(higgs1, -rapidity)
    return mass, rest[3] / np.sqrt(np.sum(rest[1:] ** 2, axis=0))
