"""Fits of any likelihood without zfit: what `hz.fit` gives for one that is no zfit loss.

The answer looks as a zfit FitResult where both are asked the same: `params`, `valid`, `covariance`, `loss`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.fitting.newton import Minimum, Status, minimise
from hisigma_zfit.fitting.starts import found_from, require_determined, warn_of_limits
from hisigma_zfit.likelihood.protocol import limits_of, names_of, scatter_of
from hisigma_zfit.results.show import table

if TYPE_CHECKING:
    import numpy.typing as npt

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluator
    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["LikelihoodFit", "fit_plain"]

_log = logging.getLogger(__name__)

_TOLERANCE = 1e-6
_MINUIT_CALLS = 2000  # where Minuit gives up; a fit that works takes a hundred


class _ByParameter(dict[Any, dict[str, Any]]):
    """Answers by parameter, which may also be named."""

    def __missing__(self, name: Any) -> dict[str, Any]:
        for parameter, answer in self.items():
            if parameter.name == name:
                return answer
        raise KeyError(name)


@dataclass(frozen=True, repr=False)
class LikelihoodFit:
    """Best fit of a likelihood.

    Attributes:
        loss: The likelihood.
        minimum: Where its minimum is.
    """

    loss: Likelihood
    minimum: Minimum

    @property
    def valid(self) -> bool:
        """Whether a minimum was found."""
        return self.minimum.converged

    @property
    def edm(self) -> float:
        """Estimated distance to the minimum, in units of -log L."""
        return self.minimum.edm

    @property
    def fmin(self) -> float:
        """-log L at the minimum."""
        return self.minimum.value + self.loss.data_constant()

    @cached_property
    def _spread(self) -> Array:
        return self.minimum.covariance(scatter_of(self.loss, self.minimum.theta))

    @cached_property
    def params(self) -> dict[Any, dict[str, Any]]:
        """By floating parameter, or its name: "value", and the Hessian error as ["hesse"]["error"]."""
        variances = np.diag(self._spread).tolist()
        values = self.minimum.theta.tolist()
        return _ByParameter(
            {
                p: {
                    "value": values[k],
                    "hesse": {"error": variances[k] ** 0.5 if variances[k] >= 0.0 else float("nan")},
                }
                for k, p in enumerate(self.loss.parameters)
                if p.floating
            }
        )

    @property
    def values(self) -> dict[str, float]:
        """Best values of the floating parameters by name."""
        return {str(p.name): float(found["value"]) for p, found in self.params.items()}

    def covariance(self) -> Array:
        """Covariance of the floating parameters in their order; zero for those at a limit."""
        at = [k for k, p in enumerate(self.loss.parameters) if p.floating]
        return self._spread[np.ix_(at, at)]

    def _shown(self) -> dict[str, str]:
        return {
            str(p.name): f"{found['value']:.4g} +- {found['hesse']['error']:.2g}" for p, found in self.params.items()
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name} = {text}' for name, text in self._shown().items())})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self._shown())


def fit_plain(loss: Likelihood) -> LikelihoodFit:
    """Minimise a likelihood over its floating parameters by Newton's method; if that fails, Minuit tries once.

    Raises:
        FitError: No minimum was found, or the data determine only a combination of some parameters.
    """
    evaluator, start, limits = loss.evaluator(), loss.theta(), limits_of(loss.parameters)
    free = np.array([k for k, p in enumerate(loss.parameters) if p.floating], dtype=np.intp)
    names = names_of(loss.parameters)
    minimum = found_from(loss, evaluator, start, free.tolist(), limits, tolerance=_TOLERANCE)
    if minimum.status is Status.UNBOUNDED:
        minimum.required("the fit", names)
    require_determined(minimum, names)
    if minimum.status is Status.NOT_CONVERGED:
        _log.warning("Newton's method did not converge (edm %.3g); trying Minuit", minimum.edm)
        theta = _minuit(evaluator, minimum.theta, free, limits, names)
        minimum = minimise(evaluator, theta, free, limits=limits, tolerance=_TOLERANCE)
    minimum.required("the fit", names)
    warn_of_limits(loss, minimum)
    for parameter, value in zip(loss.parameters, minimum.theta.tolist(), strict=True):
        if parameter.floating and hasattr(parameter, "set_value"):
            parameter.set_value(value)
    return LikelihoodFit(loss, minimum)


def _minuit(
    evaluator: Evaluator, start: Array, free: npt.NDArray[np.intp], limits: tuple[Array, Array], names: tuple[str, ...]
) -> Array:
    """Where Minuit ends, all parameters, shape (P,)."""
    from iminuit import Minuit

    def at(values: Array) -> Array:
        theta = start.copy()
        theta[free] = values
        return theta

    minuit = Minuit(
        lambda values: evaluator.value(at(values)),
        start[free],
        grad=lambda values: evaluator.evaluate(at(values)).gradient[free],
        name=[names[k] for k in free],
    )
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits = list(zip(limits[0][free], limits[1][free], strict=True))
    minuit.migrad(ncall=_MINUIT_CALLS)
    return at(np.array(minuit.values))
