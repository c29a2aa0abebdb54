"""Weighted two-sample test: right where the densities are one, and awake where they are not."""

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.statistics.weighted_samples import WeightedEvents, weighted_two_sample

N, FEW = 1500, 300


def drawn(rng, n=N, *, shift=0.0, rows=1):
    """Two correlated features; weights that know of the first one, undone by the density that is drawn from."""
    y = rng.normal(shift, 1.0, (n, 2))
    event = np.repeat(np.arange(n), rows)
    return WeightedEvents(np.repeat(y, rows, axis=0), np.full(n * rows, 1.0 / rows), event)


def tilted(rng, n=2 * N):
    """The same density from another one, by weights."""
    y = rng.normal(0.0, 1.0, (n, 2))
    y[:, 0] += 0.5
    return WeightedEvents(y, np.exp(-0.5 * y[:, 0] + 0.125), np.arange(n))


@pytest.mark.statistical  # 20 tests: 9 of p < 0.05 have a rate of 1e-7, a width of 1.8 one of 1e-6
@pytest.mark.parametrize("paired", [pytest.param(False, marks=pytest.mark.slow), True])
def test_right_weights_are_not_noticed(paired):
    """The width is one at most, since the halves of one test know of each other."""
    found = []
    for k in range(20):
        first, second = drawn(np.random.default_rng(k), FEW), tilted(np.random.default_rng(1000 + k), 2 * FEW)
        if paired:  # events before and after a shift by half a standard deviation, undone by weights
            second = WeightedEvents(first.x + np.array([0.5, 0.0]), np.exp(-0.5 * first.x[:, 0] - 0.125), first.event)
        found.append(weighted_two_sample(first, second, seed=k, paired=paired))
    z = np.array([own.z for own in found])
    assert np.std(z) < 1.8
    assert abs(z.mean()) < 1.2
    assert sum(own.p_value < 0.05 for own in found) < 9


def test_wrong_weights_are_noticed():
    wrong = tilted(np.random.default_rng(1))
    wrong = WeightedEvents(wrong.x, np.ones(len(wrong.weights)), wrong.event)
    test = weighted_two_sample(drawn(np.random.default_rng(2)), wrong, seed=1)
    assert test.z > 4.0
    assert test.p_value < 1e-4
    # Phi(d / sqrt 2) of two normal densities half a standard deviation apart
    assert test.area == pytest.approx(0.638, abs=0.03)
    assert test.n_first == pytest.approx(N)
    assert str(test).startswith("p = ")


def test_rows_of_one_event_count_once():
    """Twice the same rows with half the weights are no more events."""
    other = drawn(np.random.default_rng(4), 2 * N, shift=0.1)
    once = weighted_two_sample(drawn(np.random.default_rng(3)), other, seed=1)
    twice = weighted_two_sample(drawn(np.random.default_rng(3), rows=4), other, seed=1)
    assert twice.z < once.z + 1.5  # four times the events would have twice the distance
    assert once.z > 0.5


def test_pairs_know_their_fluctuations():
    """A shift far below the fluctuations of either sample is seen in pairs."""
    first = drawn(np.random.default_rng(5))
    moved = WeightedEvents(first.x + np.array([0.05, 0.0]), first.weights, first.event)
    apart = weighted_two_sample(first, moved, seed=2)
    paired = weighted_two_sample(first, moved, seed=2, paired=True)
    assert paired.z > apart.z + 1.0
    same = weighted_two_sample(first, first, seed=2, paired=True)
    assert abs(same.z) < 1e-6
    assert same.area == pytest.approx(0.5)


def test_few_events_are_refused():
    with pytest.raises(InputError, match="100 effective events of each sample, got 50 and 1500; widen the region"):
        weighted_two_sample(drawn(np.random.default_rng(1), 50), drawn(np.random.default_rng(2)), seed=1)
