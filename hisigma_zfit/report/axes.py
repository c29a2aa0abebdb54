"""Axes that several figures have in common: a profiled likelihood, the plane of two parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.report.labels import component_label
from hisigma_zfit.statistics.intervals import ONE_SIGMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results.explanations import Contour

__all__ = ["closed", "draw_masked", "dress_contours", "dress_likelihood"]


def draw_masked(axes: Axes, windows: Sequence[tuple[float, float]], edges: Array) -> None:
    """Masked windows of the mass, of which the axes show nothing, as far as they are between the outer edges."""
    shown = [window for window in windows if window[0] < edges[-1] and window[1] > edges[0]]
    for k, window in enumerate(shown):
        name = None if k else "Masked"
        axes.axvspan(*window, facecolor="0.94", edgecolor="0.6", hatch="\\\\", linewidth=0, zorder=0.2, label=name)


def dress_likelihood(axes: Axes, *, xlabel: str, top: float, truth: float | None) -> None:
    """Titles, confidence levels and the true value of a figure of 2 dNLL, once its curves are drawn."""
    if truth is not None:
        axes.axvline(truth, ymax=0.7, color="black", linestyle="-.", linewidth=1.5, label="Truth")
    axes.set_ylim(0, top)
    for cl, text in ((ONE_SIGMA, "68.3 %"), (0.95, "95 %")):
        height = float(chi2.ppf(cl, 1))
        axes.axhline(height, color="0.4", linewidth=1, zorder=1)
        axes.text(1.01, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=16, color="0.3")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(r"$-2\,\Delta\,\ln L$")


def closed(what: Contour) -> Array:
    """The line with its first point once more at its end, shape (n + 1, 2)."""
    return np.vstack([what.points, what.points[:1]])


def dress_contours(axes: Axes, what: Sequence[Contour], *, labels: Mapping[str, str] | None, room: float) -> None:
    """Ranges and titles of a plane of two parameters; `room` is left above for the legend, in heights of the lines."""
    points = np.concatenate([each.points for each in what])
    lower, width = points.min(axis=0), np.ptp(points, axis=0)
    width[width == 0] = 1.0
    axes.set_xlim(lower[0] - 0.08 * width[0], lower[0] + 1.08 * width[0])
    axes.set_ylim(lower[1] - 0.08 * width[1], lower[1] + (1.0 + room) * width[1])
    axes.set_xlabel(component_label(what[0].x, labels=labels))
    axes.set_ylabel(component_label(what[0].y, labels=labels))
