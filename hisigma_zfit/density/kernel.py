"""The density of one feature given those before it, with its gradient written out: where training spends its time.

Mathematically the composition of `rational_quadratic.rational_quadratic` and `cube.log_mixture`, and tested against it.
XLA turns a chain of operations on whole vectors of events into one loop of vector instructions, but not a sum over a
short innermost axis.  So bins and spline coefficients are separate vectors here, and the gradient, which is local in
each event, is written by hand: derived automatically it compiles for twice as long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from hisigma_zfit.learn.rational_quadratic import MIN_BIN, MIN_SLOPE
from hisigma_zfit.learn.splines import uniform_coefficients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["log_warped_density"]

Vectors = list[tf.Tensor]


def log_warped_density(
    outputs: tf.Tensor, z: tf.Tensor, *, knots: Array, degree: int, bins: int, bound: float
) -> tf.Tensor:
    """Log-density with respect to u of a mixture of M-splines behind a rational-quadratic map of Phi^-1(u).

    Args:
        outputs: Of the nets, shape (E, d, K + 3 * bins - 1, n): logits of the M-splines, then widths, heights and
            slopes of the map as `rational_quadratic.spline_parameters` takes them.
        z: Phi^-1(u), shape (d, n).
        knots: Of the M-splines, see `splines.knot_vector`.
        degree: Of the M-splines.
        bins: Of the map.
        bound: The map is the identity beyond it.

    Returns:
        Shape (E, d, n), with gradients for `outputs` and `z`.
    """
    count = len(knots) - degree - 1

    @tf.custom_gradient
    def density(outputs: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, Any]:
        rows = tf.unstack(outputs, axis=2)
        warp = _Map(rows[count:], z + tf.zeros_like(rows[0]), bins=bins, bound=bound)
        mixture = _Mixture(rows[:count], 0.5 * tf.math.erfc(-(0.5**0.5) * warp.image), knots=knots, degree=degree)
        value = mixture.log_density + warp.log_slope + 0.5 * (warp.z**2 - warp.image**2)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            normal = tf.exp(-0.5 * warp.image**2) / math.sqrt(2.0 * math.pi)
            own, by_z = warp.gradient(mixture.slope * normal - warp.image)
            each = [part * upstream for part in (*mixture.gradient(), *own)]
            return tf.stack(each, axis=2), tf.reduce_sum((by_z + warp.z) * upstream, axis=0)

        return value, gradient

    result: tf.Tensor = density(outputs, z)
    return result


def _softmax(logits: Vectors) -> Vectors:
    top = logits[0]
    for row in logits[1:]:
        top = tf.maximum(top, row)
    weights = [tf.exp(row - top) for row in logits]
    inverse = 1.0 / _sum(weights)
    return [weight * inverse for weight in weights]


def _sum(vectors: Sequence[tf.Tensor]) -> tf.Tensor:
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    return total


class _Bin(NamedTuple):
    """The bin that holds z: lower left corner, size, slopes at its ends."""

    left: tf.Tensor
    bottom: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    below: tf.Tensor
    above: tf.Tensor


class _Map:
    """Monotonic rational-quadratic map (arXiv:1906.04032, eq. 4 and 5) of z, shape (E, d, n).

    Attributes:
        z: Where it is taken.
        image: Of z.
        log_slope: Logarithm of its derivative.
    """

    def __init__(self, raw: Vectors, z: tf.Tensor, *, bins: int, bound: float) -> None:
        self.z = z
        self._inside = tf.abs(z) < bound
        x = tf.where(self._inside, z, tf.zeros_like(z))
        one = tf.ones_like(z)
        least, rest = 2.0 * bound * MIN_BIN, 2.0 * bound * (1.0 - MIN_BIN * bins)
        self._rest = rest
        self._shares = _softmax(raw[:bins]), _softmax(raw[bins : 2 * bins])
        widths, heights = ([least + rest * share for share in shares] for shares in self._shares)
        unit = math.log(math.expm1(1.0 - MIN_SLOPE))
        self._raw_slopes = [row + unit for row in raw[2 * bins :]]
        slopes = [one, *(MIN_SLOPE + tf.nn.softplus(row) for row in self._raw_slopes), one]
        at = _Bin(-bound * one, -bound * one, widths[0], heights[0], slopes[0], slopes[1])
        left, bottom = at.left, at.bottom
        self._passed: Vectors = []  # whether x lies beyond the first, second ... inner knot
        for k in range(1, bins):
            left, bottom = left + widths[k - 1], bottom + heights[k - 1]
            passed = x >= left
            self._passed.append(passed)
            here = _Bin(left, bottom, widths[k], heights[k], slopes[k], slopes[k + 1])
            at = _Bin(*(tf.where(passed, new, old) for new, old in zip(here, at, strict=True)))
        self._at = at
        self._slope = slope = at.height / at.width
        self._t = t = (x - at.left) / at.width
        self._tt = tt = t * (1.0 - t)
        self._denominator = slope + (at.above + at.below - 2.0 * slope) * tt
        self._rise = slope * t * t + at.below * tt
        self._numerator = at.above * t * t + 2.0 * slope * tt + at.below * (1.0 - t) ** 2
        y = at.bottom + at.height * self._rise / self._denominator
        log_slope = 2.0 * (tf.math.log(slope) - tf.math.log(self._denominator)) + tf.math.log(self._numerator)
        self.image = tf.where(self._inside, y, z)
        self.log_slope = tf.where(self._inside, log_slope, tf.zeros_like(log_slope))

    def gradient(self, g: tf.Tensor) -> tuple[Vectors, tf.Tensor]:
        """Of L with dL/dimage = g and dL/dlog_slope = 1: by the raw parameters, and by z."""
        at, t, tt, slope = self._at, self._t, self._tt, self._slope
        d, rise, numerator = self._denominator, self._rise, self._numerator
        bend, span = at.above + at.below - 2.0 * slope, 1.0 - 2.0 * t
        by_d, by_n = 1.0 / d, 1.0 / numerator
        steep = slope * slope * numerator * by_d * by_d  # dy/dx
        lift = g * at.height * by_d * by_d
        by_t = g * steep * at.width - 2.0 * bend * span * by_d
        by_t += 2.0 * (at.above * t + slope * span - at.below * (1.0 - t)) * by_n
        by_slope = lift * (t * t * d - rise * (1.0 - 2.0 * tt))
        by_slope += 2.0 * (1.0 / slope - (1.0 - 2.0 * tt) * by_d + tt * by_n)
        by_below = lift * tt * (d - rise) - 2.0 * tt * by_d + (1.0 - t) ** 2 * by_n
        by_above = -lift * tt * rise - 2.0 * tt * by_d + t * t * by_n
        inverse = 1.0 / at.width
        by_x = by_t * inverse
        by_width = -(by_t * t + by_slope * slope) * inverse
        by_height = g * rise * by_d + by_slope * inverse
        zero = tf.zeros_like(t)

        def cut(values: tf.Tensor) -> tf.Tensor:
            return tf.where(self._inside, values, zero)

        by_x, g_in, by_width, by_height, by_below, by_above = map(
            cut, (by_x, g, by_width, by_height, by_below, by_above)
        )
        widths = self._of_shares(self._shares[0], beyond=-by_x, here=by_width)
        heights = self._of_shares(self._shares[1], beyond=g_in, here=by_height)
        slopes = []
        for k, (raw, passed) in enumerate(zip(self._raw_slopes, self._passed, strict=True)):
            before = self._passed[k - 1] if k else None
            lower = by_above if before is None else tf.where(before, by_above, zero)
            upper = tf.where(self._passed[k + 1], zero, by_below) if k + 1 < len(self._passed) else by_below
            slopes.append(tf.where(passed, upper, lower) * tf.sigmoid(raw))
        return [*widths, *heights, *slopes], tf.where(self._inside, by_x, g)

    def _of_shares(self, shares: Vectors, *, beyond: tf.Tensor, here: tf.Tensor) -> Vectors:
        """From the bins' sizes back to their logits: `beyond` for the bins before that of x, `here` for its own."""
        zero = tf.zeros_like(here)
        sizes = []
        for k in range(len(shares)):
            own = here if k == 0 else tf.where(self._passed[k - 1], here, zero)
            sizes.append(tf.where(self._passed[k], beyond, own) if k < len(self._passed) else own)
        mean = _sum([share * size for share, size in zip(shares, sizes, strict=True)])
        return [self._rest * share * (size - mean) for share, size in zip(shares, sizes, strict=True)]


class _Mixture:
    """Mixture of M-splines at v, shape (E, d, n).

    Attributes:
        log_density: Logarithm of sum_k softmax(logits)_k M_k(v).
    """

    def __init__(self, logits: Vectors, v: tf.Tensor, *, knots: Array, degree: int) -> None:
        self._weights = _softmax(logits)
        self._units = [float(unit) for unit in uniform_coefficients(knots, degree)]
        self._degree, self._spans = degree, len(logits) - degree
        t = [float(knot) for knot in knots]
        # whether v lies beyond the first, second ... inner knot
        self._passed = [v >= t[degree + s] for s in range(1, self._spans)]
        coefficients = [weight / unit for weight, unit in zip(self._weights, self._units, strict=True)]
        self._own = [self._pick(coefficients[r : r + self._spans]) for r in range(degree + 1)]
        like = [
            [tf.fill(tf.shape(v), tf.constant(t[degree + s + j], v.dtype)) for s in range(self._spans)]
            for j in range(1 - degree, degree + 1)
        ]
        around = [self._pick(values) for values in like]
        left = [v - knot for knot in reversed(around[:degree])]  # the nearest first
        right = [knot - v for knot in around[degree:]]
        # the degree + 1 B-splines that are not zero at v (de Boor)
        basis, shares = [tf.ones_like(v)], []
        for j in range(1, degree + 1):
            shares = [basis[r] / (right[r] + left[j - 1 - r]) for r in range(j)]
            saved, basis = tf.zeros_like(v), []
            for r in range(j):
                basis.append(saved + right[r] * shares[r])
                saved = left[j - 1 - r] * shares[r]
            basis.append(saved)
        self._basis, self._shares = basis, shares
        tiny = 1e-300 if v.dtype == tf.float64 else 1e-30  # keeps the logarithm finite where all weights underflow
        self._density = _sum([own * b for own, b in zip(self._own, basis, strict=True)]) + tiny
        self.log_density = tf.math.log(self._density)

    def _pick(self, values: Vectors) -> tf.Tensor:
        """Of one value for each span that of the span that holds v."""
        picked = values[0]
        for passed, value in zip(self._passed, values[1:], strict=True):
            picked = tf.where(passed, value, picked)
        return picked

    @property
    def slope(self) -> tf.Tensor:
        """Derivative of `log_density` by v."""
        if not self._degree:
            return tf.zeros_like(self._density)
        steps = zip(self._own[1:], self._own[:-1], strict=True)
        terms = [share * (high - low) for share, (high, low) in zip(self._shares, steps, strict=True)]
        return self._degree * _sum(terms) / self._density

    def gradient(self) -> Vectors:
        """Derivatives of `log_density` by the logits."""
        inverse = 1.0 / self._density
        scaled = [b * inverse for b in self._basis]
        zero = tf.zeros_like(inverse)
        gradients = []
        for k, (weight, unit) in enumerate(zip(self._weights, self._units, strict=True)):
            spans = [scaled[k - s] if 0 <= k - s <= self._degree else zero for s in range(self._spans)]
            gradients.append(weight * (self._pick(spans) * (1.0 / unit) - 1.0))
        return gradients
