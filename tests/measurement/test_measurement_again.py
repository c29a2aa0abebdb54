"""A measurement that is asked for again: read back, gone on with after Ctrl-C, or with the members of another run."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import contextmanager

import folders
import numpy as np
import pytest
from same_numbers import assert_same_files, assert_same_results

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn import members, schedule
from hisigma_zfit.measurement.stored import load_results
from hisigma_zfit.results import Measurement

OPTIONS = folders.MEASURE


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
    *said, last = outcome.err.splitlines()
    assert last == "hisigma: interrupted; give the same command again to go on from here"
    # read, what will be trained, in two lines, and what the run will need
    assert [line.split()[0] for line in said] == ["[1/5]", "to", "bootstraps", "this"]
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
