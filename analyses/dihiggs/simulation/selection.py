"""From showered events to the two photons and two b-jets of arXiv:2506.06438, section 4, and their eleven features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import detector
import fastjet
import numpy as np
from kinematics import delta_phi

if TYPE_CHECKING:
    from collections import Counter

    import numpy.typing as npt

    Columns = dict[str, npt.NDArray[np.float64]]

FEATURES = (
    *("tot_mass", "Hbb_mass", "Hgg_mass", "Hbb_pt", "Hgg_pt"),
    *("dR_b1_phot1", "dR_b1_phot2", "dR_b2_phot1", "dR_b2_phot2", "dR_bb", "dR_gg"),
)
OBJECTS = {name: ("pt", "eta", "phi", *(("mass",) if name[0] == "b" else ())) for name in ("b1", "b2", "g1", "g2")}
COLUMNS = (*FEATURES, *(f"{name}_{what}" for name, parts in OBJECTS.items() for what in parts))

LEADING_PT, SUBLEADING_PT, ETA_MAX = 30.0, 20.0, 2.4  # photons and b-jets, GeV
ISOLATION_CONE, ISOLATION_MAX = 0.3, 0.12
MIN_DISTANCE = 1.0  # between any photon and any b-jet
MASS_RANGE = (90.0, 180.0)  # of the photons, GeV
JETS = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)


def _with_angles(p: ak.Array) -> ak.Array:
    """Add pt, eta and phi to records with px, py and pz."""
    pt = np.hypot(p.px, p.py)
    p = ak.with_field(p, pt, "pt")
    p = ak.with_field(p, np.arcsinh(p.pz / np.maximum(pt, 1e-9)), "eta")
    return ak.with_field(p, np.arctan2(p.py, p.px), "phi")


def _distance2(a: ak.Array, b: ak.Array) -> ak.Array:
    return (a.eta - b.eta) ** 2 + delta_phi(a.phi, b.phi) ** 2


def _sorted(objects: ak.Array) -> ak.Array:
    return objects[ak.argsort(objects.pt, ascending=False)]


def _has_pair(objects: ak.Array) -> npt.NDArray[np.bool_]:
    """Events with two objects, of which the leading one is hard enough; sorted objects."""
    leading = ak.fill_none(ak.firsts(objects.pt), 0.0)
    return ak.to_numpy((ak.num(objects) >= 2) & (leading > LEADING_PT))


def photon_candidates(final: ak.Array, rng: np.random.Generator) -> ak.Array:
    """Smeared photons that pass the identification and the kinematic cuts, not yet isolated."""
    photons = final[final.id == 22]
    photons = _with_angles(photons[np.hypot(photons.px, photons.py) > 12.0])
    photons = photons[np.abs(photons.eta) < 2.55]
    counts, flat = ak.num(photons), ak.flatten(photons)
    eta = ak.to_numpy(flat.eta)
    response = detector.photon_response(ak.to_numpy(flat.e), eta, rng)
    identified = rng.uniform(size=len(eta)) < detector.photon_efficiency(eta) / detector.MAX_PHOTON_EFFICIENCY
    measured = ak.zip(
        {"pt": flat.pt * response, "true_pt": flat.pt, "eta": flat.eta, "phi": flat.phi, "ok": identified}
    )
    photons = ak.unflatten(measured, counts)
    return photons[(photons.pt > SUBLEADING_PT) & (np.abs(photons.eta) < ETA_MAX) & photons.ok]


def visible_particles(final: ak.Array) -> ak.Array:
    """Final particles that leave energy within |eta| < 4, neutrinos excluded."""
    code = np.abs(final.id)
    seen = _with_angles(final[(code != 12) & (code != 14) & (code != 16)])
    return seen[(seen.pt > 0.1) & (np.abs(seen.eta) < 4.0)]


def isolated(photons: ak.Array, visible: ak.Array) -> ak.Array:
    """Photons with little transverse momentum of other particles around them, hardest first."""
    pairs = ak.cartesian({"photon": photons, "other": visible[visible.pt > 0.5]}, nested=True)
    near = _distance2(pairs.photon, pairs.other) < ISOLATION_CONE**2
    around = ak.sum(ak.where(near, pairs.other.pt, 0.0), axis=-1) - photons.true_pt
    return _sorted(photons[around / photons.pt < ISOLATION_MAX])


def b_jets(visible: ak.Array, photons: ak.Array, particles: ak.Array, rng: np.random.Generator) -> ak.Array:
    """Smeared anti-kT jets around a b hadron, made of everything but the two leading photons, hardest first."""
    rest = visible
    for photon in (photons[:, 0], photons[:, 1]):
        rest = rest[(rest.id != 22) | (_distance2(rest, photon) > 1e-8)]
    momenta = ak.zip({"px": rest.px, "py": rest.py, "pz": rest.pz, "E": rest.e}, with_name="Momentum4D")
    jets = fastjet.ClusterSequence(momenta, JETS).inclusive_jets(min_pt=10.0)
    mass2 = jets.E**2 - jets.px**2 - jets.py**2 - jets.pz**2
    jets = _with_angles(ak.zip({"px": jets.px, "py": jets.py, "pz": jets.pz, "mass": np.sqrt(np.maximum(mass2, 0.0))}))
    response = ak.unflatten(detector.jet_response(ak.to_numpy(ak.flatten(jets.pt)), rng), ak.num(jets))
    jets = ak.zip({"pt": jets.pt * response, "eta": jets.eta, "phi": jets.phi, "mass": jets.mass * response})
    jets = jets[(jets.pt > SUBLEADING_PT) & (np.abs(jets.eta) < ETA_MAX)]
    pairs = ak.cartesian({"jet": jets, "hadron": b_hadrons(particles)}, nested=True)
    matched = ak.any(_distance2(pairs.jet, pairs.hadron) < 0.4**2, axis=-1)
    return _sorted(jets[ak.fill_none(matched, False)])


def b_hadrons(particles: ak.Array) -> ak.Array:
    """Mesons and baryons with a b quark by their PDG code, pt > 5 GeV."""
    code = np.abs(particles.id)
    meson = (code > 100) & (code < 1000) & (code // 100 % 10 == 5)
    baryon = (code < 10_000) & (code // 1000 == 5)
    hadrons = _with_angles(particles[meson | baryon])
    return hadrons[hadrons.pt > 5.0]


def _momentum(columns: Columns, name: str) -> npt.NDArray[np.float64]:
    pt, eta, phi = (columns[f"{name}_{what}"] for what in ("pt", "eta", "phi"))
    x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.array([np.sqrt(x**2 + y**2 + z**2 + columns.get(f"{name}_mass", 0.0) ** 2), x, y, z])


def features(objects: Columns) -> Columns:
    """The eleven features of the published data set from the columns of the four objects, each (n,)."""

    def mass(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.sqrt(np.maximum(p[0] ** 2 - np.sum(p[1:] ** 2, axis=0), 0.0))

    def distance(a: str, b: str) -> npt.NDArray[np.float64]:
        d_eta = objects[f"{a}_eta"] - objects[f"{b}_eta"]
        return np.hypot(d_eta, delta_phi(objects[f"{a}_phi"], objects[f"{b}_phi"]))

    bb = _momentum(objects, "b1") + _momentum(objects, "b2")
    gg = _momentum(objects, "g1") + _momentum(objects, "g2")
    values = {"tot_mass": mass(bb + gg), "Hbb_mass": mass(bb), "Hgg_mass": mass(gg)}
    values |= {"Hbb_pt": np.hypot(bb[1], bb[2]), "Hgg_pt": np.hypot(gg[1], gg[2])}
    values |= {f"dR_b{i}_phot{j}": distance(f"b{i}", f"g{j}") for i in (1, 2) for j in (1, 2)}
    return values | {"dR_bb": distance("b1", "b2"), "dR_gg": distance("g1", "g2")}


def select(events: ak.Array, rng: np.random.Generator, cutflow: Counter[str]) -> tuple[Columns, npt.NDArray[np.int64]]:
    """Reconstruct and select a batch of events.

    Args:
        events: As from `shower.Shower.batches`.
        rng: For the detector.
        cutflow: Number of events after each step; is added to.

    Returns:
        COLUMNS of the selected events, and their positions in the batch.
    """
    prt = events.prt
    all_particles = ak.zip(
        {"id": prt.id, "status": prt.status, "px": prt.p.px, "py": prt.p.py, "pz": prt.p.pz, "e": prt.p.e}
    )
    final = all_particles[all_particles.status > 0]
    cutflow["showered"] += len(events)
    index = np.arange(len(events))

    photons = photon_candidates(final, rng)
    keep = ak.to_numpy(ak.num(photons) >= 2)
    cutflow["two photon candidates"] += int(keep.sum())
    index, photons = index[keep], photons[keep]
    visible = visible_particles(final[keep])

    photons = isolated(photons, visible)
    keep = _has_pair(photons)
    cutflow["two isolated photons"] += int(keep.sum())
    index, photons, visible = index[keep], photons[keep], visible[keep]

    jets = b_jets(visible, photons, all_particles[index], rng)
    keep = _has_pair(jets)
    cutflow["two b-jets"] += int(keep.sum())
    index, photons, jets = index[keep], photons[keep], jets[keep]

    objects = {"b1": jets[:, 0], "b2": jets[:, 1], "g1": photons[:, 0], "g2": photons[:, 1]}
    columns = {
        f"{name}_{what}": ak.to_numpy(objects[name][what]).astype(float)
        for name, parts in OBJECTS.items()
        for what in parts
    }
    columns |= features(columns)

    keep = np.ones(len(index), bool)
    for b in ("b1", "b2"):
        tagged = detector.btag_efficiency(columns[f"{b}_pt"]) / detector.MAX_BTAG_EFFICIENCY
        keep &= rng.uniform(size=len(index)) < tagged
    cutflow["b-tags"] += int(keep.sum())
    for name in ("dR_b1_phot1", "dR_b1_phot2", "dR_b2_phot1", "dR_b2_phot2"):
        keep &= columns[name] > MIN_DISTANCE
    cutflow["photons away from b-jets"] += int(keep.sum())
    keep &= (columns["Hgg_mass"] > MASS_RANGE[0]) & (columns["Hgg_mass"] < MASS_RANGE[1])
    cutflow["selected"] += int(keep.sum())
    return {name: columns[name][keep] for name in COLUMNS}, index[keep]
