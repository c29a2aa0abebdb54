"""Figures of a fit of learned ratios: profiles, ways of measuring, biases, replicas.

Values in, `matplotlib.figure.Figure` out, as in `hisigma_zfit.report.plotting`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.axes import dress_likelihood
from hisigma_zfit.report.labels import component_label, within_sentence
from hisigma_zfit.report.style import BACKGROUND_COLOURS, LABEL, SIGNAL_COLOURS, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from hisigma_zfit.results import (
        BiasStudy,
        MethodAnswer,
        NuisanceProfile,
        PoiScan,
        SimulationError,
    )

__all__ = [
    "METHOD_COLOURS",
    "METHOD_MARKERS",
    "bias_points",
    "likelihood",
    "method_label",
    "nuisance_profile",
    "replicas",
    "widths",
]

_RED, _BLUE, _ORANGE, _GREY = SIGNAL_COLOURS[0], BACKGROUND_COLOURS[0], SIGNAL_COLOURS[1], BACKGROUND_COLOURS[4]
METHOD_COLOURS = (_RED, _BLUE, "#7a21dd", "#f89c20", "#717581", "#2c8f4f", "#92dadd", "#964a8b")
"""Of ways of measuring, in their order; the first is the one that is reported."""
METHOD_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
"""In the same order."""
_LINES = ("--", "-.", ":")


def method_label(name: str, *, labels: Mapping[str, str] | None = None) -> str:
    """Legend text of a way of measuring: "binned-20" becomes "Binned, 20 bins", "unbinned" begins large.

    Args:
        name: Name of the method.
        labels: The user's own names, by name.
    """
    if labels and name in labels:
        return labels[name]
    kind, _, rest = name.partition("-")
    kind = kind[:1].upper() + kind[1:]
    return f"{kind}, {rest}{' bins' if rest.isdigit() else ''}" if rest else kind


def _decimals(error: float) -> int:
    """Digits behind the point of a number with that error: two of the error's own."""
    return max(1 - math.floor(math.log10(error)), 0) if error > 0.0 and math.isfinite(error) else 3


def likelihood(
    what: PoiScan,
    *,
    truth: float | None = None,
    top: float = 10.0,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """-2 Delta ln L: profiled, with nuisances fixed, with the error of the simulation, and of other methods.

    Args:
        what: The curves.
        truth: True value to be marked, where one is known.
        top: Upper end of the vertical axis.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame(left=0.12, width=0.8)
        curves = [(what.profiled, "-", _RED, 3.5, "Profiled"), (what.statistical, "--", _RED, 2.5, "Statistical only")]
        if what.with_simulation is not None:
            curves.append((what.with_simulation, ":", "black", 3.5, "With simulation error"))
        for k, (name, values) in enumerate(what.methods.items()):
            colour = METHOD_COLOURS[1 + k % (len(METHOD_COLOURS) - 1)]
            curves.append((values, _LINES[k % len(_LINES)], colour, 2.5, method_label(name, labels=labels)))
        for values, line, colour, width, text in curves:
            axes.plot(what.values, values, line, color=colour, linewidth=width, label=text)
        inside = np.any([values <= top for values, *_ in curves], axis=0)
        axes.set_xlim(float(what.values[inside].min()), float(what.values[inside].max()))
        # above the frame of values that matter there is room for the legend
        dress_likelihood(axes, xlabel=component_label(what.poi, labels=labels), top=1.35 * top, truth=truth)
        axes.legend(loc="upper center", fontsize=18, ncols=2, frameon=True, edgecolor="none", framealpha=0.9)
        return finish(figure, axes, label, right_label)


def nuisance_profile(
    what: NuisanceProfile,
    *,
    top: float = 9.0,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """-2 Delta ln L of a nuisance against its setting, beside its constraint alone.

    Args:
        what: The profile.
        top: Upper end of the vertical axis, of what matters.
        labels: The user's own names of parameters, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame(left=0.12, width=0.8)
        axes.plot(what.settings, what.profiled, color=_RED, linewidth=3.5, label="Fit, all others profiled")
        if np.any(what.constraint > 0.0):
            axes.plot(what.settings, what.constraint, "--", color=_BLUE, linewidth=3, label="Constraint alone")
        best = float(what.settings[int(np.argmin(what.profiled))])
        unit = f" {what.unit}" if what.unit else ""
        text = f"Best fit, {best:.3g}{unit}".replace("-", "\N{MINUS SIGN}")
        axes.axvline(best, ymax=0.7, color=_GREY, linewidth=1.5, label=text)
        shown = what.settings[(what.profiled <= top) | (what.constraint <= 0.5 * top)]
        low, high = float(shown.min()), float(shown.max())
        # a width with a log-normal constraint is a matter of factors
        if low > 0.0 and high > 20.0 * low:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(low, high)
        name = component_label(what.name, labels=labels)
        dress_likelihood(axes, xlabel=f"{name} [{what.unit}]" if what.unit else name, top=1.35 * top, truth=None)
        axes.legend(loc="best", fontsize=19, frameon=True, edgecolor="none", framealpha=0.9)
        return finish(figure, axes, label, right_label)


def bias_points(
    what: Mapping[str, BiasStudy],
    *,
    poi: str = "mu",
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Fitted less true parameter at settings of the nuisances that differ from the nominal ones.

    The band is the first method's own error, in which all of this should hardly matter; the bars are the statistical
    errors of the simulated events, and the settings are written below.

    Args:
        what: Studies at the same points, by method; the first one is the one that is reported.
        poi: Name of the parameter of interest.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There is no study, or the studies have other points.
    """
    points = {name: [point.settings for point in study.points] for name, study in what.items()}
    first = next(iter(points.values()), [])
    if not first or any(each != first for each in points.values()):
        raise InputError.from_parts(
            expected="studies of bias at the same points", got=", ".join(points) or "none", do="draw them separately"
        )
    nuisances = tuple(dict.fromkeys(name for settings in first for name in settings))
    n, m = len(first), len(what)
    with styled():
        figure, axes = frame(left=0.22, width=0.75)
        figure.set_size_inches(14, 9.5)
        below = 0.04 + 0.045 * len(nuisances)
        axes.set_position((0.22, below, 0.75, 0.92 - below))
        leading = next(iter(what.values()))
        sigma = np.array([point.sigma for point in leading.points])
        edges = np.arange(n + 1) - 0.5
        for size, shade, text in ((1.0, "0.93", r"$\pm1\,\sigma$ of the fit"), (0.3, "0.82", r"$\pm0.3\,\sigma$")):
            axes.stairs(size * sigma, edges, baseline=-size * sigma, fill=True, color=shade, label=text, zorder=0)
        axes.axhline(0.0, color="black", linewidth=1)
        reach = float(np.nan_to_num(sigma).max()) or 1.0
        for k, (name, study) in enumerate(what.items()):
            shift = 0.6 * ((k + 0.5) / m - 0.5)
            values = np.array([point.value for point in study.points]) - study.truth
            errors = np.array([point.error for point in study.points])
            mean = f"{study.mean:+.3f}".replace("-", "\N{MINUS SIGN}")
            axes.errorbar(
                np.arange(n) + shift,
                values,
                yerr=errors,
                fmt=METHOD_MARKERS[k % len(METHOD_MARKERS)],
                color=METHOD_COLOURS[k % len(METHOD_COLOURS)],
                markersize=9,
                elinewidth=1.8,
                label=f"{method_label(name, labels=labels)}: mean {mean}, rms {study.rms:.3f}",
            )
            reach = max(reach, float(np.nan_to_num(np.abs(values) + errors).max()))
        axes.set_xlim(-0.6, n - 0.4)
        legend = 0.06 + 0.047 * (m + 2)  # its share of the height, above all bars
        axes.set_ylim(-1.12 * reach, (1.0 + 1.12 * legend) / (1.0 - legend) * reach)
        symbol = component_label(poi, labels=labels)
        axes.set_ylabel(f"Fitted {within_sentence(symbol)} $-$ truth")
        axes.set_xticks([])
        axes.xaxis.set_minor_locator(NullLocator())
        for row, nuisance in enumerate(nuisances):
            height = -0.045 - 0.056 * row
            where = axes.get_xaxis_transform()
            name = component_label(nuisance, labels=labels)
            axes.text(-0.75, height, name, transform=where, ha="right", va="center", fontsize=16)
            for place, settings in enumerate(first):
                text = f"{settings.get(nuisance, 0.0):g}".replace("-", "\N{MINUS SIGN}")
                axes.text(place, height, text, transform=where, ha="center", va="center", fontsize=16)
        axes.legend(loc="upper left", fontsize=17, ncols=1)
        return finish(figure, axes, label, right_label or f"true value {leading.truth:g}")


def replicas(
    what: SimulationError,
    *,
    poi: str = "mu",
    error: float | None = None,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Fits of one Asimov set with each replica of what was learned.

    Args:
        what: The replicas.
        poi: Name of the parameter of interest.
        error: Error of the fit itself, to compare with.
        labels: The user's own names of parameters and processes, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    n, mean, digits = len(what.replicas), float(np.mean(what.replicas)), _decimals(what.sigma)
    with styled():
        figure, axes = frame()
        places = np.arange(1, n + 1)
        axes.axhspan(
            mean - what.sigma, mean + what.sigma, color=_ORANGE, alpha=0.3, linewidth=0,
            label=rf"$\sigma_{{\mathrm{{sim}}}} = {what.sigma:.2g} \pm {what.sigma_error:.1g}$",
        )  # fmt: skip
        axes.axhline(mean, color=_ORANGE, linewidth=2.5, label=f"Mean, {mean:.{digits}f}")
        axes.axhline(
            what.nominal, color="black", linewidth=1.5, linestyle="--", label=f"All events, {what.nominal:.{digits}f}"
        )
        reach = max(what.sigma, float(np.abs(what.replicas - mean).max(initial=0.0)))
        if error is not None:
            for sign in (-1.0, 1.0):
                text = f"Error of the fit, {error:.2g}" if sign > 0.0 else None
                axes.axhline(what.nominal + sign * error, color=_BLUE, linewidth=2, linestyle=":", label=text)
            reach = max(reach, error + abs(what.nominal - mean))
        axes.plot(places, what.replicas, "o", color=_RED, markersize=10, linestyle="none", label="Replicas")
        axes.set_xlim(0.3, n + 0.7)
        axes.set_ylim(mean - 1.3 * reach, mean + 2.3 * reach)
        axes.set_xticks(places[:: max(1, n // 10)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Replica")
        symbol = component_label(poi, labels=labels)
        axes.set_ylabel(f"Fitted {within_sentence(symbol)}")
        if what.by_process:
            ordered = sorted(what.by_process.items(), key=lambda item: -item[1])
            parts = [f"{component_label(name, labels=labels)}: {value:.2g}" for name, value in ordered]
            axes.text(
                0.04, 0.96, "\n".join(["One process alone", *parts]), transform=axes.transAxes, va="top", fontsize=18
            )
        axes.legend(loc="upper right", fontsize=18)
        return finish(figure, axes, label, right_label)


def widths(
    what: Mapping[str, MethodAnswer],
    *,
    poi: str = "mu",
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Half of the 68.3 % interval against the number of bins of the score, with the unbinned fits as lines.

    Args:
        what: Answers by method; those without bins of a score are drawn as lines unless their name is "counting".
        poi: Name of the parameter of interest.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: No method has bins of a score.
    """
    binned = sorted((m.score_bins, m.error, m.stat_only) for m in what.values() if m.score_bins is not None)
    if not binned:
        raise InputError.from_parts(expected="methods with bins of a score", got="none", do="compare with some")
    unbinned = {name: method for name, method in what.items() if method.score_bins is None and name != "counting"}
    bins, errors, statistical = np.array(binned, dtype=np.float64).T
    with styled():
        figure, axes = frame(left=0.15, width=0.81)
        axes.plot(bins, errors, "o-", color=_BLUE, markersize=11, linewidth=2.5, label="Binned score")
        axes.plot(
            bins, statistical, "o--", color=_BLUE, markersize=11, linewidth=2.5, markerfacecolor="white",
            label="Binned, statistical only",
        )  # fmt: skip
        heights = [*errors, *statistical]
        others = iter((_ORANGE, _GREY) * len(unbinned))
        for name, method in unbinned.items():
            colour = _RED if name == "unbinned" else next(others)
            text = f"{method_label(name, labels=labels)}, {method.error:.3f}"
            axes.axhline(method.error, color=colour, linewidth=3, label=text)
            heights.append(method.error)
        if "unbinned" in unbinned:
            text = f"Unbinned, statistical only, {unbinned['unbinned'].stat_only:.3f}"
            axes.axhline(unbinned["unbinned"].stat_only, color=_RED, linewidth=3, linestyle="--", label=text)
            heights.append(unbinned["unbinned"].stat_only)
        low, high = min(heights), max(heights)
        margin = max(high - low, 0.02 * high)
        axes.set_xscale("log")
        axes.set_xticks(bins, [f"{n:g}" for n in bins])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0.75 * bins[0], 1.33 * bins[-1])
        axes.set_ylim(low - 0.15 * margin, high + 0.9 * margin)
        axes.set_xlabel("Bins of the score")
        axes.set_ylabel(f"Half of the 68.3 % interval of {within_sentence(component_label(poi, labels=labels))}")
        axes.legend(loc="upper right", fontsize=18)
        return finish(figure, axes, label, right_label)
