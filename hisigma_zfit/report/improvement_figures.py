"""Figures of how much scores improve a search: values in, `matplotlib.figure.Figure` out.

- `improvement_curves`: significance improvement by signal efficiency, one line for each score;
- `improvement_by_signal`: the value at one background efficiency by how much signal there was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.style import BACKGROUND_COLOURS, LABEL, SIGNAL_COLOURS, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from hisigma_zfit.results import SicCurve

__all__ = ["improvement_by_signal", "improvement_curves"]

_COLOURS = (SIGNAL_COLOURS[0], BACKGROUND_COLOURS[0], "#333333", SIGNAL_COLOURS[1], BACKGROUND_COLOURS[2], "#717581")
_MARKERS = "osD^vP"


def improvement_curves(
    curves: Mapping[str, SicCurve], *, label: str = LABEL, right_label: str = "", fewest: int = 5
) -> Figure:
    """Significance improvement of several scores by signal efficiency, with bands of one standard deviation.

    Args:
        curves: By the name that the legend gives them; six at most.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
        fewest: Background events that a cut must have left to be drawn.

    Raises:
        InputError: No curve, or more than six.
    """
    _require(len(curves))
    with styled():
        figure, axes = frame()
        highest = 0.0
        for (name, curve), colour in zip(curves.items(), _COLOURS, strict=False):
            drawn = curve.background_efficiency * curve.n_background >= fewest
            x, y, error = (values[drawn] for values in (curve.signal_efficiency, curve.sic, curve.error))
            axes.fill_between(x, y - error, y + error, color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, y, color=colour, linewidth=2.5, label=name)
            highest = max(highest, float((y + error).max()))
        grid = np.linspace(1e-4, 1.0, 400)
        axes.plot(grid, np.sqrt(grid), color="0.5", linestyle=":", linewidth=1.5, label="random")
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.15 * max(highest, 1.0))
        axes.set_xlabel("Signal efficiency")
        axes.set_ylabel(r"$\epsilon_S / \sqrt{\epsilon_B}$")
        axes.legend(loc="upper right", fontsize=20)
        return finish(figure, axes, label, right_label)


def improvement_by_signal(
    points: Mapping[str, Sequence[tuple[float, SicCurve]]],
    *,
    at: Literal["at_1e3", "at_1e2", "maximum"] = "at_1e3",
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Significance improvement of every data set by its signal over the root of its background.

    Args:
        points: S / sqrt(B) and the curve of each data set, by the name that the legend gives the score; six at most.
        at: Which value of the curves.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: No score, or more than six.
    """
    _require(len(points))
    title = {"at_1e3": r" at $\epsilon_B = 10^{-3}$", "at_1e2": r" at $\epsilon_B = 10^{-2}$", "maximum": ", maximum"}
    with styled():
        figure, axes = frame()
        for (name, own), colour, marker in zip(points.items(), _COLOURS, _MARKERS, strict=False):
            x = np.array([value for value, _ in own])
            chosen = [getattr(curve, at) for _, curve in own]
            y, error = np.array([point.sic for point in chosen]), np.array([point.error for point in chosen])
            axes.errorbar(x, y, error, fmt=marker, color=colour, markersize=8, capsize=3, label=name)
        axes.set_xlim(left=0.0)
        axes.set_ylim(bottom=0.0)
        axes.margins(y=0.15)
        axes.set_xlabel(r"$S / \sqrt{B}$ in the window")
        axes.set_ylabel(r"$\epsilon_S / \sqrt{\epsilon_B}$" + title[at])
        axes.legend(loc="lower right", fontsize=20)
        return finish(figure, axes, label, right_label)


def _require(number: int) -> None:
    if not 1 <= number <= len(_COLOURS):
        raise InputError.from_parts(expected=f"1 to {len(_COLOURS)} scores", got=str(number), do="draw several figures")
