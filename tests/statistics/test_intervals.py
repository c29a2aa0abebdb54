"""Intervals of counts against definitions and against hist's."""

from __future__ import annotations

import numpy as np
import pytest
from hist.intervals import poisson_interval
from scipy.stats import norm, poisson

from hisigma_zfit.statistics.intervals import ONE_SIGMA, poisson_errors


def test_the_level_of_an_error():
    assert pytest.approx(norm.cdf(1.0) - norm.cdf(-1.0), abs=1e-15) == ONE_SIGMA


def test_poisson_errors_are_hists_where_bins_are_full():
    counts = np.array([0.0, 1.0, 5.0, 100.0, 40000.0])
    below, above = poisson_errors(counts, counts)
    lower, upper = poisson_interval(counts)
    np.testing.assert_allclose(counts - below, lower, rtol=1e-12)
    np.testing.assert_allclose(counts + above, upper, rtol=1e-12)
    weighted, variance = np.array([2.5, 7.0, 80.0]), np.array([1.3, 9.0, 40.0])
    below, above = poisson_errors(weighted, variance)
    lower, upper = poisson_interval(weighted, variance)
    np.testing.assert_allclose(weighted - below, lower, rtol=1e-12)
    np.testing.assert_allclose(weighted + above, upper, rtol=1e-12)


def test_poisson_errors_where_hist_has_none():
    """An empty bin of a weighted histogram, and one with a negative sum of weights."""
    below, above = poisson_errors([0.0, 8.0, -1.0], [0.0, 4.0, 2.0])
    assert below[0] == 0.0
    # no event with this probability or less, in weights of the whole histogram: 6 / 7
    assert poisson.cdf(0, above[0] * 7.0 / 6.0) == pytest.approx(norm.sf(1.0))
    assert (below[2], above[2]) == (pytest.approx(np.sqrt(2.0)),) * 2
    assert np.isnan(poisson_interval(np.array([0.0, 8.0]), np.array([0.0, 4.0]))[1, 0])
