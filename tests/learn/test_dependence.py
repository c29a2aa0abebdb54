"""Features that are functions of others are named before anything is trained; correlated ones are left alone.

The width that is tested is a held-out error, which no fluctuation makes small: false alarms have no rate worth stating.
"""

from __future__ import annotations

import numpy as np
import pytest
import truth

from hisigma_zfit.data import Dataset
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.dependence import MIN_EVENTS, NARROW, narrowest, require_independent


@pytest.fixture(scope="module")
def columns():
    return truth.BACKGROUND.columns(8000, seed=21, region="sidebands")


def found(columns, **more):
    every = columns | more
    return narrowest(np.stack(list(every.values()), axis=1), tuple(every))


RELATIONS = {
    "copy": (lambda c, rng: c["b"] + 0.005 * c["b"].std() * rng.normal(size=len(c["b"])), {"copy", "b"}),
    "ratio": (lambda c, rng: c["b"] / c["c"], {"ratio", "b", "c"}),
    "edge": (lambda c, rng: c["c"] - 2 * np.arctan2(30.0, c["b"]), {"edge", "b", "c"}),
    "mass scaled": (lambda c, rng: c["d"] * c["m"], {"mass scaled", "d", "m"}),
    "mass": (lambda c, rng: 250 / c["m"] ** 2, {"mass", "m"}),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_functions_of_one_or_two_others_are_named(columns, name):
    function, involved = RELATIONS[name]
    dependence = found(columns, **{name: function(columns, np.random.default_rng(1))})
    assert dependence.width < NARROW
    assert {dependence.name, *dependence.others} == involved


def test_functions_of_many_are_found(columns):
    total = columns["a"] + columns["c"] / 4 + columns["d"] / 3 + columns["b"] / 100
    dependence = found(columns, total=total)
    assert dependence.width < NARROW
    assert len(dependence.others) == 5


def test_correlated_features_are_left_alone(columns):
    rng = np.random.default_rng(2)
    assert found(columns).width > 0.3
    for share in (0.15, 0.3):  # correlations of 0.99 and 0.96
        close = columns["b"] + share * columns["b"].std() * rng.normal(size=len(columns["b"]))
        assert 0.8 * share < found(columns, close=close).width
        assert found(columns, close=close).width > NARROW


def test_close_relations_are_warned_of(caplog):
    """Between a function and a correlation: 10 % of its spread is left."""
    rng = np.random.default_rng(3)
    a, m = rng.normal(size=(2, 6000))
    for share, warned in ((0.1, True), (0.3, False)):
        caplog.clear()
        close = a + share * rng.normal(size=len(a))
        require_independent(np.stack([a, close], axis=1), m, ("a", "close"), "m")
        assert bool(caplog.records) is warned
        if warned:
            assert "nearly functions of each other" in caplog.text
            assert "close" in caplog.text


def test_few_events_and_lone_columns_are_not_judged(columns):
    a = columns["a"][:, None]
    assert narrowest(a, ("a",)) is None
    assert narrowest(np.hstack([a, a])[: MIN_EVENTS - 1], ("a", "copy")) is None
    assert narrowest(np.hstack([a, a])[:MIN_EVENTS], ("a", "copy")).width < NARROW


def test_training_refuses_before_it_starts(columns):
    data = Dataset.from_arrays(columns | {"ratio": columns["b"] / columns["c"]})
    begun = []
    message = r"features that are no functions of each other and of m, got \w+, which \w+ and \w+ predict to"
    with pytest.raises(InputError, match=message) as refused:
        train_flow(data, ("a", "b", "c", "ratio"), given="m", seed=1, progress=lambda done, total: begun.append(done))
    assert "leave one of them out" in str(refused.value)
    assert not begun
