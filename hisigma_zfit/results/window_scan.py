"""What a search of many windows answers with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.numbers import number

__all__ = ["GrossVitells", "ScannedWindow", "SidebandWindow", "SidebandWindows", "WindowScan"]


@dataclass(frozen=True)
class ScannedWindow(Result):
    """One window of a scan.

    Attributes:
        range: Its edges.
        n_events: Events in it.
        t: Test statistic of the search.
        p_local: (1 + toys at or above) / (1 + toys) in this window; NaN without toys.
        z_local: The same in standard deviations, one-sided.
        p_extrapolated: Tail of the Gumbel distribution of the toys in this window; NaN where it does not describe them.
        z_extrapolated: In standard deviations.
    """

    schema: ClassVar[str] = "hisigma-zfit/scanned-window/1"
    range: tuple[float, float]
    n_events: int
    t: float
    p_local: float
    z_local: float
    p_extrapolated: float
    z_extrapolated: float


@dataclass(frozen=True)
class GrossVitells(Result):
    """Global p-value from up-crossings of a low level, which few toys can count (arXiv:1005.1891).

    Attributes:
        level: Local significance whose up-crossings were counted.
        crossings: Their mean number in a toy.
        crossings_error: From the number that was counted.
        z: Largest local significance in the data.
        p_global: At least as large as the global p-value.
        p_global_error: From the number of crossings.
    """

    schema: ClassVar[str] = "hisigma-zfit/gross-vitells/1"
    level: float
    crossings: float
    crossings_error: float
    z: float
    p_global: float
    p_global_error: float


@dataclass(frozen=True)
class WindowScan(Result):
    """A search of many windows for one unknown signal.

    Attributes:
        windows: All of them, in order of the mass.
        best: Number of the window that stands out most from its toys; without toys, the one with the largest `t`.
        n_toys: Experiments that were scanned as the data.
        p_global: How often they stand out as much in any of their windows, the data among them; NaN without toys.
        z_global: In standard deviations.
        p_global_extrapolated: From the tail of a Gumbel distribution of the toys' largest; NaN where it does not
            describe them.
        z_global_extrapolated: In standard deviations.
        trials: Global over local p-value of the best window, extrapolated ones where there are both.
        gross_vitells: From up-crossings; None with too few toys, or where their windows are not Gumbel distributed.
        t_toys: Test statistics of the toys, shape (n_toys, windows).
        seed: Of everything that is random.
    """

    schema: ClassVar[str] = "hisigma-zfit/window-scan/1"
    windows: tuple[ScannedWindow, ...]
    best: int
    n_toys: int
    p_global: float
    z_global: float
    p_global_extrapolated: float
    z_global_extrapolated: float
    trials: float
    gross_vitells: GrossVitells | None
    t_toys: JsonArray
    seed: int

    def __str__(self) -> str:
        """A table for people, and what follows from it."""
        rows = [
            f"{'window':>20s}  {'events':>9s}  {'T':>7s}  {'local p':>9s}  {'Z':>5s}  {'extrapolated':>12s}  {'Z':>5s}"
        ]
        for k, w in enumerate(self.windows):
            cells = (number(w.p_local, 3), number(w.z_local, 3), number(w.p_extrapolated, 2))
            rows.append(
                f"{_range(w.range):>20s}  {number(w.n_events):>9s}  {w.t:7.1f}  {cells[0]:>9s}  {cells[1]:>5s}  "
                f"{cells[2]:>12s}  {number(w.z_extrapolated, 3):>5s}{'  <' if k == self.best else ''}"
            )
        if not self.n_toys:
            return "\n".join([*rows, "no toys: test statistics have no meaning by themselves"])
        rows.append(
            f"global p = {self.p_global:.3g} (Z = {self.z_global:.2f}) by {self.n_toys} retrained scans, "
            f"{number(self.trials, 2)} times the local one"
        )
        if not math.isnan(self.p_global_extrapolated):
            rows.append(
                f"extrapolated: global p = {self.p_global_extrapolated:.2g} (Z = {self.z_global_extrapolated:.2f})"
            )
        crossings = self.gross_vitells
        if crossings is not None:
            rows.append(
                f"Gross-Vitells: global p = {crossings.p_global:.2g} +- {crossings.p_global_error:.1g}, from "
                f"{crossings.crossings:.2f} up-crossings of Z = {crossings.level:g} in a toy"
            )
        return "\n".join(rows)


@dataclass(frozen=True)
class SidebandWindow(Result):
    """A window beside the signal region that was searched as if it were it.

    Attributes:
        range: Its edges.
        t: Test statistic of the search.
        n_events: Events in it.
    """

    schema: ClassVar[str] = "hisigma-zfit/sideband-window/1"
    range: tuple[float, float]
    t: float
    n_events: int


@dataclass(frozen=True)
class SidebandWindows(Result):
    """What a search finds in one's own sidebands: the null on real data, without the signal region.

    Attributes:
        region: The signal region, which nothing has seen.
        windows: Windows beside it, each searched with a background learned without it and without the region.
        seed: Of everything that is random.
    """

    schema: ClassVar[str] = "hisigma-zfit/sideband-windows/1"
    region: tuple[float, float]
    windows: tuple[SidebandWindow, ...]
    seed: int

    def __str__(self) -> str:
        """A table for people."""
        rows = [f"{'window':>20s}  {'events':>9s}  {'T':>7s}"]
        rows += [f"{_range(w.range):>20s}  {number(w.n_events):>9s}  {w.t:7.1f}" for w in self.windows]
        return "\n".join([*rows, f"blind in {_range(self.region)}"])


def _range(edges: tuple[float, float]) -> str:
    return f"[{edges[0]:.6g}, {edges[1]:.6g})"
