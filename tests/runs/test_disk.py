"""A disk that is full, and names that would leave the folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from counted_run import start

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import write_bytes


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_line_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    def write() -> None:
        with start(tmp_path / "out") as run:
            run.write_text("members/0", "first")
            monkeypatch.setattr(os, "fsync", full)
            run.write_text("members/0", "x" * 123_456)

    with pytest.raises(RunFolderError, match=r"room for 'members/0' of 123\.5 kB, got a .* free") as caught:
        write()
    assert "\n" not in str(caught.value)
    assert "run the same command again" in str(caught.value)
    partial = tmp_path / "out.partial"
    assert sorted(path.name for path in (partial / "members").iterdir()) == ["0"]
    assert (partial / "members" / "0").read_text() == "first"


def test_full_disk_met_by_others_is_explained(tmp_path: Path) -> None:
    def train() -> None:
        with start(tmp_path / "out") as run:
            run.write_text("members/background/2.npz", "trained")
            raise OSError(errno.ENOSPC, "No space left on device", str(run.member_folder("background") / "3.npz"))

    with pytest.raises(RunFolderError, match=r"3\.npz.*full disk.*members trained so far are kept"):
        train()
    assert (tmp_path / "out.partial" / "members" / "background" / "2.npz").is_file()


def test_full_disk_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ((Path, "mkdir"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(*place, full)
            with pytest.raises(RunFolderError, match="full disk"):
                start(tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


def test_other_system_errors_are_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), start(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "not the disk's fault")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_half_written_file_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    (tmp_path / ".result.json.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_bytes(target, b"new" * 100_000)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/../../b", ""])
def test_names_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    with start(tmp_path / "out") as run, pytest.raises(InputError, match="inside the run folder"):
        run.write_text(name, "")
