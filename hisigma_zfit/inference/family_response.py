"""What part of a signal the density of its family finds: simulated events are weighed that it was not fitted to.

A density that was fitted to n simulated events is nearer to them than to others, and a mixture of Gaussians is no exact
description: the fit then returns a part of the true signal only.  With w the signal's share of the window and

    u = (r - 1) / (1 + w (r - 1)),    r = p_s / p_b,

the derivative of the log-likelihood by it, the fit of a true signal q returns, to first order in q - p_s,

    response = 1 + (1 - w) (<u>_q / <u>_{p_s} - 1).

The q are simulated events, each weighed by densities that were fitted without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.inference.family_likelihood import CEILING
from hisigma_zfit.results.measurement import SignalResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.signal_families import FamilyDensity

__all__ = ["family_response"]

FOLDS = 5
DRAWS = 8192  # points of the density itself
LEAST = 0.05  # response; yields are divided by it


def family_response(
    density: FamilyDensity,
    log_background: Callable[[Array, Array], Array],
    theta: Array,
    share: float,
    rng: np.random.Generator,
) -> SignalResponse:
    """Fitted events by true event of a signal like the simulated one.

    Simulated events are moved to theta as the density is: an error of the interpolation between samples of a grid, and
    of the assumption that columns scale, is not seen.

    Args:
        density: Of the signal.
        log_background: Log p_b of events with features of shape (n, d) and masses of shape (n,).
        theta: Parameters, shape (T,).
        share: w, between zero and one; not zero, where few events would decide.
        rng: Of the folds and the points.
    """
    x, m = density.sample(theta, DRAWS, rng)
    drawn, log_drawn = density.prepare(x, m), log_background(x, m)
    log_whole = density.log_density(drawn, theta)
    parts = density.motion.parts(np.log(theta))
    known = []
    for k, part, offset, factor in parts:
        z = offset + factor * density.events[k]
        fold, inside = rng.integers(FOLDS, size=len(z)), density.coordinates.inside(z)
        x, m = density.coordinates.inverse(z[inside])
        logs = log_background(x, m)
        known.append((part, fold, fold[inside], density.prepare(x, m), logs))
    found: list[Array] = [np.zeros(len(own)) for _, _, own, _, _ in known]
    spread = 0.0
    for j in range(FOLDS):
        mixtures = list(density.mixtures)
        for (k, *_), (_, fold, *_) in zip(parts, known, strict=True):
            mixtures[k] = density.learned_again(k, fold != j, rng)
        without = replace(density, mixtures=tuple(mixtures))
        log_own = without.log_density(drawn, theta)
        weight = np.exp(log_own - log_whole)
        weight /= weight.mean()
        u = _influence(log_own - log_drawn, share)
        model = float(np.mean(weight * u))
        spread += float(np.var(weight * (u - model))) / DRAWS / model**2 / FOLDS
        for mine, (_, _, own, prepared, logs) in zip(found, known, strict=True):
            held = own == j
            mine[held] = _influence(without.log_density(prepared, theta)[held] - logs[held], share) / model
    kept = [(part, u) for (part, *_), u in zip(known, found, strict=True) if len(u)]
    total = sum(part for part, _ in kept)
    mean = sum(part * float(u.mean()) for part, u in kept) / total
    spread += sum((part / total) ** 2 * float(u.var()) / len(u) for part, u in kept)
    return SignalResponse(
        value=max(1.0 + (1.0 - share) * (mean - 1.0), LEAST),
        error=(1.0 - share) * float(np.sqrt(spread)),
        n_events=sum(map(len, found)),
    )


def _influence(log_ratio: Array, share: float) -> Array:
    excess = np.expm1(np.minimum(log_ratio, CEILING).astype(np.float64))
    return np.asarray(excess / (1.0 + share * excess))
