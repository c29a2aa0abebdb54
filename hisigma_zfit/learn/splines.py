"""M-splines on [0, 1]: non-negative piecewise polynomials, each of which integrates to one.

A convex combination of them is a density without further normalisation.  An M-spline of degree p with knots
t_k ... t_{k+p+1} is itself the density of sum_i D_i t_{k+i} with D uniform on the simplex (Curry and Schoenberg 1966),
so that samples need no inversion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import BSpline
from scipy.special import ndtr

if TYPE_CHECKING:
    import tensorflow as tf

    from hisigma_zfit.arrays import Array

__all__ = [
    "knot_vector",
    "m_spline_matrix",
    "m_splines",
    "periodic_spline_matrix",
    "periodic_splines",
    "uniform_coefficients",
]


def knot_vector(n_splines: int, degree: int, *, reach: float = 3.0) -> Array:
    """Clamped knots at normal quantiles, dense at both ends where a conditional density changes fastest.

    Args:
        n_splines: Number of basis functions, more than `degree`.
        degree: Polynomial degree p.
        reach: The inner knots are Phi of equidistant points on [-reach, reach], rescaled to [0, 1].

    Returns:
        Shape (n_splines + degree + 1,); the first and last p + 1 are 0 and 1.
    """
    inner = ndtr(np.linspace(-reach, reach, n_splines - degree + 1))
    inner = (inner - inner[0]) / (inner[-1] - inner[0])
    return np.concatenate([np.zeros(degree), inner, np.ones(degree)])


def uniform_coefficients(knots: Array, degree: int) -> Array:
    """Coefficients of the M-splines whose combination is the uniform density; they sum to one, shape (K,)."""
    coefficients: Array = (knots[degree + 1 :] - knots[: -degree - 1]) / (degree + 1)
    return coefficients


def _reciprocal(widths: Array) -> Array:
    # repeated knots: the term 0/0 of the recursion is zero by convention
    return np.divide(1.0, widths, out=np.zeros_like(widths), where=widths > 0)


def m_splines(u: tf.Tensor, knots: Array, degree: int) -> tf.Tensor:
    """All M-splines at u by the Cox-de Boor recursion.

    Args:
        u: Points in [0, 1], any shape; at 1 the limit from below.
        knots: From `knot_vector`, shape (K + degree + 1,).
        degree: Polynomial degree.

    Returns:
        u's shape with a last axis of length K, of u's dtype.
    """
    import tensorflow as tf

    dtype = u.dtype.as_numpy_dtype
    t, u = knots, u[..., None]
    n_intervals = len(t) - 1
    last = np.zeros(n_intervals, dtype)
    last[n_intervals - degree - 1] = 1
    basis = tf.cast((u >= t[:-1].astype(dtype)) & (u < t[1:].astype(dtype)), u.dtype)
    basis = tf.where(u >= 1, last, basis)
    for p in range(1, degree + 1):
        rising = _reciprocal(t[p:-1] - t[: -p - 1]).astype(dtype)
        falling = _reciprocal(t[p + 1 :] - t[1:-p]).astype(dtype)
        left = (u - t[: -p - 1].astype(dtype)) * rising * basis[..., :-1]
        basis = left + (t[p + 1 :].astype(dtype) - u) * falling * basis[..., 1:]
    return basis * (1 / uniform_coefficients(t, degree)).astype(dtype)


def m_spline_matrix(u: Array, knots: Array, degree: int) -> Array:
    """The same in numpy, in float64.

    Args:
        u: Points in [0, 1], shape (n,).
        knots: From `knot_vector`, shape (K + degree + 1,).
        degree: Polynomial degree.

    Returns:
        Shape (n, K).
    """
    basis = BSpline(knots, np.eye(len(knots) - degree - 1), degree, extrapolate=False)
    matrix: Array = basis(u) / uniform_coefficients(knots, degree)
    return matrix


def periodic_splines(u: tf.Tensor, count: int, *, axis: int = -1) -> tf.Tensor:
    """Cubic B-splines on a circle with equidistant knots, each of which integrates to one.

    The k-th is the density of (k + sum_i D_i (i - 2)) / count mod 1 with D uniform on the simplex of five.

    Args:
        u: Points in [0, 1], any shape.
        count: How many, at least 5.
        axis: Of the splines among those of the result.

    Returns:
        u's shape with a further axis of length `count`, of u's dtype; the same at 0 and 1.
    """
    import tensorflow as tf

    u = tf.expand_dims(u, axis)
    numbers = np.arange(count).astype(u.dtype.as_numpy_dtype)
    numbers = numbers.reshape([count if k == axis % len(u.shape) else 1 for k in range(len(u.shape))])
    distance = tf.abs(tf.math.floormod(count * u - numbers + 0.5 * count, float(count)) - 0.5 * count)
    near = 2.0 / 3.0 - distance**2 + 0.5 * distance**3
    far = tf.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return count * tf.where(distance < 1.0, near, far)


def periodic_spline_matrix(u: Array, count: int) -> Array:
    """The same in numpy: u of shape (n,), splines of shape (n, count)."""
    distance = np.abs((count * u[:, None] - np.arange(count) + 0.5 * count) % count - 0.5 * count)
    near, far = 2.0 / 3.0 - distance**2 + 0.5 * distance**3, np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return np.asarray(count * np.where(distance < 1.0, near, far))
