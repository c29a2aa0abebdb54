"""The fitted model beside its events: exact ratios, so that what is shown and tested is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ratio_toy import Toy
from scipy.stats import chi2, kstest

from hisigma_zfit.crosssection.model import Scored
from hisigma_zfit.crosssection.postfit import PostFit, PreFit, histogram_edges, variation_maps
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.results import CountingFit
from hisigma_zfit.toys.ratio import RatioSample

TOY = Toy()
TRUTH = np.array([1.5, 0.5, -0.5, 1.0])
FEATURES = ("first", "second")


def scored(x, columns, *, weights=None, process=None):
    return Scored(
        columns.posterior,
        columns.exponents,
        columns.region,
        columns.posterior[:, 0].astype(np.float64),
        weights,
        columns.counts,
        process=process,
        event=np.arange(len(x)),
        x=x.astype(np.float32),
    )


@pytest.fixture(scope="module")
def simulation():
    """What `Toy.reference` makes, with its features."""
    rng = np.random.default_rng(1)
    x = np.concatenate([TOY.nominal(p, 20_000, rng) for p in range(2)])
    reference = TOY.reference(20_000, seed=1)
    own = scored(x, TOY.columns(x), weights=reference.weights, process=reference.process)
    return SimpleNamespace(reference=reference, scored=own)


def fitted(simulation, x, counts, auxiliary=None, *, toy=TOY, squares=0.0, limits=None):
    columns = toy.columns(x, counts=counts)
    likelihood = toy.likelihood(columns, reference=simulation.reference, auxiliary=auxiliary)
    if limits is not None:
        structure = replace(likelihood.structure, poi_limits={"mu": limits})
        likelihood = RatioLikelihood(structure, columns, auxiliary=auxiliary, reference=simulation.reference)
    minimum = Profiler(likelihood, "mu").minimum
    model = SimpleNamespace(reference=simulation.scored, signal=0, structure=likelihood.structure)
    return PostFit(
        model,
        likelihood,
        minimum.theta,
        minimum.free,
        scored(x, columns),
        FEATURES,
        np.full(likelihood.structure.rates.size.shape, squares),
    )


@pytest.fixture(scope="module")
def fit(simulation):
    return fitted(simulation, *TOY.events(TRUTH, np.random.default_rng(7)))


@pytest.mark.statistical  # of 80 values each: Kolmogorov-Smirnov at 1e-5, and a mean at 4.5 standard deviations
@pytest.mark.parametrize("case", ["all", "at a limit", "bins alone"])
def test_the_chi2_of_counting_bins_has_its_distribution(simulation, case):
    """Whatever the fit follows; the constraints' measurements fluctuate too."""
    found, truth = [], TRUTH.copy()
    if case == "at a limit":
        truth[0] = 0.0
    for k in range(80):
        rng = np.random.default_rng(100 + k)
        auxiliary = dict(zip(("scale", "smearing", "size"), truth[1:] + rng.standard_normal(3), strict=True))
        x, counts = TOY.events(truth, rng)
        if case == "bins alone":
            x = x[:0]
        limits = (0.0, 10.0) if case == "at a limit" else None
        toy = replace(TOY, size=(1e-9, 1e-9)) if case == "bins alone" else TOY
        found.append(fitted(simulation, x, counts, auxiliary, toy=toy, limits=limits).counting())
    bins = found[0].bins
    assert {own.bins for own in found} == {bins}
    assert bins == (2 if case == "bins alone" else 3)  # a strength that only bins know leaves one residual less
    assert kstest([own.p_value for own in found], "uniform").pvalue > 1e-5
    assert np.mean([own.chi2 for own in found]) == pytest.approx(bins, abs=4.5 * np.sqrt(2.0 * bins / 80))


@pytest.mark.statistical  # a mean at 4.5 standard deviations
def test_the_simulation_fluctuates_in_the_chi2(simulation):
    """Rates from as many simulated events as are expected have their own fluctuations in the residuals."""
    found = []
    for k in range(80):
        rng = np.random.default_rng(300 + k)
        # 0.5 simulated events for each expected one
        bins = tuple(tuple(2.0 * rng.poisson(0.5 * np.array(own))) for own in TOY.bins)
        auxiliary = dict(zip(("scale", "smearing", "size"), TRUTH[1:] + rng.standard_normal(3), strict=True))
        own = fitted(simulation, *TOY.events(TRUTH, rng), auxiliary, toy=replace(TOY, bins=bins))
        squares = np.array([[0.0, *own_bins] for own_bins in TOY.bins]) * 2.0
        found.append(replace(own, squares=squares).counting().chi2)
    assert np.mean(found) == pytest.approx(3.0, abs=4.5 * np.sqrt(6.0 / 80))


def test_weighted_events_are_not_judged(fit):
    own = replace(fit, events=replace(fit.events, weights=np.ones(len(fit.events.x))))
    assert own.counting() is None
    assert own.tests(1) == {}


def test_a_wrong_bin_is_seen(simulation):
    x, counts = TOY.events(TRUTH, np.random.default_rng(7))
    wrong = fitted(simulation, x, counts + np.array([0.0, 150.0, 0.0])).counting()
    assert isinstance(wrong, CountingFit)
    assert wrong.p_value < 1e-4
    assert wrong.p_value == pytest.approx(chi2.sf(wrong.chi2, 3))
    assert str(wrong).startswith("counting bins: chi2 = ")


@pytest.mark.statistical  # a normal number at 4.5 standard deviations
def test_the_two_sample_test_believes_the_model(fit):
    test = fit.tests(1)["U"]
    assert abs(test.z) < 4.5
    assert test.n_first == len(fit.events.x)


def test_the_two_sample_test_sees_what_the_model_has_not(simulation):
    x, counts = TOY.events(TRUTH, np.random.default_rng(7))
    x[:, 0] += 0.3 * np.abs(x[:, 1])  # a correlation
    assert fitted(simulation, x, counts).tests(1)["U"].z > 2.5


def test_histograms_are_those_of_the_fitted_model(fit):
    shown = fit.projections()
    assert [own.observable for own in shown] == ["score.signal", "first", "second"]
    expected = fit.likelihood.expected(fit.theta)[:, 0]
    for own in shown:
        assert own.category == "U"
        assert own.signal == ("signal",)
        assert own.data.sum() == pytest.approx(len(fit.events.x), rel=0.01)
        for p, name in enumerate(("signal", "background")):
            assert own.components[name].sum() == pytest.approx(expected[p], rel=0.03)
        # brute force: the same with each parameter moved along the axes of the covariance
        values, axes = np.linalg.eigh(fit.covariance)
        moved = []
        for value, axis in zip(values, axes.T, strict=True):
            both = [_histogram(fit, own, fit.theta + sign * np.sqrt(value) * axis) for sign in (1.0, -1.0)]
            moved.append(0.5 * (both[0] - both[1]))
        np.testing.assert_allclose(own.model_error, np.sqrt(np.sum(np.square(moved), axis=0)), rtol=0.05, atol=0.02)


def test_before_the_fit_the_constraints_alone_make_the_band(fit):
    before = PreFit.of(fit)
    np.testing.assert_array_equal(before.theta, [1.0, 0.0, 0.0, 0.0])
    names = [parameter.name for parameter in fit.likelihood.parameters]
    assert [names[k] for k in before.free] == list(fit.likelihood.constrained)
    expected = fit.likelihood.expected(before.theta)[:, 0]
    shown = fit.projections()
    for own, after in zip(before.projections(shown), shown, strict=True):
        assert (own.model, after.model) == ("Pre-fit", "Post-fit")
        np.testing.assert_array_equal(own.data, after.data)
        for p, name in enumerate(("signal", "background")):
            assert own.components[name].sum() == pytest.approx(expected[p], rel=0.03)
        moved = []
        for k in before.free:  # one standard deviation is one
            step = 0.01 * np.eye(4)[k]
            both = [_histogram(before, own, before.theta + sign * step) for sign in (1.0, -1.0)]
            moved.append((both[0] - both[1]) / 0.02)
        np.testing.assert_allclose(own.model_error, np.sqrt(np.sum(np.square(moved), axis=0)), rtol=0.01, atol=0.01)
        assert own.model_error.sum() > 0.0


def _histogram(fit, shown, theta):
    reference = fit.model.reference
    columns = {"score.signal": reference.score, "first": reference.x[:, 0], "second": reference.x[:, 1]}
    weights = RatioSample.of(fit.likelihood).asimov(theta).rows
    return np.histogram(columns[shown.observable], shown.edges, weights=weights)[0]


def test_every_event_of_a_pile_is_shown(fit):
    """Features that are clipped pile up where they end; a sentinel far away is no integer bin."""
    values = np.minimum(np.random.default_rng(1).normal(0.0, 1.0, 5000), 1.0)
    edges = histogram_edges(values, np.ones(5000))
    assert np.sum((values >= edges[0]) & (values < edges[-1])) > 0.99 * 5000
    assert len(histogram_edges(np.array([-999.0, *np.arange(6.0)]), np.ones(7))) == 41
    np.testing.assert_allclose(histogram_edges(np.arange(6.0), np.ones(6)), np.arange(7.0) - 0.5)


def test_maps_are_those_of_the_exact_functions(fit):
    values = TOY.monomials.values(np.array([1.0, 0.0]))
    posterior, variation = variation_maps(
        fit.model, np.array([values, values]), [(1.0, 0.0), (-1.0, 0.0)], ("scale", "smearing"), fit
    )
    assert (posterior.quantity, posterior.process, posterior.x, posterior.y) == (
        "posterior",
        "signal",
        "first",
        "second",
    )
    centres = [0.5 * (edges[1:] + edges[:-1]) for edges in (posterior.x_edges, posterior.y_edges)]
    x = np.stack([column.ravel() for column in np.meshgrid(*centres, indexing="ij")], axis=1)
    known = np.isfinite(posterior.values).ravel()
    exact = TOY.posterior(x)[:, 0]
    np.testing.assert_allclose(posterior.values.ravel()[known], exact[known], atol=0.1)
    assert (variation.process, variation.settings) == ("background", {"scale": 1.0})
    known = np.isfinite(variation.values).ravel()
    exact = np.exp(TOY.log_variation(1, x, 1.0, 0.0))
    np.testing.assert_allclose(variation.values.ravel()[known], exact[known], atol=0.03)
