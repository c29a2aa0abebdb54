"""Profile likelihoods: -log L minimised over all parameters but one, or a few.  Numpy only, for toys too.

What to use when: `scans.profile` for a scan of one parameter; `Profiler.interval` for where it reaches a level (MINOS).

What a fit that fails means is the same for all that ask:

- A conditional fit is tried from several starts.  If none leads to a minimum, `Profiler.at` and what goes through it
  (`t`, `crossing`, limits, contours, impacts) raise `FitError`.  There is no number that could be overlooked.
- Where the density is not positive at some event, whatever the other parameters are, -log L is infinite: t is inf
  there, which is its value.  `discovery` says so instead of an infinite significance.
- Two places go on without the value, and tell: `scan` leaves NaN with a warning; a toy is NaN in its study, which
  counts it as failed, and fails itself with more than one in ten of them.
- A likelihood of few events may have no maximum because a negative number of signal events is ever more likely.  It is
  then asked as one of a signal that is not negative, with a warning: the best value is zero, at the limit.
- Parameters without effect are let go of (`Status.FLAT`): what does not depend on them is as good as ever.

Events with weights fluctuate as the events do, so that -log L is too steep or too flat: with 4 for every weight its
parabola has half the right error.  The covariance is then H^-1 J H^-1 with the sum J of squared weights
(C. Langenbruch, arXiv:1911.01303; see `likelihood.evaluate.WeightedEvaluator.scatter`), and 2 dNLL is divided by
`Profiler.inflation`, the variance of the parameter of interest over that of the parabola, so that t is a chi-square
again near the minimum (R. E. Chandler, S. Bate, Biometrika 94 (2007) 167, the vertical adjustment).  For one weight w
of all events the inflation is w, and t is exactly that of N / w events as far as constraints are of no account.  All
that asks a `Profiler` inherits this: errors, intervals, significances, limits, contours, impacts.  The best fit stays
that of the likelihood as it is.
"""

from __future__ import annotations

import copy
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.crossings import find_crossing
from hisigma_zfit.fitting.curves import ProfileCurve
from hisigma_zfit.fitting.newton import Minimum, Status, minimise, sandwich
from hisigma_zfit.fitting.quick_crossings import quick_crossing
from hisigma_zfit.fitting.starts import found_from, values_of, with_a_density, without_maximum_below
from hisigma_zfit.likelihood.protocol import has_weights, limits_of, names_of, scatter_of
from hisigma_zfit.results.show import table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["Profiler"]

_log = logging.getLogger(__name__)

# Distances to the minimum: of the global fit, of a conditional one, and of a scan point, whose square root cubed is the
# error, because the last step is accounted for.
_GLOBAL_TOLERANCE = 1e-9
_TOLERANCE = 1e-7
_SCAN_TOLERANCE = 1e-5


class Profiler:
    """Profile likelihood of one parameter, or of several at once; see the module's text for fits that fail.

    Args:
        loss: The likelihood; parameters' values are the start and are not changed.
        poi: The parameter, or its name; a sequence of them for a joint profile.
        held: Names of other parameters that do not float here.
        start: Where the global fit starts, shape (P,); the likelihood's own start by default.
        quick: For toys: a minimum good to 1e-7, and conditional fits that start where the parabola has them.

    Attributes:
        loss: The likelihood.
        evaluator: -log L as a function of all parameters.
        names: Names of the parameters of interest, k of them.
        indices: Where these are among the parameters.
        limits: Lower and upper limits of all parameters, each of shape (P,).
        moved: Indices of all parameters that the global fit moved.
        minimum: The global minimum.
        scale: A further factor by which 2 dNLL is divided; see `scaled`.

    Raises:
        InputError: The likelihood has no such parameter, or one is named twice.
        FitError: The global fit did not converge.
    """

    def __init__(
        self,
        loss: Likelihood,
        poi: str | Any | Sequence[str | Any],
        *,
        held: Collection[str] = (),
        start: Array | None = None,
        quick: bool = False,
    ) -> None:
        self.loss: Any = loss  # whoever asks for the models of an `ExtendedNLL` knows that it is one
        self._start = loss.theta() if start is None else start
        self.evaluator = loss.evaluator(around=self._start)
        self._names = names_of(loss.parameters)
        pois = poi if isinstance(poi, (list, tuple)) else (poi,)
        self.names = tuple(p if isinstance(p, str) else str(p.name) for p in pois)
        for name in self.names:
            if name not in self._names:
                raise InputError.from_parts(
                    expected=f"one of the parameters {', '.join(self._names)}", got=repr(name), do="correct the name"
                )
        if len(set(self.names)) < len(self.names):
            raise InputError.from_parts(
                expected="different parameters", got=", ".join(self.names), do="name each of them once"
            )
        self.indices = [self._names.index(name) for name in self.names]
        self.limits = limits_of(loss.parameters)
        floating = [
            k for k, (p, n) in enumerate(zip(loss.parameters, self._names, strict=True)) if p.floating and n not in held
        ]
        self._others = [k for k in floating if k not in self.indices]
        self.moved = sorted({*floating, *self.indices})
        self._quick = quick
        self.scale = 1.0
        tolerance = _TOLERANCE if quick else _GLOBAL_TOLERANCE
        self.minimum = found_from(loss, self.evaluator, self._start, self.moved, self.limits, tolerance=tolerance)
        if len(self.names) == 1 and without_maximum_below(loss, self.minimum, self.index, self.limits):
            self.limits[0][self.index] = 0.0
            self.minimum = found_from(loss, self.evaluator, self._start, self.moved, self.limits, tolerance=tolerance)
        self.minimum.required("the fit", self._names)

    @classmethod
    def of(cls, result: Any, poi: str | Any | Sequence[str | Any], *, held: Collection[str] = ()) -> Profiler:
        """The profile of a fit's likelihood from the fit's own values, whatever its parameters have become since.

        Args:
            result: A fit result, or a likelihood at its current values.
            poi: As for the class.
            held: As for the class.
        """
        return cls(getattr(result, "loss", result), poi, held=held, start=values_of(result))

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name."""
        content: dict[str, Any] = {}
        for name, k in zip(self.names, self.indices, strict=True):
            content[name] = float(self.minimum.theta[k])
        if len(self.names) == 1:
            content["error"] = self.error
            if self.inflation != 1.0:
                content["inflation"] = self.inflation
        floating = len(self.moved) - len(self.names)
        return content | {"profiled": floating, "held": len(self._names) - len(self.moved)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value:.4g}' for name, value in self.shown().items())})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self.shown())

    @property
    def name(self) -> str:
        """Name of the parameter, or of all of them."""
        return " and ".join(self.names)

    @property
    def index(self) -> int:
        """Index of the (first) parameter."""
        return self.indices[0]

    @property
    def best(self) -> float:
        """Best-fit value of the (first) parameter."""
        return float(self.minimum.theta[self.index])

    @property
    def values(self) -> Array:
        """Best-fit values of the parameters of interest, shape (k,)."""
        return self.minimum.theta[self.indices]

    @property
    def error(self) -> float:
        """Its Hessian error, or that of weighted events; at a limit, that of the parabola whose one side is forbidden.

        NaN if the likelihood has no parabola there, as where a limit cuts it off before its minimum.
        """
        return self.error_without(())

    def error_without(self, held: Collection[str]) -> float:
        """Hessian error with some other parameters held at their best fit: what is left without their uncertainty.

        Args:
            held: Names of the parameters.
        """
        free = sorted({*(k for k in self.minimum.free.tolist() if self._names[k] not in held), self.index})
        try:
            covariance = sandwich(self.minimum.evaluation.hessian, self.scatter, free)
        except np.linalg.LinAlgError:
            return float("nan")
        variance = self.scale * float(covariance[free.index(self.index), free.index(self.index)])
        return float(np.sqrt(variance)) if variance > 0.0 else float("nan")

    @property
    def step(self) -> float:
        """A distance with which searches begin: the error, or a guess where there is none."""
        error = self.error
        step = error if np.isfinite(error) else 0.1 * max(1.0, abs(self.best))
        # at a limit t rises by twice the slope, and the curvature says nothing
        slope = abs(float(self.minimum.evaluation.gradient[self.index])) / self.inflation
        return 0.5 / slope if slope * step > 1.0 else step

    @property
    def weighted(self) -> bool:
        """Whether the fluctuation of event weights is part of the answers; see the module's text."""
        return self.scale != 1.0 or has_weights(self.loss)

    @cached_property
    def scatter(self) -> Array | None:
        """Covariance of the gradient at the best fit, shape (P, P); None if it is the Hessian: without weights."""
        return scatter_of(self.loss, self.minimum.theta)

    @cached_property
    def _shapes(self) -> tuple[Array, Array] | None:
        """Inverse covariances of the k parameters by the parabola and with weights, each (k, k); None without them."""
        if self.scatter is None:
            return None
        at = np.ix_(self.indices, self.indices)
        parabola, right = self._parabola[at], (self._parabola @ self.scatter @ self._parabola)[at]
        if not min(np.linalg.eigvalsh(parabola)[0], np.linalg.eigvalsh(right)[0]) > 0.0:
            raise FitError(
                f"no error of {self.name} from events with weights: the likelihood has no parabola at its best fit"
            )
        return np.asarray(np.linalg.inv(parabola)), np.asarray(np.linalg.inv(right))

    @property
    def inflation(self) -> float:
        """What 2 dNLL of one parameter is divided by because events have weights; 1 without them.

        Raises:
            FitError: There are weights, and the likelihood has no parabola at its best fit.
        """
        return self.inflation_along(np.eye(len(self.names))[0])

    def inflation_along(self, direction: Array) -> float:
        """The same in the plane of k parameters, where it depends on the way that one goes from the best fit.

        Args:
            direction: Shape (k,), of any length.

        Raises:
            FitError: As `inflation`.
        """
        if self._shapes is None or not direction.any():
            return self.scale
        parabola, right = (float(direction @ shape @ direction) for shape in self._shapes)
        return self.scale * parabola / right

    def scaled(self, inflation: float) -> Profiler:
        """The same with 2 dNLL divided by a further factor.

        Of the Asimov set of weighted data, whose own weights do not fluctuate, it is the profile that such data have.

        Args:
            inflation: The factor: `inflation` of the data's profile.
        """
        other = copy.copy(self)
        other.scale = self.scale * inflation
        return other

    def nll(self, minimum: Minimum) -> float:
        """-log L of a conditional minimum on the scale on which 2 dNLL is a chi-square: its own value without weights.

        Args:
            minimum: From `at`.
        """
        inflation = self.inflation_along(minimum.theta[self.indices] - self.values)
        if inflation == 1.0:
            return minimum.value
        return self.minimum.value + (minimum.value - self.minimum.value) / inflation

    @property
    def covariance(self) -> Array:
        """Covariance, shape (P, P), with the parameters of interest even at a limit: the parabola goes on there.

        The inverse Hessian without weights.  Zero for parameters that do not float and for others at a limit.

        Raises:
            FitError: The Hessian has no inverse.
        """
        inverse = self._parabola
        return self.scale * (inverse if self.scatter is None else inverse @ self.scatter @ inverse)

    @cached_property
    def _parabola(self) -> Array:
        """Inverse Hessian, shape (P, P), with the parameters of interest even at a limit: the parabola goes on there.

        Zero for parameters that do not float and for others at a limit.

        Raises:
            FitError: The Hessian has no inverse.
        """
        at = np.ix_(*[sorted({*self.minimum.free.tolist(), *self.indices})] * 2)
        covariance = np.zeros_like(self.minimum.evaluation.hessian)
        try:
            covariance[at] = np.linalg.inv(self.minimum.evaluation.hessian[at])
        except np.linalg.LinAlgError:
            raise FitError(f"the data do not determine {self.name}: the likelihood has no parabola") from None
        return covariance

    def at(self, value: npt.ArrayLike, start: Array | None = None) -> Minimum:
        """Conditional minimum with the parameter held at `value`, or the k parameters at values of shape (k,).

        Args:
            value: The value.
            start: All parameters, shape (P,), where the fit starts; near the best fit by default.

        Returns:
            The minimum, or `Status.UNDEFINED` where -log L is infinite.

        Raises:
            FitError: No start led to a minimum.
        """
        first = self._foretold(value) if start is None and self._quick else start
        found = self._conditional(value, first, _TOLERANCE)
        if not found.converged and found.status is not Status.UNDEFINED:
            values = ", ".join(f"{n} = {v:.4g}" for n, v in zip(self.names, np.atleast_1d(value), strict=True))
            found.required(f"the fit with {values}", self._names)
        return found

    def _conditional(self, value: npt.ArrayLike, first: Array | None, tolerance: float) -> Minimum:
        """The first conditional minimum that a start leads to, or the last failure."""
        failed = None
        for start in (first, self.minimum.theta, self._start):
            if start is None:
                continue
            theta = start.copy()
            theta[self.indices] = value
            found = minimise(self.evaluator, theta, self._others, limits=self.limits, tolerance=tolerance)
            if found.converged:
                return found
            if failed is None or failed.status is Status.UNDEFINED or found.status is Status.UNBOUNDED:
                failed = found
        assert failed is not None
        # a best fit without background, say, is no place to start without signal, nor is where it came from
        raised = with_a_density(self.loss, self.evaluator, theta, self._others, self.limits)
        if raised is not None:
            found = minimise(self.evaluator, raised, self._others, limits=self.limits, tolerance=tolerance)
        known = found.converged or found.status is Status.UNBOUNDED
        return found if known else failed  # a place that was made up says nothing where it fails

    def _foretold(self, value: npt.ArrayLike) -> Array:
        """All parameters where the parabola has its conditional minimum."""
        slopes = np.linalg.solve(self._parabola[np.ix_(self.indices, self.indices)], self._parabola[self.indices])
        theta = self.minimum.theta + (np.asarray(value, dtype=np.float64) - self.values) @ slopes
        return np.clip(theta, *self.limits)

    def t(self, value: npt.ArrayLike, start: Array | None = None) -> float:
        """2 (-log L(value) + log L(best)), paper eq. 2.2, by `inflation`; not negative; see `at`."""
        return max(0.0, 2.0 * (self.nll(self.at(value, start)) - self.minimum.value))

    def scan(self, values: npt.ArrayLike) -> Array:
        """T at many points to about 1e-4: exact at some, interpolated by `ProfileCurve` where that is as good.

        NaN, with a warning, at points whose fit did not converge.
        """

        def conditional(start: Array) -> Minimum:
            return self._conditional(start[self.indices], start, _SCAN_TOLERANCE)

        curve = ProfileCurve(conditional, self.minimum, self.index)
        values = np.asarray(values, dtype=np.float64)
        t = curve.scan(values.ravel()).reshape(values.shape) / self.inflation
        if np.isnan(t).any():
            _log.warning(
                "%d of %d scan points of %s could not be fitted", np.count_nonzero(np.isnan(t)), t.size, self.name
            )
        return t

    def crossing(self, level: float, *, upwards: bool) -> float:
        """Where t reaches `level` above or below the best fit; the parameter's limit if it never does."""
        sign = 1.0 if upwards else -1.0
        limit = float(self.limits[1 if upwards else 0][self.index])
        step = sign * max(self.step, 1e-9 * max(1.0, abs(self.best))) * np.sqrt(level)
        if self._quick and not self.weighted:
            target, place = self.minimum.value + 0.5 * level, self._foretold(self.best + step)
            found = quick_crossing(
                self.evaluator, place, self.index, self._others, self.limits, target=target, step=float(step)
            )
            if found is not None:
                return found
        last = self.minimum.theta

        def t(value: float) -> float:
            nonlocal last
            found = self.at(value, None if self._quick else last)
            last = found.theta if found.converged else last
            return max(0.0, 2.0 * (self.nll(found) - self.minimum.value))

        return find_crossing(t, level, best=self.best, step=float(step), limit=limit, name=self.name)

    def interval(self, level: float) -> tuple[float, float]:
        """Both crossings of `level` (1 for 68.3 %, 3.84 for 95 %)."""
        return self.crossing(level, upwards=False), self.crossing(level, upwards=True)
