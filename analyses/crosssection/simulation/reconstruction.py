"""From particles to events with one light lepton, one tau candidate, jets and missing momentum: the sixteen columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import fastjet
import numpy as np

from analyses.crosssection.simulation.detector import ELECTRON, HADRON
from analyses.crosssection.simulation.objects import (
    Objects,
    isolated,
    lepton_candidates,
    seen,
    tag,
    tag_probability,
)
from analyses.crosssection.simulation.particles import distance2, pairs

if TYPE_CHECKING:
    from collections import Counter

    from analyses.crosssection.simulation.particles import Particles
    from hisigma_zfit.arrays import Array, Integers, Mask

    Columns = dict[str, Array]

__all__ = ["WEIGHT", "reconstruct"]

LEPTON_PT, COUNTED_LEPTON_PT = 20.0, 15.0  # GeV: of the one, and of those that there must not be
JETS = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.6)
JET_PT = 20.0  # GeV
LEPTON_CONE = 0.4  # in which a jet is the lepton itself
MISSING = -25.0
WEIGHT, TRUE_TAU = "weights", "true_tau"


def reconstruct(
    particles: Particles, taus: Objects, events: int, boost: float, rng: np.random.Generator, cutflow: Counter[str]
) -> tuple[Columns, Integers]:
    """Simulate the detector and select.

    Args:
        particles: Visible ones of `events` events.
        taus: The visible momenta of true hadronic taus.
        events: Number of events.
        boost: Factor on the probability of fake taus, see `objects.tag`.
        rng: Of everything.
        cutflow: Counts what is left after each step.

    Returns:
        Columns of the selected events, with the weight and whether the tau is a true one, and which events they are.
    """
    tracks, leptons = lepton_candidates(particles, rng)
    # most events end here, before anything that takes time
    hard = np.bincount(leptons.event[leptons.pt >= LEPTON_PT], minlength=events) > 0
    particles = particles.take(hard[particles.event])
    tracks, leptons = (of.take(hard[of.event]) for of in (tracks, leptons))
    left = seen(particles, tracks, rng)
    leptons = isolated(leptons, left.flow)
    counted = leptons.pt > COUNTED_LEPTON_PT
    electrons, muons = (
        np.bincount(leptons.event[counted & kind], minlength=events)
        for kind in (leptons.kind == ELECTRON, leptons.kind != ELECTRON)
    )
    one = electrons + muons == 1
    lepton = np.full(events, -1)
    lepton[leptons.event[counted]] = np.flatnonzero(counted)
    good = one & (lepton >= 0)
    good[good] = leptons.pt[lepton[good]] >= LEPTON_PT
    cutflow["one lepton"] += int(good.sum())
    towers = left.towers.take(good[left.towers.event])
    jets = _without_leptons(_jets(towers, events), leptons)
    true, probability, charge = tag_probability(jets, left.tracks, taus)
    chosen, weight = tag(jets.event, true, probability, events, boost, rng)
    good &= chosen >= 0
    cutflow["one tau"] += int(good.sum())
    good[good] = charge[chosen[good]] + leptons.charge[lepton[good]] == 0.0
    cutflow["selected"] += int(good.sum())
    numbers = np.flatnonzero(good)
    columns = _columns(leptons.take(lepton[numbers]), jets, chosen, numbers, events)
    x, y = (
        -np.bincount(towers.event, weights=towers.pt * direction(towers.phi), minlength=events)[numbers]
        for direction in (np.cos, np.sin)
    )
    columns |= {"PRI_met": np.hypot(x, y), "PRI_met_phi": np.arctan2(y, x)}
    return columns | {WEIGHT: weight[numbers], TRUE_TAU: true[chosen[numbers]].astype(np.float64)}, numbers


def _jets(towers: Objects, events: int) -> Objects:
    """Anti-kT jets with the calorimeter's scale corrected."""
    counts = np.bincount(towers.event, minlength=events)
    momenta = {
        "px": towers.pt * np.cos(towers.phi),
        "py": towers.pt * np.sin(towers.phi),
        "pz": towers.pt * np.sinh(towers.eta),
        "E": towers.pt * np.cosh(towers.eta),
    }
    filled = np.flatnonzero(counts)  # there are no jets where there is nothing
    nested = ak.unflatten(ak.zip(momenta, with_name="Momentum4D"), counts[filled])
    found = fastjet.ClusterSequence(nested, JETS).inclusive_jets(min_pt=JET_PT)
    event = np.repeat(filled, ak.to_numpy(ak.num(found)))
    px, py, pz = (ak.to_numpy(ak.flatten(found[name])) for name in ("px", "py", "pz"))
    raw = np.hypot(px, py)
    eta = np.arcsinh(pz / raw)
    pt = raw * np.sqrt((3.0 - 0.2 * np.abs(eta)) ** 2 / raw + 1.0)
    n = len(event)
    return Objects(event, pt, eta, np.arctan2(py, px), np.zeros(n), np.full(n, HADRON))


def _without_leptons(jets: Objects, leptons: Objects) -> Objects:
    jet, lepton = pairs(jets.event, leptons.event)
    apart = distance2(jets.eta[jet], jets.phi[jet], leptons.eta[lepton], leptons.phi[lepton])
    overlaps = np.bincount(jet[apart < LEPTON_CONE**2], minlength=len(jets.event)) > 0
    return jets.take(~overlaps & (jets.pt >= JET_PT))


def _columns(leptons: Objects, jets: Objects, chosen: Integers, numbers: Integers, events: int) -> Columns:
    """Columns of lepton, tau and jets of the selected events."""
    columns: Columns = {}
    for name, objects in (("PRI_lep", leptons), ("PRI_had", jets.take(chosen[numbers]))):
        columns |= {f"{name}_{what}": getattr(objects, what) for what in ("pt", "eta", "phi")}
    others: Mask = np.arange(len(jets.event)) != chosen[jets.event]
    rest = jets.take(others)
    rest = rest.take(np.lexsort((-rest.pt, rest.event)))
    counts = np.bincount(rest.event, minlength=events)
    first = np.cumsum(counts) - counts
    for place, name in enumerate(("PRI_jet_leading", "PRI_jet_subleading")):
        there = counts[numbers] > place
        at = np.where(there, first[numbers] + place, 0)
        for what in ("pt", "eta", "phi"):
            values = np.append(getattr(rest, what), MISSING)
            columns[f"{name}_{what}"] = np.where(there, values[at], MISSING)
    columns["PRI_n_jets"] = counts[numbers].astype(np.float64)
    columns["PRI_jet_all_pt"] = np.bincount(rest.event, weights=rest.pt, minlength=events)[numbers]
    return columns
