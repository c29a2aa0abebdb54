"""Train p(x | m) on events: several seeds, several bootstraps, one call.

Every bootstrap has its own resampled events, its own marginals and its own seeds, which are trained as one stack;
bootstraps run on as many threads as there are cores.  All bootstraps share the support of the features, which is
found once from all events: an event of the data set is inside every member's domain.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.objective import LogDensity
from hisigma_zfit.density.trained import MassScale, TrainedFlow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.dependence import require_independent
from hisigma_zfit.learn.members import joint_history, train_members
from hisigma_zfit.learn.optimiser import Stack
from hisigma_zfit.learn.preprocess import FeatureTransform, Support
from hisigma_zfit.learn.recipe import recipe
from hisigma_zfit.learn.resampling import bootstrap_weights, event_order, held_out_mask, validation_mask
from hisigma_zfit.learn.schedule import Schedule
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import zfit

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.base import ConditionalFlow, FlowConfig
    from hisigma_zfit.learn.members import Progress

__all__ = ["train_flow"]

_log = logging.getLogger(__name__)

BLOCK = 65_536


def train_flow(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    *,
    given: zfit.Space | str,
    members: int = 1,
    bootstraps: int = 1,
    seed: int,
    flow: FlowConfig | None = None,
    epochs: float | None = None,
    preset: str = "standard",
    name: str = "density",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ConditionalFlow:
    """Learn p(features | given) from events.

    Args:
        data: Training events; event weights, if any, must not be negative.
        features: Space of the features or their names.  Finite limits are hard edges of the density's support;
            where there is none, edges and tails are found from the data.
        given: Space or name of the mass.
        members: Trainings from different seeds on the same events.
        bootstraps: 1 trains on the events as they are.  B > 1 trains on B resamples: each event has an independent
            Poisson(1) weight in each, see `bootstrap_weights`.
        seed: The same seed, data and options give the same bits on the same machine.
        flow: Recipe from `spline_flow` (default) or `maf`.
        epochs: Passes over the events; overrides the preset.
        preset: ``"quick"`` (2 epochs), ``"standard"`` (5, with fewer than 100,000 events up to 20) or ``"paper"`` (20).
            With d > 4 features they are (d / 4)^1.5 times as many.
        name: What is trained, for the history and the progress bar.
        checkpoint: Folder that keeps the state of the training.  Called again with the same arguments after an
            interruption, the training resumes there and ends with the same bits; finished bootstraps are not repeated.
        progress: Called with steps done and in total, possibly from other threads; an exception that it raises stops
            the training.  Without it, a bar is shown on terminals.

    Returns:
        The mixture of all members; `bootstraps` and `members` give its parts, `history` its losses.

    Raises:
        InputError: A column is missing, constant, discrete or outside its limits, a feature is a function of the
            others, a weight is negative, an option is out of its range, or the checkpoint belongs to another training.

    Example:
        >>> small = hz.spline_flow(knots=8, bins=0, hidden=8, layers=1)
        >>> options = {"flow": small, "preset": "quick", "seed": 1}
        >>> flow = hz.train_flow(hz.examples.simulation(), ["angle"], given="m", **options)
        >>> float(flow.sample(np.full(20_000, 125.0), seed=1).mean())  # true 2/3
        0.67
    """
    task = _Task.check(
        data,
        features,
        given=given,
        members=members,
        bootstraps=bootstraps,
        seed=seed,
        flow=flow,
        epochs=epochs,
        preset=preset,
    )
    trainings = [_Bootstrap(task, bootstrap) for bootstrap in range(bootstraps)]
    states = train_members(
        trainings, task.schedule, name=name, folder=checkpoint, fingerprint=task.fingerprint, progress=progress
    )
    parts = [
        TrainedFlow(
            task.config,
            training.transform,
            task.mass_scale,
            state.average,
            given=task.given,
            signal_region=data.region,
        )
        for training, state in zip(trainings, states, strict=True)
    ]
    trained: ConditionalFlow = parts[0] if bootstraps == 1 else MixtureFlow(parts)
    trained.history = joint_history(name, states, steps_per_epoch=task.steps_per_epoch)
    _log.info(
        "%s: %d x %d members trained on %d events, validation loss %.4f",
        name,
        bootstraps,
        members,
        len(task.x),
        float(np.mean(trained.history.validation[:, -1])) if trained.history.validation is not None else np.nan,
    )
    return trained


@dataclass(frozen=True)
class _Task:
    """Checked input of `train_flow`."""

    x: Array
    m: Array
    weights: Array
    identity: Integers
    held_out: Mask
    validates: Mask
    features: tuple[str, ...]
    given: str
    supports: tuple[Support, ...]
    mass_scale: MassScale
    config: FlowConfig
    schedule: Schedule
    members: int
    bootstraps: int
    seed: int

    @classmethod
    def check(
        cls,
        data: Dataset,
        features: zfit.Space | Sequence[str],
        *,
        given: zfit.Space | str,
        members: int,
        bootstraps: int,
        seed: int,
        flow: FlowConfig | None,
        epochs: float | None,
        preset: str,
    ) -> _Task:
        """Check everything before anything is trained."""
        for option, value in (("members", members), ("bootstraps", bootstraps)):
            if value < 1:
                raise InputError.from_parts(expected=f"{option} > 0", got=f"{value}", do="give a positive number")
        if seed < 0:
            raise InputError.from_parts(expected="seed >= 0", got=f"{seed}", do="give a non-negative integer")
        names, mass = _names(features), _names(given)
        if len(mass) != 1 or mass[0] in names or len(set(names)) != len(names) or not names:
            raise InputError.from_parts(
                expected="distinct features and one mass that is not among them",
                got=f"features ({', '.join(names)}) given ({', '.join(mass)})",
                do="name each column once",
            )
        x, m = data.array(names), data[mass[0]]
        weights = np.ones(len(x)) if data.weights is None else data.require_nonnegative_weights().weights
        assert weights is not None
        used = weights > 0
        x, m, weights, identity = x[used], m[used], weights[used], data.identity[used]
        supports = tuple(
            Support.infer(x[:, j], name=column, limits=limits)
            for j, (column, limits) in enumerate(zip(names, _limits(features, len(names)), strict=True))
        )
        require_independent(x, m, names, mass[0])
        held_out = held_out_mask(identity, seed=seed)
        config = spline_flow() if flow is None else flow
        schedule = Schedule.plan(
            int(np.sum(~held_out)), len(names), learning_rate=config.learning_rate, preset=preset, epochs=epochs
        )
        return cls(
            x=x,
            m=m,
            weights=weights,
            identity=identity,
            held_out=held_out,
            validates=validation_mask(identity, seed=seed),
            features=names,
            given=mass[0],
            supports=supports,
            mass_scale=MassScale.fit(m),
            config=config,
            schedule=schedule,
            members=members,
            bootstraps=bootstraps,
            seed=seed,
        )

    @property
    def steps_per_epoch(self) -> float:
        return float(np.sum(~self.held_out) / self.schedule.batch)

    def fingerprint(self) -> str:
        """Hash of all that the result depends on."""
        digest = hashlib.sha256()
        for array in (self.x, self.m, self.weights, self.identity):
            digest.update(np.ascontiguousarray(array).tobytes())
        options = [
            self.features,
            self.given,
            self.members,
            self.bootstraps,
            self.seed,
            repr(self.schedule),
            repr(self.supports),
            self.config.to_json(),
            recipe(self.config),
        ]
        digest.update(json.dumps(options).encode())
        return digest.hexdigest()


def _names(columns: zfit.Space | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(getattr(columns, "obs", columns))


def _limits(columns: zfit.Space | Sequence[str], n: int) -> list[tuple[float, float]]:
    if not getattr(columns, "has_limits", False):
        return [(-np.inf, np.inf)] * n
    space: Any = columns
    return [(float(low), float(high)) for low, high in zip(space.v1.lower, space.v1.upper, strict=True)]


@dataclass(frozen=True)
class _Bootstrap:
    """The members of one bootstrap, as `train_members` trains them."""

    task: _Task
    bootstrap: int

    @property
    def name(self) -> str:
        return f"bootstrap-{self.bootstrap:03d}"

    @cached_property
    def _weights(self) -> Array:
        """Of all events, held-out ones too."""
        task = self.task
        if task.bootstraps == 1:
            return task.weights
        return task.weights * bootstrap_weights(task.seed, self.bootstrap, task.identity)

    @property
    def _drawn(self) -> Mask:
        return (self._weights > 0) & ~self.task.held_out

    @cached_property
    def transform(self) -> FeatureTransform:
        """Map of the features to the cube, from the events of this bootstrap."""
        task, drawn = self.task, self._drawn
        return FeatureTransform.fit(task.x[drawn], task.features, supports=task.supports, weights=self._weights[drawn])

    def start(self) -> Float32:
        """See `Training.start`."""
        task = self.task
        streams = (stream(task.seed, Purpose.START, self.bootstrap, member) for member in range(task.members))
        return np.stack([task.config.init(rng, len(task.features)) for rng in streams])

    def stack(self) -> Stack:
        """See `Training.stack`."""
        task, drawn = self.task, self._drawn
        return Stack(
            objective=LogDensity(task.config),
            events=_prepare(task, self.transform, drawn),
            weights=_mean_one(self._weights[drawn]),
            held_out=_prepare(task, self.transform, task.validates),
            held_out_weights=_mean_one(task.weights[task.validates]),
            order=partial(event_order, task.identity[drawn], seed=task.seed, bootstrap=self.bootstrap),
        )


def _mean_one(weights: Array) -> Float32:
    return (weights / weights.mean()).astype(np.float32)


def _prepare(task: _Task, transform: FeatureTransform, rows: Mask) -> tuple[Any, ...]:
    """Compute the net's inputs of the chosen events once for all steps, in blocks to bound the memory."""
    x, c = task.x[rows], task.mass_scale(task.m[rows]).astype(np.float32)
    blocks = []
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        u = transform.forward(x[part])[0].astype(np.float32)
        blocks.append([np.asarray(a) for a in task.config.prepare(tf.constant(u), tf.constant(c[part]))])
    return tuple(np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
