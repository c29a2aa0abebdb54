"""The density must be one: normalised for every mass, autoregressive, and what its samples follow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chi2, kstest
from untrained import SMALL, random_flow

from hisigma_zfit.density.base import config_from_json
from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.splines import knot_vector

MASSES = [60.0, 95.0, 118.0, 125.0, 134.0, 170.0, 400.0]  # far outside, sidebands and signal region


def cube_density(flow, u, m):
    """Density on the cube, from the flow's public log_prob and the transform's Jacobian."""
    x = flow.transform.inverse(u)
    return np.exp(flow.log_prob_array(x, m) - flow.transform.forward(x)[1])


def conditionals(flow, u, c):
    """Log of the conditional densities of the first member's features on the cube, shape (d, n)."""
    config = flow.config
    prepared = config.prepare(tf.constant(u), tf.constant(c))
    return np.asarray(config.log_conditionals(tf.constant(flow.parameters), prepared))[0]


def gauss_legendre(n_per_interval):
    """Nodes and weights on [0, 1] that respect the splines' knots and the kinks of the net's inputs."""
    edges = np.unique(np.concatenate([knot_vector(SMALL.knots, SMALL.degree), [2e-4, 1 - 2e-4]]))
    nodes, weights = np.polynomial.legendre.leggauss(n_per_interval)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()


@pytest.mark.parametrize("bins", [0, 4])
def test_starts_at_the_uniform_density(bins):
    config = spline_flow(bins=bins)
    parameters = config.init(np.random.default_rng(1), 3)[None]
    u = np.random.default_rng(2).random((500, 3))
    prepared = config.prepare(tf.constant(u), tf.constant(np.linspace(-1, 1, 500)))
    log_prob = np.asarray(config.log_prob(tf.constant(parameters), prepared))
    assert np.abs(log_prob).max() < (0.5 if bins else 0.1)  # the map's slopes and bins are random too
    assert np.abs(log_prob).mean() < 0.1


def test_normalised_in_one_dimension():
    flow = random_flow(1)
    u, weights = gauss_legendre(4)
    for m in MASSES:
        assert weights @ cube_density(flow, u[:, None], m) == pytest.approx(1, abs=1e-6)


def test_normalised_in_two_dimensions(two_features):
    u, weights = gauss_legendre(8)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(u, u, indexing="ij")], axis=1)
    for m in MASSES:
        total = np.outer(weights, weights).ravel() @ cube_density(two_features, grid, m)
        assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.statistical
@pytest.mark.parametrize("m", [95.0, 125.0, 170.0])
def test_normalised_in_four_dimensions_by_its_own_samples(four_features, m):
    # E[p(x | m) / p(x | 110)] over x ~ p(. | 110) is one: normalisation and sampling at once; 4.5 sigma, p < 1e-5
    x = four_features.sample(np.full(60_000, 110.0), seed=3)
    log_at_110 = four_features.log_prob_array(x, 110.0)
    ratio = np.exp(four_features.log_prob_array(x, m) - log_at_110)
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / np.sqrt(len(ratio))
    assert ratio.std() > 0.05  # the mass matters: the test could fail


@pytest.mark.statistical
def test_samples_follow_the_density(two_features):
    n, m, bins = 100_000, 121.0, 12
    sample = two_features.transform.forward(two_features.sample(np.full(n, m), seed=4))[0]
    found = np.histogramdd(sample, bins=bins, range=[(0, 1)] * 2)[0].ravel()
    fine = (np.arange(bins * 20) + 0.5) / (bins * 20)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(fine, fine, indexing="ij")], axis=1)
    density = cube_density(two_features, grid, m).reshape(bins, 20, bins, 20).mean(axis=(1, 3)).ravel()
    expected = n * density / density.sum()
    statistic = np.sum((found - expected) ** 2 / expected)
    assert chi2.sf(statistic, df=bins**2 - 1) > 1e-6
    assert np.abs(density - 1).max() > 0.3  # far from uniform: the test could fail


@pytest.mark.statistical
def test_conditional_cdf_of_samples_is_uniform():
    # probability integral transform of each conditional density, integrated numerically; p > 1e-6 each
    flow, n = random_flow(4, members=1), 5000
    m = np.random.default_rng(1).uniform(90, 180, size=n)
    u = flow.transform.forward(flow.sample(m, seed=5))[0]
    nodes, weights = gauss_legendre(2)  # scaled to [0, u_j], where they are dense enough for 1e-3
    for j in range(4):
        points = np.repeat(u, len(nodes), axis=0)
        points[:, j] = np.outer(u[:, j], nodes).ravel()
        density = np.exp(conditionals(flow, points, np.repeat(flow.mass_scale(m), len(nodes)))[j])
        level = u[:, j] * (density.reshape(n, -1) @ weights)
        assert kstest(level, "uniform").pvalue > 1e-6


def test_no_feature_sees_a_later_one():
    flow = random_flow(4, members=1)
    rng = np.random.default_rng(2)
    u, c = rng.random((100, 4)), rng.uniform(-1, 1, 100)
    before = conditionals(flow, u, c)
    for j in range(4):
        changed = u.copy()
        changed[:, j] = rng.random(100)
        moved = np.abs(conditionals(flow, changed, c) - before).max(axis=1)
        assert (moved[:j] == 0).all()
        assert (moved[j:] > 1e-3).all()


def test_conditional_densities_multiply_to_the_density():
    flow = random_flow(4, members=1)
    rng = np.random.default_rng(3)
    u, m = rng.random((100, 4)), rng.uniform(90, 180, 100)
    product = np.exp(conditionals(flow, u, flow.mass_scale(m)).sum(axis=0))
    np.testing.assert_allclose(product, cube_density(flow, u, m), rtol=1e-4)  # float32 nets


def test_finite_on_faces_and_corners_of_the_cube(four_features):
    corners = np.stack([axis.ravel() for axis in np.meshgrid(*[[0.0, 1e-300, 1.0]] * 4)], axis=1)
    config = four_features.config
    prepared = config.prepare(tf.constant(corners), tf.constant(np.zeros(len(corners))))
    assert np.isfinite(config.log_prob(tf.constant(four_features.parameters), prepared)).all()


@pytest.mark.parametrize("option", [{"knots": 3}, {"hidden": 0}, {"layers": 0}, {"degree": -1}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(InputError, match=f"{next(iter(option))} >="):
        spline_flow(**option)


@pytest.mark.parametrize("bins", [0, 5])
def test_config_round_trip(bins):
    config = spline_flow(knots=12, hidden=20, bins=bins)
    assert config_from_json(config.to_json()) == config
    assert type(config_from_json(config.to_json())) is type(config)


def test_flows_stored_before_there_were_maps_are_read_without_one():
    stored = {"kind": "spline", "knots": 8, "hidden": 8, "layers": 2, "degree": 3, "learning_rate": 0.003}
    assert config_from_json(stored) == SMALL
    assert type(config_from_json(stored)) is SplineConfig
