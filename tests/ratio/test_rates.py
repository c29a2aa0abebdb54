"""Rates by process and cell, equation (6) of the documentation."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.ratio.design import Axis, make_design
from hisigma_zfit.ratio.rates import fit_rates, rate_residuals, rates_told

SIGNED = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
DESIGN = make_design(
    [Axis("tes", SIGNED, float), Axis("jes", SIGNED, float), Axis("met", (1.0, 2.0, 3.0), lambda s: (s / 2.0) ** 2)]
)
CELLS = ("U", "C1", "C2")


def simulated(constant):
    generator = np.random.default_rng(1)
    slope = 0.05 * generator.standard_normal((2, 3, DESIGN.monomials.size))
    sizes = np.array([[100.0, 20.0, 3.0], [5000.0, 800.0, 0.7]])
    return sizes, slope, sizes * np.exp(constant + np.einsum("dk,pbk->dpb", DESIGN.values, slope))


def test_a_log_quadratic_rate_is_found_exactly():
    sizes, slope, sums = simulated(0.0)
    for free in ([False] * 3, [False, True, True], [True] * 3):
        rates = fit_rates(sizes, sums, DESIGN, free=np.array(free))
        np.testing.assert_allclose(rates.slope, slope, atol=1e-9)
        np.testing.assert_allclose(rates.constant, 0.0, atol=1e-9)
        np.testing.assert_array_equal(rates.size, sizes)
        np.testing.assert_allclose(rate_residuals(rates, sizes, sums, DESIGN), 0.0, atol=1e-9)


def test_a_fluctuation_of_the_nominal_sample_is_taken_by_the_constant():
    _, slope, sums = simulated(0.0)
    sizes = 1.05 * simulated(0.0)[0]
    rates = fit_rates(sizes, sums, DESIGN, free=np.array([False, True, True]))
    assert rates.constant[:, 0].tolist() == [0.0, 0.0]
    # one of many points, which are right: nearly all of the 5 % is taken back
    np.testing.assert_allclose(rates.constant[:, 1:], -np.log(1.05), atol=0.01)
    np.testing.assert_allclose(rates.slope[:, 1:], slope[:, 1:], atol=0.01)
    assert np.abs(rates.slope[:, 0] - slope[:, 0]).max() > 0.01


def test_yields_are_fitted_and_not_their_logarithms():
    """A point without any event has no logarithm, and pulls as its yield does; against a general minimiser."""
    from scipy.optimize import least_squares

    sizes, _, sums = simulated(0.0)
    sums[0, 0, 2] = 0.0
    rates = fit_rates(sizes, sums, DESIGN, free=np.array([False, True, True]))
    values = np.vstack([np.zeros(DESIGN.monomials.size), DESIGN.values])
    wanted = np.concatenate([[1.0], sums[:, 0, 2] / sizes[0, 2]])
    other = least_squares(lambda q: np.exp(q[0] + values @ q[1:]) - wanted, np.zeros(10), xtol=1e-14, ftol=1e-14)
    own = np.exp(rates.constant[0, 2] + values @ rates.slope[0, 2]) - wanted
    assert own @ own == pytest.approx(2.0 * other.cost, rel=1e-8)


def test_few_expected_events_have_no_slope_and_it_is_said():
    sizes, _, sums = simulated(0.0)
    sizes[1, 2], reference = 0.4, 2.0 * sizes
    rates = fit_rates(sizes, sums, DESIGN, free=np.ones(3, bool), reference=reference)
    assert not rates.slope[1, 2].any()
    assert rates.constant[1, 2] == 0.0
    np.testing.assert_array_equal(rates.size, reference)
    (line,) = rates_told(sizes, ("H", "Z"), CELLS)
    assert line == "Z: fewer than 0.5 expected events, so no systematic change, in C2"


def test_no_nuisance_is_a_design_too():
    rates = fit_rates(np.ones((2, 3)), np.empty((0, 2, 3)), make_design([]), free=np.array([False, True, True]))
    assert rates.slope.shape == (2, 3, 0)
    np.testing.assert_allclose(rates.constant, 0.0, atol=1e-15)
