"""Crossings for all parameters at once are those of conditional fits, and cost a few evaluations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ratio_toy import Toy

from hisigma_zfit.fitting import profiler
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.quick_crossings import quick_crossing
from hisigma_zfit.likelihood.ratio import RatioLikelihood


class Counted:
    """A likelihood that counts."""

    def __init__(self, likelihood):
        self.likelihood, self.calls = likelihood, 0

    def evaluate(self, theta):
        self.calls += 1
        return self.likelihood.evaluate(theta)


def draw(smearing, seed=1):
    return Toy().likelihood(Toy().draw(np.array([1.0, 0.3, smearing, -0.5]), np.random.default_rng(seed)))


@pytest.mark.parametrize("level", [1.0, 3.84])
@pytest.mark.parametrize(
    ("smearing", "name"),
    [(0.2, "mu"), (-3.0, "mu"), (0.2, "scale"), (0.2, "smearing")],
    ids=["nuisances inside", "smearing near zero", "a scale", "no parabola"],
)
def test_it_is_where_conditional_fits_have_it(monkeypatch, smearing, name, level):
    likelihood = draw(smearing)
    quick = Profiler(likelihood, name, quick=True)
    evaluator = Counted(likelihood)
    quick.evaluator = evaluator
    found = quick.interval(level)
    assert evaluator.calls < 14
    monkeypatch.setattr(profiler, "quick_crossing", lambda *_, **__: None)
    assert found == pytest.approx(Profiler(likelihood, name, quick=True).interval(level), abs=1e-5 * quick.error)
    assert found == pytest.approx(Profiler(likelihood, name).interval(level), abs=1e-5 * quick.error)


def test_a_parameter_at_its_limit_stays_there():
    """Events narrower than nominal: the smearing is at its lower limit all along."""
    narrow = Toy(width=((0.6, 0.7), (1.0, 0.9)))
    x, counts = narrow.events(np.array([1.0, 0.0, -5.0, 0.0]), np.random.default_rng(2))
    structure = Toy().structure()
    free = replace(structure.shapes[1], constraint=replace(structure.shapes[1].constraint, kind="none"))
    structure = replace(structure, shapes=(structure.shapes[0], free))
    likelihood = RatioLikelihood(structure, Toy().columns(x, counts=counts))
    quick = Profiler(likelihood, "mu", quick=True)
    assert quick.minimum.theta[2] == -5.0
    assert quick.interval(1.0) == pytest.approx(Profiler(likelihood, "mu").interval(1.0), abs=1e-5 * quick.error)
    # which has no crossing below itself
    assert Profiler(likelihood, "smearing", quick=True).interval(1.0)[0] == -5.0


def test_what_is_never_reached_is_left_to_conditional_fits():
    likelihood = draw(0.2)
    own = Profiler(likelihood, "mu", quick=True)
    found = {
        step: quick_crossing(
            likelihood,
            own.minimum.theta + step * np.eye(4)[0],
            own.index,
            [1, 2, 3],
            own.limits,
            target=own.minimum.value + change,
            step=step,
        )
        for step, change in ((0.1, -1.0), (-1e4, 0.5))
    }
    assert found == {0.1: None, -1e4: None}
