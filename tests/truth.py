"""A known truth to test against: four features and a mass with an exact density.

Each feature is drawn from a textbook distribution whose parameters depend on the mass and on the features before it:

    a | m         Kumaraswamy on [0, 1]: a hard edge with finite density at 0, vanishing at 1
    b | a, m      two exponentials above 25: a hard lower edge, an open upper side
    c | a, b, m   logistic cut to [0.4, 5]: hard edges on both sides
    d | a, b, c   Weibull above 0, shape 1.5: vanishing at 0, an open upper side

The mass falls exponentially for the background and peaks for the signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtr, ndtri

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

FEATURES = ("a", "b", "c", "d")
MASS = "m"
MASS_RANGE = (90.0, 180.0)
REGION = (115.0, 135.0)
LIMITS = {"a": (0.0, 1.0), "b": (25.0, np.inf), "c": (0.4, 5.0), "d": (0.0, np.inf)}


@dataclass(frozen=True)
class Toy:
    """One process; the defaults are the background.

    Attributes:
        falloff: Power with which a falls towards 1 at the centre of the mass range.
        soft, hard: Decay lengths of b.
        centre: Middle of the logistic in c where all other features are typical.
        scale: Of d.
        peak: Mean and width of the mass, or None for an exponential of length 50.
    """

    falloff: float = 2.2
    soft: float = 14.0
    hard: float = 40.0
    centre: float = 2.8
    scale: float = 1.0
    peak: tuple[float, float] | None = None

    def sample_mass(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n masses in the mass range."""
        low, high = MASS_RANGE
        if self.peak is None:
            return low - 50.0 * np.log1p(rng.random(n) * np.expm1(-(high - low) / 50.0))
        mean, width = self.peak
        ends = ndtr((np.array([low, high]) - mean) / width)
        return mean + width * ndtri(ends[0] + rng.random(n) * (ends[1] - ends[0]))

    def mass_density(self, m: Array) -> Array:
        """p(m), shape (n,)."""
        low, high = MASS_RANGE
        if self.peak is None:
            return np.exp(-(m - low) / 50.0) / (-50.0 * np.expm1(-(high - low) / 50.0))
        mean, width = self.peak
        total = ndtr((high - mean) / width) - ndtr((low - mean) / width)
        return np.exp(-0.5 * ((m - mean) / width) ** 2) / (np.sqrt(2 * np.pi) * width * total)

    def power(self, m: Array) -> Array:
        return self.falloff * np.exp(0.3 * (m - 135) / 45)

    def _b(self, m: Array, a: Array) -> tuple[Array, Array, Array]:
        t = (m - 135) / 45
        share = expit(0.5 - 2.0 * a + 0.4 * t)
        return share, self.soft * np.exp(0.15 * t + 0.5 * a), self.hard * np.exp(0.1 * t - 0.3 * a)

    def _c(self, m: Array, a: Array, b: Array) -> tuple[Array, Array]:
        t, hardness = (m - 135) / 45, np.log(b / 25)
        return self.centre - 0.6 * hardness + 0.5 * np.tanh(3 * a - 1) + 0.2 * t, 0.35 + 0.15 * a

    def _d(self, a: Array, b: Array, c: Array) -> Array:
        return self.scale * np.exp(0.5 * np.sin(1.3 * c) + 0.4 * a - 0.2 * np.log(b / 25))

    def sample(self, m: Array, rng: np.random.Generator) -> Array:
        """Draw features at masses m, shape (n,); returns (n, 4)."""
        n = len(m)
        a = -np.expm1(np.log1p(-rng.random(n)) / self.power(m))
        share, soft, hard = self._b(m, a)
        b = LIMITS["b"][0] + rng.exponential(size=n) * np.where(rng.random(n) < share, soft, hard)
        middle, width = self._c(m, a, b)
        low, high = (expit((edge - middle) / width) for edge in LIMITS["c"])
        level = low + rng.random(n) * (high - low)
        c = np.clip(middle + width * (np.log(level) - np.log1p(-level)), *LIMITS["c"])
        d = self._d(a, b, c) * rng.exponential(size=n) ** (1 / 1.5)
        return np.stack([a, b, c, d], axis=1)

    def log_prob(self, x: Array, m: Array) -> Array:
        """Exact log p(x | m), shape (n,), for x inside the limits."""
        a, b, c, d = x.T
        power = self.power(m)
        log_a = np.log(power) + (power - 1) * np.log1p(-a)
        share, soft, hard = self._b(m, a)
        above = b - LIMITS["b"][0]
        log_b = np.log(share * np.exp(-above / soft) / soft + (1 - share) * np.exp(-above / hard) / hard)
        middle, width = self._c(m, a, b)
        z = (c - middle) / width
        low, high = (expit((edge - middle) / width) for edge in LIMITS["c"])
        log_c = np.log(expit(z) * expit(-z) / width / (high - low))
        ratio = d / self._d(a, b, c)
        log_d = np.log(1.5 * np.sqrt(ratio)) - ratio**1.5 - np.log(self._d(a, b, c))
        return log_a + log_b + log_c + log_d

    def columns(self, n: int, *, seed: int, region: str = "all") -> dict[str, Array]:
        """Draw n events of the ``"all"``, ``"sidebands"`` or ``"signal"`` masses as named columns, mass last."""
        rng = np.random.default_rng(seed)
        m = np.empty(0)
        while len(m) < n:
            more = self.sample_mass(2 * n, rng)
            within = (more >= REGION[0]) & (more < REGION[1])
            keep = {"all": np.ones_like(within), "sidebands": ~within, "signal": within}[region]
            m = np.concatenate([m, more[keep]])
        m = m[:n]
        return dict(zip((*FEATURES, MASS), (*self.sample(m, rng).T, m), strict=True))


BACKGROUND = Toy()
SIGNAL = Toy(falloff=1.2, soft=25.0, hard=60.0, centre=2.2, scale=0.7, peak=(125.0, 2.0))


def stack(columns: dict[str, Array]) -> tuple[Array, Array]:
    """Features of shape (n, 4) and the mass of shape (n,) from `Toy.columns`."""
    return np.stack([columns[name] for name in FEATURES], axis=1), columns[MASS]
