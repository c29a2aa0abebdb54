"""Posteriors against known ones; which model scores what; order of rows; storage; bad input."""

from dataclasses import replace

import numpy as np
import pytest
from gaussian_processes import exact, rows

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.ratio.network import Network
from hisigma_zfit.ratio.posterior import Boosting, Posterior, data_folds, event_folds, train_posterior
from hisigma_zfit.statistics.posteriors import area_under_curve

FEW = Boosting(rounds=25)


@pytest.fixture(scope="module")
def samples():
    return rows()


@pytest.fixture(scope="module")
def posterior(samples):
    return train_posterior(samples, seed=1, boosting=FEW)


def _scores(posterior, samples):
    return [posterior.scores(s.x, s.fold) for s in samples]


def test_shares_are_those_of_the_known_densities(posterior, samples):
    for sample, g in zip(samples, _scores(posterior, samples), strict=True):
        np.testing.assert_allclose(g.sum(axis=1), 1.0, atol=1e-12)
        difference = np.abs(g - exact(sample.x))
        # the gap between what 1,500 rows of each process can teach and a posterior that ignores x is tenfold
        assert np.average(difference, axis=0, weights=sample.weights).max() < 0.05


@pytest.mark.statistical
def test_a_model_never_scores_its_own_fold(samples):
    """Labels are wrong in fold 1: its models know nothing.  False alarms: 1e-8 (6 errors of the area, 0.009)."""
    rng = np.random.default_rng(5)
    signal, common = samples[0], samples[2]
    # rows of fold 0 move to the other process by chance, as a model of fold 1 trains with them; fold 1 stays honest
    x = np.concatenate([signal.x, common.x])
    fold = np.concatenate([signal.fold, common.fold])
    event = np.concatenate([signal.event, common.event + 10_000])
    label = np.repeat([0, 1], [len(signal.x), len(common.x)])
    poisoned = fold == 0
    label[poisoned] = rng.integers(2, size=poisoned.sum())
    mixed = [
        replace(
            signal, x=x[label == k], weights=np.ones((label == k).sum()), event=event[label == k], fold=fold[label == k]
        )
        for k in (0, 1)
    ]
    trained = train_posterior(mixed, seed=1, boosting=FEW)
    honest = [s.x[s.fold == 1] for s in (signal, common)]
    by_poisoned, by_honest = ([trained.scores(x, np.full(len(x), fold))[:, 0] for x in honest] for fold in (1, 0))
    ones = [np.ones(len(x)) for x in honest]
    error = np.sqrt((len(honest[0]) + len(honest[1])) / (12 * len(honest[0]) * len(honest[1])))
    assert abs(area_under_curve(*by_poisoned, *ones) - 0.5) < 6 * error
    assert area_under_curve(*by_honest, *ones) > 0.8


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
    np.testing.assert_array_equal(_scores(first, samples)[0], _scores(second, samples)[0])


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
    return train_posterior(samples, kind="network", seed=1, network=Network(width=16, epochs=8.0, seeds=2))


def test_nets_learn_the_known_shares(nets, samples):
    for sample, g in zip(samples, _scores(nets, samples), strict=True):
        np.testing.assert_allclose(g.sum(axis=1), 1.0, atol=1e-12)
        assert np.average(np.abs(g - exact(sample.x)), axis=0, weights=sample.weights).max() < 0.03


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
