"""File formats behind `hisigma_zfit.data.read`: ROOT TTree and RNTuple, HDF5, Parquet.

Each is a small `Source`.  The format is found from the file's first bytes, not from its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.data.source import Source, choose_table, is_number, readable
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hisigma_zfit.data.source import Chunk

__all__ = ["PUBLISHED_COLUMNS", "open_file", "open_source"]

# Columns of the two-dimensional dataset `feats` that was published with arXiv:2506.06438; the file does not name them.
PUBLISHED_COLUMNS = (
    *("tot_mass", "Hbb_mass", "Hgg_mass", "Hbb_pt", "Hgg_pt"),
    *("dR_b1_phot1", "dR_b1_phot2", "dR_b2_phot1", "dR_b2_phot2", "dR_bb", "dR_gg"),
)


class _Root(Source):
    """A TTree or RNTuple."""

    _TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
    _NUMBER = re.compile(r"bool|char|float|double|Double32_t|(std::)?u?int(8|16|32|64)_t")  # types of RNTuple fields
    kind = "ROOT"

    def _open(self) -> None:
        import uproot

        self._check_length()
        # no caches: every basket is read once, and a cache of 100 MB per file would only hold memory
        self._file = uproot.open(self.path, array_cache=None, object_cache=None)

    def tables(self) -> list[str]:
        classes = self._file.classnames(recursive=True, cycle=False)
        return [name for name, cls in classes.items() if cls in self._TREES]

    def choose(self, tree: str | None) -> None:
        self.tree = choose_table(tree, self.tables(), self.path, "tree")
        self._table = self._file[self.tree]
        self.kind = "ROOT RNTuple" if "RNTuple" in self._file.classname_of(self.tree) else "ROOT TTree"
        self.names = tuple(self._table.keys(recursive=self.kind == "ROOT TTree"))

    def _check_length(self) -> None:
        """Compare the file's size with the end that its header states: what is missing may be only read much later."""
        with self.path.open("rb") as file:
            header = file.read(20)
        version = int.from_bytes(header[4:8], "big")
        end = int.from_bytes(header[12:20] if version >= 1_000_000 else header[12:16], "big")
        size = self.path.stat().st_size
        if size < end:
            raise InputError.from_parts(
                expected=f"a ROOT file of {end} bytes",
                got=f"{size} bytes in {self.path}",
                do="it is truncated: copy or write it again",
            )

    def obstacle(self, name: str) -> str | None:
        import uproot

        branch = self._table[name]
        if self.kind == "ROOT RNTuple":
            scalar = self._NUMBER.fullmatch(branch.typename) is not None
        else:
            interpretation = branch.interpretation
            scalar = isinstance(interpretation, uproot.interpretation.numerical.Numerical) and is_number(
                np.dtype(interpretation.to_dtype)
            )
        return None if scalar else f"the type {branch.typename}"

    def n_rows(self, names: Sequence[str]) -> int:  # noqa: ARG002 - all branches are of one length
        return int(self._table.num_entries)

    def _chunks(self, names: Sequence[str], rows: int, stop: int) -> Iterator[Chunk]:
        for start in range(0, stop, rows):
            window = {"entry_start": start, "entry_stop": min(start + rows, stop)}
            yield {name: self._table[name].array(library="np", **window) for name in names}

    def close(self) -> None:
        self._file.close()


class _Hdf5(Source):
    """One-dimensional datasets in a group, or one table: two-dimensional with named columns, or of compound type."""

    kind = "HDF5"

    def _open(self) -> None:
        import h5py

        self._file = h5py.File(self.path, "r")

    def choose(self, tree: str | None) -> None:
        import h5py

        wanted = tree.strip("/") if tree is not None else None
        self.tree = choose_table(wanted, self.tables(), self.path, "dataset or group")
        found = self._file[self.tree] if self.tree else self._file
        self._table = None if isinstance(found, h5py.Group) else found
        if self._table is None:
            self._columns = {name: item for name, item in found.items() if isinstance(item, h5py.Dataset)}
            self.names = tuple(self._columns)
        else:
            self.names = self._column_names(found)

    def tables(self) -> list[str]:
        """Names of all tables, and of all groups that hold one-dimensional datasets."""
        import h5py

        found: dict[str, None] = {}

        def visit(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            if item.dtype.names or item.ndim == 2:
                found[name] = None
            elif item.ndim == 1:
                found[name.rpartition("/")[0]] = None

        self._file.visititems(visit)
        return list(found)

    def _column_names(self, table: Any) -> tuple[str, ...]:
        if table.dtype.names:
            return tuple(table.dtype.names)
        for key in ("columns", "column_names", "names"):
            if key in table.attrs:
                names = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in np.ravel(table.attrs[key]))
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
        if self._table is None:
            column = self._columns[name]
            scalar, got = column.ndim == 1 and is_number(column.dtype), f"{column.dtype} of shape {column.shape}"
        else:
            dtype = self._table.dtype[name] if self._table.dtype.names else self._table.dtype
            scalar, got = is_number(dtype), str(dtype)
        return None if scalar else f"the type {got}"

    def n_rows(self, names: Sequence[str]) -> int:
        if self._table is not None:
            return int(self._table.shape[0])
        lengths = {name: len(self._columns[name]) for name in names or self.names}
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
        self._file.close()


class _Parquet(Source):
    """A Parquet file; null counts as NaN."""

    kind = "Parquet"

    def _open(self) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(self.path)

    def tables(self) -> list[str]:
        return [""]

    def choose(self, tree: str | None) -> None:  # noqa: ARG002 - a Parquet file is one table
        self._schema = self._file.schema_arrow
        self.names = tuple(self._schema.names)

    def obstacle(self, name: str) -> str | None:
        from pyarrow import types

        kind = self._schema.field(name).type
        scalar = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        return None if scalar else f"the type {kind}"

    def n_rows(self, names: Sequence[str]) -> int:  # noqa: ARG002 - all columns are of one length
        return int(self._file.metadata.num_rows)

    def _chunks(self, names: Sequence[str], rows: int, stop: int) -> Iterator[Chunk]:
        for batch in self._file.iter_batches(batch_size=rows, columns=list(names)):
            yield {name: self._numbers(batch.column(name))[:stop] for name in names}
            stop -= batch.num_rows
            if stop <= 0:
                return

    @staticmethod
    def _numbers(column: Any) -> npt.NDArray[Any]:
        if column.null_count and str(column.type) == "bool":
            column = column.cast("uint8")  # numpy has no missing boolean; as a number it becomes NaN
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def close(self) -> None:
        self._file.close()


def open_source(path: Path, tree: str | None) -> Source:
    """Open a file of any known format.

    Args:
        path: The file.
        tree: Tree, dataset or group in it; None takes the only one.  A Parquet file has no such choice.

    Raises:
        InputError: The file is of no known format, truncated or damaged, or has no such table.
    """
    source = open_file(path)
    try:
        with readable(path, source.kind):
            source.choose(tree)
    except BaseException:
        source.close()
        raise
    return source


def open_file(path: Path) -> Source:
    """Open a file of any known format, before a table is chosen.

    Raises:
        InputError: The file is of no known format, truncated or damaged.
    """
    kind = _format(path)
    with readable(path, kind.kind):
        return kind(path)


def _format(path: Path) -> type[_Root | _Hdf5 | _Parquet]:
    import h5py

    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise InputError.from_parts(
            expected="a readable file", got=f"{path} ({error.strerror})", do="check its permissions"
        ) from error
    if magic[:4] == b"root":
        return _Root
    if magic[:4] == b"PAR1":
        return _Parquet
    if magic == b"\x89HDF\r\n\x1a\n" or h5py.is_hdf5(path):  # the signature may follow a block of the user's own
        return _Hdf5
    expected = "a ROOT file" if path.suffix == ".root" else "a ROOT, HDF5 or Parquet file"
    got = "an empty file" if not magic else f"a file that begins with {magic!r}"
    raise InputError.from_parts(expected=expected, got=f"{got} ({path})", do="check the path, or convert the file")
