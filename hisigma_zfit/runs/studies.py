"""Folders of studies with pseudo-experiments, whichever task's: options in one file, finished pieces beside it.

A study goes on where it was interrupted, and a longer one with the same options begins with the pieces of a shorter.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.files import disk_errors, make_parents, new_place, remove_empty, take_lock, write_text
from hisigma_zfit.results.base import plain
from hisigma_zfit.runs.identity import package_versions
from hisigma_zfit.runs.stored import LOCK
from hisigma_zfit.stored_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["StudyPlace"]


@dataclass(frozen=True)
class StudyPlace:
    """Where one study is kept.

    Attributes:
        path: The folder, an absolute path.
        file: Name of the file with the options.
        schema: Its schema; a study of another one is not gone on with.
        overwrite: Replace a study of other options.
    """

    path: Path
    file: str
    schema: str
    overwrite: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", new_place(self.path))

    def require_usable(self, options: Mapping[str, Any]) -> bool:
        """Look without touching whether a study with these options may be made here or goes on here.

        Args:
            options: What decides the toys; what is not known yet is left out.

        Returns:
            Whether there is one of other options, which `overwrite` replaces.

        Raises:
            RunFolderError: Other things are here, or toys of other options.
        """
        wanted, stored = _plain(options), self._stored()
        if stored is None:
            if self.path.exists() and not (
                self.path.is_dir() and all(entry.name == LOCK for entry in self.path.iterdir())
            ):
                raise RunFolderError.from_parts(
                    expected=f"nothing or an earlier study at '{self.path}'",
                    got="something else",
                    do="choose another folder with --out",
                )
            return False
        name = next((name for name in wanted if name not in stored or wanted[name] != stored[name]), None)
        if name is None or self.overwrite:
            return name is not None
        values = f"{stored.get(name)!r} then and {wanted[name]!r} now"
        raise RunFolderError.from_parts(
            expected=f"the toys in '{self.path}' to have the same {name}",
            got="another one" if isinstance(wanted[name], dict) else values,
            do="choose another folder with --out, or replace them with --overwrite (overwrite=True)",
        )

    @contextmanager
    def taken(self, options: Mapping[str, Any]) -> Iterator[None]:
        """Start a study or go on with the one of these options; locked meanwhile.

        What is finished stays whatever ends the block; where nothing is, no folder stays.

        Args:
            options: Everything that decides the toys, but for their number; must be expressible in JSON.

        Raises:
            RunFolderError: As `require_usable`; or another process works on it.
        """
        self.require_usable(options)
        made = make_parents(self.path)
        try:
            with disk_errors(self.path):
                lock = take_lock(self.path, LOCK)
        except BaseException:
            remove_empty(made)
            raise
        try:
            with disk_errors(self.path):
                if self.require_usable(options):
                    _empty(self.path)
                if self._stored() is None:
                    content = {"schema": self.schema, "options": _plain(options), "versions": package_versions()}
                    write_text(self.path / self.file, json.dumps(content, indent=1) + "\n")
            yield
        finally:
            self._leave(lock)
            remove_empty(made)

    def _leave(self, lock: int) -> None:
        pieces = [entry for entry in self.path.rglob("*") if entry.name not in {LOCK, self.file} and not entry.is_dir()]
        with contextlib.suppress(OSError):
            if not pieces:
                (self.path / self.file).unlink()
            (self.path / LOCK).unlink()
        if not pieces:
            remove_empty([*(entry for entry in self.path.iterdir() if entry.is_dir()), self.path])
        os.close(lock)

    def _stored(self) -> dict[str, Any] | None:
        try:
            stored = read_json(self.path / self.file)
        except (OSError, ValueError):
            return None
        known = isinstance(stored, dict) and stored.get("schema") == self.schema
        options = stored.get("options") if known else None
        return options if isinstance(options, dict) else None


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(plain(options)))
    return found


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
