"""Mass shapes that are linear in their coefficients, as plain numbers: polynomials and Laurent series; numpy only.

With normalised densities beta_j the shape is

    f(m) = sum_j w_j beta_j(m),    w_j = a_j / sum_i a_i,    a = b + M c,

so that to the likelihood it is a sum of frozen shapes, whose yields follow from the coefficients c.  These are those of
Bernstein's polynomials or of the terms of a Laurent series themselves (M = 1, b = 0), or those of Chebyshev's
polynomials, which are sums of Bernstein's, and of which the first has the coefficient one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import betainc

from hisigma_zfit.data.region import beside, in_any

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data.region import SignalRegion
    from hisigma_zfit.model.yields import Size

__all__ = ["LinearFamily", "ShareSize", "chebyshev_in_bernstein", "laurent_exponents"]


def laurent_exponents(degree: int) -> tuple[int, ...]:
    """Powers of the mass in a Laurent series of degree + 1 terms: -4, -5, -3, -6, -2, ... (as in arXiv:1407.0558)."""
    return tuple(-4 - (k + 1) // 2 if k % 2 else -4 + k // 2 for k in range(degree + 1))


def chebyshev_in_bernstein(degree: int) -> tuple[tuple[float, ...], ...]:
    """Coefficients of Chebyshev's polynomials T_q(2 t - 1) in Bernstein's of one degree, shape (degree + 1,) * 2."""
    # as many points as coefficients decide them
    t = 0.5 * (1.0 - np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)))
    chebyshev = np.polynomial.chebyshev.chebvander(2.0 * t - 1.0, degree)
    bernstein = np.stack([math.comb(degree, j) * t**j * (1.0 - t) ** (degree - j) for j in range(degree + 1)], axis=1)
    return tuple(map(tuple, np.linalg.solve(bernstein, chebyshev).tolist()))


@dataclass(frozen=True)
class LinearFamily:
    """See the module's text.

    Attributes:
        kind: Whether the densities beta_j are Bernstein's polynomials or powers of the mass.
        lower: Lower edge of the range in which the shape is normalised.
        upper: Upper edge.
        matrix: M, shape (J, Q).
        constant: b, shape (J,).
        parameters: c as zfit parameters, Q of them; left out in copies for other processes.
        windows: Masses of the range at which the shape is zero (see `hisigma_zfit.model.masked`); the densities beta_j
            are then normalised beside them, so that their shares of the sum follow.
    """

    kind: Literal["bernstein", "laurent"]
    lower: float
    upper: float
    matrix: tuple[tuple[float, ...], ...]
    constant: tuple[float, ...]
    parameters: tuple[Any, ...] = ()
    windows: tuple[SignalRegion, ...] = ()

    @property
    def size(self) -> int:
        """Number of densities, J."""
        return len(self.matrix)

    @property
    def _powers(self) -> tuple[int, ...]:
        return laurent_exponents(self.size - 1)

    @cached_property
    def _kept(self) -> Array:
        """Integrals beside the windows of densities that are normalised on the whole range, shape (J,)."""
        return 1.0 - sum((self._whole_shares(own.lower, own.upper) for own in self.windows), np.zeros(self.size))

    @cached_property
    def _sums(self) -> tuple[Array, Array]:
        """B and M of the densities beside the windows."""
        return np.array(self.constant) * self._kept, np.array(self.matrix) * self._kept[:, None]

    def densities(self, m: Any) -> list[Any]:
        """beta_j at masses of shape (n,) outside of the windows, numpy or TensorFlow."""
        if not self.windows:
            return self._whole_densities(m)
        return [own / kept for own, kept in zip(self._whole_densities(m), self._kept.tolist(), strict=True)]

    def _whole_densities(self, m: Any) -> list[Any]:
        if self.kind == "laurent":
            integrals = [self._power_integral(p, self.lower, self.upper) for p in self._powers]
            return [(m / self.lower) ** float(p) / whole for p, whole in zip(self._powers, integrals, strict=True)]
        t, n = (m - self.lower) / (self.upper - self.lower), self.size - 1
        height = self.size / (self.upper - self.lower)
        return [height * math.comb(n, j) * t ** float(j) * (1.0 - t) ** float(n - j) for j in range(self.size)]

    def basis(self, m: Array) -> Array:
        """The same as an array, shape (J, n)."""
        return np.stack(self.densities(m))

    def shares(self, lower: float, upper: float) -> Array:
        """Integrals of beta_j between two masses inside of the range, shape (J,)."""
        pieces = beside(lower, upper, self.windows)
        return sum((self._whole_shares(*piece) for piece in pieces), np.zeros(self.size)) / self._kept

    def _whole_shares(self, lower: float, upper: float) -> Array:
        if self.kind == "laurent":
            whole = (self.lower, self.upper)
            parts = [self._power_integral(p, lower, upper) / self._power_integral(p, *whole) for p in self._powers]
            return np.array(parts)
        first, last = ((m - self.lower) / (self.upper - self.lower) for m in (lower, upper))
        j = np.arange(self.size)
        inside: Array = betainc(j + 1, self.size - j, last) - betainc(j + 1, self.size - j, first)
        return inside

    def _power_integral(self, power: int, lower: float, upper: float) -> float:
        """Of (m / lower edge)^power."""
        low, high = lower / self.lower, upper / self.lower
        integral = math.log(high / low) if power == -1 else (high ** (power + 1) - low ** (power + 1)) / (power + 1)
        return self.lower * integral

    def weights(self, c: Array) -> tuple[Array, Array, Array]:
        """w, shape (J,), with first, (J, Q), and second derivatives, (J, Q, Q), by the coefficients of shape (Q,).

        NaN where the integral of the shape is not positive.
        """
        constant, matrix = self._sums
        a, slopes = constant + matrix @ c, matrix.sum(axis=0)
        total = float(a.sum())
        total = total if total > 0.0 else math.nan
        mixed = matrix[:, :, None] * slopes
        return (
            a / total,
            matrix / total - np.outer(a, slopes) / total**2,
            2.0 * a[:, None, None] * np.outer(slopes, slopes) / total**3 - (mixed + mixed.swapaxes(1, 2)) / total**2,
        )

    def lowest(self, c: Array) -> tuple[float, float]:
        """Least density on a fine grid of the range, in units of the average, and the mass where it is."""
        grid = np.linspace(self.lower, self.upper, 1001)
        grid = grid[~in_any(grid, self.windows)]
        density = self.weights(c)[0] @ self.basis(grid) * (self.upper - self.lower)
        at = int(np.argmin(density))
        return float(density[at]), float(grid[at])


@dataclass(frozen=True)
class ShareSize:
    """Yield of one of the frozen shapes that a linear one is made of: n w_j(c).

    Attributes:
        base: The yield n where it is composed, else None.
        sources: How many parameters it depends on; they come first, the coefficients follow.
        family: The shape.
        index: j.
    """

    base: Size | None
    sources: int
    family: LinearFamily
    index: int

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) with respect to the parameters of the yield and the coefficients."""
        own, c = values[: self.sources], values[self.sources :]
        n, slope, bend = (
            (float(own[0]), np.ones(1), np.zeros((1, 1))) if self.base is None else self.base.derivatives(own)
        )
        shares, firsts, seconds = self.family.weights(c)
        w, first, second = float(shares[self.index]), firsts[self.index], seconds[self.index]
        mixed = np.outer(slope, first)
        return n * w, np.concatenate([w * slope, n * first]), np.block([[w * bend, mixed], [mixed.T, n * second]])
