"""The input room: files (ROOT TTree and RNTuple, HDF5, Parquet) -> checked columns -> zfit.

`read` is the only way in from disk, `Dataset.from_arrays` the one from memory.  Both end in a `Dataset`: immutable
float64 columns without NaN or infinity, with a report that accounts for every event that was read.  Importing this
module loads neither TensorFlow nor a file format's library.
"""

from __future__ import annotations

import logging
import math
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING

from hisigma_zfit.data.account import ReadReport
from hisigma_zfit.data.columns import DEFAULT_CHUNK_BYTES, Columns, load
from hisigma_zfit.data.dataset import Dataset
from hisigma_zfit.data.formats import open_file
from hisigma_zfit.data.immutable import read_only
from hisigma_zfit.data.places import Files, expand
from hisigma_zfit.data.source import readable
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import zfit

    from hisigma_zfit.data.source import Source

__all__ = ["describe", "feature_space", "read"]

_log = logging.getLogger(__name__)


def read(
    files: Files,
    *,
    tree: str | None = None,
    columns: Columns | None = None,
    cut: str | None = None,
    weight: str | None = None,
    identity: str | None = None,
    nonnegative_weights: bool = False,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    progress: bool | None = None,
    max_events: int | None = None,
) -> Dataset:
    """Read events from ROOT (TTree, RNTuple), HDF5 or Parquet files, in the order of the files and of their rows.

    Only the needed branches are read, in chunks, and all arithmetic is done in float64 whatever the file stores.
    HDF5 columns are one-dimensional datasets, the columns of a two-dimensional dataset that its attribute ``columns``
    names, the fields of a compound dataset, or the two-dimensional ``feats`` published with arXiv:2506.06438.

    Args:
        files: Path or paths; wildcards are expanded in alphabetical order.  Formats are found from the content.  Behind
            a file may stand its tree, as in ``"data.root:events"``.
        tree: Tree, dataset or group to read; None takes the only one in each file.
        columns: Mapping of column name -> expression over branches such as ``"Hgg_pt / Hgg_mass"``, or names of
            branches, or None for all branches with one number per event.  `hisigma_zfit.data.expressions` says what an
            expression may be.
        cut: Expression that is true for the events to keep, such as ``"(b2_pt > 30) & (Hgg_mass < 180)"``; ``&&`` does
            as well.
        weight: Expression for the event weight.
        identity: Expression of whole numbers that tells hard events apart, which several rows may share; the number of
            the row by default.
        nonnegative_weights: Refuse negative weights.
        chunk_bytes: Memory for the branches of one chunk.
        progress: Show a progress bar on stderr; None shows it on terminals, when reading takes over two seconds.
        max_events: Stop after that many rows were read (before the cut).

    Raises:
        InputError: A file is missing, damaged or of an unknown format; a tree or branch is missing or not one number
            per event; an expression is malformed; no event is left; values are NaN or infinite; weights are negative
            where they must not be; an identity is no whole number.

    Example:
        >>> columns = {"m": "m", "pt_over_m": "pt / m"}
        >>> hz.read(hz.examples.path("events.root"), tree="events", columns=columns, cut="pt > 20")
        Dataset(1320 events, m, pt_over_m)
    """
    loaded = load(
        files,
        tree=tree,
        columns=columns,
        cut=cut,
        weight=weight,
        identity=identity,
        chunk_bytes=chunk_bytes,
        progress=progress,
        max_events=max_events,
    )
    n_read = sum(source.n_read for source in loaded.sources.values())
    n_used = sum(source.n_used for source in loaded.sources.values())
    dropped = dict(loaded.dropped)
    if n_cut := n_read - n_used - sum(dropped.values()):
        dropped[f"cut {cut}"] = n_cut
    data = Dataset(
        {name: read_only(values) for name, values in loaded.columns.items()},
        None if loaded.weights is None else read_only(loaded.weights),
        ReadReport(n_read, n_used, dropped, loaded.sources),
        identity=read_only(loaded.rows),
    )
    # below what --verbose shows: a blind run must not tell how many events there are
    _log.debug("read %d events from %d files, used %d", n_read, len(loaded.sources), n_used)
    return data.require_nonnegative_weights() if nonnegative_weights else data


def feature_space(*names: str, **limits: tuple[float, float]) -> zfit.Space:
    """Make the space of the features, in the order of the arguments.

    Args:
        *names: Features without limits.
        **limits: Features with limits, ``name=(lower, upper)``.

    Raises:
        InputError: There is no feature, one is named twice, or limits are not in order.

    Example:
        >>> space = hz.feature_space("pt", angle=(0.0, 1.0))
        >>> space.obs, space.n_obs
        (('pt', 'angle'), 2)
    """
    bounds: dict[str, tuple[float, float]] = {}
    for name, edges in [*((name, (-math.inf, math.inf)) for name in names), *limits.items()]:
        if name in bounds:
            raise InputError.from_parts(expected="distinct features", got=f"{name!r} twice", do="name each once")
        bounds[name] = _pair(name, edges)
    if not bounds:
        raise InputError.from_parts(expected="at least one feature", got="none", do="name the features to use")
    import zfit

    lower, upper = zip(*bounds.values(), strict=True)
    return zfit.Space(list(bounds), lower=list(lower), upper=list(upper))


def describe(path: str | os.PathLike[str]) -> str:
    """Say what a data file holds: its format, its tables, their events and their columns.

    Args:
        path: A file of any format that `read` knows.

    Returns:
        A few lines of text, without a line break at the end.

    Raises:
        InputError: The file is missing, damaged or of an unknown format.
    """
    lines = []
    for place in expand(path):
        with closing(open_file(place.path)) as source:
            with readable(place.path, source.kind):
                tables = source.tables()
            lines.append(f"{place.path}: {source.kind}, {place.n_bytes:,} bytes")
            for table in tables if place.tree is None else [place.tree]:
                lines += _describe_table(source, table)
            if not tables:
                lines.append("  no tree or dataset")
    # names that are no text of any alphabet could not be printed
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _describe_table(source: Source, table: str) -> list[str]:
    try:
        with readable(source.path, source.kind):
            source.choose(table)
            size = f"{source.n_rows(()):,} events, {len(source.names)} columns"
            usable = source.scalar_names()
    except InputError as error:
        return [f"  {table or 'top level'}: {error}"]
    others = [name for name in source.names if name not in usable]
    lines = textwrap.wrap(", ".join(usable), width=96)
    if others:
        lines += textwrap.wrap(f"not one number per event: {', '.join(others)}", width=96)
    head = f"  {table or 'top level'}: {size} ({source.kind})"
    return [head, *(f"    {line}" for line in lines)]


def _pair(name: str, edges: Iterable[float]) -> tuple[float, float]:
    try:
        lower, upper = map(float, edges)
    except (TypeError, ValueError):
        lower = upper = math.nan
    if not lower < upper:
        raise InputError.from_parts(expected=f"limits (lower, upper) of {name!r}", got=repr(edges), do="order them")
    return lower, upper
