"""The command line from outside: exit codes, what is printed, and what is left on disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import awkward as ak
import folders
import numpy as np
import pytest
import uproot

from hisigma_zfit.data import describe
from hisigma_zfit.errors import FitError, InputError


def one_line(outcome):
    """The only line on stderr of a command that was refused."""
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.endswith("\n")
    assert "error: " in outcome.err
    return outcome.err


def entries(folder):
    return sorted(entry.name for entry in folder.iterdir())


# --- a whole run -----------------------------------------------------------------------------------------------------


def test_measure_prints_the_table_and_says_what_it_does(finished_run):
    outcome, out = finished_run.outcome, finished_run.out
    assert outcome.code == 0
    assert outcome.out.startswith("HI-SIGMA measurement of n_sig\n")
    assert outcome.out.endswith(f"written to {out}: see {out / 'report.html'}\n")
    table = (out / "table.txt").read_text()
    assert table in outcome.out
    stages = [line.split()[1:3] for line in outcome.err.splitlines() if line.startswith("[")]
    assert stages == [[stage, "done"] for stage in ("read", "train", "score", "fit", "draw")]


def test_measure_draws_every_figure_as_pdf_and_png(finished_run):
    names = [f"{kind}_{name}" for kind in ("projection", "enriched", "prefit") for name in ("m", "a", "b")]
    names += ["shape_background", "shape_signal", "correlations", "expected", "goodness_of_fit", "scan", "training"]
    figures = finished_run.out / "figures"
    assert entries(figures) == sorted(f"{name}.{suffix}" for name in names for suffix in ("pdf", "png"))
    for file in figures.iterdir():
        magic = b"%PDF" if file.suffix == ".pdf" else b"\x89PNG"
        assert file.read_bytes().startswith(magic)
        assert file.stat().st_size > 5000


def test_measure_leaves_a_complete_folder_and_nothing_beside_it(finished_run):
    assert "out" in entries(finished_run.out.parent)
    assert not [name for name in entries(finished_run.out.parent) if name.startswith(("out.", ".out"))]
    hidden = [path for path in finished_run.out.rglob("*") if path.name.startswith(".") or "tmp" in path.name]
    assert hidden == []


def test_the_same_command_again_returns_the_stored_result(finished_run):
    before = {path: path.stat().st_mtime_ns for path in finished_run.out.rglob("*")}
    again = folders.hisigma(*finished_run.command)
    assert again.code == 0
    assert again.out == finished_run.outcome.out
    assert again.err == ""
    assert {path: path.stat().st_mtime_ns for path in finished_run.out.rglob("*")} == before


def test_plot_draws_the_stored_results_again(finished_run, tmp_path):
    # the stored results decide what is drawn: a run with fewer of them is drawn faster
    shutil.copytree(
        finished_run.out,
        tmp_path / "out",
        ignore=shutil.ignore_patterns("projections*", "training*", "shapes", "goodness*.json"),
    )
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "figures").iterdir()}
    words = ["--experiment", "CMS", "--luminosity", "138", "--unit", "a=GeV"]
    places = ((["--to", tmp_path / "again", *words], "again", "again"), (words, "out/figures", "out"))
    said = tmp_path / "out" / "presentation.json"
    unsaid = said.read_text()
    for arguments, figures, page in places:
        outcome = folders.hisigma("plot", tmp_path / "out", *arguments)
        assert outcome.code == 0
        assert outcome.err == ""
        target = tmp_path / page / "report.html"
        expected = f"3 figures written to {tmp_path / figures}, all of them with the numbers to {target}\n"
        assert outcome.out == expected
        assert target.read_text().count("<figure") == 3
        kept = json.loads(said.read_text())  # drawn elsewhere, the words do not stay
        assert (said.read_text() == unsaid) == (figures == "again")
    assert (kept["experiment"], kept["luminosity"], kept["units"]) == ("CMS", "138", {"a": "GeV"})
    assert kept["label"] == json.loads(unsaid)["label"]
    drawn = {f"{name}.{suffix}" for name in ("correlations", "expected", "scan") for suffix in ("pdf", "png")}
    assert set(entries(tmp_path / "again")) == drawn | {"report.html"}
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "figures").iterdir()}
    assert {name for name, changed in after.items() if changed != before[name]} == drawn


def test_info_shows_versions_run_folders_and_data_files(finished_run):
    plain = folders.hisigma("info")
    assert plain.code == 0
    assert {line.split()[0] for line in plain.out.splitlines()} >= {"python", "hisigma_zfit", "zfit", "tensorflow"}
    run = folders.hisigma("info", finished_run.out)
    assert run.code == 0
    assert run.out == (finished_run.out / "table.txt").read_text()
    file = folders.hisigma("info", finished_run.inputs / "data.root")
    assert file.code == 0
    n_events = folders.N_BACKGROUND + folders.N_SIGNAL
    assert f"events: {n_events:,} events, 5 columns (ROOT TTree)" in file.out
    assert "a, b, c, d, m" in file.out


def test_describe_lists_every_table_and_what_cannot_be_read(tmp_path):
    with uproot.recreate(tmp_path / "two.root") as file:
        file.mktree("events", {"m": "float64", "jets": "var * float32"}).extend(
            {"m": np.arange(3.0), "jets": ak.Array([[1.0], [], [2.0, 3.0]])}
        )
        file["folder/other"] = {"x": np.arange(5)}
        file["note"] = "no table"
    lines = describe(tmp_path / "two.root").splitlines()
    assert lines[0].startswith(f"{tmp_path / 'two.root'}: ROOT, ")
    assert lines[1] == "  events: 3 events, 3 columns (ROOT TTree)"
    assert lines[2:4] == ["    m, njets", "    not one number per event: jets"]
    assert lines[4].startswith("  folder/other: 5 events, 1 columns (ROOT ")
    assert lines[5:] == ["    x"]
    with uproot.recreate(tmp_path / "none.root") as file:
        file["note"] = "no table"
    assert describe(tmp_path / "none.root").splitlines()[1:] == ["  no tree or dataset"]
    with pytest.raises(InputError, match="nothing there"):
        describe(tmp_path / "absent.root")


# --- quick and quiet -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["measure", "--help"], 0),
        (["validate", "--help"], 0),
        (["measure", "--schema"], 0),
        (["measure", "--config", "absent.yaml", "--out", "out"], 2),
        (["info"], 0),
        (["measure", "--data", "absent.root"], 2),
        (folders.measure(Path("absent"), Path("out")), 2),
        (["info", "absent.root"], 2),
        (["plot", "absent"], 2),
    ],
    ids=["help", "measure-help", "validate-help", "schema", "config", "info", "option", "file", "info-file", "plot"],
)  # fmt: skip
def test_help_and_errors_do_not_import_tensorflow(tmp_path, arguments, code):
    program = (
        "import sys; from hisigma_zfit.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code or 0\n"
        "heavy = {'tensorflow', 'zfit', 'keras', 'hepstats'} & set(sys.modules)\n"
        "sys.exit(99 if heavy else code)"
    )
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert result.stderr.count("\n") == (1 if code else 0), result.stderr
    assert bool(result.stdout) == (code == 0)
    assert entries(tmp_path) == []


# --- wrong input -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory, event_files):
    """Files with one thing wrong in each."""
    folder = tmp_path_factory.mktemp("odd")
    with uproot.open(event_files / "data.root") as file:
        data = file["events"].arrays(library="np")
    (folder / "text.root").write_text("m,a,b\n125,0.3,40\n")
    whole = (event_files / "data.root").read_bytes()
    (folder / "truncated.root").write_bytes(whole[: len(whole) // 2])
    folders.write(folder / "other_tree.root", data, tree="photons")
    folders.write(folder / "empty.root", {name: values[:0] for name, values in data.items()})
    folders.write(folder / "few.root", {name: values[:1200] for name, values in data.items()})
    folders.write(folder / "low_side.root", {name: values[data["m"] < 135] for name, values in data.items()})
    folders.write(folder / "window.root", {name: values[data["m"] >= 135] for name, values in data.items()})
    nan, inf = data["a"].copy(), data["b"].copy()
    nan[[3, 700]] = np.nan
    inf[5] = np.inf
    folders.write(folder / "nan.root", data | {"a": nan})
    folders.write(folder / "infinite.root", data | {"b": inf})
    (folder / "changed").mkdir()
    folders.write(folder / "changed" / "data.root", {name: values[1:] for name, values in data.items()})
    folders.write(folder / "constant.root", data | {"a": np.full(len(nan), 0.25)})
    return folder


def d(name):
    return {"--data": name}


BAD_INPUT = {
    "missing-file": (d("absent.root"), ["absent.root", "nothing there"]),
    "not-a-root-file": (d("text.root"), ["a ROOT file", "text.root"]),
    "truncated": (d("truncated.root"), ["truncated.root", "truncated"]),
    "folder": (d("."), ["the folder", "*.root"]),
    "missing-tree": ({"--tree": "jets"}, ["'jets'", "choose one of 'events'"]),
    "only-tree-has-another-name": ({**d("other_tree.root"), "--tree": "events"}, ["other_tree.root", "'photons'"]),
    "missing-branch": ({"--features": "a,bb"}, ["branch 'bb'", "did you mean 'b'"]),
    "missing-mass": ({"--mass": "mass"}, ["branch 'mass'", "'a', 'b', 'c', 'd', 'm'"]),
    "no-rows": (d("empty.root"), ["no rows in", "empty.root"]),
    "empty-selection": ({"--cut": "m > 500"}, ["cut 'm > 500'", "none of 3580"]),
    "cut-is-no-condition": ({"--cut": "m + 1"}, ["true or false", "'m + 1'"]),
    "nan": (d("nan.root"), ["column 'a'", "2 NaN and 0 infinite in 3580"]),
    "infinite": (d("infinite.root"), ["column 'b'", "0 NaN and 1 infinite in 3580"]),
    "expression-gives-nan": ({"--column": "a=sqrt(c-2)"}, ["column 'a'", "NaN"]),
    "no-events-above": (d("low_side.root"), ["both sidebands of m", "0 above"]),
    "no-events-in-region": (d("window.root"), ["sidebands of m", "0 below"]),
    "region-is-the-range": ({"--signal-region": ("90", "180")}, ["signal-region", "sidebands on both sides"]),
    "region-outside": ({"--signal-region": ("170", "190")}, ["signal-region", "inside the range 90 to 180"]),
    "region-reversed": ({"--signal-region": ("135", "115")}, ["signal-region", "lower < upper"]),
    "range-reversed": ({"--range": ("180", "90")}, ["range", "lower < upper"]),
    "range-not-finite": ({"--range": ("90", "inf")}, ["range", "inf"]),
    "range-not-a-number": ({"--range": ("90", "high")}, ["--range", "'high'"]),
    "few-sideband-events": (d("few.root"), ["at least 1000 events in the sidebands", "add sideband events"]),
    "duplicate-features": ({"--features": "a,b,a"}, ["distinct names", "a twice"]),
    "mass-as-feature": ({"--features": "a,m"}, ["other columns than the mass", "m"]),
    "no-features": ({"--features": ","}, ["features"]),
    "negative-weights": ({"--weight": "w"}, ["3 negative ones in 2500"]),
    "signal-elsewhere": ({"--range": ("90", "120"), "--signal-region": ("95", "100")}, ["signal simulation", "none"]),
    "column-without-equals": ({"--column": "pt"}, ["--column NAME=EXPRESSION", "'pt'"]),
    "column-without-name": ({"--column": "=m*2"}, ["--column NAME=EXPRESSION", "'=m*2'"]),
    "column-calls-code": ({"--column": "a=__import__('os').getcwd()"}, ["function", "getcwd"]),
    "unknown-option": ({"--epochs": "5"}, ["unrecognized arguments: --epochs 5"]),
    "unknown-combination": ({"--combine": "average"}, ["combine", "'discrete' or 'weights'", "'average'"]),
    "unknown-preset": ({"--preset": "slow"}, ["preset", "'quick', 'standard' or 'paper'", "'slow'"]),
    "envelope-of-one": ({"--bootstraps": "1"}, ["combine", "two or more bootstraps for envelope"]),
    "no-members": ({"--members": "0"}, ["members", "got 0"]),
    "negative-seed": ({"--seed": "-1"}, ["seed", "-1"]),
    "option-left-out": ({"--mass": None}, ["required: --mass"]),
    "no-place": ({"--out": "/"}, ["name of a folder", "root of the file system"]),
    "nul-in-place": ({"--out": "a\0b"}, ["name of a folder", "NUL"]),
    "place-too-long": ({"--out": "x" * 300}, ["name of a folder", "240 bytes"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUT)
def test_wrong_input_is_one_line_and_leaves_nothing(name, event_files, odd, tmp_path):
    changes, parts = BAD_INPUT[name]
    changes = dict(changes)
    if "--data" in changes:
        changes["--data"] = str(odd / changes["--data"])
    if "--out" in changes:
        changes["--out"] = str(tmp_path / changes["--out"])
    line = one_line(folders.hisigma(*folders.measure(event_files, tmp_path / "out", changes)))
    for part in parts:
        assert part in line
    assert entries(tmp_path) == []


def test_a_feature_that_cannot_be_learned_leaves_nothing(event_files, odd, tmp_path):
    outcome = folders.hisigma(*folders.measure(event_files, tmp_path / "out", d(str(odd / "constant.root"))))
    assert outcome.code == 2
    stage, line = outcome.err.splitlines()
    assert stage.startswith("[1/5] read done")
    assert "a feature a that varies, got 0.25 in every event" in line
    assert entries(tmp_path) == []


def test_an_output_folder_that_is_not_a_run_is_left_alone(event_files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    line = one_line(folders.hisigma(*folders.measure(event_files, tmp_path / "out")))
    assert f"'{tmp_path / 'out'}'" in line
    assert "a folder that is not a run" in line
    assert entries(tmp_path) == ["out"]
    assert entries(tmp_path / "out") == ["thesis.tex"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"--seed": "2"}, "option 'seed' 1 then and 2 now"),
        ({"--data": "nan.root"}, "input 'nan.root' only now and not then"),
        ({"--data": "changed/data.root"}, "input 'data.root' with other content then than now"),
    ],
)
def test_a_run_from_other_inputs_or_options_is_left_alone(finished_run, odd, changes, part):
    changes = {name: str(odd / value) if name == "--data" else value for name, value in changes.items()}
    before = {path: path.stat().st_mtime_ns for path in finished_run.out.rglob("*")}
    assert part in one_line(folders.hisigma(*folders.measure(finished_run.inputs, finished_run.out, changes)))
    assert {path: path.stat().st_mtime_ns for path in finished_run.out.rglob("*")} == before


def test_full_disk_at_the_start(event_files, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    line = one_line(folders.hisigma(*folders.measure(event_files, tmp_path / "out")))
    assert "full disk" in line
    assert "run.json" in line
    assert entries(tmp_path) == []


def test_full_disk_in_the_training(event_files, tmp_path, monkeypatch):
    def full(file, **arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr(np, "savez", full)
    outcome = folders.hisigma(*folders.measure(event_files, tmp_path / "out"))
    assert outcome.code == 2
    *stages, line = outcome.err.splitlines()
    assert [stage.split()[1] for stage in stages if stage.startswith("[")] == ["read"]
    assert "full disk" in line
    assert entries(tmp_path) == []


def test_plot_and_info_refuse_what_is_not_a_run(tmp_path, finished_run):
    (tmp_path / "folder").mkdir()
    for command in ("plot", "info"):
        assert "a run at" in one_line(folders.hisigma(command, tmp_path / "folder"))
    assert "a ROOT, HDF5 or Parquet file" in one_line(folders.hisigma("info", finished_run.out / "result.json"))
    damaged = tmp_path / "damaged"
    shutil.copytree(finished_run.out, damaged)
    (damaged / "result.json").write_text(json.dumps({"schema": "another"}))
    assert "damaged" in one_line(folders.hisigma("plot", damaged))


def test_a_fit_that_fails_is_one_line_but_not_the_users_fault(event_files, tmp_path, monkeypatch):
    def fail(**options):
        raise FitError("the fit did not converge:\n check start values")

    monkeypatch.setattr("hisigma_zfit.measurement.measure", fail)
    outcome = folders.hisigma(*folders.measure(event_files, tmp_path / "out"))
    assert outcome.code == 1
    assert outcome.err == "hisigma: error: the fit did not converge: check start values\n"


def test_the_schema_is_printed_without_anything_else():
    outcome = folders.hisigma("measure", "--schema")
    assert outcome.code == 0
    schema = json.loads(outcome.out)
    assert set(schema["required"]) == {"data", "signal", "mass", "range", "signal_region", "features"}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["bootstraps"]["minimum"] == 1
    assert schema["properties"]["combine"]["enum"] == ["nuisance", "envelope", "mixture", "discrete", "weights"]
    assert all(field["description"] for field in schema["properties"].values())
