"""How often intervals hold the truth when toys come in draws that have something in common.

The toys of one draw of the nuisances share the error of what was learned at that point, so that their answers are
correlated, and binomial errors of the coverage are too small.  Every error here comes from the spread between draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import CoverageBin, CoverageStudy, MethodCoverage
from hisigma_zfit.statistics.intervals import ONE_SIGMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.results import CoverageDraw

__all__ = [
    "challenge_score",
    "challenge_tolerance",
    "coverage_study",
    "interval_pulls",
    "mean_of_draws",
    "missing_error",
]

_CHALLENGE_CL = 0.6827
_OFFSET = 1e-3  # of the width in the score: intervals of no width do not win everything


def interval_pulls(value: Array, lower: Array, upper: Array, truth: Array) -> Array:
    """(value - truth) by the distance to the edge on the side of the truth: less than one where it is inside.

    Args:
        value: Best values, shape (n,).
        lower: Lower edges, shape (n,).
        upper: Upper edges, shape (n,).
        truth: True values, shape (n,).

    Returns:
        Shape (n,); infinite where there is no distance, as at a parameter's limit.

    Example:
        >>> interval_pulls(np.array([1.0]), np.array([0.8]), np.array([1.4]), np.array([1.2]))
        array([-0.5])
    """
    error = np.where(truth > value, upper - value, value - lower)
    away = value - truth
    beyond = np.where(away == 0.0, 0.0, np.copysign(np.inf, away))
    return np.where(error > 0.0, away / np.where(error > 0.0, error, 1.0), beyond)


def mean_of_draws(draws: Sequence[Array]) -> tuple[float, float]:
    """Mean over all toys, and its error from the spread of the draws' own means.

    It is the ratio of two sums over draws, sum of values by number of toys, whose variance is
    D / (D - 1) sum_d n_d^2 (mean_d - mean)^2 / (sum_d n_d)^2, for D draws of n_d toys.

    Args:
        draws: Values of the toys of each draw, shapes (n_d,); draws without toys are left out.

    Returns:
        Both; nan for the error of fewer than two draws, for both without toys.

    Example:
        >>> mean_of_draws([np.array([1.0, 1.0]), np.array([0.0, 0.0])])
        (0.5, 0.5)
    """
    filled = [draw for draw in draws if draw.size]
    if not filled:
        return math.nan, math.nan
    sizes = np.array([draw.size for draw in filled], dtype=np.float64)
    means = np.array([float(draw.mean()) for draw in filled])
    mean = float(sizes @ means / sizes.sum())
    if len(filled) < 2:
        return mean, math.nan
    scatter = float(np.sum((sizes * (means - mean)) ** 2)) * len(filled) / (len(filled) - 1)
    return mean, math.sqrt(scatter) / float(sizes.sum())


def challenge_tolerance(n: int) -> tuple[float, float]:
    """Coverages between which the score of the FAIR-Universe challenge has no penalty, for n toys."""
    two_sigma = 2.0 * math.sqrt(_CHALLENGE_CL * (1.0 - _CHALLENGE_CL) / n)
    return _CHALLENGE_CL - two_sigma, _CHALLENGE_CL + two_sigma


def challenge_score(width: float, coverage: float, n: int) -> float:
    """Score of the FAIR-Universe challenge for intervals of 68.27 %: -ln[(width + 0.001) f(coverage)].

    f is one inside of `challenge_tolerance`; below it grows with the fourth power of the distance in binomial standard
    deviations, above with the third (scoring program of the challenge, arXiv:2410.02867).

    Args:
        width: Mean of the upper less the lower edge.
        coverage: Share of the intervals that hold the truth.
        n: Number of toys.

    Example:
        >>> round(challenge_score(0.437, 0.658, 720), 3)
        0.826
    """
    low, high = challenge_tolerance(n)
    sigma = 0.25 * (high - low)
    penalty = 1.0
    if coverage < low:
        penalty += ((low - coverage) / sigma) ** 4
    elif coverage > high:
        penalty += ((coverage - high) / sigma) ** 3
    return -math.log((width + _OFFSET) * penalty)


def missing_error(draws: Sequence[Array], cl: float) -> tuple[float, float]:
    """What has to be added to intervals in quadrature, on both sides, so that they hold the truth as often as they say.

    An interval of error e holds a truth at the distance d with a further error s where d^2 - e^2 <= s^2: s^2 is the
    quantile of d^2 - e^2 of the probability `cl`, if it is positive.

    Args:
        draws: d^2 - e^2 of the toys of each draw, shapes (n_d,).
        cl: Confidence level of the intervals.

    Returns:
        It and its error, from what is left of it without one draw after the other (jackknife); nan for the error of
        fewer than two draws, for both without toys.

    Example:
        >>> missing_error([np.array([-0.5, -0.1, 0.04, 0.2])], 0.5)
        (0.0, nan)
    """
    filled = [draw for draw in draws if draw.size]
    if not filled:
        return math.nan, math.nan

    def of(own: Sequence[Array]) -> float:
        return math.sqrt(max(0.0, float(np.quantile(np.concatenate(own), cl))))

    n = len(filled)
    if n < 2:
        return of(filled), math.nan
    without = np.array([of([*filled[:k], *filled[k + 1 :]]) for k in range(n)])
    return of(filled), math.sqrt((n - 1) / n * float(np.sum((without - without.mean()) ** 2)))


@dataclass(frozen=True)
class _Draw:
    """The toys of one draw that one method could fit; `beyond` is d^2 - e^2 of `missing_error`."""

    truth: Array
    inside: Array
    width: Array
    pulls: Array
    beyond: Array
    nuisance_pulls: dict[str, Array]
    failed: int

    def within(self, chosen: Mask) -> _Draw:
        own = self.truth[chosen], self.inside[chosen], self.width[chosen], self.pulls[chosen], self.beyond[chosen]
        return _Draw(*own, {}, 0)


def _answers(draw: CoverageDraw, method: str) -> _Draw:
    own = draw.methods[method]
    good = np.isfinite(own.value) & np.isfinite(own.lower) & np.isfinite(own.upper)
    value, lower, upper, truth = own.value[good], own.lower[good], own.upper[good], draw.truth[good]
    pulls = interval_pulls(value, lower, upper, truth)
    error = np.where(truth > value, upper - value, value - lower)
    return _Draw(
        truth=truth,
        inside=((lower <= truth) & (truth <= upper)).astype(np.float64),
        width=upper - lower,
        pulls=pulls,
        beyond=(value - truth) ** 2 - error**2,
        nuisance_pulls={name: values[good] for name, values in own.nuisance_pulls.items()},
        failed=int(np.sum(~good)),
    )


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else math.nan


def _method(draws: Sequence[_Draw], edges: Array, cl: float, simulation: float | None) -> MethodCoverage:
    n = sum(draw.truth.size for draw in draws)
    coverage, error = mean_of_draws([draw.inside for draw in draws])
    width, width_error = mean_of_draws([draw.width for draw in draws])
    own = [_finite(draw.pulls) for draw in draws]
    pulls = np.concatenate(own)
    pull_mean, pull_mean_error = mean_of_draws(own)
    means = np.array([float(each.mean()) for each in own if each.size])
    # the spread within draws says how far their means would scatter around each other by chance alone
    within = np.array([float(each.var(ddof=1)) / each.size for each in own if each.size > 1])
    missing, its_error = missing_error([draw.beyond for draw in draws], cl)
    wide = (math.nan, math.nan)
    if simulation is not None:
        wide = mean_of_draws([(draw.beyond <= simulation**2).astype(np.float64) for draw in draws])
    names = list(draws[0].nuisance_pulls)
    nuisances = {name: _finite(np.concatenate([draw.nuisance_pulls[name] for draw in draws])) for name in names}
    return MethodCoverage(
        toys=n,
        failed=sum(draw.failed for draw in draws),
        coverage=coverage,
        error=error,
        width=width,
        width_error=width_error,
        score=challenge_score(width, coverage, n) if n and abs(cl - _CHALLENGE_CL) < 1e-3 else math.nan,
        pull_mean=pull_mean,
        pull_mean_error=pull_mean_error,
        pull_rms=_rms(pulls),
        pull_spread=_rms(means),
        pull_spread_expected=float(np.sqrt(within.mean())) if within.size else math.nan,
        by_mu=tuple(_bin(draws, low, high, last=high == edges[-1]) for low, high in pairwise(edges.tolist())),
        nuisance_pulls={name: (float(v.mean()), _rms(v)) for name, v in nuisances.items() if v.size},
        missing=missing,
        missing_error=its_error,
        coverage_with_simulation=wide[0],
        coverage_with_simulation_error=wide[1],
    )


def _bin(draws: Sequence[_Draw], low: float, high: float, *, last: bool) -> CoverageBin:
    inside = [d.within((d.truth >= low) & ((d.truth < high) | (last & (d.truth == high)))) for d in draws]
    coverage, error = mean_of_draws([draw.inside for draw in inside])
    return CoverageBin(
        lower=low,
        upper=high,
        toys=sum(draw.truth.size for draw in inside),
        coverage=coverage,
        error=error,
        width=mean_of_draws([draw.width for draw in inside])[0],
        pull_mean=mean_of_draws([_finite(draw.pulls) for draw in inside])[0],
    )


def coverage_study(
    draws: Sequence[CoverageDraw],
    *,
    poi: str,
    mu: tuple[float, float],
    nuisances: Literal["random", "fixed"],
    seed: int,
    cl: float = ONE_SIGMA,
    bins: int = 5,
    simulation: Mapping[str, float] | None = None,
) -> CoverageStudy:
    """What the toys of all draws say together.

    Args:
        draws: One record for each draw, all with the same methods.
        poi: Name of the parameter of interest.
        mu: Ends of the range of its true value; equal where it is fixed.
        nuisances: See `CoverageStudy`.
        seed: Of the toys.
        cl: Confidence level of the intervals.
        bins: Ranges of the true value in which coverage is counted.
        simulation: Error of the parameter of interest from the finite simulation, by method where it is known.

    Raises:
        InputError: There is no draw, or the draws have different methods.
    """
    kinds = {tuple(draw.methods) for draw in draws}
    if len(kinds) != 1:
        raise InputError.from_parts(
            expected="draws with the same methods",
            got="no draw" if not draws else " and ".join(sorted(", ".join(kind) for kind in kinds)),
            do="repeat those that differ",
        )
    edges = np.linspace(*mu, bins + 1) if mu[1] > mu[0] else np.array(mu)
    (methods,) = kinds
    ordered = tuple(sorted(draws, key=lambda draw: draw.number))
    return CoverageStudy(
        poi=poi,
        cl=cl,
        draws=len(ordered),
        toys=max(draw.truth.size for draw in ordered),
        nuisances=nuisances,
        mu=mu,
        seed=seed,
        truth=ordered,
        methods={
            name: _method([_answers(draw, name) for draw in ordered], edges, cl, (simulation or {}).get(name))
            for name in methods
        },
    )
