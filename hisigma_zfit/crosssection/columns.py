"""Which columns are read from which files, from their headers alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hisigma_zfit.crosssection.nuisance_options import WeightsOptions
from hisigma_zfit.data.columns import expand
from hisigma_zfit.data.expressions import compile_expression, names_in
from hisigma_zfit.data.formats import open_source
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.crosssection.options import CrossSectionOptions

__all__ = ["DataColumns", "Header", "data_columns", "header_of", "made_columns", "simulation_columns"]


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        where: File and tree.
        names: Columns with one number per row.
        n_rows: Rows.
    """

    where: str
    names: tuple[str, ...]
    n_rows: int


@dataclass(frozen=True)
class DataColumns:
    """What is read of data.

    Attributes:
        columns: Name -> expression.
        weight: Of pseudo-data.
    """

    columns: dict[str, str]
    weight: str | None


def header_of(file: str, tree: str | None) -> tuple[Header, ...]:
    """Headers of a file, or of all that a wildcard names.

    Raises:
        InputError: One is missing, damaged, or has no such tree.
    """
    found = []
    for place in expand(file):
        with closing(open_source(place.path, place.tree or tree)) as source:
            names = tuple(source.scalar_names())
            found.append(Header(source.where, names, source.n_rows(names[:1])))
    return tuple(found)


def varied_weights(options: CrossSectionOptions) -> tuple[str, ...]:
    """Expressions of all varied weights, each once."""
    own = (nuisance for nuisance in options.nuisances.values() if isinstance(nuisance, WeightsOptions))
    return tuple(dict.fromkeys(text for nuisance in own for text in nuisance.weights.values()))


def simulation_columns(options: CrossSectionOptions, files: Sequence[str]) -> dict[str, str]:
    """Columns of simulation, name -> expression: those of the events, and varied weights under their own text.

    Args:
        options: The file.
        files: Of one process, for whose headers all columns are taken if none are named.

    Raises:
        InputError: Files have different columns, or a varied weight is in none.
    """
    headers = [header for file in files for header in header_of(file, options.tree)]
    extra = {text: text for text in varied_weights(options)}
    for header in headers:
        for text in extra:
            compile_expression(text, header.names, header.where)
    if options.columns:
        return {**_read_columns(options), **extra}
    return {name: name for name in _common(headers, _beside(options))} | extra


def data_columns(options: CrossSectionOptions) -> DataColumns:
    """Columns of data: the same without what only simulation has, such as weights.

    Raises:
        InputError: A column is missing, or there are weights in what is no pseudo-data.
    """
    if options.data is None:
        raise InputError.from_parts(expected="data", got="none", do="name files")
    headers = [header for file in options.data.files for header in header_of(file, options.tree)]
    pseudo = options.data.pseudo_data
    if options.weight is not None and not pseudo:
        for header in headers:
            if options.weight.strip() in header.names:
                raise InputError.from_parts(
                    expected="data without weights",
                    got=f"the column {options.weight!r} in {header.where}",
                    do="say pseudo_data: true if that is what they are",
                )
    if options.columns:
        return DataColumns(_read_columns(options), options.weight if pseudo else None)
    beside = _beside(options)
    simulated = [
        header for own in options.processes.values() for f in own.files for header in header_of(f, options.tree)
    ]
    common = set.intersection(*({*header.names} for header in simulated)) - beside
    shared = [name for name in _common(headers, beside) if name in common]
    if not shared:
        raise InputError.from_parts(
            expected="columns that data and simulation share", got="none", do="name columns with their expressions"
        )
    return DataColumns({name: name for name in shared}, options.weight if pseudo else None)


def _beside(options: CrossSectionOptions) -> set[str]:
    """Columns that are no properties of an event: weight and identity."""
    return {text.strip() for text in (options.weight, options.identity, *varied_weights(options)) if text is not None}


def _common(headers: Sequence[Header], without: set[str]) -> list[str]:
    first = headers[0]
    for header in headers[1:]:
        if other := sorted({*first.names} ^ {*header.names}):
            raise InputError.from_parts(
                expected=f"the columns of {first.where} in {header.where}",
                got=f"{other[0]!r} in one of them only",
                do="name the columns to use",
            )
    return [name for name in first.names if name not in without]


def made_columns(options: CrossSectionOptions) -> dict[str, str]:
    """Columns that are expressions of other columns: they follow every shift, and are not read."""
    given = options.columns
    return {
        name: text
        for name, text in given.items()
        if not text.strip().isidentifier() and (used := names_in(text)) and used <= {*given} - {name}
    }


def _read_columns(options: CrossSectionOptions) -> dict[str, str]:
    made = made_columns(options)
    return {name: text for name, text in options.columns.items() if name not in made}
