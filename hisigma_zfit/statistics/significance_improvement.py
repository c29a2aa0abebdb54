"""Significance improvement of a score, eps_s / sqrt(eps_b), with its error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.significance_improvement import SicCurve, SicPoint

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["significance_improvement"]

CUTS = 120  # of a curve
STRICT, LOOSE = 1e-3, 1e-2  # background efficiencies that are quoted


def significance_improvement(signal: npt.ArrayLike, background: npt.ArrayLike, *, least: int = 20) -> SicCurve:
    """How much a cut on a score improves s / sqrt(b), for all cuts.

    The events must be others than those that made the score: what was chosen by background events calls them signal.

    A cut is told by the share of the background that passes it, which is known as well as its events can be counted.
    So the error has two parts: the signal efficiency of a known cut is binomial, and the place of the cut has the
    spread of an order statistic, k +- sqrt(k (1 - k / n)) events, which moves the signal efficiency along the curve.
    It is not the sum of relative errors of both efficiencies, which would forget that they move together.

    Args:
        signal: Scores of signal events, shape (n,), larger for signal; -inf for those that no cut selects.
        background: The same for background events.
        least: Background events that must pass the cut at which the maximum is looked for.

    Returns:
        The curve, its values at eps_b = 1e-3 and 1e-2, and its maximum.

    Raises:
        InputError: No signal, fewer than 1,000 background events, or a score that is NaN.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> curve = hz.significance_improvement(rng.normal(2.5, 1.0, 20_000), rng.normal(0.0, 1.0, 400_000))
        >>> print(curve.at_1e3)  # true 8.77
        8.51 +- 0.17
    """
    s, b = (np.asarray(values, dtype=np.float64).ravel() for values in (signal, background))
    if np.isnan(s).any() or np.isnan(b).any():
        raise InputError.from_parts(
            expected="scores that are numbers", got="NaN", do="give -inf to events that cannot be selected"
        )
    if not len(s) or len(b) < 1.0 / STRICT:
        raise InputError.from_parts(
            expected=f"signal events and at least {1.0 / STRICT:.0f} background events",
            got=f"{len(s)} and {len(b)}",
            do="score more events",
        )
    passing, share = _roc(s, b)
    n = len(b)
    # from all events to one
    levels = np.geomspace(1.0, 1.0 / n, CUTS)
    curve = _points(np.append(levels, [STRICT, LOOSE]), passing, share, len(s), n)
    allowed = np.flatnonzero(curve[0][:CUTS] * n >= min(least, n))
    best = int(allowed[np.argmax(curve[2][allowed])])
    level, efficiency, sic, error = curve

    def point(k: int) -> SicPoint:
        return SicPoint(float(level[k]), float(efficiency[k]), float(sic[k]), float(error[k]))

    return SicCurve(
        background_efficiency=level[:CUTS],
        signal_efficiency=efficiency[:CUTS],
        sic=sic[:CUTS],
        error=error[:CUTS],
        at_1e3=point(CUTS),
        at_1e2=point(CUTS + 1),
        maximum=point(best),
        least=least,
        n_signal=len(s),
        n_background=n,
    )


def _roc(s: Array, b: Array) -> tuple[Array, Array]:
    """Background efficiency, rising, and the signal efficiency there; equal scores pass a cut in proportion.

    Where k of n background events pass, the cut is somewhere between two of them: (k + 1/2) / (n + 1) of the background
    pass in the mean, and of the signal events in that gap one half.
    """
    values = np.unique(np.concatenate([s, b]))[::-1]
    # passing each of the cuts >= value, and none at all
    n_b, n_s = (
        np.concatenate([[0], len(x) - np.searchsorted(np.sort(x), values, side="left")]).astype(np.float64)
        for x in (b, s)
    )
    counts, first = np.unique(n_b, return_index=True)
    last = np.append(first[1:], len(n_b)) - 1
    return (counts + 0.5) / (len(b) + 1.0), 0.5 * (n_s[first] + n_s[last]) / len(s)


def _points(levels: Array, passing: Array, share: Array, n_s: int, n_b: int) -> tuple[Array, Array, Array, Array]:
    """Levels, signal efficiencies, their ratios and the errors of these."""
    at = np.interp(levels, passing, share)
    spread = np.sqrt(levels * (1.0 - levels) / n_b)
    moved = 0.5 * (np.interp(levels + spread, passing, share) - np.interp(levels - spread, passing, share))
    # variance of a share with a flat prior, which is not zero where no event or all of them passed
    yes, no = n_s * at + 1.0, n_s * (1.0 - at) + 1.0
    binomial = yes * no / ((n_s + 2.0) ** 2 * (n_s + 3.0))
    root = np.sqrt(levels)
    return levels, at, at / root, np.sqrt(binomial + moved**2) / root
