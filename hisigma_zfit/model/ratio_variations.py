"""Variations of a process that is known as a ratio: weights exp(V . Delta) and yields c N(nu); numpy only.

Of the variation S = exp(V . a) the change of the yield in the unbinned regions is a part: what is left,
W = S N(0) / N(nu), keeps the number of events, as the weights of any other variation do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.ratio.powers import Powers, norm_factor

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.variation_weights import MorphColumns
    from hisigma_zfit.ratio.monomials import Monomials
    from hisigma_zfit.ratio.structure import ShapeParameter

__all__ = ["RatioForm", "RatioRate", "RatioSize", "RatioWeights"]


@dataclass(frozen=True)
class RatioRate:
    """Events of one process in the unbinned regions, sum_r N_r exp(V . delta_r).

    Attributes:
        monomials: V.
        shapes: Its nuisances, n of them.
        size: N, shape (R,).
        slope: delta, shape (R, K).
    """

    monomials: Monomials
    shapes: tuple[ShapeParameter, ...]
    size: Array
    slope: Array

    def derivatives(self, theta: Array) -> tuple[Powers, float, Array, Array]:
        """V, the number of events, its gradient (n,) and Hessian (n, n) at nuisances of shape (n,)."""
        powers = Powers.of(self.monomials, self.shapes, theta)
        rates, moved = self.size * np.exp(self.slope @ powers.value), self.slope @ powers.slope.T
        hessian = (moved * rates[:, None]).T @ moved + powers.bend @ (rates @ self.slope)
        return powers, float(rates.sum()), rates @ moved, hessian


@dataclass(frozen=True)
class RatioForm:
    """What the weights of a process need besides columns; see `model.variation_weights.MorphForm`.

    Attributes:
        rate: Its number of events.
    """

    rate: RatioRate

    def weights(self, columns: MorphColumns, nu: Array) -> RatioWeights:
        """Weights of a data set at nuisances of shape (n,)."""
        return RatioWeights(self.rate, columns.columns[0], nu)


class RatioWeights:
    """Weights W of the events of one data set at one value of the nuisances.

    Args:
        rate: Number of events of the process.
        exponents: Shape (K, N).
        nu: The nuisances, shape (n,).
    """

    def __init__(self, rate: RatioRate, exponents: Array, nu: Array) -> None:
        self._exponents = exponents
        self._powers, number, slope, bend = rate.derivatives(nu)
        self._shift = float(np.log(number / rate.size.sum()))
        self._slope = slope / number
        self._bend = bend / number - np.outer(self._slope, self._slope)

    def value(self, block: slice) -> Array:
        """W of the events in a block of size B, shape (B,)."""
        return np.asarray(np.exp(self._powers.value @ self._exponents[:, block] - self._shift))

    def derivatives(self, block: slice) -> tuple[Array, Array, Array]:
        """W, d log W / d nu_j and d^2 log W / d nu_j d nu_k of the events in a block of size B.

        Returns:
            Shapes (B,), (n, B), and (n (n + 1) / 2, B) for pairs (j, k <= j) row by row.
        """
        rows = np.tril_indices(len(self._slope))
        slope = self._powers.slope @ self._exponents[:, block] - self._slope[:, None]
        bend = self._powers.bend[rows] @ self._exponents[:, block] - self._bend[rows][:, None]
        return self.value(block), slope, bend


@dataclass(frozen=True)
class RatioSize:
    """A yield prod mu prod f(nu) N(nu); its parameters are those of interest, norm nuisances, shape nuisances.

    Attributes:
        pois: Number of parameters of interest.
        norms: Relative effect and kind of the norm nuisances.
        rate: N.
    """

    pois: int
    norms: tuple[tuple[float, str], ...]
    rate: RatioRate

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) at parameters of shape (Q,)."""
        split = self.pois + len(self.norms)
        _, number, slope, bend = self.rate.derivatives(values[split:])
        parts = [(value, 1.0, 0.0) for value in values[: self.pois].tolist()]
        parts += [norm_factor(v, *norm) for v, norm in zip(values[self.pois : split].tolist(), self.norms, strict=True)]
        factors = np.array([f for f, _, _ in parts])
        gradient, hessian = np.zeros(values.size), np.zeros((values.size,) * 2)
        for i, (_, first, second) in enumerate(parts):
            others = np.delete(factors, i).prod()
            gradient[i], hessian[i, i] = first * others * number, second * others * number
            hessian[i, split:] = hessian[split:, i] = first * others * slope
            for k in range(i):
                both = first * parts[k][1] * np.delete(factors, [i, k]).prod() * number
                hessian[i, k] = hessian[k, i] = both
        gradient[split:], hessian[split:, split:] = factors.prod() * slope, factors.prod() * bend
        return float(factors.prod() * number), gradient, hessian
