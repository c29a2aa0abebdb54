"""Template fits in several parameters, against derivatives by differences, an independent fit and known templates."""

from __future__ import annotations

import pickle

import counting
import numpy as np
import pytest
import zfit
from scipy.optimize import minimize

from hisigma_zfit.baselines.template_fits import ScoreBins, TemplateLikelihood, TemplateSample
from hisigma_zfit.baselines.yield_fits import fit_yields
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.inference.hypotests import expected_discovery, upper_limit
from hisigma_zfit.inference.unified import feldman_cousins
from hisigma_zfit.model.kappa import PolynomialYield
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.summary import summarise
from hisigma_zfit.toys.toy_fits import conditional_fits
from hisigma_zfit.toys.toys import make_pool, run_toys


def parameters(*names):
    return [zfit.Parameter(name, 50.0, stepsize=1.0) for name in names]


def shapes(k, bins, seed):
    templates = np.random.default_rng(seed).dirichlet(np.ones(bins), k)
    return 0.1 / bins + 0.9 * templates


def test_two_templates_give_the_yield_of_the_one_parameter_fit():
    templates = shapes(2, 12, 1)
    counts = np.random.default_rng(2).poisson(np.array([80.0, 900.0]) @ templates).astype(float)
    profiler = Profiler(TemplateLikelihood(parameters("s", "b"), templates, counts), "s")
    value, error, _ = fit_yields(templates[0] / templates[1], counts)
    assert profiler.best == pytest.approx(value, rel=1e-3)
    assert profiler.error == pytest.approx(error, rel=1e-3)


def test_contents_that_are_sums_of_weights_have_the_errors_of_weights():
    """Against the same fit of events, linear algebra, and the one-parameter fit."""
    templates, rng = shapes(2, 12, 1), np.random.default_rng(2)
    counts = rng.poisson(np.array([80.0, 900.0]) @ templates).astype(float)
    plain = Profiler(TemplateLikelihood(parameters("s", "b"), templates, counts), "s")
    heavy = Profiler(TemplateLikelihood(parameters("s", "b"), templates, 4.0 * counts, 16.0 * counts), "s")
    assert not plain.weighted
    assert heavy.error == pytest.approx(4.0 * plain.error, rel=1e-6)
    assert heavy.t(0.0) == pytest.approx(plain.t(0.0), rel=1e-6)
    variance = counts * rng.uniform(1.0, 9.0, counts.size)
    likelihood = TemplateLikelihood(parameters("s", "b"), templates, counts, variance)
    profiler = Profiler(likelihood, "s")
    expected = likelihood.templates.expected(profiler.minimum.theta)
    inverse = np.linalg.inv((templates * counts / expected**2) @ templates.T)
    covariance = inverse @ ((templates * variance / expected**2) @ templates.T) @ inverse
    assert profiler.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    value, error, z = fit_yields(templates[0] / templates[1], counts, variance)
    assert (value, error) == pytest.approx((profiler.best, profiler.error), rel=1e-3)
    assert z == pytest.approx(np.sqrt(profiler.t(0.0)), rel=1e-3)
    with pytest.raises(InputError, match="events without weights"):
        TemplateSample(likelihood).asimov(profiler.minimum.theta).pool()
    with pytest.raises(InputError, match=r"a variance of shape \(12,\), got \(3,\)"):
        TemplateLikelihood(parameters("s", "b"), templates, counts, np.ones(3))


def test_fourfold_weights_of_a_yield_at_its_limit():
    """The upper side of the interval is that of the events, fourfold; their variance is four by count."""
    ratio, counts = np.array([1 / 14, 0.6, 16.0]), np.array([100.0, 40.0, 0.0])
    plain, heavy = fit_yields(ratio, counts), fit_yields(ratio, 4.0 * counts, 16.0 * counts)
    assert heavy[:2] == pytest.approx((4.0 * plain[0], 4.0 * plain[1]), rel=1e-5)


def test_derivatives_with_a_composed_yield_equal_differences():
    kappa, (n_bkg,) = zfit.Parameter("kappa", 1.2, -5.0, 5.0), parameters("n_bkg")
    yields = [PolynomialYield("first", kappa, [3.0, -20.0, 90.0]), PolynomialYield("second", kappa, [15.0, 5.0]), n_bkg]
    templates = shapes(3, 9, 3)
    counts = np.random.default_rng(4).poisson(np.array([70.0, 20.0, 300.0]) @ templates).astype(float)
    likelihood = TemplateLikelihood(yields, templates, counts)
    assert [p.name for p in likelihood.parameters] == ["kappa", "n_bkg"]
    theta = np.array([1.3, 320.0])
    found = likelihood.evaluator().evaluate(theta)
    steps = np.diag([1e-4, 1e-2])
    for k, step in enumerate(steps):
        up, down = (likelihood.evaluate(theta + sign * step) for sign in (1.0, -1.0))
        assert found.gradient[k] == pytest.approx((up.value - down.value) / (2.0 * step[k]), rel=1e-6)
        assert found.hessian[k] == pytest.approx((up.gradient - down.gradient) / (2.0 * step[k]), rel=1e-6)
    assert likelihood.value(theta) == found.value
    assert likelihood.theta() == pytest.approx([1.2, 50.0])
    assert np.isinf(likelihood.value(np.array([1.3, -900.0])))


def test_contour_of_two_yields_is_where_the_profile_reaches_its_level():
    templates = shapes(3, 15, 5)
    counts = np.random.default_rng(6).poisson(np.array([100.0, 150.0, 2000.0]) @ templates).astype(float)
    likelihood = TemplateLikelihood(parameters("x", "y", "b"), templates, counts)
    line = contour(likelihood, "x", "y", cl=0.6827, points=36)

    def nll(theta):
        return float(np.sum(theta @ templates) - counts @ np.log(np.maximum(theta @ templates, 1e-300)))

    options = {"method": "Nelder-Mead", "options": {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 4000}}
    lowest = minimize(nll, [100.0, 150.0, 2000.0], **options).fun
    for x, y in line.points[::9]:
        held = minimize(lambda b, x=x, y=y: nll(np.array([x, y, b[0]])), [2000.0], **options).fun
        assert 2.0 * (held - lowest) == pytest.approx(line.level, abs=0.01)
    assert line.contains(*line.best)
    # an ellipse in the limit of many events
    covariance = np.linalg.inv(likelihood.evaluate(np.array([*line.best, counts.sum() - sum(line.best)])).hessian)
    assert line.area == pytest.approx(np.pi * line.level * np.sqrt(np.linalg.det(covariance[:2, :2])), rel=0.02)


def test_bins_hold_all_events_and_enough_background():
    rng = np.random.default_rng(7)
    signal, background = rng.normal(1.0, 1.0, (5000, 2)), rng.normal(0.0, 1.0, (8000, 2))
    one, two = (ScoreBins.of(signal, background, bins=10, inner=inner) for inner in (1, 4))
    assert len(one) == 10
    assert 30 < len(two) <= 40
    for layout in (one, two):
        content = layout.histogram(background)
        assert content.shape == (len(layout),)
        assert content.sum() == 8000
        assert content.min() >= 20
    assert two.histogram(signal, np.full(5000, 0.5)).sum() == pytest.approx(2500.0)
    # the second score divides the bins of the first
    starts = np.cumsum([0, *(row.size - 1 for row in two.inner)])[:-1]
    assert np.add.reduceat(two.histogram(signal), starts) == pytest.approx(one.histogram(signal))
    # beyond the edges: the outermost bins
    assert one.histogram(np.array([[99.0, 0.0], [-99.0, 0.0]]))[[0, -1]] == pytest.approx([1.0, 1.0])


def test_no_bin_holds_less_than_nothing():
    """The bin of the signal is empty: unless a limit says otherwise, the best fit would be below zero there."""
    templates, counts = np.array([[0.05, 0.15, 0.8], [0.7, 0.25, 0.05]]), np.array([100.0, 40.0, 0.0])
    likelihood = TemplateLikelihood(parameters("s", "b"), templates, counts)
    assert np.isinf(likelihood.value(np.array([-9.0, 140.0])))  # -0.2 events in the last bin
    assert np.isfinite(likelihood.value(np.array([-8.0, 140.0])))
    with pytest.raises(FitError, match="the fit did not converge"):
        Profiler(likelihood, "s")
    s, b = zfit.Parameter("s", 1.0, 0.0, stepsize=1.0), zfit.Parameter("b", 130.0, stepsize=1.0)
    profiler = Profiler(TemplateLikelihood([s, b], templates, counts), "s")
    assert profiler.minimum.theta == pytest.approx([0.0, 140.0])


def test_weights_of_bins_are_copies_of_events():
    rng = np.random.default_rng(8)
    samples = [rng.normal(mean, 1.0, (6000, 2)) for mean in (0.5, 0.0)]
    copies = [rng.integers(0, 4, 6000) for _ in samples]
    names = ("signal_weights", "background_weights")
    weights = dict(zip(names, (n.astype(float) for n in copies), strict=True))
    weighted = ScoreBins.of(*samples, bins=6, inner=2, **weights)
    repeated = [np.repeat(sample, n, axis=0) for sample, n in zip(samples, copies, strict=True)]
    expected = ScoreBins.of(*repeated, bins=6, inner=2)
    np.testing.assert_array_equal(weighted.edges[1:-1], expected.edges[1:-1])
    for row, other in zip(weighted.inner, expected.inner, strict=True):
        np.testing.assert_array_equal(row[1:-1], other[1:-1])
    scaled = ScoreBins.of(*samples, bins=30, inner=3, **dict.fromkeys(names, np.full(6000, 0.25)))
    plain = ScoreBins.of(*samples, bins=30, inner=3)
    for row, other in zip((scaled.edges, *scaled.inner), (plain.edges, *plain.inner), strict=True):
        np.testing.assert_array_equal(row, other)


def test_wrong_shapes_are_named():
    with pytest.raises(InputError, match=r"templates of shape \(2, 4\)"):
        TemplateLikelihood(parameters("s", "b"), np.ones((2, 3)), np.ones(4))


def test_limits_and_significances_are_those_of_a_counting_experiment():
    """One bin over a known background: the same questions have the same answers as for events."""
    s, b = parameters("s", "b")
    b.set_value(50.0)
    b.floating = False
    loss = counting.counting(62.0, 50.0)
    bins = TemplateLikelihood([s, b], np.ones((2, 1)), np.array([62.0]))
    sample = ImportanceSample(loss, events=200, seed=1)
    assert upper_limit(bins, "s", expected=True).limit == pytest.approx(
        upper_limit(loss, "s", sample=sample).limit, rel=1e-4
    )
    exact = np.sqrt(2.0 * ((25.0 + 50.0) * np.log1p(25.0 / 50.0) - 25.0))
    assert expected_discovery(bins, "s", 25.0).z == pytest.approx(exact, rel=1e-6)
    found, expected = (feldman_cousins(x, "s", sample=y) for x, y in ((bins, None), (loss, sample)))
    assert (found.lower, found.upper) == pytest.approx((expected.lower, expected.upper), abs=1e-2)
    toys = conditional_fits(TemplateSample(bins).asimov(np.array([0.0, 50.0])).pool(), "s", [0.0], toys=200, seed=(1,))
    # 5 sigma of the mean of 200 Poisson numbers of mean 50: 6e-7
    assert toys.best.mean() == pytest.approx(0.0, abs=5.0 * np.sqrt(50.0 / 200.0))
    with pytest.raises(FitError, match="less than nothing at s = -60"):
        TemplateSample(bins).asimov(np.array([-60.0, 50.0]))


def test_toys_of_a_histogram_are_studied_as_those_of_events():
    s, b = parameters("s", "b")
    b.set_value(50.0)
    b.floating = False
    bins = TemplateLikelihood([s, b], np.ones((2, 1)), np.array([62.0]))
    pool = make_pool(bins, "s", 30.0, limits=True)
    fits = run_toys(pool, "s", n=300, seed=3)
    # one number over a known background: the fit is the number
    np.testing.assert_allclose(fits.values[:, 0], fits.events[:, 0] - 50.0, atol=1e-2)
    np.testing.assert_allclose(fits.errors[:, 0], np.sqrt(fits.events[:, 0]), rtol=1e-3)
    # 4.5 sigma, 7e-6 each; the error of a toy goes with its number, which moves the mean pull by half of 1/sqrt(80)
    own = summarise(fits, pool, "s", seed=3).parameters["s"]
    assert abs(own.bias) < 4.5 * own.bias_error
    assert abs(own.pull_mean) < 4.5 * own.pull_mean_error + 0.06
    assert abs(own.pull_width - 1.0) < 4.5 * own.pull_width_error + 0.03
    limited = run_toys(pool, "s", n=3, seed=3, limit=0.95)
    for n, limit in zip(limited.events, limited.limit, strict=True):
        data = TemplateLikelihood([s, b], np.ones((2, 1)), n)
        assert limit == pytest.approx(upper_limit(data, "s").limit, rel=2e-3)
    assert pickle.loads(pickle.dumps(pool)).digest == pool.digest != make_pool(bins, "s", 30.0).digest
    with pytest.raises(InputError, match="not negative, got -1"):
        make_pool(bins, "s", -1.0)
