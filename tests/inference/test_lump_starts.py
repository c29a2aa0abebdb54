"""Where lumps are looked for, and in which features, in worlds where the background is a normal that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hisigma_zfit.inference.blobs import Points, maximise
from hisigma_zfit.inference.lump_starts import promising, starts

PLACE = np.array([0.3, 2.2, 0.3, 2.2, 0.3])  # of the lump
USELESS = 3


def world(n_signal, *, n=6000, width=0.4):
    """Five coordinates with a lump and three without one, of which two follow others."""
    rng = np.random.default_rng(1)
    useful = np.concatenate([rng.standard_normal((n, 5)), rng.normal(PLACE, width, (n_signal, 5))])
    noise = rng.standard_normal((len(useful), USELESS))
    noise[:, 0] = 0.6 * useful[:, 1] + 0.8 * noise[:, 0]
    noise[:, 1] = 0.6 * useful[:, 0] + 0.8 * noise[:, 1]
    covariance = np.eye(5 + USELESS)
    covariance[5, 1] = covariance[1, 5] = covariance[6, 0] = covariance[0, 6] = 0.6
    y = np.column_stack([useful, noise])
    both = multivariate_normal(np.zeros(8), covariance).logpdf(y), multivariate_normal(np.zeros(5)).logpdf(useful)
    return Points.of(y, both[0]), Points.of(useful, both[1])


@pytest.fixture(scope="module")
def events():
    return world(60)


def searched(points, *, number=200, keep=6):
    found = maximise(points, promising(points, number=number, keep=keep, rng=np.random.default_rng(1)))
    return found.take(np.array([found.best()]))


def test_the_filter_finds_the_lump_and_keeps_its_distance(events):
    """A lump of 1 % among five dimensions, where few random centres would be near it."""
    _, few = events
    found = starts(few, number=400, keep=8, rng=np.random.default_rng(1))
    assert len(found) == 8
    away = np.linalg.norm(np.where(found.mask, found.means - PLACE, 0.0)[:, 0], axis=1)
    assert away[:3].min() < 0.7  # of five dimensions with a width of 0.4 each
    widths = np.array([0.8, 0.5, 0.5, 0.5, 0.5])
    apart = ((found.means[:, None, 0] - found.means[None, :, 0]) / widths) ** 2
    assert apart.sum(axis=2)[~np.eye(8, dtype=bool)].min() > 2.0
    assert found.mask[..., 0].all()
    assert not found.mask.all()


def test_useless_features_are_found_to_be_so(events):
    """The statistic is that of a search without them."""
    every, few = events
    found, without = searched(every), searched(few)
    assert without.gain[0] > 100.0
    assert found.blobs.mask[0, 0].tolist() == [True] * 5 + [False] * USELESS
    assert found.gain[0] == pytest.approx(without.gain[0], rel=0.03)
    np.testing.assert_allclose(found.blobs.means[0, 0, :5], PLACE, atol=0.3)


def test_a_feature_with_a_plain_lump_is_not_left_out(events):
    _, few = events
    assert searched(few).blobs.mask.all()


def test_same_randomness_same_starts(events):
    _, few = events
    first, again = (promising(few, number=60, keep=2, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.means, again.means)
    assert len(first) == 1


def test_few_features_are_all_taken(events):
    _, few = events
    three = Points.of(few.y[:, :4], multivariate_normal(np.zeros(4)).logpdf(few.y[:, :4]))
    assert promising(three, number=50, keep=3, rng=np.random.default_rng(1)).mask.all()
