"""Parton-level events of the continuum p p -> b bbar gamma gamma at leading order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from continuum import gg_squared, qq_squared
from kinematics import (
    GEV2_TO_PB,
    MASS_B,
    MASS_BB_MIN,
    MASS_GG_RANGE,
    S,
    back_to_back,
    boost,
    boost_along_beam,
    incoming,
    passes_generator_cuts,
    pt,
)
from les_houches import FINAL, INCOMING, Event, Particle
from parton_densities import GLUON, alpha_s, xf
from sampling import Vegas, ceiling, unweighted_copies

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ALPHA = 1 / 137.036
CHARGE_UP, CHARGE_DOWN = 2 / 3, -1 / 3
DIMENSION = 9
EXCESS = 0.02  # share of the cross-section above the unweighting height

_MASS_BB_MAX = 2000.0
_PT_SCALE, _PT_MAX = 20.0, 2000.0
_RAPIDITY = 2.65


class Point(NamedTuple):
    """Partons of n events: momentum fractions, phase-space density, momenta (4, n)."""

    x1: Array
    x2: Array
    jacobian: Array
    b: Array
    bbar: Array
    g1: Array
    g2: Array

    def take(self, index: npt.NDArray) -> Point:
        """The chosen events."""
        return Point(*(a[..., index] for a in self))


def phase_space(u: Array, mass_b: float = 0.0) -> Point:
    """Map the unit cube (9, n) to two pairs that recoil against each other in the transverse plane.

    The variables are the pairs' masses (flat in the logarithm), their common transverse momentum, their rapidities and
    the decay angles of both.  `jacobian` times |M|^2 f f / (2 s-hat x1 x2) is the integrand of the cross-section; the
    azimuth of the whole event is left out.
    """
    log_gg, log_bb = np.log(MASS_GG_RANGE[1] / MASS_GG_RANGE[0]), np.log(_MASS_BB_MAX / MASS_BB_MIN)
    log_pt = np.log(1 + _PT_MAX / _PT_SCALE)
    m_gg, m_bb = MASS_GG_RANGE[0] * np.exp(u[0] * log_gg), MASS_BB_MIN * np.exp(u[1] * log_bb)
    kt = _PT_SCALE * (np.exp(u[2] * log_pt) - 1)
    y_gg, y_bb = _RAPIDITY * (2 * u[3] - 1), _RAPIDITY * (2 * u[4] - 1)

    d_masses = (2 * m_gg**2 * log_gg / (2 * np.pi)) * (2 * m_bb**2 * log_bb / (2 * np.pi))
    d_recoil = kt * (kt + _PT_SCALE) * log_pt * (2 * _RAPIDITY) ** 2 / (4 * np.pi * S)
    jacobian = d_masses * d_recoil / (8 * np.pi) ** 2  # 1/(8 pi): each two-body decay, massless

    et_gg, et_bb = np.hypot(m_gg, kt), np.hypot(m_bb, kt)
    x1 = (et_gg * np.exp(y_gg) + et_bb * np.exp(y_bb)) / np.sqrt(S)
    x2 = (et_gg * np.exp(-y_gg) + et_bb * np.exp(-y_bb)) / np.sqrt(S)
    zero = np.zeros_like(kt)
    photons = back_to_back(m_gg, 2 * u[5] - 1, 2 * np.pi * u[6])
    quarks = back_to_back(m_bb, 2 * u[7] - 1, 2 * np.pi * u[8], mass_b)
    g1, g2 = (boost_along_beam(boost(p, np.array([kt / et_gg, zero, zero])), y_gg) for p in photons)
    b, bbar = (boost_along_beam(boost(p, np.array([-kt / et_bb, zero, zero])), y_bb) for p in quarks)
    return Point(x1, x2, jacobian, b, bbar, g1, g2)


def scale(point: Point) -> Array:
    """Half the sum of the transverse momenta: renormalisation, factorisation and shower scale in GeV."""
    return 0.5 * sum(pt(p) for p in (point.b, point.bbar, point.g1, point.g2))


class Channel:
    """One initial state, with its own adaptive sampler.

    Args:
        name: "gg", "up" (u and c) or "down" (d and s).
        seed: Of its sampler.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.flavours = {"gg": (), "up": (2, 4), "down": (1, 3)}[name]
        self._vegas = Vegas(DIMENSION, seed)
        self.sigma = self.error = self._height = 0.0

    def integrand(self, u: Array) -> tuple[Array, Array]:
        """Contribution to the cross-section in pb, and probability of the first colour order or flavour; (n,) each."""
        everything = phase_space(u)
        keep = passes_generator_cuts(*everything[3:], between_partners=True)
        keep &= (everything.x1 < 0.9) & (everything.x2 < 0.9)
        weight, first = np.zeros(u.shape[1]), np.zeros(u.shape[1])
        point = everything.take(keep)
        mu2 = scale(point) ** 2
        partons, quarks, photons = incoming(point.x1, point.x2), (point.b, point.bbar), (point.g1, point.g2)
        gs2, e2 = 4 * np.pi * alpha_s(mu2), 4 * np.pi * ALPHA
        if self.flavours:
            charge = CHARGE_UP if self.flavours[0] == 2 else CHARGE_DOWN
            squared = qq_squared(partons, quarks, photons, (charge, CHARGE_DOWN), e2, gs2)
            densities = [xf(f, point.x1, mu2) * xf(-f, point.x2, mu2) for f in self.flavours]
            luminosity = 2 * sum(densities)  # 2: the antiquark may come from either beam
            first[keep] = densities[0] / np.maximum(sum(densities), 1e-300)
        else:
            squared, first[keep] = gg_squared(partons, quarks, photons, e2 * CHARGE_DOWN**2, gs2)
            luminosity = xf(GLUON, point.x1, mu2) * xf(GLUON, point.x2, mu2)
        flux = 2 * point.x1 * point.x2 * S
        identical_photons = 0.5
        weight[keep] = (
            identical_photons * squared / flux * luminosity / (point.x1 * point.x2) * point.jacobian * GEV2_TO_PB
        )
        return weight, first

    def train(self, points: int, iterations: int) -> None:
        """Adapt the sampler, integrate, and fix the unweighting height."""
        self.sigma, self.error = self._vegas.train(lambda u: self.integrand(u)[0], iterations=iterations, points=points)
        u, jacobian, _ = self._vegas.sample(2 * points)
        self._height = ceiling(self.integrand(u)[0] * jacobian, EXCESS)

    def generate(self, n: int, rng: np.random.Generator) -> list[Event]:
        """About n unweighted events of this channel; exactly n are returned."""
        events: list[Event] = []
        while len(events) < n:
            u, jacobian, _ = self._vegas.sample(40_000)
            weight, first = self.integrand(u)
            chosen = unweighted_copies(weight * jacobian, self._height, rng)[: n - len(events)]
            shower_scale = scale(phase_space(u[:, chosen]))
            point = phase_space(u[:, chosen], MASS_B)
            events += [
                self._event(point.take(np.array(i)), bool(rng.uniform() < first[k]), shower_scale[i], rng)
                for i, k in enumerate(chosen)
            ]
        return events

    def _event(self, point: Point, is_first: bool, mu: float, rng: np.random.Generator) -> Event:
        """Turn one point into an event: colours, flavours, and a random azimuth.

        The matrix element holds for a quark along +z: half of the events are mirrored.
        """
        mirrored = bool(self.flavours) and rng.uniform() < 0.5
        angle, along = rng.uniform(0, 2 * np.pi), -1.0 if mirrored else 1.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        codes, colours = self._initial_state(is_first)
        momenta = [incoming(point.x1, point.x2)[i] * [1, 1, 1, along] for i in (0, 1)]
        initial = [
            Particle(c, INCOMING, (0, 0), lines, p, 0.0) for c, lines, p in zip(codes, colours, momenta, strict=True)
        ]
        final = [
            Particle(code, FINAL, (1, 2), lines, [p[0], *(turn @ p[1:3]), along * p[3]], mass)
            for code, lines, p, mass in (
                (5, (501, 0), point.b, MASS_B),
                (-5, (0, 503 if codes[0] == GLUON else 502), point.bbar, MASS_B),
                (22, (0, 0), point.g1, 0.0),
                (22, (0, 0), point.g2, 0.0),
            )
        ]
        return Event([*(initial[::-1] if mirrored else initial), *final], mu)

    def _initial_state(self, is_first: bool) -> tuple[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]:
        """Codes and colour lines of the incoming partons."""
        if self.flavours:
            flavour = self.flavours[0 if is_first else 1]
            return (flavour, -flavour), ((501, 0), (0, 502))
        return (GLUON, GLUON), ((501, 502), (502, 503)) if is_first else ((502, 503), (501, 502))


class Continuum:
    """The three channels together.

    Args:
        seed: Of samplers and unweighting.
        points: Points per training iteration and channel.
        iterations: Training iterations, more than four.
    """

    def __init__(self, seed: int, points: int = 80_000, iterations: int = 10) -> None:
        self._rng = np.random.default_rng([seed, 1])  # a stream of its own, apart from the samplers'
        self.channels = {name: Channel(name, 1000 * seed + i) for i, name in enumerate(("gg", "up", "down"))}
        for channel in self.channels.values():
            channel.train(points, iterations)
        self.sigma = sum(c.sigma for c in self.channels.values())
        self.error = float(np.sqrt(sum(c.error**2 for c in self.channels.values())))

    def generate(self, n: int) -> Iterator[Event]:
        """N events of all channels in random order."""
        counts = self._rng.multinomial(n, [c.sigma / self.sigma for c in self.channels.values()])
        events = [
            e
            for channel, count in zip(self.channels.values(), counts, strict=True)
            for e in channel.generate(int(count), self._rng)
        ]
        return (events[i] for i in self._rng.permutation(n))
