"""The simulation of the di-Higgs study: form factors, sampling, detector, and the entry point."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import detector
import dihiggs
import form_factors
import kinematics
import les_houches
import numpy as np
import pytest
import sampling
from scipy import stats

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


class TestFormFactors:
    def test_heavy_top(self):
        """The limits 2/3, -2/3 and 0 of hep-ph/9603205, reached like 1 / mass^2."""
        limits = np.array([2 / 3, -2 / 3, 0])
        for top, tolerance in ((2000.0, 0.02), (6000.0, 0.0025)):
            found = np.array(form_factors.form_factors(400.0, 0.3, mass_top=top, n=12))
            np.testing.assert_allclose(found, limits, atol=tolerance)

    @pytest.mark.parametrize("s", [-3.0, 2.5, 3.9, 4.1, 30.0])
    def test_triangle_against_one_dimensional_integral(self, s):
        """C0(0, 0, s) = int_0^1 dx ln(1 - s x (1 - x) - i0) / (s x); across the cut by Plemelj's formula."""
        n = 1_000_000
        x = (np.arange(n) + 0.5) / n
        argument = 1 - s * x * (1 - x)
        expected = np.mean((np.log(np.abs(argument)) - 1j * np.pi * (argument < 0)) / (s * x))
        assert form_factors.triangle_one_leg(s) == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("s", [2.0, 5.3, 12.0])
    def test_contour_integral_against_closed_forms(self, s):
        h = (form_factors.MASS_HIGGS / form_factors.MASS_TOP) ** 2
        one = form_factors.scalar_loop({(0, 2): s}, 48, 1.0)
        two = form_factors.scalar_loop({(1, 2): h, (0, 2): s}, 48, 1.0)
        assert one == pytest.approx(form_factors.triangle_one_leg(s), rel=1e-5)
        assert two == pytest.approx(form_factors.triangle_two_legs(h, s), rel=1e-5)

    def test_box_without_momenta(self):
        """With all invariants zero the scalar integrals are those of the Feynman parameters' volume."""
        assert form_factors.scalar_loop({(0, 2): 0.0}, 16, 0.4) == pytest.approx(-1 / 2, rel=1e-10)
        assert form_factors.scalar_loop({(0, 3): 0.0}, 16, 0.4) == pytest.approx(1 / 6, rel=1e-10)

    @pytest.mark.parametrize(("mass", "cosine"), [(300.0, 0.45), (450.0, 0.6)])
    def test_contour_does_not_matter_and_cosine_is_even(self, mass, cosine):
        reference = form_factors.form_factors(mass, cosine, n=24, deformation=1.8)
        np.testing.assert_allclose(form_factors.form_factors(mass, cosine, n=28, deformation=1.4), reference, rtol=2e-3)
        np.testing.assert_allclose(
            form_factors.form_factors(mass, -cosine, n=24, deformation=1.8), reference, rtol=1e-8
        )

    def test_committed_grid(self):
        with np.load(dihiggs.GRID) as grid:
            np.testing.assert_array_equal(grid["mass"], form_factors.GRID_MASSES)
            for i, j in ((6, 1), (22, 3)):
                found = form_factors.form_factors(grid["mass"][i], grid["cosine"][j], n=22, deformation=1.8)
                stored = [grid[name][i, j] for name in ("f_triangle", "f_box", "g_box")]
                np.testing.assert_allclose(stored, found, rtol=2e-3)


class TestDiHiggs:
    def test_interpolation_between_grid_points(self):
        """At a mass and an angle that the grid does not hold."""
        mass, cosine = 440.0, 0.85
        triangle, f_box, g_box = form_factors.form_factors(mass, cosine, n=24, deformation=1.8)
        triangle *= 3 * 125.0**2 / (mass**2 - 125.0**2)
        terms = dihiggs.coupling_terms(np.array([mass]), np.array([cosine]))
        for kappa in (-1.0, 0.0, 1.0, 5.0):
            expected = abs(kappa * triangle + f_box) ** 2 + abs(g_box) ** 2
            np.testing.assert_allclose(dihiggs.squared(terms, kappa), expected, rtol=0.02)

    def test_triangle_and_box_cancel_at_threshold(self):
        """Where 3 M^2 / (s - M^2) = 1, at the threshold, the heavy-top amplitudes cancel for kappa = 1."""
        terms = dihiggs.coupling_terms(np.array([251.0]), np.array([0.0]))[:, 0]
        assert dihiggs.squared(terms, 1.0) < 0.06 * terms[2]

    def test_decayed_pair_variables(self):
        """Mass and angle of a pair are found again after a boost along the beam."""
        rng = np.random.default_rng(3)
        mass, cosine, rapidity = rng.uniform(260, 900, 50), rng.uniform(-1, 1, 50), rng.normal(size=50)
        pair = kinematics.back_to_back(mass, cosine, rng.uniform(0, 6, 50), 125.0)
        found = dihiggs.pair_variables(*(kinematics.boost_along_beam(p, rapidity) for p in pair))
        np.testing.assert_allclose(found, (mass, cosine), rtol=1e-9)

    def test_cross_section_and_its_dependence_on_the_coupling(self):
        """Against the literature at 14 TeV.

        S. Borowka et al., arXiv:1604.06447: leading order with full top mass 19.85 fb, scale uncertainty +27.6 % and
        -20.5 %, for PDF4LHC15.  The alpha_s(M_Z) = 0.130 of the leading-order densities used here raises it, within
        that uncertainty.  G. Heinrich et al., arXiv:1903.08137, table 1: NLO cross-sections and K-factors, whose
        quotient is the leading order; its ratios hardly depend on densities and scale (the K-factors' two decimals
        alone give 0.5 %).  Chinese Physics C, doi:10.1088/1674-1137/ad9d1d, eq. 1: the polynomial at leading order and
        13 TeV, to three digits, which where its terms cancel are 1 %.
        """
        pytest.importorskip("pythia8mc")
        terms = dihiggs.cross_sections()
        total = dihiggs.squared(terms, 1.0)
        assert 19.85 * 0.795 < total < 19.85 * 1.276
        published = {-1: (136.91, 1.86), 0: (73.64, 1.79), 2: (14.75, 1.56), 2.4: (13.79, 1.65), 5: (95.22, 2.14)}
        for kappa, (nlo, k_factor) in published.items():
            ratio = nlo / k_factor / (32.88 / 1.66)
            assert dihiggs.squared(terms, kappa) / total == pytest.approx(ratio, rel=0.03)
            leading = np.polyval([4.72, -23.0, 35.0], kappa) / np.polyval([4.72, -23.0, 35.0], 1.0)
            assert dihiggs.squared(terms, kappa) / total == pytest.approx(leading, rel=0.02)


class TestSampling:
    def test_integral_of_a_peak(self):
        """Two Gaussian peaks of width 0.02 in three dimensions, for which flat sampling would need far more points."""

        def peak(u):
            return np.prod(stats.norm.pdf(u, 0.3, 0.02), axis=0)

        vegas = sampling.Vegas(3, seed=5)
        value, error = vegas.train(peak, iterations=10, points=5000)
        assert error < 0.01
        assert value == pytest.approx(1.0, abs=6 * error)

    def test_unweighted_copies_are_unbiased(self):
        rng = np.random.default_rng(2)
        f = rng.exponential(size=200_000)
        height = sampling.ceiling(f, 0.02)
        assert np.maximum(f - height, 0).sum() / f.sum() == pytest.approx(0.02, rel=0.01)
        copies = np.bincount(sampling.unweighted_copies(f, height, rng), minlength=len(f))
        assert set(np.unique(copies)) >= {0, 1, 2}
        np.testing.assert_allclose(copies[f > height].mean(), f[f > height].mean() / height, rtol=0.01)
        np.testing.assert_allclose(copies.mean(), f.mean() / height, rtol=0.02)


class TestDetector:
    def test_photon_resolution_is_that_of_the_mass_peak(self):
        """Barrel photons of 60 GeV: width and mean of the response from its two parts."""
        rng = np.random.default_rng(4)
        energy, eta = np.full(400_000, 60.0), np.full(400_000, 0.5)
        response = detector.photon_response(energy, eta, rng)
        sigma2 = 0.009**2 + 0.12**2 / 60 + (0.45 / 60) ** 2 + 0.01**2
        loss = 0.1 * 0.012
        variance = sigma2 * (0.9 + 0.1 * 4) + 0.1 * 2 * 0.012**2 - loss**2
        assert response.mean() == pytest.approx(1 - loss, abs=6 * np.sqrt(variance / 400_000))
        assert response.var() == pytest.approx(variance, rel=0.02)

    def test_regions_of_the_calorimeter(self):
        sigma = detector.photon_resolution(np.full(4, 100.0), np.array([-0.5, 1.6, -2.0, 2.3]))
        expected = np.hypot([0.009, 0.006, 0.007, 0.008], np.array([0.12, 0.20, 0.21, 0.24]) / 10)
        expected[0] = np.hypot(expected[0], 0.0045)
        np.testing.assert_allclose(sigma, expected)

    def test_largest_efficiency_is_divided_out(self):
        pt = np.linspace(20, 500, 5000)
        assert detector.btag_efficiency(pt).max() == pytest.approx(detector.MAX_BTAG_EFFICIENCY, abs=0.005)
        assert np.all(detector.photon_efficiency(np.linspace(-2.4, 2.4, 99)) <= detector.MAX_PHOTON_EFFICIENCY)


def test_les_houches_event(tmp_path):
    particle = les_houches.Particle(22, 1, (1, 2), (0, 0), (5.0, 3.0, 0.0, 4.0), 0.0)
    les_houches.write(tmp_path / "e.lhe", [les_houches.Event([particle], 91.0)], 1.5, 0.1)
    lines = (tmp_path / "e.lhe").read_text().splitlines()
    head, body = (lines[lines.index("<event>") + i].split() for i in (1, 2))
    assert (int(head[0]), float(head[3])) == (1, 91.0)
    assert [float(x) for x in body[:11]] == [22, 1, 1, 2, 0, 0, 3, 0, 4, 5, 0]


@pytest.fixture(scope="module")
def entry_point():
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    import generate

    return generate


def run(entry_point, tmp_path, *arguments):
    import uproot

    entry_point.main([*arguments, "--out", str(tmp_path / "x.root")])
    with uproot.open(tmp_path / "x.root") as file:
        columns = file["events"].arrays(library="np")
    return columns, json.loads((tmp_path / "x.json").read_text())


def check(columns, facts):
    flow = list(facts["cutflow"].values())
    assert flow == sorted(flow, reverse=True)
    assert flow[-1] == facts["rows"] == len(columns["Hgg_mass"]) > 0
    assert columns["xs_weight_fb"].sum() == pytest.approx(facts["xs_selected_fb"], rel=1e-4)
    efficiency = facts["rows"] / flow[0] * facts["max_efficiency"]
    assert facts["xs_selected_fb"] == pytest.approx(facts["xs_generated_fb"] * efficiency)
    assert columns["g2_pt"].min() > 20
    assert columns["b1_pt"].min() > 30
    pt2 = columns["g1_pt"] * columns["g2_pt"]
    d_eta, d_phi = (columns[f"g1_{angle}"] - columns[f"g2_{angle}"] for angle in ("eta", "phi"))
    np.testing.assert_allclose(columns["Hgg_mass"] ** 2, 2 * pt2 * (np.cosh(d_eta) - np.cos(d_phi)), rtol=1e-3)


def test_simulate_pairs(entry_point, tmp_path):
    columns, facts = run(
        entry_point, tmp_path, *["--process", "hh", "--events", "150", "--kappa-lambda", "2.45", "--seed", "4"]
    )
    check(columns, facts)
    assert np.median(columns["Hgg_mass"]) == pytest.approx(125, abs=1.5)
    # a weight belongs to its own event: the parton-level mass is that of the reconstructed event within resolution
    assert np.corrcoef(columns["gen_mhh"], columns["tot_mass"])[0, 1] > 0.6
    for kappa, name in ((0.0, "w_kl_0"), (2.45, "w_kl_2p45"), (5.0, "w_kl_5")):
        terms = kappa**2 * columns["w_A"] + kappa * columns["w_B"] + columns["w_C"]
        np.testing.assert_allclose(terms, columns[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(columns["w_kl_2p45"], 1, rtol=1e-5)


def test_simulate_continuum(entry_point, tmp_path):
    columns, facts = run(
        entry_point, tmp_path, *["--process", "continuum", "--events", "60", "--points", "4000", "--seed", "4"]
    )
    check(columns, facts)
    assert facts["xs_generated_error_fb"] < 0.2 * facts["xs_generated_fb"]


def test_same_seed_same_events(entry_point):
    first, second, other = (entry_point.simulate("zh", 100, seed=seed)[0] for seed in (6, 6, 7))
    np.testing.assert_array_equal(first["tot_mass"], second["tot_mass"])
    assert not np.array_equal(first["tot_mass"], other["tot_mass"])
