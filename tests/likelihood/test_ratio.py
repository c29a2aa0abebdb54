"""The likelihood of learned ratios: against eq. (7) written a second time, Minuit, closed forms, and its coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from iminuit import Minuit
from ratio_by_hand import complex_gradient, minus_log, random_model
from ratio_toy import PARAMETERS, Toy
from scipy.optimize import brentq
from scipy.stats import poisson

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.fitting.plain_fits import fit_plain
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.scans import profile
from hisigma_zfit.likelihood.protocol import limits_of, measured_in, names_of
from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.structure import NormEffect, Rates, RatioColumns, RatioStructure

MODELS = {
    "two parameters of interest": {"pois": 2},
    "ten nuisances": {"shapes": 10, "norms": 3, "events": 60},
    "no shape nuisance": {"shapes": 0},
    "events without weights": {"weights": False},
    "no bins": {"bins": 0},
    "no events": {"events": 0},
    "processes without a shape": {"alike": True},
    "all bins alike": {"bins": 1, "alike": True},
}


@pytest.fixture(scope="module")
def experiment():
    return Toy().draw(np.array([1.0, 0.3, 0.2, -0.5]), np.random.default_rng(1))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_value_and_derivatives_are_those_of_the_formula(model):
    rng = np.random.default_rng(5)
    structure, columns = random_model(rng, **model)
    likelihood = RatioLikelihood(structure, columns)
    for _ in range(2):
        theta = likelihood.theta() + 0.5 * rng.uniform(-1.0, 1.0, len(likelihood.parameters))
        found = likelihood.evaluate(theta)
        expected = minus_log(structure, columns, theta)
        assert likelihood.value(theta) == pytest.approx(expected, rel=1e-12, abs=1e-9)
        assert found.value == pytest.approx(likelihood.value(theta), rel=1e-13, abs=1e-10)
        gradient = complex_gradient(structure, columns, theta)
        assert found.gradient == pytest.approx(gradient, rel=1e-9, abs=1e-9 * np.abs(gradient).max())
        steps = 1e-4 * np.eye(theta.size)
        difference = [
            (complex_gradient(structure, columns, theta + h) - complex_gradient(structure, columns, theta - h)) / 2e-4
            for h in steps
        ]
        assert found.hessian == pytest.approx(np.array(difference), abs=1e-7 * np.abs(found.hessian).max())
        assert np.abs(found.hessian - found.hessian.T).max() < 1e-9 * np.abs(found.hessian).max()


def test_blocks_of_events_make_no_difference(monkeypatch, experiment):
    likelihood, theta = Toy().likelihood(experiment), np.array([0.7, 0.4, -0.6, 1.1])
    monkeypatch.setattr("hisigma_zfit.likelihood.ratio_evaluate._CACHE", 1)
    small = Toy().likelihood(experiment)
    whole, parts = likelihood.evaluate(theta), small.evaluate(theta)
    assert small.value(theta) == pytest.approx(likelihood.value(theta), rel=1e-12)
    assert parts.hessian == pytest.approx(whole.hessian, rel=1e-11)


def test_at_the_reference_it_is_zero_but_for_the_constraints(experiment):
    """-2 ln L is a ratio to the reference, mu = 1 and all t = 0, where the smearing's theta is minus infinity."""
    toy = Toy()
    likelihood = toy.likelihood(experiment)
    at = np.array([1.0, 0.0, -40.0, 0.0])
    constraints = likelihood.auxiliary.evaluator(likelihood.auxiliary.observed).value(at)
    assert likelihood.value(at) - constraints == pytest.approx(0.0, abs=1e-4)  # single precision of g


def test_the_interval_is_that_of_minos(experiment):
    likelihood = Toy().likelihood(experiment)
    minuit = Minuit(lambda theta: minus_log_of(likelihood, theta), likelihood.theta(), name=PARAMETERS)
    minuit.errordef, minuit.tol, minuit.strategy = Minuit.LIKELIHOOD, 1e-4, 2
    minuit.limits = list(zip(*limits_of(likelihood.parameters), strict=True))
    minuit.migrad()
    minuit.minos("mu")
    error, found = minuit.merrors["mu"], Profiler(likelihood, "mu")
    lower, upper = found.interval(1.0)
    assert found.best == pytest.approx(minuit.values["mu"], abs=1e-3 * found.error)
    assert lower == pytest.approx(found.best + error.lower, abs=1e-3 * found.error)
    assert upper == pytest.approx(found.best + error.upper, abs=1e-3 * found.error)


def minus_log_of(likelihood, theta):
    return minus_log(likelihood.structure, likelihood.columns, np.asarray(theta))


def counting(n, s=20.0, b=80.0, **norm):
    """One bin."""
    rates = Rates(np.array([[s], [b]]), np.zeros((2, 1)), np.zeros((2, 1, 0)))
    norms = (NormEffect("b", norm),) if norm else ()
    structure = RatioStructure(
        ("signal", "background"), {"signal": ("mu",)}, (), norms, Monomials((), ()), rates, ("bin",), 0, {}
    )
    none = np.zeros((0, 2), np.float32), np.zeros((0, 2, 0), np.float32), np.zeros(0, np.int64), None
    return RatioLikelihood(structure, RatioColumns(*none, counts=np.array([float(n)])))


def test_counting_only_has_a_closed_form():
    n, s, b = 117.0, 20.0, 80.0
    profiler = Profiler(counting(n), "mu")

    def t(mu):
        return 2.0 * (s * mu + b - n - n * np.log((s * mu + b) / n))

    best = (n - b) / s
    assert profiler.best == pytest.approx(best, abs=1e-5)
    expected = brentq(lambda mu: t(mu) - 1.0, 0.0, best), brentq(lambda mu: t(mu) - 1.0, best, 9.0)
    assert profiler.interval(1.0) == pytest.approx(expected, abs=1e-5)


def test_a_background_of_known_error_adds_in_quadrature():
    """Poisson error of n and 30 of 80 on the background; the fit with n as expected is a parabola in the background."""
    profiler = Profiler(counting(100.0, background=0.1), "mu")
    assert profiler.best == pytest.approx(1.0)
    assert profiler.error == pytest.approx(np.hypot(10.0, 8.0) / 20.0, rel=1e-6)


def test_without_shape_nuisances_it_is_a_template_fit_of_many_bins():
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(200, 5.0), 2)
    size = np.array([300.0, 5000.0])[:, None] * shares
    counts = rng.poisson(size.sum(axis=0))
    at = np.repeat(np.arange(200), counts)
    columns = RatioColumns(
        posterior=(size / size.sum(axis=0)).T[at].astype(np.float32),
        exponents=np.zeros((at.size, 2, 0), np.float32),
        region=np.zeros(at.size, np.int64),
        weights=None,
        counts=np.zeros(0),
    )
    rates = Rates(size.sum(axis=1)[:, None], np.zeros((2, 1)), np.zeros((2, 1, 0)))
    structure = RatioStructure(
        ("signal", "background"), {"signal": ("mu",)}, (), (), Monomials((), ()), rates, ("U",), 1, {}
    )
    t = profile(RatioLikelihood(structure, columns), "mu", [0.0, 0.5, 1.5, 2.0])
    grid = np.linspace(0.5, 1.5, 20001)
    templates = -2.0 * poisson.logpmf(counts, np.array([0.0, 0.5, 1.5, 2.0])[:, None] * size[0] + size[1]).sum(axis=1)
    least = min(-2.0 * poisson.logpmf(counts, mu * size[0] + size[1]).sum() for mu in grid[::20])
    assert t == pytest.approx(templates - least, abs=2e-3)


def test_two_parameters_of_interest_have_a_joint_profile():
    rng = np.random.default_rng(6)
    structure, columns = random_model(rng, pois=2, events=2000)
    likelihood = RatioLikelihood(structure, columns)
    joint = Profiler(likelihood, ["mu", "kappa"])
    point = joint.values + np.array([0.1, -0.05])
    held = replace_parameters(likelihood, {"mu": point[0], "kappa": point[1]})
    others = [k for k in range(len(likelihood.parameters)) if k > 1]
    found = minimise(likelihood, held, others, limits=limits_of(likelihood.parameters), tolerance=1e-10)
    assert joint.t(point) == pytest.approx(2.0 * (found.value - joint.minimum.value), abs=1e-5)
    assert likelihood.yields == ("mu", "kappa")


def replace_parameters(likelihood, values):
    theta = likelihood.theta()
    for name, value in values.items():
        theta[names_of(likelihood.parameters).index(name)] = value
    return theta


def test_a_smearing_that_the_data_do_not_want_stops_at_its_limit():
    """Events that are narrower than nominal: theta runs to its lower limit, and the profile of mu goes on."""
    narrow = Toy(width=((0.6, 0.7), (1.0, 0.9)))
    x, counts = narrow.events(np.array([1.0, 0.0, -5.0, 0.0]), np.random.default_rng(2))
    events, structure = Toy().columns(x, counts=counts), Toy().structure()
    smearing = replace(structure.shapes[1], constraint=replace(structure.shapes[1].constraint, kind="none"))
    structure = replace(structure, shapes=(structure.shapes[0], smearing))
    likelihood = RatioLikelihood(structure, events)
    profiler = Profiler(likelihood, "mu")
    assert profiler.minimum.theta[2] == -5.0
    lower, upper = profiler.interval(1.0)
    assert lower < profiler.best < upper
    assert np.diff(profile(likelihood, "smearing", [-5.0, -4.0, -3.0])).min() >= 0.0  # flat there, and not below
    assert Profiler(likelihood, "smearing").interval(1.0)[0] == -5.0


def test_a_log_normal_nuisance_keeps_its_constraint_where_the_density_is_flat():
    likelihood = Toy().likelihood(Toy().draw(np.array([1.0, 0.0, -2.0, 0.0]), np.random.default_rng(4)))
    t = profile(likelihood, "smearing", [-4.5, -4.0])
    assert t[0] - t[1] == pytest.approx(4.5**2 - 4.0**2, rel=0.05)


def test_a_negative_ratio_is_no_likelihood(experiment):
    """The most signal-like event bounds mu from below."""
    toy = Toy()
    likelihood = toy.likelihood(experiment)
    bound = -1.0 / (1.0 / (1.0 - experiment.posterior[:, 0].max()) - 1.0)
    inside, outside = np.array([[bound * 0.99, 0.0, -40.0, 0.0], [bound * 1.01, 0.0, -40.0, 0.0]])
    assert np.isfinite(likelihood.value(inside))
    assert likelihood.value(outside) == np.inf == likelihood.evaluate(outside).value
    assert Profiler(likelihood, "mu").t(-1.0 / 1e-3) == np.inf


def test_observations_of_auxiliary_measurements_move_the_nuisances(experiment):
    pulled = Toy().likelihood(experiment, auxiliary={"size": 2.0})
    names, (term,) = measured_in(pulled)
    assert names == ("scale", "smearing", "size")
    assert pulled.constrained == names
    theta = np.array([1.0, 0.5, 0.0, 2.0])
    assert term.evaluate(theta).gradient == pytest.approx([0.0, 0.5, 0.0, 0.0])
    plain = Toy().likelihood(experiment)
    assert Profiler(pulled, "size").best > Profiler(plain, "size").best + 0.1


def test_two_channels_count_a_common_constraint_once(experiment):
    one = Toy().likelihood(experiment)
    both, theta = one + one, np.array([1.1, 0.3, 0.2, -0.4])
    constraints = one.auxiliary.evaluator(one.auxiliary.observed).value(theta)
    assert both.evaluator().value(theta) == pytest.approx(2.0 * one.value(theta) - constraints, rel=1e-12)
    assert measured_in(both)[0] == ("scale", "smearing", "size")
    three = both + one
    assert three.evaluator().value(theta) == pytest.approx(3.0 * one.value(theta) - 2.0 * constraints, rel=1e-12)
    assert Profiler(both, "mu").error < 0.75 * Profiler(one, "mu").error
    with pytest.raises(InputError, match="one auxiliary measurement"):
        _ = one + Toy().likelihood(experiment, auxiliary={"size": 1.0})


def test_a_fit_without_zfit_answers_as_one_with(experiment):
    likelihood = Toy().likelihood(experiment)
    result, profiler = fit_plain(likelihood), Profiler(likelihood, "mu")
    assert result.valid
    assert result.params["mu"]["value"] == pytest.approx(profiler.best, abs=1e-4)
    assert result.params[likelihood.parameters[0]]["hesse"]["error"] == pytest.approx(profiler.error, rel=1e-3)
    assert result.covariance()[0, 0] ** 0.5 == pytest.approx(profiler.error, rel=1e-3)
    assert result.values["mu"] == result.params["mu"]["value"]
    assert "mu = 1." in repr(result)


def test_starts_are_where_the_user_wants_them(experiment):
    likelihood = Toy().likelihood(experiment, start={"mu": 0.3, "size": 1.0})
    assert likelihood.theta().tolist() == [0.3, 0.0, 0.0, 1.0]
    assert likelihood.with_data(experiment, np.zeros(3), np.ones(4)).theta().tolist() == [1.0] * 4


def broken(name, value):
    def make(toy, columns):
        return RatioLikelihood(toy.structure(), replace(columns, **{name: value(getattr(columns, name))}))

    return make


BAD = {
    "sum to one": broken("posterior", lambda g: 0.9 * g),
    "finite numbers in exponents": broken("exponents", lambda a: np.full_like(a, np.nan)),
    "counts of shape": broken("counts", lambda n: n[:-1]),
    "counts that are not negative": broken("counts", lambda n: n - 1e6),
    "start=": lambda toy, columns: toy.likelihood(columns, start={"nu": 1.0}),
    "auxiliary=": lambda toy, columns: toy.likelihood(columns, auxiliary={"mu": 1.0}),
    "processes among": lambda toy, columns: RatioLikelihood(
        replace(toy.structure(), norms=(NormEffect("other", {"top": 0.1}),)), columns
    ),
    "a name of its own": lambda toy, columns: RatioLikelihood(
        replace(toy.structure(), norms=(NormEffect("scale", {"signal": 0.1}),)), columns
    ),
    "parameter of interest": lambda toy, columns: RatioLikelihood(replace(toy.structure(), pois={}), columns),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_model_is_refused(message, experiment):
    with pytest.raises(InputError, match=message):
        BAD[message](Toy(), experiment)


def test_exponents_of_the_toy_are_the_expansion_of_the_exact_variation():
    toy = Toy()
    x = toy.nominal(1, 2000, np.random.default_rng(8))
    for scale, theta in ((0.0, 0.0), (1.5, -0.5), (-1.0, 0.5)):
        s = toy.smearing.value(theta)
        v = toy.monomials.values(np.array([scale, toy.smearing.t(theta)[0]]))
        for p in range(2):
            u = (s / toy.width[p][1]) ** 2
            z = (x[:, 1] - toy.centre[p][1]) / toy.width[p][1]
            error = toy.exponents(x)[:, p] @ v - toy.log_variation(p, x, scale, s)
            assert error == pytest.approx(np.zeros(len(x)), abs=1.01 * u**3 * np.max(0.5 * z**2 + 1 / 6))


@pytest.mark.statistical
def test_intervals_cover():
    """Toys made by shifting events, not by the likelihood; false-alarm rate 1e-5 for a coverage of 68.3 %.

    benchmarks/crosssection/coverage.py looks with more of them.
    """
    toy, truth, covered, toys = Toy(), np.array([1.0, 0.0, 0.0, 0.0]), 0, 250
    for k in range(toys):
        rng = np.random.default_rng([11, k])
        auxiliary = dict(zip(PARAMETERS[1:], rng.standard_normal(3).tolist(), strict=True))
        experiment = toy.likelihood(toy.draw(truth, rng), auxiliary=auxiliary)
        covered += Profiler(experiment, "mu", quick=True).t(1.0) < 1.0
    assert covered / toys == pytest.approx(0.683, abs=4.42 * np.sqrt(0.683 * 0.317 / toys))
