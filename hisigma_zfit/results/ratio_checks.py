"""What a fit of learned ratios says where the truth is known: its bias, held-back events, replicas of the learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.numbers import number, pair

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["BiasPoint", "BiasStudy", "HeldBackStudy", "SimulationError", "WeightedTest"]


@dataclass(frozen=True)
class BiasPoint(Result):
    """Fit of simulated events that were shifted.

    Attributes:
        settings: True nuisances as the options write them, by name.
        value: Fitted parameter of interest.
        error: Of `value` less that of the nominal set, from a bootstrap of identities that both share.
        sigma: Half of the fit's 68.3 % interval.
    """

    schema: ClassVar[str] = "hisigma-zfit/bias-point/1"
    settings: dict[str, float]
    value: float
    error: float
    sigma: float


@dataclass(frozen=True)
class BiasStudy(Result):
    """Fits of one method at several true settings of the nuisances.

    Attributes:
        truth: True parameter of interest.
        nominal: Fitted without shifts.
        nominal_error: Of it, from a bootstrap of identities.
        points: The fits.
        chi2: Of the differences to the nominal fit with their correlations; None where it was not found.
    """

    schema: ClassVar[str] = "hisigma-zfit/bias-study/1"
    truth: float
    nominal: float
    nominal_error: float
    points: tuple[BiasPoint, ...]
    chi2: float | None = None

    def _biases(self) -> Array:
        return np.array([point.value for point in self.points]) - self.truth

    @property
    def mean(self) -> float:
        """Of value - truth over the points."""
        return float(self._biases().mean()) if self.points else np.nan

    @property
    def rms(self) -> float:
        """Of value - truth over the points."""
        return float(np.sqrt(np.mean(self._biases() ** 2))) if self.points else np.nan

    @property
    def largest(self) -> float:
        """Largest |value - truth|."""
        return float(np.abs(self._biases()).max()) if self.points else np.nan

    @property
    def rms_in_sigma(self) -> float:
        """Rms of (value - truth) by each fit's own error."""
        if not self.points:
            return np.nan
        return float(np.sqrt(np.mean((self._biases() / [point.sigma for point in self.points]) ** 2)))

    @property
    def rms_to_nominal(self) -> float:
        """Rms of the differences to the nominal fit."""
        shifts = np.array([point.value for point in self.points]) - self.nominal
        return float(np.sqrt(np.mean(shifts**2))) if self.points else np.nan

    def __str__(self) -> str:
        return (
            f"bias at {len(self.points)} points: mean {self.mean:+.3f}, rms {self.rms:.3f} "
            f"({self.rms_in_sigma:.2f} sigma), largest {self.largest:.3f}"
        )


@dataclass(frozen=True)
class HeldBackStudy(Result):
    """Simulated events that trained nothing, scored and fitted as if they were data.

    Attributes:
        fraction: Share of the identities that was held back.
        truth: True parameter of interest.
        value: Fitted at nominal settings.
        error: Of `value`, from a bootstrap of the identities held back.
        error_simulation: The same of the identities that the model was learned from.
        swapped: Fitted with the opposite assignment of events to folds.
        study: The fits at other settings, by method.
    """

    schema: ClassVar[str] = "hisigma-zfit/held-back-study/1"
    fraction: float
    truth: float
    value: float
    error: float
    error_simulation: float | None = None
    swapped: float | None = None
    study: dict[str, BiasStudy] = field(default_factory=dict)

    @property
    def pull(self) -> float:
        """(value - truth) by both errors together."""
        return (self.value - self.truth) / float(np.hypot(self.error, self.error_simulation or 0.0))

    def __str__(self) -> str:
        swapped = "" if self.swapped is None else f", folds swapped {number(self.swapped, 3)}"
        return (
            f"{100 * self.fraction:.3g} % of the identities, true {number(self.truth)}: "
            f"{pair(self.value, self.error)}, pull {self.pull:+.1f}{swapped}"
        )


@dataclass(frozen=True)
class SimulationError(Result):
    """Error of a parameter of interest from the finite simulation and the training.

    Attributes:
        what: Whether all was learned again for each replica, or events were drawn again for learned templates.
        nominal: Fit of the Asimov set with what was learned from all events.
        replicas: Fits of the replicas, shape (E,).
        sigma: Their rms around their mean.
        by_process: The rms when the events of one process alone are drawn again, by process.
        effective_events: Effective simulated events by process.
        at: Further values of the parameter and sigma there.
    """

    schema: ClassVar[str] = "hisigma-zfit/simulation-error/1"
    what: Literal["all", "templates"]
    nominal: float
    replicas: JsonArray
    sigma: float
    by_process: dict[str, float] = field(default_factory=dict)
    effective_events: dict[str, float] = field(default_factory=dict)
    at: tuple[tuple[float, float], ...] = ()

    @property
    def sigma_error(self) -> float:
        """Statistical error of `sigma` from the number of replicas, of a Gaussian; nan with fewer than two."""
        return self.sigma / (2.0 * (len(self.replicas) - 1)) ** 0.5 if len(self.replicas) > 1 else np.nan

    def halved_by(self) -> dict[str, float]:
        """How many times as many events of which processes halve the error; empty where the processes are not known.

        The processes of the largest shares get one common factor, as few of them as can do it with at most tenfold.
        """
        squares = sorted(((v**2, name) for name, v in self.by_process.items()), reverse=True)
        wanted, rest = 0.25 * sum(s for s, _ in squares), sum(s for s, _ in squares)
        named, grown = [], 0.0
        for square, name in squares:
            named.append(name)
            grown, rest = grown + square, rest - square
            if rest < wanted and grown <= 10.0 * (wanted - rest):
                return dict.fromkeys(named, grown / (wanted - rest))
        return {}

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {value:.2g}" for name, value in self.by_process.items())
        by = f"; by process {parts}" if parts else ""
        return f"{pair(self.sigma, self.sigma_error)} by {len(self.replicas)} replicas of {self.what}{by}"


@dataclass(frozen=True)
class WeightedTest(Result):
    """Whether two weighted samples have one density, by trees that were trained with other events.

    Attributes:
        z: Difference of the mean scores in standard deviations, the mean of two halves; large values speak against one
            density.
        p_value: Of it, one-sided; too large rather than too small, since the width of `z` is one at most.
        area: Under the curve of the trees; one half if they cannot tell the samples apart.
        area_error: Its error where the densities are the same.
        n_first: Effective events of the first sample.
        n_second: Effective events of the second sample.
        seed: Of the halves and of the trees.
    """

    schema: ClassVar[str] = "hisigma-zfit/weighted-test/1"
    z: float
    p_value: float
    area: float
    area_error: float
    n_first: float
    n_second: float
    seed: int

    def __str__(self) -> str:
        return (
            f"p = {self.p_value:.3g} ({self.z:+.1f} s.d.), area {self.area:.3f} +- {self.area_error:.3f}, "
            f"{number(round(self.n_first))} and {number(round(self.n_second))} events"
        )
