"""What may be said before the signal region is opened, and the record of opening it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from hisigma_zfit.results.answers import UpperLimit
from hisigma_zfit.results.base import Result
from hisigma_zfit.results.estimates import Estimate
from hisigma_zfit.results.measurement import (
    ClosureReport,
    FitSummary,
    MemberFit,
    SignalResponse,
    TrainingChoice,
)

__all__ = ["BlindCounts", "BlindMeasurement", "ExpectedMeasurement"]


@dataclass(frozen=True)
class BlindCounts(Result):
    """Numbers of events that do not depend on what is in the signal region.

    Attributes:
        sidebands: Data events beside the signal region that were fitted.
        dropped: Those of them that were left out, by reason.
        signal_simulation: Simulated signal events that the signal's density was trained with.
        sideband_training: Events that the background's density was trained with.
    """

    schema: ClassVar[str] = "hisigma-zfit/blind-counts/1"
    sidebands: int
    dropped: dict[str, int]
    signal_simulation: int
    sideband_training: int


@dataclass(frozen=True)
class ExpectedMeasurement(Result):
    """What the measurement says of an Asimov set, in which nothing fluctuates.

    Attributes:
        name: Why this signal was chosen, such as ``"3 sigma"``.
        signal: Signal in the set.
        value: Best value, of the combination; where it is another, the bootstraps find signal in their own average.
        error: Half the width of `interval_68`.  Without signal all errors here are distances to the upper edge, because
            somewhere in such a set a negative signal has no density.
        interval_68: Lower and upper edge of the interval of one standard deviation, of the combination.
        z: Median significance, of the combination.
        nominal: The fit with the average of all trained members.
        stat_only: Its error with systematic uncertainties held.
        mass_only: The fit without features.
        members: The fits with each bootstrapped background alone.
    """

    schema: ClassVar[str] = "hisigma-zfit/expected-measurement/1"
    name: str
    signal: float
    value: float
    error: float
    interval_68: tuple[float, float]
    z: float
    nominal: FitSummary
    stat_only: float
    mass_only: FitSummary
    members: tuple[MemberFit, ...] = ()


@dataclass(frozen=True)
class BlindMeasurement(Result):
    """All that one measurement says before its signal region is opened: ``result.json`` of a run with ``--blind``.

    No data of the signal region have a part in it, not even by their number.

    Attributes:
        poi: Name of the parameter of interest.
        signal_region: Edges of the closed region.
        parameters: All parameters that the sidebands determine, by name, from the fit to them without signal.
        region_background: Background that this fit expects in the signal region.
        expected: What to expect: without signal, for signals of 3 and 5 sigma, and for those that were asked for.
        upper_limit_95: Expected CLs limit: of the combination, and with its bands of the average of all members.
        combine: How the bootstraps are combined in `expected`.
        n_events: Events in the sidebands and in the trainings.
        timings_s: Seconds by stage and in total.
        seed: Seed of every random step.
        inputs: Digest of each input file by its name.
        versions: Versions of Python and of the packages that decide the numbers.
        options: The options that change numbers.
        trained: Digest of the trained members of each density.
        closure: Whether the density of the background describes the sidebands.
        signal_response: What part of the true signal the fit returns; None where too few simulated events are left.
        training_error: Spread of the yields that redrawn trainings find, one standard deviation of the nuisance
            ``training``; None where the combination has no such nuisance.
        training: How long each density was trained, by its name.
        falling: Falling mass shapes in the order in which the sidebands like them; the Asimov sets are drawn from the
            first, and fitted with all of them.  None where one was given.
    """

    schema: ClassVar[str] = "hisigma-zfit/blind-measurement/1"
    poi: str
    signal_region: tuple[float, float]
    parameters: dict[str, Estimate]
    region_background: Estimate
    expected: tuple[ExpectedMeasurement, ...]
    upper_limit_95: UpperLimit
    combine: str
    n_events: BlindCounts
    timings_s: dict[str, float]
    seed: int
    inputs: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, str] = field(default_factory=dict)
    closure: ClosureReport | None = None
    signal_response: SignalResponse | None = None
    training_error: float | None = None
    training: dict[str, TrainingChoice] = field(default_factory=dict)
    falling: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`; what only says where the numbers come from is left out."""
        hidden = {"inputs", "versions", "options", "trained"}
        return {name: value for name, value in super().shown().items() if name not in hidden}

    def __str__(self) -> str:
        signals = ", ".join(f"{each.name}: {each.signal:.4g} +- {each.error:.3g}" for each in self.expected)
        return f"{self.poi}, blind; expected {signals}; limit {self.upper_limit_95.limit:.4g} at 95 % CL"
