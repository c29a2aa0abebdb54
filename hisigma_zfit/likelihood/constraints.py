"""zfit's constraints: their terms as plain functions, and the measurements behind them.

Terms are those of the measurements, closed forms in numpy; any other zfit constraint goes through TensorFlow.
`auxiliary_data` reads the measurements out of constraints, `as_constraint` and `shifted` write them back with other
observations.
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
from hisigma_zfit.likelihood.graph import ConstraintEvaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluator

__all__ = [
    "as_constraint",
    "auxiliary_data",
    "constraint_evaluators",
    "shifted",
]


def constraint_evaluators(constraints: Sequence[Any], parameters: tuple[Any, ...]) -> tuple[Evaluator, ...]:
    """Evaluators whose sum is that of the constraints, with zfit's constants.

    Args:
        constraints: zfit constraints.
        parameters: All parameters, P of them.
    """
    measured = [c for c in constraints if _is_measured(c, parameters)]
    others = [c for c in constraints if not any(c is m for m in measured)]
    evaluators: list[Evaluator] = []
    if measured:
        auxiliary = auxiliary_data(measured, parameters)
        evaluators.append(auxiliary.evaluator(auxiliary.observed))
    if others:
        evaluators.append(ConstraintEvaluator(others, parameters))
    return tuple(evaluators)


def _is_measured(constraint: Any, parameters: tuple[Any, ...]) -> bool:
    """Whether a known measurement stands behind it, with fixed numbers, of independent parameters of the likelihood."""
    return (
        (type(constraint) in _KNOWN or hasattr(constraint, "measurement"))
        and set(constraint.get_params(floating=None, extract_independent=False)) <= set(parameters)
        and not any(hasattr(observed, "independent") for observed in constraint.observation)
    )


_KNOWN = (zfit.constraint.GaussianConstraint, zfit.constraint.PoissonConstraint, zfit.constraint.LogNormalConstraint)


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
    return AuxiliaryData(terms, np.array(observed))


def shifted(auxiliary: AuxiliaryData, parameters: Sequence[Any], observation: Array) -> list[Any]:
    """Zfit's constraints with other observations, shape (A,)."""
    return [
        as_constraint(measurement, [parameters[k] for k in index], observation[at])
        for measurement, index, at in auxiliary.terms
    ]
