"""The extended fit of two yields to bins or events of known density ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.likelihood.evaluate import Evaluation

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["fit_yields"]


_TOLERANCE = 1e-9  # of -log L


class _LinearLikelihood:
    """-log L = c . theta - sum_i n_i log (A theta)_i: convex; inf where an event has no density.

    Args:
        design: A, shape (n, 2).
        totals: c, shape (2,).
        counts: n_i, shape (n,).
    """

    parameters = ()

    def __init__(self, design: Array, totals: Array, counts: Array) -> None:
        filled = counts != 0.0
        self._design, self._totals, self._counts = design[filled], totals, counts[filled]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (2,)."""
        density = self._design @ theta
        if not (density > 0.0).all():
            return np.inf
        return float(self._totals @ theta - self._counts @ np.log(density))

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (2,)."""
        value = self.value(theta)
        if not np.isfinite(value):
            return Evaluation(value, np.full(2, np.nan), np.full((2, 2), np.nan))
        share = self._design / (self._design @ theta)[:, None]
        return Evaluation(value, self._totals - self._counts @ share, (share.T * self._counts) @ share)


def fit_yields(ratio: Array, counts: Array, variance: Array | None = None) -> tuple[float, float, float]:
    """Extended fit of s and b to bins or events of known density ratio: -log L = s + b - sum_i n_i log(s r_i + b).

    For bins this is the Poisson likelihood of s S_i + b B_i without constants, with r_i = S_i / B_i.  No bin is
    expected to hold less than nothing; where that stops the fit, the error is the upper side of the interval.

    Args:
        ratio: r_i, shape (n,).
        counts: Events n_i at each, or sums of their weights, shape (n,).
        variance: Sums of squared weights, shape (n,), if events have weights: error and q0 are then those of
            `fitting.profiler`.

    Returns:
        s, its error from the Hessian, and sqrt(q0).

    Raises:
        FitError: All events are more like background than like signal, or the other way round, so that the likelihood
            has no maximum; or the fit did not converge.
    """
    low, high, total = float(ratio.min()), float(ratio.max()), float(counts.sum())
    if not low < 1.0 < high:
        raise FitError(
            f"the yields have no best fit: the ratio of signal to background is {low:.3g} to {high:.3g}, "
            "which must be below one somewhere and above it elsewhere; fit more events or bins"
        )
    # theta are the densities where the ratio is lowest and highest: all others lie between them, so that none is
    # negative where these are not
    width = high - low
    share = (ratio - low) / width
    design, totals = np.stack([1.0 - share, share], axis=1), np.array([high - 1.0, 1.0 - low]) / width
    to_yields = np.array([[-1.0, 1.0], [high, -low]]) / width
    likelihood = _LinearLikelihood(design, totals, counts)
    limits = np.zeros(2), np.full(2, np.inf)
    start = np.array([0.01 * low + 0.99, 0.01 * high + 0.99]) * total
    found = minimise(likelihood, start, [0, 1], limits=limits, tolerance=_TOLERANCE)
    if not found.converged:
        raise FitError(f"the fit of the yields did not converge (edm {found.edm:.3g}); check the density ratio")
    s = float(to_yields[0] @ found.theta)
    q0 = 2.0 * (likelihood.value(np.array([total, total])) - found.value) if s > 0.0 and total > 0.0 else 0.0
    inflation = 1.0 if variance is None else _inflation(design, counts, variance, found.theta, to_yields[0])
    if found.free.size == 2:
        error = float(np.sqrt(inflation * (to_yields[0] @ found.covariance() @ to_yields[0])))
    else:
        error = _upper_crossing(ratio, counts, s, found.value + 0.5 * inflation) - s
    return s, error, float(np.sqrt(max(q0 / inflation, 0.0)))


def _inflation(design: Array, counts: Array, variance: Array, theta: Array, direction: Array) -> float:
    """Variance of direction . theta with squared weights over that of the parabola, which is exact for yields."""
    density = design @ theta
    filled = (counts != 0.0) & (density > 0.0)
    share = design[filled] / density[filled, None]
    hessian, scatter = ((share.T * size[filled]) @ share for size in (counts, variance))
    try:
        step = np.linalg.solve(hessian, direction)
    except np.linalg.LinAlgError:
        return float(variance.sum() / counts.sum())
    return float(step @ scatter @ step / (direction @ step))


def _upper_crossing(ratio: Array, counts: Array, best: float, level: float) -> float:
    """The s above the best one at which -log L, minimised over b, reaches `level`."""
    likelihood = _LinearLikelihood(np.stack([ratio, np.ones_like(ratio)], axis=1), np.ones(2), counts)

    def excess(s: float) -> float:
        least = max(-s * float(ratio.min()), -s * float(ratio.max()))
        start, limits = np.array([s, least + counts.sum()]), (np.array([-np.inf, least]), np.full(2, np.inf))
        return minimise(likelihood, start, [1], limits=limits, tolerance=_TOLERANCE).value - level

    step = 1.0
    while excess(best + step) < 0.0:  # it rises as s does in the end
        step *= 2.0
    return float(brentq(excess, best, best + step, rtol=1e-8))
