"""A density in the coordinates of its moving edges is a density of the features: here with edges written by hand.

Random nets, b >= (m - 100) / 50 and 0 <= a <= 1 + b / 2.  Integrals over the features know these edges by themselves.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from untrained import random_flow

from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge

FOLLOWS_MASS = Coordinate("b", Edge("m", -2.0, 0.02, least=-0.5, most=1.5), None)
FOLLOWS_FEATURE = Coordinate("a", Edge.fixed(0.0), Edge("b", 1.0, 0.5))
MASSES = (90.0, 125.0, 250.0)


@pytest.fixture(scope="module")
def flow():
    inner = MixtureFlow([random_flow(2, seed=1), random_flow(2, seed=2, members=1)], [1, 3])
    return CoordinateFlow(inner, Coordinates(inner.features, "m", (FOLLOWS_MASS, FOLLOWS_FEATURE)))


def nodes(m, flow):
    """Midpoints of 90,000 cells between the edges, and their areas; beyond b = 40 there are 1e-15 of the events."""
    n = 300
    start = np.clip((m - 100) / 50, -0.5, 1.5)
    stretched = np.linspace(0, 1, n + 1) ** 2  # finer where the density is high
    b_edges = start + 40 * stretched
    b, width = 0.5 * (b_edges[1:] + b_edges[:-1]), np.diff(b_edges)
    # the edges of `a` were estimated from events: the box has margins of a thousandth
    s_low, s_high = flow.inner.domain[0]
    s = s_low + (s_high - s_low) * (np.arange(n) + 0.5) / n
    length = 1 + b / 2
    x = np.stack([np.outer(s, length).ravel(), np.tile(b, n)], axis=1)
    return x, np.tile(width * length * (s_high - s_low) / n, n)


@pytest.mark.parametrize("mass", MASSES)
def test_it_is_normalised(flow, mass):
    x, area = nodes(mass, flow)
    assert np.exp(flow.log_prob_array(x, mass)) @ area == pytest.approx(1.0, abs=1e-3)


@pytest.mark.statistical
@pytest.mark.parametrize("mass", [90.0, 125.0])
def test_samples_follow_it(flow, mass):
    """Eight means within 5 standard errors: one false alarm in 200,000 runs."""
    x, area = nodes(mass, flow)
    density = np.exp(flow.log_prob_array(x, mass)) * area
    sample = flow.sample(np.full(20_000, mass), seed=3)
    functions = (lambda x: x[:, 0], lambda x: x[:, 1], lambda x: np.cos(3 * x[:, 0] - x[:, 1]), lambda x: x[:, 1] > 1)
    for function in functions:
        drawn = function(sample)
        assert abs(drawn.mean() - function(x) @ density / density.sum()) < 5 * drawn.std() / np.sqrt(len(drawn)) + 1e-3


def test_graph_array_and_samples_agree(flow):
    m = np.linspace(80, 200, 300)
    x = flow.sample(m, seed=4)
    np.testing.assert_array_equal(flow.sample(m, seed=4), x)
    assert flow.inside(x, m).all()
    values = flow.log_prob_array(x, m)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    np.testing.assert_allclose(tf.function(flow.log_prob)(tf.constant(x), tf.constant(m)), values, atol=2e-5)


def test_gradients_are_finite_also_beyond_the_edges(flow):
    x, m = tf.constant([[0.5, 1.0], [9.0, 1.0], [0.5, -3.0]], tf.float64), tf.constant([120.0] * 3, tf.float64)
    one = flow.bootstraps[1]  # the logarithm of a mixture has no gradient where all its parts are zero
    with tf.GradientTape() as tape:
        tape.watch((x, m))
        value = one.log_prob(x, m)
    np.testing.assert_array_equal(np.isfinite(value), [True, False, False])
    for gradient in tape.gradient(value, (x, m)):
        assert np.isfinite(np.asarray(gradient)).all()


def test_domain_and_inside(flow):
    low, high = flow.domain.T
    assert low[1] == pytest.approx(-0.5, abs=0.01)  # at the lowest mass
    np.testing.assert_array_equal(high, [np.inf, np.inf])
    x = np.array([[0.5, 0.2], [1.4, 0.2], [0.5, 1.9]])
    np.testing.assert_array_equal(flow.inside(x, [105.0, 105.0, 105.0]), [True, False, True])
    np.testing.assert_array_equal(flow.inside(x, [130.0, 105.0, 105.0]), [False, False, True])
    np.testing.assert_array_equal(flow.inside(x), [False, False, True])  # at every mass
    np.testing.assert_array_equal(flow.log_prob_array(x, 105.0) > -np.inf, [True, False, True])
    assert not flow.inside([[np.nan, 1.0]], [120.0]).any()


def test_parts_are_in_the_features_too(flow):
    x, m = flow.sample(np.full(50, 120.0), seed=5), np.full(50, 120.0)
    assert (len(flow.bootstraps), len(flow.members)) == (2, 3)
    parts = np.stack([part.log_prob_array(x, m) for part in flow.bootstraps])
    np.testing.assert_allclose(np.log([0.25, 0.75] @ np.exp(parts)), flow.log_prob_array(x, m), rtol=1e-9)
    member = flow.members[2]
    assert member.members == (member,)
    assert isinstance(member, CoordinateFlow)


def test_saved_and_loaded_gives_identical_numbers(flow, tmp_path):
    flow.save(tmp_path / "flow")
    again = load_flow(tmp_path / "flow")
    m = np.linspace(90, 180, 100)
    x = flow.sample(m, seed=6)
    np.testing.assert_array_equal(again.sample(m, seed=6), x)
    np.testing.assert_array_equal(again.log_prob_array(x, m), flow.log_prob_array(x, m))
    assert again.coordinates == flow.coordinates
    assert again.signal_region == flow.signal_region


def test_other_columns_are_refused(flow):
    with pytest.raises(InputError, match=r"expected coordinates of \(a, b\) given m, got those of \(b, a\) given m"):
        CoordinateFlow(flow.inner, Coordinates(("b", "a"), "m"))
