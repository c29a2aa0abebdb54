"""The compressed likelihood is the likelihood.

What can go wrong is the series (degrees, binomials, monomials of several components), the nodes (bins, powers of t),
the places to which the sums are added, and the decision where the series may be used; each has a case that it breaks.
"""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.compression import CompressedEvaluator, compress, covers
from hisigma_zfit.likelihood.expansion import FarEvents, largest_share
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import compose, signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield


def with_resonances(n):
    """Some peaks over the background."""
    signals = [models.gaussian_flow([0.8, 0.4 * k, -0.6, 0.5], 0.1, 0.8) for k in range(n)]
    peak, sizes = models.peak(), [zfit.Parameter(f"n_{k}", 90.0) for k in range(n)]
    return compose(
        [FlowProductPDF(peak, flow, extended=n, name=n.name) for flow, n in zip(signals, sizes, strict=True)],
        [FlowProductPDF(models.falling(), models.background_flow(), extended=zfit.Parameter("n_bkg", 8000.0, 0.0))],
        poi=sizes[0],
    )


def varied_or_scaled(*, poi=None, variations=()):
    """The usual model with another yield or with variations of the background."""
    return signal_plus_background(
        FlowProductPDF(models.peak(), models.signal_flow()),
        FlowProductPDF(models.falling(), models.background_flow(), variations=variations),
        poi=poi or zfit.Parameter("n_sig", 200.0),
        yields=[zfit.Parameter("n_bkg", 8000.0, 0.0)],
    )


def scaled():
    """A yield composed of two parameters, one with a constraint."""
    return varied_or_scaled(poi=lognormal_yield(zfit.Parameter("n_sig", 200.0), nuisance("luminosity"), 1.1))


CASES = {
    "signal and background": lambda: ExtendedNLL(m := models.model(), models.toy(m, seed=1)),
    "two peaks": lambda: ExtendedNLL(m := with_resonances(2), models.toy(m, seed=2)),
    "three peaks": lambda: ExtendedNLL(m := with_resonances(3), models.toy(m, seed=3)),
    "composed yield": lambda: ExtendedNLL(m := scaled(), models.toy(m, seed=4)),
    "weights": lambda: weighted(models.model(), seed=5),
    "one power of t": lambda: ExtendedNLL(m := straight(), models.toy(m, seed=6)),
}


def weighted(model, seed):
    data = models.toy(model, seed=seed)
    weights = np.random.default_rng(seed).normal(1.0, 0.5, size=int(data.num_entries))  # some of them negative
    return ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=data.value(), weights=weights))


def straight():
    """A plain exponential, with one shape parameter."""
    falling = zfit.pdf.Exponential(zfit.Parameter("slope", -0.02, -1, 1), obs=models.mass_space())
    return models.model(mass=falling)


@pytest.fixture(scope="module", params=CASES)
def loss(request):
    return CASES[request.param]()


def neighbours(evaluator, theta, free, n, reach, seed):
    """Points around `theta`, in units of the errors."""
    errors = 1.0 / np.sqrt(np.diag(evaluator.evaluate(theta).hessian)[free])
    for z in np.random.default_rng(seed).normal(size=(n, len(free))) * reach:
        moved = theta.copy()
        moved[free] += z * errors
        yield moved


def test_value_gradient_and_hessian_are_those_of_all_events(loss):
    full, theta = loss.evaluator(), loss.theta()
    compressed = compress(full, theta)
    free = [k for k, p in enumerate(loss.parameters) if p.floating]
    for at in [theta, *neighbours(full, theta, free, 6, 2.0, seed=7)]:
        assert covers(compressed, at)
        exact, quick = full.evaluate(at), compressed.evaluate(at)
        np.testing.assert_allclose(quick.value, exact.value, rtol=0, atol=3e-8)
        np.testing.assert_allclose(compressed.value(at), full.value(at), rtol=0, atol=3e-8)
        errors = 1.0 / np.sqrt(np.diag(exact.hessian)[free])
        difference = (quick.gradient - exact.gradient)[free] * errors
        np.testing.assert_allclose(difference, 0.0, atol=1e-8)  # in units of one standard deviation
        difference = (quick.hessian - exact.hessian)[np.ix_(free, free)] * np.outer(errors, errors)
        np.testing.assert_allclose(difference, 0.0, atol=1e-7)


def test_most_events_are_not_visited(loss):
    compressed = compress(loss.evaluator(), loss.theta())
    (part,) = [p for p in getattr(compressed, "parts", [compressed]) if isinstance(p, CompressedEvaluator)]
    assert 0 < part.visited < 0.4 * loss.columns()[0].mass.size


def test_far_from_where_it_was_made_all_events_are_visited():
    loss = CASES["signal and background"]()
    full, theta = loss.evaluator(), loss.theta()
    compressed = compress(full, theta)
    k = loss.parameters.index(loss.model[0].poi)
    for size in (-30.0, 6000.0):
        theta[k] = size
        assert covers(compressed, theta) == (size < 0)
        np.testing.assert_allclose(compressed.value(theta), full.value(theta), rtol=1e-12)
    theta[k] = -1e6
    assert compressed.value(theta) == np.inf
    assert compressed.evaluate(theta).value == np.inf
    steep = loss.theta()
    steep[[p.name for p in loss.parameters].index("p1")] = 25.0
    assert not covers(compressed, steep)
    np.testing.assert_allclose(compressed.value(steep), full.value(steep), rtol=1e-12)


def test_the_likelihood_makes_it_once_and_again_for_other_data():
    model = models.model()
    sampler = model.create_sampler(n=8000)
    zfit.settings.set_seed(8)
    loss = ExtendedNLL(model, sampler)
    theta = loss.theta()
    first = loss.evaluator(around=theta)
    assert loss.evaluator(around=theta) is first
    sampler.resample()
    second = loss.evaluator(around=theta)
    assert second is not first
    np.testing.assert_allclose(second.value(theta), loss.evaluator().value(theta), rtol=1e-12)


def test_profiles_are_those_of_all_events():
    loss = CASES["signal and background"]()
    profiler, slow = Profiler(loss, "n_sig"), Profiler(loss, "n_sig")
    assert isinstance(profiler.evaluator, CompressedEvaluator)
    slow.evaluator = loss.evaluator()
    for size in (0.0, 120.0, 400.0):
        np.testing.assert_allclose(profiler.t(size), slow.t(size), atol=1e-6)


def test_other_likelihoods_are_left_as_they_are():
    few = ExtendedNLL(m := models.model(n_sig=20.0, n_bkg=800.0), models.toy(m, seed=9))
    jes = nuisance("jes")
    shift = ShapeVariation(jes, up=models.background_flow(0.1), down=models.background_flow(-0.1))
    varied = ExtendedNLL(m := varied_or_scaled(variations=[shift]), models.toy(m, seed=10))

    class Opaque(ExpQuadratic):
        """Unknown to the quick path."""

    opaque = models.model(
        mass=Opaque(models.mass_space(), zfit.Parameter("p1", 1.7, -30, 30), zfit.Parameter("p2", 0.2, -30, 30))
    )
    generic = ExtendedNLL(opaque, models.toy(opaque, seed=11))
    for loss in (few, varied, generic):
        full = loss.evaluator()
        compressed = compress(full, loss.theta())
        assert all(
            a is b
            for a, b in zip(getattr(compressed, "parts", [compressed]), getattr(full, "parts", [full]), strict=True)
        )


@pytest.mark.parametrize("n_others", [1, 2, 3])
def test_sums_equal_those_over_events_in_higher_precision(n_others):
    rng = np.random.default_rng(12)
    t, n = rng.random(5000), 5000
    ratio = rng.random((n_others, n)) * 0.2
    weights = rng.normal(1.0, 0.5, size=n)
    others = [(1 + k, 3 + k) for k in range(n_others)]
    events = FarEvents(t, ratio, weights, q=2, dominating=(0, 0), others=others)
    polynomial = [0.3, -1.5, 0.4]
    wide = np.longdouble
    f = np.exp(np.polyval(np.array(polynomial[::-1], dtype=wide), t.astype(wide)))
    yields = np.array([1000.0, *[0.6 * largest_share(n_others) * 1000.0 * (-1.0) ** k for k in range(n_others)]])
    assert events.covers(yields, [polynomial] + [[0.0]] * n_others)
    density = yields[0] * f + (yields[1:, None].astype(wide) * ratio).sum(axis=0)
    rows = np.stack([f, f * t, f * t**2, *ratio.astype(wide)]) / density
    products, second = np.zeros((3 + n_others, 4 + n_others)), np.zeros((2, 2))
    total = events.add(yields, [polynomial] + [[0.0]] * n_others, products, [second, *[np.zeros((0, 0))] * n_others])
    np.testing.assert_allclose(total, float(weights @ np.log(density)), rtol=1e-12)
    np.testing.assert_allclose(products[:, -1], (rows @ weights).astype(float), rtol=1e-9)
    np.testing.assert_allclose(products[:, :-1], ((rows * weights) @ rows.T).astype(float), rtol=1e-6)
    powers = np.stack([t, t**2])
    np.testing.assert_allclose(second, ((powers * (weights * rows[0])) @ powers.T).astype(float), rtol=1e-9)
