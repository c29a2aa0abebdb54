"""Configuration files: YAML or JSON in, a mapping of plain values with resolved paths out."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

__all__ = ["Functions", "Paths", "anchored", "fitting_model", "models_within", "read_document"]


@dataclass(frozen=True)
class Paths:
    """Marks a field whose texts are paths of files: ``Annotated[..., Paths()]``."""

    def resolved(self, text: str, folder: Path) -> str:
        """The text with its path taken from a folder; an address such as root://host//file stays as it is."""
        return text if "://" in text else str(folder / Path(text).expanduser())


@dataclass(frozen=True)
class Functions(Paths):
    """Marks a field whose texts name functions: ``module:function``, or ``file.py:function`` with a path."""

    def resolved(self, text: str, folder: Path) -> str:
        """See `Paths`; what names no file stays as it is."""
        file, colon, function = text.rpartition(":")
        return f"{super().resolved(file, folder)}:{function}" if colon and file.endswith(".py") else text


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key that is there twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        _require_once(str(key.value) for key, _ in node.value)
        return super().construct_mapping(node, deep=deep)


def _require_once(keys: Iterable[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"the key {key!r} twice")
        seen.add(key)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _require_once(key for key, _ in pairs)
    return dict(pairs)


def read_document(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """Read a configuration file.

    Args:
        path: YAML, or JSON if its name ends so.
        model: What its keys are fields of.

    Returns:
        Its values, not yet checked, with absolute paths.

    Raises:
        InputError: There is no such file, or it is no mapping of names to values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            content = json.loads(text, object_pairs_hook=_unique)
        else:
            content = yaml.load(text, _Loader)
    except OSError as error:
        got = "nothing there" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
        raise InputError.from_parts(expected=f"a configuration file '{path}'", got=got, do="check the path") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise InputError.from_parts(
            expected=f"YAML in '{path}'", got=f"{error.problem or 'something else'}{where}", do="correct the file"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError.from_parts(
            expected=f"YAML or JSON in '{path}'", got=" ".join(str(error).split()), do="correct the file"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise InputError.from_parts(
            expected=f"a mapping of options to values in '{path}'",
            got="nothing" if content is None else type(content).__name__,
            do="write one 'option: value' a line",
        )
    return anchored(model, content, path.absolute().parent)


def anchored(model: type[BaseModel], values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Values of a model's fields with every relative path taken from `folder`."""
    found = dict(values)
    for name, field in model.model_fields.items():
        if name not in found:
            continue
        inner = models_within(field.annotation)
        if inner and isinstance(found[name], Mapping):
            found[name] = _anchored_within(inner, found[name], folder, by_name=_is_mapping(field.annotation))
        elif mark := _mark(field.annotation, field.metadata):
            found[name] = _resolved(found[name], folder, mark)
    return found


def _anchored_within(
    models: list[type[BaseModel]], values: Mapping[str, Any], folder: Path, *, by_name: bool
) -> dict[str, Any]:
    if not by_name:
        return anchored(fitting_model(models, values), values, folder)
    return {
        key: anchored(fitting_model(models, own), own, folder) if isinstance(own, Mapping) else own
        for key, own in values.items()
    }


def fitting_model(models: list[type[BaseModel]], names: Collection[str]) -> type[BaseModel]:
    """The first of several models whose required fields are all among some names; the first of all if there is none."""
    required = ({name for name, field in model.model_fields.items() if field.is_required()} for model in models)
    return next((model for model, needed in zip(models, required, strict=True) if needed <= {*names}), models[0])


def _resolved(value: Any, folder: Path, mark: Paths) -> Any:
    if isinstance(value, str):
        return mark.resolved(value, folder)
    if isinstance(value, Mapping):
        return {key: _resolved(part, folder, mark) for key, part in value.items()}
    return [_resolved(part, folder, mark) for part in value] if isinstance(value, (list, tuple)) else value


def _is_mapping(annotation: Any) -> bool:
    """Whether models are the values of a mapping by name, and not the value itself."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    return origin is dict or (origin is not None and any(_is_mapping(part) for part in parts))


def models_within(annotation: Any) -> list[type[BaseModel]]:
    """Models among the values of an annotation such as ``dict[str, Model]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_within(part)]


def _mark(annotation: Any, metadata: Iterable[Any] = ()) -> Paths | None:
    """The mark of paths in an annotation, if there is one."""
    marks = (*metadata, *getattr(annotation, "__metadata__", ()))
    own = next((mark for mark in marks if isinstance(mark, Paths)), None)
    return own or next((found for part in typing.get_args(annotation) if (found := _mark(part))), None)
