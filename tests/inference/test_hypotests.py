"""Discovery, limits and intervals against closed forms of counting experiments (arXiv:1007.1727)."""

from __future__ import annotations

import counting
import models
import numpy as np
import pytest
import zfit
from scipy.optimize import brentq
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.limits import asymptotic_cls, cls_limit
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.hypotests import (
    background_t,
    discovery,
    expected_discovery,
    expected_limits,
    interval,
    limit_scan,
    significance,
    upper_limit,
)
from hisigma_zfit.inference.unified import boundary_pvalue, feldman_cousins
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.asimov import ImportanceSample


def few(loss):
    """A small sample: with flat densities all events are alike."""
    return ImportanceSample(loss, events=200, seed=1)


def cls_by_hand(s, n, b):
    """CLs of q-tilde for a known background: eqs. 16, 65 and 69 written out."""
    q = counting.poisson_t(s, n, b, max(n - b, 0.0)) if s > n - b else 0.0
    q_asimov = counting.poisson_t(s, b, b, 0.0)
    if q <= q_asimov:
        return norm.sf(np.sqrt(q)) / norm.sf(np.sqrt(q) - np.sqrt(q_asimov))
    root = 2 * np.sqrt(q_asimov)
    return norm.sf((q + q_asimov) / root) / norm.sf((q - q_asimov) / root)


@pytest.mark.parametrize("n", [35.0, 48.0, 50.0, 62.0, 90.0])
def test_upper_limit_of_a_counting_experiment(n):
    b = 50.0
    exact = brentq(lambda s: cls_by_hand(s, n, b) - 0.05, 1e-3 + max(n - b, 0.0), 200.0)
    loss = counting.counting(n, b)
    limit = upper_limit(loss, "s", sample=few(loss))
    assert limit.limit == pytest.approx(exact, rel=1e-3)
    assert limit.expected == {}


def test_expected_limits_of_a_counting_experiment():
    b, cl = 50.0, 0.90
    loss = counting.counting(62.0, b)
    limit = upper_limit(loss, "s", cl=cl, expected=True, sample=few(loss))
    assert list(limit.expected) == ["-2", "-1", "0", "1", "2"]
    for band, value in limit.expected.items():
        n = int(band)
        q = counting.poisson_t(value, b, b, 0.0)
        # by definition of the band: CLs is 1 - cl when the test statistic fluctuates by n
        assert norm.sf(np.sqrt(q) - n) / norm.cdf(n) == pytest.approx(1 - cl, rel=1e-4)
    # the median is the limit on data that are as expected
    loss = counting.counting(b, b)
    median = upper_limit(loss, "s", cl=cl, sample=few(loss))
    assert limit.expected["0"] == pytest.approx(median.limit, rel=1e-3)


def test_limit_from_the_hessian_is_close_where_errors_do_not_depend_on_the_signal():
    loss = counting.counting(1e6, 1e6)
    wald = cls_limit([Profiler(loss, "s")], np.zeros(1), cl=0.95)
    assert wald == pytest.approx(upper_limit(loss, "s", sample=few(loss)).limit, rel=1e-2)


def test_limit_from_the_hessian_is_off_for_few_events():
    # the reason for the Asimov set: with 9 expected events the observed curvature says too much or too little
    loss = counting.counting(5.0, 9.0)
    wald = cls_limit([Profiler(loss, "s")], np.zeros(1), cl=0.95)
    exact = brentq(lambda s: cls_by_hand(s, 5.0, 9.0) - 0.05, 1e-3, 50.0)
    assert upper_limit(loss, "s", sample=few(loss)).limit == pytest.approx(exact, rel=1e-3)
    assert abs(wald / exact - 1.0) > 0.01


def test_limits_without_a_repeatable_measurement_fall_back_on_the_hessian(caplog):
    loss = counting.counting(62.0, 50.0)
    assert background_t(Profiler(loss, "s"), events=200)(30.0) == pytest.approx(
        counting.poisson_t(30.0, 50.0, 50.0, 0.0), rel=1e-6
    )
    s = next(p for p in loss.parameters if p.name == "s")
    unknown = zfit.constraint.SimpleConstraint(lambda: 1e-6 * s**2, params=s)
    constrained = ExtendedNLL(loss.model, loss.data, constraints=[unknown])
    with caplog.at_level("INFO"):
        assert background_t(Profiler(constrained, "s"), events=200) is None
    assert "SimpleConstraint" in caplog.text


@pytest.mark.parametrize("n", [40.0, 62.0])
def test_scan_of_cls_is_that_of_a_counting_experiment(n):
    b = 50.0
    loss = counting.counting(n, b)
    scan = limit_scan(loss, "s", sample=few(loss))
    assert scan.values[0] == 0.0
    assert scan.values[-1] > max(scan.limit, scan.limits["2"])
    for s, observed in zip(scan.values[1:], scan.observed[1:], strict=True):
        assert observed == pytest.approx(cls_by_hand(s, n, b), rel=2e-3)
    # the curves cross 1 - cl where the limits are
    for band, limit in [*((scan.expected[k], v) for k, v in scan.limits.items()), (scan.observed, scan.limit)]:
        assert np.exp(np.interp(limit, scan.values, np.log(band))) == pytest.approx(0.05, rel=0.05)
    assert scan.upper_limit == upper_limit(loss, "s", expected=True, sample=few(loss))
    chosen = limit_scan(loss, "s", [5.0, 20.0], sample=few(loss))
    assert chosen.values.tolist() == [5.0, 20.0]
    assert chosen.limit == scan.limit


@pytest.mark.parametrize("sigmas", [3.0, 12.0, 30.0])
def test_significance_stays_finite(sigmas):
    b = 400.0
    n = brentq(lambda n: 2 * (n * np.log(n / b) - (n - b)) - sigmas**2, b, 50 * b)
    found = discovery(counting.counting(n, b), "s")
    assert found.z == pytest.approx(sigmas, rel=1e-6)
    assert found.p0 == pytest.approx(norm.sf(sigmas), rel=1e-3)
    assert found.p0 > 0.0


def test_no_excess_is_half_of_the_chi_square_mixture():
    assert discovery(counting.counting(40.0, 50.0), "s") == discovery(counting.counting(45.0, 50.0), "s")
    assert discovery(counting.counting(40.0, 50.0), "s").p0 == 0.5
    assert significance(2.7055)[1] == pytest.approx(0.05, abs=1e-5)  # not the 0.10 of a full chi-square


@pytest.mark.parametrize("s", [5.0, 60.0, 1000.0])
def test_expected_discovery_of_a_counting_experiment(s):
    b = 50.0
    exact = np.sqrt(2 * ((s + b) * np.log1p(s / b) - s))
    for n in (40.0, 80.0):  # the data do not matter where no other parameter floats
        loss = counting.counting(n, b)
        assert expected_discovery(loss, "s", s, sample=few(loss)).z == pytest.approx(exact, rel=1e-6)


def test_expected_discovery_takes_other_parameters():
    # the background is measured to a tenth of an event; its Asimov observation moves with it
    loss = counting.counting(60.0, 50.0, sigma=0.1)
    s, b = 25.0, 70.0
    exact = 2 * ((s + b) * np.log1p(s / b) - s)
    assert expected_discovery(loss, "s", s, others={"b": b}, sample=few(loss)).q0 == pytest.approx(exact, rel=1e-3)


def test_expected_discovery_of_five_dimensions_agrees_with_its_own_data():
    model = models.model(n_sig=60.0, n_bkg=3000.0)
    loss = ExtendedNLL(model, models.toy(model, seed=3))
    profiler = Profiler(loss, "n_sig")
    sample = ImportanceSample(loss, theta=profiler.minimum.theta, events=2000, seed=1)
    median = expected_discovery(loss, "n_sig", profiler.best, sample=sample).z
    # the data themselves scatter around their own Asimov set in second order only
    assert median == pytest.approx(discovery(loss, "n_sig").z, rel=0.15)
    limits = expected_limits(sample.asimov(profiler.at(0.0).theta).profiler("n_sig"))
    assert np.all(np.diff(list(limits.values())) > 0)
    with_bands = upper_limit(loss, "n_sig", sample=sample, expected=True)
    assert with_bands.expected == limits
    assert with_bands.limit > limits["2"]


def belt(x0, cl):
    """Unified interval of a Gaussian of unit width with mean >= 0, by construction on a grid (physics/9711021)."""
    x = np.linspace(-8.0, 12.0, 10_001)

    def contains(mu):
        # measurements are accepted in the order of the likelihood ratio to the best physical mean
        order = np.argsort(0.5 * (x - mu) ** 2 - np.where(x < 0, 0.5 * x**2, 0.0))
        accepted = x[order[: np.searchsorted(np.cumsum(norm.pdf(x[order] - mu)), cl / (x[1] - x[0])) + 1]]
        return accepted.min() <= x0 <= accepted.max()

    def edge(inside, outside):
        for _ in range(14):
            middle = 0.5 * (inside + outside)
            inside, outside = (middle, outside) if contains(middle) else (inside, middle)
        return inside

    best = max(x0, 0.0)
    return 0.0 if contains(0.0) else edge(best, 0.0), edge(best, best + 4.0)


@pytest.mark.parametrize(
    ("x0", "cl", "published"),
    [
        (-2.0, 0.90, (0.0, 0.40)),
        (-1.0, 0.90, (0.0, 0.81)),
        (0.0, 0.90, (0.0, 1.64)),
        (1.0, 0.90, (0.0, 2.64)),
        (3.0, 0.90, (1.37, 4.64)),
        (0.5, 0.6827, None),
        (2.0, 0.95, None),
    ],
)
def test_unified_interval_of_a_gaussian_near_its_boundary(x0, cl, published):
    b = 1e8  # a counting experiment that is Gaussian to 1e-4
    sigma = np.sqrt(b)
    loss = counting.counting(b + x0 * sigma, b)
    interval = feldman_cousins(loss, "s", cl=cl, sample=few(loss))
    expected = belt(x0, cl)
    assert interval.lower / sigma == pytest.approx(expected[0], abs=0.01)
    assert interval.upper / sigma == pytest.approx(expected[1], abs=0.01)
    if published:
        assert (interval.lower / sigma, interval.upper / sigma) == pytest.approx(published, abs=0.012)
    assert interval.method == "Feldman-Cousins"


def test_pvalue_at_the_boundary_is_that_of_the_half_mixture():
    assert boundary_pvalue(0.0, 0.0) == 1.0
    assert boundary_pvalue(2.7055, 0.0) == pytest.approx(0.05, abs=1e-5)
    assert boundary_pvalue(2.7055, 1e-12) == pytest.approx(0.05, abs=1e-5)
    assert boundary_pvalue(2.7055, 1e3) == pytest.approx(0.10, abs=1e-5)
    below, above = boundary_pvalue(4.0 - 1e-9, 4.0), boundary_pvalue(4.0 + 1e-9, 4.0)
    assert below == pytest.approx(above, rel=1e-6)
    assert 0.0 < boundary_pvalue(900.0, 900.0) < 1e-190  # 1 - cdf would be 0


@pytest.mark.statistical
def test_unified_interval_with_toys_agrees_with_the_asymptotic_one():
    b = 400.0
    loss = counting.counting(b + 60.0, b)
    sample = few(loss)
    asymptotic = feldman_cousins(loss, "s", cl=0.90, sample=sample)
    toys = feldman_cousins(loss, "s", cl=0.90, sample=sample, toys=40, seed=3)
    # five points of 40 toys: the error of an edge is sqrt(0.1 x 0.9 / 200) / (slope of p, 0.2 per sigma) = 0.11 sigma
    sigma = np.sqrt(b + 60.0)
    assert toys.lower == pytest.approx(asymptotic.lower, abs=0.55 * sigma)
    assert toys.upper == pytest.approx(asymptotic.upper, abs=0.55 * sigma)
    assert toys != asymptotic


@pytest.mark.parametrize("q_asimov", [0.0, 1e-300, 1e-14, 1e-10])
def test_cls_of_next_to_nothing_is_one_whatever_rounding_says(q_asimov):
    """Eq. 65 for q_A -> 0: sf(a + h) / sf(a - h) with a h = q / 4 and a -> infinity is exp(-q / 2)."""
    for q in (0.0, 1e-12, 1e-9, 1e-7):
        assert asymptotic_cls(q, q_asimov) == pytest.approx(1.0, abs=1e-4)
    assert asymptotic_cls(3.0, q_asimov) == pytest.approx(np.exp(-1.5), rel=1e-4)


@pytest.mark.parametrize("q", [1e-3, 0.5, 5.0])
def test_cls_is_smooth_where_its_two_forms_meet(q):
    at = (q / 1e4) ** 2  # root of the Asimov value q / 10^4
    assert asymptotic_cls(q, at * (1 - 1e-9)) == pytest.approx(asymptotic_cls(q, at * (1 + 1e-9)), rel=1e-6)
    assert asymptotic_cls(0.5, 0.3) == pytest.approx(
        norm.sf(0.8 / (2 * 0.3**0.5)) / norm.sf(0.2 / (2 * 0.3**0.5)), rel=1e-12
    )


@pytest.mark.parametrize("n", [30.0, 46.0, 49.9])
def test_a_deficit_has_a_limit(n):
    exact = brentq(lambda s: cls_by_hand(s, n, 50.0) - 0.05, 1e-3, 200.0)
    loss = counting.counting(50.0, 50.0)
    deficit = counting.counting(n, 50.0)
    limit = upper_limit(deficit, "s", sample=few(loss))
    assert Profiler(deficit, "s").best == pytest.approx(n - 50.0, abs=1e-4)
    assert limit.limit == pytest.approx(exact, rel=1e-3)


def test_answers_are_those_of_the_result_whatever_was_done_since():
    model = models.model(60.0, 1500.0)
    result = fit(ExtendedNLL(model, models.toy(model, seed=3)))

    def answers():
        return interval(result, "n_sig"), discovery(result, "n_sig"), result.errors(model.poi)[0]

    right = answers()
    shape = next(p for p in model.get_params() if p.name == "p1")
    model.poi.set_value(-500.0)  # what another fit of the same yields can leave behind
    shape.set_value(-20.0)
    for found, expected in zip(answers(), right, strict=True):
        assert found == expected


def test_cls_does_not_break_far_from_the_data():
    assert asymptotic_cls(2000.0, 100.0) == 0.0
    assert 0.0 < asymptotic_cls(50.0, 100.0) < 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda loss: upper_limit(loss, "s", cl=95), "expected 0 < cl < 1"),
        (lambda loss: feldman_cousins(loss, "s", cl=0.0), "expected 0 < cl < 1"),
        (lambda loss: feldman_cousins(loss, "s", toys=-1), "toys of 0 or more, got -1"),
        (lambda loss: limit_scan(loss, "s", [-1.0, 2.0], sample=few(loss)), "not negative, got -1"),
        (lambda loss: discovery(loss.model[0], "s"), "got SumPDF; build the likelihood"),
        (lambda loss: discovery(zfit.loss.ExtendedUnbinnedNLL(loss.model, loss.data), "s"), "an hz.ExtendedNLL, got"),
        (lambda loss: expected_discovery(loss, "s", 0.0), "positive signal"),
        (lambda loss: expected_discovery(loss, "s", 5.0, others={"c": 1.0}), "got 'c'"),
        (lambda loss: expected_discovery(loss, "s", 5.0, others={"s": 1.0}), "got 's'"),
        (lambda loss: upper_limit(loss, "mu"), "got 'mu'"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(counting.counting(60.0, 50.0))
