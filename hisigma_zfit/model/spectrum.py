"""The background's mass spectrum from its sidebands alone: a polynomial in the exponent, fitted around the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.model.families import quadrature
from hisigma_zfit.results.show import Shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["Spectrum", "fit_spectrum"]

MAX_STEPS = 100
LEAST = 100  # events
MAX_DEGREE = 5
GAIN = 3.84  # of 2 lnL, by one more coefficient: 5 % of chi-square


@dataclass(frozen=True)
class Spectrum(Shown):
    """f(m) ~ exp(sum_k theta_k t^k), k = 1 ... degree, t from 0 to 1 over the range of the mass.

    Attributes:
        coefficients: theta, shape (degree,).
        limits: Range of the mass.
        hole: Window that the fit left out.
        events: Fitted number in the whole range, the window included.
        error: Of the number in the window, from the fit.
    """

    coefficients: Array
    limits: tuple[float, float]
    hole: tuple[float, float]
    events: float
    error: float

    def shown(self) -> dict[str, Any]:
        """What a notebook shows."""
        return {
            "degree": len(self.coefficients),
            "range": self.limits,
            "window": self.hole,
            "events in the range": self.events,
            "expected in the window": f"{self.expected(*self.hole):.1f} +- {self.error:.1f}",
        }

    def density(self, m: Array) -> Array:
        """Normalised on the range, shape (n,)."""
        return np.asarray(np.exp(self._exponent(m)) / sum(self._integrals(np.array([self.limits]))))

    def expected(self, lower: float, upper: float) -> float:
        """Background events between two masses."""
        part, whole = self._integrals(np.array([[lower, upper], self.limits]))
        return float(self.events * part / whole)

    def _exponent(self, m: Array) -> Array:
        return _powers(m, self.limits, len(self.coefficients)).T @ self.coefficients

    def _integrals(self, ranges: Array) -> list[float]:
        parts = []
        for low, high in ranges:
            nodes, weights = quadrature(low, high)
            parts.append(float(weights @ np.exp(self._exponent(nodes))))
        return parts


def _powers(m: Array, limits: tuple[float, float], degree: int) -> Array:
    t = (m - limits[0]) / (limits[1] - limits[0])
    return np.asarray(t ** np.arange(1, degree + 1)[:, None])


def fit_spectrum(
    m: Array,
    limits: tuple[float, float],
    hole: tuple[float, float],
    *,
    degree: int | None = None,
    without: Sequence[tuple[float, float]] = (),
) -> Spectrum:
    """Maximum likelihood on the range without the window; events of the window do not count.

    Args:
        m: Masses, shape (n,).
        limits: Range of the mass.
        hole: The window.
        degree: Of the polynomial; by default it is raised, up to 5, as long as that gains a 2 dlnL of 3.84, which
            chance does once in twenty times.
        without: Further windows whose events do not count, such as one that is kept blind.

    Raises:
        InputError: Fewer than 100 events beside the windows, a degree below one, or windows that overlap.
        FitError: The likelihood has no maximum that Newton's method finds.

    Example:
        >>> spectrum = hz.fit_spectrum(hz.examples.events()["m"], (100.0, 160.0), (118.0, 132.0))
        >>> spectrum.coefficients.tolist()  # the background is exp(-2 t)
        [-2.1]
    """
    if degree is not None and degree < 1:
        raise InputError.from_parts(expected="degree >= 1", got=str(degree), do="raise it")
    holes = sorted([hole, *without])
    edges = [limits[0], *(edge for pair in holes for edge in pair), limits[1]]
    if any(low < high for low, high in zip(edges[3:-1:2], edges[2:-2:2], strict=True)):
        raise InputError.from_parts(
            expected="windows apart from each other",
            got=", ".join(f"[{low:g}, {high:g})" for low, high in holes),
            do="move their edges",
        )
    inside = (m >= limits[0]) & (m <= limits[1])
    for low, high in holes:
        inside &= (m < low) | (m >= high)
    kept = m[inside]
    if len(kept) < LEAST:
        raise InputError.from_parts(
            expected=f"at least {LEAST} events beside the window", got=str(len(kept)), do="widen the range of the mass"
        )
    sides = [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if high > low]
    where = (limits, hole, tuple(without), sides)
    if degree is not None:
        return _fitted(kept, *where, degree)[0]
    best, value = _fitted(kept, *where, 1)
    for more in range(2, MAX_DEGREE + 1):
        found, new = _fitted(kept, *where, more)
        if 2.0 * len(kept) * (new - value) < GAIN:
            break
        best, value = found, new
    return best


def _fitted(
    kept: Array,
    limits: tuple[float, float],
    hole: tuple[float, float],
    without: Sequence[tuple[float, float]],
    sides: Sequence[tuple[float, float]],
    degree: int,
) -> tuple[Spectrum, float]:
    """The spectrum of one degree, and its log-likelihood by event."""
    n = len(kept)
    mean = _powers(kept, limits, degree).mean(axis=1)
    nodes, weights = (np.concatenate(columns) for columns in zip(*(quadrature(*side) for side in sides), strict=True))
    powers = _powers(nodes, limits, degree)
    theta = np.zeros(degree)
    value = -np.inf
    for _ in range(MAX_STEPS):
        shape = weights * np.exp(theta @ powers)
        norm = shape.sum()
        average = powers @ shape / norm
        covariance = (powers * shape) @ powers.T / norm - np.outer(average, average)
        step = np.linalg.solve(covariance, mean - average)
        scale = 1.0
        while (new := _value(theta + scale * step, mean, powers, weights)) < value - 1e-12 and scale > 1e-6:
            scale *= 0.5
        theta, value = theta + scale * step, new
        if n * float(step @ covariance @ step) < 1e-10:
            break
    else:
        raise FitError(f"the spectrum beside [{hole[0]:g}, {hole[1]:g}) was not fitted; lower its degree")
    inner, inner_weights = quadrature(*hole)
    density = inner_weights * np.exp(theta @ _powers(inner, limits, degree))
    ratio = density.sum() / norm
    # of log(ratio) by theta
    slope = _powers(inner, limits, degree) @ density / density.sum() - average
    variance = slope @ np.linalg.solve(covariance, slope) / n + 1.0 / n
    error = float(n * ratio * np.sqrt(variance))
    for other in without:
        nodes, weights = quadrature(*other)
        ratio += weights @ np.exp(theta @ _powers(nodes, limits, degree)) / norm
    return Spectrum(theta, limits, hole, float(n * (1.0 + ratio)), error), value


def _value(theta: Array, mean: Array, powers: Array, weights: Array) -> float:
    """Log-likelihood by event."""
    return float(theta @ mean - np.log(weights @ np.exp(theta @ powers)))
