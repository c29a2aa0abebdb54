"""The mass shape of the sidebands against a brute-force fit and an exact density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import kstest

from hisigma_zfit.validation.sideband_shape import SidebandShape

RANGE, REGION = (90.0, 180.0), (115.0, 135.0)


@pytest.fixture(scope="module")
def masses():
    rng = np.random.default_rng(3)
    m = 90.0 - 45.0 * np.log1p(-rng.random(30_000) * -np.expm1(-2.0))
    return m[(m < REGION[0]) | (m >= REGION[1])]


@pytest.fixture(scope="module")
def shape(masses):
    return SidebandShape.fit(masses, RANGE, REGION)


def test_the_fit_is_that_of_a_numerical_minimiser(masses, shape):
    t = (masses - 90.0) / 90.0

    def loss(p):
        def height(x):
            return np.exp(-p[0] * x + p[1] * x**2)

        norm = quad(height, 0.0, 25 / 90)[0] + quad(height, 0.5, 1.0)[0]
        return np.mean(p[0] * t - p[1] * t**2) + np.log(norm)

    found = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-13})
    np.testing.assert_allclose([shape.p1, shape.p2], found.x, atol=1e-4)


def test_the_signal_region_is_foretold(masses, shape):
    """Of 30,000 exponential events 7,520 are inside; 130 = 3.9 sigma of the extrapolation by about 22,500 (a seed)."""
    true = 30_000 * (np.exp(-50 / 90) - np.exp(-1.0)) / (1 - np.exp(-2.0))
    assert shape.expected(*REGION) == pytest.approx(true, abs=130)
    parts = [shape.expected(*span) for span in ((90.0, 115.0), (135.0, 180.0))]
    assert sum(parts) == pytest.approx(len(masses), rel=1e-12)
    assert shape.expected(*RANGE) == pytest.approx(sum(parts) + shape.expected(*REGION), rel=1e-9)


@pytest.mark.statistical
def test_samples_follow_the_shape(shape):
    """False-alarm rate 1e-4."""
    m = shape.sample(20_000, np.random.default_rng(5), REGION)
    total = shape.expected(*REGION)
    grid = np.linspace(*REGION, 400)
    cumulative = np.array([shape.expected(REGION[0], x) / total for x in grid])
    assert kstest(m, lambda x: np.interp(x, grid, cumulative)).pvalue > 1e-4
