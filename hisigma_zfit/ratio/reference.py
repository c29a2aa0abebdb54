"""Simulated events of the unbinned regions, of which Asimov sets and pseudo-experiments of a cross-section are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32, Integers

__all__ = ["RatioReference"]


@dataclass(frozen=True)
class RatioReference:
    """Nominal rows of all processes in the unbinned regions, scored by models that have not seen them.

    Attributes:
        posterior: g, shape (n, P); see `structure.RatioColumns`.
        exponents: a, rates included, shape (n, P, K).
        region: Which unbinned region, shape (n,).
        weights: Expected events that each row stands for, not negative, shape (n,).
        process: Which process each row is of, shape (n,).

    Raises:
        InputError: The shapes do not match, a weight is negative, or a process is none of P.
    """

    posterior: Float32
    exponents: Float32
    region: Integers
    weights: Array
    process: Integers

    def __post_init__(self) -> None:
        n, processes = self.posterior.shape
        if self.exponents.shape[:2] != (n, processes) or not all(
            own.shape == (n,) for own in (self.region, self.weights, self.process)
        ):
            raise InputError.from_parts(
                expected=f"columns of {n} rows and {processes} processes",
                got=f"exponents {self.exponents.shape}, region {self.region.shape}, weights {self.weights.shape}, "
                f"process {self.process.shape}",
                do="make all of the same rows",
            )
        if not np.all(self.weights >= 0.0):
            raise InputError.from_parts(
                expected="weights that are not negative",
                got=f"{np.count_nonzero(~(self.weights >= 0.0))} others of {n}",
                do="leave these rows out or merge them with others: they cannot be drawn",
            )
        if n and not 0 <= self.process.min() <= self.process.max() < processes:
            raise InputError.from_parts(
                expected=f"processes 0 to {processes - 1}",
                got=f"{self.process.min()} to {self.process.max()}",
                do="number them in the order of the posterior",
            )
