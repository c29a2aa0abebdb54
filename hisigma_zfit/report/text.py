"""Plain monospaced text, at most 100 characters wide: columns, facts and sections of the tables.

The lines know the cells that they are made of (`Cells`, `Headline`), so that one description of a table serves the
terminal and the page of a run, which has more room.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any, Self

from hisigma_zfit.results.numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WIDTH", "Cells", "Headline", "aligned", "column", "grid", "listing", "percent", "section"]

WIDTH = 100
_INDENT = 2


class Cells(list[str]):
    """The lines of a table, and its cells as they were before anything was cut or filled up.

    Attributes:
        rows: The cells of each row.
        rules: Rows that a rule follows; the first of them is the head.  Empty for names with what belongs to them.
    """

    def __init__(self, lines: Sequence[str], rows: Sequence[Sequence[str]], rules: Sequence[int] = ()) -> None:
        super().__init__(lines)
        self.rows = [tuple(row) for row in rows]
        self.rules = tuple(rules)


class Headline(str):
    """The title of a section.

    Attributes:
        body: The lines below it, `Cells` where they are a table.
    """

    body: Sequence[str]

    def __new__(cls, title: str, body: Sequence[str]) -> Self:
        """A title and the lines below it."""
        made = super().__new__(cls, title)
        made.body = body
        return made


def column(values: Sequence[Any]) -> list[str]:
    """Numbers of one column with the same decimals, so that the eye can compare them; counts and words stay."""
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v != 0]
    if not sizes:
        return [number(v) for v in values]
    decimals = max(2 - math.floor(math.log10(max(sizes))), 1)
    if decimals > 5 or max(sizes) >= 1e9:
        return [number(v) for v in values]
    return [f"{v:z.{decimals}f}" if isinstance(v, (int, float)) and math.isfinite(v) else number(v) for v in values]


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def grid(rows: Sequence[Sequence[str]], *, rule_after: Sequence[int] = (0,)) -> Cells:
    """Align columns: the first to the left, the others to the right; a rule below each row in `rule_after`."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # a first column of long names gives way so that the numbers stay inside the page
    excess = sum(widths) + 2 * (len(widths) - 1) - (WIDTH - _INDENT)
    widths[0] = max(widths[0] - max(excess, 0), 8)
    lines = []
    for i, row in enumerate(rows):
        cells = [_clip(row[0], widths[0]).ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(_clip("  ".join(cells).rstrip(), WIDTH - _INDENT))
        if i in rule_after and i + 1 < len(rows):
            lines.append("-" * min(sum(widths) + 2 * (len(widths) - 1), WIDTH - _INDENT))
    return Cells(lines, rows, rule_after)


def _wrapped(text: str, room: int) -> list[str]:
    """Lines that end behind commas where they can, so that a name stays with its number."""
    lines = [""]
    for piece in text.split(", "):
        longer = f"{lines[-1]}, {piece}" if lines[-1] else piece
        if len(longer) < room:
            lines[-1] = longer
            continue
        lines[-1:] = [f"{lines[-1]},"] if lines[-1] else []
        lines += textwrap.wrap(piece, room - 1) or [""]
    return lines


def percent(level: float) -> str:
    """A confidence level as exact as it is: 68.27 %, 95 %, 95.45 %."""
    return f"{100 * level:.4g} %"


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Lines below a title, after a blank one; nothing where there are none."""
    return ["", Headline(title, lines), *(f"  {line}".rstrip() for line in lines)] if lines else []


def listing(pairs: Sequence[tuple[str, str]]) -> Cells:
    """Names and what belongs to them, below each other; what is long goes on below itself."""
    width = min(max((len(name) for name, _ in pairs), default=0), WIDTH // 2)
    lines = []
    for name, text in pairs:
        # of one line as it is: wrapping would close the gaps of aligned numbers
        room = WIDTH - _INDENT - width - 2
        parts = _wrapped(text, room) if len(text) > room else [text]
        lines += [f"{_clip(name, width) if k == 0 else '':<{width}}  {part}" for k, part in enumerate(parts or [""])]
    return Cells(lines, [(name, text.strip()) for name, text in pairs])


def aligned(pairs: Sequence[tuple[str, str]]) -> Cells:
    """The same with numbers that end below each other: they are compared by their length."""
    width = max((len(text) for _, text in pairs), default=0)
    return listing([(name, text.rjust(width)) for name, text in pairs])
