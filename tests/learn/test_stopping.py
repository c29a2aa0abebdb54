"""Where a training stops, by losses that are written down, and on nets of one parameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from hisigma_zfit.learn.optimiser import CHUNK, HeldOut, Stack, train_stack
from hisigma_zfit.learn.schedule import Schedule
from hisigma_zfit.learn.state import StackState
from hisigma_zfit.learn.stopping import TOLERANCE, checks, hopeless, kept


@pytest.mark.parametrize("n", [1, 12, 300, 100_000])
def test_checks_are_at_both_ends_and_in_growing_distances_between(n):
    steps = checks(n)
    assert steps[0] == 0
    assert steps[-1] == n
    assert list(steps) == sorted(set(steps))
    assert len(steps) < 45
    distances = np.diff(steps)[1:-1]  # those at the ends are what is left over
    assert np.all(np.diff(distances) >= -1)  # of whole steps


def test_the_last_check_that_does_not_hurt_is_kept():
    small = 0.5 * TOLERANCE
    assert kept([0.0, -0.2, -0.3, -0.3 + small, -0.2]) == 3
    assert kept([0.0, -0.2, -0.3, -0.25, -0.3 + small]) == 4
    assert kept([0.0, 0.1, 0.2]) == 0
    # never worse than the start, by however little
    assert kept([0.0, small, -0.1 * small, small]) == 2
    assert kept([0.0, np.nan, -0.1, np.nan]) == 2
    assert not hopeless([0.0])
    assert not hopeless([0.0, -0.5, -0.48, -0.47, -0.46])
    assert not hopeless([0.0, -0.5, -0.4, -0.3])
    assert hopeless([0.0, -0.5, -0.4, -0.3, -0.2])


@dataclass(frozen=True)
class Location:
    """Normal distribution around the parameter."""

    xla: bool = False

    def log_likelihood(self, parameters, events):
        return -0.5 * (events[0][None, :] - parameters) ** 2


def trained(x, *, folds=None, left_out=None, held_out=(), steps=400, threads=1):
    n = len(x)
    stack = Stack(
        objective=Location(),
        events=(x.astype(np.float32),),
        weights=np.ones(n, np.float32),
        held_out=tuple(HeldOut((own.astype(np.float32),), np.ones(len(own), np.float32)) for own in held_out),
        order=lambda epoch: np.random.default_rng(epoch).permutation(n),
        folds=folds,
        left_out=left_out,
    )
    members = 1 if left_out is None else len(left_out)
    start = StackState.start(np.zeros((members, 1), np.float32))
    return train_stack(stack, Schedule(steps, 64, 0.1), start, threads=threads)


def test_a_member_has_not_seen_its_part():
    """The best location is the mean of what is seen; parts have means of their own."""
    folds = np.tile(np.arange(5, dtype=np.int8), 200)
    x = np.where(folds == 3, 5.0, 1.0)
    result = trained(x, folds=folds, left_out=np.array([3, 0])).result[:, 0]
    # 1 without the part; four parts of five hold one of 5 among three of 1 where another is left out
    np.testing.assert_allclose(result, [1.0, 2.0], atol=0.1)


def test_members_side_by_side_have_the_same_bits():
    folds = np.tile(np.arange(5, dtype=np.int8), 2000)
    x = np.random.default_rng(1).normal(folds, 1.0)
    options = {"folds": folds, "left_out": np.arange(5), "held_out": [x[folds == k] for k in range(5)], "steps": 60}
    one, three = (trained(x, **options, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.result, three.result)
    assert one.check_losses == three.check_losses
    assert len(set(one.result[:, 0])) == 5


def stack_of(folds):
    n = len(folds)
    x = np.arange(n, dtype=np.float32)
    weights = np.random.default_rng(2).exponential(size=n).astype(np.float32)
    return Stack(Location(), (x,), weights, (), np.arange, folds, np.array([3, 0]))


def test_a_member_pays_for_no_event_that_it_does_not_see():
    folds = np.random.default_rng(1).integers(5, size=200_000).astype(np.int8)
    stack = stack_of(folds)
    rows = np.random.default_rng(3).permutation(len(folds))[: CHUNK * 512]
    for (members, events, weights), fold in zip(stack.batches(rows, 512), [3, 0], strict=True):
        assert events.shape == weights.shape == (CHUNK, 424)
        used = events[weights > 0]
        np.testing.assert_array_equal(used, rows[folds[rows] != fold])
        filled = (weights > 0).sum(axis=1)
        assert filled.max() - filled.min() <= 1
        # a mean over 424 places is what one over 512 events with weights of mean one would be
        np.testing.assert_allclose(weights[weights > 0], stack.weights[used] * 1.25 * 424 / 512, rtol=1e-6)
        assert members.stop - members.start == 1


def test_parts_that_are_too_unequal_are_masked():
    """A part of a tenth leaves more than fits."""
    folds = np.repeat(np.arange(5, dtype=np.int8), [300, 200, 200, 200, 100])
    stack = stack_of(folds)
    rows = np.tile(np.arange(1000), 13)[: CHUNK * 512]
    (_, events, weights), _ = stack.batches(rows, 512)
    np.testing.assert_array_equal(events.ravel(), rows)
    np.testing.assert_allclose(weights.ravel(), stack.weights[rows] * 1.25 * (folds[rows] != 3), rtol=1e-6)


def test_training_stops_where_held_out_events_say_so():
    """Events around 3 train, the held-out ones are around 1: their loss is smallest on the way."""
    x = np.full(640, 3.0)
    state = trained(x, held_out=(np.full(50, 1.0),))
    assert state.step < 400
    assert 0 < state.kept_step < state.step
    assert abs(state.result[0, 0] - 1.0) < 0.3
    # against them all along: the start is kept
    backwards = trained(x, held_out=(np.full(50, -1.0),))
    assert backwards.kept_step == 0
    assert backwards.result[0, 0] == 0.0
    assert trained(x).result[0, 0] == pytest.approx(3.0, abs=0.01)


def test_a_training_that_is_resumed_knows_what_it_may_keep(tmp_path):
    x = np.full(640, 3.0)
    state = trained(x, held_out=(np.full(50, 1.0),))
    state.save(tmp_path / "state.npz", "same")
    again = StackState.load(tmp_path / "state.npz", "same")
    assert again.complete
    assert again.kept_step == state.kept_step
    np.testing.assert_array_equal(again.result, state.result)
    assert tf.is_tensor(tf.constant(again.result))
