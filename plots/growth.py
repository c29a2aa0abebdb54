"""How time grows: ``python plots/growth.py growth.json --out FOLDER``, of what ``benchmarks/growth.py`` wrote."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from drawing import draw
from matplotlib.figure import Figure

AXES = {
    "events": "Events",
    "features": "Features",
    "members": "Members",
    "nuisances": "Nuisance parameters",
    "workers": "Worker processes",
}
COLOURS = ("#5790fc", "#e42536", "#7a21dd", "#f89c20")
MARKERS = ("o", "s", "^", "D")


def figure(content: dict[str, Any]) -> Figure:
    """One frame for each thing that grows; the exponents are of the larger half of the sizes."""
    with mpl.rc_context({"font.size": 11, "axes.linewidth": 0.8}):
        drawn = Figure(figsize=(4.2 * min(len(content), 3), 3.6 * -(-len(content) // 3)), layout="constrained")
        frames = drawn.subplots(-(-len(content) // 3), min(len(content), 3), squeeze=False).ravel()
        for axes, (name, found) in zip(frames, content.items(), strict=False):
            _draw(axes, name, found)
        for axes in frames[len(content) :]:
            axes.set_visible(False)
    return drawn


def _draw(axes: Any, name: str, found: dict[str, Any]) -> None:
    rows = found["rows"]
    for k, what in enumerate(dict.fromkeys(row["what"] for row in rows)):
        points = [(row["size"], row["seconds"]) for row in rows if row["what"] == what]
        size, seconds = np.array(points, dtype=np.float64).T
        exponent = found["exponents"].get(what)
        words = what if exponent is None else f"{what}: {exponent:.2f}"
        axes.plot(size, seconds, MARKERS[k], ls="-", color=COLOURS[k], ms=5, lw=1, label=words)
    within_a_decade = name in {"workers", "nuisances"}
    if not within_a_decade:
        axes.set_yscale("log")
    if name == "nuisances":
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.3, 1.2 * max(row["size"] for row in rows))
    elif name != "workers":
        axes.set_xscale("log")
    sizes = sorted({row["size"] for row in rows})
    if name != "events":
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.minorticks_off()
    low, high = (0.0, axes.get_ylim()[1]) if within_a_decade else axes.get_ylim()
    axes.set_ylim(low, 1.35 * high if within_a_decade else high * (high / low) ** 0.35)  # room for the legend
    axes.set_xlabel(AXES[name])
    axes.set_ylabel("Wall time (s)" if name == "workers" else "CPU time (s)")
    axes.legend(frameon=False, fontsize=9, loc="upper left", title="Exponent of", title_fontsize=9, alignment="left")


if __name__ == "__main__":
    draw(figure, "growth", __doc__, "benchmarks/growth.py")
