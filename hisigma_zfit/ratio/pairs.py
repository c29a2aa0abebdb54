"""Simulated events before and after a shift, side by side.

Trained with pairs, the sampling fluctuation of an event cancels in the gradient of loss (8) and only its displacement
teaches.  A row that is in the region only before or only after the shift is an entry with one side, and so is every row
where nobody knows which rows belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows

__all__ = ["Pairs", "effective_events", "make_pairs"]

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio


@dataclass(frozen=True)
class Pairs:
    """All entries of one process in one region, at all design points, in an order that depends on no file's.

    Attributes:
        x: Features of all rows, nominal ones first, shape (m, d).
        n_nominal: How many of them are nominal.
        at: Where the two sides of an entry are in `x`, shape (N, 2); 0 for a side that is missing.
        weights: Of the two sides, shape (N, 2), zero for a side that is missing; those of the shifted side are divided
            by the rate exp(V . delta); of mean size one over all sides that exist.
        values: V of each design point, shape (D, K).
        point: Design point of each entry, shape (N,).
        fold: Of each entry, shape (N,).
        event: Identity of each entry's hard event, shape (N,); -1 where nobody knows.
    """

    x: Float32
    n_nominal: int
    at: Integers
    weights: Float32
    values: Float32
    point: Integers
    fold: Integers
    event: Integers

    @cached_property
    def coupled(self) -> float:
        """Share of the entries that have both sides."""
        return float(np.mean(np.all(self.weights != 0.0, axis=1))) if len(self.weights) else 0.0

    def losses(self, exponents: Array, entries: Integers) -> Array:
        """Loss (8) by entry, minus its value at Delta = 0, shape (n,).

        Args:
            exponents: V . Delta on both sides of the entries, shape (n, 2).
            entries: Which entries, shape (n,).
        """
        weights = self.weights[entries].astype(np.float64)
        both = np.logaddexp(0.0, exponents * np.array([1.0, -1.0])) - np.log(2.0)
        return np.sum(weights * both, axis=1)


def effective_events(weights: Array) -> float:
    """How many events of weight one fluctuate as much as these, (sum w)^2 / sum w^2; zero for none."""
    squares = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / squares if squares > 0.0 else 0.0


def make_pairs(
    nominal: ProcessRows,
    shifted: Sequence[ShiftedRows],
    values: Array,
    slopes: Array,
    *,
    cell: int,
    coupled: bool = True,
) -> Pairs:
    """Find the entries of loss (8).

    Args:
        nominal: The process.
        shifted: The same at each design point, D of them.
        values: V of the design points, shape (D, K).
        slopes: delta of the rates in the cell, shape (K,).
        cell: The unbinned region.
        coupled: Whether to pair rows at all.

    Raises:
        InputError: The shapes do not agree, or a shifted row names a nominal one that does not exist.
    """
    values = np.asarray(values, dtype=np.float64)
    _check(nominal, shifted, values, slopes)
    rows = np.flatnonzero(nominal.cell == cell)
    rows = rows[np.argsort(_keys(nominal.x[rows], nominal.weights[rows], nominal.event[rows]), kind="stable")]
    place = np.full(len(nominal.event) + 1, -1)  # the last one is that of row -1
    place[rows] = np.arange(len(rows))
    blocks, features, first = [], [nominal.x[rows]], len(rows)
    for d, own in enumerate(shifted):
        inside = np.flatnonzero(own.cell == cell)
        known = np.where(own.row[inside] >= 0, nominal.event[own.row[inside]], -1)
        event = known if own.event is None else own.event[inside]
        order = np.argsort(_keys(own.x[inside], own.weights[inside], event), kind="stable")
        inside, event = inside[order], event[order]
        partner = place[own.row[inside]] if coupled else np.full(len(inside), -1)
        rate = np.exp(-values[d] @ slopes)
        # a row that is shifted several times, with other random numbers, is shared by its versions
        versions = np.bincount(partner[partner >= 0], minlength=len(rows))
        shared = np.append(nominal.weights[rows] / np.maximum(versions, 1), 0.0)  # the last one is that of partner -1
        alone = np.flatnonzero(versions == 0)
        blocks.append(
            (
                np.concatenate([partner, alone]),
                np.concatenate([first + np.arange(len(inside)), np.full(len(alone), -1)]),
                np.concatenate([shared[partner], shared[alone]]),
                np.concatenate([own.weights[inside] * rate, np.zeros(len(alone))]),
                np.full(len(inside) + len(alone), d),
                np.concatenate([own.fold[inside], nominal.fold[rows[alone]]]),
                np.concatenate([event, nominal.event[rows[alone]]]),
            )
        )
        features.append(own.x[inside])
        first += len(inside)
    left, right, before, after, point, fold, event = (np.concatenate(part) for part in zip(*blocks, strict=True))
    weights = np.stack([before, after], axis=1)
    used = (
        np.any(weights != 0.0, axis=1) & np.any(values != 0.0, axis=1)[point]
    )  # at the nominal point there is nothing to learn
    weights = weights[used]
    mean = np.abs(weights[weights != 0.0]).mean() if weights.any() else 1.0
    return Pairs(
        x=np.concatenate(features).astype(np.float32, copy=False),
        n_nominal=len(rows),
        at=np.maximum(np.stack([left, right], axis=1)[used], 0).astype(np.int32),
        weights=(weights / mean).astype(np.float32),
        values=values.astype(np.float32),
        point=point[used].astype(np.int16),
        fold=fold[used].astype(np.int16),
        event=event[used],
    )


def _check(nominal: ProcessRows, shifted: Sequence[ShiftedRows], values: Array, slopes: Array) -> None:
    if values.ndim != 2 or len(values) != len(shifted) or np.shape(slopes) != values.shape[1:]:
        raise InputError.from_parts(
            expected="V of shape (D, K) and delta of shape (K,) for D design points",
            got=f"{values.shape} and {np.shape(slopes)} for {len(shifted)}",
            do="take values and slopes of the same design",
        )
    for own in shifted:
        if len(own.row) and not -1 <= own.row.min() <= own.row.max() < len(nominal.event):
            raise InputError.from_parts(
                expected=f"shifted rows that name one of {len(nominal.event)} nominal rows of {nominal.name}",
                got=f"{own.row.min()} to {own.row.max()}",
                do="shift the rows that are given as nominal",
            )


def _keys(x: Float32, weights: Array, event: Integers) -> npt.NDArray[Any]:
    """A number for each row that depends on nothing but its content, shape (n,)."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    content = (np.asarray(weights, dtype=np.float64).view(np.uint64), event.astype(np.uint64), *bits.T)
    keys = np.zeros(len(event), dtype=np.uint64)
    for part in content:
        keys = (keys ^ part) * np.uint64(_GOLDEN)
        keys ^= keys >> np.uint64(29)
    return keys
