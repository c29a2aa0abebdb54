"""Files that are made once for every test."""

from __future__ import annotations

import fcntl
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from folders import Outcome


@dataclass(frozen=True)
class FinishedRun:
    """One measurement through the command line, made once for all tests; nothing may change its folder."""

    inputs: Path
    out: Path
    command: list[str]
    outcome: Outcome


@pytest.fixture(scope="session")
def event_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``data.root`` and ``signal.root``."""
    import folders

    folder = tmp_path_factory.mktemp("inputs")
    folders.write_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> FinishedRun:
    """``hisigma measure`` on files as `event_files`: a few thousand events, two bootstraps, the quick preset.

    The first worker that needs it makes it, for the others too.
    """
    import folders

    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "finished_run"
    shared.mkdir(exist_ok=True)
    kept = shared / "outcome.pickle"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second worker waits
        if not kept.exists():
            inputs, out = shared / "inputs", shared / "out"
            inputs.mkdir(exist_ok=True)
            folders.write_inputs(inputs)
            command = folders.measure(inputs, out)
            kept.write_bytes(pickle.dumps((inputs, out, command, folders.hisigma(*command))))
        return FinishedRun(*pickle.loads(kept.read_bytes()))
