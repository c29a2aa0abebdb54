"""From file names and expressions to columns in memory: the loop behind `hisigma_zfit.data.read`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hisigma_zfit.arrays import Growing
from hisigma_zfit.data.account import SourceReport
from hisigma_zfit.data.expressions import Expression, compile_expression
from hisigma_zfit.data.formats import open_source
from hisigma_zfit.data.places import Files, Place, expand
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data.source import Chunk, Source

__all__ = ["DEFAULT_CHUNK_BYTES", "Columns", "Files", "Loaded", "expand", "load", "pieces"]

Columns = Mapping[str, str] | Sequence[str]

DEFAULT_CHUNK_BYTES = 64 * 2**20  # large enough to hide the cost per chunk, small beside the columns themselves
_WEIGHT = ""  # the weight travels with the columns under the one name that no column can have
_EXACT = 2.0**53  # below it every whole number is one of 64 bits


@dataclass
class Loaded:
    """Columns of all files, each of shape (n,), and an account by file.

    Attributes:
        columns: Name -> values.
        weights: Event weights, or None.
        rows: Identity of each event, shape (n,): the number of its row before the cut, counted on from file to file,
            unless a column has it.
        sources: Path -> what that file gave.
        dropped: Reason -> events that were missing before they were read.
    """

    columns: dict[str, Array] = field(default_factory=dict)
    weights: Array | None = None
    rows: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sources: dict[str, SourceReport] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Plan:
    """Expressions bound to the branches of one file."""

    columns: dict[str, Expression]
    cut: Expression | None
    identity: Expression | None

    @property
    def branches(self) -> list[str]:
        used = [*self.columns.values(), *(own for own in (self.cut, self.identity) if own)]
        return list(dict.fromkeys(branch for expression in used for branch in expression.branches))

    def apply(self, chunk: Chunk, n_rows: int, first: int) -> tuple[dict[str, Array], Integers]:
        """Columns of the events that pass the cut, and their identity; the first row has the number `first`."""
        keep: Any = slice(None)
        if self.cut is not None:
            keep = self.cut(chunk, n_rows)
            if keep.dtype != np.bool_:
                raise InputError.from_parts(
                    expected="a cut that is true or false for each event",
                    got=f"{self.cut.text!r}, which is a number",
                    do="compare it with something, for example (...) > 0",
                )
        columns = {
            name: expression(chunk, n_rows)[keep].astype(np.float64, copy=False)
            for name, expression in self.columns.items()
        }
        if self.identity is None:
            return columns, np.arange(first, first + n_rows, dtype=np.int64)[keep]
        return columns, _whole(self.identity(chunk, n_rows)[keep], self.identity.text)


def _whole(values: Any, text: str) -> Integers:
    """An identity of 64 bits."""
    if values.dtype.kind == "f":
        fit = np.isfinite(values) & (np.abs(values) < _EXACT) & (values == np.floor(values))
        if not fit.all():
            raise InputError.from_parts(
                expected=f"whole numbers below 2^53 in the identity {text!r}",
                got=f"{int(np.count_nonzero(~fit))} others in {len(values)} events",
                do="choose another column",
            )
    return np.asarray(values, dtype=np.int64)


@dataclass
class _Parts:
    """Pieces of the columns, chunk by chunk, and the rows that they come from."""

    columns: dict[str, Growing] = field(default_factory=dict)
    rows: Growing = field(default_factory=Growing)
    n_read: int = 0

    def append(self, columns: Mapping[str, Array], rows: Integers, n_read: int) -> int:
        """Add what is left of `n_read` further rows, and tell how many events that is."""
        for name, values in columns.items():
            self.columns.setdefault(name, Growing()).append(values)
        self.rows.append(rows)
        self.n_read += n_read
        return len(rows)


def load(
    files: Files,
    *,
    tree: str | None,
    columns: Columns | None,
    cut: str | None,
    weight: str | None,
    identity: str | None,
    chunk_bytes: int,
    progress: bool | None,
    max_events: int | None,
) -> Loaded:
    """Read columns; the arguments are those of `hisigma_zfit.data.read`."""
    found = expand(files)
    wanted = None if columns is None else _named(columns)
    for option, value in (("chunk_bytes", chunk_bytes), ("max_events", max_events)):
        if value is not None and value < 1:
            raise InputError.from_parts(expected=f"{option} of at least 1", got=str(value), do="leave it out")
    parts = _Parts()
    loaded = Loaded()
    left = max_events
    names: list[str] = []
    with (
        _progress_bar(progress, sum(place.n_bytes for place in found)) as advance,
        closing(_opened(found, tree, wanted, cut, weight, identity)) as opened,
    ):
        for place, source, plan in opened:
            names = [name for name in plan.columns if name != _WEIGHT]
            report = _read_source(source, plan, parts, chunk_bytes, left, partial(_part, advance, place.n_bytes))
            loaded.dropped.update(source.dropped)
            loaded.sources[str(place)] = report
            left = None if left is None else left - (report.n_read - sum(source.dropped.values()))
            if left == 0:
                break
    _require_events(loaded, cut)
    loaded.rows = parts.rows.whole()
    while parts.columns:
        # column by column, so that not all values are in memory twice
        name, pieces = parts.columns.popitem()
        loaded.columns[name] = pieces.whole()
    loaded.weights = loaded.columns.pop(_WEIGHT, None)
    loaded.columns = {name: loaded.columns[name] for name in names}
    return loaded


def pieces(
    files: Files,
    *,
    tree: str | None,
    columns: Columns | None,
    cut: str | None,
    weight: str | None,
    identity: str | None,
    chunk_bytes: int,
) -> Generator[tuple[dict[str, Array], Array | None, Integers, int], None, None]:
    """Columns, weights and identity of the events of each chunk that pass the cut, and the number of its rows."""
    if chunk_bytes < 1:
        raise InputError.from_parts(expected="chunk_bytes of at least 1", got=str(chunk_bytes), do="leave it out")
    wanted, first = None if columns is None else _named(columns), 0
    with closing(_opened(expand(files), tree, wanted, cut, weight, identity)) as opened:
        for _, source, plan in opened:
            for chunk, n_chunk in _rows(source, plan.branches, chunk_bytes, source.n_rows(plan.branches)):
                own, rows = plan.apply(chunk, n_chunk, first)
                first += n_chunk
                weights = own.pop(_WEIGHT, None)
                yield own, weights, rows, n_chunk


def _opened(
    places: Iterable[Place],
    tree: str | None,
    wanted: Mapping[str, str] | None,
    cut: str | None,
    weight: str | None,
    identity: str | None,
) -> Generator[tuple[Place, Source, _Plan], None, None]:
    """Each file, open until the next one is asked for, with the expressions bound to its branches.

    Without names the columns are those of the first file.
    """
    for place in places:
        with closing(open_source(place.path, place.tree or tree)) as source:
            if wanted is None:
                wanted = {name: name for name in _all_scalars(source)}
            yield place, source, _bind(source, wanted, cut, weight, identity)


def _read_source(
    source: Source, plan: _Plan, parts: _Parts, chunk_bytes: int, limit: int | None, advance: _Advance
) -> SourceReport:
    """Append the columns of one file to `parts`."""
    n_rows = source.n_rows(plan.branches)
    stop = n_rows if limit is None else min(n_rows, limit)
    n_used = 0
    for chunk, n_chunk in _rows(source, plan.branches, chunk_bytes, stop):
        n_used += parts.append(*plan.apply(chunk, n_chunk, parts.n_read), n_chunk)
        advance(n_chunk / max(n_rows, 1))
    return SourceReport(source.kind, source.tree, stop + sum(source.dropped.values()), n_used)


def _rows(source: Source, branches: list[str], chunk_bytes: int, stop: int) -> Iterator[tuple[Chunk, int]]:
    if not branches:  # every expression is a constant
        yield {}, stop
        return
    for chunk in source.chunks(branches, chunk_bytes, stop):
        yield chunk, len(chunk[branches[0]])


def _bind(
    source: Source, wanted: Mapping[str, str], cut: str | None, weight: str | None, identity: str | None
) -> _Plan:
    texts = dict(wanted) if weight is None else {**wanted, _WEIGHT: weight}
    plan = _Plan(
        {name: compile_expression(text, source.names, source.where) for name, text in texts.items()},
        None if cut is None else compile_expression(cut, source.names, source.where),
        _own(source.identity_column) if identity is None else compile_expression(identity, source.names, source.where),
    )
    if weight is None and (own := _own(source.weight_column)):
        plan.columns[_WEIGHT] = own
    source.require(plan.branches)
    return plan


def _own(column: str | None) -> Expression | None:
    """A column that events bring along."""
    return None if column is None else Expression(column, (column,), None, {})


def _all_scalars(source: Source) -> list[str]:
    names = source.scalar_names()
    if not names:
        raise InputError.from_parts(
            expected=f"branches with one number per event in {source.where}",
            got=f"none among {len(source.names)}",
            do="check that this is the table you meant",
        )
    return names


def _named(columns: Columns) -> dict[str, str]:
    if isinstance(columns, Mapping):
        named = dict(columns)
    else:
        names = [columns] if isinstance(columns, str) else list(columns)
        named = {name: name for name in names}
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError.from_parts(
                expected="distinct columns", got=f"{', '.join(map(repr, twice))} twice", do="name each once"
            )
    if not named or not all(isinstance(name, str) and name for name in named):
        raise InputError.from_parts(
            expected="at least one column, each with a name", got=repr(columns), do="name the columns to use"
        )
    return named


def _require_events(loaded: Loaded, cut: str | None) -> None:
    n_read = sum(source.n_read for source in loaded.sources.values())
    if any(source.n_used for source in loaded.sources.values()):
        return
    if n_read:
        raise InputError.from_parts(
            expected=f"events that pass the cut {cut!r}", got=f"none of {n_read} read", do="loosen the cut"
        )
    raise InputError.from_parts(
        expected="events", got=f"no rows in {', '.join(loaded.sources)}", do="check how the files were made"
    )


def _part(advance: _Advance, n_bytes: int, share: float) -> None:
    advance(n_bytes * share)


class _Advance(Protocol):
    def __call__(self, amount: float, /) -> None: ...


@contextmanager
def _progress_bar(wanted: bool | None, total: int) -> Iterator[_Advance]:
    """Show how much was read, on stderr, once it has taken two seconds (at once if asked for)."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=console.is_terminal)
    task = bar.add_task("reading", total=total)
    start = time.monotonic()

    def advance(n_bytes: float) -> None:
        bar.advance(task, n_bytes)
        if not bar.live.is_started and (wanted or time.monotonic() - start > 2.0):
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
