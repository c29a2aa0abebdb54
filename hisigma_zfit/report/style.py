"""What all figures share: style, colours, the label above the frame."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import matplotlib as mpl
import mplhep
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

__all__ = ["BACKGROUND_COLOURS", "LABEL", "SIGNAL_COLOURS", "finish", "frame", "styled"]

LABEL = "HI-SIGMA simulation"

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


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Style of the figures, for the time that one is made."""
    with mpl.rc_context(_STYLE):
        yield


def frame(*, left: float = 0.14, width: float = 0.8) -> tuple[Figure, Axes]:
    """A figure with one frame of the usual size.

    Args:
        left: Left edge of the frame, as a share of the figure's width.
        width: Its width, likewise.
    """
    figure = Figure(figsize=(10, 8.5))
    return figure, figure.add_axes((left, 0.13, width, 0.79))


def finish(figure: Figure, axes: Axes, label: str, right_label: str) -> Figure:
    """Write the labels above the frame and fix everything that matplotlib would otherwise decide at drawing time."""
    name, _, rest = label.partition(" ")
    mplhep.label.exp_text(
        name, rest, lumi=right_label or None, loc=0, ax=axes, fontsize=(26, 22, 18, 20), scilocator_adjust=False
    )  # the adjustment would open an empty pyplot figure
    for each in figure.axes:
        for axis in (each.xaxis, each.yaxis):
            # made on demand, they would otherwise take the style of the moment in which the figure is drawn
            axis.get_major_ticks()
            axis.get_minor_ticks()
    return figure
