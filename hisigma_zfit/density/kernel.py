"""The density of one feature given those before it, with its gradient written out: where training spends its time.

Mathematically the composition of `rational_quadratic.rational_quadratic` and `cube.log_mixture`, and tested against it.
Written for XLA on a processor.  Events are on the last axis, so that every loop is one of vector instructions; bins,
splines and knots are on the one before, "rows" below.  XLA merges element-wise operations into the loops of all that
use them, and so computes and compiles them again for each; what it keeps are sums over rows, matrix products,
exponentials, logarithms and quotients.  Hence bins are picked by sums, and intermediate results end in a quotient.

The ends of bins, and distances to them, are in the precision of z, which is double outside of training: a distance is
small where two large numbers nearly cancel.  All else is in that of the nets: log p moves by 1e-7, and by some 1e-6
where a narrow map bends (`benchmarks/precision.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import ndtri

from hisigma_zfit.learn.rational_quadratic import MIN_BIN, MIN_SLOPE
from hisigma_zfit.learn.splines import uniform_coefficients

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["log_warped_density"]


def log_warped_density(
    outputs: tf.Tensor, z: tf.Tensor, *, knots: Array, degree: int, bins: int, bound: float
) -> tf.Tensor:
    """Log-density with respect to u of a mixture of M-splines behind a rational-quadratic map of Phi^-1(u).

    Args:
        outputs: Of the nets, shape (E, d, K + 3 * bins - 1, n): logits of the M-splines, then widths, heights and
            slopes of the map as `rational_quadratic.spline_parameters` takes them.
        z: Phi^-1(u), shape (d, n), of the same precision or a higher one.
        knots: Of the M-splines, see `splines.knot_vector`.
        degree: Of the M-splines.
        bins: Of the map.
        bound: The map is the identity beyond it.

    Returns:
        Shape (E, d, n), of the precision of `z`, with gradients for `outputs` and `z`.
    """
    count = len(knots) - degree - 1

    @tf.custom_gradient
    def density(outputs: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, Any]:
        warp = _Map(outputs[:, :, count:], z, bins=bins, bound=bound)
        image = _kept(tf.cast(warp.image, outputs.dtype))
        mixture = _Mixture(outputs[:, :, :count], image, knots=knots, degree=degree)
        value = tf.cast(mixture.log_density + warp.log_slope, z.dtype) + 0.5 * (z**2 - warp.image**2)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            normal = tf.exp(-0.5 * image**2) / math.sqrt(2.0 * math.pi)
            by_raw, by_z = warp.gradient(mixture.slope * normal - image)
            by_z = (tf.cast(by_z, z.dtype) + z) * upstream
            upstream = tf.cast(upstream, outputs.dtype)
            moved = tf.where(warp.inside, upstream, tf.zeros_like(upstream))
            rows = [mixture.gradient() * upstream[:, :, None], by_raw * moved[:, :, None]]
            return tf.concat(rows, axis=2), tf.reduce_sum(by_z, axis=0)

        return value, gradient

    result: tf.Tensor = density(outputs, z)
    return result


def _normal_cdf(z: tf.Tensor) -> tf.Tensor:
    return 0.5 * tf.math.erfc(-(0.5**0.5) * z)


def _kept(value: tf.Tensor) -> tf.Tensor:
    """The same value, shape (E, d, ...), which XLA computes once, not once for each use: as a sum."""
    weights = np.array([1.0, 0.0]).reshape(2, *[1] * (value.shape.rank - 2))
    return tf.reduce_sum(value[:, :, None] * tf.constant(weights, value.dtype), axis=2)


def _softmax(logits: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Over rows; exponentials are in the precision of the logits, their sum and shares in that of `dtype`."""
    weights = tf.cast(tf.exp(logits - tf.reduce_max(logits, axis=2, keepdims=True)), dtype)
    return weights / tf.reduce_sum(weights, axis=2, keepdims=True)


def _softmax_gradient(shares: tf.Tensor, by_shares: tf.Tensor) -> tf.Tensor:
    return shares * (by_shares - tf.reduce_sum(shares * by_shares, axis=2, keepdims=True))


def _pick(rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Of rows, shape (E, d, k, n), the one that a mask of zeros and a one has for each event, shape (E, d, n)."""
    return tf.reduce_sum(rows * mask, axis=2)


def _product(matrix: Array, rows: tf.Tensor) -> tf.Tensor:
    """Matrix, shape (l, k), times rows, shape (E, d, k, n)."""
    # one product for each net: a single one would need its rows in another order
    each = tf.broadcast_to(tf.constant(matrix, rows.dtype), [*rows.shape[:2], *matrix.shape])
    return tf.matmul(each, rows)


class _Bin(NamedTuple):
    """The bin that holds z: its size, and the slopes at its ends."""

    width: tf.Tensor
    height: tf.Tensor
    below: tf.Tensor
    above: tf.Tensor


class _Map:
    """Monotonic rational-quadratic map (arXiv:1906.04032, eq. 4 and 5) of z, shape (d, n).

    Attributes:
        inside: Whether z is where the map is not the identity, shape (d, n).
        image: Of z, shape (E, d, n).
        log_slope: Logarithm of its derivative, shape (E, d, n).
    """

    def __init__(self, raw: tf.Tensor, z: tf.Tensor, *, bins: int, bound: float) -> None:
        def short(value: tf.Tensor) -> tf.Tensor:
            return tf.cast(value, raw.dtype)

        self.inside = tf.abs(z) < bound
        x = tf.where(self.inside, z, tf.zeros_like(z))
        least, self._rest = 2.0 * bound * MIN_BIN, 2.0 * bound * (1.0 - MIN_BIN * bins)
        self._shares = _softmax(raw[:, :, :bins], z.dtype), _softmax(raw[:, :, bins : 2 * bins], z.dtype)
        widths, heights = (least + self._rest * shares for shares in self._shares)
        self._raw_slopes = raw[:, :, 2 * bins :] + math.log(math.expm1(1.0 - MIN_SLOPE))
        slopes = MIN_SLOPE + tf.nn.softplus(self._raw_slopes)  # at the inner knots; it is 1 at both ends
        knots = _knots(widths, bound)
        passed = tf.cast(x[:, None] >= knots, x.dtype)
        # masks of the bins that end below x, and of the one that holds it
        lower, here = passed[:, :, 1:], passed[:, :, :-1] - passed[:, :, 1:]
        left, bottom = _pick(knots[:, :, :-1], here), _pick(heights, lower) - bound
        width, height = _pick(widths, here), _pick(heights, here)
        self._lower, self._here = short(lower), short(here)
        at = _Bin(
            width=short(width),
            height=short(height),
            below=_pick(slopes, self._here[:, :, 1:]) + self._here[:, :, 0],
            above=_pick(slopes, self._here[:, :, :-1]) + self._here[:, :, -1],
        )
        self._at = at
        self._slope = slope = short(height / width)
        self._t = t = short((x - left) / width)
        tt = t * (1.0 - t)
        self._denominator = slope + (at.above + at.below - 2.0 * slope) * tt
        self._numerator = at.above * t * t + 2.0 * slope * tt + at.below * (1.0 - t) ** 2
        self._risen = (slope * t * t + at.below * tt) / self._denominator  # share of the bin's height
        log_slope = 2.0 * tf.math.log(slope / self._denominator) + tf.math.log(self._numerator)
        self.image = tf.where(self.inside, bottom + height * tf.cast(self._risen, z.dtype), z)
        self.log_slope = tf.where(self.inside, log_slope, tf.zeros_like(log_slope))

    def gradient(self, by_image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of L with dL/dlog_slope = 1.

        Args:
            by_image: dL/dimage, shape (E, d, n).

        Returns:
            By the raw parameters, in rows, where z is inside; and by z, shape (E, d, n).
        """
        at, t, slope, risen = self._at, self._t, self._slope, self._risen
        denominator, numerator = self._denominator, self._numerator
        tt, span, bend = t * (1.0 - t), 1.0 - 2.0 * t, at.above + at.below - 2.0 * slope
        flat = 1.0 - 2.0 * tt
        lift = by_image * at.height
        by_t = (lift * slope * numerator / denominator - 2.0 * bend * span) / denominator
        by_t += 2.0 * (at.above * t + slope * span - at.below * (1.0 - t)) / numerator
        by_slope = (lift * (t * t - risen * flat) - 2.0 * flat) / denominator + 2.0 / slope + 2.0 * tt / numerator
        by_below = tt * (lift * (1.0 - risen) - 2.0) / denominator + (1.0 - t) ** 2 / numerator
        by_above = t * t / numerator - tt * (lift * risen + 2.0) / denominator
        by_x = by_t / at.width
        by_width = -(by_t * t + by_slope * slope) / at.width
        by_height = by_image * risen + by_slope / at.width
        lower, here = self._lower, self._here
        by_widths = here * by_width[:, :, None] - lower * by_x[:, :, None]
        by_heights = here * by_height[:, :, None] + lower * by_image[:, :, None]
        by_slopes = here[:, :, 1:] * by_below[:, :, None] + here[:, :, :-1] * by_above[:, :, None]
        rows = [
            self._rest * _softmax_gradient(tf.cast(self._shares[0], by_widths.dtype), by_widths),
            self._rest * _softmax_gradient(tf.cast(self._shares[1], by_heights.dtype), by_heights),
            by_slopes * tf.sigmoid(self._raw_slopes),
        ]
        return tf.concat(rows, axis=2), tf.where(self.inside, by_x, by_image)


def _knots(widths: tf.Tensor, bound: float) -> tf.Tensor:
    """Where the bins begin, and a number beyond the last of them, shape (E, d, bins + 1, n)."""
    bins = widths.shape[2]
    before = np.tril(np.ones((bins + 1, bins)), k=-1)
    start = np.full((bins + 1, 1), -bound)
    start[-1] += 1.0  # no x is there, however the sum is rounded
    return _product(before, widths) + tf.constant(start, widths.dtype)


class _Mixture:
    """Mixture of M-splines at v = Phi(y), y of shape (E, d, n), by the recursion of de Boor.

    In the upper half v - 1 is taken, from the other tail, and knots less 1: near both ends single precision has all its
    digits for the distance to the end.

    Attributes:
        log_density: Logarithm of sum_k softmax(logits)_k M_k(v), shape (E, d, n).
    """

    def __init__(self, logits: tf.Tensor, y: tf.Tensor, *, knots: Array, degree: int) -> None:
        self._degree = degree
        self._units = tf.constant(uniform_coefficients(knots, degree)[:, None], y.dtype)
        self._shares = _softmax(logits, logits.dtype)
        # infinite where the clamped knots are: y is beyond those of the lower end and not beyond those of the upper one
        passed = tf.cast(y[:, :, None] >= tf.constant(ndtri(knots)[:, None], y.dtype), y.dtype)
        self._between = passed[:, :, :-1] - passed[:, :, 1:]  # mask of the span t_i ... t_i+1 that holds v
        spans = len(knots) - 2 * degree - 1
        here = self._between[:, :, degree : degree + spans]
        # the knots below v and those above it, the nearest first, less 1 in the upper half; and which half that is
        near = np.concatenate([-np.arange(degree), 1 + np.arange(degree)])
        table = np.take(knots, near[:, None] + np.arange(len(knots) - 1), mode="wrap")
        upper = knots[:-1] + knots[1:] > 1.0
        around = _product(np.vstack([table - upper, np.where(upper, -1.0, 1.0)]), self._between)
        half = around[:, :, 2 * degree]
        end = half * _normal_cdf(half * y)  # v, or v - 1
        left = [end - around[:, :, j] for j in range(degree)]
        right = [around[:, :, degree + j] - end for j in range(degree)]
        coefficients = self._shares / self._units
        self._own = [_pick(coefficients[:, :, r : r + spans], here) for r in range(degree + 1)]
        # the degree + 1 B-splines that are not zero at v
        basis, parts = [tf.ones_like(y)], []
        for j in range(1, degree + 1):
            parts = [basis[r] / (right[r] + left[j - 1 - r]) for r in range(j)]
            saved, basis = tf.zeros_like(y), []
            for r in range(j):
                basis.append(saved + right[r] * parts[r])
                saved = left[j - 1 - r] * parts[r]
            basis.append(saved)
        self._basis, self._parts = basis, parts
        tiny = 1e-300 if y.dtype == tf.float64 else 1e-30  # keeps the logarithm finite where all weights underflow
        self._density = tf.add_n([own * b for own, b in zip(self._own, basis, strict=True)]) + tiny
        self.log_density = tf.math.log(self._density)

    @property
    def slope(self) -> tf.Tensor:
        """Derivative of `log_density` by v."""
        if not self._degree:
            return tf.zeros_like(self._density)
        steps = zip(self._own[1:], self._own[:-1], strict=True)
        terms = [part * (high - low) for part, (high, low) in zip(self._parts, steps, strict=True)]
        return self._degree * tf.add_n(terms) / self._density

    def gradient(self) -> tf.Tensor:
        """Derivatives of `log_density` by the logits, in rows."""
        count = self._shares.shape[2]
        # spline k is number r of those that are not zero in the span k - r
        first = [self._degree - r for r in range(self._degree + 1)]
        terms = [
            self._between[:, :, i : i + count] * (b / self._density)[:, :, None]
            for i, b in zip(first, self._basis, strict=True)
        ]
        return self._shares * (tf.add_n(terms) / self._units - 1.0)
