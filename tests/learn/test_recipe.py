"""What tells a checkpoint that the recipe has changed meanwhile."""

from __future__ import annotations

import pytest

from hisigma_zfit.density.tfp_flows import maf
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.learn.recipe import recipe


@pytest.mark.parametrize(
    "constant",
    [
        "learn.optimiser.CLIP",
        "learn.optimiser.AVERAGING",
        "learn.optimiser.BETA_1",
        "learn.optimiser.BETA_2",
        "learn.optimiser.EPSILON",
        "learn.schedule.WARM_UP",
        "learn.resampling.HELD_OUT",
        "learn.preprocess.GRID",
        "learn.rational_quadratic.MIN_BIN",
        "density.cube.EDGE",
        "density.warped.BOUND",
        "learn.recipe.__version__",
    ],
)
def test_a_constant_that_changes_changes_the_recipe(monkeypatch, constant):
    before = recipe(spline_flow())
    assert recipe(spline_flow()) == before
    monkeypatch.setattr(f"hisigma_zfit.{constant}", "9.9" if constant.endswith("__") else 9)
    after = recipe(spline_flow())
    assert after.keys() == before.keys()
    assert sum(after[name] != before[name] for name in after) == 1


def test_a_net_has_constants_of_its_own_module():
    names = recipe(maf()).keys() ^ recipe(spline_flow()).keys()
    assert {name.split(".")[2] for name in names} == {"tfp_flows", "cube", "warped"}
