"""Files that are made once for every test."""

from __future__ import annotations

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
def finished_run(event_files: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """``hisigma measure`` on `event_files`: a few thousand events, two bootstraps, the quick preset."""
    import folders

    out = tmp_path_factory.mktemp("runs") / "out"
    command = folders.measure(event_files, out)
    return FinishedRun(event_files, out, command, folders.hisigma(*command))
