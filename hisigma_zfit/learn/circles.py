"""The place of an angle: on a line, where nothing is lost by cutting its circle, else with room for its valleys.

An angle that hardly ever lies in some arc, as that between two objects that fly back to back, is cut there.  Then it is
a feature like any other, whose density may fall by any factor towards both ends.  On a circle splines with fixed
knots would blur its flanks, and p_b is far too large where few events are.

Else it stays on its circle.  In its own CDF, as of a feature with two ends, a valley has no length: all that happens in
it, where few events are and where ratios of densities are decided, would have to be told by one spline.  In the angle
itself a narrow peak has none.  The coordinate is half of the one and half of the other, so that each has at least half
of its length.  It need not follow the events closely, which it is not to describe: the shares of the splines do, from
which a training starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator

from hisigma_zfit.learn.preprocess import MarginalCDF
from hisigma_zfit.learn.splines import periodic_spline_matrix

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["BINS", "binned", "circle_coordinate", "empty_place", "spline_shares"]

ARCS = 64  # places where a circle may be cut
ARC = 6  # of them make the arc in which there have to be few events ...
EMPTY = 0.02  # ... of the uniform density
QUANTILES = 12  # of the events; more of them would follow their noise
PIECES = 32  # of the coordinate
EVEN = 0.5  # part of the coordinate that is the angle itself
FINE = 8192
BINS = 512  # of the places, whose shares the splines take
ROUNDS = 200
PSEUDO_COUNT = 0.5  # events of each spline beside those that were seen


def empty_place(values: Array, circle: tuple[float, float]) -> float | None:
    """Where the circle may be cut: in the middle of the emptiest arc, or None if it is not empty enough.

    Args:
        values: Angles, shape (n,).
        circle: Its ends, which are one point.
    """
    low, period = circle[0], circle[1] - circle[0]
    bins = ((values - low) % period / period * ARCS).astype(np.intp) % ARCS
    counts = np.bincount(bins, minlength=ARCS)

    arc = np.sum([np.roll(counts, k) for k in range(-(ARC // 2), ARC - ARC // 2)], axis=0)
    # of several that are empty the one farthest from all events
    turns = 2.0 * np.pi * np.arange(ARCS) / ARCS
    near = 0.5 + 0.5 * np.cos(turns[:, None] - turns) @ counts / len(values)
    best = int(np.argmin(arc + near))
    if arc[best] > EMPTY * len(values) * ARC / ARCS:
        return None
    return float(low + period * (best + 0.5) / ARCS)


def circle_coordinate(values: Array, circle: tuple[float, float], weights: Array) -> MarginalCDF:
    """Half the CDF of the angle, half the angle: a monotone cubic that goes on where it began.

    Args:
        values: Angles, shape (n,).
        circle: Its ends, which are one point.
        weights: Shape (n,), not negative.
    """
    low, period = circle[0], circle[1] - circle[0]
    turns = (values - low) % period / period
    turns, weights = turns[weights > 0], weights[weights > 0]
    order = np.argsort(turns, kind="stable")
    x, w = turns[order], weights[order]
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    quantiles = np.interp(levels, (np.cumsum(w) - 0.5 * w) / w.sum(), x)
    keep = np.diff(quantiles, prepend=-1.0) > 1e-6
    quantiles, levels = quantiles[keep], levels[keep]
    around = np.arange(-1.0, 2.0)[:, None]
    cdf = PchipInterpolator((quantiles + around).ravel(), (levels + around).ravel())
    fine = np.linspace(0.0, 1.0, FINE + 1)
    heights = np.linspace(0.0, 1.0, PIECES + 1)
    knots = np.interp(heights, (1.0 - EVEN) * (cdf(fine) - cdf(0.0)) + EVEN * fine, fine)
    knots[0], knots[-1] = 0.0, 1.0
    slopes = (1.0 - EVEN) * cdf.derivative()(knots) + EVEN
    secants = np.diff(heights) / np.diff(knots)
    before, after = np.append(secants[-1], secants), np.append(secants, secants[0])
    # the slopes of a monotone cubic are below three times the secants
    slopes = np.clip(slopes, 0.1 * np.minimum(before, after), 2.5 * np.minimum(before, after))
    slopes[-1] = slopes[0]
    return MarginalCDF(low + period * knots, heights, slopes / period, circle, (0.0, 0.0))


def binned(places: Array, weights: Array) -> Array:
    """Effective numbers of events in `BINS` bins of the circle, shape (BINS,).

    Args:
        places: In [0, 1], shape (n,).
        weights: Shape (n,).
    """
    found = np.bincount(np.minimum((places * BINS).astype(np.intp), BINS - 1), weights, BINS)
    return found * weights.sum() / np.sum(weights**2)


def spline_shares(events: Array, count: int) -> Array:
    """Shares of periodic splines whose mixture is the likeliest density of binned events, shape (count,).

    Args:
        events: Of `binned`.
        count: Number of splines.
    """
    splines = periodic_spline_matrix((np.arange(BINS) + 0.5) / BINS, count)
    shares = np.full(count, 1.0 / count)
    for _ in range(ROUNDS):  # expectation and maximisation
        parts = splines * shares
        own = (events / parts.sum(axis=1)) @ parts + PSEUDO_COUNT
        shares = own / own.sum()
    return shares
