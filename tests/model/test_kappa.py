"""Signals that are polynomial in a coupling: algebra, sampling, and the simulated HH samples of the di-Higgs study."""

from __future__ import annotations

import json
from pathlib import Path

import models
import numpy as np
import pytest
import uproot
import zfit
from scipy.stats import ks_2samp

from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import compose
from hisigma_zfit.model.kappa import PolynomialYield, lagrange, polynomial_signal
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.toys.sampling import sample_sum

POINTS = (0.0, 1.0, 5.0)
# n(kappa) p(x|kappa) = kappa^2 A g_A + kappa B g_B + C g_C with known densities g
A, B, C = 60.0, 40.0, 250.0
PARTS = [models.gaussian_flow(mean, 0.1, 0.8) for mean in ([1.2, 0, 0, 0], [0.6, 0.5, 0, 0], [0, 1.0, 0.4, 0])]
SAMPLES = Path(__file__).parents[2] / "analyses" / "dihiggs" / "data"


def parabola(kappa):
    return A * kappa**2 + B * kappa + C


def density(kappa):
    return MixtureFlow(PARTS, [A * kappa**2, B * kappa, C])


def hh_model(kappa=1.0, n_bkg=3000.0):
    coupling = zfit.Parameter("kappa", kappa, -10.0, 15.0)
    peak = models.peak()
    signals = polynomial_signal(
        [FlowProductPDF(peak, density(point), name="hh") for point in POINTS],
        parameter=coupling,
        points=POINTS,
        yields=[parabola(point) for point in POINTS],
    )
    background = FlowProductPDF(
        models.falling(), models.background_flow(), extended=zfit.Parameter("n_bkg", n_bkg, 0.0), name="background"
    )
    return compose(signals, [background], poi=coupling, sidebands="full")


def test_coefficients_are_exact_at_the_samples_and_sum_to_one():
    np.testing.assert_allclose(lagrange(np.array(POINTS), POINTS), np.eye(3), atol=1e-14)
    kappa = np.linspace(-5, 10, 31)
    np.testing.assert_allclose(lagrange(kappa, POINTS).sum(axis=0), 1.0, atol=1e-12)
    np.testing.assert_allclose(lagrange(2.0, POINTS), [-0.6, 1.5, 0.1])


def test_the_total_yield_is_the_parabola():
    model = hh_model()
    for kappa in (-3.0, 0.0, 1.0, 2.45, 5.0, 9.0):
        model.poi.set_value(kappa)
        total = sum(np.squeeze(c.extended.value()).item() for c in model.components if c.is_signal)
        assert total == pytest.approx(parabola(kappa), rel=1e-12)


def test_the_density_between_the_samples_is_the_true_one():
    model, rng = hh_model(), np.random.default_rng(71)
    x, m = rng.normal(0.5, 1.0, size=(200, 4)), rng.uniform(115, 135, 200)
    for kappa in (0.4, 2.45, 7.0):
        model.poi.set_value(kappa)
        got = sum(
            np.squeeze(c.extended.value()).item() * np.exp(c.pdf.flow.log_prob_array(x, m))
            for c in model.components
            if c.is_signal
        )
        a, b, c = (np.exp(flow.log_prob_array(x, m)) for flow in PARTS)
        np.testing.assert_allclose(got, A * kappa**2 * a + B * kappa * b + C * c, rtol=1e-9)


def test_derivatives_of_a_yield_by_finite_differences():
    kappa, strength = zfit.Parameter("kappa", 1.3), zfit.Parameter("mu", 0.8)
    for number, at in (
        (PolynomialYield("n", kappa, [2.0, -3.0, 5.0], strength=strength), np.array([1.3, 0.8])),
        (PolynomialYield("n", kappa, [2.0, -3.0, 5.0], strength=4.0), np.array([1.3])),
    ):
        value, gradient, hessian = number.derivatives(at)
        assert value == pytest.approx(np.squeeze(number.value()).item(), rel=1e-12)
        for k, step in enumerate(1e-5 * np.eye(at.size)):
            up, down = number.derivatives(at + step), number.derivatives(at - step)
            assert (up[0] - down[0]) / 2e-5 == pytest.approx(gradient[k], rel=1e-7)
            np.testing.assert_allclose((up[1] - down[1]) / 2e-5, hessian[k], atol=1e-6)


@pytest.fixture(scope="module")
def loss():
    model = hh_model(kappa=2.0)
    values = sample_sum(model, 3300, seed=72)
    return ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=values))


def test_quick_path_equals_the_generic_one(loss):
    quick = loss.evaluator()
    assert isinstance(quick, ColumnEvaluator)
    theta = loss.theta()
    theta[loss.parameters.index(loss.model[0].poi)] = 2.6
    here = quick.evaluate(theta)
    generic = GraphEvaluator(terms_of(loss.model[0]), loss.columns()[0], loss.parameters, jit=False).evaluate(theta)
    np.testing.assert_allclose(generic.value, here.value, rtol=1e-12)
    scale = np.sqrt(np.abs(np.diag(here.hessian)))
    scale[scale == 0] = 1.0
    np.testing.assert_allclose(generic.gradient / scale, here.gradient / scale, atol=1e-8)
    np.testing.assert_allclose(
        generic.hessian / np.outer(scale, scale), here.hessian / np.outer(scale, scale), atol=1e-8
    )


@pytest.mark.statistical
def test_the_coupling_is_measured(loss):
    fit(loss)
    profiler = Profiler(loss, "kappa")
    lower, upper = profiler.interval(25.0)
    assert lower < 2.0 < upper  # five standard deviations: false alarm 6e-7
    assert upper - lower < 6.0
    line = contour(loss, "kappa", "n_bkg", points=8)
    assert line.contains(profiler.best, line.best[1])


@pytest.mark.statistical
def test_samples_between_the_couplings_follow_the_true_density():
    model = hh_model(kappa=2.0, n_bkg=1e-9)  # signal alone; the first coefficient is -0.6
    got = sample_sum(model, 4000, seed=73)
    assert got.shape == (4000, 5)
    direct = density(2.0).sample(got[:, 0], seed=74)
    features = density(2.0).features
    for j, feature in enumerate(features):
        # false alarm 8e-6 for the four
        assert ks_2samp(got[:, list(model.obs).index(feature)], direct[:, j]).pvalue > 2e-6
    np.testing.assert_array_equal(got, sample_sum(model, 4000, seed=73))


def test_simulated_samples_close():
    """Direct samples at kappa = 0, 1, 5, joined, against kappa = 1 events reweighted by their matrix elements.

    At kappa = 2 the joined yield is 2.3 % above the reweighted one, 1.9 of its errors: -0.6 times 46 events and 1.5
    times 25 leave 13, so that the 0.5 % of each sample's efficiency are 1.2 % there.  The basis itself is exact.
    """
    branches = ["Hgg_mass", "Hgg_pt", "Hbb_pt"]

    def read(name, *more):
        with uproot.open(SAMPLES / f"{name}.root") as file:
            return file["events"].arrays([*branches, *more], library="np")

    table = json.loads((SAMPLES / "sample.json").read_text())
    names = ("hh_kl0", "signal", "hh_kl5")
    direct = [read(name, "w_A", "w_B", "w_C") if name == "signal" else read(name) for name in names]
    expected = [table[name]["events_at_3000_fb"] for name in names]
    reference = direct[1]
    rows, showered = (np.array([table[name][key] for name in names]) for key in ("rows", "showered"))
    efficiency_errors = expected * np.sqrt((1.0 - rows / showered) / rows)

    def weights_at(kappa):
        return kappa**2 * reference["w_A"] + kappa * reference["w_B"] + reference["w_C"]

    for kappa in (-1.0, 2.0):
        coefficients = lagrange(kappa, POINTS)
        weights = weights_at(kappa)
        total = expected[1] * weights.mean()
        basis = [expected[1] * weights_at(point).mean() for point in POINTS]
        assert coefficients @ basis == pytest.approx(total, rel=1e-5)  # weights are stored in single precision
        # events of kappa = 1 are in both sums: the variance of their difference, and binomial ones of the other samples
        own = (coefficients[1] - weights) * expected[1] / rows[1]
        variance = own @ own - own.sum() ** 2 / showered[1]
        variance += np.sum((coefficients * efficiency_errors)[[0, 2]] ** 2)
        assert abs(coefficients @ expected - total) < 3.0 * np.sqrt(variance)  # the samples are fixed
        for branch in branches:
            edges = np.quantile(reference[branch], np.linspace(0, 1, 11))
            edges[[0, -1]] = 0.0, 1e4
            joined, variance = np.zeros(10), np.zeros(10)
            for c, n, events in zip(coefficients, expected, direct, strict=True):
                counts, scale = np.histogram(events[branch], edges)[0], c * n / len(events[branch])
                joined, variance = joined + scale * counts, variance + scale**2 * counts
            scale = expected[1] / len(weights)
            reweighted = scale * np.histogram(reference[branch], edges, weights=weights)[0]
            variance += scale**2 * np.histogram(reference[branch], edges, weights=weights**2)[0]
            # the samples' README: direct and reweighted shapes differ a little more than their errors
            assert np.sum((joined - reweighted) ** 2 / variance) < 30  # of 10 bins
            np.testing.assert_allclose(joined, reweighted, atol=0.25 * total / 10)


def test_wrong_input_is_named():
    pdf = FlowProductPDF(models.peak(), models.signal_flow())
    coupling = zfit.Parameter("kappa", 1.0)
    with pytest.raises(InputError, match="one density, one coupling"):
        polynomial_signal([pdf], parameter=coupling, points=POINTS, yields=[1.0])
    with pytest.raises(InputError, match="different couplings"):
        lagrange(1.0, [1.0, 1.0])
    negative = compose(
        [FlowProductPDF(models.peak(), models.signal_flow(), extended=zfit.Parameter("n_sig", -5.0), name="signal")],
        [FlowProductPDF(models.falling(), models.background_flow(), extended=zfit.Parameter("n_bkg", 1.0), name="b")],
        poi=coupling,
    )
    with pytest.raises(InputError, match="positive sum of yields"):
        sample_sum(negative, 10, seed=1)
