"""Flags of a task, made from the fields of its options.

The name of a field with dashes is its flag, its type says how many words follow, its description is the help.  A
`Flag` among the field's metadata adds what these cannot say.  Fields that are models themselves, such as components of
a model by name, have no flag: they stand in the configuration file.
"""

from __future__ import annotations

import argparse
import json
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from hisigma_zfit.configuration.documents import models_within
from hisigma_zfit.console.flags import Once
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo

    from hisigma_zfit.configuration.options import Options

__all__ = ["Flag", "add_arguments", "add_flags", "given_options"]


@dataclass(frozen=True)
class Flag:
    """How a field is written on the command line.

    Attributes:
        metavar: Word for its value in the help, or a word for each of several; the type's name by default.
        name: The flag without dashes; the field's name by default.
        split: What separates the parts of one argument: of a list, or of a name and its values in a mapping, whose flag
            may be repeated.
        example: One argument of a mapping, for messages.
        repeated: The flag, of several numbers, may be given more than once; a field that is no list takes one as it is.
    """

    metavar: str | tuple[str, ...] = ""
    name: str = ""
    split: str = ""
    example: str = ""
    repeated: bool = False


class _Schema(argparse.Action):
    """Prints the JSON schema of a model and leaves, as ``--help`` does."""

    def __init__(self, *, model: type[Options], **options: Any) -> None:
        super().__init__(nargs=0, **options)
        self._model = model

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and leave."""
        print(json.dumps(self._model.schema_of_file(), indent=1))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser, model: type[Options]) -> None:
    """Add a flag for every field that can have one, ``--config`` and ``--schema``.

    Nothing is required here, because a configuration file may hold it; `given_options` looks.
    """
    add_flags(parser, model)
    apart = [name for name, field in model.model_fields.items() if models_within(field.annotation)]
    more = f"; only there: {', '.join(apart)}" if apart else ""
    parser.add_argument(
        "--config", metavar="FILE", help=f"YAML or JSON with the same options, which flags override{more}"
    )
    parser.add_argument("--schema", action=_Schema, model=model, help="print the JSON schema of that file and exit")


def add_flags(parser: argparse.ArgumentParser, model: type[Options]) -> None:
    """Add a flag for every field that can have one."""
    for name, field in model.model_fields.items():
        if not models_within(field.annotation):
            parser.add_argument(_flag(name, field), dest=name, default=argparse.SUPPRESS, **_how(field))


def given_options(arguments: argparse.Namespace, model: type[Options], required: Sequence[str] = ()) -> dict[str, Any]:
    """Values of the flags that were given.

    Args:
        arguments: What the parser found.
        model: The options.
        required: Names of arguments that are no fields and must be there as well.

    Raises:
        InputError: Something is missing and there is no configuration file to hold it, or parts of one argument cannot
            be told apart.
    """
    given = {name: value for name, value in vars(arguments).items() if name in model.model_fields}
    missing = [
        _flag(name, field)
        for name, field in model.model_fields.items()
        if field.is_required() and name not in given and arguments.config is None
    ]
    missing += [f"--{name}" for name in required if getattr(arguments, name) is None]
    if missing:
        raise InputError(f"the following arguments are required: {', '.join(missing)}; see --help")
    return {name: _value(name, model.model_fields[name], value) for name, value in given.items()}


def _settings(field: FieldInfo) -> Flag:
    return next((mark for mark in field.metadata if isinstance(mark, Flag)), Flag())


def _flag(name: str, field: FieldInfo) -> str:
    return f"--{_settings(field).name or name.replace('_', '-')}"


def _bare(annotation: Any) -> Any:
    """The type without ``| None`` and without metadata."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _bare(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _bare(parts[0]) if len(parts) == 1 else annotation
    return annotation


def _how(field: FieldInfo) -> dict[str, Any]:
    """Arguments of ``add_argument`` from the type of a field."""
    settings, kind = _settings(field), _bare(field.annotation)
    origin, parts = get_origin(kind), get_args(kind)
    help_text = (field.description or "").replace("%", "%%")
    notes: list[str] = []
    how: dict[str, Any] = {"metavar": settings.metavar or None}
    if kind is bool:
        how = {"action": "store_true"}
    elif origin is Literal:
        notes.append(f"{', '.join(parts[:-1])} or {parts[-1]}")
        how |= {"action": Once, "words": parts}
    elif origin is dict:
        how["action"] = "append"
    elif settings.repeated:
        own = parts if parts[-1] is not ... else get_args(_bare(parts[0]))
        how |= {"type": _bare(own[0]), "nargs": len(own), "action": "append"}
    elif origin is tuple and not settings.split:
        how |= {"type": _bare(parts[0]), "nargs": "+" if parts[-1] is ... else len(parts)}
        how |= {"action": "extend"} if parts[-1] is ... else {}  # argparse would take the last of several
    elif kind in {int, float}:
        how["type"] = kind
    if isinstance(field.default, (int, float, str)) and kind is not bool:
        notes.append(f"default {field.default}")
    return how | {"help": help_text + (f" ({'; '.join(notes)})" if notes else "")}


def _value(name: str, field: FieldInfo, value: Any) -> Any:
    settings, kind = _settings(field), _bare(field.annotation)
    if get_origin(kind) is dict:
        return _mapping(_flag(name, field), settings, _bare(get_args(kind)[1]), value)
    if settings.repeated and get_args(kind)[-1] is not ...:
        return value[0] if len(value) == 1 else value
    if settings.split and isinstance(value, str):
        return [part.strip() for part in value.split(settings.split) if part.strip()]
    return value


def _mapping(flag: str, settings: Flag, kind: Any, definitions: Sequence[str]) -> Mapping[str, Any]:
    """Name and values of each definition such as ``NAME=EXPRESSION`` or ``NAME:UP:DOWN``."""
    values: dict[str, Any] = {}
    several = len(get_args(kind)) if get_origin(kind) is tuple else 1
    for definition in definitions:
        # a single value, such as an expression, may hold the separator itself
        name, *parts = (part.strip() for part in definition.split(settings.split, 1 if several == 1 else -1))
        try:
            converted = [float(part) for part in parts] if kind is float else parts
        except ValueError:
            converted = []
        if not name or len(converted) != several or not all(parts):
            raise InputError.from_parts(
                expected=f"{flag} {settings.metavar}", got=repr(definition), do=f"write it like {settings.example}"
            )
        if name in values:
            raise InputError.from_parts(
                expected=f"each {flag} once", got=f"{name!r} twice", do="give the others names of their own"
            )
        values[name] = converted[0] if several == 1 else converted
    return values
