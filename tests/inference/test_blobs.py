"""Lumps by expectation maximisation against scipy, in worlds where the background is a standard normal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from hisigma_zfit.inference import blobs
from hisigma_zfit.inference.blobs import NU, S0, Blobs, Points, maximise, starts

PLACE, WIDTH = np.array([0.3, 2.2]), 0.4


def points(n_signal, *, n=2000, size=2, seed=1):
    rng = np.random.default_rng(seed)
    place = np.resize(PLACE, size)
    y = np.concatenate([rng.standard_normal((n, size)), rng.normal(place, WIDTH, (n_signal, size))])
    return Points.of(y, multivariate_normal(np.zeros(size)).logpdf(y))


def single(share, mean, covariance):
    return Blobs(np.array([[share]]), np.array([[mean]], dtype=float), np.array([[covariance]], dtype=float))


@pytest.fixture(scope="module")
def events():
    return points(80)


def objective(events, share, mean, covariance):
    """lambda / 2 with the prior, written down once more."""
    ratio = multivariate_normal(mean, covariance).pdf(events.y) / np.exp(events.log_background)
    precision = np.linalg.inv(covariance)
    prior = -0.5 * NU * (S0**2 * np.trace(precision) + np.linalg.slogdet(covariance)[1])
    return np.log1p(share * (ratio - 1.0)).sum() + prior


def test_log_densities_are_those_of_scipy(events):
    rng = np.random.default_rng(2)
    roots = rng.standard_normal((3, 2, 2, 2)) + 1.5 * np.eye(2)
    own = Blobs(np.full((3, 2), 0.1), rng.standard_normal((3, 2, 2)), roots @ roots.swapaxes(2, 3))
    logs = own.log_densities(events)
    for r, k in np.ndindex(3, 2):
        expected = multivariate_normal(own.means[r, k], own.covariances[r, k]).logpdf(events.y)
        np.testing.assert_allclose(logs[:, r, k], expected, rtol=2e-3, atol=2e-3)  # float32 products


def test_no_step_lowers_the_objective(events, monkeypatch):
    start = single(1e-3, [0.0, 1.5], 0.25 * np.eye(2))
    values = []
    for steps in range(1, 40):
        monkeypatch.setattr(blobs, "MAX_STEPS", steps)
        values.append(maximise(events, start, enough=-1.0).objective[0])
    assert np.diff(values).min() > -1e-3  # of float32 sums
    assert values[-1] > values[0] + 10.0


def test_the_maximum_is_that_of_a_plain_minimiser(events):
    found = maximise(events, starts(events, number=200, keep=3, rng=np.random.default_rng(1)), enough=1e-5)
    k = found.best()
    blob = found.blobs.take(np.array([k]))

    def loss(z):
        root = np.array([[np.exp(z[3]), 0.0], [z[4], np.exp(z[5])]])
        return -objective(events, 1.0 / (1.0 + np.exp(-z[0])), z[1:3], root @ root.T)

    root = np.linalg.cholesky(0.2 * np.eye(2))
    begin = np.array([-3.5, *PLACE, np.log(root[0, 0]), 0.0, np.log(root[1, 1])])
    best = minimize(loss, begin, method="Nelder-Mead", options={"maxiter": 6000, "fatol": 1e-7, "xatol": 1e-6})
    assert found.objective[k] == pytest.approx(-best.fun, abs=0.02)
    assert blob.total[0] == pytest.approx(1.0 / (1.0 + np.exp(-best.x[0])), rel=0.02)
    np.testing.assert_allclose(blob.means[0, 0], best.x[1:3], atol=0.02)
    share, mean, covariance = blob.shares[0, 0], blob.means[0, 0], blob.covariances[0, 0]
    assert found.objective[k] == pytest.approx(objective(events, share, mean, covariance), abs=0.01)


def test_weights_are_repeated_events(events):
    counts = np.random.default_rng(3).poisson(1.0, len(events))
    start = single(0.03, PLACE, 0.2 * np.eye(2))
    column = maximise(events, start, weights=counts[:, None].astype(float), enough=1e-5)
    rows = maximise(events.select(np.repeat(np.arange(len(events)), counts)), start, enough=1e-5)
    assert column.gain[0] == pytest.approx(rows.gain[0], abs=0.02)
    assert column.blobs.total[0] == pytest.approx(rows.blobs.total[0], rel=1e-3)


def test_a_share_can_be_held(events):
    found = maximise(events, single(0.02, PLACE, 0.2 * np.eye(2)), share=np.array([0.05]))
    assert found.blobs.total[0] == pytest.approx(0.05)
    free = maximise(events, single(0.02, PLACE, 0.2 * np.eye(2)))
    assert found.gain[0] < free.gain[0]


def test_two_components_describe_two_lumps():
    rng = np.random.default_rng(5)
    lumps = [rng.normal([place, 0.0], 0.3, (80, 2)) for place in (2.5, -2.5)]
    y = np.concatenate([rng.standard_normal((3000, 2)), *lumps])
    events = Points.of(y, multivariate_normal(np.zeros(2)).logpdf(y))
    covariances = np.broadcast_to(0.25 * np.eye(2), (1, 2, 2, 2))
    both = Blobs(np.full((1, 2), 0.01), np.array([[[2.0, 0.0], [-2.0, 0.0]]]), covariances)
    found = maximise(events, both)
    one = maximise(events, Blobs(both.shares[:, :1], both.means[:, :1], both.covariances[:, :1]))
    assert found.gain[0] > one.gain[0] + 50.0
    right = int(np.argmax(found.blobs.means[0, :, 0]))
    np.testing.assert_allclose(found.blobs.means[0, [1 - right, right], 0], [-2.5, 2.5], atol=0.15)
    sample = found.blobs.sample(4000, np.random.default_rng(1))
    share = found.blobs.shares[0, right] / found.blobs.total[0]
    assert np.mean(sample[:, 0] > 0) == pytest.approx(share, abs=0.04)


def test_the_matched_filter_finds_the_lump_and_keeps_its_distance():
    """A lump of 1 % among five dimensions, where few random centres would be near it."""
    events = points(60, n=6000, size=5)
    found = starts(events, number=400, keep=8, rng=np.random.default_rng(1))
    assert len(found) == 8
    nearest = np.linalg.norm(found.means[:, 0] - np.resize(PLACE, 5), axis=1)
    assert nearest[:3].min() < 0.7  # of five dimensions with a width of 0.4 each
    widths = np.array([0.8, 0.5, 0.5, 0.5, 0.5])
    apart = ((found.means[:, None, 0] - found.means[None, :, 0]) / widths) ** 2
    assert apart.sum(axis=2)[~np.eye(8, dtype=bool)].min() > 2.0
