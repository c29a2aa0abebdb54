"""Nuisances on the mass shape: the right density, and exact derivatives on the generic path."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit
from untrained import REGION, random_flow

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import evaluate
from hisigma_zfit.model.stored import load_model, save_model
from hisigma_zfit.model.systematics import ShapeVariation, nuisance, vary_shape

KAPPA = {"scale": 1.004, "resolution": 1.1}


def varied_peak(**values):
    scale, resolution = (nuisance(name, value=values.get(name, 0.0)) for name in KAPPA)
    effects = {"mu": {scale: KAPPA["scale"]}, "sigma": {resolution: KAPPA["resolution"]}}
    return vary_shape(models.peak(), effects), scale, resolution


@pytest.fixture(scope="module")
def loss():
    """Scale and resolution of the peak, the former also in a feature, at values away from zero."""
    peak, scale, _ = varied_peak(scale=0.6, resolution=-0.8)
    means = np.array([0.8, 0.7, -0.6, 0.5])
    up, down = (models.gaussian_flow(means + 0.1 * s * np.eye(4)[1], 0.1, 0.8) for s in (1.0, -1.0))
    model = signal_plus_background(
        FlowProductPDF(peak, models.signal_flow(), variations=[ShapeVariation(scale, up, down)]),
        FlowProductPDF(models.falling(), models.background_flow()),
        poi=zfit.Parameter("n_sig", 300.0),
        yields=[zfit.Parameter("n_bkg", 2500.0, 0.0)],
    )
    return ExtendedNLL(model, models.toy(models.model(300.0, 2500.0), seed=5))


def test_parameters_follow_their_nuisances():
    m = np.linspace(118.0, 132.0, 9)
    peak, *_ = varied_peak(scale=-1.5, resolution=0.7)
    moved = models.PEAK | {"mu": 125.0 * 1.004**-1.5, "sigma": 1.7 * 1.1**0.7}
    expected = zfit.pdf.DoubleCB(
        obs=models.mass_space(), **{name: models.frozen(f"moved_{name}", value) for name, value in moved.items()}
    )
    np.testing.assert_allclose(evaluate(peak, m), evaluate(expected, m), rtol=1e-12)


def test_two_nuisances_of_one_parameter_multiply():
    first, second = nuisance("first", value=1.0), nuisance("second", value=2.0)
    peak = vary_shape(models.peak(), {"mu": {first: 1.01, second: 0.998}})
    assert float(peak.params["mu"].value()) == pytest.approx(125.0 * 1.01 * 0.998**2, rel=1e-14)


def test_unknown_parameters_are_named():
    with pytest.raises(InputError, match="a parameter among mu, sigma"):
        vary_shape(models.peak(), {"mean": {nuisance("scale"): 1.01}})


@pytest.mark.slow
def test_likelihood_and_derivatives_equal_the_stock_loss_and_its_differences(loss):
    # without XLA and the peak's fixed parameters: their compilation would take longer than all the rest
    parameters = tuple(p for p in loss.parameters if p.floating)
    evaluator = GraphEvaluator(terms_of(loss.model[0]), loss.columns()[0], parameters, jit=False)
    stock = zfit.loss.ExtendedUnbinnedNLL(loss.model[0], loss.data[0])
    names, theta = [p.name for p in parameters], np.array([float(p.value()) for p in parameters])
    found = evaluator.evaluate(theta)
    assert found.value + loss.data_constant() == pytest.approx(float(stock.value()), rel=1e-9)
    for name in ("n_sig", "p1", *KAPPA):
        k = names.index(name)
        step = np.zeros(theta.size)
        step[k] = 1e-4 * max(1.0, abs(theta[k]))
        values = []
        for sign in (1.0, -1.0):
            zfit.param.set_values(parameters, theta + sign * step)
            values.append(float(stock.value()))
        zfit.param.set_values(parameters, theta)
        np.testing.assert_allclose((values[0] - values[1]) / (2.0 * step[k]), found.gradient[k], rtol=1e-5, atol=1e-5)
        above, below = (evaluator.evaluate(theta + sign * step).gradient for sign in (1.0, -1.0))
        np.testing.assert_allclose((above - below) / (2.0 * step[k]), found.hessian[k], rtol=1e-5, atol=1e-5)


def test_a_stored_peak_still_follows_its_nuisances(loss, tmp_path):
    """Without features: their densities here are made of code, which is not stored."""
    peak, *_ = varied_peak()
    pdfs = [FlowProductPDF(mass, random_flow(2, seed=1)) for mass in (peak, models.falling())]
    save_model(signal_plus_background(*pdfs, poi="n_sig", region=REGION), tmp_path)
    read = load_model(tmp_path)
    parameters = {p.name: p for p in read.get_params(floating=None, is_yield=None)}
    parameters["scale"].set_value(2.0)
    assert float(read.components[0].pdf.mass.params["mu"].value()) == pytest.approx(125.0 * 1.004**2, rel=1e-14)
    assert len(read.constraints) == len(KAPPA)
