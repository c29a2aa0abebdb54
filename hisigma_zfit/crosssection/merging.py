"""Bins of a grid that are merged until each has enough effective events, and what they are then called."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers

__all__ = ["box_name", "merged_groups"]


def box_name(region: str, bins: Mapping[str, Sequence[float]], flat: Integers) -> str:
    """Name of a cell: the region with the ranges of what it is binned in.

    Args:
        region: Its name.
        bins: Edges by axis.
        flat: The bins that it is made of, counted on from axis to axis.
    """
    shape = tuple(len(edges) - 1 for edges in bins.values())
    if len(flat) == math.prod(shape):
        return region
    at = np.unravel_index(flat, shape)
    boxed = math.prod(int(np.ptp(own)) + 1 for own in at) == len(flat)
    if not boxed:
        return f"{region} bins {'+'.join(str(k) for k in flat)}"
    ranges = [
        _range(name, edges[int(own.min())], edges[int(own.max()) + 1])
        for (name, edges), own in zip(bins.items(), at, strict=True)
        if np.ptp(own) + 1 < len(edges) - 1
    ]
    return f"{region} {', '.join(ranges)}"


def _range(name: str, lower: float, upper: float) -> str:
    return f"{name} {lower:g}+" if math.isinf(upper) else f"{name} {lower:g}-{upper:g}"


def merged_groups(old: Integers, shape: Sequence[int], sums: Array, squares: Array, fewest: float) -> Integers:
    """Merge the smallest cell with a neighbour until each has enough effective events, (sum w)^2 / sum w^2.

    Neighbours with which it makes a box come first, then those along the last axis, then the smallest.

    Args:
        old: Cell of each bin of the grid, shape (product of `shape`,).
        shape: Numbers of bins.
        sums: Sums of weights of the cells, shape (C,).
        squares: Sums of their squares, shape (C,).
        fewest: Effective events that a cell must have.

    Returns:
        New cell of each old one, shape (C,), counted from 0 in the order of their first bins.
    """
    members = {cell: {cell} for cell in range(len(sums))}
    owner = dict(zip(range(len(sums)), range(len(sums)), strict=True))
    at = np.stack(np.unravel_index(np.arange(len(old)), tuple(shape)), axis=1) if shape else np.zeros((1, 0), int)
    touching = _touching(old, tuple(shape))

    def effective(cell: int) -> float:
        own = list(members[cell])
        return float(sums[own].sum() ** 2 / squares[own].sum()) if squares[own].sum() > 0.0 else 0.0

    def boxed(cells: set[int]) -> bool:
        own = at[np.isin(old, list(cells))]
        return bool(np.prod(np.ptp(own, axis=0) + 1) == len(own))

    while len(members) > 1:
        smallest = min(members, key=lambda cell: (effective(cell), cell))
        if effective(smallest) >= fewest:
            break
        near = {(owner[b], axis) for a in members[smallest] for b, axis in touching.get(a, ()) if owner[b] != smallest}
        other, _ = min(
            near, key=lambda pair: (not boxed(members[smallest] | members[pair[0]]), -pair[1], effective(pair[0]))
        )
        members[other] |= members.pop(smallest)
        for cell in members[other]:
            owner[cell] = other
    order = {cell: k for k, cell in enumerate(sorted(members, key=lambda cell: min(members[cell])))}
    return np.array([order[owner[cell]] for cell in range(len(sums))], dtype=np.int64)


def _touching(old: Integers, shape: tuple[int, ...]) -> dict[int, set[tuple[int, int]]]:
    """By cell the neighbours of its bins, with the axis along which they are."""
    grid = old.reshape(shape)
    found: dict[int, set[tuple[int, int]]] = {}
    for axis in range(len(shape)):
        lower = np.moveaxis(grid, axis, 0)[:-1].ravel()
        upper = np.moveaxis(grid, axis, 0)[1:].ravel()
        for a, b in zip(lower.tolist(), upper.tolist(), strict=True):
            found.setdefault(a, set()).add((b, axis))
            found.setdefault(b, set()).add((a, axis))
    return found
