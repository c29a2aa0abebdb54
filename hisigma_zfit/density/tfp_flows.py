"""Masked autoregressive flows on TensorFlow Probability: rational-quadratic splines or affine maps.

The alternative to `spline_flow`: slower, of two layers in opposite orders of the features.  The cube coordinate u is
turned into z = ndtri(u), on which the layers act; with f(z) standard normal,

    log p(u | c) = log N(f(z)) + log |det df/dz| - log N(z).

Each layer maps z_j by a monotonic function whose parameters come from a masked network (MADE, arXiv:1502.03509) of z_<j
and c; the order of the features is reversed between layers.  `MAFConfig.bijector` is the flow as a chain of TFP
bijectors.  `log_prob` and `sample` are the same functions, fused: for all members of a stack at once under XLA, and
without evaluating the whole network once per feature as TFP's forward direction does.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.special import ndtr
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from hisigma_zfit.density.base import FlowConfig
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.preprocess import FeatureTransform, to_cube
from hisigma_zfit.learn.rational_quadratic import (
    MIN_BIN,
    inverse_rational_quadratic,
    rational_quadratic,
    spline_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.density.trained import TrainedFlow

__all__ = ["MAFConfig", "maf", "tfp_distribution"]

_FARTHEST = 8.0  # float64 cannot tell Phi(8.3) from 1; an affine flow's log-density is held constant beyond this z
_SAMPLE_BLOCK = 16_384


def maf(
    *,
    kind: str = "spline",
    layers: int | None = None,
    bins: int = 12,
    hidden: int = 64,
    blocks: int = 2,
    bound: float = 5.0,
    learning_rate: float = 4e-3,
) -> MAFConfig:
    """Recipe of a masked autoregressive flow, to be passed as ``train_flow(..., flow=maf())``.

    The configuration of arXiv:2506.06438, section 4.2, is ``maf(layers=5, bins=24)``, there with batch normalisation
    between the layers; here the inputs are marginally normal, and the layers need none.

    Args:
        kind: ``"spline"`` (rational-quadratic) or ``"affine"``.  An affine flow of few layers is smooth and fast, and
            cannot describe several modes or hard edges.
        layers: Autoregressive layers; 2 splines or 5 affine maps by default.
        bins: Bins of each spline.
        hidden: Units of each hidden layer of the networks.
        blocks: Residual blocks of each network.
        bound: The splines act on |z| < bound and are the identity outside.
        learning_rate: Peak of the Adam learning rate.

    Raises:
        InputError: An option is out of range.

    Example:
        >>> hz.maf(layers=5, bins=24).hidden
        64
    """
    if layers is None:
        layers = 5 if kind == "affine" else 2
    return MAFConfig(
        transform=kind,
        layers=layers,
        bins=bins,
        hidden=hidden,
        blocks=blocks,
        bound=float(bound),
        learning_rate=learning_rate,
    )


class _Masks(NamedTuple):
    """Which weights of a masked network may differ from zero: into, between and out of its hidden units."""

    first: Array
    middle: Array
    last: Array


def _degrees(n_features: int, hidden: int) -> Integers:
    """How many features each hidden unit may see, ascending.

    Degree 0 sees the mass alone: without such units, the first feature of a layer would not depend on the mass.
    """
    return np.sort(np.arange(hidden) % n_features)


def _masks(n_features: int, hidden: int, n_outputs: int) -> _Masks:
    degree = _degrees(n_features, hidden)
    feature = np.arange(1, n_features + 1)
    return _Masks(
        first=(feature[:, None] <= degree).astype(np.float64),
        middle=(degree[:, None] <= degree).astype(np.float64),
        last=np.repeat((degree[:, None] < feature).astype(np.float64), n_outputs, axis=1),
    )


@dataclass(frozen=True)
class MAFConfig(FlowConfig):
    """Structure of a masked autoregressive flow; see `maf` for the options.

    Attributes:
        transform: ``"spline"`` or ``"affine"``.
        layers: Number of autoregressive layers.
        bins: Bins of each spline.
        hidden: Units of each hidden layer.
        blocks: Residual blocks of each network.
        bound: Splines are the identity where |z| > bound.
        learning_rate: Peak of the Adam learning rate.
    """

    kind: ClassVar[str] = "maf"

    transform: str = "spline"
    layers: int = 2
    bins: int = 12
    hidden: int = 64
    blocks: int = 2
    bound: float = 5.0
    learning_rate: float = 4e-3

    def __post_init__(self) -> None:
        if self.transform not in {"spline", "affine"}:
            raise InputError.from_parts(
                expected="kind 'spline' or 'affine'", got=repr(self.transform), do="choose one of the two"
            )
        for name, lowest in (("layers", 1), ("bins", 2), ("hidden", 1), ("blocks", 0)):
            if getattr(self, name) < lowest:
                raise InputError.from_parts(
                    expected=f"{name} >= {lowest}", got=str(getattr(self, name)), do="ask for more"
                )
        if self.bins >= 1.0 / MIN_BIN:
            raise InputError.from_parts(
                expected=f"bins < {1.0 / MIN_BIN:.0f}", got=str(self.bins), do="ask for fewer bins"
            )
        if not 1.0 <= self.bound <= _FARTHEST:
            raise InputError.from_parts(
                expected=f"bound between 1 and {_FARTHEST:g}", got=f"{self.bound:g}", do="use about 5"
            )

    @property
    def _clip(self) -> float:
        return self.bound if self.transform == "spline" else _FARTHEST

    @property
    def _outputs(self) -> int:
        return 3 * self.bins - 1 if self.transform == "spline" else 2

    def _shapes(self, d: int) -> list[tuple[tuple[int, ...], float]]:
        """Shape and starting standard deviation of each tensor of one layer, in the order of the flat vector."""
        h, out = self.hidden, d * self._outputs
        block = [((h, h), math.sqrt(2.0 * d / h)), ((h,), 0.0)]
        return [
            ((d, h), 1.0 / math.sqrt(d)),
            ((1, h), 1.0),
            ((h,), 0.5),
            *(block * self.blocks),
            ((h, out), 0.01 / math.sqrt(h)),
            ((out,), 0.0),
        ]

    def init(self, rng: np.random.Generator, n_features: int) -> Float32:
        """Draw the starting parameters of one member, shape (P,); the flow starts close to the identity.

        Raises:
            InputError: There are more features than hidden units.
        """
        if self.hidden < n_features:
            raise InputError.from_parts(
                expected=f"hidden >= {n_features}, the number of features", got=str(self.hidden), do="widen the network"
            )
        shapes = self._shapes(n_features) * self.layers
        return np.concatenate([rng.normal(scale=scale, size=shape).ravel() for shape, scale in shapes]).astype("f")

    def prepare(self, u: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Normal coordinates z, shape (n, d), and the scaled mass, shape (n, 1).

        z is cut off at the bound of the splines.  That changes no density: beyond it every layer is the identity and
        the networks see the cut value, hence log N(f(z)) - log N(z) and with it p(u) stay constant up to the edge of
        the cube.
        """
        return tf.clip_by_value(tf.math.ndtri(u), -self._clip, self._clip), c[:, None]

    def log_prob(self, parameters: tf.Tensor, prepared: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Log-density with respect to u, shape (E, n); see `FlowConfig.log_prob`."""
        start, c = prepared[0][None], prepared[1][None]
        d = start.shape[-1]
        z, total = start, tf.zeros([], parameters.dtype)
        for weights in self._split(parameters, d):
            z, log_slope = self._apply(self._network(weights, z, c), z)
            total += tf.reduce_sum(log_slope, axis=-1)
            z = tf.reverse(z, axis=[-1])
        return total + 0.5 * (tf.reduce_sum(start**2, axis=-1) - tf.reduce_sum(z**2, axis=-1))

    def sample(self, parameters: Array, c: Array, rng: np.random.Generator, *, n_features: int) -> Array:
        """Draw u, shape (n, d), by inverting the layers feature after feature; see `FlowConfig.sample`."""
        normal = rng.standard_normal((len(c), n_features))
        layers = self._split(tf.constant(parameters[None], tf.float64), n_features)
        blocks = [slice(i, i + _SAMPLE_BLOCK) for i in range(0, len(c), _SAMPLE_BLOCK)]
        parts = [np.asarray(self._draw(layers, tf.constant(c[b]), tf.constant(normal[b]))) for b in blocks]
        u: Array = ndtr(np.concatenate([np.empty((0, n_features)), *parts]))
        return u

    def _draw(self, layers: Sequence[Sequence[tf.Tensor]], c: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        """Invert all layers on one block of normal numbers, shape (n, d)."""
        z = normal
        for weights in reversed(layers):
            z = self._invert_layer([w[0] for w in weights], tf.reverse(z, axis=[-1]), c[:, None])
        return z

    def _invert_layer(self, weights: Sequence[tf.Tensor], image: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        """Solve one layer for z, feature after feature.

        Units of degree j wait for z_j and are then final, so the d steps together cost one pass through the network.
        """
        first, context, bias, *rest, last, last_bias = weights
        n_features = image.shape[1]
        ends = np.searchsorted(_degrees(n_features, self.hidden), np.arange(n_features), side="right")
        z = image[:, :0]
        stages: list[list[tf.Tensor]] = [[] for _ in range(self.blocks + 1)]
        for j, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            new, out = slice(start, end), slice(j * self._outputs, (j + 1) * self._outputs)
            seen = tf.clip_by_value(z, -self._clip, self._clip)
            h = tf.nn.silu(tf.matmul(seen, first[:j, new]) + tf.matmul(c, context[:, new]) + bias[new])
            stages[0].append(h)
            for i, (kernel, shift) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
                h += tf.nn.silu(tf.matmul(tf.concat(stages[i], axis=1), kernel[:end, new]) + shift[new])
                stages[i + 1].append(h)
            raw = tf.matmul(tf.concat(stages[-1], axis=1), last[:end, out]) + last_bias[out]
            z = tf.concat([z, self._invert(raw, image[:, j])[:, None]], axis=1)
        return z

    def bijector(self, parameters: tf.Tensor, c: tf.Tensor, n_features: int) -> Any:
        """The flow of one member as a chain of TFP bijectors, from standard normal numbers to the cube.

        Args:
            parameters: Of one member, shape (P,), float64.
            c: Scaled mass, shape (n,), float64.
            n_features: Number of features d.

        Returns:
            A ``tfp.bijectors.Chain`` acting on shape (n, d).
        """
        context = c[:, None]
        flip = tfb.Permute(list(range(n_features))[::-1])
        chain = [tfb.NormalCDF()]
        for weights in self._split(parameters[None], n_features):
            layer = functools.partial(self._scalar_bijector, weights, context)
            chain += [tfb.MaskedAutoregressiveFlow(bijector_fn=layer), flip]
        return tfb.Chain(chain)

    def distribution(self, parameters: tf.Tensor, c: tf.Tensor, n_features: int) -> Any:
        """The density of one member on the open cube as a ``tfp.distributions.TransformedDistribution``.

        Args:
            parameters: Of one member, shape (P,), float64.
            c: Scaled mass, shape (n,), float64.
            n_features: Number of features d.

        Returns:
            A distribution of batch shape (n,) and event shape (d,).
        """
        zeros = tf.zeros((*c.shape, n_features), tf.float64)
        base = tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))
        return tfd.TransformedDistribution(base, self.bijector(parameters, c, n_features))

    def _split(self, parameters: tf.Tensor, d: int) -> list[list[tf.Tensor]]:
        """Cut (E, P) into the weights of each layer, every one with leading axis E and masked."""
        shapes = [shape for shape, _ in self._shapes(d)]
        masks = _masks(d, self.hidden, self._outputs)
        mask = {0: masks.first, len(shapes) - 2: masks.last, **{3 + 2 * b: masks.middle for b in range(self.blocks)}}
        pieces = iter(tf.split(parameters, [math.prod(shape) for shape in shapes] * self.layers, axis=1))
        layers = []
        for _ in range(self.layers):
            weights = [tf.reshape(next(pieces), (-1, *shape)) for shape in shapes]
            layers.append([w * tf.constant(mask[i], w.dtype) if i in mask else w for i, w in enumerate(weights)])
        return layers

    def _network(self, weights: Sequence[tf.Tensor], z: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        """Raw parameters of each feature's map, shape (E, n, d, outputs); row j depends on z_<j and c alone."""
        first, context, bias, *rest, last, last_bias = weights
        seen = tf.clip_by_value(z, -self._clip, self._clip)
        h = tf.nn.silu(tf.matmul(seen, first) + tf.matmul(c, context) + bias[:, None])
        for kernel, shift in zip(rest[::2], rest[1::2], strict=True):
            h += tf.nn.silu(tf.matmul(h, kernel) + shift[:, None])
        raw = tf.matmul(h, last) + last_bias[:, None]
        return tf.reshape(raw, tf.concat([tf.shape(raw)[:-1], [z.shape[-1], self._outputs]], axis=0))

    def _apply(self, raw: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Map z towards the normal space; returns the image and the logarithm of each slope."""
        if self.transform == "spline":
            sizes = spline_parameters(raw, bins=self.bins, bound=self.bound)
            return rational_quadratic(tf.broadcast_to(z, tf.shape(raw)[:-1]), *sizes, bound=self.bound)
        return (z - raw[..., 0]) * tf.exp(-raw[..., 1]), -raw[..., 1]

    def _invert(self, raw: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        """Undo `_apply` for one feature."""
        if self.transform == "spline":
            sizes = spline_parameters(raw, bins=self.bins, bound=self.bound)
            return inverse_rational_quadratic(image, *sizes, bound=self.bound)
        return image * tf.exp(raw[..., 1]) + raw[..., 0]

    def _scalar_bijector(self, weights: Sequence[tf.Tensor], context: tf.Tensor, z: tf.Tensor) -> Any:
        """What one layer does to each feature, given z, as TFP's MaskedAutoregressiveFlow asks for it."""
        raw = self._network(weights, z[None], context[None])[0]
        if self.transform == "spline":
            # TFP runs the density through `inverse`; the spline's closed form without root goes that way
            sizes = spline_parameters(raw, bins=self.bins, bound=self.bound)
            return tfb.Invert(tfb.RationalQuadraticSpline(*sizes, range_min=-self.bound))
        return tfb.Chain([tfb.Shift(raw[..., 0]), tfb.Scale(log_scale=raw[..., 1])])


class _FeatureBijector(tfb.Bijector):
    """A `FeatureTransform` for TFP, from the cube to the features; its forward direction is eager only."""

    def __init__(self, transform: FeatureTransform) -> None:
        super().__init__(forward_min_event_ndims=1, dtype=tf.float64, name="features")
        self._transform = transform

    def _forward(self, u: tf.Tensor) -> tf.Tensor:
        x = tf.constant(self._transform.inverse(np.reshape(u, (-1, u.shape[-1]))))
        return tf.reshape(x, u.shape)

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        return to_cube(self._transform.tables, x)[0]

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return to_cube(self._transform.tables, x)[1]


def tfp_distribution(flow: TrainedFlow, m: npt.ArrayLike) -> Any:
    """A trained `maf` as a distribution of TensorFlow Probability, made of its bijectors.

    Slower than the flow's own `log_prob` and `sample`; for code that is written against TFP.

    Args:
        flow: What `train_flow(..., flow=maf())` returned, or one of its `bootstraps` or `members`.
        m: Masses, shape (n,).

    Returns:
        A distribution over the features of batch shape (n,) and event shape (d,), to be used eagerly: a
        ``TransformedDistribution``, or a ``Mixture`` of them when the flow has several members.

    Raises:
        InputError: The flow is not a trained `maf`.
    """
    config = getattr(flow, "config", None)
    if not isinstance(config, MAFConfig):
        raise InputError.from_parts(
            expected="a flow trained with flow=maf(), or one of its bootstraps",
            got=f"a {type(flow).__name__} of {type(config).__name__}",
            do="pass one of flow.bootstraps",
        )
    c = tf.constant(flow.mass_scale(np.asarray(m, dtype=np.float64)))
    assert isinstance(flow.transform, FeatureTransform)  # `maf` takes no features with kinds
    outer = _FeatureBijector(flow.transform)
    members = [
        tfd.TransformedDistribution(config.distribution(tf.constant(row, tf.float64), c, len(flow.features)), outer)
        for row in flow.parameters.astype(np.float64)
    ]
    if len(members) == 1:
        return members[0]
    shares = tf.fill((*c.shape, len(members)), tf.constant(1.0 / len(members), tf.float64))
    return tfd.Mixture(tfd.Categorical(probs=shares), members)
