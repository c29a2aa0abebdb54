"""Figures of pseudo-experiments: pulls with the Gaussian that they should follow, coverage, expected results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from hisigma_zfit.report.labels import component_label, within_sentence
from hisigma_zfit.report.style import LABEL, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results import ToySummary

__all__ = ["coverage", "draw_pulls", "expected", "pulls", "toy_figures"]


_BLUE, _RED, _GREY = "#5790fc", "#e42536", "#717581"
_REACH = 4.0  # pulls beyond are counted in the outermost bins


def _edges(low: float, high: float, n: int) -> Array:
    """Edges of the bins for n toys: twice as wide where they are few."""
    return np.linspace(low, high, (40 if n >= 400 else 20) + 1)


def _counts(axes: Axes, values: Array, edges: Array) -> float:
    """Draw a histogram as points; returns the height that they and their errors reach."""
    counts = np.histogram(values, edges)[0]
    filled, centres = counts > 0, 0.5 * (edges[1:] + edges[:-1])
    errors = np.sqrt(counts[filled])
    axes.errorbar(
        centres[filled], counts[filled], yerr=errors, fmt="o", color="black", markersize=7, label="Toys", zorder=3
    )
    return float(np.max(counts + np.sqrt(counts)))


def pulls(
    what: ToySummary, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Pulls of the parameter of interest beside a Gaussian of mean 0 and width 1.

    Args:
        what: The toys.
        labels: The user's own names of parameters, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    own = what.parameters[what.poi]
    words = (
        f"Mean ${own.pull_mean:.3f} \\pm {own.pull_mean_error:.3f}$\n"
        f"Width ${own.pull_width:.3f} \\pm {own.pull_width_error:.3f}$"
    )
    with styled():
        figure, axes = frame()
        draw_pulls(axes, what.pulls, mean=own.pull_mean, width=own.pull_width, words=words)
        axes.set_xlabel(f"Pull of {within_sentence(component_label(what.poi, labels=labels))}")
        return finish(figure, axes, label, right_label)


def draw_pulls(axes: Axes, values: Array, *, mean: float, width: float, words: str) -> None:
    """Pulls as points beside a Gaussian of mean 0 and width 1 and another one, with all but the horizontal title.

    Args:
        axes: Where to draw.
        values: Pulls, shape (n,); those beyond 4 are counted in the outermost bins.
        mean: Of the other Gaussian.
        width: Of it.
        words: What the legend says of it.
    """
    edges = _edges(-_REACH, _REACH, values.size)
    height = _counts(axes, np.clip(values, -0.999 * _REACH, 0.999 * _REACH), edges)
    grid = np.linspace(-_REACH, _REACH, 401)
    scale = values.size * (edges[1] - edges[0])
    axes.plot(grid, scale * norm.pdf(grid), color=_BLUE, linewidth=3, label="Gaussian, mean 0, width 1")
    # a single toy has no width
    curve = scale * norm.pdf(grid, mean, width) if width > 0.0 else np.full_like(grid, np.nan)
    axes.plot(grid, curve, "--", color=_RED, linewidth=3, label=words)
    axes.set_xlim(-_REACH, _REACH)
    axes.set_ylim(0, 1.5 * max(height, scale * norm.pdf(0.0)))
    axes.set_ylabel("Toys")
    axes.legend(loc="upper left", fontsize=19)


def coverage(what: ToySummary, *, label: str = LABEL, right_label: str = "") -> Figure:
    """Share of toys whose interval holds the true value, for every confidence level.

    Coverage at level c is the share of toys with |signed root of t| inside; from the pulls it follows for all levels
    at once, and the two levels whose profile likelihood intervals were counted are drawn as points.

    Args:
        what: The toys.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame()
        nominal = np.linspace(0.0, 1.0, 201)
        inside = np.sort(1.0 - 2.0 * norm.sf(np.abs(what.pulls)))
        share = np.searchsorted(inside, nominal, side="right") / inside.size
        band = np.sqrt(nominal * (1.0 - nominal) / inside.size)
        wide = norm.isf(0.025) * band
        axes.fill_between(nominal, -wide, wide, color=_BLUE, alpha=0.25, linewidth=0, label="Expected, 95 %")
        axes.axhline(0.0, color=_BLUE, linewidth=2)
        axes.plot(nominal, share - nominal, color=_GREY, linewidth=2, label="Best value and error")
        points = list(what.coverage.values())
        levels = np.array([p.cl for p in points])
        values, lower, upper = np.array([(p.value, p.lower, p.upper) for p in points]).T
        axes.errorbar(
            levels,
            values - levels,
            yerr=[values - lower, upper - values],
            fmt="o",
            color=_RED,
            markersize=9,
            label="Profile likelihood",
        )
        reach = 1.8 * max(3.0 * float(band.max()), float(np.abs(share - nominal).max()))
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(-reach, reach)
        axes.set_xlabel("Confidence level")
        axes.set_ylabel(r"Coverage $-$ confidence level")
        axes.legend(loc="upper left", fontsize=19)
        return finish(figure, axes, label, right_label)


def expected(
    what: ToySummary, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Distribution of the significance, or of the limits where these were asked for, with its median and bands.

    Args:
        what: The toys.
        labels: The user's own names of parameters, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    values, found = (what.z, what.significance) if what.limit is None else (what.limits, what.limit)
    name = component_label(what.poi, labels=labels)
    text = (
        "Significance $Z$"
        if what.limit is None
        else f"{100 * what.limit.cl:.3g} % upper limit on {within_sentence(name)}"
    )
    with styled():
        figure, axes = frame()
        low, high = (float(q) for q in np.quantile(values, [0.0005, 0.9995]))
        margin = 0.08 * (high - low) or 1.0
        for sigma, colour, alpha in (("2", "#ffa90e", 0.3), ("1", "#92dadd", 0.8)):
            span = found.bands[f"-{sigma}"], found.bands[sigma]
            axes.axvspan(*span, color=colour, alpha=alpha, linewidth=0, label=rf"$\pm\,{sigma}\sigma$ of the toys")
        axes.axvline(found.median, color=_RED, linewidth=3, label=f"Median {found.median:.4g}")
        edges = _edges(low - margin, high + margin, values.size)
        height = _counts(axes, values, edges)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1.45 * height)
        axes.set_xlabel(text)
        axes.set_ylabel("Toys")
        axes.legend(loc="upper right", fontsize=19)
        return finish(figure, axes, label, right_label)


def toy_figures(
    what: ToySummary, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> dict[str, Figure]:
    """All of them by name: ``toys_pulls``, ``toys_coverage``, ``toys_expected``."""
    return {
        "toys_pulls": pulls(what, labels=labels, label=label, right_label=right_label),
        "toys_coverage": coverage(what, label=label, right_label=right_label),
        "toys_expected": expected(what, labels=labels, label=label, right_label=right_label),
    }
