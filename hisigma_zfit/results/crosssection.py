"""What the task `cross-section` leaves in its run folder: the content of ``result.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hisigma_zfit.results.base import Result
from hisigma_zfit.results.explanations import Correlations, Impacts
from hisigma_zfit.results.numbers import number
from hisigma_zfit.results.ratio_checks import BiasStudy, HeldBackStudy, SimulationError, WeightedTest
from hisigma_zfit.results.ratio_learning import DesignSummary, ExponentSummary, MomentSummary, PosteriorSummary
from hisigma_zfit.results.unblinding import Unblinding

__all__ = [
    "AssignmentAnswer",
    "CellTotal",
    "CountingFit",
    "CrossSectionEvents",
    "CrossSectionResult",
    "FittedParameter",
    "MethodAnswer",
    "PoiAnswer",
    "ProcessYield",
]

Edges = tuple[float, float]


@dataclass(frozen=True)
class PoiAnswer(Result):
    """One parameter of interest.

    Attributes:
        value: Best fit.
        interval_68: Interval of one standard deviation, all nuisances profiled.
        interval_95: The same at the second of the levels that were asked for, 95.4 % by default.
        error_stat: Half of the first one with the nuisances fixed at their best fit.
        error_syst: What the nuisances add to it in quadrature.
        error_simulation: Of the finite simulation and the training, in neither of these; None where it was not found.
        interval_68_with_simulation: With it as one more nuisance; None likewise.
        interval_95_with_simulation: The same at the level of `interval_95`.
        one_sided: Whether events bound the parameter from below, so that the lower edges are its limit.
    """

    schema: ClassVar[str] = "hisigma-zfit/poi-answer/1"
    value: float
    interval_68: Edges
    interval_95: Edges
    error_stat: float
    error_syst: float
    error_simulation: float | None = None
    interval_68_with_simulation: Edges | None = None
    interval_95_with_simulation: Edges | None = None
    one_sided: bool = False

    @property
    def error(self) -> float:
        """Half of `interval_68`."""
        return 0.5 * (self.interval_68[1] - self.interval_68[0])

    @property
    def errors(self) -> Edges:
        """Distances to the lower and upper edge of `interval_68`, both positive."""
        return self.value - self.interval_68[0], self.interval_68[1] - self.value

    def __str__(self) -> str:
        below, above = self.errors
        parts = f"{self.error_stat:.3g} stat, {self.error_syst:.3g} syst"
        if self.error_simulation is not None:
            parts += f"; {self.error_simulation:.3g} simulation"
        return f"{self.value:.4g} -{below:.3g} +{above:.3g} ({parts})"


@dataclass(frozen=True)
class FittedParameter(Result):
    """Any parameter of the fit.

    Attributes:
        value: Best fit, of a nuisance in standard deviations of its constraint.
        error: Half of its profiled 68.3 % interval, or from the Hessian where none was asked for.
        pull: (best - auxiliary measurement) / pre-fit error; None without constraint.
        constraint: Post-fit by pre-fit error; None without constraint.
        at_limit: Whether the best fit lies at a limit of the parameter.
        setting: What the shift function is given at the best fit, in its own unit; None where there is none.
    """

    schema: ClassVar[str] = "hisigma-zfit/fitted-parameter/1"
    value: float
    error: float
    pull: float | None = None
    constraint: float | None = None
    at_limit: bool = False
    setting: float | None = None


@dataclass(frozen=True)
class CrossSectionEvents(Result):
    """Numbers of events: ``read == counting + sum(unbinned.values()) + sum(dropped.values())``.

    Attributes:
        read: Events of data.
        unbinned: Events by unbinned region.
        counting: Events in the counting bins.
        dropped: Events that are nowhere, by reason.
        simulated: Simulated rows by process.
    """

    schema: ClassVar[str] = "hisigma-zfit/cross-section-events/1"
    read: int
    unbinned: dict[str, int]
    counting: int
    dropped: dict[str, int]
    simulated: dict[str, int] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Events in the fit."""
        return self.counting + sum(self.unbinned.values())


@dataclass(frozen=True)
class ProcessYield(Result):
    """Expected events of one process in one cell.

    Attributes:
        reference: Of the nominal simulation.
        postfit: At the best fit.
        error: Of that, from the covariance of the fit.
    """

    schema: ClassVar[str] = "hisigma-zfit/process-yield/1"
    reference: float
    postfit: float
    error: float


@dataclass(frozen=True)
class CellTotal(Result):
    """All processes of one cell together.

    Attributes:
        unbinned: Whether events enter one by one.
        observed: Events; None where the data are closed.
        postfit: Expected at the best fit.
        error: Of that, from the covariance of the fit.
    """

    schema: ClassVar[str] = "hisigma-zfit/cell-total/1"
    unbinned: bool
    observed: float | None
    postfit: float
    error: float


@dataclass(frozen=True)
class CountingFit(Result):
    """How well the counting bins are described.

    Attributes:
        chi2: Of their counts less the fitted ones, with the covariance that these have: fluctuations of data and
            simulation, less what the fit follows.
        bins: Number of bins, less the combinations of them that the fit follows altogether: degrees of freedom.
        p_value: Of chi2; good for bins of ten events or more.
    """

    schema: ClassVar[str] = "hisigma-zfit/counting-fit/1"
    chi2: float
    bins: int
    p_value: float

    def __str__(self) -> str:
        return f"counting bins: chi2 = {self.chi2:.1f} for {self.bins} bins, p = {self.p_value:.3g}"


@dataclass(frozen=True)
class MethodAnswer(Result):
    """What another way of measuring says of the same data.

    Attributes:
        value: Best fit.
        interval_68: All nuisances profiled.
        width: Upper less lower edge.
        stat_only: Half of the interval with the nuisances fixed.
        score_bins: Bins of the score; None for a method without.
        cpu_s: Seconds of the fit with its interval.
    """

    schema: ClassVar[str] = "hisigma-zfit/method-answer/1"
    value: float
    interval_68: Edges
    width: float
    stat_only: float
    score_bins: int | None = None
    cpu_s: float | None = None

    @property
    def error(self) -> float:
        """Half of `width`."""
        return 0.5 * self.width


@dataclass(frozen=True)
class AssignmentAnswer(Result):
    """The fit with one assignment of the events to folds."""

    schema: ClassVar[str] = "hisigma-zfit/assignment-answer/1"
    value: float
    interval_68: Edges


@dataclass(frozen=True)
class CrossSectionResult(Result):
    """All that one cross-section says.

    Where there are several parameters of interest, `comparison`, `assignments`, `held_back` and `bias` are of the
    first.

    Attributes:
        data: Whether these were observed or are an Asimov set, as in a blind run.
        luminosity: In inverse femtobarn; None where it was not given.
        poi: Parameters of interest by name.
        signal: Processes that each of them multiplies.
        cl: The exact levels of both intervals.
        parameters: All parameters of the fit by name.
        correlations: Of all parameters.
        impacts: Of the nuisances, with the budget of the error by groups, by parameter of interest.
        n_events: Events of data and of simulation.
        yields: Expected events by process and cell.
        cells: All processes together by cell, the unbinned regions first.
        design: Where the simulation was varied.
        posterior: The classifier.
        exponents: Learned variations by process.
        moments: What the moment calibration did by process; empty where it is off.
        bias: At shifted truths, by method; empty where it was not looked for.
        uncertainty: Error of simulation and training by parameter of interest; empty likewise.
        gof_counting: How well the counting bins are described; None without any, or for an Asimov set.
        gof: Two-sample tests of data and fitted simulation by unbinned region; empty for an Asimov set.
        comparison: Other ways of measuring, and this one as "unbinned", by name.
        assignments: Fits with each assignment of the events to folds.
        held_back: Fits of simulated events that trained nothing; None without any.
        reference: Parameters of the nominal simulation.
        warnings: What a reader should know, in words.
        timings_s: Seconds by stage.
        cpu_s: Processor seconds by stage.
        seed: Of everything that is random.
        inputs: Digest of each file by its name.
        versions: Of the packages.
        options: All that decide the numbers.
        blind: Whether the data are closed, so that an Asimov set stands for them.
        trained: Digests of what was learned, by name.
        unblinding: When the data of a blind run were opened; None of a run that never was blind.
    """

    schema: ClassVar[str] = "hisigma-zfit/cross-section/1"
    data: Literal["observed", "asimov"]
    luminosity: float | None
    poi: dict[str, PoiAnswer]
    signal: dict[str, tuple[str, ...]]
    cl: tuple[float, float]
    parameters: dict[str, FittedParameter]
    correlations: Correlations
    impacts: dict[str, Impacts]
    n_events: CrossSectionEvents
    yields: dict[str, dict[str, ProcessYield]]
    cells: dict[str, CellTotal]
    design: DesignSummary
    posterior: PosteriorSummary
    exponents: dict[str, ExponentSummary]
    moments: dict[str, MomentSummary]
    bias: dict[str, BiasStudy]
    uncertainty: dict[str, SimulationError]
    gof_counting: CountingFit | None
    gof: dict[str, WeightedTest]
    comparison: dict[str, MethodAnswer]
    assignments: tuple[AssignmentAnswer, ...]
    held_back: HeldBackStudy | None
    reference: dict[str, float]
    warnings: tuple[str, ...]
    timings_s: dict[str, float]
    cpu_s: dict[str, float]
    seed: int
    inputs: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    blind: bool = False
    trained: dict[str, str] = field(default_factory=dict)
    unblinding: Unblinding | None = None

    @property
    def leading(self) -> str:
        """Name of the first parameter of interest."""
        return next(iter(self.poi))

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`; what only says where the numbers come from is left out."""
        return {
            name: value
            for name, value in super().shown().items()
            if name not in {"inputs", "versions", "options", "trained"}
        }

    def __str__(self) -> str:
        """A few lines for people; `report.crosssection_tables.cross_section` has everything."""
        facts: list[tuple[str, str]] = []
        for name, answer in self.poi.items():
            facts.append((name, str(answer)))
            facts += [("", text) for text in _intervals(answer, self.cl)]
        for name, found in self.impacts.items():
            words = ", ".join(f"{impact.name} {impact.size:.2g}" for impact in found.impacts[:6])
            facts.append((f"impacts on {name}", words or "no nuisance"))
        pulls = [
            f"{name} {parameter.pull:+.2f} ({parameter.constraint or 0.0:.2f})"
            for name, parameter in self.parameters.items()
            if parameter.pull is not None
        ]
        facts += [("pulls", f"{', '.join(pulls)}  (post-fit by pre-fit error)")] if pulls else []
        facts += [
            (name, f"{method.value:.4g} +- {method.error:.3g}  ({method.stat_only:.3g} stat)")
            for name, method in self.comparison.items()
        ]
        facts += [("warning", text) for text in self.warnings]
        title = f"Cross-section from unbinned data, {self.data} ({number(self.n_events.used)} events)"
        width = max(len(name) for name, _ in facts)
        return "\n".join([title, *(f"  {name:{width}}  {text}" for name, text in facts)])


def _intervals(answer: PoiAnswer, levels: Edges) -> list[str]:
    """The intervals of a parameter of interest, in words: one line without and one with the error of simulation."""
    both = [(answer.interval_68, answer.interval_95, "")]
    if answer.interval_68_with_simulation is not None and answer.interval_95_with_simulation is not None:
        both.append((answer.interval_68_with_simulation, answer.interval_95_with_simulation, ", with simulation"))
    names = [f"{100 * cl:.3g} %" for cl in levels]
    return [
        ", ".join(f"[{low:.4g}, {high:.4g}] at {cl}" for (low, high), cl in zip(edges, names, strict=True)) + words
        for *edges, words in both
    ]
