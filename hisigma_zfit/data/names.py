"""Names in the text of an expression, found before anything else reads it.

Python's parser normalises identifiers (NFKC), knows words of its own and takes a name with a dot apart: a branch whose
name has the micro sign would become its twin with the Greek mu.  So names are replaced by plain aliases first, and the
parser sees nothing of what the user or the file calls them.
"""

from __future__ import annotations

import difflib
import keyword
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Renamed", "Symbol", "is_reserved", "name_hint", "renamed", "symbols"]

WORDS = ("and", "or", "not", "True", "False")
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?", re.ASCII
)
_MARKS = re.compile(r"&&|\|\||==|!=|<=|>=|\*\*|//|<<|>>|[-+*/%<>=&|~!(),]")


@dataclass(frozen=True)
class Symbol:
    """One piece of an expression.

    Attributes:
        kind: ``"name"``, ``"function"`` (a name before a bracket), ``"word"``, ``"number"``, ``"mark"`` or ``"other"``.
        text: The piece; of a name in backticks what is between them.
    """

    kind: str
    text: str


@dataclass
class Renamed:
    """An expression with aliases for its names.

    Attributes:
        text: In Python's notation, of one line and of ASCII characters.
        names: Alias -> name, in the order in which the names appear first.
        logical_not: Where in `text` a ``~`` stands for ROOT's ``!``.
    """

    text: str = ""
    names: dict[str, str] = field(default_factory=dict)
    logical_not: set[int] = field(default_factory=set)


def symbols(text: str) -> Iterator[Symbol]:
    """Take a text apart; what belongs to no expression is a symbol of kind ``"other"``."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if text[at] == "`" and (end := text.find("`", at + 1)) > at + 1:
            yield Symbol("name", text[at + 1 : end])
            at = end + 1
        elif text[at].isidentifier():
            end = _end_of_name(text, at)
            yield _word(text[at:end], text[end:])
            at = end
        elif found := _NUMBER.match(text, at) or _MARKS.match(text, at):
            yield Symbol("number" if found.re is _NUMBER else "mark", found[0])
            at = found.end()
        else:
            yield Symbol("other", text[at])
            at += 1


def renamed(found: Collection[Symbol]) -> Renamed:
    """Put an expression of Python together, with ``v0``, ``v1``, ... for the names."""
    result = Renamed()
    aliases: dict[str, str] = {}
    for symbol in found:
        if symbol.kind == "name":
            piece = aliases.setdefault(symbol.text, f"v{len(aliases)}")
        elif symbol.text == "!":
            # `not` of Python binds less tightly: !a == b is (!a) == b in C++
            result.logical_not.add(len(result.text))
            piece = "~"
        else:
            piece = {"&&": "and", "||": "or"}.get(symbol.text, symbol.text)
        result.text += f"{piece} "
    result.names = {alias: name for name, alias in aliases.items()}
    return result


def _end_of_name(text: str, start: int) -> int:
    """Behind a name; a dot belongs to it, as in the branches ``photon.pt`` of split objects."""
    end = start
    while end < len(text):
        dotted = text[end] == "." and end + 1 < len(text) and _continues(text[end + 1])
        if not (dotted or _continues(text[end])):
            break
        end += 1
    return end


def _continues(character: str) -> bool:
    return f"a{character}".isidentifier()


def _word(word: str, rest: str) -> Symbol:
    if word in WORDS:
        return Symbol("word", word)
    if rest.lstrip().startswith("("):
        return Symbol("function", word)
    return Symbol("name", word)


def is_reserved(name: str) -> bool:
    """Whether Python has a meaning for a word that no expression can have."""
    return keyword.iskeyword(name)


def name_hint(name: str, known: Collection[str]) -> str:
    """Say what to do about an unknown name: list the closest known ones, or the first of them."""
    names = [str(k) for k in known]
    twins = [k for k in names if unicodedata.normalize("NFKC", k) == unicodedata.normalize("NFKC", name)]
    if twins:  # the same letters to the eye
        return f"there is {twins[0]!r}, whose characters are {twins[0]!a} and not {name!a}"
    by_lower = {k.lower(): k for k in names}
    close = [by_lower[k] for k in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"there are {', '.join(map(repr, names[:12]))}{more}" if names else "there are none at all"
