"""Files that a crash, a full disk or a second process cannot spoil."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
from typing import TYPE_CHECKING

from hisigma_zfit.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["disk_errors", "disk_full", "is_disk_full", "sync_directory", "take_lock", "write_bytes"]

_LOG = logging.getLogger(__name__)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step: hidden file beside it, flush to disk, rename.

    Raises:
        OSError: Whatever the file system answers; `path` then keeps its former content and no temporary file stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


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
