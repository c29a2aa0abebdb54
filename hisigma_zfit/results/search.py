"""What a search for an unknown signal answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.answers import Interval
from hisigma_zfit.results.base import JsonArray, Result

__all__ = [
    "EValue",
    "FiducialYield",
    "LearnedYield",
    "Lump",
    "NullToys",
    "Optimum",
    "SearchPValue",
    "SearchResult",
    "ShareProfile",
    "SignalProperty",
    "YieldResponse",
]


@dataclass(frozen=True)
class Lump(Result):
    """A Gaussian component in the gaussianised coordinates, the mass first.

    Attributes:
        share: Of all events of the window.
        mean: Shape (d + 1,).
        covariance: Shape (d + 1, d + 1).
    """

    schema: ClassVar[str] = "hisigma-zfit/lump/1"
    share: float
    mean: JsonArray
    covariance: JsonArray


@dataclass(frozen=True)
class Optimum(Result):
    """One of the best distinct places.

    Attributes:
        t: Its test statistic.
        signal_yield: Its events.
        features: Medians of the mass and the features there, by name.
    """

    schema: ClassVar[str] = "hisigma-zfit/optimum/1"
    t: float
    signal_yield: float
    features: dict[str, float]


@dataclass(frozen=True)
class EValue(Result):
    """Evidence without toys and without asymptotics: bets on blocks of events with what earlier blocks taught.

    Attributes:
        ln_e: Logarithm of the e-value, averaged over shuffles; its expectation is at most one without a signal.
        ln_e_smallest: The smallest over the bootstraps of the background.
        p_bound: The smaller of one and 1 / e, with the smallest e: if the learned background is exact, no p-value of
            the search is larger.
    """

    schema: ClassVar[str] = "hisigma-zfit/e-value/1"
    ln_e: float
    ln_e_smallest: float
    p_bound: float


@dataclass(frozen=True)
class FiducialYield(Result):
    """Signal in published regions, one for each fold, learned on the others: no density of the signal enters.

    Attributes:
        value: Events beyond the expected background.
        error: From the counts.
        background_error: From the bootstraps of the background; NaN without any.
        contained: Share of the learned signal that the regions hold.
        radius_squared: Mahalanobis radius of the regions, squared.
        regions: Mean and covariance of each fold's region in the gaussianised coordinates; `share` is that of all
            events of the window which the background puts there.
    """

    schema: ClassVar[str] = "hisigma-zfit/fiducial-yield/1"
    value: float
    error: float
    background_error: float
    contained: float
    radius_squared: float
    regions: tuple[Lump, ...]


@dataclass(frozen=True)
class LearnedYield(Result):
    """Yield of the learned signal from cross-fitted scores; a part of a signal that looks like background is not in it.

    Attributes:
        value: At the maximum of the extended likelihood.
        interval_68: Where 2 dlnL = 1.
        interval_95: Where 2 dlnL = 3.84.
        z: Root of 2 dlnL at zero; not a significance, for the signal's shape was chosen by the data.
    """

    schema: ClassVar[str] = "hisigma-zfit/learned-yield/1"
    value: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]
    z: float


@dataclass(frozen=True)
class SignalProperty(Result):
    """One observable of the learned signal, weighted by the events' probability to be signal.

    Attributes:
        median: Weighted median.
        median_error: From bootstraps of the events with the lumps fitted again.
        low: Quantile of 16 %.
        high: Quantile of 84 %.
    """

    schema: ClassVar[str] = "hisigma-zfit/signal-property/1"
    median: float
    median_error: float
    low: float
    high: float


@dataclass(frozen=True)
class SearchResult(Result):
    """A search for an unknown signal in one window.

    Attributes:
        region: The window.
        features: Names of the features, in order.
        given: Name of the mass.
        n_events: Events of the window.
        t: Test statistic: 2 ln of likelihood and prior of the best lumps, less that of none; needs toys.
        signal_yield: Events of the best lumps; with few of them rather too many.
        lumps: The best.
        useful: Features in which they differ from the background; in the others they follow it.
        optima: Up to three distinct ones, the best first.
        e_value: Evidence without toys.
        fiducial: Yield in published regions.
        learned: Yield of the learned signal.
        properties: Of the learned signal, by name.
        seed: Of everything that is random.
        likelihood_ratio: The likelihood's part of `t`, 2 ln of the ratio to no signal; NaN in results of earlier
            versions, whose `t` was that.
    """

    schema: ClassVar[str] = "hisigma-zfit/found-signal/1"
    region: tuple[float, float]
    features: tuple[str, ...]
    given: str
    n_events: int
    t: float
    signal_yield: float
    lumps: tuple[Lump, ...]
    useful: tuple[str, ...]
    optima: tuple[Optimum, ...]
    e_value: EValue
    fiducial: FiducialYield
    learned: LearnedYield
    properties: dict[str, SignalProperty]
    seed: int
    likelihood_ratio: float = float("nan")

    def __str__(self) -> str:
        """A few lines for people."""
        learned, fiducial = self.learned, self.fiducial
        known = fiducial.background_error == fiducial.background_error
        of_background = f"{fiducial.background_error:.1f}" if known else "not measured, needs bootstraps"
        error = (fiducial.error**2 + (fiducial.background_error**2 if known else 0.0)) ** 0.5
        lines = [
            f"{self.n_events} events with {self.given} in [{self.region[0]:g}, {self.region[1]:g})",
            f"  test statistic   {self.t:.1f} (its p-value needs toys)",
            f"  without toys     p <= {self.e_value.p_bound:.2g} if the learned background is exact  "
            f"(ln e = {self.e_value.ln_e:.1f}, smallest {self.e_value.ln_e_smallest:.1f})",
            f"  fiducial yield   {fiducial.value:.1f} +- {error:.1f}  (background {of_background})",
            f"  learned yield    {learned.value:.1f}  [{learned.interval_68[0]:.1f}, {learned.interval_68[1]:.1f}]"
            "  (without what looks like background)",
        ]
        if len(self.useful) < len(self.features):
            lines.append(f"  differs in       {', '.join(self.useful) or self.given}")
        lines += [
            f"  {name:15s}  {p.median:.4g} +- {p.median_error:.2g}  (68 %: {p.low:.4g} to {p.high:.4g})"
            for name, p in self.properties.items()
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class NullToys(Result):
    """What a search finds in retrained background-only experiments.

    Attributes:
        t: Test statistics, shape (n,).
        seed: Of the toys.
    """

    schema: ClassVar[str] = "hisigma-zfit/null-toys/1"
    t: JsonArray
    seed: int


@dataclass(frozen=True)
class SearchPValue(Result):
    """Local p-value of one window, everything that was searched in it included.

    Attributes:
        t: Observed test statistic.
        n: Toys.
        p: (1 + toys at or above) / (1 + n).
        z: The same in standard deviations, one-sided.
        location: Of the Gumbel distribution of the toys; NaN with fewer than 20.
        scale: Of it.
        ks: p-value of its Kolmogorov-Smirnov test, the fit of its parameters included.
        p_extrapolated: Its tail; NaN where it does not describe the toys.
        p_extrapolated_68: The same with the error of the fit.
        z_extrapolated: In standard deviations.
    """

    schema: ClassVar[str] = "hisigma-zfit/search-p-value/1"
    t: float
    n: int
    p: float
    z: float
    location: float
    scale: float
    ks: float
    p_extrapolated: float
    p_extrapolated_68: tuple[float, float]
    z_extrapolated: float

    def __str__(self) -> str:
        """Two lines for people."""
        text = f"local p = {self.p:.3g} (Z = {self.z:.2f}) by {self.n} retrained toys"
        if self.p_extrapolated != self.p_extrapolated:
            return text + "; too few or not described by a Gumbel distribution: no extrapolation"
        low, high = self.p_extrapolated_68
        return text + (
            f"\nextrapolated: p = {self.p_extrapolated:.2g} [{low:.2g}, {high:.2g}] (Z = {self.z_extrapolated:.2f}), "
            f"Gumbel({self.location:.1f}, {self.scale:.1f}), KS p = {self.ks:.2f}"
        )


@dataclass(frozen=True)
class ShareProfile(Result):
    """Test statistic of the best lumps with each share w of the window's events.

    Attributes:
        share: w, shape (k,).
        t: 2 ln of the likelihood ratio with w and without a signal, shape (k,).
        best: w at the maximum.
        n_events: Events of the window.
    """

    schema: ClassVar[str] = "hisigma-zfit/share-profile/1"
    share: JsonArray
    t: JsonArray
    best: float
    n_events: int


@dataclass(frozen=True)
class YieldResponse(Result):
    """What a search returns of a signal that is like the learned one.

    Attributes:
        truths: Injected signal, rising from zero, shape (k,).
        found: Yield of the learned signal in each experiment, shape (k, n).
        means: Of these, for each injected signal, if yields below zero were recorded as zero, shape (k,).
        widths: Their spread, likewise.
        value: Yield in the data.
        best: Signal of which this is the most likely answer.
        interval_68: Unified interval of the signal, of 68.3 %.
        interval_95: The same of 95 %.
        seed: Of the experiments.
    """

    schema: ClassVar[str] = "hisigma-zfit/yield-response/1"
    truths: JsonArray
    found: JsonArray
    means: JsonArray
    widths: JsonArray
    value: float
    best: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]
    seed: int

    def interval(self, *, cl: float = 0.683) -> Interval:
        """One of the two intervals, as those of a likelihood.

        Args:
            cl: 0.683 or 0.95.

        Raises:
            InputError: It is another level.
        """
        known = {0.683: self.interval_68, 0.95: self.interval_95}
        if cl not in known:
            raise InputError.from_parts(expected="cl of 0.683 or 0.95", got=f"{cl:g}", do="take one of them")
        return Interval("learned signal", self.best, *known[cl], cl, method="Neyman, Feldman-Cousins")

    def __str__(self) -> str:
        """A line for each injected signal, and the interval."""
        rows = zip(self.truths, self.means, self.widths, strict=True)
        lines = [f"  {true:8.1f} events injected: {mean:.1f} +- {width:.1f} returned" for true, mean, width in rows]
        return "\n".join([f"{self.found.shape[1]} experiments each", *lines, str(self.interval())])
