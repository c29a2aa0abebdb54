"""What one likelihood answers about one parameter: interval, discovery, limit, scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.base import Answer, JsonArray

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Discovery", "Interval", "LikelihoodScan", "UpperLimit"]


@dataclass(frozen=True)
class Interval(Answer):
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
            f"({self.method}{self.correction})"
        )


@dataclass(frozen=True)
class Discovery(Answer):
    """Test of the background-only hypothesis: `q0`, its p-value and `z` = sqrt(q0)."""

    schema: ClassVar[str] = "hisigma-zfit/discovery/1"
    poi: str
    z: float
    p0: float
    q0: float

    def __str__(self) -> str:
        numbers = f"p0 = {self.p0:.3g}, q0 = {self.q0:.4g}{self.correction}"
        return f"{self.poi} = 0 is excluded with Z = {self.z:.2f} sigma ({numbers})"


@dataclass(frozen=True)
class UpperLimit(Answer):
    """Upper limit of one parameter; `expected` holds the background-only median and its bands by sigma."""

    schema: ClassVar[str] = "hisigma-zfit/upper-limit/1"
    poi: str
    limit: float
    cl: float = 0.95
    method: str = "CLs"
    expected: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        observed = f"{self.poi} < {self.limit:.4g} at {100 * self.cl:.3g} % CL ({self.method}{self.correction})"
        if not self.expected:
            return observed
        median, *edges = (f"{self.expected[n]:.4g}" for n in ("0", "-1", "1", "-2", "2"))
        one, two = ", ".join(edges[:2]), ", ".join(edges[2:])
        return f"{observed}, expected {median} [{one}] within 1 sigma, [{two}] within 2"


@dataclass(frozen=True)
class LikelihoodScan(Answer):
    """Profiled 2 dNLL of one parameter, for every member and for their combination.

    Attributes:
        poi: Name of the parameter.
        values: Scan points, shape (n,).
        combined: Combined test statistic t at the points, shape (n,); eq. 3.1 of arXiv:2506.06438 for the envelope.
        members: t of each member, its own minimum subtracted, shape (D, n).
        statistical: t of the nominal model alone, shape (n,), or None.
        reference: t of another fit for comparison (mass only), shape (n,), or None.
        method: Name of the combination.
        shapes: Name of the background's shape that is the best at each point, where there are several.
    """

    schema: ClassVar[str] = "hisigma-zfit/scan/1"
    poi: str
    values: JsonArray
    combined: JsonArray
    members: JsonArray
    statistical: JsonArray | None = None
    reference: JsonArray | None = None
    method: str = "envelope"
    shapes: tuple[str, ...] = ()

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
