"""A trained net as a conditional density: transform to the cube, scale the mass, average the members."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hisigma_zfit.density.base import Arrays, ConditionalFlow, FlowConfig, blockwise, config_from_json
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.kinded_transform import KindedTransform, to_places, transform_from_json
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Float32, Mask
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.learn.kinded_transform import KindedTables
    from hisigma_zfit.learn.preprocess import FeatureTransform, Tables
    from hisigma_zfit.results import TrainingHistory

__all__ = ["MassScale", "TrainedFlow"]

BLOCK = 4096  # keeps the activations of a few members in the cache
WORTH_COMPILING = 300_000  # events by member: what XLA takes to compile is saved again by the fifth such call


@dataclass(frozen=True)
class MassScale:
    """Affine map of the mass to about [-1, 1], held constant far outside the training masses.

    A net extrapolates as it likes; a density that stays what it was at the last trained mass is normalised too.
    """

    centre: float
    half_width: float
    reach: float = 1.5

    @classmethod
    def fit(cls, m: Array) -> Self:
        """Map the central 99 % of the masses to [-1, 1]; a peak with long tails keeps its resolution."""
        low, high = np.quantile(m, [0.005, 0.995])
        # events of one mass: any width will do
        return cls(centre=float(0.5 * (low + high)), half_width=float(0.5 * (high - low)) or 1.0)

    def __call__(self, m: Any) -> Any:
        """Scale numpy arrays."""
        return scale_mass((self.centre, self.half_width, self.reach), m, clip=np.clip)


def scale_mass(scale: Any, m: Any, *, clip: Any = tf.clip_by_value) -> Any:
    """Scale masses by (centre, half width, reach)."""
    return clip((m - scale[0]) / scale[1], -scale[2], scale[2])


class TrainedFlow(ConditionalFlow):
    """Members of one `FlowConfig` that share the transform of the features: one bootstrap with its seeds.

    Its density is the arithmetic mean of the members' densities.
    """

    kind = "trained"

    def __init__(
        self,
        config: FlowConfig,
        transform: FeatureTransform | KindedTransform,
        mass_scale: MassScale,
        parameters: Float32,
        *,
        given: str,
        signal_region: SignalRegion | None = None,
        history: TrainingHistory | None = None,
    ) -> None:
        """Assemble a flow.

        Args:
            config: The net's recipe.
            transform: Map of the features to the cube.
            mass_scale: Map of the mass to the net's input.
            parameters: One row per member, shape (E, P).
            given: Name of the mass.
            signal_region: Masses left out in training.
            history: Loss of the training.
        """
        self.config, self.transform, self.mass_scale, self.parameters = config, transform, mass_scale, parameters
        self.features, self.given = transform.features, given
        self.signal_region, self.history = signal_region, history

    @property
    def atoms(self) -> dict[str, tuple[float, ...]]:
        """See `ConditionalFlow.atoms`."""
        return self.transform.atoms if isinstance(self.transform, KindedTransform) else {}

    @property
    def members(self) -> tuple[ConditionalFlow, ...]:
        """One flow per row of `parameters`."""
        if len(self.parameters) == 1:
            return (self,)
        return tuple(
            TrainedFlow(
                self.config,
                self.transform,
                self.mass_scale,
                row[None],
                given=self.given,
                signal_region=self.signal_region,
            )
            for row in self.parameters
        )

    @property
    def _state(self) -> tuple[Any, ...]:
        scale = self.mass_scale
        scales = np.array([scale.centre, scale.half_width, scale.reach])
        return self.transform.tables, scales, self.parameters.astype(np.float64)

    @cached_property
    def _tensors(self) -> tuple[Any, ...]:
        with tf.init_scope():  # first use may be while another graph is traced
            tables, scales, parameters = self._state
            return tf.nest.map_structure(tf.constant, tables), tf.constant(scales), tf.constant(parameters)

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        x, m = tf.convert_to_tensor(x, tf.float64), tf.convert_to_tensor(m, tf.float64)
        tables, scales, parameters = self._state
        return _mean_log_prob(self.config, parameters, *_prepare(self.config, tables, scales, x, m))

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        """See `ConditionalFlow.log_prob_array`; flows of equal configuration and size share a compiled function.

        300,000 events at a time, counted by member, are left to XLA, which is 1.7 times as fast and rounds otherwise:
        single precision's 1e-7, and some 1e-5 where a narrow map bends.
        """
        x, m = self.check(x, m)
        tables, scales, parameters = self._tensors
        many = len(x) * len(parameters) >= WORTH_COMPILING
        prepare, mean_log_prob = _compiled(self.config, xla=self.config.xla and (many or not self.config.fused))

        def log_prob(x: Array, m: Array) -> tf.Tensor:
            return mean_log_prob(parameters, *prepare(tables, scales, x, m))

        return blockwise(log_prob, x, m, block=BLOCK, least=BLOCK if many else BLOCK // 32, beside=True)

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`."""
        c = self.mass_scale(np.asarray(m, dtype=np.float64))
        rng = stream(seed, Purpose.FLOW)
        member = rng.integers(len(self.parameters), size=len(c))
        u = np.empty((len(c), len(self.features)))
        for e, row in enumerate(self.parameters.astype(np.float64)):
            chosen = member == e
            if chosen.any():
                u[chosen] = self.config.sample(row, c[chosen], rng, n_features=len(self.features))
        return self.transform.inverse(u)

    @property
    def domain(self) -> Array:
        """See `ConditionalFlow.domain`."""
        return np.asarray(self.transform.tables.limits)

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """See `ConditionalFlow.inside`."""
        del m
        return self.transform.inside(x)

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        scale = self.mass_scale
        structure = {
            "config": self.config.to_json(),
            "transform": self.transform.to_json(),
            "mass_scale": [scale.centre, scale.half_width, scale.reach],
        }
        return structure, {"parameters": self.parameters}

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> TrainedFlow:
        """See `ConditionalFlow.from_pack`."""
        config, transform = config_from_json(structure["config"]), transform_from_json(structure["transform"])
        parameters = arrays["parameters"]
        wanted = len(config.init(np.random.default_rng(0), len(transform.features)))
        if parameters.ndim != 2 or not len(parameters) or parameters.shape[1] != wanted:
            raise InputError.from_parts(
                expected=f"{wanted} parameters for each member of a stored density",
                got=f"an array of shape {parameters.shape}",
                do="train it again",
            )
        return cls(
            config,
            transform,
            MassScale(*structure["mass_scale"]),
            parameters,
            given=structure["given"],
        )


def _prepare(config: FlowConfig, tables: Tables | KindedTables, scales: Any, x: Any, m: Any) -> tuple[Any, tf.Tensor]:
    """What no member's parameters enter: the net's prepared events and log |du/dx|, shape (n,)."""
    u, log_jacobian = to_places(tables, x)
    return config.prepare(u, scale_mass(scales, m)), log_jacobian


def _mean_log_prob(config: FlowConfig, parameters: Any, prepared: Any, log_jacobian: tf.Tensor) -> tf.Tensor:
    """Log of the members' mean density, shape (n,)."""
    each = config.log_prob(tf.convert_to_tensor(parameters), prepared)
    n_members = tf.cast(tf.shape(each)[0], each.dtype)
    return tf.reduce_logsumexp(each, axis=0) - tf.math.log(n_members) + log_jacobian


@lru_cache
def _compiled(config: FlowConfig, *, xla: bool) -> tuple[Any, Any]:
    # Two functions: XLA would fuse the preparation into every member and repeat it for each.  The first one is cheap
    # and would take XLA three seconds to compile.
    prepare = tf.function(partial(_prepare, config), autograph=False)
    return prepare, tf.function(partial(_mean_log_prob, config), jit_compile=xla, autograph=False)
