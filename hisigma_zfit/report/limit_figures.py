"""Figure of an upper limit: CLs of the data with the bands of background-only data, the Brazil plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator, FormatStrFormatter

from hisigma_zfit.report.labels import component_label
from hisigma_zfit.report.style import LABEL, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from hisigma_zfit.results.limits import LimitScan

__all__ = ["limit"]

_GREEN, _YELLOW, _RED = "#607641", "#f5bb54", "#e42536"  # the colours of such figures, in an order the colour-blind see
_LEAST = 0.004  # CLs at the lower edge of the frame


def limit(
    what: LimitScan, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Observed and expected CLs against the tested value; limits are where they cross 1 - cl.

    Args:
        what: The scan.
        labels: The user's own names of parameters, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    name = component_label(what.poi, labels=labels)
    with styled():
        figure, axes = frame()
        for reach, colour in ((2, _YELLOW), (1, _GREEN)):
            edges = what.expected[f"-{reach}"], what.expected[str(reach)]
            axes.fill_between(
                what.values,
                *edges,
                color=colour,
                linewidth=0,
                label=rf"Expected $\pm\,{reach}\sigma$",
                zorder=3 - reach,
            )
        median = f"Expected, limit {what.limits['0']:.4g}"
        axes.plot(what.values, what.expected["0"], "--", color="black", linewidth=2.5, label=median, zorder=4)
        observed = f"Observed, limit {what.limit:.4g}"
        axes.plot(what.values, what.observed, color="black", linewidth=3, label=observed, zorder=5)
        axes.axhline(1.0 - what.cl, color=_RED, linewidth=2, zorder=3)
        axes.text(
            0.02, 0.92 * (1.0 - what.cl), f"{100 * what.cl:.3g} % CL", color=_RED, fontsize=18, zorder=6, va="top",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
        axes.vlines(what.limit, _LEAST, 1.0 - what.cl, color="black", linewidth=1.5, linestyles=":", zorder=5)
        axes.set_xlim(float(what.values.min()), float(what.values.max()))
        axes.set_yscale("log")
        axes.set_ylim(_LEAST, 20.0)
        axes.yaxis.set_major_locator(FixedLocator([0.01, 0.1, 1.0]))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.set_xlabel(name)
        axes.set_ylabel(r"$\mathrm{CL}_s$")
        handles, texts = axes.get_legend_handles_labels()
        order = [3, 2, 1, 0]
        axes.legend([handles[k] for k in order], [texts[k] for k in order], loc="upper right", fontsize=19)
        return finish(figure, axes, label, right_label)
