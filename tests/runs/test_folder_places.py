"""Where a run folder may be made, and what is there already: files of others, another run, a lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from counted_run import fail, start, tree

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.runs import folder as run_module


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
