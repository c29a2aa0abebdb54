"""What a fit of a signal that is known up to parameters answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.explanations import Contour
from hisigma_zfit.results.measurement import SignalResponse
from hisigma_zfit.results.numbers import number

__all__ = ["FamilyFit", "FamilyInterval", "FamilyParameter"]


@dataclass(frozen=True)
class FamilyParameter(Result):
    """One parameter of the signal, the yield and all others profiled.

    Attributes:
        value: Best fit.
        interval_68: Where 2 dlnL = 1, or the end of the parameter's range.
        interval_95: Where 2 dlnL = 3.84.
    """

    schema: ClassVar[str] = "hisigma-zfit/family-parameter/1"
    value: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]


@dataclass(frozen=True)
class FamilyFit(Result):
    """Yield and parameters of a signal that is known up to them, over a learned background.

    Attributes:
        region: The window.
        n_events: Events in it.
        t: 2 ln of the likelihood ratio of the best signal of the family and none.  Without a signal it is no chi square
            of as many degrees as there are parameters: the best of many places is looked for (measured on dijets with
            two masses: a median of 8, 13 at 84 %).  `family_interval` tells its p-value by toys.
        signal_yield: Events of the signal: those that are fitted, by `response`.
        interval_68: Of the yield, where 2 dlnL = 1, everything else profiled, with `background_error`, if there is
            one, and that of `response` in quadrature; the background floats in the window.  Too narrow near zero,
            where `family_interval` is to be taken.
        interval_95: Where 2 dlnL = 3.84, likewise.
        background_yield: Events of the background.
        background_error: Of the yield, by the training of the background: its spread over the bootstraps, the
            parameters held; NaN without any.
        parameters: Of the signal, by name.
        contours: Of the first two of them at 68.3 and 95 %; empty for a single one.
        second: The best other maximum of the likelihood: its t and, by name, its parameters; empty if there is none.
        seed: Of everything that is random.
        response: Fitted events by event of a signal like the simulated one, for events that its density was not fitted
            to; None in runs that did not measure it, whose yields are the fitted ones.
    """

    schema: ClassVar[str] = "hisigma-zfit/family-fit/1"
    region: tuple[float, float]
    n_events: int
    t: float
    signal_yield: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]
    background_yield: float
    background_error: float
    parameters: dict[str, FamilyParameter]
    contours: tuple[Contour, ...]
    second: dict[str, float]
    seed: int
    response: SignalResponse | None = None

    def __str__(self) -> str:
        """A few lines for people."""
        (low, high), (lowest, highest) = self.interval_68, self.interval_95
        lines = [
            f"{self.n_events} events in [{self.region[0]:g}, {self.region[1]:g})",
            f"  test statistic   {self.t:.1f}",
            f"  signal yield     {self.signal_yield:.1f}  [{low:.1f}, {high:.1f}]  "
            f"(95 %: {lowest:.1f} to {highest:.1f}; background's error {number(self.background_error)})",
        ]
        lines += [] if self.response is None else [f"  {self.response}"]
        lines += [
            f"  {name:15s}  {p.value:.4g}  [{p.interval_68[0]:.4g}, {p.interval_68[1]:.4g}]  "
            f"(95 %: {p.interval_95[0]:.4g} to {p.interval_95[1]:.4g})"
            for name, p in self.parameters.items()
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class FamilyInterval(Result):
    """Interval of the yield by the ordering of Feldman and Cousins, from toys.

    Attributes:
        value: Best fit.
        lower: Lower edge.
        upper: Upper edge.
        cl: Confidence level.
        toys: Pseudo-experiments at each yield.
        p_null: p-value of no signal, by toys: (1 + toys at or above) / (1 + toys).
        tested: Yields at which toys were made, shape (k,).
        p_values: Of them, shape (k,).
    """

    schema: ClassVar[str] = "hisigma-zfit/family-interval/1"
    value: float
    lower: float
    upper: float
    cl: float
    toys: int
    p_null: float
    tested: JsonArray
    p_values: JsonArray

    def __str__(self) -> str:
        return (
            f"signal yield = {self.value:.1f}  [{self.lower:.1f}, {self.upper:.1f}] at {100 * self.cl:.3g} % CL "
            f"(Feldman-Cousins, {self.toys} toys a point); p of no signal {self.p_null:.3g}"
        )
