"""The worlds of features with kinds are what they say: densities that are drawn from, and a fit that is one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from kinds import MASSES, N_BACKGROUND, N_SIGNAL, WORLDS, yields


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.statistical
def test_densities_are_what_is_drawn(name):
    """The mean of p / q under q is one; q is less tilted.  False alarms: 6e-7 each, 14 of them."""
    world, rng = WORLDS[name], np.random.default_rng(1)
    m = rng.uniform(*MASSES, 20_000)
    for here, there in ((0.3, 0.1), (0.1, 0.2)):
        x = world.sample(m, here, rng)
        ratio = np.exp(world.log_prob(x, m, there) - world.log_prob(x, m, here))
        assert abs(ratio.mean() - 1.0) <= 5.0 * ratio.std() / np.sqrt(ratio.size)
        assert ratio.std() > 0.01


def test_a_fit_of_expected_events_finds_them_and_its_error_is_that_of_the_curvature():
    rng = np.random.default_rng(2)
    background, signal = rng.standard_normal(200_000), 1.0 + rng.standard_normal(200_000)
    ratio = np.exp(np.concatenate([background, signal]) - 0.5)
    weights = np.repeat([N_BACKGROUND / 200_000, N_SIGNAL / 200_000], 200_000)
    found, rest, error = yields(ratio, weights)
    assert found == pytest.approx(N_SIGNAL, abs=0.8 * error)  # five times the noise of the sample
    assert found + rest == pytest.approx(N_SIGNAL + N_BACKGROUND)
    near = N_SIGNAL * ratio + N_BACKGROUND
    curvature = np.stack([ratio, np.ones_like(ratio)]) / near
    expected = np.sqrt(np.linalg.inv((curvature * weights) @ curvature.T)[0, 0])
    assert error == pytest.approx(expected, rel=0.1)
