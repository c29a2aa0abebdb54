"""What every PDF and every flow must satisfy: one table of each, and every entry goes through every check.

Normalisation is checked by quadrature.  For a product p(m) p(x'|m) two integrals together are the whole claim: over
the features at single masses, which must give the mass density, and that one over the mass.  The features need
Gauss-Legendre nodes between the knots of the marginals, where the density is smooth: two in each of the hundred
intervals leave an error of 1e-4 among the training masses and 5e-4 far beyond them, where nets saturate.

zfit traces a function for every data set, which would take minutes here.  All but one of the checks therefore run
without graphs, and that one compares the two modes.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
import truth
import zfit
from entries import FEATURES, FLOWS, PDFS, TRAINED, peak
from quadrature import (
    CUTS,
    HIGH,
    LOW,
    cell_counts,
    cells,
    compare,
    density,
    flows_of,
    gauss_legendre,
    grid,
    leaves,
    mass_density,
    mass_nodes,
    tolerance,
)

from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.density.flows import DistributionFlow
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.density.trained import TrainedFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF


@pytest.fixture(scope="module")
def trained():
    return {name: make() for name, make in TRAINED.items()} | {"peak": peak()}


@pytest.fixture(scope="module", params=FLOWS)
def flow(request, trained):
    return FLOWS[request.param](trained)


# of those that are sums or products of others one each is enough every time
AGAIN = {"sum, mass-only", "product with maf affine", "product with maf spline"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in AGAIN else name for name in PDFS],
)
def pdf(request, trained):
    return PDFS[request.param](trained)


@pytest.fixture(autouse=True)
def without_graphs():
    with zfit.run.set_graph_mode(False):
        yield


# --- flows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mass", [91.0, 125.0, 250.0])  # sidebands, signal region, far beyond every training event
def test_flow_is_normalised(flow, mass):
    x, weights = grid(leaves(flow))
    np.testing.assert_allclose(np.exp(flow.log_prob_array(x, mass)) @ weights, 1.0, atol=tolerance(leaves(flow)))


@pytest.mark.statistical
@pytest.mark.parametrize("mass", [100.0, 125.0])
def test_flow_samples_follow_its_density(flow, mass):
    n_events, n = 20_000, 6
    sample = flow.sample(np.full(n_events, mass), seed=5)
    x, weights = grid(leaves(flow))
    cells.sample = sample
    expected, observed = cell_counts(
        leaves(flow),
        n,
        (x, n_events * weights * np.exp(flow.log_prob_array(x, mass))),
        (sample, np.ones(n_events)),
    )
    compare(observed, expected)


def single_precision_nets(flow):
    """The nets of a spline flow give float32 logits to float64 splines: noise of 1e-7 in a normalised density."""
    return any(isinstance(leaf, TrainedFlow) and isinstance(leaf.config, SplineConfig) for leaf in leaves(flow))


def test_flow_is_float64_and_deterministic(flow):
    m = np.linspace(LOW, HIGH, 40)
    x = flow.sample(m, seed=6)
    assert x.dtype == np.float64
    assert x.shape == (40, 2)
    np.testing.assert_array_equal(flow.sample(m, seed=6), x)
    assert (flow.sample(m, seed=7) != x).any(axis=1).all()
    assert flow.inside(x).all()
    values = flow.log_prob_array(x, m)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    one_by_one = flow.log_prob(tf.constant(x), tf.constant(m))
    assert one_by_one.dtype == tf.float64
    np.testing.assert_allclose(one_by_one, values, rtol=1e-6 if single_precision_nets(flow) else 1e-10)
    # float32 anywhere on the way would blur a difference of one part in a hundred million
    shifted = flow.log_prob_array(x * (1 + 1e-8), m)
    assert (shifted != values).mean() > 0.9
    np.testing.assert_allclose(shifted, values, atol=1e-4)


def test_flow_is_zero_outside_its_domain(flow):
    lower, upper = flow.domain.T
    x = flow.sample(np.full(2, 125.0), seed=8)
    for j in range(2):
        for edge, step in ((lower[j], -0.01), (upper[j], 0.01)):
            if np.isfinite(edge):
                outside = x.copy()
                outside[:, j] = edge + step
                assert not flow.inside(outside).any()
                np.testing.assert_array_equal(flow.log_prob_array(outside, 125.0), -np.inf)
    nonsense = np.array([[np.nan, x[0, 1]], [np.inf, x[0, 1]]])
    assert not flow.inside(nonsense).any()


def test_flow_gradient_in_features_and_mass(flow):
    m = np.linspace(95.0, 175.0, 30)
    x = flow.sample(m, seed=9)
    m = np.where(np.abs(m - 115) < 1, 113.0, np.where(np.abs(m - 135) < 1, 137.0, m))  # not at a border of a region
    variables = tf.constant(x), tf.constant(m)
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = flow.log_prob(*variables)
    by_x, by_m = (np.asarray(g) for g in tape.gradient(value, variables))
    size, rtol, atol = (1e-3, 2e-2, 1e-6) if single_precision_nets(flow) else (1e-6, 1e-3, 1e-9)
    edges = np.where(np.isfinite(flow.domain[:, 0]), flow.domain[:, 0], -10.0)
    for k, gradient in enumerate((by_x[:, 0], by_x[:, 1], by_m)):
        step = size * (x[:, k] - edges[k] if k < 2 else m - 80.0)  # small near an edge, where densities are steep
        shift = step[:, None] * np.eye(3)[k]
        up, down = (flow.log_prob_array(x + sign * shift[:, :2], m + sign * shift[:, 2]) for sign in (1, -1))
        # a step over a knot, where the slope changes, may differ
        agree = np.isclose(gradient * step, 0.5 * (up - down), rtol=rtol, atol=atol)
        assert agree.mean() > 0.85


def test_net_gradient_in_its_parameters(trained):
    m = np.linspace(95.0, 175.0, 20)
    for name in TRAINED:
        leaf = leaves(trained[name])[0]
        u, _ = leaf.transform.forward(leaf.sample(m, seed=10))
        prepared = leaf.config.prepare(tf.constant(u), tf.constant(leaf.mass_scale(m)))
        parameters = leaf.parameters.astype(np.float64)
        direction = np.random.default_rng(11).normal(size=parameters.shape)
        with tf.GradientTape() as tape:
            point = tf.constant(parameters)
            tape.watch(point)
            value = tf.reduce_sum(leaf.config.log_prob(point, prepared))
        slope = np.sum(np.asarray(tape.gradient(value, point)) * direction)
        step, rtol = (2e-4, 1e-2) if single_precision_nets(leaf) else (1e-6, 1e-5)
        up, down = (
            float(tf.reduce_sum(leaf.config.log_prob(tf.constant(parameters + h * direction), prepared)))
            for h in (step, -step)
        )
        np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=rtol, err_msg=name)
        assert abs(slope) > 1e-3


def test_flow_saved_and_loaded_gives_identical_numbers(flow, tmp_path):
    if any(isinstance(leaf, DistributionFlow) for leaf in leaves(flow)):
        with pytest.raises(InputError, match="DistributionFlow"):
            flow.save(tmp_path / "flow")
        assert list(tmp_path.iterdir()) == []
        return
    flow.save(tmp_path / "flow")
    again = load_flow(tmp_path / "flow")
    m = np.linspace(LOW, HIGH, 300)
    x = flow.sample(m, seed=12)
    np.testing.assert_array_equal(again.sample(m, seed=12), x)
    np.testing.assert_array_equal(again.log_prob_array(x, m), flow.log_prob_array(x, m))
    np.testing.assert_array_equal(again.domain, flow.domain)
    assert (again.features, again.given) == (flow.features, flow.given)
    assert again.signal_region == flow.signal_region
    assert (len(again.bootstraps), len(again.members)) == (len(flow.bootstraps), len(flow.members))


# --- PDFs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [None, (LOW, 115.0), (124.0, 140.0)])
def test_pdf_is_normalised(pdf, limits):
    flows = flows_of(pdf)
    lower, upper = limits or (LOW, HIGH)
    mass_range = None if limits is None else zfit.Space(truth.MASS, *limits)
    nodes, weights = mass_nodes(lower, upper)
    np.testing.assert_allclose(weights @ mass_density(pdf, nodes, mass_range), 1.0, atol=1e-6)
    share = weights @ mass_density(pdf, nodes)
    if limits is None:
        assert share == pytest.approx(1.0, abs=1e-6)
    else:
        assert share < 0.99
    whole = pdf.space
    norm = None
    if limits is not None:
        norm = zfit.Space(truth.MASS, *limits)
        for name in whole.obs:
            if name != truth.MASS:
                norm = norm * whole.get_subspace(name)
        norm = norm.with_obs(whole.obs)
        integral = np.asarray(pdf.integrate(norm, norm=whole)).item()
        assert integral == pytest.approx(share, abs=1e-6)
    if not flows:
        np.testing.assert_allclose(weights @ density(pdf, nodes, norm=norm), 1.0, atol=1e-6)
        return
    x, areas = grid(flows)
    masses = np.array([lower + 1.0, 0.5 * (lower + upper)])
    over_features = [density(pdf, np.full(len(x), m), x, norm=norm) @ areas for m in masses]
    np.testing.assert_allclose(over_features, mass_density(pdf, masses, mass_range), rtol=tolerance(flows))


@pytest.mark.slow
@pytest.mark.statistical
def test_pdf_samples_follow_its_density(pdf):
    n_events, n = 8000, 3
    flows = flows_of(pdf)
    zfit.settings.set_seed(13)
    sample = np.asarray(pdf.sample(n=n_events).value())
    assert sample.dtype == np.float64
    assert sample.shape == (n_events, pdf.n_obs)
    m = sample[:, list(pdf.obs).index(truth.MASS)]
    assert ((m >= LOW) & (m <= HIGH)).all()
    nodes, weights = mass_nodes()
    mass = mass_density(pdf, nodes) * weights
    cuts = np.array([95.0, 105.0, 115.0, 121.0, 124.0, 125.0, 126.0, 129.0, 135.0, 150.0])
    compare(
        np.bincount(np.searchsorted(cuts, m), minlength=11).astype(float),
        n_events * np.bincount(np.searchsorted(cuts, nodes), weights=mass, minlength=11),
    )
    if not flows:
        return
    # the features in three ranges of the mass; within one they change slowly once the mass density is divided out
    features = sample[:, [list(pdf.obs).index(name) for name in FEATURES]]
    x, areas = grid(flows, 1)  # good for half a per cent of a cell
    for lower, upper in itertools.pairwise(CUTS):
        chosen = (m >= lower) & (m < upper)
        if chosen.sum() < 300:
            continue
        within = (nodes >= lower) & (nodes < upper)
        cumulative = np.cumsum(mass[within]) / mass[within].sum()
        levels, shares = gauss_legendre(np.array([0.0, 1.0]), 6)
        places = np.interp(levels, cumulative, nodes[within])
        cells.sample = features[chosen]
        expected = 0.0
        for place, share in zip(places, shares / mass_density(pdf, places), strict=True):
            values = density(pdf, np.full(len(x), place), x) * areas
            expected = expected + share * cell_counts(flows, n, (x, values))[0]
        expected = expected / expected.sum()
        (observed,) = cell_counts(flows, n, (features[chosen], np.ones(chosen.sum())))
        compare(observed, chosen.sum() * expected)


def test_pdf_gradient_in_its_parameters(pdf):
    m = np.linspace(95.0, 175.0, 30)
    m[::3] = np.linspace(120.0, 130.0, 10)
    x = flows_of(pdf)[0].sample(m, seed=14) if flows_of(pdf) else None
    columns = {truth.MASS: m} if x is None else {truth.MASS: m, "a": x[:, 0], "b": x[:, 1]}
    data = zfit.Data.from_numpy(obs=pdf.obs, array=np.stack([columns[name] for name in pdf.obs], axis=1))
    parameters = list(pdf.get_params(floating=None, is_yield=None, extract_independent=True))
    names = {p.name for p in parameters}
    assert names & {"p1", "peak_mu"}
    assert names >= {"n_sig", "n_bkg"} or not isinstance(pdf, zfit.pdf.SumPDF)

    def log_likelihood():
        return tf.reduce_sum(tf.math.log(pdf.pdf(data)))

    with tf.GradientTape() as tape:
        value = log_likelihood()
    gradient = tape.gradient(value, parameters, unconnected_gradients="zero")
    found = {}
    for parameter, slope in zip(parameters, gradient, strict=True):
        here = float(parameter.value())
        step = 1e-5 * max(abs(here), 0.1)
        ends = []
        for sign in (1, -1):
            parameter.assign(here + sign * step)
            ends.append(float(log_likelihood()))
        parameter.assign(here)
        found[parameter.name] = float(slope)
        np.testing.assert_allclose(
            (ends[0] - ends[1]) / (2 * step), float(slope), rtol=1e-5, atol=1e-6, err_msg=parameter.name
        )
    assert sum(abs(slope) > 1e-4 for slope in found.values()) >= 2


def test_pdf_is_float64(pdf):
    m = np.linspace(91.0, 179.0, 20)
    x = flows_of(pdf)[0].sample(m, seed=15) if flows_of(pdf) else None
    columns = {truth.MASS: m} if x is None else {truth.MASS: m, "a": x[:, 0], "b": x[:, 1]}
    data = zfit.Data.from_numpy(obs=pdf.obs, array=np.stack([columns[name] for name in pdf.obs], axis=1))
    values = density(pdf, m, x)
    with zfit.run.set_graph_mode(True):
        assert pdf.pdf(data).dtype == tf.float64
        np.testing.assert_allclose(np.asarray(pdf.pdf(data)), values, rtol=1e-6)
    assert pdf.integrate(pdf.space).dtype == tf.float64
    assert np.isfinite(values).all()
    assert (values > 0).all()
    assert (density(pdf, m * (1 + 1e-8), x) != values).mean() > 0.9


def test_pdf_does_not_depend_on_the_order_of_observables(pdf):
    if pdf.n_obs == 1:
        pytest.skip("one observable has one order")
    m = np.linspace(91.0, 179.0, 50)
    x = flows_of(pdf)[0].sample(m, seed=16)
    reference = density(pdf, m, x)
    order = ["b", truth.MASS, "a"]
    shuffled = zfit.Data.from_numpy(obs=order, array=np.stack([x[:, 1], m, x[:, 0]], axis=1))
    np.testing.assert_array_equal(np.asarray(pdf.pdf(shuffled)), reference)
    if isinstance(pdf, FlowProductPDF):
        other = pdf.copy(obs=pdf.space.with_obs(order))
    else:
        first, *rest = (c.pdf.copy(obs=c.pdf.space.with_obs(order)) for c in pdf.components)
        other = signal_plus_background(
            first,
            *rest,
            poi=pdf.poi,
            yields=[c.extended for c in pdf.components[1:]],
            sidebands=pdf.sidebands,
            region=pdf.region,
        )
    assert list(other.obs) == order
    np.testing.assert_allclose(density(other, m, x), reference, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(other.pdf(shuffled)), reference, rtol=1e-12)
    zfit.settings.set_seed(17)
    sample = np.asarray(other.sample(n=500).value())
    assert ((sample[:, 1] >= LOW) & (sample[:, 1] <= HIGH)).all()  # the mass is where it is said to be
