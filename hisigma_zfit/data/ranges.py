"""Ranges of a zfit space: one, or several as in a fit of sidebands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zfit

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["Range", "described", "inside", "ranges"]

Range = dict[str, tuple[float, float]]  # observable -> lower and upper edge


def ranges(space: zfit.Space) -> list[Range]:
    """Every range of a space; one without observables where it has no limits."""
    if not space.has_limits:
        return [{}]
    found = []
    for part in space:  # itself, unless it has several ranges
        edges = np.asarray(part.v1.lower, dtype=np.float64), np.asarray(part.v1.upper, dtype=np.float64)
        found.append({name: (float(lower), float(upper)) for name, lower, upper in zip(space.obs, *edges, strict=True)})
    return found


def inside(columns: Mapping[str, Array], parts: Sequence[Range]) -> Mask:
    """Which events are in one of the ranges, edges included, shape (n,).

    Args:
        columns: Values of every observable that has limits.
        parts: The ranges.
    """
    each = []
    for part in parts:
        keep = np.ones(len(next(iter(columns.values()))), dtype=bool)
        for name, (lower, upper) in part.items():
            keep &= (columns[name] >= lower) & (columns[name] <= upper)
        each.append(keep)
    return np.logical_or.reduce(each)


def described(parts: Sequence[Range]) -> str:
    """Ranges in words, such as "m in [90, 115] or m in [135, 180]"."""
    return " or ".join(
        " and ".join(f"{name} in [{lower:g}, {upper:g}]" for name, (lower, upper) in part.items()) for part in parts
    )
