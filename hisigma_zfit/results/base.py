"""Immutable results: what inference returns, what reports draw, what is written to disk.

Numpy only.  Every class has `to_json` and `from_json`, so that a figure can be redrawn from a run folder on a
machine that has neither the data nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["Result", "plain"]


def plain(value: Any) -> Any:
    """Reduce numpy and dataclass values to what JSON knows; non-finite numbers become their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _numbers(value: Any) -> Any:
    """Undo `plain` for numbers inside containers: the names of non-finite numbers become numbers again."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_numbers(v) for v in value)
    return float(value) if isinstance(value, str) and value in {"nan", "inf", "-inf"} else value


def _array(value: Any) -> Array:
    # float() reads back the names "nan", "inf" and "-inf" that strict JSON cannot hold
    return np.vectorize(float, otypes=[np.float64])(np.asarray(value, dtype=object)) if np.size(value) else np.empty(0)


@dataclass(frozen=True)
class Result:
    """Shared JSON round trip; fields named in `_arrays` come back as arrays."""

    schema: ClassVar[str] = ""
    _arrays: ClassVar[frozenset[str]] = frozenset()
    _array_maps: ClassVar[frozenset[str]] = frozenset()

    def to_json(self, *, indent: int | None = 1) -> str:
        """Serialise to strict JSON (no NaN literals), with the schema name first."""
        return json.dumps({"schema": self.schema, **plain(self)}, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from `to_json`'s text.

        Raises:
            InputError: The text is not JSON or carries another schema.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError.from_parts(
                expected="a JSON document", got=f"text that breaks at character {error.pos}", do="check the file"
            ) from error
        if not isinstance(raw, dict) or raw.get("schema") != cls.schema:
            got = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
            raise InputError.from_parts(expected=f"schema {cls.schema!r}", got=repr(got), do="check the file")
        return cls._from_plain(raw)

    @classmethod
    def _from_plain(cls, raw: Mapping[str, Any]) -> Self:
        known = {f.name for f in dataclasses.fields(cls)}
        values = {k: v for k, v in raw.items() if k in known}
        for name in cls._arrays & values.keys():
            if values[name] is not None:
                values[name] = _array(values[name])
        for name in cls._array_maps & values.keys():
            values[name] = {k: _array(v) for k, v in values[name].items()}
        for f in dataclasses.fields(cls):
            if f.type == "float" and isinstance(values.get(f.name), str):
                values[f.name] = float(values[f.name])
            if isinstance(f.type, str) and f.type.startswith("tuple") and isinstance(values.get(f.name), list):
                values[f.name] = tuple(tuple(v) if isinstance(v, list) else v for v in values[f.name])
            if isinstance(values.get(f.name), (dict, list, tuple)) and f.name not in cls._array_maps:
                values[f.name] = _numbers(values[f.name])
        return cls(**values)
