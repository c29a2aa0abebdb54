"""What must hold for a stored density before it is built: names, finite numbers, and marginals that are monotone.

A density with a NaN among its weights or with knots out of order would evaluate all the same, and be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

__all__ = ["require_sound"]


def require_sound(structure: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Check the parts of a stored density.

    Args:
        structure: Content of ``flow.json``.
        arrays: Arrays by name.

    Raises:
        ValueError: Something is wrong; the message says what.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)):
            raise ValueError(f"array {name!r} with NaN or infinite values")
    for part in _parts(structure):
        if "features" in part:
            _require_names(part["features"], part.get("given"))
        if {"knots", "levels", "slopes"} <= set(part):
            _require_marginal(part)


def _parts(structure: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping inside, from the outermost on."""
    if isinstance(structure, dict):
        yield structure
        for value in structure.values():
            yield from _parts(value)
    elif isinstance(structure, list) and any(isinstance(value, (dict, list)) for value in structure):
        for value in structure:
            yield from _parts(value)


def _require_names(features: Any, given: Any) -> None:
    names = features if isinstance(features, list) else []
    words = all(isinstance(name, str) and name for name in [*names, given])
    if not names or not words or len({*names, given}) != len(names) + 1:
        raise ValueError("features and mass without distinct names")


def _require_marginal(part: Mapping[str, Any]) -> None:
    knots, levels, slopes = (np.asarray(part[name], dtype=np.float64) for name in ("knots", "levels", "slopes"))
    if knots.ndim != 1 or len(knots) < 2 or knots.shape != levels.shape or knots.shape != slopes.shape:
        raise ValueError("knots, levels and slopes of different lengths")
    finite = all(np.all(np.isfinite(values)) for values in (knots, levels, slopes))
    if not finite or np.any(np.diff(knots) <= 0) or np.any(np.diff(levels) <= 0) or np.any(slopes <= 0):
        raise ValueError("knots, levels or slopes that do not increase")
    if levels[0] < 0 or levels[-1] > 1:
        raise ValueError("levels outside of 0 to 1")
