"""Shifts, thresholds and learned features of the cross-section example.

`shifted_rows.json` holds twenty rows and what they become at five values of the nuisances, by code that was compared
with the challenge's own scripts.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analyses.crosssection import features, systematics
from analyses.crosssection.systematics import PRIMARY, Nuisances

TABLE = json.loads((Path(__file__).parent / "shifted_rows.json").read_text())


def columns(rows):
    return dict(zip(TABLE["columns"], np.array(rows, dtype=float).T, strict=True))


def stacked(of, kept=slice(None)):
    return np.stack([of[name][kept] for name in PRIMARY], axis=1)


@pytest.fixture
def rows():
    made = columns(TABLE["rows"])
    for values in made.values():
        values.flags.writeable = False
    return made


def event(**changes):
    """One event with a tau and a lepton of 50 GeV and two jets."""
    usual = [50.0, 0.3, 0.1, 50.0, -0.4, 2.5, 90.0, 1.0, -1.0, 40.0, -1.5, 2.0, 2, 130.0, 20.0, 0.7]
    return {name: np.array([value]) for name, value in (dict(zip(PRIMARY, usual, strict=True)) | changes).items()}


@pytest.mark.parametrize("point", TABLE["points"], ids=lambda p: f"{p['tes']}, {p['jes']}, {p['soft_met']}")
def test_shifts_against_the_table(rows, point):
    nuisances = Nuisances(point["tes"], point["jes"], point["soft_met"])
    new, stay = systematics.shifted(rows, nuisances, np.random.default_rng(TABLE["seed"]))
    np.testing.assert_array_equal(np.flatnonzero(stay), point["kept"])
    np.testing.assert_allclose(stacked(new, stay), point["rows"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("shift", [systematics.tes, systematics.jes, systematics.soft_met])
def test_nominal_is_the_identity(rows, shift):
    new = shift(rows, 0.0, None)
    assert set(new) == set(rows)
    np.testing.assert_array_equal(stacked(new), stacked(rows))


def test_transverse_momentum_is_conserved(rows):
    """Tau and leading jets give to the missing momentum what they take."""

    def total(of):
        jets = [("PRI_jet_leading", 1), ("PRI_jet_subleading", 2)]
        parts = [("PRI_had", 0), *((jet, count) for jet, count in jets)]
        there = [of["PRI_n_jets"] >= count for _, count in parts]
        momenta = [(of[f"{name}_pt"] * on, of[f"{name}_phi"]) for (name, _), on in zip(parts, there, strict=True)]
        momenta.append((of["PRI_met"], of["PRI_met_phi"]))
        return np.sum([pt * np.exp(1j * phi) for pt, phi in momenta], axis=0)

    for new in (systematics.tes(rows, 0.05), systematics.jes(rows, -0.04)):
        np.testing.assert_allclose(total(new), total(rows), atol=1e-9)


def test_shifts_back_and_forth(rows):
    for shift in (systematics.tes, systematics.jes):
        back = shift(shift(rows, 0.03), 1 / 1.03 - 1)
        np.testing.assert_allclose(stacked(back), stacked(rows), atol=1e-9)


def test_smearing_is_common_to_all_widths(rows):
    def smeared(width):
        new = systematics.soft_met(rows, width, np.random.default_rng(3))
        return new["PRI_met"] * np.exp(1j * new["PRI_met_phi"])

    nominal = rows["PRI_met"] * np.exp(1j * rows["PRI_met_phi"])
    np.testing.assert_allclose(smeared(4.0) - nominal, 4.0 * (smeared(1.0) - nominal), atol=1e-9)


@pytest.mark.parametrize(("width", "rng"), [(-1.0, np.random.default_rng(1)), (1.0, None)])
def test_smearing_needs_a_width_and_a_generator(rows, width, rng):
    with pytest.raises(ValueError, match="positive width and a generator"):
        systematics.soft_met(rows, width, rng)


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({}, True),
        ({"PRI_had_pt": 26.0}, True),
        ({"PRI_had_pt": 25.9996}, True),  # rounded before
        ({"PRI_had_pt": 25.9994}, False),
        ({"PRI_lep_pt": 19.999}, False),
    ],
)
def test_thresholds_at_the_nominal(changes, stays):
    new, mask = systematics.thresholds(event(**changes))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [stays]
    assert new["PRI_n_jets"] == 2


@pytest.mark.parametrize(
    ("leading", "subleading", "n_jets", "all_pt"),
    [(26.001, 26.0, 1, 26.001), (26.0, 25.0, 0, 0.0), (26.001, 26.001, 2, 52.002), (30.0, -25.0, 1, 30.0)],
)
def test_jets_below_threshold_are_forgotten(leading, subleading, n_jets, all_pt):
    count = 1 + (subleading > 0)
    made = event(PRI_jet_leading_pt=leading, PRI_jet_subleading_pt=subleading, PRI_n_jets=count)
    if subleading < 0:
        made |= {f"PRI_jet_subleading_{what}": np.array([-25.0]) for what in ("eta", "phi")}
    made["PRI_jet_all_pt"] = np.array([leading + max(subleading, 0.0)])
    new, _ = systematics.thresholds(made)
    assert new["PRI_n_jets"] == n_jets
    assert new["PRI_jet_all_pt"] == pytest.approx(all_pt, abs=1e-9)
    for jet, least in (("leading", 1), ("subleading", 2)):
        for what in ("pt", "eta", "phi"):
            assert (new[f"PRI_jet_{jet}_{what}"] == -25.0) == (n_jets < least or made[f"PRI_jet_{jet}_pt"] == -25.0)


def test_normalisations():
    factors = systematics.normalisations(Nuisances(ttbar=0.02, diboson=-0.25, bkg=0.001), mu=2.0)
    expected = {"htautau": 2.0, "ztautau": 1.001, "ttbar": 1.001 * 1.02, "diboson": 1.001 * 0.75}
    assert factors == pytest.approx(expected)


@pytest.mark.statistical
def test_priors():
    """Means and widths of 4,000 draws, each within 6 of its errors (false alarms 2e-9 each)."""
    rng, n = np.random.default_rng(11), 4000
    draws = [systematics.draw_nuisances(rng) for _ in range(n)]
    for name, width in (("tes", 0.01), ("jes", 0.01), ("ttbar", 0.02), ("diboson", 0.25), ("bkg", 0.001)):
        values = np.array([getattr(draw, name) for draw in draws])
        assert abs(values.mean()) < 6 * width / n**0.5
        assert values.std() == pytest.approx(width, rel=6 / (2 * n) ** 0.5)
    soft = np.array([draw.soft_met for draw in draws])
    assert abs(np.log(np.median(soft))) < 6 * 1.2533 / n**0.5
    assert soft.max() == 5.0


LOGARITHMS = {  # of what the challenge derives, and by how much it was moved away from zero
    "ln_pt_higgs": ("pt_h", 1.0),
    "ln_pt_total": ("pt_tot", 1.0),
    "ln_sum_pt": ("sum_pt", 0.0),
    "ln_pt_ratio": ("pt_ratio_lep_had", 0.0),
    "ln_m_vis": ("mass_vis", 0.0),
}


def derived(of):
    """Features that the challenge derives, written out with four-momenta."""

    def vector(name):
        pt, eta, phi = (of[f"{name}_{what}"] for what in ("pt", "eta", "phi"))
        return pt * np.array([np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta)])

    def mass(p):
        return np.sqrt(np.maximum(p[3] ** 2 - (p[:3] ** 2).sum(axis=0), 0.0))

    lep, had = vector("PRI_lep"), vector("PRI_had")
    met = of["PRI_met"] * np.array([np.cos(of["PRI_met_phi"]), np.sin(of["PRI_met_phi"])])
    jets = []
    for jet in ("PRI_jet_leading", "PRI_jet_subleading"):
        there = of[f"{jet}_pt"] > 0
        jets.append(np.where(there, vector(jet), 0.0) if there.any() else np.zeros((4, len(there))))
    turn = np.angle(np.exp(1j * (of["PRI_lep_phi"] - of["PRI_had_phi"])))
    return {
        "mass_transverse_met_lep": np.sqrt(
            np.maximum((of["PRI_met"] + of["PRI_lep_pt"]) ** 2 - ((met + lep[:2]) ** 2).sum(axis=0), 0.0)
        ),
        "mass_vis": mass(lep + had),
        "mass_jet_jet": mass(jets[0] + jets[1]),
        "pt_h": np.hypot(*(lep[:2] + had[:2] + met)),
        "pt_tot": np.hypot(*(lep[:2] + had[:2] + met + jets[0][:2] + jets[1][:2])),
        "sum_pt": of["PRI_lep_pt"] + of["PRI_had_pt"] + of["PRI_jet_all_pt"],
        "pt_ratio_lep_had": of["PRI_lep_pt"] / of["PRI_had_pt"],
        "deltar_had_lep": np.hypot(of["PRI_lep_eta"] - of["PRI_had_eta"], turn),
    }


def test_features_agree_with_the_derived_ones():
    rows = columns(TABLE["points"][0]["rows"])
    found, expected = features.learning_features(rows), derived(rows)
    np.testing.assert_allclose(found["m_T"], expected["mass_transverse_met_lep"], rtol=1e-5)
    np.testing.assert_allclose(found["dr_lep_had"], expected["deltar_had_lep"], rtol=1e-9)
    for name, (theirs, moved) in LOGARITHMS.items():
        np.testing.assert_allclose(np.exp(found[name]) - moved, expected[theirs], rtol=1e-8)
    two = rows["PRI_jet_subleading_pt"] > 0
    np.testing.assert_allclose(np.exp(found["ln_m_jj"])[two], expected["mass_jet_jet"][two], rtol=1e-8)
    eta = [rows[f"PRI_jet_{jet}_eta"][two] for jet in ("leading", "subleading")]
    np.testing.assert_allclose(found["deta_jj"][two], np.abs(eta[0] - eta[1]))
    np.testing.assert_allclose(found["eta_product_jj"][two], eta[0] * eta[1])


def test_collinear_fractions_solve_their_equation(rows):
    found = features.learning_features(rows)
    inside = (np.abs(found["x_lep"]) < 2.99) & (np.abs(found["x_had"]) < 2.99)
    sides = [
        rows[f"PRI_{name}_pt"] * np.exp(1j * rows[f"PRI_{name}_phi"]) * (1 / found[f"x_{name}"] - 1)
        for name in ("lep", "had")
    ]
    met = rows["PRI_met"] * np.exp(1j * rows["PRI_met_phi"])
    assert inside.sum() > 12
    np.testing.assert_allclose((sides[0] + sides[1])[inside], met[inside], atol=1e-6)
    physical = (found["x_lep"] > 0.05) & (found["x_had"] > 0.05) & inside
    mass = np.exp(found["ln_m_vis"]) / np.sqrt(np.abs(found["x_lep"] * found["x_had"]))
    np.testing.assert_allclose(np.exp(found["ln_m_collinear"])[physical], np.minimum(mass[physical], 1000.0), rtol=1e-9)


@pytest.mark.parametrize("turned", [{"phi": 0.7}, {"eta": -1.0}, {"mirror": -1.0}])
def test_features_know_no_direction(rows, turned):
    """A rotation around the beam, the beams exchanged, a mirror: nothing that is learned from changes."""
    there = {name: rows[name] > -20 for name in rows}
    new = dict(rows)
    for name in rows:
        if name.endswith("_eta"):
            new[name] = np.where(there[name], turned.get("eta", 1.0) * rows[name], rows[name])
        if name.endswith("_phi"):
            angle = np.angle(np.exp(1j * turned.get("mirror", 1.0) * (rows[name] + turned.get("phi", 0.0))))
            new[name] = np.where(there[name], angle, rows[name])
    before, after = features.learning_features(rows), features.learning_features(new)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-7, err_msg=name)


def test_an_event_without_jets_has_constants():
    gone = {f"PRI_jet_{jet}_{what}": -25.0 for jet in ("leading", "subleading") for what in ("pt", "eta", "phi")}
    found = features.learning_features(event(**gone, PRI_n_jets=0, PRI_jet_all_pt=0.0))
    constants = {"ln_pt_j1": 2.5, "ln_pt_j2": 2.5, "ln_m_jj": 2.5, "lep_centrality": -0.2}
    zero = ("eta_j1", "eta_j2", "deta_jj", "eta_product_jj", "dphi_j1_higgs", "n_jets")
    for name, value in (constants | dict.fromkeys(zero, 0.0)).items():
        assert found[name] == pytest.approx(value), name
    assert found["ln_pt_total"] == pytest.approx(found["ln_pt_higgs"])


def test_a_third_jet_is_no_second_one():
    """After the thresholds the number of jets counts one that has no columns."""
    gone = {f"PRI_jet_subleading_{what}": -25.0 for what in ("pt", "eta", "phi")}
    found = features.learning_features(event(**gone, PRI_n_jets=2))
    assert found["ln_pt_j2"] == pytest.approx(2.5)
    assert found["ln_m_jj"] == pytest.approx(2.5)


def test_features_stay_inside_of_their_ranges():
    """At extreme events too: nothing along the lepton, back to back, no missing momentum."""
    phi = np.array([0.0, np.pi, np.pi / 2, 1e-9, np.pi - 1e-9])
    made = {name: np.resize(values, 5) for name, values in event().items()}
    for met in (0.0, 1e-3, 50.0, 3000.0):
        made |= {"PRI_lep_phi": np.zeros(5), "PRI_had_phi": phi, "PRI_met": np.full(5, met), "PRI_met_phi": phi / 2}
        found = features.learning_features(made)
        assert len(found) == 32
        for name, values in found.items():
            assert np.isfinite(values).all(), name
        for name, (lowest, highest) in RANGES.items():
            assert found[name].min() >= lowest - 1e-9, name
            assert found[name].max() <= highest + 1e-9, name


RANGES = {
    **dict.fromkeys(("ln_pt_j1", "ln_pt_j2", "ln_m_jj"), (2.5, 9.0)),
    **dict.fromkeys(("dphi_lep_had", "dphi_j1_higgs"), (0.0, np.pi)),
    **dict.fromkeys(("dphi_met_lep", "dphi_met_had"), (-np.pi, np.pi)),
    **dict.fromkeys(("x_lep", "x_had"), (-3.0, 3.0)),
    "ln_m_collinear": (np.log(5.0), np.log(1000.0)),
    "met_centrality": (-(2**0.5), 2**0.5),
    "lep_centrality": (-0.2, 1.0),
    "n_jets": (0.0, 6.0),
}


def test_counting_columns(rows):
    found, learned = features.counting_columns(rows), features.learning_features(rows)
    np.testing.assert_allclose(found["m_T"], learned["m_T"])
    np.testing.assert_allclose(np.log(found["m_vis"]), learned["ln_m_vis"])
    np.testing.assert_array_equal(found["n_jets"], rows["PRI_n_jets"])
