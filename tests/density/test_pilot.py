"""Coordinates are taken where held-out events agree, and only there."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from hisigma_zfit.density import pilot
from hisigma_zfit.density.pilot import choose_coordinates, compare_coordinates
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge

SMALL = spline_flow(knots=8, bins=0, hidden=8, layers=1)
FEATURES = ("a", "b")
OPTIONS = {"limits": [(-np.inf, np.inf)] * 2, "config": SMALL, "seed": 1}
RATIO = Coordinate("b", Edge.fixed(0.0), Edge("a", 0.0, 1.0))


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(1)
    a = 20 + rng.gamma(2, 16, size=4000)
    return np.stack([a, a * rng.beta(1.6, 1, size=4000)], axis=1), rng.uniform(90, 180, size=4000), np.ones(4000)


def choose(x, m, weights):
    return choose_coordinates(x, m, weights, features=FEATURES, given="m", **OPTIONS)


@pytest.mark.statistical
def test_a_moving_edge_is_divided_out_and_told(events, caplog):
    """The gain is some 0.1 nats with an error of 0.01."""
    with caplog.at_level(logging.INFO, "hisigma_zfit"):
        chosen = choose(*events)
    assert chosen == Coordinates(FEATURES, "m", (RATIO,))
    assert "b as b / a: better by" in caplog.text


def test_a_choice_that_was_made_is_not_made_again(events, tmp_path, monkeypatch):
    options = OPTIONS | {"features": FEATURES, "given": "m", "checkpoint": tmp_path}
    monkeypatch.setattr(pilot, "MAX_EVENTS", 1000)
    first = choose_coordinates(*events, **options)
    assert first.changed
    monkeypatch.setattr(pilot, "compare_coordinates", None)  # cannot be called
    assert choose_coordinates(*events, **options) == first
    with pytest.raises(TypeError):
        choose_coordinates(*events, **options | {"seed": 2})


@pytest.mark.statistical
def test_what_makes_edges_move_is_rejected(events):
    """Undoing the ratio and then offering the other direction: the loss has the size of the gain above."""
    x, m, weights = events
    still = np.stack([x[:, 0], x[:, 1] / x[:, 0]], axis=1)
    moving = Coordinate("b", Edge.fixed(0.0), Edge("a", 1.0, 0.05))
    (comparison,) = compare_coordinates([Coordinates(FEATURES, "m", (moving,))], still, m, weights, **OPTIONS)
    assert comparison.gain < -5 * comparison.error
    assert not comparison.better


def test_the_gain_is_that_of_a_density_of_the_features(events):
    """Changing the scale alone leaves the density of the feature: the Jacobian is in the comparison."""
    x, m, weights = events
    scaled = Coordinate("b", Edge.fixed(0.0), Edge("a", 1e6, 1e-9))
    (comparison,) = compare_coordinates([Coordinates(FEATURES, "m", (scaled,))], x, m, weights, **OPTIONS)
    assert abs(comparison.gain) < 1e-2
    assert not comparison.better


def test_one_of_two_is_taken_where_both_together_are_no_better(events, monkeypatch):
    x, m, weights = events
    both = Coordinates(FEATURES, "m", (RATIO, Coordinate("a", Edge("m", 0.0, 0.1), None)))
    gains = {2: pilot.Comparison(-0.1, 0.01), 1: pilot.Comparison(0.1, 0.01)}
    monkeypatch.setattr(pilot, "find_moving_edges", lambda *_, **__: both)
    compared = []

    def compare(candidates, *_, **__):
        compared.append(len(candidates))
        return [gains[len(candidate.changed)] for candidate in candidates]

    monkeypatch.setattr(pilot, "compare_coordinates", compare)
    assert choose(x, m, weights).changed == (RATIO,)
    assert compared == [1, 2]


def test_without_moving_edges_nothing_is_trained(events, monkeypatch):
    x, m, weights = events
    monkeypatch.setattr(pilot, "train_members", lambda *_, **__: pytest.fail("trained"))
    still = np.stack([x[:, 0], x[:, 1] / x[:, 0]], axis=1)
    assert choose(still, m, weights) == Coordinates(FEATURES, "m")
