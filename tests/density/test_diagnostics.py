"""Closure: a good density passes, a bad one is flagged at the right feature.

Densities with a closed form stand for the flows, so that "good" means exact; one trained flow shows the case that the
diagnostics exist for, the edge of one feature that moves with another.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import kstest, norm

from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.density.base import ConditionalFlow
from hisigma_zfit.density.diagnostics import Closure, closure, held_out_closure, interpolation_closure
from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.tfp_flows import maf
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.moving import Coordinates
from hisigma_zfit.learn.resampling import held_out_events
from hisigma_zfit.statistics.classified import conditional_pit, conditional_test, marginal_test

FEATURES = ("lead", "sub", "other")
FLAG_RATE = "a perfect model is flagged at a rate of 1e-5"


class Ordered(ConditionalFlow):
    """Two ordered momenta sub < lead above 25 and a normal; exact for events of `ordered_events`.

    Attributes:
        overlap: The edge of sub lies at lead + overlap instead.
        shift: Added to the normal.
        slope: The normal's dependence on the mass, 1 in the data.
    """

    features = FEATURES
    given = "m"

    def __init__(self, *, overlap=0.0, shift=0.0, slope=1.0):
        self.overlap, self.shift, self.slope = overlap, shift, slope

    def _parameters(self, m):
        t = (m - 125) / 25
        return 30 * (1 + 0.2 * t), self.slope * t + self.shift

    def log_prob(self, x, m):
        decay, mean = self._parameters(m)
        lead, sub = (x[:, 0] - 25) / decay, (x[:, 1] - 25) / decay
        edge = lead + self.overlap
        inside = (lead > 0) & (sub > 0) & (sub < edge)
        safe = tf.where(inside, lead, 1.0)
        # p(lead) of the larger of two exponentials, times the other one cut at the edge
        value = np.log(2.0) - safe + tf.math.log(-tf.math.expm1(-safe)) - sub
        value -= tf.math.log(-tf.math.expm1(-(safe + self.overlap))) + 2 * tf.math.log(decay)
        value -= 0.5 * (x[:, 2] - mean) ** 2 + 0.5 * np.log(2 * np.pi)
        return tf.where(inside, value, tf.constant(-np.inf, tf.float64))

    def sample(self, m, *, seed):
        rng = np.random.default_rng(seed)
        decay, mean = self._parameters(np.asarray(m))
        lead = rng.exponential(size=(len(m), 2)).max(axis=1)
        sub = -np.log1p(rng.random(len(m)) * np.expm1(-(lead + self.overlap)))
        return np.stack([25 + decay * lead, 25 + decay * sub, mean + rng.normal(size=len(m))], axis=1)

    def inside(self, x, m=None):
        return (np.asarray(x)[:, :2] > 25).all(axis=1)


def masses(n, rng):
    return 100 + 50 * rng.beta(1, 2, size=n)


def ordered_events(n, seed, **model):
    rng = np.random.default_rng(seed)
    m = masses(n, rng)
    x = Ordered(**model).sample(m, seed=seed + 1000)
    return Dataset.from_arrays(dict(zip((*FEATURES, "m"), (*x.T, m), strict=True)))


@pytest.fixture(scope="module")
def events():
    return ordered_events(12_000, 1)


@pytest.fixture(scope="module")
def good(events):
    return closure(Ordered(), events, seed=1)


@pytest.mark.statistical
def test_exact_density_passes(good):
    assert good.passed, FLAG_RATE
    assert good.flagged == ()
    assert good.n_events == 12_000
    assert good.n_outside == 0
    assert abs(good.auc - 0.5) < 5 * good.auc_error  # false alarm 6e-7
    assert good.kl < 0.01
    for feature in good.features:
        assert abs(feature.misfit) < 0.01
        assert abs(feature.conditional_misfit) < 0.02
        assert abs(feature.importance) < 0.03


@pytest.mark.statistical
def test_edge_that_moves_with_another_feature(events):
    bad = closure(Ordered(overlap=0.2), events, seed=1)
    assert not bad.passed
    assert set(bad.flagged) == {"lead", "sub"}
    assert bad["sub"].partner == "lead"
    assert bad["sub"].conditional_misfit > 0.02
    assert bad["other"].conditional_p_value > 1e-5
    assert bad.auc > 0.5 + 5 * bad.auc_error
    assert min(bad["lead"].importance, bad["sub"].importance) > 0.02 > bad["other"].importance
    # the flow puts a share of its events above the edge; that share's logarithm is the true KL
    x = Ordered(overlap=0.2).sample(np.full(40_000, 125.0), seed=1)
    truth = -np.log(np.mean(x[:, 1] < x[:, 0]))
    assert 0.5 * truth < bad.kl < truth + 3 * bad.kl_error


@pytest.mark.statistical
def test_held_out_events_are_judged_and_by_the_whole_mixture():
    """A perfect model is flagged at a rate of 1e-5."""
    data, seed = ordered_events(30_000, 3), 4
    held_out = np.isin(data.identity, held_out_events(data, seed=seed).identity)
    options = {"training_seed": seed, "seed": 1, "classifier": False}
    verdict = held_out_closure(Ordered(), data, **options)
    assert verdict.passed
    assert verdict.n_events == held_out.sum()
    assert abs(verdict.n_events - 1500) < 5.5 * np.sqrt(1500)
    # spoiled events, which are a twentieth of all, do not show before one looks at them alone
    spoiled = data.with_columns(other=data["other"] + 0.5 * held_out)
    assert closure(Ordered(), spoiled, seed=1, classifier=False).passed
    assert held_out_closure(Ordered(), spoiled, **options).flagged == ("other",)
    # the first member is right, the mixture is not
    mixture = MixtureFlow([Ordered(), Ordered(shift=1.0)])
    assert held_out_closure(mixture.members[0], data, **options).passed
    assert held_out_closure(mixture, data, **options).flagged == ("other",)
    assert held_out_closure(Ordered(), data.select(np.arange(len(data)) < 8000), **options) is None


@pytest.mark.statistical
def test_wrong_feature_is_named(events):
    bad = closure(Ordered(shift=0.3), events, seed=2)
    assert bad.flagged == ("other",)
    assert bad["other"].p_value < 1e-9
    # half the squared shift over the variance: 1 at one mass, 1 + 4/18 over all masses; known to 0.0034, at 5 sigma
    np.testing.assert_allclose(bad["other"].misfit, 0.045 / (1 + 4 / 18), atol=0.017)
    # the classifier's bound on what one sees at one mass; trees find more than half of it
    assert 0.5 * 0.045 < bad.kl < 0.045 + 5 * bad.kl_error


@pytest.mark.statistical
def test_wrong_dependence_on_the_mass_names_the_mass(events):
    bad = closure(Ordered(slope=0.3), events, seed=3, classifier=False)
    assert bad.flagged == ("other",)
    assert bad["other"].partner == "m"
    assert (bad.auc, bad.auc_error, bad.kl, bad.kl_error) == (None, None, None, None)
    assert bad["other"].importance is None


def test_json_round_trip(good):
    again = Closure.from_json(good.to_json())
    assert again.to_json() == good.to_json()
    assert again["sub"].feature == "sub"
    assert again.passed
    np.testing.assert_array_equal(again["lead"].data, good["lead"].data)


def test_report_names_what_failed(events):
    text = str(closure(Ordered(shift=0.5), events, seed=2, classifier=False))
    assert "FAILED" in text
    assert next(line for line in text.splitlines() if "flagged" in line).split()[0] == "other"


def test_same_seed_same_result(events):
    first, second, other = (closure(Ordered(), events, seed=seed, classifier=False).to_json() for seed in (5, 5, 6))
    assert first == second
    assert first != other


def test_region_and_domain(events):
    region = SignalRegion(115, 125)
    x = events.array(FEATURES)
    x[:100, 0] = 3.0  # below the domain
    data = Dataset.from_arrays(dict(zip((*FEATURES, "m"), (*x.T, events["m"]), strict=True)))
    found = closure(Ordered(), data, region=region, seed=1, classifier=False)
    in_region = region.contains(events["m"])
    assert found.n_outside == in_region[:100].sum() > 0
    assert found.n_events == in_region[100:].sum()
    assert found.selection == "mass in [115, 125)"
    np.testing.assert_allclose(found["other"].data.sum(), found.n_events)
    np.testing.assert_allclose(found["other"].expected.sum(), found.n_events)


@pytest.mark.statistical
def test_weights_are_honoured():
    """Weights that turn wrong events into right ones: without them the closure fails."""
    data = ordered_events(20_000, 3, shift=0.5)
    t = (data["m"] - 125) / 25
    weights = norm.pdf(data["other"], t) / norm.pdf(data["other"], t + 0.5)
    weighted = Dataset.from_arrays({name: data[name] for name in (*FEATURES, "m")}, weights)
    assert closure(Ordered(), data, seed=1, classifier=False).flagged == ("other",)
    found = closure(Ordered(), weighted, seed=1)
    assert found.passed, FLAG_RATE


def test_bad_input(events):
    with pytest.raises(InputError, match="at least 500 events in the flow's domain, got 12;"):
        closure(Ordered(), events.select(np.arange(len(events)) < 12), seed=1)
    assert closure(Ordered(), events, seed=1, classifier=False).auc is None


@pytest.mark.statistical
@pytest.mark.parametrize("points", [4, 32])
def test_conditional_transform_is_exactly_uniform(points):
    """However coarse the lattice and however unlike the density the proposal is.  False alarm 1e-6 each."""
    rng = np.random.default_rng(8)
    m = masses(20_000, rng)
    x = Ordered().sample(m, seed=8)
    flow = Ordered()
    for j in range(3):
        proposal = x[:, j].min() + np.ptp(x[:, j]) * rng.random(5000)
        u = conditional_pit(flow.log_prob_array, x, m, j, proposal=proposal, rng=rng, points=points)
        assert kstest(u, "uniform").pvalue > 1e-6


def test_conditional_transform_needs_no_normalisation(events):
    x, m, flow = events.array(FEATURES)[:500], events["m"][:500], Ordered()
    first, second = (
        conditional_pit(
            lambda x, m, add=add: flow.log_prob_array(x, m) + add * x[:, 0] + m,
            x,
            m,
            2,
            proposal=x[:, 2],
            rng=np.random.default_rng(1),
        )
        for add in (0.0, 3.0)
    )
    np.testing.assert_allclose(first, second, atol=1e-9)


@pytest.mark.statistical
def test_p_values_are_uniform():
    """1000 null experiments each with weights; rates at 5 % within five binomial sigma (false alarm 6e-7)."""
    rng = np.random.default_rng(9)
    marginal, conditional = [], []
    for _ in range(1000):
        w, v = rng.gamma(3, size=1500), rng.gamma(3, size=6000)
        marginal.append(marginal_test(rng.normal(size=1500), w, rng.normal(size=6000), v).p_value)
        # one slicing variable, so that nothing is corrected for
        conditional.append(conditional_test(rng.random(3000), np.ones(3000), rng.normal(size=(3000, 1)), ["a"])[0])
    for p in (marginal, conditional):
        assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.fixture(scope="module")
def training():
    return ordered_events(20_000, 11)


@contextlib.contextmanager
def features_as_they_are():
    """Without the coordinates in which the edge of ordered momenta would stand still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "hisigma_zfit.density.checked.choose_coordinates",
            lambda *_, features, given, **__: Coordinates(tuple(features), given),
        )
        yield


@pytest.fixture(scope="module")
def splines(training):
    with features_as_they_are():
        return train_flow(training, FEATURES, given="m", seed=1, flow=spline_flow(bins=0))


def test_splines_that_stay_fail_on_ordered_momenta(splines):
    found = closure(splines, ordered_events(12_000, 12), seed=1, classifier=False)
    assert not found.passed
    assert set(found.flagged) == {"lead", "sub"}
    assert {found["lead"].partner, found["sub"].partner} == {"lead", "sub"}


@pytest.mark.slow
def test_what_moves_with_the_edge_does_better_on_ordered_momenta(training, splines):
    config = maf(bins=6, hidden=24, blocks=1, learning_rate=8e-3)
    with features_as_they_are():
        masked = train_flow(training, FEATURES, given="m", seed=1, flow=config, epochs=8)
        default = train_flow(training, FEATURES, given="m", seed=1, members=1)
    held_out = ordered_events(10_000, 12)
    x, m = held_out.array(FEATURES), held_out["m"]
    truth = Ordered().log_prob_array(x, m)
    flows = {"splines": splines, "maf": masked, "default": default}
    kl = {name: np.mean(truth - flow.log_prob_array(x, m)) for name, flow in flows.items()}
    assert kl["maf"] < 0.7 * kl["splines"], kl
    assert kl["default"] < 0.5 * kl["splines"], kl


def test_interpolation():
    data = ordered_events(14_000, 21)
    window = SignalRegion(112, 120)
    small = {"flow": spline_flow(knots=6, hidden=8, layers=2), "epochs": 3}
    options = {"given": "m", "window": window, "seed": 1, "training": small, "classifier": False}
    found = interpolation_closure(data, ("other",), **options)
    assert found.n_events == window.contains(data["m"]).sum()
    assert found.selection == "m in [112, 120), hidden in training"
    assert found.passed
    # the same, where the window's events are unlike their neighbours: the training cannot have seen them
    strange = data.with_columns(other=data["other"] + 0.6 * window.contains(data["m"]))
    assert interpolation_closure(strange, ("other",), **options).flagged == ("other",)


def test_interpolation_keeps_off_the_signal_region():
    data = ordered_events(5000, 22)
    region = SignalRegion(115, 125)
    with pytest.raises(InputError, match="beside the signal region"):
        interpolation_closure(data, FEATURES, given="m", window=SignalRegion(110, 116), region=region, seed=1)
    sidebands = data.sidebands("m", region)
    with pytest.raises(InputError, match="beside the signal region"):
        interpolation_closure(sidebands, FEATURES, given="m", window=SignalRegion(110, 116), seed=1)
    with pytest.raises(InputError, match="on each side of the window"):
        interpolation_closure(data, FEATURES, given="m", window=SignalRegion(100, 110), seed=1)
