"""Data of a cross-section as all methods see them: scored by each model, with each assignment to folds, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.results import AssignmentAnswer, CrossSectionEvents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.crosssection.inputs import Observed
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.crosssection.options import CrossSectionOptions
    from hisigma_zfit.crosssection.samples import Sample

__all__ = ["assignments_of", "event_counts", "observed_cells"]


def assignments_of(
    data: Observed, model: RatioModel, methods: Mapping[str, Method], settings: CrossSectionOptions
) -> tuple[dict[str, Scored], tuple[AssignmentAnswer, ...], int]:
    """Data scored for all methods, the answers with each assignment of events to folds, and how many are in no region.

    Args:
        data: The events.
        model: What was learned.
        methods: By name, "unbinned" among them.
        settings: All options.

    Raises:
        FitError: A fit did not converge.
    """
    scored: dict[int, tuple[Scored, int]] = {}
    found = {}
    for name, method in methods.items():
        own = getattr(method, "model", model)
        if id(own) not in scored:
            scored[id(own)] = own.observed(data)
        found[name] = scored[id(own)][0]
    each = []
    steps = range(data.folds) if settings.data is not None and settings.data.folds == "both" else (0,)
    for step in steps:
        events = found["unbinned"] if step == 0 else model.observed(data.swapped(step))[0]
        profiler = Profiler(model.likelihood(events), next(iter(settings.pois)))
        low, high = profiler.interval(1.0)
        each.append(AssignmentAnswer(profiler.best, (float(low), float(high))))
    return found, tuple(each), scored[id(model)][1]


def observed_cells(model: RatioModel, events: Scored) -> list[float]:
    """Events by cell."""
    weights = np.ones(len(events.region)) if events.weights is None else events.weights
    return [*np.bincount(events.region, weights, model.structure.unbinned), *events.counts]


def event_counts(
    data: Observed | None, model: RatioModel, events: Scored, outside: int, samples: Sequence[Sample]
) -> CrossSectionEvents:
    """Numbers of events of data and of simulation.

    Args:
        data: The events; None for an Asimov set, which has none.
        model: What was learned.
        events: The same, scored.
        outside: How many of them are in no region.
        samples: Simulation by process.
    """
    simulated = {sample.name: len(sample.events) for sample in samples}
    if data is None:
        return CrossSectionEvents(read=0, unbinned={}, counting=0, dropped={}, simulated=simulated)
    counts = np.bincount(events.region, minlength=model.structure.unbinned)
    dropped = (("selection", data.n_read - len(data.x)), ("in no region", outside))
    return CrossSectionEvents(
        read=data.n_read,
        unbinned={name: int(n) for name, n in zip(model.structure.cells, counts, strict=False)},
        counting=int(events.counts.sum()),
        dropped={name: n for name, n in dropped if n},
        simulated=simulated,
    )
