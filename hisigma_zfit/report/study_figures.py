"""Figures that compare samples, strategies and likelihoods: values in, `matplotlib.figure.Figure` out.

- `distributions`: one column in several samples (figures 1 to 3 of arXiv:2506.06438);
- `strategies`: mean errors of several strategies (figure 7);
- `scans`: combined likelihoods of several measurements (figure 9);
- `compared_contours`: contours of two parameters in several ways of measuring them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.axes import closed, dress_contours, dress_likelihood
from hisigma_zfit.report.labels import axis_label, component_label
from hisigma_zfit.report.style import BACKGROUND_COLOURS, LABEL, SIGNAL_COLOURS, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results import LikelihoodScan
    from hisigma_zfit.results.explanations import Contour
    from hisigma_zfit.results.strategies import StrategySummary

__all__ = ["compared_contours", "distributions", "scans", "strategies"]


_COLOURS = (SIGNAL_COLOURS[0], BACKGROUND_COLOURS[0], "#333333", SIGNAL_COLOURS[1], BACKGROUND_COLOURS[2])
_LINES = ("-", "-", "--", "-.", ":")


def distributions(
    samples: Mapping[str, npt.ArrayLike],
    column: str,
    *,
    bins: int = 50,
    limits: tuple[float, float] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """One column in several samples, each normalised to one, with statistical errors.

    Args:
        samples: Values, shape (n,), by the name that the legend gives them; five at most.
        column: Name of the column, for the axis.
        bins: Number of bins.
        limits: First and last edge; by default the 0.1 % and 99.5 % quantiles of all samples together.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: No sample, or more than five.
    """
    if not 1 <= len(samples) <= len(_COLOURS):
        raise InputError.from_parts(
            expected=f"1 to {len(_COLOURS)} samples", got=str(len(samples)), do="draw several figures"
        )
    values = {name: np.asarray(v, dtype=np.float64) for name, v in samples.items()}
    lower, upper = limits or _common_limits(list(values.values()))
    edges = np.linspace(lower, upper, bins + 1)
    width, centres = edges[1] - edges[0], 0.5 * (edges[1:] + edges[:-1])
    with styled():
        figure, axes = frame(width=0.82)
        highest = 0.0
        for (name, v), colour, line in zip(values.items(), _COLOURS, _LINES, strict=False):
            counts = np.histogram(v, edges)[0]
            density = counts / (v.size * width)
            highest = max(highest, float(density.max()))
            axes.stairs(density, edges, color=colour, linestyle=line, linewidth=2.5, label=name)
            axes.errorbar(
                centres, density, np.sqrt(counts) / (v.size * width), fmt="none", ecolor=colour, elinewidth=1.2
            )
        axes.set_xlim(lower, upper)
        axes.set_ylim(0.0, 1.3 * highest)
        axes.set_xlabel(axis_label(column))
        axes.set_ylabel("Density")
        axes.legend(loc="upper right", fontsize=20)
        return finish(figure, axes, label, right_label)


def _common_limits(values: Sequence[Array]) -> tuple[float, float]:
    quantiles = np.array([np.quantile(v, [0.001, 0.995]) for v in values])
    return float(quantiles[:, 0].min()), float(quantiles[:, 1].max())


def strategies(what: Sequence[StrategySummary], *, label: str = LABEL, right_label: str = "") -> Figure:
    """Mean error of every strategy by the true yield, with its error over the data sets.

    Args:
        what: One summary for each strategy, drawn from the top down.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There is nothing to draw.
    """
    if not what:
        raise InputError.from_parts(expected="at least one strategy", got="none", do="pass their summaries")
    with styled():
        height = 2.2 + 0.9 * len(what)
        figure = Figure(figsize=(12, height))
        axes = figure.add_axes((0.27, 1.3 / height, 0.68, 1.0 - 2.0 / height))  # the same margins for any number
        rows = np.arange(len(what))[::-1]
        for row, s in zip(rows, what, strict=True):
            colour = SIGNAL_COLOURS[0] if s.strategy == "HI-SIGMA" else BACKGROUND_COLOURS[0]
            axes.errorbar(s.sigma, row, xerr=s.sigma_error, fmt="o", color=colour, markersize=11, capsize=5)
            axes.annotate(
                f"{s.sigma:.3f}", (s.sigma, row), (0, 10), textcoords="offset points", ha="center", fontsize=18
            )
        axes.set_yticks(rows, [s.strategy for s in what])
        axes.tick_params(axis="y", which="both", length=0)
        axes.minorticks_off()
        axes.set_ylim(-0.6, len(what) - 0.2)
        axes.set_xlim(0.0, 1.12 * max(s.sigma + s.sigma_error for s in what))
        axes.grid(axis="x", color="0.85")
        axes.set_axisbelow(True)
        axes.set_xlabel(r"Mean statistical error of the signal yield, $\sigma(s)/s_{\mathrm{true}}$")
        return finish(figure, axes, label, right_label or f"{what[0].n} data sets")


def scans(
    what: Mapping[str, LikelihoodScan],
    *,
    xlabel: str | None = None,
    truth: float | None = None,
    top: float = 9.0,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Combined likelihoods of several measurements of one parameter.

    Args:
        what: Scans by the name that the legend gives them; five at most.
        xlabel: Title of the horizontal axis, verbatim.
        truth: True value to be marked, where one is known.
        top: Upper end of the vertical axis.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: No scan, more than five, or scans of different parameters.
    """
    pois = sorted({scan.poi for scan in what.values()})
    if not 1 <= len(what) <= len(_COLOURS) or len(pois) != 1:
        raise InputError.from_parts(
            expected=f"1 to {len(_COLOURS)} scans of one parameter",
            got=f"{len(what)} of {', '.join(pois) or 'none'}",
            do="draw several figures",
        )
    with styled():
        figure, axes = frame(left=0.12)
        shown = [scan.values[scan.combined <= top] for scan in what.values()]
        for (name, scan), colour, line in zip(what.items(), _COLOURS, _LINES, strict=False):
            axes.plot(scan.values, scan.combined, line, color=colour, linewidth=3, label=name)
        axes.set_xlim(min(float(v.min()) for v in shown), max(float(v.max()) for v in shown))
        dress_likelihood(axes, xlabel=xlabel or component_label(pois[0]), top=top, truth=truth)
        axes.legend(loc="best", fontsize=20, frameon=True, edgecolor="none", framealpha=0.85)
        return finish(figure, axes, label, right_label)


def compared_contours(
    what: Mapping[str, Sequence[Contour]],
    *,
    labels: Mapping[str, str] | None = None,
    truth: tuple[float, float] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Contours of two parameters that several strategies find in the same data, with their best fits.

    Args:
        what: Contours of each strategy, by the name that the legend gives it; the smallest level is drawn as a full
            line, the others dashed; five strategies at most.
        labels: The user's own names of parameters, by name.
        truth: True values to be marked, where they are known.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: No contour, more than five strategies, or contours of different parameters.
    """
    every = [each for lines in what.values() for each in lines]
    if not 1 <= len(what) <= len(_COLOURS) or len({(each.x, each.y) for each in every}) != 1:
        raise InputError.from_parts(
            expected=f"contours of one pair of parameters from 1 to {len(_COLOURS)} strategies",
            got=f"{len(every)} contours from {len(what)}",
            do="draw several figures",
        )
    with styled():
        figure, axes = frame(left=0.15, width=0.81)
        for (name, lines), colour in zip(what.items(), _COLOURS, strict=False):
            ordered = sorted(lines, key=lambda each: each.cl)
            for each, style in zip(ordered, ("-", *["--"] * len(ordered)), strict=False):
                axes.plot(*closed(each).T, style, color=colour, linewidth=3, label=name if each is ordered[0] else None)
            axes.plot(*ordered[0].best, "P", color=colour, markersize=13)
        if truth is not None:
            axes.plot(*truth, "*", color="black", markersize=18, linestyle="none", label="Truth")
        dress_contours(axes, every, labels=labels, room=0.45)
        levels = sorted({each.cl for each in every})
        title = ", ".join(f"{100 * cl:.3g} %{' (dashed)' if cl > levels[0] else ''}" for cl in levels)
        axes.legend(loc="upper right", fontsize=20, title=f"{title} CL, best fits", title_fontsize=18)
        return finish(figure, axes, label, right_label)
