"""Pseudo-data of a cross-section: Poisson copies of simulated rows, bins by their rates, auxiliary measurements."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest
from ratio_toy import Toy

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.toys.ratio import RatioSample
from hisigma_zfit.toys.toy_fits import ToyPlan, fit_toys

TRUTH = np.array([1.5, 0.5, -0.5, 1.0])


@pytest.fixture(scope="module")
def likelihood():
    toy = Toy()
    reference = toy.reference(5000, seed=1)
    columns = replace(toy.columns(np.zeros((0, 2))), weights=None)
    return toy.likelihood(columns, reference=reference)


def test_asimov_rows_stand_for_what_is_expected(likelihood):
    asimov = RatioSample.of(likelihood).asimov(TRUTH)
    toy, process = Toy(), likelihood.reference.process
    sums = np.bincount(process, asimov.rows)
    expected = toy.expected(*TRUTH)
    assert sums == pytest.approx(expected[:, 0], rel=0.01)  # 5,000 rows, and variations of a few per cent
    assert asimov.bins == pytest.approx(expected[:, 1:].sum(axis=0), rel=1e-12)


def test_the_best_fit_of_an_asimov_set_is_its_truth(likelihood):
    """As far as the simulation goes: 5,000 rows of a background of 1,500 shift mu by half of its own fluctuation."""
    profiler = RatioSample.of(likelihood).asimov(TRUTH).profiler("mu")
    assert profiler.best == pytest.approx(TRUTH[0], abs=2.0 * profiler.error * np.sqrt(1500 / 5000))
    assert profiler.minimum.theta[3] == pytest.approx(TRUTH[3], abs=0.2)
    assert profiler.loss.auxiliary.observed == pytest.approx(TRUTH[1:])
    assert not profiler.weighted


def test_fits_of_pseudo_data_start_at_their_truth(likelihood):
    pool = RatioSample.of(likelihood).asimov(TRUTH).pool()
    assert pool.asimov().theta() == pytest.approx(TRUTH)
    assert pool.draw(np.random.default_rng(1))[0].theta() == pytest.approx(TRUTH)
    assert pool.parameters == ("mu", "scale", "smearing", "size")
    assert "mu=1.5" in repr(pool)


@pytest.mark.statistical
def test_copies_are_poisson_distributed(likelihood):
    """Means and variances of all sums in 600 draws: eleven numbers at 5 standard deviations, 6e-6."""
    pool = RatioSample.of(likelihood).asimov(TRUTH).pool()
    rng, toys = np.random.default_rng(2), 600
    draws = [pool.draw(rng) for _ in range(toys)]
    events = np.array([own for _, own, _ in draws], dtype=float)
    first = events[:, 0] - pool.rows.sum()
    assert pool.n_categories == 2
    for numbers, mean in ((events[:, 0], pool.rows.sum()), (events[:, 1], pool.bins.sum())):
        assert numbers.mean() == pytest.approx(mean, abs=5.0 * np.sqrt(mean / toys))
        assert numbers.var() == pytest.approx(mean, rel=5.0 * np.sqrt(2.0 / toys))
    auxiliary = np.array([own for _, _, own in draws])
    assert auxiliary.mean(axis=0) == pytest.approx(TRUTH[1:], abs=5.0 / np.sqrt(toys))
    assert auxiliary.std(axis=0) == pytest.approx(np.ones(3), rel=5.0 / np.sqrt(2.0 * toys))
    assert abs(np.corrcoef(first, events[:, 1])[0, 1]) < 5.0 / np.sqrt(toys)


def test_toys_are_fitted_as_any(likelihood):
    pool = RatioSample.of(likelihood).asimov(TRUTH).pool()
    fits = fit_toys(ToyPlan(pool, 0, seed=3), 0, 20)
    again = fit_toys(ToyPlan(pickle.loads(pickle.dumps(pool)), 0, seed=3), 10, 20)
    assert fits.fitted.all()
    assert again.values == pytest.approx(fits.values[10:], abs=1e-12)
    assert fits.values[:, 0].mean() == pytest.approx(1.5, abs=6.0 * fits.errors[0, 0] / np.sqrt(20))
    assert np.ptp(fits.observation, axis=0).min() > 1.0
    repeated = fits.events[0, 0] > likelihood.reference.weights.size  # rows come several times, with their number
    assert not repeated


def test_the_hash_of_toys_knows_all_that_they_depend_on(likelihood):
    sample = RatioSample.of(likelihood)
    pool = sample.asimov(TRUTH).pool()
    assert pool.digest == sample.asimov(TRUTH).pool().digest
    assert pool.digest != sample.asimov(TRUTH + 0.1).pool().digest
    assert pool.digest != sample.asimov(TRUTH).pool(background=pool).digest
    rows = replace(likelihood.reference, weights=likelihood.reference.weights * 1.01)
    assert pool.digest != RatioSample(likelihood, rows).asimov(TRUTH).pool().digest


def test_rows_that_carry_too_much_are_refused(likelihood, caplog):
    weights = likelihood.reference.weights.copy()
    for largest, refused in ((3.0, False), (6.0, True)):
        weights[-1] = largest
        pool = RatioSample(likelihood, replace(likelihood.reference, weights=weights)).asimov(TRUTH).pool()
        with caplog.at_level(logging.WARNING):
            if refused:
                with pytest.raises(InputError, match="5 events at most"):
                    pool.draw(np.random.default_rng(1))
            else:
                pool.draw(np.random.default_rng(1))
        assert "some simulated rows stand for up to" in caplog.text


def test_fewer_events_than_none_are_refused(likelihood):
    with pytest.raises(FitError, match=r"mu = -0\.1"):
        RatioSample.of(likelihood).asimov(np.array([-0.1, 0.0, 0.0, 0.0]))


def test_what_is_no_reference_is_refused(likelihood):
    toy = Toy()
    with pytest.raises(InputError, match="reference="):
        RatioSample.of(toy.likelihood(toy.columns(np.zeros((0, 2)))))
    own = likelihood.reference
    for bad, message in (
        ({"weights": -own.weights}, "not negative"),
        ({"process": own.process + 1}, "processes 0 to 1"),
        ({"region": own.region[:-1]}, "rows and 2 processes"),
    ):
        with pytest.raises(InputError, match=message):
            replace(own, **bad)
    with pytest.raises(InputError, match="got 2 and 4"):
        RatioSample(likelihood, replace(own, exponents=own.exponents[:, :, :4]))


def test_posteriors_that_are_wrong_show_in_pseudo_data(likelihood):
    """Rows are drawn by their own process: a likelihood that gives the signal too little finds too much of it."""
    own = likelihood.reference
    odds = 0.7 * own.posterior[:, :1] / own.posterior[:, 1:]
    wrong = np.concatenate([odds, np.ones_like(odds)], axis=1) / (1.0 + odds)
    truth = np.array([1.0, 0.0, 0.0, 0.0])
    right = RatioSample(likelihood, own).asimov(truth).profiler("mu")
    biased = RatioSample(likelihood, replace(own, posterior=wrong.astype(np.float32))).asimov(truth).profiler("mu")
    assert abs(biased.best - right.best) > 0.1
    assert isinstance(biased, Profiler)
