"""Immutable results of the strategies that the method is compared with; numpy only, see `hisigma_zfit.results`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.base import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Expectation", "PairedSummary", "StrategyResult", "StrategySummary"]


@dataclass(frozen=True)
class StrategyResult(Result):
    """A signal yield that one strategy measures in one data set.

    Attributes:
        strategy: Name of the strategy.
        dataset: Which data set.
        value: Fitted signal yield, events before any cut on a classifier.
        error: Its error from the Hessian.
        z: Significance sqrt(q0), zero for yields that are not positive.
        n_events: Events that are left in the fit.
    """

    schema: ClassVar[str] = "hisigma-zfit/strategy/1"
    strategy: str
    dataset: int
    value: float
    error: float
    z: float
    n_events: int


@dataclass(frozen=True)
class Expectation(Result):
    """The error of a strategy for true densities and yields; see `hisigma_zfit.inference.expected`.

    Attributes:
        strategy: Name of the strategy.
        dataset: Which data set it was prepared for.
        error: Expected error of the signal yield.
    """

    schema: ClassVar[str] = "hisigma-zfit/expectation/1"
    strategy: str
    dataset: int
    error: float


@dataclass(frozen=True)
class PairedSummary(Result):
    """Errors of one strategy by those of another on the same data sets, whose fluctuations so cancel.

    Attributes:
        strategy: Name of the strategy.
        reference: Name of the strategy that it is compared with.
        n: Number of data sets, at least two.
        ratio: Mean of error by error of the reference.
        ratio_error: Standard error of that mean over the data sets.
    """

    schema: ClassVar[str] = "hisigma-zfit/paired-summary/1"
    strategy: str
    reference: str
    n: int
    ratio: float
    ratio_error: float

    @classmethod
    def of(cls, results: Sequence[StrategyResult | Expectation], strategy: str, reference: str) -> PairedSummary:
        """Compare two strategies on the data sets of both.

        Args:
            results: Results of all strategies.
            strategy: Name of one of them.
            reference: Name of the other.

        Raises:
            InputError: They have fewer than two data sets in common.
        """
        first, second = ({r.dataset: r.error for r in results if r.strategy == name} for name in (strategy, reference))
        common = sorted(first.keys() & second.keys())
        if len(common) < 2:
            raise InputError.from_parts(
                expected=f"two or more data sets with results of {strategy} and {reference}",
                got=str(len(common)),
                do="give the results of both",
            )
        ratios = np.array([first[k] / second[k] for k in common])
        n = len(common)
        return cls(strategy, reference, n, float(ratios.mean()), float(ratios.std(ddof=1) / np.sqrt(n)))


@dataclass(frozen=True)
class StrategySummary(Result):
    """What one strategy reaches over several data sets with the same true yield.

    Attributes:
        strategy: Name of the strategy.
        n: Number of data sets, at least two.
        truth: True signal yield.
        sigma: Mean error over the true yield.
        sigma_error: Standard error of that mean over the data sets.
        bias: Mean of (value - truth) / truth.
        bias_error: Standard error of that mean.
        spread: Standard deviation of the values over the true yield: the error that `sigma` should be.
        spread_error: Its standard error, for Gaussian values.
        z: Median significance.
    """

    schema: ClassVar[str] = "hisigma-zfit/strategy-summary/1"
    strategy: str
    n: int
    truth: float
    sigma: float
    sigma_error: float
    bias: float
    bias_error: float
    spread: float
    spread_error: float
    z: float

    @classmethod
    def of(cls, results: Sequence[StrategyResult], truth: float) -> StrategySummary:
        """Summarise the results of one strategy, two data sets at least."""
        values = np.array([r.value for r in results]) / truth
        errors = np.array([r.error for r in results]) / truth
        n = len(results)
        spread = float(values.std(ddof=1))
        return cls(
            strategy=results[0].strategy,
            n=n,
            truth=truth,
            sigma=float(errors.mean()),
            sigma_error=float(errors.std(ddof=1) / np.sqrt(n)),
            bias=float(values.mean() - 1.0),
            bias_error=spread / float(np.sqrt(n)),
            spread=spread,
            spread_error=spread / float(np.sqrt(2.0 * (n - 1))),
            z=float(np.median([r.z for r in results])),
        )
