"""What is in a run folder, and how to read it.

run.json                     what decides the numbers: digests of the inputs, options; and the versions used
members/                     trained members, one by one
model/                       the fitted model: densities, shapes and yields
result.json                  the `Measurement`
scan.json, training_*.json, projections/*.json, projections_enriched/*.json
figures/                     PDF and PNG of each figure
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.results import LikelihoodScan, Measurement, Projection, TrainingHistory

__all__ = ["LOCK", "SCHEMA", "StoredResults", "is_empty_folder", "load_results", "stored_identity", "what_is_there"]

SCHEMA = "hisigma-zfit/run/1"
LOCK = ".lock"


@dataclass(frozen=True)
class StoredResults:
    """All that a finished run knows and that its figures are drawn from."""

    measurement: Measurement
    projections: tuple[Projection, ...] = ()
    projections_enriched: tuple[Projection, ...] = ()
    scan: LikelihoodScan | None = None
    histories: tuple[TrainingHistory, ...] = ()

    def files(self) -> dict[str, str]:
        """Text of each file by its name in the run folder; `load_results` reads them back."""
        texts = {
            f"{group}/{projection.observable}.json": projection.to_json()
            for group in ("projections", "projections_enriched")
            for projection in getattr(self, group)
        }
        texts |= {f"training_{history.name}.json": history.to_json() for history in self.histories}
        if self.scan is not None:
            texts["scan.json"] = self.scan.to_json()
        # last, so that a folder with a result has everything else as well
        return texts | {"result.json": self.measurement.to_json()}


def load_results(path: str | Path) -> StoredResults:
    """Read the results of a run folder.

    Raises:
        RunFolderError: `path` is not a run with a result, or a file in it is damaged.
    """
    folder = Path(path)
    if stored_identity(folder) is None:
        raise RunFolderError.from_parts(
            expected=f"a run at '{folder}'", got=what_is_there(folder), do="name the folder of a finished run"
        )

    def read(kind: type[Any], file: Path) -> Any:
        try:
            return kind.from_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunFolderError.from_parts(
                expected=f"'{file.name}' in the run '{folder}'", got="no such file", do="finish the run first"
            ) from None
        except (InputError, TypeError, UnicodeDecodeError) as error:
            raise RunFolderError.from_parts(
                expected=f"a whole file '{file}'", got=f"a damaged one ({error})", do="repeat the run in a new folder"
            ) from error

    def read_all(kind: type[Any], pattern: str) -> tuple[Any, ...]:
        return tuple(read(kind, file) for file in sorted(folder.glob(pattern)))

    scans = read_all(LikelihoodScan, "scan.json")
    return StoredResults(
        measurement=read(Measurement, folder / "result.json"),
        projections=read_all(Projection, "projections/[!.]*.json"),
        projections_enriched=read_all(Projection, "projections_enriched/[!.]*.json"),
        scan=scans[0] if scans else None,
        histories=read_all(TrainingHistory, "training_*.json"),
    )


def stored_identity(folder: Path) -> dict[str, Any] | None:
    """Content of ``run.json``: inputs, options, versions; None where the folder is not a run."""
    try:
        stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and stored.get("schema") == SCHEMA else None


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
