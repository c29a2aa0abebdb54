"""The run folder: where one run of a task keeps its results, and how an interrupted one goes on.

A run works in ``NAME.partial`` beside its final place and is renamed to ``NAME`` when it is complete, so a folder with
the final name always holds a whole run.  `hisigma_zfit.runs.stored` lists what is inside.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import (
    disk_errors,
    disk_full,
    is_disk_full,
    make_parents,
    new_place,
    remove_empty,
    sync_directory,
    take_lock,
    take_place,
    write_bytes,
)
from hisigma_zfit.results.base import plain
from hisigma_zfit.runs.identity import stored_identity
from hisigma_zfit.runs.page import PAGE
from hisigma_zfit.runs.stored import LOCK, RECORD, is_empty_folder, require_complete, what_is_there
from hisigma_zfit.stored_files import file_name

if TYPE_CHECKING:
    from types import TracebackType

    from matplotlib.figure import Figure

    from hisigma_zfit.runs.identity import Identity
    from hisigma_zfit.runs.page import Drawable
    from hisigma_zfit.runs.stored import StoredResults

__all__ = ["RunFolder"]

_LOG = logging.getLogger(__name__)


class RunFolder:
    """One run on disk; made by `RunFolder.open` and used in a ``with`` block.

    The block's end renames the folder to its final name.  An exception leaves the partial folder for the next try, or
    nothing where nothing was made yet; one that says that the disk is full becomes a `RunFolderError`.

    Attributes:
        path: Final place.
        complete: The run is finished; where it was so at the start, its results are only to be read back.
        resumed: An interrupted run goes on.
    """

    def __init__(self, path: Path, *, complete: bool, resumed: bool = False, lock: int | None = None) -> None:
        self.path = path
        self.complete = complete
        self.resumed = resumed
        self._lock = lock
        self._replaces = False
        self._made: list[Path] = []  # folders above, which a run that makes nothing removes again

    @classmethod
    def open(cls, path: str | Path, identity: Identity, *, resume: bool = True, overwrite: bool = False) -> Self:
        """Start, resume or find again the run of this identity.

        Args:
            path: Final place of the folder; missing folders above it are made.
            identity: What decides the numbers.
            resume: Go on with an interrupted run, and return a complete one.  False discards what an interrupted run
                of the same identity has left, and refuses to replace a complete one.
            overwrite: Replace a run of another identity or of other versions of the packages: a complete one when
                this one is complete, an interrupted one at once.

        Raises:
            RunFolderError: The place cannot be used, and nothing was changed: something else is there, or a run of
                another identity, or one that another process works on; or nothing can be written there.
        """
        final = new_place(path)
        partial = _partial(final)
        if _find_complete(final, identity, resume=resume, overwrite=overwrite):
            return cls(final, complete=True)
        made = make_parents(final)
        try:
            with disk_errors(partial):
                lock = take_lock(partial, LOCK)
        except BaseException:
            remove_empty(made)
            raise
        try:
            # another process may have finished between the look and the lock
            if _find_complete(final, identity, resume=resume, overwrite=overwrite):
                shutil.rmtree(partial)
                os.close(lock)
                return cls(final, complete=True)
            stored = stored_identity(partial)
            goes_on = stored is not None and resume and not (overwrite and not identity.is_same(stored))
            if stored is not None and not goes_on:
                _empty(partial)
            run = cls(final, complete=False, resumed=goes_on, lock=lock)
            run._replaces, run._made = overwrite, made
            if run.resumed:
                _LOG.info("going on with the interrupted run in %s", partial)
            else:
                run.write_json("run.json", identity.content())
        except BaseException:
            _remove_bare(partial)
            remove_empty(made)
            os.close(lock)
            raise
        return run

    @property
    def folder(self) -> Path:
        """Where the files are now: the partial folder, or `path` when the run is complete."""
        return self.path if self.complete else _partial(self.path)

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
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file of bytes; see `write_text`."""
        path = self._place(name)
        with disk_errors(self.folder, name, needed=len(content)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result, or any value of numbers, words, arrays, lists and mappings; see `write_text`."""
        text = value.to_json() if hasattr(value, "to_json") else json.dumps(plain(value), indent=1, allow_nan=False)
        return self.write_text(name, f"{text}\n")

    def write_results(self, results: StoredResults) -> None:
        """Write everything that `read_results` reads back; see `write_text`."""
        for name, text in results.files().items():
            self.write_text(name, f"{text}\n")

    def save_figure(self, name: str, figure: Figure) -> tuple[Path, Path]:
        """Write ``figures/NAME.pdf`` and ``figures/NAME.png``, any name; see `write_text`."""
        from hisigma_zfit.report import plotting  # takes a second, which checking a folder need not wait for

        stem = self._place(f"figures/{file_name(name)}")
        with disk_errors(self.folder, f"figures/{name}"):
            stem.parent.mkdir(parents=True, exist_ok=True)
            return plotting.save(figure, stem)

    def save_page(self, results: Drawable) -> None:
        """Write all figures, and the page that holds them beside the numbers; ``config.yaml`` must be there.

        Args:
            results: Of the run.

        Raises:
            RunFolderError: The disk is full, or the run is complete.
        """
        figures = results.figures()
        for name, figure in figures.items():
            self.save_figure(name, figure)
        self.write_text(PAGE, results.page(self.folder, figures))

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
        require_complete(source)
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
                remove_empty(self._made)
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
            if self._replaces and not self.path.is_symlink() and stored_identity(self.path) is not None:
                self._replace()
                return
            raise RunFolderError.from_parts(
                expected=f"'{self.path}' to be still free",
                got=what_is_there(self.path),
                do=f"move that away and run the same command again, which takes up '{partial}'",
            ) from error
        self._completed()

    def _replace(self) -> None:
        """Take the place of an earlier run, which is whole until that moment."""
        _require_replaceable(self.path)
        partial = self.folder
        take_place(partial, self.path)
        shutil.rmtree(partial, ignore_errors=True)
        self._completed()

    def _completed(self) -> None:
        with contextlib.suppress(OSError):
            (self.path / LOCK).unlink()
        sync_directory(self.path.parent)
        self.complete = True


def _partial(final: Path) -> Path:
    return final.with_name(f"{final.name}.partial")


def _find_complete(final: Path, identity: Identity, *, resume: bool, overwrite: bool) -> bool:
    """Look without touching: is this very run complete?  Raises where the place cannot be used for it."""
    partial = _partial(final)
    for folder, what, do in (
        (final, "the run", "choose another folder, or replace that run with --overwrite (overwrite=True)"),
        (
            partial,
            "the interrupted run",
            "give what it was started with to go on with it, choose another folder, or start anew with --overwrite "
            "(overwrite=True)",
        ),
    ):
        stored = stored_identity(folder)
        if stored is None:
            if (folder.exists() or folder.is_symlink()) and not is_empty_folder(folder):
                raise RunFolderError.from_parts(
                    expected=f"nothing or an earlier run at '{folder}'",
                    got=what_is_there(folder),
                    do=f"move '{folder}' away or choose another folder",
                )
        elif overwrite and not identity.is_same(stored):
            _require_replaceable(folder)
        else:
            identity.require_same(folder, stored, what=what, do=do)
            if folder == final and resume:
                return True
            if folder == final:
                raise RunFolderError.from_parts(expected=f"no finished run at '{final}'", got="one", do=do)
    return False


def _require_replaceable(folder: Path) -> None:
    if (folder / RECORD).exists():
        raise RunFolderError.from_parts(
            expected="a run that may be replaced",
            got=f"the blind run '{folder}', whose region was opened and which is the record of that",
            do="choose another folder",
        )


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
