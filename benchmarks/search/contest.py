"""All methods on one data set: trained on the data, judged by events that are not in them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.baselines.anomaly_scores import (
    TIMES,
    averaged_trees,
    background_events,
    lump_scores,
    residual_fit,
    residual_scores,
    supervised_classifier,
)
from hisigma_zfit.baselines.classifiers import with_folds
from hisigma_zfit.inference.search import best_lumps
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.results import SicCurve
from hisigma_zfit.statistics.significance_improvement import significance_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.baselines.anomaly_scores import Scores
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.inference.search_scene import Scene

    Judged = tuple[Array, Array]

METHODS = ("blob", "classifier", "template", "flow", "supervised")
FOLDS = 5
_STARTS = 20  # stream


@dataclass(frozen=True)
class Panel:
    """Events that judge, none of which is in the data.

    Attributes:
        signal: Signal events of the window.
        others: Background events of the window.
        density: The background's density by what has not seen them.
    """

    signal: Dataset
    others: Dataset
    density: ConditionalFlow


@dataclass(frozen=True)
class Contest:
    """One data set and the events that judge.

    Attributes:
        data: Events, those of the window are searched.
        truth: Which of them are signal, shape (n,).
        background: Learned density.
        shape: Mass shape of the background, as `find_signal` takes it.
        region: The window.
        panels: Who judges.  Where there are several, the background events of one are training events of the others.
        seed: Of everything that is random.
    """

    data: Dataset
    truth: Array
    background: ConditionalFlow
    shape: Any
    region: SignalRegion
    panels: tuple[Panel, ...]
    seed: int

    @property
    def features(self) -> tuple[str, ...]:
        return self.background.features

    @property
    def window(self) -> tuple[Dataset, Array]:
        inside = self.region.contains(self.data[self.background.given])
        return self.data.select(inside), self.truth[inside]

    def run(self, methods: Sequence[str], record: dict[str, Any]) -> dict[str, Any]:
        """Add what is missing to a record of numbers."""
        here = scene(self.data, self.background, self.shape, region=self.region, components=1, folds=2)
        _, truth = self.window
        record |= {"n_signal": int(truth.sum()), "n_background": int((1 - truth).sum())}
        curves = record.setdefault("curves", {})
        for method in methods:
            if method in curves:
                continue
            start = time.process_time()
            found = getattr(self, f"_{method}")(here, record)
            record.setdefault("cpu_s", {})[method] = round(time.process_time() - start, 1)
            for name, (s, b) in found.items():
                curves[name] = json.loads(significance_improvement(s, b).to_json())
        return record

    def _blob(self, here: Scene, record: dict[str, Any]) -> dict[str, Judged]:
        found = best_lumps(here.points, stream(self.seed, Purpose.COMPARISON_SCORES, _STARTS))
        record |= {"t": float(found.statistic[0]), "yield": float(found.blobs.total[0]) * len(here)}
        return self._judge("blob", here, lambda place, events: lump_scores(place, found.blobs, events))

    def _flow(self, here: Scene, record: dict[str, Any]) -> dict[str, Judged]:
        fit = residual_fit(here, seed=self.seed)
        record["flow"] = {"gain": fit.gain, "gain_trained": list(fit.gain_trained), "chosen": list(fit.chosen)}
        return self._judge("flow", here, lambda place, events: residual_scores(place, fit, events))

    def _judge(self, name: str, here: Scene, score: Callable[[Scene, Dataset], Scores]) -> dict[str, Judged]:
        """With and without the mass, each panel by its own density of the background."""
        scores = [
            [score(replace(here, background=panel.density), events) for events in (panel.signal, panel.others)]
            for panel in self.panels
        ]
        return {
            name: _joined([(s.x_only, b.x_only) for s, b in scores]),
            f"{name}, joint": _joined([(s.joint, b.joint) for s, b in scores]),
        }

    def _classifier(self, here: Scene, record: dict[str, Any]) -> dict[str, Judged]:
        """Against events of the learned density."""
        del record
        data, _ = self.window
        drawn = background_events(here, TIMES * len(data), seed=self.seed)
        score = averaged_trees(data, drawn, self.features, seed=self.seed)
        return {"classifier": _joined([(score(panel.signal), score(panel.others)) for panel in self.panels])}

    def _template(self, here: Scene, record: dict[str, Any]) -> dict[str, Judged]:
        """Against background events themselves, those of the other panels."""
        del here, record
        data, _ = self.window
        judged = []
        for k, panel in enumerate(self.panels):
            first, *rest = (other.others for other in self.panels if other is not panel)
            template = first.concatenate(*rest)
            score = averaged_trees(data, template, self.features, seeds=2, seed=self.seed, fold=k)
            judged.append((score(panel.signal), score(panel.others)))
        return {"template": _joined(judged)}

    def _supervised(self, here: Scene, record: dict[str, Any]) -> dict[str, Judged]:
        """By folds, so that what judges may train too."""
        del here, record
        data, truth = self.window
        first, *rest = self.panels
        signal = first.signal.concatenate(*(panel.signal for panel in rest))
        others = first.others.concatenate(*(panel.others for panel in rest), data.select(truth == 0))
        score = supervised_classifier(signal, others, self.features, folds=FOLDS, seed=self.seed)
        n = sum(len(panel.others) for panel in self.panels)
        return {"supervised": (score(with_folds(signal, FOLDS)), score(with_folds(others, FOLDS))[:n])}


def _joined(judged: Sequence[Judged]) -> Judged:
    """Scores of signal and background of all panels: they are log ratios, and so comparable."""
    s, b = zip(*judged, strict=True)
    return np.concatenate(s), np.concatenate(b)


def different(events: Dataset, taken: Dataset, names: Sequence[str]) -> Dataset:
    """Events whose numbers are not those of a taken one."""
    seen = {row.tobytes() for row in np.ascontiguousarray(taken.array(names))}
    rows = np.ascontiguousarray(events.array(names))
    return events.select(np.array([row.tobytes() not in seen for row in rows]))


def load(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Records of all data sets that are done."""
    return [json.loads(path.read_text()) for path in sorted(files)]


def table(records: Sequence[dict[str, Any]], goals: dict[Any, float], *, point: str) -> str:
    """Medians over the data sets of each point, with their errors, beside the goals of the blob.

    The error is that of the median of several, 1.25 rms / sqrt(n); of a single one that of its counts.

    Args:
        records: One for each data set.
        goals: Of the blob at a background efficiency of 1e-3, by point.
        point: Name of what the points are told by.
    """
    lines = [
        f"{point:>8s}  sets  S in window  S/sqrt(B)  method         at 1e-3         at 1e-2         maximum     goal"
    ]
    for value in sorted({record[point] for record in records}):
        own = [record for record in records if record[point] == value]
        names = list(dict.fromkeys(name for record in own for name in record["curves"]))
        s = float(np.mean([record["n_signal"] for record in own]))
        root = float(np.mean([record["n_background"] for record in own])) ** 0.5
        for name in names:
            curves = [
                SicCurve.from_json(json.dumps(record["curves"][name])) for record in own if name in record["curves"]
            ]
            columns = "  ".join(f"{_median(curves, at):>14s}" for at in ("at_1e3", "at_1e2", "maximum"))
            goal = f"{goals[value]:7.1f}" if name == "blob" and value in goals else ""
            lines.append(f"{value:8g}  {len(curves):4d}  {s:11.1f}  {s / root:9.2f}  {name:12s}  {columns}  {goal}")
        gains = [record["t"] for record in own if "t" in record]
        if gains:
            lines.append(f"{'':8s}  test statistics of the blob: {', '.join(f'{t:.0f}' for t in gains)}")
        for flow in (record["flow"] for record in own if "flow" in record):
            trained = ", ".join(f"{gain:.0f}" for gain in flow["gain_trained"])
            lines.append(f"{'':8s}  the flow's gain, held out {flow['gain']:.0f}, in training {trained}")
    return "\n".join(lines)


def _median(curves: Sequence[SicCurve], at: str) -> str:
    points = [getattr(curve, at) for curve in curves]
    values = np.array([point.sic for point in points])
    error = points[0].error if len(points) == 1 else 1.25 * values.std(ddof=1) / len(values) ** 0.5
    return f"{np.median(values):.2f} +- {error:.2f}"
