from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from counted_run import start
from stored_run import history, measured, parabolas, spectrum  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    def train() -> None:
        with start(tmp_path / "out") as run:
            (run.member_folder("background") / "0.npz").write_bytes(b"weights")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    return tmp_path / "out"
