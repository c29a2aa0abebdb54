"""The cached likelihood against zfit's own, which is slow and independent of the cache."""

from __future__ import annotations

import models
import numpy as np
import pytest
import tensorflow as tf
import zfit

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import DomainError, InputError
from hisigma_zfit.likelihood.columns import build_columns, data_version, terms_of
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF

RTOL = 1e-9


def stock(model, data, constraints=None):
    return zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=constraints)


def assert_same_loss(ours, theirs):
    parameters = list(ours.get_params())
    with zfit.run.set_graph_mode(False):  # eager: tracing zfit's loss takes longer than all its evaluations here
        value = theirs.value(full=True)
        gradient = np.asarray(theirs.gradient(parameters))
        hessian = np.asarray(theirs.hessian(parameters, numgrad=False))
    np.testing.assert_allclose(ours.value(full=True), value, rtol=RTOL)
    scale = np.sqrt(np.diag(hessian))
    np.testing.assert_allclose(ours.gradient(parameters) / scale, gradient / scale, atol=1e-8)
    np.testing.assert_allclose(
        ours.hessian(parameters) / np.outer(scale, scale), hessian / np.outer(scale, scale), atol=1e-9
    )


@pytest.mark.parametrize(
    ("sidebands", "weighted"),
    [
        ("mass-only", False),
        ("full", True),
        pytest.param("mass-only", True, marks=pytest.mark.slow),
        pytest.param("full", False, marks=pytest.mark.slow),
    ],
)
def test_value_gradient_and_hessian_equal_zfit(sidebands, weighted):
    model = models.model(sidebands=sidebands)
    data = models.toy(model, seed=1)
    if weighted:
        data = data.with_weights(np.random.default_rng(2).uniform(0.2, 2.0, int(data.num_entries)))
    model.poi.set_value(150.0)  # away from the minimum, where the gradient is not small
    assert_same_loss(ExtendedNLL(model, data), stock(model, data))


def test_constraints_are_part_of_the_loss():
    model = models.model()
    data = models.toy(model, seed=3)
    constraint = zfit.constraint.GaussianConstraint(model.poi, observation=100.0, sigma=20.0)
    assert_same_loss(ExtendedNLL(model, data, constraints=[constraint]), stock(model, data, [constraint]))


@pytest.mark.filterwarnings("ignore:.*add_constraints:DeprecationWarning")
def test_constraints_that_are_added_later_count():
    model = models.model()
    data = models.toy(model, seed=3)
    scale = zfit.Parameter("scale", 1.2)  # of no component: the likelihood gets one more parameter
    mine = zfit.constraint.GaussianConstraint(model.poi, observation=100.0, sigma=10.0)
    other = zfit.constraint.GaussianConstraint(scale, observation=1.0, sigma=0.1)
    late, early = ExtendedNLL(model, data), ExtendedNLL(model, data, constraints=[mine])
    before, alone = float(late.value()), late.value_gradient_hessian()
    assert {part.dtype for part in (*alone, late.value(), late.gradient())} == {tf.float64}
    assert float(late.value_gradient()[0]) == float(alone[0]) == before  # a float32 is off by 1e-3 here
    late.add_constraints(mine)
    # ((200 - 100) / 10)^2 / 2, and the constant of a normal distribution of width 10
    term = 50.0 + np.log(10.0 * np.sqrt(2.0 * np.pi))
    assert float(late.value()) - before == pytest.approx(term, abs=1e-9)
    late.add_constraints([other])
    assert scale in late.parameters
    assert late.theta().size == len(late.parameters)
    assert float(late.value()) - before == pytest.approx(term + 2.0 + np.log(0.1 * np.sqrt(2.0 * np.pi)), abs=1e-9)
    new = late.create_new(constraints=[mine])
    assert float(new.value()) == pytest.approx(float(early.value()), abs=1e-9)
    assert late.value_gradient(paramvals=None)[1].shape == (len(late.get_params()),)


def test_simultaneous_categories_share_parameters():
    first = models.model(background=models.background_flow(0.3))
    second = signal_plus_background(
        FlowProductPDF(first.components[0].pdf.mass, models.signal_flow()),
        FlowProductPDF(first.components[1].pdf.mass, models.background_flow()),
        poi=first.poi,
        yields=[zfit.Parameter("n_bkg_other", 3000.0, 0.0)],
    )
    data = [models.toy(first, seed=4), models.toy(second, seed=5)]
    assert_same_loss(ExtendedNLL([first, second], data), stock([first, second], data))


def test_columns_in_another_order_give_the_same_value():
    model = models.model()
    data = models.toy(model, seed=6)
    order = ["c", "m", "d", "a", "b"]
    values = np.asarray(data.value())[:, [list(model.obs).index(name) for name in order]]
    dataset = Dataset.from_arrays(dict(zip(order, values.T, strict=True)))
    reference = float(ExtendedNLL(model, data).value())
    assert float(ExtendedNLL(model, dataset).value()) == reference
    reordered = zfit.Data.from_numpy(obs=model.space.with_obs(order), array=values)
    assert float(ExtendedNLL(model, reordered).value()) == reference


@pytest.mark.parametrize(
    "mass",
    [
        pytest.param(lambda: zfit.pdf.Exponential(zfit.Parameter("lam", -0.02), models.mass_space()), id="family"),
        pytest.param(
            lambda: zfit.pdf.Chebyshev(models.mass_space(), [zfit.Parameter("c1", -0.4), zfit.Parameter("c2", 0.05)]),
            id="generic",
        ),
    ],
)
def test_any_zfit_mass_shape_works(mass):
    model = models.model(mass=mass())
    data = models.toy(model, seed=7)
    model.poi.set_value(120.0)
    assert_same_loss(ExtendedNLL(model, data), stock(model, data))


@pytest.mark.slow
def test_a_composed_yield_works():
    strength = zfit.Parameter("mu", 1.2)
    expected = zfit.ComposedParameter("n_expected", lambda mu: 180.0 * mu, params={"mu": strength})
    model = signal_plus_background(
        FlowProductPDF(models.peak(), models.signal_flow()),
        FlowProductPDF(models.falling(), models.background_flow()),
        poi=expected,
        yields=[zfit.Parameter("n_bkg", 5000.0, 0.0)],
    )
    data = models.toy(model, seed=8)
    assert_same_loss(ExtendedNLL(model, data), stock(model, data))


@pytest.mark.slow
def test_generic_path_equals_quick_path():
    model = models.model()
    data = models.toy(model, seed=9)
    loss = ExtendedNLL(model, data)
    quick = loss.evaluator().evaluate(loss.theta())
    generic = GraphEvaluator(terms_of(model), loss.columns()[0], loss.parameters).evaluate(loss.theta())
    np.testing.assert_allclose(generic.value, quick.value, rtol=1e-12)
    np.testing.assert_allclose(generic.gradient, quick.gradient, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(generic.hessian, quick.hessian, rtol=1e-9, atol=1e-9 * np.abs(quick.hessian).max())


def test_gradient_and_hessian_agree_with_finite_differences():
    model = models.model()
    loss = ExtendedNLL(model, models.toy(model, seed=10))
    evaluator, theta = loss.evaluator(), loss.theta()
    theta[loss.parameters.index(model.poi)] = 140.0
    here = evaluator.evaluate(theta)
    free = [k for k, p in enumerate(loss.parameters) if p.floating]
    for k in free:
        step = np.zeros_like(theta)
        step[k] = 1e-3 / np.sqrt(here.hessian[k, k])
        up, down = evaluator.evaluate(theta + step), evaluator.evaluate(theta - step)
        width = 2 * step[k]
        scale = np.sqrt(here.hessian[k, k])
        np.testing.assert_allclose((up.value - down.value) / width / scale, here.gradient[k] / scale, atol=1e-4)
        rows = (up.gradient - down.gradient) / width
        scales = scale * np.sqrt(np.diag(here.hessian)[free])
        np.testing.assert_allclose(rows[free] / scales, here.hessian[k, free] / scales, atol=1e-5)


@pytest.mark.slow
def test_resampled_data_are_noticed():
    model = models.model(n_bkg=500.0, n_sig=50.0)
    sampler = model.create_sampler(n=400)
    zfit.settings.set_seed(11)
    loss = ExtendedNLL(model, sampler)
    for _ in range(2):
        before, version = float(loss.value()), data_version(sampler)
        sampler.resample()
        assert data_version(sampler) != version
        fresh = zfit.Data.from_numpy(obs=model.space, array=np.asarray(sampler.value()))
        assert float(loss.value()) != before
        np.testing.assert_allclose(loss.value(), stock(model, fresh).value(full=True), rtol=RTOL)


def test_the_constant_is_that_of_the_data_as_they_are():
    model = models.model(n_bkg=500.0, n_sig=50.0)
    sampler = model.create_sampler(n=400)
    loss = ExtendedNLL(model, sampler)
    before = loss.data_constant()
    sampler.resample(n=420)
    constant = loss.data_constant()
    assert constant != before
    fresh = zfit.Data.from_numpy(obs=model.space, array=np.asarray(sampler.value()))
    assert constant == pytest.approx(ExtendedNLL(model, fresh).data_constant(), rel=1e-12)


def test_a_frozen_shape_that_is_moved_is_noticed():
    model = models.model()
    data = models.toy(model, seed=12)
    loss = ExtendedNLL(model, data)
    before = float(loss.value())
    shape = model.components[0].pdf.mass
    shape.params["mu"].set_value(126.0)
    assert float(loss.value()) != before
    np.testing.assert_allclose(loss.value(), stock(model, data).value(full=True), rtol=RTOL)


@pytest.mark.slow
def test_a_caller_that_traces_gets_the_same_value():
    model = models.model(n_bkg=500.0, n_sig=50.0)
    loss = ExtendedNLL(model, models.toy(model, seed=13))
    traced = tf.function(lambda: loss.value(full=True))
    np.testing.assert_allclose(traced(), loss.value(full=True), rtol=1e-12)


def test_negative_densities_are_infinitely_unlikely_not_nan():
    model = models.model()
    loss = ExtendedNLL(model, models.toy(model, seed=14))
    theta = loss.theta()
    theta[loss.parameters.index(model.poi)] = -1e6
    assert loss.evaluator().value(theta) == np.inf
    assert loss.evaluator().evaluate(theta).value == np.inf


def test_mass_only_model_is_the_model_without_features():
    model = models.model()
    data = models.toy(model, seed=15)
    m = zfit.Data.from_numpy(obs=models.mass_space(), array=np.asarray(data.value())[:, :1])
    alone = model.mass_only()
    assert_same_loss(ExtendedNLL(alone, m), stock(alone, m))


def test_events_without_any_density_are_refused():
    bounded = models.gaussian_flow([0.0] * 4, 0.0, 1.0, region=models.REGION)
    bounded.limits = np.tile([-3.0, 3.0], (4, 1))
    model = models.model(background=bounded, sidebands="full")
    model.components[0].pdf.flow.limits = np.tile([-3.0, 3.0], (4, 1))
    values = np.zeros((10, 5))
    values[:, 0] = 125.0
    values[:2, 1] = 9.0
    with pytest.raises(DomainError, match="2 of 10"):
        ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=values))


def test_wrong_input_is_named():
    model = models.model()
    data = models.toy(model, seed=16)
    with pytest.raises(InputError, match="one data set for each model"):
        ExtendedNLL([model, model], [data])
    with pytest.raises(InputError, match="fit_range"):
        ExtendedNLL(model, data, fit_range=[models.mass_space()])
    few = zfit.Data.from_numpy(obs=models.mass_space(), array=np.full((5, 1), 100.0))
    with pytest.raises(InputError, match="got no a, b, c, d"):
        ExtendedNLL(model, few)
    unextended = zfit.pdf.Gauss(zfit.Parameter("mean", 120.0), 2.0, models.mass_space())
    with pytest.raises(InputError, match="without a yield"):
        terms_of(unextended)


def test_shared_densities_are_evaluated_once(monkeypatch):
    model = models.model(sidebands="mass-only")
    background = model.components[1].pdf.flow
    calls = []
    original = background.log_prob_array
    monkeypatch.setattr(background, "log_prob_array", lambda x, m: calls.append(len(x)) or original(x, m))
    data = models.toy(model, seed=17)
    columns = build_columns(terms_of(model), data)
    assert calls == [int(data.num_entries)]
    sideband = ~models.REGION.contains(columns.mass)
    # rule 3: in the sidebands only the mass tells signal from background
    shape = np.asarray(model.pdfs[0].mass.pdf(columns.mass[sideband, None]))
    np.testing.assert_allclose(columns.ratio[0, sideband], shape, rtol=1e-12)
