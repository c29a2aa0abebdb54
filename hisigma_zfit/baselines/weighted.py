"""Fractions and quantiles of simulated events that may have weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset

__all__ = ["LEAST_BACKGROUND", "effective_number", "quantiles", "simulation_weights", "weights_of"]


# Simulated background events that a cut or a bin must keep, so that its yield is known; of weighted ones so many that
# they are known as well as that many of equal weight.
LEAST_BACKGROUND = 20


def weights_of(events: Dataset) -> Array:
    """Weights of events, one where there are none; shape (n,)."""
    return np.ones(len(events)) if events.weights is None else events.weights


def simulation_weights(events: Dataset) -> Array:
    """The same for simulation, from which quantiles are taken.

    Raises:
        InputError: Some weights are negative.
    """
    return weights_of(events.require_nonnegative_weights())


def quantiles(values: Array, weights: Array, levels: npt.ArrayLike) -> Array:
    """Smallest of the values at or below which a fraction of the weight lies, for every level.

    An event of weight two counts as two events, and a common factor of all weights does not count.

    Args:
        values: Shape (n,).
        weights: At least zero, shape (n,).
        levels: Fractions, shape (k,).

    Returns:
        Shape (k,); the first and the last value that have a weight at levels 0 and 1.
    """
    order = np.argsort(values)
    order = order[weights[order] > 0.0]
    cumulative = np.cumsum(weights[order])
    at = np.searchsorted(cumulative, np.asarray(levels) * cumulative[-1])
    return np.asarray(values[order[np.minimum(at, order.size - 1)]])


def effective_number(total: Array, squares: Array) -> Array:
    """Number of events of equal weight that are known as well: (sum of w)^2 / (sum of w^2), zero for no events.

    Args:
        total: Sums of weights, of any shape.
        squares: Sums of their squares, of the same shape.
    """
    return np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0.0)
