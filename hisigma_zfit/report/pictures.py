"""Figures as parts of a page: vector graphics with outlines for letters, so that they look alike everywhere.

matplotlib's drawing is taken apart and written again from known elements only.  Names in it are made the figure's own,
since all figures share one document, and outlines of letters, which fill most of a drawing, are kept once for all.
"""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import matplotlib as mpl

from hisigma_zfit.report.style import styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

__all__ = ["Picture", "Pictures"]

_LARGE = 1_500_000  # a drawing of so many letters is made of points, not of lines
_PAGE = 4_000_000  # letters of all drawings of a page together
_DPI = 110  # of a drawing's picture element by element
_DRAWN = {"svg", "g", "defs", "path", "use", "clipPath", "rect", "image", "circle", "ellipse", "line", "polygon",
          "polyline", "linearGradient", "radialGradient", "stop", "pattern", "filter", "feGaussianBlur"}  # fmt: skip
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_DECIMALS = re.compile(r"(\d+\.\d{2})\d+")
_LETTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ -]*-[0-9a-f]+$")


@dataclass(frozen=True)
class Picture:
    """One figure as markup.

    Attributes:
        markup: An ``svg`` or an ``img`` element.
        vector: Whether it is the former.
    """

    markup: str
    vector: bool


@dataclass
class Pictures:
    """The figures of one page.

    Attributes:
        large: Letters of a drawing's markup above which it becomes a picture of pixels.
        page: Letters of all drawings above which the largest ones do.
    """

    large: int = _LARGE
    page: int = _PAGE
    _letters: dict[str, tuple[str, str]] = field(default_factory=dict)

    def draw(self, figures: Mapping[str, Figure], words: Mapping[str, str]) -> dict[str, Picture]:
        """Markup of figures by name, as drawings unless they are too large.

        Args:
            figures: What to draw, by name.
            words: What each shows, for readers who do not see it.
        """
        labels = {name: html.escape(words[name]) for name in figures}
        made = {}
        for number, (name, figure) in enumerate(figures.items(), start=1):
            made[name] = Picture(self._own(_drawing(figure, name), f"f{number}-", labels[name]), vector=True)
        total = sum(len(picture.markup) for picture in made.values())
        for name, picture in sorted(made.items(), key=lambda item: -len(item[1].markup)):
            if len(picture.markup) > self.large or total > self.page:
                pixels = f'<img alt="{labels[name]}" src="{_pixels(figures[name])}"/>'
                if len(pixels) < len(picture.markup):
                    made[name] = Picture(pixels, vector=False)
                    total -= len(picture.markup) - len(pixels)
        return made

    def letters(self) -> str:
        """Outlines of the letters of all drawings, to stand in the page before them."""
        paths = "".join(
            f'<path id="{key}" d="{outline}"{f" transform={chr(34)}{move}{chr(34)}" if move else ""}/>'
            for key, (outline, move) in self._letters.items()
        )
        return f'<svg class="letters" width="0" height="0" aria-hidden="true"><defs>{paths}</defs></svg>'

    def _own(self, drawing: bytes, prefix: str, label: str) -> str:
        root = ElementTree.fromstring(drawing)
        names = self._names(root, prefix)
        attributes = f'viewBox="{html.escape(root.get("viewBox", "0 0 720 612"))}" role="img" aria-label="{label}"'
        return f"<svg {attributes}>{''.join(self._written(child, names) for child in root)}</svg>"

    def _names(self, root: ElementTree.Element, prefix: str) -> dict[str, str]:
        """What the names that something refers to become; letters keep theirs, if it is free."""
        names = {}
        for element in root.iter():
            for key in ("href", "{http://www.w3.org/1999/xlink}href"):
                if element.get(key, "").startswith("#"):
                    names[element.get(key, "")[1:]] = ""
            for value in element.attrib.values():
                names.update(dict.fromkeys(_REFERENCE.findall(value), ""))
        for element in root.iter():
            own = element.get("id", "")
            if own not in names:
                continue
            names[own] = prefix + own
            if _tag(element) == "path" and _LETTER.match(own):
                outline = (html.escape(element.get("d", "")), html.escape(element.get("transform", "")))
                key = f"letter-{own.replace(' ', '-')}"
                if self._letters.setdefault(key, outline) == outline:
                    names[own] = key
        return names

    def _written(self, element: ElementTree.Element, names: Mapping[str, str]) -> str:
        tag = _tag(element)
        named = names.get(element.get("id", ""), "")
        if tag not in _DRAWN or named.startswith("letter-"):
            return ""
        attributes = {"id": named} if named else {}
        for key, value in element.attrib.items():
            short = key.rpartition("}")[2]
            if short == "href":
                if value.startswith("#"):
                    attributes["href"] = f"#{names[value[1:]]}"
                elif value.startswith("data:image/png;base64,"):
                    attributes["href"] = value
            elif short == "d":
                attributes["d"] = _DECIMALS.sub(r"\1", value).replace("\n", " ").strip()
            elif short != "id" and not short.lower().startswith("on"):
                attributes[short] = _REFERENCE.sub(lambda found: f"url(#{names[found[1]]})", value)
        words = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
        inside = "".join(self._written(child, names) for child in element)
        if tag in {"g", "defs"} and not inside:
            return ""
        return f"<{tag}{words}>{inside}</{tag}>" if inside else f"<{tag}{words}/>"


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _drawing(figure: Figure, salt: str) -> bytes:
    buffer = io.BytesIO()
    with styled(), mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": salt, "svg.image_inline": True}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _pixels(figure: Figure) -> str:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
