"""Asimov sets: stationary at their parameters, right in size, and representative of toys."""

from __future__ import annotations

from functools import cache

import counting
import models
import numpy as np
import pytest
import zfit
from scipy.stats import chi2

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield
from hisigma_zfit.toys import toy_fits
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.toy_fits import conditional_fits

EVENTS = 3000


def index(loss, name):
    return [p.name for p in loss.parameters].index(name)


@cache
def simple():
    model = models.model(n_sig=60.0, n_bkg=3000.0, sidebands="full")
    return ExtendedNLL(model, models.toy(model, seed=1))


@cache
def constrained():
    model = models.model(n_sig=60.0, n_bkg=3000.0)
    slope = next(p for p in model.get_params() if p.name == "p1")
    constraint = zfit.constraint.GaussianConstraint(slope, observation=2.0, sigma=0.1)
    return ExtendedNLL(model, models.toy(model, seed=1), constraints=[constraint])


def categories():
    first = models.model(n_sig=60.0, n_bkg=3000.0, background=models.background_flow(0.3))
    second = signal_plus_background(
        FlowProductPDF(first.components[0].pdf.mass, models.signal_flow()),
        FlowProductPDF(first.components[1].pdf.mass, models.background_flow()),
        poi=first.poi,
        yields=[zfit.Parameter("n_bkg_other", 2000.0, 0.0)],
    )
    return ExtendedNLL([first, second], [models.toy(first, seed=4), models.toy(second, seed=5)])


def mass_only():
    model = models.model(n_sig=60.0, n_bkg=3000.0)
    m = np.asarray(models.toy(model, seed=1).value())[:, :1]
    return ExtendedNLL(model.mass_only(), zfit.Data.from_numpy(obs=models.mass_space(), array=m))


@cache
def varied():
    """A background with a shape nuisance and a yield nuisance, both with constraint terms of their own."""
    shape, size = nuisance("shape"), nuisance("size")
    background = models.background_flow()
    variation = ShapeVariation(shape, models.background_flow(0.1), models.background_flow(-0.1))
    model = signal_plus_background(
        FlowProductPDF(models.peak(), models.signal_flow()),
        FlowProductPDF(models.falling(), background, variations=[variation]),
        poi=zfit.Parameter("n_sig", 60.0),
        yields=[lognormal_yield(zfit.Parameter("n_bkg", 3000.0, 0.0), size, 1.05)],
    )
    return ExtendedNLL(model, models.toy(model, seed=1))


@pytest.mark.parametrize("build", [simple, constrained, categories, mass_only, varied])
def test_the_score_vanishes_at_the_parameters_of_the_asimov_set(build):
    loss = build()
    profiler = Profiler(loss, "n_sig")
    before = loss.theta()
    sample = ImportanceSample(loss, theta=profiler.minimum.theta, events=EVENTS, seed=2)
    free = [k for k, p in enumerate(loss.parameters) if p.floating]
    for value in (0.0, 90.0):
        theta = profiler.at(value).theta
        asimov = sample.asimov(theta)
        here = asimov.likelihood.evaluate(theta)
        pull = here.gradient[free] / np.sqrt(np.diag(here.hessian)[free])
        np.testing.assert_allclose(pull, 0.0, atol=1e-6)
        assert asimov.profiler("n_sig").best == pytest.approx(value, abs=1e-4)
        with zfit.param.set_values(loss.parameters, theta):
            expected = sum(float(np.squeeze(p.get_yield().value())) for model in loss.model for p in model.pdfs)
        assert sum(w.sum() for w in asimov.weights) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(loss.theta(), before)


def test_weights_estimate_the_density():
    # exact moments of the mixture: the mean of feature a is 0 and 0.8 plus a slope in m
    loss = simple()
    theta = loss.theta()
    asimov = ImportanceSample(loss, events=20_000, seed=3).asimov(theta)
    values, w = asimov.sample.categories[0].values, asimov.weights[0]
    m, a = values[:, 0], values[:, list(loss.model[0].obs).index("a")]
    n_sig, n_bkg = theta[index(loss, "n_sig")], theta[index(loss, "n_bkg")]
    shapes = [pdf.mass for pdf in loss.model[0].pdfs]
    grid = np.linspace(90, 180, 4001)
    masses = [np.trapezoid(grid * np.asarray(s.pdf(grid[:, None])), grid) for s in shapes]
    expected_m = (n_sig * masses[0] + n_bkg * masses[1]) / (n_sig + n_bkg)
    assert (w @ m) / w.sum() == pytest.approx(expected_m, rel=2e-3)
    expected_a = n_sig * (0.8 + 0.1 * (masses[0] - 135) / 45) + n_bkg * 0.5 * (masses[1] - 135) / 45
    # 20,000 background events of unit width, scaled to 3,000: 4.5 sigma are 95 events
    assert w @ a == pytest.approx(expected_a, abs=95)


@pytest.mark.parametrize("s", [2.0, 30.0, 200.0])
def test_asimov_significance_of_a_counting_experiment_is_exact(s):
    b = 50.0
    loss = counting.counting(60.0, b)
    theta = loss.theta()
    theta[index(loss, "s")] = s
    asimov = ImportanceSample(loss, events=200, seed=1).asimov(theta)
    exact = 2 * ((s + b) * np.log1p(s / b) - s)  # arXiv:1007.1727, eq. 97
    assert asimov.profiler("s").t(0.0) == pytest.approx(exact, rel=1e-8)


def test_asimov_significance_with_a_control_region_is_exact():
    loss = counting.on_off(60.0, 120.0, 3.0)
    theta = loss.theta()
    s, b, tau = 25.0, 40.0, 3.0
    theta[[index(loss, "s"), index(loss, "b")]] = s, b
    asimov = ImportanceSample(loss, events=200, seed=1).asimov(theta)
    n, m = s + b, tau * b
    exact = 2 * (n * np.log(n * (1 + tau) / (n + m)) + m * np.log(m * (1 + tau) / (tau * (n + m))))
    assert asimov.profiler("s").t(0.0) == pytest.approx(exact, rel=1e-6)


def test_sampling_noise_of_the_significance_is_small():
    loss = simple()
    theta = loss.theta()
    z = [
        np.sqrt(ImportanceSample(loss, events=EVENTS, seed=seed).asimov(theta).profiler("n_sig").t(0.0))
        for seed in range(3)
    ]
    assert min(z) > 5.0
    # about 1 % each for 3,000 events a component: without calibration it is sqrt(N/M) = 1 unit of z
    assert np.ptp(z) < 0.05 * np.mean(z)


def test_events_that_only_signal_explains_are_left_out(caplog):
    # the background's feature ends at 3, the signal's goes on: q0 of one event beyond is infinite
    background = models.gaussian_flow([0.0], 0.0, 1.0, region=models.REGION, features=("a",))
    inside = background.log_prob_array
    background.log_prob_array = lambda x, m: np.where(x[:, 0] < 3.0, inside(x, m), -np.inf)
    model = signal_plus_background(
        FlowProductPDF(models.peak(), models.gaussian_flow([1.5], 0.0, 1.0, features=("a",))),
        FlowProductPDF(models.falling(), background),
        poi=zfit.Parameter("n_sig", 60.0),
        yields=[zfit.Parameter("n_bkg", 1000.0, 0.0)],
        sidebands="full",
    )
    rng = np.random.default_rng(1)
    columns = {"m": rng.uniform(90, 180, 500), "a": np.clip(rng.normal(size=500), None, 2.9)}
    loss = ExtendedNLL(model, Dataset.from_arrays(columns))
    sample = ImportanceSample(loss, events=EVENTS, seed=1)
    with caplog.at_level("INFO"):
        asimov = sample.asimov(loss.theta(), poi="n_sig")
    beyond = [
        category.values[:, list(model.obs).index("a")].max()
        for category in (*sample.categories, *asimov.sample.categories)
    ]
    assert beyond[0] > 3.0 > beyond[1]
    assert 4.0 < np.sqrt(asimov.profiler("n_sig").t(0.0)) < 20.0
    # 60 x sf(1.5) = 4.0 events
    assert float(caplog.text.split("Asimov set: ")[1].split()[0]) == pytest.approx(4.0, abs=0.4)
    background_only = sample.asimov(np.where(loss.theta() == 60.0, 0.0, loss.theta()), poi="n_sig")
    assert background_only.profiler("n_sig").best == pytest.approx(0.0, abs=1e-3)


def test_same_seed_same_set():
    loss = counting.counting(60.0, 50.0, sigma=5.0)
    model = simple()
    for likelihood in (loss, model):
        first, second, other = (
            ImportanceSample(likelihood, events=300, seed=seed).asimov(likelihood.theta()) for seed in (1, 1, 2)
        )
        for one, two in zip(first.weights, second.weights, strict=True):
            np.testing.assert_array_equal(one, two)
        assert not np.array_equal(first.data()[0].value(), other.data()[0].value())


def test_constraints_move_to_the_parameters():
    # the data pull the slope away from its measurement; an Asimov set knows nothing of that
    loss = constrained()
    profiler = Profiler(loss, "n_sig")
    theta = profiler.at(30.0).theta
    slope = index(loss, "p1")
    assert abs(theta[slope] - 2.0) > 0.02
    asimov = ImportanceSample(loss, events=EVENTS, seed=1).asimov(theta)
    np.testing.assert_allclose(asimov.observation, theta[slope])
    np.testing.assert_allclose(asimov.profiler("n_sig").minimum.theta[slope], theta[slope], atol=1e-6)


@pytest.mark.parametrize(("build", "name"), [(constrained, "p1"), (varied, "shape")])
def test_the_zfit_loss_is_the_same_likelihood(build, name):
    loss = build()
    theta = Profiler(loss, "n_sig").at(30.0).theta
    theta[index(loss, name)] += 0.3
    asimov = ImportanceSample(loss, events=1000, seed=1).asimov(theta)
    other = theta.copy()
    other[index(loss, "n_sig")] += 20.0
    other[index(loss, name)] += 0.1
    evaluator = asimov.loss().evaluator()
    expected = asimov.likelihood.value(other) - asimov.likelihood.value(theta)
    assert evaluator.value(other) - evaluator.value(theta) == pytest.approx(expected, rel=1e-9)


@pytest.mark.statistical
def test_toys_have_poisson_numbers_and_fluctuating_auxiliary_data():
    b, sigma, toys = 100.0, 15.0, 300
    loss = counting.counting(b, b, sigma=sigma)
    theta = loss.theta()
    theta[[index(loss, "s"), index(loss, "b")]] = 0.0, b
    asimov = ImportanceSample(loss, events=200, seed=1).asimov(theta)
    rng, pool = np.random.default_rng(3), asimov.pool()
    best = np.array([Profiler(pool.draw(rng)[0], "s", quick=True).minimum.theta for _ in range(toys)])
    s, measured = best[:, index(loss, "s")], best[:, index(loss, "b")]
    # one number each, so the fit is exact: b is its measurement and s + b the number of events
    numbers = s + measured
    np.testing.assert_allclose(numbers, np.round(numbers), atol=1e-2)
    # all three are nearly normal; false alarm 1e-6 for each: -34 % and +44 %
    least, most = chi2.ppf([5e-7, 1.0 - 5e-7], toys - 1) / (toys - 1)
    for values, variance in ((numbers, b), (measured, sigma**2), (s, b + sigma**2)):
        assert least < values.var(ddof=1) / variance < most


@pytest.mark.statistical
def test_asimov_significance_is_the_median_of_toys():
    loss = simple()
    theta = loss.theta()
    theta[index(loss, "n_sig")] = 40.0
    asimov = ImportanceSample(loss, events=10_000, seed=1).asimov(theta)
    z = np.sqrt(asimov.profiler("n_sig").t(0.0))
    toys = conditional_fits(asimov.pool(), "n_sig", [0.0], toys=200, seed=(7,))
    median = np.median(np.sqrt(2 * (toys.conditional[:, 0] - toys.minimum)))
    # the median of 200 unit Gaussians has the error 1.25/sqrt(200) = 0.089: 4.5 sigma, false alarms 7e-6
    assert z > 4.0
    assert median == pytest.approx(z, abs=4.5 * 0.089)
    # and the estimates scatter as the Asimov error says; 1/sqrt(400) = 5 %
    assert toys.best.std() == pytest.approx(asimov.profiler("n_sig").error, rel=4.5 * 0.05)
    assert toys.best.mean() == pytest.approx(40.0, abs=4.5 * toys.best.std() / np.sqrt(200))


@pytest.mark.statistical
@pytest.mark.slow
def test_generic_shapes_reuse_compiled_functions():
    space = models.mass_space()
    signal = zfit.pdf.Gauss(125.0, 2.0, obs=space, extended=zfit.Parameter("n_sig", 60.0))
    falling = zfit.pdf.Chebyshev(space, [zfit.Parameter("c1", -0.4)], extended=zfit.Parameter("n_bkg", 1000.0))
    m = np.concatenate([np.linspace(90, 180, 1000), np.linspace(122, 128, 60)])
    loss = ExtendedNLL(zfit.pdf.SumPDF([signal, falling]), zfit.Data.from_numpy(obs=space, array=m[:, None]))
    theta = loss.theta()
    sample = ImportanceSample(loss, events=1000, seed=1)
    first, other = sample.asimov(theta), sample.asimov(np.where(theta == 60.0, 30.0, theta))
    assert other.profiler("n_sig").best == pytest.approx(30.0, abs=1e-4)
    assert first.profiler("n_sig").best == pytest.approx(60.0, abs=1e-4)  # both keep their own events
    error = first.profiler("n_sig").error
    toys = conditional_fits(first.pool(), "n_sig", [0.0], toys=12, seed=(7,))
    assert len(set(toys.best)) == 12
    # 12 toys at 4.5 sigma of their mean, false alarms 7e-6
    assert toys.best.mean() == pytest.approx(60.0, abs=4.5 * error / np.sqrt(12))
    (category,) = sample.categories
    assert set(category.recipes) == {"sample", "toys"}


def test_first_toys_do_not_depend_on_their_number():
    loss = counting.counting(60.0, 50.0, sigma=5.0)
    asimov = ImportanceSample(loss, events=200, seed=1).asimov(loss.theta())
    pool = asimov.pool()
    few, many = (conditional_fits(pool, "s", [0.0], toys=n, seed=(1,)).best for n in (3, 6))
    np.testing.assert_array_equal(few, many[:3])
    assert len(set(many)) == 6


def test_wrong_input_is_named():
    loss = counting.counting(60.0, 50.0)
    stock = zfit.loss.ExtendedUnbinnedNLL(loss.model, loss.data)
    with pytest.raises(InputError, match="got ExtendedUnbinnedNLL"):
        ImportanceSample(stock)
    with pytest.raises(InputError, match="100 events"):
        ImportanceSample(loss, events=10)
    sample = ImportanceSample(loss, events=200)
    theta = loss.theta()
    theta[index(loss, "s")] = -60.0
    with pytest.raises(FitError, match="not positive everywhere at s = -60"):
        sample.asimov(theta)
    theta[index(loss, "s")] = theta[index(loss, "b")] = 0.0
    with pytest.raises(FitError, match="nothing to expect at s: no event has a density without signal"):
        sample.asimov(theta, poi="s")


def test_failed_toys_are_counted(monkeypatch, caplog):
    loss = counting.counting(60.0, 50.0)
    pool = ImportanceSample(loss, events=200).asimov(loss.theta()).pool()
    calls = []

    def broken(*arguments, **options):
        calls.append(1)
        if len(calls) % period == 0:
            raise FitError("no fit")
        return Profiler(*arguments, **options)

    monkeypatch.setattr(toy_fits, "Profiler", broken)
    period = 20
    toys = conditional_fits(pool, "s", [0.0], toys=40, seed=(1,))
    assert np.isnan(toys.best).sum() == 2
    assert toys.t_bounded(0, 0).size == 38
    assert "2 of 40 toys" in caplog.text
    period = 4
    with pytest.raises(FitError, match="10 of 40"):
        conditional_fits(pool, "s", [0.0], toys=40, seed=(1,))
