"""Fit of the double-sided Crystal Ball to simulated masses, in numpy: zfit's own loss takes a hundred times as long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array

__all__ = ["PARAMETERS", "fit_double_crystal_ball", "log_double_crystal_ball"]

PARAMETERS = ("mu", "sigma", "alphal", "nl", "alphar", "nr")  # as in zfit.pdf.DoubleCB

Side = tuple[float, float]


def log_double_crystal_ball(m: Array, values: tuple[float, ...], limits: tuple[float, float]) -> Array:
    """Log-density of ``zfit.pdf.DoubleCB``: a Gaussian with power laws beyond alpha widths on either side.

    Args:
        m: Masses, shape (n,).
        values: Of `PARAMETERS`.
        limits: Range in which it is normalised.

    Returns:
        Shape (n,).
    """
    mu, sigma, alpha_l, n_l, alpha_r, n_r = values
    left, right = (alpha_l, n_l), (alpha_r, n_r)
    t = (m - mu) / sigma
    low, high = ((limit - mu) / sigma for limit in limits)
    logs = -0.5 * t**2
    for side, distance in ((left, -t), (right, t)):
        beyond = distance > side[0]
        logs[beyond] = _log_tail(distance[beyond], side)
    a, b = np.clip([low, high], -alpha_l, alpha_r) / np.sqrt(2.0)
    integral = np.sqrt(0.5 * np.pi) * (erf(b) - erf(a))
    integral += _tail_integral(-high, -low, left) + _tail_integral(low, high, right)
    return np.asarray(logs - np.log(integral * sigma))


def _log_tail(distance: Array, side: Side) -> Array:
    """Logarithm of the power law that continues the Gaussian smoothly, at distances beyond alpha."""
    alpha, n = side
    return np.asarray(-0.5 * alpha**2 - n * np.log1p(alpha / n * (distance - alpha)))


def _tail_integral(start: float, stop: float, side: Side) -> float:
    """Of the power law over the part of [start, stop] that is beyond alpha."""
    alpha, n = side
    ends = np.maximum([start, stop], alpha)
    primitive = (1.0 + alpha / n * (ends - alpha)) ** (1.0 - n) * n / (alpha * (1.0 - n))
    return float(np.exp(-0.5 * alpha**2) * (primitive[1] - primitive[0]))


def fit_double_crystal_ball(
    m: Array, weights: Array, limits: tuple[float, float], start: Mapping[str, tuple[float, float, float]]
) -> tuple[dict[str, float], bool]:
    """Maximise the weighted likelihood with Minuit.

    Args:
        m: Masses within the limits, shape (n,).
        weights: Of the events, shape (n,); their scale does not matter.
        limits: Range in which the shape is normalised.
        start: Value and limits (value, lower, upper) by parameter.

    Returns:
        The values by name, and whether the fit converged.
    """
    from iminuit import Minuit

    weights = weights / weights.mean()  # Minuit stops at a distance from the minimum that is the same for all scales

    def loss(values: Array) -> float:
        logs = log_double_crystal_ball(m, tuple(values), limits)
        return -float(np.multiply(logs, weights, out=logs).sum())

    minuit = Minuit(loss, [start[name][0] for name in PARAMETERS], name=PARAMETERS)
    minuit.errordef = Minuit.LIKELIHOOD
    for name in PARAMETERS:
        value, low, high = start[name]
        minuit.limits[name] = (low, high)
        minuit.errors[name] = 0.1 * min(high - low, abs(value)) or 0.1 * (high - low)
    minuit.errors["mu"] = 0.1 * start["sigma"][0]  # its limits are those of the mass
    minuit.migrad()
    return minuit.values.to_dict(), bool(minuit.valid and np.isfinite(minuit.fval))
