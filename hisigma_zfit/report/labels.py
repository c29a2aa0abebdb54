r"""Names of columns and model components as a reader of a figure wants to see them.

Names built from a quantity and particles are translated by rule (``pt_bb`` -> :math:`p_T^{bb}` [GeV], ``dr_b1g2``,
``m_gg``, ``pt_gg_over_m``); a small table holds the rest; any other name is shown as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["axis_label", "component_label", "event_label", "selection_lines", "symbol", "within_sentence"]

# quantity -> (template of its symbol, unit)
_QUANTITIES = {
    "m": (r"m_{{{0}}}", "GeV"),
    "mass": (r"m_{{{0}}}", "GeV"),
    "pt": (r"p_T^{{{0}}}", "GeV"),
    "e": (r"E_{{{0}}}", "GeV"),
    "eta": (r"\eta_{{{0}}}", ""),
    "phi": (r"\phi_{{{0}}}", ""),
    "dr": (r"\Delta R_{{{0}}}", ""),
    "deta": (r"\Delta\eta_{{{0}}}", ""),
    "dphi": (r"\Delta\phi_{{{0}}}", ""),
}
_PARTICLES = {
    "b": "b", "c": "c", "e": "e", "h": "H", "j": "j", "l": r"\ell", "t": "t", "w": "W", "z": "Z",
    "g": r"\gamma", "phot": r"\gamma", "mu": r"\mu", "tau": r"\tau",
}  # fmt: skip
_PARTICLE = re.compile(r"(phot|tau|mu|[bceghjltwz])(\d?)_?", re.IGNORECASE)

# names that follow another convention -> (symbol, unit)
_OTHERS = {
    "tot_mass": (r"m_{bb\gamma\gamma}", "GeV"),
    "Hbb_mass": ("m_{bb}", "GeV"),
    "Hgg_mass": (r"m_{\gamma\gamma}", "GeV"),
    "Hbb_pt": ("p_T^{bb}", "GeV"),
    "Hgg_pt": (r"p_T^{\gamma\gamma}", "GeV"),
    "m": ("m", "GeV"),
    "mass": ("m", "GeV"),
    "ht": ("H_T", "GeV"),
    "met": (r"p_T^{\mathrm{miss}}", "GeV"),
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


def _symbol_and_unit(name: str) -> tuple[str, str] | None:
    if name in _OTHERS:
        return _OTHERS[name]
    if "_over_" in name:
        above, below = (part.strip("_") for part in name.split("_over_", maxsplit=1))
        # `pt_gg_over_m` means the mass of the same particles
        quantity, _, particles = above.partition("_")
        numerator = _symbol_and_unit(above)
        denominator = _symbol_and_unit(f"{below}_{particles}" if below in {"m", "mass"} and quantity else below)
        if numerator is None or denominator is None:
            return None
        unit, divisor = numerator[1], denominator[1]
        if divisor:
            unit = "" if unit == divisor else f"{unit or 1}/{divisor}"
        return f"{numerator[0]}/{denominator[0]}", unit
    first, _, rest = name.partition("_")
    known = _QUANTITIES.get(first.lower())
    particles_symbol = _particles(rest)
    if known is None or particles_symbol is None:
        return None
    return known[0].format(particles_symbol), known[1]


def symbol(name: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Symbol of a column for running text, without its unit.

    Args:
        name: Column name.
        labels: The user's own names; they win over the rules.
    """
    if labels and name in labels:
        return labels[name]
    known = _symbol_and_unit(name)
    return f"${known[0]}$" if known else name


def _unit(name: str, labels: Mapping[str, str] | None) -> str:
    known = None if labels and name in labels else _symbol_and_unit(name)
    return known[1] if known else ""


def axis_label(name: str, *, unit: str | None = None, labels: Mapping[str, str] | None = None) -> str:
    """Axis title of a column: symbol and unit in brackets.

    Args:
        name: Column name.
        unit: Unit; None takes the known one, an empty string shows none.
        labels: The user's own titles, by column; they are shown verbatim, `unit` is added where it is given.
    """
    shown = _unit(name, labels) if unit is None else unit
    return f"{symbol(name, labels=labels)} [{shown}]" if shown else symbol(name, labels=labels)


def event_label(name: str, width: float | None, *, unit: str | None = None) -> str:
    """Title of the axis that counts events: ``Events / 10 GeV``, or ``Events / bin`` where widths differ (None)."""
    if width is None:
        return "Events / bin"
    shown = _unit(name, None) if unit is None else unit
    return f"Events / {width:.3g} {shown}".rstrip()


def selection_lines(text: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Selection for the inside of a frame: one condition a line, column names as symbols, ranges with their unit."""

    def window(match: re.Match[str]) -> str:
        unit = _unit(match[2], labels)
        return f"{match[1]} < {match[2]} < {match[3]} {unit}".rstrip()

    def named(match: re.Match[str]) -> str:
        # a single word such as "m" or "mass" may be meant as a word
        return symbol(match[0], labels=labels) if "_" in match[0] or match[0] in (labels or {}) else match[0]

    if "$" in text:  # set by hand
        return text
    text = re.sub(r"(\S+) < ([A-Za-z]\w*) < ([^\s,]+)", window, text)
    return re.sub(r"[A-Za-z]\w*", named, text).replace(", ", "\n")


def component_label(name: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Legend text of a model component, or axis title of a parameter."""
    if labels and name in labels:
        return labels[name]
    return _WORDS.get(name.lower(), name)


def within_sentence(label: str) -> str:
    """A label after other words: "Signal yield" begins small, "HH yield" and "$p_1$" stay."""
    first = label.split(" ", 1)[0]
    return label[:1].lower() + label[1:] if first.isalpha() and first[1:].islower() else label
