"""Immutable results of limits; numpy only, with the JSON round trip of `hisigma_zfit.results`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.answers import UpperLimit
from hisigma_zfit.results.base import Answer, JsonArray

__all__ = ["LimitScan"]


@dataclass(frozen=True)
class LimitScan(Answer):
    """CLs of many tested values, observed and expected without a signal.

    Attributes:
        poi: Name of the parameter.
        values: Tested values, shape (n,).
        observed: CLs of the data, shape (n,).
        expected: CLs of background-only data by sigma, "-2" to "2", each of shape (n,).
        cl: Confidence level of the limits, where CLs is 1 - cl.
        limit: The observed limit.
        limits: The expected limits by sigma.
    """

    schema: ClassVar[str] = "hisigma-zfit/limit-scan/1"
    poi: str
    values: JsonArray
    observed: JsonArray
    expected: dict[str, JsonArray]
    cl: float
    limit: float
    limits: dict[str, float]

    @property
    def upper_limit(self) -> UpperLimit:
        """The limits alone."""
        return UpperLimit(
            poi=self.poi,
            limit=self.limit,
            cl=self.cl,
            expected=self.limits,
            weights_corrected=self.weights_corrected,
        )
