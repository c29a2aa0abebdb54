"""What trained ratios say of themselves: how they learned, and how well they move simulated events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hisigma_zfit.results.base import JsonArray, Result

__all__ = ["ExponentTraining", "FeatureClosure", "MomentResiduals", "RatioClosure", "RatioNormalisation"]


@dataclass(frozen=True)
class ExponentTraining(Result):
    """Training of the exponents of one process in one region.

    Attributes:
        process: Its name.
        learned: Whether there is a shape at all; else only rates vary.
        effective_events: Of the nominal simulation of the process, everywhere.
        effective_inside: Those in the region.
        rows: Nominal rows in the region.
        pairs: Entries at all design points.
        coupled: Share of the entries that have both sides.
        steps: Step of each record, shape (R,).
        train: Mean loss (8) of an entry since the last record, by net, shape (F S, R); zero for Delta = 0.
        held_out: The same of entries that the net has not seen, shape (F S, R).
        loss: Mean loss of entries that have not been seen, of the averaged nets.
        loss_error: Its error, from hard events.
        at_bound: Share of |Delta| above 0.9 of its bound by monomial, shape (K,).
    """

    schema: ClassVar[str] = "hisigma-zfit/exponent-training/1"
    process: str
    learned: bool
    effective_events: float
    effective_inside: float
    rows: int
    pairs: int
    coupled: float
    steps: JsonArray
    train: JsonArray
    held_out: JsonArray
    loss: float
    loss_error: float
    at_bound: JsonArray


@dataclass(frozen=True)
class MomentResiduals(Result):
    """How well moments of simulation agree before and after their calibration (10).

    Attributes:
        process: Its name.
        kind: "forward": nominal events made shifted ones; "inverse"; "off".
        before: Root mean square over moments of the residual in units of one fluctuation, by design point, shape (D,).
        after: The same with the correction.
    """

    schema: ClassVar[str] = "hisigma-zfit/moment-residuals/1"
    process: str
    kind: str
    before: JsonArray
    after: JsonArray

    @property
    def rms_before(self) -> float:
        """Over all design points."""
        return float(np.sqrt(np.mean(self.before**2)))

    @property
    def rms_after(self) -> float:
        """Over all design points."""
        return float(np.sqrt(np.mean(self.after**2)))


@dataclass(frozen=True)
class FeatureClosure(Result):
    """Reweighted simulation against shifted simulation in bins of one quantity, at D design points.

    Attributes:
        name: The quantity.
        edges: Of B bins, shape (B + 1,); the first and the last one also hold what lies beyond.
        start: Expected events before reweighting, shape (D, B).
        predicted: After it, shape (D, B).
        target: What it should be, shape (D, B).
        error: Of predicted - target, from hard events that are in both, shape (D, B).
        chi2: With all correlations of bins, shape (D,).
        ndf: Shape (D,).
    """

    schema: ClassVar[str] = "hisigma-zfit/feature-closure/1"
    name: str
    edges: JsonArray
    start: JsonArray
    predicted: JsonArray
    target: JsonArray
    error: JsonArray
    chi2: JsonArray
    ndf: JsonArray

    @property
    def chi2_ndf(self) -> float:
        """Over all design points; they share their events, so that it fluctuates more than a chi2 of as many bins."""
        return float(self.chi2.sum() / max(self.ndf.sum(), 1.0))

    @property
    def variation(self) -> float:
        """Root mean square over points and bins of the relative change that the reweighting should make."""
        return self._rms(self.target - self.start)

    @property
    def residual(self) -> float:
        """The same of the change that is left after it."""
        return self._rms(self.target - self.predicted)

    @property
    def noise(self) -> float:
        """What `residual` would be for perfect ratios: the fluctuation of the simulation."""
        return self._rms(self.error)

    def _rms(self, change: JsonArray) -> float:
        filled = self.start > 0.0
        return float(np.sqrt(np.mean((change[filled] / self.start[filled]) ** 2))) if filled.any() else 0.0


@dataclass(frozen=True)
class RatioClosure(Result):
    """Closure of the ratio of one process in one region at D points.

    Attributes:
        process: Its name.
        region: Of the region.
        points: Names of the points.
        score: Nominal events times S against shifted ones, in bins of the score.
        inverse: Shifted events over S against nominal ones, in the same bins.
        features: As `score`, for each feature.
        rate: Expected events of all rows in the region: shifted simulation, shape (D,).
        rate_predicted: Nominal simulation times S, shape (D,).
        rate_error: Of their difference, shape (D,).
    """

    schema: ClassVar[str] = "hisigma-zfit/ratio-closure/1"
    process: str
    region: str
    points: tuple[str, ...]
    score: FeatureClosure
    inverse: FeatureClosure
    features: tuple[FeatureClosure, ...]
    rate: JsonArray
    rate_predicted: JsonArray
    rate_error: JsonArray

    @property
    def residual_over_variation(self) -> float:
        """Of the score, noise of the simulation included; nan where nothing varies."""
        variation = self.score.variation
        return self.score.residual / variation if variation > 0.0 else float("nan")


@dataclass(frozen=True)
class RatioNormalisation(Result):
    """Sums of posteriors times ratios over the reference against the rates of the extended term.

    Attributes:
        processes: Names, P of them.
        region: Of the region.
        points: Names of the points, D of them.
        excess: sum_i w_i g_p S_p / N_p(nu) - 1, shape (P, D).
    """

    schema: ClassVar[str] = "hisigma-zfit/ratio-normalisation/1"
    processes: tuple[str, ...]
    region: str
    points: tuple[str, ...]
    excess: JsonArray
