"""File formats behind `hisigma_zfit.data.read`: ROOT TTree and RNTuple, HDF5, Parquet.

Each is a small `Source`.  The format is found from the file's first bytes, not from its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisigma_zfit.data.hdf5 import Hdf5
from hisigma_zfit.data.memory import Memory, is_held
from hisigma_zfit.data.parquet import Parquet
from hisigma_zfit.data.root import Root
from hisigma_zfit.data.source import Source, readable
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_file", "open_source"]


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
    kind = Memory if is_held(path) else _format(path)
    with readable(path, kind.kind):
        return kind(path)


def _format(path: Path) -> type[Root | Hdf5 | Parquet]:
    import h5py

    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise InputError.from_parts(
            expected="a readable file", got=f"{path} ({error.strerror})", do="check its permissions"
        ) from error
    if magic[:4] == b"root":
        return Root
    if magic[:4] == b"PAR1":
        return Parquet
    if magic == b"\x89HDF\r\n\x1a\n" or h5py.is_hdf5(path):  # the signature may follow a block of the user's own
        return Hdf5
    expected = "a ROOT file" if path.suffix == ".root" else "a ROOT, HDF5 or Parquet file"
    got = "an empty file" if not magic else f"a file that begins with {magic!r}"
    raise InputError.from_parts(expected=expected, got=f"{got} ({path})", do="check the path, or convert the file")
