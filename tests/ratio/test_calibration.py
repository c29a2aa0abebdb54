"""Calibrated shares: sums, the chain, recovery of a distortion, regions, replicas, storage."""

import numpy as np
import pytest
from gaussian_processes import MEANS, SIZES, exact, rows
from scipy.special import expit, logit
from scipy.stats import chi2

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.ratio.calibration import Calibration, calibrate, distinctness, refine
from hisigma_zfit.statistics.posteriors import calibration_curve, posterior_quality

NAMES = tuple(MEANS)
KIND = {"kind": "boosting", "folds": 2}


@pytest.fixture(scope="module")
def simulated():
    """Distorted shares and weights of 20,000 rows a process."""
    samples = rows(n=20_000, seed=3)
    return [_distorted(exact(s.x)) for s in samples], [s.weights for s in samples], [exact(s.x) for s in samples]


def _distorted(g):
    """Shares of a classifier that is too sure of the signal, and mixes up the others a little."""
    signal = expit(1.3 * logit(g[:, 0]) + 0.4)
    others = g[:, 1:] ** 0.8
    others *= ((1.0 - signal) / others.sum(axis=1))[:, None]
    return np.column_stack([signal, others])


def _sums(shares, weights):
    return np.concatenate(weights) @ np.concatenate(shares)


def test_shares_sum_to_one_and_their_sums_are_the_sizes(simulated):
    g, weights, _ = simulated
    calibration = calibrate(g, weights)
    shares = [calibration.apply(own) for own in g]
    for own in shares:
        np.testing.assert_allclose(own.sum(axis=1), 1.0, rtol=1e-13)
        assert own.min() >= 0.0
    assert np.abs(_sums(g, weights) / list(SIZES.values()) - 1.0).max() > 0.05
    np.testing.assert_allclose(_sums(shares, weights), list(SIZES.values()), rtol=1e-9)


def test_a_smooth_distortion_is_undone(simulated):
    g, weights, truth = simulated
    calibration = calibrate(g, weights)
    before, after = (
        np.average(np.abs(np.concatenate(shares) - np.concatenate(truth)), axis=0, weights=np.concatenate(weights))
        for shares in (g, [calibration.apply(own) for own in g])
    )
    assert (after < [0.2 * before[0], 0.5 * before[1], 0.5 * before[2]]).all()


@pytest.mark.statistical
def test_fresh_rows_have_the_shares_that_are_predicted(simulated):
    """False alarms: 3e-6, three p-values below 1e-6; the error of the calibration itself is half that of these rows."""
    g, weights, _ = simulated
    calibration = calibrate(g, weights)
    fresh = rows(n=4000, seed=8)
    shares = [calibration.apply(_distorted(exact(s.x))) for s in fresh]
    quality = posterior_quality(NAMES, shares, [s.weights for s in fresh], [s.event for s in fresh], **KIND)
    raw = posterior_quality(NAMES, [_distorted(exact(s.x)) for s in fresh], [s.weights for s in fresh], **KIND)
    assert all(chi2.sf(curve.chi2, curve.ndf) > 1e-6 for curve in quality.calibration), str(quality)
    assert chi2.sf(raw.calibration[0].chi2, raw.calibration[0].ndf) < 1e-6
    assert quality.cross_entropy < raw.cross_entropy


def test_sums_are_right_inside_of_regions_too(simulated):
    g, weights, _ = simulated
    first = calibrate(g, weights)
    regions = [np.where(first.apply(own)[:, 0] > 0.05, 0, -1) for own in g]
    calibration = refine(first, g, weights, regions)
    shares = [calibration.apply(own, r) for own, r in zip(g, regions, strict=True)]
    inside = [own[r == 0] for own, r in zip(shares, regions, strict=True)]
    wanted = [w[r == 0].sum() for w, r in zip(weights, regions, strict=True)]
    np.testing.assert_allclose(
        _sums(inside, [w[r == 0] for w, r in zip(weights, regions, strict=True)]), wanted, rtol=1e-9
    )
    np.testing.assert_allclose(np.concatenate(shares).sum(axis=1), 1.0, rtol=1e-13)
    outside = regions[0] < 0
    np.testing.assert_array_equal(shares[0][outside], first.apply(g[0])[outside])
    np.testing.assert_array_equal(calibration.within(first.apply(g[0]), regions[0]), shares[0])


def test_the_order_of_rows_changes_nothing(simulated):
    g, weights, _ = simulated
    order = np.random.default_rng(4).permutation(len(weights[0]))
    permuted = calibrate([own[order] for own in g], [w[order] for w in weights])
    np.testing.assert_allclose(permuted.apply(g[0]), calibrate(g, weights).apply(g[0]), rtol=1e-9)


def test_weights_of_a_replica_count_as_copies(simulated):
    g, weights, _ = simulated
    rng = np.random.default_rng(4)
    draws = [rng.poisson(1.0, len(w)) for w in weights]
    weighted = calibrate(g, [w * n for w, n in zip(weights, draws, strict=True)])
    copied = calibrate(*([np.repeat(a, n, axis=0) for a, n in zip(kind, draws, strict=True)] for kind in (g, weights)))
    # equal but for what is known beforehand, which counts rows; another replica differs by five times as much
    np.testing.assert_allclose(weighted.apply(g[0]), copied.apply(g[0]), atol=5e-3)


def test_the_largest_background_is_the_last_of_the_chain(simulated):
    g, weights, _ = simulated
    assert distinctness(g, weights, first=(0,)) == (0, 1, 2)
    assert distinctness(g[:2], weights[:2], first=(0, 1)) == (0, 1)
    calibration = calibrate(g, weights, order=(1, 0, 2))
    assert calibration.everywhere.order.tolist() == [1, 0, 2]


def test_one_process_alone_in_a_range_of_scores_stays_finite():
    score = np.linspace(0.001, 0.999, 400)
    g = np.column_stack([score, 1.0 - score])
    weights = [np.ones(200), np.ones(200)]
    calibration = calibrate([g[200:], g[:200]], weights)
    shares = calibration.apply(g)
    assert np.isfinite(shares).all()
    assert shares[-1, 0] > 0.98
    np.testing.assert_allclose(shares.sum(axis=0), 200.0, rtol=1e-6)


def test_storage_keeps_every_bit(simulated, tmp_path):
    g, weights, _ = simulated
    regions = [np.zeros(len(w), dtype=np.int64) for w in weights]
    calibration = refine(calibrate(g, weights), g, weights, regions, knots=1)
    write_npz(tmp_path / "calibration.npz", calibration.arrays())
    with np.load(tmp_path / "calibration.npz", allow_pickle=False) as stored:
        again = Calibration.from_arrays(dict(stored))
    np.testing.assert_array_equal(again.apply(g[1], regions[1]), calibration.apply(g[1], regions[1]))


def test_errors_of_a_curve_know_that_rows_of_an_event_move_together():
    rng = np.random.default_rng(6)
    share = np.repeat(rng.uniform(0.2, 0.8, 500), 4)
    own = np.repeat(rng.uniform(size=500) < share[::4], 4)
    event = np.repeat(np.arange(500), 4)
    alone = calibration_curve("signal", share, own, np.ones(2000), bins=5)
    together = calibration_curve("signal", share, own, np.ones(2000), event, bins=5)
    np.testing.assert_allclose(together.error, 2.0 * alone.error, rtol=0.05)
    np.testing.assert_allclose(together.chi2, alone.chi2 / 4.0, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g, w: (g, [*w[:2], w[2][:-1]], None), "expected scores of shapes"),
        (lambda g, w: (g, w, (0, 1, 1)), "an order of the processes 0 to 2"),
        (lambda g, w: (g, [*w[:2], 0 * w[2]], None), "a positive sum"),
        (lambda g, w: (g, [*w[:2], -w[2]], None), "absolute values"),
    ],
)
def test_bad_input(simulated, change, message):
    scores, weights, order = change(*simulated[:2])
    with pytest.raises(InputError, match=message):
        calibrate(scores, weights, order=order)


def test_a_region_without_a_process_is_refused(simulated):
    g, weights, _ = simulated
    regions = [np.zeros(len(w), dtype=np.int64) for w in weights]
    regions[1] -= 1
    with pytest.raises(InputError, match="all processes in unbinned region 0, got none of process 1"):
        refine(calibrate(g, weights), g, weights, regions)
