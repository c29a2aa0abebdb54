"""Autoregressive spline densities on the unit cube.

    p(u | m) = prod_j sum_k softmax(net_j(u_<j, m))_k M_k(u_j)

with M_k the M-splines of `splines`.  Normalised by construction; sampled without inversion.  `warped` puts a map that
moves with u_<j before the splines; that is the default density of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.base import FlowConfig
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.splines import knot_vector, m_splines, uniform_coefficients

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32

__all__ = ["SplineConfig", "log_mixture"]

EDGE = 2e-4  # the nets see the normal quantile of u clipped here, at 3.5 sigma
SAMPLE_BLOCK = 8192


@dataclass(frozen=True)
class SplineConfig(FlowConfig):
    """What ``spline_flow(bins=0)`` returns; see `hisigma_zfit.density.warped.spline_flow`."""

    kind: ClassVar[str] = "spline"
    knots: int = 16
    hidden: int = 32
    layers: int = 3
    degree: int = 3
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        """Check the ranges."""
        smallest = {"knots": self.degree + 1, "hidden": 1, "layers": 1, "degree": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise InputError.from_parts(
                    expected=f"{name} >= {least}", got=f"{getattr(self, name)}", do=f"raise {name} of spline_flow"
                )

    @property
    def _t(self) -> Array:
        return knot_vector(self.knots, self.degree)

    def _start(self) -> Array:
        """Outputs of a net that give the uniform density, shape (K,)."""
        return np.log(uniform_coefficients(self._t, self.degree))

    def _shapes(self, d: int) -> list[tuple[int, ...]]:
        """Weights and biases of the d nets, layer by layer."""
        widths = [2 * d + 1, *[self.hidden] * self.layers, len(self._start())]
        return [shape for a, b in pairwise(widths) for shape in ((d, a, b), (d, b))]

    def _mask(self, d: int) -> Float32:
        """Which inputs (u, normal quantile of u, m) each net sees: features before its own, and the mass."""
        before = np.tril(np.ones((d, d), np.float32), k=-1)
        return np.concatenate([before, before, np.ones((d, 1), np.float32)], axis=1)[..., None]

    def init(self, rng: np.random.Generator, n_features: int) -> Float32:
        """Start at the uniform density; see `FlowConfig.init`."""
        shapes = self._shapes(n_features)
        parts: list[Array] = []
        for layer, (weight, bias) in enumerate(zip(shapes[::2], shapes[1::2], strict=True)):
            if layer == self.layers:
                start = np.broadcast_to(self._start(), bias)
                parts += [rng.normal(size=weight) * 0.01 / np.sqrt(self.hidden), start]
            elif layer == 0:
                parts += [rng.normal(size=weight) * 0.5, rng.uniform(-1, 1, size=bias)]
            else:
                parts += [rng.normal(size=weight) * np.sqrt(2 / self.hidden), np.zeros(bias)]
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32)

    def _inputs(self, u: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        """Net inputs of about unit variance, shape (n, 2 d + 1), float32.

        The nets are always evaluated in float32, five times faster than float64: an error of 1e-6 in a logit moves
        the density by as much but not its normalisation, which the float64 splines and sums carry.
        """
        u, c = tf.cast(u, tf.float32), tf.cast(c, tf.float32)
        normal = tf.math.ndtri(tf.clip_by_value(u, EDGE, 1 - EDGE))
        return tf.concat([(u - 0.5) * 12**0.5, normal, c[:, None]], axis=1)

    def prepare(self, u: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Net inputs, shape (n, 2 d + 1), and M-splines, shape (n, d, K); see `FlowConfig.prepare`."""
        return self._inputs(u, c), m_splines(u, self._t, self.degree)

    def _nets(self, parameters: tf.Tensor, d: int) -> list[tf.Tensor]:
        """Split [E, P] into float32 [E, d, ...] weights and biases, the first one masked."""
        parameters, shapes = tf.cast(parameters, tf.float32), self._shapes(d)
        parts = tf.split(parameters, [int(np.prod(shape)) for shape in shapes], axis=1)
        nets = [tf.reshape(part, (-1, *shape)) for part, shape in zip(parts, shapes, strict=True)]
        nets[0] *= tf.constant(self._mask(d), parameters.dtype)
        return nets

    def net_arrays(self, parameters: Array | Float32, d: int) -> list[Float32]:
        """Weights and biases of all nets, layer by layer, each of shape (E, d, ...); what a net may not see is zero.

        Args:
            parameters: Shape (E, P).
            d: Number of features.
        """
        return [np.asarray(part) for part in self._nets(tf.constant(parameters), d)]

    def _logits(self, nets: list[tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
        """Evaluate nets of weights [E, d, ...] on inputs (n, 2 d + 1); returns (E, d, n, outputs)."""
        first = nets[0]
        n_members, d, n_inputs, width = first.shape
        # one wide product for all nets: the inputs are the same
        wide = tf.reshape(tf.transpose(first, [0, 2, 1, 3]), (n_members, n_inputs, d * width))
        h = tf.reshape(tf.matmul(inputs[None], wide), (n_members, -1, d, width))
        h = tf.nn.silu(tf.transpose(h, [0, 2, 1, 3]) + nets[1][:, :, None])
        for layer in range(1, self.layers):
            step = tf.nn.silu(tf.matmul(h, nets[2 * layer]) + nets[2 * layer + 1][:, :, None])
            h = step if layer == 1 else h + step
        return tf.matmul(h, nets[-2]) + nets[-1][:, :, None]

    def log_prob(self, parameters: tf.Tensor, prepared: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """See `FlowConfig.log_prob`."""
        return tf.reduce_sum(self.log_conditionals(parameters, prepared), axis=1)

    def log_conditionals(self, parameters: tf.Tensor, prepared: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Log p(u_j | u_<j, m) of every feature; arguments as in `log_prob`, which is their sum; shape (E, d, n)."""
        inputs, basis = prepared
        logits = tf.cast(self._logits(self._nets(parameters, basis.shape[1]), inputs), basis.dtype)
        return log_mixture(logits, tf.transpose(basis, [1, 0, 2])[None])

    def sample(self, parameters: Array, c: Array, rng: np.random.Generator, *, n_features: int) -> Array:
        """See `FlowConfig.sample`; k from the weights, then u = sum_i D_i t_{k+i} with D uniform on the simplex."""
        n = len(c)
        choice = rng.random((n, n_features))
        simplex = rng.dirichlet(np.ones(self.degree + 2), size=(n, n_features))
        weights = tf.constant(np.asarray(parameters, dtype=np.float64)[None])
        out = np.empty((n, n_features))
        for start in range(0, n, SAMPLE_BLOCK):
            stop = min(start + SAMPLE_BLOCK, n)
            # always whole blocks, so that one compiled function serves all
            rows = np.minimum(np.arange(start, start + SAMPLE_BLOCK), n - 1)
            drawn = _compiled_draw(self)(weights, c[rows], choice[rows], simplex[rows])
            out[start:stop] = np.asarray(drawn)[: stop - start]
        return out

    def draw(self, parameters: tf.Tensor, c: tf.Tensor, choice: tf.Tensor, simplex: tf.Tensor) -> tf.Tensor:
        """Turn uniforms (n, d) and simplex points (n, d, degree + 2) into u, feature after feature."""
        d = choice.shape[1]
        nets = self._nets(parameters, d)
        columns: list[tf.Tensor] = []
        for j in range(d):
            # the mask hides what is not drawn yet: any number will do there
            u = tf.stack(columns + [tf.fill(tf.shape(c), tf.constant(0.5, c.dtype))] * (d - j), axis=1)
            outputs = self._logits([weight[:, j : j + 1] for weight in nets], self._inputs(u, c))[0, 0]
            columns.append(self._draw_feature(tf.cast(outputs, u.dtype), choice[:, j], simplex[:, j]))
        return tf.stack(columns, axis=1)

    def _draw_feature(self, outputs: tf.Tensor, choice: tf.Tensor, simplex: tf.Tensor) -> tf.Tensor:
        """Draw one feature, shape (n,), from the outputs of its net, shape (n, outputs)."""
        windows = tf.constant(np.lib.stride_tricks.sliding_window_view(self._t, self.degree + 2).copy())
        summation = tf.constant(np.triu(np.ones((self.knots, self.knots))))
        cumulative = tf.matmul(tf.nn.softmax(outputs), summation)
        k = tf.reduce_sum(tf.cast(choice[:, None] > cumulative[:, :-1], tf.int32), axis=1)
        return tf.reduce_sum(simplex * tf.gather(windows, k), axis=1)


def log_mixture(logits: tf.Tensor, basis: tf.Tensor) -> tf.Tensor:
    """Log of sum_k softmax(logits)_k basis_k over the last axis."""
    weights = tf.exp(logits - tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True)))
    # the floor is below any density that can matter; it keeps the gradient finite where all weights underflow
    tiny = 1e-300 if basis.dtype == tf.float64 else 1e-30
    numerator = tf.reduce_sum(weights * basis, axis=-1)
    return tf.math.log(numerator + tiny) - tf.math.log(tf.reduce_sum(weights, axis=-1))


@lru_cache
def _compiled_draw(config: SplineConfig) -> Any:
    return tf.function(
        config.draw, autograph=False
    )  # XLA is twice as fast after compiling for as long as 1.5 million events take
