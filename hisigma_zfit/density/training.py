"""Train p(x | m) on events: several seeds, several redrawn samples, one call.

The density is that of members that see the events as they are, each without a fifth of them, which stops it before it
hurts; see `hisigma_zfit.learn.stopping`.  How far another sample would have moved it is told by trainings on resampled
events, each with its own marginals and seeds, as long as the members'.  All share the support of the features, which is
found once from all events: an event of the data set is inside every member's domain.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from hisigma_zfit.density.checked import checked_task
from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.kinded import KindedSplineConfig, for_kinds
from hisigma_zfit.density.stacks import Members, Resampled
from hisigma_zfit.density.trained import TrainedFlow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.kinded_transform import KindedTransform
from hisigma_zfit.learn.members import history_of, train_members
from hisigma_zfit.learn.recipe import recipe
from hisigma_zfit.learn.schedule import Schedule

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import zfit

    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow, FlowConfig
    from hisigma_zfit.density.stacks import TrainingTask
    from hisigma_zfit.learn.members import Progress
    from hisigma_zfit.learn.moving import Coordinates
    from hisigma_zfit.learn.preprocess import FeatureTransform
    from hisigma_zfit.learn.state import StackState
    from hisigma_zfit.results import TrainingHistory

__all__ = ["Value", "train_flow", "train_halves"]

_log = logging.getLogger(__name__)

SMALL = 10_000  # events from which on the default net has never been worse than a smaller one

Value = Literal["members", "bootstraps"]


def train_flow(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    *,
    given: zfit.Space | str,
    kinds: Mapping[str, str] | None = None,
    members: int = 1,
    bootstraps: int = 1,
    seed: int,
    flow: FlowConfig | None = None,
    epochs: float | None = None,
    preset: str = "standard",
    value: Value = "members",
    like: ConditionalFlow | None = None,
    name: str = "density",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ConditionalFlow:
    """Learn p(features | given) from events.

    How long is decided by events that a member has not seen, and with fewer than 10,000 events also whether a smaller
    net does better.  No density is worse on them than independent features.

    Args:
        data: Training events; event weights, if any, must not be negative.
        features: Space of the features or their names.  Finite limits are hard edges of the density's support;
            where there is none, edges and tails are found from the data.
        given: Space or name of the mass.
        kinds: What features are that are not continuous, by name: ``"integer"``, ``"spike:0"``, ``"periodic"`` and more
            in `hisigma_zfit.learn.kinds`.  State the same for signal and background, with the range of integers
            (``"integer:0:8"``) where one of them has more values.
        members: Trainings from different seeds on the same events, averaged.  Each leaves out a fifth of them.
        bootstraps: 1 for none.  B > 1 also trains on B resamples: each event has an independent Poisson(1) weight in
            each, see `bootstrap_weights`, and on each half of the events.  The spread of the one is the error of the
            training, and what the other are further off the bias of it; see `EnsembleFlow`.
        seed: The same seed, data and options give the same bits on the same machine.
        flow: Recipe from `spline_flow` or `maf`; by default that of `spline_flow`, or a smaller one if that is better.
        epochs: Passes over the events, at most; overrides the preset.
        preset: ``"quick"`` (2 epochs, one recipe), ``"standard"`` (5, with fewer than 100,000 events up to 20) or
            ``"paper"`` (20).
            With d > 4 features they are (d / 4)^1.5 times as many.  Fewer events end earlier.
        value: What the density is: ``"members"``, or ``"bootstraps"``, the average of all bootstraps with `members`
            nets each, as in arXiv:2506.06438.
        like: Density of much the same events, whose recipe and length are taken: of the nominal sample where this one
            is varied, so that the difference of the two is that of the events alone.
        name: What is trained, for the history and the progress bar.
        checkpoint: Folder that keeps the state of the training.  Called again with the same arguments after an
            interruption, the training resumes there and ends with the same bits; finished parts are not repeated.
        progress: Called with steps done and in total, possibly from other threads; an exception that it raises stops
            the training.  Without it, a bar is shown on terminals.

    Returns:
        The density; `bootstraps` and `members` give its parts, `history` its losses.

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
    _require_options(members=members, bootstraps=bootstraps, seed=seed, value=value)
    configs = _candidates(flow, like, SMALL if preset == "quick" else len(data))
    task, mass, coordinates = checked_task(
        data, features, given=given, seed=seed, config=configs[0], like=like, checkpoint=checkpoint, kinds=kinds
    )
    n = int(np.sum(~task.held_out))
    configs = tuple(for_kinds(config, task.kinds, n, task.supports) for config in configs)
    schedule = Schedule.plan(
        n, len(task.features), learning_rate=configs[0].learning_rate, preset=preset, epochs=epochs
    )
    judged = like is None
    if like is not None:
        schedule = replace(schedule, last=_history_of(like).kept_step)
    options: tuple[Any, ...] = (members, bootstraps, value, repr(schedule), coordinates.to_json())
    if any(task.kinds):
        options += ([str(kind) for kind in task.kinds],)
    shared: dict[str, Any] = {
        "name": name,
        "folder": checkpoint,
        "fingerprint": lambda: _fingerprint(task, configs, options),
        "progress": progress,
    }
    trainings = [
        Members(task, config, members, f"members-{k}" if k else "members", judged=judged)
        for k, config in enumerate(configs)
    ]
    states = train_members(trainings, schedule, **shared)
    best = min(range(len(states)), key=lambda k: _kept_loss(states[k]))
    state, config = states[best], configs[best]
    marginals = trainings[best].transform
    independent = 0.0
    if isinstance(marginals, KindedTransform) and isinstance(config, KindedSplineConfig):
        independent = config.independent(marginals)
    if judged:
        _tell(name, state, n, start=independent)
    place = _Place(task, mass, coordinates, data.region)
    trained: ConditionalFlow = place.flow(config, marginals, state)
    trained.history = history_of(
        name,
        state,
        steps_per_epoch=n / schedule.batch,
        recipe=json.dumps(config.to_json()),
        events=n,
        coordinates=tuple(map(str, coordinates.changed)),
        independent=independent,
    )
    if bootstraps == 1:
        return trained
    resampled = [
        Resampled(task, config, members if value == "bootstraps" else 1, bootstrap) for bootstrap in range(bootstraps)
    ]
    plan = replace(schedule, last=state.kept_step)
    if value == "bootstraps":
        redrawn = train_members(resampled, plan, **shared)
        mixture = MixtureFlow(place.flows(resampled, redrawn))
        mixture.history = trained.history
        return mixture
    halves, half_plan = _halves(task, config, members, {"preset": preset, "epochs": epochs})
    # together, so that no core waits for the last of either
    ends = train_members([*halves, *resampled], [half_plan] * len(halves) + [plan] * bootstraps, **shared)
    return EnsembleFlow(trained, place.flows(resampled, ends[len(halves) :]), place.flows(halves, ends[: len(halves)]))


def train_halves(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    *,
    given: zfit.Space | str,
    kinds: Mapping[str, str] | None = None,
    members: int = 1,
    seed: int,
    flow: FlowConfig | None = None,
    preset: str = "standard",
    name: str = "density",
) -> list[ConditionalFlow]:
    """The densities of both halves alone, as `train_flow` with bootstraps makes them, for studies of the bias.

    Args:
        data: Training events; at least 10,000, or a recipe in `flow`: nothing of the whole is needed then.
        features: As in `train_flow`.
        given: As in `train_flow`.
        kinds: As in `train_flow`.
        members: As in `train_flow`.
        seed: As in `train_flow`.
        flow: As in `train_flow`.
        preset: As in `train_flow`.
        name: What is trained.

    Returns:
        The same bits as the `halves` of `train_flow`.

    Raises:
        InputError: There are fewer events, or see `train_flow`.
    """
    configs = _candidates(flow, None, SMALL if preset == "quick" else len(data))
    if len(configs) > 1:
        raise InputError.from_parts(
            expected=f"at least {SMALL} events", got=f"{len(data)}", do="use train_flow, which chooses a recipe"
        )
    task, mass, coordinates = checked_task(
        data, features, given=given, seed=seed, config=configs[0], like=None, checkpoint=None, kinds=kinds
    )
    config = for_kinds(configs[0], task.kinds, int(np.sum(~task.held_out)), task.supports)
    place = _Place(task, mass, coordinates, data.region)
    halves, plan = _halves(task, config, members, {"preset": preset, "epochs": None})
    return place.flows(halves, train_members(halves, plan, name=name))


def _halves(
    task: TrainingTask, config: FlowConfig, members: int, plan: dict[str, Any]
) -> tuple[list[Members], Schedule]:
    """Trainings on both halves, and how long they are."""
    halves = [Members(task.half(number), config, members, f"half-{number}") for number in range(2)]
    n = int(np.sum(~task.held_out)) // 2
    return halves, Schedule.plan(n, len(task.features), learning_rate=config.learning_rate, **plan)


def _require_options(*, members: int, bootstraps: int, seed: int, value: str) -> None:
    for option, number in (("members", members), ("bootstraps", bootstraps)):
        if number < 1:
            raise InputError.from_parts(expected=f"{option} > 0", got=f"{number}", do="give a positive number")
    if seed < 0:
        raise InputError.from_parts(expected="seed >= 0", got=f"{seed}", do="give a non-negative integer")
    if value not in get_args(Value):
        raise InputError.from_parts(
            expected=f"value to be one of {', '.join(get_args(Value))}", got=repr(value), do="choose one"
        )


def _candidates(flow: FlowConfig | None, like: ConditionalFlow | None, n: int) -> tuple[FlowConfig, ...]:
    """Recipes of which the held-out events choose one; with many events the first has never been the worse."""
    if like is not None:
        leaf = like.members[0]
        if isinstance(leaf, CoordinateFlow):
            leaf = leaf.inner
        if not isinstance(leaf, TrainedFlow):
            raise InputError.from_parts(
                expected="a trained density to learn another like it", got=type(leaf).__name__, do="leave like= out"
            )
        return (leaf.config,)
    if flow is not None:
        return (flow,)
    return (spline_flow(), spline_flow(knots=8, bins=3, hidden=16)) if n < SMALL else (spline_flow(),)


def _history_of(flow: ConditionalFlow) -> TrainingHistory:
    if flow.history is None:
        raise InputError.from_parts(
            expected="the history of the density to learn another like it", got="none", do="leave like= out"
        )
    return flow.history


def _kept_loss(state: StackState) -> float:
    return dict(zip((step for step, _ in state.validations), state.check_losses, strict=True)).get(state.kept_step, 0.0)


def _tell(name: str, state: StackState, n: int, *, start: float) -> None:
    """Say how the training ended; warn where the events did not support all of it.

    `start` is the loss of independent features: 0 on the cube, and more where atoms have probabilities.
    """
    loss, step, last = _kept_loss(state) - start, state.kept_step, state.step
    if loss > 1e-3:  # the start is the uniform density up to the noise of its weights
        _log.warning(
            "%s: the density describes held-out events worse than independent features by %.3f nats; "
            "leave out the option flow, or train longer",
            name,
            loss,
        )
    elif step == 0:
        _log.warning(
            "%s: held-out events of %d support no dependence of the features on each other; "
            "they are taken as independent",
            name,
            n,
        )
    elif step < last:
        _log.warning(
            "%s: training was stopped after %d steps, from where the loss of held-out events rises: more than that the "
            "%d events do not support",
            name,
            step,
            n,
        )
    else:
        _log.info("%s: trained on %d events, held-out loss %.4f", name, n, loss)


@dataclass(frozen=True)
class _Place:
    """What all flows of one training have in common."""

    task: TrainingTask
    given: str
    coordinates: Coordinates
    region: SignalRegion | None

    def flow(
        self, config: FlowConfig, transform: FeatureTransform | KindedTransform, state: StackState
    ) -> ConditionalFlow:
        scale = self.task.mass_scale
        flow = TrainedFlow(config, transform, scale, state.result, given=self.given, signal_region=self.region)
        return CoordinateFlow(flow, self.coordinates) if self.coordinates.changed else flow

    def flows(self, trainings: Sequence[Members | Resampled], states: Sequence[StackState]) -> list[ConditionalFlow]:
        return [
            self.flow(training.config, training.transform, state)
            for training, state in zip(trainings, states, strict=True)
        ]


def _fingerprint(task: TrainingTask, configs: Sequence[FlowConfig], options: tuple[Any, ...]) -> str:
    """Hash of all that the result depends on."""
    digest = hashlib.sha256()
    for array in (task.x, task.m, task.weights, task.identity):
        digest.update(np.ascontiguousarray(array).tobytes())
    choices = [config.to_json() for config in configs]
    plain = [task.features, task.seed, repr(task.supports), repr(task.mass_scale), *options, choices]
    digest.update(json.dumps([*plain, [recipe(config) for config in configs]]).encode())
    return digest.hexdigest()
