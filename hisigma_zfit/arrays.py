"""The arrays that everything here is made of: one name for each kind, and room for those that memory may not hold."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing import IO

__all__ = [
    "Array",
    "Float32",
    "Growing",
    "Integers",
    "Mask",
    "Unnamed",
    "joined",
    "kept",
    "room_for",
    "stacked",
    "taken",
]

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.signedinteger[Any]]

LARGE = 32 * 2**20  # bytes; smaller arrays are kept in memory


class Unnamed(mmap.mmap):
    """The memory of a file without a name, which nobody else can open."""


def room_for(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array to be filled: in memory, or if it is large in a file without a name, in the folder of `tempfile`.

    What is in a file need not be in memory: the system reads the parts that are asked for, and writes out what it has
    no room for.  The file is gone with the array, whatever becomes of the process.

    Args:
        shape: Its shape.
        dtype: Its type.

    Raises:
        OSError: The folder has no room for it.

    Example:
        >>> room_for((2, 3), np.float64).shape
        (2, 3)
    """
    n_bytes = math.prod((shape,) if isinstance(shape, int) else shape) * np.dtype(dtype).itemsize
    if n_bytes < LARGE:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="hisigma-") as file:
        allocate: Any = getattr(os, "posix_fallocate", None)
        if allocate is None:
            file.truncate(n_bytes)
        else:  # a full disk is an error here, and not the end of the process later
            allocate(file.fileno(), 0, n_bytes)
        return np.ndarray(shape, dtype, buffer=Unnamed(file.fileno(), n_bytes))


class Growing:
    """An array that is made of pieces, of which nobody knows how many there will be; see `room_for`."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[Any]] = []
        self._n_bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, part: npt.NDArray[Any]) -> None:
        """Add a piece, of the type of those before."""
        self._parts.append(part)
        self._n_bytes += part.nbytes
        if self._n_bytes >= LARGE:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="hisigma-")  # noqa: SIM115 - closed when it is mapped
            for own in self._parts:
                self._file.write(np.ascontiguousarray(own).data)
            del self._parts[:-1]
            self._parts[0] = part[:0]  # what is left of it is its type

    def whole(self) -> npt.NDArray[Any]:
        """All pieces in a row, shape (n, ...); nothing can be added any more."""
        if self._file is None:
            return np.concatenate(self._parts)
        with self._file as file:
            for part in self._parts:
                file.write(np.ascontiguousarray(part).data)
            file.flush()
            last = self._parts[-1]
            shape = (self._n_bytes // (last.itemsize * math.prod(last.shape[1:])), *last.shape[1:])
            return np.ndarray(shape, last.dtype, buffer=Unnamed(file.fileno(), self._n_bytes))


def joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """As `numpy.concatenate`, with `room_for` the result."""
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    return np.concatenate(parts, out=room_for(shape, np.result_type(*parts)))


def kept(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same array, with `room_for` it."""
    if array.nbytes < LARGE:
        return array
    copy = room_for(array.shape, array.dtype)
    copy[...] = array
    return copy


def stacked(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Columns of shape (n,) as (n, d), as `numpy.stack`, with `room_for` the result."""
    return np.stack(columns, axis=1, out=room_for((len(columns[0]), len(columns)), np.result_type(*columns)))


def taken(array: npt.NDArray[Any], rows: Integers | Mask) -> npt.NDArray[Any]:
    """Rows by their numbers or by a mask, as ``array[rows]``, with `room_for` the result."""
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    # a mode that cannot fail needs no buffer for all of it; rows that are not there are none of ours
    return np.take(array, rows, axis=0, out=room_for((len(rows), *array.shape[1:]), array.dtype), mode="clip")
