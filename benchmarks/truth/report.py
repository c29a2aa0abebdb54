"""From pseudo-experiments to shift, spread, width and coverage of every way of combining.

Units are the error of the exact densities.  The noise of the data is integrated: a way whose value is shifted by d and
whose N-sigma interval reaches from a to b covers with probability Phi(-a / noise) - Phi(-b / noise), where a and b are
counted from the truth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from asimov import TruthSample
from matplotlib.figure import Figure
from scipy.special import ndtr
from worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["WAYS", "draw", "load", "summarise", "table"]

Record = dict[str, Any]

SHOWN = (-2.2, 4.6)  # shifts in the figure


@dataclass(frozen=True)
class Answer:
    """What one way makes of one pseudo-experiment, in units of the exact error and counted from the exact value.

    Attributes:
        value: Its shift.
        edges: Lower and upper edge of the interval at N = 1 and 2, shape (2, 2).
        noise: Spread of the value in repeated data.
        statistical: Error without the uncertainty of the training.
    """

    value: float
    edges: np.ndarray[Any, Any]
    noise: float
    statistical: float

    @property
    def width(self) -> float:
        """Half the one-sigma interval."""
        return float(0.5 * (self.edges[0, 1] - self.edges[0, 0]))

    def coverage(self) -> np.ndarray[Any, Any]:
        """Probability to cover at N = 1 and 2, shape (2,)."""
        covered: np.ndarray[Any, Any] = ndtr(self.edges[:, 1] / self.noise) - ndtr(self.edges[:, 0] / self.noise)
        return covered


def _scaled(record: Record, name: str) -> Any:
    """Fits in units of the exact error, values counted from the exact one: signal, error, noise, -log L."""
    exact = record["fits"]["exact"]
    return (np.array(record["fits"][name]) - [exact[0], 0.0, 0.0, 0.0]) / [exact[1], exact[1], exact[1], 1.0]


def _gaussian(value: float, error: float, noise: float, statistical: float) -> Answer:
    return Answer(value, value + error * np.array([[-1.0, 1.0], [-2.0, 2.0]]), noise, statistical)


def _single(name: str) -> Callable[[Record], Answer]:
    def answer(record: Record) -> Answer:
        value, error, noise, _ = _scaled(record, name)
        return _gaussian(value, error, noise, error)

    return answer


def _with_spread(name: str, *, redrawn: tuple[str, ...]) -> Callable[[Record], Answer]:
    def answer(record: Record) -> Answer:
        value, error, noise, _ = _scaled(record, name)
        spread = sum(float(np.var(_scaled(record, own)[:, 0], ddof=1)) for own in redrawn)
        return _gaussian(value, float(np.sqrt(error**2 + spread)), noise, error)

    return answer


def _jackknife(record: Record) -> Answer:
    """Less what halves find in the data beyond the whole."""
    plain = _with_spread("plain", redrawn=("bootstraps", "signal bootstraps"))(record)
    bias = float(_scaled(record, "halves")[:, 0].mean()) - plain.value
    return Answer(plain.value - bias, plain.edges - bias, plain.noise, plain.statistical)


def _default(record: Record) -> Answer:
    """What a measurement reports: halves less what they find unseen; the spread of redrawn trainings in the error."""
    halves = _scaled(record, "halves")
    spurious = np.array(record["unseen"]) / record["fits"]["exact"][1]
    value = float(np.mean(halves[:, 0] - spurious))
    if "plain" not in record["fits"]:
        error, noise = halves[:, 1].mean(), halves[:, 2].mean()
        return _gaussian(value, float(np.sqrt(error**2 + record["training_variance"])), noise, error)
    plain = _with_spread("plain", redrawn=("bootstraps", "signal bootstraps"))(record)
    return Answer(value, plain.edges + value - plain.value, plain.noise, plain.statistical)


def _envelope(record: Record) -> Answer:
    members = _scaled(record, "bootstraps")
    value, error = members[:, 0], members[:, 1]
    edges = np.array([[np.min(value - n * error), np.max(value + n * error)] for n in (1, 2)])
    return Answer(float(value.mean()), edges, float(members[:, 2].mean()), float(error.mean()))


def _discrete(record: Record) -> Answer:
    """The member of the largest expected likelihood: without the noise of the data the others do not count."""
    value, error, noise, _ = min(_scaled(record, "bootstraps"), key=lambda fit: fit[3])
    return _gaussian(value, error, noise, error)


WAYS: dict[str, Callable[[Record], Answer]] = {
    "envelope (paper)": _envelope,
    "discrete profiling": _discrete,
    "mixture of bootstraps": _single("mixture"),
    "members, statistical only": _single("plain"),
    "members (+) spread of bootstraps": _with_spread("plain", redrawn=("bootstraps", "signal bootstraps")),
    "the same less what halves find more": _jackknife,
    "halves less what they find unseen (default)": _default,
    "background density alone": _single("background alone"),
    "signal density alone": _single("signal alone"),
    "rival: Gaussian copula": _single("copula"),
    "rival: trees reweight independent features": _single("reweighted"),
}


def load(folder: Path) -> list[Record]:
    """All pseudo-experiments of a study; those of halves only get the others' mean error of the training."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*-*-*.json"))]
    for record in records:
        if "plain" not in record["fits"]:
            record["training_variance"] = _training_variance(
                [r for r in records if (r["world"], r["extra"]) == (record["world"], record["extra"])]
            )
    return records


def _training_variance(records: list[Record]) -> float:
    """Mean variance of the redrawn trainings' yields; not a number where none were redrawn."""
    own = [
        sum(float(np.var(_scaled(record, name)[:, 0], ddof=1)) for name in ("bootstraps", "signal bootstraps"))
        for record in records
        if "bootstraps" in record["fits"]
    ]
    return float(np.mean(own)) if own else float("nan")


def _answers(way: Callable[[Record], Answer], records: list[Record]) -> list[Answer]:
    """Of the pseudo-experiments that have all that a way needs: what is compared has grown."""
    answers = []
    for record in records:
        try:
            answers.append(way(record))
        except KeyError:
            continue
    return answers


@lru_cache
def _floor(world: str, sidebands: int) -> float:
    """What counting alone leaves uncertain, see `TruthSample.counting_floor`."""
    truth = TruthSample(WORLDS[world])
    return truth.counting_floor(sidebands) / truth.fit(truth.exact_background, truth.exact_signal).error


def summarise(records: list[Record]) -> list[dict[str, Any]]:
    """One row for every world, size and way."""
    rows = []
    for world, extra in sorted({(r["world"], r["extra"]) for r in records}):
        own = [r for r in records if (r["world"], r["extra"]) == (world, extra)]
        for way, answer in WAYS.items():
            answers = _answers(answer, own)
            if not answers:
                continue
            values = np.array([a.value for a in answers])
            coverage = np.array([a.coverage() for a in answers])
            n = len(answers)
            rows.append(
                {
                    "world": world,
                    "sidebands": int(np.mean([r["sidebands"] for r in own])),
                    "n": n,
                    "way": way,
                    "shift": float(values.mean()),
                    "shift_error": float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
                    "spread": float(values.std(ddof=1)) if n > 1 else float("nan"),
                    "spread_error": float(values.std(ddof=1) / np.sqrt(2 * n - 2)) if n > 1 else float("nan"),
                    "rms": float(np.sqrt(np.mean(values**2))),
                    "floor": _floor(world, int(np.mean([r["sidebands"] for r in own]))),
                    "interpolated_floor": _floor(world, int(np.mean([r["sidebands"] for r in own])))
                    * WORLDS[world].leverage(2),
                    "statistical": float(np.mean([a.statistical for a in answers])),
                    "width": float(np.mean([a.width for a in answers])),
                    "coverage": (100.0 * coverage.mean(axis=0)).tolist(),
                    "coverage_error": (100.0 * coverage.std(axis=0) / np.sqrt(n)).tolist(),
                }
            )
    return rows


def table(records: list[Record]) -> str:
    """The report, in units of the error of the exact densities.

    Two floors: the spread that counting sideband events leaves where nothing changes with the mass, and where every
    change is followed that is quadratic in it.
    """
    lines = [
        "world     sidebands   n  way                                          shift          spread         rms"
        "  floor  quadratic  stat.  width  covers 68.3 %   95.4 %"
    ]
    for row in summarise(records):
        one, two = row["coverage"]
        error = row["coverage_error"]
        lines.append(
            f"{row['world']:8s} {row['sidebands']:10d} {row['n']:3d}  {row['way']:43s} "
            f"{row['shift']:+.3f} +- {row['shift_error']:.3f}  {row['spread']:.2f} +- {row['spread_error']:.2f}  "
            f"{row['rms']:5.2f}  {row['floor']:5.2f}  {row['interpolated_floor']:9.2f}  "
            f"{row['statistical']:.3f}  {row['width']:.3f}  "
            f"{one:5.1f} +- {error[0]:3.1f}  {two:5.1f} +- {error[1]:3.1f}"
        )
    return "\n".join(lines)


def draw(records: list[Record], path: Path) -> None:
    """Shift and width of every way, one panel for every world and size."""
    rows = summarise(records)
    worlds = sorted({(row["world"], row["sidebands"]) for row in rows})
    ways = list(WAYS)
    figure = Figure(figsize=(4.0 + 3.2 * len(worlds), 4.6), layout="constrained")
    axes = figure.subplots(1, len(worlds), sharey=True, sharex=True, squeeze=False)[0]
    for axis, (world, size) in zip(axes, worlds, strict=True):
        own = {row["way"]: row for row in rows if (row["world"], row["sidebands"]) == (world, size)}
        for k, way in enumerate(ways):
            y = len(ways) - k
            if way not in own:
                continue
            row = own[way]
            if row["shift"] > SHOWN[1]:  # far away: a number says it, and the others stay legible
                axis.annotate(f"{row['shift']:+.1f} >", (SHOWN[1], y), ha="right", va="center", color="C0", fontsize=8)
                continue
            axis.errorbar(row["shift"], y, xerr=row["width"], fmt="none", ecolor="0.75", elinewidth=6)
            axis.errorbar(row["shift"], y, xerr=row["shift_error"], fmt="o", color="C0", markersize=4, capsize=2)
            axis.annotate(
                f"{row['coverage'][0]:.0f} / {row['coverage'][1]:.0f} %",
                (0.98, y + 0.28),
                xycoords=axis.get_yaxis_transform(),
                ha="right",
                fontsize=7,
            )
        axis.axvline(0.0, color="black", linewidth=0.8)
        axis.axvspan(-1.0, 1.0, color="C2", alpha=0.12, linewidth=0)
        axis.set_title(f"{world}, {size:,} sideband events", fontsize=9)
        axis.set_xlabel("Shift of the yield / exact error")
    axes[0].set_yticks(range(len(ways), 0, -1), ways, fontsize=8)
    axes[0].set_xlim(*SHOWN)
    axes[0].set_ylim(0.4, len(ways) + 0.8)
    figure.savefig(path, dpi=130)
