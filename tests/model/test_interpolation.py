"""Forms of interpolation between densities.

Why these checks suffice: a form is a function w(nu) of the log-ratios.  It is pinned at its nodes by definition, its
derivatives are compared with finite differences of itself, its smoothness at +-1 with the exponentials that it joins,
and the graph with the numpy version; `tangent` is compared with the form at small ratios.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import zfit.z.numpy as znp

from hisigma_zfit.model.interpolation import (
    FLOOR,
    LOG_RATIO_LIMIT,
    LogPolynomial,
    PolynomialExponential,
    Quadratic,
    floored,
)

FORMS = {
    "polyexp": PolynomialExponential(),
    "quadratic": Quadratic(),
    "nodes": LogPolynomial((-2.0, -1.0, 1.0, 2.0)),
}
NODES = {"polyexp": (1.0, -1.0), "quadratic": (1.0, -1.0), "nodes": (-2.0, -1.0, 1.0, 2.0)}
VALUES = [-3.2, -1.5, -1.0, -0.6, 0.0, 0.3, 1.0, 1.4, 2.6]


def log_ratios(form, scale=0.4, n=200):
    rng = np.random.default_rng(1)
    return list(scale * rng.standard_normal((form.n_ratios, n)))


@pytest.mark.parametrize("name", FORMS)
def test_a_form_goes_through_what_it_interpolates(name):
    form = FORMS[name]
    ratios = log_ratios(form)
    columns = form.columns(ratios)
    np.testing.assert_allclose(form.at(0.0).weight(columns), 1.0, rtol=1e-15)
    for node, ratio in zip(NODES[name], ratios, strict=True):
        np.testing.assert_allclose(form.at(node).weight(columns), np.exp(ratio), rtol=1e-12)


def test_exponentials_beyond_one():
    form = FORMS["polyexp"]
    up, down = log_ratios(form)
    columns = form.columns([up, down])
    np.testing.assert_allclose(form.at(2.3).weight(columns), np.exp(2.3 * up), rtol=1e-12)
    np.testing.assert_allclose(form.at(-2.3).weight(columns), np.exp(2.3 * down), rtol=1e-12)


@pytest.mark.parametrize("name", ["polyexp", "quadratic"])
@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_two_derivatives_are_continuous_where_the_pieces_meet(name, edge):
    form = FORMS[name]
    columns = form.columns(log_ratios(form))
    below, above = (form.at(np.nextafter(edge, edge + side)).derivatives(columns) for side in (-1.0, 1.0))
    for one, other in zip(below, above, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("scale", [0.4, 3.0])  # the second bends weights at the floor
@pytest.mark.parametrize("nu", [value * 0.97 for value in VALUES])  # at the nodes cut ratios are at the floor's border
def test_derivatives_agree_with_finite_differences(name, scale, nu):
    form = FORMS[name]
    columns = form.columns(log_ratios(form, scale))
    step = 1e-6
    weight, first, second = form.at(nu).derivatives(columns)
    below, above = (form.at(nu + side * step).derivatives(columns) for side in (-1.0, 1.0))
    got = (above[0] - below[0]) / (2.0 * step)
    np.testing.assert_allclose(got, first * weight, rtol=1e-4, atol=1e-6 * np.abs(got).max())
    got = (above[0] * above[1] - below[0] * below[1]) / (2.0 * step)
    np.testing.assert_allclose(got, second * weight, rtol=1e-3, atol=1e-5 * np.abs(got).max())


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_graph_equals_numpy_with_its_derivatives(name, scale):
    form = FORMS[name]
    ratios = log_ratios(form, scale)
    columns = form.columns(ratios)
    np.testing.assert_allclose(form.columns([tf.constant(r) for r in ratios], xp=znp), columns, rtol=1e-12, atol=1e-13)
    for value in VALUES:
        nu = tf.Variable(value, dtype=tf.float64)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                total = tf.reduce_sum(form.in_graph(tf.constant(columns), nu))
            slope = inner.gradient(total, nu)
        curvature = outer.gradient(slope, nu)
        weight, first, second = form.at(value).derivatives(columns)
        np.testing.assert_allclose(total, weight.sum(), rtol=1e-10)
        np.testing.assert_allclose(slope, (weight * first).sum(), rtol=1e-8)
        np.testing.assert_allclose(
            0.0 if curvature is None else curvature, (weight * second).sum(), rtol=1e-7, atol=1e-7
        )
        np.testing.assert_allclose(form.tangent_in_graph(nu), form.tangent(value)[0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["polyexp", "quadratic"])
@pytest.mark.parametrize("nu", VALUES)
def test_tangent_is_the_first_order_of_the_form(name, nu):
    form = FORMS[name]
    small = 1e-5
    for k in range(2):
        ratios = [np.array([small if f == k else 0.0]) for f in range(2)]
        weight, first, second = form.at(nu).derivatives(form.columns(ratios))
        expected = form.tangent(nu)[:, k]
        got = np.array([weight[0] - 1.0, first[0] * weight[0], second[0] * weight[0]]) / np.expm1(small)
        np.testing.assert_allclose(got, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", FORMS)
def test_weights_are_positive_whatever_the_ratios(name):
    form = FORMS[name]
    extreme = np.array([-1e9, -8.0, -3.0, 0.0, 3.0, 8.0, 1e9])
    grid = np.stack(np.meshgrid(*[extreme] * form.n_ratios), axis=0).reshape(form.n_ratios, -1)
    columns = form.columns(list(grid))
    assert np.isfinite(columns).all()
    for nu in np.linspace(-4.0, 4.0, 41):
        weight = form.at(nu).weight(columns)
        assert np.all(weight > 0.0)
        assert np.all(np.isfinite(weight))


def test_the_bend_at_the_floor_is_smooth():
    step = 1e-7
    value, slope, second = floored(np.array([FLOOR - step, FLOOR + step, -2.0]))
    np.testing.assert_allclose(value[:2], FLOOR, rtol=1e-3)
    np.testing.assert_allclose(slope[:2], 1.0, rtol=1e-3)
    np.testing.assert_allclose(second[:2], 0.0, atol=1.0)  # against 1 / floor = 1000
    assert value[2] > 0.0
    assert np.exp(-LOG_RATIO_LIMIT) == pytest.approx(FLOOR)
