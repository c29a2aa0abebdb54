"""The base of every task's options: a frozen pydantic model whose mistakes are told in one line.

A field's name, type, default and description are all that a task writes down:

- `hisigma_zfit.configuration.arguments` makes flags with their help of them,
- `Options.load` takes them from a file and from keywords,
- `Options.document` writes them back to YAML, with every default and with absolute paths,
- `Options.schema_of_file` describes the file to editors.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema, field_validator

from hisigma_zfit.configuration.documents import Paths, anchored, models_within, read_document
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import ValidationInfo

__all__ = ["PAIR_OR_PAIRS", "Files", "Names", "Options", "Pair"]


def _one_or_many(value: Any) -> Any:
    if isinstance(value, (str, Path)):
        return (str(value),)
    return tuple(str(v) if isinstance(v, Path) else v for v in value) if isinstance(value, (list, tuple)) else value


_ONE_OR_MANY = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})

Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), _ONE_OR_MANY]  # one may be given without a list
Files = Annotated[Names, Paths()]
_File = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]
_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
PAIR_OR_PAIRS = WithJsonSchema({"anyOf": [_NUMBERS, {"type": "array", "items": _NUMBERS, "minItems": 1}]})
Pair = Annotated[tuple[_File, _File], Paths()]  # files at +1 and -1 standard deviations


class Options(BaseModel):
    """Options of a task or of a part of it; immutable, and nothing but the fields is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Let the docstring list the fields: their descriptions stand in one place."""
        own = [f"    {name}: {field.description}" for name, field in cls.model_fields.items() if field.description]
        if own and "Attributes:" not in (cls.__doc__ or ""):
            cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *own, ""])

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML reads yes, no, on and off as truth values, which would pass for the numbers 1 and 0
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("expected a number, a word or a list; put yes, no, on and off in quotes if they are names")
        return value

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Check plain values.

        Raises:
            InputError: An option is unknown, missing or wrong; the message names the first one.
        """
        return cls.load(None, **values)

    @classmethod
    def load(cls, config: str | Path | None, **values: Any) -> Self:
        """Take values from a file and from keywords, which win; mappings are joined name by name.

        Args:
            config: YAML or JSON with the fields; relative paths in it are relative to its folder.
            **values: Fields.

        Raises:
            InputError: The file cannot be read, or an option is unknown, missing or wrong; the message names the file
                and the first such option.
        """
        stored = {} if config is None else read_document(Path(config), cls)
        joined = stored | {
            name: {**stored[name], **value}
            if isinstance(value, Mapping) and isinstance(stored.get(name), Mapping)
            else value
            for name, value in values.items()
        }
        try:
            return cls(**joined)
        except ValidationError as error:
            place = None if config is None else f"'{config}'"
            raise InputError(_one_line(cls, error, place, values)) from error

    @classmethod
    def schema_of_file(cls) -> dict[str, Any]:
        """JSON schema of the file that `load` reads, for editors that check and complete while one types."""
        schema = cls.model_json_schema()
        for part in (schema, *schema.get("$defs", {}).values()):
            # the list of fields in the docstring would repeat what stands at each of them
            part["description"] = part.get("description", "").split("\n")[0]
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

    def document(self) -> str:
        """All fields as YAML from which `load` builds the same options anywhere on this machine."""
        plain = anchored(type(self), self.model_dump(mode="json"), Path.cwd())
        return yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def _one_line(model: type[BaseModel], error: ValidationError, file: str | None, given: Collection[str]) -> str:
    """The first mistake in one line; `file` is named where the value did not come from the keywords `given`."""
    first = error.errors()[0]
    found, path = _place_of(model, first["loc"])
    text = str(first["msg"]).removeprefix("Value error, ")
    place = ".".join(str(part) for part in path)
    from_file = file is not None and not (path and path[0] in given)
    prefix = f"{file}: " if from_file else ""
    if first["type"] == "extra_forbidden":
        name, known = path[-1], list(found.model_fields)
        close = difflib.get_close_matches(str(name), known, n=1)
        do = f"did you mean {close[0]!r}?" if close else "correct or remove it"
        return f"{prefix}{place}: expected one of {', '.join(known)}, got {str(name)!r}; {do}"
    if first["type"] == "missing":
        do = "add it" if from_file else "give the option"
        return f"{prefix}{place}: expected a value, got none; {do}"
    if not place:
        return f"{prefix}{text}"
    if first["type"] == "value_error" and "; " in text:
        return f"{prefix}{place}: {text}"
    return f"{prefix}{place}: {text}, got {first['input']!r}; correct the {'file' if from_file else 'option'}"


def _place_of(model: type[BaseModel], path: Sequence[Any]) -> tuple[type[BaseModel], list[Any]]:
    """The model of the deepest field on a path of names, and the path without the tags of kinds of models."""
    models, place = [model], list[Any]()
    for name in path:
        tagged = [m for m in models if len(models) > 1 and str(name) in m.model_fields]
        kinds = [m for m in tagged if m.model_fields[str(name)].is_required()]
        if kinds:
            models = kinds
            continue
        place.append(name)
        field = models[0].model_fields.get(str(name))
        if field is not None and (inner := models_within(field.annotation)):
            models = inner
    return models[0], place
