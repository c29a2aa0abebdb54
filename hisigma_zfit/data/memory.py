"""Events in memory in the place of files: a task reads them by an address, as it reads files by their paths.

``memory://data`` becomes the path ``memory:/data`` on its way, which no file of a user has.

An address holds for as long as its events are mounted, in this process and this call only.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.data.dataset import Dataset
from hisigma_zfit.data.source import Source, is_number
from hisigma_zfit.data.tables import columns_of
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data.source import Chunk

__all__ = ["ADDRESS", "Held", "Memory", "held_at", "is_held", "mounted"]

ADDRESS = "memory://"
_PATH = "memory:/"
_WEIGHTS, _IDENTITY = "\0weights", "\0identity"  # names that no expression can have


@dataclass(frozen=True)
class Held:
    """Events as they were given, before columns, cuts and weights are made of them.

    Attributes:
        columns: Values by name, of the types that the table has.
        weights: Of a dataset that has them.
        identity: Of a dataset.
        n_read: Events of which these are left.
        dropped: Reason -> how many of them are not.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    weights: Array | None
    identity: Integers | None
    n_read: int
    dropped: Mapping[str, int]

    @classmethod
    def of(cls, table: Any) -> Held:
        """Take a dataset, or whatever `Dataset.from_arrays` takes.

        Raises:
            InputError: It is no table, or its columns are of several lengths.
        """
        if isinstance(table, Dataset):
            report = table.report
            return cls(table.columns, table.weights, table.identity, report.n_read, report.dropped)
        columns = columns_of(table)
        lengths = {len(values) if values.ndim == 1 else None for values in columns.values()}
        if len(lengths) != 1 or None in lengths:
            raise InputError.from_parts(
                expected="columns of one length, with one number per event",
                got=", ".join(f"{name}: {values.shape}" for name, values in columns.items()) or "no column",
                do="give one value per event in each",
            )
        return cls(columns, None, None, len(next(iter(columns.values()))), {})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def n_bytes(self) -> int:
        """Size of the columns."""
        return sum(values.nbytes for values in self.columns.values())

    @property
    def digest(self) -> str:
        """SHA-256 of names, types and values, as ``"sha256:..."``."""
        whole = hashlib.sha256()
        extra = {"weights": self.weights, "identity": self.identity}
        for kind, arrays in (("column", self.columns), ("extra", extra)):
            for name, values in arrays.items():
                if values is not None:
                    whole.update(
                        f"{kind} {name!r} {values.dtype.str} {values.shape}\n".encode("utf-8", "surrogateescape")
                    )
                    whole.update(np.ascontiguousarray(values).data)
        return f"sha256:{whole.hexdigest()}"


_mounted: ContextVar[Mapping[str, Held]] = ContextVar("_mounted", default={})  # noqa: B039 - never changed in place


@contextmanager
def mounted(events: Mapping[str, Held]) -> Iterator[None]:
    """Let events be read by their names behind `ADDRESS` while this lasts."""
    token = _mounted.set({**_mounted.get(), **events})
    try:
        yield
    finally:
        _mounted.reset(token)


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether this is an address of events in memory."""
    return os.fspath(path).startswith(_PATH)


def held_at(address: str | os.PathLike[str]) -> Held:
    """Events by their address.

    Raises:
        InputError: None are there, such as in a configuration that was written by a run with events in memory.
    """
    name = os.fspath(address).removeprefix(_PATH).lstrip("/")
    try:
        return _mounted.get()[name]
    except KeyError:
        raise InputError.from_parts(
            expected=f"events in memory at {ADDRESS}{name}",
            got="none",
            do=f"give them again, as in hz.measure({name}=events), or write them to a file",
        ) from None


class Memory(Source):
    """Events in memory, which bring weights and identity along."""

    kind = "memory"

    def _open(self) -> None:
        self._held = held_at(self.path)
        self.names = tuple(self._held.columns)
        own = {_WEIGHTS: self._held.weights, _IDENTITY: self._held.identity}
        self._arrays = {**self._held.columns, **{name: values for name, values in own.items() if values is not None}}
        self.weight_column = _WEIGHTS if _WEIGHTS in self._arrays else None
        self.identity_column = _IDENTITY if _IDENTITY in self._arrays else None
        self.dropped = self._held.dropped

    def tables(self) -> list[str]:
        """See `Source.tables`."""
        return [""]

    def choose(self, tree: str | None) -> None:  # there is no choice
        """See `Source.choose`."""

    def obstacle(self, name: str) -> str | None:
        """See `Source.obstacle`."""
        dtype = self._arrays[name].dtype
        return None if is_number(dtype) else f"the type {dtype}"

    def n_rows(self, names: Sequence[str]) -> int:  # noqa: ARG002 - all columns are of one length
        """See `Source.n_rows`."""
        return len(self._held)

    def _chunks(self, names: Sequence[str], rows: int, stop: int) -> Iterator[Chunk]:
        for start in range(0, stop, rows):
            yield {name: self._arrays[name][start : min(start + rows, stop)] for name in names}

    def close(self) -> None:
        """There is nothing to close."""
