"""The trees' own prediction against scikit-learn's; storage."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.ratio.trees import Trees, bin_edges, in_bins


def _trained(classes=4, leaves=24, n=3000, rounds=12):
    rng = np.random.default_rng(3)
    y = rng.integers(classes, size=n)
    x = (rng.normal(size=(n, 5)) + 0.5 * y[:, None] * np.array([1, 0, -1, 0.3, 0])).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])  # ties: many events stand on few values
    x[::7, 3] = -2.5  # a missing value's place
    options = {"max_iter": rounds, "max_leaf_nodes": leaves, "min_samples_leaf": 5, "early_stopping": False}
    return HistGradientBoostingClassifier(**options, random_state=1).fit(x, y), x


@pytest.mark.parametrize(("classes", "leaves"), [(4, 2), (4, 24), (3, 60), (2, 24)])
def test_probabilities_are_those_of_scikit_learn(classes, leaves):
    classifier, x = _trained(classes=classes, leaves=leaves)
    trees = Trees.of(classifier)
    # events on the thresholds themselves too: which side they fall on is part of the function
    on_edges = np.repeat(x[:1], len(trees.threshold), axis=0)
    split = trees.feature >= 0
    on_edges[np.flatnonzero(split), trees.feature[split]] = trees.threshold[split]
    for events in (x, on_edges, 10 * x[:1]):
        expected = np.log(classifier.predict_proba(events))
        np.testing.assert_allclose(trees.log_probabilities(events), expected, rtol=0, atol=1e-12)


def test_trees_of_bins_are_trees_of_values():
    _, x = _trained(rounds=1)
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.5, 2.0, len(x))
    y = (x[:, 0] + x[:, 1] + rng.normal(size=len(x)) > 0).astype(int) + (x[:, 3] > 0)
    edges = [bin_edges(column, weights, 31) for column in x.T]
    codes = in_bins(x, edges)
    # ties stay together; the others are of equal weight, give or take an event
    assert len(edges[1]) == len(np.unique(x[:, 1])) - 1
    np.testing.assert_allclose(np.bincount(codes[:, 0], weights) / weights.sum(), 1 / 31, atol=2 / len(x))
    classifier = HistGradientBoostingClassifier(max_iter=8, early_stopping=False).fit(codes, y, sample_weight=weights)
    expected = np.log(classifier.predict_proba(codes))
    np.testing.assert_allclose(Trees.of(classifier, edges).log_probabilities(x), expected, rtol=0, atol=1e-12)


def test_storage_and_pickle_keep_every_bit_without_objects(tmp_path):
    classifier, x = _trained(rounds=3)
    trees = Trees.of(classifier)
    expected = trees.log_probabilities(x)
    write_npz(tmp_path / "trees.npz", trees.arrays())
    with np.load(tmp_path / "trees.npz", allow_pickle=False) as stored:
        again = Trees.from_arrays(dict(stored))
    np.testing.assert_array_equal(again.log_probabilities(x), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(trees)).log_probabilities(x), expected)


def test_trees_without_words_are_refused():
    classifier, _ = _trained(rounds=1, leaves=70)
    with pytest.raises(InputError, match="64 leaves at most, got 70 leaves"):
        Trees.of(classifier)
