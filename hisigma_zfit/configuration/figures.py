"""What an analyst may say of the figures; no number depends on it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from hisigma_zfit.configuration.arguments import Flag
from hisigma_zfit.configuration.options import Options

__all__ = ["FIGURE_OPTIONS", "FigureOptions", "FigureWords"]


def _as_text(value: Any) -> Any:
    """A number as a reader would write it; `Options` has refused truth values before."""
    return f"{value:g}" if isinstance(value, (int, float)) else value


_Quantity = Annotated[
    str | None, BeforeValidator(_as_text), WithJsonSchema({"type": ["number", "string", "null"]}), Flag(metavar="X")
]


class FigureWords(Options):
    """Words and units of the figures, of every task."""

    experiment: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="name above the figures, in bold type, such as CMS; none by default"
    )
    label: Annotated[str | None, Flag(metavar="TEXT")] = Field(
        None, description="what the figures are, in italics, such as Preliminary or Simulation; nothing by default"
    )
    energy: _Quantity = Field(
        None, description="centre-of-mass energy for the figures, in TeV or with a unit of its own"
    )
    units: Annotated[dict[str, str], Flag(name="unit", metavar="NAME=UNIT", split="=", example="m_gg=GeV")] = Field(
        {}, description="unit of a column for figures and tables, such as m_gg=GeV; may be repeated"
    )
    titles: Annotated[dict[str, str], Flag(name="title", metavar="NAME=TEXT", split="=", example="m='$m_X$'")] = Field(
        {}, description="title of a column, component or parameter in figures; may be repeated"
    )

    def figure_words(self) -> dict[str, Any]:
        """What was said of the figures, for `results.Presentation`."""
        said = {name: getattr(self, name) for name in FIGURE_OPTIONS if name in type(self).model_fields}
        return {name: value for name, value in said.items() if value and not isinstance(value, float)}


class FigureOptions(FigureWords):
    """The same with the luminosity, of tasks that have no other one."""

    luminosity: _Quantity = Field(
        None, description="integrated luminosity, in fb-1 or with a unit of its own, such as '36 pb-1'"
    )


FIGURE_OPTIONS = tuple(FigureOptions.model_fields)  # what no number depends on
