"""The density of one angle given the features before it: splines on a circle behind a map that moves.

The peak of an angle often follows other features, and may go around with another angle.  As `warped` has a map of the
line before its splines, there is a map of the circle before these, the automorphism of the disk that takes w to 0,

    z -> (z - w) / (1 - conj(w) z),    |w| < 1,

on z = exp(2 pi i u), whose derivative is the wrapped Cauchy density with its peak at the argument of w (McCullagh,
Ann. Statist. 24 (1996) 787; arXiv:2002.02428).  The net gives w, as a point of the plane, and the shares of the
splines.  All of it is smooth where w is zero, the start, and normalised by construction; the inverse map is that of -w.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from hisigma_zfit.learn.splines import periodic_splines

__all__ = ["MAP_OUTPUTS", "draw_angle", "log_circle_density"]

MAP_OUTPUTS = 2
REACH = 0.98  # of |w|: the map stretches by less than 99


def log_circle_density(outputs: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """Log-density of places on the circle, shape (E, n).

    Args:
        outputs: Of the nets, shape (E, K + 2, n): logits of the K splines, then the point of the map.
        u: Places in [0, 1], shape (n,).
    """
    count = outputs.shape[1] - MAP_OUTPUTS
    shares = tf.nn.softmax(outputs[:, :count], axis=1)
    place, log_slope = _moved(_centre(outputs[:, count], outputs[:, count + 1]), u)
    return tf.math.log(tf.reduce_sum(shares * periodic_splines(place, count, axis=1), axis=1)) + log_slope


def draw_angle(outputs: tf.Tensor, choice: tf.Tensor, simplex: tf.Tensor) -> tf.Tensor:
    """Draw places, shape (n,).

    Args:
        outputs: Of the net, shape (n, K + 2).
        choice: Uniform in [0, 1], shape (n,).
        simplex: Uniform on the simplex of five, shape (n, 5).
    """
    count = outputs.shape[1] - MAP_OUTPUTS
    levels = tf.cumsum(tf.nn.softmax(outputs[:, :count]), axis=1)
    k = tf.reduce_sum(tf.cast(choice[:, None] > levels[:, :-1], choice.dtype), axis=1)
    place = (k + tf.reduce_sum(simplex * tf.range(-2, 3, dtype=simplex.dtype), axis=1)) / count
    real, imaginary = _centre(outputs[:, count], outputs[:, count + 1])
    return _moved((-real, -imaginary), place)[0]


def _centre(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Point w of the disk."""
    length = REACH * tf.math.rsqrt(1.0 + first**2 + second**2)
    return length * first, length * second


def _moved(centre: tuple[tf.Tensor, tf.Tensor], u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Image of u, in [0, 1], and the logarithm of the derivative."""
    real, imaginary = centre
    cosine, sine = tf.cos(2.0 * math.pi * u), tf.sin(2.0 * math.pi * u)
    above = cosine - real, sine - imaginary
    below = 1.0 - (real * cosine + imaginary * sine), imaginary * cosine - real * sine
    angle = tf.atan2(above[1] * below[0] - above[0] * below[1], above[0] * below[0] + above[1] * below[1])
    log_slope = tf.math.log(1.0 - real**2 - imaginary**2) - tf.math.log(below[0] ** 2 + below[1] ** 2)
    return tf.math.floormod(angle / (2.0 * np.pi), 1.0), log_slope
