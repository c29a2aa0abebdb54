"""Likelihoods with systematic variations against zfit's own, and what nuisances do in fits."""

from __future__ import annotations

import models
import numpy as np
import pytest
import tensorflow as tf
import zfit
from scipy.stats import norm
from variations import FORMS, SHIFT, assert_same_as_zfit, background, integral, make, sample, signal, varied

from hisigma_zfit.density.flows import DistributionFlow, MixtureFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.morphing import Morph
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.systematics import ConditionalVariation, ShapeVariation, nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield, scaled_yield, shifted_yield


@pytest.mark.slow
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
    assert not any(isinstance(part, GraphEvaluator) for part in loss.evaluator().parts)
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


@pytest.mark.slow
def test_generic_path_equals_quick_path():
    parameters = [nuisance("one"), nuisance("two")]
    yields = lognormal_yield(zfit.Parameter("n_sig", 150.0), parameters[0], 1.1)
    model = make(parameters, poi=yields, samples=3000)
    loss = ExtendedNLL(model, models.toy(make([], n_bkg=2000.0), seed=9))
    parameters[0].set_value(0.6)
    parameters[1].set_value(-1.2)
    quick = loss.evaluator().parts[0].evaluate(loss.theta())  # the others are constraints
    generic = GraphEvaluator(terms_of(model), loss.columns()[0], loss.parameters, jit=False).evaluate(loss.theta())
    np.testing.assert_allclose(generic.value, quick.value, rtol=1e-12)
    scale = np.sqrt(np.abs(np.diag(quick.hessian))) + 1e-9
    np.testing.assert_allclose(generic.gradient / scale, quick.gradient / scale, atol=1e-7)
    np.testing.assert_allclose(
        generic.hessian / np.outer(scale, scale), quick.hessian / np.outer(scale, scale), atol=1e-8
    )


@pytest.mark.slow
def test_a_caller_that_traces_gets_the_same_value():
    parameter = nuisance("jes")
    model = make([parameter], n_bkg=500.0, n_sig=50.0, samples=3000)
    loss = ExtendedNLL(model, models.toy(model, seed=13))
    parameter.set_value(0.7)
    traced = tf.function(lambda: loss.value(full=True))
    np.testing.assert_allclose(traced(), loss.value(full=True), rtol=1e-12)


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
    # Gaussians that are moved are parabolas; N(m, nu) is good to 2e-2 at three standard deviations (test_morphing),
    # which is 330 of 6400 with 8200 events, and the signal, which is no parabola beside the background, has 110
    np.testing.assert_allclose(t, quadratic, rtol=0.07)


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
    without = loss.evaluator().parts[0].value(loss.theta())
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
    part, known = scaled_yield(size, 0.3, name="part"), scaled_yield(fixed, 0.5, name="known")
    assert float(part.value()) == pytest.approx(0.3 * 150.0 * 1.05**1.5 * 0.9**-0.5, rel=1e-12)
    assert float(known.value()) == pytest.approx(20.0 * 1.05**1.5, rel=1e-12)
    assert float(scaled_yield(base, 0.3, name="third").value()) == pytest.approx(45.0, rel=1e-12)
    learned = nuisance("learned")
    size = shifted_yield(scaled_yield(part, 1 / 0.3, name="whole"), learned, 7.0, name="shifted", offset=-4.0)
    with learned.set_value(2.0):
        # what is added to the base is scaled with it
        assert float(size.value()) == pytest.approx(160.0 * 1.05**1.5 * 0.9**-0.5, rel=1e-12)
        third = scaled_yield(shifted_yield(base, learned, 7.0, name="sum"), 0.3, name="part of the sum")
        assert float(third.value()) == pytest.approx(0.3 * 164.0, rel=1e-12)
    peak = models.peak()
    model = signal_plus_background(
        FlowProductPDF(peak, models.signal_flow()),
        FlowProductPDF(models.falling(), models.background_flow()),
        FlowProductPDF(peak, models.background_flow(0.4)),
        poi=size,
        yields=[scaled_yield(zfit.Parameter("n_bkg", 1800.0, 0.0), 0.5, name="half"), fixed],
    )
    assert model.poi is base
    assert set(model.constraints) == {p.constraint_term for p in (lumi, theory, learned)}
    learned.set_value(-0.7)
    data = models.toy(model, seed=33)
    loss = ExtendedNLL(model, data)
    assert not any(isinstance(part, GraphEvaluator) for part in loss.evaluator().parts)
    assert_same_as_zfit(loss, model, data, [p for p in loss.parameters if p.floating])
    alone = ExtendedNLL(model.mass_only(), mass_of(data))
    assert set(alone.constraints) == {p.constraint_term for p in (lumi, theory, learned)}
    with pytest.raises(InputError, match="sigma of at least zero"):
        shifted_yield(base, learned, -1.0, name="wrong")


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
