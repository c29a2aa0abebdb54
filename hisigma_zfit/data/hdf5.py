"""HDF5 files: what lies in the file itself, and nothing that it only points to.

A dataset may be made of parts of other files (virtual), be a link to one, or name any file of the machine as its raw
storage.  HDF5 follows all three without a word, fills in what is missing, and no digest of the file covers them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data.source import Source, choose_table, is_number
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.data.source import Chunk

__all__ = ["PUBLISHED_COLUMNS", "Hdf5"]

# Columns of the two-dimensional dataset `feats` that was published with arXiv:2506.06438; the file does not name them.
PUBLISHED_COLUMNS = (
    *("tot_mass", "Hbb_mass", "Hgg_mass", "Hbb_pt", "Hgg_pt"),
    *("dR_b1_phot1", "dR_b1_phot2", "dR_b2_phot1", "dR_b2_phot2", "dR_bb", "dR_gg"),
)


class Hdf5(Source):
    """One-dimensional datasets in a group, or one table: two-dimensional with named columns, or of compound type."""

    kind = "HDF5"

    def _open(self) -> None:
        import h5py

        self._file = h5py.File(self.path, "r")
        self._raw: dict[str, Any] = {}  # names as h5py has them: those that are no text are bytes

    def choose(self, tree: str | None) -> None:
        """See `Source.choose`."""
        import h5py

        wanted = tree.strip("/") if tree is not None else None
        self.tree = choose_table(wanted, self.tables(), self.path, "dataset or group")
        found = self._file[self._raw[self.tree]] if self.tree else self._file
        self._table = None if isinstance(found, h5py.Group) else found
        if self._table is None:
            self._columns = dict(_datasets(found))
            self.names = tuple(self._columns)
        else:
            self.names = self._column_names(found)

    def tables(self) -> list[str]:
        """Names of all tables, and of all groups that hold one-dimensional datasets."""
        import h5py

        def visit(name: Any, item: Any) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            if item.dtype.names or item.ndim == 2:
                self._raw[_text(name)] = name
            elif item.ndim == 1:
                group = name.rpartition(b"/" if isinstance(name, bytes) else "/")[0]
                self._raw[_text(group)] = group

        self._raw.clear()
        self._file.visititems(visit)  # which follows no link
        return list(self._raw)

    def _column_names(self, table: Any) -> tuple[str, ...]:
        if table.dtype.names:
            return tuple(table.dtype.names)
        for key in ("columns", "column_names", "names"):
            if key in table.attrs:
                names = tuple(map(_text, np.ravel(table.attrs[key])))
                if len(names) == table.shape[-1]:
                    return names
        if table.ndim == 2 and table.shape[1] == len(PUBLISHED_COLUMNS):
            return PUBLISHED_COLUMNS
        raise InputError.from_parts(
            expected=f"a dataset with named columns, or the {len(PUBLISHED_COLUMNS)} published ones, in {self.path}",
            got=f"{self.tree!r} of shape {table.shape} without an attribute 'columns'",
            do="store its column names in that attribute, or write one-dimensional datasets",
        )

    def obstacle(self, name: str) -> str | None:
        """See `Source.obstacle`."""
        if self._table is None:
            column = self._columns[name]
            if isinstance(column, str):
                return column
            scalar, got = column.ndim == 1 and is_number(column.dtype), f"{column.dtype} of shape {column.shape}"
        else:
            column = self._table
            dtype = self._table.dtype[name] if self._table.dtype.names else self._table.dtype
            scalar, got = is_number(dtype), str(dtype)
            if self.names.count(name) > 1:
                return f"{self.names.count(name)} columns of that name"
        return _elsewhere(column, self.path.stat().st_size) if scalar else f"the type {got}"

    def n_rows(self, names: Sequence[str]) -> int:
        """See `Source.n_rows`."""
        if self._table is not None:
            return int(self._table.shape[0])
        lengths = {
            name: len(self._columns[name]) for name in names or self.names if not isinstance(self._columns[name], str)
        }
        if len(set(lengths.values())) > 1:
            raise InputError.from_parts(
                expected=f"datasets of one length in {self.where}",
                got=", ".join(f"{name}: {n}" for name, n in lengths.items()),
                do="choose columns of the same events",
            )
        return next(iter(lengths.values()), 0)

    def _chunks(self, names: Sequence[str], rows: int, stop: int) -> Iterator[Chunk]:
        if self._table is not None:
            # a table is stored by rows: a chunk holds all its columns
            rows = max(1, rows * len(names) // len(self.names))
        for start in range(0, stop, rows):
            window = slice(start, min(start + rows, stop))
            if self._table is None:
                yield {name: self._columns[name][window] for name in names}
                continue
            block = self._table[window]
            fields = block if block.dtype.names else dict(zip(self.names, block.T, strict=True))
            yield {name: fields[name].copy() for name in names}  # copies: a view would keep the whole block alive

    def close(self) -> None:
        """See `Source.close`."""
        self._file.close()


def _text(name: Any) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def _datasets(group: Any) -> Iterator[tuple[str, Any]]:
    """Datasets of a group by name; of a link the reason why it is not followed."""
    import h5py

    for name in group:
        raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
        if group.id.links.get_info(raw).type == h5py.h5l.TYPE_HARD:
            item = group[name]
            if isinstance(item, h5py.Dataset):
                yield _text(name), item
        else:
            yield _text(name), "a link, perhaps to another file"


def _elsewhere(dataset: Any, size: int) -> str | None:
    """Say what of a dataset is not in its file; None if all of it is.

    Args:
        dataset: As h5py has opened it.
        size: Bytes of the file.
    """
    if dataset.is_virtual:
        return "a virtual dataset, whose values are in other files"
    if dataset.external:
        return f"values stored outside, in {dataset.external[0][0]}"
    missing = "rows that were never written"
    if dataset.chunks is not None:
        chunks = math.prod(-(-length // own) for length, own in zip(dataset.shape, dataset.chunks, strict=True))
        return None if dataset.id.get_num_chunks() == chunks else missing
    stored = dataset.id.get_storage_size()
    return None if stored == dataset.nbytes and stored <= size else missing
