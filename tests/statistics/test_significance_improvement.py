"""Significance improvement of Gaussian scores, whose efficiencies are known, and errors against repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import SicCurve
from hisigma_zfit.statistics.significance_improvement import significance_improvement

SHIFT = 2.5


def draw(rng, n_signal, n_background):
    return rng.normal(SHIFT, 1.0, n_signal), rng.normal(0.0, 1.0, n_background)


def true_sic(level):
    return norm.sf(norm.isf(level) - SHIFT) / np.sqrt(level)


@pytest.mark.statistical
def test_gaussians():
    """Every cut within five of its errors: 6e-7 each for three independent ones, the others move with them."""
    curve = significance_improvement(*draw(np.random.default_rng(1), 50_000, 500_000))
    several = curve.background_efficiency * curve.n_background > 20
    level = curve.background_efficiency[several]
    assert np.all(np.abs(curve.sic[several] - true_sic(level)) < 5 * curve.error[several] + 1e-6)
    for point, level in ((curve.at_1e3, 1e-3), (curve.at_1e2, 1e-2)):
        assert point.background_efficiency == level
        assert point.sic == pytest.approx(true_sic(level), abs=5 * point.error)
        assert point.error < 0.03 * point.sic
    assert curve.maximum.background_efficiency * curve.n_background >= 20
    assert curve.maximum.sic == curve.sic[several].max()


@pytest.mark.statistical
def test_errors_are_the_spread_of_repeated_draws():
    """200 draws know a spread to 5 %, and a mean to 1/14 of it: six sigma, 2e-9 each."""
    rng = np.random.default_rng(2)
    curves = [significance_improvement(*draw(rng, 2000, 20_000)) for _ in range(200)]
    for name, level in (("at_1e3", 1e-3), ("at_1e2", 1e-2)):
        points = [getattr(curve, name) for curve in curves]
        values = np.array([point.sic for point in points])
        # the error is that of a finite difference over one standard deviation: right to a tenth with 20 events
        quoted = np.sqrt(np.mean([point.error**2 for point in points]))
        assert quoted == pytest.approx(values.std(), rel=6 * 0.05 + 0.1)
        assert values.mean() == pytest.approx(true_sic(level), abs=6 * values.std() / 14 + 0.01 * true_sic(level))


def test_equal_scores_pass_in_proportion():
    """A score of two values knows one cut; the best test between its ends passes some of the equal ones at random."""
    signal, background = np.repeat([1.0, 0.0], [600, 400]), np.repeat([1.0, 0.0], [200, 1800])
    curve = significance_improvement(signal, background)
    expected = np.interp(curve.background_efficiency, [0.0, 0.1, 1.0], [0.0, 0.6, 1.0])
    np.testing.assert_allclose(curve.signal_efficiency, expected, atol=4.0 / 2000)
    assert curve.at_1e2.signal_efficiency == pytest.approx(0.06, abs=4.0 / 2000)


def test_events_that_nothing_selects():
    rng = np.random.default_rng(3)
    signal, background = draw(rng, 1000, 4000)
    signal[:500] = -np.inf
    curve = significance_improvement(signal, background)
    assert curve.at_1e2.sic < 0.7 * true_sic(1e-2)
    none = significance_improvement(np.full(1000, -np.inf), background)
    assert none.at_1e2.sic == 0.0
    assert none.at_1e2.error > 0.0


def test_only_the_order_of_scores_counts():
    signal, background = draw(np.random.default_rng(4), 500, 2000)
    curve = significance_improvement(signal, background)
    again = significance_improvement(np.exp(3 * signal), np.exp(3 * background))
    np.testing.assert_array_equal(curve.sic, again.sic)


def test_round_trip_and_text():
    curve = significance_improvement(*draw(np.random.default_rng(5), 500, 2000))
    stored = SicCurve.from_json(curve.to_json())
    assert str(stored) == str(curve)
    assert stored.to_json() == curve.to_json()
    assert "at 1e-2" in str(curve)


@pytest.mark.parametrize(
    ("signal", "background"), [([], np.zeros(2000)), ([1.0], np.zeros(10)), ([np.nan], np.zeros(2000))]
)
def test_bad_input(signal, background):
    with pytest.raises(InputError):
        significance_improvement(signal, background)
