"""zfit's constraints: their terms as plain functions, and the measurements behind them.

Terms are closed forms in numpy, or go through TensorFlow for any other zfit constraint.  `auxiliary_data` reads the
measurements out of constraints, `as_constraint` and `shifted` write them back with other observations.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.auxiliary import (
    AuxiliaryData,
    GaussianMeasurement,
    LogNormalMeasurement,
    Measurement,
    PoissonMeasurement,
)
from hisigma_zfit.likelihood.evaluate import Evaluation, Evaluator
from hisigma_zfit.likelihood.graph import ConstraintEvaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = [
    "ClosedFormEvaluator",
    "GaussianEvaluator",
    "as_constraint",
    "auxiliary_data",
    "constraint_evaluators",
    "shifted",
]


def constraint_evaluators(constraints: Sequence[Any], parameters: tuple[Any, ...]) -> tuple[Evaluator, ...]:
    """Evaluators whose sum is that of the constraints.

    Args:
        constraints: zfit constraints.
        parameters: All parameters, P of them.
    """
    quick = [c for c in constraints if GaussianEvaluator.takes(c, parameters)]
    closed = [c for c in constraints if hasattr(c, "measurement")]
    others = [c for c in constraints if not any(c is q for q in (*quick, *closed))]
    evaluators: list[Evaluator] = [ClosedFormEvaluator(c, parameters) for c in closed]
    if quick:
        evaluators.append(GaussianEvaluator(quick, parameters))
    if others:
        evaluators.append(ConstraintEvaluator(others, parameters))
    return tuple(evaluators)


class GaussianEvaluator:
    """Sum of Gaussian constraints: one quadratic form.

    Args:
        constraints: zfit Gaussian constraints that `takes` accepts.
        parameters: All parameters, P of them.
    """

    def __init__(self, constraints: Sequence[Any], parameters: tuple[Any, ...]) -> None:
        self.parameters = parameters
        position = {p: k for k, p in enumerate(parameters)}
        self._constant = 0.0
        self._terms: list[tuple[list[int], Array, Array]] = []
        for constraint in constraints:
            index = [position[p] for p in _ordered(constraint)]
            covariance = np.asarray(constraint.covariance, dtype=np.float64)
            self._constant += 0.5 * (len(index) * np.log(2.0 * np.pi) + float(np.linalg.slogdet(covariance)[1]))
            observed = np.asarray(constraint.observation, dtype=np.float64)
            self._terms.append((index, observed, np.asarray(np.linalg.inv(covariance), dtype=np.float64)))

    @staticmethod
    def takes(constraint: Any, parameters: tuple[Any, ...]) -> bool:
        """Whether it is a Gaussian constraint with fixed observations of independent parameters of the likelihood."""
        return (
            type(constraint) is zfit.constraint.GaussianConstraint
            and set(_ordered(constraint)) <= set(parameters)
            and not any(hasattr(observed, "independent") for observed in constraint.observation)
        )

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,), with its constant, as zfit's."""
        return self._constant + sum(
            0.5 * float((theta[index] - observed) @ precision @ (theta[index] - observed))
            for index, observed, precision in self._terms
        )

    def evaluate(self, theta: Array) -> Evaluation:
        """The same with gradient and Hessian."""
        gradient, hessian = np.zeros(theta.size), np.zeros((theta.size, theta.size))
        for index, observed, precision in self._terms:
            gradient[index] += precision @ (theta[index] - observed)
            hessian[np.ix_(index, index)] += precision
        return Evaluation(self.value(theta), gradient, hessian)


class ClosedFormEvaluator:
    """A constraint whose measurement knows its derivatives, such as `hisigma_zfit.inference.weights` makes.

    Args:
        constraint: With attributes `measurement`, `nuisances` and `observation`.
        parameters: All parameters, P of them.
    """

    def __init__(self, constraint: Any, parameters: tuple[Any, ...]) -> None:
        self.parameters = parameters
        self._terms, self._observation = constraint.measurement.terms, constraint.observation
        self._index = [parameters.index(p) for p in constraint.nuisances]

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,), up to a constant."""
        return float(self._terms(theta[self._index], self._observation)[0])

    def evaluate(self, theta: Array) -> Evaluation:
        """The same with gradient and Hessian."""
        gradient, hessian = np.zeros(theta.size), np.zeros((theta.size, theta.size))
        value, own, curvature = self._terms(theta[self._index], self._observation)
        gradient[self._index], hessian[np.ix_(self._index, self._index)] = own, curvature
        return Evaluation(float(value), gradient, hessian)


def _ordered(constraint: Any) -> list[Any]:
    """The constrained parameters in the order of the observations."""
    return [constraint.params[f"param_{k}"] for k in range(len(constraint.observation))]


@singledispatch
def as_constraint(measurement: Any, parameters: Sequence[Any], x: Array) -> Any:
    """The zfit constraint of a measurement with the observations `x`, shape (A,).

    Args:
        measurement: A kind that is registered here; others register their own.
        parameters: Its nuisances.
        x: Its observations.

    Raises:
        InputError: The kind of measurement is unknown.
    """
    del parameters, x
    raise InputError.from_parts(
        expected="a measurement that has a zfit constraint",
        got=type(measurement).__name__,
        do="register it with as_constraint.register",
    )


@as_constraint.register(GaussianMeasurement)
def _(measurement: GaussianMeasurement, parameters: Sequence[Any], x: Array) -> Any:
    return zfit.constraint.GaussianConstraint(list(parameters), observation=x.tolist(), cov=measurement.covariance)


@as_constraint.register(PoissonMeasurement)
def _(measurement: PoissonMeasurement, parameters: Sequence[Any], x: Array) -> Any:
    del measurement
    return zfit.constraint.PoissonConstraint(list(parameters), observation=x.tolist())


@as_constraint.register(LogNormalMeasurement)
def _(measurement: LogNormalMeasurement, parameters: Sequence[Any], x: Array) -> Any:
    return zfit.constraint.LogNormalConstraint(
        list(parameters), observation=x.tolist(), uncertainty=measurement.sigma.tolist()
    )


def _measurement(constraint: Any, size: int) -> Measurement:
    if hasattr(constraint, "measurement"):
        own: Measurement = constraint.measurement
        return own
    if isinstance(constraint, zfit.constraint.GaussianConstraint):
        covariance = np.asarray(constraint.covariance, dtype=np.float64).reshape(size, size)
        return GaussianMeasurement(covariance, np.asarray(np.linalg.inv(covariance), dtype=np.float64))
    if isinstance(constraint, zfit.constraint.PoissonConstraint):
        return PoissonMeasurement()
    if isinstance(constraint, zfit.constraint.LogNormalConstraint):
        sigma = np.asarray(constraint.distribution.scale, dtype=np.float64)
        return LogNormalMeasurement(np.broadcast_to(sigma, (size,)))
    raise InputError.from_parts(
        expected="Gaussian, Poisson or log-normal constraints, or those of fitted weights",
        got=type(constraint).__name__,
        do="write it as one of them: it is not known how the measurement behind it would fluctuate",
    )


def auxiliary_data(constraints: Sequence[Any], parameters: Sequence[Any]) -> AuxiliaryData:
    """The measurements behind the constraints of a likelihood.

    Args:
        constraints: zfit constraints.
        parameters: All parameters of the likelihood, P of them.

    Raises:
        InputError: A constraint of another kind than Gaussian, Poisson or log-normal that is no `RepeatableConstraint`,
            or one of a composed parameter.
    """
    position = {p: k for k, p in enumerate(parameters)}
    terms = []
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
        terms.append((measurement, np.array([position[p] for p in nuisances], dtype=np.intp), at))
        observed += [float(x.value()) if hasattr(x, "value") else float(x) for x in np.ravel(constraint.observation)]
    return AuxiliaryData(terms, np.array(observed), tuple(str(p.name) for p in parameters))


def shifted(auxiliary: AuxiliaryData, parameters: Sequence[Any], observation: Array) -> list[Any]:
    """Zfit's constraints with other observations, shape (A,)."""
    return [
        as_constraint(measurement, [parameters[k] for k in index], observation[at])
        for measurement, index, at in auxiliary.terms
    ]
