"""Sums over events, bins and rates behind the likelihood of learned ratios, with derivatives in one pass; numpy only.

With e_p = g_p exp(V . a_p), R = sum_p c_p e_p, h_p = e_p / R and s_p = V'. a_p, everything that value, gradient and
Hessian of sum w ln R need are sums of h_p, of h_p a_p, of h_p s_p s_p^T and of products of first derivatives.  A bin
is an event of weight n_b whose posteriors are the shares of the processes in it, so that it enters by the same code.
Second derivatives of V need no sum of their own: they act on that of h_p a_p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.ratio.powers import norm_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Float32
    from hisigma_zfit.ratio.powers import Powers
    from hisigma_zfit.ratio.structure import RatioStructure

__all__ = ["Factors", "LogSum", "Moments", "RateSum"]

_CACHE = 2**16  # numbers in the exponents of a block of events: with their slopes they fit a second-level cache


@dataclass(frozen=True)
class Moments:
    """Sums over events or cells with weights w, by process.

    Attributes:
        number: Of w h_p, shape (P,).
        linear: Of w h_p a_p, shape (P, K).
        square: Of w h_p s_p s_p^T, shape (P, n, n).
    """

    number: Array
    linear: Array
    square: Array

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.number - other.number, self.linear - other.linear, self.square - other.square)


class LogSum:
    """Sum of w ln R over events or bins.

    Args:
        posterior: g, shape (n, P).
        exponents: a, shape (n, P, K).
        weights: w, shape (n,); None for one.
    """

    def __init__(self, posterior: Float32 | Array, exponents: Float32 | Array, weights: Array | None) -> None:
        self.size, self._processes, monomials = exponents.shape
        # a process of which no shape was learned varies alike in all events: nothing of it is summed event by event
        varies = [bool((exponents[:, p] != exponents[:1, p]).any()) for p in range(self._processes)]
        self._moving, self._order = sum(varies), np.argsort(~np.array(varies, dtype=bool), kind="stable")
        still = self._order[self._moving :]
        self._still = exponents[0, still].astype(np.float64) if self.size else np.zeros((len(still), monomials))
        self._posterior = np.ascontiguousarray(posterior.T[self._order], dtype=np.float64)
        # events last: sums over them walk through memory once, and stay single precision until they are used
        self._exponents = np.ascontiguousarray(np.moveaxis(exponents[:, self._order[: self._moving]], 0, -1))
        self._weights = weights
        length = max(_CACHE // max(self._moving * monomials, 1), 64)
        self._blocks = [slice(at, min(at + length, self.size)) for at in range(0, self.size, length)]

    @np.errstate(all="ignore")  # a ratio that is not positive is answered, not warned of
    def value(self, factors: Array, powers: Array) -> float:
        """The sum; -inf where R is not positive, nan where it is too large.

        Args:
            factors: c, shape (P,).
            powers: V, shape (K,).
        """
        total, factors = 0.0, factors[self._order]
        still = np.exp(self._still @ powers)
        for block in self._blocks:
            parts = self._posterior[:, block].copy()
            parts[: self._moving] *= np.exp(powers @ self._exponents[:, :, block].astype(np.float64))
            parts[self._moving :] *= still[:, None]
            total += self._logs(factors @ parts, block)
        return total

    @np.errstate(all="ignore")
    def evaluate(self, factors: Array, powers: Powers) -> tuple[float, Moments, Array]:
        """The sum, its moments, and products of first derivatives.

        Args:
            factors: c, shape (P,).
            powers: V and its derivatives.

        Returns:
            The last of shape (P + n, P + n): sums of w u u^T, where u holds the derivatives of ln R by c and by theta.
        """
        n, K = powers.slope.shape
        P, m = self._processes, self._moving
        total, products, factors = 0.0, np.zeros((P + n, P + n)), factors[self._order]
        number, linear, square = np.zeros(P), np.zeros((P, K)), np.zeros((P, n, n))
        rows = np.concatenate([powers.value[None], powers.slope])
        still, steady = np.exp(self._still @ powers.value), self._still @ powers.slope.T
        pull = (factors[m:, None] * steady).T
        for block in self._blocks:
            exponents = self._exponents[:, :, block].astype(np.float64)
            forms = rows @ exponents
            slopes = forms[:, 1:]
            first = np.empty((P + n, exponents.shape[2]))
            shares = first[:P]
            np.exp(forms[:, 0], out=shares[:m])
            shares[m:] = still[:, None]
            shares *= self._posterior[:, block]
            ratio = factors @ shares
            shares /= ratio
            total += self._logs(ratio, block)
            weights = None if self._weights is None else self._weights[block]
            own = shares if weights is None else shares * weights
            number += own.sum(axis=1)
            linear[:m] += (exponents @ own[:m, :, None])[:, :, 0]
            if n:
                moved = slopes * own[:m, None]
                square[:m] += moved @ slopes.transpose(0, 2, 1)
                np.einsum("p,pi,pki->ki", factors[:m], shares[:m], slopes, out=first[P:], optimize=False)
                first[P:] += pull @ shares[m:]
            products += (first if weights is None else first * weights) @ first.T
        linear[m:] = number[m:, None] * self._still
        square[m:] = number[m:, None, None] * steady[:, :, None] * steady[:, None]
        back = np.argsort(self._order)
        every = np.concatenate([back, P + np.arange(n)])
        return total, Moments(number[back], linear[back], square[back]), products[np.ix_(every, every)]

    def _logs(self, ratio: Array, block: slice) -> float:
        if not ratio.min() > 0.0:
            return -np.inf
        logs = np.log(ratio)
        return float(logs.sum() if self._weights is None else logs @ self._weights[block])


class RateSum:
    """Sum of expected events over cells, sum_p c_p sum_b N_pb exp(d0_pb + V . delta_pb).

    Args:
        size: N exp(d0), shape (P, B).
        slope: delta, shape (P, B, K).
    """

    def __init__(self, size: Array, slope: Array) -> None:
        self.size, self.slope = size, slope

    def expected(self, powers: Array) -> Array:
        """Expected events by process and cell without factors, shape (P, B), at V of shape (K,)."""
        return np.asarray(self.size * np.exp(self.slope @ powers))

    def evaluate(self, powers: Powers) -> Moments:
        """The sums over cells."""
        rates = self.expected(powers.value)
        slopes = self.slope @ powers.slope.T
        square = (slopes * rates[:, :, None]).transpose(0, 2, 1) @ slopes
        return Moments(rates.sum(axis=1), (rates[:, None] @ self.slope)[:, 0], square)


class Factors:
    """c_p, a product of parameters of interest and of factors of norm nuisances, with derivatives.

    Args:
        structure: The model.
        names: Names of all parameters, T of them.
    """

    def __init__(self, structure: RatioStructure, names: Sequence[str]) -> None:
        self._size = len(names)
        self._pois = [[names.index(name) for name in structure.pois.get(p, ())] for p in structure.processes]
        self._norms = [
            [(names.index(norm.name), norm.sizes[p], norm.kind) for norm in structure.norms if p in norm.sizes]
            for p in structure.processes
        ]

    def value(self, theta: Array) -> Array:
        """c, shape (P,), at all parameters, shape (T,)."""
        return np.array([np.prod([f for _, f, _, _ in own]) for own in self._terms(theta)])

    def derivatives(self, theta: Array) -> tuple[Array, Array, Array]:
        """c, dc and d2c, of shapes (P,), (P, T) and (P, T, T)."""
        all_terms = self._terms(theta)
        value = np.ones(len(all_terms))
        slope, bend = np.zeros((value.size, self._size)), np.zeros((value.size, self._size, self._size))
        for p, terms in enumerate(all_terms):
            sizes = np.array([f for _, f, _, _ in terms])
            value[p] = sizes.prod()
            for i, (a, _, first, second) in enumerate(terms):
                # products of the others instead of quotients: a signal strength may be zero
                others = np.delete(sizes, i)
                slope[p, a] += first * others.prod()
                bend[p, a, a] += second * others.prod()
                for k, (b, _, other, _) in enumerate(terms):
                    if k != i:
                        bend[p, a, b] += first * other * np.delete(sizes, [i, k]).prod()
        return value, slope, bend

    def _terms(self, theta: Array) -> list[list[tuple[int, float, float, float]]]:
        """Of each process: index of the parameter, factor, and its derivatives."""
        values = theta.tolist()
        return [
            [(at, values[at], 1.0, 0.0) for at in pois]
            + [(at, *norm_factor(values[at], a, kind)) for at, a, kind in norms]
            for pois, norms in zip(self._pois, self._norms, strict=True)
        ]
