"""Fitted weights against brute force over the weights, with mixtures of fixed weights."""

from __future__ import annotations

import dataclasses

import models
import numpy as np
import pytest
import zfit
from scipy.optimize import minimize, minimize_scalar

from hisigma_zfit.data import Dataset
from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.limits import asymptotic_cls
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import combination
from hisigma_zfit.inference.hypotests import background_t
from hisigma_zfit.inference.weights import fit_weights, member_densities, weighted_model, weights_profiler
from hisigma_zfit.likelihood.constraints import as_constraint
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.sidebands import SidebandMeasurement
from hisigma_zfit.model import shapes
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.toys import make_pool, run_toys

SHIFTS = ((-0.3, 0.1, 0.0, 0.0), (0.25, 0.0, -0.2, 0.0))


def members(shifts=SHIFTS):
    return [models.gaussian_flow(shift, 0.5, 1.0, region=models.REGION) for shift in shifts]


def sidebands(n: int, seed: int) -> Dataset:
    """Sideband events of the true background, which is neither of the members."""
    return drawn(n, models.background_flow(), seed)


@pytest.fixture(scope="module")
def data():
    return models.toy(models.model(n_sig=150.0, n_bkg=4000.0), seed=41)


@pytest.fixture(scope="module")
def events():
    return sidebands(6000, seed=42)


@pytest.fixture(scope="module")
def mixture():
    return models.model(n_sig=150.0, n_bkg=4000.0, background=MixtureFlow(members()))


def negative_log_sidebands(flows, events):
    """-log L_SB as a function of the first of two weights."""
    x, m = events.array(flows[0].features), events["m"]
    first, second = (np.exp(flow.log_prob_array(x, m)) for flow in flows)
    return lambda w: -np.log(w * first + (1 - w) * second).sum()


def test_weights_are_the_maximum_of_the_sideband_likelihood(events):
    flows = members()
    got = fit_weights(flows, events)
    target = negative_log_sidebands(flows, events)
    brute = minimize_scalar(target, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-6})
    np.testing.assert_allclose(got.values, [brute.x, 1 - brute.x], atol=1e-4)
    assert got.values.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(got.covariance.sum(axis=0), 0.0, atol=1e-12)


def test_covariance_is_the_scatter_between_independent_samples():
    flows, events = members(), sidebands(60_000, seed=47)
    part = np.random.default_rng(48).integers(40, size=len(events))
    fits = [fit_weights(flows, events.select(part == k)) for k in range(40)]
    scatter = np.std([f.values[0] for f in fits], ddof=1)
    quoted = np.mean([np.sqrt(f.covariance[0, 0]) for f in fits])
    # a standard deviation of 40 is good to 11 %; 5 of its errors: false alarms below 1e-6
    assert abs(scatter / quoted - 1) < 0.57


def test_the_right_member_gets_all_the_weight():
    truth, other = models.background_flow(), models.gaussian_flow([0.8, 0.0, 0.0, 0.0], 0.5, 1.0, region=models.REGION)
    got = fit_weights([other, truth], sidebands(6000, seed=43))
    assert got.values[1] == pytest.approx(1.0, abs=5 * np.sqrt(got.covariance[1, 1]))  # false alarm 6e-7
    assert np.sqrt(got.covariance[1, 1]) < 0.05


def test_weights_may_be_negative():
    # the truth lies beyond both members, on their line
    flows = members(((0.3, 0, 0, 0), (0.6, 0, 0, 0)))
    got = fit_weights(flows, sidebands(6000, seed=44))
    assert got.values[1] < -5 * np.sqrt(got.covariance[1, 1])


@pytest.mark.parametrize("term", ["exact", "gaussian"])
def test_profile_is_the_best_mixture_at_every_point(data, events, term):
    """By hand: the features count in the signal region only, and p_b is the mixture there."""
    flows = members()
    model = models.model(n_sig=150.0, n_bkg=4000.0, background=MixtureFlow(flows))
    signal, background = (c.pdf for c in model.components)
    for parameter in background.mass.get_params():
        parameter.floating = False
    values = np.asarray(data.value())
    m, x = values[:, 0], values[:, 1:]
    inside = models.REGION.contains(m)
    peak, falling = (shapes.evaluate(pdf.mass, m) for pdf in (signal, background))
    p_s = np.where(inside, np.exp(signal.flow.log_prob_array(x, m)), 1.0)
    p_b = [np.where(inside, np.exp(flow.log_prob_array(x, m)), 1.0) for flow in flows]
    fitted = fit_weights(flows, events)

    if term == "exact":
        held_by_sidebands = negative_log_sidebands(flows, events)
    else:

        def held_by_sidebands(w):
            return 0.5 * (w - fitted.values[0]) ** 2 / fitted.covariance[0, 0]

    def brute(s):
        def value(at):
            b, w = at
            density = s * peak * p_s + b * falling * (w * p_b[0] + (1 - w) * p_b[1])
            return s + b - np.log(density).sum() + held_by_sidebands(w)

        start = [4000.0, fitted.values[0]]
        return minimize(value, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).fun

    profiler = weights_profiler(model, data, events, term=term)
    low, high = profiler.best - 20.0, profiler.best + 30.0
    assert profiler.t(high) - profiler.t(low) == pytest.approx(2 * (brute(high) - brute(low)), abs=1e-3)


def test_the_error_covers_the_weights(mixture, data, events):
    weighted = weights_profiler(mixture, data, events, term="gaussian")
    held = fit_weights(members(), events).values
    frozen = Profiler(
        ExtendedNLL(models.model(n_sig=150.0, n_bkg=4000.0, background=MixtureFlow(members(), held)), data), "n_sig"
    )
    assert weighted.error >= frozen.error * (1 - 1e-6)
    assert weighted.best == pytest.approx(frozen.best, abs=0.5 * frozen.error)


def test_members_share_the_yield(mixture, events):
    weights = fit_weights(members(), events)
    split, yields = weighted_model(mixture, weights)
    np.testing.assert_allclose([float(n.value()) for n in yields], 4000.0 * weights.values)
    assert [c.name for c in split.components] == ["signal", "background_0", "background_1"]


def test_weights_are_a_combination(mixture, data, events):
    nominal = Profiler(ExtendedNLL(mixture, data), "n_sig")
    weighted = weights_profiler(mixture, data, events, term="gaussian")
    combined = combination("weights", nominal, weighted=weighted)
    assert combined.best == weighted.best
    assert combined.interval(cl=0.6827).error == pytest.approx(weighted.error, rel=0.1)
    with pytest.raises(InputError, match="weighted=weights_profiler"):
        combination("weights", nominal)


def test_a_penalty_decides_between_members(data):
    pair = [
        Profiler(ExtendedNLL(models.model(n_sig=150.0, n_bkg=4000.0, background=flow), data), "n_sig")
        for flow in members()
    ]
    plain = combination("discrete", pair[0], pair)
    gap = plain.offsets.max()
    better = int(np.argmin(plain.offsets))
    penalties = np.zeros(2)
    penalties[better] = gap + 3.0
    turned = combination("discrete", pair[0], pair, penalties=penalties)
    assert turned.best == pair[1 - better].best
    np.testing.assert_allclose(turned.offsets[better], 3.0, atol=1e-6)
    with pytest.raises(InputError, match="one penalty for each member"):
        combination("discrete", pair[0], pair, penalties=[1.0])
    with pytest.raises(InputError, match="in discrete profiling"):
        combination("envelope", pair[0], pair, penalties=[1.0, 2.0])


@pytest.mark.parametrize("term", ["exact", "gaussian"])
def test_the_sidebands_are_a_measurement(events, term):
    """Closed forms against zfit's value and differences, and observations that agree with any weights."""
    fitted = fit_weights(members(((-0.3, 0.1, 0, 0), (0.25, 0, -0.2, 0), (0.0, -0.2, 0.1, 0))), events)
    measurement = SidebandMeasurement(fitted, term)
    p, x = 3000.0 * np.array([0.2, 0.5, 0.3]), fitted.values[:2] + np.array([0.03, -0.05])
    constraint = as_constraint(measurement, [zfit.Parameter(f"n_{k}", n) for k, n in enumerate(p)], x)
    value, gradient, hessian = measurement.terms(p, x)
    assert value == pytest.approx(float(constraint.value()), rel=1e-10)
    for k, step in enumerate(1e-2 * np.eye(3)):
        up, down = (measurement.terms(p + s * step, x) for s in (1, -1))
        assert gradient[k] == pytest.approx((up[0] - down[0]) / 2e-2, rel=1e-6)
        np.testing.assert_allclose(hessian[k], (up[1] - down[1]) / 2e-2, rtol=1e-6)
    at_rest = measurement.terms(p, measurement.stationary(p))
    scale = np.sqrt(np.diag(at_rest[2]))
    np.testing.assert_allclose(at_rest[1] / scale, 0.0, atol=1e-5)  # as far as the fit of the weights went
    assert np.linalg.eigvalsh(at_rest[2] / np.outer(scale, scale)).min() > -1e-9  # flat along the total yield
    drawn = np.array([measurement.draw(p, np.random.default_rng(k)) for k in range(400)])
    # 4.5 sigma of mean and spread, false alarms 7e-6 each
    spread = np.sqrt(np.diag(fitted.covariance)[:2])
    np.testing.assert_allclose(drawn.mean(axis=0), measurement.stationary(p), atol=4.5 * spread.max() / np.sqrt(400))
    np.testing.assert_allclose(drawn.std(axis=0) / spread, 1.0, atol=4.5 / np.sqrt(800))


def drawn(n: int, background, seed: int) -> Dataset:
    """Sideband events of a background."""
    truth = models.model(n_sig=0.0, n_bkg=n, background=background)
    values = np.asarray(models.toy(truth, seed=seed).value())
    values = values[~models.REGION.contains(values[:, 0])]
    return Dataset.from_arrays(dict(zip(truth.obs, values.T, strict=True)))


def test_repeated_sidebands_are_those_of_other_weights():
    """Reweighted events against events that were drawn with these weights: their likelihoods have one curvature."""
    flows = members()
    fitted = fit_weights(flows, drawn(20_000, MixtureFlow(flows, [0.45, 0.55]), seed=50))
    x = fitted.values[:1] + 0.15
    measurement = SidebandMeasurement(fitted, "exact")
    p = 1000.0 * np.append(x, 1.0 - x)
    repeated = measurement.terms(p, x)[2][0, 0] / len(fitted.event_weights)
    density, _ = member_densities(flows, drawn(20_000, MixtureFlow(flows, np.append(x, 1.0 - x)), seed=49))
    curvature = (density[0] / (p @ density)) ** 2 - 1.0 / p.sum() ** 2
    # 15,000 events each: 4.5 sigma of the difference, false alarm 7e-6
    error = np.sqrt(2.0) * curvature.std() / np.sqrt(curvature.size)
    assert repeated == pytest.approx(curvature.mean(), abs=4.5 * error)
    # the events as they are would give another one
    unweighted = dataclasses.replace(measurement, weights=dataclasses.replace(fitted, values=np.append(x, 1.0 - x)))
    assert abs(unweighted.terms(p, x)[2][0, 0] / len(fitted.event_weights) - curvature.mean()) > 4.5 * error


@pytest.mark.parametrize("term", ["exact", "gaussian"])
def test_limits_are_those_of_the_profile(mixture, events, term):
    """A limit on data without signal, by hand: Asimov set and CLs written out, against the combination's."""
    data = models.toy(models.model(n_sig=20.0, n_bkg=4000.0), seed=51)
    weighted = weights_profiler(mixture, data, events, term=term)
    combined = combination("weights", weighted, weighted=weighted)
    limit = combined.upper_limit(cl=0.95)
    assert limit.method == "CLs, weights"
    assert combined.interval(cl=0.9545).upper == pytest.approx(weighted.crossing(4.0, upwards=True), rel=1e-3)
    background = background_t(weighted, events=5000, seed=3)
    assert asymptotic_cls(weighted.t(limit.limit), background(limit.limit)) == pytest.approx(0.05, abs=0.002)


def test_toys_of_fitted_weights_cover(mixture, data, events):
    weighted = weights_profiler(mixture, data, events, term="gaussian")
    pool = make_pool(weighted.loss, "n_sig", 150.0, events=3000, seed=1)
    fits = run_toys(pool, "n_sig", n=60, seed=2)
    index = pool.parameters.index("n_sig")
    pulls = (fits.values[:, index] - 150.0) / fits.errors[:, index]
    # 60 toys: 4.5 sigma, false alarms 7e-6 each
    assert abs(pulls.mean()) < 4.5 / np.sqrt(60)
    assert abs(pulls.std() - 1.0) < 4.5 / np.sqrt(120)
    assert fits.observation.shape == (60, 1)
    assert fits.observation.std() > 0.0


def test_a_negative_density_leaves_walds_form(mixture, data, events, monkeypatch, caplog):
    def negative(*arguments, **options):
        raise FitError("the density is not positive everywhere")

    monkeypatch.setattr(ImportanceSample, "asimov", negative)
    weighted = weights_profiler(mixture, data, events, term="gaussian")
    limit = combination("weights", weighted, weighted=weighted).upper_limit(cl=0.95)
    assert limit.method == "CLs, Wald, weights"
    assert "not positive everywhere" in caplog.text


def test_wrong_input_is_named(mixture, data, events):
    flow = models.background_flow()
    with pytest.raises(InputError, match="two or more members"):
        fit_weights([flow], events)
    with pytest.raises(FitError, match="copies of each other"):
        fit_weights([flow, models.background_flow()], events)
    with pytest.raises(InputError, match="term to be one of"):
        weights_profiler(mixture, data, events, term="poisson")
    weighted = dataclasses.replace(events, weights=np.full(len(events), 2.0))
    with pytest.raises(InputError, match="sideband events without weights for their exact likelihood"):
        weights_profiler(mixture, data, weighted, term="exact")
