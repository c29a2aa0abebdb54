"""Many independent tasks: in this process, in several on this machine, or on a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hisigma_zfit.console.progress import Pieces
from hisigma_zfit.errors import FitError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["finished", "require_scheduler"]

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=tuple[Any, ...])
R = TypeVar("R")

_PATIENCE = 15.0  # seconds for workers to come up, and for a scheduler to come back
_TRIES = 3  # of what all tasks have in common, which is lost with the last worker that has it

# what the bits of a result depend on, as far as versions tell
_DECIDING = ("numpy", "scipy", "tensorflow", "tensorflow-probability", "zfit")


def finished(
    function: Callable[..., R],
    shared: Any,
    tasks: Sequence[T],
    *,
    processes: int = 1,
    scheduler: Any = None,
    name: str = "",
) -> Iterator[tuple[T, R]]:
    """Do all tasks and give each with what ``function(shared, *task)`` returns, in the order in which they finish.

    Args:
        function: Of a module, because other processes look it up by its name; what it returns is pickled.
        shared: What all tasks have in common: sent once to each process, and once to the cluster.
        tasks: Further arguments, a tuple for each.
        processes: Worker processes on this machine, each with one thread unless the environment says otherwise.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.
        name: What the tasks are, to say on stderr how long the others will take once the first is finished; nothing is
            said without.

    Raises:
        InputError: There is no such scheduler, or `distributed` is not installed.
        FitError: A worker process died.
    """
    if not tasks:
        return iter(())
    if scheduler is not None:
        require_scheduler(scheduler)
        return _on_dask(function, shared, tasks, scheduler)
    if processes > 1 and len(tasks) > 1:
        processes = min(processes, len(tasks))
        return _told(_in_processes(function, shared, tasks, processes), Pieces(name, len(tasks), beside=processes))
    return _told(((task, function(shared, *task)) for task in tasks), Pieces(name, len(tasks)))


def _told(results: Iterator[tuple[T, R]], pieces: Pieces) -> Iterator[tuple[T, R]]:
    """The same, with words about how much remains."""
    for each in results:
        if pieces.name:
            pieces.advance()
        yield each


# What a worker process works with: sent once, when it starts, instead of with every task.
_installed: tuple[Callable[..., Any], Any] | None = None


def _install(function: Callable[..., Any], shared: Any) -> None:
    global _installed  # noqa: PLW0603 - the one way to keep something in a worker between tasks
    _installed = (function, shared)
    # Ctrl-C reaches all processes of a terminal, and what becomes of the work is for the first of them to say
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
    others = multiprocessing.active_children()
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
        except BaseException:
            # the interpreter would wait for tasks that nobody wants any more
            for child in multiprocessing.active_children():
                if child not in others:
                    child.terminate()
            raise
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def require_scheduler(scheduler: Any) -> None:
    """Check, before anything takes time, that a text could be the address of a scheduler.

    Raises:
        InputError: It could not.
    """
    if isinstance(scheduler, str) and not scheduler.strip():
        raise _no_scheduler(scheduler, "empty")


def _no_scheduler(scheduler: Any, why: str) -> InputError:
    return InputError.from_parts(
        expected="the address of a running Dask scheduler, such as tcp://host:8786",
        got=f"{scheduler!r} ({why})",
        do="start one with: dask scheduler",
    )


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
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise _no_scheduler(scheduler, type(error).__name__) from error
    missing = dict(enumerate(tasks))
    try:
        _require_workers(client, scheduler, function.__module__.partition(".")[0])
        with _lost_is_said():
            for tries in range(_TRIES):
                try:
                    for number, result in _submitted(client, function, shared, missing):
                        yield missing.pop(number), result
                    break
                except concurrent.futures.CancelledError:
                    # the workers that had what all tasks need died; others may have come in their place
                    if tries == _TRIES - 1 or client.status != "running":
                        raise
                    _log.warning("the last Dask worker with the data is gone; they are sent again")
                    client.wait_for_workers(1, timeout=_PATIENCE)
    finally:
        with contextlib.suppress(Exception):  # nothing to be said where there is no scheduler any more
            client.close(timeout=5)  # cancels what is left


def _submitted(
    client: Any, function: Callable[..., R], shared: Any, tasks: Mapping[int, tuple[Any, ...]]
) -> Iterator[tuple[int, R]]:
    """Results by the number of their task; a task whose worker dies is done again by another one."""
    import distributed

    sent = client.scatter(shared, broadcast=True, hash=False)
    futures = {client.submit(function, sent, *task, pure=False): number for number, task in tasks.items()}
    completed = distributed.as_completed(futures, loop=client.loop, with_results=True)
    while _one_is_ready(completed, client):
        future, result = next(completed)
        if future.status != "finished":  # an error of the task itself was raised above
            raise concurrent.futures.CancelledError(future.status)
        yield futures[future], result
        future.release()


def _require_workers(client: Any, scheduler: Any, package: str) -> None:
    """Check that there are workers, and that they have what is to be done, in the versions that are here."""
    started = "start them with: dask worker ADDRESS, in an environment that has hisigma_zfit"
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise InputError.from_parts(
            expected=f"workers at the Dask scheduler {scheduler!r}", got=f"none within {_PATIENCE:g} s", do=started
        ) from error
    asked = asking_versions()
    here, found = asked(package, _DECIDING), client.run(asked, package, _DECIDING, on_error="return")
    lacking = sorted(worker for worker, has in found.items() if not isinstance(has, dict) or not has)
    if lacking:
        raise InputError.from_parts(
            expected=f"Dask workers that have the package {package}",
            got=f"{len(lacking)} of {len(found)} without it, such as {lacking[0]}",
            do=started,
        )
    others = {
        worker: [f"{name} {has.get(name)} for {version}" for name, version in here.items() if has.get(name) != version]
        for worker, has in found.items()
    }
    if differing := sorted(worker for worker, names in others.items() if names):
        raise InputError.from_parts(
            expected="Dask workers with the versions that are here",
            got=f"{len(differing)} of {len(found)} with others, such as {(first := differing[0])}: "
            + ", ".join(others[first]),
            do="start them in the environment of this command",
        )


def asking_versions() -> Callable[[str, Sequence[str]], dict[str, str]]:
    """A function that tells versions, and the code of a package by its hash; empty where there is no such package."""

    # inside of a function, so that it travels whole: workers could not look up one of this module
    def versions(package: str, names: Sequence[str]) -> dict[str, str]:
        import hashlib
        import importlib.metadata
        import importlib.util
        import pathlib
        import platform

        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # a script
            spec = None
        if spec is None:
            return {}
        found = {"python": platform.python_version()}
        for name in names:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = "none"
        code = hashlib.sha256()
        for folder in sorted(spec.submodule_search_locations or ()):
            for path in sorted(pathlib.Path(folder).rglob("*.py")):
                code.update(path.read_bytes())
        return {**found, package: f"of the code {code.hexdigest()[:10]}"}

    return versions


def _one_is_ready(completed: Any, client: Any) -> bool:
    """Wait for the next result, False after the last; an error where the scheduler is gone for good."""
    seen = time.monotonic()
    while not completed.has_ready():
        if completed.is_empty():
            return False
        if client.status == "running":
            seen = time.monotonic()
        elif time.monotonic() - seen > _PATIENCE:
            raise OSError(f"no scheduler for {_PATIENCE:g} s")
        time.sleep(0.05)
    return True


@contextmanager
def _lost_is_said() -> Iterator[None]:
    """One line for what becomes of results whose scheduler or workers are gone."""
    import distributed

    gone = (OSError, TimeoutError, concurrent.futures.CancelledError, distributed.KilledWorker)
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it writes tracebacks of each try to come back
    try:
        yield
    except gone as error:
        raise FitError(
            f"the Dask scheduler or its workers were lost ({type(error).__name__}: {error}); what is finished is kept, "
            "start them again and give the same command"
        ) from error
    finally:
        log.setLevel(level)
