"""What one measurement says, and the parts that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hisigma_zfit.results.answers import Discovery
from hisigma_zfit.results.base import Result
from hisigma_zfit.results.earlier import measurement_1
from hisigma_zfit.results.estimates import Estimate
from hisigma_zfit.results.fit_report import FitReport
from hisigma_zfit.results.unblinding import Unblinding

if TYPE_CHECKING:
    from hisigma_zfit.results.training import TrainingHistory

__all__ = [
    "ClosureReport",
    "ConfidenceLevels",
    "EventCounts",
    "FallingShape",
    "FitSummary",
    "Measurement",
    "MemberFit",
    "SignalResponse",
    "TrainingChoice",
]


@dataclass(frozen=True)
class FitSummary(Result):
    """A fitted value with its error and the significance of `value` > 0."""

    schema: ClassVar[str] = "hisigma-zfit/fit-summary/1"
    value: float
    error: float
    z: float


@dataclass(frozen=True)
class MemberFit(Result):
    """The fit with the bootstrap of number `member`, a training on resampled events, alone."""

    schema: ClassVar[str] = "hisigma-zfit/member-fit/1"
    member: int
    value: float
    error: float
    z: float


@dataclass(frozen=True)
class FallingShape(Result):
    """One of several falling mass shapes of which the data chose, alone.

    Attributes:
        shape: Its name, or those of all categories.
        n_parameters: Its free parameters.
        penalty: What was added to its -2 log L for them.
        offset: Its -2 log L with the penalty beyond that of the best, at the best fit of each.
        value: Best value of the parameter of interest with this shape.
        error: Its error, from the Hessian.
        z: Significance.
        best_for: Least and largest value of the parameter of interest at which it is the best of all, as far as the
            scan goes; None where it never is.
    """

    schema: ClassVar[str] = "hisigma-zfit/falling-shape/1"
    shape: str
    n_parameters: int
    penalty: float
    offset: float
    value: float
    error: float
    z: float
    best_for: tuple[float, float] | None = None


@dataclass(frozen=True)
class EventCounts(Result):
    """Numbers of events: ``read == used + sum(dropped.values())``.

    Attributes:
        read: Data events in the files.
        used: Data events in the fit.
        dropped: Data events that were left out, by reason.
        signal_simulation: Simulated signal events that the signal's density was trained with.
        sideband_training: Events that the background's density was trained with.
    """

    schema: ClassVar[str] = "hisigma-zfit/event-counts/1"
    read: int
    used: int
    dropped: dict[str, int]
    signal_simulation: int
    sideband_training: int


@dataclass(frozen=True)
class ClosureReport(Result):
    """Whether the density of the background describes the sidebands.

    Attributes:
        flagged: Features that it misses, worst first.
        misfit: Conditional misfit in nats per event, by feature; near 0 for a perfect density.
        too_few: Whether there are too few events that did not train the density, somewhere, to judge it.
    """

    schema: ClassVar[str] = "hisigma-zfit/closure-report/1"
    flagged: tuple[str, ...]
    misfit: dict[str, float]
    too_few: bool = False

    @property
    def passed(self) -> bool:
        """All was judged, and no feature is missed."""
        return not self.flagged and not self.too_few

    def __str__(self) -> str:
        words = ["misses " + ", ".join(self.flagged)] if self.flagged else []
        words += ["not judged, too few events were held out"] if self.too_few else []
        return "; ".join(words) or "passed"


@dataclass(frozen=True)
class SignalResponse(Result):
    """Fitted signal events by true signal event.

    Attributes:
        value: One for the model's own signal.
        error: From the number of simulated events.
        n_events: How many of them there were; None in runs that did not keep it.
    """

    schema: ClassVar[str] = "hisigma-zfit/signal-response/1"
    value: float
    error: float
    n_events: int | None

    @property
    def passed(self) -> bool:
        """It is one within three of its errors, or within 5 %."""
        return abs(self.value - 1.0) < max(3.0 * self.error, 0.05)

    def __str__(self) -> str:
        of = "" if self.n_events is None else f" ({self.n_events} simulated events)"
        return f"signal response {self.value:.3f} +- {self.error:.3f}{of}"


@dataclass(frozen=True)
class ConfidenceLevels(Result):
    """Confidence levels of the intervals and of the limit of the same names in a `Measurement`."""

    schema: ClassVar[str] = "hisigma-zfit/confidence-levels/1"
    interval_68: float
    interval_95: float
    upper_limit_95: float


@dataclass(frozen=True)
class TrainingChoice(Result):
    """What held-out events decided of a training.

    Attributes:
        events: Events that were trained with.
        kept_step: Optimiser step whose parameters are kept; the start means independent features.
        steps: Steps that were taken.
        gain: Held-out log-density beyond that of independent features, in nats by event; None where nobody looked.
        recipe: Recipe of the nets, in JSON.
        coordinates: Features that were learned relative to edges that move, in words.
    """

    schema: ClassVar[str] = "hisigma-zfit/training-choice/1"
    events: int
    kept_step: int
    steps: int
    gain: float | None
    recipe: str
    coordinates: tuple[str, ...] = ()

    @classmethod
    def of(cls, history: TrainingHistory) -> Self:
        """What the history of a training tells."""
        gain = None
        if history.validation is not None and history.validation_steps is not None:
            gain = -float(history.validation[:, list(history.validation_steps).index(history.kept_step)].mean())
        kept = int(history.kept_step or 0)
        steps = int(history.steps[-1]) if len(history.steps) else kept
        return cls(int(history.events or 0), kept, steps, gain, history.recipe, history.coordinates)

    def __str__(self) -> str:
        learned = f", learned {', '.join(self.coordinates)}" if self.coordinates else ""
        if self.kept_step == 0:
            return f"{self.events} events, features taken as independent{learned}"
        length = "to the end" if self.kept_step == self.steps else f"stopped at {self.kept_step} of {self.steps} steps"
        gain = "" if self.gain is None else f", {self.gain:.3f} nats beyond independent features"
        return f"{self.events} events, {length}{gain}{learned}"


@dataclass(frozen=True)
class Measurement(Result):
    """All that one measurement says: the content of a run folder's ``result.json``.

    Attributes:
        poi: Name of the parameter of interest.
        value: Its best value, of the combination of the trained members.
        error: Half the width of `interval_68`.
        interval_68: Lower and upper edge of the interval of one standard deviation, of the combination.
        interval_95: The same at 95 %, or at what `confidence` says of results of before version 0.2: 95.45 %, where
            2 dNLL is 4.
        confidence: The exact levels of both intervals and of the limit.
        stat_only: The fit with the average of all trained members, its error with systematic uncertainties held.
        nominal: The same fit with systematic uncertainties in error and significance.
        significance: Test of the background-only hypothesis, of the combination.
        upper_limit_95: CLs upper limit at 95 %, of the combination.
        parameters: All parameters of the nominal fit by name, errors from its Hessian.
        mass_only: The fit without features.
        n_events: Events in the files and in the fit.
        members: The fits with each bootstrap, a training on resampled events, alone.
        timings_s: Seconds by stage and in total.
        seed: Seed of every random step.
        inputs: Digest of each input file by its name.
        versions: Versions of Python and of the packages that decide the numbers.
        options: The options that change numbers.
        closure: Whether the density of the background describes the sidebands.
        signal_response: What part of the true signal the fit returns; None where too few simulated events are left.
        training_error: Spread of the yields of redrawn trainings in events: one standard deviation of the nuisance
            ``training``; None where the combination has no such nuisance.
        training_bias: Events that were subtracted: the yield less what densities of half of the events find beyond what
            they find among the other half, which they have not seen; for several categories what halves find beyond
            the whole.  None where there are no halves.
        training: How long each density was trained, by its name.
        unblinding: When and after which blind result the signal region was opened; None where it was never closed.
        falling: The falling mass shapes of which the data chose, best first; none where one was given.
        fit: The fit for its reviewers: status, covariance, shapes, yields by region, goodness of fit, what was
            expected, impacts; None in results of before it was kept.
    """

    schema: ClassVar[str] = "hisigma-zfit/measurement/2"
    earlier: ClassVar[Mapping[str, Any]] = {"hisigma-zfit/measurement/1": measurement_1}
    poi: str
    value: float
    error: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]
    confidence: ConfidenceLevels
    stat_only: Estimate
    nominal: FitSummary
    significance: Discovery
    upper_limit_95: float
    parameters: dict[str, Estimate]
    mass_only: FitSummary | None
    n_events: EventCounts
    members: tuple[MemberFit, ...]
    timings_s: dict[str, float]
    seed: int
    inputs: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    closure: ClosureReport | None = None
    signal_response: SignalResponse | None = None
    training_error: float | None = None
    training_bias: float | None = None
    training: dict[str, TrainingChoice] = field(default_factory=dict)
    unblinding: Unblinding | None = None
    falling: tuple[FallingShape, ...] = ()
    fit: FitReport | None = None

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`; what only says where the numbers come from is left out."""
        left_out = {"inputs", "versions", "options", "fit"}
        return {name: value for name, value in super().shown().items() if name not in left_out}

    def __str__(self) -> str:
        return (
            f"{self.poi} = {self.value:.4g} +- {self.error:.3g}, Z = {self.significance.z:.2f} sigma, "
            f"< {self.upper_limit_95:.4g} at {100 * self.confidence.upper_limit_95:.3g} % CL"
        )
