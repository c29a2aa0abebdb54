"""Interval of a family's yield near zero, where the parameters mean nothing and 2 dlnL is no chi square: by toys.

Values are ordered as by Feldman and Cousins (arXiv:physics/9711021), by 2 dlnL with respect to the best yield that is
not negative, with the parameters profiled.  The background of a toy is drawn from one bootstrap of the learned density
after the other and fitted with the whole, so that the density's own error is in the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2, norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.family_fits import background_events, log_background_of
from hisigma_zfit.inference.family_likelihood import MOST, Landscape
from hisigma_zfit.inference.family_profiles import YieldProfile, edges, peaks
from hisigma_zfit.inference.signal_families import Prepared
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.results.families import FamilyInterval

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.family_fits import FittedFamily

__all__ = ["family_interval"]

LEAST = 5  # toys
BEYOND = (1.0, 2.0)  # also above the upper edge, which is far from the asymptotic one for a faint signal
AROUND = (-0.5, 0.0, 0.5)  # where the p-value near an edge is measured, in half widths of the interval
_LENGTH, _EVENTS, _THINNED, _SIGNAL = range(4, 8)  # streams of a family, after those of its density and its checks


@dataclass(frozen=True)
class _Tested:
    """A hypothesis: a yield, the parameters that go with it, and what the data say of it."""

    s: float
    theta: Array
    t: float


def family_interval(fit: FittedFamily, *, cl: float = 0.95, toys: int = 100, seed: int) -> FamilyInterval:
    """Unified interval of the yield of a family's signal, by toys; at a yield of zero also their p-value.

    Args:
        fit: The fit.
        cl: Confidence level.
        toys: Pseudo-experiments; each is fitted at no signal and at several yields near each edge.
        seed: Same seed, same toys.

    Returns:
        The interval; its upper edge is infinite where it is farther than three asymptotic half widths.

    Raises:
        InputError: Fewer than five toys, or `cl` is not between 0 and 1.

    Example:
        >>> family = hz.ScaledSignal(hz.examples.simulation(), scale={"pt": "scale"}, at={"scale": 60.0})
        >>> shape = hz.ExpQuadratic(hz.examples.mass(), p1=2.0, p2=0.0)
        >>> options = {"region": hz.examples.REGION, "seed": 1}
        >>> fit = hz.fit_family(hz.examples.events(), hz.examples.flow("background"), shape, family, **options)
        >>> interval = hz.family_interval(fit, toys=5, seed=2)  # hundreds, where it matters
        >>> interval.p_null  # none of five toys reaches the t of the data
        0.17
    """
    if toys < LEAST:
        raise InputError.from_parts(expected=f"at least {LEAST} toys", got=str(toys), do="ask for more")
    if not 0.0 < cl < 1.0:
        raise InputError.from_parts(expected="0 < cl < 1", got=str(cl), do="give it as a fraction, such as 0.95")
    profile, n = YieldProfile(fit.landscape, list(fit.peaks)), fit.result.n_events
    best = fit.signal_yield * fit.response  # toys are drawn from the density itself
    top = profile.maximum(best)[0] if best > 0.0 else 0.0

    def tested(s: float) -> _Tested:
        value, t = profile.maximum(s)
        return _Tested(s, np.exp(t), max(top - value, 0.0))

    level = float(chi2.ppf(cl, 1))
    (low, high), *_ = edges(
        lambda s: tested(s).t, best, (level,), (0.0, MOST * n), step=float(np.sqrt(level * (best + 9.0)))
    )
    near_low = [max(low + part * (best - low), 0.0) for part in AROUND] if low > 0.0 else []
    near_high = [high + part * (high - best) for part in (*AROUND, *BEYOND)]
    points = [tested(max(s, 0.0)) for s in (0.0, *near_low, *near_high)]
    reached = np.array([_toy(fit, points, k, seed) for k in range(toys)])
    p = (1.0 + (reached >= np.array([point.t for point in points])).sum(axis=0)) / (1.0 + toys)
    split = 1 + len(near_low)
    lower = 0.0 if p[0] > 1.0 - cl or not near_low else _crossing(near_low, p[1:split], cl, low)
    upper = inf if p[-1] > 1.0 - cl else _crossing(near_high, p[split:], cl, high)
    return FamilyInterval(
        value=fit.signal_yield,
        lower=lower / fit.response,
        upper=upper / fit.response,
        cl=cl,
        toys=toys,
        p_null=float(p[0]),
        tested=np.array([point.s for point in points]) / fit.response,
        p_values=p,
    )


def _crossing(s: list[float], p: Array, cl: float, otherwise: float) -> float:
    """Where the p-value is 1 - cl, by a line through its normal quantiles; the asymptotic edge where there is none."""
    slope, offset = np.polyfit(s, norm.isf(np.clip(p, 1e-9, 1.0 - 1e-9)), 1)
    if slope == 0.0:
        return otherwise
    found = (norm.isf(1.0 - cl) - offset) / slope
    return float(np.clip(found, s[0], s[-1]))


def _toy(fit: FittedFamily, points: list[_Tested], k: int, seed: int) -> list[float]:
    """2 dlnL of every hypothesis in a toy of it; all have the background in common."""

    def rng(*numbers: int) -> np.random.Generator:
        return stream(seed, Purpose.SIGNAL_FAMILY, *numbers)

    flows, total = fit.scene.background.bootstraps, fit.result.n_events
    number = int(rng(_LENGTH, k).poisson(total))
    x, m, log_background = background_events(
        fit, flows[k % len(flows)], number, seed_for(seed, Purpose.SIGNAL_FAMILY, _EVENTS, k)
    )
    background, thinned = fit.density.prepare(x, m), rng(_THINNED, k).random(number)
    generators = [rng(_SIGNAL, k, j) for j in range(len(points))]
    signals = [
        fit.density.sample(point.theta, int(own.poisson(point.s)), own)
        for point, own in zip(points, generators, strict=True)
    ]
    together = [np.concatenate(parts) for parts in zip(*signals, strict=True)]
    ends = np.cumsum([len(masses) for _, masses in signals])[:-1]
    # asked once, for all of them: a call costs more than the events
    logs = np.split(log_background_of(fit, *together), ends) if len(together[1]) else [np.empty(0)] * len(points)
    found = []
    for point, (xs, ms), log_own in zip(points, signals, logs, strict=True):
        kept, extra = thinned < 1.0 - point.s / total, fit.density.prepare(xs, ms)
        events = Prepared(
            np.concatenate([background.powers[kept], extra.powers]),
            np.concatenate([background.log_jacobian[kept], extra.log_jacobian]),
        )
        landscape = Landscape(fit.density, events, np.concatenate([log_background[kept], log_own]))
        maxima = peaks(landscape)
        at = YieldProfile(landscape, maxima).maximum(point.s)[0] if point.s > 0.0 else 0.0
        found.append(max(maxima[0].value - at, 0.0))
    return found
