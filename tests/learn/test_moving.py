"""Coordinates relative to moving edges: round trips, Jacobians against differences, boxes and words.

Exact statements but for rounding: no false alarms.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge, in_order

FEATURES = ("a", "b", "c")
RATIO = Coordinate("b", Edge.fixed(0.0), Edge("a", 0.0, 1.0))
CHAIN = Coordinate("c", Edge.fixed(0.0), Edge("b", 0.0, 1.0))
WITH_MASS = Coordinate("b", Edge("m", -10.0, 0.1, least=-1.0, most=5.0), None)
BETWEEN = Coordinate("c", Edge("a", -2.0, -1.0), Edge("a", 1.0, 2.0, most=4.0))
BELOW = Coordinate("c", None, Edge("b", 0.5, -2.0))
TABLES = {
    "ratio": (RATIO,),
    "chain": (RATIO, CHAIN),
    "mass": (WITH_MASS,),
    "between": (BETWEEN,),
    "several": (WITH_MASS, BELOW),
}


def within(limits, rng, n=500):
    """Numbers inside of limits that may be open on one side."""
    low, high = limits
    if np.isfinite(low) and np.isfinite(high):
        return low + (high - low) * rng.uniform(0.01, 0.99, size=n)
    return low + rng.exponential(size=n) + 0.01 if np.isfinite(low) else high - rng.exponential(size=n) - 0.01


@pytest.mark.parametrize("name", TABLES)
def test_coordinates_invert_and_their_jacobian_is_the_determinant(name):
    coordinates, rng = Coordinates(FEATURES, "m", TABLES[name]), np.random.default_rng(1)
    y = np.stack([within(limits, rng) for limits in coordinates.limits([(0.1, np.inf)] * 3)], axis=1)
    m = rng.uniform(90, 180, size=500)
    x = coordinates.inverse(y, m)
    again, log_jacobian = coordinates.forward(x, m)
    np.testing.assert_allclose(again, y, rtol=1e-9, atol=1e-9)
    step = 1e-6
    derivative = np.stack(
        [
            (coordinates.forward(x + step * unit, m)[0] - coordinates.forward(x - step * unit, m)[0]) / (2 * step)
            for unit in np.eye(3)
        ],
        axis=2,
    )
    np.testing.assert_allclose(np.log(np.abs(np.linalg.det(derivative))), log_jacobian, atol=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_coordinates_survive_json(name):
    coordinates = Coordinates(FEATURES, "m", TABLES[name])
    assert Coordinates.from_json(json.loads(json.dumps(coordinates.to_json(), allow_nan=False))) == coordinates


def test_samples_stay_within_their_edges():
    rng = np.random.default_rng(2)
    y = np.stack([20 + rng.exponential(size=5000), rng.integers(0, 2, size=5000), rng.random(5000)], axis=1)
    coordinates = Coordinates(FEATURES, "m", (RATIO, CHAIN))
    again, log_jacobian = coordinates.forward(coordinates.inverse(y, y[:, 0]), y[:, 0])
    inside = np.isfinite(log_jacobian)
    # where b is zero, c has no room
    np.testing.assert_array_equal(inside, y[:, 1] > 0)
    assert again[inside].min() >= 0
    assert again[inside, 1:].max() <= 1


def test_beyond_meeting_edges_there_is_no_density():
    x = np.array([[-1.0, 0.5, 0.0], [1.0, 0.5, 0.0]])
    _, log_jacobian = Coordinates(FEATURES, "m", (RATIO,)).forward(x, np.ones(2))
    np.testing.assert_array_equal(log_jacobian, [-np.inf, 0.0])


def test_boxes_and_limits():
    free = (-np.inf, np.inf)
    coordinates = Coordinates(FEATURES, "m", (RATIO, CHAIN))
    assert coordinates.limits([(20.0, np.inf), free, free]) == [(20.0, np.inf), (0.0, 1.0), (0.0, 1.0)]
    np.testing.assert_array_equal(coordinates.box([(1, 3), (0, 1), (0, 1)]), [[1, 3], [0, 3], [0, 3]])
    follows_mass = Coordinates(FEATURES, "m", (WITH_MASS,))
    np.testing.assert_array_equal(follows_mass.box([(1, 3), (0, np.inf), (0, 1)]), [[1, 3], [-1, np.inf], [0, 1]])
    narrow = Coordinate("b", Edge.fixed(0.0), Edge("a", -2.0, 1.0), room=(2.0, np.inf))
    assert Coordinates(FEATURES, "m", (narrow,)).limits([free, free, free])[0] == (2.0, np.inf)


def test_order_follows_the_edges_and_circles_have_none():
    assert in_order([CHAIN, RATIO]) == (RATIO, CHAIN)
    assert in_order([RATIO, Coordinate("a", Edge("b", 0.0, 1.0), None)]) is None


def test_words():
    assert str(Coordinates(FEATURES, "m", (RATIO, BELOW))) == "b as b / a, c as c - (0.5 - 2 b)"
    assert str(WITH_MASS) == "b as b - [-10 + 0.1 m, at least -1 and most 5]"
    assert str(Coordinate("b", Edge.fixed(1.0), Edge("a", 0.0, 2.0))) == "b as (b - 1) / (2 a - 1)"
    assert str(Coordinates(FEATURES, "m")) == "features as they are"
