"""The kernel and its hand-written gradient against the readable composition, derived automatically, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import ndtri

from hisigma_zfit.density.cube import log_mixture
from hisigma_zfit.density.kernel import log_warped_density
from hisigma_zfit.learn.rational_quadratic import rational_quadratic, spline_parameters
from hisigma_zfit.learn.splines import knot_vector, m_splines

BOUND = 4.0


def composed(outputs, z, *, knots, degree, bins):
    """The same density by the functions that the inverse uses too."""
    count = len(knots) - degree - 1
    last = tf.transpose(outputs, [0, 1, 3, 2])
    z = tf.broadcast_to(z, tf.shape(last)[:-1])
    image, log_slope = rational_quadratic(z, *spline_parameters(last[..., count:], bins=bins, bound=BOUND), bound=BOUND)
    v = 0.5 * tf.math.erfc(-(0.5**0.5) * image)
    return log_mixture(last[..., :count], m_splines(v, knots, degree)) + log_slope + 0.5 * (z**2 - image**2)


def inputs(*, count, degree, bins, strength, n=400):
    rng = np.random.default_rng(count + 10 * bins)
    outputs = tf.constant(strength * rng.normal(size=(2, 3, count + 3 * bins - 1, n)))
    u = rng.random((3, n))
    u[:, :4] = [1e-9, 1e-4, 1.0 - 1e-4, 1.0 - 1e-9]  # some beyond the map, some near its ends
    return outputs, tf.constant(ndtri(u)), {"knots": knot_vector(count, degree), "degree": degree, "bins": bins}


@pytest.mark.parametrize(
    ("count", "degree", "bins", "strength"),
    [(12, 3, 6, 1.0), (12, 3, 6, 3.0), (8, 3, 3, 1.0), (5, 2, 2, 1.0), (4, 3, 2, 1.0), (6, 0, 4, 1.0), (3, 1, 2, 2.0)],
)
def test_value_and_gradient(count, degree, bins, strength):
    outputs, z, options = inputs(count=count, degree=degree, bins=bins, strength=strength)
    upstream = tf.constant(np.random.default_rng(1).normal(size=(2, 3, 400)))
    found, expected = [], []
    for density, into in (
        (lambda: log_warped_density(outputs, z, bound=BOUND, **options), found),
        (lambda: composed(outputs, z, **options), expected),
    ):
        with tf.GradientTape() as tape:
            tape.watch([outputs, z])
            value = density()
        into += [value, *tape.gradient(value, [outputs, z], output_gradients=upstream)]
    assert np.asarray(found[0]).std() > 0.1  # far from uniform
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_single_precision_is_worth_less_than_a_rounding_of_the_outputs(strength):
    """Near the ends too, where Phi(z) in single precision would be 1e-4 of its distance to the end off."""
    rng = np.random.default_rng(2)
    outputs, _, options = inputs(count=12, degree=3, bins=6, strength=strength, n=20_000)
    outputs, z = tf.cast(outputs, tf.float32), tf.constant(rng.uniform(-4.5, 4.5, size=(3, 20_000)))

    def off(outputs, z):
        return np.abs(np.asarray(log_warped_density(outputs, z, bound=BOUND, **options)) - expected)

    exact = tf.cast(outputs, tf.float64)
    expected = np.asarray(log_warped_density(exact, z, bound=BOUND, **options))
    rounded = off(exact + 3e-7 * max(strength, 1.0) * rng.normal(size=outputs.shape), z)  # some last digits
    here, short = off(outputs, z), off(outputs, tf.cast(z, tf.float32))
    for level in (0.5, 0.99, 1.0):
        assert np.quantile(here, level) < 0.4 * np.quantile(rounded, level)
    assert here.max() < 0.2 * short.max()  # what positions in single precision would cost


def test_dtypes_of_the_gradients():
    outputs, z, options = inputs(count=12, degree=3, bins=6, strength=1.0)
    gradients = []
    for outputs_of in (outputs, tf.cast(outputs, tf.float32)):
        with tf.GradientTape() as tape:
            tape.watch([outputs_of, z])
            value = log_warped_density(outputs_of, z, bound=BOUND, **options)
        assert value.dtype == tf.float64
        gradients.append(tape.gradient(value, [outputs_of, z]))
    exact, found = gradients
    assert [one.dtype for one in found] == [tf.float32, tf.float64]
    for one, other in zip(found, exact, strict=True):
        assert np.quantile(np.abs(np.asarray(one) - np.asarray(other)), 0.99) < 1e-4


def test_start_is_uniform():
    """Equal shares of the splines and a map of equal bins are the uniform density, whose gradient is finite."""
    knots = knot_vector(12, 3)
    shares = np.log((knots[4:] - knots[:-4]) / 4.0)
    outputs = tf.constant(np.tile(np.concatenate([shares, np.zeros(17)])[:, None], (1, 1, 1, 100)))
    z = tf.constant(ndtri(np.linspace(1e-12, 1.0 - 1e-12, 100))[None])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = log_warped_density(outputs, z, knots=knots, degree=3, bins=6, bound=BOUND)
    np.testing.assert_allclose(value, 0.0, atol=1e-9)
    assert np.isfinite(tape.gradient(value, outputs)).all()
