"""Parquet files: one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.data.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.data.source import Chunk

__all__ = ["Parquet"]


class Parquet(Source):
    """A Parquet file; null counts as NaN."""

    kind = "Parquet"

    def _open(self) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(self.path)

    def tables(self) -> list[str]:
        """See `Source.tables`."""
        return [""]

    def choose(self, tree: str | None) -> None:  # noqa: ARG002 - a Parquet file is one table
        """See `Source.choose`."""
        self._schema = self._file.schema_arrow
        self.names = tuple(dict.fromkeys(self._schema.names))

    def obstacle(self, name: str) -> str | None:
        """See `Source.obstacle`."""
        from pyarrow import types

        places = self._schema.get_all_field_indices(name)
        if len(places) > 1:
            return f"{len(places)} columns of that name"
        kind = self._schema.field(places[0]).type
        scalar = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        return None if scalar else f"the type {kind}"

    def n_rows(self, names: Sequence[str]) -> int:  # noqa: ARG002 - all columns are of one length
        """See `Source.n_rows`."""
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
        """See `Source.close`."""
        self._file.close()
