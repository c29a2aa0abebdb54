"""One observable in data and fitted model: the drawing behind `hisigma_zfit.report.plotting.projection`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import mplhep
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.axes import draw_masked
from hisigma_zfit.report.labels import axis_label, component_label, event_label, selection_lines
from hisigma_zfit.report.style import BACKGROUND_COLOURS, LABEL, SIGNAL_COLOURS, finish, styled
from hisigma_zfit.statistics.intervals import poisson_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results import Chi2, Projection

__all__ = ["dress_pulls", "probability", "projection", "pulls"]

_THIN = "\N{THIN SPACE}"


def pulls(what: Projection) -> Array:
    """(data - model) / sigma by bin.

    sigma joins the data's Poisson error on the side of the model with the statistical error of the templates, so
    that a pull is what a reader measures with a ruler on the upper panel.  Where the fit's covariance gave the error of
    the model, it is the data's alone: what the data decided is no error to compare them with, and is drawn as a band.

    Returns:
        Shape (n,); nan where a bin has neither data nor model.
    """
    total = _total(what)
    sigma = _data_error(what)
    if what.model_error is None:
        sigma = np.hypot(sigma, np.sqrt(_template_variance(what)))
    shown = (sigma > 0) & ((what.data != 0) | (total != 0))
    return np.divide(what.data - total, sigma, out=np.full(total.shape, np.nan), where=shown)


def _total(what: Projection) -> Array:
    return np.sum([np.zeros_like(what.data), *what.components.values()], axis=0)


def _data_error(what: Projection) -> Array:
    """Poisson error of the data on the side of the model, shape (n,)."""
    below, above = poisson_errors(what.data, what.data_variance)
    return np.where(what.data > _total(what), below, above)


def _template_variance(what: Projection) -> Array:
    return np.sum([np.zeros_like(what.data), *what.component_variance.values()], axis=0)


def projection(
    shown: Projection,
    *,
    unit: str | None = None,
    xlabel: str | None = None,
    labels: Mapping[str, str] | None = None,
    logy: bool = False,
    signal_scale: float | None = None,
    lower: Literal["pull", "excess"] = "pull",
    data: str = "Data",
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Data, stacked model and pulls of one observable.

    Args:
        shown: The histogram; `hz.plotting.projection` also takes the result of a fit.
        unit: Unit of the observable; None takes the known one.
        xlabel: Title of the horizontal axis, verbatim.
        labels: The user's own names of observables and components, by name.
        logy: Logarithmic vertical axis.
        signal_scale: Factor of the signal that is drawn once more as a line; 0 draws none, None picks a round
            number where the signal alone would be too small to see.
        lower: What the lower panel shows: ``"pull"``, (data - model) / sigma, or ``"excess"``, the data minus the
            fitted background beside the fitted signal.
        data: What the points are, for the legend.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right, for example an energy.

    Raises:
        InputError: An option is unknown.
    """
    if lower not in {"pull", "excess"}:
        raise InputError.from_parts(expected="lower='pull' or 'excess'", got=repr(lower), do="pass one of the two")
    with styled():
        figure = Figure(figsize=(10, 10.5))
        grid = figure.add_gridspec(2, 1, height_ratios=(3, 1), hspace=0.07, left=0.16, right=0.96, top=0.94, bottom=0.1)
        main = figure.add_subplot(grid[0])
        panel = figure.add_subplot(grid[1], sharex=main)
        _draw_windows([main, panel], shown)
        _draw_model(main, shown, labels)
        _draw_scaled_signal(main, shown, labels, signal_scale, logy=logy)
        _draw_data(main, shown, data)
        _set_count_axis(main, shown, logy=logy)
        widths = np.diff(shown.edges)
        width = float(widths[0]) if np.allclose(widths, widths[0], rtol=1e-6) else None
        main.set_ylabel(event_label(shown.observable, width, unit=unit))
        main.tick_params(labelbottom=False)
        _draw_legend(main, shown, labels, data)
        (_draw_pulls if lower == "pull" else _draw_excess)(panel, shown)
        if _geometric(shown.edges):
            panel.set_xscale("log")
        else:  # no finer: numbers with many decimals would run into each other
            panel.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        panel.set_xlim(shown.edges[0], shown.edges[-1])
        panel.set_xlabel(xlabel or axis_label(shown.observable, unit=unit, labels=labels))
        figure.align_ylabels([main, panel])
        return finish(figure, main, label, right_label)


def _yield(value: float) -> str:
    """Number of events for a legend: no more digits than the eye can use, thousands set apart."""
    text = f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
    return text.replace(",", _THIN).replace("-", "\N{MINUS SIGN}")


def _component_texts(what: Projection, labels: Mapping[str, str] | None) -> list[str]:
    texts = []
    for name, values in what.components.items():
        title, number = component_label(name, labels=labels), _yield(values.sum())
        if "$" in title:  # in a text with formulae only they can set a thin space
            number = number.replace(_THIN, r"$\,$")
        texts.append(f"{title} ({number})")
    return texts


def _draw_model(axes: Axes, what: Projection, labels: Mapping[str, str] | None) -> None:
    backgrounds, signals = iter(BACKGROUND_COLOURS * 9), iter(SIGNAL_COLOURS * 9)
    names = list(what.components)
    if names:
        mplhep.histplot(
            [what.components[name] for name in names],
            what.edges,
            ax=axes,
            stack=True,
            histtype="fill",
            flow="none",
            color=[next(signals if name in what.signal else backgrounds) for name in names],
            label=_component_texts(what, labels),
        )
    total = _total(what)
    axes.stairs(total, what.edges, color="black", linewidth=1, zorder=3)
    if what.model_error is not None:
        _draw_band(axes, total, what.model_error, what.edges, label=f"{what.model} unc.")
        return
    error = np.sqrt(_template_variance(what))
    if np.any(error > 0):
        _draw_band(axes, total, error, what.edges, label="Template stat. unc.")


def _draw_windows(frames: Sequence[Axes], what: Projection) -> None:
    """Masked windows, and the ends of the signal region beside them."""
    for axes, top in zip(frames, (0.82, 1.0), strict=True):  # below the words
        draw_masked(axes, what.masked, what.edges)
        for k, edge in enumerate(what.region or ()):
            name = None if k else "Signal region"
            axes.axvline(edge, ymax=top, color="0.45", linestyle=":", linewidth=2, zorder=1, label=name)


def _draw_band(axes: Axes, centre: Array, error: Array, edges: Array, *, label: str | None = None) -> None:
    axes.stairs(
        centre + error,
        edges,
        baseline=centre - error,
        fill=True,
        facecolor="none",
        edgecolor="0.25",
        hatch="////",
        linewidth=0,
        zorder=3,
        label=label,
    )


def _draw_scaled_signal(
    axes: Axes, what: Projection, labels: Mapping[str, str] | None, scale: float | None, *, logy: bool
) -> None:
    signals = [name for name in what.components if name in what.signal]
    if not signals:
        return
    shape = np.sum([what.components[name] for name in signals], axis=0)
    top = max(float(_total(what).max(initial=0)), float(what.data.max(initial=0)))
    peak = float(shape.max(initial=0))
    if peak <= 0 or top <= 0:
        return
    if scale is None:
        # a logarithmic axis shows any signal beside the background but not on top of it
        wanted = _round_down(0.35 * top / peak)
        scale = 1.0 if logy else wanted if wanted >= 5 else 0.0
    if scale <= 0:
        return
    name = component_label(signals[0], labels=labels) if len(signals) == 1 else "Signals"
    axes.stairs(
        scale * shape,
        what.edges,
        color=SIGNAL_COLOURS[0],
        linestyle="--",
        linewidth=2.5,
        zorder=4,
        label=f"{name} \N{MULTIPLICATION SIGN} {scale:g}" if scale != 1 else f"{name} alone",
    )


def _round_down(value: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that does not exceed `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


def _geometric(edges: Array) -> bool:
    """Whether bins are equally wide on a logarithmic axis, and on no linear one."""
    if not edges[0] > 0.0 or edges[-1] < 2.0 * edges[0]:
        return False
    return bool(np.allclose(np.diff(np.log(edges)), np.log(edges[-1] / edges[0]) / (len(edges) - 1), rtol=1e-3))


def _centres(edges: Array) -> Array:
    """Of the bins as they are drawn."""
    return np.asarray(np.sqrt(edges[1:] * edges[:-1]) if _geometric(edges) else 0.5 * (edges[1:] + edges[:-1]))


def _draw_data(axes: Axes, what: Projection, name: str) -> None:
    filled = np.flatnonzero(what.data)
    # an empty bin between filled ones says something and keeps its error bar, unless nothing is expected there either,
    # as in a closed region; beyond them it would only clutter
    inside = (what.data != 0) | (_total(what) != 0)
    inside[: filled[0] if filled.size else None] = False
    inside[filled[-1] + 1 if filled.size else 0 :] = False
    centres = _centres(what.edges)
    below, above = poisson_errors(what.data, what.data_variance)
    axes.errorbar(
        centres[inside],
        what.data[inside],
        yerr=(below[inside], above[inside]),
        fmt="o",
        color="black",
        markersize=6,
        elinewidth=1.5,
        label=f"{name} ({_yield(what.data.sum())})",
        zorder=5,
    )


def _set_count_axis(axes: Axes, what: Projection, *, logy: bool) -> None:
    # a power of ten belongs left of the frame: the label stands above it
    axes.yaxis.get_offset_text().set(x=-0.01, horizontalalignment="right")
    total = _total(what)
    _, above = poisson_errors(what.data, what.data_variance)
    top = max(float(np.max(what.data + above, where=what.data > 0, initial=0)), float(total.max(initial=0)), 1e-9)
    if logy:
        positive = np.concatenate([total[total > 0], what.data[what.data > 0]])
        # templates from samples have tails of tiny weights: six decades are all that a page can show
        lowest = [0.5 * float(positive.min(initial=top))]
        # a small process, which often is the signal, is seen where most of it is
        lowest += [0.1 * float(values.max()) for values in what.components.values() if values.sum() >= 1.0]
        bottom = max(min(lowest), 1e-6 * top)
        # in this order: a scale set first complains where there is nothing positive to choose limits from
        axes.set_ylim(bottom, top * (top / bottom) ** (0.5 if len(what.components) < 4 else 0.85))  # for the legend
        axes.set_yscale("log")
    else:
        axes.set_ylim(min(0.0, 1.1 * float(min(total.min(initial=0), what.data.min(initial=0)))), 1.5 * top)


def _draw_legend(axes: Axes, what: Projection, labels: Mapping[str, str] | None, name: str) -> None:
    handles, names = axes.get_legend_handles_labels()
    # data first, then the stack from top to bottom as the eye meets it, then what is drawn over it
    first = [f"{name} ({_yield(what.data.sum())})", *reversed(_component_texts(what, labels))]
    order = sorted(range(len(names)), key=lambda i: first.index(names[i]) if names[i] in first else len(first))
    axes.legend([handles[i] for i in order], [names[i] for i in order], loc="upper right", fontsize=19)
    lines = [selection_lines(what.selection, labels=labels)] if what.selection else []
    text = "\n".join([*lines, *_beyond(what)])
    if text:
        axes.text(0.04, 0.95, text, transform=axes.transAxes, va="top", fontsize=17)


def _beyond(what: Projection) -> list[str]:
    """What no bin shows, in words."""
    if what.outside is None or not any(what.outside):
        return []
    sides = [f"{_yield(n)} {side}" for n, side in zip(what.outside, ("below", "above"), strict=True) if n]
    expected = "" if what.model_outside is None else f" (model {_yield(round(sum(what.model_outside), 1))})"
    return ["beyond the axis:", f"{', '.join(sides)}{expected}"]  # two lines: the legend stands beside them


def _draw_pulls(axes: Axes, what: Projection) -> None:
    pull = pulls(what)
    largest = float(np.nanmax(np.abs(pull), initial=0))
    reach = float(np.clip(math.ceil(largest + 0.3), 3, 6))
    axes.axhspan(-1, 1, color="0.9", zorder=0, linewidth=0)
    if what.model_error is not None:
        sigma = _data_error(what)
        band = np.divide(what.model_error, sigma, out=np.zeros_like(sigma), where=sigma > 0)
        _draw_band(axes, np.zeros_like(band), band, what.edges)
    axes.axhline(0, color="black", linewidth=1)
    centres = _centres(what.edges)
    inside = np.abs(pull) <= reach
    axes.errorbar(centres[inside], pull[inside], yerr=1, fmt="o", color="black", markersize=6, elinewidth=1.5)
    for sign, marker in ((1, "^"), (-1, "v")):
        beyond = sign * pull > reach
        if beyond.any():
            heights = np.full(int(beyond.sum()), sign * 0.88 * reach)
            axes.plot(centres[beyond], heights, marker, color=SIGNAL_COLOURS[0], markersize=9, linestyle="none")
    dress_pulls(axes, reach, what.chi2)


def dress_pulls(axes: Axes, reach: float, chi2: Chi2 | None) -> None:
    """Range and title of a panel of pulls; a chi2 stands above all that is drawn.

    Args:
        axes: The panel.
        reach: Largest pull that is shown.
        chi2: Of the same bins.
    """
    axes.set_ylim(-reach, reach if chi2 is None else 1.5 * reach)
    steps = MaxNLocator(nbins=4, integer=True, symmetric=True, prune="both").tick_values(-reach, reach)
    axes.set_yticks([step for step in steps if abs(step) <= reach])
    axes.set_ylabel("Pull", loc="center")
    if chi2 is not None:
        text = rf"$\chi^2$ / ndf $=$ {chi2.value:.1f} / {chi2.ndf},  $p =$ {probability(chi2.p_value)}"
        axes.text(0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top", fontsize=16)


def probability(p: float) -> str:
    """Two digits, small ones as a power of ten."""
    if p >= 1e-3:
        return f"{p:.2g}"
    if p <= 0.0:
        return "0"
    mantissa, power = f"{p:.1e}".split("e")
    return rf"${mantissa} \times 10^{{{int(power)}}}$"


def _draw_excess(axes: Axes, what: Projection) -> None:
    zero = np.zeros_like(what.data)
    background = np.sum([zero, *(v for k, v in what.components.items() if k not in what.signal)], axis=0)
    error = np.sqrt(np.sum([zero, *(v for k, v in what.component_variance.items() if k not in what.signal)], axis=0))
    signal = _total(what) - background
    axes.stairs(signal, what.edges, fill=True, color=SIGNAL_COLOURS[0], alpha=0.8)
    if np.any(error > 0):
        _draw_band(axes, zero, error, what.edges)
    axes.axhline(0, color="black", linewidth=1)
    below, above = poisson_errors(what.data, what.data_variance)
    excess = what.data - background
    shown = (what.data != 0) | (background != 0)
    centres = _centres(what.edges)
    axes.errorbar(
        centres[shown],
        excess[shown],
        yerr=(below[shown], above[shown]),
        fmt="o",
        color="black",
        markersize=6,
        elinewidth=1.5,
    )
    reach = 1.1 * float(
        np.max(np.concatenate([excess + above, -excess + below, signal]), where=np.tile(shown, 3), initial=1e-9)
    )
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, symmetric=True, prune="both"))
    axes.set_ylabel("Data \N{MINUS SIGN} bkg.", loc="center")
