"""One observable's histogram in data and in the fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result

__all__ = ["Projection"]


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
