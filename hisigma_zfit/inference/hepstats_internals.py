"""Names of hepstats that hepstats does not promise to keep, each in one place and under a name of ours.

hepstats' calculators hand the p-values to methods with underscores at both ends.  A subclass of the classes here writes
`null_and_alternative` and `expected` instead.  tests/inference/test_hepstats_internals.py has one test a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from hepstats.hypotests.calculators import AsymptoticCalculator, FrequentistCalculator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepstats.hypotests.parameters import POI, POIarray

    from hisigma_zfit.arrays import Array

__all__ = ["OpenAsymptotic", "OpenFrequentist", "Tails"]


class Tails(TypedDict):
    """What hepstats' `pvalue` and `expected_pvalue` say of the test: which statistic, and which of its tails count."""

    qtilde: bool
    onesided: bool
    onesideddiscovery: bool


class OpenAsymptotic(AsymptoticCalculator):
    """hepstats' asymptotic calculator, with p-values that a subclass writes."""

    def null_and_alternative(
        self, poinull: POIarray, poialt: POI | None, **tails: Unpack[Tails]
    ) -> tuple[Array, Array | None]:
        """p-values of the null hypotheses, and of the alternative if there is one; arguments as hepstats' `pvalue`."""
        raise NotImplementedError

    def _pvalue_(self, poinull: POIarray, poialt: POI | None, **tails: Unpack[Tails]) -> tuple[Array, Array | None]:
        return self.null_and_alternative(poinull, poialt, **tails)


class OpenFrequentist(FrequentistCalculator):
    """hepstats' calculator with toys, with p-values that a subclass writes."""

    def null_and_alternative(
        self, poinull: POIarray, poialt: POI | None, **tails: Unpack[Tails]
    ) -> tuple[Array, Array | None]:
        """p-values of the null hypotheses, and of the alternative if there is one; arguments as hepstats' `pvalue`."""
        raise NotImplementedError

    def expected(
        self, poinull: POIarray, poialt: POI, nsigma: Sequence[float], *, cls: bool, **tails: Unpack[Tails]
    ) -> list[Array]:
        """Expected p-values, one array for each of `nsigma`; arguments as hepstats' `expected_pvalue`."""
        raise NotImplementedError

    def _pvalue_(self, poinull: POIarray, poialt: POI | None, **tails: Unpack[Tails]) -> tuple[Array, Array | None]:
        return self.null_and_alternative(poinull, poialt, **tails)

    def _expected_pvalue_(
        self,
        poinull: POIarray,
        poialt: POI,
        nsigma: Sequence[float],
        CLs: bool,
        **tails: Unpack[Tails],
    ) -> list[Array]:
        return self.expected(poinull, poialt, nsigma, cls=CLs, **tails)
