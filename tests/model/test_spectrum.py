"""The spectrum around a window against exact samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate
from scipy.optimize import minimize

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.spectrum import fit_spectrum

LIMITS, HOLE = (2500.0, 4500.0), (3300.0, 3700.0)


def masses(n, rng):
    """exp(-3 t), t from 0 to 1."""
    t = -np.log1p(rng.random(n) * np.expm1(-3.0)) / 3.0
    return LIMITS[0] + t * (LIMITS[1] - LIMITS[0])


def test_the_maximum_is_that_of_a_plain_minimiser():
    m = masses(4000, np.random.default_rng(1))
    found = fit_spectrum(m, LIMITS, HOLE, degree=2)
    t = (m[(m < HOLE[0]) | (m >= HOLE[1])] - 2500.0) / 2000.0

    def loss(theta):
        def shape(v):
            return np.exp(theta[0] * v + theta[1] * v**2)

        norm = integrate.quad(shape, 0.0, 0.4)[0] + integrate.quad(shape, 0.6, 1.0)[0]
        return len(t) * np.log(norm) - np.log(shape(t)).sum()

    best = minimize(loss, [-2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-7})
    np.testing.assert_allclose(found.coefficients, best.x, atol=1e-3)
    whole, _ = integrate.quad(lambda v: float(found.density(np.array([v]))[0]), *LIMITS)
    assert whole == pytest.approx(1.0, abs=1e-9)
    inside, _ = integrate.quad(lambda v: float(found.density(np.array([v]))[0]), *HOLE)
    assert found.expected(*HOLE) == pytest.approx(found.events * inside)
    assert found.events - found.expected(*HOLE) == pytest.approx(len(t))


@pytest.mark.statistical
def test_the_window_does_not_count_and_its_expectation_has_the_right_error():
    """300 fits: mean of the pulls within five of its error, spread within five of its; 6e-7 each."""
    rng, pulls = np.random.default_rng(2), []
    true = 5000 * (np.exp(-1.2) - np.exp(-1.8)) / -np.expm1(-3.0)
    for _ in range(300):
        m = masses(rng.poisson(5000), rng)
        found = fit_spectrum(m, LIMITS, HOLE, degree=1)
        pulls.append((found.expected(*HOLE) - true) / found.error)
    assert np.mean(pulls) == pytest.approx(0.0, abs=5 / np.sqrt(300))
    assert np.std(pulls) == pytest.approx(1.0, abs=5 / np.sqrt(600))
    inside = np.full(3000, 3500.0)
    again = fit_spectrum(np.concatenate([m, inside]), LIMITS, HOLE, degree=1)
    assert again.events == found.events


def test_further_windows_do_not_count_and_are_expected_to_be_filled():
    """The true shape is in the family: with 100,000 events 1 % is more than five errors of each expectation."""
    rng = np.random.default_rng(4)
    m, other = masses(100_000, rng), (2700.0, 2900.0)
    found = fit_spectrum(m, LIMITS, HOLE, degree=2, without=[other])
    filled = np.concatenate([m[(m < other[0]) | (m >= other[1])], rng.uniform(*other, 5000)])
    again = fit_spectrum(filled, LIMITS, HOLE, degree=2, without=[other])
    np.testing.assert_array_equal(again.coefficients, found.coefficients)
    beside = np.sum((m < HOLE[0]) | (m >= HOLE[1])) - np.sum((m >= other[0]) & (m < other[1]))
    assert found.events - found.expected(*HOLE) - found.expected(*other) == pytest.approx(beside)
    assert found.events == pytest.approx(100_000, rel=0.01)
    split = fit_spectrum(m, LIMITS, (3300.0, 3500.0), degree=2, without=[(3500.0, 3700.0)])
    whole = fit_spectrum(m, LIMITS, HOLE, degree=2)
    np.testing.assert_allclose(split.coefficients, whole.coefficients, atol=1e-9)
    assert split.events == pytest.approx(whole.events)


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(InputError, match="windows apart from each other"):
        fit_spectrum(masses(1000, np.random.default_rng(1)), LIMITS, HOLE, without=[(3000.0, 3400.0)])
    with pytest.raises(InputError, match="at least 100 events"):
        fit_spectrum(np.full(1000, 3500.0), LIMITS, HOLE)
    with pytest.raises(InputError, match="degree >= 1"):
        fit_spectrum(masses(1000, np.random.default_rng(1)), LIMITS, HOLE, degree=0)
