"""What all figures share: style, colours, the label above the frame, and what the analyst said of units and titles.

The words are those of `presented`, in whose context figures are drawn; outside of it nothing is claimed.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

import matplotlib as mpl
import mplhep
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from hisigma_zfit.results.presentation import Presentation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

__all__ = ["BACKGROUND_COLOURS", "LABEL", "SIGNAL_COLOURS", "finish", "frame", "presentation", "presented", "styled"]

LABEL = ""  # of a figure that takes the words of `presented`

_NEUTRAL = Presentation()
_PRESENTATION: ContextVar[Presentation] = ContextVar("presentation")

# Petroff's sequence (arXiv:2107.02270), safe for colour-blind readers; the warm colours are kept for signal
BACKGROUND_COLOURS = ("#5790fc", "#9c9ca1", "#7a21dd", "#92dadd", "#717581")
SIGNAL_COLOURS = ("#e42536", "#f89c20", "#964a8b")
_STYLE = {
    **mplhep.style.ROOT,
    # a figure is often drawn after the context has ended: nothing may depend on the settings of that moment
    "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
    "mathtext.fontset": "stixsans",
    "mathtext.default": "it",
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": True,
    "font.size": 24,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
}


class _PlainNumbers(ScalarFormatter):
    """Numbers at ticks as plain text, and only the power of ten that they share as a formula.

    Each formula is parsed for every file that a figure is written to, which takes longer than all the rest of it.
    """

    def __init__(self) -> None:
        with styled():
            super().__init__(useOffset=False, useMathText=True)

    def __call__(self, x: float, pos: int | None = None) -> str:
        return super().__call__(x, pos).removeprefix(r"$\mathdefault{").removesuffix("}$")


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Style of the figures, for the time that one is made."""
    with mpl.rc_context(_STYLE):
        yield


@contextlib.contextmanager
def presented(what: Presentation) -> Iterator[None]:
    """Draw figures with these words, units and titles; serves as a decorator too.

    Args:
        what: The words.
    """
    token = _PRESENTATION.set(what)
    try:
        yield
    finally:
        _PRESENTATION.reset(token)


def presentation() -> Presentation:
    """What holds for the figure that is being drawn."""
    return _PRESENTATION.get(_NEUTRAL)


def frame(*, left: float = 0.14, width: float = 0.8) -> tuple[Figure, Axes]:
    """A figure with one frame of the usual size.

    Args:
        left: Left edge of the frame, as a share of the figure's width.
        width: Its width, likewise.
    """
    figure = Figure(figsize=(10, 8.5))
    return figure, figure.add_axes((left, 0.13, width, 0.79))


def finish(figure: Figure, axes: Axes, label: str, right_label: str, *, right: Axes | None = None) -> Figure:
    """Write the labels above the frame and fix everything that matplotlib would otherwise decide at drawing time.

    Args:
        figure: The figure.
        axes: The frame that has the labels above.
        label: Text at the left, its first word in bold; that of `presented` if empty.
        right_label: Text at the right, before luminosity and energy of `presented`.
        right: The frame that has the text at the right above, if it is another one.
    """
    words = presentation()
    name, _, rest = label.partition(" ") if label else (words.experiment, "", words.label)
    beside = ", ".join(filter(None, (right_label, words.right)))
    if right is not None:
        right.text(1.0, 1.01, beside, transform=right.transAxes, ha="right", va="bottom", fontsize=18)
    mplhep.label.exp_text(
        name,
        rest,
        lumi=beside if right is None and beside else None,
        loc=0,
        ax=axes,
        fontsize=(26, 22, 18, 20),
        scilocator_adjust=False,
    )  # the adjustment would open an empty pyplot figure
    for each in figure.axes:
        for axis in (each.xaxis, each.yaxis):
            if type(axis.get_major_formatter()) is ScalarFormatter:
                axis.set_major_formatter(_PlainNumbers())
            # made on demand, they would otherwise take the style of the moment in which the figure is drawn
            axis.get_major_ticks()
            axis.get_minor_ticks()
    return figure
