"""From a folder to a density."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.density import coordinates, ensemble, flows, kinded, trained, warped
from hisigma_zfit.density.base import SCHEMA, unpack
from hisigma_zfit.density.sound import require_sound
from hisigma_zfit.errors import InputError
from hisigma_zfit.stored_files import read_json, read_npz, require_checksums, sound

if TYPE_CHECKING:
    import os

    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["load_flow", "stored_flow", "unpacked"]

KNOWN = (coordinates, ensemble, flows, kinded, trained, warped)  # importing them made their kinds known


def load_flow(path: str | os.PathLike[str]) -> ConditionalFlow:
    """Read a flow that `ConditionalFlow.save` wrote; its numbers are identical to the saved flow's.

    Raises:
        InputError: The folder is missing, incomplete, damaged, or of another schema.

    Example:
        >>> flow = hz.load_flow(hz.examples.path("signal"))
        >>> flow.features, flow.given, len(flow.members)
        (('pt', 'angle'), 'm', 2)
    """
    folder = Path(path)
    try:
        structure = read_json(folder / "flow.json")
        arrays = read_npz(folder / "weights.npz")
    except FileNotFoundError as error:
        raise InputError.from_parts(
            expected=f"flow.json and weights.npz in {folder}",
            got=type(error).__name__,
            do="give the folder that save() wrote",
        ) from error
    if isinstance(structure, dict) and "checksums" in structure:  # flows of before have none
        require_checksums(arrays, structure["checksums"], folder / "weights.npz")
    with sound(folder / "flow.json"):
        return stored_flow(structure, arrays)


def stored_flow(structure: Any, arrays: dict[str, Any]) -> ConditionalFlow:
    """The density of what ``flow.json`` and ``weights.npz`` hold, wherever they were kept.

    Raises:
        InputError: It is of another schema, or it is no density.
    """
    found = structure.get("schema") if isinstance(structure, dict) else type(structure).__name__
    if not isinstance(structure, dict) or found != SCHEMA:
        raise InputError.from_parts(expected=f"schema {SCHEMA!r}", got=repr(found), do="train the flow again")
    require_sound(structure, arrays)
    return unpacked(structure, arrays)


def unpacked(structure: dict[str, Any], arrays: dict[str, Any]) -> ConditionalFlow:
    """The density that `ConditionalFlow.pack` has taken apart, of whatever kind, as in another process.

    Args:
        structure: Plain values.
        arrays: Arrays by name.
    """
    if "maf" in _kinds(structure):
        from hisigma_zfit.density import tfp_flows  # TensorFlow Probability costs another second

        del tfp_flows  # importing it made its kind known
    return unpack(structure, arrays)


def _kinds(structure: Any) -> set[str]:
    """Every kind of flow and of net that a stored flow consists of."""
    if isinstance(structure, dict):
        own = {structure["kind"]} if isinstance(structure.get("kind"), str) else set()
        return own.union(*(_kinds(value) for value in structure.values()))
    if isinstance(structure, list):
        return set().union(*(_kinds(value) for value in structure))
    return set()
