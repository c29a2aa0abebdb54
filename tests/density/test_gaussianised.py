"""Coordinates in which a background is normal, and the flow of a lump in them."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from scipy import integrate
from scipy.stats import multivariate_normal
from untrained import random_flow

from hisigma_zfit.density.blob import blob_flow
from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.flows import DistributionFlow, MixtureFlow
from hisigma_zfit.density.gaussianised import Gaussianised, window_transform
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge
from hisigma_zfit.model.learned import LearnedPeak

WINDOW = (115.0, 135.0)
SHARES, MEANS = np.array([0.3, 0.7]), np.array([[0.2, 1.0, -0.5], [-0.4, 0.3, 0.8]])
ROOTS = np.array([[[0.6, 0, 0], [0.2, 0.5, 0], [-0.1, 0.2, 0.4]], [[0.5, 0, 0], [-0.2, 0.7, 0], [0.3, 0.1, 0.6]]])
COVARIANCES = ROOTS @ ROOTS.swapaxes(1, 2)


@pytest.fixture(scope="module")
def mass():
    return window_transform(lambda m: np.exp(-(m - 115.0) / 40.0), WINDOW, name="m")


@pytest.fixture(scope="module")
def flow():
    return random_flow(2, strength=0.3)


@pytest.fixture(scope="module")
def place(flow, mass):
    return Gaussianised.of(flow, mass)


def drawn(flow, mass, n, seed=1):
    m = mass.inverse(np.random.default_rng(seed).random((n, 1)))[:, 0]
    return flow.sample(m, seed=seed), m


def test_the_window_has_its_edges_exactly(mass):
    m = np.linspace(*WINDOW, 101)
    level, log_slope = mass.forward(m[:, None])
    expected = -np.expm1(-(m - 115.0) / 40.0) / -np.expm1(-0.5)
    np.testing.assert_allclose(level[:, 0], expected, atol=1e-9)
    np.testing.assert_allclose(np.exp(log_slope), np.exp(-(m - 115.0) / 40.0) / 40.0 / -np.expm1(-0.5), rtol=1e-6)
    assert level[0, 0] == 0.0
    assert level[-1, 0] == 1.0
    assert mass.forward([[114.999], [135.001]])[1].tolist() == [-np.inf, -np.inf]


@pytest.mark.statistical
def test_the_background_is_normalised_and_normal_in_each(flow, mass, place):
    """Mean of p_b / phi over 40,000 standard normal points: five standard errors, 6e-7; the marginals likewise."""
    y = np.random.default_rng(2).standard_normal((40_000, 3))
    x, m = place.inverse(y)
    ratio = np.exp(place.log_background(flow, x, m) - multivariate_normal(np.zeros(3)).logpdf(y))
    assert ratio.mean() == pytest.approx(1.0, abs=5 * ratio.std() / 200.0)
    x, m = drawn(flow, mass, 20_000)
    found, _ = place.forward(x, m)
    assert abs(found[:, 0].mean()) < 5 / np.sqrt(20_000)
    assert found[:, 0].std() == pytest.approx(1.0, abs=5 / np.sqrt(40_000))


def test_forward_and_back(flow, mass, place):
    x, m = drawn(flow, mass, 500)
    y, log_jacobian = place.forward(x, m)
    back = place.inverse(y)
    np.testing.assert_allclose(back[0], x, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(back[1], m, rtol=1e-10)
    # the Jacobian by finite differences
    columns = np.column_stack([m, x])
    numeric = np.empty((500, 3, 3))
    for j in range(3):
        step = np.zeros(3)
        step[j] = 1e-6 * max(np.std(columns[:, j]), 1e-3)
        high, low = (place.forward((columns + s)[:, 1:], (columns + s)[:, 0])[0] for s in (step, -step))
        numeric[:, :, j] = (high - low) / (2.0 * step[j])
    inner = np.abs(y).max(axis=1) < 2.5
    expected = np.linalg.slogdet(numeric)[1]
    np.testing.assert_allclose(log_jacobian[inner], expected[inner], atol=2e-3)


def test_moving_edges_are_followed(flow, mass):
    """The second feature ends where the first one says."""
    coordinates = Coordinates(flow.features, "m", (Coordinate("b", Edge.fixed(0.0), Edge("a", 1.0, 5.0)),))
    moving = CoordinateFlow(flow, coordinates)
    place = Gaussianised.of(MixtureFlow([moving]), mass)
    x, m = drawn(moving, mass, 200)
    y, _ = place.forward(x, m)
    np.testing.assert_allclose(place.inverse(y)[0], x, rtol=1e-6, atol=1e-8)
    lump = blob_flow(place, SHARES, MEANS, COVARIANCES)
    assert lump.inside(lump.sample(m, seed=1), m).all()


def test_edges_and_other_densities_are_refused(flow, mass, place):
    x, m = drawn(flow, mass, 100)
    m[:10] = 115.0
    with pytest.raises(InputError, match="10 events on an edge"):
        place.forward(x, m)
    known = DistributionFlow(lambda m: None, features=("a",), given="m")
    with pytest.raises(InputError, match=r"hz\.train_flow"):
        Gaussianised.of(known, mass)


def test_lump_and_its_mass_are_one_density(place, tmp_path):
    """Flow times peak is the Gaussian mixture in all coordinates, stored and read back too."""
    lump = blob_flow(place, SHARES, MEANS, COVARIANCES)
    space = zfit.Space("m", 90, 180)
    widths = np.sqrt(COVARIANCES[:, 0, 0])
    peak = LearnedPeak(space, place.mass, shares=SHARES, means=MEANS[:, 0], widths=widths)
    y = np.random.default_rng(3).normal(0.0, 0.9, (400, 3))
    x, m = place.inverse(y)
    y, log_jacobian = place.forward(x, m)
    parts = [multivariate_normal(mean, cov).pdf(y) for mean, cov in zip(MEANS, COVARIANCES, strict=True)]
    expected = np.log(SHARES @ parts) + log_jacobian
    mass_part = np.log(np.asarray(peak.pdf(m)))
    np.testing.assert_allclose(lump.log_prob_array(x, m) + mass_part, expected, atol=1e-7)
    lump.save(tmp_path / "lump")
    np.testing.assert_array_equal(load_flow(tmp_path / "lump").log_prob_array(x, m), lump.log_prob_array(x, m))


def test_the_peak_integrates(place):
    space = zfit.Space("m", 90, 180)
    widths = np.sqrt(COVARIANCES[:, 0, 0])
    peak = LearnedPeak(space, place.mass, shares=SHARES, means=MEANS[:, 0], widths=widths)
    fine = np.linspace(115, 135, 20_001)
    density = np.asarray(peak.pdf(fine))
    assert integrate.simpson(density, x=fine) == pytest.approx(1.0, abs=1e-6)
    inside = (fine > 120 - 1e-9) & (fine < 126 + 1e-9)
    part = integrate.simpson(density[inside], x=fine[inside])
    assert float(np.squeeze(peak.integrate(zfit.Space("m", 120, 126)))) == pytest.approx(part, abs=1e-6)
    np.testing.assert_array_equal(peak.pdf(np.array([100.0, 150.0])), [0.0, 0.0])


@pytest.mark.statistical
def test_samples_of_a_lump_follow_it(place):
    """First and second moments in the coordinates at one mass, five standard errors: 6e-7 for each of nine."""
    lump = blob_flow(place, SHARES, MEANS, COVARIANCES)
    m = np.full(20_000, 124.0)
    y_x, _ = place.forward(lump.sample(m, seed=2), m)
    y_0 = y_x[0, 0]
    width = np.sqrt(COVARIANCES[:, 0, 0])
    share = SHARES / width * np.exp(-0.5 * ((y_0 - MEANS[:, 0]) / width) ** 2)
    share /= share.sum()
    slope = COVARIANCES[:, 1:, 0] / COVARIANCES[:, :1, 0]
    means = MEANS[:, 1:] + slope * (y_0 - MEANS[:, :1])
    rest = COVARIANCES[:, 1:, 1:] - slope[:, :, None] * COVARIANCES[:, None, 0, 1:]
    mean = share @ means
    second = np.einsum("k,kij->ij", share, rest + means[:, :, None] * means[:, None, :])
    values = y_x[:, 1:]
    np.testing.assert_allclose(values.mean(axis=0), mean, atol=5 * values.std() / np.sqrt(20_000))
    products = values[:, :, None] * values[:, None, :]
    assert np.all(np.abs(products.mean(axis=0) - second) < 5 * products.std(axis=0) / np.sqrt(20_000))
