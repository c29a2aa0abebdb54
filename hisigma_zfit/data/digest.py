"""What a file is, whatever its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hisigma_zfit.data.memory import held_at, is_held
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["digests_by_name", "file_digest", "names_by_role"]


class NamedFile(Protocol):
    """A file, or a part of one, with a name for people."""

    @property
    def name(self) -> str:
        """Without the folder."""

    def __fspath__(self) -> str: ...


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, or of events in memory, as ``"sha256:..."``.

    Raises:
        InputError: The file cannot be read.
    """
    if is_held(path):
        return held_at(path).digest
    try:
        with Path(path).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError.from_parts(expected="a file", got=f"{path} ({error.strerror})", do="check the path") from error


def digests_by_name(files: Mapping[str, Sequence[NamedFile]]) -> dict[str, str]:
    """Digest of every file by its name, without the folder unless two files share it.

    Args:
        files: Files by what they are used as.
    """
    return {name: file_digest(path) for path, name in _names(files).items()}


def names_by_role(files: Mapping[str, Sequence[NamedFile]]) -> dict[str, list[str]]:
    """What each file is used as, in order, by the names of `digests_by_name`; see there."""
    names = _names(files)
    return {role: [names[path] for path in paths] for role, paths in files.items() if paths}


def _names(files: Mapping[str, Sequence[NamedFile]]) -> dict[NamedFile, str]:
    paths = list(dict.fromkeys(path for group in files.values() for path in group))
    names = [path.name for path in paths]
    return {path: path.name if names.count(path.name) == 1 else str(path) for path in paths}
