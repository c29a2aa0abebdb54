"""Files and folders that are whole at every moment, whatever ends the process that writes them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from hisigma_zfit import files

# Every call that changes the file system is a step; the process is killed before step k, for k = 0, 1, ... until it
# is through.  A process of its own, small and without threads, so that it may fork.
KILLED = """
    import errno, os, shutil, sys
    from pathlib import Path
    from hisigma_zfit import files

    place = Path(sys.argv[1]) / "model"
    steps = [0]

    def counted(call):
        def step(*args, **kwargs):
            if steps[0] == 0:
                os._exit(9)
            steps[0] -= 1
            return call(*args, **kwargs)
        return step

    def write(text):
        with files.write_folder(place) as folder:
            for name in ("a", "b"):
                files.write_text(folder / name, text)

    def content():
        return [(place / name).read_text() for name in ("a", "b")]

    write("old")
    for k in range(1000):
        child = os.fork()
        if child == 0:
            steps[0] = k
            files.exchange = counted(files.exchange)
            for name in ("rename", "replace", "fsync", "mkdir", "rmdir", "unlink"):
                setattr(os, name, counted(getattr(os, name)))
            write("new")
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(k, code, *content())
        if code == 0:
            break
        write("old")
    print(sorted(os.listdir(sys.argv[1])))
"""


def test_a_process_may_be_killed_at_every_step(tmp_path):
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    *steps, left = subprocess.run(script, check=True, capture_output=True, text=True).stdout.splitlines()
    outcomes = [line.split()[2:] for line in steps]
    assert len(steps) > 8
    assert outcomes[0] == ["old", "old"]
    assert outcomes[-1] == ["new", "new"]
    assert all(outcome in (["old", "old"], ["new", "new"]) for outcome in outcomes)
    assert left == "['model']"  # what killed processes left is gone with the next one


def listed(folder):
    return sorted(entry.name for entry in folder.iterdir())


def cannot(first, second):
    raise OSError(errno.EINVAL, "this file system cannot")


@pytest.mark.parametrize(("exchange", "n_renames"), [(files.exchange, 1), (cannot, 2)])
def test_an_error_at_any_rename_leaves_the_old_folder(tmp_path, monkeypatch, exchange, n_renames):
    place, left = tmp_path / "deep" / "model", 1000

    def counted(call):
        def rename(first, second):
            nonlocal left
            left -= 1
            if left == -1:
                raise OSError(errno.EIO, "broken disk")
            call(first, second)

        return rename

    def write(text):
        with files.write_folder(place) as folder:
            files.write_text(folder / "a", text)

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(files, "exchange", counted(exchange) if exchange is files.exchange else exchange)
    write("old")
    for k in range(n_renames):
        left = k + 1  # the file's own comes first
        with pytest.raises(OSError, match="broken disk"):
            write("new")
        assert (place / "a").read_text() == "old"
        assert listed(place.parent) == ["model"]
    left = 1000
    write("new")
    assert (place / "a").read_text() == "new"
    assert listed(place.parent) == ["model"]


def test_an_error_of_the_writer_leaves_the_old_folder(tmp_path):
    with files.write_folder(tmp_path / "model") as folder:
        files.write_text(folder / "a", "old")
    with pytest.raises(ZeroDivisionError), files.write_folder(tmp_path / "model") as folder:  # noqa: PT012
        files.write_text(folder / "a", "new")
        raise ZeroDivisionError
    assert (tmp_path / "model" / "a").read_text() == "old"
    assert listed(tmp_path) == ["model"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "disk")
    with files.write_folder(tmp_path / "model") as folder:
        files.write_text(folder / "a", "new")
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "disk" / "a").read_text() == "new"


def test_arrays_are_whole_or_not_there(tmp_path):
    path = tmp_path / "state.npz"
    files.write_npz(path, {"step": np.array(3), "losses": np.arange(4.0)})
    with pytest.raises(ZeroDivisionError):
        files.write_npz(path, {"step": np.array(4), "losses": Unwritable()})
    with np.load(path, allow_pickle=False) as stored:
        assert int(stored["step"]) == 3
        np.testing.assert_array_equal(stored["losses"], np.arange(4.0))
    assert listed(tmp_path) == ["state.npz"]


class Unwritable:
    def __array__(self, *args, **kwargs):
        return 1 / 0
