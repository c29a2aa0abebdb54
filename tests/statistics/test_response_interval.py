"""Intervals from a response, beside the published construction by brute force and by repetition."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.statistics.response_interval import censored_normal, response_interval

TRUTHS = np.array([0.0, 2.0, 4.0, 8.0])


def feldman_cousins(seen):
    """arXiv:physics/9711021 by brute force: a unit Gaussian whose measurement may be negative, its mean not."""
    x = np.linspace(-8.0, 14.0, 8801)
    inside = []
    for mean in np.linspace(0.0, 8.0, 801):
        density = np.exp(-0.5 * (x - mean) ** 2)
        ratio = density / np.exp(-0.5 * np.minimum(x, 0.0) ** 2)
        order = np.argsort(-ratio)
        taken = order[: 1 + np.searchsorted(np.cumsum(density[order]) / density.sum(), 0.6827)]
        if ratio[np.argmin(np.abs(x - seen))] >= ratio[taken[-1]]:
            inside.append(mean)
    return inside[0], inside[-1]


@pytest.mark.parametrize("seen", [0.5, 1.5, 2.0, 3.0])
def test_unified_intervals(seen):
    """Where the measurement is cut off at zero instead, true values up to one are covered more often."""
    best, low, high = response_interval(TRUTHS, TRUTHS, np.ones(4), seen, cl=0.6827)
    first, last = feldman_cousins(seen)
    assert best == pytest.approx(seen, abs=0.03)
    assert high == pytest.approx(last, abs=0.04)
    assert low < first + 0.04
    if first > 1.05:
        assert low == pytest.approx(first, abs=0.04)


def test_a_response_is_inverted():
    """An estimator that returns three quarters, with an offset: the interval is that of the true value."""
    best, low, high = response_interval(10 * TRUTHS, 5 + 7.5 * TRUTHS, np.full(4, 6.0), 35.0, cl=0.6827)
    assert best == pytest.approx(40.0, abs=0.2)
    assert (low, high) == pytest.approx((32.0, 48.0), abs=0.3)


@pytest.mark.parametrize("truth", [0.0, 1.0, 3.0])
def test_it_covers(truth):
    """By 4000 repetitions of a censored normal estimator: 0.6827 or, where it is discrete at zero, more."""
    rng = np.random.default_rng(3)
    values = np.maximum(rng.normal(0.3 + 0.8 * truth, 1.0, 4000), 0.0)
    cells = np.round(5 * values) / 5
    known = {v: response_interval(TRUTHS, 0.3 + 0.8 * TRUTHS, np.ones(4), float(v), cl=0.6827) for v in set(cells)}
    covered = np.mean([known[v][1] <= truth <= known[v][2] for v in cells])
    error = np.sqrt(0.6827 * 0.3173 / 4000)  # five of them: 6e-7
    assert covered > 0.6827 - 5 * error - 0.04  # and half a cell
    if truth == 3.0:
        assert covered < 0.6827 + 5 * error + 0.04


def test_a_censored_normal_is_found_again():
    rng = np.random.default_rng(5)
    values = np.maximum(rng.normal(1.0, 2.0, 20_000), 0.0)
    mean, width = censored_normal(values)
    assert mean == pytest.approx(1.0, abs=0.1)  # five errors of 0.02
    assert width == pytest.approx(2.0, abs=0.1)
    assert censored_normal(np.zeros(5)) == (0.0, 0.01)
    assert censored_normal(np.array([3.0, 5.0]))[0] == 4.0


def test_few_experiments_make_wide_intervals_and_an_open_end_is_told():
    means, widths = 0.8 * TRUTHS, np.array([1.0, 1.3, 0.9, 1.1])
    sure = response_interval(TRUTHS, means, widths, 3.0, cl=0.683)
    rough = response_interval(TRUTHS, means, widths, 3.0, cl=0.683, experiments=5)
    assert rough[2] - rough[1] == pytest.approx(1.25 * (sure[2] - sure[1]), rel=0.1)  # sqrt(1.2) t_4 / z
    assert response_interval(TRUTHS, means, widths, 14.0, cl=0.95)[2] == np.inf
