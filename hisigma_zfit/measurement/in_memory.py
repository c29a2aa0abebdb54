"""Options whose files are events in memory: addresses take their places, and the events are mounted beside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hisigma_zfit.data.memory import ADDRESS, Held
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["with_addresses"]

_FILES = ("data", "signal", "sideband_training", "files")
_VARIED = ("systematic", "background_systematic")
_OBSERVED = ("data", "sideband_training", "background_systematic")


def with_addresses(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Held]]:
    """Options in which every table has an address in its place, and the events by their names in these.

    Args:
        options: Keywords of a task; wherever a file is named, a `Dataset` or what `Dataset.from_arrays` takes may be.

    Raises:
        InputError: Something is neither a path nor a table, or observed events have weights.
    """
    held: dict[str, Held] = {}

    def address(value: Any, name: str) -> Any:
        if value is None or isinstance(value, (str, os.PathLike)):
            return value
        if isinstance(value, (list, tuple)):
            return [address(own, f"{name}-{k}") for k, own in enumerate(value)]
        held[name] = Held.of(value)
        if held[name].weights is not None and name.startswith(_OBSERVED):
            raise InputError.from_parts(
                expected="observed events without weights", got=f"weights of {name}", do="give the dataset without them"
            )
        return f"{ADDRESS}{name}"

    return _replaced(options, address, ""), held


def _replaced(options: Mapping[str, Any], address: Callable[[Any, str], Any], prefix: str) -> dict[str, Any]:
    found = dict(options)
    for name, value in options.items():
        if name in _FILES:
            found[name] = address(value, f"{prefix}{name}")
        elif name in _VARIED and isinstance(value, Mapping):
            found[name] = {own: address(pair, f"{prefix}{name}.{own}") for own, pair in value.items()}
        elif name == "backgrounds" and isinstance(value, Mapping):
            found[name] = {
                own: _replaced(each, address, f"{own}.") if isinstance(each, Mapping) else each
                for own, each in value.items()
            }
    return found
