"""Eq. 3.4 and its relatives: weights of a nuisance, for any ratios of densities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hisigma_zfit.model.interpolation import LOG_RATIO_LIMIT, LogPolynomial, PolynomialExponential, Quadratic

ratios = arrays(np.float64, (2, 5), elements=st.floats(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT, width=64))


def weights(form, log_ratios, nu):
    """w, dw/dnu and d2w/dnu2 of the events."""
    w, first, second = form.at(float(nu)).derivatives(form.columns(list(log_ratios)))
    np.testing.assert_allclose(w, form.at(float(nu)).weight(form.columns(list(log_ratios))), rtol=1e-12)
    return w, w * first, w * second


@pytest.mark.parametrize("form", [PolynomialExponential(), Quadratic()], ids=["polyexp", "quadratic"])
@given(ratios)
def test_weights_are_the_ratios_at_one_standard_deviation(form, log_ratios):
    up, down = np.exp(log_ratios)
    np.testing.assert_allclose(weights(form, log_ratios, 0)[0], 1.0, rtol=1e-9)
    np.testing.assert_allclose(weights(form, log_ratios, 1)[0], up, rtol=1e-9)
    np.testing.assert_allclose(weights(form, log_ratios, -1)[0], down, rtol=1e-9)


@given(ratios, st.floats(1.0, 4.0, exclude_min=True))
def test_beyond_one_standard_deviation_they_are_powers(log_ratios, nu):
    up, down = log_ratios
    form = PolynomialExponential()
    np.testing.assert_allclose(weights(form, log_ratios, nu)[0], np.exp(up * nu), rtol=1e-9)
    np.testing.assert_allclose(weights(form, log_ratios, -nu)[0], np.exp(down * nu), rtol=1e-9)


@given(ratios, st.sampled_from([-1.0, 1.0]))
def test_value_and_two_derivatives_are_continuous_where_polynomial_and_exponential_meet(log_ratios, nu):
    form = PolynomialExponential()
    inside, outside = weights(form, log_ratios, nu), weights(form, log_ratios, np.nextafter(nu, 2 * nu))
    # of one event the six conditions mix both sides: rounding is that of the larger one
    scale = np.exp(np.abs(log_ratios).max(axis=0)) * (1 + np.abs(log_ratios).max(axis=0)) ** 2
    for within, beyond in zip(inside, outside, strict=True):
        np.testing.assert_allclose(within / scale, beyond / scale, atol=1e-9)


@given(
    arrays(np.float64, (2, 5), elements=st.floats(-2, 2)),
    st.floats(-2.5, 2.5).filter(lambda nu: min(abs(nu - 1), abs(nu + 1)) > 1e-3),
    st.sampled_from([PolynomialExponential(), Quadratic()]),
)
def test_derivatives_equal_differences(log_ratios, nu, form):
    h = 1e-4
    lower, (w, first, second), upper = (weights(form, log_ratios, at) for at in (nu - h, nu, nu + h))
    assert (w > 0).all()
    smooth = (np.minimum(lower[0], upper[0]) > 2e-3) | (np.maximum(lower[0], upper[0]) < 1e-3)
    scale = 1 + np.abs(first) + np.abs(second)
    # where a weight is bent at the floor, its derivatives are as steep as the floor is low
    flat = smooth & (w > 2e-3)
    np.testing.assert_allclose(((upper[0] - lower[0]) / (2 * h) / scale)[flat], (first / scale)[flat], atol=1e-5)
    np.testing.assert_allclose(((upper[1] - lower[1]) / (2 * h) / scale)[flat], (second / scale)[flat], atol=1e-5)


@given(arrays(np.float64, (4, 5), elements=st.floats(-5, 5)))
def test_a_polynomial_of_the_logarithm_goes_through_its_nodes(log_ratios):
    nodes = (-2.0, -1.0, 1.0, 2.0)
    form = LogPolynomial(nodes)
    np.testing.assert_allclose(weights(form, log_ratios, 0)[0], 1.0, rtol=1e-9)
    for node, expected in zip(nodes, np.exp(log_ratios), strict=True):
        np.testing.assert_allclose(weights(form, log_ratios, node)[0], expected, rtol=1e-9)
