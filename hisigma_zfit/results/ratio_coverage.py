"""Pseudo-experiments of a cross-section: what each draw of the nuisances gave, and what all of them say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from hisigma_zfit.results.base import JsonArray, Result

__all__ = ["CoverageBin", "CoverageDraw", "CoverageStudy", "DrawnAnswers", "MethodCoverage"]


def _unknown() -> float:
    """What older studies do not know; as a plain default it would stand in the schema, and JSON knows no nan."""
    return math.nan


@dataclass(frozen=True)
class DrawnAnswers(Result):
    """What one method answered to the toys of one draw, nan where the fit failed.

    Attributes:
        value: Best values, shape (M,).
        lower: Lower edges of the intervals, shape (M,).
        upper: Upper edges, shape (M,).
        nuisance_pulls: (best - true) / post-fit error of the nuisances, by name, each of shape (M,).
    """

    schema: ClassVar[str] = "hisigma-zfit/drawn-answers/1"
    value: JsonArray
    lower: JsonArray
    upper: JsonArray
    nuisance_pulls: dict[str, JsonArray] = field(default_factory=dict)


@dataclass(frozen=True)
class CoverageDraw(Result):
    """One draw of the true nuisances with its toys: one file of a study.

    Attributes:
        number: Of the draw.
        nuisances: True settings, by name.
        truth: True parameter of interest of each toy, shape (M,).
        methods: Answers by method.
        cpu_s: Seconds that it took.
    """

    schema: ClassVar[str] = "hisigma-zfit/coverage-draw/1"
    number: int
    nuisances: dict[str, float]
    truth: JsonArray
    methods: dict[str, DrawnAnswers]
    cpu_s: float = 0.0


@dataclass(frozen=True)
class CoverageBin(Result):
    """The toys whose true parameter of interest lies in one range.

    Attributes:
        lower: Lower end of the range.
        upper: Upper end.
        toys: How many there are.
        coverage: Share of the intervals that hold the truth.
        error: Of it, from the spread between draws.
        width: Mean width of the intervals, upper less lower edge.
        pull_mean: Mean pull.
    """

    schema: ClassVar[str] = "hisigma-zfit/coverage-bin/1"
    lower: float
    upper: float
    toys: int
    coverage: float
    error: float
    width: float
    pull_mean: float


@dataclass(frozen=True)
class MethodCoverage(Result):
    """What all toys say of one method.

    Errors come from the spread between draws: toys of one draw share the error of what was learned, so that those of
    independent toys are too small.

    Attributes:
        toys: Toys that were fitted.
        failed: Toys that could not be fitted; they enter nowhere.
        coverage: Share of the intervals that hold the truth.
        error: Of it.
        width: Mean width of the intervals, upper less lower edge.
        width_error: Of it.
        score: Of the FAIR-Universe challenge, -ln[(width + 0.001) f(coverage)], larger is better; nan for intervals of
            another level than its 68.27 %.
        pull_mean: Mean pull, (best - true) by the error on the side of the truth.
        pull_mean_error: Of it.
        pull_rms: Root of the mean square of the pulls.
        pull_spread: Rms over draws of the mean pull of a draw.
        pull_spread_expected: The same if the toys of a draw had nothing in common.
        by_mu: The same in ranges of the true parameter of interest.
        nuisance_pulls: Mean and rms of the pulls of the nuisances, by name.
        missing: Error that makes intervals hold the truth as often as they say, where it is added in quadrature to
            both sides; zero where they need none, nan of a study from before it was asked for.
        missing_error: Of it, by leaving out one draw after the other; nan for fewer than two.
        coverage_with_simulation: Share of the intervals that hold the truth where the error of the finite simulation
            is added; nan where that is not known.
        coverage_with_simulation_error: Of it.
    """

    schema: ClassVar[str] = "hisigma-zfit/method-coverage/1"
    toys: int
    failed: int
    coverage: float
    error: float
    width: float
    width_error: float
    score: float
    pull_mean: float
    pull_mean_error: float
    pull_rms: float
    pull_spread: float
    pull_spread_expected: float
    by_mu: tuple[CoverageBin, ...]
    nuisance_pulls: dict[str, tuple[float, float]] = field(default_factory=dict)
    missing: float = field(default_factory=_unknown)
    missing_error: float = field(default_factory=_unknown)
    coverage_with_simulation: float = field(default_factory=_unknown)
    coverage_with_simulation_error: float = field(default_factory=_unknown)

    def __str__(self) -> str:
        return (
            f"coverage {self.coverage:.3f} +- {self.error:.3f}, mean width {self.width:.3f}, "
            f"score {self.score:.3f}, pull {self.pull_mean:+.2f}, rms {self.pull_rms:.2f}"
        )


@dataclass(frozen=True)
class CoverageStudy(Result):
    """Toys at drawn nuisances: the content of ``toys.json``.

    Attributes:
        poi: Name of the parameter of interest.
        cl: Confidence level of the intervals.
        draws: Draws of the nuisances.
        toys: Toys of each draw.
        nuisances: Whether the auxiliary measurements are drawn around fixed true nuisances, or the true nuisances are
            drawn from the priors and the auxiliary measurements stay.
        mu: Lower and upper end of the true parameter of interest.
        seed: Of the toys.
        truth: The draws, with what every method answered.
        methods: What they say together, by method.
        numbers: Random numbers of stochastic shifts: new ones as data have, or those that the templates were made with,
            whose fluctuation is then in no toy.
        simulation: Error of the parameter of interest from the finite simulation, as the run has it; None if unknown.
    """

    schema: ClassVar[str] = "hisigma-zfit/cross-section-toys/1"
    poi: str
    cl: float
    draws: int
    toys: int
    nuisances: Literal["random", "fixed"]
    mu: tuple[float, float]
    seed: int
    truth: tuple[CoverageDraw, ...]
    methods: dict[str, MethodCoverage]
    numbers: Literal["new", "design"] = "new"
    simulation: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.draws} draws of the nuisances ({self.nuisances}), {self.toys} toys each, seed {self.seed}"]
        if self.numbers == "design":
            lines.append("  smeared with the random numbers of the templates")
        width = max(map(len, self.methods), default=0)
        return "\n".join([*lines, *(f"  {name:{width}}  {method}" for name, method in self.methods.items())])
