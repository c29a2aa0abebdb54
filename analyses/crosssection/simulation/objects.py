"""Leptons, tracks, energy flow, calorimeter deposits and tau tags of many events at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from analyses.crosssection.simulation.detector import (
    ECAL,
    ELECTRON,
    HADRON,
    HCAL,
    MUON,
    at_calorimeter,
    charge,
    lognormal,
    species,
    track_efficiency,
    track_resolution,
)
from analyses.crosssection.simulation.particles import distance2, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyses.crosssection.simulation.particles import Particles
    from hisigma_zfit.arrays import Array, Integers, Mask

__all__ = ["Objects", "Seen", "isolated", "lepton_candidates", "seen", "tag", "tag_probability"]

SOFTEST_LEPTON = 5.0  # GeV; softer ones are only tracks
IDENTIFIED_PT, BARREL = 10.0, 1.5
IDENTIFICATION = (0.95, 0.85)  # barrel, end cap
ISOLATION_CONE, ISOLATION = 0.5, (0.12, 0.25)  # largest sum around over pT: electron, muon
FLOW_PT = 0.5  # GeV
IN_ECAL, IN_BOTH = (11, 22), (310, 3122)  # by code; K0S and Lambda leave 30 % there, all others nothing
TAU_CONE, TAU_ETA, TAU_TRACK_PT = 0.2, 2.5, 1.0
TRUE_TAG, FAKE_TAG = (0.70, 0.60), (0.02, 0.01)  # with one track, with more


@dataclass(frozen=True)
class Objects:
    """What the detector sees, sorted by event.

    Attributes:
        event: Shape (n,).
        pt: GeV, shape (n,).
        eta: Shape (n,).
        phi: Shape (n,).
        charge: Shape (n,).
        kind: ELECTRON, MUON or HADRON, shape (n,).
    """

    event: Integers
    pt: Array
    eta: Array
    phi: Array
    charge: Array
    kind: Integers

    def take(self, index: Integers | Mask) -> Objects:
        """Those of an index or a mask, which keeps the order of events."""
        return Objects(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Objects]) -> Objects:
        """All of them, sorted."""
        whole = cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
        return whole.take(np.argsort(whole.event, kind="stable"))


@dataclass(frozen=True)
class Seen:
    """What is left of an event in the detector.

    Attributes:
        tracks: All of them.
        flow: What counts for isolation.
        towers: Calorimeter towers and muons, of which jets and the missing momentum are made.
    """

    tracks: Objects
    flow: Objects
    towers: Objects


def lepton_candidates(particles: Particles, rng: np.random.Generator) -> tuple[Objects, Objects]:
    """Electrons and muons above 5 GeV that leave a track: as tracks, and the identified ones, not yet isolated."""
    leptons = particles.take(np.isin(np.abs(particles.code), (11, 13)) & (particles.pt >= SOFTEST_LEPTON))
    leptons = leptons.take(rng.random(len(leptons)) < track_efficiency(species(leptons.code), leptons.pt, leptons.eta))
    kind, pt, eta = species(leptons.code), leptons.pt, leptons.eta
    relative = track_resolution(kind, pt, eta)
    tracks = _objects(leptons, lognormal(pt, relative * pt, rng))
    # an electron's energy comes from the track and the calorimeter together
    other = ECAL.resolution(leptons.e, eta) / leptons.e
    combined = lognormal(pt, pt * relative * other / np.hypot(relative, other), rng)
    found = _objects(leptons, np.where(kind == ELECTRON, combined, tracks.pt))
    likely = np.where(np.abs(eta) <= BARREL, *IDENTIFICATION)
    return tracks, found.take((found.pt > IDENTIFIED_PT) & (rng.random(len(pt)) < likely))


def seen(particles: Particles, leptons: Objects, rng: np.random.Generator) -> Seen:
    """Everything else, given the tracks of the candidates of `lepton_candidates`."""
    particles = particles.take((np.abs(particles.eta) <= 6.0) & (particles.pt >= 1e-3))
    code, q = np.abs(particles.code), charge(particles.code)
    kind = species(particles.code)
    hard_lepton = (kind != HADRON) & (particles.pt >= SOFTEST_LEPTON)
    tracked = (q != 0.0) & ~hard_lepton
    tracked &= rng.random(len(particles)) < track_efficiency(kind, particles.pt, particles.eta)
    charged = particles.take(tracked)
    pt = charged.pt
    own = _objects(charged, lognormal(pt, track_resolution(kind[tracked], pt, charged.eta) * pt, rng))
    tracks = Objects.joined([leptons, own])
    eta, phi = at_calorimeter(particles.pt, particles.eta, particles.phi, q)
    inside = (np.abs(eta) <= HCAL.regions[-1]) & (code != 13)
    em = np.select([np.isin(code, IN_ECAL), np.isin(code, IN_BOTH)], [1.0, 0.3], 0.0)
    # neutral energy must stand out of the noise
    noise = np.where(em == 1.0, ECAL.least, 2.0 * HCAL.resolution(particles.e, particles.eta))
    neutral = inside & (q == 0.0) & (particles.pt > FLOW_PT) & (particles.e > noise)
    flow = Objects.joined(
        [
            own.take((own.kind == HADRON) & (own.pt > FLOW_PT)),
            _objects(particles.take(neutral), particles.pt[neutral]),
        ]
    )
    parts = [tracks.take(tracks.kind == MUON)]
    for calorimeter, share in ((ECAL, em), (HCAL, 1.0 - em)):
        hit = inside & (share > 0.0)
        event, *direction = calorimeter.towers(
            particles.event[hit], (share * particles.e)[hit], eta[hit], phi[hit], rng
        )
        parts.append(Objects(event, *direction, np.zeros(len(event)), np.full(len(event), HADRON)))
    return Seen(tracks, flow, Objects.joined(parts))


def isolated(leptons: Objects, flow: Objects) -> Objects:
    """Leptons with little energy around them."""
    lepton, other = pairs(leptons.event, flow.event)
    near = _between(leptons, lepton, flow, other) < ISOLATION_CONE**2
    around = np.bincount(lepton[near], weights=flow.pt[other[near]], minlength=len(leptons.event))
    return leptons.take(around / leptons.pt <= np.where(leptons.kind == ELECTRON, *ISOLATION))


def tag_probability(jets: Objects, tracks: Objects, taus: Objects) -> tuple[Mask, Array, Array]:
    """How likely each jet is tagged as a hadronic tau.

    Args:
        jets: n of them.
        tracks: Those of the same events.
        taus: The visible momenta of hadronic taus.

    Returns:
        Whether it is one, the probability, and the charge of the tracks in the core of the jet, each of shape (n,).
    """
    n = len(jets.event)
    jet, tau = pairs(jets.event, taus.event)
    matched = (np.abs(taus.eta[tau]) < TAU_ETA) & (_between(jets, jet, taus, tau) < TAU_CONE**2)
    true = np.bincount(jet[matched], minlength=n) > 0
    jet, track = pairs(jets.event, tracks.event)
    core = (tracks.pt[track] > TAU_TRACK_PT) & (_between(jets, jet, tracks, track) < TAU_CONE**2)
    prongs = np.bincount(jet[core], minlength=n)
    q = np.bincount(jet[core], weights=tracks.charge[track[core]], minlength=n)
    likely = np.where(true, np.where(prongs == 1, *TRUE_TAG), np.where(prongs == 1, *FAKE_TAG))
    return true, np.where(prongs == 0, 0.0, likely), q


def tag(
    event: Integers, true: Mask, probability: Array, events: int, boost: float, rng: np.random.Generator
) -> tuple[Integers, Array]:
    """Choose the one tagged jet of each event.

    Where no true tau is tagged, the probability of exactly one fake is raised, and the weight lowered as much.

    Args:
        event: Of the jets, shape (n,).
        true: Whether a jet is a tau, shape (n,).
        probability: Of the tag, shape (n,).
        events: Number of events.
        boost: Factor on the probability of a fake.
        rng: Of the tags.

    Returns:
        The jet, -1 for none or several, and the weight, each of shape (events,).
    """
    hit = rng.random(len(event)) < probability
    true_hits, fake_hits = (np.bincount(event[hit & kind], minlength=events) for kind in (true, ~true))
    chosen = np.full(events, -1)
    chosen[event[hit & true]] = np.flatnonzero(hit & true)
    chosen[(true_hits > 1) | (fake_hits > 0)] = -1
    fake = np.where(true, 0.0, probability)
    odds = fake / (1.0 - fake)
    none = np.exp(np.bincount(event, weights=np.log1p(-fake), minlength=events))
    one = none * np.bincount(event, weights=odds, minlength=events)
    accepted = np.minimum(1.0, boost * one)
    faked = (true_hits == 0) & (rng.random(events) < accepted)
    # of exponential waiting times with these odds as rates, the shortest is that of jet i with probability odds_i / sum
    waiting = rng.standard_exponential(len(event)) / np.maximum(odds, 1e-300)
    order = np.lexsort((waiting, event))
    numbers, first = np.unique(event[order], return_index=True)
    quickest = np.full(events, -1)
    quickest[numbers] = order[first]
    weight = np.where(faked, one / np.where(faked, accepted, 1.0), 1.0)
    return np.where(faked, quickest, np.where(true_hits == 0, -1, chosen)), weight


def _objects(particles: Particles, pt: Array) -> Objects:
    code = particles.code
    return Objects(particles.event, pt, particles.eta, particles.phi, charge(code), species(code))


def _between(a: Objects, i: Integers, b: Objects, k: Integers) -> Array:
    return distance2(a.eta[i], a.phi[i], b.eta[k], b.phi[k])
