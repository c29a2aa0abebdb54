"""Columns of whatever holds columns in memory, without importing the libraries that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

__all__ = ["Table", "columns_of"]

# mapping of names to arrays, pandas DataFrame, awkward array of records, structured array of numpy
Table = Mapping[str, npt.ArrayLike] | Any


def columns_of(table: Table) -> dict[str, npt.NDArray[Any]]:
    """Columns by name, each an array.

    Raises:
        InputError: It is no table, a name is no text, or values are missing.
    """
    names = _names(table)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise InputError.from_parts(
            expected="columns whose names are text", got=repr(wrong[0]), do="name them, as in {'m': values}"
        )
    return {name: _array(table[name], name) for name in names}


def _names(table: Any) -> list[Any]:
    if isinstance(table, Mapping):
        return list(table)
    if isinstance(table, np.ndarray):
        found: Any = table.dtype.names
    else:
        # a pandas DataFrame; an awkward array, which has none without records
        found = getattr(table, "fields", None) if hasattr(table, "fields") else getattr(table, "columns", None)
    if found is None or isinstance(table, type):
        raise InputError.from_parts(
            expected="columns with names: a mapping, a DataFrame, or an array of records",
            got=type(table).__name__,
            do="give a mapping such as {'m': values}",
        )
    return list(found)


def _array(values: Any, name: str) -> npt.NDArray[Any]:
    """An array of numpy; what is missing must not become a number that hides under a mask."""
    missing = InputError.from_parts(
        expected=f"one number per event in column {name!r}",
        got="missing values or lists of several",
        do="drop those events, or flatten the column",
    )
    if hasattr(values, "layout") and hasattr(values, "to_numpy"):  # awkward
        try:
            return np.asarray(values.to_numpy(allow_missing=False))
        except (ValueError, TypeError) as error:
            raise missing from error
    if np.ma.is_masked(values):
        raise missing
    return np.asarray(values)
