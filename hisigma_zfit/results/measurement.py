"""What one measurement says: numbers, scans, histograms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.base import JsonArray, Result

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "Discovery",
    "Interval",
    "LikelihoodScan",
    "Measurement",
    "Projection",
    "UpperLimit",
]


@dataclass(frozen=True)
class Interval(Result):
    """Confidence interval of one parameter.

    Attributes:
        poi: Name of the parameter.
        value: Best estimate.
        lower: Lower edge.
        upper: Upper edge.
        cl: Confidence level, two-sided.
        method: How it was found, for example ``"profile likelihood"``.
    """

    schema: ClassVar[str] = "hisigma-zfit/interval/1"
    poi: str
    value: float
    lower: float
    upper: float
    cl: float
    method: str = "profile likelihood"

    @property
    def error(self) -> float:
        """Half the width."""
        return 0.5 * (self.upper - self.lower)

    def __str__(self) -> str:
        return (
            f"{self.poi} = {self.value:.4g}  [{self.lower:.4g}, {self.upper:.4g}] at {100 * self.cl:.3g} % CL "
            f"({self.method})"
        )


@dataclass(frozen=True)
class Discovery(Result):
    """Test of the background-only hypothesis: `q0`, its p-value and `z` = sqrt(q0)."""

    schema: ClassVar[str] = "hisigma-zfit/discovery/1"
    poi: str
    z: float
    p0: float
    q0: float

    def __str__(self) -> str:
        return f"{self.poi} = 0 is excluded with Z = {self.z:.2f} sigma (p0 = {self.p0:.3g}, q0 = {self.q0:.4g})"


@dataclass(frozen=True)
class UpperLimit(Result):
    """Upper limit of one parameter; `expected` holds the background-only median and its bands by sigma."""

    schema: ClassVar[str] = "hisigma-zfit/upper-limit/1"
    poi: str
    limit: float
    cl: float = 0.95
    method: str = "CLs"
    expected: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        observed = f"{self.poi} < {self.limit:.4g} at {100 * self.cl:.3g} % CL ({self.method})"
        if not self.expected:
            return observed
        median, *edges = (f"{self.expected[n]:.4g}" for n in ("0", "-1", "1", "-2", "2"))
        one, two = ", ".join(edges[:2]), ", ".join(edges[2:])
        return f"{observed}, expected {median} [{one}] in 68 %, [{two}] in 95 %"


@dataclass(frozen=True)
class LikelihoodScan(Result):
    """Profiled 2 dNLL of one parameter, for every member and for their combination.

    Attributes:
        poi: Name of the parameter.
        values: Scan points, shape (n,).
        combined: Combined test statistic t at the points, shape (n,); eq. 3.1 of arXiv:2506.06438 for the envelope.
        members: t of each member, its own minimum subtracted, shape (D, n).
        statistical: t of the nominal model alone, shape (n,), or None.
        reference: t of another fit for comparison (mass only), shape (n,), or None.
        method: Name of the combination.
    """

    schema: ClassVar[str] = "hisigma-zfit/scan/1"
    poi: str
    values: JsonArray
    combined: JsonArray
    members: JsonArray
    statistical: JsonArray | None = None
    reference: JsonArray | None = None
    method: str = "envelope"

    @classmethod
    def average(cls, scans: Sequence[LikelihoodScan]) -> Self:
        """Mean of the combined t of several data sets, less its minimum: what one typical data set says.

        Args:
            scans: Scans of one parameter at the same points.

        Raises:
            InputError: There is none, or they differ in the parameter or the points.
        """
        if len({(scan.poi, scan.method, scan.values.tobytes()) for scan in scans}) != 1:
            raise InputError.from_parts(
                expected="scans of one parameter at the same points, combined in one way",
                got=f"{len(scans)} others",
                do="scan every data set on one grid",
            )
        mean = np.mean([scan.combined for scan in scans], axis=0)
        first = scans[0]
        return cls(first.poi, first.values, mean - mean.min(), np.empty((0, mean.size)), method=first.method)


@dataclass(frozen=True)
class Projection(Result):
    """One observable's histogram in data and in the fitted model.

    Attributes:
        observable: Name of the column.
        edges: Bin edges, shape (n + 1,), in the column's unit.
        data: Sum of event weights by bin, shape (n,).
        data_variance: Sum of squared weights by bin, shape (n,).
        components: Expected events of each component by bin, each of shape (n,), in drawing order (bottom first).
        component_variance: Variance of those templates from their finite samples, each of shape (n,).
        signal: Names of the components that count as signal.
        selection: Words that say which events are shown, for example ``"signal region"``.
    """

    schema: ClassVar[str] = "hisigma-zfit/projection/1"
    observable: str
    edges: JsonArray
    data: JsonArray
    data_variance: JsonArray
    components: dict[str, JsonArray]
    component_variance: dict[str, JsonArray]
    signal: tuple[str, ...] = ()
    selection: str = ""


@dataclass(frozen=True)
class Measurement(Result):
    """All that one measurement says: the content of a run folder's ``result.json``."""

    schema: ClassVar[str] = "hisigma-zfit/measurement/1"
    poi: str
    value: float
    error: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]
    stat_only: dict[str, float]
    significance: dict[str, float]
    upper_limit_95: float
    parameters: dict[str, dict[str, float]]
    mass_only: dict[str, float]
    n_events: dict[str, Any]
    members: list[dict[str, Any]]
    timings_s: dict[str, float]
    seed: int
    inputs: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    closure: dict[str, Any] = field(default_factory=dict)
