"""Fonts of PDF files: cut down to the letters that are used, once for all figures of a process.

matplotlib cuts every font down for every file anew, eight of them for one figure, which is a third of the time of all
drawing.  Here the Latin letters and the digits stay in each cut, so that nearly all figures can have the same one.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from matplotlib.backends import _backend_pdf_ps
from matplotlib.font_manager import get_font

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BytesIO

__all__ = ["shared_fonts"]

_PDF: Any = _backend_pdf_ps
_ALWAYS = range(0x20, 0x7F)  # printable characters of ASCII


class _Saved:
    """A font that was cut down, as far as matplotlib asks for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def save(self, file: BytesIO, **_: Any) -> None:
        file.write(self._content)


@lru_cache(maxsize=64)
def _cut(cut: Callable[..., Any], fontfile: Any, glyphs: frozenset[int]) -> tuple[_Saved, Any]:
    with cut(fontfile, set(glyphs)) as found:
        return _Saved(_PDF.font_as_file(found.font).getvalue()), found.glyph_index_map


def _shared_cut(cut: Callable[..., Any], fontfile: Any, glyphs: Iterable[int]) -> Any:
    characters = get_font(fontfile).get_charmap()
    always = {characters[code] for code in _ALWAYS if code in characters}
    font, places = _cut(cut, fontfile, frozenset(always.union(glyphs)))
    return contextlib.nullcontext(_PDF.SubsetResults(font, places))


@contextlib.contextmanager
def shared_fonts() -> Iterator[None]:
    """PDF files that are written in this context share their fonts; a matplotlib before 3.11 does as it always does."""
    if not hasattr(_PDF, "SubsetResults"):
        yield
        return
    cut = _PDF.get_glyphs_subset
    _PDF.get_glyphs_subset = partial(_shared_cut, cut)
    try:
        yield
    finally:
        _PDF.get_glyphs_subset = cut
