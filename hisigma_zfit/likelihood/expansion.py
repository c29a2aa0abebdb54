"""Sums over events in which one component has almost all of the density, without visiting the events; numpy only.

Of most events the signal explains next to nothing.  There log(1 + x), x = sum_k (y_k / y_r) ratio_k / f_r being the
density of the other components relative to that of the dominating one, r, is a short power series.  What it takes of
the events are sums of ratio^alpha g(t), where g is f_r^-d times a power of t.  For f_r of the exponential family g is
smooth, so that in a narrow bin it is a polynomial through its values at a few nodes: events and ratios can be summed
once, into weights of these nodes.  A call of the likelihood then costs as much as for a hundred events.

Nothing is approximated beyond rounding as long as `FarEvents.covers` says so.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array

__all__ = ["FarEvents", "largest_share"]


_BINS, _NODES = 16, 8  # bins of t, and nodes in each
_SLOPE = 0.3  # largest exponent in half a bin: the error 0.3^8 / (2^7 8!) = 1e-11 is of a density that is small itself
_DEGREE = {1: 6, 2: 4, 3: 3}  # powers of x by number of other components; there are many monomials of several
_PRECISION = 1e-12  # of log(1 + x)
_BLOCK = 8_192  # events at a time


def largest_share(n_others: int) -> float | None:
    """Largest x whose series is exact to rounding with `n_others` other components; None for too many of them."""
    degree = _DEGREE.get(n_others)
    return None if degree is None else float((_PRECISION * (degree + 1)) ** (1.0 / (degree + 1)))


class FarEvents:
    """Events in which one component dominates.

    Args:
        t: Reduced mass of the events, shape (n,).
        ratio: Densities of the other components over the features' density of the dominating one, shape (K - 1, n).
        weights: Event weights, shape (n,), or None.
        q: Powers of t in the exponent of the dominating component's mass shape.
        dominating: Its row among the components, and its first row among the derivatives.
        others: The same of each other component; they have no shape parameters.
    """

    def __init__(
        self,
        t: Array,
        ratio: Array,
        weights: Array | None,
        *,
        q: int,
        dominating: tuple[int, int],
        others: Sequence[tuple[int, int]],
    ) -> None:
        self._q, self._dominating = q, dominating
        self._rows = np.array([row for row, _ in others])
        self._share = largest_share(len(others)) or 0.0
        self._plan = _plan(q, dominating[1], tuple(start for _, start in others))
        low, high = float(t.min()), float(t.max())
        self._half = max(high - low, 1e-9) / (2 * _BINS)
        self._middle = low + self._half * (2 * np.arange(_BINS) + 1)
        self._weights, self._largest = self._summed(t, ratio, weights)
        nodes = (self._middle[:, None] + self._half * _CHEBYSHEV).ravel()
        self._t_powers = nodes[:, None] ** np.arange(2 * q + 1)
        # from coefficients of a polynomial to those of its Taylor series about the middles, shape (bins, q + 1, q + 1)
        self._taylor = np.array(
            [
                [[math.comb(k, i) * c ** (k - i) if k >= i else 0.0 for k in range(q + 1)] for i in range(q + 1)]
                for c in self._middle.tolist()
            ]
        )

    def _summed(self, t: Array, ratio: Array, weights: Array | None) -> tuple[Array, Array]:
        """Sums of w ratio^alpha at the nodes, shape (A, nodes), and the largest ratios by bin, shape (K - 1, bins)."""
        alphas = self._plan.powers
        index = {alpha: k for k, alpha in enumerate(alphas)}
        factors = [_one_less(alpha) for alpha in alphas[1:]]
        moments, largest = np.zeros((len(alphas), _BINS, _NODES)), np.zeros((len(ratio), _BINS))
        powers, monomials = np.empty((_NODES, _BLOCK)), np.ones((len(alphas), _BLOCK))
        for start in range(0, t.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            bins = np.clip((t[block] - self._middle[0]) / (2 * self._half) + 0.5, 0, _BINS - 1).astype(np.uint8)
            order = np.argsort(bins, kind="stable")
            n, own = order.size, ratio[:, block].take(order, axis=1)
            edges = np.searchsorted(bins[order], np.arange(_BINS + 1)).tolist()
            u = (t[block][order] - self._middle[bins[order]]) / self._half
            powers[0, :n] = 1.0 if weights is None else weights[block][order]
            for below, row in itertools.pairwise(powers[:, :n]):
                np.multiply(below, u, out=row)
            for monomial, (lower, last) in zip(monomials[1:, :n], factors, strict=True):
                np.multiply(monomials[index[lower], :n], own[last], out=monomial)
            for k, (first, stop) in enumerate(itertools.pairwise(edges)):
                if first < stop:
                    moments[:, k] += monomials[:, first:stop] @ powers[:, first:stop].T
                    np.maximum(largest[:, k], own[:, first:stop].max(axis=1), out=largest[:, k])
        # weights of the nodes that have the same moments as the events
        return (moments @ np.linalg.inv(np.vander(_CHEBYSHEV, increasing=True))).reshape(len(moments), -1), largest

    def covers(self, yields: Array, polynomials: Sequence[Sequence[float]]) -> bool:
        """Whether the series are exact to rounding at some yields, shape (K,), and log mass densities."""
        row = self._dominating[0]
        local = self._taylor @ np.array(polynomials[row])
        spread = np.abs(local[:, 1:]) @ self._half ** np.arange(1, self._q + 1)
        if not (yields[row] > 0.0 and spread.max() <= _SLOPE):
            return False
        relative = np.abs(yields[self._rows]) / yields[row]
        return bool((np.exp(spread - local[:, 0]) * (relative @ self._largest)).max() <= self._share)

    def _evaluate(self, yields: Array, polynomials: Sequence[Sequence[float]], rows: slice) -> tuple[float, Array]:
        """Sum of w log(sum_k y_k p_k), and the sums of some of the kinds with all powers of t."""
        row, plan = self._dominating[0], self._plan
        log_density = self._t_powers[:, : self._q + 1] @ np.array(polynomials[row])
        inverse = np.exp(-np.arange(plan.degrees[-1] + 1)[:, None] * log_density)
        sums = (self._weights * inverse[plan.degrees]) @ self._t_powers
        factors = np.prod((yields[self._rows] / yields[row]) ** plan.exponents, axis=1)
        found = (plan.coefficients[rows] * factors[plan.sources[rows]]) @ sums
        plain = self._weights[0] @ log_density + sums[0, 0] * math.log(yields[row])
        return float(plain + found[-1, 0]), found

    def log_sum(self, yields: Array, polynomials: Sequence[Sequence[float]]) -> float:
        """Sum of w log(sum_k y_k p_k) over the events; see `add`."""
        return self._evaluate(yields, polynomials, slice(-1, None))[0]

    def add(
        self, yields: Array, polynomials: Sequence[Sequence[float]], products: Array, seconds: Sequence[Array]
    ) -> float:
        """Add the events to the sums that the likelihood's derivatives are made of.

        Args:
            yields: Of all components, shape (K,).
            polynomials: Coefficients of each component's log mass density in t, the constant first.
            products: Sums of products of derivative rows, the last column of the rows themselves; changed in place.
            seconds: Sums of a_k T T^T for each component; changed in place.

        Returns:
            Sum of w log(sum_k y_k p_k) over the events.
        """
        total, found = self._evaluate(yields, polynomials, slice(None))
        found[:-1] /= (yields[self._dominating[0]] ** self._plan.orders)[:, None]
        row, column, kind, power = self._plan.to_products
        products[row, column] += found[kind, power]
        first, powers = self._plan.hankel
        seconds[self._dominating[0]][: self._q, : self._q] += found[first, powers]
        return total


class _Plan(NamedTuple):
    """Which sums go where, whatever the events are; see `_plan`.

    Attributes:
        powers: Alpha of the monomials, A of them.
        exponents: The same, shape (A, K - 1).
        degrees: Their sums, shape (A,).
        coefficients: Of the sums that each kind is made of, the last one that of log(1 + x), shape (kinds + 1, A).
        sources: Monomial whose factor of the yields each takes, shape (kinds + 1, A).
        orders: p of each kind.
        to_products: Row, column, kind and power of t of what is added to the products of derivatives.
        hankel: Kind and powers of t of the second derivatives by the shape.
    """

    powers: list[tuple[int, ...]]
    exponents: Array
    degrees: npt.NDArray[np.intp]
    coefficients: Array
    sources: npt.NDArray[np.intp]
    orders: npt.NDArray[np.intp]
    to_products: npt.NDArray[np.intp]
    hankel: tuple[int, npt.NDArray[np.intp]]


@lru_cache
def _plan(q: int, start: int, starts: tuple[int, ...]) -> _Plan:
    """Find out once which sums go where.

    The sums are those of w log(1 + x) and of w (1 + x)^-p prod_k (ratio_k / f_r)^e_k t^j for p = 1, 2 and all
    exponents e that derivatives need.  Each is a row of coefficients of the sums of (ratio / f_r)^alpha t^j.

    Args:
        q: Powers of t in the exponent of the dominating component's mass shape.
        start: Its first row among the derivatives.
        starts: Those of the others.
    """
    n = len(starts)
    every = itertools.product(range(_DEGREE[n] + 1), repeat=n)
    powers = sorted((a for a in every if sum(a) <= _DEGREE[n]), key=sum)
    unit = [tuple(int(i == k) for i in range(n)) for k in range(n)]
    none = (0,) * n
    kinds: dict[tuple[int, tuple[int, ...]], int] = {}
    to_products: list[tuple[int, int, int, int]] = []
    columns = [(start + i, none, i) for i in range(q + 1)]
    columns += [(at, e, 0) for at, e in zip(starts, unit, strict=True)]
    for at, e, i in columns:
        to_products.append((at, -1, kinds.setdefault((1, e), len(kinds)), i))
        for other, f, j in columns:
            both = (2, tuple(a + b for a, b in zip(e, f, strict=True)))
            to_products.append((at, other, kinds.setdefault(both, len(kinds)), i + j))
    index = {alpha: k for k, alpha in enumerate(powers)}
    shape = (len(kinds) + 1, len(powers))
    coefficients, sources = np.zeros(shape), np.zeros(shape, dtype=np.intp)
    for kind, (power, e) in enumerate(kinds):
        for alpha in powers:
            total = tuple(a + b for a, b in zip(alpha, e, strict=True))
            if total in index:
                d = sum(alpha)
                binomial = (-1.0) ** d * (1.0 if power == 1 else d + 1.0)
                coefficients[kind, index[total]] = binomial * _multinomial(alpha)
                sources[kind, index[total]] = index[alpha]
    for k, alpha in enumerate(powers[1:], start=1):
        coefficients[-1, k] = (-1.0) ** (sum(alpha) + 1) / sum(alpha) * _multinomial(alpha)
        sources[-1, k] = k
    exponents = np.array(powers)
    return _Plan(
        powers,
        exponents,
        exponents.sum(axis=1),
        coefficients,
        sources,
        np.array([power for power, _ in kinds]),
        np.array(to_products).T,
        (kinds[1, none], np.add.outer(np.arange(1, q + 1), np.arange(1, q + 1))),
    )


# Roots of Chebyshev's polynomial: interpolation there is as good as can be.
_CHEBYSHEV = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)


def _one_less(alpha: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The powers of a monomial without one of its factors, and the index of that factor."""
    last = max(i for i, a in enumerate(alpha) if a)
    return tuple(a - (i == last) for i, a in enumerate(alpha)), last


def _multinomial(powers: Sequence[int]) -> float:
    """Coefficient of x^powers in (x_1 + x_2 + ...)^sum(powers)."""
    return float(math.factorial(sum(powers)) // math.prod(math.factorial(a) for a in powers))
