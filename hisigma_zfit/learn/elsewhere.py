"""Trainings on other processes or machines: each stack of members is a task of `hisigma_zfit.workers`.

A stack hangs on nothing but itself, so that it ends with the same bits wherever it is trained, by the same versions on
the same kind of processor.  What has arrived is kept in the checkpoint folder at once.

Importing this module does not load TensorFlow, so that mistakes in files need not wait for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError
from hisigma_zfit.workers import finished, require_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hisigma_zfit.learn.schedule import Schedule
    from hisigma_zfit.learn.state import StackState

__all__ = ["elsewhere", "run_elsewhere", "trained_elsewhere"]

_where: ContextVar[dict[str, Any] | None] = ContextVar("_where", default=None)


@contextmanager
def trained_elsewhere(*, processes: int = 1, scheduler: Any = None) -> Iterator[None]:
    """While this lasts, let `train_members` send its trainings to other processes, or to a Dask scheduler.

    Args:
        processes: Worker processes on this machine; 1 for none.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.

    Raises:
        InputError: There is no such number of processes, or the address is none.
    """
    if processes < 1:
        raise InputError.from_parts(expected="processes of 1 or more", got=str(processes), do="correct it")
    require_scheduler(scheduler)
    wanted = scheduler is not None or processes > 1
    token = _where.set({"processes": processes, "scheduler": scheduler} if wanted else None)
    try:
        yield
    finally:
        _where.reset(token)


def elsewhere() -> bool:
    """Whether trainings are sent elsewhere."""
    return _where.get() is not None


def run_elsewhere(
    trainings: Sequence[Any],
    schedules: Sequence[Schedule],
    folder: Path | None,
    fingerprint: str,
    report: Callable[[int], None],
) -> list[StackState] | None:
    """The final states of all trainings, or None where they are to be trained here.

    Args:
        trainings: The stacks, `hisigma_zfit.learn.members.Training`.
        schedules: How long each of them is trained.
        folder: Keeps the state of every training, if any.
        fingerprint: Of what is in it.
        report: Called with numbers of steps that were done.
    """
    where = _where.get()
    if where is None:
        return None
    from hisigma_zfit.learn.state import StackState

    files = [None if folder is None else folder / f"{training.name}.npz" for training in trainings]
    stored = enumerate(path for path in files)
    states = {k: StackState.load(path, fingerprint) for k, path in stored if path is not None and path.exists()}
    for state in states.values():
        report(state.step)
    missing = [(k, states.get(k)) for k in range(len(trainings)) if k not in states or not states[k].complete]
    for (k, begun), state in finished(_trained, (tuple(trainings), tuple(schedules)), missing, **where):
        states[k], path = state, files[k]
        if path is not None:
            state.save(path, fingerprint)
        report(state.step - (0 if begun is None else begun.step))
    return [states[k] for k in range(len(trainings))]


def _trained(work: tuple[tuple[Any, ...], tuple[Schedule, ...]], k: int, state: StackState | None) -> StackState:
    """One stack, from its start or from where it was."""
    from hisigma_zfit.learn.optimiser import train_stack
    from hisigma_zfit.learn.state import StackState

    trainings, schedules = work
    return train_stack(trainings[k].stack(), schedules[k], state or StackState.start(trainings[k].start()))
