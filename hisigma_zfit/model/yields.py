"""Composed yields as plain numbers: what the quick likelihood needs, also in other processes; numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["LogNormalSize", "PolynomialSize", "Size"]


class Size(Protocol):
    """A yield as a function of Q parameters."""

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) at parameters of shape (Q,)."""


@dataclass(frozen=True)
class LogNormalSize:
    """A yield number * (base + offset + sum_i sigma_i nu_i) * exp(sum_j log_j nu_j).

    Attributes:
        number: The base, or what multiplies it if it is a parameter.
        scaled: True if the base is a parameter; its value then comes first.
        logs: log kappa of the factors, J of them; their nuisances come last.
        shifts: Sigma of what is added to the base, I of them; only for a base that is a parameter.
        offset: What is added to such a base whatever the nuisances are.
    """

    number: float
    scaled: bool
    logs: tuple[float, ...]
    shifts: tuple[float, ...] = ()
    offset: float = 0.0

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) with respect to the base, if it is a parameter, and the nuisances."""
        logs = np.array(self.logs)
        factor = self.number * math.exp(float(logs @ values[values.size - logs.size :]))
        if not self.scaled:
            return factor, factor * logs, factor * (logs[:, None] * logs)
        linear = np.array([1.0, *self.shifts])  # by the base and by what is added to it
        n = linear.size
        size = factor * (self.offset + float(linear @ values[:n]))
        gradient = np.concatenate([factor * linear, size * logs])
        hessian = np.zeros((values.size, values.size))
        hessian[:n, n:] = factor * (linear[:, None] * logs)
        hessian[n:, :n] = hessian[:n, n:].T
        hessian[n:, n:] = size * (logs[:, None] * logs)
        return size, gradient, hessian


@dataclass(frozen=True)
class PolynomialSize:
    """A yield strength * (polynomial in a coupling).

    Attributes:
        coefficients: Of the polynomial, highest power first.
        scaled: True if the strength is a parameter; its value then comes last.
    """

    coefficients: tuple[float, ...]
    scaled: bool

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) with respect to the coupling, and the strength if it is one."""
        zeroth, first, second = (
            float(np.polyval(np.polyder(np.array(self.coefficients), order), values[0])) for order in range(3)
        )
        if not self.scaled:
            return zeroth, np.array([first]), np.array([[second]])
        factor = float(values[1])
        return (
            factor * zeroth,
            np.array([factor * first, zeroth]),
            np.array([[factor * second, first], [first, 0.0]]),
        )
