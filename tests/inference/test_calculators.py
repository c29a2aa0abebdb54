"""hepstats scripts with our calculators, and one regression test for each trap of hepstats 0.10."""

from __future__ import annotations

from functools import partial

import counting
import models
import numpy as np
import pytest
import zfit
from hepstats.hypotests.calculators import AsymptoticCalculator as HepstatsAsymptotic
from hepstats.hypotests.exceptions import POIRangeError
from hepstats.hypotests.parameters import POI, POIarray
from hepstats.utils import base_sample
from scipy.stats import norm, poisson

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import Newton, fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference import hypotests, unified
from hisigma_zfit.inference.calculators import (
    AsymptoticCalculator,
    ConfidenceInterval,
    Discovery,
    FrequentistCalculator,
    UpperLimit,
)
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.asimov import ImportanceSample

EVENTS = 2000
BANDS = {"-2": "expected_m2", "-1": "expected_m1", "0": "expected", "1": "expected_p1", "2": "expected_p2"}


@pytest.fixture(scope="module")
def five_dimensions():
    model = models.model(n_sig=25.0, n_bkg=3000.0)
    return fit(ExtendedNLL(model, models.toy(model, seed=1))), model.poi


def counts(n, b, **options):
    loss = counting.counting(n, b, **options)
    return loss, next(p for p in loss.parameters if p.name == "s")


def few(loss):
    """A small sample: with flat densities all events are alike."""
    return ImportanceSample(loss, events=200, seed=1)


def asymptotic(result, **options):
    return AsymptoticCalculator(result, Newton(), events=EVENTS, seed=1, **options)


def toys(loss, **options):
    return FrequentistCalculator(loss, Newton(), events=200, seed=1, **options)


def test_asymptotic_tests_in_five_dimensions_agree_with_our_own(five_dimensions):
    # hepstats would bin its Asimov set in 45^5 cells, and only if the type of the loss were zfit's own
    result, poi = five_dimensions
    calculator = asymptotic(result, asimov_bins=None)
    profiler = Profiler(result.loss, poi)
    sample = ImportanceSample(result.loss, theta=profiler.minimum.theta, events=EVENTS, seed=1)
    pvalue, z = Discovery(calculator, POI(poi, 0.0)).result()
    found = hypotests.discovery(result, poi)
    assert (pvalue, z) == pytest.approx((found.p0, found.z), rel=1e-6)
    scan = POIarray(poi, np.linspace(0.0, 80.0, 17))
    limits = UpperLimit(calculator, scan, POI(poi, 0.0), qtilde=True).upperlimit()
    ours = hypotests.upper_limit(result, poi, expected=True, sample=sample)
    assert limits["observed"] == pytest.approx(ours.limit, rel=5e-3)
    for band, name in BANDS.items():
        assert limits[name] == pytest.approx(ours.expected[band], rel=0.03, abs=0.2)
    wide = POIarray(poi, np.linspace(-20.0, 80.0, 65))  # hepstats interpolates p-values linearly
    bands = ConfidenceInterval(calculator, wide).interval(alpha=1 - 0.6827)
    interval = hypotests.interval(result, poi)
    edges = (interval.lower, interval.upper)
    assert (bands["lower"], bands["upper"]) == pytest.approx(edges, abs=0.01 * interval.error)
    fine = POIarray(poi, np.linspace(0.0, 50.0, 41))  # p-values bend where t-tilde meets the boundary
    bounded = ConfidenceInterval(calculator, fine, qtilde=True).interval(alpha=0.1)
    found = unified.feldman_cousins(result, poi, cl=0.9, sample=sample)
    assert (bounded["lower"], bounded["upper"]) == pytest.approx((found.lower, found.upper), rel=0.01)


def test_a_loss_gives_what_its_fit_result_gives(five_dimensions):
    result, poi = five_dimensions
    answers = [Discovery(asymptotic(source), POI(poi, 0.0)).result() for source in (result, result.loss)]
    assert answers[0] == pytest.approx(answers[1], rel=1e-6)


def test_asimov_loss_is_a_zfit_loss_with_its_minimum_at_the_hypothesis(five_dimensions):
    result, poi = five_dimensions
    calculator = asymptotic(result)
    loss = calculator.asimov_loss(POI(poi, 40.0))
    assert loss is calculator.asimov_loss(POI(poi, 40.0))
    poi.set_value(30.0)
    assert Newton().minimize(loss).params[poi]["value"] == pytest.approx(40.0, abs=1e-3)
    (data,) = calculator.asimov_dataset(POI(poi, 40.0))
    assert float(np.sum(data.weights)) == pytest.approx(float(np.sum(loss.data[0].weights)))


def test_trap_upper_limits_are_numbers():
    # hepstats: float() of an array of one raises under numpy 2.4, and the limit becomes None
    loss, s = counts(62.0, 50.0)
    limits = UpperLimit(asymptotic(loss), POIarray(s, np.linspace(0, 60, 31)), POI(s, 0), qtilde=True).upperlimit()
    assert set(limits) == {"observed", *BANDS.values()}
    assert all(isinstance(limit, float) for limit in limits.values())
    ours = hypotests.upper_limit(loss, "s", expected=True, sample=few(loss))
    assert limits["observed"] == pytest.approx(ours.limit, rel=2e-3)
    for band, name in BANDS.items():
        assert limits[name] == pytest.approx(ours.expected[band], rel=0.02)


def test_trap_significance_is_finite_beyond_eight_sigma():
    # hepstats: norm.ppf(1 - p) with p = 1 - cdf is infinite above 8.2 sigma
    loss, s = counts(400.0, 100.0)
    pvalue, z = Discovery(asymptotic(loss), POI(s, 0)).result()
    exact = np.sqrt(2 * (400.0 * np.log(4.0) - 300.0))
    assert z == pytest.approx(exact, rel=1e-6)
    assert z > 12.0
    assert pvalue == pytest.approx(norm.sf(exact), rel=1e-3)
    loss, s = counts(40_000.0, 100.0)  # where even the survival function underflows
    exact = np.sqrt(2 * (40_000.0 * np.log(400.0) - 39_900.0))
    assert Discovery(asymptotic(loss), POI(s, 0)).result() == (0.0, pytest.approx(exact, rel=1e-6))


def test_trap_pvalues_use_the_survival_function():
    loss, _ = counts(60.0, 50.0)
    calculator, q = asymptotic(loss), np.array([100.0, 400.0])
    np.testing.assert_allclose(calculator.pnull(q), norm.sf([10.0, 20.0]))
    np.testing.assert_allclose(calculator.pnull(q, onesided=False), 2 * norm.sf([10.0, 20.0]))
    np.testing.assert_allclose(calculator.palt(q, np.array([1.0, 4.0])), norm.sf([9.0, 18.0]))
    beyond = calculator.pnull(q, np.array([64.0, 256.0]), qtilde=True)
    np.testing.assert_allclose(beyond, norm.sf([164.0 / 16.0, 656.0 / 32.0]))


def test_trap_asimov_values_depend_on_the_hypothesis_of_the_set():
    # hepstats caches them by the tested value alone: whichever set comes first answers for all
    loss, s = counts(60.0, 50.0)
    values, first, second = POIarray(s, [0.0, 20.0, 40.0]), POI(s, 0.0), POI(s, 30.0)
    together = asymptotic(loss)
    for alternative in (first, second, first):
        alone = asymptotic(loss)
        np.testing.assert_allclose(
            together.asimov_nll(values, alternative), alone.asimov_nll(values, alternative), rtol=1e-12
        )
        n = 50.0 + alternative.value
        t = 2 * (together.asimov_nll(values, alternative) - together.asimov_nll(alternative, alternative))
        exact = [counting.poisson_t(v, n, 50.0, alternative.value) for v in values.values]
        np.testing.assert_allclose(t, exact, rtol=1e-6, atol=1e-8)


def test_trap_two_sided_pvalues_know_the_boundary():
    # hepstats: without alternative, q-tilde gets the full chi-square also at the boundary, twice the half mixture's
    loss, s = counts(62.0, 50.0)
    calculator = asymptotic(loss)
    pvalues, palt = calculator.pvalue(POIarray(s, [0.0, 1.0]), qtilde=True, onesided=False)
    t = counting.poisson_t(0.0, 62.0, 50.0, 12.0)
    assert palt is None
    assert pvalues[0] == pytest.approx(norm.sf(np.sqrt(t)), rel=1e-6)
    t, a = counting.poisson_t(1.0, 62.0, 50.0, 12.0), counting.poisson_t(1.0, 50.0, 50.0, 0.0)
    assert pvalues[1] == pytest.approx(unified.boundary_pvalue(t, a), rel=1e-4)


@pytest.mark.parametrize("x0", [-1.0, 0.0, 1.0, 2.5])
def test_bounded_interval_of_a_gaussian(x0):
    b = 1e8
    loss, s = counts(b + x0 * 1e4, b)
    scan = POIarray(s, np.linspace(0.0, 6e4, 31))
    bands = ConfidenceInterval(asymptotic(loss), scan, qtilde=True).interval(alpha=0.1)
    found = unified.feldman_cousins(loss, "s", cl=0.9, sample=few(loss))
    assert bands["lower"] / 1e4 == pytest.approx(found.lower / 1e4, abs=0.01)
    assert bands["upper"] / 1e4 == pytest.approx(found.upper / 1e4, abs=0.01)
    assert bands["observed"] / 1e4 == pytest.approx(x0, abs=1e-3)


def test_scans_that_are_too_narrow_are_refused():
    loss, s = counts(62.0, 50.0)
    calculator = asymptotic(loss)
    with pytest.raises(POIRangeError, match="do not cross alpha"):
        UpperLimit(calculator, POIarray(s, [5.0, 15.0, 20.0]), POI(s, 0), qtilde=True).upperlimit()
    with pytest.raises(POIRangeError, match="increase the maximum"):
        ConfidenceInterval(calculator, POIarray(s, [0.0, 10.0, 14.0])).interval()
    with pytest.raises(POIRangeError, match="decrease the minimum"):
        ConfidenceInterval(calculator, POIarray(s, [10.0, 14.0, 40.0])).interval()


def test_our_tests_take_the_calculators_of_hepstats():
    space, slope = zfit.Space("x", 0, 1), zfit.Parameter("slope", -1.0)
    n, background = zfit.Parameter("n", 20.0), zfit.Parameter("background", 200.0, 0.0)
    peak = zfit.pdf.Gauss(0.5, 0.05, obs=space, extended=n)
    model = zfit.pdf.SumPDF([peak, zfit.pdf.Exponential(slope, obs=space, extended=background)])
    rng = np.random.default_rng(1)
    data = np.concatenate([rng.uniform(0, 1, 200), rng.normal(0.5, 0.05, 60)])
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data.from_numpy(obs=space, array=data[:, None]))
    calculator = HepstatsAsymptotic(loss, zfit.minimize.Minuit(), asimov_bins=50)
    pvalue, z = Discovery(calculator, POI(n, 0)).result()
    assert z == pytest.approx(norm.isf(pvalue), rel=1e-3)
    assert z > 4.0


@pytest.mark.statistical
def test_trap_every_toy_has_its_own_number_of_events():
    # hepstats draws the Poisson number once for a sampler: all toys get the same one.  Counting, q0 rises with the
    # number of events, so its p-value is P(N >= n | b) exactly
    n, b, number = 62.0, 50.0, 600
    loss, s = counts(n, b)
    calculator = toys(loss, ntoysnull=number)
    pvalue, z = Discovery(calculator, POI(s, 0)).result()
    exact = poisson.sf(n - 1, b)
    # 5 sigma of a binomial fraction: false alarms 6e-7
    assert pvalue == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / number))
    assert z == pytest.approx(norm.isf(pvalue))
    (result,) = calculator.values()
    assert result.bestfit.var() == pytest.approx(b, rel=5 * np.sqrt(2 / number))


@pytest.mark.statistical
def test_trap_auxiliary_data_fluctuate():
    # hepstats moves the start of the fit instead of the measurement, so that the constraint adds nothing to the width
    b, sigma, number = 100.0, 15.0, 300
    loss, s = counts(b, b, sigma=sigma)
    calculator = toys(loss, ntoysnull=number)
    calculator.get_toys_null(POI(s, 0.0))
    (result,) = calculator.values()
    # 325 rather than 100; the relative error of a variance from 300 toys is 8 %
    assert result.bestfit.var() == pytest.approx(b + sigma**2, rel=5 * np.sqrt(2 / number))


@pytest.mark.statistical
def test_limits_from_toys():
    n, b, number = 55.0, 50.0, 100
    loss, s = counts(n, b)
    calculator = toys(loss, ntoysnull=number, ntoysalt=number)
    scan = POIarray(s, np.linspace(6.5, 42.5, 7))
    test = UpperLimit(calculator, scan, POI(s, 0.0), qtilde=True)
    pvalues = test.pvalues()
    clsb, clb = poisson.cdf(n, b + scan.values), poisson.cdf(n, b)
    # 5 sigma of seven binomial fractions: false alarms 4e-6
    np.testing.assert_array_less(np.abs(pvalues["clsb"] - clsb), 5 * np.sqrt(clsb * (1 - clsb) / number) + 1 / number)
    np.testing.assert_allclose(pvalues["clb"], clb, atol=5 * np.sqrt(clb * (1 - clb) / number))
    limits = test.upperlimit()
    ours = hypotests.upper_limit(loss, "s", expected=True, sample=few(loss))
    # p near 0.05 from 100 toys is known to 44 %, and falls by e^2.3 for one more sqrt(b): a limit of about 20 is then
    # known to 1.4, or 7 %; this is 3.6 of it
    assert limits["observed"] == pytest.approx(ours.limit, rel=0.25)
    assert limits["expected"] == pytest.approx(ours.expected["0"], rel=0.25)
    assert limits["expected"] < limits["expected_p1"] <= limits["expected_p2"]


def test_more_toys_are_added_and_no_toy_is_made_twice():
    loss, s = counts(55.0, 50.0)
    calculator = toys(loss, ntoysnull=5, ntoysalt=4)
    scan = POIarray(s, [10.0, 20.0])
    first = calculator.get_toys_null(scan, scan)
    assert [r.ntoys for r in first.values()] == [5, 5]
    # hepstats fits every toy at all scanned values; those of the null hypothesis need their own only
    assert [r.poieval.values.tolist() for r in first.values()] == [[10.0], [20.0]]
    few = {p: r.bestfit.copy() for p, r in first.items()}
    assert not np.array_equal(*few.values())
    calculator.ntoysnull = 8
    more = calculator.get_toys_null(scan, scan)
    for p, result in more.items():
        assert result.ntoys == 8
        np.testing.assert_array_equal(result.bestfit[:5], few[p])
        assert len(set(result.bestfit)) > 3
    again = toys(loss, ntoysnull=5).get_toys_null(scan, scan)
    for p, result in again.items():
        np.testing.assert_array_equal(result.bestfit, few[p])
    (alternative,) = calculator.get_toys_alt(POI(s, 0.0), scan).values()
    assert alternative.poieval.values.tolist() == [10.0, 20.0, 0.0]


def test_a_pvalue_from_toys_is_bounded_by_their_number(caplog):
    loss, s = counts(150.0, 50.0)
    pvalue, z = Discovery(toys(loss, ntoysnull=20), POI(s, 0)).result()
    assert (pvalue, z) == (0.05, pytest.approx(norm.isf(0.05)))
    assert "no toy of s" in caplog.text


def test_toys_in_five_dimensions(five_dimensions):
    result, poi = five_dimensions
    calculator = FrequentistCalculator(result, Newton(), ntoysnull=20, events=EVENTS, seed=1)
    calculator.get_toys_null(POI(poi, 25.0))
    (toyresult,) = calculator.values()
    error = Profiler(result.loss, poi).error
    # 20 toys: 5 sigma of their mean, and of their spread (16 %)
    assert toyresult.bestfit.mean() == pytest.approx(25.0, abs=5 * error / np.sqrt(20))
    assert toyresult.bestfit.std() == pytest.approx(error, rel=0.8)


def test_wrong_input_is_named():
    loss, _ = counts(60.0, 50.0)
    stock = zfit.loss.ExtendedUnbinnedNLL(loss.model, loss.data)
    for calculator in (AsymptoticCalculator, FrequentistCalculator):
        with pytest.raises(InputError, match="got ExtendedUnbinnedNLL"):
            calculator(stock, zfit.minimize.Minuit())
    with pytest.raises(InputError, match="default sampler"):
        FrequentistCalculator(loss, Newton(), sample=partial(base_sample))
