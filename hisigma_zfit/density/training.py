"""Train p(x | m) on events: several seeds, several bootstraps, one call.

Every bootstrap has its own resampled events, its own marginals and its own seeds, which are trained as one stack;
bootstraps run on as many threads as there are cores.  All bootstraps share the support of the features, which is
found once from all events: an event of the data set is inside every member's domain.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.objective import NegativeLogDensity
from hisigma_zfit.density.trained import MassScale, TrainedFlow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.dependence import require_independent
from hisigma_zfit.learn.optimiser import Schedule, Stack, StackState, train_stack
from hisigma_zfit.learn.preprocess import FeatureTransform, Support
from hisigma_zfit.learn.resampling import ORDER, START, bootstrap_weights, held_out_mask
from hisigma_zfit.results import TrainingHistory

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.arrays import Array, Float32, Mask
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.base import ConditionalFlow, FlowConfig

__all__ = ["PASSES", "preset_epochs", "train_flow"]

_log = logging.getLogger(__name__)

# least and most passes over the events; between them, as many as make ENOUGH steps
PASSES = {"quick": (2.0, 2.0), "standard": (5.0, 20.0), "paper": (20.0, 20.0)}
ENOUGH = 1000
FEW_FEATURES = 4  # beyond them the conditionals have more to learn from, and train longer
BATCH = 512
MIN_STEPS = 300  # with few events an epoch is too short to forget the start
BLOCK = 65_536

Progress = Callable[[int, int], None]


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
    folder = None if checkpoint is None else Path(checkpoint)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with _reporting(progress, total=bootstraps * task.schedule.n_steps, name=name) as report:
        results = _run_all(task, folder, report)
    parts = [
        TrainedFlow(task.config, transform, task.mass_scale, state.average, given=task.given, signal_region=data.region)
        for transform, state in results
    ]
    trained: ConditionalFlow = parts[0] if bootstraps == 1 else MixtureFlow(parts)
    trained.history = _history(name, [state for _, state in results], steps_per_epoch=task.steps_per_epoch)
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
    held_out: Mask
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
        if preset not in PASSES:
            raise InputError.from_parts(
                expected=f"preset {', '.join(PASSES)}", got=repr(preset), do="choose one of them or give epochs"
            )
        for option, value in (("members", members), ("bootstraps", bootstraps), ("epochs", epochs)):
            if value is not None and not value > 0:
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
        x, m, weights = x[used], m[used], weights[used]
        supports = tuple(
            Support.infer(x[:, j], name=column, limits=limits)
            for j, (column, limits) in enumerate(zip(names, _limits(features, len(names)), strict=True))
        )
        require_independent(x, m, names, mass[0])
        held_out = held_out_mask(len(x), seed=seed)
        n_held_out = int(held_out.sum())
        config = spline_flow() if flow is None else flow
        n_trained = len(x) - n_held_out
        if epochs is None:
            epochs = preset_epochs(preset, n_trained, len(names))
        n_steps = max(int(np.ceil(epochs * n_trained / BATCH)), MIN_STEPS)
        return cls(
            x=x,
            m=m,
            weights=weights,
            held_out=held_out,
            features=names,
            given=mass[0],
            supports=supports,
            mass_scale=MassScale.fit(m),
            config=config,
            schedule=Schedule(n_steps=n_steps, batch=BATCH, learning_rate=config.learning_rate),
            members=members,
            bootstraps=bootstraps,
            seed=seed,
        )

    @property
    def steps_per_epoch(self) -> float:
        return float(np.sum(~self.held_out) / BATCH)

    def fingerprint(self) -> str:
        """Hash of all that the result depends on."""
        digest = hashlib.sha256()
        for array in (self.x, self.m, self.weights):
            digest.update(np.ascontiguousarray(array).tobytes())
        options = [
            self.features,
            self.given,
            self.members,
            self.bootstraps,
            self.seed,
            repr(self.schedule),
            tf.__version__,
        ]
        digest.update(json.dumps([*options, repr(self.supports), self.config.to_json()]).encode())
        return digest.hexdigest()


def preset_epochs(preset: str, n_events: int, n_features: int) -> float:
    """Passes over the events; what they do for few events and many features is measured in docs/study.md."""
    least, most = PASSES[preset]
    passes = min(max(ENOUGH * BATCH / max(n_events, 1), least), most)
    return passes * max(1.0, n_features / FEW_FEATURES) ** 1.5


def _names(columns: zfit.Space | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(getattr(columns, "obs", columns))


def _limits(columns: zfit.Space | Sequence[str], n: int) -> list[tuple[float, float]]:
    if not getattr(columns, "has_limits", False):
        return [(-np.inf, np.inf)] * n
    space: Any = columns
    return [(float(low), float(high)) for low, high in zip(space.v1.lower, space.v1.upper, strict=True)]


def _run_all(
    task: _Task, folder: Path | None, report: Callable[[int], None]
) -> list[tuple[FeatureTransform, StackState]]:
    """Train every bootstrap; the first exception, or Ctrl-C, stops all of them after their current chunk."""
    stopped = threading.Event()
    fingerprint = task.fingerprint() if folder is not None else ""

    def on_progress(n: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        report(n)

    def run(bootstrap: int) -> tuple[FeatureTransform, StackState]:
        checkpoint = None if folder is None else (folder / f"bootstrap-{bootstrap:03d}.npz", fingerprint)
        return _run_one(task, bootstrap, checkpoint, on_progress)

    with ThreadPoolExecutor(min(task.bootstraps, _cores())) as pool:
        futures = [pool.submit(run, bootstrap) for bootstrap in range(task.bootstraps)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _cores() -> int:
    # the cores that this process may use, where the system tells; a container may have fewer than the machine
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _StoppedError(Exception):
    """Another bootstrap failed or the user interrupted."""


def _run_one(
    task: _Task, bootstrap: int, checkpoint: tuple[Path, str] | None, on_progress: Callable[[int], None]
) -> tuple[FeatureTransform, StackState]:
    """Train the members of one bootstrap, or resume them."""
    weights = task.weights
    if task.bootstraps > 1:
        weights = weights * bootstrap_weights(task.seed, bootstrap, len(weights))
    drawn = (weights > 0) & ~task.held_out
    transform = FeatureTransform.fit(task.x[drawn], task.features, supports=task.supports, weights=weights[drawn])
    if checkpoint is not None and checkpoint[0].exists():
        state = StackState.load(*checkpoint)
        on_progress(state.step)
        if state.step >= task.schedule.n_steps:
            return transform, state
    else:
        seeds = ([task.seed, START, bootstrap, member] for member in range(task.members))
        state = StackState.start(
            np.stack([task.config.init(np.random.default_rng(s), len(task.features)) for s in seeds])
        )
    stack = Stack(
        objective=NegativeLogDensity(task.config),
        events=_prepare(task, transform, drawn),
        weights=_mean_one(weights[drawn]),
        held_out=_prepare(task, transform, task.held_out),
        held_out_weights=_mean_one(task.weights[task.held_out]),
        order_seed=(task.seed, ORDER, bootstrap),
    )
    return transform, train_stack(stack, task.schedule, state, checkpoint=checkpoint, on_progress=on_progress)


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


def _history(name: str, states: Sequence[StackState], *, steps_per_epoch: float) -> TrainingHistory:
    """Join the records of all bootstraps, which were taken at the same steps."""

    def joined(records: Sequence[list[tuple[int, Array]]]) -> tuple[Array, Array]:
        steps = np.array([step for step, _ in records[0]], dtype=np.float64)
        return steps, np.concatenate([np.array([losses for _, losses in each]).T for each in records])

    steps, train = joined([state.losses for state in states])
    validation_steps, validation = joined([state.validations for state in states])
    return TrainingHistory(
        name=name,
        steps=steps,
        epochs=steps / steps_per_epoch,
        train=train,
        validation=validation,
        validation_steps=validation_steps,
    )


@contextmanager
def _reporting(progress: Progress | None, *, total: int, name: str) -> Iterator[Callable[[int], None]]:
    """Yield what workers call with the number of steps they took: the user's callback, a bar, or nothing."""
    lock = threading.Lock()
    done = 0

    def count(report: Progress) -> Callable[[int], None]:
        def add(n: int) -> None:
            nonlocal done
            with lock:
                done += n
                now = done
            report(now, total)

        return add

    if progress is not None:
        yield count(progress)
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"training {name}", total=total)
            yield count(lambda now, _: bar.update(task, completed=now))
    else:
        yield count(lambda _now, _total: None)
