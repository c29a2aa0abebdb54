"""From the covariance of a fit to the errors of what depends on its parameters; numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array, Integers

__all__ = ["derivatives", "spread"]

_STEP = 1e-4  # of a parameter's error, which is small beside every bend and large beside rounding


def derivatives(function: Callable[[Array], Array], theta: Array, at: Integers, covariance: Array) -> Array:
    """By k of the parameters, shape (k, ...) for a function of shape (...).

    Args:
        function: Of all parameters.
        theta: All of them, shape (T,).
        at: Indices of those that may move, shape (k,).
        covariance: Of these, shape (k, k), with variances that are positive.
    """
    found = []
    for k, error in zip(at, np.sqrt(np.diag(covariance)), strict=True):
        step = np.zeros(len(theta))
        step[k] = _STEP * error
        found.append((function(theta + step) - function(theta - step)) / (2.0 * step[k]))
    return np.array(found).reshape(len(at), *(found[0].shape if found else function(theta).shape))


def spread(slopes: Array, covariance: Array) -> Array:
    """Errors of what has these derivatives, shape (...).

    Args:
        slopes: From `derivatives`, shape (k, ...).
        covariance: Shape (k, k).
    """
    return np.sqrt(np.maximum(np.einsum("i...,ij,j...->...", slopes, covariance, slopes), 0.0))
