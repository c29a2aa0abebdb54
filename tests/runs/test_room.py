"""What a run will need is said before it starts, and what would not fit is refused."""

from __future__ import annotations

import resource

import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.runs import room

GIB = 2**30


def test_what_is_free_is_less_than_what_there_is(monkeypatch):
    free = room.free_memory()
    assert free is None or 2**26 < free < 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, 2**31))
    assert room.free_memory() <= 2**30  # the shell's limit counts too


def test_the_least_of_machine_container_and_shell_counts(monkeypatch):
    for name, size in (("_of_machine", 5 * GIB), ("_of_container", 2 * GIB), ("_of_shell", None)):
        monkeypatch.setattr(room, name, lambda size=size: size)
    assert room.free_memory() == 2 * GIB


@pytest.mark.parametrize(
    ("folder", "names", "prefix"),
    [
        ("", ("memory.max", "memory.current"), ""),
        ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"),
    ],
)
def test_what_a_container_keeps_of_files_is_free(monkeypatch, tmp_path, folder, names, prefix):
    group = tmp_path / folder
    group.mkdir(exist_ok=True)
    for name, size in zip(names, (8 * GIB, 7 * GIB), strict=True):
        (group / name).write_text(f"{size}\n")
    (tmp_path / "meminfo").write_text(f"MemAvailable: {2**20 * GIB // 1024} kB\n")
    monkeypatch.setattr(room, "_PROC", tmp_path / "meminfo")
    monkeypatch.setattr(room, "_GROUPS", tmp_path)
    monkeypatch.setattr(room, "_of_shell", lambda: None)
    assert room.free_memory() == 1 * GIB
    (group / "memory.stat").write_text(f"anon 1\n{prefix}inactive_file {2 * GIB}\n{prefix}active_file {GIB}\n")
    assert room.free_memory() == 4 * GIB
    (group / names[0]).write_text("max\n")
    assert room.free_memory() == 2**20 * GIB


def test_swap_is_memory_too(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text(
        "MemTotal: 9 kB\nMemAvailable:    2048 kB\nSwapFree:  1024 kB\nHugePages_Free: 0\n"
    )
    monkeypatch.setattr(room, "_PROC", tmp_path / "meminfo")
    monkeypatch.setattr(room, "_GROUPS", tmp_path / "none")
    assert room.free_memory() == 3 * 2**20


def test_one_line_before_it_starts(monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 23 * GIB)
    assert room.require_room(1.4 * GIB, 0.0) == "this run will need about 1.4 GiB; 23.0 GiB are free"
    assert "1.4 GiB and 300 MiB in /" in room.require_room(1.4 * GIB, 300 * 2**20)
    with pytest.raises(InputError, match=r"expected about 40\.0 GiB of memory, got 23\.0 GiB free; cut events away"):
        room.require_room(40.0 * GIB, 0.0)
    with pytest.raises(InputError, match="let TMPDIR name a folder with more room"):
        room.require_room(1.0, 2.0**70)
    monkeypatch.setattr(room, "free_memory", lambda: None)  # a system that does not tell
    assert room.require_room(40.0 * GIB, 0.0) == "this run will need about 40.0 GiB"
