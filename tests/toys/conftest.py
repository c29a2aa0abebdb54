"""A pool of events and a study of toys for every test of them."""

from __future__ import annotations

import pytest
from toy_likelihood import EVENTS, INJECTED, likelihood

from hisigma_zfit.toys.toys import make_pool, run_toys


@pytest.fixture(scope="module")
def pool():
    return make_pool(likelihood(constraint=1.7), "n_sig", INJECTED, events=EVENTS, seed=2)


@pytest.fixture(scope="module")
def fits(pool):
    return run_toys(pool, "n_sig", n=400, seed=3)
