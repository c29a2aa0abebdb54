"""A number with its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import Result

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate(Result):
    """A fitted value with its error."""

    schema: ClassVar[str] = "hisigma-zfit/estimate/1"
    value: float
    error: float
