"""Gradients and Hessians of both evaluators of the likelihood against finite differences, wherever they are asked."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from hypothesis import given, settings
from hypothesis import strategies as st

import hisigma_zfit as hz
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator
from hisigma_zfit.likelihood.graph import GraphEvaluator

example = hz.examples


def quick():
    """Yields, one with two nuisances, a shape of each component that varies, and a spectrum of two parameters."""
    scale, size = hz.nuisance("scale"), hz.nuisance("size")
    mass = example.mass()
    varied = hz.ShapeVariation(scale, example.flow("signal_up"), example.flow("signal_down"))
    peak = zfit.pdf.Gauss(125.0, 2.0, obs=mass)
    falling = hz.ExpQuadratic(mass, zfit.Parameter("p1", 2.0), zfit.Parameter("p2", 0.1))
    n_sig = hz.lognormal_yield(zfit.Parameter("n_sig", 50.0), size, 1.1)
    model = hz.signal_plus_background(
        hz.FlowProductPDF(peak, example.flow("signal"), variations=[varied]),
        hz.FlowProductPDF(falling, example.flow("background")),
        poi=hz.lognormal_yield(n_sig, scale, 1.05),
        yields=[zfit.Parameter("n_bkg", 3000.0, 0.0)],
    )
    return hz.ExtendedNLL(model, example.events())


def generic():
    """A peak that moves: no exponential family."""
    mass = example.mass()
    peak = zfit.pdf.Gauss(zfit.Parameter("mu", 125.0), zfit.Parameter("sigma", 2.0), obs=mass)
    model = hz.signal_plus_background(
        hz.FlowProductPDF(peak, example.flow("signal")),
        hz.FlowProductPDF(hz.ExpQuadratic(mass, 2.0, 0.0), example.flow("background")),
        poi=zfit.Parameter("n_sig", 50.0),
        yields=[zfit.Parameter("n_bkg", 3000.0, 0.0)],
    )
    return hz.ExtendedNLL(model, example.events())


RANGES = {
    "n_sig": (5.0, 150.0),
    "n_bkg": (2000.0, 4000.0),
    "p1": (1.0, 3.0),
    "p2": (-1.0, 1.0),
    "scale": (-2.0, 2.0),
    "size": (-2.0, 2.0),
    "mu": (122.0, 128.0),
    "sigma": (1.0, 4.0),
}


@pytest.fixture(scope="module", params=[(quick, ColumnEvaluator), (generic, GraphEvaluator)], ids=["quick", "generic"])
def likelihood(request):
    make, kind = request.param
    loss = make()
    evaluator = loss.evaluator()
    assert kind in {type(part) for part in getattr(evaluator, "parts", [evaluator])}
    return [p.name for p in loss.parameters], evaluator


@settings(max_examples=15)
@given(data=st.data())
def test_gradient_and_hessian_equal_differences(likelihood, data):
    names, evaluator = likelihood
    low, high = np.array([RANGES[name] for name in names]).T
    theta = low + (high - low) * np.array([data.draw(st.floats(0.0, 1.0), label=name) for name in names])
    found = evaluator.evaluate(theta)
    assert found.value == pytest.approx(evaluator.value(theta), rel=1e-12)
    np.testing.assert_allclose(found.hessian, found.hessian.T, rtol=1e-9, atol=1e-9 * np.abs(found.hessian).max())
    if any(name == "scale" and abs(abs(theta[k]) - 1.0) < 1e-3 for k, name in enumerate(names)):
        return  # the third derivative of the interpolation jumps there
    steps = 1e-5 * (high - low)
    for k, step in enumerate(np.diag(steps)):
        above, below = evaluator.evaluate(theta + step), evaluator.evaluate(theta - step)
        # in units of the parameters' ranges; a value of 10^4 has eight digits left after a step of 10^-5
        slope = (above.value - below.value) / (2e-5)
        assert found.gradient[k] * (high - low)[k] == pytest.approx(slope, abs=1e-4 + 1e-5 * abs(slope))
        curvature = (above.gradient - below.gradient) * (high - low) / (2e-5)
        expected = found.hessian[k] * (high - low) * (high - low)[k]
        np.testing.assert_allclose(curvature, expected, atol=1e-4 * (1 + np.abs(expected).max()))
