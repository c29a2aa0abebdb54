"""Fits, profiles and errors on the cached likelihood.

What to use when: `fit` for a fit, with a zfit FitResult in return; `profile` for a scan of one parameter; `crossings`
for where it reaches a level (MINOS).  `Newton` is the same minimiser behind zfit's interface, for hepstats.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit
from scipy.optimize import brentq
from scipy.stats import chi2
from zfit.minimize import BaseMinimizer, minimize_supports
from zfit.result import Approximations, FitResult

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.curves import ProfileCurve
from hisigma_zfit.fitting.newton import Minimum, minimise
from hisigma_zfit.likelihood.nll import ExtendedNLL, limits_of
from hisigma_zfit.zfit_internals import OpenResult

if TYPE_CHECKING:
    from collections.abc import Collection

    from hisigma_zfit.arrays import Array

__all__ = ["Newton", "NewtonResult", "Profiler", "fit", "profile"]


# Distance to the minimum of a scan point; its square root cubed is the error, because the last step is accounted for.
_SCAN_TOLERANCE = 1e-5

_log = logging.getLogger(__name__)


def _profile_errors(result: FitResult, params: Any, cl: float | None = None, sigma: float | None = None) -> Any:
    """Asymmetric errors from the crossings of the profile, in zfit's layout of `FitResult.errors`."""
    level = sigma**2 if sigma is not None else float(chi2.ppf(0.68268949 if cl is None else cl, 1))
    errors = {}
    with result:
        for parameter in params:
            profiler = Profiler(result.loss, parameter)
            lower, upper = profiler.interval(level)
            errors[parameter] = {"lower": lower - profiler.best, "upper": upper - profiler.best, "cl": cl}
    return errors, None


class NewtonResult(OpenResult, hesse="approx", error="profile", methods={"profile": _profile_errors}):
    """FitResult whose default errors come from the exact Hessian and from our own profile, not from Minuit."""


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
        if not isinstance(loss, ExtendedNLL):
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

    def _result(self, loss: ExtendedNLL, params: list[Any], free: list[int], minimum: Minimum) -> FitResult:
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
            message="" if minimum.converged else "no minimum found",
            edm=minimum.edm,
            fminopt=minimum.value,
            criterion=self.create_criterion(loss=loss, params=params),
            info={"n_eval": minimum.calls, "n_iterations": minimum.iterations, "minimum": minimum},
            approx=approximations,
            niter=minimum.iterations,
            evaluator=evaluator,
        )


def fit(loss: ExtendedNLL, *, minimizer: Any = None) -> FitResult:
    """Minimise the likelihood over its floating parameters and attach Hessian errors.

    Starts at the parameters' current values and leaves them at the minimum.  If Newton's method does not converge,
    Minuit tries.

    Args:
        loss: The likelihood.
        minimizer: Another zfit minimiser to use instead.

    Returns:
        A zfit FitResult; ``result.params[p]["hesse"]["error"]`` holds the errors.

    Raises:
        InputError: The density is not positive for some event at the start.
        FitError: No minimiser converged.
    """
    if not np.isfinite(loss.evaluator().value(loss.theta())):
        values = ", ".join(f"{p.name} = {float(p.value()):.4g}" for p in loss.parameters if p.floating)
        raise InputError.from_parts(
            expected="start values with a positive density at every event",
            got=values,
            do="set them to a likelier place",
        )
    if minimizer is not None:
        result = minimizer.minimize(loss)
    else:
        result = Newton().minimize(loss)
        if not result.converged:
            _log.warning("Newton's method did not converge (edm %.3g); trying Minuit", result.edm)
            result = zfit.minimize.Minuit(gradient="zfit").minimize(loss)
    if not result.converged:
        values = ", ".join(f"{p.name} = {v['value']:.4g}" for p, v in result.params.items())
        raise FitError(f"the fit did not converge: it stopped at {values}; check start values and limits")
    result.hesse(method="approx" if isinstance(result, NewtonResult) else "hesse_np", name="hesse")
    return result


class Profiler:
    """Profile likelihood of one parameter: -log L minimised over the others, warm-started from point to point.

    Args:
        loss: The likelihood.
        poi: The parameter, or its name.

    Raises:
        InputError: The likelihood has no such parameter.
        FitError: The global fit did not converge.
    """

    def __init__(self, loss: ExtendedNLL, poi: str | Any) -> None:
        self.loss = loss
        self._start = start = loss.theta()
        self.evaluator = loss.evaluator(around=start)
        names = [p.name for p in loss.parameters]
        name = poi if isinstance(poi, str) else poi.name
        if name not in names:
            raise InputError.from_parts(
                expected=f"one of the parameters {', '.join(names)}", got=repr(name), do="correct the name"
            )
        self.index = names.index(name)
        self.name = name
        self._limits = limits_of(loss.parameters)
        floating = [k for k, p in enumerate(loss.parameters) if p.floating]
        self._free = sorted({*floating, self.index})
        self._others = [k for k in floating if k != self.index]
        self.minimum = minimise(self.evaluator, start, self._free, limits=self._limits, tolerance=1e-9)
        if not self.minimum.converged:
            raise FitError(f"the fit did not converge (edm {self.minimum.edm:.3g}); check start values and limits")

    @property
    def best(self) -> float:
        """Best-fit value of the parameter."""
        return float(self.minimum.theta[self.index])

    @property
    def error(self) -> float:
        """Its Hessian error; at a limit, that of the parabola whose one side is forbidden.

        NaN if the likelihood has no parabola there, as where a limit cuts it off before its minimum.
        """
        return self.error_without(())

    def error_without(self, held: Collection[str]) -> float:
        """Hessian error with some other parameters held at their best fit: what is left without their uncertainty.

        Args:
            held: Names of the parameters.
        """
        names = [p.name for p in self.loss.parameters]
        free = sorted({*(k for k in self.minimum.free.tolist() if names[k] not in held), self.index})
        covariance = np.linalg.inv(self.minimum.evaluation.hessian[np.ix_(free, free)])
        variance = float(covariance[free.index(self.index), free.index(self.index)])
        return float(np.sqrt(variance)) if variance > 0.0 else float("nan")

    def at(self, value: float, start: Array | None = None) -> Minimum:
        """Conditional minimum with the parameter held at `value`."""
        found = self._conditional(value, self.minimum.theta if start is None else start)
        if not np.isfinite(found.value):
            # a best fit without background, say, is no place to start without signal
            found = self._conditional(value, self._start)
        return found

    def _conditional(self, value: float, start: Array) -> Minimum:
        theta = start.copy()
        theta[self.index] = value
        return minimise(self.evaluator, theta, self._others, limits=self._limits, tolerance=1e-7)

    def t(self, value: float, start: Array | None = None) -> float:
        """2 (-log L(value) + log L(best)), paper eq. 2.2; not negative."""
        return max(0.0, 2.0 * (self.at(value, start).value - self.minimum.value))

    def scan(self, values: npt.ArrayLike) -> Array:
        """T at many points to about 1e-4: exact at some, interpolated by `ProfileCurve` where that is as good."""

        def minimise_others(start: Array) -> Minimum:
            return minimise(self.evaluator, start, self._others, limits=self._limits, tolerance=_SCAN_TOLERANCE)

        curve = ProfileCurve(minimise_others, self.minimum, self.index)
        values = np.asarray(values, dtype=np.float64)
        return curve.scan(values.ravel()).reshape(values.shape)

    def crossing(self, level: float, *, upwards: bool) -> float:
        """Where t reaches `level` above or below the best fit; the parameter's limit if it never does."""
        sign = 1.0 if upwards else -1.0
        limit = float(self._limits[1 if upwards else 0][self.index])
        error = self.error if np.isfinite(self.error) else 0.1 * max(1.0, abs(self.best))
        slope = abs(float(self.minimum.evaluation.gradient[self.index]))
        if slope * error > 1.0:  # at a limit, where t rises by twice the slope and the curvature says nothing
            error = 0.5 / slope
        step = sign * max(error, 1e-9 * max(1.0, abs(self.best))) * np.sqrt(level)
        inner, outer = self.best, self.best + step
        for _ in range(60):
            if sign * (outer - limit) >= 0:
                if self.t(limit) <= level:
                    return limit
                outer = limit
            value = self.t(outer)
            if value > level:
                break
            if not np.isfinite(value):
                break
            inner, outer = outer, outer + step
        else:
            raise FitError(f"the profile of {self.name} never reaches {level:g}; check that the data constrain it")
        # beyond the edge of validity t is infinite; a large finite number lets the root finder bisect
        return float(brentq(lambda s: min(self.t(s), 1e6) - level, inner, outer, xtol=1e-6 * abs(step), rtol=1e-10))

    def interval(self, level: float) -> tuple[float, float]:
        """Both crossings of `level` (1 for 68.3 %, 3.84 for 95 %)."""
        return self.crossing(level, upwards=False), self.crossing(level, upwards=True)


def profile(loss: ExtendedNLL, poi: str | Any, values: npt.ArrayLike) -> Array:
    """Profiled 2 dNLL of one parameter, paper (arXiv:2506.06438) eq. 2.2.

    Args:
        loss: The likelihood; its parameters' values are the start and are not changed.
        poi: The parameter, or its name.
        values: Scan points, shape (n,).

    Returns:
        t at the points, shape (n,).
    """
    return Profiler(loss, poi).scan(values)
