"""Tasks in other processes and on a cluster give what they give here."""

from __future__ import annotations

import operator
import os

import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.workers import finished

TASKS = [(k,) for k in range(5)]
EXPECTED = {(k,): 10 + k for k in range(5)}


def test_here():
    assert list(finished(operator.add, 10, TASKS)) == list(EXPECTED.items())
    assert list(finished(operator.add, 10, [], processes=2)) == []


def test_in_processes():
    assert dict(finished(operator.add, 10, TASKS, processes=2)) == EXPECTED


def test_workers_have_one_thread_unless_the_user_wants_more(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = dict(finished(_threads, None, [(k,) for k in range(2)], processes=2))
    assert set(found.values()) == {"1"}
    assert "OMP_NUM_THREADS" not in os.environ


def _threads(shared, task):
    return os.environ.get("OMP_NUM_THREADS")


def test_on_dask():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        assert dict(finished(operator.add, 10, TASKS, scheduler=cluster.scheduler_address)) == EXPECTED


def test_a_scheduler_that_is_not_there():
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="running Dask scheduler"):
        list(finished(operator.add, 10, TASKS, scheduler="tcp://127.0.0.1:1"))
