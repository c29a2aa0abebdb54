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
