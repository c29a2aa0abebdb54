"""The likelihood of ratios with zfit, hepstats and all questions of this package."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import zfit
from hepstats.hypotests import ConfidenceInterval, Discovery
from hepstats.hypotests.calculators import AsymptoticCalculator as HepstatsCalculator
from hepstats.hypotests.parameters import POI, POIarray
from ratio_toy import PARAMETERS, Toy

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import Newton
from hisigma_zfit.fitting.plain_fits import LikelihoodFit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.calculators import AsymptoticCalculator, UpperLimit
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.inference.impacts import correlations, impacts, prefit
from hisigma_zfit.likelihood.ratio_loss import RatioLoss
from hisigma_zfit.toys.toys import make_pool, run_toys

TRUTH = np.array([1.0, 0.3, 0.2, -0.5])


@pytest.fixture(scope="module")
def likelihood():
    toy = Toy()
    return toy.likelihood(toy.draw(TRUTH, np.random.default_rng(1)), reference=toy.reference(20_000, seed=3))


@pytest.fixture(scope="module")
def loss(likelihood):
    return RatioLoss(likelihood)


@pytest.fixture
def fitted(loss):
    return hz.fit(loss)


def in_tensorflow(likelihood, theta):
    """Eq. (7) of the toy's model, as operations that TensorFlow differentiates."""
    structure, columns = likelihood.structure, likelihood.columns
    mu, scale, smearing, size = tf.unstack(theta)
    own = structure.shapes[1].coordinate
    t = (own.median * tf.exp(own.width * smearing) / own.scale) ** 2
    v = tf.stack([scale, t, scale**2, t**2, scale * t])
    c = tf.stack([mu, 1.0 + structure.norms[0].sizes["background"] * size])
    rates = structure.rates.size * tf.exp(tf.linalg.matvec(structure.rates.slope, v))
    expected = tf.linalg.matvec(rates, c, transpose_a=True)
    exponents = tf.linalg.matvec(columns.exponents.astype(np.float64), v)
    ratio = tf.linalg.matvec(columns.posterior.astype(np.float64) * tf.exp(exponents), c)
    nominal = structure.rates.size.sum(axis=0)
    value = tf.reduce_sum(expected) - nominal.sum() - tf.reduce_sum(tf.math.log(ratio))
    value -= tf.reduce_sum(columns.counts * tf.math.log(expected[1:] / nominal[1:]))
    return value + 0.5 * tf.reduce_sum(theta[1:] ** 2) + 1.5 * np.log(2.0 * np.pi)


def test_derivatives_are_those_of_automatic_differentiation(likelihood):
    theta = tf.constant([0.8, 0.7, -0.4, 1.2], tf.float64)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(theta)
        with tf.GradientTape() as inner:
            inner.watch(theta)
            value = in_tensorflow(likelihood, theta)
        gradient = inner.gradient(value, theta)
    hessian = outer.jacobian(gradient, theta, experimental_use_pfor=False)
    found = likelihood.evaluate(theta.numpy())
    assert found.value == pytest.approx(float(value), rel=1e-9)
    assert found.gradient == pytest.approx(gradient.numpy(), rel=1e-9)
    assert found.hessian == pytest.approx(hessian.numpy(), rel=1e-9, abs=1e-9)


def test_zfit_sees_the_same_function(likelihood, loss):
    theta = np.array([0.9, 0.1, 0.2, 0.3])
    found = likelihood.evaluate(theta)
    with zfit.param.set_values(list(loss.parameters), theta):
        assert float(loss.value()) == pytest.approx(found.value, rel=1e-12)
        assert np.asarray(loss.gradient()) == pytest.approx(found.gradient, rel=1e-12)
        assert np.asarray(loss.gradient([loss.parameters[2]])) == pytest.approx(found.gradient[2:3], rel=1e-12)
        assert np.asarray(loss.hessian()) == pytest.approx(found.hessian, rel=1e-12)
        assert float(loss.create_new().value()) == pytest.approx(found.value, rel=1e-12)
    assert [p.name for p in loss.parameters] == list(PARAMETERS)


def test_zfit_parameters_stay_themselves(likelihood):
    mu = zfit.Parameter("mu", 0.7, -1.0, 4.0)
    mixed = likelihood.with_parameters({"mu": mu})
    assert mixed.theta()[0] == 0.7
    loss = RatioLoss(mixed)
    assert loss.parameters[0] is mu
    mu.floating = False
    result = hz.fit(loss)
    assert mu not in result.params
    assert float(mu.value()) == 0.7


def test_zfits_minuit_and_newton_find_the_same(likelihood, loss, fitted):
    profiler = Profiler(likelihood, "mu")
    with fitted:
        other = zfit.minimize.Minuit(gradient="zfit", tol=1e-5).minimize(loss)
    for parameter in loss.parameters:
        own = fitted.params[parameter]
        assert own["value"] == pytest.approx(other.params[parameter]["value"], abs=0.01 * own["hesse"]["error"])
    assert fitted.params[loss.parameters[0]]["hesse"]["error"] == pytest.approx(profiler.error, rel=1e-3)
    errors, _ = fitted.errors(loss.parameters[0])
    _, upper = profiler.interval(1.0)
    assert errors[loss.parameters[0]]["upper"] == pytest.approx(upper - profiler.best, rel=1e-2)


def test_hepstats_discovery_is_ours(likelihood, loss, fitted):
    mu = loss.parameters[0]
    calculator = HepstatsCalculator(fitted, Newton())
    p0, z = Discovery(calculator, POI(mu, 0)).result()
    ours = hz.discovery(likelihood, "mu")
    assert z == pytest.approx(ours.z, abs=1e-6)
    assert p0 == pytest.approx(ours.p0, rel=1e-4)
    scan = ConfidenceInterval(calculator, POIarray(mu, np.linspace(0.7, 1.6, 20))).interval(alpha=1 - 0.682689)
    interval = hz.interval(loss, "mu")
    assert (scan["lower"], scan["upper"]) == pytest.approx((interval.lower, interval.upper), abs=2e-3)


def test_upper_limits_are_those_of_hepstats_classes(likelihood, loss, fitted):
    mu = loss.parameters[0]
    calculator = AsymptoticCalculator(fitted, Newton())
    limits = UpperLimit(calculator, POIarray(mu, np.linspace(0.1, 2.5, 40)), POI(mu, 0), qtilde=True).upperlimit()
    ours = hz.upper_limit(likelihood, "mu", expected=True)
    assert limits["observed"] == pytest.approx(ours.limit, rel=0.01)
    assert limits["expected"] == pytest.approx(ours.expected["0"], rel=0.02)
    with pytest.raises(InputError, match="ExtendedNLL"):
        calculator.asimov_dataset(POI(mu, 0))


def test_a_fit_of_the_plain_likelihood_answers_all_questions(likelihood):
    result = hz.fit(likelihood)
    assert isinstance(result, LikelihoodFit)
    assert hz.interval(result, "mu").value == pytest.approx(result.params["mu"]["value"], abs=1e-3)
    assert hz.discovery(result, "mu").q0 == pytest.approx(Profiler(likelihood, "mu").t(0.0), rel=1e-9)
    asimov = hz.expected_discovery(result, "mu", 1.0, others=dict.fromkeys(PARAMETERS[1:], 0.0))
    assert asimov.z == pytest.approx(1.0 / Profiler(likelihood, "mu").error, rel=0.2)
    with pytest.raises(InputError, match="zfit loss"):
        hz.fit(likelihood, minimizer=zfit.minimize.Minuit())
    with pytest.raises(InputError, match="another likelihood"):
        hz.fit(lambda theta: theta)


def test_a_sum_with_events_of_another_kind_is_fitted(likelihood):
    """A control sample whose background is scaled by the same nuisance, as a PDF of zfit."""
    size = zfit.Parameter("size", 0.0, -5.0, 5.0)
    rate = zfit.ComposedParameter("rate", lambda nu: 900.0 * (1.0 + 0.05 * nu), params=[size])
    flat = zfit.pdf.Uniform(0.0, 1.0, obs=zfit.Space("m", 0.0, 1.0), extended=rate)
    rows = zfit.Data.from_numpy(obs=flat.space, array=np.linspace(0.01, 0.99, 900)[:, None])
    control = hz.ExtendedNLL(flat, rows)
    alone, both = hz.fit(likelihood), hz.fit(likelihood.with_parameters({"size": size}) + control)
    assert both.params["size"]["hesse"]["error"] < alone.params["size"]["hesse"]["error"]
    assert abs(both.values["size"]) < abs(alone.values["size"])


def test_impacts_know_the_auxiliary_measurements(likelihood, loss):
    found = impacts(likelihood, "mu", groups={"energy": ("scale", "smearing")})
    before = prefit(likelihood)
    assert tuple(before) == PARAMETERS[1:]
    assert np.array(list(before.values())) == pytest.approx(np.array([[0.0, 1.0]] * 3), abs=1e-6)
    assert {own.name: own.prefit_error for own in found.impacts} == pytest.approx(dict.fromkeys(PARAMETERS[1:], 1.0))
    held = Profiler(likelihood, "mu", held=PARAMETERS[1:], start=Profiler(likelihood, "mu").minimum.theta)
    assert np.mean(found.statistical) == pytest.approx(held.error, rel=0.02)
    assert found.statistical[1] < found.total[1]
    assert impacts(loss, "mu").statistical == pytest.approx(found.statistical, rel=1e-3)
    assert correlations(likelihood).matrix.shape == (4, 4)


def test_contours_reach_their_level(likelihood):
    found = contour(likelihood, "mu", "scale", points=6)
    joint = Profiler(likelihood, ["mu", "scale"])
    assert [joint.t(point) for point in found.points] == pytest.approx([found.level] * 6, rel=1e-3)


def test_studies_of_toys_take_it_as_any(likelihood, loss):
    pool = make_pool(hz.fit(likelihood), "mu", 1.0, others={"scale": 0.0}, limits=True)
    fits = run_toys(pool, "mu", n=5, seed=2, limit=0.95)
    assert fits.fitted.all()
    assert fits.limit.min() > fits.values[:, 0].min()
    assert make_pool(loss, "mu", 1.0).parameters == PARAMETERS
