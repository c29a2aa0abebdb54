"""All methods on one data set: trained on the data, judged by events that are not in them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
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
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.inference.search_scene import Scene

METHODS = ("blob", "classifier", "template", "flow", "supervised")
FOLDS = 5
_STARTS = 20  # stream


@dataclass(frozen=True)
class Contest:
    """One data set and the events that judge.

    Attributes:
        data: Events, those of the window are searched.
        truth: Which of them are signal, shape (n,).
        background: Learned density.
        shape: Mass shape of the background, as `find_signal` takes it.
        region: The window.
        signal: Signal events of the window that are not in the data.
        others: Background events of the window that are not in the data and have trained nothing.
        template: Background events that a classifier may be trained against instead of the density's; None for none.
        seed: Of everything that is random.
    """

    data: Dataset
    truth: Array
    background: ConditionalFlow
    shape: Any
    region: SignalRegion
    signal: Dataset
    others: Dataset
    template: Dataset | None
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
            if method in curves or (method == "template" and self.template is None):
                continue
            start = time.process_time()
            found = getattr(self, f"_{method}")(here, record)
            record.setdefault("cpu_s", {})[method] = round(time.process_time() - start, 1)
            for name, (s, b) in found.items():
                curves[name] = json.loads(significance_improvement(s, b).to_json())
        return record

    def _blob(self, here: Scene, record: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
        found = best_lumps(here.points, stream(self.seed, Purpose.COMPARISON_SCORES, _STARTS))
        record |= {"t": float(found.gain[0]), "yield": float(found.blobs.total[0]) * len(here)}
        scores = [lump_scores(here, found.blobs, events) for events in (self.signal, self.others)]
        return {"blob": (scores[0].x_only, scores[1].x_only), "blob, joint": (scores[0].joint, scores[1].joint)}

    def _classifier(self, here: Scene, record: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
        del record
        data, _ = self.window
        drawn = background_events(here, TIMES * len(data), seed=self.seed)
        score = averaged_trees(data, drawn, self.features, seed=self.seed)
        return {"classifier": (score(self.signal), score(self.others))}

    def _template(self, here: Scene, record: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
        del here, record
        assert self.template is not None
        data, _ = self.window
        score = averaged_trees(data, self.template, self.features, seed=self.seed)
        return {"template": (score(self.signal), score(self.others))}

    def _flow(self, here: Scene, record: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
        fit = residual_fit(here, seed=self.seed)
        record["flow"] = {"gain": fit.gain, "gain_trained": list(fit.gain_trained), "chosen": list(fit.chosen)}
        scores = [residual_scores(here, fit, events) for events in (self.signal, self.others)]
        return {"flow": (scores[0].x_only, scores[1].x_only), "flow, joint": (scores[0].joint, scores[1].joint)}

    def _supervised(self, here: Scene, record: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
        """Judged by folds, so that what judges may train too."""
        del here, record
        data, truth = self.window
        known = data.select(truth == 0)
        score = supervised_classifier(
            self.signal, self.others.concatenate(known), self.features, folds=FOLDS, seed=self.seed
        )
        scored = score(with_folds(self.others.concatenate(known), FOLDS))[: len(self.others)]
        return {"supervised": (score(with_folds(self.signal, FOLDS)), scored)}


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
