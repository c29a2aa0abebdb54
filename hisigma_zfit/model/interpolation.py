r"""Interpolation in a nuisance nu between densities that are known at a few of its values: the pure mathematics.

With l_f = log p_f(x'|m) - log p_0(x'|m) for the varied densities p_f of one event, the weight of eq. 3.3 of the paper
(arXiv:2506.06438) is, in every form,

    w(nu) = 1 + z   or   w(nu) = exp(z),      z = sum_r a_r(nu) C_r(l),

with columns C that are computed once per event and coefficients a that are common to all events.  One matrix product
therefore gives w and its derivatives for all events.  Numpy and TensorFlow are both served: fits use the first, zfit's
own graphs the second.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["Coefficients", "Interpolation", "LogPolynomial", "PolynomialExponential", "Quadratic", "floored"]


# Below this weight a polynomial is bent so that it stays positive.
FLOOR = 1e-3

# Ratios are cut at the floor and its inverse.  Learned densities reach such ratios only at the edges of their support,
# where they mean nothing, and where one event would otherwise decide the fit.  Because no ratio is below the floor, the
# polynomial of eq. 3.4 is never bent where it meets the exponentials.
LOG_RATIO_LIMIT = -float(np.log(FLOOR))


def floored(w: Array) -> tuple[Array, Array, Array]:
    """Bend weights below `FLOOR` so that they stay positive, with two continuous derivatives.

    With x = (floor - w) / floor the result is floor / (1 + x + x^2) for w < floor, and w itself elsewhere.

    Returns:
        The bent weight and its first and second derivative with respect to w, of w's shape.
    """
    x = np.maximum((FLOOR - w) / FLOOR, 0.0)
    bent = x > 0.0
    denominator = 1.0 + x + x * x
    slope = (1.0 + 2.0 * x) / denominator**2
    second = 2.0 / FLOOR * ((1.0 + 2.0 * x) ** 2 / denominator**3 - 1.0 / denominator**2)
    return np.where(bent, FLOOR / denominator, w), np.where(bent, slope, 1.0), np.where(bent, second, 0.0)


def _floored_in_graph(w: Any) -> Any:
    import tensorflow as tf

    x = tf.maximum((FLOOR - w) / FLOOR, 0.0)
    return tf.where(w < FLOOR, FLOOR / (1.0 + x + x * x), w)


def _powers(nu: float, degree: int) -> Array:
    """nu^1 ... nu^degree with first and second derivatives, shape (3, degree)."""
    i = np.arange(1, degree + 1)
    return np.stack([nu**i, i * nu ** (i - 1), i * (i - 1) * nu ** np.maximum(i - 2, 0)])


def _powers_in_graph(nu: Any, degree: int) -> Any:
    import zfit.z.numpy as znp

    powers = [nu]
    for _ in range(1, degree):
        powers.append(powers[-1] * nu)  # pow() has no second derivative at zero
    return znp.stack(powers)


@dataclass(frozen=True)
class Coefficients:
    """The a_r of one value of nu, with which w follows from the columns.

    Attributes:
        values: a and its first and second derivative in nu, shape (3, R').
        rows: The columns that they belong to, R' of them.
        exponential: True for w = exp(z), False for w = 1 + z.
    """

    values: Array
    rows: slice
    exponential: bool

    def weight(self, columns: Array) -> Array:
        """Weights w of events with columns of shape (R, n); shape (n,)."""
        z: Array = self.values[0] @ columns[self.rows]
        if self.exponential:
            return np.exp(z, out=z)
        z += 1.0
        return floored(z)[0] if z.size and z.min() < FLOOR else z

    def derivatives(self, columns: Array) -> tuple[Array, Array, Array]:
        """w, w'/w and w''/w of events with columns of shape (R, n); each of shape (n,)."""
        z, first, second = self.values @ columns[self.rows]
        if self.exponential:
            second += first * first
            return np.exp(z, out=z), first, second
        z += 1.0
        if z.size and z.min() < FLOOR:
            z, slope, curvature = floored(z)
            second = curvature * first * first + slope * second
            first = slope * first
        return z, first / z, second / z


class Interpolation(abc.ABC):
    """A form of w(nu) for log-ratios l_f of F varied densities.

    Attributes:
        n_ratios: F.
    """

    n_ratios: int

    @abc.abstractmethod
    def columns(self, log_ratios: Sequence[Any], xp: Any = np) -> Any:
        """C of events, shape (R, n), from F log-ratios of shape (n,), cut at `LOG_RATIO_LIMIT`; numpy or TensorFlow."""

    @abc.abstractmethod
    def at(self, nu: float) -> Coefficients:
        """The coefficients at one value of the nuisance."""

    @abc.abstractmethod
    def in_graph(self, columns: Any, nu: Any) -> Any:
        """The weights w as TensorFlow operations, shape (n,), differentiable twice in nu."""

    def tangent(self, nu: float) -> Array:
        """t_f(nu) in w = 1 + sum_f t_f (p_f / p_0 - 1) + second order, and its derivatives; shape (3, F)."""
        del nu
        return np.zeros((3, self.n_ratios))

    def tangent_in_graph(self, nu: Any) -> Any:
        """The same as TensorFlow operations, without derivatives, shape (F,)."""
        import tensorflow as tf

        del nu
        return tf.zeros(self.n_ratios, tf.float64)


def _cut(log_ratios: Sequence[Any], xp: Any) -> list[Any]:
    return [xp.clip(ratio, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT) for ratio in log_ratios]


def _polynomial_exponential_matrix() -> Array:
    """Powers of nu -> value, slope and curvature that the exponentials have at +1 and -1, inverted; shape (6, 6)."""
    up, down = _powers(1.0, 6), _powers(-1.0, 6)
    return np.asarray(np.linalg.inv(np.stack([up[0], down[0], up[1], down[1], up[2], down[2]])))


class PolynomialExponential(Interpolation):
    """Eq. 3.4: (p_up / p_0)^nu for nu > 1, (p_down / p_0)^-nu for nu < -1, a polynomial between.

    The polynomial has degree six, is one at nu = 0, and continues both exponentials with two derivatives.  (The paper
    misprints the line for nu < -1.)
    """

    n_ratios = 2
    _MATRIX = _polynomial_exponential_matrix()

    def columns(self, log_ratios: Sequence[Any], xp: Any = np) -> Any:
        """See `Interpolation.columns`: what the polynomial has to match at +-1, then both log-ratios."""
        up, down = _cut(log_ratios, xp)
        r, s = xp.exp(up), xp.exp(down)
        return xp.stack([r - 1.0, s - 1.0, r * up, -s * down, r * up * up, s * down * down, up, down])

    def at(self, nu: float) -> Coefficients:
        """See `Interpolation.at`."""
        if nu > 1.0:
            return Coefficients(np.array([[nu], [1.0], [0.0]]), slice(6, 7), exponential=True)
        if nu < -1.0:
            return Coefficients(np.array([[-nu], [-1.0], [0.0]]), slice(7, 8), exponential=True)
        return Coefficients(_powers(nu, 6) @ self._MATRIX, slice(0, 6), exponential=False)

    def in_graph(self, columns: Any, nu: Any) -> Any:
        """See `Interpolation.in_graph`."""
        import tensorflow as tf
        import zfit.z.numpy as znp

        # every branch gets a nu of its own: where() would spread the overflow of one to the gradients of all
        a = self._inner_in_graph(nu)
        between = _floored_in_graph(1.0 + tf.linalg.matvec(columns[:6], a, transpose_a=True))
        above, below = znp.exp(tf.maximum(nu, 1.0) * columns[6]), znp.exp(tf.maximum(-nu, 1.0) * columns[7])
        return tf.where(nu > 1.0, above, tf.where(nu < -1.0, below, between))

    def _inner_in_graph(self, nu: Any) -> Any:
        import tensorflow as tf

        powers = _powers_in_graph(tf.clip_by_value(nu, -1.0, 1.0), 6)
        return tf.linalg.matvec(self._MATRIX, powers, transpose_a=True)

    def tangent(self, nu: float) -> Array:
        """See `Interpolation.tangent`."""
        if nu > 1.0:
            return np.array([[nu, 0.0], [1.0, 0.0], [0.0, 0.0]])
        if nu < -1.0:
            return np.array([[0.0, -nu], [0.0, -1.0], [0.0, 0.0]])
        # to first order r l = r - 1 and r l^2 = 0
        a = self.at(nu).values
        return np.stack([a[:, 0] + a[:, 2], a[:, 1] - a[:, 3]], axis=1)

    def tangent_in_graph(self, nu: Any) -> Any:
        """See `Interpolation.tangent_in_graph`."""
        import tensorflow as tf
        import zfit.z.numpy as znp

        a = self._inner_in_graph(nu)
        between = znp.stack([a[0] + a[2], a[1] - a[3]])
        zero = tf.zeros_like(nu)
        above, below = znp.stack([nu, zero]), znp.stack([zero, -nu])
        return tf.where(nu > 1.0, above, tf.where(nu < -1.0, below, between))


class Quadratic(Interpolation):
    """1 + c_1 nu + c_2 nu^2 through the varied densities: the form of the paper's example (section 4.4).

    The integral is one at every nu, but for large ratios the weight turns negative, most often beyond |nu| = 1; there
    `floored` bends it, and the normalisation follows.
    """

    n_ratios = 2

    def columns(self, log_ratios: Sequence[Any], xp: Any = np) -> Any:
        """See `Interpolation.columns`: both ratios less one."""
        return xp.stack([xp.exp(ratio) - 1.0 for ratio in _cut(log_ratios, xp)])

    def at(self, nu: float) -> Coefficients:
        """See `Interpolation.at`."""
        return Coefficients(self.tangent(nu), slice(0, 2), exponential=False)

    def in_graph(self, columns: Any, nu: Any) -> Any:
        """See `Interpolation.in_graph`."""
        import tensorflow as tf

        return _floored_in_graph(1.0 + tf.linalg.matvec(columns, self.tangent_in_graph(nu), transpose_a=True))

    def tangent(self, nu: float) -> Array:
        """See `Interpolation.tangent`; exact here."""
        return 0.5 * np.array([[nu * nu + nu, nu * nu - nu], [2.0 * nu + 1.0, 2.0 * nu - 1.0], [2.0, 2.0]])

    def tangent_in_graph(self, nu: Any) -> Any:
        """See `Interpolation.tangent_in_graph`."""
        import zfit.z.numpy as znp

        return 0.5 * znp.stack([nu * nu + nu, nu * nu - nu])


class LogPolynomial(Interpolation):
    """log w = the polynomial in nu through zero at nu = 0 and through log-ratios at other values of nu.

    Always positive.  Beyond the outermost of the values log w goes on linearly.

    Args:
        nodes: The other values, F of them, distinct and not zero.
    """

    def __init__(self, nodes: Sequence[float]) -> None:
        self.nodes = tuple(float(node) for node in nodes)
        self.n_ratios = len(self.nodes)

    @cached_property
    def _matrix(self) -> Array:
        return np.asarray(np.linalg.inv(np.stack([_powers(node, self.n_ratios)[0] for node in self.nodes])))

    def columns(self, log_ratios: Sequence[Any], xp: Any = np) -> Any:
        """See `Interpolation.columns`: the log-ratios themselves."""
        return xp.stack(_cut(log_ratios, xp))

    def at(self, nu: float) -> Coefficients:
        """See `Interpolation.at`."""
        inner = float(np.clip(nu, min(self.nodes), max(self.nodes)))
        a = _powers(inner, self.n_ratios) @ self._matrix
        if inner != nu:
            a = np.stack([a[0] + (nu - inner) * a[1], a[1], np.zeros(self.n_ratios)])
        return Coefficients(a, slice(0, self.n_ratios), exponential=True)

    def in_graph(self, columns: Any, nu: Any) -> Any:
        """See `Interpolation.in_graph`."""
        import tensorflow as tf
        import zfit.z.numpy as znp

        inner = tf.clip_by_value(nu, min(self.nodes), max(self.nodes))
        powers = _powers_in_graph(inner, self.n_ratios)
        slopes = np.arange(1.0, self.n_ratios + 1) * znp.concatenate([[1.0], powers[:-1]], axis=0)
        powers = powers + (nu - inner) * slopes
        a = tf.linalg.matvec(self._matrix, powers, transpose_a=True)
        return znp.exp(tf.linalg.matvec(columns, a, transpose_a=True))
