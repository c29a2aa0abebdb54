"""Figure of a scan over windows: local p-values against the mass, and what is left of the best one globally."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import NullLocator
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.labels import axis_label
from hisigma_zfit.report.style import LABEL, SIGNAL_COLOURS, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from hisigma_zfit.results.window_scan import WindowScan

__all__ = ["window_scan"]

_LEAST = 1e-12  # p-value at the lower edge of the frame, at most


def window_scan(
    what: WindowScan,
    *,
    mass: str = "m",
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Local p-value of every window, by counting and extrapolated, and the global ones as lines.

    Args:
        what: The scan.
        mass: Name of the mass.
        labels: The user's own names of observables, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: The scan has no toys, and so no p-values.
    """
    if not what.n_toys:
        raise InputError.from_parts(expected="a scan with p-values", got="one without toys", do="scan with toys=")
    edges = np.array([window.range for window in what.windows])
    centre, half = edges.mean(axis=1), 0.5 * np.diff(edges, axis=1)[:, 0]
    crossings = np.nan if what.gross_vitells is None else what.gross_vitells.p_global
    lines = (
        (what.p_global, "-", "counted"),
        (what.p_global_extrapolated, "--", "extrapolated"),
        (crossings, ":", "Gross-Vitells"),
    )
    with styled():
        figure, axes = frame()
        shown = [what.p_global]
        for name, marker, colour, text in (
            ("p_local", "o", "0.55", f"Local, {what.n_toys} toys"),
            ("p_extrapolated", "s", "black", "Local, extrapolated"),
        ):
            each = np.array([getattr(window, name) for window in what.windows])
            if np.isfinite(each).any():
                shown += each[np.isfinite(each)].tolist()
                axes.errorbar(centre, each, xerr=half, fmt=marker, color=colour, markersize=7, linewidth=2, label=text)
        for p, style, text in lines:
            if np.isfinite(p):
                shown.append(p)
                name = f"Global, {text}: {p:.2g}"
                axes.axhline(p, linestyle=style, color=SIGNAL_COLOURS[0], linewidth=2.5, label=name)
        bottom = max(min(shown) / 5.0, _LEAST)
        for z in range(1, 8):
            if bottom < norm.sf(z) < 1.0:
                axes.axhline(float(norm.sf(z)), color="0.8", linewidth=1, zorder=0)
                axes.text(
                    1.01, float(norm.sf(z)), rf"${z}\sigma$", transform=axes.get_yaxis_transform(), va="center",
                    fontsize=18, color="0.3",
                )  # fmt: skip
        axes.set_yscale("log")
        axes.set_ylim(bottom, (1.0 / bottom) ** 0.6)  # room for the legend
        # a probability has no ticks above one
        decades = np.arange(np.ceil(np.log10(bottom)), 1.0)
        axes.set_yticks(10.0 ** decades[:: max(1, len(decades) // 8)])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlim(float(edges.min()), float(edges.max()))
        axes.set_xlabel(axis_label(mass, labels=labels))
        axes.set_ylabel(r"$p$-value")
        axes.legend(loc="upper right", fontsize=18)
        return finish(figure, axes, label, right_label)
