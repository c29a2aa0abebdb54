"""Flows that several tests look at; making one costs a compilation."""

from __future__ import annotations

import pytest
import truth
from untrained import REGION, random_flow

from hisigma_zfit.data import Dataset


@pytest.fixture(scope="session")
def two_features():
    return random_flow(2)


@pytest.fixture(scope="session")
def four_features():
    return random_flow(4)


@pytest.fixture(scope="session")
def sidebands():
    """20,000 background events outside the signal region."""
    columns = truth.BACKGROUND.columns(20_000, seed=11, region="sidebands")
    return Dataset.from_arrays(columns).sidebands(truth.MASS, REGION)
