"""Profiles around the maxima of a family's likelihood, from few evaluations: parabolas where they are good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hisigma_zfit.inference.family_likelihood import NEVER, Landscape, Ratios

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array

__all__ = ["Peak", "YieldProfile", "edges", "peaks", "polish"]

NARROW, WIDE = 2e-3, 0.15  # standard deviations of log theta that are believed
HALF_STEP = 0.7  # of the differences that tell curvature, in standard deviations
FARTHEST = 2.0  # that a step may go, in standard deviations
SETTLED = 0.02  # gain in 2 lnL at which a maximum stands still
CLOSE = 0.03  # to the wanted 2 lnL that a crossing has to come


@dataclass(frozen=True)
class Peak:
    """A maximum.

    Attributes:
        value: 2 lnL.
        t: Log theta, shape (T,).
        widths: Standard deviation of each component with all others held, shape (T,).
    """

    value: float
    t: Array
    widths: Array


def peaks(landscape: Landscape) -> list[Peak]:
    """The distinct maxima, the best first."""
    found = []
    for value, t in landscape.maxima():
        widths = _widths(landscape, value, t)
        found.append(Peak(*polish(landscape.value, t, widths), widths))
    return sorted(found, key=lambda peak: -peak.value)


def _widths(landscape: Landscape, value: float, t: Array) -> Array:
    widths = np.full(len(t), 0.02)
    for k in range(len(t)):
        for _ in range(2):
            step = widths[k] * np.eye(len(t))[k]
            beside = [v for v in (landscape.value(t + step), landscape.value(t - step)) if v > NEVER]
            falls = [max(value - v, 0.05) for v in beside]
            if falls:
                widths[k] = np.clip(widths[k] / np.sqrt(np.mean(falls)), NARROW, WIDE)
    return widths


class _Parabola(NamedTuple):
    value: float  # at its centre
    gradient: Array
    hessian: Array

    def step(self) -> Array:
        """To the maximum, at most FARTHEST in each direction; along the gradient where there is none."""
        curved = np.linalg.eigvalsh(self.hessian).max(initial=-np.inf) < -1e-3
        step = -np.linalg.solve(self.hessian, self.gradient) if curved else self.gradient
        return np.asarray(step * min(1.0, FARTHEST / max(float(np.abs(step).max(initial=0.0)), 1e-300)))

    def at(self, step: Array) -> float:
        return float(self.value + self.gradient @ step + 0.5 * step @ self.hessian @ step)


def _stencil(size: int) -> Array:
    """Points that tell a parabola, the centre first, shape (n, size)."""
    unit = HALF_STEP * np.eye(size)
    corners = [unit[i] + unit[j] for i in range(size) for j in range(i)]
    return np.concatenate([np.zeros((1, size)), unit, -unit, np.reshape(corners, (-1, size))])


def _parabola(values: Array, size: int) -> _Parabola:
    """From values at the points of `_stencil`."""
    centre, plus, minus, corners = np.split(values, [1, 1 + size, 1 + 2 * size])
    gradient = (plus - minus) / (2.0 * HALF_STEP)
    hessian = np.diag((plus + minus - 2.0 * centre) / HALF_STEP**2)
    pairs = [(i, j) for i in range(size) for j in range(i)]
    for (i, j), corner in zip(pairs, corners, strict=True):
        rest = centre[0] + HALF_STEP * (gradient[i] + gradient[j])
        rest += 0.5 * HALF_STEP**2 * (hessian[i, i] + hessian[j, j])
        hessian[i, j] = hessian[j, i] = (corner - rest) / HALF_STEP**2
    return _Parabola(float(centre[0]), gradient, hessian)


def polish(function: Callable[[Array], float], start: Array, widths: Array) -> tuple[float, Array]:
    """The maximum near a point by Newton's method with differences.

    Args:
        function: Of shape (k,).
        start: Shape (k,).
        widths: Rough standard deviations, shape (k,).
    """
    point, size = np.asarray(start, dtype=np.float64), len(start)
    best = function(point)
    for _ in range(8 if size else 0):
        around = point + widths * _stencil(size)
        values = np.array([best, *(function(p) for p in around[1:])])
        moved = point + widths * _parabola(values, size).step() if values.min() > NEVER else around[values.argmax()]
        candidates = [*zip(values, around, strict=True), (function(moved), moved)]
        before = best
        best, point = max(candidates, key=lambda pair: pair[0])
        if best - before < SETTLED:
            break
    return float(best), point


class YieldProfile:
    """2 lnL as a function of the yield, everything else profiled.

    The ratios of the events are kept at a few points around each maximum; at any yield, which costs nothing then,
    parabolas through them tell the maxima there.

    Args:
        landscape: The likelihood.
        found: Its maxima.
    """

    def __init__(self, landscape: Landscape, found: list[Peak]) -> None:
        self.peaks = found
        self._ratios: list[list[Ratios | None]] = [
            [self._at(landscape, peak.t + peak.widths * step) for step in _stencil(len(peak.t))] for peak in found
        ]

    @staticmethod
    def _at(landscape: Landscape, t: Array) -> Ratios | None:
        return landscape.ratios(np.exp(t)) if landscape.density.allows(np.exp(t)) else None

    def maximum(self, s: float) -> tuple[float, Array]:
        """2 lnL at a yield, and log theta there, shape (T,)."""
        best, at = -np.inf, self.peaks[0].t
        for peak, ratios in zip(self.peaks, self._ratios, strict=True):
            values = np.array([NEVER if r is None else r.at(s) for r in ratios])
            steps = _stencil(len(peak.t))
            options = list(zip(values, steps, strict=True))
            if values.min() > NEVER:
                parabola = _parabola(values, len(peak.t))
                step = parabola.step()
                if np.abs(step).max() < FARTHEST:
                    options.append((parabola.at(step), step))
            value, step = max(options, key=lambda pair: pair[0])
            if value > best:
                best, at = float(value), peak.t + peak.widths * step
        return best, at


def edges(
    fall: Callable[[float], float], best: float, levels: tuple[float, ...], limits: tuple[float, float], step: float
) -> list[tuple[float, float]]:
    """Where a profile has fallen by each of some growing levels on either side of its maximum, or the limit there.

    Args:
        fall: From the maximum, zero at `best`.
        best: Where the maximum is.
        levels: Falls.
        limits: Where the parameter ends.
        step: First step that is tried.
    """
    low, high = (_crossings(fall, best, levels, end, step) for end in limits)
    return list(zip(low, high, strict=True))


def _crossings(
    fall: Callable[[float], float], best: float, levels: tuple[float, ...], end: float, step: float
) -> list[float]:
    sign, reach = np.sign(end - best), abs(end - best)
    known, far, found = {0.0: 0.0}, min(step, reach), []
    for level in levels:
        while True:
            if far not in known:
                known[far] = fall(best + sign * far)
            below = max(d for d, f in known.items() if f < level)
            above = [d for d, f in known.items() if f >= level and d > below]
            if abs(known[far] - level) < CLOSE or (far >= reach and known[far] < level):
                break
            if not above:
                growth = np.sqrt(level / max(known[below], 1e-9)) * 1.05  # of a parabola, and a little more
                far = min(max(below, far) * float(np.clip(growth, 1.1, 2.5)), reach)
                continue
            a, b = np.sqrt(max(known[below], 0.0)), np.sqrt(known[min(above)])
            width = min(above) - below
            if width < 1e-3 * min(above):  # a step
                break
            part = (np.sqrt(level) - a) / (b - a)
            far = below + width * float(np.clip(part, 0.1, 0.9))
        found.append(float(best + sign * far))
        far = min(far * np.sqrt(levels[-1] / level), reach)
    return found
