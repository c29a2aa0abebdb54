"""When a run takes the place of another one, and when it must not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from counted_run import COUNTED, LAYOUT, OPTIONS, Count, start, tree

from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.runs.stored import read_results

if TYPE_CHECKING:
    from pathlib import Path


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
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with start(tmp_path / "blind") as run:
        run.write_text("unblinding.json", "{}")
    before = tree(tmp_path)
    with pytest.raises(RunFolderError, match="not a run"):
        start(tmp_path / "out", overwrite=True)
    with pytest.raises(RunFolderError, match="record"):
        start(tmp_path / "blind", options=OPTIONS | {"seed": 2}, overwrite=True)
    assert tree(tmp_path) == before


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
