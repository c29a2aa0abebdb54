"""The folder of a study with pseudo-experiments: finished toys piece by piece, then their summary.

toys.json                    what decides the toys, and the versions used
chunks/                      fits, so many toys in each file
summary.json, table.txt, figures/, report.html
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import disk_errors, take_lock, write_bytes, write_npz
from hisigma_zfit.results import ToySummary
from hisigma_zfit.results.base import plain
from hisigma_zfit.runs.identity import package_versions
from hisigma_zfit.runs.page import PAGE, study_origin
from hisigma_zfit.runs.stored import LOCK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from matplotlib.figure import Figure

    from hisigma_zfit.arrays import Array

__all__ = ["ToyFolder", "ToyResults", "load_toys"]

SCHEMA = "hisigma-zfit/toy-study/2"  # the toys of the first drew from other random streams


class ToyFolder:
    """One study on disk; made by `ToyFolder.open` and used in a ``with`` block.

    Finished chunks stay whatever ends the block, and a longer study with the same options goes on from them.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: str | Path, options: Mapping[str, Any]) -> Self:
        """Start a study, or go on with the one that these options make.

        Args:
            path: Folder; its parent must exist.
            options: Everything that decides the toys, but for their number; must be expressible in JSON.

        Raises:
            RunFolderError: The folder cannot be used: other things are in it, or toys of other options, or another
                process works on it.
        """
        folder = Path(path)
        if not folder.parent.is_dir():
            raise RunFolderError.from_parts(
                expected=f"an existing folder '{folder.parent}'", got="none", do="make it first"
            )
        wanted = json.loads(json.dumps(plain(options)))
        stored = _stored_options(folder)
        if (
            stored is None
            and folder.exists()
            and (not folder.is_dir() or any(e.name != LOCK for e in folder.iterdir()))
        ):
            raise RunFolderError.from_parts(
                expected=f"nothing or an earlier study at '{folder}'", got="something else", do="choose another folder"
            )
        if stored is not None and stored != wanted:
            name = next(n for n in {**wanted, **stored} if wanted.get(n) != stored.get(n))
            raise RunFolderError.from_parts(
                expected=f"the toys in '{folder}' to have the same {name}",
                got=f"{stored.get(name)!r} instead of {wanted.get(name)!r}",
                do="choose another folder or remove this one",
            )
        with disk_errors(folder):
            lock = take_lock(folder, LOCK)
        study = cls(folder, lock)
        if stored is None:
            content = {"schema": SCHEMA, "options": wanted, "versions": package_versions()}
            study.write_text("toys.json", json.dumps(content, indent=1) + "\n")
        return study

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        content = text.encode()
        with disk_errors(self.path, name, needed=len(content)):
            write_bytes(self.path / name, content)

    def read(self, start: int) -> dict[str, Array] | None:
        """Arrays of the chunk that begins with toy number `start`; None where it is missing or damaged."""
        try:
            with np.load(self._chunk(start), allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, zipfile.BadZipFile):
            return None

    def write(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Keep a chunk, whole or not at all."""
        chunk = self._chunk(start)
        with disk_errors(self.path, str(chunk.relative_to(self.path))):
            chunk.parent.mkdir(exist_ok=True)
            write_npz(chunk, arrays)

    def _chunk(self, start: int) -> Path:
        return self.path / "chunks" / f"{start:07d}.npz"

    def finish(self, summary: ToySummary) -> None:
        """Write the summary with its table and figures."""
        from hisigma_zfit.report.plotting import save

        results = ToyResults(summary)
        figures = results.figures()
        with disk_errors(self.path, "figures"):
            (self.path / "figures").mkdir(exist_ok=True)
            for name, figure in figures.items():
                save(figure, self.path / "figures" / name)
        self.write_text("table.txt", f"{results.table()}\n")
        self.write_text(PAGE, results.page(self.path, figures))
        self.write_text("summary.json", f"{summary.to_json()}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            (self.path / LOCK).unlink()
        os.close(self._lock)


@dataclass(frozen=True)
class ToyResults:
    """All that a finished study knows and that its figures are drawn from."""

    summary: ToySummary

    def table(self) -> str:
        """Content of ``table.txt``."""
        from hisigma_zfit.report.toy_tables import toys

        return toys(self.summary)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.toy_figures import toy_figures

        return toy_figures(self.summary)

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``."""
        from hisigma_zfit.report.page import page
        from hisigma_zfit.report.pages import toy_content

        return page(toy_content(self.summary), figures, study_origin(folder / "toys.json", "toys"))


def _stored_options(folder: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads((folder / "toys.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(stored, dict) and stored.get("schema") == SCHEMA
    return stored["options"] if known else None


def load_toys(path: str | Path) -> ToySummary:
    """Read the summary of a finished study.

    Raises:
        RunFolderError: There is none.
    """
    file = Path(path) / "summary.json"
    try:
        return ToySummary.from_json(file.read_text(encoding="utf-8"))
    except (OSError, InputError, TypeError) as error:
        raise RunFolderError.from_parts(
            expected=f"the summary of a study in '{path}'", got=type(error).__name__, do="finish the study first"
        ) from error
