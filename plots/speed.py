"""Rivals in one figure: ``python plots/speed.py peers.json --out FOLDER``, of what ``benchmarks/peers.py`` wrote."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from drawing import draw
from matplotlib.figure import Figure

OURS, OTHERS = "#e42536", "#5790fc"
MARKERS = "osD^vP"


def figure(content: dict[str, Any]) -> Figure:
    """What a density costs and how good it is; and what a fit costs with and without nuisances."""
    densities = [row for row in content["densities"] if "absent" not in row]
    fits = [row for row in content["fits"] if "absent" not in row]
    with mpl.rc_context({"font.size": 11, "axes.linewidth": 0.8}):
        drawn = Figure(figsize=(11.0, 4.2), layout="constrained")
        left, right = drawn.subplots(1, 2)
        _densities(left, densities, content["events"])
        _fits(right, fits)
    return drawn


def _densities(axes: Any, rows: list[dict[str, Any]], events: int) -> None:
    for k, row in enumerate(rows):
        axes.errorbar(
            row["cpu_s"],
            row["kl"],
            yerr=row["kl_error"],
            fmt=MARKERS[k % len(MARKERS)],
            color=OURS if row["title"].startswith("this package") else OTHERS,
            ms=6,
            capsize=2,
            label=row["title"],
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.2, high * 1.2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.6)  # room for the legend
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [k * 10.0**n for n in range(-5, 5) for k in (1, 2, 5) if limits[0] <= k * 10.0**n <= limits[1]]
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.set_xlabel("Training, all included (CPU s)")
    axes.set_ylabel("KL in the signal region (nats)")
    axes.set_title(f"Density of four features, {events:,} events", fontsize=11)


def _fits(axes: Any, rows: list[dict[str, Any]]) -> None:
    for k, title in enumerate(dict.fromkeys(row["title"] for row in rows)):
        own = [row for row in rows if row["title"] == title]
        ours = title.startswith("this package")
        n, centre = [row["nuisances"] for row in own], [row["cpu_s"] for row in own]
        low = [row["cpu_s"] - row["least_s"] for row in own]
        high = [row["most_s"] - row["cpu_s"] for row in own]
        axes.errorbar(
            n,
            centre,
            yerr=(low, high),
            fmt=MARKERS[k % len(MARKERS)],
            ls="-",
            lw=1,
            capsize=2,
            color=OURS if ours else OTHERS,
            mfc="white" if "anew" in title or "published" in title else None,
            label=title,
        )
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("log")
    sizes = sorted({row["nuisances"] for row in rows})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(-0.3, 1.2 * max(sizes))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.55)
    axes.set_xlabel("Nuisance parameters")
    axes.set_ylabel("Fit, Hessian and 60-point profile (CPU s)")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


if __name__ == "__main__":
    draw(figure, "speed", __doc__, "benchmarks/peers.py")
