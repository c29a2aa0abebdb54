"""Chi2 of bins whose expected contents are known with a covariance, or were fitted to the very contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.results import Chi2

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["binned_chi2", "counts_of", "merged_bins"]

_FOLLOWED = 0.05  # what is left of the variance of a combination of bins that a fit follows, at least


def merged_bins(expected: Array, least: float) -> Array:
    """Which neighbours are joined until each group expects `least` events, shape (groups, n) of zeros and ones.

    Args:
        expected: Contents of the bins, shape (n,).
        least: Events of a group; what is left at the end goes into the last one.
    """
    groups: list[list[int]] = [[]]
    for k in range(len(expected)):
        if groups[-1] and expected[groups[-1]].sum() >= least:
            groups.append([])
        groups[-1].append(k)
    if len(groups) > 1 and expected[groups[-1]].sum() < least:
        last = groups.pop()
        groups[-1] += last
    joined = np.zeros((len(groups), len(expected)))
    for row, members in zip(joined, groups, strict=True):
        row[members] = 1.0
    return joined


def binned_chi2(
    data: Array,
    expected: Array,
    covariance: Array,
    *,
    fitted: bool,
    variance: Array | None = None,
    noise: Array | None = None,
    least: float = 5.0,
) -> Chi2 | None:
    """Pearson's chi2 with the covariance of what is expected.

    Contents that were fitted follow the observed ones to first order: their residuals have the covariance V - C, with V
    of Poisson's contents and C of the expected ones.  Combinations of bins of which less than 5 % is left are not
    counted.  Contents that come from elsewhere have residuals with V + C.

    Args:
        data: Observed contents, shape (n,).
        expected: Expected ones, shape (n,).
        covariance: Their covariance, shape (n, n).
        fitted: Whether they were fitted to `data`.
        variance: V of weighted contents, shape (n,); Poisson's by default.
        noise: Variance of the expected contents that no fit follows, as of a finite sample of the model, shape (n,).
        least: Expected events of a bin, below which neighbours are joined.

    Returns:
        The chi2; None where nothing is left to compare.
    """
    joined = merged_bins(expected if variance is None else counts_of(data, variance), least)
    observed, mean, shared = joined @ data, joined @ expected, joined @ covariance @ joined.T
    own = mean if variance is None else joined @ variance
    used = own > 0.0
    if not used.any():
        return None
    scale = 1.0 / np.sqrt(own[used])
    shared = scale[:, None] * shared[np.ix_(used, used)] * scale
    left = np.eye(len(scale)) + (-shared if fitted else shared)
    values, axes = np.linalg.eigh(left)
    kept = values > _FOLLOWED
    if not kept.any():
        return None
    residual = axes.T[kept] @ (scale * (observed - mean)[used])
    spread = np.diag(values[kept])
    if noise is not None:
        spread += (axes.T[kept] * ((joined @ noise)[used] * scale**2)) @ axes[:, kept]
    value = float(residual @ np.linalg.solve(spread, residual))
    return Chi2(value, int(kept.sum()), float(chi2.sf(value, int(kept.sum()))))


def counts_of(data: Array, variance: Array) -> Array:
    """Events without weights that are worth as much as contents with this variance, shape (n,)."""
    return np.divide(data**2, variance, out=np.zeros_like(data), where=variance > 0)
