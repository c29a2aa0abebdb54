"""From a nuisance of the fit to the coordinate in which its effect on the density is analytic.

A fit moves theta, in units of its constraint.  The shift function of the analyst takes a value, such as 1.01 for a jet
energy scale or 2 GeV for a smearing.  The exponents are polynomials of t, which is chosen so that the density is
analytic at t = 0: a smearing has the same effect for both signs of its width, so that t is its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["Coordinate", "SquaredScale", "SquaredWidth", "Standard"]


@runtime_checkable
class Coordinate(Protocol):
    """A nuisance in its three clothes: theta of the fit, the value of the shift function, and t of the exponents."""

    def value(self, theta: float) -> float:
        """What the shift function is given."""

    def theta(self, value: float) -> float:
        """The inverse; -inf for a value that no theta reaches."""

    def t_of(self, value: float) -> float:
        """The coordinate of a value."""

    def t(self, theta: float) -> tuple[float, float, float]:
        """The coordinate with its first and second derivative in theta."""


@dataclass(frozen=True)
class Standard:
    """An energy scale or anything else that acts linearly: t is theta, the nuisance in standard deviations.

    Attributes:
        nominal: Value at theta = 0.
        unit: Standard deviation of the value.
    """

    nominal: float = 0.0
    unit: float = 1.0

    def value(self, theta: float) -> float:
        """See `Coordinate`."""
        return self.nominal + self.unit * theta

    def theta(self, value: float) -> float:
        """See `Coordinate`."""
        return (value - self.nominal) / self.unit

    def t_of(self, value: float) -> float:
        """See `Coordinate`."""
        return self.theta(value)

    def t(self, theta: float) -> tuple[float, float, float]:
        """See `Coordinate`."""
        return theta, 1.0, 0.0


@dataclass(frozen=True)
class SquaredWidth:
    """The width s of a smearing with a log-normal constraint: s = median exp(width theta), t = s^2 / scale^2.

    Attributes:
        median: Of the constraint.
        width: Of its logarithm.
        scale: Value at which t is one.
    """

    median: float = 1.0
    width: float = 1.0
    scale: float = 1.0

    def value(self, theta: float) -> float:
        """See `Coordinate`."""
        return float(self.median * np.exp(self.width * theta))

    def theta(self, value: float) -> float:
        """See `Coordinate`."""
        return float(np.log(value / self.median) / self.width) if value > 0.0 else -np.inf

    def t_of(self, value: float) -> float:
        """See `Coordinate`."""
        return (value / self.scale) ** 2

    def t(self, theta: float) -> tuple[float, float, float]:
        """See `Coordinate`."""
        t = self.t_of(self.value(theta))
        return t, 2.0 * self.width * t, 4.0 * self.width**2 * t


@dataclass(frozen=True)
class SquaredScale:
    """The width s of a smearing that is linear in theta: s = unit theta, t = s^2 / scale^2; both signs are the same.

    Attributes:
        unit: Standard deviation of the width.
        scale: Value at which t is one.
    """

    unit: float = 1.0
    scale: float = 1.0

    def value(self, theta: float) -> float:
        """See `Coordinate`."""
        return self.unit * theta

    def theta(self, value: float) -> float:
        """See `Coordinate`."""
        return value / self.unit

    def t_of(self, value: float) -> float:
        """See `Coordinate`."""
        return (value / self.scale) ** 2

    def t(self, theta: float) -> tuple[float, float, float]:
        """See `Coordinate`."""
        slope = (self.unit / self.scale) ** 2
        return slope * theta**2, 2.0 * slope * theta, 2.0 * slope
