"""Intervals from a response, beside the published table of Feldman and Cousins and by repetition."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.statistics.response_interval import censored_normal, response_interval

TRUTHS = np.array([0.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("seen", "low", "high"),
    # arXiv:physics/9711021, table X, 68.27 %: a unit Gaussian whose mean is not negative
    [(0.5, 0.0, 1.50), (1.5, 0.55, 2.50), (2.0, 1.00, 3.00), (3.0, 2.00, 4.00)],
)
def test_published_intervals(seen, low, high):
    """Their measurement may be negative; where it is cut off, true values below one are covered more often."""
    found = response_interval(TRUTHS, TRUTHS, np.ones(4), seen, cl=0.6827)
    assert found[0] == pytest.approx(seen, abs=0.03)
    assert found[2] == pytest.approx(high, abs=0.04)
    assert low - 0.27 < found[1] < low + 0.04
    if low > 1.0:
        assert found[1] == pytest.approx(low, abs=0.04)


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
