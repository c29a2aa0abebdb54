"""The likelihood of the sidebands alone, beside the same written by hand and beside what it must find."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit
from scipy.integrate import quad
from scipy.optimize import minimize

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.outside import RegionYield, outside_likelihood
from hisigma_zfit.model.uncertain_yields import scaled_yield

LOW, HIGH = 90.0, 180.0
REGION = models.REGION


@pytest.fixture(scope="module")
def sidebands():
    """Model and events outside of the region."""
    model = models.model(n_sig=60.0, n_bkg=3000.0)
    events = np.asarray(models.toy(model, seed=3).value())
    return model, events[~REGION.contains(events[:, 0])]


@pytest.fixture(scope="module")
def closed(sidebands):
    model, events = sidebands
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=events))
    return loss, *outside_likelihood(loss, REGION)


def spectrum(m, p1, p2):
    t = (m - LOW) / (HIGH - LOW)
    return np.exp(-p1 * t + p2 * t**2)


def test_it_is_the_extended_likelihood_of_the_two_sidebands(sidebands, closed):
    """Without signal: n times the integral beside the region, and the densities of the whole range."""
    loss, likelihood, _ = closed
    m = sidebands[1][:, 0]
    names = [p.name for p in loss.parameters]

    def at(**values):
        here = dict(zip(names, loss.theta(), strict=True)) | values
        return np.array([here[name] for name in names])

    def by_hand(n, p1, p2):
        whole = quad(spectrum, LOW, HIGH, (p1, p2))[0]
        beside = sum(quad(spectrum, *edges, (p1, p2))[0] for edges in ((LOW, REGION.lower), (REGION.upper, HIGH)))
        return n * beside / whole - np.log(n * spectrum(m, p1, p2) / whole).sum()

    def ours(n, p1, p2):
        return likelihood.evaluator().value(at(n_sig=0.0, n_bkg=n, p1=p1, p2=p2))

    start, other = (3000.0, 1.7, 0.2), (2500.0, 1.0, -0.6)
    assert ours(*other) - ours(*start) == pytest.approx(by_hand(*other) - by_hand(*start), abs=1e-7)
    found = minimise(
        likelihood.evaluator(),
        at(n_sig=0.0, n_bkg=2800.0, p1=1.0, p2=0.0),
        [names.index(name) for name in ("n_bkg", "p1", "p2")],
        limits=(np.full(len(names), -np.inf), np.full(len(names), np.inf)),
    )
    assert found.converged
    expected = minimize(lambda x: by_hand(1000 * x[0], x[1], x[2]), [3.0, 1.5, 0.0], method="Nelder-Mead")
    best = dict(zip(names, found.theta, strict=True))
    error = dict(zip(names, np.sqrt(np.diag(found.covariance())), strict=True))
    for name, value in zip(("n_bkg", "p1", "p2"), expected.x * [1000, 1, 1], strict=True):
        assert best[name] == pytest.approx(value, abs=0.01 * error[name])
    # it drew 3,000 events from p1 = 1.7 and p2 = 0.2: five errors are missed once in two million
    for name, truth in (("n_bkg", 3000.0), ("p1", 1.7), ("p2", 0.2)):
        assert abs(best[name] - truth) < 5 * error[name]


def test_derivatives_are_those_of_differences(closed):
    _, likelihood, (number,) = closed
    theta = likelihood.theta() * 1.1 + 0.1
    for function in (number.evaluate, likelihood.evaluator().evaluate):
        here = function(theta)
        for k, step in enumerate(1e-4 * np.maximum(np.abs(theta), 1.0)):
            shift = np.eye(theta.size)[k] * step
            up, down = function(theta + shift), function(theta - shift)
            slope = (up.value - down.value) / (2 * step)
            assert here.gradient[k] == pytest.approx(slope, rel=1e-5, abs=1e-6)
            bend = (up.gradient - down.gradient) / (2 * step)
            np.testing.assert_allclose(here.hessian[k], bend, rtol=1e-5, atol=1e-6)


def test_the_number_in_a_region_is_the_integral_of_the_model(closed):
    loss, _, (number,) = closed
    shape = models.falling().pdf
    grid = np.linspace(REGION.lower, REGION.upper, 4001)
    n = {p.name: float(p.value()) for p in loss.parameters}
    peak = models.peak().pdf
    inside = n["n_sig"] * np.trapezoid(np.asarray(peak(grid)), grid) + n["n_bkg"] * np.trapezoid(shape(grid), grid)
    assert number.evaluate(loss.theta()).value == pytest.approx(inside, rel=1e-6)


def test_composed_yields_have_their_derivatives():
    mass = models.mass_space()
    poi, n = zfit.Parameter("mu", 5.0), zfit.Parameter("n", 900.0)
    peak, falling = models.peak(), models.falling()
    signal, background = peak.copy(extended=scaled_yield(poi, 0.25, name="part")), falling.copy(extended=n)
    model = zfit.pdf.SumPDF([signal, background])
    parameters = tuple(model.get_params(floating=None, is_yield=None, extract_independent=True))
    number = RegionYield(model, parameters, REGION)
    theta = np.array([float(p.value()) for p in parameters])
    at = [p.name for p in parameters].index("mu")
    share = float(np.squeeze(peak.integrate(zfit.Space("m", 115, 135), norm=mass)))
    assert number.evaluate(theta).gradient[at] == pytest.approx(0.25 * share, rel=1e-9)


def test_events_in_the_region_are_refused(sidebands):
    model, events = sidebands
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=events))
    with pytest.raises(InputError, match=r"no event in \[100, 120\)"):
        outside_likelihood(loss, SignalRegion(100, 120))


def test_other_floating_shapes_are_refused():
    mu = zfit.Parameter("mu_free", 100.0, 90.0, 180.0)
    model = zfit.pdf.Gauss(mu, 10.0, obs=models.mass_space(), extended=zfit.Parameter("n_free", 100.0))
    parameters = tuple(model.get_params(floating=None, is_yield=None, extract_independent=True))
    with pytest.raises(InputError, match=r"frozen, hz\.ExpQuadratic"):
        RegionYield(model, parameters, REGION)
