"""Figures that explain a fit: impacts, correlations, contours, goodness of fit, sPlot features.

Values in, `matplotlib.figure.Figure` out, as in `hisigma_zfit.report.plotting`.  The S/(S+B)-weighted mass spectrum is
a `results.Projection`, which `plotting.projection` draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.axes import closed, dress_contours
from hisigma_zfit.report.labels import axis_label, component_label, within_sentence
from hisigma_zfit.report.style import LABEL, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hisigma_zfit.results.explanations import Contour, Correlations, GoodnessOfFit, Impact, Impacts, WeightedFeature

__all__ = ["contours", "correlations", "goodness_of_fit", "impacts", "weighted_feature"]

_DOWN, _UP = "#5790fc", "#e42536"  # nuisance at best - error and at best + error
_LINES = ("-", "--", ":")


def impacts(
    what: Impacts,
    *,
    top: int = 20,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Pulls and impacts of the leading nuisances, side by side, largest impact on top.

    Left: (best - pre-fit value) / pre-fit error, with the post-fit error in the same unit; a nuisance that only the
    data constrain shows its value instead.  Right: shifts of the poi for the nuisance one post-fit (filled) and one
    pre-fit (frame) error below and above its best fit; frames that are much longer than all that is filled, where data
    constrain a nuisance well, run out of the panel.

    Args:
        what: The impacts.
        top: How many nuisances to show.
        labels: The user's own names of parameters, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There is no nuisance.
    """
    shown = what.impacts[:top]
    if not shown:
        raise InputError.from_parts(expected="at least one nuisance", got="none", do="give the fit some")
    with styled():
        height = 2.3 + 0.55 * len(shown)
        figure = Figure(figsize=(14, height))
        # margins in inches: they hold text, whose size does not change with the number of rows
        edges = {"left": 0.26, "right": 0.97, "bottom": 1.1 / height, "top": 1 - 1.15 / height}
        grid = figure.add_gridspec(1, 2, width_ratios=(1, 1.25), wspace=0.08, **edges)
        left = figure.add_subplot(grid[0])
        right = figure.add_subplot(grid[1], sharey=left)
        rows = np.arange(len(shown))[::-1]
        for row, impact in zip(rows, shown, strict=True):
            if row % 2 == 0:
                for axes in (left, right):
                    axes.axhspan(row - 0.5, row + 0.5, color="0.95", zorder=0, linewidth=0)
            _draw_pull(left, row, impact)
            _draw_impact(right, row, impact)
        left.set_yticks(
            rows, [f"{k + 1}  {component_label(i.name, labels=labels)}" for k, i in enumerate(shown)], fontsize=18
        )
        left.set_ylim(-0.5, len(shown) - 0.5)
        reach = max(2.0, *(abs(i.pull) + 0.6 + (i.constraint or 0.0) for i in shown if i.pull is not None), 0.0)
        left.set_xlim(-1.05 * reach, 1.05 * reach)
        left.set_xlabel(r"$(\hat{\theta} - \theta_0)\,/\,\Delta\theta$")
        for position in (-1, 0, 1):
            left.axvline(position, color="0.5", linewidth=1, linestyle="--" if position else "-", zorder=1)
        right.axvline(0, color="0.5", linewidth=1, zorder=1)
        poi = component_label(what.poi, labels=labels)
        right.set_xlabel(f"Shift of the {within_sentence(poi)}" if " " in poi else f"Shift of {poi}")
        filled = max(i.size for i in shown)
        widest = max(max(map(abs, (*i.postfit, *(i.prefit or ())))) for i in shown)
        widest = min(widest, 4.0 * filled) if filled > 0.0 else widest
        right.set_xlim(-1.15 * widest, 1.15 * widest)
        for axes in (left, right):
            axes.minorticks_on()
            axes.tick_params(axis="y", which="both", left=False, right=False)
        left.xaxis.set_major_locator(MultipleLocator(1))
        right.xaxis.set_major_locator(MaxNLocator(nbins=6, symmetric=True, prune="both"))
        right.tick_params(labelleft=False)
        handles = [
            Patch(facecolor=_DOWN, alpha=0.75, label=r"$-1\sigma$ post-fit"),
            Patch(facecolor=_UP, alpha=0.75, label=r"$+1\sigma$ post-fit"),
            Patch(facecolor="none", edgecolor="0.2", label=r"$\pm1\sigma$ pre-fit"),
            Line2D([], [], color="black", marker="o", markersize=7, label="Pull"),
        ]
        figure.legend(
            handles=handles, loc="upper right", ncols=4, fontsize=17, frameon=False, bbox_to_anchor=(0.985, 1.0),
            columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip
        below, above = what.total
        text = f"{poi} $=$ {_with_errors(what.value, below, above)}"
        right.text(0.0, 1.01, text, transform=right.transAxes, ha="left", va="bottom", fontsize=19)
        return finish(figure, left, label, right_label, right=right)


def _with_errors(value: float, below: float, above: float) -> str:
    """Value with two significant digits of the smaller error, all in mathematical type."""
    smaller = min((e for e in (below, above) if e > 0), default=1.0)
    decimals = max(0, 1 - math.floor(math.log10(smaller)))
    return f"${value:.{decimals}f}_{{-{below:.{decimals}f}}}^{{+{above:.{decimals}f}}}$"


def _draw_pull(axes: Axes, row: float, impact: Impact) -> None:
    if impact.pull is None or impact.prefit_error is None:
        below, above = impact.errors
        text = _with_errors(impact.value, below, above)
        frame = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
        axes.text(0, row, text, ha="center", va="center", fontsize=17, zorder=3, bbox=frame)
        return
    errors = np.array(impact.errors)[:, None] / impact.prefit_error
    axes.errorbar([impact.pull], [row], xerr=errors, fmt="o", color="black", markersize=7, capsize=3, zorder=3)


def _draw_impact(axes: Axes, row: float, impact: Impact) -> None:
    for k, colour in ((0, _DOWN), (1, _UP)):
        axes.barh(row, impact.postfit[k], height=0.62, color=colour, alpha=0.75, linewidth=0, zorder=2)
        if impact.prefit is not None:
            axes.barh(row, impact.prefit[k], height=0.62, facecolor="none", edgecolor="0.2", linewidth=1.2, zorder=3)


def correlations(
    what: Correlations,
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Correlation matrix of the parameters, with the numbers in the cells.

    Args:
        what: The matrix.
        labels: The user's own names of parameters, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    n = len(what.names)
    with styled():
        size = max(8.0, 3.5 + 0.75 * n)
        figure = Figure(figsize=(size + 1.2, size))
        axes = figure.add_axes((0.23, 0.2, 0.6, 0.72))
        image = axes.imshow(what.matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        names = [component_label(name, labels=labels) for name in what.names]
        axes.set_xticks(range(n), names, fontsize=17, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), names, fontsize=17)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        for i, j in np.ndindex(n, n):
            value = float(what.matrix[i, j])
            text = f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=max(9, 20 - 0.6 * n), color=colour)
        bar = figure.colorbar(image, cax=figure.add_axes((0.845, 0.2, 0.025, 0.72)))
        bar.set_label("Correlation", fontsize=20, loc="center")
        bar.ax.tick_params(labelsize=16)
        return finish(figure, axes, label, right_label)


def contours(
    what: Sequence[Contour],
    *,
    labels: Mapping[str, str] | None = None,
    truth: tuple[float, float] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Contours of two parameters with their best fit.

    Args:
        what: Contours of the same parameters, such as those of 68 and 95 %.
        labels: The user's own names of parameters, by name.
        truth: True values to be marked, where they are known.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There is no contour, or they are of different parameters.
    """
    pairs = {(each.x, each.y) for each in what}
    if len(pairs) != 1:
        raise InputError.from_parts(
            expected="contours of one pair of parameters", got=f"{len(pairs)} pairs", do="draw the others separately"
        )
    with styled():
        figure, axes = frame(left=0.16)
        ordered = sorted(what, key=lambda each: each.cl)
        for k, each in enumerate(ordered):
            axes.plot(
                *closed(each).T,
                color=_DOWN,
                linestyle=_LINES[k % len(_LINES)],
                linewidth=3,
                label=f"{100 * each.cl:.3g} % CL",
            )
        axes.fill(*ordered[0].points.T, color=_DOWN, alpha=0.15, linewidth=0)
        best = ordered[0].best
        axes.plot([best[0]], [best[1]], "P", color="black", markersize=13, linestyle="none", label="Best fit")
        if truth is not None:
            axes.plot([truth[0]], [truth[1]], "*", color=_UP, markersize=18, linestyle="none", label="Truth")
        dress_contours(axes, what, labels=labels, room=0.3)
        axes.legend(loc="upper right", fontsize=20, ncols=2)
        return finish(figure, axes, label, right_label)


def goodness_of_fit(what: GoodnessOfFit, *, label: str = LABEL, right_label: str = "") -> Figure:
    """Distribution of the statistic for a right model, with the observed value.

    Args:
        what: The test.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    titles = {
        "classifier": "AUC of the classifier",
        "energy": "Energy distance",
        "neighbours": "Fraction of neighbours of one's own kind",
    }
    with styled():
        figure, axes = frame(width=0.82)
        low, high = float(what.null.min()), float(what.null.max())
        counts, edges = np.histogram(what.null, np.linspace(low, high, 31) if high > low else [low - 0.5, low + 0.5])
        axes.stairs(
            counts,
            edges,
            fill=True,
            color="#9c9ca1",
            alpha=0.7,
            label=f"Model is right ({what.null.size} permutations)",
        )
        beyond = edges[:-1] >= what.statistic
        if beyond.any():
            tail = np.where(beyond, counts, 0)
            axes.stairs(tail, edges, fill=True, color=_UP, alpha=0.5)
        text = (
            f"Observed, $p = {what.p_value:.2g}$"
            if what.p_value > 1 / what.null.size
            else (f"Observed, $p \\leq {1 / (what.null.size + 1):.2g}$")
        )
        axes.axvline(what.statistic, ymax=0.75, color=_UP, linewidth=3.5, label=text)
        span = max(high, what.statistic) - min(low, what.statistic) or 1.0
        axes.set_xlim(min(low, what.statistic) - 0.06 * span, max(high, what.statistic) + 0.06 * span)
        axes.set_ylim(0, 1.4 * counts.max())
        axes.set_xlabel(titles.get(what.method, what.method))
        axes.set_ylabel("Permutations")
        title = f"{what.n_data} events, {what.n_model} from the model"
        axes.legend(loc="upper left", fontsize=20, title=title, title_fontsize=18, alignment="left")
        return finish(figure, axes, label, right_label)


def weighted_feature(
    what: WeightedFeature,
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Signal feature from the data by sPlot weights, with the simulated shape.

    Args:
        what: The distributions.
        labels: The user's own names of observables and components, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame(width=0.82)
        name = component_label(what.component, labels=labels)
        axes.stairs(what.expected, what.edges, fill=True, color=_UP, alpha=0.35, label=f"{name}, simulated shape")
        axes.stairs(what.expected, what.edges, color=_UP, linewidth=2)
        axes.axhline(0, color="black", linewidth=1)
        centres = 0.5 * (what.edges[1:] + what.edges[:-1])
        axes.errorbar(
            centres, what.data, yerr=what.data_error, fmt="o", color="black", markersize=7, elinewidth=1.5,
            label=f"Data, sPlot weights ({what.data.sum():.0f})",
        )  # fmt: skip
        used = what.data_error > 0
        chi2 = float(np.sum(((what.data - what.expected)[used] / what.data_error[used]) ** 2))
        top = float(max((what.data + what.data_error).max(), what.expected.max()))
        bottom = float(min(0.0, (what.data - what.data_error).min()))
        axes.set_ylim(bottom - 0.08 * (top - bottom), top + 0.35 * (top - bottom))
        axes.set_xlim(what.edges[0], what.edges[-1])
        axes.set_xlabel(axis_label(what.observable, labels=labels))
        axes.set_ylabel("Signal events / bin")
        title = rf"$\chi^2$ / bins = {chi2:.1f} / {int(used.sum())}"
        axes.legend(loc="upper right", fontsize=20, title=title, title_fontsize=18)
        return finish(figure, axes, label, right_label)
