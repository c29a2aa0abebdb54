"""Matrix elements of the continuum: symmetries, Feynman diagrams written out, soft limits, phase space."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import continuum
import kinematics
import numpy as np
import pytest
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


@pytest.mark.statistical
def test_continuum_phase_space_volume():
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
