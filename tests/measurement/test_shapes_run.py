"""Whole measurements with other shapes, parameters of interest and weights, on trained members that are there."""

from __future__ import annotations

import numpy as np
import pytest
from folders import MEASURE

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.stored import load_results
from hisigma_zfit.measurement.toys import study_toys

pytestmark = pytest.mark.slow


@pytest.fixture
def again(finished_run, tmp_path):
    """The measurement of the finished run with other options, and its own results."""
    files = {"data": finished_run.inputs / "data.root", "signal": finished_run.inputs / "signal.root"}

    def measure(**changes):
        out = tmp_path / "out"
        hz.measure(out=out, reuse=finished_run.out, **files, **(MEASURE | changes))
        return load_results(out), load_results(finished_run.out)

    return measure


def test_an_envelope_of_shapes_goes_through_a_measurement(again):
    found, before = again(falling="exp-quadratic,exponential,bernstein:3", peak="Gauss+CrystalBall")
    what = found.measurement
    assert {f.shape for f in what.falling} == {"exp-quadratic", "exponential", "bernstein:3"}
    assert [f.offset for f in what.falling] == sorted(f.offset for f in what.falling)
    assert len(found.scan.shapes) == len(found.scan.values)
    assert set(found.scan.shapes) <= {f.shape for f in what.falling}
    assert "Falling shapes (discrete profiling)" in found.table()
    # another shape of the same mass moves the answer by less than its error
    assert what.value == pytest.approx(before.measurement.value, abs=before.measurement.error)
    assert abs(np.diff(what.interval_68)) > 0.9 * abs(np.diff(before.measurement.interval_68))


def test_a_strength_is_the_yield_in_other_units(again):
    found, before = again(parameter_of_interest={"kind": "signal_strength", "expected": 40.0})
    new, old = found.measurement, before.measurement
    assert new.poi == "mu"
    for name in ("value", "error", "upper_limit_95"):
        assert 40.0 * getattr(new, name) == pytest.approx(getattr(old, name), rel=2e-4)
    assert new.significance.z == pytest.approx(old.significance.z, abs=1e-4)


def test_blind_runs_know_every_shape(finished_run, tmp_path):
    files = {"data": finished_run.inputs / "data.root", "signal": finished_run.inputs / "signal.root"}
    options = {"blind": True, "falling": "chebyshev:2,laurent:1", "peak": "Gauss"}
    found = hz.measure(out=tmp_path / "out", reuse=None, **files, **(MEASURE | options))
    assert set(found.falling) == {"chebyshev:2", "laurent:1"}
    assert found.region_background.error > 0.0
    three, five = found.expected[1:3]
    assert three.z == pytest.approx(3.0, abs=0.05)
    assert five.interval_68[0] < five.signal < five.interval_68[1]
    # the other shape can make an interval wider only, but for what the best one alone has by its penalty
    assert five.error > 0.95 * five.nominal.error


def test_weights_of_data_scale_the_yield_and_not_its_significance(finished_run, tmp_path):
    files = {"data": finished_run.inputs / "data.root", "signal": finished_run.inputs / "signal.root"}
    plain, weighted = (
        hz.measure(out=tmp_path / name, **files, **(MEASURE | {"data_weight": weight, "falling": "exponential"}))
        for name, weight in (("plain", None), ("weighted", "0.25 + 0 * m"))
    )
    assert weighted.value == pytest.approx(0.25 * plain.value, rel=0.1)
    assert weighted.error == pytest.approx(0.25 * plain.error, rel=0.1)
    assert weighted.significance.z == pytest.approx(plain.significance.z, rel=0.1)
    with pytest.raises(InputError, match="without weights"):
        study_toys(tmp_path / "weighted", n=1)
