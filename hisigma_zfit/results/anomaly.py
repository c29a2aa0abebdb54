"""What the task `search` leaves in its run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.families import FamilyFit
from hisigma_zfit.results.measurement import ClosureReport, EventCounts
from hisigma_zfit.results.search import NullToys, SearchPValue, SearchResult, YieldResponse
from hisigma_zfit.results.significance_improvement import SicCurve
from hisigma_zfit.results.unblinding import Unblinding
from hisigma_zfit.results.window_scan import SidebandWindows, WindowScan

__all__ = ["LearnedFeature", "Search", "SearchBackground"]


@dataclass(frozen=True)
class SearchBackground(Result):
    """The background of a search.

    Attributes:
        expected: Events in the window by the mass spectrum of the sidebands.
        error: Of it, by the fit alone; a spectrum of another form differs by more.
        seen: Events in the window; None in a blind run.
        degree: Of the polynomial in the exponent of the spectrum.
        closure: Whether the density describes sidebands that did not train it.
    """

    schema: ClassVar[str] = "hisigma-zfit/search-background/1"
    expected: float
    error: float
    seen: int | None
    degree: int
    closure: ClosureReport


@dataclass(frozen=True)
class LearnedFeature(Result):
    """Densities of one observable in the window, in bins.

    Attributes:
        name: Of the observable.
        edges: Shape (n + 1,), in the unit of the observable.
        background: Of the learned background, shape (n,), normalised on the bins.
        signal: Of the learned signal, likewise.
        truth: Of the events that are known to be signal, in bins that are wider by a whole number; None where none are.
        truth_error: Of it, from their number.
    """

    schema: ClassVar[str] = "hisigma-zfit/learned-feature/1"
    name: str
    edges: JsonArray
    background: JsonArray
    signal: JsonArray
    truth: JsonArray | None = None
    truth_error: JsonArray | None = None


@dataclass(frozen=True)
class Search(Result):
    """A search for an unknown resonance in a window of the mass.

    Attributes:
        signal_region: The window.
        mass: Name of the mass.
        features: Names of the features.
        blind: Whether the window is closed still; everything that would have to open it is None then.
        background: What was learned of the background.
        found: The search itself.
        null: Retrained background-only experiments; None where none were asked for.
        p_value: The local p-value by these.
        response: What comes back of an injected signal, and the interval; None where it was not asked for.
        sideband_windows: What the search finds in windows of the sidebands; None where none were searched.
        family: Fit of a signal that is known up to parameters; None where none was named.
        scan: Other windows along the mass; None where it was not asked for.
        comparison: Significance improvement of the search's scores and of others, where the truth is known.
        n_events: Events of the data.
        timings_s: Seconds by stage.
        seed: Of everything that is random.
        inputs: Digest of each file by its name.
        versions: Of the packages.
        options: All that decide the numbers.
        trained: Digest of the trained members of each density, by its name.
        unblinding: When the window of a blind run was opened; None of a run that never was blind.
    """

    schema: ClassVar[str] = "hisigma-zfit/search/1"
    signal_region: tuple[float, float]
    mass: str
    features: tuple[str, ...]
    blind: bool
    background: SearchBackground
    found: SearchResult | None
    null: NullToys | None
    p_value: SearchPValue | None
    response: YieldResponse | None
    sideband_windows: SidebandWindows | None
    family: FamilyFit | None
    scan: WindowScan | None
    comparison: dict[str, SicCurve]
    n_events: EventCounts
    timings_s: dict[str, float]
    seed: int
    inputs: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, str] = field(default_factory=dict)
    unblinding: Unblinding | None = None

    def __str__(self) -> str:
        """The table for people."""
        own = self.background
        low, high = self.signal_region
        seen = "closed" if own.seen is None else f"{own.seen} seen"
        expected = f"{own.expected:.0f} +- {own.error:.0f} expected from the sidebands (degree {own.degree})"
        lines = [
            f"Search for a resonance with {self.mass} in [{low:g}, {high:g}), features {', '.join(self.features)}",
            f"  background       {expected}, {seen}",
            f"  closure          {own.closure}",
        ]
        if self.found is not None:
            lines += str(self.found).splitlines()[1:]
        if self.response is not None:
            value = self.response
            (l68, h68), (l95, h95) = value.interval_68, value.interval_95
            lines.append(
                f"  signal           {value.best:.1f}  [{l68:.1f}, {h68:.1f}] at 68 %, [{l95:.1f}, {h95:.1f}] at 95 %"
                "  (of a signal like the learned one)"
            )
        if self.p_value is not None:
            lines += [f"  {line}" for line in str(self.p_value).splitlines()]
        if self.sideband_windows is not None:
            found = ", ".join(f"{window.t:.0f}" for window in self.sideband_windows.windows)
            lines.append(f"  sidebands        test statistics of {found} in windows where no signal is looked for")
        lines += [f"  {name:15s}  {curve}" for name, curve in self.comparison.items()]
        if self.unblinding is not None:
            lines.append(f"  unblinding       {self.unblinding}")
        if self.family is not None:
            lines += ["", "Signal known up to parameters", *str(self.family).splitlines()[1:]]
        if self.scan is not None:
            lines += ["", str(self.scan)]
        return "\n".join(lines)
