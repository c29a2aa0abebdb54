"""Whether there is memory for a run, said before it starts."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

from hisigma_zfit.errors import InputError

__all__ = ["free_memory", "require_room"]


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, of its container, of the limits of its shell.

    None where the system does not tell.
    """
    found = [_of_machine(), _of_container(), _of_shell()]
    known = [size for size in found if size is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:  # all there is, as far as macOS tells
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_container() -> int | None:
    """What a control group leaves, as containers and batch systems set them; both versions of Linux's."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        root = Path("/sys/fs/cgroup")
        try:
            return max(int((root / limit).read_text()) - int((root / used).read_text()), 0)
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None


def _of_shell() -> int | None:
    """What ``ulimit -d`` leaves, of which nothing is known to be used; libraries take more addresses than memory."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def require_room(memory: float, disk: float) -> str:
    """Check that a run will fit, before it starts; returns the line that says so.

    Args:
        memory: Bytes that it will need.
        disk: Bytes that it will need in the folder for temporary files.

    Raises:
        InputError: It would not fit.
    """
    free, folder = free_memory(), tempfile.gettempdir()
    there = shutil.disk_usage(folder).free
    if free is not None and memory > free:
        raise InputError.from_parts(
            expected=f"about {_size(memory)} of memory",
            got=f"{_size(free)} free",
            do="cut events away, name fewer features or bootstraps, or go to a larger machine",
        )
    if disk > there:
        raise InputError.from_parts(
            expected=f"about {_size(disk)} for temporary files in {folder}",
            got=f"{_size(there)} free",
            do="let TMPDIR name a folder with more room",
        )
    beside = f" and {_size(disk)} in {folder}" if disk else ""
    return f"this run will need about {_size(memory)}{beside}" + ("" if free is None else f"; {_size(free)} are free")


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"
