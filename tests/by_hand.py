"""The likelihood of `models.model` written a second time, in plain numpy: what the package's own is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import models
import numpy as np
from iminuit import Minuit
from scipy.integrate import simpson
from scipy.stats import norm

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

LOW, HIGH = 90.0, 180.0
NAMES = ("n_sig", "n_bkg", "p1", "p2")
GRID = np.linspace(LOW, HIGH, 4001)
SIGNAL_MEAN = np.array([0.8, 0.7, -0.6, 0.5])


def _crystal_ball(m: Array) -> Array:
    """Gaussian core with two power-law tails, not normalised."""
    p = models.PEAK
    t = (m - p["mu"]) / p["sigma"]
    core = np.exp(-0.5 * t**2)
    for side, alpha, n in ((-t, p["alphal"], p["nl"]), (t, p["alphar"], p["nr"])):
        tail = side > alpha
        core[tail] = np.exp(-0.5 * alpha**2) * (1 + alpha / n * (side[tail] - alpha)) ** -n
    return core


def peak(m: Array) -> Array:
    """Density of the signal's mass."""
    return _crystal_ball(m) / simpson(_crystal_ball(GRID), GRID)


def falling(m: Array, p1: float, p2: float) -> Array:
    """Density of the background's mass."""

    def shape(m: Array) -> Array:
        t = (m - LOW) / (HIGH - LOW)
        return np.exp(-p1 * t + p2 * t**2)

    return shape(m) / simpson(shape(GRID), GRID)


def features(x: Array, m: Array, mean: Array, slope: float, width: float) -> Array:
    """Density of the features given the mass: independent Gaussians."""
    centre = mean + slope * (m[:, None] - 135.0) / 45.0
    return norm.pdf(x, centre, width).prod(axis=1)


class Likelihood:
    """-log L of events under `models.model`, without the terms that only the data decide.

    Args:
        events: Columns m, a, b, c, d, shape (n, 5).
        shifts: Shift of the background's first feature; several make the average of their densities.
        full: The features count in the sidebands.
        constraint: Mean and width of a Gaussian constraint on n_sig.
    """

    def __init__(
        self,
        events: Array,
        *,
        shifts: tuple[float, ...] = (0.0,),
        full: bool = False,
        constraint: tuple[float, float] | None = None,
    ) -> None:
        m, x = events[:, 0], events[:, 1:]
        self.m = m
        each = [features(x, m, np.array([shift, 0.0, 0.0, 0.0]), 0.5, 1.0) for shift in shifts]
        self.background = np.mean(each, axis=0)
        signal = features(x, m, SIGNAL_MEAN, 0.1, 0.8)
        inside = (m >= models.REGION.lower) & (m < models.REGION.upper)
        self.signal = peak(m) * (signal if full else np.where(inside, signal, self.background))
        self.constraint = constraint

    def __call__(self, theta: Array) -> float:
        """-log L; infinite where the density is not positive."""
        n_sig, n_bkg, p1, p2 = theta
        density = n_sig * self.signal + n_bkg * self.background * falling(self.m, p1, p2)
        if density.min() <= 0:
            return np.inf
        value = n_sig + n_bkg - np.log(density).sum()
        if self.constraint is not None:
            value += 0.5 * ((n_sig - self.constraint[0]) / self.constraint[1]) ** 2
        return float(value)

    def minuit(
        self, start: Array, *, fixed: float | None = None, **limits: tuple[float | None, float | None]
    ) -> Minuit:
        """Minuit's minimum; with n_sig held at `fixed`."""
        minuit = Minuit(self, np.array(start, dtype=float), name=NAMES)
        minuit.errordef = Minuit.LIKELIHOOD
        minuit.tol = 1e-3
        minuit.errors = np.array([10.0, 10.0, 0.1, 0.1])
        minuit.limits["n_bkg"] = (0, None)
        for name, edges in limits.items():
            minuit.limits[name] = edges
        if fixed is not None:
            minuit.values["n_sig"] = fixed
            minuit.fixed["n_sig"] = True
        for _ in range(3):  # again from where it stopped: the numeric gradient is good for about 1e-5
            minuit.migrad()
        assert minuit.valid
        return minuit
