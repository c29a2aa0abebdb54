"""Systematic variations against brute force and against zfit's own likelihood.

The densities are Gaussians whose means move with the nuisance, so that everything is known exactly: with
p_f / p_0 = exp(d x - d^2 / 2) the integrals are one-dimensional.
"""

from __future__ import annotations

import functools

import models
import numpy as np
import pytest
import tensorflow as tf
import zfit
from scipy.stats import norm

from hisigma_zfit.density.flows import DistributionFlow, MixtureFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.fitting import Profiler, fit
from hisigma_zfit.model.columns import terms_of
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.graph import GraphEvaluator
from hisigma_zfit.model.likelihood import ExtendedNLL
from hisigma_zfit.model.morphing import Morph
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.projections import sample_mass
from hisigma_zfit.model.sampling import _share, sample_sum
from hisigma_zfit.model.systematics import (
    ConditionalVariation,
    ShapeVariation,
    lognormal_yield,
    nuisance,
)

SHIFT = 0.3  # of a background feature by one standard deviation of its nuisance, in units of its width
FORMS = ["polyexp", "quadratic"]


@functools.cache  # every flow is compiled once
def background(nu=0.0, feature=0, shift=SHIFT):
    mean = np.zeros(4)
    mean[feature] += shift * nu
    return models.gaussian_flow(mean, 0.5, 1.0, region=models.REGION)


@functools.cache
def signal(nu=0.0, feature=0):
    mean = np.array([0.8, 0.7, -0.6, 0.5])
    mean[feature] += 0.2 * nu
    return models.gaussian_flow(mean, 0.1, 0.8)


def varied(density, parameter, feature=0, form="polyexp"):
    return ShapeVariation(parameter, density(1.0, feature), density(-1.0, feature), form=form)


def make(parameters, *, form="polyexp", sidebands="mass-only", n_sig=200.0, n_bkg=8000.0, samples=20_000, poi=None):
    """Signal and background that share all nuisances; the j-th moves feature j of both."""
    parts = []
    for density, mass in ((signal, models.peak()), (background, models.falling())):
        variations = [varied(density, p, feature, form) for feature, p in enumerate(parameters)]
        morph = Morph(density(), variations, mass=mass, samples=samples)
        parts.append(FlowProductPDF(mass, density(), morph=morph))
    return signal_plus_background(
        *parts,
        poi=poi or zfit.Parameter("n_sig", n_sig),
        yields=[zfit.Parameter("n_bkg", n_bkg, 0.0)],
        sidebands=sidebands,
    )


def sample(model, *, seed):
    """As many events of each component as its yield says, at the nuisances' current values."""
    parts = []
    for k, pdf in enumerate(model.pdfs):
        rng = np.random.default_rng([seed, k])
        m = sample_mass(pdf.mass, round(float(pdf.get_yield().value())), rng)
        columns = {"m": m} | dict(zip(pdf.flow.features, pdf.sample_features(m, seed=seed + k).T, strict=True))
        parts.append(np.stack([columns[name] for name in model.obs], axis=1))
    return zfit.Data.from_numpy(obs=model.space, array=np.concatenate(parts))


def assert_same_as_zfit(loss, model, data, wanted):
    """Value, gradient and Hessian against zfit's own loss; eagerly, because tracing it takes a minute."""
    with zfit.run.set_graph_mode(False):
        theirs = zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=list(model.constraints))
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                value = theirs.value(full=True)
            gradient = tf.stack(inner.gradient(value, wanted))
        hessian = np.array(outer.jacobian(gradient, wanted, experimental_use_pfor=False))
    scale = np.sqrt(np.abs(np.diag(hessian)))
    np.testing.assert_allclose(loss.value(full=True), value, rtol=1e-9)
    np.testing.assert_allclose(loss.gradient(wanted) / scale, gradient / scale, atol=1e-8)
    scales = np.outer(scale, scale)
    np.testing.assert_allclose(loss.hessian(wanted) / scales, hessian / scales, atol=1e-8)


def integral(morph, nu, mass):
    """Integral over the features of p(x'|m) W(x', m, nu) where only feature 0 is varied."""
    centre = 0.5 * (mass - 135.0) / 45.0
    a = np.linspace(centre - 10.0, centre + 10.0, 4001)
    x = np.full((a.size, 4), centre)
    x[:, 0] = a
    m = np.full(a.size, mass)
    density = norm.pdf(a, centre)
    columns = morph.columns(x, m, morph.flow.log_prob_array(x, m))
    return np.trapezoid(density * morph.weights(columns, np.asarray(nu, dtype=float)).value(slice(None)), a)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("region", [None, models.REGION])
def test_the_density_is_normalised_at_every_nuisance_and_mass(form, region):
    morph = Morph(background(), [varied(background, nuisance("jes"), form=form)], mass=models.falling(), region=region)
    masses = (118.0, 125.0, 133.0) if region else (91.0, 125.0, 140.0, 178.0)
    for mass in masses:
        for nu in (0.0, 0.4, -0.8, 1.0, -1.0, 1.3, -1.3):
            assert integral(morph, [nu], mass) == pytest.approx(1.0, abs=1e-3)
        # exp(nu^2 d^2 / 2) would be 1.09 at 2 and 1.5 at 3 for the unnormalised exponentials
        assert integral(morph, [2.0], mass) == pytest.approx(1.0, abs=4e-3)
        assert integral(morph, [-3.0], mass) == pytest.approx(1.0, abs=2e-2)
    if region:
        assert integral(morph, [2.0], 100.0) == pytest.approx(1.0, abs=1e-6)


def test_products_of_variations_are_normalised_together():
    one, two = nuisance("one"), nuisance("two")
    both = [varied(background, one), ShapeVariation(two, background(0.7), background(-0.6))]
    morph = Morph(background(), both, mass=models.falling(), samples=100_000)
    for mass in (95.0, 125.0, 170.0):
        for nu in ([0.5, -0.5], [1.0, 1.0], [-0.3, 0.9]):
            separate = integral(morph, [nu[0], 0.0], mass) * integral(morph, [0.0, nu[1]], mass)
            assert separate == pytest.approx(1.0, abs=1e-3)
            assert integral(morph, nu, mass) == pytest.approx(1.0, abs=2e-3)
    # they move the same feature: the means of the two weights do not multiply
    columns = morph.columns(np.zeros((1, 4)), np.array([125.0]), background().log_prob_array(np.zeros((1, 4)), 125.0))
    joint = 1.0 + morph.normaliser.expansion(np.array([1.0, 1.0]))[0] @ columns.basis
    assert joint[0] == pytest.approx(np.exp(SHIFT * 0.7 * SHIFT), abs=2e-3)


def test_moments_equal_the_sum_over_the_sample():
    """Inside one standard deviation the normalisation comes from moments; it is the same mean."""
    from hisigma_zfit.model.normalisation import products

    parameters = [nuisance(name) for name in ("one", "two", "three")]
    variations = [varied(background, p, feature) for feature, p in enumerate(parameters)]
    variations[0] = ShapeVariation(parameters[0], background(6.0), background(-6.0))  # bends weights of some events
    normaliser = Morph(background(), variations, mass=models.falling(), samples=5000).normaliser
    nu = np.array([0.4, -0.9, 0.7])
    regular = normaliser._moments.regular
    assert 0 < np.count_nonzero(~regular) < regular.size
    rows = products([f.at(v) for f, v in zip(normaliser._forms, nu, strict=True)], normaliser._columns)
    rows[0] -= 1.0
    expected = rows @ normaliser._weighted.T
    for j, (form, correction) in enumerate(zip(normaliser._forms, normaliser._corrections, strict=True)):
        expected[[0, 1 + j, 4 + j * (j + 1) // 2 + j]] += form.tangent(nu[j]) @ correction
    np.testing.assert_allclose(normaliser.expansion(nu), expected, rtol=1e-9, atol=1e-11)


def test_where_edges_move_the_loss_is_reported_and_normalised(caplog):
    import tensorflow_probability as tfp

    def uniform(lower):
        def at(m):
            edge = tf.fill([tf.shape(m)[0], 1], tf.constant(lower, tf.float64))
            return tfp.distributions.Independent(tfp.distributions.Uniform(edge, edge + 10.0), 1)

        return DistributionFlow(at, features=("a",), given="m")

    morph = Morph(uniform(0.0), [ShapeVariation(nuisance("jes"), uniform(0.5), uniform(-0.5))], mass=models.falling())
    a = (np.arange(20_000) + 0.5)[:, None] / 2000.0
    m = np.full(len(a), 120.0)
    columns = morph.columns(a, m, morph.flow.log_prob_array(a, m))
    assert "of a varied density lies where the nominal one is" in caplog.text
    for nu in (-1.0, 0.5, 1.5):
        weight = morph.weights(columns, np.array([nu])).value(slice(None))
        assert weight.mean() == pytest.approx(1.0, abs=1e-2)  # here the lost 5 % are known from the sample only
    # up and nominal share 95 % of their range, and only there is the weight of 1 / 0.95
    weight = morph.weights(columns, np.array([1.0])).value(slice(None))
    assert weight.max() == pytest.approx(1.0 / 0.95, abs=1e-2)
    assert weight.min() < 2e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.statistical
def test_samples_follow_the_varied_density(form):
    """Chi-square of 20,000 events in 40 bins; false-alarm rate 1e-6 for each of 6 comparisons."""
    from scipy.stats import chi2

    parameter = nuisance("jes")
    pdf = FlowProductPDF(models.falling(), background(), variations=[varied(background, parameter, form=form)])
    m = np.full(20_000, 125.0)
    centre = 0.5 * (125.0 - 135.0) / 45.0
    edges = norm.ppf(np.linspace(0.0, 1.0, 41), centre)
    for nu in (-1.0, 0.6, 2.0):
        parameter.set_value(nu)
        x = pdf.sample_features(m, seed=3)
        assert np.array_equal(x, pdf.sample_features(m, seed=3))
        assert not np.array_equal(x, pdf.sample_features(m, seed=4))
        a = np.linspace(centre - 8.0, centre + 8.0, 16_001)
        points = np.full((a.size, 4), centre)
        points[:, 0] = a
        columns = pdf.morph.columns(points, np.full(a.size, 125.0), pdf.flow.log_prob_array(points, 125.0))
        density = norm.pdf(a, centre) * pdf.morph.weights(columns, np.array([nu])).value(slice(None))
        cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
        expected = np.diff(np.interp(edges, a, cumulative / cumulative[-1], left=0.0, right=1.0)) * m.size
        observed = np.histogram(x[:, 0], edges)[0]
        assert np.sum((observed - expected) ** 2 / expected) < chi2.isf(1e-6, 39)
        # the other features are untouched
        assert np.abs(x[:, 1] - centre).mean() == pytest.approx(np.sqrt(2.0 / np.pi), abs=0.02)
    parameter.set_value(0.0)
    assert np.array_equal(pdf.sample_features(m, seed=3), pdf.flow.sample(m, seed=3))


@pytest.mark.parametrize(
    ("form", "sidebands", "values", "weighted"),
    [
        ("polyexp", "full", [0.4], False),
        ("polyexp", "mass-only", [1.6, -0.3], True),
        ("quadratic", "full", [-1.9], False),
    ],
)
def test_value_and_derivatives_equal_zfit(form, sidebands, values, weighted):
    parameters = [nuisance(f"nu{j}") for j in range(len(values))]
    model = make(parameters, form=form, sidebands=sidebands, n_sig=60.0, n_bkg=900.0, samples=3000)
    data = models.toy(model, seed=1)
    if weighted:
        data = data.with_weights(np.random.default_rng(2).uniform(0.2, 2.0, int(data.num_entries)))
    for parameter, value in zip(parameters, values, strict=True):
        parameter.set_value(value)
    model.poi.set_value(40.0)
    loss = ExtendedNLL(model, data)
    assert not isinstance(loss._parts[0], GraphEvaluator)
    assert_same_as_zfit(loss, model, data, [p for p in loss.parameters if p.floating])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [[0.2, -0.7, 0.9], [1.4, -2.2, 0.0]])
def test_gradient_and_hessian_agree_with_finite_differences(form, values):
    parameters = [nuisance(f"nu{j}") for j in range(3)]
    model = make(parameters, form=form, sidebands="full", samples=3000)
    loss = ExtendedNLL(model, models.toy(model, seed=10))
    evaluator, theta = loss.evaluator(), loss.theta()
    for parameter, value in zip(parameters, values, strict=True):
        theta[loss.parameters.index(parameter)] = value
    here = evaluator.evaluate(theta)
    assert here.value == pytest.approx(evaluator.value(theta), rel=1e-13)
    free = [k for k, p in enumerate(loss.parameters) if p.floating]
    scales = np.sqrt(np.abs(np.diag(here.hessian)))
    for k in free:
        step = np.zeros_like(theta)
        step[k] = 1e-3 / scales[k]
        up, down = evaluator.evaluate(theta + step), evaluator.evaluate(theta - step)
        slope = (up.value - down.value) / (2 * step[k])
        np.testing.assert_allclose(slope / scales[k], here.gradient[k] / scales[k], rtol=1e-6, atol=1e-4)
        rows = (up.gradient - down.gradient) / (2 * step[k])
        at = [j for j in free if scales[j] > 0]
        np.testing.assert_allclose(
            rows[at] / (scales[k] * scales[at]), here.hessian[k, at] / (scales[k] * scales[at]), atol=1e-4
        )


def test_generic_path_equals_quick_path():
    parameters = [nuisance("one"), nuisance("two")]
    yields = lognormal_yield(zfit.Parameter("n_sig", 150.0), parameters[0], 1.1)
    model = make(parameters, poi=yields, samples=3000)
    loss = ExtendedNLL(model, models.toy(make([], n_bkg=2000.0), seed=9))
    parameters[0].set_value(0.6)
    parameters[1].set_value(-1.2)
    quick = loss._parts[0].evaluate(loss.theta())
    generic = GraphEvaluator(terms_of(model), loss.columns()[0], loss.parameters, jit=False).evaluate(loss.theta())
    np.testing.assert_allclose(generic.value, quick.value, rtol=1e-12)
    scale = np.sqrt(np.abs(np.diag(quick.hessian))) + 1e-9
    np.testing.assert_allclose(generic.gradient / scale, quick.gradient / scale, atol=1e-7)
    np.testing.assert_allclose(
        generic.hessian / np.outer(scale, scale), quick.hessian / np.outer(scale, scale), atol=1e-8
    )


def test_a_caller_that_traces_gets_the_same_value():
    parameter = nuisance("jes")
    model = make([parameter], n_bkg=500.0, n_sig=50.0, samples=3000)
    loss = ExtendedNLL(model, models.toy(model, seed=13))
    parameter.set_value(0.7)
    traced = tf.function(lambda: loss.value(full=True))
    np.testing.assert_allclose(traced(), loss.value(full=True), rtol=1e-12)


def test_zfit_samples_at_the_current_nuisance():
    parameter = nuisance("jes")
    pdf = FlowProductPDF(models.falling(), background(), variations=[varied(background, parameter)])
    zfit.settings.set_seed(5)
    parameter.set_value(1.0)
    x = np.asarray(pdf.sample(20_000).value())
    expected = 0.5 * (x[:, 0].mean() - 135.0) / 45.0 + SHIFT
    # standard error 0.007; 6 of them
    assert x[:, 1].mean() == pytest.approx(expected, abs=0.043)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.statistical
def test_the_whole_model_is_sampled_at_the_current_nuisance(form):
    parameter = nuisance("jes")
    model = make([parameter], form=form, sidebands="full", n_sig=2000.0, n_bkg=8000.0)
    parameter.set_value(1.0)
    x = sample_sum(model, 40_000, seed=7)
    peak, falling = (sample_mass(pdf.mass, 200_000, np.random.default_rng(8)).mean() for pdf in model.pdfs)
    expected = 0.2 * (0.8 + 0.2 + 0.1 * (peak - 135.0) / 45.0) + 0.8 * (SHIFT + 0.5 * (falling - 135.0) / 45.0)
    # standard error at most 0.0055; five of them: false alarm 6e-7, while a nuisance of zero is off by 0.28
    assert x[:, list(model.obs).index("a")].mean() == pytest.approx(expected, abs=0.028)


@pytest.mark.parametrize("form", FORMS)
def test_events_of_a_negative_yield_are_rejected_with_the_varied_density(form):
    parameter = nuisance("jes")
    model = make([parameter], form=form, sidebands="full", n_sig=-20.0)
    parameter.set_value(0.7)
    rng = np.random.default_rng(9)
    names = list(model.obs)
    x = rng.normal(0.0, 1.0, (200, 5))
    x[:, names.index("m")] = rng.uniform(100.0, 150.0, 200)
    events = zfit.Data.from_numpy(obs=model.space, array=x)
    signal, falling = (float(pdf.get_yield().value()) * np.asarray(pdf.pdf(events)) for pdf in model.pdfs)
    share = _share(model, terms_of(model), np.array([-20.0, 8000.0]), x)
    np.testing.assert_allclose(share, (signal + falling) / falling, rtol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("truth", [-1.0, 0.0, 1.0])
@pytest.mark.statistical
def test_closure_signal_and_nuisance_are_recovered(form, truth):
    """Paper, section 4.4: fits to data of nu = -1, 0 and +1; false-alarm rate 1e-6 for each of 12 pulls."""
    parameter = nuisance("jes")
    model = make([parameter], form=form, n_sig=300.0)
    parameter.set_value(truth)
    data = sample(model, seed=20 + round(truth))
    loss = ExtendedNLL(model, data)
    parameter.set_value(0.0)
    result = fit(loss)
    size, error = (result.params[model.poi][k] for k in ("value", "hesse"))
    assert abs(size - 300.0) < 4.9 * error["error"]
    size, error = (result.params[parameter][k] for k in ("value", "hesse"))
    assert error["error"] < 0.2  # measured by the data, not by its constraint
    assert abs(size - truth) < 4.9 * error["error"]


def test_the_weight_is_no_free_signal():
    """Unnormalised, far from nu = 0 the integral of the weight acts as signal and the profile turns negative."""
    parameter = nuisance("jes")
    model = make([parameter], form="polyexp", sidebands="full")
    loss = ExtendedNLL(model, models.toy(model, seed=30))
    profiler = Profiler(loss, "jes")
    t = profiler.scan(np.array([-3.0, -2.0, 2.0, 3.0]))
    # the data alone know nu to 1 / (0.3 sqrt(8000)) = 0.04
    assert np.all(t > 100.0)
    quadratic = ((np.array([-3.0, -2.0, 2.0, 3.0]) - profiler.best) / profiler.error) ** 2
    np.testing.assert_allclose(t, quadratic, rtol=0.6)


def test_in_the_sidebands_nothing_varies_if_only_the_mass_counts():
    parameter = nuisance("jes")
    model = make([parameter])
    data = models.toy(model, seed=31)
    loss = ExtendedNLL(model, data)
    columns = loss.columns()[0]
    inside = models.REGION.contains(columns.mass)
    for morph in columns.morphs:
        assert np.array_equal(morph.active, inside)
        weights = model.pdfs[1].morph.weights(columns.morphs[1], np.array([1.3])).value(slice(None))
        assert np.all(weights[~inside] == 1.0)
        assert np.std(weights[inside]) > 0.1
    # and so events there do not hold the nuisance
    sideband = zfit.Data.from_numpy(obs=model.space, array=np.asarray(data.value())[~inside])
    nll = ExtendedNLL(model, sideband)
    evaluation = nll.evaluator().evaluate(nll.theta())
    k = nll.parameters.index(parameter)
    assert evaluation.hessian[k, k] == pytest.approx(1.0, abs=1e-9)  # the constraint


def test_shared_nuisances_have_one_constraint():
    parameter, other = nuisance("jes"), nuisance("free", constraint=None)
    model = make([parameter, other], n_bkg=500.0, samples=1000)
    assert model.constraints == (parameter.constraint_term,)
    data = models.toy(model, seed=32)
    loss = ExtendedNLL(model, data)
    assert list(loss.constraints) == [parameter.constraint_term]
    again = ExtendedNLL(model, data, constraints=loss.constraints)
    assert list(again.constraints) == [parameter.constraint_term]
    extra = zfit.constraint.GaussianConstraint(other, observation=0.3, sigma=0.5)
    assert len(ExtendedNLL([model, model], [data, data], constraints=[extra]).constraints) == 2
    parameter.set_value(1.0)
    without = sum(part.value(loss.theta()) for part in loss._parts)
    assert float(loss.value(full=False)) - without == pytest.approx(0.5 + 0.5 * np.log(2.0 * np.pi), rel=1e-10)
    assert [p.name for p in ExtendedNLL(model.mass_only(), mass_of(data)).parameters if "jes" in p.name] == []


def mass_of(data):
    return zfit.Data.from_numpy(obs=models.mass_space(), array=np.asarray(data.value())[:, :1])


def test_other_constraints_can_be_chosen():
    wide = nuisance("wide", constraint=lambda p: zfit.constraint.GaussianConstraint(p, observation=0.5, sigma=2.0))
    assert float(wide.constraint_term.value()) == pytest.approx(-norm.logpdf(0.0, 0.5, 2.0), rel=1e-12)
    assert nuisance("unlimited", limits=None).has_limits is False


def test_lognormal_yields():
    lumi, theory = nuisance("lumi"), nuisance("theory")
    base = zfit.Parameter("n_sig", 150.0)
    size = lognormal_yield(lognormal_yield(base, lumi, 1.05), theory, 0.9)
    fixed = lognormal_yield(40.0, lumi, 1.05)
    lumi.set_value(1.5)
    theory.set_value(-0.5)
    assert float(size.value()) == pytest.approx(150.0 * 1.05**1.5 * 0.9**-0.5, rel=1e-12)
    assert float(fixed.value()) == pytest.approx(40.0 * 1.05**1.5, rel=1e-12)
    peak = models.peak()
    model = signal_plus_background(
        FlowProductPDF(peak, models.signal_flow()),
        FlowProductPDF(models.falling(), models.background_flow()),
        FlowProductPDF(peak, models.background_flow(0.4)),
        poi=size,
        yields=[zfit.Parameter("n_bkg", 900.0, 0.0), fixed],
    )
    assert model.poi is base
    assert model.constraints == (lumi.constraint_term, theory.constraint_term)
    data = models.toy(model, seed=33)
    loss = ExtendedNLL(model, data)
    assert not isinstance(loss._parts[0], GraphEvaluator)
    assert_same_as_zfit(loss, model, data, [p for p in loss.parameters if p.floating])
    alone = ExtendedNLL(model.mass_only(), mass_of(data))
    assert set(alone.constraints) == {lumi.constraint_term, theory.constraint_term}


def test_bootstraps_of_nominal_up_and_down_go_together():
    parameter = nuisance("jes")

    def resampled(nu):
        return MixtureFlow([background(nu, shift=shift) for shift in (0.2, 0.3, 0.4)])

    parts = resampled(1.0), resampled(-1.0)
    variation = ShapeVariation(parameter, *parts)
    signal_pdf = FlowProductPDF(models.peak(), signal(), variations=[varied(signal, parameter)])
    model = signal_plus_background(
        signal_pdf,
        FlowProductPDF(models.falling(), resampled(0.0), variations=[variation]),
        yields=[zfit.Parameter("n_bkg", 800.0, 0.0)],
    )
    members = list(model.bootstraps())
    assert len(members) == 3
    for d, member in enumerate(members):
        own = member.components[1].pdf
        assert own.flow is resampled_part(model, d)
        (bootstrap,) = own.variations
        assert (bootstrap.up, bootstrap.down) == (parts[0].flows[d], parts[1].flows[d])
        # the signal's normalisation is not made again for every background
        assert member.pdfs[0].morph is members[0].pdfs[0].morph
    other = FlowProductPDF(models.falling(), resampled(0.0), variations=[varied(background, parameter)])
    with pytest.raises(InputError, match="3 bootstraps of the variation jes"):
        other.bootstraps  # noqa: B018


def resampled_part(model, d):
    return model.components[1].pdf.flow.flows[d]


def joint_flow():
    """p(nu, x'|m) with a uniform nuisance on [-3, 3]: exact, so that only the interpolation is tested."""
    import tensorflow_probability as tfp

    tfd = tfp.distributions

    class Joint:
        def __init__(self, m):
            self.centre = 0.5 * (m - 135.0) / 45.0

        def log_prob(self, x):
            mean = tf.stack([self.centre + SHIFT * x[:, 0], *[self.centre] * 3], axis=1)
            return tfd.MultivariateNormalDiag(mean, np.ones(4)).log_prob(x[:, 1:]) - np.log(6.0)

    limits = [[-3.0, 3.0], *[[-np.inf, np.inf]] * 4]
    return DistributionFlow(Joint, features=("nu", *models.FEATURES), given="m", limits=limits)


def test_a_flow_that_was_trained_with_the_nuisance():
    parameter = nuisance("jes")
    morph = Morph(background(), [ConditionalVariation(parameter, joint_flow())], mass=models.falling())
    x = background(0.7).sample(np.full(500, 125.0), seed=1)
    m = np.full(500, 125.0)
    nominal = background().log_prob_array(x, m)
    for nu in (-1.7, 0.4, 1.3):
        weight = morph.weights(morph.columns(x, m, nominal), np.array([nu])).value(slice(None))
        exact = background(nu).log_prob_array(x, m) - nominal
        np.testing.assert_allclose(np.log(weight), exact, atol=2e-2)
        assert integral(morph, [nu], 125.0) == pytest.approx(1.0, abs=1e-2)
    pdf = FlowProductPDF(
        models.falling(), background(), morph=Morph(background(), morph.variations, mass=models.falling(), samples=2000)
    )
    data = zfit.Data.from_numpy(obs=pdf.space, array=np.concatenate([m[:, None], x], axis=1)[:50])
    parameter.set_value(0.8)
    graph = np.asarray(pdf.pdf(data))
    columns = pdf.morph.columns(x[:50], m[:50], nominal[:50])
    weight = pdf.morph.weights(columns, np.array([0.8])).value(slice(None))
    expected = np.exp(nominal[:50]) * weight * np.asarray(pdf.mass.pdf(m[:50, None]))
    np.testing.assert_allclose(graph, expected, rtol=1e-10)
    assert pdf.sample_features(m, seed=1)[:, 0].mean() == pytest.approx(0.8 * SHIFT - 1.0 / 9.0, abs=0.25)


def test_wrong_input_is_named():
    parameter = nuisance("jes")
    with pytest.raises(InputError, match="polyexp, quadratic"):
        ShapeVariation(parameter, background(1.0), background(-1.0), form="linear")
    other = models.gaussian_flow([0.0], 0.1, 1.0, features=("a",))
    with pytest.raises(InputError, match="a variation of"):
        ShapeVariation(parameter, other, background(-1.0))
    with pytest.raises(InputError, match="a variation of"):
        FlowProductPDF(models.falling(), background(), variations=[ShapeVariation(parameter, other, other)])
    with pytest.raises(InputError, match="independent"):
        ShapeVariation(zfit.ComposedParameter("twice", lambda p: 2.0 * p, params=[parameter]), other, other)
    with pytest.raises(InputError, match="inside the flow's domain"):
        ConditionalVariation(parameter, joint_flow(), nodes=(-4.0, 1.0))
    with pytest.raises(InputError, match="kappa > 0"):
        lognormal_yield(10.0, parameter, -1.0)
    with pytest.raises(InputError, match="a positive yield"):
        lognormal_yield(-10.0, parameter, 1.1)
