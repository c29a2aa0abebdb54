"""Masked autoregressive flows: the fused maths against TFP's bijectors, normalisation, sampling, training.

With `log_prob` equal to TFP's transformed distribution, the sampler equal to TFP's forward direction, and the integral
equal to one, nothing about the maths is left to chance; two short trainings show that the nets learn.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import ndtr
from scipy.stats import chi2, kstest, norm
from untrained import random_flow

from hisigma_zfit.data import Dataset
from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.density.tfp_flows import maf, tfp_distribution
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.rational_quadratic import inverse_rational_quadratic, rational_quadratic, spline_parameters

tfb = tfp.bijectors

SMALL = {
    "spline": maf(layers=2, bins=5, hidden=8, blocks=1),
    "affine": maf(kind="affine", layers=3, hidden=8, blocks=1),
}
KINDS = tuple(SMALL)


def parameters(config, n_features, *, members=2, seed=1, strength=0.15):
    """Weights under which everything depends on everything, without training."""
    rng = np.random.default_rng(seed)
    rows = [config.init(rng, n_features) for _ in range(members)]
    return np.stack(rows) + strength * rng.normal(size=(members, len(rows[0])))


def log_prob(config, weights, u, c):
    return config.log_prob(tf.constant(weights), config.prepare(tf.constant(u), tf.constant(c))).numpy()


@pytest.fixture(scope="module")
def spline():
    rng = np.random.default_rng(2)
    z = rng.normal(scale=3.0, size=(4000, 3))
    return z, spline_parameters(tf.constant(2.0 * rng.normal(size=(4000, 3, 35))), bins=12, bound=5.0)


def test_spline_equals_tfp(spline):
    z, sizes = spline
    y, log_slope = rational_quadratic(tf.constant(z), *sizes, bound=5.0)
    reference = tfb.RationalQuadraticSpline(*sizes, range_min=-5.0)
    np.testing.assert_allclose(y, reference.forward(z), rtol=0, atol=1e-10)
    np.testing.assert_allclose(log_slope, reference.forward_log_det_jacobian(z, 0), rtol=0, atol=1e-10)
    outside = np.abs(z) > 5
    assert outside.any()
    np.testing.assert_array_equal(y.numpy()[outside], z[outside])
    assert not log_slope.numpy()[outside].any()


def test_spline_inverse(spline):
    z, sizes = spline
    y, _ = rational_quadratic(tf.constant(z), *sizes, bound=5.0)
    np.testing.assert_allclose(inverse_rational_quadratic(y, *sizes, bound=5.0), z, rtol=0, atol=1e-9)
    ends = tf.constant([-5.0, 5.0, np.inf, -np.inf], tf.float64)
    identity = spline_parameters(tf.zeros((4, 35), tf.float64), bins=12, bound=5.0)
    np.testing.assert_array_equal(inverse_rational_quadratic(ends, *identity, bound=5.0), ends)


def test_zeros_are_the_identity():
    z = tf.linspace(tf.constant(-6.0, tf.float64), 6.0, 101)
    y, log_slope = rational_quadratic(
        z, *spline_parameters(tf.zeros((101, 23), tf.float64), bins=8, bound=4.0), bound=4.0
    )
    np.testing.assert_allclose(y, z, atol=1e-14)
    np.testing.assert_allclose(log_slope, 0, atol=1e-14)


def test_gradient_is_finite_at_knots_and_outside():
    z = tf.constant([-5.0, -4.999, 0.0, 5.0, 60.0, np.inf])
    raw = tf.Variable(np.random.default_rng(1).normal(size=(6, 35)).astype(np.float32))
    with tf.GradientTape() as tape:
        y, log_slope = rational_quadratic(z, *spline_parameters(raw, bins=12, bound=5.0), bound=5.0)
        total = tf.reduce_sum(log_slope) + tf.reduce_sum(tf.where(tf.math.is_finite(y), y, 0.0))
    assert np.isfinite(tape.gradient(total, raw)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_features", [1, 3])
def test_density_and_samples_equal_tfp(kind, n_features):
    config, rng = SMALL[kind], np.random.default_rng(3)
    weights = parameters(config, n_features)
    u, c = rng.random((500, n_features)), rng.uniform(-1, 1, 500)
    members = log_prob(config, weights, u, c)
    for row, own in zip(weights, members, strict=True):
        reference = config.distribution(tf.constant(row), tf.constant(c), n_features)
        assert reference.batch_shape == (500,)
        assert reference.event_shape == (n_features,)
        np.testing.assert_allclose(own, reference.log_prob(u), rtol=0, atol=1e-8)

    normal = np.random.default_rng(7).standard_normal((500, n_features))
    bijector = config.bijector(tf.constant(weights[0]), tf.constant(c), n_features)
    sample = config.sample(weights[0], c, np.random.default_rng(7), n_features=n_features)
    np.testing.assert_allclose(sample, bijector.forward(normal), rtol=0, atol=1e-9)
    # the round trip, where the normal quantile of u is not yet spoilt by rounding of 1 - u
    settled = np.all((sample > 1e-6) & (sample < 1 - 1e-6), axis=1)
    assert settled.mean() > 0.9
    again = bijector.inverse(tf.constant(sample)).numpy()
    np.testing.assert_allclose(again[settled], normal[settled], rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c", [-1.0, 0.4])
def test_normalised_in_two_dimensions(kind, c):
    """Midpoint rule in normal coordinates, tails beyond the splines' bound included."""
    config = SMALL[kind]
    edges = np.linspace(-8, 8, 401)
    middle = 0.5 * (edges[1:] + edges[:-1])
    z = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    density = np.exp(log_prob(config, parameters(config, 2), ndtr(z), np.full(len(z), c)))
    integral = (density * norm.pdf(z).prod(axis=1)).sum(axis=1) * (edges[1] - edges[0]) ** 2
    np.testing.assert_allclose(integral, 1.0, atol=1e-4)
    assert np.ptp(density) > 1  # not the uniform density


@pytest.mark.statistical
@pytest.mark.parametrize("kind", KINDS)
def test_normalised_in_four_dimensions(kind):
    config, rng = SMALL[kind], np.random.default_rng(4)
    weights = parameters(config, 4, strength=0.05)
    density = np.exp(log_prob(config, weights, rng.random((60_000, 4)), np.full(60_000, 0.3)))
    # five standard errors of the mean: false alarm 6e-7 per member
    assert (np.abs(density.mean(axis=1) - 1) < 5 * density.std(axis=1) / np.sqrt(60_000)).all()
    assert (density.std(axis=1) > 0.05).all()


@pytest.mark.parametrize("kind", KINDS)
def test_finite_on_the_closed_cube(kind):
    config = SMALL[kind]
    u = np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]])
    assert np.isfinite(log_prob(config, parameters(config, 2), u, np.zeros(5))).all()


def test_density_is_flat_beyond_the_bound():
    config = SMALL["spline"]
    far = ndtr(-config.bound) * np.array([1.0, 0.3, 1e-3, 0.0])
    u = np.stack([far, np.full(4, 0.2)], axis=1)
    values = log_prob(config, parameters(config, 2), u, np.zeros(4))
    np.testing.assert_allclose(values, values[:, :1] * np.ones(4), rtol=0, atol=1e-12)


@pytest.mark.statistical
@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_density(kind):
    config, rng = SMALL[kind], np.random.default_rng(5)
    weights = parameters(config, 2)[0]
    sample = config.sample(weights, np.full(40_000, 0.3), rng, n_features=2)
    n_cells, n_sub = 10, 40
    middle = (np.arange(n_cells * n_sub) + 0.5) / (n_cells * n_sub)
    u = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(log_prob(config, weights[None], u, np.full(len(u), 0.3)))[0]
    share = density.reshape(n_cells, n_sub, n_cells, n_sub).mean(axis=(1, 3)) / n_cells**2
    # the midpoint rule fails where the density piles up at the border of the cube: compare the inner cells
    inner = (slice(1, -1), slice(1, -1))
    edges = np.linspace(0, 1, n_cells + 1)
    count = np.histogram2d(*sample.T, bins=(edges, edges))[0][inner]
    expected = 40_000 * share[inner]
    chi_square = np.sum((count - expected) ** 2 / expected)
    assert chi2.sf(chi_square, count.size) > 1e-6  # false alarm 1e-6


def test_first_feature_depends_on_the_mass():
    """In a network without units of degree zero it would not."""
    config = SMALL["spline"]
    u = np.full((2, 1), 0.3)
    values = log_prob(config, parameters(config, 1), u, np.array([-1.0, 1.0]))
    assert (np.abs(np.diff(values, axis=1)) > 1e-3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_starts_near_the_uniform_density(kind):
    config, rng = SMALL[kind], np.random.default_rng(6)
    values = log_prob(config, config.init(rng, 3)[None].astype(float), rng.random((200, 3)), rng.uniform(-1, 1, 200))
    assert np.abs(values).max() < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_are_identical(kind, tmp_path):
    flow = random_flow(2, config=SMALL[kind])
    m = np.random.default_rng(1).uniform(100, 150, 300)
    x = flow.sample(m, seed=2)
    flow.save(tmp_path / "flow")
    again = load_flow(tmp_path / "flow")
    assert again.config == flow.config
    np.testing.assert_array_equal(again.log_prob_array(x, m), flow.log_prob_array(x, m))
    np.testing.assert_array_equal(again.sample(m, seed=2), x)


@pytest.mark.parametrize("members", [1, 2])
def test_trained_flow_as_tfp_distribution(members):
    flow = random_flow(2, config=SMALL["spline"], members=members)
    m = np.random.default_rng(1).uniform(100, 150, 200)
    x = flow.sample(m, seed=2)
    distribution = tfp_distribution(flow, m)
    assert isinstance(distribution, tfp.distributions.Distribution)
    assert distribution.event_shape == (2,)
    np.testing.assert_allclose(distribution.log_prob(x), flow.log_prob_array(x, m), rtol=0, atol=1e-7)
    drawn = distribution.sample(3, seed=tf.constant([1, 2])).numpy()
    assert drawn.shape == (3, 200, 2)
    assert flow.inside(drawn.reshape(-1, 2)).all()


def test_tfp_distribution_wants_a_maf():
    with pytest.raises(InputError, match="expected a flow trained with flow=maf"):
        tfp_distribution(random_flow(2), np.zeros(3))
    with pytest.raises(InputError, match="pass one of"):
        tfp_distribution(MixtureFlow([random_flow(2, config=SMALL["spline"])]), np.zeros(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cubic"}, "'spline' or 'affine', got 'cubic'"),
        ({"layers": 0}, "layers >= 1, got 0"),
        ({"bins": 1}, "bins >= 2, got 1"),
        ({"bins": 1000}, "bins < 1000, got 1000"),
        ({"hidden": 0}, "hidden >= 1"),
        ({"bound": 0.5}, "bound between 1 and 8, got 0.5"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        maf(**options)


def test_more_features_than_units():
    with pytest.raises(InputError, match="hidden >= 9"):
        SMALL["spline"].init(np.random.default_rng(1), 9)


def test_published_configuration():
    config = maf(layers=5, bins=24)
    assert (config.transform, config.layers, config.bins) == ("spline", 5, 24)
    assert config.from_json(config.to_json()) == config
    assert maf(kind="affine").layers == 5
    assert maf().layers == 2


@pytest.mark.statistical
@pytest.mark.slow
def test_affine_flow_learns_a_correlated_normal_that_moves_with_the_mass():
    """p(x, y | m) = N(t, 1) N(0.8 x, 0.6) with t = (m - 100) / 20: mean and correlation are known."""

    def events(n, seed):
        rng = np.random.default_rng(seed)
        m = rng.uniform(80, 120, n)
        x = (m - 100) / 20 + rng.normal(size=n)
        y = 0.8 * x + 0.6 * rng.normal(size=n)
        truth = norm.logpdf(x - (m - 100) / 20) + norm.logpdf(y, 0.8 * x, 0.6)
        return {"x": x, "y": y, "m": m}, truth

    training, _ = events(20_000, 1)
    config = maf(kind="affine", layers=2, hidden=16, blocks=1, learning_rate=1e-2)
    flow = train_flow(Dataset.from_arrays(training), ("x", "y"), given="m", seed=1, flow=config, epochs=8)

    held_out, truth = events(20_000, 2)
    found = flow.log_prob_array(np.stack([held_out["x"], held_out["y"]], axis=1), held_out["m"])
    # KL; measured 0.003, and 0.8 when the flow ignores y's dependence on x
    assert np.mean(truth - found) < 0.015
    for m, mean in ((85.0, -0.75), (115.0, 0.75)):
        sample = flow.sample(np.full(20_000, m), seed=3)
        # the finite training moves the mean and the correlation by more than the sample's 0.007: a loose bound
        np.testing.assert_allclose(sample[:, 0].mean(), mean, atol=0.06)
        np.testing.assert_allclose(np.corrcoef(sample.T)[0, 1], 0.8, atol=0.03)
        assert kstest(sample[:, 1] - 0.8 * sample[:, 0], norm(0, 0.6).cdf).statistic < 0.04
