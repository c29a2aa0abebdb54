"""How far a long computation is: a bar on terminals and in notebooks, elsewhere a line now and then with what remains.

A batch job's log is no terminal; without lines it would be silent for an hour.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Lines", "Pieces", "alive", "counted", "duration", "shown"]

FIRST = 5.0  # seconds before the first line: what is quicker needs none
EVERY = 10.0  # seconds between lines
_ALIVE = 20.0  # seconds before a stage that cannot count says that it is still there
_REFRESH = 0.3  # seconds between pictures of a notebook's bar
_SLOWER = 1.5  # and again after so many times the time that has passed

Mode = Literal["bars", "lines", "none"]

_mode: ContextVar[Mode] = ContextVar("_mode", default="bars")


@contextmanager
def shown(mode: Mode) -> Iterator[None]:
    """Choose what is shown inside of a block.

    Args:
        mode: "bars" on terminals and in notebooks only, also "lines" elsewhere, or "none"; the last one cannot be
            undone further inside.
    """
    token = _mode.set("none" if _mode.get() == "none" else mode)
    try:
        yield
    finally:
        _mode.reset(token)


@contextmanager
def counted(name: str, total: int, *, done: int = 0, wanted: bool | None = None) -> Iterator[Callable[[int], None]]:
    """Show how much of something that can be counted is done.

    Args:
        name: What is done.
        total: How much there is.
        done: How much is done already.
        wanted: Show it or not, whatever the mode; by the mode if omitted.

    Yields:
        What is called with how much more was done, from any thread.
    """
    lock = threading.Lock()
    show = _report(name, total, done, wanted)

    def advance(n: int) -> None:
        nonlocal done
        with lock:
            done += n
            update(done)

    with show as update:
        yield advance


@contextmanager
def _report(name: str, total: int, done: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """Yield what is called with how much is done."""
    mode = _mode.get()
    if wanted is False or (wanted is None and mode == "none"):
        yield lambda _: None
    elif _in_notebook():
        with _notebook_bar(name, total, done) as shown:
            yield shown
    elif sys.stderr.isatty() or (wanted and mode != "lines"):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(name, total=total, completed=done)
            yield lambda now: bar.update(task, completed=now)
    elif mode == "lines" or wanted:
        yield Lines(name, total, done).update
    else:
        yield lambda _: None


def _in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this, whose pages can show more than lines."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


@contextmanager
def _notebook_bar(name: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar below the cell, which is gone when all is done; no widgets are needed."""
    shows = sys.modules["IPython"].display  # there, where it is that runs this

    def html(done: int, words: str) -> Any:
        return shows.HTML(f'{escape(name)} <progress value="{done}" max="{total}"></progress> {escape(words)}')

    handle = shows.display(html(done, ""), display_id=True)
    clock = time.monotonic
    start, shown, before = clock(), clock(), done

    def update(now: int) -> None:
        nonlocal shown
        if clock() - shown < _REFRESH or now <= before:
            return
        shown = clock()
        left = (shown - start) / (now - before) * (total - now)
        handle.update(html(now, f"{now / total:.0%}, about {duration(left)} left"))

    try:
        yield update
    finally:
        handle.update(shows.HTML(""))


class Lines:
    """Lines on stderr about how far something is; the first one after some seconds, which says how long it will take.

    Args:
        name: What is done.
        total: How much there is.
        done: How much is done already.
        clock: Seconds that pass.
    """

    def __init__(self, name: str, total: int, done: int = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._total, self._clock = name, total, clock
        self._start = self._said = clock()
        self._began: tuple[float, int] | None = None
        self._wait = FIRST
        self._done_before = done

    def update(self, done: int) -> None:
        """Say it, if it is time to."""
        now = self._clock()
        if self._began is None and done > self._done_before:
            self._began = (now, done)  # what is done before the first step, such as compiling, says nothing of the rest
        if self._began is None or done <= self._began[1] or now - self._said < self._wait or done >= self._total:
            return
        self._said, self._wait = now, EVERY
        each = (now - self._began[0]) / (done - self._began[1])
        left = duration(each * (self._total - done))
        _say(f"{self._name}: {done / self._total:.0%} after {duration(now - self._start)}, about {left} left")


class Pieces:
    """What remains of a few long pieces, said when the first of them is finished and now and then later.

    Lines are shown on terminals, and elsewhere where the mode is "lines".

    Args:
        name: What the pieces are.
        total: How many there are to be done.
        beside: How many are done at the same time.
        clock: Seconds that pass.
    """

    def __init__(self, name: str, total: int, *, beside: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._total, self._clock = name, total, clock
        self._beside = max(min(beside, total), 1)
        self._start, self._done = clock(), 0
        self._said: float | None = None

    def advance(self) -> None:
        """One more is finished; say what remains, if it is time to."""
        self._done += 1
        mode, now = _mode.get(), self._clock()
        if mode == "none" or (mode == "bars" and not (sys.stderr.isatty() or _in_notebook())):
            return
        elapsed, left = now - self._start, self._total - self._done
        # where several are done at a time, the first finds the others nearly finished
        remains = left * elapsed / max(self._done, self._beside)
        if self._said is None:
            if elapsed + remains < EVERY:
                return
        elif now - self._said < EVERY:
            return
        if left:
            self._said = now
            _say(
                f"{self.name}: {self._done} of {self._total} after {duration(elapsed)}, about {duration(remains)} left"
            )


@contextmanager
def alive(name: str) -> Iterator[None]:
    """Say now and then that a stage goes on, where lines are shown, there is no terminal and nothing else was said."""
    if _mode.get() != "lines" or sys.stderr.isatty():
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        start, wait = time.monotonic(), _ALIVE
        while not ended.wait(wait):
            elapsed = time.monotonic() - start
            wait = max(EVERY, (_SLOWER - 1.0) * elapsed)
            if time.monotonic() - _spoken.last >= EVERY:  # what can count may have said more
                _say(f"{name}: going on for {duration(elapsed)}")

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def duration(seconds: float) -> str:
    """Seconds in words, to two figures that count.

    >>> duration(4.2), duration(80), duration(7300)
    ('4 s', '1 min 20 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class _Spoken:
    """When the last line was written, by whomever of this process."""

    last = -EVERY


_spoken = _Spoken()


def _say(words: str) -> None:
    _spoken.last = time.monotonic()
    print(f"      {words}", file=sys.stderr, flush=True)
