"""Interval of a true value that cannot be negative, from what an estimator returned at a few true values.

The estimator is not unbiased and does not follow asymptotics: it was learned.  Pseudo-experiments at a few true values
say what it returns there; between them the mean of what it returns rises, and a normal distribution, cut off at zero
where the estimator is, describes its spread.  Neyman's construction with the ordering of Feldman and Cousins
(arXiv:physics/9711021) then needs no decision between limits and intervals.  Small true values are covered too often:
the estimator is often exactly zero there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.stats import norm
from scipy.stats import t as student

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["censored_normal", "response_interval"]

_TRUE = 401  # true values that are tried
_SEEN = 1000  # values of the estimator, between which a density is summed
_ONE = float(norm.cdf(1.0))
_WIDTHS = 6.0  # beyond the largest mean


def censored_normal(values: Array) -> tuple[float, float]:
    """Mean and width of a normal distribution of which values below zero were recorded as zero.

    Args:
        values: Shape (n,), none negative.

    Returns:
        Maximum likelihood; at least a hundredth of an event wide.
    """
    seen = values[values > 0.0]
    cut = len(values) - len(seen)
    if not cut:
        return float(seen.mean()), max(float(seen.std(ddof=1)) if len(seen) > 1 else 0.0, 0.01)
    if len(seen) < 2:
        return 0.0, max(float(values.max()), 0.01)

    def loss(at: Array) -> float:
        width = float(np.exp(at[1]))
        return -float(norm.logpdf(seen, at[0], width).sum() + cut * norm.logcdf(0.0, at[0], width))

    start = np.array([values.mean(), np.log(max(float(values.std()), 0.01))])
    mean, log_width = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x
    return float(mean), max(float(np.exp(log_width)), 0.01)


def response_interval(
    truths: Array, means: Array, widths: Array, value: float, *, cl: float, experiments: int | None = None
) -> tuple[float, float, float]:
    """Best true value and its interval.

    Args:
        truths: True values of the pseudo-experiments, rising from zero, shape (k,).
        means: Of the estimator at each, as `censored_normal` says; their rising part is taken.
        widths: Of it, likewise.
        value: What the estimator returned, not negative.
        cl: Confidence level.
        experiments: At each true value, at least two, from which means and widths are known; enough by default.

    Returns:
        Most likely true value, lower and upper edge; an upper edge beyond twice the largest of `truths` is infinite.
    """
    rising = isotonic_regression(means).x
    # a width that a few experiments found too small must not pull the others down; beyond the last one it stays
    widths = isotonic_regression(widths).x
    if experiments is not None:
        # a mean of n has an error too, and a width from n is Student's
        widths = widths * np.sqrt(1.0 + 1.0 / experiments) * student.ppf(_ONE, experiments - 1) / norm.ppf(_ONE)
    tried = np.linspace(0.0, 2.0 * float(truths[-1]), _TRUE)
    mean, width = _continued(tried, truths, rising), np.maximum(np.interp(tried, truths, widths), 0.01)
    top = max(float((mean + _WIDTHS * width).max()), 1.1 * value)
    edges = np.linspace(0.0, top, _SEEN + 1)
    seen = np.append(0.0, 0.5 * (edges[1:] + edges[:-1]))
    step = edges[1] - edges[0]
    # of each true value (rows) the density at each value of the estimator, the first the share that is cut off at zero
    density = norm.pdf(seen, mean[:, None], width[:, None])
    density[:, 0] = norm.cdf(0.0, mean, width)
    masses = density * step
    masses[:, 0] = density[:, 0]
    ratio = density / np.maximum(density.max(axis=0), 1e-300)
    at = 0 if value <= 0.0 else 1 + min(int(value / step), _SEEN - 1)
    best = float(tried[np.argmax(density[:, at])])
    # how much of the distribution is more likely, in this ordering, than what was seen; half of the cell itself is
    above = (masses * (ratio > ratio[:, at : at + 1])).sum(axis=1)
    inside = np.flatnonzero(above <= cl)
    if not len(inside):
        return best, best, best
    first, last = int(inside[0]), int(inside[-1])
    low = 0.0 if first == 0 else float(np.interp(-cl, -above[first - 1 : first + 1], tried[first - 1 : first + 1]))
    high = np.inf
    if last + 1 < _TRUE:
        high = float(np.interp(cl, above[last : last + 2], tried[last : last + 2]))
    return best, low, high


def _continued(at: Array, x: Array, y: Array) -> Array:
    """Piecewise linear, and beyond the last point as in the last piece."""
    inner = np.interp(at, x, y)
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.where(at > x[-1], y[-1] + slope * (at - x[-1]), inner)
