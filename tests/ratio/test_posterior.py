"""Posteriors against known ones; which model scores what; order of rows; storage; bad input."""

from dataclasses import replace

import numpy as np
import pytest
from gaussian_processes import exact, rows

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.ratio.network import Network, Networks
from hisigma_zfit.ratio.posterior import Boosting, Posterior, data_folds, event_folds, train_posterior
from hisigma_zfit.statistics.posteriors import area_under_curve, balanced_cross_entropy

FEW = Boosting(rounds=20, leaves=8)


@pytest.fixture(scope="module")
def samples():
    return rows()


@pytest.fixture(scope="module")
def posterior(samples):
    return train_posterior(samples, seed=1, boosting=FEW)


def _scores(posterior, samples):
    return [posterior.scores(s.x, s.fold) for s in samples]


def _loss(posterior, samples):
    """Cross-entropy above that of the known densities; 0.39 for shares that ignore the features."""
    scores, weights = _scores(posterior, samples), [s.weights for s in samples]
    for g in scores:
        np.testing.assert_allclose(g.sum(axis=1), 1.0, atol=1e-12)
    return balanced_cross_entropy(scores, weights) - balanced_cross_entropy([exact(s.x) for s in samples], weights)


def test_shares_are_those_of_the_known_densities(posterior, samples):
    assert _loss(posterior, samples) < 0.04


def test_a_model_never_sees_the_fold_that_it_scores(posterior, samples):
    """Labels and features of fold 0 are spoilt: its own model does not notice, the other one learns nothing."""
    rng = np.random.default_rng(5)
    spoilt = []
    for s in samples:
        x = s.x.copy()
        own = np.flatnonzero(s.fold == 0)
        x[own] = rng.normal(0.0, 1.0, (len(own), 2))
        spoilt.append(replace(s, x=x))
    trained = train_posterior(spoilt, seed=1, boosting=FEW)
    for s in samples:
        x, fold = s.x[s.fold == 0], s.fold[s.fold == 0]
        np.testing.assert_array_equal(trained.scores(x, fold), posterior.scores(x, fold))
    signal, common = (s.x[s.fold == 1] for s in (samples[0], samples[2]))
    areas = []
    for model in (trained, posterior):
        score = [model.scores(x, np.ones(len(x), dtype=np.int64))[:, 0] for x in (signal, common)]
        areas.append(area_under_curve(*score, np.ones(len(signal)), np.ones(len(common))))
    assert abs(areas[0] - 0.5) < 0.15  # a random function of x, not a random number: farther off than counting allows
    assert areas[1] > 0.8


def test_the_order_of_rows_changes_nothing(posterior, samples):
    rng = np.random.default_rng(2)
    permuted = []
    for s in samples:
        order = rng.permutation(len(s.x))
        permuted.append(
            replace(
                s, x=s.x[order], weights=s.weights[order], event=s.event[order], fold=s.fold[order], cell=s.cell[order]
            )
        )
    again = train_posterior(permuted, seed=1, boosting=FEW)
    for first, second in zip(_scores(posterior, samples), _scores(again, samples), strict=True):
        np.testing.assert_array_equal(first, second)


def test_rows_of_weight_zero_are_not_there(samples):
    taken = [replace(s, weights=np.where(s.event % 3 == 0, 0.0, s.weights)) for s in samples]
    left = [
        replace(s, x=s.x[on], weights=s.weights[on], event=s.event[on], fold=s.fold[on])
        for s in samples
        for on in [s.event % 3 != 0]
    ]
    few = Boosting(rounds=3)
    first, second = (train_posterior(s, seed=1, boosting=few) for s in (taken, left))
    np.testing.assert_allclose(_scores(first, samples)[0], _scores(second, samples)[0], rtol=1e-12)


@pytest.mark.parametrize("kind", ["boosting", "network"])
def test_storage_keeps_every_bit(kind, posterior, samples, tmp_path, request):
    if kind == "network":
        posterior = request.getfixturevalue("nets")
    write_npz(tmp_path / "posterior.npz", posterior.arrays())
    with np.load(tmp_path / "posterior.npz", allow_pickle=False) as stored:
        again = Posterior.from_arrays(dict(stored))
    assert (again.processes, again.kind) == (posterior.processes, kind)
    for first, second in zip(_scores(posterior, samples), _scores(again, samples), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def nets(samples):
    return train_posterior(samples, kind="network", seed=1, network=Network(width=16, epochs=15.0, learning_rate=0.01))


def test_nets_learn_the_known_shares(nets, samples):
    assert _loss(nets, samples) < 0.02


def test_probabilities_of_several_nets_are_averaged(nets, samples):
    x, first = samples[0].x[:50], nets.members[0]
    other = 0.5 * first.parameters
    both = Networks(first.centre, first.spread, np.concatenate([first.parameters, other]), first.width, first.classes)
    alone = [
        np.exp(Networks(first.centre, first.spread, p, first.width, first.classes).log_probabilities(x))
        for p in (first.parameters, other)
    ]
    np.testing.assert_allclose(np.exp(both.log_probabilities(x)), np.mean(alone, axis=0), rtol=1e-12)


def test_rows_of_an_event_share_a_fold_and_folds_are_even():
    event = np.repeat(np.arange(6000), 2)
    fold = event_folds(event, folds=3, seed=1)
    np.testing.assert_array_equal(fold[::2], fold[1::2])
    # 5 standard deviations of a share of 6,000
    np.testing.assert_allclose(np.bincount(fold) / 12_000, 1 / 3, atol=5 * np.sqrt(2 / 9 / 6000))


def test_data_have_one_fold_by_file_and_row():
    rows = np.arange(4000)
    fold = data_folds("ab" * 32, rows, folds=2, seed=1)
    # the digest and the row decide, wherever the event stands
    np.testing.assert_array_equal(data_folds("ab" * 32, rows[::-1], folds=2, seed=1), fold[::-1])
    assert abs(np.mean(fold == data_folds("ab" * 31 + "ac", rows, folds=2, seed=1)) - 0.5) < 0.05
    np.testing.assert_array_equal(data_folds("ab" * 32, rows, folds=2, seed=1, swapped=1), 1 - fold)
    assert abs(fold.mean() - 0.5) < 0.05  # 6 standard deviations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "forest"}, "kind to be one of boosting, network"),
        ({"folds": 1}, "two folds or more"),
        ({"folds": 3}, "outside of fold 0|folds of signal"),
        ({"x": np.nan}, "finite features of signal, got NaN or infinity in column 1 of 2"),
        ({"weights": -1.0}, "weights of at least zero for signal, got 1 negative"),
        ({"few": True}, "at least 100 rows of signal outside of fold"),
    ],
)
def test_bad_input_is_refused_before_any_training(samples, change, message):
    first = samples[0]
    if "x" in change:
        x = first.x.copy()
        x[3, 1] = change["x"]
        first = replace(first, x=x)
    if "weights" in change:
        first = replace(first, weights=np.append(first.weights[1:], -1.0))
    if "few" in change:
        first = replace(first, weights=np.where(np.arange(len(first.x)) < 100, 1.0, 0.0))
    options = {
        "seed": 1,
        "boosting": Boosting(rounds=100_000),
        **{k: change[k] for k in ("kind", "folds") if k in change},
    }
    if change.get("folds") == 3:
        first = replace(first, fold=first.fold + 2)
    with pytest.raises(InputError, match=message):
        train_posterior([first, *samples[1:]], **options)


def test_scores_refuse_what_they_do_not_know(posterior, samples):
    x, fold = samples[0].x[:5], samples[0].fold[:5]
    with pytest.raises(InputError, match="folds from 0 to 1"):
        posterior.scores(x, fold + 2)
    with pytest.raises(InputError, match="column 0"):
        posterior.scores(np.full_like(x, np.inf), fold)
    with pytest.raises(InputError, match="2 to 255 bins"):
        Boosting(bins=300)


def test_trees_grown_on_a_cluster_have_the_bits_of_this_machine(posterior, samples):
    distributed = pytest.importorskip("distributed")
    one = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**one) as cluster:
        there = train_posterior(samples, seed=1, boosting=FEW, scheduler=cluster)
    for name, array in posterior.arrays().items():
        np.testing.assert_array_equal(there.arrays()[name], array)
