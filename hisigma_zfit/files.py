"""Files that a crash, a full disk or a second process cannot spoil."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    import numpy.typing as npt

__all__ = [
    "disk_errors",
    "disk_full",
    "exchange",
    "is_disk_full",
    "make_parents",
    "new_place",
    "remove_empty",
    "sync_directory",
    "take_lock",
    "take_place",
    "write_bytes",
    "write_folder",
    "write_npz",
    "write_text",
]

_LOG = logging.getLogger(__name__)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}
_NO_EXCHANGE = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of <fcntl.h> and <linux/fs.h>
_LONGEST_NAME = 240  # bytes, of 255: what is written beside a folder has a longer name


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step: hidden file beside it, flush to disk, rename.

    Raises:
        OSError: Whatever the file system answers; `path` then keeps its former content and no temporary file stays.
    """
    with _replaced(path) as stream:
        stream.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays of numbers as ``.npz``; see `write_bytes`."""
    with _replaced(path) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to write in; when the block ends well, it takes the place of `path` in one step.

    Whoever looks at `path` finds the former folder or the new one, each whole, at every moment.  Only where the file
    system cannot exchange two names (not on Linux's own, nor on NFS from version 4.2 on) is there nothing for the
    moment between two renames.

    Args:
        path: The folder; missing ones above it are made.

    Raises:
        OSError: Whatever the file system answers; `path` then keeps its former content.
    """
    path = path.resolve()  # what a link points to is written, and the link stays
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)  # of a process that was killed
    fresh.mkdir()
    try:
        yield fresh
        for part in (*(p for p in fresh.rglob("*") if p.is_dir()), fresh):
            sync_directory(part)
        if path.exists():
            take_place(fresh, path)
        else:
            fresh.replace(path)
        sync_directory(path.parent)
    finally:
        # by now what was at `path` before, or what did not become whole
        shutil.rmtree(fresh, ignore_errors=True)


def take_place(fresh: Path, path: Path) -> None:
    """Give the folder `fresh` the name `path`; what was there is `fresh` afterwards.

    Raises:
        OSError: Whatever the file system answers; both then keep their names.
    """
    try:
        exchange(fresh, path)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
    else:
        return
    aside = path.with_name(f".{path.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    path.replace(aside)
    try:
        fresh.replace(path)
    except BaseException:
        aside.replace(path)
        raise
    aside.replace(fresh)


def exchange(first: Path, second: Path) -> None:
    """Exchange two names of one file system, both of which exist, in one step.

    Raises:
        OSError: Whatever the file system answers; ENOSYS where the system has no such call.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # in glibc 2.28 and musl 1.2.6 or newer
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(first), None, str(second))
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first), None, str(second))


def new_place(path: str | Path) -> Path:
    """The absolute path of a folder that is to be made.

    Links in it stay links.

    Raises:
        RunFolderError: No folder can have that name.
    """
    text = os.fspath(path)
    got = None
    if "\0" in text:
        got = "one with a NUL character"
    elif not text.strip():
        got = "an empty one"
    elif any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(text).parts):
        got = f"one of more than {_LONGEST_NAME} bytes"
    place = Path(os.path.abspath(text)) if got is None else Path()  # noqa: PTH100 - resolve() would replace a link
    if got is None and not place.name:
        got = f"the root of the file system '{place}'"
    if got is not None:
        raise RunFolderError.from_parts(expected="the name of a folder to be made", got=got, do="choose another name")
    return place


def make_parents(path: Path) -> list[Path]:
    """Make the folders above `path` that are missing.

    Returns:
        Those that were made, the innermost first, for `remove_empty`.

    Raises:
        RunFolderError: Something else is in the way, or it is not allowed.
    """
    missing = []
    parent = path.parent
    while not parent.exists() and not parent.is_symlink():
        missing.append(parent)
        parent = parent.parent
    if not parent.is_dir():
        got = "a broken link" if parent.is_symlink() and not parent.exists() else "a file"
        raise RunFolderError.from_parts(expected=f"an existing folder '{parent}'", got=got, do="choose another place")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RunFolderError.from_parts(
            expected=f"a folder '{parent}' to write into", got="no permission to do so", do="choose another folder"
        )
    with disk_errors(parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of some folders that are empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def sync_directory(path: Path) -> None:
    """Make renames inside `path` survive a power cut, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def take_lock(folder: Path, name: str) -> int:
    """Make `folder` and lock it; the lock ends with the process, whatever ends that.

    A separate file carries the lock, because network file systems lock only what is open for writing.

    Args:
        folder: The folder; made where it is missing.
        name: Name of the lock file inside.

    Returns:
        The open descriptor that holds the lock; closing it gives the lock up.

    Raises:
        RunFolderError: Another process holds it.
    """
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # the holder has renamed the folder just now
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), (folder / name).stat()):
                return lock
            os.close(lock)
        except FileNotFoundError:  # renamed between opening and locking
            os.close(lock)
        except BlockingIOError:
            os.close(lock)
            raise RunFolderError.from_parts(
                expected=f"'{folder}' to be free", got="a run that is going on in it", do="wait for it or stop it"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(lock)
                raise
            _LOG.warning("this file system has no locks: make sure that no second process uses %s", folder)
            return lock


@contextlib.contextmanager
def disk_errors(folder: Path, name: str = "", *, needed: int | None = None) -> Iterator[None]:
    """Turn a full disk or quota into one clear line; other errors pass.

    Args:
        folder: Folder of the run, which stays for the next try.
        name: What is being written.
        needed: Its size in bytes, where that is known.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(folder, error, name=name, needed=needed) from error


def disk_full(folder: Path, error: OSError, *, name: str = "", needed: int | None = None) -> RunFolderError:
    """The error that says what did not fit, how much room there is, and that nothing is lost."""
    what = f"'{name or error.filename}'" if name or error.filename else "a file"
    size = f" of {_size(needed)}" if needed is not None else ""
    try:
        free = _size(shutil.disk_usage(folder if folder.exists() else folder.parent).free)
    except OSError:
        free = "an unknown size"
    reason = "used-up quota" if error.errno == errno.EDQUOT else "full disk"
    return RunFolderError(
        f"expected room for {what}{size}, got a {reason} ({free} free) at '{folder}'; "
        "free some space and run the same command again: members trained so far are kept"
    )


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error` is the file system's word for a full disk or quota."""
    return isinstance(error, OSError) and error.errno in _FULL


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
