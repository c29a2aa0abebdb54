"""Other ways to combine the same trained members: each error follows from what the finished run has."""

from __future__ import annotations

import folders
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import hisigma_zfit as hz
from hisigma_zfit.density import training
from hisigma_zfit.measurement import load_model
from hisigma_zfit.measurement.stored import load_results

OPTIONS = folders.MEASURE


@pytest.fixture
def again(finished_run, tmp_path, monkeypatch):
    """Measure the same files with the trained members of `finished_run` and other options; draws no figures."""
    flows = {c.name: c.pdf.flow for c in load_model(finished_run.out).components}
    files = {name: finished_run.inputs / f"{name}.root" for name in ("data", "signal")}
    monkeypatch.setattr(training, "train_flow", lambda *_, name, **__: flows[name])
    monkeypatch.setattr("hisigma_zfit.report.figures.measurement_figures", lambda *results, **more: {})
    return lambda **options: hz.measure(out=tmp_path / "out", **files, **OPTIONS | options)


@pytest.mark.slow
def test_the_training_is_a_nuisance(measured, again, tmp_path):
    """The same trained densities: their spread is added in quadrature, and every answer knows of it."""
    with_nuisance = again(combine="nuisance")
    spread = np.std([member.value for member in with_nuisance.members], ddof=1)
    assert with_nuisance.training_error == pytest.approx(spread)
    assert with_nuisance.value == pytest.approx(measured.nominal.value, rel=1e-4)
    assert with_nuisance.stat_only.error == pytest.approx(measured.stat_only.error, rel=1e-3)
    assert with_nuisance.error == pytest.approx(np.hypot(measured.nominal.error, spread), rel=0.01)
    assert with_nuisance.significance.z < measured.nominal.z
    assert with_nuisance.parameters["training"].error == pytest.approx(1.0, abs=1e-3)
    # the figure has the profile without nuisances beside it, which is steeper, and those of the bootstraps
    scan = load_results(tmp_path / "out").scan
    away = np.abs(scan.values - with_nuisance.value) > with_nuisance.error
    assert (scan.statistical > 1.005 * scan.combined)[away].all()
    assert scan.members.shape == (2, scan.values.size)
    # the fit of the mass alone has learned nothing
    assert with_nuisance.mass_only.error == pytest.approx(measured.mass_only.error, rel=1e-6)


@pytest.mark.slow
def test_fitted_weights_are_a_way_to_combine(measured, again):
    weighted = again(combine="weights")
    assert weighted.options["combine"] == "weights"
    # the same trained members: what one fit gives differs by the weights alone, far less than the error
    for name in ("value", "error", "z"):
        assert getattr(weighted.nominal, name) == pytest.approx(getattr(measured.nominal, name), rel=1e-4)
    assert abs(weighted.value - measured.stat_only.value) < 0.5 * measured.error
    assert weighted.error == pytest.approx(measured.stat_only.error, rel=0.1)


@pytest.mark.slow
def test_a_penalty_chooses_the_member_and_luminosity_widens_its_interval(measured, stored, again):
    """The nuisance is known from its constraint alone, so that the profile follows from the member's without it."""
    kappa = 1.25
    varied = again(combine="discrete", penalties=[1000.0, 0.0], yield_systematic={"lumi": kappa})
    assert varied.parameters["lumi"].value == pytest.approx(0.0, abs=1e-3)
    assert varied.parameters["lumi"].error == pytest.approx(1.0, rel=0.01)
    member = CubicSpline(stored.scan.values, stored.scan.members[1])
    nu = np.linspace(-3.0, 3.0, 2001)

    def t(n):
        seen = n * kappa**nu
        inside = (seen > stored.scan.values[0]) & (seen < stored.scan.values[-1])
        return np.min(member(seen[inside]) + nu[inside] ** 2)

    for edge in varied.interval_68:
        assert t(edge) == pytest.approx(1.0, abs=0.01)
    alone = measured.members[1]
    assert varied.error > 1.2 * alone.error
    assert varied.value == pytest.approx(alone.value, rel=1e-3)
    assert varied.stat_only.error == pytest.approx(measured.stat_only.error, rel=1e-3)  # luminosity held
    assert varied.nominal.error > 1.2 * varied.stat_only.error
    assert varied.nominal.value == varied.stat_only.value
    assert varied.parameters["n_sig"].error > 1.2 * varied.stat_only.error
    # whether there is a signal does not depend on how many events it should have
    assert varied.significance.z == pytest.approx(alone.z, rel=1e-3)
    assert not {"yield_systematic", "penalties"} & set(measured.options)
    assert varied.options["yield_systematic"] == {"lumi": kappa}
    assert varied.options["penalties"] == [1000.0, 0.0]
