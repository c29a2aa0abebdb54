"""What was learned of density ratios, and how well: design, posteriors, exponents, moments, closure, maps.

Equation numbers are those of docs/cross-section.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from hisigma_zfit.results.base import JsonArray, Result

__all__ = [
    "CalibrationCurve",
    "ClosurePoint",
    "DesignSummary",
    "ExponentSummary",
    "MomentSummary",
    "PosteriorSummary",
    "RatioMap",
    "ShapeClosure",
]


@dataclass(frozen=True)
class DesignSummary(Result):
    """Where the simulation was varied, and what can be learned from it.

    Attributes:
        nuisances: Names of the shape nuisances, n of them.
        points: Their settings as the options write them, shape (D, n), the nominal ones not among them.
        monomials: Names of the K monomials of the exponents.
        singular_values: Of the matrix V of all points, shape (K,), largest first.
        units: What a setting is counted in, by nuisance; standard deviations where it is not named.
    """

    schema: ClassVar[str] = "hisigma-zfit/ratio-design/1"
    nuisances: tuple[str, ...]
    points: JsonArray
    monomials: tuple[str, ...]
    singular_values: JsonArray
    units: dict[str, str] = field(default_factory=dict)

    @property
    def condition(self) -> float:
        """Largest by smallest singular value; infinite for a singular design, one without nuisances."""
        if not self.singular_values.size:
            return 1.0
        least = float(self.singular_values.min())
        return float(self.singular_values.max()) / least if least > 0.0 else np.inf

    def __str__(self) -> str:
        return (
            f"{len(self.points)} points of {', '.join(self.nuisances) or 'no nuisance'}; {len(self.monomials)} "
            f"monomials, condition {self.condition:.3g}"
        )


@dataclass(frozen=True)
class CalibrationCurve(Result):
    """Predicted against true share of one process among simulated events, in groups of the prediction.

    Attributes:
        process: The process.
        region: Where, for example the name of an unbinned region; empty for everywhere.
        predicted: Mean calibrated posterior, shape (k,).
        fraction: True share of the sum of weights, shape (k,).
        error: Of the share, from the weights, shape (k,).
        chi2: Of the differences.
        ndf: Its degrees of freedom.
        sum_predicted: Sum of weights times posterior.
        sum_true: Sum of weights of the process.
    """

    schema: ClassVar[str] = "hisigma-zfit/calibration-curve/1"
    process: str
    region: str
    predicted: JsonArray
    fraction: JsonArray
    error: JsonArray
    chi2: float
    ndf: int
    sum_predicted: float
    sum_true: float

    def __str__(self) -> str:
        off = 100.0 * (self.sum_predicted / self.sum_true - 1.0)
        return f"chi2 / ndf = {self.chi2:.1f} / {self.ndf}, sum {off:+.2f} % off {self.sum_true:.5g} events"


@dataclass(frozen=True)
class PosteriorSummary(Result):
    """The classifier of the processes.

    Attributes:
        kind: Which one, for example "boosting".
        folds: Number of folds of the cross-fitting.
        auc: Area under the curve of the signal against each other process, by its name, cross-fitted.
        cross_entropy: Balanced cross-entropy in nats by event, cross-fitted.
        calibration: Curves of the processes, possibly in several regions.
    """

    schema: ClassVar[str] = "hisigma-zfit/posterior-summary/1"
    kind: str
    folds: int
    auc: dict[str, float]
    cross_entropy: float
    calibration: tuple[CalibrationCurve, ...] = ()

    def __str__(self) -> str:
        areas = ", ".join(f"{name} {value:.3f}" for name, value in self.auc.items())
        return f"{self.kind}, {self.folds} folds, cross-entropy {self.cross_entropy:.4f}, AUC against {areas}"


@dataclass(frozen=True)
class ExponentSummary(Result):
    """The learned systematic variations of one process.

    Attributes:
        shape: Whether shapes were learned, or rates only.
        effective_events: Effective number of simulated events, (sum w)^2 / sum w^2, in the unbinned regions.
        loss: Of held-out events at the end, eq. 8; None where nothing was learned.
        closure: chi2 / ndf of shifted simulation against the reweighted nominal one, by feature.
        residual_over_variation: Rms of the difference in the score's bins by the rms of the variation itself.
        at_bound: Share of the exponents beyond nine tenths of their bound.
        normalisation: Largest departure of the sum of reweighted events from the rate, relative, over all points.
        two_sample: Area under the curve of trees that tell shifted from reweighted events, less one half, at the
            outermost design point; and their distance in standard deviations.  None where it was not tested.
    """

    schema: ClassVar[str] = "hisigma-zfit/exponent-summary/1"
    shape: Literal["learned", "none"]
    effective_events: float
    loss: float | None
    closure: dict[str, float]
    residual_over_variation: float | None
    at_bound: float
    normalisation: float
    two_sample: tuple[float, float] | None = None

    @property
    def worst(self) -> tuple[str, float] | None:
        """The feature of the largest chi2 / ndf, and that; None where there is none."""
        return max(self.closure.items(), key=lambda item: item[1]) if self.closure else None


@dataclass(frozen=True)
class MomentSummary(Result):
    """What the moment calibration did for one process, eq. 10.

    Attributes:
        residual_before: Rms over points and moments of what is left, in units of its fluctuation, before.
        residual_after: The same after.
    """

    schema: ClassVar[str] = "hisigma-zfit/moment-summary/1"
    residual_before: float
    residual_after: float


@dataclass(frozen=True)
class ClosurePoint(Result):
    """One setting of the nuisances in a `ShapeClosure`.

    Attributes:
        settings: Nuisances as the options write them, by name; those that are not named are nominal.
        shifted: Shifted simulation by bin, shape (n,).
        reweighted: Nominal simulation times S by bin, shape (n,).
        error: Of their difference, from events of the same identity, shape (n,).
        chi2: Of the differences.
        ndf: Its degrees of freedom.
        in_design: Whether the exponents were trained with this setting.
    """

    schema: ClassVar[str] = "hisigma-zfit/closure-point/1"
    settings: dict[str, float]
    shifted: JsonArray
    reweighted: JsonArray
    error: JsonArray
    chi2: float
    ndf: int
    in_design: bool = True


@dataclass(frozen=True)
class ShapeClosure(Result):
    """Shifted simulation of one process beside the nominal one times S, in bins of one feature.

    Attributes:
        process: The process.
        feature: Name of the feature.
        edges: Shape (n + 1,).
        nominal: Nominal simulation by bin, shape (n,).
        points: Settings of the nuisances.
        region: Which unbinned region.
    """

    schema: ClassVar[str] = "hisigma-zfit/shape-closure/1"
    process: str
    feature: str
    edges: JsonArray
    nominal: JsonArray
    points: tuple[ClosurePoint, ...]
    region: str = ""

    @property
    def chi2_by_ndf(self) -> float:
        """Of all points together; nan without degrees of freedom."""
        ndf = sum(point.ndf for point in self.points)
        return sum(point.chi2 for point in self.points) / ndf if ndf else np.nan

    @property
    def residual_over_variation(self) -> float:
        """Rms over bins and points of (reweighted - shifted) / nominal, by that of (shifted - nominal) / nominal."""
        filled = self.nominal > 0.0
        shifted = np.array([point.shifted[filled] for point in self.points])
        reweighted = np.array([point.reweighted[filled] for point in self.points])
        nominal = self.nominal[filled]
        variation = float(np.sqrt(np.mean((shifted / nominal - 1.0) ** 2))) if shifted.size else 0.0
        if variation == 0.0:
            return np.nan
        return float(np.sqrt(np.mean(((reweighted - shifted) / nominal) ** 2))) / variation

    def along(self, nuisance: str, *, reach: float = 1.0) -> tuple[ClosurePoint, ...]:
        """The points at which this nuisance alone is shifted, at most one up and one down, in this order.

        Args:
            nuisance: Its name.
            reach: On each side the farthest setting up to this one is taken, else the nearest.
        """
        alone = [(p.settings[nuisance], p) for p in self.points if _shifted(p) == {nuisance}]
        chosen = []
        for sign in (1.0, -1.0):
            side = sorted(((sign * value, p) for value, p in alone if sign * value > 0.0), key=lambda item: item[0])
            within = [p for value, p in side if value <= reach * (1.0 + 1e-9)]
            chosen += within[-1:] or [p for _, p in side[:1]]
        return tuple(chosen)

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Those that are shifted alone at some point, in the order of the points."""
        alone = (_shifted(point) for point in self.points)
        return tuple(dict.fromkeys(name for names in alone if len(names) == 1 for name in names))


def _shifted(point: ClosurePoint) -> set[str]:
    return {name for name, value in point.settings.items() if value != 0.0}


@dataclass(frozen=True)
class RatioMap(Result):
    """A learned function of the event as its mean over simulated events, in bins of two features.

    Attributes:
        quantity: The calibrated posterior g, or the systematic variation S.
        process: Of which process.
        x: Name of the first feature.
        y: Name of the second feature.
        x_edges: Shape (n + 1,).
        y_edges: Shape (m + 1,).
        values: Means, shape (n, m); nan in bins without events.
        settings: Nuisances of a variation as the options write them, by name.
    """

    schema: ClassVar[str] = "hisigma-zfit/ratio-map/1"
    quantity: Literal["posterior", "variation"]
    process: str
    x: str
    y: str
    x_edges: JsonArray
    y_edges: JsonArray
    values: JsonArray
    settings: dict[str, float] = field(default_factory=dict)
