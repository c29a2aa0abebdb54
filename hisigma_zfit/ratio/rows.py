"""Simulated events of one process as trainings of ratios see them: nominal, and shifted at a design point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32, Integers

__all__ = ["CountedRows", "ProcessRows", "ShiftedRows"]


@dataclass(frozen=True)
class CountedRows:
    """Rows of one process in counting bins, one by one.

    Attributes:
        cell: Shape (k,); see `ratio.structure`.
        weights: Shape (k,).
        event: Identity of the hard event behind each, shape (k,).
    """

    cell: Integers
    weights: Array
    event: Integers


@dataclass(frozen=True)
class ProcessRows:
    """The nominal simulation of one process.

    Attributes:
        name: The process.
        x: Features, shape (n, d).
        weights: Expected events that each row stands for, shape (n,).
        event: Identity of the hard event behind each row, shape (n,); several rows may share one.
        fold: Which models have not seen it, shape (n,): row i is scored by the models of fold ``fold[i]``, which were
            trained without the rows of that fold.
        cell: Where it is counted, shape (n,); -1 for nowhere.  See `ratio.structure`.
        scores: Shares of the processes, shape (n, P); NaN where an event was not scored, None before any was.
    """

    name: str
    x: Float32
    weights: Array
    event: Integers
    fold: Integers
    cell: Integers
    scores: Float32 | None = None


@dataclass(frozen=True)
class ShiftedRows:
    """The same process at one design point; only the rows in unbinned cells.

    Attributes:
        row: Which nominal row each is the shifted version of, shape (m,); -1 where there is none, or nobody knows
            it.  A nominal row may have several, whose weights share its own.
        x: Features after the shift, shape (m, d).
        weights: After the shift, shape (m,).
        fold: As of the nominal row, shape (m,).
        cell: Where it is counted after the shift, shape (m,).
        sums: Sum of weights of all rows after the shift by cell, shape (B,).
        squares: Sum of their squares, shape (B,); of several versions of one row as if they were one.
        event: Identity of the hard event behind each row, shape (m,).
        scores: Shares of the processes, shape (m, P); None where no region is one of scores.
        counted: The rows in counting bins; None where only their sums were wanted.
    """

    row: Integers
    x: Float32
    weights: Array
    fold: Integers
    cell: Integers
    sums: Array
    squares: Array
    event: Integers | None = None
    scores: Float32 | None = None
    counted: CountedRows | None = None
