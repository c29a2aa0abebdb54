"""Figures of learned density ratios: calibration, closure of the variations, maps over two features.

Values in, `matplotlib.figure.Figure` out, as in `hisigma_zfit.report.plotting`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.labels import axis_label, component_label
from hisigma_zfit.report.style import LABEL, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results import CalibrationCurve, ClosurePoint, RatioMap, ShapeClosure

__all__ = ["calibration_curves", "ratio_map", "shape_closure"]

_UP, _DOWN = "#e42536", "#5790fc"
_COLUMNS = 2  # of panels of calibration curves


def _panels(n: int, columns: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure of n panels, each with a small one below that shares its horizontal axis."""
    rows = math.ceil(n / columns)
    figure = Figure(figsize=(9.0 * columns, 9.0 * rows))
    edges = {"left": 0.15 / columns, "right": 1 - 0.03 / columns, "bottom": 0.1 / rows, "top": 1 - 0.07 / rows}
    outer = figure.add_gridspec(rows, columns, wspace=0.24, hspace=0.2, **edges)
    pairs = []
    for k in range(n):
        inner = outer[divmod(k, columns)].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.08)
        main = figure.add_subplot(inner[0])
        pairs.append((main, figure.add_subplot(inner[1], sharex=main)))
    return figure, pairs


def calibration_curves(
    what: Sequence[CalibrationCurve],
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """True against predicted share of each process, one panel each, with the differences in their errors below.

    Args:
        what: The curves.
        labels: The user's own names of processes, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There is no curve.
    """
    if not what:
        raise InputError.from_parts(expected="at least one calibration curve", got="none", do="pass the curves")
    with styled():
        figure, panels = _panels(len(what), min(_COLUMNS, len(what)))
        for (main, lower), curve in zip(panels, what, strict=True):
            _draw_calibration(main, lower, curve, labels)
        return finish(figure, panels[0][0], label, right_label)


def _draw_calibration(main: Axes, lower: Axes, curve: CalibrationCurve, labels: Mapping[str, str] | None) -> None:
    positive = np.concatenate([curve.predicted, curve.fraction])
    positive = positive[positive > 0.0]
    low, high = 0.6 * float(positive.min(initial=1.0)), 1.6 * float(positive.max(initial=1e-3))
    # shares of a rare process lie at several powers of ten, those of a common one near one
    logarithmic = high > 30.0 * low
    main.plot([low, high], [low, high], color="0.5", linewidth=1.5, linestyle="--", zorder=1, label="Exact")
    bars = np.minimum(curve.error, 0.999 * curve.fraction) if logarithmic else curve.error
    main.errorbar(
        curve.predicted,
        curve.fraction,
        yerr=(bars, curve.error),
        fmt="o",
        color="black",
        markersize=7,
        elinewidth=1.5,
        label="Simulation, cross-fitted",
        zorder=3,
    )
    if logarithmic:
        for limits, scale in ((main.set_xlim, main.set_xscale), (main.set_ylim, main.set_yscale)):
            limits(low, high)
            scale("log")
    else:
        main.set_xlim(0.95 * low, high / 1.5)
        main.set_ylim(0.95 * low, high / 1.5)
    main.set_ylabel("True share")
    main.tick_params(labelbottom=False)
    name = component_label(curve.process, labels=labels)
    off = f"{100.0 * (curve.sum_predicted / curve.sum_true - 1.0):+.2f} %".replace("-", "\N{MINUS SIGN}")
    where = f", region {curve.region}" if curve.region else ""
    title = f"{name}{where}\n$\\chi^2$ / ndf = {curve.chi2:.1f} / {curve.ndf}, $\\sum g$ off by {off}"
    main.legend(loc="upper left", fontsize=18, title=title, title_fontsize=19, alignment="left")
    pulls = np.divide(
        curve.fraction - curve.predicted, curve.error, out=np.full_like(curve.error, np.nan), where=curve.error > 0.0
    )
    reach = float(np.clip(math.ceil(np.nanmax(np.abs(pulls), initial=0.0) + 0.3), 3, 6))
    lower.axhspan(-1, 1, color="0.9", zorder=0, linewidth=0)
    lower.axhline(0, color="black", linewidth=1)
    lower.plot(curve.predicted, np.clip(pulls, -0.95 * reach, 0.95 * reach), "o", color="black", markersize=6)
    lower.set_ylim(-reach, reach)
    lower.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, symmetric=True, prune="both"))
    lower.set_ylabel("Pull", loc="center")
    lower.set_xlabel("Predicted share")


def shape_closure(
    what: Sequence[ShapeClosure],
    *,
    reach: float = 1.0,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Shifted simulation (points) and reweighted nominal one (lines) by the nominal one: a page for one process.

    A row for each feature, a column for each nuisance, shifted up and down.

    Args:
        what: Closures of one process, one for each feature.
        reach: On each side the farthest setting up to this one is shown, else the nearest.
        units: What a setting is counted in, by nuisance; standard deviations where it is not named.
        labels: The user's own names of features, processes and nuisances, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right; the process and its region by default.

    Raises:
        InputError: There is no closure, or they are of several processes or regions.
    """
    if len({(each.process, each.region) for each in what}) != 1:
        raise InputError.from_parts(
            expected="closures of one process in one region",
            got=", ".join(f"{each.process} in {each.region or 'all'}" for each in what) or "none",
            do="draw the others separately",
        )
    nuisances = tuple(dict.fromkeys(name for each in what for name in each.nuisances))
    if not nuisances:
        raise InputError.from_parts(
            expected="points at which one nuisance is shifted alone", got="none", do="test the closure at such points"
        )
    with styled():
        rows, columns = len(what), len(nuisances)
        width, height = 1.6 + 6.0 * columns, 2.2 + 4.6 * rows
        figure = Figure(figsize=(width, height))
        edges = {"left": 1.35 / width, "right": 1 - 0.3 / width, "bottom": 1.0 / height, "top": 1 - 0.95 / height}
        grid = figure.add_gridspec(rows, columns, wspace=0.09, hspace=0.38, **edges)
        panels = []
        for row, closure in enumerate(what):
            first: Axes | None = None
            shown = {name: closure.along(name, reach=reach) for name in nuisances}
            span = _ratio_range(closure, [point for points in shown.values() for point in points])
            for column, name in enumerate(nuisances):
                axes = figure.add_subplot(grid[row, column], sharey=first)
                first = first or axes
                _draw_closure(axes, closure, name, shown[name], units or {}, labels)
                axes.set_ylim(*span)
                axes.tick_params(labelleft=column == 0)
                axes.set_xlabel(axis_label(closure.feature, labels=labels) if column == columns - 1 else "")
                panels.append(axes)
            panels[-columns].set_ylabel("Ratio to nominal")
        process = component_label(what[0].process, labels=labels)
        where = f"{process}, region {what[0].region}" if what[0].region else process
        finish(figure, panels[0], label, "")
        panels[columns - 1].set_title(right_label or where, loc="right", fontsize=22)
        handles = [
            Line2D([], [], color="0.3", marker="o", markersize=5, linestyle="none", label="Shifted simulation"),
            Line2D([], [], color="0.3", linewidth=2.5, label="Nominal times $S$"),
        ]
        figure.legend(
            handles=handles, loc="upper center", ncols=2, fontsize=18, frameon=False, bbox_to_anchor=(0.55, 1.0),
            borderaxespad=0.2,
        )  # fmt: skip
        return figure


def _ratios(closure: ShapeClosure, point: ClosurePoint) -> tuple[Array, Array, Array]:
    """Shifted and reweighted simulation and the error of their difference, by the nominal simulation; nan if empty."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [
            np.where(closure.nominal > 0.0, values / closure.nominal, np.nan)
            for values in (point.shifted, point.reweighted, point.error)
        ]
    return found[0], found[1], found[2]


def _ratio_range(closure: ShapeClosure, points: Sequence[ClosurePoint]) -> tuple[float, float]:
    """Range of all panels of a row, symmetric around one, that hardly populated bins do not stretch."""
    distances = [np.abs(values - 1.0) for point in points for values in _ratios(closure, point)[:2]]
    all_of_them = np.concatenate([np.zeros(1), *distances])
    size = float(np.nanquantile(all_of_them, 0.97))
    reach = float(np.clip(1.3 * size, 0.01, 0.9))
    return 1.0 - reach, 1.0 + 2.1 * reach  # room for the legend over error bars


def _setting(value: float, unit: str | None) -> str:
    if unit is None:
        return rf"{value:+g}$\,\sigma$".replace("-", "\N{MINUS SIGN}")
    return f"{value:g} {unit}".rstrip().replace("-", "\N{MINUS SIGN}")


def _draw_closure(
    axes: Axes,
    closure: ShapeClosure,
    nuisance: str,
    points: Sequence[ClosurePoint],
    units: Mapping[str, str],
    labels: Mapping[str, str] | None,
) -> None:
    centres = 0.5 * (closure.edges[1:] + closure.edges[:-1])
    axes.axhline(1.0, color="0.5", linewidth=1, zorder=0)
    handles: list[Line2D] = []
    for point in points:
        value = point.settings[nuisance]
        colour = _UP if value > 0.0 else _DOWN
        shifted, reweighted, error = _ratios(closure, point)
        axes.stairs(reweighted, closure.edges, baseline=None, color=colour, linewidth=2.5, zorder=2)
        axes.errorbar(centres, shifted, yerr=error, fmt="o", color=colour, markersize=5, elinewidth=1.3, zorder=3)
        text = f"{_setting(value, units.get(nuisance))}, " rf"$\chi^2$ / ndf = {point.chi2:.0f} / {point.ndf}"
        handles.append(Line2D([], [], color=colour, marker="o", markersize=5, linewidth=2.5, label=text))
    axes.set_xlim(closure.edges[0], closure.edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, prune="both"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    title = component_label(nuisance, labels=labels)
    axes.legend(
        handles=handles, loc="upper left", fontsize=15, title=title, title_fontsize=17, alignment="left",
        borderaxespad=0.3, labelspacing=0.25,
    )  # fmt: skip


def ratio_map(
    what: RatioMap,
    *,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """A posterior or a systematic variation over two features; bins without simulated events stay empty.

    Args:
        what: The map.
        units: What a setting is counted in, by nuisance; standard deviations where it is not named.
        labels: The user's own names of features, processes and nuisances, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right; the process by default.

    Raises:
        InputError: No bin has events.
    """
    filled = what.values[np.isfinite(what.values)]
    if not filled.size:
        raise InputError.from_parts(expected="a map with events", got="empty bins only", do="take other edges")
    process = component_label(what.process, labels=labels)
    shown = ", ".join(
        f"{component_label(name, labels=labels)} {_setting(value, (units or {}).get(name))}"
        for name, value in what.settings.items()
    )
    with styled():
        figure, axes = frame(left=0.14, width=0.66)
        if what.quantity == "variation":
            reach = max(float(np.quantile(np.abs(filled - 1.0), 0.99)), 1e-3)
            colours, scale = "RdBu_r", Normalize(1.0 - reach, 1.0 + reach)
            title = f"Mean $S$, {shown}" if shown else "Mean $S$"
        else:
            low, high = float(filled.min()), float(filled.max())
            wide = low > 0.0 and high > 30.0 * low
            scale = LogNorm(low, high) if wide else Normalize(min(low, 0.0), high)
            colours, title = "viridis", "Mean posterior $g$"
        image = axes.pcolormesh(
            what.x_edges, what.y_edges, np.ma.masked_invalid(what.values.T), cmap=colours, norm=scale, rasterized=True
        )
        axes.set_facecolor("0.88")
        axes.set_xlabel(axis_label(what.x, labels=labels))
        axes.set_ylabel(axis_label(what.y, labels=labels))
        box = figure.add_axes((0.82, 0.13, 0.03, 0.79))
        bar = figure.colorbar(image, cax=box, extend="both" if what.quantity == "variation" else "neither")
        bar.set_label(title, fontsize=20, loc="center")
        bar.ax.tick_params(labelsize=17)
        return finish(figure, axes, label, right_label or process)
