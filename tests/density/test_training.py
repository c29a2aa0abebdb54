"""Training: does it learn the truth, are bootstraps real, are all bits reproducible, does it survive Ctrl-C?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import truth
from scipy.special import logsumexp
from scipy.stats import beta
from untrained import REGION, SMALL

from hisigma_zfit.data import Dataset, feature_space
from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.density.training import train_flow, train_halves
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.preprocess import FeatureTransform, Support
from hisigma_zfit.learn.resampling import bootstrap_weights, fold_of, held_out_events, held_out_mask

OPTIONS = {"given": "m", "members": 2, "bootstraps": 2, "seed": 7, "flow": SMALL, "preset": "quick"}


def parameters(flow):
    return np.stack([member.parameters for member in flow.members])


@pytest.fixture(scope="module")
def trained(sidebands):
    return train_flow(sidebands, truth.FEATURES, **OPTIONS)


@pytest.mark.slow
@pytest.mark.statistical
def test_learns_the_signal_region_that_it_never_saw():
    columns = truth.BACKGROUND.columns(40_000, seed=1, region="sidebands")
    data = Dataset.from_arrays(columns).sidebands(truth.MASS, REGION)
    flow = train_flow(data, truth.FEATURES, given="m", seed=1)
    x, m = truth.stack(truth.BACKGROUND.columns(50_000, seed=2, region="signal"))
    log_prob = flow.log_prob_array(x, m)
    inside = np.isfinite(log_prob)
    assert np.sum(~inside) < 20
    difference = (truth.BACKGROUND.log_prob(x, m) - log_prob)[inside]
    # measured 0.0075 +- 0.0005; a flow that ignores one dependence has 0.03 or more; the mean is known to 0.001
    assert -0.002 < difference.mean() < 0.012
    assert flow.signal_region == REGION


def test_the_density_is_the_mean_of_members_that_were_not_resampled(trained, sidebands, tmp_path):
    assert isinstance(trained, EnsembleFlow)
    assert [len(part.members) for part in trained.bootstraps] == [1, 1]
    assert len(trained.members) == 2
    x, m = sidebands.array(truth.FEATURES)[:2000], sidebands["m"][:2000]
    each = np.stack([member.log_prob_array(x, m) for member in trained.members])
    np.testing.assert_allclose(trained.log_prob_array(x, m), logsumexp(each, axis=0) - np.log(2), atol=2e-5)
    redrawn = np.stack([part.log_prob_array(x, m) for part in trained.bootstraps])
    for logs in (each, redrawn):
        assert (logs.std(axis=0) > 1e-4).mean() > 0.9
        assert np.isfinite(logs).all()  # all share the support of the whole data set
    trained.save(tmp_path / "flow")
    again = load_flow(tmp_path / "flow")
    np.testing.assert_array_equal(again.log_prob_array(x, m), trained.log_prob_array(x, m))
    np.testing.assert_array_equal(again.bootstraps[1].log_prob_array(x, m), redrawn[1])
    assert again.history.kept_step == trained.history.kept_step
    # halves of the events, one further from each other than the members of all
    one, other = (half.log_prob_array(x, m) for half in again.halves)
    assert np.abs(one - other).mean() > np.abs(each[0] - each[1]).mean()


def test_the_published_density_is_the_mean_over_all_bootstraps(sidebands):
    few = sidebands.select(np.arange(len(sidebands)) < 3000)
    flow = train_flow(few, truth.FEATURES, **OPTIONS, value="bootstraps")
    assert isinstance(flow, MixtureFlow)
    assert [len(part.members) for part in flow.bootstraps] == [2, 2]
    x, m = few.array(truth.FEATURES)[:500], few["m"][:500]
    each = np.stack([member.log_prob_array(x, m) for member in flow.members])
    np.testing.assert_allclose(flow.log_prob_array(x, m), logsumexp(each, axis=0) - np.log(4), atol=2e-5)


def test_a_member_has_not_seen_its_fifth(sidebands):
    """Masses exchanged among the events of one part change all members but the one that leaves it out."""
    few = sidebands.select(np.arange(len(sidebands)) < 3000)
    part = (fold_of(few.identity, seed=OPTIONS["seed"]) == 1) & ~held_out_mask(few.identity, seed=OPTIONS["seed"])
    exchanged = few["m"].copy()
    exchanged[part] = exchanged[part][::-1]
    options = {**OPTIONS, "bootstraps": 1}
    first = train_flow(few, truth.FEATURES, **options)
    second = train_flow(few.with_columns(m=exchanged), truth.FEATURES, **options, like=first)
    same = (parameters(first) == parameters(second)).all(axis=(1, 2))
    assert same.tolist() == [False, True]
    assert first.history.kept_step == second.history.kept_step


@pytest.mark.slow
def test_features_without_any_dependence_are_taken_as_independent(caplog):
    """With 500 events every step away from independence is noise; the exact density is known."""
    rng = np.random.default_rng(3)
    events = {"m": rng.uniform(0.0, 1.0, 500), "a": rng.beta(2.0, 2.0, 500), "b": rng.beta(2.0, 3.0, 500)}
    flow = train_flow(Dataset.from_arrays(events), ["a", "b"], given="m", members=2, seed=2)
    assert flow.history.kept_step < 40
    other = {"m": rng.uniform(0.0, 1.0, 4000), "a": rng.beta(2.0, 2.0, 4000), "b": rng.beta(2.0, 3.0, 4000)}
    x = np.column_stack([other["a"], other["b"]])
    exact = beta.logpdf(other["a"], 2.0, 2.0) + beta.logpdf(other["b"], 2.0, 3.0)
    learned = flow.log_prob_array(x, other["m"])
    inside = np.isfinite(learned)
    # 0.02 by the marginals; 300 steps to the end gave 0.3 nats
    assert (exact - learned)[inside].mean() < 0.06
    assert "density" in caplog.text


def test_bootstraps_are_trained_on_their_own_resamples(trained, sidebands):
    x = sidebands.array(truth.FEATURES)
    supports = [Support.infer(x[:, j], name=name) for j, name in enumerate(truth.FEATURES)]
    for b, flow in enumerate(trained.bootstraps):
        weights = bootstrap_weights(OPTIONS["seed"], b, sidebands.identity).astype(float)
        expected = FeatureTransform.fit(x, truth.FEATURES, supports=supports, weights=weights)
        other = FeatureTransform.fit(x, truth.FEATURES, supports=supports)
        # the flow leaves 5 % out for validation: close to its own resample, less close to the events as they are
        own, nominal = (
            np.mean(
                [
                    np.abs(f.levels - np.interp(f.knots, e.knots, e.levels)).mean()
                    for f, e in zip(flow.transform.marginals, transform.marginals, strict=True)
                ]
            )
            for transform in (expected, other)
        )
        assert own < 0.6 * nominal
    knots = [np.concatenate([m.knots for m in part.transform.marginals]) for part in trained.bootstraps]
    assert knots[0].shape != knots[1].shape or (knots[0] != knots[1]).mean() > 0.8


def test_held_out_events_have_no_part_in_the_training(sidebands):
    """Masses exchanged between them change nothing."""
    few = sidebands.select(np.arange(len(sidebands)) < 3000)
    weights = np.where(np.arange(len(few)) % 7 == 0, 0.0, 1.0)
    events = Dataset.from_arrays({**few.columns, "row": np.arange(3000.0)}, weights)
    held_out = held_out_events(events, seed=OPTIONS["seed"])
    assert abs(len(held_out) - 0.05 * np.count_nonzero(weights)) < 5 * np.sqrt(0.0475 * np.count_nonzero(weights))
    assert (held_out.weights > 0).all()
    exchanged = events["m"].copy()
    exchanged[held_out["row"].astype(int)] = held_out["m"][::-1]
    options = {**OPTIONS, "bootstraps": 1}
    first, second = (train_flow(each, truth.FEATURES, **options) for each in (events, events.with_columns(m=exchanged)))
    np.testing.assert_array_equal(parameters(first), parameters(second))
    # nor are they looked at where every member has a part of its own to stop it
    np.testing.assert_array_equal(first.history.validation, second.history.validation)


@pytest.mark.slow
def test_shared_events_are_trained_alike(sidebands):
    """30 events leave a sample: its members differ by far less than those of another seed, or of rows told anew."""
    rng = np.random.default_rng(5)
    stay = np.ones(len(sidebands), dtype=bool)
    stay[rng.choice(len(stay), 30, replace=False)] = False
    fewer = sidebands.select(stay)
    anew = Dataset.from_arrays(fewer.columns)
    nominal, shared, others = (train_flow(each, truth.FEATURES, **OPTIONS) for each in (sidebands, fewer, anew))
    x, m = truth.stack(truth.BACKGROUND.columns(2000, seed=12, region="sidebands"))
    logs = [[part.log_prob_array(x, m) for part in flow.bootstraps] for flow in (nominal, shared, others)]
    noise = {name: np.std(np.subtract(logs[0], logs[k])) for name, k in (("shared", 1), ("others", 2))}
    assert noise["shared"] < 0.2 * noise["others"]  # measured 0.013 and 0.152


def test_the_order_of_the_rows_does_not_matter(trained, sidebands):
    """Starts, batches and resamples are the same to the bit."""
    order = np.random.default_rng(6).permutation(len(sidebands))
    shuffled = Dataset.from_arrays(
        {name: sidebands[name][order] for name in sidebands.names}, identity=sidebands.identity[order]
    )
    again = train_flow(shuffled, truth.FEATURES, **OPTIONS)
    np.testing.assert_array_equal(parameters(again), parameters(trained))


def test_history(trained, sidebands):
    history = trained.history
    assert history.train.shape == (2, len(history.steps))
    assert history.validation.shape == (2, len(history.validation_steps))
    assert history.validation_steps[0] == 0
    assert history.kept_step in history.validation_steps
    assert history.steps[-1] == history.validation_steps[-1]
    assert (history.train[:, -3:].mean(axis=1) < history.train[:, 0] - 0.01).all()
    # a loss on the cube is minus the mean log-density there; held out and training events agree to a few percent
    np.testing.assert_allclose(history.validation[:, -1], history.train[:, -3:].mean(axis=1), atol=0.1)
    assert history.epochs[-1] == pytest.approx(history.steps[-1] * 512 / (0.95 * len(sidebands)), rel=0.01)


@pytest.mark.slow
def test_same_seed_same_bits(trained, sidebands):
    again = train_flow(sidebands, truth.FEATURES, **OPTIONS)
    np.testing.assert_array_equal(parameters(again), parameters(trained))
    assert again.history.to_json() == trained.history.to_json()
    other = train_flow(sidebands, truth.FEATURES, **{**OPTIONS, "seed": 8})
    assert (parameters(other) != parameters(trained)).mean() > 0.99


def test_interrupted_training_resumes_with_the_same_bits(trained, sidebands, tmp_path):
    def interrupt(done, total):
        if done > 0.6 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_flow(sidebands, truth.FEATURES, **OPTIONS, checkpoint=tmp_path, progress=interrupt)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".npz"] * len(list(tmp_path.iterdir()))

    seen = []
    resumed = train_flow(
        sidebands,
        truth.FEATURES,
        **OPTIONS,
        checkpoint=tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_array_equal(parameters(resumed), parameters(trained))
    assert resumed.history.to_json() == trained.history.to_json()
    assert seen[0][0] > 0.5 * seen[0][1]  # restored at once, not trained again
    assert seen[-1][0] == seen[-1][1]

    finished = []
    train_flow(sidebands, truth.FEATURES, **OPTIONS, checkpoint=tmp_path, progress=lambda *now: finished.append(now))
    assert len(finished) == 5  # one report for the members, and one for each bootstrap and half


def test_checkpoint_of_another_training_is_refused(sidebands, tmp_path, monkeypatch):
    options = {**OPTIONS, "bootstraps": 1}

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_flow(sidebands, truth.FEATURES, **options, checkpoint=tmp_path, progress=interrupt)
    with pytest.raises(InputError, match="another training"):
        train_flow(sidebands, truth.FEATURES, **{**options, "seed": 99}, checkpoint=tmp_path)
    monkeypatch.setattr("hisigma_zfit.learn.optimiser.CLIP", 4.0)
    with pytest.raises(InputError, match="another training"):
        train_flow(sidebands, truth.FEATURES, **options, checkpoint=tmp_path)


def test_event_weights_count(sidebands):
    # weights that undo the falling of a: the learned density of a must be flat where the unweighted one falls
    a = sidebands["a"]
    power = truth.BACKGROUND.power(sidebands["m"])
    flat = (1 - a) ** (1 - power) / power
    keep = a < 0.7
    data = replace(sidebands.select(keep), weights=flat[keep])
    flow = train_flow(data, ["a"], given="m", seed=1, flow=SMALL, preset="quick")
    a_grid = np.linspace(0.05, 0.65, 50)[:, None]
    for m in (95.0, 125.0, 170.0):
        relative = 0.7 * np.exp(flow.log_prob_array(a_grid, m)) - 1.0
        # 16,000 effective events in a dozen splines: 3 % each; the mean of 50 points less, the largest of 150 more
        assert np.sqrt(np.mean(relative**2)) < 0.06
        assert np.abs(relative).max() < 0.15


def test_limits_of_the_space_are_edges_of_the_support(sidebands):
    space = feature_space("b", a=(0.0, 1.0))
    flow = train_flow(sidebands, space, given="m", seed=1, flow=SMALL, preset="quick")
    assert flow.features == ("b", "a")
    np.testing.assert_array_equal(flow.inside([[30, 0.0], [30, 1.0], [30, -1e-9], [24, 0.5]]), [1, 1, 0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "slow"}, "preset quick, standard, paper"),
        ({"members": 0}, "members > 0"),
        ({"bootstraps": 0}, "bootstraps > 0"),
        ({"epochs": 0}, "epochs > 0"),
        ({"seed": -1}, "seed >= 0"),
        ({"given": "a"}, "distinct features"),
        ({"given": "no_such"}, "no_such"),
    ],
)
def test_bad_options_are_refused(sidebands, change, message):
    with pytest.raises(InputError, match=message):
        train_flow(sidebands, truth.FEATURES, **{**OPTIONS, **change})


def test_negative_weights_are_refused(sidebands):
    weights = np.ones(len(sidebands))
    weights[0] = -1
    with pytest.raises(InputError, match="negative"):
        train_flow(replace(sidebands, weights=weights), truth.FEATURES, **OPTIONS)


def test_halves_alone_are_those_of_a_whole_training(trained, sidebands):
    options = {name: value for name, value in OPTIONS.items() if name != "bootstraps"}
    x, m = sidebands.array(truth.FEATURES)[:50], sidebands["m"][:50]
    for one, other in zip(trained.halves, train_halves(sidebands, truth.FEATURES, **options), strict=True):
        np.testing.assert_array_equal(one.log_prob_array(x, m), other.log_prob_array(x, m))
    few = sidebands.select(np.arange(len(sidebands)) < 3000)
    with pytest.raises(InputError, match="at least 10000 events"):
        train_halves(few, truth.FEATURES, given="m", seed=3)
