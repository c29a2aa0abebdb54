"""Template fits in several parameters, against derivatives by differences, an independent fit and known templates."""

from __future__ import annotations

import counting
import numpy as np
import pytest
import zfit
from scipy.optimize import minimize

from hisigma_zfit.baselines.score_fits import fit_yields
from hisigma_zfit.baselines.template_fits import ScoreBins, TemplateLikelihood, TemplateSample
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.inference.hypotests import expected_discovery, feldman_cousins, upper_limit
from hisigma_zfit.model.kappa import PolynomialYield
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.toy_fits import conditional_fits


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
