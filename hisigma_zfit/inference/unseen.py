"""What densities of half of the events find among the other half: the bias of their yield, measured instead of guessed.

A density that was learned from one half of the sidebands has never seen the other half.  Its events are put at masses
of the signal region, each at all of them, and stand there for the background; simulated signal of the other half is
added.
What the fit finds beyond this signal is the bias of the density, with whatever noise and smoothing it has, and with an
error that counting leaves.  The background's density is taken at the event's own mass, where it was learned: the
comparison asks how well p_b(x|m) is known in the sidebands, not how well it is carried into the region.

The halves' yields in the data less what they find unseen have the noise of the densities of all events, and no bias to
first order (the cross-fitting of Chernozhukov et al., arXiv:1608.00060).  Measured with retraining: docs/coverage.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from hisigma_zfit.arrays import room_for
from hisigma_zfit.errors import FitError
from hisigma_zfit.learn.resampling import half_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["Hypothesis", "Taught", "share_inside", "unseen_yield"]

NODES = 64  # masses at which every event is put
SIGNAL_NODES = 3  # masses at which its signal density is evaluated, and interpolated between
MAX_EVENTS = 300_000  # of the sidebands: they have to be all, or the noise of the training is not taken out
LARGEST = 300.0  # logarithm of a ratio that is told from infinity
GRID = 4001  # masses at which shapes are integrated over the region
MAX_STEPS = 100
BLOCK = 8192  # ratios whose sums stay in the processor's cache


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
        peak: Density of the signal's mass, of any norm.
        falling: Density of the background's mass, of any norm.
        n_signal: Signal events of the signal region.
        n_background: Background events of it.
        region: The signal region.
    """

    peak: Callable[[Array], Array]
    falling: Callable[[Array], Array]
    n_signal: float
    n_background: float
    region: SignalRegion


def share_inside(density: Callable[[Array], Array], region: SignalRegion) -> float:
    """Part of a mass shape, which is normalised on its own range, that is in a region."""
    grid = np.linspace(region.lower, region.upper, GRID)
    return float(np.trapezoid(density(grid), grid))


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
        rng: Of the sideband masses at which the background's density of simulated signal is taken.

    Returns:
        Fitted signal events of the region; those of the hypothesis if both densities are right.

    Raises:
        FitError: The fit did not converge.
    """
    region, name = hypothesis.region, background.given
    masses = _Masses.of(hypothesis)
    rows = np.arange(len(sidebands))[:: len(sidebands) // MAX_EVENTS + 1]
    x, own, w = sidebands.array(background.features)[rows], sidebands[name][rows], _weights(sidebands)[rows]
    inside = region.contains(simulation[name])
    signal_x, signal_m = simulation.array(background.features)[inside], simulation[name][inside]
    signal_w = _weights(simulation)[inside]
    elsewhere = rng.choice(own, len(signal_x), p=w / w.sum())

    # one call for each density, of which large ones are quicker
    log_b = background.log_prob_array(np.concatenate([x, signal_x]), np.concatenate([own, elsewhere]))
    known = np.isfinite(log_b)  # what is outside of the domain is not fitted either
    known_b, known_s = np.split(known, [len(x)])
    x, signal_x, signal_m = x[known_b], signal_x[known_s], signal_m[known_s]
    log_b, log_b_of_signal = np.split(log_b[known], [len(x)])
    at = np.concatenate([np.repeat(masses.signal_nodes, len(x)), signal_m])
    log_s = signal.log_prob_array(np.concatenate([*[x] * SIGNAL_NODES, signal_x]), at)
    log_s, log_s_of_signal = np.split(log_s, [SIGNAL_NODES * len(x)])

    unseen = _Events(
        masses.ratios(log_s.reshape(SIGNAL_NODES, len(x)).T, log_b),
        w[known_b] * hypothesis.n_background / w.sum(),
        masses.weights,
    )
    log = log_s_of_signal - log_b_of_signal + masses.log_ratio_at(signal_m)
    added = _Events(
        np.exp(np.minimum(log, LARGEST))[:, None],
        signal_w[known_s] * hypothesis.n_signal / signal_w.sum(),
        np.ones(1),
    )
    return _fit((unseen, added), np.array([hypothesis.n_signal, hypothesis.n_background]))


@dataclass(frozen=True)
class _Masses:
    """Masses of the region that stand for the background's: half of them where the background is, half in the peak.

    Attributes:
        grid: Fine masses of the region.
        logs: Logarithm of peak over falling shape there, both normalised on the region.
        nodes: The masses, shape (NODES,).
        weights: Of the background at each, adding up to one.
        signal_nodes: Masses at which the signal's features are evaluated.
    """

    grid: Array
    logs: Array
    nodes: Array
    weights: Array
    signal_nodes: Array

    @classmethod
    def of(cls, hypothesis: Hypothesis) -> Self:
        """From the shapes of the masses."""
        grid = np.linspace(hypothesis.region.lower, hypothesis.region.upper, GRID)
        peak, falling = (_normalised(shape(grid), grid) for shape in (hypothesis.peak, hypothesis.falling))
        mixed = 0.5 * (peak + falling)
        nodes = _quantiles(mixed, grid, (np.arange(NODES) + 0.5) / NODES)
        weights = np.interp(nodes, grid, falling) / np.interp(nodes, grid, mixed)
        levels = np.linspace(0.02, 0.98, SIGNAL_NODES)
        return cls(grid, np.log(peak / falling), nodes, weights / weights.sum(), _quantiles(peak, grid, levels))

    def log_ratio_at(self, m: Array) -> Array:
        """Logarithm of peak over falling shape."""
        return np.interp(m, self.grid, self.logs)

    def ratios(self, log_s: Array, log_b: Array) -> Array:
        """Densities of signal over those of background at the nodes, shape (n, NODES).

        Args:
            log_s: Log density of the signal at its masses, shape (n, SIGNAL_NODES), interpolated between them.
            log_b: Log density of the background, shape (n,).
        """
        known = np.maximum(log_s, -1e4)  # outside of its domain: nothing
        place = np.clip(np.interp(self.nodes, self.signal_nodes, np.arange(SIGNAL_NODES)), 0.0, SIGNAL_NODES - 1.0)
        low = np.minimum(place.astype(np.intp), SIGNAL_NODES - 2)
        share, shapes = place - low, self.log_ratio_at(self.nodes)
        found = room_for((len(log_b), NODES), np.float64)
        for start in range(0, len(log_b), BLOCK // NODES):
            block = slice(start, start + BLOCK // NODES)
            log = known[block, low] * (1.0 - share) + known[block, low + 1] * share - log_b[block, None] + shapes
            np.exp(np.minimum(log, LARGEST), out=found[block])
        return found


def _quantiles(density: Array, grid: Array, levels: Array) -> Array:
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    return np.interp(levels, cumulative / cumulative[-1], grid)


def _weights(events: Dataset) -> Array:
    return np.ones(len(events)) if events.weights is None else events.weights


def _normalised(density: Array, grid: Array) -> Array:
    return np.maximum(density, 1e-300) / np.trapezoid(density, grid)


class _Events(NamedTuple):
    """Events that are fitted, each at M masses.

    Attributes:
        ratio: Density of the signal over that of the background, shape (n, M).
        weights: Of the events, shape (n,).
        masses: Further weights, of the masses, shape (M,).
    """

    ratio: Array
    weights: Array
    masses: Array


def _fit(events: tuple[_Events, ...], start: Array) -> float:
    """Maximise -s - b + sum_i w_i log(s r_i + b), a concave function of both yields."""
    theta, now = start, _sums(events, start)
    for _ in range(MAX_STEPS):
        step = np.linalg.solve(now.curvature, now.gradient)
        scale, damped = 1.0, _sums(events, theta + step)
        while damped.value < now.value - 1e-9 and scale > 1e-8:
            scale *= 0.5
            damped = _sums(events, theta + scale * step)
        left = float(now.gradient @ step)
        theta, now = theta + scale * step, damped
        if left < 1e-8:
            return float(theta[0])
    raise FitError("the fit of events that a density has not seen did not converge; this is a bug, please report it")


class _Sums(NamedTuple):
    """The function that `_fit` maximises, its gradient, shape (2,), and its curvature downwards, shape (2, 2)."""

    value: float
    gradient: Array
    curvature: Array


def _sums(events: tuple[_Events, ...], theta: Array) -> _Sums:
    """In blocks: there are millions of ratios, and on the way to memory they would be slower than the logarithm."""
    signal, background = theta
    value, gradient, curvature = -float(theta.sum()), -np.ones(2), np.zeros((2, 2))
    for ratio, weights, masses in events:
        rows = BLOCK // len(masses)
        for start in range(0, len(ratio), rows):
            r = ratio[start : start + rows].ravel()
            w = (weights[start : start + rows, None] * masses).ravel()
            total = signal * r + background
            if total.min() <= 0.0:
                return _Sums(-np.inf, gradient, curvature)
            value += float(w @ np.log(total))
            shares = np.stack([r / total, 1.0 / total])
            weighted = shares * w
            gradient += weighted.sum(axis=1)
            curvature += weighted @ shares.T
    return _Sums(value, gradient, curvature)
