"""How results show themselves: `short` in one line, `table` as HTML for notebooks.  Arrays are told by their shape.

Anything with a method ``shown()``, which gives its content by name, is taken for a result.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hisigma_zfit.results.numbers import number

__all__ = ["Shown", "short", "table"]

_MANY = 4  # entries that a line still lists


class Shown:
    """What a notebook shows as a table: anything that tells its content by name."""

    __slots__ = ()

    def shown(self) -> dict[str, Any]:
        """Content by name."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self.shown())


def short(value: Any) -> str:
    """One value in a line of code: ``repr`` but for arrays and long containers."""
    if isinstance(value, np.ndarray):
        return f"<array {value.shape}>"
    if isinstance(value, (Mapping, list, tuple)) and (len(value) > _MANY or any(map(_has_parts, _entries(value)))):
        return f"<{len(value)} entries>"
    return repr(value)


def _has_parts(value: Any) -> bool:
    return isinstance(value, (Mapping, np.ndarray)) or hasattr(value, "shown")


def _entries(value: Mapping[Any, Any] | Sequence[Any]) -> list[Any]:
    return list(value.values() if isinstance(value, Mapping) else value)


def table(title: str, content: Mapping[str, Any]) -> str:
    """A small HTML table: one row for each name, parts as tables inside."""
    head = f'<thead><tr><th colspan="2" style="text-align:left">{html.escape(title)}</th></tr></thead>'
    return f"<table>{head}<tbody>{_rows(content)}</tbody></table>"


def _rows(content: Mapping[Any, Any]) -> str:
    return "".join(f"<tr>{_name(key)}<td>{_cell(value)}</td></tr>" for key, value in content.items())


def _name(text: Any) -> str:
    return f'<th style="text-align:left">{html.escape(str(text))}</th>'


def _cell(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return html.escape(_array(value))
    if hasattr(value, "shown"):
        return _grid([("", value.shown())])
    if isinstance(value, (Mapping, list, tuple)):
        return _container(value)
    return html.escape(number(value) if value is None or isinstance(value, (str, int, float)) else str(value))


def _container(value: Mapping[Any, Any] | Sequence[Any]) -> str:
    entries = _entries(value)
    inner = [entry.shown() if hasattr(entry, "shown") else entry for entry in entries]
    names = list(value) if isinstance(value, Mapping) else [""] * len(entries)
    if entries and all(isinstance(entry, Mapping) for entry in inner):
        return _grid(list(zip(names, inner, strict=True)))
    if isinstance(value, Mapping):
        return f"<table><tbody>{_rows(value)}</tbody></table>" if value else "-"
    return ", ".join(_cell(entry) for entry in entries) or "-"


def _grid(rows: Sequence[tuple[Any, Mapping[str, Any]]]) -> str:
    """Things of one kind: a row for each, a column for each of their numbers."""
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    named = any(str(name) for name, _ in rows)
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    lines = [f"<tr>{'<th></th>' if named else ''}{head}</tr>"]
    for name, row in rows:
        cells = "".join(f"<td>{_cell(row.get(column))}</td>" for column in columns)
        lines.append(f"<tr>{_name(name) if named else ''}{cells}</tr>")
    return f"<table><thead>{lines[0]}</thead><tbody>{''.join(lines[1:])}</tbody></table>"


def _array(values: np.ndarray[Any, Any]) -> str:
    size = " \N{MULTIPLICATION SIGN} ".join(map(str, values.shape))
    finite = values[np.isfinite(values)]
    return f"{size} numbers, {number(finite.min())} to {number(finite.max())}" if finite.size else f"{size} numbers"
