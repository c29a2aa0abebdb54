"""Poisson intervals, quantiles of samples; binomial intervals are those of `scipy.stats.binomtest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv
from scipy.stats import norm

from hisigma_zfit.results import Quantiles

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["ONE_SIGMA", "poisson_errors", "quantiles"]

ONE_SIGMA = float(1.0 - 2.0 * norm.sf(1.0))
"""Probability within one standard deviation of a Gaussian, 0.6827: the confidence level of an error."""


def quantiles(values: Array) -> Quantiles:
    """Median with its error and quantiles at -2 to 2 sigma of a sample of shape (n,).

    The error of the median is half the distance of the order statistics that hold it with 68.3 %.
    """
    found = np.quantile(values, norm.cdf([-2.0, -1.0, 0.0, 1.0, 2.0]))
    half = 0.5 / np.sqrt(values.size)
    low, high = np.quantile(values, [max(0.5 - half, 0.0), min(0.5 + half, 1.0)])
    names = ("-2", "-1", "0", "1", "2")
    return Quantiles(
        median=float(found[2]),
        median_error=float(0.5 * (high - low)),
        bands={name: float(value) for name, value in zip(names, found, strict=True)},
    )


def poisson_errors(counts: npt.ArrayLike, variance: npt.ArrayLike) -> tuple[Array, Array]:
    """Central 68.3 % Poisson intervals of (weighted) counts, as distances below and above.

    Weighted counts are treated as `scale` times a Poisson count, scale = variance / counts; an empty bin takes the
    scale of the whole histogram.  Negative sums of weights get the symmetric root of their variance.  (In full bins the
    same as `hist.intervals.poisson_interval`, which knows no upper end of an empty bin of a weighted histogram and
    gives negative ones a negative error.)

    Args:
        counts: Sum of weights by bin, shape (n,).
        variance: Sum of squared weights by bin, shape (n,).

    Returns:
        Two arrays of shape (n,): distance to the lower and to the upper end.
    """
    counts, variance = np.asarray(counts, dtype=float), np.asarray(variance, dtype=float)
    total, total_variance = counts.sum(), variance.sum()
    average = total_variance / total if total > 0 and total_variance > 0 else 1.0
    filled = (counts > 0) & (variance > 0)
    scale = np.divide(variance, counts, out=np.full_like(counts, average), where=filled)
    effective = np.clip(counts, 0, None) / scale
    tail = 0.5 * (1 - ONE_SIGMA)
    lower = np.where(effective > 0, gammaincinv(np.where(effective > 0, effective, 1.0), tail), 0.0)
    upper = gammaincinv(effective + 1, 1 - tail)
    root = np.sqrt(variance)
    negative = counts < 0
    return (
        np.where(negative, root, scale * (effective - lower)),
        np.where(negative, root, scale * (upper - effective)),
    )
