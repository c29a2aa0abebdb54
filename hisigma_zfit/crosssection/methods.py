"""Other ways of measuring the same events: one count, bins of the score, exponents without calibrated moments."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.ratio.moments import equal_content_edges
from hisigma_zfit.ratio.rates import fit_rates
from hisigma_zfit.ratio.structure import RatioColumns
from hisigma_zfit.results import MethodAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.crosssection.learning import Simulation
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.ratio.design import Design
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows
    from hisigma_zfit.ratio.structure import RatioStructure

__all__ = ["Binned", "Method", "Unbinned", "method_answer", "methods_of"]


@dataclass(frozen=True)
class Unbinned:
    """The events of unbinned regions one by one.

    Attributes:
        model: With calibrated moments or without.
    """

    model: RatioModel
    bins: None = None

    def likelihood(
        self,
        scored: Scored,
        *,
        start: Mapping[str, float] | None = None,
        auxiliary: Mapping[str, float] | None = None,
    ) -> RatioLikelihood:
        """-log L of events that were scored by its model."""
        return self.model.likelihood(scored, start=start, auxiliary=auxiliary)


@dataclass(frozen=True)
class Binned:
    """Unbinned regions in bins of the score, each with rates of its own.

    Attributes:
        structure: All cells counted.
        edges: Inner edges of the score bins by unbinned region.
    """

    structure: RatioStructure
    edges: tuple[Array, ...]

    @cached_property
    def bins(self) -> int:
        """Of each region."""
        return max(len(own) + 1 for own in self.edges)

    @classmethod
    def of(cls, model: RatioModel, simulation: Simulation, design: Design, bins: int) -> Binned:
        """Rates of score bins from the same simulated events as the model's.

        Args:
            model: What was learned.
            simulation: Its simulation.
            design: Its design points.
            bins: Of equal signal in each unbinned region.
        """
        nominal = [own.rows for own in simulation.placed]
        signal = nominal[model.signal]
        edges = []
        for r in range(model.structure.unbinned):
            at = np.flatnonzero(signal.cell == r)
            edges.append(equal_content_edges(_score(signal, model.signal)[at], signal.weights[at], bins))
        first = model.structure.unbinned
        sizes = np.array([_sums(own, model.signal, edges, own_sums) for own, own_sums in _with_sums(simulation, first)])
        sums = np.array(
            [[_sums(rows, model.signal, edges, rows.sums[first:]) for rows in point] for point in simulation.shifted]
        ).reshape(-1, *sizes.shape)
        names = [
            f"{model.structure.cells[r]}, score bin {k + 1}" for r, own in enumerate(edges) for k in range(len(own) + 1)
        ]
        structure = replace(
            model.structure,
            rates=fit_rates(sizes, sums, design, free=np.ones(sizes.shape[1], dtype=bool)),
            cells=(*names, *model.structure.cells[first:]),
            unbinned=0,
        )
        return cls(structure, tuple(edges))

    def likelihood(
        self,
        scored: Scored,
        *,
        start: Mapping[str, float] | None = None,
        auxiliary: Mapping[str, float] | None = None,
    ) -> RatioLikelihood:
        """-log L of the counts of events that were scored by the model."""
        weights = np.ones(len(scored.score)) if scored.weights is None else scored.weights
        counts = _binned(scored.score, scored.region, weights, self.edges)
        n_processes, size = len(self.structure.processes), self.structure.monomials.size
        nothing = np.zeros((0, n_processes), np.float32), np.zeros((0, n_processes, size), np.float32)
        columns = RatioColumns(*nothing, np.zeros(0, np.int64), None, np.concatenate([counts, scored.counts]))
        return RatioLikelihood(self.structure, columns, start=start, auxiliary=auxiliary)


Method = Unbinned | Binned


def _score(rows: ProcessRows | ShiftedRows, signal: int) -> Array:
    assert rows.scores is not None
    return np.asarray(rows.scores[:, signal], dtype=np.float64)


def _binned(score: Array, region: Integers, weights: Array, edges: Sequence[Array]) -> Array:
    found = []
    for r, own in enumerate(edges):
        at = np.flatnonzero(region == r)
        where = np.searchsorted(own, score[at], side="right")
        found.append(np.bincount(where, weights[at], len(own) + 1))
    return np.concatenate(found).astype(np.float64)


def _with_sums(simulation: Simulation, first: int) -> list[tuple[ProcessRows, Array]]:
    return [(own.rows, own.sums[first:]) for own in simulation.placed]


def _sums(rows: ProcessRows | ShiftedRows, signal: int, edges: Sequence[Array], counting: Array) -> Array:
    """Sums of weights in score bins, then in counting bins."""
    return np.concatenate([_binned(_score(rows, signal), rows.cell, rows.weights, edges), counting])


def methods_of(names: Sequence[str], model: RatioModel, simulation: Simulation, design: Design) -> dict[str, Method]:
    """Methods by name: this one as "unbinned", and what the options name.

    Args:
        names: "counting", "binned-N" or "unbinned-uncalibrated".
        model: What was learned.
        simulation: Its simulation.
        design: Its design points.
    """
    found: dict[str, Method] = {"unbinned": Unbinned(model)}
    for name in names:
        if name == "unbinned-uncalibrated":
            found[name] = Unbinned(model.uncalibrated())
        else:
            bins = 1 if name == "counting" else int(name.removeprefix("binned-"))
            found[name] = Binned.of(model, simulation, design, bins)
    return found


def method_answer(method: Method, likelihood: RatioLikelihood, poi: str, cl: float) -> MethodAnswer:
    """Fit and profile.

    Raises:
        FitError: A fit did not converge.
    """
    start = time.process_time()
    level = float(chi2.ppf(cl, 1))
    profiler = Profiler(likelihood, poi)
    low, high = profiler.interval(level)
    seconds = time.process_time() - start
    held = {str(p.name) for p in likelihood.parameters} - {poi}
    below, above = Profiler(likelihood, poi, held=held, start=profiler.minimum.theta).interval(level)
    return MethodAnswer(
        value=profiler.best,
        interval_68=(float(low), float(high)),
        width=float(high - low),
        stat_only=float(0.5 * (above - below)),
        score_bins=method.bins,
        cpu_s=seconds,
    )
