"""What is in a run folder, and how to read it.

run.json                     what decides the numbers: task, digests of the inputs, options; and the versions used
presentation.json            what the analyst said of the figures: words, units, titles
config.yaml                  all options, to repeat the run with ``--config``
members/                     trained members, one by one
result.json                  the answer of the task
NAME.json, FOLDER/NAME.json  its other results
figures/                     PDF and PNG of each figure
report.html                  all of it on one page that needs no other file

A task adds what is its own, such as ``model/``, and knows the names and kinds of its results.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.results.base import Result
from hisigma_zfit.runs.identity import stored_identity
from hisigma_zfit.stored_files import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOCK",
    "PRESENTATION",
    "RECORD",
    "RESULT",
    "StoredResults",
    "is_empty_folder",
    "read_results",
    "require_complete",
    "what_is_there",
]

LOCK = ".lock"
RECORD = "unblinding.json"  # when the region of a blind run was first opened
RESULT = "result"  # name of the task's answer, the one result that every complete run has
PRESENTATION = "presentation"  # name of the words on its figures

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class StoredResults:
    """All that a finished run knows and that its figures are drawn from.

    Attributes:
        results: Results by name, which is that of the file in the run folder without ``.json``.
    """

    results: Mapping[str, Result]

    def files(self) -> dict[str, str]:
        """Text of each file by its name in the run folder; `read_results` reads them back."""
        # the answer last, so that a folder that has it has everything else as well
        ordered = sorted(self.results.items(), key=lambda item: item[0] == RESULT)
        return {f"{name}.json": result.to_json() for name, result in ordered}

    def all(self, pattern: str, kind: type[R]) -> tuple[R, ...]:
        """Results of one kind whose names match a pattern such as ``"projections/*"``, in order of their names."""
        names = sorted(name for name in self.results if fnmatchcase(name, pattern))
        return tuple(result for name in names if isinstance(result := self.results[name], kind))

    def one(self, name: str, kind: type[R]) -> R | None:
        """The result of that name, or None where there is none."""
        result = self.results.get(name)
        return result if isinstance(result, kind) else None


def require_complete(path: str | Path, task: str | None = None) -> Path:
    """Check that `path` is a complete run.

    Args:
        path: The run folder.
        task: The task that must have made it; any by default.

    Raises:
        RunFolderError: It is not.
    """
    folder = Path(path)
    stored = stored_identity(folder)
    if stored is None:
        raise RunFolderError.from_parts(
            expected=f"a run at '{folder}'", got=what_is_there(folder), do="name the folder of a finished run"
        )
    if task is not None and stored.get("task", task) != task:
        raise RunFolderError.from_parts(
            expected=f"a run of the task '{task}' at '{folder}'", got=f"one of '{stored['task']}'", do="name another"
        )
    if not (folder / f"{RESULT}.json").exists():
        raise RunFolderError.from_parts(
            expected=f"'{RESULT}.json' in the run '{folder}'", got="no such file", do="finish the run first"
        )
    return folder


def read_results(path: str | Path, layout: Mapping[str, type[Result]], *, task: str | None = None) -> StoredResults:
    """Read the results of a run folder.

    Args:
        path: The run folder.
        layout: Kind of each result by its name, or by a pattern of names such as ``"projections/*"``.
        task: The task that must have made it; any by default.

    Raises:
        RunFolderError: `path` is not such a run with a result, or a file in it is damaged.
    """
    folder = require_complete(path, task)
    results: dict[str, Result] = {}
    for pattern, kind in layout.items():
        for file in sorted(folder.glob(f"{pattern}.json")):
            if not file.name.startswith("."):  # what an interrupted writing left
                results[str(file.relative_to(folder).with_suffix(""))] = _read(kind, file)
    return StoredResults(results)


def _read(kind: type[Result], file: Path) -> Result:
    try:
        return kind.from_json(read_text(file))
    except (InputError, FileNotFoundError) as error:
        raise RunFolderError.from_parts(
            expected=f"a whole file '{file}'", got=f"a damaged one ({error})", do="repeat the run in a new folder"
        ) from error


def is_empty_folder(path: Path) -> bool:
    """Nothing inside but what a run that died at once may have left."""
    return path.is_dir() and all(entry.name in {LOCK, ".run.json.tmp"} for entry in path.iterdir())


def what_is_there(path: Path) -> str:
    """Words for an error message."""
    if not path.exists():
        return "a broken link" if path.is_symlink() else "nothing"
    if not path.is_dir():
        return "a file"
    return "an empty folder" if is_empty_folder(path) else "a folder that is not a run"
