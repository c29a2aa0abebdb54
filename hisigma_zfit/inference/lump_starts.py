"""Where lumps may be, and in which of the features: a matched filter, and moves that turn features on and off.

With many features a lump of a fixed size in all of them holds next to no events, and a useless one only adds noise.
The filter's lumps are active in the mass and a few features, drawn at random and bred; then a feature is turned on or
off when that raises the objective of `maximise`, whose prior has the price of a feature in it.  All but the filter
looks only at the events near a lump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.inference.blobs import Blobs, Maximum, Points, completed, maximise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisigma_zfit.arrays import Array, Integers, Mask

__all__ = ["promising", "starts"]

CUT = 7.0  # below the mean of log p_b, from where on events are no more likely to be a start
MASS_WIDTH, FEATURE_WIDTH = 0.8, 0.5  # of the matched filter, in standard deviations of the background
MANY = 4  # features; fewer are not chosen from
ACTIVE = (3, 4)  # features of the filter's lumps, either as often
GENERATIONS, CHILDREN = 6, 4  # of the best lumps of the filter, each with one feature turned on or off
SHARE = 1e-3  # of the filter's lumps
CEILING = 40.0  # of log r in the filter
CHUNK = 8192  # events of the filter at a time
APART = 2.0  # squared distance of two starts in widths
FOLLOWED = 4  # starts that are followed for each that is kept
FEW = 5  # features, from which on there are more centres and starts in proportion
STEPS = 8  # of expectation maximisation between two decisions
NEAR = 1e-3  # odds to be of the lump, below which an event is far away
PLACES = (-1.2, 0.0, 1.2)  # where a feature is turned on
ENOUGH = 0.02  # change of the objective, as in `maximise`
GAIN = 0.5  # of the objective, for which a feature is turned on or off
ROUNDS = 12


def starts(points: Points, *, number: int, keep: int, rng: np.random.Generator) -> Blobs:
    """Where lumps may be, by a matched filter.

    Lumps of a fixed shape are put onto events, more often onto those where the background is rare; the score of each
    is what it counts beyond the background's expectation in units of the noise.  Random starts miss small signals, and
    random features useful ones: the best lumps are varied in one feature each, as many times as there were centres.
    With fewer than four features each lump is one in all of them.

    Args:
        points: Events.
        number: Centres that are tried, each with the mass and a few features, drawn at random.
        keep: Starts that are returned, the best ones, none near another.
        rng: Source of randomness.

    Returns:
        At most `keep` searches with one component each.
    """
    rare = np.exp(-0.5 * np.maximum(points.log_background - points.log_background.mean(), -CUT))
    centres = rng.choice(len(points), size=min(number, len(points)), replace=False, p=rare / rare.sum())
    active = _subsets(len(centres), points.y.shape[1], rng)
    tried = _put(points, centres, active)
    scores = _scores(points, tried)
    for _ in range(GENERATIONS if active.shape[1] > MANY else 0):
        best = np.repeat(np.argsort(-scores)[: -(-number // (CHILDREN * GENERATIONS))], CHILDREN)
        flipped = active[best] ^ (np.arange(active.shape[1]) == rng.integers(1, active.shape[1], (len(best), 1)))
        more = _put(points, centres[best], flipped)
        tried, scores = Blobs.joined([tried, more]), np.concatenate([scores, _scores(points, more)])
        centres, active = np.concatenate([centres, centres[best]]), np.concatenate([active, flipped])
    return tried.take(_distinct(tried.means[:, 0], np.argsort(-scores), keep))


def _put(points: Points, centres: Integers, active: Mask) -> Blobs:
    """Lumps of the filter's shape onto events."""
    size = points.y.shape[1]
    shape = np.broadcast_to(np.diag(_widths(size) ** 2), (len(centres), 1, size, size))
    means, covariances = completed(points, points.y[centres][:, None], shape, active[:, None])
    return Blobs(np.full((len(centres), 1), SHARE), means, covariances, active[:, None])


def _widths(size: int) -> Array:
    return np.array([MASS_WIDTH] + [FEATURE_WIDTH] * (size - 1))


def _subsets(number: int, size: int, rng: np.random.Generator) -> Mask:
    """The mass and some of the features, shape (number, size)."""
    ranks = rng.random((number, size - 1)).argsort(axis=1).argsort(axis=1)
    return np.column_stack([np.ones(number, dtype=np.bool_), ranks < rng.choice(ACTIVE, size=(number, 1))])


def _scores(points: Points, tried: Blobs) -> Array:
    total, square = np.zeros(len(tried)), np.zeros(len(tried))
    for first in range(0, len(points), CHUNK):  # so that they stay in the cache
        part = points.near(slice(first, first + CHUNK))
        ratio = tried.log_densities(part)[:, :, 0]
        ratio -= part.log_background[:, None].astype(np.float32)
        np.exp(np.minimum(ratio, CEILING, out=ratio), out=ratio)
        total += ratio.sum(axis=0)
        square += np.einsum("ij,ij->j", ratio, ratio)
    return np.asarray((total - len(points)) / np.sqrt(square))


def _distinct(means: Array, order: Iterable[int], keep: int) -> Integers:
    """The first that are not near one before them."""
    chosen: list[int] = []
    for k in order:
        distance = ((means[k] - means[chosen]) / _widths(means.shape[1])) ** 2
        if np.all(distance.sum(axis=1) > APART):
            chosen.append(int(k))
        if len(chosen) == keep:
            break
    return np.array(chosen, dtype=np.intp)


def promising(points: Points, *, number: int, keep: int, rng: np.random.Generator) -> Blobs:
    """The matched filter's best starts, followed for a few steps, with the features that each is a lump in.

    With fewer than four features all of them are taken.

    Args:
        points: Events.
        number: Centres that are tried; more of them with more than five features.
        keep: Starts; if features are chosen the better half of them is returned.
        rng: Source of randomness.

    Returns:
        Searches with one component each, the best first.
    """
    if points.y.shape[1] <= MANY:
        return starts(points, number=number, keep=keep, rng=rng)
    more = max(1.0, (points.y.shape[1] - 1) / FEW)
    first = starts(points, number=round(more * number), keep=round(more * FOLLOWED * keep), rng=rng)
    followed = [_follow(points, first.take(np.array([k]))) for k in range(len(first))]
    values = np.array([found.objective[0] for found in followed])
    means = np.concatenate([found.blobs.means[:, 0] for found in followed])
    kept = _distinct(means, np.argsort(-values), keep)
    chosen = [_chosen(points, followed[k]) for k in kept]
    best = np.argsort([-found.objective[0] for found in chosen])[: (keep + 1) // 2]
    return Blobs.joined([chosen[k].blobs for k in best])


def _follow(points: Points, start: Blobs) -> Maximum:
    """Two rounds of a few steps of one search."""
    first = _near(points, start, start).blobs
    return _near(points, first, first)


def _near(points: Points, place: Blobs, trials: Blobs) -> Maximum:
    """A few steps with the events near a place."""
    odds = place.log_ratio(points)[:, 0] + np.log(np.maximum(place.total[0], 1e-300))
    near = odds > np.log(NEAR)
    return maximise(points.near(near), trials, outside=int((~near).sum()), enough=ENOUGH, most=STEPS)


def _chosen(points: Points, found: Maximum) -> Maximum:
    """Turn features on and off as long as that raises the objective."""
    for _ in range(ROUNDS):
        again = _near(points, found.blobs, _moves(points, found.blobs))
        best = again.take(np.array([again.best()]))
        if not best.objective[0] > found.objective[0] + GAIN:
            break
        found = best
    return found


def _moves(points: Points, own: Blobs) -> Blobs:
    """A lump, and all that differ from it in being a lump in one feature, at one of a few places if it is turned on."""
    moves, variance = [own], FEATURE_WIDTH**2
    for j in range(1, points.y.shape[1]):
        active = own.mask ^ (np.arange(points.y.shape[1]) == j)
        if own.mask[0, 0, j]:
            moves.append(Blobs(own.shares, *completed(points, own.means, own.covariances, active), active))
            continue
        for place in PLACES:
            means, covariances = own.means.copy(), own.covariances.copy()
            covariances[..., j, :] = covariances[..., :, j] = 0.0
            means[..., j], covariances[..., j, j] = place, variance
            moves.append(Blobs(own.shares, *completed(points, means, covariances, active), active))
    return Blobs.joined(moves)
