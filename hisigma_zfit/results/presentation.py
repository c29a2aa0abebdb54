"""How figures are labelled: what only the analyst can know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from hisigma_zfit.results.base import Result

__all__ = ["Presentation"]


@dataclass(frozen=True)
class Presentation(Result):
    """Words above the frames, and units and titles of columns; nothing is claimed that was not said.

    Attributes:
        experiment: Name in bold type above the frame, such as ``"CMS"``.
        label: What the figure is, in italics behind it: ``"Preliminary"``, ``"Simulation"``.
        luminosity: Integrated luminosity, in fb-1 where it has no unit of its own, such as ``"138"`` or ``"36 pb-1"``.
        energy: Centre-of-mass energy, in TeV where it has no unit of its own.
        units: Units of columns, by name.
        titles: Titles of columns, components and parameters, by name.
    """

    schema: ClassVar[str] = "hisigma-zfit/presentation/1"
    experiment: str = ""
    label: str = ""
    luminosity: str = ""
    energy: str = ""
    units: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def right(self) -> str:
        """Luminosity and energy as they stand above the frame at the right, such as 138 fb-1 (13 TeV)."""
        luminosity, energy = _with_unit(self.luminosity, "fb-1"), _with_unit(self.energy, "TeV")
        return f"{luminosity} ({energy})" if luminosity and energy else luminosity or energy


def _with_unit(text: str, unit: str) -> str:
    """A quantity for a figure, its unit added where there is none, powers raised."""
    words = text.split()
    if not words:
        return ""
    try:
        float(words[-1])
    except ValueError:
        pass
    else:
        words.append(unit)
    return " ".join(re.sub(r"(?<=[a-z])(-\d+)$", r"$^{\1}$", word) for word in words)
