"""A run folder: whole or not there, gone on with, and told from others by inputs and options."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from counted_run import COUNTED, INPUTS, LAYOUT, OPTIONS, ROLES, Count, fail, start, tree

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.runs.stored import read_results

if TYPE_CHECKING:
    from pathlib import Path


def test_run_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with start(path) as run:
        assert not run.complete
        assert not run.resumed
        run.write_json("result.json", COUNTED)
        run.write_text("tables/measurement.txt", "words\n")
        assert not path.exists()
        assert run.folder == tmp_path / "out.partial"
    assert run.complete
    assert run.folder == path
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert sorted(entry.name for entry in path.iterdir()) == ["result.json", "run.json", "tables"]
    assert (path / "tables" / "measurement.txt").read_text() == "words\n"


def test_identity_is_stored(tmp_path: Path) -> None:
    with start(tmp_path / "out", versions={"zfit": "0.28.0"}):
        pass
    stored = json.loads((tmp_path / "out" / "run.json").read_text())
    assert stored == {
        "schema": "hisigma-zfit/run/2",
        "task": "count",
        "inputs": INPUTS,
        "roles": ROLES,
        "options": {**OPTIONS, "range": [90, 180]},
        "versions": {"zfit": "0.28.0"},
    }


def test_complete_run_is_returned_untouched(tmp_path: Path) -> None:
    with start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
    before = tree(tmp_path)
    with start(tmp_path / "out") as again:
        assert again.complete
        assert read_results(again.path, LAYOUT).one("result", Count) == COUNTED
        with pytest.raises(RunFolderError, match="unfinished run"):
            again.write_text("result.json", "")
    assert tree(tmp_path) == before


def test_interrupted_run_goes_on(interrupted: Path) -> None:
    assert not interrupted.exists()
    with start(interrupted) as run:
        assert run.resumed
        assert (run.member_folder("background") / "0.npz").read_bytes() == b"weights"
    assert (interrupted / "members" / "background" / "0.npz").read_bytes() == b"weights"


def test_any_error_keeps_the_partial_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        fail(tmp_path / "out", ValueError("broken"), made="members/0")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.partial"]


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt, RuntimeError])
def test_an_error_before_anything_is_made_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(tmp_path / "out", error("at once"))
    assert list(tmp_path.iterdir()) == []
    with start(tmp_path / "out") as run:
        assert not run.resumed


def test_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from hisigma_zfit.runs.folder import RunFolder;"
        "from hisigma_zfit.runs.identity import Identity;"
        f"run = RunFolder.open(sys.argv[1], Identity('count', {INPUTS}, {OPTIONS}, roles={ROLES}));"
        "run.write_text('members/0', 'kept'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False).returncode == 9
    with start(tmp_path / "out") as run:
        assert run.resumed
        assert (run.folder / "members" / "0").read_text() == "kept"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": INPUTS | {"data.root": "sha256:cc"}}, "input 'data.root' with other content"),
        ({"inputs": {"data.root": "sha256:aa"}}, "input 'signal.root' only then and not now"),
        ({"options": OPTIONS | {"seed": 2}}, "option 'seed' 1 then and 2 now"),
        ({"options": OPTIONS | {"range": (90, 170)}}, r"option 'range' \[90, 180\] then and \[90, 170\] now"),
        ({"options": OPTIONS | {"cut": None}}, "option 'cut' nothing then and null now"),
        ({"options": OPTIONS | {"seed": 2, "preset": "paper"}}, "option 'seed' 1 then and 2 now, and 1 more"),
    ],
)
@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_other_inputs_or_options_are_refused(tmp_path: Path, state: str, change: dict[str, Any], message: str) -> None:
    if state == "complete":
        with start(tmp_path / "out"):
            pass
    else:
        with pytest.raises(KeyboardInterrupt):
            fail(tmp_path / "out", KeyboardInterrupt(), made="members/0")
    before = tree(tmp_path)
    for resume in (True, False):
        with pytest.raises(RunFolderError, match=message) as caught:
            start(tmp_path / "out", resume=resume, **change)
        assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_order_of_options_and_kind_of_sequence_do_not_matter(interrupted: Path) -> None:
    options = {"preset": "quick", "features": ("pt_bb", "dr_bb"), "range": np.array([90, 180]), "seed": np.int64(1)}
    with start(interrupted, options=options) as run:
        assert run.resumed


def test_other_versions_are_reported_not_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start(tmp_path / "out", versions={"numpy": "1"}):
        pass
    with caplog.at_level(logging.WARNING):
        assert start(tmp_path / "out", versions={"numpy": "1"}).complete
        assert not caplog.records
        assert start(tmp_path / "out", versions={"numpy": "2"}).complete
    assert "other versions" in caplog.text


def test_roles_and_order_of_the_inputs_are_part_of_the_identity(tmp_path: Path) -> None:
    roles = {"data": ["data.root"], "signal": ["signal.root"]}
    with start(tmp_path / "out", roles=roles):
        pass
    exchanged = {"data": ["signal.root"], "signal": ["data.root"]}
    with pytest.raises(RunFolderError, match=r"files used as 'data' .*data.root.* then and .*signal.root.* now"):
        start(tmp_path / "out", roles=exchanged)
    both, turned = ({"data": names} for names in (["a", "b"], ["b", "a"]))
    with start(tmp_path / "both", roles=both):
        pass
    assert start(tmp_path / "both", roles=both).complete
    for other in (turned, {"data": ["a"], "sideband_training": ["b"]}):
        with pytest.raises(RunFolderError, match="files used as 'data'"):
            start(tmp_path / "both", roles=other)


@pytest.mark.parametrize("complete", [True, False])
def test_a_run_that_kept_no_roles_is_read_and_not_gone_on_with(tmp_path: Path, complete: bool) -> None:
    with contextlib.suppress(KeyboardInterrupt), start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
        if not complete:
            raise KeyboardInterrupt
    folder = run.folder
    old = json.loads((folder / "run.json").read_text())
    del old["roles"]
    (folder / "run.json").write_text(json.dumps(old | {"schema": "hisigma-zfit/run/1"}))
    with pytest.raises(RunFolderError, match="one of an earlier version, which did not and cannot be gone on with"):
        start(tmp_path / "out")
    assert read_results(folder, LAYOUT, task="count").one("result", Count) == COUNTED
    with start(tmp_path / "out", overwrite=True) as again:
        assert not again.complete
