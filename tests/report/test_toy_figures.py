"""Figures of pseudo-experiments whose answers are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from hisigma_zfit.report import toy_figures
from hisigma_zfit.results import Coverage, LimitQuantiles, Quantiles, ToyParameter, ToySummary

N = 999


@pytest.fixture
def summary() -> ToySummary:
    """Pulls at the quantiles of a Gaussian, which is exact coverage, and significances around 5."""
    pulls = norm.ppf((np.arange(N) + 0.5) / N)
    found = Quantiles(5.0, 0.04, {"-2": 3.0, "-1": 4.0, "0": 5.0, "1": 6.0, "2": 7.0})
    own = ToyParameter(
        true=50.0, bias=0.0, bias_error=0.3, spread=10.0, error=10.0,
        pull_mean=0.0, pull_mean_error=0.03, pull_width=1.0, pull_width_error=0.02,
    )  # fmt: skip
    cover = {"68": Coverage(cl=0.6827, inside=650, value=0.6507, lower=0.635, upper=0.666)}
    return ToySummary("n_sig", 50.0, N, 0, 1, {"n_sig": own}, cover, found, None, pulls, 5.0 + pulls, np.empty(0))


def test_pulls_follow_the_curve_that_is_drawn(summary: ToySummary) -> None:
    (axes,) = toy_figures.pulls(summary).axes
    (points,) = axes.containers
    x, counts = points.lines[0].get_data()
    assert counts.sum() == N
    gaussian = next(line for line in axes.get_lines() if line.get_label().startswith("Gaussian"))
    expected = np.interp(x, *gaussian.get_data())
    assert np.all(np.abs(counts - expected) < 2.0)  # a bin's integral is not its middle, and counts are whole
    assert axes.get_ylim()[1] > 1.4 * (counts + np.sqrt(counts)).max()  # the legend stays clear of the points
    assert any("0.000 \\pm 0.030" in text.get_text() for text in axes.get_legend().get_texts())


def test_coverage_shows_the_counted_levels_against_the_nominal_ones(summary: ToySummary) -> None:
    (axes,) = toy_figures.coverage(summary).axes
    curve = next(line for line in axes.get_lines() if line.get_label() == "Best value and error")
    np.testing.assert_allclose(curve.get_ydata(), 0.0, atol=2.0 / N)
    (points,) = axes.containers
    np.testing.assert_allclose(np.ravel(points.lines[0].get_data()), [0.6827, 0.6507 - 0.6827], atol=1e-9)
    low, high = axes.get_ylim()
    assert low < -0.05 < 0.0 < high


def test_expected_results_are_limits_where_there_are_some(summary: ToySummary) -> None:
    (axes,) = toy_figures.expected(summary).axes
    assert axes.get_xlabel() == "Significance $Z$"
    bands = {name: 10.0 * value for name, value in summary.significance.bands.items()}
    limits = LimitQuantiles(median=50.0, median_error=0.4, bands=bands, cl=0.95)
    with_limits = dataclasses.replace(summary, limit=limits, limits=10.0 * summary.z)
    (axes,) = toy_figures.expected(with_limits, labels={"n_sig": "HH yield"}).axes
    assert axes.get_xlabel() == "95 % upper limit on HH yield"
    assert any("Median 50" in text.get_text() for text in axes.get_legend().get_texts())
    assert set(toy_figures.toy_figures(with_limits)) == {"toys_pulls", "toys_coverage", "toys_expected"}
