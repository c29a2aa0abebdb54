"""A density that was learned in coordinates in which the edges of features stand still, as one of the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hisigma_zfit.density.base import Arrays, ConditionalFlow, pack_children, unpack_children
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.moving import Coordinates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["CoordinateFlow"]


class CoordinateFlow(ConditionalFlow):
    """p(x | m) = p(y | m) |dy/dx| with y the features relative to their moving edges; normalised where p(y | m) is.

    Args:
        inner: Density of the coordinates; its columns bear the features' names.
        coordinates: Which features are learned in another coordinate.

    Raises:
        InputError: The columns of the two are not the same.

    Example:
        >>> from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge
        >>> inner = hz.examples.flow("signal")  # pt of any size, angle in [0, 1]
        >>> edges = Coordinate("angle", Edge.fixed(0.0), Edge("pt", 0.0, 0.1))
        >>> flow = CoordinateFlow(inner, Coordinates(inner.features, inner.given, (edges,)))
        >>> x = flow.sample([125.0] * 1000, seed=1)
        >>> bool((x[:, 1] <= 0.1 * x[:, 0]).all())
        True
    """

    kind = "coordinates"

    def __init__(self, inner: ConditionalFlow, coordinates: Coordinates) -> None:
        if (inner.features, inner.given) != (coordinates.features, coordinates.given):
            raise InputError.from_parts(
                expected=f"coordinates of ({', '.join(inner.features)}) given {inner.given}",
                got=f"those of ({', '.join(coordinates.features)}) given {coordinates.given}",
                do="train and wrap with the same columns in the same order",
            )
        self.inner, self.coordinates = inner, coordinates
        self.features, self.given = inner.features, inner.given
        self.signal_region, self.history = inner.signal_region, inner.history

    @property
    def atoms(self) -> dict[str, tuple[float, ...]]:
        """Those of the inner density; such features are learned as they are."""
        return self.inner.atoms

    @property
    def bootstraps(self) -> tuple[ConditionalFlow, ...]:
        """Those of the inner density, in the features."""
        return self._wrapped(self.inner.bootstraps)

    @property
    def members(self) -> tuple[ConditionalFlow, ...]:
        """Every single trained net, in the features."""
        return self._wrapped(self.inner.members)

    def _wrapped(self, flows: tuple[ConditionalFlow, ...]) -> tuple[ConditionalFlow, ...]:
        if flows == (self.inner,):
            return (self,)
        return tuple(CoordinateFlow(flow, self.coordinates) for flow in flows)

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        x, m = tf.convert_to_tensor(x, tf.float64), tf.convert_to_tensor(m, tf.float64)
        columns = {self.given: m, **dict(zip(self.features, tf.unstack(x, axis=1), strict=True))}
        y, log_jacobian, room = dict(columns), tf.zeros_like(m), tf.ones_like(m, dtype=tf.bool)
        for coordinate in self.coordinates.changed:
            origin, length = coordinate.frame(columns, clip=tf.clip_by_value)
            length = tf.broadcast_to(tf.cast(length, tf.float64), tf.shape(m))
            room &= length > 0
            # a number that divides where there is no room: its gradient is masked, and has to be finite for that
            length = tf.where(length > 0, length, 1.0)
            y[coordinate.feature] = (columns[coordinate.feature] - origin) / length
            log_jacobian -= tf.math.log(length)
        stacked = tf.stack([y[name] for name in self.features], axis=1)
        return tf.where(room, self.inner.log_prob(stacked, m) + log_jacobian, tf.constant(-np.inf, tf.float64))

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        """See `ConditionalFlow.log_prob_array`; by the compiled functions of the inner density."""
        x, m = self.check(x, m)
        y, log_jacobian = self.coordinates.forward(x, m)
        return self.inner.log_prob_array(y, m) + log_jacobian

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`."""
        masses = np.asarray(m, dtype=np.float64)
        return self.coordinates.inverse(self.inner.sample(masses, seed=seed), masses)

    @property
    def domain(self) -> Array:
        """Smallest box that holds the domain, for any mass."""
        return self.coordinates.box([(low, high) for low, high in self.inner.domain.tolist()])

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """Tell which rows are in the domain at their masses; without masses, at every mass."""
        values = np.asarray(x, dtype=np.float64)
        masses = self.coordinates.masses if m is None else [m]
        masks = []
        for mass in masses:
            at = np.broadcast_to(np.asarray(mass, dtype=np.float64), (len(values),))
            y, log_jacobian = self.coordinates.forward(values, at)
            masks.append(self.inner.inside(y) & np.isfinite(log_jacobian))
        return np.logical_and.reduce(masks)

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        children, arrays = pack_children((self.inner,))
        return {"flows": children, "coordinates": self.coordinates.to_json()}, arrays

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> CoordinateFlow:
        """See `ConditionalFlow.from_pack`."""
        (inner,) = unpack_children(structure["flows"], arrays)
        return cls(inner, Coordinates.from_json(structure["coordinates"]))
