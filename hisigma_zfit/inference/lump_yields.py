"""Yields of a lump that others chose: in a region by counting, and by a likelihood of cross-fitted scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from hisigma_zfit.results.search import FiducialYield, LearnedYield, Lump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.inference.blobs import Blobs
    from hisigma_zfit.inference.search_scene import Scene

__all__ = ["fiducial_yield", "learned_yield"]

DRAWS = 40_000
LEVELS = (1.0, 3.84)  # of 2 dlnL: 68.27 % and 95 % (not ln 2 for one event, as in published code: that is 76 %)


def fiducial_yield(
    here: Scene,
    learned: Sequence[Blobs],
    number: Integers,
    *,
    radius_squared: float,
    contained: float,
    draws: int = DRAWS,
    rng: np.random.Generator,
) -> FiducialYield:
    """Events of each fold in the region that the other folds chose, less the background.

    The background of a region is the learned density's share times the events outside of it.  The share is measured
    with points of the lump weighted by p_b / p_s: counting generated events would take a hundred times as many.

    Args:
        here: Events and background.
        learned: Lumps that were learned without each fold; the first component gives the region.
        number: Fold of every event, shape (n,).
        radius_squared: Mahalanobis radius of the regions, squared.
        contained: Share of the lump that is inside.
        draws: Points that measure the background of one region.
        rng: Source of the points.
    """
    total, variance, regions = 0.0, 0.0, []
    shifts = np.zeros(len(here.bootstraps))
    for fold, blobs in enumerate(learned):
        mean, covariance = blobs.means[0, 0], blobs.covariances[0, 0]
        inside = _distance(here.points.y[number == fold], mean, covariance) <= radius_squared
        n_in, n_out = int(inside.sum()), int((~inside).sum())
        shares = _background_shares(here, mean, covariance, radius_squared, draws, rng)
        odds = shares / (1.0 - shares)
        total += n_in - odds[0] * n_out
        variance += n_in + odds[0] ** 2 * n_out
        shifts -= (odds[1:] - odds[0]) * n_out
        regions.append(Lump(float(shares[0]), mean, covariance))
    return FiducialYield(
        value=float(total),
        error=float(np.sqrt(variance)),
        background_error=float(np.sqrt(np.mean(shifts**2))) if len(shifts) else float("nan"),
        contained=contained,
        radius_squared=radius_squared,
        regions=tuple(regions),
    )


def _distance(y: Array, mean: Array, covariance: Array) -> Array:
    scaled = np.linalg.solve(np.linalg.cholesky(covariance), (y - mean).T)
    return np.asarray((scaled**2).sum(axis=0))


def _background_shares(
    here: Scene, mean: Array, covariance: Array, radius_squared: float, draws: int, rng: np.random.Generator
) -> Array:
    """Of the background in a region, by the density and by each bootstrap, shape (1 + B,)."""
    root = np.linalg.cholesky(covariance)
    normal = rng.standard_normal((draws, len(mean)))
    inside = (normal**2).sum(axis=1) <= radius_squared
    normal = normal[inside]
    log_density = -0.5 * (normal**2).sum(axis=1) - np.log(np.diag(root)).sum() - 0.5 * len(mean) * np.log(2.0 * np.pi)
    logs = here.log_backgrounds(mean + normal @ root.T)
    return np.array([np.exp(log - log_density).sum() / draws for log in logs])


def learned_yield(log_ratio: Array) -> LearnedYield:
    """Extended likelihood of s signal and b background events, with b profiled.

    L(s, b) = exp(-s - b) prod_i (s r_i + b); from each of its own folds, r_i is the ratio of densities that event i had
    no part in.

    Args:
        log_ratio: log r_i, shape (n,).
    """
    ratio = np.exp(np.minimum(log_ratio, 700.0))
    n = float(len(ratio))

    def profiled(s: float) -> float:
        """Ln L at s with the best b, up to a constant."""
        slope: Callable[[float], float] = lambda b: float(np.sum(1.0 / (s * ratio + b))) - 1.0  # noqa: E731
        low = 1e-9 * n
        b = low if slope(low) <= 0 else brentq(slope, low, n + 1.0, xtol=1e-6)
        return float(-s - b + np.log(s * ratio + b).sum())

    def score(s: float) -> float:
        """Derivative of the profile by s, of one sign on either side of the maximum."""
        step = 1e-4 * np.sqrt(n)
        return (profiled(s + step) - profiled(max(s - step, 0.0))) / (s + step - max(s - step, 0.0))

    best = 0.0 if score(0.0) <= 0 else float(brentq(score, 0.0, n, xtol=1e-3))
    top = profiled(best)

    def edges(level: float) -> tuple[float, float]:
        def excess(s: float) -> float:
            return 2.0 * (top - profiled(s)) - level

        low = 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, best, xtol=1e-3))
        high = best + 1.0
        while excess(high) < 0 and high < n:
            high += max(high - best, 1.0)
        return low, float(brentq(excess, best, min(high, n), xtol=1e-3)) if excess(min(high, n)) > 0 else n

    z = float(np.sqrt(max(2.0 * (top - profiled(0.0)), 0.0)))
    return LearnedYield(best, edges(LEVELS[0]), edges(LEVELS[1]), z)
