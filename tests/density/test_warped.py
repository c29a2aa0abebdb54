"""The map before the splines must leave a density that is normalised, autoregressive and what its samples follow.

Its nets are random and strong, so that every map is far from the identity; not so strong that all events end in a
corner of the cube, where no quadrature finds them.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import ndtr
from scipy.stats import chi2
from untrained import random_flow

from hisigma_zfit.density import trained
from hisigma_zfit.density.base import blockwise
from hisigma_zfit.density.warped import BOUND, WarpedSplineConfig, spline_flow
from hisigma_zfit.errors import InputError

CONFIG = WarpedSplineConfig(knots=8, hidden=8, layers=2, bins=3)
MASSES = [60.0, 95.0, 125.0, 170.0, 400.0]  # far outside, sidebands and signal region


def random_maps(n_features):
    return random_flow(n_features, members=1, config=CONFIG, strength=0.25)


def log_density(parameters, u, c):
    """Log-density on the cube of one member."""
    prepared = CONFIG.prepare(tf.constant(u), tf.constant(c))
    return np.asarray(CONFIG.log_prob(tf.constant(parameters), prepared))[0]


@pytest.fixture(scope="module")
def one():
    return random_maps(1)


@pytest.fixture(scope="module")
def two():
    return random_maps(2)


def nodes(n):
    """Midpoints that are equidistant in the normal quantile, dense at both faces, and their widths in u."""
    z = np.linspace(-9.0, 9.0, n + 1)
    return ndtr(0.5 * (z[1:] + z[:-1])), np.diff(ndtr(z))


@pytest.mark.parametrize("m", MASSES)
def test_normalised_in_one_dimension(one, m):
    u, widths = nodes(40_000)
    c = np.full(len(u), float(one.mass_scale(m)))
    density = np.exp(log_density(one.parameters.astype(float), u[:, None], c))
    assert widths @ density == pytest.approx(1.0, abs=1e-5)
    assert density.std() > 0.05  # far from uniform: the test could fail


def test_normalised_in_two_dimensions(two):
    u, widths = nodes(500)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(u, u, indexing="ij")], axis=1)
    density = np.exp(log_density(two.parameters.astype(float), grid, np.full(len(grid), 0.3)))
    assert np.outer(widths, widths).ravel() @ density == pytest.approx(1.0, abs=1e-3)


@pytest.mark.statistical
def test_samples_follow_the_density(two):
    """Chi-square in 64 cells of the normal quantiles; a right sampler fails once in a million times."""
    n, c = 50_000, 0.2
    rng = np.random.default_rng(4)
    sample = CONFIG.sample(two.parameters[0].astype(float), np.full(n, c), rng, n_features=2)
    u, widths = nodes(300)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(u, u, indexing="ij")], axis=1)
    density = np.exp(log_density(two.parameters.astype(float), grid, np.full(len(grid), c)))
    edges = [ndtr([-9.0, -2.7, -1.8, -0.9, 0.0, 0.9, 1.8, 2.7, 9.0])] * 2  # between nodes
    found = np.histogramdd(sample, edges)[0].ravel()
    expected = np.histogramdd(grid, edges, weights=np.outer(widths, widths).ravel() * density)[0].ravel()
    assert found.sum() == n
    expected *= n / expected.sum()
    filled = expected > 10
    assert found[~filled].sum() < 200
    statistic = np.sum((found[filled] - expected[filled]) ** 2 / expected[filled])
    assert chi2.sf(statistic, df=filled.sum() - 1) > 1e-6
    assert np.ptp(density) > 1  # far from uniform: the test could fail


def test_no_feature_sees_a_later_one():
    """Changing u_k moves the conditional densities of feature k and of later ones only."""
    parameters = tf.constant(random_maps(3).parameters.astype(float))
    rng = np.random.default_rng(2)
    u, c = rng.random((100, 3)), rng.uniform(-1, 1, 100)

    def conditionals(points):
        prepared = CONFIG.prepare(tf.constant(points), tf.constant(c))
        return np.asarray(CONFIG.log_conditionals(parameters, prepared))[0]

    for k in range(3):
        changed = u.copy()
        changed[:, k] = rng.random(100)
        moved = np.abs(conditionals(changed) - conditionals(u)).max(axis=1)
        assert (moved[:k] == 0).all()
        assert (moved[k:] > 1e-3).all()


def test_finite_and_continuous_up_to_the_faces(two):
    corners = np.stack([axis.ravel() for axis in np.meshgrid([0.0, 1e-300, 1.0], [0.0, 0.5, 1.0])], axis=1)
    parameters = two.parameters.astype(float)
    assert np.isfinite(log_density(parameters, corners, np.zeros(len(corners)))).all()
    edge = ndtr(-BOUND) * np.array([1.0, 1.01, 0.0])
    at, within, face = log_density(parameters, np.stack([np.full(3, 0.4), edge], axis=1), np.zeros(3))
    assert face == at
    assert within == pytest.approx(at, abs=0.05)


@pytest.mark.parametrize("bins", [1, -1, 1000])
def test_unusable_numbers_of_bins_are_refused(bins):
    with pytest.raises(InputError, match="bins from 2 to 999, or 0"):
        spline_flow(bins=bins)


def test_many_events_are_left_to_xla_in_whole_blocks(two, monkeypatch):
    m = np.full(trained.BLOCK + 5, 121.0)
    x = two.sample(m, seed=3)
    expected = two.log_prob_array(x, m)
    monkeypatch.setattr(trained, "WORTH_COMPILING", 1)
    sizes = []

    def noted(function, *events, block, least, beside):
        sizes.append((block, least))
        return blockwise(function, *events, block=block, least=least, beside=beside)

    monkeypatch.setattr(trained, "blockwise", noted)
    np.testing.assert_allclose(two.log_prob_array(x, m), expected, atol=2e-5)
    assert sizes == [(trained.BLOCK, trained.BLOCK)]  # another size would be compiled again
