"""A fitted mass shape over the events that it was fitted to, with its parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hisigma_zfit.report.axes import draw_masked
from hisigma_zfit.report.histograms import dress_pulls
from hisigma_zfit.report.labels import axis_label, component_label, event_label
from hisigma_zfit.report.style import BACKGROUND_COLOURS, LABEL, SIGNAL_COLOURS, finish, styled
from hisigma_zfit.statistics.intervals import poisson_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.results import Estimate, ShapeFit

__all__ = ["shape"]

_GREEK = {
    "mu": r"\mu", "sigma": r"\sigma", "sigmal": r"\sigma_L", "sigmar": r"\sigma_R", "alpha": r"\alpha",
    "alphal": r"\alpha_L", "alphar": r"\alpha_R", "nl": "n_L", "nr": "n_R", "n": "n", "lam": r"\lambda",
    "p1": "p_1", "p2": "p_2",
}  # fmt: skip


def shape(
    what: ShapeFit,
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Events, fitted curve with its band, parameters with their errors, and pulls.

    Args:
        what: The shape and its events.
        labels: The user's own names of observables, components and parameters.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure = Figure(figsize=(10, 10.5))
        grid = figure.add_gridspec(2, 1, height_ratios=(3, 1), hspace=0.07, left=0.16, right=0.96, top=0.94, bottom=0.1)
        main = figure.add_subplot(grid[0])
        panel = figure.add_subplot(grid[1], sharex=main)
        colour = SIGNAL_COLOURS[0] if what.events == "simulation" else BACKGROUND_COLOURS[0]
        used = _used(what)
        _draw_points(main, what, used)
        title = component_label(what.name, labels=labels)
        main.plot(what.masses, what.curve, color=colour, linewidth=3, label=f"{title}, {what.fitted.shape}", zorder=3)
        low, high = what.curve - what.curve_error, what.curve + what.curve_error
        main.fill_between(what.masses, low, high, color=colour, alpha=0.35, linewidth=0, label="Fit unc.", zorder=2)
        top = float(max((what.data + np.sqrt(what.data_variance)).max(), high.max()))
        # the parameters stand beside a peak, and above what falls
        main.set_ylim(0.0, (1.28 if what.events == "simulation" else 1.65) * top)
        if what.closed is not None:
            for axes in (main, panel):
                axes.axvspan(*what.closed, color="0.93", zorder=0, linewidth=0)
        for axes in (main, panel):
            draw_masked(axes, what.masked, what.edges)
        main.yaxis.get_offset_text().set(x=-0.01, horizontalalignment="right")
        main.set_ylabel(event_label(what.observable, float(np.diff(what.edges).mean())))
        main.tick_params(labelbottom=False)
        main.legend(loc="upper right", fontsize=18)
        main.text(0.04, 0.96, _text(what, labels), transform=main.transAxes, va="top", fontsize=17, linespacing=1.35)
        _draw_pulls(panel, what, used)
        panel.set_xlim(what.edges[0], what.edges[-1])
        panel.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        panel.set_xlabel(axis_label(what.observable, labels=labels))
        figure.align_ylabels([main, panel])
        return finish(figure, main, label, right_label)


def _used(what: ShapeFit) -> Mask:
    """Bins that count in the fit, shape (n,)."""
    if what.closed is None:
        return np.ones(what.data.size, dtype=bool)
    reach = 1e-9 * (what.edges[-1] - what.edges[0])
    return np.asarray((what.edges[1:] <= what.closed[0] + reach) | (what.edges[:-1] >= what.closed[1] - reach))


def _centres(what: ShapeFit) -> Array:
    return np.asarray(0.5 * (what.edges[1:] + what.edges[:-1]))


def _draw_points(axes: Axes, what: ShapeFit, used: Mask) -> None:
    below, above = poisson_errors(what.data, what.data_variance)
    name = "Simulation" if what.events == "simulation" else "Data"
    seen = ~np.any([(what.edges[:-1] >= low) & (what.edges[1:] <= high) for low, high in what.masked or ((1, 0),)], 0)
    for chosen, face, text in ((used & seen, "black", name), (~used & seen, "white", f"{name}, signal region")):
        if chosen.any():
            axes.errorbar(
                _centres(what)[chosen], what.data[chosen], yerr=(below[chosen], above[chosen]), fmt="o", color="black",
                markerfacecolor=face, markersize=6, elinewidth=1.5, label=text, zorder=5,
            )  # fmt: skip


def _draw_pulls(axes: Axes, what: ShapeFit, used: Mask) -> None:
    below, above = poisson_errors(what.data, what.data_variance)
    sigma = np.where(what.data > what.expected, below, above)
    shown = (sigma > 0) & ((what.data != 0) | (what.expected != 0))
    pull = np.divide(what.data - what.expected, sigma, out=np.full(sigma.shape, np.nan), where=shown)
    reach = float(np.clip(math.ceil(float(np.nanmax(np.abs(pull[used]), initial=0)) + 0.3), 3, 6))
    axes.axhspan(-1, 1, color="0.85", zorder=0.5, linewidth=0)
    axes.axhline(0, color="black", linewidth=1)
    for chosen, face in ((used, "black"), (~used, "white")):
        if chosen.any():
            axes.errorbar(
                _centres(what)[chosen], np.clip(pull[chosen], -0.97 * reach, 0.97 * reach), yerr=1, fmt="o",
                color="black", markerfacecolor=face, markersize=6, elinewidth=1.5,
            )  # fmt: skip
    dress_pulls(axes, reach, what.fitted.chi2)


def _text(what: ShapeFit, labels: Mapping[str, str] | None) -> str:
    """Category and parameters with errors, one a line."""
    lines = [what.category] if what.category else []
    for name, estimate in what.fitted.parameters.items():
        state = f" ({what.fitted.held.get(name, 'fixed')})" if estimate.error == 0.0 else ""
        lines.append(f"{_parameter(name, what, labels)} $=$ {_estimate(estimate)}{state}")
    return "\n".join(lines)


def _parameter(name: str, what: ShapeFit, labels: Mapping[str, str] | None) -> str:
    """Symbol of a parameter, whose name may have the component and the category around it."""
    shown = component_label(name, labels=labels)
    if shown != name:
        return shown
    parts = [part for part in name.split("_") if part not in {"peak", what.name, what.category}]
    return f"${_GREEK[parts[0]]}$" if len(parts) == 1 and parts[0] in _GREEK else name


def _estimate(what: Estimate) -> str:
    """Value and error with two digits of the error."""
    if not (math.isfinite(what.error) and what.error > 0.0):
        return f"{what.value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(what.error)))
    return f"{what.value:.{decimals}f} $\\pm$ {what.error:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
