"""A density with what its training might as well have given: one value, and redrawn trainings that tell its error.

Trainings on resampled events are noisier than one on the events themselves, and their average is no better than any of
them where it matters; so they do not enter the density.  What they tell is how far another sample would have moved it.
Trainings on half of the events tell how much is wrong because there are not more of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.density.base import Arrays, ConditionalFlow, pack_children, unpack_children
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import tensorflow as tf

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["EnsembleFlow"]


class EnsembleFlow(ConditionalFlow):
    """The density of trainings on the events as they are, beside those on redrawn events.

    Attributes:
        value: The density.
        bootstraps: The same from redrawn events.
        halves: The same from each half of the events; none, or two.
    """

    kind = "ensemble"

    def __init__(
        self, value: ConditionalFlow, bootstraps: Sequence[ConditionalFlow], halves: Sequence[ConditionalFlow] = ()
    ) -> None:
        """Put them together.

        Raises:
            InputError: There are no redrawn trainings, or they have other columns.
        """
        if not bootstraps:
            raise InputError.from_parts(
                expected="redrawn trainings", got="none", do="use the density itself where there are none"
            )
        for flow in (*bootstraps, *halves):
            if (flow.features, flow.given) != (value.features, value.given):
                raise InputError.from_parts(
                    expected=f"redrawn trainings of ({', '.join(value.features)}) given {value.given}",
                    got=f"one of ({', '.join(flow.features)}) given {flow.given}",
                    do="train them on the same columns in the same order",
                )
        self.value, self._bootstraps, self.halves = value, tuple(bootstraps), tuple(halves)
        self.features, self.given = value.features, value.given
        self.signal_region, self.history = value.signal_region, value.history

    @property
    def bootstraps(self) -> tuple[ConditionalFlow, ...]:
        """The density from each redrawn sample."""
        return self._bootstraps

    @property
    def members(self) -> tuple[ConditionalFlow, ...]:
        """Every net of the density, none of the redrawn ones."""
        return self.value.members

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        return self.value.log_prob(x, m)

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        """See `ConditionalFlow.log_prob_array`."""
        return self.value.log_prob_array(x, m)

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`."""
        return self.value.sample(m, seed=seed)

    @property
    def domain(self) -> Array:
        """See `ConditionalFlow.domain`."""
        return self.value.domain

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """See `ConditionalFlow.inside`."""
        return np.asarray(self.value.inside(x, m), dtype=bool)

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        children, arrays = pack_children((self.value, *self._bootstraps, *self.halves))
        return {"flows": children, "halves": len(self.halves)}, arrays

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> EnsembleFlow:
        """See `ConditionalFlow.from_pack`."""
        value, *others = unpack_children(structure["flows"], arrays)
        n = len(others) - structure["halves"]
        return cls(value, others[:n], others[n:])
