"""Events as the HiggsML uncertainty challenge has published them, in chunks of columns.

- FAIR_Universe_HiggsML_data.parquet (doi:10.5281/zenodo.15131565): 28 features, ``labels``, ``detailed_labels`` and
  ``weights`` in one table, with FAIR_Universe_HiggsML_data_metadata.json beside it, whose ``sum_weights`` is what the
  weights of all rows stand for; a part of the table is scaled to it, as the challenge's own reader does.
- The folder of the competition: ``train`` with data/data.parquet, or data/data.csv in its first versions, and with
  weights/data.weights and detailed_labels/data.detailed_labels, one number or word a line.
- HDF5 with one dataset of shape (n,) by column.

Jets were counted by ``PRI_jet_num`` in the first versions, by ``PRI_n_jets`` later.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Table = dict[str, npt.NDArray[Any]]

__all__ = ["LABELS", "WEIGHTS", "Published", "published"]

LABELS, WEIGHTS, JETS, FORMER_JETS = "detailed_labels", "weights", "PRI_n_jets", "PRI_jet_num"
CHUNK = 500_000  # rows in memory


@dataclass(frozen=True)
class Published:
    """A table of the challenge.

    Attributes:
        path: Of the columns.
        beside: Columns that are files of their own, one row a line.
        scale: Of the weights.
    """

    path: Path
    beside: dict[str, Path] = field(default_factory=dict)
    scale: float = 1.0

    def chunks(self, names: Sequence[str], rows: int = CHUNK) -> Iterator[Table]:
        """Columns of some rows after the others, each of shape (m,).

        Args:
            names: Of the columns.
            rows: How many at once.

        Raises:
            InputError: A column is missing, or files have different numbers of rows.
        """
        own = [name for name in names if name not in self.beside]
        lines = {name: _lines(path) for name, path in self.beside.items() if name in names}
        first = 0
        for found in self._columns(own, rows):
            n = len(next(iter(found.values())))
            chunk = found | {name: values[first : first + n] for name, values in lines.items()}
            first += n
            for name, values in chunk.items():
                if len(values) != n:
                    self._of_other_length(name, len(lines[name]), f"{first} or more")
            if WEIGHTS in chunk:
                chunk[WEIGHTS] = chunk[WEIGHTS].astype(np.float64) * self.scale
            yield chunk
        for name, values in lines.items():
            if len(values) != first:
                self._of_other_length(name, len(values), str(first))

    def _of_other_length(self, name: str, found: int, expected: str) -> None:
        raise InputError.from_parts(
            expected=f"{expected} lines in {self.beside[name]}, as {self.path} has rows",
            got=str(found),
            do="take both from one archive",
        )

    def _columns(self, names: Sequence[str], rows: int) -> Iterator[Table]:
        if self.path.suffix == ".parquet":
            with pq.ParquetFile(self.path) as file:
                there = self._names(names, file.schema_arrow.names)
                for batch in file.iter_batches(rows, columns=list(there.values())):
                    yield {name: _numpy(batch.column(theirs)) for name, theirs in there.items()}
        elif self.path.suffix == ".csv":
            table = pyarrow.csv.read_csv(self.path)
            there = self._names(names, table.column_names)
            yield {name: _numpy(table.column(theirs)) for name, theirs in there.items()}
        else:
            with h5py.File(self.path) as file:
                there = self._names(names, list(file))
                for start in range(0, len(file[next(iter(there.values()))]), rows):
                    part = slice(start, start + rows)
                    yield {  # texts are bytes in HDF5
                        name: file[theirs].asstr()[part] if name == LABELS else file[theirs][part]
                        for name, theirs in there.items()
                    }

    def _names(self, names: Sequence[str], found: Sequence[str]) -> dict[str, str]:
        """What the wanted columns are called in the file."""
        there = {name: FORMER_JETS if name == JETS and name not in found else name for name in names}
        if missing := [name for name, theirs in there.items() if theirs not in found]:
            raise InputError.from_parts(
                expected=f"a column {missing[0]} in {self.path}", got="none", do="give a table of the challenge"
            )
        return there


def _numpy(column: Any) -> npt.NDArray[Any]:
    """Of Arrow; texts may be words of a dictionary there."""
    found = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    decoded = found.dictionary_decode() if hasattr(found, "dictionary_decode") else found
    return np.asarray(decoded.to_numpy(zero_copy_only=False))


def _lines(path: Path) -> npt.NDArray[Any]:
    if not path.is_file():
        raise InputError.from_parts(expected=f"a file {path}", got="none", do="unpack the whole archive")
    words = np.array(path.read_text(encoding="utf-8").split())
    return words if path.name.endswith(LABELS) else words.astype(np.float64)


def published(source: Path) -> Published | None:
    """What lies in a file or folder; None for a folder of another kind.

    Raises:
        InputError: Its metadata cannot be read, or its weights do not sum to something positive.
    """
    if source.is_file():
        plain = Published(source)
        return Published(source, scale=_scale(plain))
    for folder in (source, source / "train", source / "input_data" / "train"):
        for name in ("data.parquet", "data.csv"):
            if (folder / "data" / name).is_file():
                beside = {own: folder / own / f"data.{own}" for own in (WEIGHTS, LABELS)}
                return Published(folder / "data" / name, beside)
    return None


def _scale(table: Published) -> float:
    """From the weights of the rows that are there to those that the metadata promise."""
    path = table.path.with_name(f"{table.path.stem}_metadata.json")
    if not path.is_file():
        return 1.0
    with _readable(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        wanted = float(content.get("sum_weights", 0.0))
    if not wanted > 0.0:
        return 1.0
    total = sum(float(chunk[WEIGHTS].sum()) for chunk in table.chunks((WEIGHTS,)))
    if not total > 0.0:
        raise InputError.from_parts(
            expected=f"weights in {table.path} with a positive sum", got=f"{total:g}", do="check the table"
        )
    return wanted / total


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError.from_parts(
            expected=f"JSON with a number sum_weights in {path}", got=str(error), do="take it from the archive again"
        ) from error
