"""What a file format offers to `hisigma_zfit.data.columns`: named columns, in chunks of rows, in file order."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Chunk", "Source", "choose_table", "is_number", "readable"]

Chunk = dict[str, npt.NDArray[Any]]


class Source(ABC):
    """One open file and one table of columns in it.

    Attributes:
        path: The file.
        kind: Format in words, for messages and reports.
        tree: Name of the table inside the file, or an empty string.
        names: All columns, in the file's order.
        weight_column: Column that is the weight unless another is asked for; None where events have none of their own.
        identity_column: The same of the identity.
        dropped: Reason -> events that are missing already.
    """

    kind: str
    tree: str = ""
    names: tuple[str, ...]
    weight_column: str | None = None
    identity_column: str | None = None
    dropped: Mapping[str, int] = MappingProxyType({})

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Open the file."""

    @abstractmethod
    def tables(self) -> list[str]:
        """Names of all tables in the file; an empty one stands for the file itself."""

    @abstractmethod
    def choose(self, tree: str | None) -> None:
        """Choose the table: by name, or the only one there is.

        Raises:
            InputError: There is no such table, or None was given and there is not exactly one.
        """

    @property
    def where(self) -> str:
        """File and table, for messages."""
        return f"{self.path}:{self.tree}" if self.tree else str(self.path)

    @abstractmethod
    def obstacle(self, name: str) -> str | None:
        """Say why a column is not one number per row; None if it is."""

    @abstractmethod
    def n_rows(self, names: Sequence[str]) -> int:
        """Count the rows of some columns."""

    @abstractmethod
    def _chunks(self, names: Sequence[str], rows: int, stop: int) -> Iterator[Chunk]:
        """Yield the first `stop` rows of some columns, at most about `rows` at a time, in file order."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def scalar_names(self) -> list[str]:
        """All columns that hold one number per row.

        Raises:
            InputError: The file is damaged.
        """
        with readable(self.path, self.kind):
            return [name for name in self.names if self.obstacle(name) is None]

    def require(self, names: Sequence[str]) -> None:
        """Check that columns can be used.

        Raises:
            InputError: A column holds something else than one number per row.
        """
        for name in names:
            with readable(self.path, self.kind):
                obstacle = self.obstacle(name)
            if obstacle is not None:
                raise InputError.from_parts(
                    expected=f"one number per event in branch {name!r} of {self.where}",
                    got=obstacle,
                    do="flatten it before, or choose another branch",
                )

    def chunks(self, names: Sequence[str], chunk_bytes: int, stop: int) -> Iterator[Chunk]:
        """Yield one or more columns in chunks of rows: floats as float64, integers of 64 bits, booleans as they are.

        One number type per kind makes expressions give the same values from every format.
        """
        rows = max(1, chunk_bytes // (8 * len(names)))
        left = stop
        with readable(self.path, self.kind):
            for chunk in self._chunks(names, rows, stop):
                found = len(chunk[names[0]])
                # a header may promise rows that are not there
                if not found or any(len(chunk[name]) != found for name in names):
                    break
                left -= found
                yield {name: _widen(chunk[name]) for name in names}
        if left:
            raise InputError.from_parts(
                expected=f"{stop} rows in {self.where}",
                got=f"{stop - left}, of columns of one length",
                do="it is truncated or damaged: copy or write it again",
            )


def _widen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind == "b":
        return values
    if values.dtype == np.uint64:
        return values
    return values.astype(np.int64 if values.dtype.kind in "iu" else np.float64, copy=False)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


@contextlib.contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a format library raises on broken bytes into one clear line."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the format libraries raise what the broken bytes happen to lead to
        raise InputError.from_parts(
            expected=f"a readable {kind} file",
            got=f"{path}, which breaks while it is read ({_first_line(error)})",
            do="it is truncated or damaged: copy or write it again",
        ) from error


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether values of this type are one number each."""
    return dtype.kind in "biuf" and dtype.shape == ()


def choose_table(wanted: str | None, found: Sequence[str], path: Path, what: str) -> str:
    """The table that is wanted, or the only one; an `InputError` names what is there instead."""
    listed = ", ".join(repr(name) if name else "the top level" for name in found)
    if wanted is not None:
        if wanted.partition(";")[0] in found:  # ROOT keys may carry a cycle number, as in "events;2"
            return wanted
        raise InputError.from_parts(
            expected=f"a {what} {wanted!r} in {path}",
            got="none of that name",
            do=f"choose one of {listed}" if found else f"the file holds no {what} at all",
        )
    if len(found) == 1:
        return found[0]
    raise InputError.from_parts(
        expected=f"one {what} in {path}",
        got=listed or "none",
        do="name one with tree=" if found else "check that this is the file you meant",
    )
