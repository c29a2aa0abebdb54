"""A measurement from files to the run folder: what the numbers must satisfy."""

from __future__ import annotations

import hashlib
import json

import folders
import numpy as np
import pytest
import truth
from scipy.interpolate import CubicSpline
from scipy.stats import norm

from hisigma_zfit.measurement.options import MeasureOptions

OPTIONS = folders.MEASURE
KEYS = {
    *("schema", "poi", "value", "error", "interval_68", "interval_95", "stat_only", "significance", "upper_limit_95"),
    *("parameters", "mass_only", "n_events", "members", "timings_s", "seed", "inputs", "versions"),
}


def test_result_json_has_every_key_of_the_contract(finished_run):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    raw = json.loads((finished_run.out / "result.json").read_text(), parse_constant=refuse)
    assert set(raw) >= KEYS
    assert raw["schema"] == "hisigma-zfit/measurement/2"
    assert raw["poi"] == "n_sig"
    assert raw["seed"] == 1
    assert set(raw["parameters"]) == {"n_sig", "n_bkg", "p1", "p2"}
    assert all(set(p) == {"value", "error"} for p in raw["parameters"].values())
    assert set(raw["timings_s"]) >= {"read", "train", "score", "fit", "total"}
    assert raw["inputs"] == {
        name: f"sha256:{hashlib.sha256((finished_run.inputs / name).read_bytes()).hexdigest()}"
        for name in ("data.root", "signal.root")
    }
    assert {"python", "hisigma_zfit", "zfit", "tensorflow"} <= set(raw["versions"])
    assert raw["options"]["preset"] == "quick"
    assert set(raw["stat_only"]) == {"value", "error"}
    assert set(raw["mass_only"]) == set(raw["nominal"]) == {"value", "error", "z"}
    assert set(raw["significance"]) == {"poi", "z", "p0", "q0", "weights_corrected"}
    assert set(raw["n_events"]) == {"read", "used", "dropped", "signal_simulation", "sideband_training"}
    # about 130 of 2,500 sideband events are held out
    assert set(raw["closure"]["misfit"]) == (set() if raw["closure"]["too_few"] else {"a", "b"})
    assert set(raw["closure"]["flagged"]) <= {"a", "b"}


def test_the_signal_that_is_there_comes_back(measured):
    """The quick preset learns two easy features well enough; 5 % is what the warning allows."""
    found = measured.signal_response
    assert 0.0 < found.error < 0.15
    assert abs(found.value - 1.0) < max(5.0 * found.error, 0.05)


def test_numbers_are_consistent(measured):
    m = measured
    # wide enough for any defect of the input or the fit to show: 3.3 sigma of a yield of 80 +- 18 are 60
    assert abs(m.value - folders.N_SIGNAL) < 60
    assert 12 < m.error < 30
    assert m.interval_95[0] < m.interval_68[0] < m.value < m.interval_68[1] < m.interval_95[1]
    np.testing.assert_allclose(m.error, 0.5 * (m.interval_68[1] - m.interval_68[0]))
    assert m.interval_95[1] - 10 < m.upper_limit_95 < m.interval_95[1] + 10
    s = m.significance
    assert 2 < s.z < 12
    np.testing.assert_allclose(s.z, np.sqrt(s.q0))
    np.testing.assert_allclose(s.p0, norm.sf(s.z))
    # a feature more cannot make the error larger, and the nominal fit is the one whose parameters are listed
    assert m.stat_only.error < m.mass_only.error
    # (both minimisations stop within 1e-6 of the minimum of -log L, which is 0.0014 sigma)
    assert m.parameters["n_sig"].value == pytest.approx(m.stat_only.value, abs=2e-3 * m.stat_only.error)
    assert m.parameters["n_sig"].error == pytest.approx(m.stat_only.error, rel=2e-3)
    # an extended fit returns as many events as there are
    total = m.parameters["n_sig"].value + m.parameters["n_bkg"].value
    assert total == pytest.approx(m.n_events.used, abs=2e-3 * np.sqrt(m.n_events.used))
    assert all(seconds >= 0 for seconds in m.timings_s.values())
    assert m.timings_s["total"] >= m.timings_s["train"] + m.timings_s["score"] + m.timings_s["fit"] - 0.1


def test_every_event_is_accounted_for(measured):
    n = measured.n_events
    assert n.read == folders.N_BACKGROUND + folders.N_SIGNAL
    assert n.used == n.read - sum(n.dropped.values())
    assert n.signal_simulation == 2500
    rng_free_count = sum(
        int(np.sum((c["m"] < 115) | (c["m"] >= 135)))
        for c in (
            truth.BACKGROUND.columns(folders.N_BACKGROUND, seed=1),
            truth.SIGNAL.columns(folders.N_SIGNAL, seed=2),
        )
    )
    assert n.sideband_training == rng_free_count


def test_the_envelope_is_that_of_the_members(measured, stored):
    values = np.array([member.value for member in measured.members])
    assert len(values) == 2
    assert values[0] != values[1]  # two bootstraps are two densities
    np.testing.assert_allclose(measured.value, values.mean(), rtol=1e-9)  # the paper's best value
    scan = stored.scan
    np.testing.assert_array_equal(scan.combined, scan.members.min(axis=0))  # paper, eq. 3.1
    # paper, eq. 3.2: the 68 % interval ends where the outermost member's profile reaches one
    for edge in measured.interval_68:
        t = [np.interp(edge, scan.values, member) for member in scan.members]
        assert min(t) == pytest.approx(1.0, abs=0.15)  # linear interpolation between the scan's points
    # 95 % is 1.96 standard deviations of a parabola, not two
    profiles = [CubicSpline(scan.values, member) for member in scan.members]
    for edge in measured.interval_95:
        assert min(float(profile(edge)) for profile in profiles) == pytest.approx(1.959964**2, abs=0.02)
    levels = measured.confidence
    assert (levels.interval_68, levels.interval_95, levels.upper_limit_95) == (pytest.approx(0.682689492), 0.95, 0.95)
    assert scan.values[0] < measured.interval_68[0]
    assert scan.values[-1] > measured.interval_68[1]


def test_projections_hold_all_events_and_the_fitted_yields(measured, stored):
    assert [p.observable for p in stored.projections] == ["a", "b", "m"]
    mass = stored.projections[2]
    assert mass.data.sum() == measured.n_events.used
    for name, parameter in (("signal", "n_sig"), ("background", "n_bkg")):
        expected = measured.parameters[parameter].value
        assert mass.components[name].sum() == pytest.approx(expected, rel=1e-9)
    assert [h.name for h in stored.histories] == ["background", "signal"]
    assert stored.histories[0].train.shape[0] == 1  # one row for each member
    assert np.isfinite(stored.histories[0].train).all()


def test_the_fit_says_whether_it_can_be_trusted(measured, stored):
    fit = measured.fit
    assert fit.status.converged
    assert fit.status.edm < 1e-6
    assert fit.status.at_limit == fit.status.undetermined == ()
    # the errors of the table are the diagonal of the covariance
    errors = [measured.parameters[name].error for name in fit.names]
    np.testing.assert_allclose(np.sqrt(np.diag(np.array(fit.covariance))), errors, rtol=5e-3)
    np.testing.assert_allclose(np.diag(np.array(fit.correlations)), 1.0)
    assert set(fit.names) == {"n_sig", "n_bkg", "p1", "p2"}
    assert fit.impacts is None  # an envelope has no nuisance
    tests = {test.method: test for test in fit.tests}
    assert set(tests) == {"chi2", "energy"}
    assert all(0.0 < test.p_value <= 1.0 for test in fit.tests)
    assert stored.tests[""].p_value == tests["energy"].p_value
    inside, beside, whole = fit.yields
    assert inside.observed + beside.observed == whole.observed == measured.n_events.used
    assert whole.components["signal"].value == pytest.approx(measured.parameters["n_sig"].value, rel=1e-6)


def test_mass_shapes_have_errors_and_events(stored):
    peak, falling = (next(s for s in stored.shapes if s.name == name) for name in ("signal", "background"))
    mu = peak.fitted.parameters["peak_mu"]
    # of 2,500 simulated events with a core of about two units; tails cost a little
    assert 0.02 < mu.error < 0.08
    assert peak.events == "simulation"
    assert falling.closed == (115.0, 135.0)
    p1 = stored.measurement.parameters["p1"]
    assert falling.fitted.parameters["p1"].value == pytest.approx(p1.value, abs=2e-3 * p1.error)
    assert falling.fitted.parameters["p1"].error == pytest.approx(p1.error, rel=5e-3)


def test_what_was_expected_stands_beside_what_was_observed(measured):
    (fitted,) = measured.fit.expected
    assert fitted.signal == pytest.approx(measured.nominal.value)
    # of the Asimov set of the fitted signal: that of the data but for fluctuations of the other events
    assert fitted.z == pytest.approx(measured.nominal.z, rel=0.35)
    bands = [measured.fit.expected_limit.expected[k] for k in ("-2", "-1", "0", "1", "2")]
    assert bands == sorted(bands)
    assert bands[-1] < measured.upper_limit_95  # there is a signal of many sigma


def test_before_the_fit_the_sidebands_say_what_to_expect(stored):
    mass = next(p for p in stored.projections_prefit if p.observable == "m")
    assert mass.model == "Pre-fit"
    assert set(mass.components) == {"background"}  # nobody has said how much signal there should be
    beside = (mass.edges[1:] <= 115) | (mass.edges[:-1] >= 135)
    total, data = mass.components["background"], mass.data
    # fitted there, so that the numbers agree
    assert total[beside].sum() == pytest.approx(data[beside].sum(), rel=5e-3)
    assert (data - total)[~beside].sum() == pytest.approx(folders.N_SIGNAL, abs=5 * np.sqrt(data[~beside].sum()))
    assert (mass.model_error > 0).all()


def test_words_on_figures_make_no_other_run():
    plain = MeasureOptions.build(**OPTIONS, data="d.root", signal="s.root")
    words = {"experiment": "CMS", "label": "Preliminary", "luminosity": 138, "energy": 13.6, "units": {"m": "GeV"}}
    said = MeasureOptions.build(**OPTIONS, data="d.root", signal="s.root", **words)
    assert said.numbers() == plain.numbers()
    assert said.figure_words() == words | {"luminosity": "138", "energy": "13.6"}
