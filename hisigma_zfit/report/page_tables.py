"""Tables of a run's page: those that the terminal shows, options, and every field of a result with its meaning."""

from __future__ import annotations

import dataclasses
import html
import inspect
import re
from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from hisigma_zfit.report.meanings import row_words, table_words
from hisigma_zfit.report.text import Cells, Headline
from hisigma_zfit.results.base import Result
from hisigma_zfit.results.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["anchor", "columns", "escaped", "facts", "field_meanings", "fields", "lines_of", "option_rows", "parts_of"]

_MANY = 40  # rows of a table of the fields


def escaped(text: str) -> str:
    """Text as markup, with a sign for plus or minus."""
    # what XML forbids altogether is no part of a name that anyone can see
    shown = "".join(letter for letter in text if letter in "\t\n" or ord(letter) >= 32)
    return html.escape(shown.replace("+-", "±"))


def anchor(title: str) -> str:
    """The name of a section as a target of links."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"


def _scrolled(title: str, table: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(title)}">{table}</div>'


def facts(title: str, rows: Sequence[tuple[str, str, str]], *, code: bool = False, head: str = "") -> str:
    """Names, values and what they mean.

    Args:
        title: What the table is called, for readers who do not see it.
        rows: Name, value and meaning.
        code: Values are code.
        head: Title of the first column.
    """
    explained = any(meaning for *_, meaning in rows)
    titles = [head or "Quantity", "Value", *(["What it means"] if explained else [])]
    heads = "".join(f'<th scope="col">{escaped(text)}</th>' for text in titles)
    kind = "code" if code else "value"
    body = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td class="{kind}">{escaped(value)}</td>'
        + (f'<td class="meaning">{escaped(meaning)}</td>' if explained else "")
        + "</tr>"
        for name, value, meaning in rows
    )
    narrow = ' class="meanings"' if explained else ""
    return _scrolled(title, f"<table{narrow}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")


def columns(
    title: str,
    rows: Sequence[Sequence[str]],
    meanings: Mapping[str, str],
    *,
    rules: Sequence[int] = (0,),
    poi: str = "",
) -> str:
    """A table with a head, its first column names; what the columns mean below it.

    Args:
        title: What the table is called.
        rows: The head first.
        meanings: By column, or by row.
        rules: Rows that a line follows.
        poi: Name of the parameter of interest.
    """
    heads = "".join(
        f'<th scope="col"{" class=" + chr(34) + "number" + chr(34) if k else ""}>{escaped(cell) or "Name"}</th>'
        for k, cell in enumerate(rows[0])
    )
    body = []
    for k, row in enumerate(rows[1:], start=1):
        first, *others = (escaped(cell) for cell in row)
        cells = "".join(f'<td class="number">{cell}</td>' for cell in others)
        rule = ' class="rule"' if k in rules else ""
        # rows without a name belong to the one above
        more = sum(1 for _ in takewhile(lambda below: not below[0], rows[k + 1 :]))
        span = f' scope="rowgroup" rowspan="{more + 1}"' if more else ' scope="row"'
        body.append(f"<tr{rule}>{f'<th{span}>{first}</th>' if first or k == 1 else ''}{cells}</tr>")
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    # a table's rows may have meanings too, such as those of an error's budget
    names = dict.fromkeys([*rows[0], *(row[0] for row in rows[1:])])
    known = [(name, words) for name in names if name and (words := row_words(meanings, name, poi))]
    notes = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(words)}</dd>" for name, words in known)
    return _scrolled(title, table) + (f'<dl class="columns">{notes}</dl>' if notes else "")


def parts_of(lines: Sequence[str], *, kind: str, poi: str) -> list[tuple[str, str]]:
    """Title and markup of each section of a table as the terminal shows it.

    Args:
        lines: Of the table, with its `Headline` lines.
        kind: Of the page.
        poi: Name of the parameter of interest.
    """
    parts = []
    for title, body in _sections(lines):
        words, meanings = table_words(kind, title)
        markup = f"<p>{escaped(words)}</p>" if words else ""
        if isinstance(body, Cells) and body.rules:
            markup += columns(title, body.rows, meanings, rules=body.rules, poi=poi)
        elif isinstance(body, Cells):
            rows = [(name.strip(), value, row_words(meanings, name.strip(), poi)) for name, value in body.rows]
            markup += facts(title, _joined(rows))
        else:
            markup += "".join(f"<p>{escaped(line)}</p>" for line in body)
        parts.append((title, markup))
    return parts


def _joined(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """A value that goes on in rows without a name is one value."""
    joined: list[tuple[str, str, str]] = []
    for name, value, meaning in rows:
        if not name and joined:
            before = joined[-1]
            joined[-1] = (before[0], f"{before[1]}\n{value}", before[2])
        elif value:
            joined.append((name, value, meaning))
    return joined


def _sections(lines: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each headline with its body, and with lines that were added to it."""
    k = 0
    while k < len(lines):
        line = lines[k]
        k += 1
        if not isinstance(line, Headline):
            continue
        body = line.body
        k += len(body)
        added = []
        while k < len(lines) and not isinstance(lines[k], Headline) and lines[k].startswith("  "):
            added.append(lines[k].strip())
            k += 1
        if added and isinstance(body, Cells) and not body.rules:
            body = Cells([*body, *added], [*body.rows, *(_split(text) for text in added)])
        yield str(line), body


def _split(text: str) -> tuple[str, str]:
    name, *rest = re.split(r"\s{2,}", text.strip(), maxsplit=1)
    return name, rest[0] if rest else ""


def lines_of(text: str) -> list[str]:
    """Lines of a text with titles at its edge and indented names with values, with their headlines."""
    lines: list[str] = []
    title, rows = "", list[tuple[str, str]]()
    for line in [*text.splitlines(), ""]:
        if line.startswith("  "):
            rows.append(_split(line))
            continue
        if rows:
            cells = Cells([f"  {name}  {value}" for name, value in rows], rows)
            lines += ["", Headline(title, cells), *cells]
        title, rows = line or title, []
    return lines


def option_rows(configuration: Mapping[str, Any], meanings: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name, value in YAML and meaning of each option."""

    def written(value: Any) -> str:
        nested = isinstance(value, Mapping) and any(isinstance(own, (Mapping, list)) for own in value.values())
        flow = None if nested else True
        width = 10**6 if flow else 70  # the browser breaks lines
        text = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, width=width, allow_unicode=True)
        return str(text).removesuffix("\n...\n").strip()

    return [(name, written(value), meanings.get(name, "")) for name, value in configuration.items()]


def field_meanings(kind: type) -> dict[str, str]:
    """What the fields of a class mean, from the list in its docstring; for one without a list its first lines."""
    text = inspect.cleandoc(kind.__doc__ or "")
    _, found, listed = text.partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    if not found:
        return meanings
    name = ""
    for line in listed.splitlines():
        start = re.match(r"    (\w+)(?: \(.*?\))?: (.*)", line)
        if start:
            name = start[1]
            meanings[name] = start[2]
        elif name and line.startswith("        "):
            meanings[name] += f" {line.strip()}"
        elif line.strip():
            break
    return {name: " ".join(words.replace("`", "").replace('"', "").split()) for name, words in meanings.items()}


def fields(result: Result, name: str = "result.json", *, hidden: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Title and markup for a result and each of its parts: all fields with their values and meanings.

    Args:
        result: The result.
        name: How it is called.
        hidden: Fields that are told elsewhere.
    """
    meanings, rows, parts = field_meanings(type(result)), [], list[tuple[str, str]]()
    about = inspect.cleandoc(type(result).__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("`", "")
    for field in dataclasses.fields(result):
        value, meaning = getattr(result, field.name), meanings.get(field.name, "")
        inner = _results(value)
        if field.name in hidden:
            continue
        if isinstance(value, Result):
            rows.append((field.name, "see below", meaning))
            parts += fields(value, f"{name}: {field.name}")
        elif inner:
            rows.append((field.name, f"{len(inner)}, see below", meaning))
            parts += _collection(f"{name}: {field.name}", inner)
        else:
            rows.append((field.name, _short(value), meaning))
    return [(name, f"<p>{escaped(about)}</p>{facts(name, rows, head='Field')}"), *parts]


def _results(value: Any) -> list[tuple[str, Result]]:
    """Results in a container by name or number; those in mappings of mappings by both names."""
    if isinstance(value, (list, tuple)):
        return [(str(k), own) for k, own in enumerate(value, start=1) if isinstance(own, Result)]
    found: list[tuple[str, Result]] = []
    if isinstance(value, Mapping):
        for key, own in value.items():
            if isinstance(own, Result):
                found.append((str(key), own))
            elif isinstance(own, Mapping):
                found += [(f"{key}, {inner}", each) for inner, each in _results(own)]
    return found


def _collection(title: str, results: Sequence[tuple[str, Result]]) -> list[tuple[str, str]]:
    """Results of one kind as rows of one table; larger ones one after the other."""
    kind = type(results[0][1])
    names = [field.name for field in dataclasses.fields(kind)]
    if len(results) <= 3 and any(_results(getattr(own, name)) for _, own in results for name in names):
        return [part for key, own in results for part in fields(own, f"{title}, {key}")]
    rows = [["", *names]]
    rows += [[key, *(_short(getattr(own, name, None)) for name in names)] for key, own in results[:_MANY]]
    left = len(results) - _MANY
    note = f"<p>{left} more are in result.json.</p>" if left > 0 else ""
    return [(title, columns(title, rows, field_meanings(kind)) + note)]


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{' × '.join(map(str, value.shape))} numbers"
    if isinstance(value, Result):
        parts = (f"{field.name}: {_short(getattr(value, field.name))}" for field in dataclasses.fields(value))
        return ", ".join(parts) if type(value).__str__ is object.__str__ else str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_short(own)}" for key, own in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value)) or "-"
    return number(value) if value is None or isinstance(value, (str, int, float)) else str(value)
