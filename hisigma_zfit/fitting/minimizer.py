"""Fits of the cached likelihood with a zfit FitResult in return.

What to use when: `fit` for a fit; `Newton`, the same minimiser behind zfit's interface, for hepstats.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit
from scipy.stats import chi2
from zfit.minimize import BaseMinimizer, minimize_supports
from zfit.result import Approximations, FitResult

from hisigma_zfit.errors import FitError, InputError, NoMaximumError
from hisigma_zfit.fitting.newton import Minimum, Status, minimise, sandwich
from hisigma_zfit.fitting.plain_fits import fit_plain
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.starts import require_determined, warn_of_limits, with_a_density
from hisigma_zfit.likelihood.protocol import Likelihood, limits_of, names_of, scatter_of
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.zfit_internals import OpenResult

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["Newton", "NewtonResult", "fit", "fit_physical"]


_log = logging.getLogger(__name__)

_MINUIT_CALLS = 2000  # where Minuit gives up; a fit that works takes a hundred


def _profile_errors(result: FitResult, params: Any, cl: float | None = None, sigma: float | None = None) -> Any:
    """Asymmetric errors from the crossings of the profile, in zfit's layout of `FitResult.errors`."""
    level = sigma**2 if sigma is not None else float(chi2.ppf(ONE_SIGMA if cl is None else cl, 1))
    errors = {}
    for parameter in params:
        profiler = Profiler.of(result, parameter)
        lower, upper = profiler.interval(level)
        errors[parameter] = {"lower": lower - profiler.best, "upper": upper - profiler.best, "cl": cl}
    return errors, None


class NewtonResult(OpenResult, hesse="approx", error="profile", methods={"profile": _profile_errors}):
    """FitResult whose default errors come from the exact Hessian and from our own profile, not from Minuit.

    Those of events with weights are corrected as `hisigma_zfit.fitting.profiler` says.
    """

    def covariance_of_weights(self) -> Array | None:
        """See `OpenResult`."""
        if not any(data.has_weights for data in self.loss.data):
            return None
        minimum: Minimum = self.info["minimum"]
        at = [self.loss.parameters.index(parameter) for parameter in self.params]
        return minimum.covariance(scatter_of(self.loss, minimum.theta))[np.ix_(at, at)]


def _weighted_errors(result: FitResult, params: Any) -> dict[tuple[Any, Any], float]:
    """Covariance of another minimiser's result with event weights, in zfit's layout."""
    with result:
        theta = result.loss.theta()
    at = [result.loss.parameters.index(parameter) for parameter in params]
    hessian = result.loss.evaluator().evaluate(theta).hessian
    try:
        found = sandwich(hessian, scatter_of(result.loss, theta), at)
    except np.linalg.LinAlgError:
        found = np.full((len(at),) * 2, np.nan)
    return {(p, q): float(found[i, k]) for i, p in enumerate(params) for k, q in enumerate(params)}


class Newton(BaseMinimizer):
    """Newton's method with the exact Hessian, behind zfit's interface.

    Args:
        tol: Largest estimated distance to the minimum, in units of -log L.
        maxiter: Newton steps before giving up.
    """

    def __init__(self, *, tol: float = 1e-6, maxiter: int = 100) -> None:
        super().__init__(
            tol=tol,
            name="Newton",
            strategy=None,
            verbosity=0,
            criterion=None,
            maxiter=maxiter,
            minimizer_options={},
        )
        self._max_iterations = maxiter

    @minimize_supports(init=False)
    def _minimize(self, loss: Any, params: Any, init: Any) -> FitResult:
        del init
        if not isinstance(loss, Likelihood):
            raise InputError.from_parts(
                expected="an hz.ExtendedNLL", got=type(loss).__name__, do="use zfit.minimize.Minuit for other losses"
            )
        position = {p: k for k, p in enumerate(loss.parameters)}
        free = [position[p] for p in params]
        minimum = minimise(
            loss.evaluator(),
            loss.theta(),
            free,
            limits=limits_of(loss.parameters),
            tolerance=self.tol,
            max_iterations=self._max_iterations,
        )
        return self._result(loss, list(params), free, minimum)

    def _result(self, loss: Any, params: list[Any], free: list[int], minimum: Minimum) -> FitResult:
        # zfit refuses to set a parameter exactly to a limit that its absolute tolerance of 1e-15 cannot tell apart
        lower, upper = (edge[free] for edge in limits_of(loss.parameters))
        values = np.clip(
            minimum.theta[free],
            np.where(lower == 0.0, lower, np.nextafter(lower, np.inf)),
            np.where(upper == 0.0, upper, np.nextafter(upper, -np.inf)),
        )
        zfit.param.assign_values(params, values)
        evaluator = self.create_evaluator(loss=loss, params=params)
        at = np.ix_(free, free)
        approximations = Approximations(
            params=params,
            gradient=minimum.evaluation.gradient[free],
            hessian=minimum.evaluation.hessian[at],
            inv_hessian=minimum.covariance()[at],
        )
        return NewtonResult(
            loss=loss,
            params=dict(zip(params, values.tolist(), strict=True)),
            minimizer=self,
            valid=minimum.converged,
            converged=minimum.converged,
            status=0 if minimum.converged else 1,
            message="" if minimum.converged else minimum.status.value,
            edm=minimum.edm,
            fminopt=minimum.value,
            criterion=self.create_criterion(loss=loss, params=params),
            info={"n_eval": minimum.calls, "n_iterations": minimum.iterations, "minimum": minimum},
            approx=approximations,
            niter=minimum.iterations,
            evaluator=evaluator,
        )


def fit(loss: Any, *, minimizer: Any = None) -> Any:
    """Minimise the likelihood over its floating parameters and attach Hessian errors, corrected for event weights.

    Starts at the parameters' current values and leaves them at the minimum.  If Newton's method does not converge,
    Minuit tries.  A parameter without any effect, as the slope of a background whose yield is fixed at zero, stays
    where it is, with a warning and an error of NaN: what the data say of the others is as good as ever.

    Args:
        loss: The likelihood: an `ExtendedNLL`, or any other.
        minimizer: Another zfit minimiser to use instead; for zfit losses only.

    Returns:
        A zfit FitResult; ``result.params[p]["hesse"]["error"]`` holds the errors.  For a likelihood that is no zfit
        loss, such as a sum of several kinds, a `LikelihoodFit`, which is asked in the same way.

    Raises:
        InputError: The density is not positive for some event at the start, `loss` is no likelihood, or a zfit
            minimiser for one that is no zfit loss.
        NoMaximumError: The likelihood has no maximum, as that of few events which are all unlike the signal.
        FitError: No minimiser converged, or the data determine only a combination of some parameters.

    Example:
        >>> nll = hz.examples.likelihood()
        >>> result = hz.fit(nll)
        >>> for p in nll.parameters:  # 60 events of signal were put in, 3000 of background, and a slope of 2
        ...     found = result.params[p]
        ...     print(f"{p.name} = {found['value']:.1f} +- {found['hesse']['error']:.1f}")
        n_sig = 41.4 +- 13.0
        n_bkg = 2985.6 +- 55.8
        p1 = 2.0 +- 0.1
    """
    _require_start(loss)
    if not isinstance(loss, zfit.loss.BaseLoss):
        if minimizer is not None:
            raise InputError.from_parts(
                expected="a zfit loss for a zfit minimiser",
                got=type(loss).__name__,
                do="leave minimizer out, or wrap a RatioLikelihood in a RatioLoss",
            )
        return fit_plain(loss)
    result = _best(loss) if minimizer is None else minimizer.minimize(loss)
    if not result.converged:
        values = ", ".join(f"{p.name} = {v['value']:.4g}" for p, v in result.params.items())
        raise FitError(f"the fit did not converge: it stopped at {values}; check start values and limits")
    if isinstance(result, NewtonResult):
        result.hesse(method="approx", name="hesse")
    elif any(data.has_weights for data in loss.data):
        result.hesse(method=_weighted_errors, name="hesse", weightcorr=False)
    else:
        result.hesse(method="hesse_np", name="hesse")
    return result


def fit_physical(loss: Any, poi: Any) -> Any:
    """The fit, with the parameter of interest bounded at zero if the likelihood has no maximum otherwise.

    Args:
        loss: See `fit`.
        poi: The zfit parameter of interest, a number of events; gets the limit if it must.

    Raises:
        FitError: As for `fit`.
    """
    try:
        return fit(loss)
    except NoMaximumError as error:
        if poi.has_limits or poi.name not in loss.yields:
            raise
        _log.warning("%s; %s of zero or more is fitted", error, poi.name)
        poi.set_value(0.0)
        poi.lower = 0.0
        return fit(loss)


def _best(loss: Any) -> Any:
    """The best fit by Newton's method from one start or another, or by Minuit, and what there is to say of it.

    Raises:
        FitError: The likelihood has no maximum, or a combination of parameters is not determined.
    """
    names, start = names_of(loss.parameters), loss.theta()
    result = Newton().minimize(loss)
    if not result.converged and not _unbounded(result):
        result = _from_elsewhere(loss, start) or result
    minimum: Minimum = result.info["minimum"]
    if _unbounded(result):
        zfit.param.set_values(loss.parameters, start)
        minimum.required("the fit", names)
    require_determined(minimum, names)
    if not result.converged:
        _log.warning("Newton's method did not converge (edm %.3g); trying Minuit", result.edm)
        return _by_minuit(loss)
    warn_of_limits(loss, minimum)
    return result


def _unbounded(result: Any) -> bool:
    return bool(result.info["minimum"].status is Status.UNBOUNDED)


def _from_elsewhere(loss: Any, start: Array) -> Any | None:
    """Newton's method once more, from events of every component; None if there is no such place or it fails too."""
    floating = [k for k, p in enumerate(loss.parameters) if p.floating]
    other = with_a_density(loss, loss.evaluator(), start, floating, limits_of(loss.parameters))
    if other is None:
        return None
    zfit.param.set_values([loss.parameters[k] for k in floating], other[floating])
    result = Newton().minimize(loss)
    if result.converged or _unbounded(result):
        return result
    zfit.param.set_values([loss.parameters[k] for k in floating], start[floating])
    return None


def _by_minuit(loss: Any) -> Any:
    """Minuit with an end, whatever it meets.

    Raises:
        FitError: It met what it cannot work with.
    """
    try:
        return zfit.minimize.Minuit(gradient="zfit", maxiter=_MINUIT_CALLS).minimize(loss)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise FitError(f"the fit did not converge, and Minuit ended in: {str(error).splitlines()[0]}") from error


def _require_start(loss: Any) -> None:
    """Refuse what is no likelihood, and start values without one."""
    if not isinstance(loss, Likelihood):
        raise InputError.from_parts(
            expected="an hz.ExtendedNLL or another likelihood of this package",
            got=type(loss).__name__,
            do="use zfit.minimize.Minuit for other losses",
        )
    theta = loss.theta()
    if not np.isfinite(loss.evaluator().value(theta)):
        values = ", ".join(
            f"{p.name} = {value:.4g}" for p, value in zip(loss.parameters, theta.tolist(), strict=True) if p.floating
        )
        raise InputError.from_parts(
            expected="start values with a positive density at every event",
            got=values,
            do="set them to a likelier place",
        )
