"""Simulation that every test of a strategy takes."""

from __future__ import annotations

import pytest
from peak_toy import events


@pytest.fixture(scope="module")
def simulation():
    return events(8000, 0, 1), events(0, 40_000, 2)
