"""Figure of the counting bins of a fit of learned ratios, with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import NullLocator

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import plotting
from hisigma_zfit.report.labels import component_label
from hisigma_zfit.report.style import LABEL, styled
from hisigma_zfit.results import Projection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from hisigma_zfit.results import CrossSectionResult

__all__ = ["counting_bins", "points"]


def points(what: CrossSectionResult) -> str:
    """What the points of a figure are."""
    return "Asimov data" if what.data == "asimov" else "Data"


def counting_bins(
    what: CrossSectionResult,
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Data and fitted processes in the counting bins, with the fit's error and pulls.

    Args:
        what: A result whose data are open.
        labels: The user's own names of processes and bins, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There are no counting bins, or their data are closed.
    """
    cells = {name: cell for name, cell in what.cells.items() if not cell.unbinned}
    if not cells or any(cell.observed is None for cell in cells.values()):
        raise InputError.from_parts(
            expected="counting bins with data", got="closed ones" if cells else "none", do="fit data in such bins"
        )
    observed = np.array([float(cell.observed or 0.0) for cell in cells.values()])
    signal = tuple(dict.fromkeys(name for names in what.signal.values() for name in names))
    sums = {name: sum(by_cell[cell].postfit for cell in cells) for name, by_cell in what.yields.items()}
    # the largest on top, but the signal on top of all
    ordered = sorted(sums, key=lambda name: (name in signal, sums[name]))
    components = {name: np.array([what.yields[name][cell].postfit for cell in cells]) for name in ordered}
    n = len(cells)
    shown = Projection(
        observable="counting bin",
        edges=np.linspace(-0.5, n - 0.5, n + 1),
        data=observed,
        data_variance=observed,
        components=components,
        component_variance={name: np.zeros(n) for name in ordered},
        signal=signal,
        model_error=np.array([cell.error for cell in cells.values()]),
    )
    figure = plotting.projection(
        shown,
        xlabel="Counting bin",
        labels=labels,
        logy=True,
        data=points(what),
        label=label,
        right_label=right_label,
    )
    with styled():
        main, panel = figure.axes
        width = float(np.clip(4.0 + 0.5 * n, 10.0, 20.0))
        names = [component_label(name, labels=labels) for name in cells]
        # an inch holds about ten letters of this size
        height = 10.0 + 0.105 * max(map(len, names))
        figure.set_size_inches(width, height)
        left, share, bottom = 1.6 / width, 1.0 - 2.0 / width, 1.0 - 9.5 / height
        panel.set_position((left, bottom, share, 2.1 / height))
        main.set_position((left, bottom + 2.3 / height, share, 6.6 / height))
        main.set_ylabel("Events / bin")
        top = float(observed.max())
        positive = [float(values[values > 0.0].min(initial=top)) for values in components.values()]
        # down to the smallest process, which is often the signal, as far as a page can show
        bottom = max(0.5 * min(positive, default=1.0), 1e-6 * top, 0.1)
        main.set_ylim(bottom, top * (top / bottom) ** 0.6)
        panel.set_xticks(range(n), names, fontsize=15, rotation=90)
        for axes in (main, panel):
            axes.xaxis.set_minor_locator(NullLocator())
    return figure
