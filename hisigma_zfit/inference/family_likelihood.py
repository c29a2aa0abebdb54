"""The likelihood of a yield and of a signal's parameters, over a background that is known event by event.

    L(s, b, theta) = exp(-s - b) prod_i [s r_i(theta) + b],    r_i = p_s(x_i, m_i; theta) / p_b(x_i, m_i),

with b free.  With a = s / b it depends on the events by A(a) = sum_i log(1 + a r_i) only, and events with a tiny ratio
only by the sum of their ratios.  At the maximum s + b = N, so that with w = s / N it is
lambda = 2 sum_i log[1 + w (r_i - 1)]: concave in w at every theta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq, minimize

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.signal_families import FamilyDensity, Prepared

__all__ = ["Landscape", "Ratios"]

TINY = 1e-3  # ratio below which log(1 + a r) is a r
MOST = 0.5  # share of the signal
CEILING = 80.0  # of log r
NODES, PER_AXIS = 100, 20  # of the coarse grid of theta, in all and at most along one of them
STARTS = 3  # of its points from which the maximum is sought
STEP = 0.03  # of log theta, to begin with
NEVER = -1e6  # 2 lnL where there is no density


@dataclass(frozen=True)
class Ratios:
    """Ratios of densities of N events at one theta.

    Attributes:
        n: N.
        rest: Sum of the tiny ones.
        kept: The others.
    """

    n: int
    rest: float
    kept: Array

    @classmethod
    def of(cls, log_ratio: Array) -> Ratios:
        """From logarithms, shape (N,)."""
        ratio = np.exp(np.minimum(log_ratio, CEILING))
        kept = ratio > TINY
        return cls(len(ratio), float(ratio[~kept].sum()), ratio[kept].astype(np.float64))

    def gain(self, a: float) -> float:
        """A(a)."""
        return a * self.rest + float(np.log1p(a * self.kept).sum())

    def count(self, a: float) -> float:
        """A dA/da: events that are signal by their probability to be it."""
        scaled = a * self.kept
        return a * self.rest + float((scaled / (1.0 + scaled)).sum())

    def best(self) -> tuple[float, float]:
        """Largest 2 lnL, less that of no signal, and the yield there."""
        if self.rest + float(self.kept.sum()) <= self.n:
            return 0.0, 0.0

        def excess(v: float) -> float:  # of log a; s = count, and s = w N
            a = np.exp(v)
            return self.count(a) / self.n - a / (1.0 + a)

        low, high = np.log(1e-9 / self.n), np.log(MOST / (1.0 - MOST))
        if excess(low) <= 0.0:
            return 0.0, 0.0
        a = float(np.exp(high if excess(high) > 0.0 else brentq(excess, low, high, xtol=1e-4)))
        return 2.0 * (self.gain(a) - self.n * np.log1p(a)), self.n * a / (1.0 + a)

    def at(self, s: float) -> float:
        """2 lnL at a yield with the best background, less that of no signal."""
        b = self.n - s
        for _ in range(50):
            b, before = self.n - self.count(s / b), b
            if abs(b - before) < 1e-4:
                break
        return 2.0 * (self.n - s - b + self.n * np.log(b / self.n) + self.gain(s / b))


@dataclass(frozen=True)
class Landscape:
    """2 lnL of events as a function of yield and theta, less that of no signal.

    Attributes:
        density: Of the signal.
        events: What it needs of them.
        log_background: Log p_b(x, m), shape (N,).
    """

    density: FamilyDensity
    events: Prepared
    log_background: Array

    def ratios(self, theta: Array) -> Ratios:
        """At theta, shape (T,)."""
        return Ratios.of(self.density.log_density(self.events, theta) - self.log_background)

    def value(self, t: Array, s: float | None = None) -> float:
        """At log theta, shape (T,), and a yield, or the best one."""
        theta = np.exp(t)
        if not self.density.allows(theta):
            return NEVER
        ratios = self.ratios(theta)
        return ratios.best()[0] if s is None else ratios.at(s)

    def nodes(self) -> Array:
        """Coarse grid of log theta, shape (n, T)."""
        low, number = np.log(self.density.limits[:, 0]), self._per_axis
        axes = [start + step * (np.arange(number) + 0.5) for start, step in zip(low, self._spacing, strict=True)]
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)

    @property
    def _per_axis(self) -> int:
        return min(round(NODES ** (1.0 / len(self.density.limits))), PER_AXIS)

    @property
    def _spacing(self) -> Array:
        return np.asarray(np.ptp(np.log(self.density.limits), axis=1) / self._per_axis)

    def maxima(self, s: float | None = None) -> list[tuple[float, Array]]:
        """Distinct maxima and their log theta, the best first: from the best nodes that are no neighbours."""
        nodes = self.nodes()
        values = np.array([self.value(t, s) for t in nodes])
        chosen: list[int] = []
        for k in np.argsort(-values):
            apart = np.abs((nodes[k] - nodes[chosen]) / self._spacing).max(axis=1)
            if values[k] > NEVER and np.all(apart > 1.5):
                chosen.append(int(k))
            if len(chosen) == STARTS:
                break
        found = sorted((self.climb(nodes[k], s) for k in chosen), key=lambda one: -one[0])
        distinct: list[tuple[float, Array]] = []
        for value, t in found:
            if all(np.abs(t - other).max() > STEP for _, other in distinct):
                distinct.append((value, t))
        return distinct

    def climb(self, start: Array, s: float | None = None) -> tuple[float, Array]:
        """The maximum near log theta, shape (T,), at a yield or the best one, by a simplex."""
        simplex = np.vstack([start, start + STEP * np.eye(len(start))])
        options = {"initial_simplex": simplex, "xatol": 3e-3, "fatol": 0.03, "maxfev": 300}
        found = minimize(lambda t: -self.value(t, s), start, method="Nelder-Mead", options=options)
        return -float(found.fun), found.x
