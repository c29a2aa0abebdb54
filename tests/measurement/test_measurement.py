"""A measurement from files to the run folder: what the numbers must satisfy, and that they can be had again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from contextlib import contextmanager

import folders
import numpy as np
import pytest
import truth
from same_numbers import assert_same_files, assert_same_results
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import hisigma_zfit as hz
from hisigma_zfit.density import training
from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.learn import members, schedule
from hisigma_zfit.measurement import load_model
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.measurement.stored import load_results
from hisigma_zfit.results import Measurement

OPTIONS = folders.MEASURE
KEYS = {
    *("schema", "poi", "value", "error", "interval_68", "interval_95", "stat_only", "significance", "upper_limit_95"),
    *("parameters", "mass_only", "n_events", "members", "timings_s", "seed", "inputs", "versions"),
}


@pytest.fixture(scope="module")
def stored(finished_run):
    assert finished_run.outcome.code == 0, finished_run.outcome.err
    return load_results(finished_run.out)


@pytest.fixture(scope="module")
def measured(stored):
    return stored.measurement


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


def test_the_function_reads_the_run_of_the_command_line_back(finished_run, tmp_path):
    # moved files are the same inputs; one number more or less in an option is another run
    moved = tmp_path / "moved"
    shutil.copytree(finished_run.inputs, moved)
    shutil.copytree(finished_run.out, tmp_path / "out")
    files = {"data": moved / "data.root", "signal": [str(moved / "signal.root")]}
    again = hz.measure(out=tmp_path / "out", **files, **OPTIONS)
    assert again == Measurement.from_json((finished_run.out / "result.json").read_text())
    with pytest.raises(InputError, match="option 'members' 1 then and 3 now"):
        hz.measure(out=tmp_path / "out", **files, **OPTIONS | {"members": 3})


def test_ctrl_c_in_the_training_resumes_with_the_same_numbers(finished_run, tmp_path, monkeypatch, caplog):
    """The uninterrupted run of the same inputs and seed, in its own folder, is the reference for both."""

    @contextmanager
    def interrupting(progress, *, total, name):
        done = 0

        def report(n):
            nonlocal done
            done += n
            if done >= total // 2:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1.0)  # while the main thread stops the others

        yield report

    command = folders.measure(finished_run.inputs, tmp_path / "out")
    # a shell starts what it puts into the background without this handler
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(members, "reporting", interrupting)
            outcome = folders.hisigma(*command)
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.code == 130
    assert outcome.out == ""
    assert outcome.err.splitlines()[1:] == ["hisigma: interrupted; give the same command again to go on from here"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.partial"]
    checkpoints = sorted((tmp_path / "out.partial" / "members" / "background").iterdir())
    steps = []
    for file in checkpoints:
        with np.load(file, allow_pickle=False) as state:
            steps.append(int(state["step"]))
    assert len(steps) == 1  # of the members: bootstraps wait for their length
    assert all(0 < step < schedule.MIN_STEPS for step in steps)

    monkeypatch.setattr(
        "hisigma_zfit.report.figures.measurement_figures", lambda *results, **more: {}
    )  # drawn once already
    caplog.set_level("INFO", "hisigma_zfit")
    outcome = folders.hisigma(*command)
    assert outcome.code == 0
    assert "going on with the interrupted run" in caplog.text
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    ours, theirs = load_results(tmp_path / "out"), load_results(finished_run.out)
    assert_same_results(ours.measurement, theirs.measurement)
    assert_same_files(ours.stored().files(), theirs.stored().files())


class _StoppedError(Exception):
    """The test has seen enough."""


def test_members_of_another_run_are_not_trained_again(finished_run, tmp_path, monkeypatch):
    """Without them the first training to be started would be the background's."""

    def train_stack(*_, **__):
        raise _StoppedError

    monkeypatch.setattr(members, "train_stack", train_stack)
    files = {name: finished_run.inputs / f"{name}.root" for name in ("data", "signal")}
    shutil.copy(files["signal"], tmp_path / "up.root")
    varied = {"systematic": {"jes": (tmp_path / "up.root", files["signal"])}}
    with pytest.raises(_StoppedError):
        hz.measure(out=tmp_path / "out", reuse=finished_run.out, **files, **OPTIONS, **varied)
    made = {folder.name for folder in (tmp_path / "out.partial" / "members").iterdir()}
    assert made == {"background", "signal", "signal-jes-up"}
    with pytest.raises(InputError, match="another training's in"):
        hz.measure(out=tmp_path / "other", reuse=finished_run.out, **files, **OPTIONS | {"seed": 2})
    with pytest.raises(InputError, match="nowhere"):
        hz.measure(out=tmp_path / "third", reuse=tmp_path / "nowhere", **files, **OPTIONS)
    assert not (tmp_path / "third.partial").exists()


def trained_on(monkeypatch, tmp_path, inputs, **options):
    """The events that the background is trained on."""
    seen = []

    def train_flow(data, features, **_):
        seen.append(data)
        raise _StoppedError

    monkeypatch.setattr(training, "train_flow", train_flow)
    with pytest.raises(_StoppedError):
        hz.measure(
            out=tmp_path / "out", **{"data": inputs / "data.root", "signal": inputs / "signal.root"} | OPTIONS | options
        )
    assert list(tmp_path.glob("out*")) == []
    return seen[0]


def test_sideband_training_adds_to_the_sidebands_only(event_files, tmp_path, monkeypatch):
    own = trained_on(monkeypatch, tmp_path, event_files)
    # the addition alone has too few events on each side to train on, which does not matter
    more = truth.BACKGROUND.columns(600, seed=5)
    folders.write(tmp_path / "more.root", more)
    both = trained_on(monkeypatch, tmp_path, event_files, sideband_training=tmp_path / "more.root")
    outside = (more["m"] < 115) | (more["m"] >= 135)
    assert len(both) == len(own) + outside.sum()
    np.testing.assert_array_equal(both["a"][len(own) :], more["a"][outside])
    assert not ((both["m"] >= 115) & (both["m"] < 135)).any()
    assert both.weights is None


def test_events_in_memory_are_those_of_files(event_files, tmp_path, monkeypatch):
    from_files = trained_on(monkeypatch, tmp_path, event_files, cut="c > 1.5", columns={"a": "a / 2"})
    for make in (dict, hz.Dataset.from_arrays):
        tables = {
            name: make({c: hz.read(event_files / f"{name}.root")[c] for c in ("m", "a", "b", "c")})
            for name in ("data", "signal")
        }
        seen = trained_on(monkeypatch, tmp_path, event_files, cut="c > 1.5", columns={"a": "a / 2"}, **tables)
        np.testing.assert_array_equal(seen.array(seen.names), from_files.array(seen.names))
        np.testing.assert_array_equal(seen.identity, from_files.identity)
        assert seen.report.to_dict() == from_files.report.to_dict()


@pytest.mark.slow
def test_a_measurement_in_memory_has_the_numbers_of_one_from_files(finished_run, measured, tmp_path):
    tables = {name: hz.read(finished_run.inputs / f"{name}.root") for name in ("data", "signal")}
    found = hz.measure(out=tmp_path / "out", **tables, **OPTIONS)
    assert (found.value, found.error) == (measured.value, measured.error)
    assert set(found.inputs) == {"data", "signal"}
    again = hz.measure(out=tmp_path / "out", **tables, **OPTIONS)  # read back
    assert again.value == found.value
    fewer = tables | {"data": tables["data"][:-1]}
    with pytest.raises(RunFolderError, match="input 'data' with other content"):
        hz.measure(out=tmp_path / "out", **fewer, **OPTIONS)
    with pytest.raises(InputError, match=r"events in memory at memory://data, got none; give them again"):
        hz.measure(out=tmp_path / "other", config=tmp_path / "out" / "config.yaml")


@pytest.mark.parametrize("how", ["the file", "hard link", "copy"])
def test_data_are_no_sideband_training(event_files, tmp_path, how):
    data, other = event_files / "data.root", tmp_path / "other.root"
    if how == "hard link":
        os.link(data, other)
    elif how == "copy":
        shutil.copy(data, other)
    else:
        other = data
    files = {"data": data, "signal": event_files / "signal.root", "sideband_training": other}
    with pytest.raises(
        InputError, match=r"each event once, got the same content in .*data\.root \(data\) and .*training"
    ):
        hz.measure(out=tmp_path / "out", **files, **OPTIONS)
    assert not list(tmp_path.glob("out*"))


def test_a_column_that_nothing_uses_is_told(event_files, tmp_path, monkeypatch, caplog):
    trained_on(monkeypatch, tmp_path, event_files, columns={"aa": "d"})
    assert "columns: expected only those that are used, got 'aa'; did you mean 'a'?" in caplog.text


def test_the_cut_and_the_columns_hold_for_every_file(event_files, tmp_path, monkeypatch):
    data = trained_on(
        monkeypatch, tmp_path, event_files, cut="c > 1.5", columns={"a": "d", "half": "b / 2"}, features=["a", "half"]
    )
    assert data.names == ("m", "a", "half")
    source = truth.BACKGROUND.columns(folders.N_BACKGROUND, seed=1)
    kept = (source["c"] > 1.5) & ((source["m"] < 115) | (source["m"] >= 135))
    np.testing.assert_array_equal(data["a"][: kept.sum()], source["d"][kept])
    np.testing.assert_array_equal(data["half"][: kept.sum()], source["b"][kept] / 2)


def test_unknown_options_are_named():
    with pytest.raises(InputError, match="epochs"):
        hz.measure(out="nowhere", data="a.root", signal="b.root", epochs=5, **OPTIONS)


def test_variations_of_other_events_are_noticed(caplog):
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.measurement.inputs import warn_of_other_events

    def events(rows, n_read=1000):
        return Dataset.from_arrays({"m": np.arange(float(n_read))}).select(np.isin(np.arange(n_read), rows))

    nominal = events(np.arange(20, 1000))
    warn_of_other_events(nominal, {"jes": (events(np.arange(950)), nominal)})  # events leave and enter at the ends
    assert not caplog.records
    warn_of_other_events(nominal, {"jes": (nominal, events(np.arange(100, 900)))})
    # as many events, but of files in which rows are missing: they cannot be matched
    warn_of_other_events(nominal, {"jes": (nominal, events(np.arange(980), n_read=980))})
    first, second = caplog.records
    assert "expected the 980 events of the nominal training from 1000 rows, got 800 of them" in first.getMessage()
    assert "from 980 rows" in second.getMessage()


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"yield_systematic": {"lumi": 1.0}}, "factor other than 1 for lumi"),
        ({"yield_systematic": {"lumi": -0.5}}, "positive factor .* got -0.5"),
        ({"yield_systematic": {"n_bkg": 1.1}}, "no other parameter's, got 'n_bkg'"),
        ({"penalties": [1.0, 2.0]}, "in discrete profiling, got 2 for envelope"),
        ({"penalties": [1.0], "combine": "discrete"}, "each of 2 bootstraps"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(InputError, match=message):
        hz.measure(out="nowhere", data="a.root", signal="b.root", **OPTIONS | options)
