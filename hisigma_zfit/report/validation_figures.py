"""Figures of a validation: where the windows lie, what was found in them, what becomes of injected signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from hisigma_zfit.report.labels import axis_label, event_label, symbol
from hisigma_zfit.report.style import LABEL, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hisigma_zfit.results import RetrainedFit, Validation

__all__ = ["PANELS", "STATE_COLOURS", "validation_figures"]

_BLUE, _RED, _ORANGE, _GREY, _VIOLET = "#5790fc", "#e42536", "#f89c20", "#717581", "#7a21dd"
STATE_COLOURS = {"passed": "#2c8f4f", "attention": "#b9770e", "unclear": "#717581", "failed": "#c0232c"}
_GOOD, _USABLE = 0.2, 0.5  # of the statistical error, as in the verdict
_TOLERANCE = 0.01  # nats by event, of a density's closure


def _scaled(size: float) -> float:
    """A size for the usual font of figures, on a page with a smaller one."""
    return size * float(mpl.rcParams["font.size"]) / 24.0


def spectrum(axes: Axes, what: Validation, labels: Mapping[str, str] | None) -> None:
    """Masses of the sidebands with the shape that pseudo-experiments are drawn from, and the windows."""
    found = what.spectrum
    widths = found.edges[:, 1] - found.edges[:, 0]
    scale = float(widths.max()) / widths  # sidebands may have bins of slightly different widths
    centres = found.edges.mean(axis=1)
    axes.errorbar(
        centres,
        found.counts * scale,
        yerr=np.sqrt(found.counts) * scale,
        fmt="o",
        color="black",
        markersize=_scaled(5),
        label="Data in the sidebands",
        zorder=3,
    )
    for number, side in enumerate((centres < what.region[0], centres >= what.region[1])):
        edges = np.append(found.edges[side, 0], found.edges[side, 1][-1])
        heights = (found.expected * scale)[side]
        axes.stairs(
            heights, edges, color=_BLUE, linewidth=_scaled(2.5), label=None if number else "Shape fitted to them"
        )
    top = 0.68  # below the legend
    for number, job in enumerate(job for job in what.jobs if job.kind == "window"):
        name = None if number else "Windows"
        axes.axvspan(*job.region, ymax=top, color=_ORANGE, alpha=0.3, linewidth=0, label=name)
    blind = axes.axvspan(*what.region, ymax=top, facecolor="0.92", edgecolor="0.6", hatch="//", linewidth=0)
    blind.set_label("Signal region, blind")
    axes.set_xlim(found.edges[0, 0], found.edges[-1, 1])
    axes.set_ylim(0.0, 1.6 * float((found.counts * scale).max()))
    axes.set_xlabel(axis_label(found.mass, labels=labels))
    axes.set_ylabel(event_label(found.mass, float(widths.max())))
    axes.legend(loc="upper right", fontsize="x-small")


def shifts(axes: Axes, what: Validation, labels: Mapping[str, str] | None) -> None:
    """Every job's shift in units of the statistical error, beside what hardly matters and what can be quoted."""
    del labels
    rows: list[tuple[str, float, float, str]] = []
    for job in what.of("window"):
        low, high = job.region
        rows.append((f"Window {low:.4g} to {high:.4g}", job.shift, job.error / job.unit, _ORANGE))
    rows += [(f"Injected {job.injected}", job.shift, 0.0, _BLUE) for job in what.of("injection")]
    rows.append(("Mean of these", what.spurious.mean, what.spurious.error, "black"))
    for job in what.of("contamination"):
        rows.append(("Signal in sidebands", -_apart(job, what), 0.0, _VIOLET))
    rows += [
        ("Other seed" if job.variant == "seed" else f"Training: {job.variant}", _apart(job, what), 0.0, _GREY)
        for job in what.of("stability")
    ]
    axes.axvspan(-_USABLE, _USABLE, color="0.93", linewidth=0, label=rf"$\pm${_USABLE}: quote it")
    axes.axvspan(-_GOOD, _GOOD, color="0.82", linewidth=0, label=rf"$\pm${_GOOD}: hardly matters")
    axes.axvline(0.0, color="0.4", linewidth=_scaled(1))
    places = np.arange(len(rows))[::-1]
    for place, (_, value, error, colour) in zip(places, rows, strict=True):
        axes.errorbar(
            value,
            place,
            xerr=error or None,
            fmt="o",
            color=colour,
            markersize=_scaled(8),
            linewidth=_scaled(2.5),
            clip_on=True,
            zorder=3,
        )
    reach = max([1.3, *(abs(value) + error for _, value, error, _ in rows if np.isfinite(value + error))])
    axes.set_xlim(-1.1 * reach, 1.1 * reach)
    axes.set_ylim(-0.8, len(rows) + 1.6)
    axes.set_yticks(places, [name for name, *_ in rows], fontsize="x-small")
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_yticks([], minor=True)
    axes.set_xlabel("Shift / statistical error")
    axes.legend(loc="upper center", fontsize="x-small", ncols=2)


def _apart(job: RetrainedFit, what: Validation) -> float:
    """Difference to the job that it is compared with, in statistical errors of that one; nan where that failed."""
    partner = what.job(job.partner)
    return (job.value - partner.value) / partner.unit


def injection(axes: Axes, what: Validation, labels: Mapping[str, str] | None) -> None:
    """Found against injected signal, as trained and with the densities that are true."""
    del labels
    jobs = what.of("injection")
    injected = np.array([float(job.injected) for job in jobs])
    values, errors = np.array([(job.value, job.error) for job in jobs]).reshape(-1, 2).T
    true = np.array([job.truth.value if job.truth is not None else np.nan for job in jobs])
    reach = max(float(injected.max(initial=0.0)), what.spurious.sigma)
    # jobs of one strength stand beside each other
    step = 0.025 * reach
    beside = np.array([step * sum(1 for other in injected[:k] if other == x) for k, x in enumerate(injected)])
    line = np.array([-0.15 * reach, 1.2 * reach])
    axes.plot(line, line, color="0.4", linewidth=_scaled(1.5), linestyle="--", label="Found = injected")
    axes.errorbar(
        injected + beside,
        values,
        yerr=errors,
        fmt="o",
        color=_RED,
        markersize=_scaled(8),
        linewidth=_scaled(2.5),
        label="Retrained",
    )
    axes.plot(injected + beside + 0.5 * step, true, "D", color=_BLUE, markersize=_scaled(8), label="True densities")
    axes.set_xlim(*line)
    low = min(float((values - errors).min(initial=0.0)), float(line[0]))
    high = max(float((values + errors).max(initial=0.0)), float(line[1]))
    axes.set_ylim(low - 0.05 * (high - low), high + 0.3 * (high - low))
    axes.set_xlabel("Injected signal [events]")
    axes.set_ylabel("Found signal [events]")
    slope = what.response
    text = f"Response ${slope.value:.2f} \\pm {slope.error:.2f}$" if np.isfinite(slope.error) else ""
    axes.legend(loc="upper left", fontsize="x-small", title=text or None, title_fontsize="x-small")


def closure(axes: Axes, what: Validation, labels: Mapping[str, str] | None) -> None:
    """Conditional misfit of the background's density by feature, in windows and in held-out sidebands."""
    windows = [job for job in what.of("window") if job.misfit]
    features = list(dict.fromkeys([*what.closure.misfit, *(name for job in windows for name in job.misfit)]))
    places = np.arange(len(features))
    drawn: list[float] = [_TOLERANCE]

    def draw(misfit: Mapping[str, float], shift: float, colour: str, marker: str, label: str) -> None:
        heights = [misfit.get(name, np.nan) for name in features]
        drawn.extend(height for height in heights if np.isfinite(height))
        axes.plot(places + shift, heights, marker, color=colour, markersize=_scaled(9), label=label)

    if what.closure.misfit:
        draw(what.closure.misfit, -0.2, "black", "s", "Held-out sidebands")
    for k, job in enumerate(windows):
        low, high = job.region
        draw(job.misfit, -0.05 + 0.1 * k, (_ORANGE, _RED, _VIOLET)[k % 3], "o", f"Window {low:.4g} to {high:.4g}")
    axes.axhline(0.0, color="0.4", linewidth=_scaled(1))
    axes.axhline(_TOLERANCE, color=_GREY, linestyle="--", linewidth=_scaled(2), label="Tolerance")
    axes.set_xlim(-0.6, max(len(features), 1) - 0.4)
    low, high = min(0.0, *drawn), max(drawn)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.9 * (high - low))
    axes.set_xticks(places, [symbol(name, labels=labels) for name in features])
    axes.set_xticks([], minor=True)
    axes.set_ylabel("Misfit [nats / event]")
    axes.legend(loc="upper left", fontsize="x-small", ncols=2)
    if not features:
        axes.text(0.5, 0.4, "Too few events to judge", transform=axes.transAxes, ha="center", fontsize="small")


PANELS: dict[str, Callable[[Axes, Validation, Mapping[str, str] | None], None]] = {
    "spectrum": spectrum,
    "shifts": shifts,
    "injection": injection,
    "closure": closure,
}
"""What is drawn into which axes, by name, in the order of the page."""


def validation_figures(
    what: Validation, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> dict[str, Figure]:
    """All of them by name: ``spectrum``, ``shifts``, ``injection``, ``closure``.

    Args:
        what: The validation.
        labels: The user's own names of observables, by name.
        label: Text above the frames; its first word is set in bold.
        right_label: Text above the frames at the right.
    """
    figures = {}
    for name, draw in PANELS.items():
        with styled():
            figure, axes = frame(left=0.32, width=0.65) if name == "shifts" else frame(left=0.17, width=0.77)
            draw(axes, what, labels)
            figures[name] = finish(figure, axes, label, right_label)
    return figures
