"""A world of known density whose features are an integer, a spike beside a density and an angle.

x ~ Exp,   n ~ Poisson(mean(x, m)) up to 5, the rest at 5,
pt = 0 with a probability that depends on n and m, else 30 + Exp(scale(x)),
phi = -9 where pt = 0, else von Mises around a direction that depends on x.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from hisigma_zfit.data import Dataset

NAMES = ("x", "n", "pt", "phi")
KINDS = {"n": "integer:0:5", "pt": "spike:0", "phi": "periodic+spike:-9"}
TURN = 2 * np.pi
SPREAD = 2.0  # of the von Mises density


class World:
    """Tilt 0 is the background, 1 the signal."""

    def __init__(self, tilt):
        self.tilt = tilt

    def _number(self, m, x):
        return np.exp(-0.3 + 0.5 * self.tilt + 0.012 * (m - 125) + 0.5 * np.tanh(x - 1))

    def _none(self, m, n):
        return 1 / (1 + np.exp(-(0.3 - 0.7 * n + 0.02 * (m - 125) - self.tilt)))

    def _direction(self, x):
        return 2.5 + 1.5 * np.tanh(x - 1) + 0.5 * self.tilt

    def _length(self):
        return 1 + 0.3 * self.tilt

    def sample(self, m, seed):
        rng = np.random.default_rng(seed)
        x = rng.exponential(self._length(), len(m))
        n = np.minimum(rng.poisson(self._number(m, x)), 5)
        none = rng.random(len(m)) < self._none(m, n)
        pt = np.where(none, 0.0, 30 + rng.exponential(30 * (1 + 0.4 * np.tanh(x))))
        angle = self._direction(x) + rng.vonmises(0.0, SPREAD, len(m))
        return np.stack([x, n, pt, np.where(none, -9.0, (angle + np.pi) % TURN - np.pi)], axis=1)

    def log_prob(self, events, m):
        x, n, pt, phi = events.T
        none, number, chance = pt == 0, self._number(m, x), self._none(m, n)
        scale = 30 * (1 + 0.4 * np.tanh(x))
        total = stats.expon.logpdf(x, scale=self._length())
        total += np.where(n < 5, stats.poisson.logpmf(n, number), stats.poisson.logsf(4, number))
        angle = stats.vonmises.logpdf(np.where(none, 0.0, phi) - self._direction(x), SPREAD)
        return total + np.where(none, np.log(chance), np.log1p(-chance) - np.log(scale) - (pt - 30) / scale + angle)


def events(world, n, seed, mass=None):
    """Data set of n events, flat in the mass where none is given."""
    m = np.random.default_rng(seed + 100).uniform(100, 150, n) if mass is None else mass
    return Dataset.from_arrays({"m": m, **dict(zip(NAMES, world.sample(m, seed).T, strict=True))})
