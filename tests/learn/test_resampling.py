"""Which events a training sees, and how often: by their identity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from hisigma_zfit.data import Dataset
from hisigma_zfit.learn import resampling
from hisigma_zfit.learn.resampling import (
    bootstrap_weights,
    event_order,
    held_out_events,
    held_out_mask,
    validation_mask,
)

N = 30_000
NOMINAL = Dataset.from_arrays({"row": np.arange(float(N))})


@pytest.fixture
def varied():
    """30 of the 30,000 events have gone, and the others stand in another order."""
    rng = np.random.default_rng(1)
    kept = rng.permutation(N)[30:]
    return Dataset.from_arrays({"row": NOMINAL["row"][kept]}, identity=kept)


@pytest.mark.parametrize("bootstrap", [0, 3])
def test_shared_events_have_the_same_weights(varied, bootstrap):
    nominal = bootstrap_weights(5, bootstrap, NOMINAL.identity)
    np.testing.assert_array_equal(bootstrap_weights(5, bootstrap, varied.identity), nominal[varied.identity])


@pytest.mark.parametrize("n_validated", [100, 20_000])
def test_shared_events_are_held_out_alike(varied, monkeypatch, n_validated):
    held_out, of_varied = (set(held_out_events(data, seed=5)["row"]) for data in (NOMINAL, varied))
    assert of_varied == held_out & set(varied["row"])
    assert of_varied == set(varied["row"][held_out_mask(varied.identity, seed=5)])
    monkeypatch.setattr(resampling, "MAX_VALIDATED", n_validated)
    mask = validation_mask(NOMINAL.identity, seed=5)
    assert mask.sum() == min(n_validated, len(held_out))
    assert set(NOMINAL["row"][mask]) <= held_out


def test_shared_events_follow_each_other_alike(varied):
    order = event_order(NOMINAL.identity, 2, seed=5, bootstrap=1)
    np.testing.assert_array_equal(np.sort(order), np.arange(N))
    ours = NOMINAL.identity[order]
    theirs = varied.identity[event_order(varied.identity, 2, seed=5, bootstrap=1)]
    np.testing.assert_array_equal(theirs, ours[np.isin(ours, varied.identity)])
    for other in ({"seed": 6, "bootstrap": 1}, {"seed": 5, "bootstrap": 0}):
        assert (event_order(NOMINAL.identity, 2, **other) != order).mean() > 0.99
    assert (event_order(NOMINAL.identity, 3, seed=5, bootstrap=1) != order).mean() > 0.99


@pytest.mark.statistical
def test_bootstrap_weights_are_poisson_and_independent():
    n = 50_000
    first, second = (bootstrap_weights(3, b, np.arange(n)) for b in range(2))
    counts = np.bincount(first, minlength=6)[:6]
    expected = n * poisson.pmf(np.arange(6), 1.0)
    assert np.abs((counts - expected) / np.sqrt(expected)).max() < 5.5  # 6 bins at 5.5 sigma: 2e-7
    assert abs(np.corrcoef(first, second)[0, 1]) < 5.5 / np.sqrt(n)
    assert abs(first.mean() - 1.0) < 5.5 / np.sqrt(n)
    assert abs(np.corrcoef(first, held_out_mask(np.arange(n), seed=3))[0, 1]) < 5.5 / np.sqrt(n)
    assert (bootstrap_weights(4, 0, np.arange(n)) != first).any()


@pytest.mark.statistical
def test_a_twentieth_is_held_out():
    n = held_out_mask(np.arange(N), seed=2).sum()
    assert abs(n - 0.05 * N) < 5.5 * np.sqrt(0.05 * 0.95 * N)  # false alarm 4e-8


def test_few_events_keep_one_for_validation():
    for n in range(1, 30):
        for seed in range(5):
            assert held_out_mask(np.arange(n), seed=seed).any()
    assert held_out_mask(np.arange(0), seed=1).shape == (0,)


def test_events_of_no_weight_are_not_held_out():
    weights = np.where(np.arange(N) % 2, 1.0, 0.0)
    data = Dataset.from_arrays(NOMINAL.columns, weights)
    held_out = held_out_events(data, seed=5)
    np.testing.assert_array_equal(held_out["row"], [r for r in held_out_events(NOMINAL, seed=5)["row"] if r % 2])
