from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.interpolate import BSpline

from hisigma_zfit.learn.splines import knot_vector, m_spline_matrix, m_splines, uniform_coefficients

CASES = [(16, 3), (8, 2), (6, 1), (4, 0), (4, 3)]


@pytest.mark.parametrize(("n_splines", "degree"), CASES)
def test_each_integrates_to_one(n_splines, degree):
    knots = knot_vector(n_splines, degree)
    edges = np.unique(knots)
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)  # exact for these polynomials on each interval
    half = 0.5 * np.diff(edges)[:, None]
    u = (edges[:-1, None] + half * (1 + nodes)).ravel()
    basis = m_splines(tf.constant(u), knots, degree).numpy()
    assert basis.min() >= 0
    np.testing.assert_allclose((half * weights).ravel() @ basis, 1, atol=1e-13)


@pytest.mark.parametrize(("n_splines", "degree"), CASES)
def test_agrees_with_scipy_including_both_ends(n_splines, degree):
    knots = knot_vector(n_splines, degree)
    u = np.concatenate([[0.0], np.random.default_rng(1).random(200), [np.nextafter(1.0, 0.0)]])
    scale = uniform_coefficients(knots, degree)
    expected = BSpline.design_matrix(u, knots, degree).toarray() / scale
    np.testing.assert_allclose(m_splines(tf.constant(u), knots, degree).numpy(), expected, rtol=1e-9, atol=1e-9)
    at_one = m_splines(tf.constant([1.0], tf.float64), knots, degree).numpy()
    np.testing.assert_allclose(at_one, expected[-1:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n_splines", "degree"), CASES)
def test_numpy_agrees_with_the_graph(n_splines, degree):
    knots = knot_vector(n_splines, degree)
    u = np.concatenate([[0.0], np.random.default_rng(2).random(200), [1.0]])
    np.testing.assert_allclose(m_spline_matrix(u, knots, degree), m_splines(tf.constant(u), knots, degree), atol=1e-12)
    assert m_spline_matrix(np.empty(0), knots, degree).shape == (0, n_splines)


def test_uniform_coefficients_give_the_uniform_density():
    knots = knot_vector(16, 3)
    u = np.linspace(0, 1, 101)
    density = m_splines(tf.constant(u), knots, 3).numpy() @ uniform_coefficients(knots, 3)
    np.testing.assert_allclose(density, 1, atol=1e-12)


def test_knots_are_clamped_and_dense_at_both_ends():
    knots = knot_vector(16, 3)
    assert len(knots) == 16 + 3 + 1
    assert (knots[:4] == 0).all()
    assert (knots[-4:] == 1).all()
    inner = np.diff(knots[3:-3])
    np.testing.assert_allclose(inner, inner[::-1], atol=1e-12)
    assert inner[0] < 0.1 * inner[len(inner) // 2]
