"""What every flow promises, and the flows that are built from others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import logsumexp
from scipy.stats import kstest, norm, spearmanr
from untrained import REGION, random_flow

from hisigma_zfit.density.flows import DistributionFlow, MixtureFlow, RegionFlow
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.results import TrainingHistory

FLOWS = ("trained", "mixture", "region", "distribution")


@pytest.fixture(scope="module")
def parts():
    return random_flow(2, seed=1), random_flow(2, seed=2)


def normal_factory(m):
    centre = tf.stack([(m - 120) / 20, tf.zeros_like(m)], axis=1)
    return tfp.distributions.MultivariateNormalDiag(centre, tf.ones_like(centre))


@pytest.fixture(scope="module")
def flows(parts):
    return {
        "trained": parts[0],
        "mixture": MixtureFlow(parts, [1, 3]),
        "region": RegionFlow(inside=parts[0], outside=parts[1], region=REGION),
        "distribution": DistributionFlow(normal_factory, features=("a", "b"), given="m"),
    }


@pytest.fixture(scope="module")
def events(parts):
    m = np.random.default_rng(1).uniform(100, 150, size=3000)
    return parts[0].sample(m, seed=1), m


@pytest.mark.parametrize("name", FLOWS)
def test_interface(flows, events, name):
    flow, (x, m) = flows[name], events
    log_prob = flow.log_prob_array(x, m)
    assert log_prob.shape == m.shape
    assert log_prob.dtype == np.float64
    assert np.isfinite(log_prob[flow.inside(x)]).all()
    # float32 nets: graphs may differ by their rounding
    np.testing.assert_allclose(flow.log_prob(tf.constant(x[:100]), tf.constant(m[:100])), log_prob[:100], atol=2e-5)
    compiled = tf.function(flow.log_prob, jit_compile=name != "distribution")
    np.testing.assert_allclose(compiled(tf.constant(x[:100]), tf.constant(m[:100])), log_prob[:100], atol=2e-5)
    # neither the block an event is in nor its neighbours matter
    np.testing.assert_allclose(flow.log_prob_array(x[:7], m[:7]), log_prob[:7], atol=2e-5)
    np.testing.assert_array_equal(flow.log_prob_array(x, m), log_prob)
    np.testing.assert_allclose(flow.log_prob_array(x[:7], m[0]), flow.log_prob_array(x[:7], np.full(7, m[0])))
    assert flow.log_prob_array(x[:0], m[:0]).shape == (0,)
    assert all(part.features == flow.features for part in (*flow.members, *flow.bootstraps))


@pytest.mark.parametrize("name", FLOWS)
def test_samples_are_deterministic_and_inside(flows, name):
    flow = flows[name]
    m = np.full(2000, 121.0)
    sample = flow.sample(m, seed=5)
    assert sample.shape == (2000, 2)
    # a flow of two regions asks both of its parts, and draws from the one that the mass is in
    assert getattr(flow, "inner", flow).inside(sample).all()
    np.testing.assert_array_equal(flow.sample(m, seed=5), sample)
    assert not np.array_equal(flow.sample(m, seed=6), sample)
    assert len(np.unique(sample[:, 0])) > 1990


@pytest.mark.statistical
@pytest.mark.parametrize("members", [1, 2])
def test_the_flows_of_two_regions_draw_independently(members):
    """One flow inside and outside, so that the same random numbers would give the same events."""
    flow, n = random_flow(2, members=members), 20_000
    inside, outside = np.full(n, 121.0), np.full(n, 101.0)
    x = RegionFlow(inside=flow, outside=flow, region=REGION).sample(np.concatenate([inside, outside]), seed=5)
    alone = flow.sample(outside, seed=5)
    for first, second in ((x[:n], x[n:]), (x[n:], alone), (x[:n], alone)):
        for j in range(2):
            # 12 comparisons at 6 sigma: 2e-8
            assert abs(spearmanr(first[:, j], second[:, j]).statistic) < 6 / np.sqrt(n)


@pytest.mark.statistical
def test_the_flows_of_a_mixture_draw_independently():
    """The k-th event of one component against the k-th of the other, and against the component that was chosen."""
    low, high = (uniform(shift) for shift in (0.0, 2.0))
    x = MixtureFlow([low, high]).sample(np.full(40_000, 121.0), seed=5)[:, 0]
    first, second = x[x < 1], x[x > 1] - 2.0
    n = min(len(first), len(second))
    assert abs(len(first) - 20_000) < 6 * 100  # 6 sigma: 2e-9
    assert abs(spearmanr(first[:n], second[:n]).statistic) < 6 / np.sqrt(n)
    assert abs(spearmanr(x % 2.0, x > 1).statistic) < 6 / np.sqrt(len(x))


def uniform(shift):
    def factory(m):
        low = tf.fill([tf.size(m), 1], tf.constant(shift, tf.float64))
        return tfp.distributions.Independent(tfp.distributions.Uniform(low, low + 1.0), 1)

    return DistributionFlow(factory, features=("a",), given="m")


@pytest.mark.parametrize("name", ["trained", "mixture", "region"])
def test_save_and_load_are_identical(flows, events, tmp_path, name):
    flow = flows[name]
    flow.history = TrainingHistory("test", np.arange(2.0), np.arange(2.0), np.zeros((2, 2)))
    flow.save(tmp_path / "flow")
    flow.save(tmp_path / "flow")  # replaces its own kind
    again = load_flow(tmp_path / "flow")
    np.testing.assert_array_equal(again.log_prob_array(*events), flow.log_prob_array(*events))
    np.testing.assert_array_equal(again.sample(events[1], seed=2), flow.sample(events[1], seed=2))
    assert (again.features, again.given, again.signal_region) == (flow.features, flow.given, flow.signal_region)
    assert len(again.members) == len(flow.members)
    assert again.history.to_json() == flow.history.to_json()
    assert sorted(p.name for p in (tmp_path / "flow").iterdir()) == ["flow.json", "weights.npz"]
    assert [p.name for p in tmp_path.iterdir()] == ["flow"]


def test_load_refuses_what_is_no_flow(parts, tmp_path):
    with pytest.raises(InputError, match=r"flow\.json and weights\.npz"):
        load_flow(tmp_path)
    parts[0].save(tmp_path / "flow")
    file = tmp_path / "flow" / "flow.json"
    structure = json.loads(file.read_text())
    file.write_text(json.dumps({**structure, "kind": "os.system"}))
    with pytest.raises(InputError, match="flow of kind"):
        load_flow(tmp_path / "flow")
    file.write_text(json.dumps({**structure, "schema": "other"}))
    with pytest.raises(InputError, match="schema"):
        load_flow(tmp_path / "flow")
    np.savez(tmp_path / "flow" / "weights.npz", parameters=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="ValueError"):  # a pickle is not opened
        load_flow(tmp_path / "flow")


def test_save_spares_other_content(parts, flows, tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="other content"):
        parts[0].save(tmp_path)
    with pytest.raises(InputError, match="DistributionFlow"):
        flows["distribution"].save(tmp_path / "new")


def test_mixture_averages_densities(flows, parts, events):
    expected = logsumexp([p.log_prob_array(*events) for p in parts], b=np.array([[0.25], [0.75]]), axis=0)
    np.testing.assert_allclose(flows["mixture"].log_prob_array(*events), expected, atol=1e-12)
    members = parts[0].members
    assert len(members) == 2
    mean = logsumexp([member.log_prob_array(*events) for member in members], axis=0) - np.log(2)
    np.testing.assert_allclose(parts[0].log_prob_array(*events), mean, atol=2e-5)
    assert flows["mixture"].bootstraps == parts
    assert len(flows["mixture"].members) == 4


def test_mixture_is_minus_infinity_only_where_all_components_are():
    left = DistributionFlow(normal_factory, features=("a", "b"), given="m", limits=[(-1, 0), (-9, 9)])
    right = DistributionFlow(normal_factory, features=("a", "b"), given="m", limits=[(0, 1), (-9, 9)])
    mixture = MixtureFlow([left, right])
    x, m = np.array([[-0.5, 0], [0.5, 0], [2.0, 0]]), np.full(3, 120.0)
    for log_prob in (mixture.log_prob_array(x, m), mixture.log_prob(tf.constant(x), tf.constant(m)).numpy()):
        np.testing.assert_allclose(log_prob[:2], left.log_prob_array(x[:1], m[:1])[0] - np.log(2))
        assert log_prob[2] == -np.inf
    np.testing.assert_array_equal(mixture.inside(x), [True, True, False])


@pytest.mark.statistical
def test_mixture_samples_by_weight():
    flows = [
        DistributionFlow(lambda m, s=s: normal_factory(m + s), features=("a", "b"), given="m") for s in (-400, 400)
    ]
    sample = MixtureFlow(flows, [0.2, 0.8]).sample(np.full(10_000, 120.0), seed=1)
    # binomial, 5 sigma
    assert abs(np.mean(sample[:, 0] > 0) - 0.8) < 5 * np.sqrt(0.2 * 0.8 / 10_000)


def test_region_flow_changes_at_its_half_open_edges(flows, parts):
    m = np.array([REGION.lower, np.nextafter(REGION.lower, 0), np.nextafter(REGION.upper, 0), REGION.upper])
    x = parts[0].sample(m, seed=3)
    inner, outer = (part.log_prob_array(x, m) for part in parts)
    expected = np.where([True, False, True, False], inner, outer)
    np.testing.assert_allclose(flows["region"].log_prob_array(x, m), expected, atol=2e-5)
    np.testing.assert_allclose(flows["region"].log_prob(tf.constant(x), tf.constant(m)), expected, atol=2e-5)


@pytest.mark.statistical
def test_distribution_flow_matches_its_distribution(flows):
    flow = flows["distribution"]
    m = np.full(5000, 140.0)
    sample = flow.sample(m, seed=1)
    assert kstest(sample[:, 0], norm(1, 1).cdf).pvalue > 1e-6
    expected = norm.logpdf(sample[:, 0], 1) + norm.logpdf(sample[:, 1])
    np.testing.assert_allclose(flow.log_prob_array(sample, m), expected, atol=1e-12)
    np.testing.assert_array_equal(flow.inside([[0, np.nan], [0, 1]]), [False, True])
    with pytest.raises(InputError, match=r"limits of shape \(2, 2\)"):
        DistributionFlow(normal_factory, features=("a", "b"), given="m", limits=[(0, 1)])


@pytest.mark.parametrize("name", FLOWS)
def test_wrong_shapes_are_refused(flows, name):
    flow = flows[name]
    with pytest.raises(InputError, match="columns a, b"):
        flow.log_prob_array(np.zeros((5, 3)), np.zeros(5))
    with pytest.raises(InputError, match="one m for each of 5"):
        flow.log_prob_array(np.zeros((5, 2)), np.zeros(4))


def test_mixture_refuses_unusable_parts(parts):
    with pytest.raises(InputError, match="one or more flows"):
        MixtureFlow([])
    with pytest.raises(InputError, match="non-negative weights"):
        MixtureFlow(parts, [1, -1])
    with pytest.raises(InputError, match="same columns"):
        MixtureFlow([parts[0], random_flow(4)])


def test_an_error_while_saving_leaves_the_old_flow(flows, events, tmp_path, monkeypatch):
    """The folder's own steps are in test_files.py; here: whichever file the error comes from, the old one loads."""
    flows["trained"].save(tmp_path / "flow")
    before = load_flow(tmp_path / "flow").log_prob_array(*events)
    for name in ("write_npz", "write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(f"hisigma_zfit.density.base.{name}", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                flows["mixture"].save(tmp_path / "flow")
        np.testing.assert_array_equal(load_flow(tmp_path / "flow").log_prob_array(*events), before)
        assert [p.name for p in tmp_path.iterdir()] == ["flow"]


def test_flows_show_what_they_are(flows):
    for flow in flows.values():
        text, html = repr(flow), flow._repr_html_()
        assert text.startswith(f"{type(flow).__name__}(features=('a', 'b')")
        assert "given='m'" in text
        assert f"members={len(flow.members)}" in text
        assert html.startswith("<table>")
        assert all(f">{name}</th>" in html for name in (*flow.features, "domain", "members"))
