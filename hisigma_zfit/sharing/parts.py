"""Members that every export has, whatever wrote it: documents, densities and what is said of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError
from hisigma_zfit.sharing.archive import packed_arrays, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["GRAPH", "as_json", "density_members", "described_densities", "require_new"]

GRAPH = "density.onnx"
_FILES = ("flow.json", "weights.npz", GRAPH)


def require_new(target: Path, *, overwrite: bool) -> None:
    """Check that a file may be written.

    Raises:
        InputError: It is there, or its folder is not.
    """
    if target.is_dir() or (target.exists() and not overwrite):
        raise InputError.from_parts(
            expected=f"a new file '{target}'", got="one that is there", do="choose another name, or pass --overwrite"
        )
    if not target.parent.is_dir():
        raise InputError.from_parts(expected=f"a folder '{target.parent}'", got="none", do="make it first")


def as_json(value: Any) -> bytes:
    """A document."""
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


def density_members(flow: ConditionalFlow, within: str) -> dict[str, bytes]:
    """The files of a density in a folder of the export.

    Raises:
        InputError: It wraps code and cannot be written.
    """
    from hisigma_zfit.density.base import SCHEMA

    structure, arrays = flow.pack()
    text = json.dumps({"schema": SCHEMA, **structure}, allow_nan=False)
    return {f"{within}/flow.json": text.encode(), f"{within}/weights.npz": packed_arrays(arrays)}


def described_densities(members: Mapping[str, bytes]) -> dict[str, Any]:
    """What HS3's extension says of each learned density."""
    said = {}
    for name, content in members.items():
        if name.endswith("/flow.json"):
            structure, within = json.loads(content), name.removesuffix("/flow.json")
            files = {file: f"{within}/{file}" for file in _FILES}
            said[within.removeprefix("densities/")] = {
                "type": "hisigma_zfit:conditional_density",
                "kind": structure["kind"],
                "of": structure["features"],
                "given": structure["given"],
                "files": {file: sha256(members[place]) for file, place in files.items() if place in members},
            }
    return said
