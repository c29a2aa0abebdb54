"""Fits, profiles and tests against Minuit on a second, independent likelihood, and against hepstats."""

from __future__ import annotations

import by_hand
import models
import numpy as np
import pytest
import zfit
from hepstats.hypotests import ConfidenceInterval, Discovery
from hepstats.hypotests.calculators import AsymptoticCalculator
from hepstats.hypotests.parameters import POI, POIarray
from iminuit import Minuit, cost
from scipy.optimize import minimize
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import Newton, fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.scans import profile
from hisigma_zfit.inference.hypotests import discovery, interval
from hisigma_zfit.likelihood.nll import ExtendedNLL

START = np.array([100.0, 8000.0, 1.5, 0.0])
# Minima of -log L agree within 1e-6 (ours) and 1e-5 (Minuit's numeric gradient): 0.005 sigma in a parameter
CLOSE = 0.01


def values_of(result):
    return np.array([result.params[name]["value"] for name in by_hand.NAMES])


def errors_of(result):
    return np.array([result.params[name]["hesse"]["error"] for name in by_hand.NAMES])


def free(loss):
    """The parameters that float, in the order of `by_hand`; the others are the frozen peak's."""
    found = {p.name: p for p in loss.parameters}
    return [found[name] for name in by_hand.NAMES]


def events_of(data):
    return np.asarray(data.value())


@pytest.fixture(scope="module")
def data():
    return models.toy(models.model(n_sig=60.0, n_bkg=3000.0), seed=21)


@pytest.fixture(scope="module")
def loss(data):
    return ExtendedNLL(models.model(), data)


@pytest.fixture(autouse=True)
def start_again(request):
    """Parameters of the shared loss are where a fit left them; start every test at the same place."""
    if "loss" in request.fixturenames:
        loss = request.getfixturevalue("loss")
        zfit.param.set_values(free(loss), START)


@pytest.fixture(scope="module")
def numpy_loss(data):
    return by_hand.Likelihood(events_of(data))


@pytest.fixture(scope="module")
def minuit(numpy_loss):
    minuit = numpy_loss.minuit(START)
    minuit.hesse()
    minuit.minos()
    return minuit


# --- the minimum -----------------------------------------------------------------------------------------------------


def test_the_second_likelihood_is_the_same_function(loss, numpy_loss):
    points = START + np.random.default_rng(1).normal(size=(5, 4)) * [30.0, 200.0, 0.3, 0.3]
    ours = []
    for point in points:
        zfit.param.set_values(free(loss), point)
        ours.append(loss.evaluator().value(loss.theta()))
    ours = np.array(ours)
    theirs = np.array([numpy_loss(point) for point in points])
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], atol=1e-6)
    assert np.ptp(theirs) > 1


def test_newton_finds_minuits_minimum_and_errors(loss, numpy_loss, minuit):
    result = fit(loss)
    assert result.valid
    assert result.minimizer.name == "Newton"
    assert result.edm < 1e-6
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(minuit.values) / errors, atol=CLOSE)
    np.testing.assert_allclose(errors_of(result), errors, rtol=5e-3)
    np.testing.assert_allclose(numpy_loss(values_of(result)), minuit.fval, atol=1e-4)
    covariance = result.covariance(free(loss))
    scale = np.outer(errors, errors)
    np.testing.assert_allclose(covariance / scale, np.array(minuit.covariance) / scale, atol=5e-3)
    # the parameters stay at the minimum, as zfit's minimisers leave them
    np.testing.assert_array_equal([float(p.value()) for p in free(loss)], values_of(result))


@pytest.mark.parametrize(
    "start",
    [
        pytest.param([5000.0, 100.0, -5.0, 5.0], id="all-signal"),
        pytest.param([0.0, 1.0, 0.0, 0.0], id="almost-nothing"),
        pytest.param([0.0, 1e6, 25.0, -25.0], id="a-million-steep"),
        pytest.param([1000.0, 3000.0, -20.0, -20.0], id="rising"),
    ],
)
def test_a_start_far_away_ends_at_the_same_minimum(loss, minuit, start):
    zfit.param.set_values(free(loss), start)
    result = fit(loss)
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(minuit.values) / errors, atol=CLOSE)


def test_a_start_without_a_density_is_one_clear_line(loss):
    loss.model[0].poi.set_value(-1e5)  # the sum of the densities is negative under the peak
    with pytest.raises(InputError, match=r"start values with a positive density.*n_sig = -1e\+05") as caught:
        fit(loss)
    assert "\n" not in str(caught.value)


def minuit_with(function, minuit, held):
    """Minuit's minimum with some parameters held, started from another minimum."""
    result = Minuit(function, np.array(minuit.values), name=by_hand.NAMES)
    result.errordef, result.tol = Minuit.LIKELIHOOD, 1e-3
    for name, value in held.items():
        result.values[name], result.fixed[name] = value, True
    for _ in range(3):
        result.migrad()
    assert result.valid
    return result


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("n_sig", (80.0, None)),
        ("n_sig", (None, 40.0)),
        ("p2", (-30.0, -1.0)),
        ("p1", (3.0, 30.0)),
        ("n_bkg", (0.0, 2900.0)),
    ],
)
def test_a_limit_that_is_reached_holds_the_parameter(data, minuit, numpy_loss, name, limits):
    model = models.model()
    loss = ExtendedNLL(model, data)
    parameter = free(loss)[by_hand.NAMES.index(name)]
    lower, upper = limits
    edge = lower if minuit.values[name] < (lower if lower is not None else -np.inf) else upper
    assert edge is not None, "the limit is not reached"
    parameter.lower, parameter.upper = lower, upper
    parameter.assign(edge)  # set_value has too small a tolerance for a limit of 40
    result = fit(loss)
    assert result.params[name]["value"] == pytest.approx(edge, rel=1e-12)
    assert result.params[name]["hesse"]["error"] == 0.0
    # zfit sets and resets parameters around each of these, and refuses values exactly at most limits
    assert float(loss.value(params=result)) == pytest.approx(float(loss.value()))
    asymmetric = result.errors()[0][parameter]
    forbidden, allowed = ("lower", "upper") if edge == lower else ("upper", "lower")
    assert asymmetric[forbidden] == pytest.approx(0.0, abs=1e-9)
    moved = minuit_with(numpy_loss, minuit, {name: edge + asymmetric[allowed]})
    held = minuit_with(numpy_loss, minuit, {name: edge})
    np.testing.assert_allclose(2 * (moved.fval - held.fval), 1.0, atol=1e-3)
    assert held.fval > minuit.fval + 0.1
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(held.values) / errors, atol=CLOSE)


def test_a_limit_that_is_met_on_the_way_is_left_again(data, minuit):
    model = models.model(n_sig=0.0)
    model.poi.lower = 0.0
    result = fit(ExtendedNLL(model, data))  # starts at its limit
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(minuit.values) / errors, atol=CLOSE)


def test_parameters_that_do_not_float_stay(loss, numpy_loss, minuit):
    p1 = free(loss)[2]
    p1.floating = False
    try:
        result = fit(loss)
        assert p1 not in result.params
        assert float(p1.value()) == START[2]
        held = minuit_with(numpy_loss, minuit, {"p1": START[2]})
        for name in ("n_sig", "n_bkg", "p2"):
            np.testing.assert_allclose(
                result.params[name]["value"], held.values[name], atol=CLOSE * held.errors[name], rtol=0
            )
        assert Profiler(loss, "p2").at(0.3).theta[loss.parameters.index(p1)] == START[2]
    finally:
        p1.floating = True


def test_constraints_are_fitted_with(data):
    model = models.model()
    constraint = zfit.constraint.GaussianConstraint(model.poi, observation=150.0, sigma=10.0)
    result = fit(ExtendedNLL(model, data, constraints=[constraint]))
    minuit = by_hand.Likelihood(events_of(data), constraint=(150.0, 10.0)).minuit(START)
    minuit.hesse()
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(minuit.values) / errors, atol=CLOSE)
    np.testing.assert_allclose(errors_of(result), errors, rtol=5e-3)


def test_minuit_through_zfit_finds_the_same_minimum(loss):
    ours = fit(loss)
    values = values_of(ours)
    zfit.param.set_values(free(loss), START)
    theirs = fit(loss, minimizer=zfit.minimize.Minuit(gradient="zfit", tol=1e-5))
    assert theirs.minimizer.name == "Minuit"
    np.testing.assert_allclose(values / errors_of(ours), values_of(theirs) / errors_of(ours), atol=CLOSE)
    np.testing.assert_allclose(ours.fminopt, theirs.fminopt, atol=1e-4)
    np.testing.assert_allclose(ours.fmin, theirs.fmin, atol=1e-4)
    np.testing.assert_allclose(errors_of(theirs), errors_of(ours), rtol=5e-3)


def test_minuit_takes_over_where_newton_gives_up(loss, monkeypatch, caplog, minuit):
    monkeypatch.setattr("hisigma_zfit.fitting.minimizer.Newton", lambda: Newton(maxiter=1))
    result = fit(loss)
    assert result.minimizer.name == "Minuit"
    assert "trying Minuit" in caplog.text
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(minuit.values) / errors, atol=CLOSE)
    np.testing.assert_allclose(errors_of(result), errors, rtol=1e-2)


def test_a_fit_of_the_mass_alone_is_iminuits_own(data):
    model = models.model()
    m = events_of(data)[:, 0]
    alone = ExtendedNLL(model.mass_only(), zfit.Data.from_numpy(obs=models.mass_space(), array=m[:, None]))
    result = fit(alone)

    def scaled_density(m, n_sig, n_bkg, p1, p2):
        return n_sig + n_bkg, n_sig * by_hand.peak(m) + n_bkg * by_hand.falling(m, p1, p2)

    minuit = Minuit(cost.ExtendedUnbinnedNLL(m, scaled_density), n_sig=60.0, n_bkg=3000.0, p1=1.5, p2=0.0)
    minuit.tol = 1e-3
    minuit.migrad()
    minuit.hesse()
    errors = np.array(minuit.errors)
    np.testing.assert_allclose(values_of(result) / errors, np.array(minuit.values) / errors, atol=CLOSE)
    np.testing.assert_allclose(errors_of(result), errors, rtol=5e-3)
    # its interval, its profile and its significance too
    minuit.minos("n_sig")
    minos, best = minuit.merrors["n_sig"], minuit.values["n_sig"]
    found = interval(result, "n_sig")
    np.testing.assert_allclose([found.lower - best, found.upper - best], [minos.lower, minos.upper], rtol=5e-3)
    points, values, valid = minuit.mnprofile("n_sig", grid=np.array([0.0, 0.5 * best, 2.0 * best]))
    assert valid.all()
    np.testing.assert_allclose(profile(alone, "n_sig", points), values - minuit.fval, atol=2e-3)
    np.testing.assert_allclose(discovery(result, "n_sig").q0, values[0] - minuit.fval, atol=2e-3)


def test_newton_is_only_for_its_own_loss(data):
    model = models.model()
    with pytest.raises(InputError, match=r"hz\.ExtendedNLL.*ExtendedUnbinnedNLL.*Minuit"):
        Newton().minimize(zfit.loss.ExtendedUnbinnedNLL(model, data))


# --- profiles --------------------------------------------------------------------------------------------------------


def test_asymmetric_errors_are_minos(loss, minuit):
    result = fit(loss)
    errors, _ = result.errors()
    for parameter, found in errors.items():
        minos = minuit.merrors[parameter.name]
        np.testing.assert_allclose(found["lower"], minos.lower, rtol=5e-3)
        np.testing.assert_allclose(found["upper"], minos.upper, rtol=5e-3)
    # the likelihood is not a parabola, or this test could not tell them from symmetric errors
    assert abs(minuit.merrors["n_sig"].upper + minuit.merrors["n_sig"].lower) > 0.02 * minuit.errors["n_sig"]


@pytest.fixture(scope="module")
def brute_force(numpy_loss, minuit):
    """T of n_sig by scipy, from scratch at every point."""

    def t(value):
        best = minimize(
            # finite where the density is not positive: the simplex subtracts its values
            lambda others: min(numpy_loss(np.array([value, *(others * [1000.0, 1.0, 1.0])])), 1e12),
            [3.0, 1.5, 0.0],
            method="Nelder-Mead",
            options={"xatol": 1e-5, "fatol": 1e-7, "maxiter": 4000},
        )
        assert best.success
        return 2.0 * (best.fun - minuit.fval)

    return t


def test_profile_is_the_brute_force_scan(loss, numpy_loss, brute_force):
    points = np.array([120.0, 0.0, 30.0, 61.0, 5.0])  # in no order
    t = profile(loss, "n_sig", points)
    np.testing.assert_allclose(t, [brute_force(point) for point in points], atol=2e-4)
    assert t.max() > 4
    assert profile(loss, "n_sig", [-50.0]) == numpy_loss([-50.0, 3000.0, 1.5, 0.0]) == np.inf  # no density somewhere
    np.testing.assert_array_equal(t, profile(loss, loss.model[0].poi, points))


def test_profile_does_not_move_the_parameters(loss):
    before = loss.theta()
    profile(loss, "n_sig", [10.0, 50.0])
    np.testing.assert_array_equal(loss.theta(), before)


def test_crossings_reach_their_level(loss, brute_force):
    profiler = Profiler(loss, "n_sig")
    for level in (1.0, 3.84):
        for edge in profiler.interval(level):
            np.testing.assert_allclose(brute_force(edge), level, atol=1e-3)
    found = interval(loss, "n_sig", cl=0.6827)
    np.testing.assert_allclose((found.lower, found.upper), profiler.interval(1.0), rtol=1e-4)
    assert found.value == profiler.best


def test_a_crossing_beyond_a_limit_is_the_limit(data):
    model = models.model(n_sig=60.0)
    model.poi.lower, model.poi.upper = 55.0, 70.0
    profiler = Profiler(ExtendedNLL(model, data), "n_sig")
    np.testing.assert_allclose(profiler.interval(9.0), (55.0, 70.0), rtol=1e-12)


def test_wrong_questions_are_refused(loss):
    with pytest.raises(InputError, match=r"n_sig.*got 'mu'"):
        Profiler(loss, "mu")
    for cl in (0.0, 1.0, 68.0):
        with pytest.raises(InputError, match="0 < cl < 1"):
            interval(loss, "n_sig", cl=cl)


# --- tests -----------------------------------------------------------------------------------------------------------


def test_q0_is_the_brute_force_value(loss, brute_force):
    found = discovery(fit(loss), "n_sig")
    np.testing.assert_allclose(found.q0, brute_force(0.0), atol=2e-4)
    np.testing.assert_allclose(found.z, np.sqrt(found.q0))
    np.testing.assert_allclose(found.p0, norm.sf(found.z))
    assert found.z > 3


def test_no_excess_has_no_significance(data):
    m = events_of(data)
    holes = m[~((m[:, 0] > 121) & (m[:, 0] < 129))]
    model = models.model(n_sig=0.0)
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=holes))
    found = discovery(loss, "n_sig")
    assert Profiler(loss, "n_sig").best < 0
    assert (found.q0, found.z, found.p0) == (0.0, 0.0, 0.5)


def test_twelve_sigma_have_a_finite_significance():
    model = models.model(n_sig=420.0, n_bkg=3000.0)
    data = models.toy(model, seed=22)
    found = discovery(ExtendedNLL(model, data), "n_sig")
    assert found.z > 12
    assert 0.0 < found.p0 < 1e-32  # 1 - cdf would be zero from 8.3 sigma on
    np.testing.assert_allclose(norm.isf(found.p0), found.z)
    minuit = by_hand.Likelihood(events_of(data)).minuit(START)
    held = by_hand.Likelihood(events_of(data)).minuit(START, fixed=0.0)
    np.testing.assert_allclose(found.q0, 2 * (held.fval - minuit.fval), rtol=1e-4)


def test_hepstats_discovery_is_ours():
    """With a signal of about five standard deviations: beyond eight hepstats loses the digits of p."""
    model = models.model(n_sig=50.0)
    loss = ExtendedNLL(model, models.toy(model, seed=12))
    calculator = AsymptoticCalculator(loss, Newton())
    poi = POI(loss.model[0].poi, 0)
    p0, z = Discovery(calculator, poi).result()
    ours = discovery(loss, "n_sig")
    np.testing.assert_allclose(z, ours.z, atol=1e-3)
    np.testing.assert_allclose(p0, ours.p0, rtol=5e-3)


def test_hepstats_interval_is_ours(loss):
    ours = interval(loss, "n_sig", cl=0.6827)
    calculator = AsymptoticCalculator(fit(loss), Newton())
    points = POIarray(loss.model[0].poi, np.linspace(ours.lower - 5, ours.upper + 5, 25))
    found = ConfidenceInterval(calculator, points).interval(alpha=1 - 0.6827, printlevel=0)
    # hepstats interpolates p-values between the scan's points
    np.testing.assert_allclose((found["lower"], found["upper"]), (ours.lower, ours.upper), atol=0.02 * ours.error)
    np.testing.assert_allclose(found["observed"], ours.value, atol=CLOSE * ours.error)
