"""Finds features whose edges follow another feature or the mass: where training events end along a slanted line.

A line u -> a + b u bounds a feature v from above where no event is beyond it and where, in slices of u, the density of
events does not die out before it.  In each slice take the k events closest to the line: at an edge (a step of the
density) half of them are in the nearer half of the strip that they fill, at a linear ramp a quarter, in a tail of a
smooth density a tenth or less.  The line must be an edge in most slices, and move by much of the width of v.

Candidate lines are sides of the convex hull.  They touch the data by construction, which a strip of k events does not
notice; and lines that are simpler than the hull's (through the origin, of slope one) and bound the events as closely
are preferred, because they are what kinematics and cuts make.

Of 400 smooth samples of 1,000 events (two to six features and a mass: normal, copulas of ten marginals with and
without edges that stand still, strong correlations, heavy tails) one had a false edge, of 340 with 3,000 to 30,000
events none had.  Whether a coordinate is used is decided by held-out events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge, Limits, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.learn.preprocess import Support

__all__ = ["find_moving_edges"]

MIN_EVENTS = 800
MAX_EVENTS = 50_000  # that judge a line; all of them bound it
SLICES = 8
STRIP = (0.1, 10, 100)  # share of a slice's events that fill the strip, and the least and most of them
STEP = 0.36  # share of them in the nearer half: 0.5 at a step of the density, 0.25 at a ramp
ENOUGH = 6  # slices in which the line is an edge
MOVING = 4  # and of these, slices in which it moves
POOLED = 0.42  # share of the events in the nearer half in all slices in which it moves
EMPTY = (
    8.0  # mean gap there between the events and the feature's own end, in gaps between events; 1 if that is the edge
)
MOVE = 0.25  # by how much it moves, in interquartile ranges of the feature
GAPS = 3.0  # an edge lies this many mean gaps outside of the events, as in `Support.infer`
NEAR = 200  # events close to a line that tell how closely it bounds
CLOSE = 1.25  # a simpler line may leave the strip of these events so much wider
SOFT = 0.05  # a positive feature begins at zero where its least value is below this share of its median


@dataclass(frozen=True)
class _Found:
    """A moving edge of a feature, above (sign 1) or below (sign -1) it."""

    feature: str
    sign: int
    edge: Edge
    score: float


@dataclass(frozen=True)
class _Feature:
    """A feature and what is known of its edges that stand still."""

    name: str
    values: Array
    support: Support
    declared: Limits

    def still_edge(self, found: _Found) -> Edge | None:
        """The edge opposite to a moving one, if there is one."""
        below, support = found.sign > 0, self.support
        declared = self.declared[0] if below else self.declared[1]
        if np.isfinite(declared):
            return Edge.fixed(declared)
        place, tail = (support.lower, support.lower_tail) if below else (support.upper, support.upper_tail)
        if below and np.min(self.values) >= 0:
            # what comes close to zero, or thins out downwards and scales with another column, begins at zero
            soft = np.min(self.values) < SOFT * np.median(self.values)
            if soft or (tail and found.edge.intercept == 0):
                return Edge.fixed(0.0)
        return None if tail else Edge.fixed(place)


def find_moving_edges(
    x: Array,
    m: Array,
    features: Sequence[str],
    given: str,
    *,
    supports: Sequence[Support],
    limits: Sequence[Limits] | None = None,
) -> Coordinates:
    """Find edges that follow another column and the coordinates in which they stand still.

    Args:
        x: Events, shape (n, d), all of which stay within the edges that are found.
        m: Their masses, shape (n,).
        features: Names of the columns of x.
        given: Name of the mass.
        supports: Where each feature lies, as `Support.infer` found.
        limits: Where each was declared to lie, if it was.

    Returns:
        The coordinates; unchanged ones where no edge moves, or with fewer than `MIN_EVENTS` events.
    """
    unchanged = Coordinates(tuple(features), given)
    if len(x) < MIN_EVENTS:
        return unchanged
    sides = {
        name: _Feature(name, x[:, j], supports[j], (-np.inf, np.inf) if limits is None else limits[j])
        for j, name in enumerate(features)
    }
    columns = {given: m, **{name: feature.values for name, feature in sides.items()}}
    found = [edge for other in columns for edge in _edges_following(other, columns, sides, given)]
    order = {name: number for number, name in enumerate(columns)}
    # One line can be read in two ways.  Take that in which the feature has edges on both sides, then that in which it
    # is the better edge, then that in which the later feature follows the earlier one, as the conditionals do.
    found.sort(
        key=lambda f: (
            sides[f.feature].still_edge(f) is None,
            -round(f.score, 1),
            order[f.edge.other] > order[f.feature],
            order[f.feature],
        )
    )
    chosen: dict[str, Coordinate] = {}
    for candidate in found:
        coordinate = _with(candidate, chosen.get(candidate.feature), columns, sides)
        if coordinate is None:
            continue
        others = [c for name, c in chosen.items() if name != candidate.feature]
        if in_order([*others, coordinate]) is not None:
            chosen[candidate.feature] = coordinate
    ordered = in_order(list(chosen.values()))
    assert ordered is not None
    return unchanged.only(ordered)


def _edges_following(
    other: str, columns: dict[str, Array], features: dict[str, _Feature], given: str
) -> Iterator[_Found]:
    """Edges of all features that follow one column."""
    order = np.argsort(columns[other], kind="stable")
    u = columns[other][order]
    # far masses were not seen: beyond these an edge stands still
    within = (u[0], u[-1]) if other == given else (features[other].support.lower, features[other].support.upper)
    for name, feature in features.items():
        if name == other:
            continue
        values, support = feature.values[order], feature.support
        for sign, limit in ((1, support.upper), (-1, -support.lower)):
            line = _upper_edge(u, sign * values)
            if line is None:
                continue
            ends = line.intercept + line.slope * np.array(within)
            # beyond its own limit the feature has no events, whatever the line says
            most = limit if np.isfinite(limit) and ends.max() > limit else np.inf
            least = -np.inf
            if other == given:
                least, most = float(ends.min()), min(most, float(ends.max()))
            bounds = (least, most) if sign > 0 else (-most, -least)
            yield _Found(name, sign, Edge(other, sign * line.intercept, sign * line.slope, *bounds), line.score)


class _Line(NamedTuple):
    """u -> intercept + slope u, and how good an edge it is."""

    intercept: float
    slope: float
    score: float


def _upper_edge(u: Array, v: Array) -> _Line | None:
    """The best moving upper edge of v in u, which is sorted."""
    step = max(len(u) // MAX_EVENTS, 1)
    few, top = (u[::step], v[::step]), v.max()
    spread = float(np.subtract(*np.quantile(few[1], [0.75, 0.25])))
    best = None
    for intercept, slope in _hull_lines(u, v):
        s = _slices(*few, intercept, slope, top)
        below = s.places < top
        moving = s.steps & below
        if np.sum(s.steps) < ENOUGH or np.sum(moving) < MOVING or np.ptp(s.places[moving]) < MOVE * spread:
            continue
        if np.sum(s.nearer[below]) < POOLED * np.sum(s.strip[below]) or np.mean(s.gaps[below]) < EMPTY:
            continue
        score = float(np.sum(s.steps) + 0.1 * np.ptp(s.places[moving]) / spread)
        if best is None or score > best.score:
            best = _Line(intercept, slope, score)
    return None if best is None else _simplest(u, v, best)


def _hull_lines(u: Array, v: Array) -> list[tuple[float, float]]:
    """Intercepts and slopes of the upper hull's sides above the slices, each once."""
    bins = np.linspace(0, len(u), min(len(u), 2000) + 1).astype(np.intp)
    highest = np.flatnonzero(v == np.repeat(np.maximum.reduceat(v, bins[:-1]), np.diff(bins)))
    _, first = np.unique(np.searchsorted(bins, highest, side="right"), return_index=True)  # of each bin
    rows = np.unique(np.concatenate([[0], highest[first], [len(u) - 1]]))
    x, y = u[rows].tolist(), v[rows].tolist()
    hull: list[int] = []
    for k in range(len(rows)):
        # drop what is below the chord
        while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[k] - x[hull[-2]]) <= (y[k] - y[hull[-2]]) * (
            x[hull[-1]] - x[hull[-2]]
        ):
            hull.pop()
        hull.append(k)
    corners = rows[hull]
    middles = (np.arange(SLICES) + 0.5) / SLICES * (len(u) - 1)
    sides = np.unique(np.clip(np.searchsorted(corners, middles, side="right") - 1, 0, len(corners) - 2))
    run, rise = u[corners[sides + 1]] - u[corners[sides]], v[corners[sides + 1]] - v[corners[sides]]
    slopes = [float(b / a) for a, b in zip(run, rise, strict=True) if a > 0 and b != 0]
    return [(float(np.max(v[corners] - b * u[corners])), b) for b in slopes if np.isfinite(b)]


class _Slices(NamedTuple):
    """What slices of u say about a line; arrays of shape (SLICES,)."""

    places: Array  # of the line, at the median of u
    strip: Array  # events in it
    nearer: Array  # those in its nearer half
    gaps: Array  # from the highest event to the feature's own top, in mean gaps between the events of the strip

    @property
    def steps(self) -> Mask:
        """Whether the density steps at the line."""
        return self.nearer >= STEP * self.strip


def _slices(u: Array, v: Array, intercept: float, slope: float, top: float) -> _Slices:
    """Look at the events closest to a line, or to the top where the line is above it."""
    share, least, most = STRIP
    rows = []
    for part in np.array_split(np.arange(len(u)), SLICES):
        below = np.minimum(intercept + slope * u[part], top) - v[part]
        k = min(max(int(share * len(part)), least), most, len(part) - 1)
        width = np.partition(below, k)[k]
        highest = np.partition(v[part], [-k, -1])[[-k, -1]]
        gap = (top - highest[1]) * k / max(highest[1] - highest[0], 1e-300)
        rows.append((intercept + slope * np.median(u[part]), k, np.sum(below < 0.5 * width), gap))
    return _Slices(*np.array(rows, dtype=np.float64).T)


def _simplest(u: Array, v: Array, line: _Line) -> _Line:
    """A simple line that bounds all events about as closely, otherwise the given one a few gaps further outside."""
    k = min(NEAR, len(u) // 10)

    def width(a: float, b: float) -> float:
        return float(np.partition(a + b * u - v, k)[k])

    intercept = float(np.max(v - line.slope * u))
    strip = width(intercept, line.slope)
    gap = GAPS * strip / k
    candidates = [(0.0, 1.0, 0.0), (0.0, -1.0, 0.0)]
    if u[0] > 0:  # sorted
        candidates.append((0.0, float(np.max(v / u)) + gap / float(np.median(u)), 0.0))
    candidates += [(float(np.max(v - u)), 1.0, gap), (float(np.max(v + u)), -1.0, gap)]
    for a, b, more in candidates:
        if np.all(v <= a + b * u) and width(a, b) < CLOSE * strip:
            return _Line(a + more, b, line.score)
    return _Line(intercept + gap, line.slope, line.score)


def _with(
    found: _Found, chosen: Coordinate | None, columns: dict[str, Array], features: dict[str, _Feature]
) -> Coordinate | None:
    """The coordinate of a feature with one more moving edge; None if it has one on this side, or no room between."""
    if chosen is None:
        opposite = features[found.feature].still_edge(found)
    else:
        taken, opposite = (chosen.upper, chosen.lower) if found.sign > 0 else (chosen.lower, chosen.upper)
        # where the edges of two columns meet depends on both: the better one has to do
        if (taken is not None and taken.moves) or chosen.others != (found.edge.other,):
            return None
    lower, upper = (opposite, found.edge) if found.sign > 0 else (found.edge, opposite)
    coordinate = Coordinate(found.feature, lower, upper)
    if lower is None or upper is None:
        return coordinate
    if np.min(coordinate.frame(columns)[1]) <= 0:
        return None
    other = features.get(found.edge.other)
    return coordinate if other is None else replace(coordinate, room=_room(lower, upper, other.support))


def _room(lower: Edge, upper: Edge, other: Support) -> Limits | None:
    """Limits of the other feature within which the lower edge is below the upper one, where its support goes on."""
    slope = upper.slope - lower.slope
    if slope == 0:
        return None
    meeting = (lower.intercept - upper.intercept) / slope
    if slope > 0:
        return (meeting, np.inf) if other.lower < meeting else None
    return (-np.inf, meeting) if other.upper > meeting else None
