"""Many independent tasks: in this process, in several on this machine, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hisigma_zfit.errors import FitError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["finished"]

T = TypeVar("T", bound=tuple[Any, ...])
R = TypeVar("R")


def finished(
    function: Callable[..., R], shared: Any, tasks: Sequence[T], *, processes: int = 1, scheduler: Any = None
) -> Iterator[tuple[T, R]]:
    """Do all tasks and give each with what ``function(shared, *task)`` returns, in the order in which they finish.

    Args:
        function: Of a module, because other processes look it up by its name; what it returns is pickled.
        shared: What all tasks have in common: sent once to each process, and once to the cluster.
        tasks: Further arguments, a tuple for each.
        processes: Worker processes on this machine, each with one thread unless the environment says otherwise.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.

    Raises:
        InputError: There is no such scheduler, or `distributed` is not installed.
        FitError: A worker process died.
    """
    if not tasks:
        return iter(())
    if scheduler is not None:
        return _on_dask(function, shared, tasks, scheduler)
    if processes > 1 and len(tasks) > 1:
        return _in_processes(function, shared, tasks, min(processes, len(tasks)))
    return ((task, function(shared, *task)) for task in tasks)


# What a worker process works with: sent once, when it starts, instead of with every task.
_installed: tuple[Callable[..., Any], Any] | None = None


def _install(function: Callable[..., Any], shared: Any) -> None:
    global _installed  # noqa: PLW0603 - the one way to keep something in a worker between tasks
    _installed = (function, shared)


def _do_installed(task: tuple[Any, ...]) -> Any:
    assert _installed is not None
    function, shared = _installed
    return function(shared, *task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start now use one thread each, unless the user has decided otherwise."""
    names = [n for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if n not in os.environ]
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)


def _in_processes(function: Callable[..., R], shared: Any, tasks: Sequence[T], processes: int) -> Iterator[tuple[T, R]]:
    # a fork would copy the locks of TensorFlow's threads in whatever state they are
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_install, initargs=(function, shared)
    ) as executor:
        try:
            with _one_thread_each():
                futures = {executor.submit(_do_installed, task): task for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise FitError(
                "a worker process died, perhaps for lack of memory; use fewer processes, what is finished is kept"
            ) from error
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _on_dask(function: Callable[..., R], shared: Any, tasks: Sequence[T], scheduler: Any) -> Iterator[tuple[T, R]]:
    try:
        import distributed
    except ImportError as error:
        raise InputError.from_parts(
            expected="dask.distributed for a scheduler",
            got="none installed",
            do="run: pip install 'hisigma_zfit[dask]'",
        ) from error
    try:
        client = distributed.Client(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError.from_parts(
            expected="the address of a running Dask scheduler, such as tcp://host:8786",
            got=f"{scheduler!r} ({type(error).__name__})",
            do="start one with: dask scheduler",
        ) from error
    with client:
        sent = client.scatter(shared, broadcast=True, hash=False)
        futures = {client.submit(function, sent, *task, pure=False): task for task in tasks}
        try:
            for future, result in distributed.as_completed(futures, loop=client.loop, with_results=True):
                yield futures[future], result
                future.release()
        finally:
            client.cancel(list(futures))
