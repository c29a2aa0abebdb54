from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted_run import COUNTED, INPUTS, LAYOUT, OPTIONS, ROLES, Count, start

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.runs import folder as run_module
from hisigma_zfit.runs.stages import Stages
from hisigma_zfit.runs.stored import StoredResults, read_results


def fail(path: Path, error: BaseException, *, made: str | None = None) -> None:
    """A run that ends in `error`, after it has `made` a file, or only an empty folder for its members."""
    with start(path) as run:
        run.member_folder("background")
        if made is not None:
            run.write_text(made, "trained")
        raise error


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `folder`, with content and time of change: what must stay when nothing is to be touched."""
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    def train() -> None:
        with start(tmp_path / "out") as run:
            (run.member_folder("background") / "0.npz").write_bytes(b"weights")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    return tmp_path / "out"


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


def test_without_resume_the_partial_run_is_discarded(interrupted: Path) -> None:
    with start(interrupted, resume=False) as run:
        assert not run.resumed
        assert sorted(entry.name for entry in run.folder.iterdir()) == [".lock", "run.json"]


def test_without_resume_a_complete_run_is_not_replaced(tmp_path: Path) -> None:
    with start(tmp_path / "out"):
        pass
    before = tree(tmp_path)
    with pytest.raises(RunFolderError, match="no finished run"):
        start(tmp_path / "out", resume=False)
    assert tree(tmp_path) == before


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


def test_overwrite_replaces_another_run_when_the_new_one_is_complete(tmp_path: Path) -> None:
    with start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
    assert start(tmp_path / "out", overwrite=True).complete  # the same one stays
    new = OPTIONS | {"seed": 2}
    with pytest.raises(RunFolderError, match=r"seed' 1 then and 2 now.*--overwrite"):
        start(tmp_path / "out", options=new)
    with contextlib.suppress(KeyboardInterrupt), start(tmp_path / "out", options=new, overwrite=True) as run:
        run.write_text("members/0", "half")
        raise KeyboardInterrupt
    assert read_results(tmp_path / "out", LAYOUT).one("result", Count) == COUNTED  # the old one is whole until then
    with start(tmp_path / "out", options=new, overwrite=True) as run:
        assert run.resumed
        run.write_json("result.json", Count(2))
    assert read_results(tmp_path / "out", LAYOUT).one("result", Count) == Count(2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out" / ".lock").exists()


def test_overwrite_drops_an_interrupted_run_of_other_options(interrupted: Path) -> None:
    other = OPTIONS | {"seed": 2}
    with pytest.raises(RunFolderError, match=r"the interrupted run at .*seed' 1 then and 2 now.*--overwrite"):
        start(interrupted, options=other)
    with start(interrupted, options=other, overwrite=True) as run:
        assert not run.resumed
        assert sorted(entry.name for entry in run.folder.iterdir()) == [".lock", "run.json"]


def test_overwrite_leaves_what_is_no_run_and_the_record_of_an_unblinding(tmp_path: Path) -> None:
    _folder(tmp_path / "out")
    with start(tmp_path / "blind") as run:
        run.write_text("unblinding.json", "{}")
    before = tree(tmp_path)
    with pytest.raises(RunFolderError, match="not a run"):
        start(tmp_path / "out", overwrite=True)
    with pytest.raises(RunFolderError, match="record"):
        start(tmp_path / "blind", options=OPTIONS | {"seed": 2}, overwrite=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["/", "a\0b", "x" * 250, ""])
def test_names_that_no_folder_can_have(name: str) -> None:
    with pytest.raises(RunFolderError, match="the name of a folder"):
        start(name)


def _file(path: Path) -> None:
    path.write_text("precious")


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("precious")


def _other_schema(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text('{"schema": "something/else"}')


def _broken_json(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text("{")


def _broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_file, _folder, _other_schema, _broken_json, _broken_link])
@pytest.mark.parametrize("name", ["out", "out.partial"])
def test_foreign_things_are_not_touched(tmp_path: Path, name: str, make: Any) -> None:
    make(tmp_path / name)
    before = tree(tmp_path)
    for resume in (True, False):
        with pytest.raises(RunFolderError, match=f"'{tmp_path / name}'"):
            start(tmp_path / "out", resume=resume)
    assert tree(tmp_path) == before


def test_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with start(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "run.json").exists()


def test_folders_above_are_made_and_do_not_outlive_a_run_that_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        fail(tmp_path / "missing" / "too" / "out", InputError("at once"))
    assert not list(tmp_path.iterdir())
    with start(tmp_path / "missing" / "too" / "out"):
        pass
    assert (tmp_path / "missing" / "too" / "out" / "run.json").exists()
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"existing folder.*got a file"):
        start(tmp_path / "file" / "out")


def test_parent_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # asked for rather than arranged: an administrator may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(RunFolderError, match="to write into, got no permission"):
        start(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    with start(tmp_path / "out") as first:
        first.write_text("members/0", "mine")
        before = tree(first.folder)
        with pytest.raises(RunFolderError, match="going on"):
            start(tmp_path / "out")
        assert tree(first.folder) == before
    assert start(tmp_path / "out").complete


def test_run_that_ends_while_another_waits_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(tmp_path / "out")
    real = run_module.take_lock

    def finish_then_lock(folder: Path, name: str) -> int:
        monkeypatch.setattr(run_module, "take_lock", real)
        with first:
            pass
        return real(folder, name)

    monkeypatch.setattr(run_module, "take_lock", finish_then_lock)
    second = start(tmp_path / "out")
    assert second.complete
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_place_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def finish() -> None:
        with start(tmp_path / "out") as run:
            run.write_text("result.txt", "42")
            _folder(tmp_path / "out")

    with pytest.raises(RunFolderError, match="still free"):
        finish()
    assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"
    assert (tmp_path / "out.partial" / "result.txt").read_text() == "42"


def test_results_are_read_back(tmp_path: Path) -> None:
    results = {"result": COUNTED, "pages/b": Count(2), "pages/a": Count(1)}
    with start(tmp_path / "out") as run:
        run.write_results(StoredResults(results))
        run.write_text("pages/.a.json.tmp.json", "what an interrupted writing left")
        run.write_text("pages/notes.txt", "no result")
    stored = read_results(tmp_path / "out", LAYOUT, task="count")
    assert dict(stored.results) == results
    assert stored.one("result", Count) == COUNTED
    assert stored.all("pages/*", Count) == (Count(1), Count(2))
    assert stored.one("scan", Count) is None
    assert list(stored.files())[-1] == "result.json"


def test_unreadable_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="got nothing"):
        read_results(tmp_path / "out", LAYOUT)
    with start(tmp_path / "out"):
        pass
    with pytest.raises(RunFolderError, match=r"'result\.json'"):
        read_results(tmp_path / "out", LAYOUT)
    for damaged in (COUNTED.to_json()[:20], '{"schema": "tests/count/1"}'):
        (tmp_path / "out" / "result.json").write_text(damaged)
        with pytest.raises(RunFolderError, match=r"damaged") as caught:
            read_results(tmp_path / "out", LAYOUT)
        assert "\n" not in str(caught.value)


def test_a_run_of_another_task_is_refused(tmp_path: Path) -> None:
    with start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
    with pytest.raises(RunFolderError, match=r"a run of the task 'search'.*got one of 'count'"):
        start(tmp_path / "out", task="search")
    with pytest.raises(RunFolderError, match=r"a run of the task 'search'.*got one of 'count'"):
        read_results(tmp_path / "out", LAYOUT, task="search")


def test_a_run_of_before_tasks_had_names_is_found_again(tmp_path: Path) -> None:
    with start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
    old = json.loads((tmp_path / "out" / "run.json").read_text())
    del old["task"]
    (tmp_path / "out" / "run.json").write_text(json.dumps(old))
    assert start(tmp_path / "out").complete
    assert read_results(tmp_path / "out", LAYOUT, task="count").one("result", Count) == COUNTED


def test_stages_are_those_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(("look", "count"), quiet=False)
    for name in ("look", "count", "count"):
        with stages(name):
            pass
    said = [line.split(" done")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["[1/2] look", "[2/2] count", "[2/2] count"]
    assert set(stages.timings()) == {"look", "count", "total"}


def test_figures_are_saved_into_the_run(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    with start(tmp_path / "out") as run:
        run.save_figure("scan", Figure())
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == ["scan.pdf", "scan.png"]
