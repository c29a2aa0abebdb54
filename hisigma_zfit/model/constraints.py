"""Constraint terms as plain functions: closed forms in numpy, any other zfit constraint through TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.model.evaluate import Evaluation, Evaluator
from hisigma_zfit.model.graph import ConstraintEvaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ClosedFormEvaluator", "GaussianEvaluator", "constraint_evaluators"]

Array = npt.NDArray[np.float64]


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
