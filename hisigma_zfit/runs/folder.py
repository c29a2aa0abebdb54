"""The run folder: where one measurement keeps its results, and how an interrupted one goes on.

A run works in ``NAME.partial`` beside its final place and is renamed to ``NAME`` when it is complete, so a folder with
the final name always holds a whole run.  `hisigma_zfit.runs.stored` lists what is inside.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import json
import logging
import os
import platform
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import disk_errors, disk_full, is_disk_full, sync_directory, take_lock, write_bytes
from hisigma_zfit.results.base import plain
from hisigma_zfit.runs.stored import (
    LOCK,
    SCHEMA,
    StoredResults,
    is_empty_folder,
    load_results,
    stored_identity,
    what_is_there,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from matplotlib.figure import Figure

    from hisigma_zfit.results import Measurement

__all__ = ["RunFolder", "StoredResults", "load_results", "package_versions"]

_LOG = logging.getLogger(__name__)
_PACKAGES = ("hisigma_zfit", "zfit", "tensorflow", "tensorflow-probability", "hepstats", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


class RunFolder:
    """One run on disk; made by `RunFolder.open` and used in a ``with`` block.

    The block's end renames the folder to its final name.  An exception leaves the partial folder for the next try, or
    nothing where nothing was made yet; one that says that the disk is full becomes a `RunFolderError`.

    Attributes:
        path: Final place.
        complete: The run is finished; where it was so at the start, only `measurement` is left to be shown.
        resumed: An interrupted run goes on.
    """

    def __init__(self, path: Path, *, complete: bool, resumed: bool = False, lock: int | None = None) -> None:
        self.path = path
        self.complete = complete
        self.resumed = resumed
        self._lock = lock

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        inputs: Mapping[str, str],
        options: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
        resume: bool = True,
    ) -> Self:
        """Start, resume or find again the run that these inputs and options make.

        Args:
            path: Final place of the folder; its parent must exist.
            inputs: Digest of each input file, by name.
            options: Every option that changes numbers; must be expressible in JSON.
            versions: Versions of packages, by default `package_versions`; others than stored are logged, not refused.
            resume: Go on with an interrupted run, and return a complete one.  False discards what an interrupted run
                with the same inputs and options has left, and refuses to replace a complete one.

        Raises:
            RunFolderError: The place cannot be used, and nothing was changed: something else is there, or a run with
                other inputs or options, or one that another process works on; or nothing can be written there.
        """
        final = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would replace a link by its target
        partial = _partial(final)
        identity = {
            "schema": SCHEMA,
            "inputs": dict(inputs),
            "options": json.loads(json.dumps(plain(options))),
            "versions": dict(package_versions() if versions is None else versions),
        }
        if _find_complete(final, identity, resume=resume):
            return cls(final, complete=True)
        with disk_errors(partial):
            lock = take_lock(partial, LOCK)
        try:
            # another process may have finished between the look and the lock
            if _find_complete(final, identity, resume=resume):
                shutil.rmtree(partial)
                os.close(lock)
                return cls(final, complete=True)
            found = stored_identity(partial) is not None
            if found and not resume:
                _empty(partial)
            run = cls(final, complete=False, resumed=found and resume, lock=lock)
            if run.resumed:
                _LOG.info("going on with the interrupted run in %s", partial)
            else:
                run.write_json("run.json", identity)
        except BaseException:
            _remove_bare(partial)
            os.close(lock)
            raise
        return run

    @property
    def folder(self) -> Path:
        """Where the files are now: the partial folder, or `path` when the run is complete."""
        return self.path if self.complete else _partial(self.path)

    @property
    def measurement(self) -> Measurement | None:
        """The stored measurement, or None where there is none yet."""
        return load_results(self.folder).measurement if (self.folder / "result.json").exists() else None

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file, whole or not at all.

        Args:
            name: Name inside the run folder; subfolders are made.
            text: Its content.

        Returns:
            Path of the file.

        Raises:
            RunFolderError: The disk is full, or the run is complete.
            InputError: `name` leaves the folder.
        """
        path = self._place(name)
        content = text.encode()
        with disk_errors(self.folder, name, needed=len(content)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result, or any value of numbers, words, arrays, lists and mappings; see `write_text`."""
        text = value.to_json() if hasattr(value, "to_json") else json.dumps(plain(value), indent=1, allow_nan=False)
        return self.write_text(name, f"{text}\n")

    def write_results(self, results: StoredResults) -> None:
        """Write everything that `load_results` reads back; see `write_text`."""
        for name, text in results.files().items():
            self.write_text(name, f"{text}\n")

    def save_figure(self, name: str, figure: Figure) -> tuple[Path, Path]:
        """Write ``figures/NAME.pdf`` and ``figures/NAME.png``; see `write_text`."""
        from hisigma_zfit.report import plotting  # takes a second, which checking a folder need not wait for

        stem = self._place(f"figures/{name}")
        with disk_errors(self.folder, f"figures/{name}"):
            stem.parent.mkdir(parents=True, exist_ok=True)
            return plotting.save(figure, stem)

    def member_folder(self, name: str) -> Path:
        """Folder ``members/NAME`` where a training keeps its members; it outlives an interruption."""
        folder = self._place(f"members/{name}")
        with disk_errors(self.folder, f"members/{name}"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def take_members(self, source: str | Path) -> None:
        """Copy the trained members of a complete run, but not over those that are here; they outlive an interruption.

        A training looks itself whether members are those of its events and options, and refuses others.

        Args:
            source: The other run folder.

        Raises:
            RunFolderError: The disk is full, or this run is complete.
            InputError: `source` is no complete run.
        """
        load_results(source)
        for found in sorted((Path(source) / "members").glob("*")):
            folder = self._place(f"members/{found.name}")
            if not folder.exists():
                with disk_errors(self.folder, f"members/{found.name}"):
                    shutil.copytree(found, folder)

    def _place(self, name: str) -> Path:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise InputError.from_parts(
                expected="a name inside the run folder", got=repr(name), do="use a relative one without '..'"
            )
        if self.complete:
            raise RunFolderError.from_parts(
                expected="an unfinished run", got=f"the finished one '{self.path}'", do="choose another folder"
            )
        return self.folder / parts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and not self.complete:
                self._finish()
            elif not self.complete:
                _remove_bare(self.folder)
            if isinstance(error, OSError) and is_disk_full(error):
                # a training that writes its members by itself meets the full disk bare
                raise disk_full(self.folder, error) from error
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _finish(self) -> None:
        partial = self.folder
        try:
            partial.replace(self.path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            raise RunFolderError.from_parts(
                expected=f"'{self.path}' to be still free",
                got=what_is_there(self.path),
                do=f"move that away and run the same command again, which takes up '{partial}'",
            ) from error
        with contextlib.suppress(OSError):
            (self.path / LOCK).unlink()
        sync_directory(self.path.parent)
        self.complete = True


def _partial(final: Path) -> Path:
    return final.with_name(f"{final.name}.partial")


def _find_complete(final: Path, identity: Mapping[str, Any], *, resume: bool) -> bool:
    """Look without touching: is this very run complete?  Raises where the place cannot be used for it."""
    partial = _partial(final)
    for folder, do in ((final, "choose another folder"), (partial, f"move '{partial}' away or choose another folder")):
        stored = stored_identity(folder)
        if stored is not None:
            _compare(folder, stored, identity)
            if folder == partial:
                break
            if resume:
                return True
            raise RunFolderError.from_parts(expected=f"no finished run at '{final}'", got="one", do=do)
        if (folder.exists() or folder.is_symlink()) and not is_empty_folder(folder):
            raise RunFolderError.from_parts(
                expected=f"nothing or an earlier run at '{folder}'", got=what_is_there(folder), do=do
            )
    parent = final.parent
    if not parent.is_dir():
        raise RunFolderError.from_parts(
            expected=f"an existing folder '{parent}'", got=what_is_there(parent), do="make it first"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RunFolderError.from_parts(
            expected=f"a folder '{parent}' to write into", got="no permission to do so", do="choose another folder"
        )
    return False


def _compare(folder: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise where the run was made from other inputs or options, naming the first that differs."""
    for group, noun in (("inputs", "input"), ("options", "option")):
        old, new = stored.get(group, {}), wanted[group]
        differing = [key for key in {**new, **old} if (key in old, old.get(key)) != (key in new, new.get(key))]
        if not differing:
            continue
        key, more = differing[0], f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        if group == "inputs":
            difference = "with other content" if key in old and key in new else "in only one of them"
        else:
            difference = f"{_shown(old, key)} instead of {_shown(new, key)}"
        raise RunFolderError.from_parts(
            expected=f"the run at '{folder}' to have the same inputs and options",
            got=f"{noun} '{key}' {difference}{more}",
            do="choose another folder or remove this one",
        )
    if stored.get("versions") != wanted["versions"]:
        _LOG.warning("the run at %s was made with other versions of the packages", folder)


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "nothing"


def _remove_bare(folder: Path) -> None:
    """Remove a partial folder in which nothing was made: a mistake in the input must not leave one behind."""
    own = {LOCK, "run.json", ".run.json.tmp"}
    if all(entry.name in own or (entry.is_dir() and not entry.is_symlink()) for entry in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Remove what an interrupted run has left, all but the lock."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
