"""Limit and significance of a measurement beside those that were expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.histograms import probability
from hisigma_zfit.report.labels import component_label, within_sentence
from hisigma_zfit.report.style import LABEL, finish, styled
from hisigma_zfit.report.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.results import Measurement

__all__ = ["expected"]

_ONE, _TWO = "#607641", "#f5bb54"  # as in the other figures of limits


def expected(
    what: Measurement, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """Observed limit and significance beside the expected ones.

    Args:
        what: The measurement.
        labels: The user's own names of parameters.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: Nothing was expected.
    """
    fit = what.fit
    if fit is None or fit.expected_limit is None:
        raise InputError.from_parts(expected="a measurement with expected results", got="none", do="measure again")
    bands = fit.expected_limit.expected
    assert bands is not None
    with styled():
        figure = Figure(figsize=(10, 6.5))
        upper = figure.add_axes((0.24, 0.62, 0.72, 0.26))
        lower = figure.add_axes((0.24, 0.14, 0.72, 0.26))
        upper.barh(0, bands["2"] - bands["-2"], left=bands["-2"], height=0.7, color=_TWO, label=r"$\pm2\sigma$")
        upper.barh(0, bands["1"] - bands["-1"], left=bands["-1"], height=0.7, color=_ONE, label=r"$\pm1\sigma$")
        upper.vlines(bands["0"], -0.35, 0.35, color="black", linestyle="--", linewidth=2.5, label="Expected, no signal")
        upper.vlines(what.upper_limit_95, -0.45, 0.45, color="black", linewidth=3.5, label="Observed")
        upper.set_xlim(0.0, 1.12 * max(bands["2"], what.upper_limit_95))
        upper.set_ylim(-0.6, 1.9)
        upper.set_yticks([0], ["Limit"])
        poi = within_sentence(component_label(what.poi, labels=labels))
        upper.set_xlabel(f"{percent(what.confidence.upper_limit_95)} CL limit on the {poi}", fontsize=20)
        upper.legend(loc="upper right", ncols=4, fontsize=15, columnspacing=1.0, handlelength=1.3)
        names = {"fitted": "Fitted yield", "simulation": "Simulation's"}
        rows = [("Observed", what.significance.z), *((names.get(e.name, e.name), e.z) for e in fit.expected)]
        for k, (name, z) in enumerate(rows):
            solid = name == "Observed"
            lower.barh(-k, z, height=0.55, color="black" if solid else "none", edgecolor="black", linewidth=2)
            text = rf"{z:.2f}$\sigma$" + ("" if solid else f", Asimov, {fit.expected[k - 1].signal:.4g} events")
            lower.text(z, -k, f"  {text}", va="center", fontsize=16)
        lower.set_yticks([-k for k in range(len(rows))], [name for name, _ in rows])
        lower.set_ylim(-len(rows) + 0.4, 0.6)
        longest = max(1.0, *(z for _, z in rows))
        lower.set_xlim(0.0, 1.9 * longest)
        for z in range(1, int(1.9 * longest) + 1):
            lower.axvline(z, color="0.85", linewidth=1, zorder=0)
        lower.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        p0 = probability(float(norm.sf(what.significance.z)))
        lower.set_xlabel(rf"Significance [$\sigma$], observed $p_0 =$ {p0}", fontsize=20)
        for axes in (upper, lower):
            axes.tick_params(axis="y", which="both", left=False, right=False, labelsize=18)
            axes.tick_params(axis="x", labelsize=18)
        return finish(figure, upper, label, right_label)
