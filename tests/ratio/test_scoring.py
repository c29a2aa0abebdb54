"""Posterior and calibration together, for simulation and data."""

import subprocess
import sys

import numpy as np
import pytest
from gaussian_processes import SIZES, rows

from hisigma_zfit.files import write_npz
from hisigma_zfit.ratio.calibration import calibrate, refine
from hisigma_zfit.ratio.posterior import Boosting, data_folds, train_posterior
from hisigma_zfit.ratio.scoring import Scorer


@pytest.fixture(scope="module")
def samples():
    return rows(n=4000)


@pytest.fixture(scope="module")
def scorer(samples):
    posterior = train_posterior(samples, seed=1, boosting=Boosting(rounds=20))
    scores, weights = [posterior.scores(s.x, s.fold) for s in samples], [s.weights for s in samples]
    first = calibrate(scores, weights)
    regions = [np.where(first.apply(g)[:, 0] > 0.05, 0, -1) for g in scores]
    return Scorer(posterior, refine(first, scores, weights, regions))


def test_sums_over_simulated_rows_are_the_sizes(scorer, samples):
    weights = np.concatenate([s.weights for s in samples])
    shares = np.concatenate([scorer.scores(s.x, s.fold) for s in samples])
    np.testing.assert_allclose(weights @ shares, list(SIZES.values()), rtol=1e-9)
    region = np.where(shares[:, 0] > 0.05, 0, -1)
    x, fold = (np.concatenate([getattr(s, name) for s in samples]) for name in ("x", "fold"))
    within = scorer.within(shares, region)
    np.testing.assert_array_equal(scorer.scores(x, fold, region), within)
    inside = region == 0
    process = np.repeat(np.arange(3), [len(s.x) for s in samples])
    true = np.bincount(process[inside], weights[inside])
    np.testing.assert_allclose(weights[inside] @ within[inside], true, rtol=1e-9)


@pytest.mark.statistical
def test_data_have_the_scores_of_simulation(scorer, samples):
    """Each event scored by one fold's model.  False alarms: 2e-6, three sums within 5 standard deviations."""
    fresh = rows(n=20_000, seed=11)
    for k, (s, data) in enumerate(zip(samples, fresh, strict=True)):
        fold = data_folds("5eed", np.arange(len(data.x)) + k * 10**6, folds=2, seed=1)
        # squares of the signal's share weigh the tail, in which a mean of models would lack background
        simulated, error = _sum(s.weights, scorer.scores(s.x, s.fold) ** 2)
        found, own_error = _sum(data.weights, scorer.scores(data.x, fold) ** 2)
        assert abs(found - simulated) < 5.0 * np.hypot(error, own_error)


def _sum(weights, values):
    """Weighted sum of the first column, and its error."""
    return weights @ values[:, 0], np.sqrt(weights**2 @ values[:, 0] ** 2)


def test_storage_keeps_every_bit(scorer, samples, tmp_path):
    write_npz(tmp_path / "scorer.npz", scorer.arrays())
    with np.load(tmp_path / "scorer.npz", allow_pickle=False) as stored:
        again = Scorer.from_arrays(dict(stored))
    region = np.arange(len(samples[0].x)) % 2 - 1
    first, second = (s.scores(samples[0].x, samples[0].fold, region) for s in (scorer, again))
    np.testing.assert_array_equal(first, second)


def test_scoring_loads_no_tensorflow():
    code = "import sys, hisigma_zfit.ratio.scoring; sys.exit('tensorflow' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
