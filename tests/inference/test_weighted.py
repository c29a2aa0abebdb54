"""Every question knows the weights of events: answers of fourfold weights are fourfold, those of counts are exact."""

from __future__ import annotations

import numpy as np
import pytest
import weighted
from hepstats.hypotests.parameters import POI, POIarray

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.limits import cls_limit
from hisigma_zfit.fitting.minimizer import Newton, fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.calculators import AsymptoticCalculator, Discovery, FrequentistCalculator, UpperLimit
from hisigma_zfit.inference.combine import combination
from hisigma_zfit.inference.contours import contour, surface
from hisigma_zfit.inference.hypotests import discovery, expected_discovery, interval, limit_scan, upper_limit
from hisigma_zfit.inference.impacts import correlations, impacts
from hisigma_zfit.inference.unified import feldman_cousins
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.report import tables
from hisigma_zfit.results import Discovery as DiscoveryResult
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.toys import make_pool

M, WEIGHTS = weighted.sample()
W = 4.0
SMALL = {"events": 2000, "seed": 1}


def profile_of(weights, *, background=500.0, **options):
    return Profiler(weighted.counts(weights, background, **options), "s")


@pytest.fixture(scope="module")
def pair():
    """Results of the events, and of the same with fourfold weights."""
    return [fit(weighted.peak_loss(M, None if w == 1.0 else np.full(M.size, w), scale=w)) for w in (1.0, W)]


@pytest.fixture(scope="module")
def samples(pair):
    return [ImportanceSample(result.loss, **SMALL) for result in pair]


def test_significance_and_interval_of_fourfold_weights(pair):
    plain, heavy = (discovery(result, "s") for result in pair)
    assert heavy.z == pytest.approx(plain.z, rel=1e-6)
    assert (plain.weights_corrected, heavy.weights_corrected) == (False, True)
    assert str(heavy).endswith("corrected for event weights)")
    assert "weights" not in repr(plain) + str(plain)
    assert DiscoveryResult.from_json(heavy.to_json()) == heavy
    plain, heavy = (interval(result, "s", cl=0.9) for result in pair)
    assert (heavy.lower, heavy.upper) == pytest.approx((W * plain.lower, W * plain.upper), rel=1e-6)
    assert "profile likelihood, corrected for event weights" in str(heavy)


def test_limits_of_fourfold_weights_observed_and_expected(pair, samples):
    """The Asimov sets are drawn by component, so that the same events stand for four times as many."""
    plain, heavy = (upper_limit(r, "s", expected=True, sample=s) for r, s in zip(pair, samples, strict=True))
    assert heavy.limit == pytest.approx(W * plain.limit, rel=2e-3)
    for n, limit in plain.expected.items():
        assert heavy.expected[n] == pytest.approx(W * limit, rel=2e-3)
    assert heavy.weights_corrected
    scan = limit_scan(pair[1], "s", [0.0, W * 90.0], sample=samples[1])
    assert scan.observed[1] == pytest.approx(limit_scan(pair[0], "s", [90.0], sample=samples[0]).observed[0], rel=0.05)
    assert scan.upper_limit.weights_corrected
    wald = [cls_limit([Profiler(result.loss, "s")], np.zeros(1), cl=0.95) for result in pair]
    assert wald[1] == pytest.approx(W * wald[0], rel=1e-3)
    found = [expected_discovery(r, "s", w * 60.0, sample=s).z for r, s, w in zip(pair, samples, (1.0, W), strict=True)]
    assert found[1] == pytest.approx(found[0], rel=2e-3)
    edges = [feldman_cousins(r, "s", sample=s) for r, s in zip(pair, samples, strict=True)]
    assert (edges[1].lower, edges[1].upper) == pytest.approx((W * edges[0].lower, W * edges[0].upper), rel=2e-3)


def test_contours_and_surfaces_of_fourfold_weights(pair):
    plain, heavy = (contour(result, "s", "b", points=12) for result in pair)
    np.testing.assert_allclose(heavy.points, W * plain.points, rtol=1e-4)
    assert heavy.weights_corrected
    x, y = np.array([40.0, 70.0]), np.array([290.0, 310.0])
    plain, heavy = (surface(result, "s", "b", w * x, w * y) for result, w in zip(pair, (1.0, W), strict=True))
    np.testing.assert_allclose(heavy, plain, rtol=1e-5)


def test_a_contour_is_the_ellipse_of_the_covariance_where_weights_differ():
    """Control events fix b with weights of their own: the covariance is known, and for many events the line with it."""
    heavy = np.random.default_rng(5).uniform(2.0, 6.0, 20_000)
    loss = weighted.counts(heavy, 1000.0, off=10_000)
    sum_w2 = (heavy**2).sum()
    covariance = np.array([[sum_w2 + 10_000.0, -10_000.0], [-10_000.0, 10_000.0]])
    line = contour(loss, "s", "b", points=16)
    away = line.points - np.array(line.best)
    t = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    np.testing.assert_allclose(t, line.level, rtol=0.03)
    found = correlations(loss)
    assert found["s", "b"] == pytest.approx(-np.sqrt(10_000.0 / covariance[0, 0]), rel=1e-5)
    assert found.weights_corrected


def test_the_error_budget_has_the_weights_in_its_statistical_part():
    sum_w2 = (WEIGHTS**2).sum()
    found = impacts(weighted.counts(WEIGHTS, 500.0, sigma=30.0), "s", minos=False)
    assert found.total[0] ** 2 == pytest.approx(sum_w2 + 900.0, rel=1e-5)
    assert found.statistical[0] ** 2 == pytest.approx(sum_w2, rel=1e-5)
    assert found.systematic[1] == pytest.approx(30.0, rel=1e-4)
    assert found["b"].errors == pytest.approx((30.0, 30.0), rel=1e-5)
    assert found["b"].postfit == pytest.approx((30.0, -30.0), rel=1e-4)
    assert "corrected for event weights" in tables.impacts(found)
    assert "corrected for event weights" in str(found)


def test_combinations_inherit_the_weights():
    members = [profile_of(np.full(100, W), background=b) for b in (120.0, 140.0)]
    few = [profile_of(np.ones(100), background=b / W) for b in (120.0, 140.0)]
    for method in ("envelope", "discrete"):
        heavy, plain = (combination(method, each[0], each) for each in (members, few))
        assert heavy.discovery().z == pytest.approx(plain.discovery().z, rel=1e-5)
        assert heavy.discovery().weights_corrected
        edges = heavy.interval(cl=0.95)
        assert (edges.lower, edges.upper) == pytest.approx(
            (W * plain.interval(cl=0.95).lower, W * plain.interval(cl=0.95).upper), rel=1e-4
        )
        assert edges.weights_corrected
        assert heavy.scan([100.0]).weights_corrected


def test_a_discrete_profile_compares_members_as_so_many_events_do():
    """Two slopes, one of which the events prefer: the preference is that of the events, not of four times as many."""

    def members(w):
        losses = [weighted.peak_loss(M, w * np.ones(M.size), scale=w, slope_floats=False) for _ in range(2)]
        for loss, slope in zip(losses, (-1.0, -0.2), strict=True):
            next(p for p in loss.parameters if p.name == "slope").set_value(slope)
        return [Profiler(loss, "s") for loss in losses]

    plain, heavy = (combination("discrete", each[0], each) for each in (members(1.0), members(W)))
    assert max(plain.offsets) > 1.0
    np.testing.assert_allclose(heavy.offsets, plain.offsets, rtol=1e-5)


def test_hepstats_tests_agree_with_our_own(pair, samples):
    result, sample = pair[1], samples[1]
    poi = next(p for p in result.params if p.name == "s")
    calculator = AsymptoticCalculator(result, Newton(), **SMALL)
    pvalue, z = Discovery(calculator, POI(poi, 0.0)).result()
    found = discovery(result, "s")
    assert (pvalue, z) == pytest.approx((found.p0, found.z), rel=1e-5)
    scan = POIarray(poi, np.linspace(0.0, 600.0, 25))
    limits = UpperLimit(calculator, scan, POI(poi, 0.0), qtilde=True).upperlimit()
    ours = upper_limit(result, "s", expected=True, sample=sample)
    assert (limits["observed"], limits["expected"]) == pytest.approx((ours.limit, ours.expected["0"]), rel=0.02)


def test_asimov_sets_stand_for_expectations(samples):
    """Their weights are no events': the loss of one says what its profile does, and `scaled` is what data do to it."""
    asimov = samples[0].asimov(samples[0].loss.theta(), poi="s")
    profiler = asimov.profiler("s")
    assert profiler.inflation == 1.0
    again = Profiler(asimov.loss(), "s")
    assert again.inflation == 1.0
    assert again.error == pytest.approx(profiler.error, rel=1e-6)
    scaled = profiler.scaled(W)
    assert scaled.error == pytest.approx(2.0 * profiler.error)
    assert scaled.t(0.0) == pytest.approx(profiler.t(0.0) / W)
    assert scaled.weighted


def test_a_sum_of_likelihoods_of_different_kinds():
    """100 events of weight 4 and an Asimov set of 310: s + b is counted twice, and only the first are corrected."""
    loss = weighted.counts(np.full(100, W), 300.0)
    profiler = Profiler(loss + ImportanceSample(loss, **SMALL).asimov(loss.theta(), poi="s").likelihood, "s")
    assert profiler.best == pytest.approx(0.5 * (400.0 + 310.0) - 300.0, rel=1e-4)
    assert profiler.error == pytest.approx(0.5 * np.sqrt(W * 400.0 + 310.0), rel=1e-4)


def test_what_has_no_correction_is_refused(pair):
    with pytest.raises(InputError, match="events without weights for pseudo-experiments"):
        make_pool(pair[1], "s", 60.0)
    with pytest.raises(InputError, match=r"pass expected=True to hz\.ExtendedNLL"):
        feldman_cousins(pair[1], "s", toys=10)
    with pytest.raises(InputError, match="events without weights"):
        FrequentistCalculator(pair[1], Newton())
    with pytest.raises(InputError, match="events without weights"):
        ImportanceSample(pair[1].loss, **SMALL).asimov(pair[1].loss.theta(), poi="s").pool()
    loss = pair[1].loss
    as_expected = ExtendedNLL(loss.model, loss.data, expected=True)
    assert ImportanceSample(as_expected, **SMALL).asimov(as_expected.theta(), poi="s").pool()
    assert discovery(as_expected, "s").z == pytest.approx(2.0 * discovery(loss, "s").z, rel=1e-6)
