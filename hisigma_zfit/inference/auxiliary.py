"""Auxiliary measurements: what stands behind constraint terms, shifted for Asimov sets and randomised for toys.

A constraint of a nuisance stands for a measurement elsewhere.  In a pseudo-experiment that measurement is repeated, so
its observation fluctuates around the nuisance's true value; in an Asimov set it is the one that makes the constraint
stationary at the true value.  zfit keeps the observations inside its constraints and samples the nuisances instead of
them, which moves a fit's start but not its likelihood; here they are an argument.  zfit is imported only where its
constraints are read or made, so that toys can run in processes without it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, gammaln, polygamma

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.evaluate import Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AuxiliaryData", "AuxiliaryEvaluator", "RepeatableConstraint"]

Array = npt.NDArray[np.float64]


class _Measurement(Protocol):
    """One constraint as a function of its nuisances p, shape (k,), and observations x, mostly of the same shape."""

    def stationary(self, p: Array) -> Array:
        """The observations at which the term is stationary in `p`."""

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        """Observations of a repeated measurement when `p` is true."""

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        """-log L up to a constant, its gradient and its Hessian in `p`."""

    def constraint(self, parameters: Sequence[Any], x: Array) -> Any:
        """The zfit constraint with these observations."""


@dataclass(frozen=True)
class _Gaussian:
    covariance: Array
    precision: Array

    def stationary(self, p: Array) -> Array:
        return p

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        return p + np.linalg.cholesky(self.covariance) @ rng.standard_normal(p.size)

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        gradient = self.precision @ (p - x)
        return 0.5 * float((p - x) @ gradient), gradient, self.precision

    def constraint(self, parameters: Sequence[Any], x: Array) -> Any:
        import zfit

        return zfit.constraint.GaussianConstraint(list(parameters), observation=x.tolist(), cov=self.covariance)


@dataclass(frozen=True)
class _Poisson:
    """zfit's form: the nuisance is the continuous count of a Poisson distribution whose mean is the observation."""

    def stationary(self, p: Array) -> Array:
        return np.asarray(np.exp(digamma(p + 1.0)))

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        # this form takes the logarithm of the observation; 1/e gives no count the slope 1 of -log Pois(0 | p) = p
        return np.maximum(rng.poisson(p), np.exp(-1.0))

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        value = float(np.sum(x - p * np.log(x) + gammaln(p + 1.0)))
        return value, digamma(p + 1.0) - np.log(x), np.diag(polygamma(1, p + 1.0))

    def constraint(self, parameters: Sequence[Any], x: Array) -> Any:
        import zfit

        return zfit.constraint.PoissonConstraint(list(parameters), observation=x.tolist())


@dataclass(frozen=True)
class _LogNormal:
    """zfit's form: log p is Gaussian around the observation, with the Jacobian 1/p."""

    sigma: Array

    def stationary(self, p: Array) -> Array:
        return np.asarray(np.log(p) + self.sigma**2)

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        return np.asarray(rng.normal(np.log(p), self.sigma))

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        pull = (np.log(p) - x) / self.sigma**2
        value = float(np.sum(0.5 * pull * (np.log(p) - x) + np.log(p)))
        return value, (pull + 1.0) / p, np.diag((self.sigma**-2 - pull - 1.0) / p**2)

    def constraint(self, parameters: Sequence[Any], x: Array) -> Any:
        import zfit

        return zfit.constraint.LogNormalConstraint(
            list(parameters), observation=x.tolist(), uncertainty=self.sigma.tolist()
        )


class RepeatableConstraint(Protocol):
    """A zfit constraint that brings its measurement along.

    Attributes:
        measurement: How it fluctuates.
        nuisances: Its parameters, in the measurement's order.
        observation: What was observed.
    """

    measurement: _Measurement
    nuisances: tuple[Any, ...]
    observation: Array


def _measurement(constraint: Any, size: int) -> _Measurement:
    import zfit

    if hasattr(constraint, "measurement"):
        own: _Measurement = constraint.measurement
        return own
    if isinstance(constraint, zfit.constraint.GaussianConstraint):
        covariance = np.asarray(constraint.covariance, dtype=np.float64).reshape(size, size)
        return _Gaussian(covariance, np.asarray(np.linalg.inv(covariance), dtype=np.float64))
    if isinstance(constraint, zfit.constraint.PoissonConstraint):
        return _Poisson()
    if isinstance(constraint, zfit.constraint.LogNormalConstraint):
        return _LogNormal(np.broadcast_to(np.asarray(constraint.distribution.scale, dtype=np.float64), (size,)))
    raise InputError.from_parts(
        expected="Gaussian, Poisson or log-normal constraints, or those of fitted weights",
        got=type(constraint).__name__,
        do="write it as one of them: it is not known how the measurement behind it would fluctuate",
    )


class AuxiliaryData:
    """The measurements behind the constraints of a likelihood.

    Observations of all constraints are one vector of shape (A,), in the order of the constraints.

    Args:
        constraints: zfit constraints.
        parameters: All parameters of the likelihood, P of them.

    Raises:
        InputError: A constraint of another kind than Gaussian, Poisson or log-normal that is no `RepeatableConstraint`,
            or one of a composed parameter.
    """

    def __init__(self, constraints: Sequence[Any], parameters: Sequence[Any]) -> None:
        position = {p: k for k, p in enumerate(parameters)}
        self._parameters = tuple(parameters)
        self.terms: list[tuple[_Measurement, npt.NDArray[np.intp], slice]] = []
        observed: list[float] = []
        for constraint in constraints:
            nuisances = list(constraint.get_params(floating=None, extract_independent=False))
            strange = [p.name for p in nuisances if p not in position]
            measurement = _measurement(constraint, len(nuisances))
            # get_params gives a set: the order of the observations is that of the constraint's own list
            own = getattr(constraint, "nuisances", None)
            nuisances = list(own or (constraint.params[f"param_{k}"] for k in range(len(nuisances))))
            if strange:
                raise InputError.from_parts(
                    expected="constraints of the likelihood's own parameters",
                    got=f"one of {', '.join(strange)}",
                    do="constrain the parameters that it is composed of",
                )
            at = slice(len(observed), len(observed) + len(constraint.observation))
            self.terms.append((measurement, np.array([position[p] for p in nuisances], dtype=np.intp), at))
            observed += [
                float(x.value()) if hasattr(x, "value") else float(x) for x in np.ravel(constraint.observation)
            ]
        self.observed: Array = np.array(observed)

    def portable(self) -> AuxiliaryData:
        """The same without zfit objects, for other processes; it cannot make `constraints`."""
        result = copy.copy(self)
        result._parameters = tuple(str(p.name) for p in self._parameters)
        return result

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

    def constraints(self, observation: Array) -> list[Any]:
        """Constraints for zfit with other observations, shape (A,)."""
        return [
            measurement.constraint([self._parameters[k] for k in index], observation[at])
            for measurement, index, at in self.terms
        ]

    def evaluator(self, observation: Array) -> AuxiliaryEvaluator:
        """Sum of the terms for observations of shape (A,)."""
        return AuxiliaryEvaluator(self, self._parameters, observation)


class AuxiliaryEvaluator:
    """Sum of constraint terms with fixed observations, up to a constant; build it with `AuxiliaryData.evaluator`."""

    def __init__(self, auxiliary: AuxiliaryData, parameters: tuple[Any, ...], observation: Array) -> None:
        self.parameters = parameters
        self._terms = [(m, index, observation[at]) for m, index, at in auxiliary.terms]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,)."""
        return sum(measurement.terms(theta[index], x)[0] for measurement, index, x in self._terms)

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        value, gradient, hessian = 0.0, np.zeros(theta.size), np.zeros((theta.size, theta.size))
        for measurement, index, x in self._terms:
            v, g, h = measurement.terms(theta[index], x)
            value += v
            np.add.at(gradient, index, g)
            np.add.at(hessian, np.ix_(index, index), h)
        return Evaluation(value, gradient, hessian)
