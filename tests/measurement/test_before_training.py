"""What is wrong is said before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest
import zfit

from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.densities import require_learnable, warn_of_signal_beside
from hisigma_zfit.measurement.inputs import Inputs, Sample
from hisigma_zfit.measurement.options import MeasureOptions


def inputs(masses, weights=None, *, second=None):
    rng = np.random.default_rng(1)

    def sample(m, weights=None, second=None):
        x = rng.normal(size=(2, len(m)))
        columns = {"m": m, "x": x[0], "y": x[1] if second is None else second(x[0])}
        return Sample(Dataset.from_arrays(columns, weights), {})

    sidebands = sample(np.concatenate([rng.uniform(100, 118, 1000), rng.uniform(132, 150, 1000)]))
    signal = sample(np.asarray(masses), weights, second)
    mass, region = zfit.Space("m", 100, 150), SignalRegion(118, 132)
    return Inputs(mass, region, ("x", "y"), sidebands.events, sidebands, signal, {})


def test_signal_in_the_sidebands_is_counted_by_weight(caplog):
    masses = np.repeat([117.0, 125.0, 132.0], [200, 600, 100])  # the region is half-open: 132 is outside
    assert warn_of_signal_beside(inputs(masses)) == pytest.approx(1.0 / 3.0)
    assert "33 % of the simulated signal lie in the sidebands of [118, 132)" in caplog.text
    caplog.clear()
    weights = np.repeat([0.03, 1.0, 0.06], [200, 600, 100])
    assert warn_of_signal_beside(inputs(masses, weights)) == pytest.approx(12.0 / 612.0)
    assert not caplog.text


def test_a_feature_of_the_signal_that_follows_another_is_refused_before_the_background_is_trained():
    masses = np.random.default_rng(2).normal(125.0, 2.0, 900)
    require_learnable(inputs(masses))
    with pytest.raises(InputError, match=r"^signal: expected features that are no functions of each other"):
        require_learnable(inputs(masses, second=lambda x: x**3))


@pytest.mark.parametrize(
    "option", [{"penalties": (float("nan"), 1.0), "combine": "discrete"}, {"range": (90.0, np.inf)}]
)
def test_numbers_that_are_none_are_refused_with_the_options(option):
    files = {"data": "d.root", "signal": "s.root", "features": "x,y", "mass": "m"}
    own = {"range": (90, 180), "signal_region": (115, 135), "bootstraps": 2} | option
    with pytest.raises(InputError, match="finite number"):
        MeasureOptions.load(None, **files, **own)
