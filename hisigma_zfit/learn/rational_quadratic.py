"""Monotonic rational-quadratic splines, fused for XLA: arXiv:1906.04032.

Equal to ``tfp.bijectors.RationalQuadraticSpline``, which gathers bins one by one.  Here the bin is picked by sums over
one-hot vectors: XLA fuses them, and their gradient needs no scatter.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

__all__ = ["MIN_BIN", "inverse_rational_quadratic", "rational_quadratic", "spline_parameters"]

MIN_BIN = 1e-3  # smallest bin as a share of the spline's range
MIN_SLOPE = 1e-3


def spline_parameters(raw: tf.Tensor, *, bins: int, bound: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Turn unconstrained numbers into the widths, heights and slopes of monotonic splines on [-bound, bound].

    Args:
        raw: Shape (..., 3 * bins - 1); zeros give the identity.
        bins: Number of bins K.
        bound: Half of the range.

    Returns:
        Widths and heights, shape (..., K), each summing to 2 * bound; slopes at the inner knots, shape (..., K - 1).
    """
    widths, heights, slopes = tf.split(raw, [bins, bins, bins - 1], axis=-1)

    def sizes(logits: tf.Tensor) -> tf.Tensor:
        return 2.0 * bound * (MIN_BIN + (1.0 - MIN_BIN * bins) * tf.nn.softmax(logits))

    unit_slope = math.log(math.expm1(1.0 - MIN_SLOPE))
    return sizes(widths), sizes(heights), MIN_SLOPE + tf.nn.softplus(slopes + unit_slope)


def rational_quadratic(
    z: tf.Tensor, widths: tf.Tensor, heights: tf.Tensor, slopes: tf.Tensor, *, bound: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Monotonic rational-quadratic spline on [-bound, bound], identity outside (arXiv:1906.04032, eq. 4 and 5).

    Args:
        z: Shape (...).
        widths: Of the bins, shape (..., K), summing to 2 * bound.
        heights: The same for the image.
        slopes: At the inner knots, shape (..., K - 1); the slope is 1 at both ends.
        bound: Half of the range.

    Returns:
        The image and the logarithm of its derivative, each of shape (...).
    """
    inside = tf.abs(z) < bound
    x = tf.where(inside, z, tf.zeros_like(z))  # keeps the unused branch finite, or its gradient would be NaN
    k = _find_bin(x, widths, widths, heights, slopes, bound)
    slope = k.height / k.width
    t = (x - k.left) / k.width
    tt = t * (1.0 - t)
    denominator = slope + (k.above + k.below - 2.0 * slope) * tt
    y = k.bottom + k.height * (slope * t * t + k.below * tt) / denominator
    numerator = k.above * t * t + 2.0 * slope * tt + k.below * (1.0 - t) ** 2
    log_slope = 2.0 * (tf.math.log(slope) - tf.math.log(denominator)) + tf.math.log(numerator)
    return tf.where(inside, y, z), tf.where(inside, log_slope, tf.zeros_like(log_slope))


def inverse_rational_quadratic(
    y: tf.Tensor, widths: tf.Tensor, heights: tf.Tensor, slopes: tf.Tensor, *, bound: float
) -> tf.Tensor:
    """Invert `rational_quadratic` (arXiv:1906.04032, eq. 6 to 8).

    Args:
        y: Shape (...).
        widths: See `rational_quadratic`.
        heights: See `rational_quadratic`.
        slopes: See `rational_quadratic`.
        bound: Half of the range.

    Returns:
        z of shape (...) whose image is y.
    """
    inside = tf.abs(y) < bound
    x = tf.where(inside, y, tf.zeros_like(y))
    k = _find_bin(x, heights, widths, heights, slopes, bound)
    slope = k.height / k.width
    rise = x - k.bottom
    bend = rise * (k.above + k.below - 2.0 * slope)
    a = k.height * (slope - k.below) + bend
    b = k.height * k.below - bend
    root = tf.sqrt(tf.maximum(b * b + 4.0 * a * slope * rise, 0.0))
    return tf.where(inside, k.left + k.width * 2.0 * slope * rise / (b + root), y)


class _Bin(NamedTuple):
    """The bin of a spline that holds one coordinate: lower left corner, size, slopes at its lower and upper knot."""

    left: tf.Tensor
    bottom: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    below: tf.Tensor
    above: tf.Tensor


def _find_bin(
    x: tf.Tensor, sizes: tf.Tensor, widths: tf.Tensor, heights: tf.Tensor, slopes: tf.Tensor, bound: float
) -> _Bin:
    """Pick the bin of x along the axis whose bin sizes are `sizes`: the widths, or the heights."""
    passed = tf.cast(x[..., None] >= tf.cumsum(sizes[..., :-1], axis=-1) - bound, x.dtype)
    one = tf.ones_like(passed[..., :1])
    lower = tf.concat([passed, tf.zeros_like(one)], axis=-1)  # 1 for bins below x
    here = tf.concat([one, passed], axis=-1) - lower  # 1 for the bin that holds x

    def pick(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values * mask, axis=-1)

    return _Bin(
        left=pick(widths, lower) - bound,
        bottom=pick(heights, lower) - bound,
        width=pick(widths, here),
        height=pick(heights, here),
        below=pick(slopes, here[..., 1:]) + here[..., 0],
        above=pick(slopes, here[..., :-1]) + here[..., -1],
    )
