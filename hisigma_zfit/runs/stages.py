"""Stages of a long computation: said on stderr, timed, with a bar on terminals and lines now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from hisigma_zfit.console import progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["Stages"]


class Stages:
    """Announces stages on stderr and keeps their wall times.

    That a stage begins is said on terminals only: elsewhere an error message must not stand behind an empty promise.

    Args:
        names: Names of the stages, in order.
        quiet: Announce nothing.
        counting: Names of the stages that show by themselves how far they are, and need no bar.
    """

    def __init__(self, names: Sequence[str], *, quiet: bool, counting: Collection[str] = ()) -> None:
        from rich.console import Console

        self._names = tuple(names)
        self._counting = frozenset(counting)
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()
        self._console = Console(stderr=True, quiet=quiet)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Run one of the stages."""
        start = time.perf_counter()
        position = f"[{self._names.index(name) + 1}/{len(self._names)}]"
        if self._console.is_terminal:
            self._console.print(f"{position} {name} ...", markup=False, highlight=False)
        with ExitStack() as shown:
            if not self._console.quiet:
                shown.enter_context(progress.shown("lines"))
            shown.enter_context(self._bar(name) or progress.alive(f"{position} {name}"))
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self._console.print(f"{position} {name} done in {self.seconds[name]:.1f} s", markup=False, highlight=False)

    def _bar(self, name: str) -> AbstractContextManager[Any] | None:
        """A moving bar with the elapsed time; None where there is no terminal, which gets lines."""
        if not self._console.is_terminal:
            return None
        if name in self._counting:
            return nullcontext()
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=self._console, transient=True)
        bar.add_task(name, total=None)
        return bar

    def say(self, words: str) -> None:
        """A line of one's own between the stages'."""
        self._console.print(words, markup=False, highlight=False)

    def timings(self) -> dict[str, float]:
        """Seconds by stage and in total so far."""
        return {k: round(v, 2) for k, v in (self.seconds | {"total": time.perf_counter() - self._start}).items()}
