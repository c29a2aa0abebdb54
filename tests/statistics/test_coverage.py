"""Coverage whose draws share a shift: errors, pulls and the challenge's score in cases that are solved by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import CoverageDraw, DrawnAnswers
from hisigma_zfit.statistics import coverage

NAN = math.nan


def draw(number: int, truth: list[float], value: list[float], half: float = 1.0) -> CoverageDraw:
    best = np.array(value)
    answers = DrawnAnswers(best, best - half, best + half, {"scale": best - 1.0})
    return CoverageDraw(number, {"scale": float(number)}, np.array(truth), {"unbinned": answers})


def test_score_of_the_challenge():
    # without a penalty: only the width counts
    assert coverage.challenge_score(0.437, 0.6827, 720) == pytest.approx(-math.log(0.438))
    low, high = coverage.challenge_tolerance(720)
    sigma = math.sqrt(0.6827 * 0.3173 / 720)
    assert (low, high) == pytest.approx((0.6827 - 2 * sigma, 0.6827 + 2 * sigma))
    # two standard deviations beyond: 1 + 2^4 below, 1 + 2^3 above
    assert coverage.challenge_score(0.5, low - 2 * sigma, 720) == pytest.approx(-math.log(0.501 * 17.0))
    assert coverage.challenge_score(0.5, high + 2 * sigma, 720) == pytest.approx(-math.log(0.501 * 9.0))
    # continuous at the edges
    for edge in (low, high):
        assert coverage.challenge_score(0.5, edge, 720) == pytest.approx(-math.log(0.501))


def test_error_of_a_mean_comes_from_the_draws():
    # binomial counting would say 0.5 / sqrt(200); the draws say that there are two numbers, 0.25 and 0.75
    draws = [np.repeat([1.0, 0.0], [25, 75]), np.repeat([1.0, 0.0], [75, 25])]
    assert coverage.mean_of_draws(draws) == pytest.approx((0.5, 0.25))
    # draws of different size: the mean is that of all toys, (0 + 3) / 4, and sqrt(2 (0.75^2 + 9 0.25^2)) / 4
    assert coverage.mean_of_draws([np.zeros(1), np.ones(3)]) == pytest.approx((0.75, math.sqrt(2.25) / 4))
    assert coverage.mean_of_draws([np.ones(3), np.empty(0)]) == pytest.approx((1.0, NAN), nan_ok=True)
    assert coverage.mean_of_draws([]) == pytest.approx((NAN, NAN), nan_ok=True)


def test_pulls_take_the_error_on_the_side_of_the_truth():
    value, lower, upper = np.array([[1.0, 0.8, 1.4]] * 4).T
    truth = np.array([0.8, 1.4, 1.2, 1.0])
    np.testing.assert_allclose(coverage.interval_pulls(value, lower, upper, truth), [1.0, -1.0, -0.5, 0.0])
    # a best value at its limit has no error below
    one = np.array([1.0])
    assert coverage.interval_pulls(one, one, one + 0.4, np.array([0.5])) == np.inf
    assert coverage.interval_pulls(one, one, one + 0.4, one) == 0.0


def test_study_of_two_draws():
    first = draw(1, [1.0, 1.0], [0.5, 2.5])  # the second misses
    second = draw(0, [3.0, 3.0], [3.5, NAN])  # one failed
    study = coverage.coverage_study([first, second], poi="mu", mu=(1.0, 3.0), nuisances="fixed", seed=1, bins=2)
    assert [each.number for each in study.truth] == [0, 1]
    assert (study.draws, study.toys) == (2, 2)
    own = study.methods["unbinned"]
    assert (own.toys, own.failed) == (3, 1)
    assert own.coverage == pytest.approx(2 / 3)
    # (1/3)^2 of one toy, (2 * 1/6)^2 of two, twice, by three
    assert own.error == pytest.approx(math.sqrt(4 / 9) / 3)
    assert (own.width, own.width_error) == pytest.approx((2.0, 0.0))
    assert own.score == pytest.approx(coverage.challenge_score(2.0, 2 / 3, 3))
    # pulls 0.5 | -0.5, 1.5
    assert own.pull_mean == pytest.approx(0.5)
    assert own.pull_rms == pytest.approx(math.sqrt((0.25 + 0.25 + 2.25) / 3))
    assert own.pull_spread == pytest.approx(0.5)
    assert own.pull_spread_expected == pytest.approx(1.0)  # the variance 2 of two toys by two
    assert own.nuisance_pulls["scale"] == pytest.approx((3.5 / 3, math.sqrt((0.25 + 2.25 + 6.25) / 3)))
    low, high = own.by_mu
    assert (low.lower, low.upper, low.toys, low.coverage) == (1.0, 2.0, 2, 0.5)
    assert (high.toys, high.coverage, high.width, high.pull_mean) == (1, 1.0, 2.0, 0.5)  # the last bin has both ends


def test_the_missing_error_is_what_makes_intervals_cover():
    """A common shift of 0.8 by draw and errors of one: 0.8 is missing, and intervals that have it cover."""
    rng = np.random.default_rng(5)
    value = 0.8 * rng.standard_normal((100, 1)) + rng.standard_normal((100, 25))
    draws = [dataclasses.replace(draw(k, [0.0] * 25, own.tolist()), number=k) for k, own in enumerate(value)]
    options = {"poi": "mu", "mu": (0.0, 0.0), "nuisances": "random", "seed": 1, "cl": 0.6827}
    own = coverage.coverage_study(draws, **options, simulation={"unbinned": 0.8}).methods["unbinned"]
    assert own.coverage < 0.6
    assert own.missing == pytest.approx(0.8, abs=5.0 * own.missing_error)
    assert 0.03 < own.missing_error < 0.13  # 0.065 from many studies
    assert own.coverage_with_simulation == pytest.approx(0.6827, abs=5.0 * own.coverage_with_simulation_error)
    exact = coverage.coverage_study(draws, **options, simulation={"unbinned": own.missing}).methods["unbinned"]
    assert exact.coverage_with_simulation == pytest.approx(0.6827, abs=5e-4)
    # errors that are too long need nothing
    long = [draw(0, [0.0, 0.0], [0.1, -0.2]), draw(1, [0.0], [0.3])]
    assert coverage.coverage_study(long, **options).methods["unbinned"].missing == 0.0
    assert math.isnan(coverage.coverage_study(long, **options).methods["unbinned"].coverage_with_simulation)


def test_one_true_value_is_one_bin_and_other_levels_have_no_score():
    study = coverage.coverage_study(
        [draw(0, [1.0, 1.0], [0.5, 2.5])], poi="mu", mu=(1.0, 1.0), nuisances="random", seed=1, cl=0.95
    )
    own = study.methods["unbinned"]
    assert [(each.toys, each.coverage) for each in own.by_mu] == [(2, 0.5)]
    assert math.isnan(own.score)
    assert math.isnan(own.error)


def test_draws_that_do_not_belong_together():
    one = draw(0, [1.0], [1.0])
    other = dataclasses.replace(one, methods={"binned": one.methods["unbinned"]})
    with pytest.raises(InputError, match="expected draws with the same methods, got binned and unbinned; repeat"):
        coverage.coverage_study([one, other], poi="mu", mu=(0.0, 1.0), nuisances="fixed", seed=1)
    with pytest.raises(InputError, match="got no draw"):
        coverage.coverage_study([], poi="mu", mu=(0.0, 1.0), nuisances="fixed", seed=1)


@pytest.mark.statistical
def test_draws_with_a_common_shift_scatter_as_the_error_says():
    """400 studies of 40 draws: pulls of the coverage have width 1 within 0.2, 5 sigma: < 1e-5."""
    rng = np.random.default_rng(11)
    shift = 0.8 * rng.standard_normal((400, 40, 1))
    inside = (np.abs(shift + rng.standard_normal((400, 40, 25))) < 1.0).astype(float)
    found = np.array([coverage.mean_of_draws(list(study)) for study in inside])
    pulls = (found[:, 0] - inside.mean()) / found[:, 1]
    assert abs(pulls.std() - 1.0) < 0.2
    binomial = math.sqrt(inside.mean() * (1.0 - inside.mean()) / 1000)
    assert found[:, 1].mean() > 1.5 * binomial
