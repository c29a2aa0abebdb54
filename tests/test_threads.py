"""How many threads work at once."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hisigma_zfit import threads
from hisigma_zfit.density import base

SET = "import hisigma_zfit, os; print(os.environ['TF_NUM_INTRAOP_THREADS'])"


@pytest.mark.parametrize(("given", "left"), [(None, "1"), ("4", "4")])
def test_an_operation_takes_one_thread_unless_somebody_wants_more(given, left):
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    if given is not None:
        environment["TF_NUM_INTRAOP_THREADS"] = given
    told = subprocess.run([sys.executable, "-c", SET], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == left


@pytest.mark.parametrize(
    ("wanted", "found"), [("1", 1), ("3", 3), ("1000", 6), ("0", 6), ("", 6), ("many", 6), ("-2", 6)]
)
def test_no_more_threads_than_cores_or_than_wanted(monkeypatch, wanted, found):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert threads.available() == found


@pytest.mark.parametrize("cores", [1, 3])
def test_blocks_side_by_side_end_where_they_belong(monkeypatch, cores):
    monkeypatch.setattr(base, "available", lambda: cores)
    x, m = np.arange(1003.0)[:, None], np.arange(1003.0) ** 0.5
    sizes = set()

    def function(x, m):
        sizes.add(len(x))
        return x[:, 0] - m

    found = base.blockwise(function, x, m, block=32, least=4, beside=True)
    np.testing.assert_array_equal(found, x[:, 0] - m)
    assert sizes == {32}  # 11 are left, which is more than a handful
