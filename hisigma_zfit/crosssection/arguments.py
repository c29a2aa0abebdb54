"""The command line of a cross-section: a configuration file, and what is said on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hisigma_zfit.configuration.documents import read_document
from hisigma_zfit.console.flags import add_common
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.study import coverage_arguments
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["add_arguments", "options_of"]


_LISTS = ("data", "asimov", "set")  # of these a command line may give more than one
_ONES = ("config", "preset", "seed", "blind", "out", "processes", "scheduler")
_CHECK = "check_"  # of what stands behind the word check, which must not hide what stands before it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hisigma cross-section``."""
    _add_run_arguments(parser)
    actions = parser.add_subparsers(dest="action", metavar="check | toys")
    check = actions.add_parser(
        "check", help="check a configuration without reading whole files; takes all that a run takes"
    )
    check.add_argument("file", metavar="FILE", nargs="?", help="YAML or JSON file with the options, as --config")
    _add_run_arguments(check, _CHECK)
    check.add_argument("--overwrite", action="store_true", default=False, help="as of a run; nothing is written here")
    add_common(check, folder=False)
    toys = actions.add_parser("toys", help="measure the coverage of a complete run")
    coverage_arguments(toys)
    add_common(toys)


def _add_run_arguments(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """What decides a run.

    Args:
        parser: Of the run, or of what is told without it.
        prefix: Of the attributes that hold what is given.
    """

    def add(name: str, **options: Any) -> None:
        parser.add_argument(f"--{name}", dest=f"{prefix}{name}", **options)

    add("config", metavar="FILE", help="YAML or JSON file with the options")
    add("data", nargs="+", action="extend", metavar="FILE", help="observed events, instead of the configuration's")
    add("asimov", action="append", metavar="NAME=VALUE", help="expected events at these parameters instead of data")
    add("preset", choices=("quick", "standard", "paper"), help="how much is learned and tried")
    add("seed", type=int, metavar="N", help="seed of every random step")
    add("blind", action="store_true", default=None, help="stop before data are scored")
    add(
        "set",
        action="append",
        metavar="KEY=VALUE",
        help="any option of the file, such as exponents.epochs=2; may be repeated",
    )
    add("out", metavar="FOLDER", help="run folder to be made")
    add("processes", type=int, metavar="N", help="worker processes (default 1)")
    add("scheduler", metavar="ADDRESS", help="Dask scheduler to use instead for trees and replicas, as for toys")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is said before the word check and behind it; lists are joined, everything else is said once.

    Raises:
        InputError: Something is said twice.
    """
    found: dict[str, Any] = {}
    behind = vars(arguments)
    for name in (*_LISTS, *_ONES):
        own = [value for value in (behind.get(name), behind.get(f"{_CHECK}{name}")) if value is not None]
        if name == "config" and behind.get("file") is not None:
            own.append(behind["file"])
        if name in _LISTS:
            found[name] = [one for values in own for one in values]
        elif len(own) > 1 and name != "blind":
            raise InputError.from_parts(
                expected=f"one {name}", got=" and ".join(repr(value) for value in own), do="give one of them"
            )
        else:
            found[name] = own[0] if own else None
    return found


def options_of(arguments: argparse.Namespace) -> CrossSectionOptions:
    """What a command line says.

    Raises:
        InputError: There is no configuration, or an option is wrong.
    """
    said = _given(arguments)
    config = said["config"]
    if config is None:
        raise InputError.from_parts(
            expected="a configuration file", got="none", do="name it: hisigma cross-section --config analysis.yaml"
        )
    given: dict[str, Any] = {name: said[name] for name in ("preset", "seed", "blind") if said[name] is not None}
    if said["data"]:
        given["data"] = {"files": [str(Path(file).absolute()) for file in said["data"]]}
    if said["asimov"]:
        given["asimov"] = {name: _number(name, value) for name, value in _pairs("--asimov", said["asimov"])}
        given["data"] = None
    if not said["set"]:
        return CrossSectionOptions.load(config, **given)
    document = read_document(Path(config), CrossSectionOptions)
    for key, text in _pairs("--set", said["set"]):
        _assign(document, key, text)
    return CrossSectionOptions.load(None, **{**document, **given})


def _pairs(flag: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [_pair(text) for text in texts]
    names = [name for name, _ in pairs]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError.from_parts(expected=f"each {flag} once", got=f"{repeated!r} twice", do="give one of them")
    return pairs


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise InputError.from_parts(expected="NAME=VALUE", got=repr(text), do="write it like mu=1")
    return name.strip(), value.strip()


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError.from_parts(expected=f"a number for {name}", got=repr(text), do="write it like mu=1") from None


def _assign(document: dict[str, Any], key: str, text: str) -> None:
    """Put a value into nested mappings; KEY may go through several of them, told apart by dots."""
    *path, last = key.split(".")
    here: Sequence[Any] | dict[str, Any] = document
    for name in path:
        known = here.get(name) if isinstance(here, Mapping) else None
        if known is not None and not isinstance(known, Mapping):
            raise InputError.from_parts(
                expected=f"options inside of {name}", got=f"{key}", do="name an option of the configuration file"
            )
        inside = dict(known or {})
        here[name] = inside  # type: ignore[index]
        here = inside
    here[last] = yaml.safe_load(text)  # type: ignore[index]
