"""What all results share: the round trip through strict JSON, a JSON schema, and how they show themselves.

Every class has `to_json` and `from_json`, so that a figure can be redrawn from a run folder on a machine that has
neither the data nor TensorFlow.  The annotations of the fields are the only description: pydantic reads them, on the
first use of either, because its import takes longer than that of all results.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.show import Shown, short

__all__ = ["Answer", "JsonArray", "Result", "plain"]

Raw = dict[str, Any]


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


class _ArrayInJson:
    """Tells pydantic that an array is lists of numbers in JSON."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_array)

    @staticmethod
    def __get_pydantic_json_schema__(schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "array", "items": {"anyOf": [_NUMBER, {"type": "array"}]}}


_NAMES = frozenset({"nan", "inf", "-inf"})  # as `plain` writes them


def _array(value: Any) -> npt.NDArray[np.float64]:
    # numpy refuses ragged lists by itself, but takes null for NaN and any text that looks like a number
    return np.asarray(value if isinstance(value, np.ndarray) else _numbers(value), dtype=np.float64)


def _numbers(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_numbers(part) for part in value]
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value in _NAMES:
        return float(value)
    raise ValueError(f"expected numbers, got {value!r:.40}")


_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}

JsonArray = Annotated[npt.NDArray[np.float64], _ArrayInJson]
"""An array as the field of a result."""


_adapters: dict[type[Result], Any] = {}


def _adapter(kind: type[Result]) -> Any:
    if kind not in _adapters:
        from pydantic import TypeAdapter

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


@dataclass(frozen=True)
class Result(Shown):
    """Base of all results: frozen dataclasses of numbers, words, arrays, other results, and tuples or dicts of these.

    Attributes:
        schema: Name and version of the class in JSON.
        earlier: For each earlier version that is still read: how its content becomes that of the next version.
    """

    schema: ClassVar[str] = ""
    earlier: ClassVar[Mapping[str, Callable[[Raw], Raw]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign]  # else the decorator writes one, with all arrays

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name: the fields, unless a class has more to say."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={short(value)}' for name, value in self.shown().items())})"

    def to_json(self, *, indent: int | None = 1) -> str:
        """Serialise to strict JSON (no NaN literals), with the schema name first."""
        return json.dumps({"schema": self.schema, **plain(self)}, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from `to_json`'s text, or from that of an earlier version.

        Raises:
            InputError: The text is not JSON, carries another schema, or its content is not that of the schema.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            place = f"text that breaks at character {error.pos}" if isinstance(error, json.JSONDecodeError) else None
            raise InputError.from_parts(
                expected="a JSON document", got=place or "one that nothing can hold", do="check the file"
            ) from error
        got = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        if not isinstance(raw, dict) or not isinstance(got, str) or got not in {cls.schema, *cls.earlier}:
            raise InputError.from_parts(expected=f"schema {cls.schema!r}", got=repr(got), do="check the file")
        try:
            while raw["schema"] != cls.schema:
                raw = cls.earlier[raw["schema"]](raw)
            found: Self = _adapter(cls).validate_python(raw)
        # an earlier version's content is taken apart by hand, and may lack whatever it likes
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise InputError.from_parts(
                expected=f"the content of {got}", got=_first_fault(error), do="check the file"
            ) from error
        return found

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema (draft 2020-12) of `to_json`'s text, for programs in other languages."""
        from pydantic.json_schema import GenerateJsonSchema

        class Generator(GenerateJsonSchema):
            """Text of the docstrings in all versions of pydantic, and the names of non-finite numbers."""

            def float_schema(self, _schema: Any) -> dict[str, Any]:
                return deepcopy(_NUMBER)  # pydantic writes the defaults of fields into it

            def dataclass_schema(self, schema: Any) -> dict[str, Any]:
                return {**super().dataclass_schema(schema), "description": inspect.getdoc(schema["cls"])}

            def field_title_should_be_set(self, _schema: Any) -> bool:
                return False

        raw: dict[str, Any] = _adapter(cls).json_schema(schema_generator=Generator)
        return {
            "$schema": Generator.schema_dialect,
            **raw,
            "properties": {"schema": {"const": cls.schema}, **raw["properties"]},
            "required": ["schema", *raw.get("required", ())],
        }


@dataclass(frozen=True)
class Answer(Result):
    """Base of what a likelihood answers, whose events may have weights.

    Attributes:
        weights_corrected: Whether events have weights, whose fluctuation is part of the answer (arXiv:1911.01303).
    """

    weights_corrected: bool = dataclasses.field(default=False, kw_only=True)

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`; of weights only where there are some."""
        content = super().shown()
        weighted = content.pop("weights_corrected")
        return content | ({"weights_corrected": True} if weighted else {})

    @property
    def correction(self) -> str:
        """What `str` adds where events have weights."""
        return ", corrected for event weights" if self.weights_corrected else ""


def _first_fault(error: Exception) -> str:
    """One line that names the first place where some content is not what it should be."""
    faults = getattr(error, "errors", None)
    if faults is None:
        return f"{type(error).__name__} {error}".replace("\n", " ")[:300]
    first = faults()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]
