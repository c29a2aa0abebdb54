"""Whether there is memory for a run, said before it starts."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

from hisigma_zfit.errors import InputError

__all__ = ["free_memory", "require_room"]

_PROC = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, of its container, of the limits of its shell.

    None where the system does not tell.
    """
    found = [_of_machine(), _of_container(), _of_shell()]
    known = [size for size in found if size is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    found = _numbers(_PROC, ":")
    if "MemAvailable" in found:
        return 1024 * (found["MemAvailable"] + found.get("SwapFree", 0))
    try:  # all there is, as far as macOS tells
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_container() -> int | None:
    """What a control group leaves, as containers and batch systems set them; both versions of Linux's.

    Pages of files count as used there, but the system takes them back when it needs them.
    """
    for folder, limit, used, prefix in (
        (_GROUPS, "memory.max", "memory.current", ""),
        (_GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        try:
            taken = int((folder / used).read_text())
            most = int((folder / limit).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
        stat = _numbers(folder / "memory.stat", " ")
        cached = sum(stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
        return min(max(most - taken + cached, 0), most)
    return None


def _numbers(path: Path, separator: str) -> dict[str, int]:
    """Names and whole numbers of a file of the system; empty where there is none."""
    found = {}
    try:
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(separator)
            if rest.split():
                found[name] = int(rest.split()[0])
    except (OSError, ValueError):
        return {}
    return found


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
