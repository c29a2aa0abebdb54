"""How good the posteriors of a cross-section's processes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result

__all__ = ["CalibrationCurve", "PosteriorQuality"]


@dataclass(frozen=True)
class CalibrationCurve(Result):
    """Predicted against true share of a process, in bins of equal predicted content.

    Attributes:
        process: Its name.
        predicted: Mean share by bin, shape (k,).
        true: Fraction of the expected events that are of the process, shape (k,).
        error: Of their difference, from the number of simulated events, shape (k,).
        chi2: Sum over bins of ((true - predicted) / error)^2.
        ndf: Number of bins; where the shares were calibrated with the same events, chi2 is smaller by the number of
            parameters of that.
        p_value: Probability of a larger chi2.
    """

    schema: ClassVar[str] = "hisigma-zfit/calibration-curve/1"
    process: str
    predicted: JsonArray
    true: JsonArray
    error: JsonArray
    chi2: float
    ndf: int
    p_value: float

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.process}: chi2 {self.chi2:.1f} for {self.ndf} bins (p {self.p_value:.2g})"


@dataclass(frozen=True)
class PosteriorQuality(Result):
    """Quality of posteriors on simulated events.

    Attributes:
        auc: Area under the curve of the first process against each other one, by the ratio of their two shares.
        cross_entropy: Mean over processes of the mean of -ln of their own probability, classes balanced.
        expected: Expected events by process.
        sums: Sums of the shares over all events, by process: to be compared with `expected`.
        curves: Calibration of each process.
    """

    schema: ClassVar[str] = "hisigma-zfit/posterior-quality/1"
    auc: dict[str, float]
    cross_entropy: float
    expected: dict[str, float]
    sums: dict[str, float]
    curves: tuple[CalibrationCurve, ...]

    def __str__(self) -> str:
        """A line for each process."""
        lines = [
            f"{curve}, sum of shares {self.sums[curve.process]:.5g} of {self.expected[curve.process]:.5g}"
            for curve in self.curves
        ]
        areas = ", ".join(f"{name} {area:.3f}" for name, area in self.auc.items())
        return "\n".join([f"cross-entropy {self.cross_entropy:.4f}, area against {areas}", *lines])
