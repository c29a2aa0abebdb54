"""What pseudo-experiments say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result

__all__ = [
    "ToySummary",
]


@dataclass(frozen=True)
class ToySummary(Result):
    """What pseudo-experiments say about a fit.

    Attributes:
        poi: Name of the parameter of interest.
        injected: Its true value.
        n: Toys that were fitted.
        failed: Toys that could not be fitted; they enter nowhere.
        seed: Seed of the toys.
        parameters: By name the ``true`` value, ``bias`` with ``bias_error``, ``spread`` of the best values, ``error``
            (mean of the fits' own), and ``pull_mean`` and ``pull_width`` with ``..._error``.
        coverage: By level, ``"68"`` and ``"95"``, of profile likelihood intervals of the parameter of interest: ``cl``,
            how many were ``inside``, and their share as ``value`` with its 68.3 % binomial limits ``lower``, ``upper``.
        significance: ``median`` with ``median_error`` and the quantiles ``-2`` to ``2`` by sigma.
        limit: The same of upper limits with their ``cl``; empty if none were asked for.
        pulls: (best - true) / error of the parameter of interest, shape (n,).
        z: Significance of each toy, shape (n,).
        limits: Upper limit of each toy, shape (n,); empty if none were asked for.
    """

    schema: ClassVar[str] = "hisigma-zfit/toys/1"
    poi: str
    injected: float
    n: int
    failed: int
    seed: int
    parameters: dict[str, dict[str, float]]
    coverage: dict[str, dict[str, float]]
    significance: dict[str, float]
    limit: dict[str, float]
    pulls: JsonArray
    z: JsonArray
    limits: JsonArray
