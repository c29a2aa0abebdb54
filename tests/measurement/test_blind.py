"""A blind run sees nothing of the signal region, and what opens it finds what an open run would have found."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import folders
import numpy as np
import pytest
import truth
import uproot
from same_numbers import assert_same_files, assert_same_results
from scipy.stats import norm

import hisigma_zfit as hz
from hisigma_zfit.density.base import ConditionalFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.forecast import Forecast
from hisigma_zfit.learn import members
from hisigma_zfit.measurement import load_model, unblind
from hisigma_zfit.measurement.stored import BlindResults, MeasurementResults, load_blind, load_results
from hisigma_zfit.results import BlindMeasurement, Measurement

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = folders.MEASURE
INJECTED = 80.0
ODD = 0.123456789  # a value of a feature that no event has by chance
QUICK = partial(Forecast, events=4000)


def inside(m):
    return (m >= truth.REGION[0]) & (m < truth.REGION[1])


@dataclass(frozen=True)
class Blind:
    """A blind run of the files of `finished_run`, with its members, which are those that a blind run trains."""

    inputs: Path
    out: Path
    results: BlindResults

    @property
    def files(self):
        return {name: self.inputs / f"{name}.root" for name in ("data", "signal")}


def refuse_training(*_, **__):
    raise AssertionError("nothing may be trained")


@pytest.fixture(scope="module")
def blind(finished_run, tmp_path_factory):
    inputs = tmp_path_factory.mktemp("blind_inputs")
    for name in ("data", "signal"):
        shutil.copy(finished_run.inputs / f"{name}.root", inputs)
    run = Blind(inputs, inputs.parent / f"{inputs.name}_out", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "train_stack", refuse_training)  # the sidebands alone decide what is trained
        patch.setattr("hisigma_zfit.inference.forecast.Forecast", QUICK)
        returned = hz.measure(out=run.out, blind=True, inject=INJECTED, reuse=finished_run.out, **run.files, **OPTIONS)
    assert isinstance(returned, BlindMeasurement)
    results = load_blind(run.out)
    assert results.measurement == returned
    return dataclasses.replace(run, results=results)


@pytest.fixture(scope="module")
def opened(blind, tmp_path_factory):
    out = tmp_path_factory.mktemp("opened") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "train_stack", refuse_training)
        patch.setattr("hisigma_zfit.report.figures.measurement_figures", lambda *results, **more: {})
        measurement = unblind(blind.out, out=out)
    return out, measurement


def test_other_events_in_the_region_change_nothing_and_no_density_sees_them(blind, finished_run, tmp_path, monkeypatch):
    with uproot.open(blind.files["data"]) as file:
        columns = file["events"].arrays(library="np")
    within, rng = inside(columns["m"]), np.random.default_rng(5)
    columns["m"][within] = rng.uniform(*truth.REGION, within.sum())
    columns["a"][within], columns["b"][within] = ODD, 1e6 * rng.random(within.sum())
    folders.write(tmp_path / "data.root", columns)
    seen = []
    check = ConditionalFlow.check

    def watching(self, x, m):
        seen.append((np.array(x), np.array(m)))
        return check(self, x, m)

    monkeypatch.setattr(ConditionalFlow, "check", watching)
    monkeypatch.setattr(members, "train_stack", refuse_training)
    monkeypatch.setattr("hisigma_zfit.inference.forecast.Forecast", QUICK)
    monkeypatch.setattr(BlindResults, "figures", lambda self: {})
    files = {"data": tmp_path / "data.root", "signal": blind.files["signal"]}
    again = hz.measure(out=tmp_path / "out", blind=True, inject=INJECTED, reuse=finished_run.out, **files, **OPTIONS)
    assert again.inputs["data.root"] != blind.results.measurement.inputs["data.root"]
    assert_same_results(again, blind.results.measurement, inputs={})
    assert_same_files(load_blind(tmp_path / "out").stored().files(), blind.results.stored().files())
    # the densities were asked for the sidebands, and never for an event of the region
    masses = np.concatenate([np.ravel(m) for _, m in seen])
    assert np.isin(columns["m"][~within], masses).mean() > 0.9
    assert not np.isin(masses, columns["m"][within]).any()
    assert not any((x == ODD).any() for x, _ in seen)


def test_numbers_of_the_region_are_nowhere(blind):
    with uproot.open(blind.files["data"]) as file:
        m = file["events"]["m"].array(library="np")
    counts = blind.results.measurement.n_events
    assert counts.sidebands + sum(counts.dropped.values()) == np.sum(~inside(m))
    raw = json.loads((blind.out / "result.json").read_text())
    assert set(raw["n_events"]) == {"sidebands", "dropped", "signal_simulation", "sideband_training"}
    told = {int(word) for word in (blind.out / "table.txt").read_text().replace(" ", "").split() if word.isdigit()}
    assert not told & {len(m), int(inside(m).sum())}
    for projection in blind.results.sidebands:
        assert projection.data.sum() <= counts.sidebands
    mass = next(p for p in blind.results.sidebands if p.observable == "m")
    centres = 0.5 * (mass.edges[1:] + mass.edges[:-1])
    closed = (mass.edges[:-1] >= truth.REGION[0]) & (mass.edges[1:] <= truth.REGION[1])
    assert closed.sum() > 3
    assert not mass.data[closed].any()
    assert not mass.components["background"][closed].any()
    assert mass.data[~inside(centres)].sum() == counts.sidebands
    # the extended fit returns the sidebands' number, and the model of the figure is that fit
    assert mass.components["background"].sum() == pytest.approx(counts.sidebands, rel=2e-3)
    assert mass.selection == "sidebands"


def test_what_is_expected_is_what_an_open_run_finds(blind, finished_run):
    b, m = blind.results.measurement, load_results(finished_run.out).measurement
    assert [e.name for e in b.expected] == ["none", "3 sigma", "5 sigma", "injected"]
    none, three, five, injected = b.expected
    assert (none.signal, injected.signal) == (0.0, INJECTED)
    assert none.nominal.z < 0.01
    assert three.z == pytest.approx(3.0, abs=0.03)
    assert five.z == pytest.approx(5.0, abs=0.03)
    assert none.signal < three.signal < five.signal
    assert none.error < three.error < five.error
    for each in b.expected:
        assert each.nominal.value == pytest.approx(each.signal, abs=1e-2 * each.error)
        assert each.stat_only == pytest.approx(each.nominal.error, rel=1e-9)  # there is no systematic uncertainty
        assert each.nominal.error < each.mass_only.error
        assert each.value == pytest.approx(np.mean([member.value for member in each.members]))
        assert each.mass_only.value == pytest.approx(each.signal, abs=1e-2 * each.mass_only.error)
        assert len(each.members) == 2
    # 80 signal events were put in; their own fluctuation and that of the shape move errors by 10 %
    assert injected.stat_only == pytest.approx(m.stat_only.error, rel=0.2)
    assert injected.mass_only.error == pytest.approx(m.mass_only.error, rel=0.2)
    # significances scatter by one, the least of two members a little more: five of it
    assert abs(injected.nominal.z - m.nominal.z) < 5.0
    limit = b.upper_limit_95
    assert limit.expected["-2"] < limit.expected["-1"] < limit.expected["0"] < limit.expected["1"]
    # for a Gaussian yield the median CLs limit is 1.96 errors
    assert limit.expected["0"] == pytest.approx(norm.ppf(0.975) * none.nominal.error, rel=0.2)
    np.testing.assert_array_equal(blind.results.scan.combined, blind.results.scan.members.min(axis=0))
    assert b.signal_response.passed or b.signal_response.error > 0
    assert b.closure == m.closure


def test_the_background_is_carried_into_the_region(blind):
    """Five errors are missed once in two million, if the form of the spectrum is right: it is, an exponential."""
    b = blind.results.measurement
    edges = [np.exp(-(edge - 90) / 50) for edge in (*truth.REGION, 180.0)]
    share = (edges[0] - edges[1]) / (1.0 - edges[2])
    assert abs(b.region_background.value - share * folders.N_BACKGROUND) < 5 * b.region_background.error
    assert 10 < b.region_background.error < 100
    assert set(b.parameters) == {"n_bkg", "p1", "p2"}
    model = load_model(blind.out)
    assert float(model.poi.value()) == 0.0
    number = next(p for p in model.get_params() if p.name == "n_bkg")
    assert float(number.value()) == pytest.approx(b.parameters["n_bkg"].value)


def test_opening_finds_what_a_run_that_never_was_blind_does(blind, opened, finished_run):
    out, measurement = opened
    theirs = load_results(finished_run.out)
    ours = load_results(out)
    assert ours.measurement == measurement
    assert_same_results(measurement, theirs.measurement, unblinding=None)
    assert_same_files({name: ours.stored().files()[name] for name in theirs.stored().files()}, theirs.stored().files())
    record = measurement.unblinding
    assert record.inputs == measurement.inputs
    assert record.versions == measurement.versions
    assert record.time.endswith("Z")
    table = (out / "table.txt").read_text()
    assert record.time in table
    assert record.blind_result in table


def test_the_first_look_stays_on_record(blind, opened, tmp_path):
    stored = (blind.out / "unblinding.json").read_text()
    shutil.copytree(blind.out, tmp_path / "blind")
    shutil.copytree(opened[0], tmp_path / "blind-unblinded")  # the place that is taken if none is named
    assert unblind(tmp_path / "blind") == opened[1]
    assert (tmp_path / "blind" / "unblinding.json").read_text() == stored
    assert Measurement.from_json((opened[0] / "result.json").read_text()).unblinding is not None


def changed_data(folder, inputs):
    with uproot.open(inputs / "data.root") as file:
        columns = file["events"].arrays(library="np")
    folders.write(folder.parent / "data.root", {name: values[1:] for name, values in columns.items()})
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(inputs / "data.root"), str(folder.parent / "data.root")))


def changed_option(folder, _):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("seed: 1", "seed: 2"))


def changed_region(folder, _):
    """In all places where it can be seen."""
    for name, old, new in (
        ("config.yaml", "signal_region: [115.0, 135.0]", "signal_region: [116.0, 135.0]"),
        ("run.json", "115.0", "116.0"),
    ):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))


def changed_members(folder, _):
    file = max((folder / "members" / "background").iterdir())
    file.write_bytes(file.read_bytes() + b" ")


def no_members(folder, _):
    shutil.rmtree(folder / "members" / "signal")


def not_blind(folder, _):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("blind: true", "blind: false").replace("inject: 80.0", ""))


def no_result(folder, _):
    (folder / "result.json").unlink()


def another_record(folder, _):
    text = (folder / "unblinding.json").read_text()
    (folder / "unblinding.json").write_text(text.replace("sha256:", "sha256:0"))


CHANGES = {
    changed_data: r"got input 'data\.root' with other content",
    changed_option: "got option 'seed' 1 then and 2 now",
    changed_region: r"got option 'signal_region' \[115\.0, 135\.0\] then and \[116\.0, 135\.0\] now",
    changed_members: "other trained members of 'background'",
    no_members: "other trained members of 'signal'",
    not_blind: "option 'blind' false instead of true",
    no_result: r"expected 'result\.json' in the run",
    another_record: r"'unblinding\.json' of another result",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_has_changed_is_not_opened(blind, opened, tmp_path, monkeypatch, change):
    assert opened
    shutil.copytree(blind.out, tmp_path / "blind")
    change(tmp_path / "blind", blind.inputs)
    monkeypatch.setattr("hisigma_zfit.measurement.preparation.read", refuse_training)  # nothing is read either
    with pytest.raises(InputError, match=CHANGES[change]):
        unblind(tmp_path / "blind", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


def test_an_open_run_cannot_be_opened(finished_run, tmp_path):
    with pytest.raises(InputError, match=r"a run of the task 'measure --blind' at .*, got one of 'measure'"):
        unblind(finished_run.out, out=tmp_path / "out")
    outcome = folders.hisigma("unblind", finished_run.out)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def test_the_command_line_knows_blind_runs(blind, opened, tmp_path):
    """The stored results decide what is shown and drawn; complete runs are read back."""
    table = (blind.out / "table.txt").read_text()
    flags = {"--blind": (), "--inject": "80", "--out": str(blind.out)}
    measured = folders.hisigma(*folders.measure(blind.inputs, blind.out, flags))
    assert measured.code == 0, measured.err
    assert measured.out == f"{table}\nwritten to {blind.out}: see {blind.out / 'report.html'}\n"
    assert table.startswith("HI-SIGMA blind measurement of n_sig\n")
    assert folders.hisigma("info", blind.out).out == table
    drawn = folders.hisigma("plot", blind.out, "--to", tmp_path / "figures")
    assert drawn.out.startswith(f"5 figures written to {tmp_path / 'figures'}, ")
    names = {path.stem for path in (blind.out / "figures").iterdir()}
    assert names == {"sidebands_m", "sidebands_a", "sidebands_b", "expected_scan", "training"}
    shown = folders.hisigma("unblind", blind.out, "--out", opened[0])
    assert shown.code == 0, shown.err
    table = (opened[0] / "table.txt").read_text()
    assert shown.out == f"{table}\nwritten to {opened[0]}: see {opened[0] / 'report.html'}\n"
    # an open run does not take the place of a blind one
    over = folders.hisigma(*folders.measure(blind.inputs, blind.out))
    assert over.code == 2
    assert "got one of 'measure --blind'" in over.err


def test_signals_are_injected_in_blind_runs_only():
    with pytest.raises(InputError, match=r"inject: expected a blind run, got a signal of 80"):
        hz.measure(out="nowhere", data="a.root", signal="b.root", inject=80.0, **OPTIONS)


def test_run_folders_say_which_they_are(blind, opened):
    with pytest.raises(InputError, match=r"a run of the task 'measure' at .*, got one of 'measure --blind'"):
        load_results(blind.out)
    assert isinstance(load_results(opened[0]), MeasurementResults)
