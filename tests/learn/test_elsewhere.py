"""Trainings that are sent elsewhere end with the same bits, and what has arrived is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.learn import elsewhere
from hisigma_zfit.learn.elsewhere import run_elsewhere, trained_elsewhere
from hisigma_zfit.learn.schedule import Schedule
from hisigma_zfit.learn.state import StackState

SCHEDULES = [Schedule(n_steps=300, batch=512, learning_rate=1e-2)] * 3


@dataclass(frozen=True)
class Named:
    name: str


def ended(work, k, state):
    done = StackState.start(np.full((1, 2), float(k), dtype=np.float32))
    done.step, done.complete = 300, True
    return done


def test_here_unless_told():
    assert run_elsewhere([Named("a")], SCHEDULES[:1], None, "", print) is None


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"scheduler": " "}])
def test_mistakes(wrong):
    with pytest.raises(InputError), trained_elsewhere(**wrong):
        pass


def test_what_has_arrived_is_kept_and_not_trained_again(tmp_path, monkeypatch):
    trainings, asked, steps = [Named("a"), Named("b"), Named("c")], [], []

    def lost(function, shared, tasks, **where):
        asked.append(([k for k, _ in tasks], where))
        yield tasks[0], ended(shared, *tasks[0])
        raise FitError("lost")

    monkeypatch.setattr(elsewhere, "finished", lost)
    with trained_elsewhere(scheduler="tcp://somewhere:1"):
        with pytest.raises(FitError):
            run_elsewhere(trainings, SCHEDULES, tmp_path, "same", steps.append)
        with pytest.raises(FitError):
            run_elsewhere(trainings, SCHEDULES, tmp_path, "same", steps.append)
        monkeypatch.setattr(elsewhere, "finished", lambda f, s, t, **_: [(own, ended(s, *own)) for own in t])
        states = run_elsewhere(trainings, SCHEDULES, tmp_path, "same", steps.append)
        with pytest.raises(InputError, match="same data"):
            run_elsewhere(trainings, SCHEDULES, tmp_path, "other", steps.append)
    assert asked == [(own, {"processes": 1, "scheduler": "tcp://somewhere:1"}) for own in ([0, 1, 2], [1, 2])]
    assert [float(state.result[0, 0]) for state in states] == [0.0, 1.0, 2.0]
    assert steps == [300] * 6  # one came, it was found and one came, both were found and one came
    assert run_elsewhere(trainings, SCHEDULES, None, "", print) is None  # it ended with the block


@pytest.mark.slow
def test_members_and_bootstraps_on_a_cluster_have_the_bits_of_one_machine(tmp_path):
    distributed = pytest.importorskip("distributed")
    import hisigma_zfit as hz

    small = hz.spline_flow(knots=8, bins=0, hidden=8, layers=1)
    options = {"given": "m", "flow": small, "preset": "quick", "seed": 1, "members": 2, "bootstraps": 2}
    here = hz.train_flow(hz.examples.simulation(), ["angle"], **options)
    one = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**one) as cluster, trained_elsewhere(scheduler=cluster):
        there = hz.train_flow(hz.examples.simulation(), ["angle"], checkpoint=tmp_path / "one", **options)
    for mine, theirs in zip(
        (*here.members, *here.bootstraps, *here.halves),
        (*there.members, *there.bootstraps, *there.halves),
        strict=True,
    ):
        for name, array in mine.pack()[1].items():
            np.testing.assert_array_equal(array, theirs.pack()[1][name])
    assert len(list((tmp_path / "one").glob("*.npz"))) == 5
