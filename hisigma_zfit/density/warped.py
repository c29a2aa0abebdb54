"""Spline densities behind a map that moves with the other features: the default density of the package.

The edge of one feature often moves with another one (ordered momenta, an opening angle against a momentum).  Splines
with fixed knots blur it.  Here u_j goes through a monotonic map first, whose shape depends on u_<j and the mass: it can
carry the edge to one place, or squeeze what lies beyond it, and the splines describe what is left,

    p(u_j | u_<j, m) = p_spline(v_j | u_<j, m) dv_j / du_j,    v_j = Phi(T(Phi^-1(u_j); u_<j, m)),

with T a rational-quadratic spline of few bins (arXiv:1906.04032).  One net gives the weights of the M-splines and the
bins of T, so that both are fitted together.  Normalised by construction, sampled in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.density.kernel import log_warped_density
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.rational_quadratic import (
    MIN_BIN,
    inverse_rational_quadratic,
    spline_parameters,
)

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["WarpedSplineConfig", "spline_flow"]

BOUND = 4.0  # T is the identity beyond four standard deviations, where 6e-5 of the events are


def spline_flow(
    *,
    knots: int = 12,
    bins: int = 6,
    hidden: int = 32,
    layers: int = 3,
    degree: int = 3,
    learning_rate: float = 1e-2,
) -> SplineConfig:
    """Configure the autoregressive spline density.

    Args:
        knots: Number K of M-splines per feature.
        bins: Bins of the map that moves with the features before and with the mass.  0 leaves it out, which halves the
            time of training; then edges must stay where they are, and 16 knots are better.
        hidden: Width of each net; there is one net per feature.
        layers: Hidden layers of each net.
        degree: Degree of the splines.
        learning_rate: Peak of the Adam learning rate.

    Raises:
        InputError: A number is out of its range.

    Example:
        >>> small = hz.spline_flow(knots=8, bins=0, hidden=8, layers=1)
        >>> small.init(np.random.default_rng(1), 2).size  # weights of two nets: 5 x 8 + 8 and 8 x 8 + 8 each
        240
    """
    options = {"knots": knots, "hidden": hidden, "layers": layers, "degree": degree}
    if bins == 0:
        return SplineConfig(learning_rate=learning_rate, **options)
    return WarpedSplineConfig(learning_rate=learning_rate, bins=bins, **options)


@dataclass(frozen=True)
class WarpedSplineConfig(SplineConfig):
    """What `spline_flow` returns; see there."""

    kind: ClassVar[str] = "warped spline"
    fused: ClassVar[bool] = True
    knots: int = 12
    bins: int = 6

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not 1 < self.bins < 1.0 / MIN_BIN:
            raise InputError.from_parts(
                expected=f"bins from 2 to {1.0 / MIN_BIN - 1:.0f}, or 0",
                got=f"{self.bins}",
                do="change bins of spline_flow",
            )

    def _start(self) -> Array:
        """Outputs that give the uniform density: M-splines of equal share, and the identity as map."""
        return np.concatenate([super()._start(), np.zeros(3 * self.bins - 1)])

    def _split(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Logits of the M-splines, and widths, heights and slopes of the map."""
        return outputs[..., : self.knots], spline_parameters(outputs[..., self.knots :], bins=self.bins, bound=BOUND)

    def prepare(self, u: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Net inputs, shape (n, 2 d + 1), and normal quantiles of u, shape (n, d); see `FlowConfig.prepare`.

        Quantiles are cut off where the map ends: the density is constant from there to the face of the cube.
        """
        return self._inputs(u, c), tf.clip_by_value(tf.math.ndtri(u), -BOUND, BOUND)

    def log_conditionals(self, parameters: tf.Tensor, prepared: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """See `SplineConfig.log_conditionals`."""
        inputs, z = (tf.transpose(array) for array in prepared)
        outputs = self.outputs(parameters, inputs, n_features=z.shape[0])
        return log_warped_density(outputs, z, knots=self._t, degree=self.degree, bins=self.bins, bound=BOUND)

    def outputs(self, parameters: tf.Tensor, inputs: tf.Tensor, *, n_features: int) -> tf.Tensor:
        """As `_logits` of all nets with the events last: inputs (2 d + 1, n); returns (E, d, outputs, n), float32."""
        nets = self._nets(parameters, n_features)
        first = nets[0]
        n_members, d, n_inputs, width = first.shape
        wide = tf.reshape(tf.transpose(first, [0, 1, 3, 2]), (n_members, d * width, n_inputs))
        h = tf.reshape(tf.matmul(wide, inputs[None]), (n_members, d, width, -1))
        h = tf.nn.silu(h + nets[1][..., None])
        for layer in range(1, self.layers):
            step = tf.nn.silu(tf.matmul(nets[2 * layer], h, transpose_a=True) + nets[2 * layer + 1][..., None])
            h = step if layer == 1 else h + step
        return tf.matmul(nets[-2], h, transpose_a=True) + nets[-1][..., None]

    def _draw_feature(self, outputs: tf.Tensor, choice: tf.Tensor, simplex: tf.Tensor) -> tf.Tensor:
        logits, sizes = self._split(outputs)
        v = super()._draw_feature(logits, choice, simplex)
        return _normal_cdf(inverse_rational_quadratic(tf.math.ndtri(v), *sizes, bound=BOUND))


def _normal_cdf(z: tf.Tensor) -> tf.Tensor:
    return 0.5 * tf.math.erfc(-(0.5**0.5) * z)
