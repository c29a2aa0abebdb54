"""Figures of a cross-section's toys: pulls, coverage and width against the truth, methods side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from hisigma_zfit.report.labels import component_label, within_sentence
from hisigma_zfit.report.ratio_fit_figures import METHOD_COLOURS, METHOD_MARKERS, method_label
from hisigma_zfit.report.style import LABEL, finish, frame, styled
from hisigma_zfit.report.toy_figures import draw_pulls
from hisigma_zfit.statistics.coverage import challenge_tolerance, interval_pulls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from hisigma_zfit.results import CoverageStudy

__all__ = ["coverage_by_truth", "coverage_figures", "method_coverage", "toy_pulls", "width_by_truth"]

_SHADE = "#5790fc"


def coverage_figures(
    what: CoverageStudy, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> dict[str, Figure]:
    """All of them by name: ``toys_pulls_METHOD``, ``toys_coverage``, ``toys_width``, ``toys_methods``.

    Args:
        what: The toys.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frames; its first word is set in bold.
        right_label: Text above the frames at the right.
    """
    figures = {
        f"toys_pulls_{name}": toy_pulls(what, name, labels=labels, label=label, right_label=right_label)
        for name in what.methods
    }
    for name, draw in (
        ("toys_coverage", coverage_by_truth),
        ("toys_width", width_by_truth),
        ("toys_methods", method_coverage),
    ):
        figures[name] = draw(what, labels=labels, label=label, right_label=right_label)
    return figures


def _toys(what: CoverageStudy) -> str:
    return f"{what.draws} draws of {what.toys} toys"


def toy_pulls(
    what: CoverageStudy,
    method: str,
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Pulls of the parameter of interest by one method, beside the Gaussian that they should follow.

    Args:
        what: The toys.
        method: Name of the method.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right; the number of toys by default.
    """
    own = what.methods[method]
    answers = [(draw.methods[method], draw.truth) for draw in what.truth]
    pulls = np.concatenate([interval_pulls(a.value, a.lower, a.upper, truth) for a, truth in answers])
    pulls = pulls[~np.isnan(pulls)]
    width = max(own.pull_rms**2 - own.pull_mean**2, 0.0) ** 0.5
    words = (
        f"{method_label(method, labels=labels)}\n"
        f"mean ${own.pull_mean:.3f} \\pm {own.pull_mean_error:.3f}$, rms ${own.pull_rms:.3f}$"
    )
    with styled():
        figure, axes = frame()
        draw_pulls(axes, pulls, mean=own.pull_mean, width=width, words=words)
        axes.set_xlabel(f"Pull of {within_sentence(component_label(what.poi, labels=labels))}")
        return finish(figure, axes, label, right_label or _toys(what))


def coverage_by_truth(
    what: CoverageStudy, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Coverage of every method in ranges of the true parameter of interest, errors from the spread between draws.

    Args:
        what: The toys.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right; the number of toys by default.
    """
    with styled():
        figure, axes = frame()
        axes.axhline(what.cl, color="black", linewidth=1.5, linestyle="--", label=f"Nominal, {100 * what.cl:.3g} %")
        low, high = _by_truth(axes, what, "coverage", labels)
        low, high = min(low, what.cl), max(high, what.cl)
        axes.set_ylim(low - 0.15 * (high - low), high + (0.35 + 0.1 * len(what.methods)) * (high - low))
        axes.set_ylabel("Coverage")
        axes.legend(loc="upper left", fontsize=18)
        return finish(figure, axes, label, right_label or _toys(what))


def width_by_truth(
    what: CoverageStudy, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Mean width of the intervals of every method in ranges of the true parameter of interest.

    Args:
        what: The toys.
        labels: The user's own names of parameters and methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right; the number of toys by default.
    """
    with styled():
        figure, axes = frame()
        low, high = _by_truth(axes, what, "width", labels)
        axes.set_ylim(low - 0.15 * (high - low), high + (0.25 + 0.12 * len(what.methods)) * (high - low))
        axes.set_ylabel(f"Mean width of the {100 * what.cl:.3g} % interval")
        axes.legend(loc="upper left", fontsize=18)
        return finish(figure, axes, label, right_label or _toys(what))


def _by_truth(axes: Axes, what: CoverageStudy, quantity: str, labels: Mapping[str, str] | None) -> tuple[float, float]:
    """Draw one quantity in ranges of the truth; returns the least and the greatest height with its error."""
    span = max(what.mu[1] - what.mu[0], 1e-9)
    reached = []
    for k, (name, method) in enumerate(what.methods.items()):
        filled = [each for each in method.by_mu if each.toys]
        edges = np.array([(each.lower, each.upper) for each in filled]).reshape(-1, 2)
        heights = np.array([getattr(each, quantity) for each in filled])
        errors = np.array([each.error if quantity == "coverage" else 0.0 for each in filled])
        errors = np.nan_to_num(errors)
        # methods beside each other: their errors would hide one another
        shift = 0.012 * span * (k - 0.5 * (len(what.methods) - 1))
        centres = edges.mean(axis=1) + shift
        axes.errorbar(
            centres,
            heights,
            yerr=errors if quantity == "coverage" else None,
            xerr=np.abs(edges - centres[:, None]).T if k == 0 else None,  # from edge to edge all the same
            fmt=METHOD_MARKERS[k % len(METHOD_MARKERS)],
            color=METHOD_COLOURS[k % len(METHOD_COLOURS)],
            markersize=9,
            elinewidth=1.8,
            label=method_label(name, labels=labels),
        )
        reached += [*(heights - errors), *(heights + errors)]
    axes.set_xlim(what.mu[0] - 0.03 * span, what.mu[1] + 0.03 * span)
    axes.set_xlabel(f"True {within_sentence(component_label(what.poi, labels=labels))}")
    return min(reached, default=0.0), max(reached, default=1.0)


def method_coverage(
    what: CoverageStudy, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Coverage of every method with its error from the spread between draws, its mean width and its score.

    Args:
        what: The toys.
        labels: The user's own names of methods, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    methods = list(what.methods.items())
    n = max((method.toys for _, method in methods), default=1)
    with styled():
        height = 2.8 + 0.8 * len(methods)
        figure = Figure(figsize=(13, height))
        axes = figure.add_axes((0.21, 1.25 / height, 0.41, 1.0 - 2.5 / height))
        low, high = challenge_tolerance(max(n, 1))
        scored = any(np.isfinite(method.score) for _, method in methods)
        if scored:
            axes.axvspan(low, high, color=_SHADE, alpha=0.22, linewidth=0, label="No penalty in the score")
        axes.axvline(what.cl, color="black", linewidth=1.5, linestyle="--", label=f"Nominal, {100 * what.cl:.3g} %")
        places = np.arange(len(methods))[::-1]
        for k, (place, (_, method)) in enumerate(zip(places, methods, strict=True)):
            axes.errorbar(
                method.coverage,
                place,
                xerr=None if np.isnan(method.error) else method.error,
                fmt=METHOD_MARKERS[k % len(METHOD_MARKERS)],
                color=METHOD_COLOURS[k % len(METHOD_COLOURS)],
                markersize=11,
                capsize=4,
                elinewidth=2,
            )
        pulls = [f"{method.pull_mean:+.2f}, {method.pull_rms:.2f}" for _, method in methods]
        columns = {"Width": [f"{method.width:.3f}" for _, method in methods]}
        columns |= {"Score": [f"{method.score:.2f}" for _, method in methods]} if scored else {}
        columns["Pull mean, rms"] = pulls
        where = axes.get_yaxis_transform()
        for x, (title, texts) in zip((1.13, 1.36, 1.68) if scored else (1.15, 1.55), columns.items(), strict=True):
            axes.text(x, len(methods) - 0.2, title, transform=where, ha="center", va="center", fontsize=18, color="0.3")
            for place, text in zip(places, texts, strict=True):
                shown = text.replace("-", "\N{MINUS SIGN}")
                axes.text(x, place, shown, transform=where, ha="center", va="center", fontsize=19)
        axes.set_yticks(places, [method_label(name, labels=labels) for name, _ in methods])
        axes.tick_params(axis="y", which="both", length=0)
        axes.set_yticks([], minor=True)
        axes.set_ylim(-0.6, len(methods) - 0.4)
        axes.set_xlabel(f"Coverage in {_toys(what)}")
        figure.legend(
            loc="upper right", fontsize=16, ncols=1, frameon=False, bbox_to_anchor=(0.985, 1.0), labelspacing=0.2
        )
        return finish(figure, axes, label, right_label)
