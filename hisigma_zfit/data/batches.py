"""Files that are read piece by piece, for what needs no more than a piece at a time."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from hisigma_zfit.data.account import ReadReport
from hisigma_zfit.data.columns import DEFAULT_CHUNK_BYTES, Columns, pieces
from hisigma_zfit.data.dataset import Dataset
from hisigma_zfit.data.immutable import read_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisigma_zfit.data.places import Files

__all__ = ["read_batches"]


def read_batches(
    files: Files,
    *,
    tree: str | None = None,
    columns: Columns | None = None,
    cut: str | None = None,
    weight: str | None = None,
    identity: str | None = None,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
) -> Iterator[Dataset]:
    """Read events piece by piece, of which only one is in memory; joined they are what `read` gives.

    Args:
        files: As in `read`.
        tree: As in `read`.
        columns: As in `read`.
        cut: As in `read`; a piece without an event that passes is left out.
        weight: As in `read`.
        identity: As in `read`; numbers of rows are counted on from piece to piece.
        chunk_bytes: Memory for the branches of one piece.

    Yields:
        Pieces, in the order of the files and of their rows.

    Raises:
        InputError: See `read`; files that come later are opened later.

    Example:
        >>> found = hz.read_batches(hz.examples.path("events.root"), columns=["m"], cut="pt > 20", chunk_bytes=16_000)
        >>> sum(len(batch) for batch in found)  # of about 1,000 rows each, of which 44 % pass
        1320
    """
    found = pieces(
        files, tree=tree, columns=columns, cut=cut, weight=weight, identity=identity, chunk_bytes=chunk_bytes
    )
    with closing(found):
        for own, weights, rows, n_read in found:
            report = ReadReport(n_read, len(rows), {f"cut {cut}": n_read - len(rows)} if n_read > len(rows) else {})
            if len(rows):
                yield Dataset(
                    {name: read_only(values) for name, values in own.items()},
                    None if weights is None else read_only(weights),
                    report,
                    identity=read_only(rows),
                )
