"""What a validation says: fits of modified inputs with everything trained again, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.estimates import Estimate
from hisigma_zfit.results.measurement import ClosureReport

__all__ = ["Check", "JobKind", "RetrainedFit", "Spectrum", "SpuriousSignal", "State", "Validation"]

JobKind = Literal["window", "injection", "contamination", "stability"]
State = Literal["passed", "attention", "unclear", "failed"]


@dataclass(frozen=True)
class RetrainedFit(Result):
    """One measurement of a modified input, trained from nothing.

    Attributes:
        name: Of the job, such as ``"window-000"``.
        kind: What was modified.
        region: Signal region of this fit.
        value: What it reports, by the combination that the measurement uses.
        error: Its error.
        z: Its significance.
        statistical: The fit with the average of all members.
        truth: Fit of the same events with the densities that they were drawn from; None where the events are data.
        unit: Error that shifts are measured in, in events: in a window that of its own fit with the average of all
            members, else the expected one of the background alone.
        strength: Injected signal in these units.
        injected: Injected events.
        variant: What was trained differently; empty if nothing was.
        partner: Name of the job that it is to be compared with; empty if there is none.
        n_data: Events in the fit.
        n_inside: Those in the region.
        n_training: Events that the background was trained with.
        n_leaked: Signal events among them.
        flagged: Features that the background's density misses in the region, worst first; of windows only.
        misfit: Conditional misfit in the region by feature, in nats per event; of windows only.
        p_value: Goodness of fit in the region; of windows with at least 50 events only.
        failure: Why there are no numbers; empty if there are.
    """

    schema: ClassVar[str] = "hisigma-zfit/retrained-fit/1"
    name: str
    kind: JobKind
    region: tuple[float, float]
    value: float
    error: float
    z: float
    statistical: Estimate
    truth: Estimate | None
    unit: float
    strength: float
    injected: int
    variant: str
    partner: str
    n_data: int
    n_inside: int
    n_training: int
    n_leaked: int
    flagged: tuple[str, ...] = ()
    misfit: dict[str, float] = field(default_factory=dict)
    p_value: float | None = None
    failure: str = ""

    @property
    def shift(self) -> float:
        """How far the value is from the right one, in units of `unit`.

        The right one is that of the densities that the events were drawn from, on the same events, so that the noise
        of these cancels; for data in a window it is zero, and their noise of one stays.
        """
        return (self.value - (0.0 if self.truth is None else self.truth.value)) / self.unit


@dataclass(frozen=True)
class SpuriousSignal(Result):
    """Signal that is found where none is, in units of the expected statistical error.

    Attributes:
        mean: Mean shift of the pseudo-experiments, in `sigma`.
        error: Its error, from their spread and number (68 % of Student's t).
        spread: Standard deviation of the shift from training to training.
        n: Pseudo-experiments.
        windows: Mean of the fitted signals in the pseudo-signal regions of the data.
        windows_error: Its error.
        n_windows: How many regions.
        sigma: Expected statistical error of the signal, in events.
        quoted: The systematic uncertainty to quote, in events.
        source: Which of both decides it.
    """

    schema: ClassVar[str] = "hisigma-zfit/spurious-signal/1"
    mean: float
    error: float
    spread: float
    n: int
    windows: float
    windows_error: float
    n_windows: int
    sigma: float
    quoted: float
    source: Literal["pseudo-experiments", "windows"]

    @property
    def relative(self) -> float:
        """`quoted` in units of the expected statistical error."""
        return self.quoted / self.sigma

    def __str__(self) -> str:
        return f"spurious signal {self.quoted:.3g} events, {self.relative:.2f} of the statistical error"


@dataclass(frozen=True)
class Check(Result):
    """One question with its answer.

    Attributes:
        name: What is looked at.
        state: ``passed``; ``attention``: usable with what the words ask for; ``unclear``: not enough was done to tell;
            ``failed``.
        words: The answer in plain words, with its numbers and the threshold.
    """

    schema: ClassVar[str] = "hisigma-zfit/check/1"
    name: str
    state: State
    words: str

    def __str__(self) -> str:
        return f"{self.name}: {self.state}. {self.words}"


@dataclass(frozen=True)
class Spectrum(Result):
    """Masses of the sidebands; the signal region is not in it.

    Attributes:
        mass: Name of the mass.
        edges: Of the bins of one sideband after the other, shape (n, 2).
        counts: Events of the data, shape (n,).
        expected: The shape that pseudo-experiments are drawn from, fitted to the sidebands, shape (n,).
    """

    schema: ClassVar[str] = "hisigma-zfit/sideband-spectrum/1"
    mass: str
    edges: JsonArray
    counts: JsonArray
    expected: JsonArray


@dataclass(frozen=True)
class Validation(Result):
    """All that a validation says: the content of its run folder's ``result.json``.

    Attributes:
        poi: Name of the parameter of interest.
        region: The signal region, whose data were not looked at.
        state: The worst of the checks.
        verdict: The answer in one sentence or two.
        spurious: Signal that is found where none is, with the number to quote.
        response: Slope of the found signal with the injected one, as fitted by the densities that are true.
        signal_outside: Share of the simulated signal in the sidebands of the training.
        checks: One for each question.
        jobs: Every fit.
        closure: Whether the density of the background describes held-out sidebands.
        spectrum: The sidebands' masses.
        left_out: What of the measurement was not repeated.
        timings_s: Seconds by stage and in total; of this call, where it went on with an interrupted one.
        seed: Seed of every random step.
        inputs: Digest of each input file by its name.
        versions: Versions of Python and of the packages that decide the numbers.
        options: The options that change numbers.
    """

    schema: ClassVar[str] = "hisigma-zfit/validation/1"
    poi: str
    region: tuple[float, float]
    state: State
    verdict: str
    spurious: SpuriousSignal
    response: Estimate
    signal_outside: float
    checks: tuple[Check, ...]
    jobs: tuple[RetrainedFit, ...]
    closure: ClosureReport
    spectrum: Spectrum
    left_out: tuple[str, ...]
    timings_s: dict[str, float]
    seed: int
    inputs: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: JobKind) -> tuple[RetrainedFit, ...]:
        """The fits of one kind that did not fail."""
        return tuple(job for job in self.jobs if job.kind == kind and not job.failure)

    def job(self, name: str) -> RetrainedFit:
        """The fit of that name."""
        return next(job for job in self.jobs if job.name == name)

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`; what only says where the numbers come from is left out."""
        return {name: value for name, value in super().shown().items() if name not in {"inputs", "versions", "options"}}

    def __str__(self) -> str:
        return f"{self.verdict} ({self.spurious})"
