r"""Names of columns and model components as a reader of a figure wants to see them.

Names built from a quantity and particles are translated by rule (``pt_bb`` -> :math:`p_T^{bb}`, ``dr_b1g2``, ``m_gg``,
``pt_gg_over_m``); a small table holds the rest; any other name is shown as it is.  A unit is shown where the analyst
has said which: no name tells whether a mass is in MeV, GeV or TeV.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from hisigma_zfit.report.style import presentation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "axis_label",
    "component_label",
    "event_label",
    "plain_number",
    "selection_lines",
    "symbol",
    "within_sentence",
]

# quantity -> template of its symbol
_QUANTITIES = {
    "m": r"m_{{{0}}}",
    "mass": r"m_{{{0}}}",
    "pt": r"p_T^{{{0}}}",
    "e": r"E_{{{0}}}",
    "eta": r"\eta_{{{0}}}",
    "phi": r"\phi_{{{0}}}",
    "dr": r"\Delta R_{{{0}}}",
    "deta": r"\Delta\eta_{{{0}}}",
    "dphi": r"\Delta\phi_{{{0}}}",
}
_PARTICLES = {
    "b": "b", "c": "c", "e": "e", "h": "H", "j": "j", "l": r"\ell", "t": "t", "w": "W", "z": "Z",
    "g": r"\gamma", "phot": r"\gamma", "mu": r"\mu", "tau": r"\tau",
}  # fmt: skip
_PARTICLE = re.compile(r"(phot|tau|mu|[bceghjltwz])(\d?)_?", re.IGNORECASE)

# names that follow another convention -> symbol
_OTHERS = {
    "tot_mass": r"m_{bb\gamma\gamma}",
    "Hbb_mass": "m_{bb}",
    "Hgg_mass": r"m_{\gamma\gamma}",
    "Hbb_pt": "p_T^{bb}",
    "Hgg_pt": r"p_T^{\gamma\gamma}",
    "m": "m",
    "mass": "m",
    "ht": "H_T",
    "met": r"p_T^{\mathrm{miss}}",
}

# parameter and component names of the default model -> words
_WORDS = {
    "bkg": "Background",
    "background": "Background",
    "n_bkg": "Background yield",
    "sig": "Signal",
    "signal": "Signal",
    "n_sig": "Signal yield",
}


def _particles(text: str) -> str | None:
    """Symbols of a run of particle names such as ``bb``, ``b1g2`` or ``b1_phot1``; None where it is not one."""
    shown, at = "", 0
    while at < len(text):
        match = _PARTICLE.match(text, at)
        if match is None:
            return None
        particle = _PARTICLES[match[1].lower()]
        # a command such as \mu must be parted from a letter behind it
        gap = " " if re.search(r"\\[a-z]+$", shown) and particle[0] != "\\" else ""
        shown += gap + particle + (f"_{match[2]}" if match[2] else "")
        at = match.end()
    return shown or None


def _known_symbol(name: str) -> str | None:
    """Symbol of a column by the rules, without dollars; None where none applies."""
    if name in _OTHERS:
        return _OTHERS[name]
    if "_over_" in name:
        above, below = (part.strip("_") for part in name.split("_over_", maxsplit=1))
        # `pt_gg_over_m` means the mass of the same particles
        quantity, _, particles = above.partition("_")
        numerator = _known_symbol(above)
        denominator = _known_symbol(f"{below}_{particles}" if below in {"m", "mass"} and quantity else below)
        return None if numerator is None or denominator is None else f"{numerator}/{denominator}"
    first, _, rest = name.partition("_")
    known = _QUANTITIES.get(first.lower())
    particles_symbol = _particles(rest)
    return None if known is None or particles_symbol is None else known.format(particles_symbol)


def _own_title(name: str, labels: Mapping[str, str] | None) -> str | None:
    """The user's title: of the figure, else of all figures."""
    return (labels or {}).get(name) or presentation().titles.get(name)


def symbol(name: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Symbol of a column for running text, without its unit.

    Args:
        name: Column name.
        labels: The user's own names; they win over the rules.
    """
    known = _known_symbol(name)
    return _own_title(name, labels) or (f"${known}$" if known else name)


def _unit(name: str) -> str:
    """The unit that was said to be that of a column, or none."""
    return presentation().units.get(name, "")


def axis_label(name: str, *, unit: str | None = None, labels: Mapping[str, str] | None = None) -> str:
    """Axis title of a column: symbol and unit in brackets.

    Args:
        name: Column name.
        unit: Unit; None takes what `hisigma_zfit.report.style.presented` says, an empty string shows none.
        labels: The user's own titles, by column.
    """
    shown = _unit(name) if unit is None else unit
    return f"{symbol(name, labels=labels)} [{shown}]" if shown else symbol(name, labels=labels)


def event_label(name: str, width: float | None, *, unit: str | None = None) -> str:
    """Title of the axis that counts events: ``Events / 10 GeV``, or ``Events / bin`` where widths differ (None)."""
    if width is None:
        return "Events / bin"
    shown = _unit(name) if unit is None else unit
    return f"Events / {plain_number(width)} {shown}".rstrip()


def plain_number(value: float) -> str:
    """Four significant digits, with a power of ten only where a reader would take one."""
    if value == 0 or not 1e-4 <= abs(value) < 1e7:
        return f"{value:.4g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def selection_lines(text: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Selection for the inside of a frame: one condition a line, column names as symbols, ranges with their unit."""

    def window(match: re.Match[str]) -> str:
        unit = _unit(match[2])
        return f"{match[1]} < {match[2]} < {match[3]} {unit}".rstrip()

    def named(match: re.Match[str]) -> str:
        # a single word such as "m" or "mass" may be meant as a word
        return symbol(match[0], labels=labels) if "_" in match[0] or _own_title(match[0], labels) else match[0]

    if "$" in text:  # set by hand
        return text
    text = re.sub(r"(\S+) < ([A-Za-z]\w*) < ([^\s,]+)", window, text)
    return re.sub(r"[A-Za-z]\w*", named, text).replace(", ", "\n")


def component_label(name: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Legend text of a model component, or axis title of a parameter."""
    return _own_title(name, labels) or _WORDS.get(name.lower(), name)


def within_sentence(label: str) -> str:
    """A label after other words: "Signal yield" begins small, "HH yield" and "$p_1$" stay."""
    first = label.split(" ", 1)[0]
    return label[:1].lower() + label[1:] if first.isalpha() and first[1:].islower() else label
