"""How much a cut on a score improves a search: what `significance_improvement` answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result

__all__ = ["SicCurve", "SicPoint"]


@dataclass(frozen=True)
class SicPoint(Result):
    """One cut on a score.

    Attributes:
        background_efficiency: Share of the background that passes.
        signal_efficiency: Share of the signal that passes.
        sic: Signal efficiency over the root of the background's.
        error: Of it, from the numbers of events.
    """

    schema: ClassVar[str] = "hisigma-zfit/sic-point/1"
    background_efficiency: float
    signal_efficiency: float
    sic: float
    error: float

    def __str__(self) -> str:
        """The value with its error."""
        return f"{self.sic:.2f} +- {self.error:.2f}"


@dataclass(frozen=True)
class SicCurve(Result):
    """Significance improvement of a score, sic = eps_s / sqrt(eps_b), from loose cuts to hard ones.

    Attributes:
        background_efficiency: eps_b of each cut, falling, shape (n,).
        signal_efficiency: eps_s, shape (n,).
        sic: Their ratio, shape (n,).
        error: Of it, shape (n,).
        at_1e3: The cut that one background event in a thousand passes.
        at_1e2: One in a hundred.
        maximum: The best of the cuts that enough background events pass; the best of many numbers is rather too large.
        least: How many are enough.
        n_signal: Signal events.
        n_background: Background events.
    """

    schema: ClassVar[str] = "hisigma-zfit/sic-curve/1"
    background_efficiency: JsonArray
    signal_efficiency: JsonArray
    sic: JsonArray
    error: JsonArray
    at_1e3: SicPoint
    at_1e2: SicPoint
    maximum: SicPoint
    least: int
    n_signal: int
    n_background: int

    def __str__(self) -> str:
        """One line for people."""
        best = self.maximum
        return (
            f"significance improvement {self.at_1e3} at a background efficiency of 1e-3, {self.at_1e2} at 1e-2, "
            f"at most {best} (at {best.background_efficiency:.2g}, of cuts with {self.least} background events)"
        )
