"""A run folder of a task that the folders have never heard of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hisigma_zfit.results.base import Result
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = {"data.root": "sha256:aa", "signal.root": "sha256:bb"}
ROLES = {"data": ["data.root"], "signal": ["signal.root"]}
OPTIONS = {"seed": 1, "range": (90, 180), "features": ["pt_bb", "dr_bb"], "preset": "quick"}


@dataclass(frozen=True)
class Count(Result):
    """The answer of a task that the folders have never heard of."""

    schema: ClassVar[str] = "tests/count/1"
    n: int


LAYOUT = {"result": Count, "pages/*": Count}
COUNTED = Count(42)


def start(path: str | Path, *, resume: bool = True, overwrite: bool = False, **changes: Any) -> RunFolder:
    fields: dict[str, Any] = {"task": "count", "inputs": INPUTS, "options": OPTIONS, "roles": ROLES}
    return RunFolder.open(path, Identity(**fields | changes), resume=resume, overwrite=overwrite)


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
