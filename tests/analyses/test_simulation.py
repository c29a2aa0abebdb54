"""The simulation of the di-Higgs study: matrix elements, sampling, detector, and the entry point."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2] / "analyses" / "dihiggs" / "simulation"))

import continuum
import detector
import dihiggs
import form_factors
import kinematics
import les_houches
import sampling
import spinors

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

CHARGES = (2 / 3, -1 / 3)


def rambo(n: int, energy: Array | float, size: int, rng: np.random.Generator) -> list[Array]:
    """Flat phase space of n massless particles: R. Kleiss, W. J. Stirling, S. D. Ellis, CPC 40 (1986) 359."""
    cosine, phi = rng.uniform(-1, 1, (n, size)), rng.uniform(0, 2 * np.pi, (n, size))
    e = rng.gamma(2.0, size=(n, size))
    sine = np.sqrt(1 - cosine**2)
    q = np.array([e, e * sine * np.cos(phi), e * sine * np.sin(phi), e * cosine])
    total = q.sum(axis=1)
    mass = np.sqrt(kinematics.dot(total, total))
    at_rest = [kinematics.boost(q[:, i], -total[1:] / total[0]) for i in range(n)]
    return [p * energy / mass for p in at_rest]


@pytest.fixture(scope="module")
def event() -> tuple[tuple[Array, Array], tuple[Array, Array], tuple[Array, Array]]:
    """Incoming partons off the axis, quarks and photons of six events at 500 GeV."""
    one, angle = np.ones(6), 0.3
    first = 250 * np.array([one, np.sin(angle) * one, 0 * one, np.cos(angle) * one])
    second = first * np.array([1, -1, -1, -1])[:, None]
    b, bbar, g1, g2 = rambo(4, 500.0, 6, np.random.default_rng(1))
    return (first, second), (b, bbar), (g1, g2)


def gg(event, replace=None) -> Array:
    return continuum.gg_squared(*event, 1.0, 1.0, replace)[0]


def qq(event, replace=None) -> Array:
    return continuum.qq_squared(*event, CHARGES, 1.0, 1.0, replace)


class TestContinuum:
    def test_gauge_invariance(self, event):
        gluons, _, photons = event
        for i, k in enumerate((*gluons, *photons)):
            assert np.all(gg(event, {i: k / k[0]}) < 1e-20 * gg(event))
        for i, k in enumerate(photons):
            assert np.all(qq(event, {i: k / k[0]}) < 1e-20 * qq(event))

    def test_symmetries(self, event):
        incoming, quarks, photons = event
        for same in (
            (incoming[::-1], quarks, photons),
            (incoming, quarks[::-1], photons),
            (incoming, quarks, photons[::-1]),
        ):
            np.testing.assert_allclose(gg(same), gg(event), rtol=1e-9)
        np.testing.assert_allclose(qq((incoming, quarks, photons[::-1])), qq(event), rtol=1e-9)
        np.testing.assert_allclose(qq((incoming[::-1], quarks[::-1], photons)), qq(event), rtol=1e-9)  # CP

    def test_lorentz_invariance(self, event):
        velocity = np.array([0.3, -0.2, 0.5])[:, None] * np.ones(6)
        moved = tuple(tuple(kinematics.boost(p, velocity) for p in pair) for pair in event)
        np.testing.assert_allclose(gg(moved), gg(event), rtol=1e-8)
        np.testing.assert_allclose(qq(moved), qq(event), rtol=1e-8)

    def test_feynman_diagrams_gg(self, event):
        """All 36 diagrams with 4 x 4 gamma matrices, traces, explicit colour and real polarisations."""
        reference = [traced_gg(*([p[:, i] for p in pair] for pair in event)) for i in range(3)]
        np.testing.assert_allclose(gg(event)[:3], reference, rtol=1e-9)

    def test_feynman_diagrams_qq(self, event):
        """All 12 diagrams in the same way."""
        reference = [traced_qq(*([p[:, i] for p in pair] for pair in event)) for i in range(3)]
        np.testing.assert_allclose(qq(event)[:3], reference, rtol=1e-9)

    def test_soft_photons_fix_the_normalisation(self):
        """Two soft photons factorise into eikonal factors and the 2 -> 2 cross-sections.

        |M|^2 of q qbar -> Q Qbar and g g -> Q Qbar: R. K. Ellis, W. J. Stirling and B. R. Webber, QCD and Collider
        Physics, table 7.1.
        """
        softness = 1e-5
        incoming = kinematics.incoming(*np.full((2, 1), 250 / kinematics.BEAM_ENERGY))
        photons = direction(0.7, 2.0) * softness * 250, direction(2.1, 1.0) * softness * 325
        recoiling = sum(incoming) - sum(photons)
        mass = np.sqrt(kinematics.dot(recoiling, recoiling))
        pair = kinematics.back_to_back(mass, np.cos([1.1]), np.array([0.3]))
        b, bbar = (kinematics.boost(p, recoiling[1:] / recoiling[0]) for p in pair)
        s = 2 * kinematics.dot(*incoming)
        t, u = (-2 * kinematics.dot(incoming[0], p) for p in (b, bbar))

        def eikonal(charges, momenta, k):
            dot = kinematics.dot
            return -sum(
                c * d * dot(p, q) / (dot(p, k) * dot(q, k))
                for (c, p), (d, q) in itertools.permutations(zip(charges, momenta, strict=True), 2)
            )

        def both(charges, momenta):
            return np.prod([eikonal(charges, momenta, k) for k in photons], axis=0)

        up, down = CHARGES
        born_qq = 4 / 9 * (t**2 + u**2) / s**2
        expected = born_qq * both((-up, up, down, -down), (*incoming, b, bbar))
        np.testing.assert_allclose(qq((incoming, (b, bbar), photons)), expected, rtol=3e-4)
        born_gg = (t**2 + u**2) * (1 / (6 * t * u) - 3 / (8 * s**2))
        expected = born_gg * both((1, -1), (b, bbar))
        np.testing.assert_allclose(gg((incoming, (b, bbar), photons)), expected, rtol=3e-4)


def direction(theta: float, phi: float) -> Array:
    """Lightlike vector of unit energy, (4, 1)."""
    return np.array([[1.0], [np.sin(theta) * np.cos(phi)], [np.sin(theta) * np.sin(phi)], [np.cos(theta)]])


PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
GAMMA = np.array([np.kron([[1, 0], [0, -1]], np.eye(2)), *(np.kron([[0, 1], [-1, 0]], s) for s in PAULI)])  # Dirac's
METRIC = np.diag([1.0, -1, -1, -1])


def gell_mann() -> Array:
    """The generators T^a of SU(3), tr T^a T^b = delta / 2."""
    t = np.zeros((8, 3, 3), complex)
    for a, (i, j) in zip((0, 3, 5), ((0, 1), (0, 2), (1, 2)), strict=True):
        t[a, i, j] = t[a, j, i] = 0.5
        t[a + 1, i, j], t[a + 1, j, i] = -0.5j, 0.5j
    t[2] = np.diag([0.5, -0.5, 0])
    t[7] = np.diag([1, 1, -2]) / np.sqrt(12)
    return t


def dirac(v: npt.NDArray) -> npt.NDArray:
    """Dirac's slash of a four-vector."""
    return np.einsum("m,mn,nab->ab", v, METRIC, GAMMA)


def transverse(k: Array) -> list[Array]:
    """Two real polarisation vectors of a massless boson."""
    _, _, rows = np.linalg.svd(np.array([k[1:]]))
    return [np.array([0.0, *row]) for row in rows[1:]]


def quark_line(start: Array, bosons) -> npt.NDArray:
    """Vertices and propagators along a line, for bosons (momentum emitted, vertex matrix) in this order."""
    line, p = np.eye(4, dtype=complex), np.array(start)
    for i, (k, matrix) in enumerate(bosons):
        line = line @ matrix
        p = p + k
        if i < len(bosons) - 1:
            line = line @ dirac(p) / (p @ METRIC @ p)
    return line


def traced_gg(gluons, quarks, photons) -> float:
    """|M|^2 of g g -> b bbar gamma gamma at unit couplings, averaged."""
    (k1, k2), (b, bbar) = gluons, quarks
    t = gell_mann()
    orders = {(0, 1): np.einsum("aij,bjk->abik", t, t), (1, 0): np.einsum("bij,ajk->abik", t, t)}
    commutator = orders[0, 1] - orders[1, 0]  # = i f_abc T^c
    total = 0.0
    for polarisations in itertools.product(*(transverse(k) for k in (*gluons, *photons))):
        bosons = [(k, dirac(e)) for k, e in zip((-k1, -k2, *photons), polarisations, strict=True)]
        e1, e2 = polarisations[:2]
        fused = (e1 @ METRIC @ e2) * (k1 - k2) + 2 * (k2 @ METRIC @ e1) * e2 - 2 * (k1 @ METRIC @ e2) * e1
        fused = (-k1 - k2, dirac(fused) / (2 * k1 @ METRIC @ k2))
        matrix = np.zeros((8, 8, 3, 3, 4, 4), complex)
        for p in itertools.permutations(range(4)):
            colour = orders[tuple(i for i in p if i < 2)]
            matrix += np.multiply.outer(colour, quark_line(b, [bosons[i] for i in p]))
        for p in itertools.permutations([fused, *bosons[2:]]):
            matrix += np.multiply.outer(commutator, quark_line(b, p))
        conjugate = GAMMA[0] @ matrix.conj().swapaxes(-1, -2) @ GAMMA[0]
        total += np.einsum("pq,abijqr,rs,abijsp->", dirac(b), matrix, dirac(bbar), conjugate, optimize=True).real
    return total / 256


def traced_qq(incoming, quarks, photons) -> float:
    """|M|^2 of q qbar -> b bbar gamma gamma at unit couplings, averaged; the colour sum is tr T^a T^b squared: 2."""
    (q, qbar), (b, bbar) = incoming, quarks
    total = 0.0
    for polarisations in itertools.product(*(transverse(k) for k in photons)):
        bosons = [(k, dirac(e)) for k, e in zip(photons, polarisations, strict=True)]
        matrix = np.zeros((4, 4, 4, 4), complex)  # indices of the final, then of the initial line
        for on_final in ([], [0], [1], [0, 1]):
            on_initial = [i for i in (0, 1) if i not in on_final]
            gluon = b + bbar + sum(photons[i] for i in on_final)
            factor = CHARGES[1] ** len(on_final) * CHARGES[0] ** len(on_initial) / (gluon @ METRIC @ gluon)
            for mu in range(4):
                final = sum(
                    quark_line(b, p)
                    for p in itertools.permutations([(-gluon, GAMMA[mu]), *(bosons[i] for i in on_final)])
                )
                initial = sum(
                    quark_line(-qbar, p)
                    for p in itertools.permutations([(gluon, GAMMA[mu]), *(bosons[i] for i in on_initial)])
                )
                matrix += factor * METRIC[mu, mu] * np.multiply.outer(final, initial)
        g = GAMMA[0]
        sums = g @ dirac(b), dirac(bbar) @ g, g @ dirac(qbar), dirac(q) @ g  # spin sums of the four spinors
        total += np.einsum("abcd,efgh,ea,bf,gc,dh->", matrix, matrix.conj(), *sums, optimize=True).real
    return 2 * total / 36


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

    @pytest.mark.statistical
    def test_continuum_phase_space_volume(self):
        """The mapped phase space integrates like flat four-particle phase space (RAMBO).

        Two independent estimates, compared within 5 standard deviations: false alarm 6e-7.
        """
        pytest.importorskip("pythia8mc")
        import continuum_events

        rng = np.random.default_rng(8)

        def integrand(x1, x2, momenta):
            keep = kinematics.passes_generator_cuts(*momenta, between_partners=True)
            m_gg, m_bb = (
                np.sqrt(np.maximum(kinematics.dot(p, p), 0)) for p in (momenta[2] + momenta[3], momenta[0] + momenta[1])
            )
            keep &= (m_gg > 87) & (m_gg < 186) & (m_bb > 40)
            return np.where(keep, np.exp(-np.sqrt(x1 * x2 * kinematics.S) / 100), 0.0)

        n = 200_000
        point = continuum_events.phase_space(rng.uniform(size=(9, n)))
        inside = (point.x1 < 1) & (point.x2 < 1)
        mapped = np.where(inside, integrand(point.x1, point.x2, point[3:]) * point.jacobian, 0.0)
        # flat: d x1 d x2 = tau d(ln tau) d y; volume of massless four-particle phase space s^2 / (24576 pi^5)
        log_low, log_high = np.log(150.0**2 / kinematics.S), np.log(2500.0**2 / kinematics.S)
        tau = np.exp(rng.uniform(log_low, log_high, n))
        y_max = -0.5 * np.log(tau)
        y = y_max * rng.uniform(-1, 1, n)
        energy = np.sqrt(tau * kinematics.S)
        momenta = [kinematics.boost_along_beam(p, y) for p in rambo(4, energy, n, rng)]
        volume = energy**4 / (24576 * np.pi**5) * tau * (log_high - log_low) * 2 * y_max
        flat = volume * integrand(np.sqrt(tau) * np.exp(y), np.sqrt(tau) * np.exp(-y), momenta)
        error = np.hypot(mapped.std(), flat.std()) / np.sqrt(n)
        assert error < 0.05 * flat.mean()
        assert abs(mapped.mean() - flat.mean()) < 5 * error


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


def test_polarisations_are_transverse_and_complete():
    """Sum of e_i e_j* is the projector on the plane across the momentum; the spinors' norm is 2E."""
    k = direction(0.8, 1.9) * 40.0
    e = spinors.polarisations(k)[..., 0]
    unit = k[1:, 0] / 40.0
    projector = np.eye(3) - np.outer(unit, unit)
    np.testing.assert_allclose(np.einsum("hi,hj->ij", e[:, 1:], e[:, 1:].conj()), projector, atol=1e-14)
    for helicity in (-1, 1):
        xi = spinors.weyl(k, helicity)[:, 0]
        np.testing.assert_allclose(np.outer(xi, xi.conj()), spinors.slash(k, helicity)[..., 0], atol=1e-12)


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
