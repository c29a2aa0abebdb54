"""Do weighted simulated events come from the density of others?  Trees decide, by events that they have not seen.

Permuting labels needs events that are alike, and weights are not.  So the events are split into halves; trees that
learned one half score the other, and the mean scores of both kinds are compared there, each with the error that its
weights give it.  Given the trees the difference is a difference of means, whose distribution is normal for hundreds of
events whatever the trees have learned: a bad classifier costs power, never validity.  The halves change places, and
both answers are averaged.  They are not independent (what one half has learned judges what the other has), so that the
mean has a width of at most one: p-values are those of one half, or a little too large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import WeightedTest

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32, Integers, Mask

__all__ = ["WeightedEvents", "weighted_two_sample"]

LEAST = 100.0  # effective events of each kind
MOST = 60_000  # rows of each kind
_LEAVES = 60  # a leaf has at least the 60th part of the events: over-training costs power


@dataclass(frozen=True)
class WeightedEvents:
    """One of the two samples.

    Attributes:
        x: Features, shape (n, d).
        weights: Not negative, shape (n,).
        event: Number of the hard event behind each row, shape (n,); rows of one are in the same half.
    """

    x: Array | Float32
    weights: Array
    event: Integers

    def of(self, rows: Mask) -> WeightedEvents:
        """Some of them."""
        return WeightedEvents(self.x[rows], self.weights[rows], self.event[rows])


def weighted_two_sample(
    first: WeightedEvents, second: WeightedEvents, *, seed: int, paired: bool = False, most: int = MOST
) -> WeightedTest:
    """Test that two weighted samples have one density; their normalisations do not matter.

    Args:
        first: The one that is judged, for example data.
        second: What it should be like.
        seed: Of the halves and of the trees.
        paired: Whether equal numbers of hard events mean the same event in both samples, whose fluctuations cancel.
        most: Rows of each sample, about; more cost time.

    Returns:
        The test; halves are exchanged and both answers averaged.

    Raises:
        InputError: There are fewer than 100 effective events of a kind.
    """
    rng = np.random.default_rng(seed)
    samples = [first, second]
    shares = [min(1.0, most / max(len(own.weights), 1)) for own in samples]
    shares = [min(shares)] * 2 if paired else shares
    kept = [drawn < share for drawn, share in zip(_by_chance(samples, rng, paired=paired), shares, strict=True)]
    samples = [own.of(rows) for own, rows in zip(samples, kept, strict=True)]
    effective = [_effective(own.weights) for own in samples]
    if min(effective) < LEAST:
        raise InputError.from_parts(
            expected=f"{LEAST:.0f} effective events of each sample",
            got=" and ".join(f"{n:.0f}" for n in effective),
            do="widen the region",
        )
    halves = [drawn < 0.5 for drawn in _by_chance(samples, rng, paired=paired)]
    z, areas, errors = [], [], []
    for side in (False, True):
        scores = _scored(samples, halves, train=side, seed=int(rng.integers(2**31)))
        judged = [
            WeightedEvents(own, sample.weights[half != side], sample.event[half != side])
            for own, sample, half in zip(scores, samples, halves, strict=True)
        ]
        z.append(_distance(*judged, paired=paired))
        areas.append(_area(*judged))
        errors.append(np.sqrt(sum(1.0 / (12.0 * _effective(own.weights)) for own in judged)))
    total = float(np.mean(z))
    return WeightedTest(
        z=total,
        p_value=float(norm.sf(total)),
        area=float(np.mean(areas)),
        area_error=float(np.mean(errors)),
        n_first=effective[0],
        n_second=effective[1],
        seed=seed,
    )


def _effective(weights: Array) -> float:
    return float(weights.sum() ** 2 / max((weights**2).sum(), 1e-300))


def _by_chance(samples: list[WeightedEvents], rng: np.random.Generator, *, paired: bool) -> list[Array]:
    """A uniform number for each row, the same for rows of one hard event; of both samples, if they have the same."""
    groups = [np.concatenate([own.event for own in samples])] if paired else [own.event for own in samples]
    found = []
    for event in groups:
        number = np.unique(event, return_inverse=True)[1]
        found.append(rng.random(int(number.max(initial=-1)) + 1)[number])
    return np.split(found[0], [len(samples[0].event)]) if paired else found


def _scored(samples: list[WeightedEvents], halves: list[Mask], *, train: bool, seed: int) -> list[Array]:
    """Scores of the other half, by trees that have learned this one."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    rows = [half == train for half in halves]
    x = np.concatenate([own.x[at] for own, at in zip(samples, rows, strict=True)])
    weights = [own.weights[at] / own.weights[at].sum() for own, at in zip(samples, rows, strict=True)]
    labels = np.repeat([1, 0], [len(own) for own in weights])
    together = np.concatenate(weights) * 0.5 * len(x)
    trees = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=8,
        max_bins=63,
        min_samples_leaf=max(20, len(x) // _LEAVES),
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for busy cores cost a factor of ten
        trees.fit(x, labels, sample_weight=together)
        return [trees.decision_function(own.x[~at]) for own, at in zip(samples, rows, strict=True)]


def _distance(first: WeightedEvents, second: WeightedEvents, *, paired: bool) -> float:
    """Difference of the mean scores, in its standard deviations; the sum over hard events has the variance."""
    parts = []
    for sign, own in ((1.0, first), (-1.0, second)):
        mean = float(np.average(own.x, weights=own.weights))
        parts.append((sign * own.weights * (own.x - mean) / own.weights.sum(), mean, own.event))
    difference = parts[0][1] - parts[1][1]
    if paired:
        sums = _by_event(np.concatenate([own[0] for own in parts]), np.concatenate([own[2] for own in parts]))
        variance = float((sums**2).sum())
    else:
        variance = sum(float((_by_event(own[0], own[2]) ** 2).sum()) for own in parts)
    return difference / np.sqrt(variance) if variance > 0.0 else 0.0


def _by_event(values: Array, event: Integers) -> Array:
    return np.bincount(np.unique(event, return_inverse=True)[1], values).astype(np.float64)


def _area(first: WeightedEvents, second: WeightedEvents) -> float:
    """Probability that an event of the first sample has the larger score; half of it for equal ones."""
    values, number = np.unique(np.concatenate([first.x, second.x]), return_inverse=True)
    own = np.bincount(number[: len(first.x)], first.weights, len(values)) / first.weights.sum()
    other = np.bincount(number[len(first.x) :], second.weights, len(values)) / second.weights.sum()
    return float(own @ (np.cumsum(other) - 0.5 * other))
