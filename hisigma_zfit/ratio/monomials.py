"""The monomials V(t) of which the exponents of systematic variations are made (arXiv:2505.05544)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["Monomials"]


@dataclass(frozen=True)
class Monomials:
    """All linear ones, then squares, then products of pairs: K of them for n nuisances.

    Attributes:
        nuisances: Names of the shape nuisances, n of them.
        squares: Indices of those with a square: of more than two design points along them.
        pairs: Indices of those that have a product: of a common design point.
    """

    nuisances: tuple[str, ...]
    squares: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        """K."""
        return len(self.nuisances) + len(self.squares) + len(self.pairs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the monomials are, in words, K of them."""
        own = self.nuisances
        return (*own, *(f"{own[k]}^2" for k in self.squares), *(f"{own[i]} {own[k]}" for i, k in self.pairs))

    def values(self, t: Array) -> Array:
        """V of coordinates, shape (..., K).

        Args:
            t: Shape (..., n).
        """
        t = np.asarray(t, dtype=np.float64)
        squares = t[..., list(self.squares)] ** 2
        products = t[..., [i for i, _ in self.pairs]] * t[..., [k for _, k in self.pairs]]
        return np.concatenate([t, squares, products], axis=-1)

    def gradient(self, t: Array) -> Array:
        """Derivatives of V in the coordinates, shape (n, K).

        Args:
            t: Shape (n,).
        """
        n, gradient = len(self.nuisances), np.zeros((len(self.nuisances), self.size))
        gradient[:, :n] = np.eye(n)
        for at, k in enumerate(self.squares, start=n):
            gradient[k, at] = 2.0 * t[k]
        for at, (i, k) in enumerate(self.pairs, start=n + len(self.squares)):
            gradient[i, at], gradient[k, at] = t[k], t[i]
        return gradient

    @cached_property
    def hessian(self) -> tuple[tuple[int, int, int, float], ...]:
        """Entries (i, k, A, d2 V_A / dt_i dt_k) that are not zero, for i <= k."""
        n, first = len(self.nuisances), len(self.nuisances) + len(self.squares)
        squares = [(k, k, at, 2.0) for at, k in enumerate(self.squares, start=n)]
        pairs = [(min(pair), max(pair), at, 1.0) for at, pair in enumerate(self.pairs, start=first)]
        return (*squares, *pairs)
