"""What pseudo-experiments say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.earlier import toys_1

__all__ = ["Coverage", "LimitQuantiles", "Quantiles", "ToyParameter", "ToySummary"]


@dataclass(frozen=True)
class ToyParameter(Result):
    """Bias and pulls of one parameter.

    Attributes:
        true: Its true value.
        bias: Mean of the best values less the true one, with `bias_error`.
        spread: Standard deviation of the best values.
        error: Mean of the fits' own errors.
        pull_mean: Mean of (best - true) / error, with `pull_mean_error`.
        pull_width: Standard deviation of the same, with `pull_width_error`.
    """

    schema: ClassVar[str] = "hisigma-zfit/toy-parameter/1"
    true: float
    bias: float
    bias_error: float
    spread: float
    error: float
    pull_mean: float
    pull_mean_error: float
    pull_width: float
    pull_width_error: float


@dataclass(frozen=True)
class Coverage(Result):
    """How often an interval holds the true value.

    Attributes:
        cl: Confidence level of the interval.
        inside: Number of toys whose interval holds it.
        value: Their share.
        lower: Lower limit of the share, binomial at one standard deviation.
        upper: Upper limit, likewise.
    """

    schema: ClassVar[str] = "hisigma-zfit/coverage/1"
    cl: float
    inside: int
    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Quantiles(Result):
    """Median with its error, and quantiles of a sample by standard deviations: "-2", "-1", "0", "1", "2"."""

    schema: ClassVar[str] = "hisigma-zfit/quantiles/1"
    median: float
    median_error: float
    bands: dict[str, float]


@dataclass(frozen=True)
class LimitQuantiles(Quantiles):
    """The same of upper limits, at the confidence level `cl`."""

    schema: ClassVar[str] = "hisigma-zfit/limit-quantiles/1"
    cl: float


@dataclass(frozen=True)
class ToySummary(Result):
    """What pseudo-experiments say about a fit.

    Attributes:
        poi: Name of the parameter of interest.
        injected: Its true value.
        n: Toys that were fitted.
        failed: Toys that could not be fitted; they enter nowhere.
        seed: Seed of the toys.
        parameters: Bias and pulls by parameter.
        coverage: By level, ``"68"`` and ``"95"``, of profile likelihood intervals of the parameter of interest.
        significance: Its quantiles.
        limit: Quantiles of the upper limits; None if none were asked for.
        pulls: (best - true) / error of the parameter of interest, shape (n,), less those without its error.
        z: Significance of each toy, shape (n,).
        limits: Upper limit of each toy, shape (n,); empty if none were asked for, less those without one.
        without_error: Toys whose fit has no error of a parameter, by its name, if there are any: it is at a limit.  Its
            pulls and its mean error are those of the others.
        without_limit: Toys without an upper limit, if limits were asked for.
    """

    schema: ClassVar[str] = "hisigma-zfit/toys/2"
    earlier: ClassVar[Mapping[str, Any]] = {"hisigma-zfit/toys/1": toys_1}
    poi: str
    injected: float
    n: int
    failed: int
    seed: int
    parameters: dict[str, ToyParameter]
    coverage: dict[str, Coverage]
    significance: Quantiles
    limit: LimitQuantiles | None
    pulls: JsonArray
    z: JsonArray
    limits: JsonArray
    without_error: dict[str, int] = field(default_factory=dict)
    without_limit: int = 0

    def __str__(self) -> str:
        own, z = self.parameters[self.poi], self.significance
        return (
            f"{self.n} toys of {self.poi} = {self.injected:.4g}: bias {own.bias:.3g} +- {own.bias_error:.2g}, "
            f"pull width {own.pull_width:.3f} +- {own.pull_width_error:.3f}, median Z = {z.median:.2f}"
        )
