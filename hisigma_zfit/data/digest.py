"""What a file is, whatever its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.data.memory import held_at, is_held
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import os

__all__ = [
    "file_digest",
]


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
