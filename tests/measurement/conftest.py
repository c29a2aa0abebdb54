"""What the finished run of `tests/conftest.py` has stored, for the tests that look at it."""

from __future__ import annotations

import pytest

from hisigma_zfit.measurement.stored import load_results


@pytest.fixture(scope="module")
def stored(finished_run):
    assert finished_run.outcome.code == 0, finished_run.outcome.err
    return load_results(finished_run.out)


@pytest.fixture(scope="module")
def measured(stored):
    return stored.measurement
