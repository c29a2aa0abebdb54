"""The mass in the sidebands, carried into the signal region: what pseudo-experiments draw their masses from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.data.region import beside
from hisigma_zfit.errors import FitError

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["SidebandShape"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_GRID = 4001


@dataclass(frozen=True)
class SidebandShape:
    """Density proportional to exp(-p1 t + p2 t^2), t from 0 to 1 over the range, as the measurement fits it.

    Attributes:
        mass_range: Range of the mass.
        region: The signal region, which took no part.
        p1: Slope.
        p2: Curvature.
        n_outside: Events in the sidebands.
        masked: Other windows that took no part.
    """

    mass_range: tuple[float, float]
    region: tuple[float, float]
    p1: float
    p2: float
    n_outside: int
    masked: tuple[SignalRegion, ...] = ()

    @classmethod
    def fit(
        cls,
        masses: Array,
        mass_range: tuple[float, float],
        region: tuple[float, float],
        masked: tuple[SignalRegion, ...] = (),
    ) -> Self:
        """Maximum likelihood of the masses outside of the signal region and of masked windows, shape (n,).

        The likelihood of an exponential family has one maximum, which Newton's steps find: its gradient is the mean of
        (-t, t^2) in the data less that in the density, its Hessian the covariance of these.

        Raises:
            FitError: It did not converge.
        """
        low, high = mass_range
        t = (masses - low) / (high - low)
        wanted = np.array([-t.mean(), np.mean(t**2)])
        parameters = np.zeros(2)
        for _ in range(100):
            shape = cls(mass_range, region, float(parameters[0]), float(parameters[1]), len(masses), masked)
            mean, covariance = shape._moments()
            step = np.linalg.solve(covariance, wanted - mean)
            if np.abs(step).max() < 1e-10:
                return shape
            parameters = parameters + step * min(1.0, 5.0 / np.abs(step).max())
        raise FitError("the mass shape of the sidebands could not be fitted; check range and signal region")

    @property
    def _sides(self) -> tuple[tuple[float, float], ...]:
        return beside(*self.mass_range, (SignalRegion(*self.region), *self.masked))

    def _height(self, m: Array) -> Array:
        low, high = self.mass_range
        t = (m - low) / (high - low)
        height: Array = np.exp(-self.p1 * t + self.p2 * t**2)
        return height

    def _moments(self) -> tuple[Array, Array]:
        """Mean, shape (2,), and covariance of (-t, t^2) in the sidebands."""
        low, high = self.mass_range
        m = np.concatenate([a + 0.5 * (b - a) * (_NODES + 1.0) for a, b in self._sides])
        weights = np.concatenate([(b - a) * _WEIGHTS for a, b in self._sides]) * self._height(m)
        t = (m - low) / (high - low)
        statistics = np.stack([-t, t**2])
        mean = statistics @ weights / weights.sum()
        apart = statistics - mean[:, None]
        return mean, (apart * weights) @ apart.T / weights.sum()

    def _integral(self, low: float, high: float) -> float:
        return float(0.5 * (high - low) * np.sum(_WEIGHTS * self._height(low + 0.5 * (high - low) * (_NODES + 1.0))))

    def expected(self, low: float, high: float) -> float:
        """Events that the sidebands let expect between two masses."""
        return self.n_outside * self._integral(low, high) / sum(self._integral(*side) for side in self._sides)

    def sample(self, n: int, rng: np.random.Generator, within: tuple[float, float]) -> Array:
        """Draw n masses between two edges; shape (n,)."""
        grid = np.linspace(*within, _GRID)
        height = self._height(grid)
        cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (height[1:] + height[:-1]))])
        return np.interp(rng.random(n) * cumulative[-1], cumulative, grid)
