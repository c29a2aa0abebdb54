"""Auxiliary measurements: what stands behind constraint terms, shifted for Asimov sets and randomised for toys.

A constraint of a nuisance stands for a measurement elsewhere.  In a pseudo-experiment that measurement is repeated, so
its observation fluctuates around the nuisance's true value; in an Asimov set it is the one that makes the constraint
stationary at the true value.  zfit keeps the observations inside its constraints and samples the nuisances instead of
them, which moves a fit's start but not its likelihood; here they are an argument.  Numpy only, so that toys can run in
processes without zfit; `hisigma_zfit.likelihood.constraints` reads zfit's constraints and makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag
from scipy.special import digamma, gammaln, polygamma

from hisigma_zfit.likelihood.evaluate import Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = [
    "AuxiliaryData",
    "AuxiliaryEvaluator",
    "GaussianMeasurement",
    "LogNormalMeasurement",
    "Measurement",
    "PoissonMeasurement",
    "RepeatableConstraint",
]


_LOG_TWO_PI = float(np.log(2.0 * np.pi))


class Measurement(Protocol):
    """One constraint as a function of its nuisances p, shape (k,), and observations x, mostly of the same shape."""

    def stationary(self, p: Array) -> Array:
        """The observations at which the term is stationary in `p`."""

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        """Observations of a repeated measurement when `p` is true."""

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        """-log L with the constants that zfit has, its gradient and its Hessian in `p`."""


@dataclass(frozen=True)
class GaussianMeasurement:
    """Observations that scatter around the nuisances with a covariance."""

    covariance: Array
    precision: Array

    @cached_property
    def _constant(self) -> float:
        return 0.5 * (len(self.covariance) * _LOG_TWO_PI + float(np.linalg.slogdet(self.covariance)[1]))

    def stationary(self, p: Array) -> Array:
        """See `Measurement`."""
        return p

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        """See `Measurement`."""
        return p + np.linalg.cholesky(self.covariance) @ rng.standard_normal(p.size)

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        """See `Measurement`."""
        gradient = self.precision @ (p - x)
        return self._constant + 0.5 * float((p - x) @ gradient), gradient, self.precision


@dataclass(frozen=True)
class PoissonMeasurement:
    """zfit's form: the nuisance is the continuous count of a Poisson distribution whose mean is the observation."""

    def stationary(self, p: Array) -> Array:
        """See `Measurement`."""
        return np.asarray(np.exp(digamma(p + 1.0)))

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        """See `Measurement`."""
        # this form takes the logarithm of the observation; 1/e gives no count the slope 1 of -log Pois(0 | p) = p
        return np.maximum(rng.poisson(p), np.exp(-1.0))

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        """See `Measurement`."""
        value = float(np.sum(x - p * np.log(x) + gammaln(p + 1.0)))
        return value, digamma(p + 1.0) - np.log(x), np.diag(polygamma(1, p + 1.0))


@dataclass(frozen=True)
class LogNormalMeasurement:
    """zfit's form: log p is Gaussian around the observation, with the Jacobian 1/p."""

    sigma: Array

    def stationary(self, p: Array) -> Array:
        """See `Measurement`."""
        return np.asarray(np.log(p) + self.sigma**2)

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        """See `Measurement`."""
        return np.asarray(rng.normal(np.log(p), self.sigma))

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        """See `Measurement`."""
        pull = (np.log(p) - x) / self.sigma**2
        value = float(np.sum(0.5 * pull * (np.log(p) - x) + np.log(p * self.sigma) + 0.5 * _LOG_TWO_PI))
        return value, (pull + 1.0) / p, np.diag((self.sigma**-2 - pull - 1.0) / p**2)


class RepeatableConstraint(Protocol):
    """A zfit constraint that brings its measurement along.

    Attributes:
        measurement: How it fluctuates.
        nuisances: Its parameters, in the measurement's order.
        observation: What was observed.
    """

    measurement: Measurement
    nuisances: tuple[Any, ...]
    observation: Array


class AuxiliaryData:
    """The measurements behind the constraints of a likelihood; `constraints.auxiliary_data` makes it of zfit's.

    Observations of all constraints are one vector of shape (A,), in the order of the constraints.

    Args:
        terms: Of each constraint its measurement, the indices of its nuisances, and where its observations stand.
        observed: The observations of the data, shape (A,).
    """

    def __init__(self, terms: Sequence[tuple[Measurement, npt.NDArray[np.intp], slice]], observed: Array) -> None:
        self.terms, self.observed = tuple(terms), observed

    def asimov(self, theta: Array) -> Array:
        """Observations that make every term stationary at `theta`, shape (A,)."""
        return self._collect(lambda measurement, p: measurement.stationary(p), theta)

    def draw(self, theta: Array, rng: np.random.Generator) -> Array:
        """Observations of one pseudo-experiment at the true values `theta`, shape (A,)."""
        return self._collect(lambda measurement, p: measurement.draw(p, rng), theta)

    def _collect(self, function: Any, theta: Array) -> Array:
        result = np.empty(self.observed.size)
        for measurement, index, at in self.terms:
            result[at] = function(measurement, theta[index])
        return result

    def evaluator(self, observation: Array) -> AuxiliaryEvaluator:
        """Sum of the terms for observations of shape (A,)."""
        return AuxiliaryEvaluator(self, observation)

    @property
    def joint_terms(self) -> tuple[tuple[Measurement, npt.NDArray[np.intp], Any], ...]:
        """`terms` with all Gaussian ones of different nuisances as one: ten cost as much as all the events."""
        return self._joint_terms

    @cached_property
    def _joint_terms(self) -> tuple[tuple[Measurement, npt.NDArray[np.intp], Any], ...]:
        gaussian = [term for term in self.terms if type(term[0]) is GaussianMeasurement]
        index = np.concatenate([own for _, own, _ in gaussian]) if gaussian else np.empty(0, dtype=np.intp)
        if len(gaussian) < 2 or np.unique(index).size < index.size:
            return self.terms
        joint = GaussianMeasurement(
            block_diag(*(m.covariance for m, _, _ in gaussian)),  # type: ignore[attr-defined]
            block_diag(*(m.precision for m, _, _ in gaussian)),  # type: ignore[attr-defined]
        )
        at = np.concatenate([np.arange(self.observed.size)[own] for _, _, own in gaussian])
        return (*(term for term in self.terms if type(term[0]) is not GaussianMeasurement), (joint, index, at))


class AuxiliaryEvaluator:
    """Sum of constraint terms with fixed observations; build it with `AuxiliaryData.evaluator`."""

    def __init__(self, auxiliary: AuxiliaryData, observation: Array) -> None:
        self._terms = [(m, index, observation[at]) for m, index, at in auxiliary.joint_terms]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,)."""
        return sum(measurement.terms(theta[index], x)[0] for measurement, index, x in self._terms)

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        value, gradient, hessian = 0.0, np.zeros(theta.size), np.zeros((theta.size, theta.size))
        for measurement, index, x in self._terms:
            v, g, h = measurement.terms(theta[index], x)
            value += v
            gradient[index] += g
            hessian[index[:, None], index] += h
        return Evaluation(value, gradient, hessian)
