"""What a measurement will say, from Asimov sets of its own model: before its data are looked at.

The sets are those of the average of all trained members.  Every bootstrap fits them as it will fit the data, so that
what the bootstraps disagree on, and how they are combined, is in the expected error, significance and limit.

What to use when: `expected_discovery` and ``upper_limit(..., expected=True)`` of `hisigma_zfit.inference.hypotests` for
one model; a `Forecast` for a whole measurement with its bootstraps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit
from scipy.optimize import brentq

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import combination
from hisigma_zfit.inference.foreseen import ForeseenLikelihood, ScoredEvents
from hisigma_zfit.inference.hypotests import discovery, expected_limits
from hisigma_zfit.inference.shape_envelope import shape_envelope
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.protocol import names_of
from hisigma_zfit.results import ExpectedMeasurement, FitSummary, LikelihoodScan, MemberFit, UpperLimit
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.toys.asimov import ImportanceSample

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.combine import Combination, Method
    from hisigma_zfit.toys.asimov import AsimovSet

__all__ = ["Forecast", "Foreseen"]

_EVENTS = 20_000  # for each component: significances and limits are then good to 1 %
_PRECISION = 2e-3  # of the signal that gives a wanted significance


@dataclass(frozen=True)
class Foreseen:
    """All fits of one Asimov set.

    Attributes:
        nominal: With the average of all trained members.
        members: With each bootstrap alone.
        combined: Their combination.
    """

    nominal: Profiler
    members: tuple[Profiler, ...]
    combined: Combination


class Forecast:
    """A measurement's fits of Asimov sets; every density is evaluated once, whatever is asked.

    Args:
        loss: Likelihood of the models with the average of all trained members, one `SignalPlusBackground` for each
            category.  Its data have no part in the forecast.
        poi: Name of the parameter of interest.
        theta: All parameters, shape (P,), of which the sets are made, but for the parameter of interest.
        method: How the bootstraps will be combined.  Fitted weights find much the error of the average, for which
            ``"mixture"`` stands.
        penalties: As for `combination`.
        members: Models of each bootstrap, one for each category; those that the method combines by default.
        mass_only: Models without the features, one for each category; those of the models by default.
        shapes: Likelihoods of the same models with other shapes of the background, over which the fits are profiled
            too; their parameters start at their current values.
        penalties_of_shapes: What is added to -2 log L of the first shape, which the sets are drawn from, and of each of
            the others, shape (H,); see `hisigma_zfit.inference.shape_envelope`.
        seed: Same seed, same sets.
        events: Events of the sets for each component.

    Raises:
        InputError: The likelihood cannot be sampled.

    Attributes:
        sample: The events.
        theta: See the arguments.
    """

    def __init__(
        self,
        loss: ExtendedNLL,
        poi: str,
        theta: Array,
        *,
        method: Method = "mixture",
        penalties: npt.ArrayLike | None = None,
        members: Sequence[Sequence[Any]] | None = None,
        mass_only: Sequence[Any] | None = None,
        shapes: Sequence[ExtendedNLL] = (),
        penalties_of_shapes: npt.ArrayLike = (),
        seed: int,
        events: int = _EVENTS,
    ) -> None:
        self.poi, self.theta = poi, np.array(theta, dtype=np.float64)
        self.sample = ImportanceSample(loss, theta=self.theta, events=events, seed=seed)
        self.method, self._penalties = method, penalties
        self._index = [str(p.name) for p in loss.parameters].index(poi)
        models = list(loss.model)
        self._members = _members(models, method) if members is None else [tuple(each) for each in members]
        self._others = [
            _Shape(
                ImportanceSample(own, theta=self._theta_of(own), events=events, seed=seed), _members(own.model, method)
            )
            for own in shapes
        ]
        self._shape_penalties = np.asarray(penalties_of_shapes, dtype=np.float64)
        alone = [model.mass_only() for model in models] if mass_only is None else list(mass_only)
        self._mass_only = _mass_only_sample(loss, alone, self.theta, events=events, seed=seed)
        self._known: dict[tuple[int, int], list[ScoredEvents]] = {}
        self._last: tuple[float, Foreseen] | None = None

    def _theta_of(self, loss: ExtendedNLL, signal: float | None = None) -> Array:
        """The same hypothesis in the parameters of another shape, whose own stand where they are."""
        known = dict(zip(names_of(self.sample.parameters), self.theta, strict=True))
        known |= {} if signal is None else {self.poi: signal}
        own = zip(names_of(loss.parameters), loss.theta(), strict=True)
        return np.array([known.get(name, value) for name, value in own])

    def asimov(self, signal: float) -> AsimovSet:
        """The Asimov set with some signal.

        Args:
            signal: Value of the parameter of interest.

        Raises:
            FitError: The density is not positive under the hypothesis.
        """
        theta = self.theta.copy()
        theta[self._index] = signal
        return self.sample.asimov(theta, poi=self.poi)

    def at(self, signal: float) -> Foreseen:
        """All fits of the Asimov set with some signal; see `asimov`.

        Raises:
            FitError: A fit did not converge, or as for `asimov`.
        """
        if self._last is not None and self._last[0] == signal:
            return self._last[1]
        asimov = self.asimov(signal)
        models, parts = list(self.sample.loss.model), asimov.events_likelihood().parts
        frame, theta = asimov.sample, asimov.theta
        nominal = Profiler(ForeseenLikelihood(frame, theta, models, parts, constant=0.0, sample=self.sample), self.poi)
        members = tuple(self._profiler(asimov, member, (0, k)) for k, member in enumerate(self._members))
        if self._others:
            combined = self._over_shapes(asimov, signal, members)
        else:
            combined = combination(self.method, nominal, members, penalties=self._penalties)
        found = Foreseen(nominal, members, combined)
        self._last = signal, found
        return found

    def _over_shapes(self, asimov: AsimovSet, signal: float, members: tuple[Profiler, ...]) -> Combination:
        """The fits of one set profiled over the shapes, and over the bootstraps if the method asks these."""
        nominal = [self._profiler(asimov, list(self.sample.loss.model), (0, -1))]
        table = [members]
        for h, other in enumerate(self._others, start=1):
            frame, theta = other.frame, self._theta_of(other.frame.loss, signal)
            nominal.append(self._profiler(asimov, list(frame.loss.model), (h, -1), frame, theta))
            table.append(
                tuple(self._profiler(asimov, member, (h, k), frame, theta) for k, member in enumerate(other.members))
            )
        return shape_envelope(
            self.method, nominal, table, penalties=self._shape_penalties, member_penalties=self._penalties
        )

    def mass_only(self, signal: float) -> Profiler:
        """The fit without features of an Asimov set of masses; see `asimov`.

        Raises:
            FitError: The fit did not converge, or as for `asimov`.
        """
        known = dict(zip(names_of(self.sample.parameters), self.theta, strict=True)) | {self.poi: signal}
        theta = np.array([known[name] for name in names_of(self._mass_only.parameters)])
        return self._mass_only.asimov(theta, poi=self.poi).profiler(self.poi)

    def _profiler(
        self,
        asimov: AsimovSet,
        models: Sequence[Any],
        key: tuple[int, int],
        frame: ImportanceSample | None = None,
        theta: Array | None = None,
    ) -> Profiler:
        """Profile of a set under the models of one bootstrap; `key` has the numbers of shape and bootstrap.

        Another shape has a frame and a hypothesis of its own: its parameters, its sample.
        """
        categories = asimov.sample.categories
        parameters = asimov.sample.parameters if frame is None else frame.parameters
        known = self._known.get(key, [])
        # which events are possible does not depend on the signal, so that they are scored for the first set only
        if [len(each.values) for each in known] != [len(category.values) for category in categories]:
            known = [
                ScoredEvents.of(model, category.values, parameters)
                for model, category in zip(models, categories, strict=True)
            ]
            self._known[key] = known
        parts, constants = zip(
            *(each.evaluator(weights) for each, weights in zip(known, asimov.weights, strict=True)), strict=True
        )
        loss = ForeseenLikelihood(
            asimov.sample if frame is None else frame,
            asimov.theta if theta is None else theta,
            models,
            parts,
            constant=sum(constants),
            sample=self.sample if frame is None else frame,
        )
        return Profiler(loss, self.poi)

    def expect(self, name: str, signal: float) -> ExpectedMeasurement:
        """What the measurement says of the Asimov set with some signal.

        Args:
            name: Why this signal was chosen.
            signal: Value of the parameter of interest.

        Raises:
            FitError: As for `at`.
        """
        fits = self.at(signal)
        interval = fits.combined.interval(cl=ONE_SIGMA)
        return ExpectedMeasurement(
            name=name,
            signal=signal,
            value=interval.value,
            error=interval.error if signal > 0.0 else interval.upper - interval.value,
            interval_68=(interval.lower, interval.upper),
            z=fits.combined.discovery().z,
            nominal=_summary(fits.nominal, signal),
            stat_only=_error(fits.nominal, signal, held=_constrained(fits.nominal)),
            mass_only=_summary(self.mass_only(signal), signal),
            members=tuple(MemberFit(k, p.best, p.error, discovery(p, p.name).z) for k, p in enumerate(fits.members)),
        )

    def signal_for(self, z: float) -> float:
        """The signal of which the combination is expected to find `z` standard deviations.

        Args:
            z: Significance, positive.

        Raises:
            FitError: No signal is large enough, or as for `at`.
        """
        known = {0.0: -z}

        def excess(signal: float) -> float:
            if signal not in known:
                known[signal] = self.at(signal).combined.discovery().z - z
            return known[signal]

        # errors grow with the signal, so that this is below; a root finder begins with both ends, which are known then
        nominal = self.at(0.0).nominal
        low, high = 0.0, z * (nominal.crossing(1.0, upwards=True) - nominal.best)
        for _ in range(30):
            if excess(high) > 0.0:
                return float(brentq(excess, low, high, rtol=_PRECISION))
            low, high = high, 1.3 * high
        raise FitError(f"no {self.poi} below {high:g} is expected to be found with {z:g} sigma; check the model")

    def upper_limit(self, *, cl: float, seed: int) -> UpperLimit:
        """Expected CLs limit without signal: the combination's on the Asimov set, and the average's with its bands.

        Args:
            cl: Confidence level.
            seed: As for `Combination.upper_limit`.

        Raises:
            FitError: The limit was not found, or as for `at`.
        """
        fits = self.at(0.0)
        limit = fits.combined.upper_limit(cl=cl, seed=seed)
        return dataclasses.replace(limit, expected=expected_limits(fits.nominal, cl=cl))

    def scan(self, signal: float, *, points: int = 61) -> LikelihoodScan:
        """Profile of the parameter of interest in the Asimov set with some signal, to about three sigma.

        Args:
            signal: Value of the parameter of interest.
            points: Number of scan points.

        Raises:
            FitError: As for `at`.
        """
        fits = self.at(signal)
        interval = fits.combined.interval(cl=ONE_SIGMA)
        centre, reach = 0.5 * (interval.lower + interval.upper), 3.2 * max(interval.error, fits.nominal.step)
        grid = np.linspace(centre - reach, centre + reach, points)
        held = _constrained(fits.nominal)
        statistical = Profiler(fits.nominal.loss, self.poi, held=held) if held else fits.nominal
        return fits.combined.scan(grid, statistical=statistical.scan(grid), reference=self.mass_only(signal).scan(grid))


@dataclass(frozen=True)
class _Shape:
    """Another shape of the background: its likelihood with events of its own, and the models of its bootstraps."""

    frame: ImportanceSample
    members: list[tuple[Any, ...]]


def _members(models: Sequence[Any], method: Method) -> list[tuple[Any, ...]]:
    """Models of each bootstrap, one for each category, that a method combines."""
    resamples = [] if method in {"mixture", "nuisance"} else [list(model.bootstraps()) for model in models]
    return list(zip(*resamples, strict=True))


def _mass_only_sample(
    loss: ExtendedNLL, shapes: list[Any], theta: Array, *, events: int, seed: int
) -> ImportanceSample:
    """Events for the sets of the mass alone: of their own, so that nothing fluctuates in them either."""
    data = [
        zfit.Data.from_numpy(obs=shape.space, array=columns.masses[:, None])
        for shape, columns in zip(shapes, loss.columns(), strict=True)
    ]
    alone = ExtendedNLL(shapes, data)
    known = dict(zip(names_of(loss.parameters), theta, strict=True))
    at = np.array([known[name] for name in names_of(alone.parameters)])
    return ImportanceSample(alone, theta=at, events=events, seed=seed)


def _constrained(profiler: Profiler) -> list[str]:
    """Names of the nuisances, which are held where errors are statistical only."""
    return [p.name for p in profiler.loss.parameters if getattr(p, "constraint_term", None) is not None]


def _error(profiler: Profiler, signal: float, *, held: Sequence[str] = ()) -> float:
    """Error of the fit of an Asimov set; see `ExpectedMeasurement`."""
    if signal > 0.0:
        return profiler.error_without(held)
    # at zero the curvature is that of rare events which only signal explains, and says nothing
    upwards = Profiler(profiler.loss, profiler.name, held=held) if held else profiler
    return upwards.crossing(1.0, upwards=True) - upwards.best


def _summary(profiler: Profiler, signal: float) -> FitSummary:
    return FitSummary(profiler.best, _error(profiler, signal), discovery(profiler, profiler.name).z)
