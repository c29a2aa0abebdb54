"""Chi2 of bins against formulae that need no matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from hisigma_zfit.statistics.binned_chi2 import binned_chi2, merged_bins

DATA = np.array([12.0, 31.0, 18.0, 9.0, 40.0])
MEAN = np.array([15.0, 25.0, 20.0, 11.0, 39.0])


def test_a_model_from_elsewhere_has_pearsons_chi2():
    found = binned_chi2(DATA, MEAN, np.zeros((5, 5)), fitted=False)
    value = float(np.sum((DATA - MEAN) ** 2 / MEAN))
    assert found.value == pytest.approx(value)
    assert found.ndf == 5
    assert found.p_value == pytest.approx(chi2.sf(value, 5))


def test_an_uncertainty_of_the_prediction_makes_it_smaller():
    """Of one number that moves all bins: the formula of Sherman and Morrison."""
    shift = 0.2 * MEAN
    found = binned_chi2(DATA, MEAN, np.outer(shift, shift), fitted=False)
    residual = DATA - MEAN
    plain, along, size = (np.sum(a * b / MEAN) for a, b in ((residual, residual), (residual, shift), (shift, shift)))
    assert found.value == pytest.approx(plain - along**2 / (1.0 + size))


def test_a_finite_sample_of_the_model_adds_its_variance():
    noise = 0.2 * MEAN
    found = binned_chi2(DATA, MEAN, np.zeros((5, 5)), fitted=False, noise=noise)
    assert found.value == pytest.approx(np.sum((DATA - MEAN) ** 2 / (1.2 * MEAN)))


def test_a_fitted_number_of_events_costs_one_degree_of_freedom():
    """Of a normalisation that was fitted: the multinomial chi2."""
    mean = MEAN * DATA.sum() / MEAN.sum()
    found = binned_chi2(DATA, mean, np.outer(mean, mean) / mean.sum(), fitted=True)
    assert found.ndf == 4
    assert found.value == pytest.approx(np.sum((DATA - mean) ** 2 / mean))


def test_bins_that_expect_little_are_joined():
    joined = merged_bins(np.array([6.0, 1.0, 2.0, 3.0, 7.0, 1.0]), 5.0)
    np.testing.assert_array_equal(joined, [[1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]])
    assert binned_chi2(np.array([0.0, 1.0]), np.array([0.4, 0.5]), np.zeros((2, 2)), fitted=False).ndf == 1


def test_nothing_is_left_where_the_fit_follows_all():
    mean = np.array([10.0, 20.0])
    assert binned_chi2(mean, mean, np.diag(mean), fitted=True) is None
    assert binned_chi2(np.zeros(2), np.zeros(2), np.zeros((2, 2)), fitted=False) is None


def test_p_values_of_fitted_spectra_are_uniform():
    """A straight line with two parameters in 20 bins, 400 times; mean of chi2 is ndf: 6 errors, false alarm 2e-9."""
    rng = np.random.default_rng(5)
    x = np.linspace(-1.0, 1.0, 20)
    design = np.stack([np.ones(20), x])
    values = []
    for _ in range(400):
        data = rng.poisson(200.0 + 50.0 * x).astype(float)
        # weighted least squares with the true variances
        variance = 200.0 + 50.0 * x
        covariance = np.linalg.inv((design / variance) @ design.T)
        mean = design.T @ covariance @ (design / variance) @ data
        found = binned_chi2(data, mean, design.T @ covariance @ design, fitted=True, variance=variance)
        assert found.ndf == 18
        values.append(found.value)
    assert np.mean(values) == pytest.approx(18.0, abs=6.0 * np.sqrt(2 * 18 / 400))
