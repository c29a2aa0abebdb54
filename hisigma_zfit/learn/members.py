"""Trains many stacks of members at once: on all cores, with progress, and so that nothing is lost by an interruption.

What is learned does not matter here.  A `Training` says where a stack starts and what it sees; `train_members` runs
all of them, and resumes those that a checkpoint folder knows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hisigma_zfit.console.progress import counted
from hisigma_zfit.learn.elsewhere import run_elsewhere
from hisigma_zfit.learn.optimiser import Stack, train_stack
from hisigma_zfit.learn.state import StackState
from hisigma_zfit.results import TrainingHistory
from hisigma_zfit.threads import available

if TYPE_CHECKING:
    import os

    from hisigma_zfit.arrays import Array, Float32
    from hisigma_zfit.learn.schedule import Schedule

__all__ = ["Progress", "Training", "history_of", "reporting", "train_members"]

Progress = Callable[[int, int], None]


class Training(Protocol):
    """One stack among several, for example the members of one bootstrap."""

    @property
    def name(self) -> str:
        """Name of its checkpoint: distinct among the trainings that share a folder."""

    def start(self) -> Float32:
        """Starting parameters of the members, shape (E, P); not asked for when the training resumes."""

    def stack(self) -> Stack:
        """What the members are trained on; not asked for when the training is already complete."""


def train_members(
    trainings: Sequence[Training],
    schedule: Schedule | Sequence[Schedule],
    *,
    name: str,
    folder: str | os.PathLike[str] | None = None,
    fingerprint: Callable[[], str] = lambda: "",
    progress: Progress | None = None,
) -> list[StackState]:
    """Train all stacks, on as many threads as there are cores, or where `hisigma_zfit.learn.elsewhere` says.

    Args:
        trainings: The stacks; the longest ones first keep all cores busy.
        schedule: How long each of them is trained, or one for each.
        name: What is trained, for the progress bar.
        folder: Keeps the state of every training.  Called again with the same arguments after an interruption, the
            trainings resume there and end with the same bits; complete ones are not repeated.
        fingerprint: Hash of all that the result depends on; asked for only where there is a folder.
        progress: Called with steps done and in total, possibly from other threads; an exception that it raises stops
            the trainings.  Without it, a bar is shown on terminals.

    Returns:
        The final states, in the order of `trainings`.

    Raises:
        InputError: The folder belongs to another training.
    """
    place = None if folder is None else Path(folder)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    schedules = list(schedule) if isinstance(schedule, Sequence) else [schedule] * len(trainings)
    with reporting(progress, total=sum(each.end for each in schedules), name=name) as report:
        given = (trainings, schedules, place, fingerprint() if place is not None else "", report)
        found = run_elsewhere(*given)
        return _run_all(*given) if found is None else found


def _run_all(
    trainings: Sequence[Training],
    schedules: Sequence[Schedule],
    folder: Path | None,
    fingerprint: str,
    report: Callable[[int], None],
) -> list[StackState]:
    """The first exception, or Ctrl-C, stops all trainings after their current chunk."""
    stopped = threading.Event()
    # few trainings share the cores among their members
    threads = max(available() // len(trainings), 1)

    def on_progress(n: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        report(n)

    def run(training: Training, schedule: Schedule) -> StackState:
        checkpoint = None if folder is None else (folder / f"{training.name}.npz", fingerprint)
        return _run_one(training, schedule, checkpoint, on_progress, threads)

    with ThreadPoolExecutor(min(len(trainings), available())) as pool:
        futures = [pool.submit(run, *each) for each in zip(trainings, schedules, strict=True)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]


class _StoppedError(Exception):
    """Another training failed or the user interrupted."""


def _run_one(
    training: Training,
    schedule: Schedule,
    checkpoint: tuple[Path, str] | None,
    on_progress: Callable[[int], None],
    threads: int,
) -> StackState:
    """Train one stack, or resume it."""
    if checkpoint is not None and checkpoint[0].exists():
        state = StackState.load(*checkpoint)
        on_progress(state.step)
        if state.complete:
            return state
    else:
        state = StackState.start(training.start())
    return train_stack(
        training.stack(), schedule, state, checkpoint=checkpoint, on_progress=on_progress, threads=threads
    )


def history_of(
    name: str,
    state: StackState,
    *,
    steps_per_epoch: float,
    recipe: str,
    events: int,
    coordinates: tuple[str, ...] = (),
    independent: float = 0.0,
) -> TrainingHistory:
    """The records of one training.

    Args:
        name: What was trained.
        state: Its final state.
        steps_per_epoch: Steps of one pass over the events.
        recipe: Words for the recipe.
        events: Number of events.
        coordinates: Features that were learned relative to edges, in words.
        independent: Loss of independent features, which the records are relative to.
    """

    def joined(records: Sequence[tuple[int, Array]]) -> tuple[Array, Array]:
        steps = np.array([step for step, _ in records], dtype=np.float64)
        losses = np.array([losses for _, losses in records]).T.reshape(len(state.average), len(records))
        return steps, losses - independent

    steps, train = joined(state.losses)
    validation_steps, validation = joined(state.validations)
    return TrainingHistory(
        name=name,
        steps=steps,
        epochs=steps / steps_per_epoch,
        train=train,
        validation=validation if state.validations else None,
        validation_steps=validation_steps if state.validations else None,
        kept_step=state.kept_step,
        recipe=recipe,
        events=events,
        coordinates=coordinates,
    )


@contextmanager
def reporting(progress: Progress | None, *, total: int, name: str) -> Iterator[Callable[[int], None]]:
    """Yield what workers call with the number of steps they took: the user's callback, a bar, or a line now and then.

    Args:
        progress: The user's callback, or None.
        total: Steps of all workers.
        name: What is trained.
    """
    if progress is None:
        with counted(f"training {name}", total) as advance:
            yield advance
        return
    lock = threading.Lock()
    done = 0

    def add(n: int) -> None:
        nonlocal done
        with lock:
            done += n
            now = done
        progress(now, total)

    yield add
