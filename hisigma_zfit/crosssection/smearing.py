"""Random numbers of rows: the same row has the same ones at every design point, wherever it stands in its file."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, hashed, hashed_uniform

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Integers

__all__ = ["RowNumbers", "occurrences", "row_keys"]

_OFFERED = ("standard_normal", "normal", "random", "uniform")
_HALF_STEP = 2.0**-54  # keeps uniform numbers of 53 bits away from 0, whose normal number is infinite


def occurrences(identity: Integers) -> Integers:
    """How many rows of the same identity stand before each row, shape (n,)."""
    order = np.argsort(identity, kind="stable")
    ordered = identity[order]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(new, np.arange(len(ordered)), 0))
    found = np.empty(len(identity), dtype=np.int64)
    found[order] = np.arange(len(ordered)) - first
    return found


def row_keys(identity: Integers) -> Integers:
    """A number that tells each row from all others: of its identity and of its place among rows of the same one.

    Args:
        identity: Of the hard event behind each row, shape (n,).

    Returns:
        Shape (n,).
    """
    bits = hashed(identity, 0, Purpose.SMEARING) + occurrences(identity).astype(np.uint64)
    return bits.view(np.int64)


class RowNumbers:
    """What a stochastic shift draws from, in place of a generator: numbers that belong to the rows.

    It has the methods `standard_normal`, `normal`, `random` and `uniform` of `numpy.random.Generator`.  The last or the
    first axis of what they return is that of the rows; a function has to make the same calls at every value.

    Args:
        keys: Of the rows, see `row_keys`, shape (n,).
        seed: The user's.
        name: Of the nuisance.
        numbers: Which set of numbers.
    """

    def __init__(self, keys: Integers, seed: int, name: str, *numbers: int) -> None:
        self._keys, self._seed = keys, seed
        self._numbers = (zlib.crc32(name.encode()), *numbers)
        self._calls = 0

    def random(self, size: int | tuple[int, ...] | None = None) -> Array:
        """Uniform numbers between 0 and 1, of shape `size`; one for each row by default."""
        n = len(self._keys)
        shape = (n,) if size is None else (size,) if isinstance(size, (int, np.integer)) else tuple(size)
        if n not in {shape[-1], shape[0]}:
            raise InputError.from_parts(
                expected=f"random numbers for {n} rows", got=f"the shape {shape}", do="let the last axis be the rows"
            )
        last = shape[-1] == n
        rest = shape[:-1] if last else shape[1:]
        drawn = [
            hashed_uniform(self._keys, self._seed, Purpose.SMEARING, *self._numbers, self._calls, k)
            for k in range(int(np.prod(rest)))
        ]
        self._calls += 1
        stacked = np.array(drawn).reshape(*rest, n) + _HALF_STEP
        return stacked if last else np.moveaxis(stacked, -1, 0)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: int | tuple[int, ...] | None = None) -> Array:
        """Uniform numbers between two others."""
        return np.asarray(low + (high - low) * self.random(size), dtype=np.float64)

    def standard_normal(self, size: int | tuple[int, ...] | None = None) -> Array:
        """Normal numbers with mean 0 and standard deviation 1."""
        return np.asarray(ndtri(self.random(size)), dtype=np.float64)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: int | tuple[int, ...] | None = None) -> Array:
        """Normal numbers."""
        return np.asarray(loc + scale * self.standard_normal(size), dtype=np.float64)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise InputError.from_parts(
            expected=f"one of {', '.join(_OFFERED)} of the random numbers of a shift",
            got=repr(name),
            do="make what is needed of these",
        )
