"""Tasks in other processes and on a cluster give what they give here."""

from __future__ import annotations

import operator
import os
import pathlib
import signal
import time

import pytest

from hisigma_zfit import workers
from hisigma_zfit.errors import FitError, InputError
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


def test_a_scheduler_without_a_name():
    with pytest.raises(InputError, match="running Dask scheduler"):
        finished(operator.add, 10, TASKS, scheduler=" ")


OPTIONS = {"threads_per_worker": 1, "processes": False, "dashboard_address": None}


def test_a_scheduler_without_workers(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_PATIENCE", 0.2)
    with (
        distributed.LocalCluster(n_workers=0, **OPTIONS) as cluster,
        pytest.raises(InputError, match=r"expected workers at .* got none within 0\.2 s; start them with: dask worker"),
    ):
        list(finished(operator.add, 10, TASKS, scheduler=cluster.scheduler_address))


def _count(shared, task):
    return shared + task


def test_workers_without_the_package_and_a_scheduler_that_is_lost(monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, **OPTIONS) as cluster:
        address = cluster.scheduler_address
        monkeypatch.setattr(_count, "__module__", "absent_package.inside")
        with pytest.raises(InputError, match=r"workers that have the package absent_package, got 1 of 1 without it"):
            list(finished(_count, 10, TASKS, scheduler=address))
        monkeypatch.undo()
        monkeypatch.setattr(workers, "_PATIENCE", 0.5)
        results = finished(_slow, 10, [(k,) for k in range(50)], scheduler=address)
        next(results)
        cluster.close()
        with pytest.raises(FitError, match=r"lost .* what is finished is kept"):
            list(results)


def _slow(shared, task):
    time.sleep(0.2)
    return shared + task


def test_workers_of_another_version(monkeypatch):
    distributed = pytest.importorskip("distributed")
    versions = workers.asking_versions

    def other():
        asked = versions()
        calls = []

        def found(package, names):
            calls.append(package)
            return asked(package, names) | ({"numpy": "1.0"} if len(calls) == 1 else {})

        return found

    monkeypatch.setattr(workers, "asking_versions", other)
    with (
        distributed.LocalCluster(n_workers=1, **OPTIONS) as cluster,
        pytest.raises(
            InputError, match=r"versions that are here, got 1 of 1 with others, such as .*: numpy .* for 1\.0;"
        ),
    ):
        list(finished(_slow, 10, TASKS, scheduler=cluster.scheduler_address))


def test_the_code_of_a_package_counts_as_its_version():
    found = workers.asking_versions()("hisigma_zfit", ["numpy", "no-such-package"])
    assert found["no-such-package"] == "none"
    assert found["hisigma_zfit"].startswith("of the code ")
    assert workers.asking_versions()("no_such_package", []) == {}


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_a_worker_that_is_killed_in_the_middle(n, tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=n, **options) as cluster:
        # in the middle of the third task, and only the first time
        results = finished(_deadly, (10, str(tmp_path / "died")), TASKS, scheduler=cluster.scheduler_address)
        assert dict(results) == EXPECTED
    assert (tmp_path / "died").exists()


def _deadly(shared, task):
    number, path = shared
    if task == 2 and not pathlib.Path(path).exists():
        with pathlib.Path(path).open("w"):
            os.kill(os.getpid(), signal.SIGKILL)
    return number + task
