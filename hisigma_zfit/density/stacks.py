"""What a density is trained on: the events as they are, each member without a part of them, or resampled events.

Both are `Training`s for `train_members`; `TrainingTask` is what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hisigma_zfit.arrays import room_for, taken
from hisigma_zfit.density.kinded import KindedSplineConfig
from hisigma_zfit.density.objective import LogDensity
from hisigma_zfit.learn.kinded_transform import KindedTransform, fit_transform
from hisigma_zfit.learn.optimiser import HeldOut, Stack
from hisigma_zfit.learn.resampling import FOLDS, MAX_VALIDATED, bootstrap_weights, event_order, fold_of, half_of
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.density.base import FlowConfig
    from hisigma_zfit.density.trained import MassScale
    from hisigma_zfit.learn.kinded_transform import Kinds
    from hisigma_zfit.learn.preprocess import FeatureTransform, Support

__all__ = ["Members", "Resampled", "TrainingTask"]

BLOCK = 65_536
LANES = 1024  # any multiple of what a processor computes at once
MAX_JUDGING = 8192  # left out by each of five: differences of their mean loss are known to a tenth of the tolerance
FEW = 20_000  # below them five per cent of held-out events tell too little, and even a single member leaves out a fifth


@dataclass(frozen=True)
class TrainingTask:
    """Events of a training, checked.

    Attributes:
        x: Features, shape (n, d).
        m: Masses, shape (n,).
        weights: Positive event weights, shape (n,).
        identity: Of the events, shape (n,).
        held_out: Events that nothing is trained with, shape (n,).
        validates: Those of them that validate, shape (n,).
        features: Names of the columns of `x`.
        supports: Of each feature.
        mass_scale: Map of the mass to the nets' input.
        seed: Of everything that is random.
        kinds: Of each feature; none where all are continuous.
    """

    x: Array
    m: Array
    weights: Array
    identity: Integers
    held_out: Mask
    validates: Mask
    features: tuple[str, ...]
    supports: tuple[Support, ...]
    mass_scale: MassScale
    seed: int
    kinds: Kinds = ()

    def half(self, number: int) -> TrainingTask:
        """The same of one half of the events, number 0 or 1; no event is in both."""
        rows = half_of(self.identity, seed=self.seed) == number
        arrays = ("x", "m", "weights", "identity", "held_out", "validates")
        own: dict[str, Any] = {name: taken(getattr(self, name), rows) for name in arrays}
        return replace(self, **own)

    def transform(self, rows: Mask, weights: Array) -> FeatureTransform | KindedTransform:
        """Marginals of the chosen events with weights of shape (n,), all of the events' number."""
        return fit_transform(
            taken(self.x, rows), self.features, supports=self.supports, weights=weights[rows], kinds=self.kinds
        )

    def prepared(
        self, config: FlowConfig, transform: FeatureTransform | KindedTransform, rows: Integers | Mask
    ) -> tuple[Any, ...]:
        """The nets' inputs of the chosen events, once for all steps; in blocks, to bound the memory."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        found: tuple[Any, ...] = ()
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            u = transform.forward(self.x[part])[0].astype(np.float32)
            own = self.mass_scale(self.m[part]).astype(np.float32)
            # filled up: what is left over behind the last whole vector is rounded otherwise, whichever events these are
            padding = ((0, -len(own) % LANES), (0, 0))
            prepared = config.prepare(
                tf.constant(np.pad(u, padding, mode="edge")), tf.constant(np.pad(own, padding[0], mode="edge"))
            )
            blocks = [np.asarray(array)[: len(own)] for array in prepared]
            found = found or tuple(room_for((len(rows), *block.shape[1:]), block.dtype) for block in blocks)
            for array, block in zip(found, blocks, strict=True):
                array[start : start + len(own)] = block
        return found

    def starts(
        self, config: FlowConfig, transform: FeatureTransform | KindedTransform, *, bootstrap: int, members: int
    ) -> Float32:
        """Starting parameters, shape (members, P), at which the features are independent."""
        streams = (stream(self.seed, Purpose.START, bootstrap, member) for member in range(members))
        parameters = np.stack([config.init(rng, len(self.features)) for rng in streams])
        if isinstance(config, KindedSplineConfig) and isinstance(transform, KindedTransform):
            return config.with_shares(parameters, transform)
        return parameters


@dataclass(frozen=True)
class Members:
    """Members that see the events as they are, but for a fifth of them, another one for each of five.

    What a member has not seen stops its training, and together they have seen everything.  A single member of a large
    sample leaves out nothing but what all leave out.

    Attributes:
        task: The events.
        config: Recipe of the nets.
        members: How many.
        name: Of the checkpoint.
        judged: Whether held-out events are looked at.
    """

    task: TrainingTask
    config: FlowConfig
    members: int
    name: str
    judged: bool = True

    @cached_property
    def transform(self) -> FeatureTransform | KindedTransform:
        """Map of the features to the cube."""
        return self.task.transform(~self.task.held_out, self.task.weights)

    @property
    def crossed(self) -> bool:
        """Whether the members leave out parts."""
        return self.members > 1 or int(np.sum(~self.task.held_out)) < FEW

    def start(self) -> Float32:
        """See `Training.start`."""
        return self.task.starts(self.config, self.transform, bootstrap=0, members=self.members)

    def stack(self) -> Stack:
        """See `Training.stack`."""
        task = self.task
        rows = np.flatnonzero(~task.held_out)
        folds = fold_of(task.identity[rows], seed=task.seed)
        left_out = np.arange(self.members) % FOLDS
        parts = [rows[folds == fold] for fold in left_out] if self.crossed else [np.flatnonzero(task.validates)]
        return Stack(
            objective=LogDensity(self.config),
            events=task.prepared(self.config, self.transform, rows),
            weights=mean_one(task.weights[rows]),
            held_out=tuple(self._held_out(part) for part in parts) if self.judged else (),
            order=partial(event_order, task.identity[rows], seed=task.seed, bootstrap=0),
            folds=folds if self.crossed else None,
            left_out=left_out if self.crossed else None,
        )

    def _held_out(self, rows: Integers) -> HeldOut:
        most = MAX_JUDGING if self.crossed else MAX_VALIDATED
        chosen = rows[:: len(rows) // most + 1]  # from all over the file, which may be in some order
        if not len(chosen):  # a handful of events, of which none is in this part
            chosen = np.flatnonzero(self.task.validates)
        prepared = self.task.prepared(self.config, self.transform, chosen)
        return HeldOut(prepared, mean_one(self.task.weights[chosen]))


@dataclass(frozen=True)
class Resampled:
    """Members that see one resample of the events, with marginals of its own.

    Attributes:
        task: The events.
        config: Recipe of the nets.
        members: How many.
        bootstrap: Number of the resample.
    """

    task: TrainingTask
    config: FlowConfig
    members: int
    bootstrap: int

    @property
    def name(self) -> str:
        """Of the checkpoint."""
        return f"bootstrap-{self.bootstrap:03d}"

    @cached_property
    def _weights(self) -> Array:
        """Of all events, held-out ones too."""
        return self.task.weights * bootstrap_weights(self.task.seed, self.bootstrap, self.task.identity)

    @property
    def _drawn(self) -> Mask:
        return (self._weights > 0) & ~self.task.held_out

    @cached_property
    def transform(self) -> FeatureTransform | KindedTransform:
        """Map of the features to the cube, from the events of this resample."""
        return self.task.transform(self._drawn, self._weights)

    def start(self) -> Float32:
        """See `Training.start`."""
        return self.task.starts(self.config, self.transform, bootstrap=self.bootstrap + 1, members=self.members)

    def stack(self) -> Stack:
        """See `Training.stack`."""
        task, drawn = self.task, self._drawn
        return Stack(
            objective=LogDensity(self.config),
            events=task.prepared(self.config, self.transform, drawn),
            weights=mean_one(self._weights[drawn]),
            held_out=(),
            order=partial(event_order, task.identity[drawn], seed=task.seed, bootstrap=self.bootstrap + 1),
        )


def mean_one(weights: Array) -> Float32:
    """Weights whose mean is one, shape (n,)."""
    return (weights / weights.mean()).astype(np.float32)
