"""The folder of a study with pseudo-experiments: finished toys piece by piece, then their summary.

toys.json                    what decides the toys, and the versions used
chunks/                      fits, so many toys in each file
summary.json, table.txt, figures/, report.html
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import disk_errors, write_bytes, write_npz
from hisigma_zfit.results import Presentation, ToySummary
from hisigma_zfit.runs.page import PAGE, study_origin
from hisigma_zfit.runs.redrawing import stored_words, write_words
from hisigma_zfit.runs.studies import StudyPlace
from hisigma_zfit.stored_files import read_npz, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matplotlib.figure import Figure

    from hisigma_zfit.arrays import Array

__all__ = ["ToyFolder", "ToyResults", "load_toy_results", "load_toys"]

FILE = "toys.json"
SCHEMA = "hisigma-zfit/toy-study/2"  # the toys of the first drew from other random streams


class ToyFolder:
    """One study on disk; made by `ToyFolder.open` and used in a ``with`` block.

    Finished chunks stay whatever ends the block, and a longer study with the same options goes on from them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def place(path: str | Path, *, overwrite: bool = False) -> StudyPlace:
        """The place of a study, which can be looked at before toys are prepared.

        Args:
            path: Folder; missing ones above it are made.
            overwrite: Replace a study of other options.

        Raises:
            RunFolderError: No folder can have that name.
        """
        return StudyPlace(Path(path), FILE, SCHEMA, overwrite)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | Path, options: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[Self]:
        """Start a study, or go on with the one that these options make.

        Args:
            path: Folder; missing ones above it are made.
            options: Everything that decides the toys, but for their number; must be expressible in JSON.
            overwrite: Replace a study of other options.

        Raises:
            RunFolderError: The folder cannot be used: other things are in it, or toys of other options, or another
                process works on it.
        """
        place = cls.place(path, overwrite=overwrite)
        with place.taken(options):
            yield cls(place.path)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        content = text.encode()
        with disk_errors(self.path, name, needed=len(content)):
            write_bytes(self.path / name, content)

    def read(self, start: int) -> dict[str, Array] | None:
        """Arrays of the chunk that begins with toy number `start`; None where it is missing or damaged."""
        try:
            return read_npz(self._chunk(start))
        except (FileNotFoundError, InputError):
            return None

    def write(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Keep a chunk, whole or not at all."""
        chunk = self._chunk(start)
        with disk_errors(self.path, str(chunk.relative_to(self.path))):
            chunk.parent.mkdir(exist_ok=True)
            write_npz(chunk, arrays)

    def _chunk(self, start: int) -> Path:
        return self.path / "chunks" / f"{start:07d}.npz"

    def finish(self, summary: ToySummary, presentation: Presentation | None = None) -> None:
        """Write the summary with its table and figures.

        Args:
            summary: Of the toys.
            presentation: Words on the figures; none by default.
        """
        from hisigma_zfit.report.plotting import save

        results = ToyResults(summary, presentation or Presentation())
        write_words(self.path, results.presentation)
        figures = results.figures()
        with disk_errors(self.path, "figures"):
            (self.path / "figures").mkdir(exist_ok=True)
            for name, figure in figures.items():
                save(figure, self.path / "figures" / name)
        self.write_text("table.txt", f"{results.table()}\n")
        self.write_text(PAGE, results.page(self.path, figures))
        self.write_text("summary.json", f"{summary.to_json()}\n")


@dataclass(frozen=True)
class ToyResults:
    """All that a finished study knows and that its figures are drawn from."""

    summary: ToySummary
    presentation: Presentation = field(default_factory=Presentation)

    def table(self) -> str:
        """Content of ``table.txt``."""
        from hisigma_zfit.report.toy_tables import toys

        return toys(self.summary)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.style import presented
        from hisigma_zfit.report.toy_figures import toy_figures

        with presented(self.presentation):
            return toy_figures(self.summary)

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``."""
        from hisigma_zfit.report.page import page
        from hisigma_zfit.report.pages import toy_content

        return page(toy_content(self.summary), figures, study_origin(folder / "toys.json", "toys"))


def load_toys(path: str | Path) -> ToySummary:
    """Read the summary of a finished study.

    Raises:
        RunFolderError: There is none.
    """
    file = Path(path) / "summary.json"
    try:
        return ToySummary.from_json(read_text(file))
    except (OSError, InputError, TypeError) as error:
        raise RunFolderError.from_parts(
            expected=f"the summary of a study in '{path}'", got=type(error).__name__, do="finish the study first"
        ) from error


def load_toy_results(path: str | Path) -> ToyResults:
    """Read a finished study, with the words on its figures.

    Raises:
        RunFolderError: There is none.
    """
    return ToyResults(load_toys(path), stored_words(path))
