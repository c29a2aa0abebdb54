"""Reading of what this package has written, as if somebody else had: damaged, exchanged or no file at all.

Only regular files of bounded size are read; arrays have the shape and the checksum that the file says, and no objects.
Whatever else is wrong with one is an `InputError`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

__all__ = [
    "checksum",
    "file_name",
    "opened",
    "read_json",
    "read_npz",
    "read_text",
    "require_checksums",
    "require_file_name",
    "sound",
]

Arrays = dict[str, npt.NDArray[Any]]

LONGEST_TEXT = 500_000_000  # bytes; the largest results of this package have some millions
LARGEST_ARRAYS = 50_000_000_000
_KINDS = "biufUS"  # of numpy's types: numbers and words
_LONGEST_NAME = 200  # letters


@contextmanager
def opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most `limit` bytes.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is a device, a pipe or a folder, larger, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _damaged(path, getattr(error, "strerror", None) or str(error)) from error
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _damaged(path, "no regular file")
        if found.st_size > limit:
            raise _damaged(path, f"one of {found.st_size:,} bytes, which is more than {limit:,}")
        try:
            yield stream
        except OSError as error:
            raise _damaged(path, error.strerror or str(error)) from error


def read_text(path: Path, *, limit: int = LONGEST_TEXT) -> str:
    """Read a text in UTF-8; see `opened`."""
    with opened(path, limit) as stream:
        content = stream.read(limit + 1)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(path, "one that is no text in UTF-8") from error


def read_json(path: Path) -> Any:
    """Read a JSON document; see `opened`.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is no regular file, no JSON, or nested too deeply.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _damaged(path, "JSON that is nested too deeply") from error
    except ValueError as error:
        raise _damaged(path, "no whole JSON document") from error


def read_npz(path: Path) -> Arrays:
    """Read the arrays that `files.write_npz` wrote; see `opened`.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is no regular file, truncated or changed, or holds something else than numbers and words.
    """
    try:
        with opened(path, LARGEST_ARRAYS) as stream, zipfile.ZipFile(stream) as archive:
            return {name: _array(archive.read(member)) for name, member in _members(archive).items()}
    except (FileNotFoundError, InputError):
        raise
    # damaged bytes lead the two libraries to many kinds of exceptions, which are not documented
    except Exception as error:
        raise _damaged(path, f"damaged arrays ({type(error).__name__})") from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    named = {member.filename.removesuffix(".npy"): member for member in members}
    # the size of compressed ones is not bounded by that of the file
    if len(named) != len(members) or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("names twice, or compressed")
    return named


def _array(content: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read_header(stream)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise ValueError("no numbers")
    # before anything of this size is made
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError("another size")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran else "C").copy()


def checksum(array: npt.NDArray[Any]) -> str:
    """SHA-256 of an array with its type and shape, as ``"sha256:..."``."""
    own = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{own.dtype.str} {array.shape} ".encode())
    digest.update(own.tobytes())
    return f"sha256:{digest.hexdigest()}"


def require_checksums(arrays: Mapping[str, npt.NDArray[Any]], stored: Any, path: Path) -> None:
    """Check arrays against what `checksum` said of each when they were written.

    Raises:
        InputError: One is another, or is missing.
    """
    if not isinstance(stored, dict) or set(stored) != set(arrays):
        raise _damaged(path, "one with other arrays than were written")
    for name, array in arrays.items():
        if stored[name] != checksum(array):
            raise _damaged(path, f"one whose array {name!r} was changed")


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Say in one line that what was read from a file is not what is expected there, whatever it leads to.

    Raises:
        InputError: What the block raised, or in its place.
    """
    try:
        yield
    except (FileNotFoundError, InputError):
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(path, f"a damaged one ({type(error).__name__}: {error})"[:200]) from error


def require_file_name(name: str) -> str:
    """The name, if it is one of a file inside of a folder and leads to nowhere else.

    Raises:
        InputError: It is not.
    """
    if not name or name in {".", ".."} or any(letter in name for letter in "/\\\0") or len(name) > _LONGEST_NAME:
        raise InputError.from_parts(
            expected="a name that a file inside of a folder can have", got=repr(name[:60]), do="choose another name"
        )
    return name


def file_name(text: str) -> str:
    """Name of a file for any text: different ones for different texts, and inside of the folder whatever the text is.

    >>> file_name("pt_bb"), file_name("jet/pt"), file_name("../../x")
    ('pt_bb', 'jet%2Fpt', '%2E.%2F..%2Fx')
    """
    safe = "".join(f"%{ord(letter):02X}" if letter in "%/\\\0" else letter for letter in text)
    safe = f"%2E{safe[1:]}" if safe.startswith(".") else safe
    if len(safe.encode(errors="replace")) > _LONGEST_NAME:
        safe = f"{safe[: _LONGEST_NAME // 4]}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"
    return safe or "%"


def _damaged(path: Path, got: str) -> InputError:
    return InputError.from_parts(
        expected=f"a whole file '{path}'", got=got, do="bring back the one that was written, or make it again"
    )
