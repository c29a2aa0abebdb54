"""What densities of half of the events find among the other half: the bias of their yield, measured instead of guessed.

A density that was learned from one half of the sidebands has never seen the other half.  Its events are put at masses
of the signal region, each at several, and stand there for the background; simulated signal of the other half is added.
What the fit finds beyond this signal is the bias of the density, with whatever noise and smoothing it has, and with an
error that counting leaves.  The background's density is taken at the event's own mass, where it was learned: the
comparison asks how well p_b(x|m) is known in the sidebands, not how well it is carried into the region.

The halves' yields in the data less what they find unseen have the noise of the densities of all events, and no bias to
first order (the cross-fitting of Chernozhukov et al., arXiv:1608.00060).  Measured with retraining: docs/coverage.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import FitError
from hisigma_zfit.learn.resampling import half_of
from hisigma_zfit.model.shapes import evaluate

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["Hypothesis", "Taught", "share_inside", "unseen_yield"]

COPIES = 4  # masses at which an event is put
MAX_EVENTS = 60_000  # of the sidebands; their counting noise is small then
GRID = 2001  # masses at which shapes are integrated over the region
MAX_STEPS = 100


@dataclass(frozen=True)
class Taught:
    """The events that trained a density.

    Attributes:
        events: As they were given to `train_flow`.
        seed: The seed that was given to it, which says which half they are in.
    """

    events: Dataset
    seed: int

    def unseen(self, half: int) -> Dataset:
        """Those that the density of a half was not trained with."""
        return self.events.select(half_of(self.events.identity, seed=self.seed) != half)


@dataclass(frozen=True)
class Hypothesis:
    """What the unseen events stand for.

    Attributes:
        peak: Mass shape of the signal.
        falling: Mass shape of the background.
        n_signal: Signal events of the signal region.
        n_background: Background events of it.
        region: The signal region.
    """

    peak: Any
    falling: Any
    n_signal: float
    n_background: float
    region: SignalRegion


def share_inside(shape: Any, region: SignalRegion) -> float:
    """Part of a mass shape, which is normalised on its own range, that is in a region."""
    grid = np.linspace(region.lower, region.upper, GRID)
    return float(np.trapezoid(evaluate(shape, grid), grid))


def unseen_yield(
    background: ConditionalFlow,
    signal: ConditionalFlow,
    sidebands: Dataset,
    simulation: Dataset,
    hypothesis: Hypothesis,
    *,
    rng: np.random.Generator,
) -> float:
    """Signal that two densities find in expected data made of events that they have not seen.

    Args:
        background: p_b(x | m).
        signal: p_s(x | m).
        sidebands: Events that `background` has not seen, outside of the signal region.
        simulation: Simulated signal that `signal` has not seen.
        hypothesis: Yields and mass shapes.
        rng: Of the masses.

    Returns:
        Fitted signal events of the region; those of the hypothesis if both densities are right.

    Raises:
        FitError: The fit did not converge.
    """
    region, name = hypothesis.region, background.given
    grid = np.linspace(region.lower, region.upper, GRID)
    peak, falling = (_normalised(evaluate(shape, grid), grid) for shape in (hypothesis.peak, hypothesis.falling))
    rows = np.arange(len(sidebands))[:: len(sidebands) // MAX_EVENTS + 1]
    x, own = sidebands.array(background.features)[rows], sidebands[name][rows]
    w = _weights(sidebands)[rows]
    n = COPIES * len(x)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (falling[1:] + falling[:-1]) * np.diff(grid))])
    m = np.interp((rng.permutation(n) + rng.random(n)) / n, cumulative / cumulative[-1], grid)
    inside = region.contains(simulation[name])
    signal_x, signal_m = simulation.array(background.features)[inside], simulation[name][inside]
    signal_w = _weights(simulation)[inside]
    parts = [
        (np.repeat(x, COPIES, axis=0), m, np.repeat(own, COPIES), np.repeat(w, COPIES), hypothesis.n_background),
        (signal_x, signal_m, rng.choice(own, len(signal_x), p=w / w.sum()), signal_w, hypothesis.n_signal),
    ]
    ratios, weights = [], []
    for features, at, covariate, weight, expected in parts:
        log_b = background.log_prob_array(features, covariate)
        log_s = signal.log_prob_array(features, at)
        known = np.isfinite(log_b)  # what is outside of the domain is not fitted either
        log = (
            log_s[known] + np.log(np.interp(at[known], grid, peak) / np.interp(at[known], grid, falling)) - log_b[known]
        )
        ratios.append(np.exp(np.minimum(log, 300.0)))
        weights.append(weight[known] * expected / weight.sum())
    start = np.array([hypothesis.n_signal, hypothesis.n_background])
    return _fit(np.concatenate(ratios), np.concatenate(weights), start)


def _weights(events: Dataset) -> Array:
    return np.ones(len(events)) if events.weights is None else events.weights


def _normalised(density: Array, grid: Array) -> Array:
    return np.maximum(density, 1e-300) / np.trapezoid(density, grid)


def _fit(ratio: Array, weights: Array, start: Array) -> float:
    """Maximise -s - b + sum_i w_i log(s r_i + b), a concave function of both yields."""
    columns = np.stack([ratio, np.ones_like(ratio)])

    def value(theta: Array) -> float:
        total = theta @ columns
        return -np.inf if total.min() <= 0 else float(weights @ np.log(total) - theta.sum())

    theta, now = start, value(start)
    for _ in range(MAX_STEPS):
        shares = columns / (theta @ columns)
        gradient = shares @ weights - 1.0
        step = np.linalg.solve((shares * weights) @ shares.T, gradient)
        scale, damped = 1.0, value(theta + step)
        while damped < now - 1e-9 and scale > 1e-8:
            scale *= 0.5
            damped = value(theta + scale * step)
        theta, now = theta + scale * step, damped
        if float(gradient @ step) < 1e-8:
            return float(theta[0])
    raise FitError("the fit of events that a density has not seen did not converge; this is a bug, please report it")
