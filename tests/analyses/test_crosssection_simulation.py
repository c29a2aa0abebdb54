"""The simulation of the cross-section example, as far as it needs neither Pythia nor FastJet, and its entry points."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analyses.crosssection.simulation import detector, to_root
from analyses.crosssection.simulation.detector import ECAL, ELECTRON, HADRON, HCAL, MUON
from analyses.crosssection.simulation.objects import Objects, isolated, lepton_candidates, seen, tag, tag_probability
from analyses.crosssection.simulation.particles import Particles, pairs, ranges
from analyses.crosssection.simulation.tau_decays import ANY, HADRONIC, LEPTONIC, TauLibrary, Taus, random_helicities


def particles(event, pt, eta, phi, code):
    """Massless ones, sorted by event."""
    event, pt, eta, phi, code = np.broadcast_arrays(event, pt, eta, phi, code)
    pt = pt.astype(float)
    return Particles(event, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), code)


def objects(event, pt, eta, phi, charge=0.0, kind=HADRON):
    return Objects(*(np.array(values) for values in np.broadcast_arrays(event, pt, eta, phi, charge, kind)))


class TestFlatArrays:
    def test_ranges(self):
        index, owner = ranges(np.array([5, 0, 2]), np.array([2, 0, 3]))
        assert index.tolist() == [5, 6, 2, 3, 4]
        assert owner.tolist() == [0, 0, 2, 2, 2]

    def test_pairs_are_those_of_one_event(self):
        rng = np.random.default_rng(1)
        a, b = rng.integers(0, 9, 30), np.sort(rng.integers(0, 9, 40))
        i, k = pairs(a, b)
        expected = {(m, n) for m in range(30) for n in range(40) if a[m] == b[n]}
        assert set(zip(i.tolist(), k.tolist(), strict=True)) == expected
        assert len(i) == len(expected)


class TestDetector:
    @pytest.mark.statistical
    def test_response_is_never_negative_and_has_its_moments(self):
        """Mean and width of 200,000 responses; 6 errors each (false alarms 2e-9)."""
        n, mean, sigma = 200_000, 5.0, 2.0
        drawn = detector.lognormal(np.full(n, mean), np.full(n, sigma), np.random.default_rng(2))
        assert drawn.min() > 0.0
        assert drawn.mean() == pytest.approx(mean, abs=6 * sigma / n**0.5)
        # the fourth moment of a log-normal of this relative width is 6.2 sigma^4
        assert drawn.var() == pytest.approx(sigma**2, rel=6 * (5.2 / n) ** 0.5)
        assert detector.lognormal(np.zeros(3), np.ones(3), np.random.default_rng(2)).tolist() == [0.0, 0.0, 0.0]

    def test_efficiency_and_resolution_by_region(self):
        kind, pt = np.array([ELECTRON, MUON, HADRON, HADRON]), np.array([1.0, 50.0, 0.5, 50.0])
        eta = np.array([1.0, -2.0, 1.6, 2.6])
        np.testing.assert_allclose(detector.track_efficiency(kind, pt, eta), [0.73, 0.98, 0.60, 0.0])
        found = detector.track_resolution(kind, pt, eta)
        np.testing.assert_allclose(found[1], np.hypot(0.025, 3.5e-4 * 50))
        np.testing.assert_allclose(found[2], np.hypot(0.25, 3.1e-3 * 0.5))

    def test_calorimeter_resolution(self):
        np.testing.assert_allclose(ECAL.resolution(np.array([100.0]), np.array([0.1])), np.hypot(0.17, 1.01))
        expected = np.sqrt(3.02**2 + 5.205**2 + 1.59**2)
        np.testing.assert_allclose(HCAL.resolution(np.array([100.0]), np.array([-1.0])), expected)
        assert HCAL.resolution(np.array([100.0]), np.array([5.0])) == 0.0

    def test_charges(self):
        codes = np.array([11, -11, 13, 211, -321, 2212, 22, 130, 3112, -3222])
        assert detector.charge(codes).tolist() == [-1, 1, -1, 1, -1, 1, 0, 0, -1, -1]

    def test_a_hard_track_is_straight_and_a_soft_one_bends(self):
        pt, eta, phi = np.array([1e4, 1.0, 1.0, 0.2]), np.array([0.5, 0.0, 0.0, 0.4]), np.array([1.0, 0.0, 0.0, 0.0])
        found_eta, found_phi = detector.at_calorimeter(pt, eta, phi, np.array([1.0, 1.0, 0.0, 1.0]))
        np.testing.assert_allclose([found_eta[0], found_phi[0]], [0.5, 1.0], atol=1e-3)
        # a circle of radius pT / 0.6 through the origin leaves the barrel at a chord of 1.15 m
        np.testing.assert_allclose(found_phi[1], -np.arcsin(1.15 / (2 * 1.0 / 0.6)))
        assert (found_eta[2], found_phi[2]) == (0.0, 0.0)
        assert abs(found_eta[3]) > 1.5  # it curls up and leaves at the end

    def test_towers_add_up_what_is_in_one_cell(self):
        event, energy = np.array([0, 0, 1, 1]), np.array([60.0, 40.0, 80.0, 0.01])
        eta, phi = np.array([0.001, 0.002, 0.001, 2.0]), np.full(4, 0.005)
        found, pt, tower_eta, tower_phi = ECAL.towers(event, energy, eta, phi, np.random.default_rng(3))
        assert found.tolist() == [0, 1]
        np.testing.assert_allclose(pt * np.cosh(tower_eta), [100.0, 80.0], rtol=0.06)
        assert np.all((tower_eta >= 0.0) & (tower_eta < 0.0174))
        assert np.all((tower_phi >= 0.0) & (tower_phi < 2 * np.pi / 360))


class TestObjects:
    @pytest.mark.statistical
    def test_leptons_are_found_as_often_as_they_should(self):
        """Muons of 40 GeV in the barrel: 0.99 x 0.95, and resolution; 6 errors each (false alarms 2e-9)."""
        n = 20_000
        muons = particles(np.arange(n), 40.0, 0.3, 0.1, 13)
        tracks, found = lepton_candidates(muons, np.random.default_rng(4))
        p = 0.99 * 0.95
        assert len(found.event) == pytest.approx(n * p, abs=6 * (n * p * (1 - p)) ** 0.5)
        sigma = 40.0 * np.hypot(0.01, 4e-3)
        assert found.pt.std() == pytest.approx(sigma, rel=6 / (2 * len(found.pt)) ** 0.5)
        assert set(found.charge) == {-1.0}
        assert len(tracks.event) > len(found.event)

    def test_isolation(self):
        leptons = objects([0, 1, 2], 40.0, 0.0, 0.0, kind=[ELECTRON, ELECTRON, MUON])
        flow = objects([0, 0, 1, 2], [4.0, 50.0, 6.0, 6.0], [0.1, 1.0, 0.1, 0.1], [0.1, 0.1, -0.2, -0.2])
        assert isolated(leptons, flow).event.tolist() == [0, 2]

    def test_neutrals_and_muons_in_the_calorimeter(self):
        made = particles(0, [100.0, 50.0, 0.3], [0.2, 1.0, 0.5], [0.0, 1.0, 2.0], [22, 13, 211])
        rng = np.random.default_rng(5)
        tracks, _ = lepton_candidates(made, rng)
        found = seen(made, tracks, rng)
        assert len(found.flow.event) == 1
        assert found.flow.pt == pytest.approx(100.0)
        assert np.count_nonzero(found.towers.kind == MUON) == len(tracks.event) == 1
        assert found.towers.pt.sum() == pytest.approx(150.0, rel=0.1)

    def test_tag_probability(self):
        jets = objects([0, 0, 1], 50.0, [0.0, 2.0, 0.0], 0.0)
        tracks = objects([0, 0, 0, 0, 1], [20.0, 0.5, 5.0, 5.0, 8.0], [0.05, 0.0, 2.0, 2.1, 0.5], 0.0, [1, 1, 1, -1, 1])
        true, probability, charge = tag_probability(jets, tracks, objects([0], 40.0, 0.1, 0.1))
        assert true.tolist() == [True, False, False]
        assert probability.tolist() == [0.70, 0.01, 0.0]
        assert charge.tolist() == [1.0, 0.0, 0.0]

    @pytest.mark.statistical
    def test_raised_fakes_keep_the_sum_of_weights(self):
        """Exactly one of two jets fakes with 0.02 x 0.99 + 0.01 x 0.98; 6 errors (false alarms 2e-9)."""
        n = 200_000
        event, p = np.repeat(np.arange(n), 2), np.tile([0.02, 0.01], n)
        chosen, weight = tag(event, np.zeros(2 * n, dtype=bool), p, n, 10.0, np.random.default_rng(6))
        one = 0.02 * 0.99 + 0.01 * 0.98
        found = chosen >= 0
        np.testing.assert_allclose(weight[found], 0.1)
        error = 0.1 * (n * 10 * one * (1 - 10 * one)) ** 0.5
        assert weight[found].sum() == pytest.approx(n * one, abs=6 * error)
        share = 0.02 * 0.99 / one
        first = np.mean(chosen[found] % 2 == 0)
        assert first == pytest.approx(share, abs=6 * (share * (1 - share) / found.sum()) ** 0.5)
        np.testing.assert_array_equal(chosen[found] // 2, np.flatnonzero(found))

    def test_two_tags_are_none(self):
        event, true = np.array([0, 0, 1, 1, 2]), np.array([True, True, True, False, True])
        chosen, weight = tag(event, true, np.array([1.0, 1.0, 1.0, 0.0, 1.0]), 3, 1.0, np.random.default_rng(7))
        assert chosen.tolist() == [-1, 2, 4]
        assert weight.tolist() == [1.0, 1.0, 1.0]


class TestTauDecays:
    @pytest.fixture
    def library(self):
        """One leptonic and one hadronic decay by helicity, into a particle each."""
        momentum = np.array([[0.3, 0.4, 0.0, 0.5], [0.0, 0.0, 0.8, 0.9], [0.1, 0.0, 0.2, 0.4], [0.0, 0.2, -0.7, 0.8]])
        codes, hadronic = np.array([11, -211, 13, -211]), np.array([False, True, False, True])
        return TauLibrary(np.arange(5), momentum, codes, hadronic, np.array([False, False, True, True]))

    @pytest.fixture
    def taus(self):
        momentum = np.array([[30.0, 10.0, 5.0], [-20.0, 3.0, 40.0], [0.0, 25.0, 0.0]])
        energy = np.sqrt((momentum**2).sum(axis=1) + 1.777**2)
        return Taus(np.array([0, 0, 1]), momentum, energy, np.array([True, False, True]), np.array([25, 25, 24]))

    def test_what_is_wanted_is_drawn(self, library, taus):
        positive, wanted = np.array([False, True, True]), np.array([LEPTONIC, HADRONIC, ANY])
        decays = library.draw(positive, wanted, np.random.default_rng(8))
        assert decays.number[:2].tolist() == [0, 3]
        assert decays.number[2] in {2, 3}
        assert decays.hadronic[:2].tolist() == [False, True]

    def test_masses_and_codes_survive_the_boost(self, library, taus):
        decays = library.draw(
            np.array([False, True, True]), np.array([LEPTONIC, HADRONIC, LEPTONIC]), np.random.default_rng(9)
        )
        found, tau = library.products(taus, decays)
        rest = library.momentum[decays.number]
        np.testing.assert_allclose(
            found.e**2 - found.px**2 - found.py**2 - found.pz**2,
            rest[:, 3] ** 2 - (rest[:, :3] ** 2).sum(axis=1),
            atol=1e-9,
        )
        # product with the tau's four-momentum: its mass times the energy in its rest frame
        with_tau = taus.energy * found.e - (taus.momentum * np.stack([found.px, found.py, found.pz], axis=1)).sum(
            axis=1
        )
        np.testing.assert_allclose(with_tau, 1.777 * rest[:, 3], rtol=1e-9)
        assert tau.tolist() == [0, 1, 2]
        assert found.code.tolist() == [11, 211, 13]

    def test_helicities(self):
        n = 2000
        event = np.repeat(np.arange(n), 2)
        minus, origin = np.tile([True, False], n), np.full(2 * n, 25)
        pair = Taus(event, np.ones((2 * n, 3)), np.full(2 * n, 5.0), minus, origin)
        higgs = random_helicities(pair, n, np.random.default_rng(10)).reshape(n, 2)
        assert np.all(higgs[:, 0] != higgs[:, 1])
        z = random_helicities(Taus(event, pair.momentum, pair.energy, minus, origin - 2), n, np.random.default_rng(10))
        assert np.all(z.reshape(n, 2)[:, 0] == z.reshape(n, 2)[:, 1])
        w = random_helicities(Taus(event, pair.momentum, pair.energy, minus, origin - 1), n, np.random.default_rng(10))
        assert not w.any()


def test_files_are_put_together():
    def part(events, seed):
        rng, n = np.random.default_rng(seed), len(events)
        columns = {name: rng.random(n) for name in (*to_root.PRIMARY, "weights")}
        return columns | {"event": np.array(events), "true_tau": np.ones(n)}

    merged = to_root.merged([part([0, 2, 2], 1), part([1, 0, 1], 2)])
    assert merged["event"].tolist() == [0, 1, 1, 2, 3, 3]
    rows = to_root.written(merged, 100.0)
    assert rows["weights"].sum() == pytest.approx(100.0)
    assert rows["PRI_met"].dtype == np.float32
    np.testing.assert_allclose(rows["PRI_met"], merged["PRI_met"].round(3), atol=1e-7)
    held = to_root.held_back(np.arange(50_000), 5)
    assert held.mean() == pytest.approx(0.2, abs=0.01)


@pytest.fixture(scope="module")
def entry_points():
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    from analyses.crosssection.simulation import generate, libraries

    return generate, libraries


@pytest.mark.parametrize("process", ["htautau", "diboson"])
def test_simulate(entry_points, tmp_path, process):
    import uproot

    generate, libraries = entry_points
    library, out = tmp_path / "libraries.npz", tmp_path / "x.root"
    libraries.main(["--decays", "200", "--soft-events", "50", "--out", str(library)])
    generate.main(["--process", process, "--seconds", "0", "--libraries", str(library), "--out", str(out)])
    with uproot.open(out) as file:
        columns = file["events"].arrays(library="np")
    facts = json.loads(out.with_suffix(".json").read_text())
    flow = list(facts["cutflow"].values())
    assert flow == sorted(flow, reverse=True)
    assert flow[-1] == len(columns["PRI_met"]) > 0
    assert columns["PRI_lep_pt"].min() >= 20.0
    assert columns["PRI_jet_leading_pt"].min() == -25.0
    two = columns["PRI_n_jets"] == 2
    sums = columns["PRI_jet_leading_pt"] + columns["PRI_jet_subleading_pt"]
    np.testing.assert_allclose(columns["PRI_jet_all_pt"][two], sums[two])
    assert columns["event"].max() < facts["hard events"]
