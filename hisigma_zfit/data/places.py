"""Where events lie: paths, wildcards, and ``file.root:tree`` as users of uproot write it."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.data.memory import held_at, is_held
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Files", "Place", "expand"]

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# a path object has already lost one of the slashes
_ADDRESS = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*://|(root|xroot|roots|https?|davs?|s3|gs|ftp):/")


@dataclass(frozen=True)
class Place:
    """A file, and a tree in it if the user named one together with the file.

    Attributes:
        path: The file.
        tree: Tree, dataset or group in it.
    """

    path: Path
    tree: str | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path) if self.tree is None else f"{self.path}:{self.tree}"

    @property
    def name(self) -> str:
        """The same without the folder."""
        return self.path.name if self.tree is None else f"{self.path.name}:{self.tree}"

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return held_at(self.path).n_bytes if is_held(self.path) else self.path.stat().st_size

    def resolve(self) -> Place:
        """The same behind all symbolic links."""
        return Place(self.path.resolve(), self.tree)


def expand(files: Files) -> list[Place]:
    """Expand wildcards, in alphabetical order, and take trees from the names of files.

    Args:
        files: Path or paths.  A file whose name has a colon is that file; behind the last colon that leaves the name of
            a file stands a tree.

    Raises:
        InputError: There is no such file, it is a folder or on another machine, or it is named twice, be it through a
            link.
    """
    given: Iterable[str | os.PathLike[str]] = [files] if isinstance(files, (str, os.PathLike)) else files
    found = [place for entry in given for place in _readable(os.fspath(entry))]
    if not found:
        raise InputError.from_parts(expected="at least one file", got="none", do="name the files to read")
    seen: dict[tuple[int, int], list[Place]] = {}
    for place in found:
        if is_held(place.path):
            continue
        if place.path.is_dir():
            raise InputError.from_parts(
                expected="a file",
                got=f"the folder {place.path}",
                do=f"name the files in it, for example {place.path}/*.root",
            )
        if not place.path.is_file():
            raise InputError.from_parts(
                expected="a file", got=f"{place.path}, which is a pipe or a device", do="write its content to a file"
            )
        status = place.path.stat()
        same = seen.setdefault((status.st_dev, status.st_ino), [])
        for other in same:
            if None in {place.tree, other.tree} or place.tree == other.tree:
                got = f"{place} twice" if other.path == place.path else f"{other} and {place}, which are one file"
                raise InputError.from_parts(
                    expected="each file once", got=got, do="remove it from the list, or narrow the wildcard"
                )
        same.append(place)
    return found


def _readable(text: str) -> list[Place]:
    try:
        return _of(text)
    except OSError as error:  # a name that no file can have, or a folder that may not be looked into
        shown = text if len(text) <= 200 else f"{text[:200]}..."
        raise InputError.from_parts(
            expected=f"a file {shown}", got=str(error.strerror or error), do="check the path"
        ) from error


def _of(text: str) -> list[Place]:
    if is_held(text):
        held_at(text)
        return [Place(Path(text))]
    if _ADDRESS.match(text):
        raise InputError.from_parts(
            expected="local files only", got=f"the address {text}", do="copy it first, for example with xrdcp or curl"
        )
    text = text.removeprefix("file://")
    path = Path(text).expanduser()
    if path.exists():
        return [Place(path)]
    if matches := _matches(path):
        return [Place(match) for match in matches]
    for colon in [found.start() for found in re.finditer(":", text)][::-1]:
        file, tree = Path(text[:colon]).expanduser(), text[colon + 1 :]
        if tree and (matches := [file] if file.is_file() else _matches(file)):
            return [Place(match, tree) for match in matches]
    if glob.has_magic(text):
        raise InputError.from_parts(
            expected=f"files that match {path}", got="none", do="check the wildcard and the folder"
        )
    raise InputError.from_parts(expected=f"a file {path}", got="nothing there", do="check the path")


def _matches(path: Path) -> list[Path]:
    pattern = str(path)
    if not glob.has_magic(pattern):
        return []
    return sorted(Path(match) for match in glob.glob(pattern, recursive=True))  # noqa: PTH207 - may be absolute
