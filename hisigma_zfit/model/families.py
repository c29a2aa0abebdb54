"""Mass shapes as plain numbers: what the quick likelihood needs, also in other processes; numpy only."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data.region import beside

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data.region import SignalRegion

__all__ = ["ExponentialFamily", "quadrature"]


# 48 nodes integrate exp(-p1 t + p2 t^2) on the unit interval to 3e-14.  The closed form in erf and erfi does not: its
# second derivative in p2 cancels catastrophically near p2 = 0.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_GENTLE = 60.0  # largest coefficient of the exponent for which they do
_PARTS = 24  # of the range, each with as many nodes, for steeper ones: exact to 1e-9 up to coefficients of 20,000


def quadrature(lower: Any, upper: Any, *, parts: int = 1) -> tuple[Any, Any]:
    """Gauss-Legendre nodes and weights on [lower, upper]; numpy or TensorFlow scalars.

    Args:
        lower: Lower edge.
        upper: Upper edge.
        parts: Intervals of equal width, each with 48 nodes.
    """
    half = 0.5 * (upper - lower)
    nodes = ((2 * np.arange(parts)[:, None] + 1 + _NODES) / parts - 1.0).ravel()
    return 0.5 * (upper + lower) + half * nodes, half * np.tile(_WEIGHTS / parts, parts)


@dataclass(frozen=True)
class ExponentialFamily:
    """A shape f(m) = exp(theta . T(m) - A(theta)), normalised on [lower, upper], with a polynomial in the exponent.

    T_j(m) = sign_j t^j for j = 1 ... q, with t = (m - origin) / width, or (log m - origin) / width for powers of m.

    Attributes:
        signs: Signs of the powers, q of them.
        origin: Mass at which t is zero.
        width: Mass difference over which t grows by one.
        lower: Lower edge of the normalisation range.
        upper: Upper edge.
        parameters: theta as zfit parameters; left out in copies for other processes.
        logarithmic: Whether it is the logarithm of the mass that t is linear in.
        windows: Masses of the range at which it is zero; see `hisigma_zfit.model.masked`.
    """

    signs: tuple[float, ...]
    origin: float
    width: float
    lower: float
    upper: float
    parameters: tuple[Any, ...] = ()
    logarithmic: bool = False
    windows: tuple[SignalRegion, ...] = ()

    def powers(self, m: Array) -> Array:
        """t, t^2, ..., t^q at masses of shape (n,), shape (q, n)."""
        out = np.empty((len(self.signs), m.size))
        np.divide((np.log(m) if self.logarithmic else m) - self.origin, self.width, out=out[0])
        for below, row in itertools.pairwise(out):
            np.multiply(below, out[0], out=row)
        return out

    def statistics(self, m: Array) -> Array:
        """T at masses of shape (n,), shape (q, n)."""
        return np.array(self.signs)[:, None] * self.powers(m)

    @functools.cached_property
    def _few(self) -> tuple[Array, Array]:
        return self._beside(parts=1)

    @functools.cached_property
    def _many(self) -> tuple[Array, Array]:
        return self._beside(parts=_PARTS)

    def _beside(self, parts: int) -> tuple[Array, Array]:
        """Statistics and weights of nodes on the range without the windows, so many parts on each piece."""
        pieces = [quadrature(*piece, parts=parts) for piece in beside(self.lower, self.upper, self.windows)]
        nodes, weights = (np.concatenate(own) for own in zip(*pieces, strict=True))
        return self.statistics(nodes), weights

    def _nodes(self, theta: Array) -> tuple[Array, Array]:
        """Statistics and weights of as many nodes as the steepness asks for, coefficients in units of the range."""
        width = (self.upper - self.lower) / self.width
        steepness = max(abs(p) * width**k for k, p in enumerate(theta.tolist(), start=1))
        return self._few if steepness <= _GENTLE else self._many

    def log_integral(self, theta: Array) -> float:
        """A(theta) alone."""
        statistics, weights = self._nodes(theta)
        exponent = theta @ statistics
        peak = exponent.max()
        return float(peak + np.log(weights @ np.exp(exponent - peak)))

    def log_partition(self, theta: Array) -> tuple[float, Array, Array]:
        """A(theta), its gradient <T> of shape (q,) and its Hessian Cov(T) of shape (q, q)."""
        statistics, weights = self._nodes(theta)
        exponent = theta @ statistics
        peak = exponent.max()
        density = weights * np.exp(exponent - peak)
        total = density.sum()
        density /= total
        mean = statistics @ density
        centred = statistics - mean[:, None]
        return float(peak + np.log(total)), mean, (centred * density) @ centred.T
