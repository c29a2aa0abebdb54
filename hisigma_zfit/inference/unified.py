"""Unified intervals of a parameter that cannot be negative: one-sided without a signal, two-sided with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.crossings import bracket
from hisigma_zfit.inference.hypotests import as_profiler, asimov_profiler, asimov_set, check_level
from hisigma_zfit.results import Interval
from hisigma_zfit.toys.samples import sample_of
from hisigma_zfit.toys.source import require_no_weights
from hisigma_zfit.toys.toy_fits import conditional_fits

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.toys.source import Sample

__all__ = ["boundary_pvalue", "feldman_cousins"]


def boundary_pvalue(t: float, t_asimov: float) -> float:
    """Two-sided p-value of t-tilde for a parameter that cannot be negative (arXiv:1007.1727, eq. 44).

    At the boundary itself it is that of the half chi-square mixture.

    Args:
        t: t-tilde of the tested value, 2 dNLL with respect to the best value that is not negative.
        t_asimov: Its value on background-only Asimov data.
    """
    root = np.sqrt(max(t, 0.0))
    if t <= t_asimov:
        return float(2.0 * norm.sf(root))
    beyond = norm.sf((t + t_asimov) / (2.0 * np.sqrt(t_asimov))) if t_asimov > 0.0 else 0.0
    return float(norm.sf(root) + beyond)


def feldman_cousins(
    result: Any,
    poi: str | Any,
    *,
    cl: float = 0.95,
    toys: int = 0,
    sample: Sample | None = None,
    seed: int = 0,
) -> Interval:
    """Unified interval of a parameter that cannot be negative (arXiv:physics/9711021).

    Values are ordered by t-tilde, 2 dNLL with respect to the best value that is not negative, and those with a p-value
    above 1 - cl are in.  The interval becomes one-sided by itself when there is no signal.

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.
        cl: Confidence level, between 0 and 1.
        toys: Pseudo-experiments at each of five points around either edge; 0 takes the asymptotic distribution, which
            is exact for Gaussian estimates.
        sample: What Asimov sets and toys are made of, to save making it again.
        seed: Seed of that, if events are drawn here, and of the toys.

    Raises:
        InputError: `cl` is not between 0 and 1, `toys` is negative, or toys are asked for of events with weights.
        FitError: An edge was not found, or too many toys could not be fitted.

    Example:
        >>> result, sample = hz.examples.fitted(), hz.examples.sample()
        >>> print(hz.feldman_cousins(result, "n_sig", sample=sample))  # far from zero it is the usual interval
        n_sig = 41.4  [18.7, 69.3] at 95 % CL (Feldman-Cousins)
    """
    check_level(cl)
    if toys < 0:
        raise InputError.from_parts(expected="toys of 0 or more", got=str(toys), do="correct it")
    profiler = as_profiler(result, poi)
    if toys:
        require_no_weights(profiler.loss)
    sample = sample or sample_of(profiler.loss, theta=profiler.minimum.theta, seed=seed)
    background = asimov_profiler(profiler, 0.0, sample, seed)
    best, sigma, alpha = max(profiler.best, 0.0), profiler.step, 1.0 - cl
    reference = profiler.t(0.0) if profiler.best < 0.0 else 0.0

    def t_bounded(s: float) -> float:
        return max(0.0, profiler.t(s) - reference)

    def excess(s: float) -> float:
        return boundary_pvalue(t_bounded(s), background.t(s)) - alpha

    def z_toys(s: float) -> float:
        """One-sided Z of the p-value from toys; half a toy keeps it finite."""
        stream = (seed, *np.array([s]).view(np.uint32).tolist())
        pool = asimov_set(profiler, s, sample, seed).pool()
        fits = conditional_fits(pool, profiler.name, [s, 0.0], toys=toys, seed=stream)
        t = fits.t_bounded(0, 1)
        return float(norm.isf((np.count_nonzero(t >= t_bounded(s)) + 0.5) / (t.size + 1.0)))

    missed = f"no upper edge of {profiler.name} below"
    inside, outside = bracket(lambda s: -excess(s), best, sigma, missed=missed)
    lower, upper = 0.0, float(brentq(excess, inside, outside, xtol=1e-4 * min(sigma, outside - inside)))
    if best > 0.0 and excess(0.0) < 0.0:
        lower = float(brentq(excess, 0.0, best, xtol=1e-4 * sigma))
    if toys:
        target = float(norm.isf(alpha))
        upper = _smoothed_root(z_toys, upper, sigma, target)
        if best > 0.0:
            lower = _smoothed_root(z_toys, lower, sigma, target) if z_toys(0.0) > target else 0.0
    return Interval(
        poi=profiler.name,
        value=profiler.best,
        lower=lower,
        upper=upper,
        cl=cl,
        method="Feldman-Cousins",
        weights_corrected=profiler.weighted,
    )


def _smoothed_root(function: Callable[[float], float], guess: float, sigma: float, target: float) -> float:
    """Where a noisy, nearly linear function reaches `target`: a straight line through five points about `guess`."""
    centre = max(guess, 0.6 * sigma)
    points = centre + sigma * np.linspace(-0.5, 0.5, 5)
    slope, offset = np.polyfit(points, [function(s) for s in points], 1)
    return float(max(0.0, (target - offset) / slope))
