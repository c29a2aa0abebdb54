"""Lumps by expectation maximisation against scipy, in worlds where the background is a standard normal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from hisigma_zfit.inference.blobs import NU, PRICE, S0, Blobs, Maximum, Points, completed, maximise

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


def test_no_step_lowers_the_objective(events):
    start = single(5e-3, [0.0, 1.5], 0.25 * np.eye(2))
    values = [maximise(events, start, enough=-1.0, most=steps).objective[0] for steps in range(1, 40)]
    assert np.diff(values).min() > -1e-3  # of float32 sums
    assert values[-1] > values[0] + 10.0


def test_the_maximum_is_that_of_a_plain_minimiser(events):
    begin = Blobs.joined([single(1e-2, mean, 0.25 * np.eye(2)) for mean in ([0.0, 1.5], [0.0, -2.0])])
    found = maximise(events, begin, enough=1e-5)
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


def related(size, *, seed=3):
    """A covariance with correlations of up to about one half."""
    root = np.eye(size) + 0.3 * np.random.default_rng(seed).standard_normal((size, size))
    covariance = root @ root.T
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def half_idle(n_signal=120, n=4000):
    """Five coordinates, a lump in the first three, the others as the background is given those."""
    rng = np.random.default_rng(4)
    overall = related(5)
    y = rng.multivariate_normal(np.zeros(5), overall, size=n)
    lump = rng.normal([0.3, 1.8, -1.5], WIDTH, (n_signal, 3))
    slopes = overall[3:, :3] @ np.linalg.inv(overall[:3, :3])
    rest = rng.multivariate_normal(np.zeros(2), overall[3:, 3:] - slopes @ overall[:3, 3:], size=n_signal)
    y = np.concatenate([y, np.column_stack([lump, lump @ slopes.T + rest])])
    return y, overall


def test_an_idle_coordinate_does_not_change_the_ratio():
    """Of the densities of lump and background, by the marginal densities of scipy."""
    y, overall = half_idle()
    events = Points.of(y, multivariate_normal(np.zeros(5), overall).logpdf(y))
    active = np.array([True, False, True, False, True])
    own = np.array([0.5, 9.0, -1.0, 9.0, 1.0])  # what is said of idle coordinates does not count
    mean, covariance = completed(events, own, 0.3 * np.eye(5), active)
    center, spread = y.mean(axis=0), np.cov(y.T)
    ratio = multivariate_normal(mean, covariance).logpdf(y) - multivariate_normal(center, spread).logpdf(y)
    lump = multivariate_normal(own[active], 0.3 * np.eye(3)).logpdf(y[:, active])
    expected = lump - multivariate_normal(center[active], spread[np.ix_(active, active)]).logpdf(y[:, active])
    np.testing.assert_allclose(ratio, expected, atol=1e-8)


def test_useless_features_that_are_idle_cost_nothing():
    """The same statistic, share and lump as without them, but for the events' own mean and covariance."""
    y, overall = half_idle()
    active = np.array([True, True, True, False, False])
    every = Points.of(y, multivariate_normal(np.zeros(5), overall).logpdf(y))
    few = Points.of(y[:, :3], multivariate_normal(np.zeros(3), overall[:3, :3]).logpdf(y[:, :3]))
    mean, covariance = completed(every, np.array([0.0, 1.5, -1.2, 0.0, 0.0]), 0.25 * np.eye(5), active)
    start = replace(single(0.01, mean, covariance), active=active[None, None])
    idle = maximise(every, start, enough=1e-4)
    without = maximise(few, single(0.01, [0.0, 1.5, -1.2], 0.25 * np.eye(3)), enough=1e-4)
    assert idle.gain[0] > 50.0
    assert idle.gain[0] == pytest.approx(without.gain[0], rel=0.02)
    assert idle.blobs.total[0] == pytest.approx(without.blobs.total[0], rel=0.03)
    np.testing.assert_allclose(idle.blobs.means[0, 0, :3], without.blobs.means[0, 0], atol=0.02)
    values = [maximise(every, start, enough=-1.0, most=steps).objective[0] for steps in range(1, 12)]
    assert np.diff(values).min() > -1e-3  # of float32 sums


def test_the_prior_counts_parameters_and_choices():
    """Five coordinates and two active features: 1 + 3 + 6 parameters of 1 + 5 + 15, and six pairs among four."""
    own = np.diag([0.2, 0.3, 0.4, 1.0, 1.0])
    active = np.array([[[True, True, True, False, False]]])
    few = single(0.01, np.zeros(5), own)
    inner = -0.5 * NU * (S0**2 * (1 / 0.2 + 1 / 0.3 + 1 / 0.4) + np.log(0.2 * 0.3 * 0.4))
    mode = -0.5 * NU * 2 * (1.0 + np.log(S0**2))
    expected = inner + mode + PRICE * (21 - 10) - np.log(6)
    assert replace(few, active=active).log_prior[0] == pytest.approx(expected)


@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_the_statistic_of_nothing_is_zero(features):
    """No events in a lump at the prior's mode that is idle in every feature, however many these are."""
    size = features + 1
    active = np.arange(size)[None, None] == 0
    nothing = replace(single(0.0, np.zeros(size), S0**2 * np.eye(size)), active=active)
    at = Maximum(nothing, np.zeros(1), nothing.log_prior, np.zeros(1, int))
    assert at.statistic[0] == pytest.approx(0.0, abs=1e-9)
    found = Maximum(nothing, np.array([40.0]), nothing.log_prior + 20.0, np.zeros(1, int))
    assert found.statistic[0] == pytest.approx(40.0)
    assert np.isfinite(Maximum(nothing, np.zeros(1), np.array([-np.inf]), np.zeros(1, int)).statistic[0])


def test_events_far_away_need_not_be_looked_at(events):
    start = single(0.02, PLACE, 0.2 * np.eye(2))
    found = maximise(events, start, enough=1e-5)
    near = found.blobs.log_ratio(events)[:, 0] + np.log(found.blobs.total[0]) > np.log(1e-4)
    assert near.mean() < 0.5
    again = maximise(events.near(near), start, outside=int((~near).sum()), enough=1e-5)
    assert again.gain[0] == pytest.approx(found.gain[0], abs=0.05)
    assert again.blobs.total[0] == pytest.approx(found.blobs.total[0], rel=5e-3)


def test_an_empty_lump_is_none(events):
    """Held at a fifth of an event, where a start of the search would have dissolved."""
    found = maximise(events, single(1e-4, [0.0, -1.0], 0.3 * np.eye(2)), share=np.array([1e-4]))
    assert found.objective[0] == -np.inf
