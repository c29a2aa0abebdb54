"""A zip file that is written in one step and read with suspicion.

The manifest names every other member with its size and its SHA-256.  What is read is compared with it before anything
is made of it, so that a changed byte is one line of error and never a wrong number.  Bytes are all that is believed:
names, sizes and array headers are checked before anything of their size is allocated.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import stat
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["MANIFEST", "SCHEMA", "Archive", "arrays", "packed_arrays", "read_archive", "sha256", "write_archive"]

MANIFEST = "analysis.json"
SCHEMA = "hisigma-zfit/analysis/1"

# far above any analysis, far below what would hurt: 200 categories of 100 densities, of 256 MB each at most
LARGEST = 256 * 2**20
LARGEST_TOTAL = 2**31
MOST_MEMBERS = 20_000
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the same content is the same file, whenever it is written
_PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def sha256(content: bytes) -> str:
    """Digest of some bytes, as ``"sha256:..."``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Archive:
    """What an export holds, all of it checked.

    Attributes:
        manifest: Content of ``analysis.json``.
        members: Content of every other member by its name.
        digest: SHA-256 of the manifest, and so of the whole analysis.
    """

    manifest: dict[str, Any]
    members: dict[str, bytes]
    digest: str

    def json(self, name: str) -> Any:
        """A member that is a JSON document.

        Raises:
            InputError: There is no such member, or it is no JSON.
        """
        try:
            return json.loads(self._member(name))
        except ValueError as error:
            raise _damaged(f"JSON in '{name}'", type(error).__name__) from error

    def text(self, name: str) -> str:
        """A member that is text."""
        return self._member(name).decode()

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """A member that holds named arrays; see `arrays`."""
        return arrays(self._member(name), name)

    def _member(self, name: str) -> bytes:
        if name not in self.members:
            raise _damaged(f"'{name}' in the export", "none")
        return self.members[name]

    @cached_property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(map(len, self.members.values()))


def _damaged(expected: str, got: str) -> InputError:
    return InputError.from_parts(expected=expected, got=got, do="get the file again from where it was published")


def packed_arrays(named: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named arrays of numbers as the bytes of an ``.npz`` file, the same for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as inner:
        for name, array in named.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            inner.writestr(zipfile.ZipInfo(f"{name}.npy", _MOMENT), content.getvalue())
    return buffer.getvalue()


def arrays(content: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ``.npz`` file, which are numbers, and as large as they say.

    Args:
        content: The file.
        name: What it is called in an error.

    Raises:
        InputError: It is no such file, holds anything else than numbers, or is larger than its bytes.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            for info in inner.infolist():
                if info.file_size > LARGEST or info.compress_type not in _PLAIN:
                    raise _damaged(f"arrays of up to {LARGEST >> 20} MB in '{name}'", "larger ones")
                raw = io.BytesIO(_read(inner, info))
                shape, dtype = _header(raw)
                if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(raw.getbuffer()) - raw.tell():
                    raise _damaged(f"arrays of numbers in '{name}'", f"{dtype} of shape {shape}")
                raw.seek(0)
                found[info.filename.removesuffix(".npy")] = np.lib.format.read_array(raw, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(f"arrays in '{name}'", f"{type(error).__name__}") from error
    return found


def _header(raw: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(raw)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(raw)
    return shape, dtype


def write_archive(path: str | os.PathLike[str], manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    """Write an export whole or not at all; equal content gives equal bytes.

    Args:
        path: The file.
        manifest: What it is; schema and checksums are added.
        members: Content by name.

    Returns:
        Its digest; see `Archive`.

    Raises:
        OSError: Whatever the file system answers.
    """
    files = {name: {"bytes": len(content), "sha256": sha256(content)} for name, content in sorted(members.items())}
    text = json.dumps({"schema": SCHEMA, **manifest, "files": files}, indent=1, allow_nan=False).encode() + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, content in ((MANIFEST, text), *sorted(members.items())):
            info = zipfile.ZipInfo(name, _MOMENT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            whole.writestr(info, content)
    write_bytes(Path(path), buffer.getvalue())
    return sha256(text)


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Read an export and check all of it.

    Raises:
        InputError: There is no such file, it is none that `write_archive` has written, or a byte of it has changed.
    """
    try:
        with zipfile.ZipFile(path) as whole:
            members = {info.filename: _read(whole, info) for info in _checked(whole.infolist(), path)}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, OSError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        missing = isinstance(error, FileNotFoundError)
        raise InputError.from_parts(
            expected=f"an exported analysis at '{path}'",
            got="no file" if missing else f"something else or a damaged file ({_words(error)})",
            do="name the file that hisigma export wrote" if missing else "get the file again from where it came",
        ) from error
    if MANIFEST not in members:
        raise _damaged(f"'{MANIFEST}' in '{path}'", "a zip file without it")
    text = members.pop(MANIFEST)
    manifest = _manifest(text, path)
    _compare(manifest["files"], members, path)
    return Archive(manifest, members, sha256(text))


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _checked(infos: list[zipfile.ZipInfo], path: Any) -> list[zipfile.ZipInfo]:
    """The members, which are few and small enough, regular files, and inside."""
    if len(infos) > MOST_MEMBERS or sum(info.file_size for info in infos) > LARGEST_TOTAL:
        raise _damaged(f"an analysis of at most {LARGEST_TOTAL >> 20} MB at '{path}'", "a larger file")
    names = [info.filename for info in infos]
    for info in infos:
        name = info.filename
        kind = stat.S_IFMT(info.external_attr >> 16)
        inside = PurePosixPath(name)
        wrong = next(
            (
                words
                for words, found in {
                    "a name that leaves the file": inside.is_absolute()
                    or ".." in inside.parts
                    or "\\" in name
                    or ":" in name
                    or str(inside) != name,
                    "a name twice": names.count(name) > 1,
                    "a link or a folder": info.is_dir() or kind not in {0, stat.S_IFREG},
                    f"more than {LARGEST >> 20} MB": info.file_size > LARGEST,
                    "a member that is encrypted or packed in another way": info.flag_bits & 1
                    or info.compress_type not in _PLAIN,
                }.items()
                if found
            ),
            None,
        )
        if wrong:
            raise _damaged(f"plain files in '{path}'", f"{wrong}: {name[:80]!r}")
    return infos


def _read(whole: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with whole.open(info) as stream:  # whoever claims less than there is gets an error of the checksum
        content = stream.read(LARGEST + 1)
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename[:80]!r} is not as long as it says")
    return content


def _manifest(text: bytes, path: Any) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        schema, files = manifest["schema"], manifest["files"]
        {name: (own["bytes"], own["sha256"]) for name, own in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(f"what '{path}' holds in its '{MANIFEST}'", type(error).__name__) from error
    if schema != SCHEMA:
        raise InputError.from_parts(
            expected=f"schema {SCHEMA!r}", got=repr(schema), do="read it with the version that wrote it, or a later one"
        )
    return dict(manifest)


def _compare(files: Mapping[str, Any], members: Mapping[str, bytes], path: Any) -> None:
    for name in sorted({*files, *members}):
        if name not in members or name not in files:
            raise _damaged(f"'{name}' in '{path}' and in its list", "it in only one of them")
        own = members[name]
        if len(own) != files[name]["bytes"] or sha256(own) != files[name]["sha256"]:
            raise _damaged(f"'{name}' in '{path}' as it was exported", "other content than its checksum tells")
