"""What was learned, as functions of events: shares, exponents and cells of anything that is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.ratio.moments import published_construction
from hisigma_zfit.ratio.reference import RatioReference
from hisigma_zfit.ratio.structure import RatioColumns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.crosssection.inputs import Observed
    from hisigma_zfit.crosssection.regions import Cells
    from hisigma_zfit.ratio.exponents import Exponents
    from hisigma_zfit.ratio.moments import MomentCorrection
    from hisigma_zfit.ratio.rows import ShiftedRows
    from hisigma_zfit.ratio.scoring import Scorer
    from hisigma_zfit.ratio.structure import RatioStructure

__all__ = ["Part", "RatioModel", "Scored"]


@dataclass(frozen=True)
class Part:
    """Systematic variations of one process in one unbinned region.

    Attributes:
        exponents: Delta.
        moments: What is added to it.
    """

    exponents: Exponents
    moments: MomentCorrection

    def __call__(self, x: Float32, fold: Integers, score: Array) -> Float32:
        """The exponents a of events, shape (n, K)."""
        return self.moments.exponents(self.exponents.learned(x, fold), score)


@dataclass(frozen=True)
class Counted:
    """Simulated events in counting bins, one by one.

    Attributes:
        bin: Counted from the first bin, shape (k,).
        weights: Shape (k,).
        process: Shape (k,).
        event: Hard event, shape (k,), as in `Scored`.
    """

    bin: Integers
    weights: Array
    process: Integers
    event: Integers

    def sums(self, bins: int) -> Array:
        """Expected events by bin, shape (bins,)."""
        return np.bincount(self.bin, self.weights, bins).astype(np.float64)


@dataclass(frozen=True)
class Scored:
    """Events of unbinned regions as the likelihood sees them, the counts of the bins, and where all of it came from.

    Attributes:
        posterior: Shares calibrated in the region, shape (n, P).
        exponents: Shape (n, P, K).
        region: Shape (n,).
        score: Share of the signal that regions and score bins are made of, shape (n,).
        weights: Expected events of each, shape (n,); None for data.
        counts: Of the bins, shape (B - unbinned,).
        process: Process of simulated events, shape (n,); None for data.
        event: Hard event of simulated events, shape (n,); unique among the processes.
        counted: Simulated events in the bins; None for data.
        x: Features, shape (n, d); None of copies.
    """

    posterior: Float32
    exponents: Float32
    region: Integers
    score: Array
    weights: Array | None
    counts: Array
    process: Integers | None = None
    event: Integers | None = None
    counted: Counted | None = None
    x: Float32 | None = None

    @property
    def columns(self) -> RatioColumns:
        """For the likelihood."""
        return RatioColumns(self.posterior, self.exponents, self.region, self.weights, self.counts)

    def times(self, factors: Array) -> Scored:
        """Simulated events with all processes scaled.

        Args:
            factors: By process, shape (P,).
        """
        assert self.weights is not None
        assert self.process is not None
        assert self.counted is not None
        own = self.counted
        counted = replace(own, weights=own.weights * factors[own.process])
        return replace(
            self,
            weights=self.weights * factors[self.process],
            counted=counted,
            counts=counted.sums(len(self.counts)),
        )

    def drawn(self, rng: np.random.Generator) -> Scored:
        """A Poisson number of copies of each simulated event, as data would have them."""
        assert self.weights is not None
        assert self.counted is not None
        copies = np.repeat(np.arange(len(self.weights)), rng.poisson(self.weights))
        return replace(
            self,
            posterior=self.posterior[copies],
            exponents=self.exponents[copies],
            region=self.region[copies],
            score=self.score[copies],
            weights=None,
            counts=rng.poisson(self.counts).astype(np.float64),
            process=None,
            event=None,
            counted=None,
            x=None,
        )

    def resampled(self, factor: Array) -> Scored:
        """With other numbers of simulated events.

        Args:
            factor: By hard event, in the order of their unique numbers: how often each is drawn.
        """
        assert self.weights is not None
        assert self.event is not None
        assert self.counted is not None
        own = self.counted
        counted = replace(own, weights=own.weights * factor[own.event])
        return replace(
            self, weights=self.weights * factor[self.event], counted=counted, counts=counted.sums(len(self.counts))
        )


def _numbered(
    process: Integers, event: Integers, other_process: Integers, other_event: Integers, processes: int
) -> tuple[Integers, Integers]:
    """Hard events counted on from process to process, because the same number may name events of two of them."""
    found, others, first = np.empty(len(event), np.int64), np.empty(len(other_event), np.int64), 0
    for p in range(processes):
        here, there = np.flatnonzero(process == p), np.flatnonzero(other_process == p)
        known, number = np.unique(np.concatenate([event[here], other_event[there]]), return_inverse=True)
        found[here], others[there] = first + number[: len(here)], first + number[len(here) :]
        first += len(known)
    return found, others


@dataclass(frozen=True)
class RatioModel:
    """Everything that was learned.

    Attributes:
        cells: Regions and bins.
        scorer: Shares of the processes.
        parts: Systematic variations by process and unbinned region.
        structure: Rates, factors and nuisances.
        signal: Which process's share is the score.
        reference: Nominal simulated events, for Asimov sets and toys of the model; None before they are scored.
    """

    cells: Cells
    scorer: Scorer
    parts: tuple[tuple[Part, ...], ...]
    structure: RatioStructure
    signal: int
    reference: Scored | None = None

    def scored(
        self,
        x: Float32,
        fold: Integers,
        region: Integers,
        scores: Array | Float32,
        *,
        weights: Array | None,
        counts: Array,
    ) -> Scored:
        """Shares and exponents of events of unbinned regions.

        Args:
            x: Features, shape (n, d).
            fold: Whose models score each event, shape (n,).
            region: Unbinned region, shape (n,).
            scores: Shares as the scorer gives them without a region, shape (n, P).
            weights: Shape (n,), or None.
            counts: Of the bins.
        """
        score = np.asarray(scores[:, self.signal], dtype=np.float64)
        exponents = np.zeros((len(x), len(self.parts), self.structure.monomials.size), dtype=np.float32)
        for r in range(self.structure.unbinned):
            rows = np.flatnonzero(region == r)
            for p, parts in enumerate(self.parts):
                exponents[rows, p] = parts[r](x[rows], fold[rows], score[rows])
        posterior = self.scorer.within(np.asarray(scores, dtype=np.float64), region).astype(np.float32)
        return Scored(posterior, exponents, np.asarray(region), score, weights, counts, x=x)

    def observed(self, data: Observed) -> tuple[Scored, int]:
        """Data, each event by the models of its fold; and how many events are in no cell."""
        scores = self.scorer.scores(data.x, data.fold)
        cell = self.cells(data.columns, scores)
        first = self.structure.unbinned
        inside = np.flatnonzero((cell >= 0) & (cell < first))
        weights = np.ones(len(cell)) if data.weights is None else data.weights
        counted = cell >= first
        bins = len(self.structure.cells) - first
        counts = np.bincount(cell[counted] - first, weights[counted], bins).astype(np.float64)
        own = None if data.weights is None else data.weights[inside]
        found = self.scored(data.x[inside], data.fold[inside], cell[inside], scores[inside], weights=own, counts=counts)
        return found, int(np.count_nonzero(cell < 0))

    def simulated(self, shifted: Sequence[ShiftedRows]) -> Scored:
        """Shifted simulation of all processes; see `Scored.counted` for what must have been kept.

        Args:
            shifted: By process, in their order.
        """
        first = self.structure.unbinned
        kept = [rows.counted for rows in shifted if rows.counted is not None]
        none = np.zeros(len(self.structure.cells) - first)
        parts = [
            self.scored(r.x, r.fold, r.cell, r.scores, weights=r.weights, counts=none)
            for r in shifted
            if r.scores is not None
        ]
        counted = Counted(
            bin=np.concatenate([own.cell for own in kept]) - first,
            weights=np.concatenate([own.weights for own in kept]),
            process=np.repeat(np.arange(len(kept)), [len(own.cell) for own in kept]),
            event=np.concatenate([own.event for own in kept]),
        )
        process = np.repeat(np.arange(len(shifted)), [len(rows.x) for rows in shifted])
        names = np.concatenate([rows.event for rows in shifted if rows.event is not None])
        event, inside = _numbered(process, names, counted.process, counted.event, len(shifted))
        counted = replace(counted, event=inside)
        return Scored(
            posterior=np.concatenate([part.posterior for part in parts]),
            exponents=np.concatenate([part.exponents for part in parts]),
            region=np.concatenate([part.region for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            weights=np.concatenate([rows.weights for rows in shifted]),
            counts=counted.sums(len(none)),
            process=process,
            event=event,
            counted=counted,
            x=np.concatenate([rows.x for rows in shifted]),
        )

    def likelihood(
        self,
        scored: Scored,
        *,
        start: Mapping[str, float] | None = None,
        auxiliary: Mapping[str, float] | None = None,
    ) -> RatioLikelihood:
        """-log L of events that are scored.

        Args:
            scored: Data, or expected events.
            start: Where fits start, by parameter.
            auxiliary: Observations of the constraints, by nuisance.
        """
        own, reference = self.reference, None
        if own is not None and own.weights is not None and own.process is not None:
            reference = RatioReference(own.posterior, own.exponents, own.region, own.weights, own.process)
        return RatioLikelihood(self.structure, scored.columns, start=start, auxiliary=auxiliary, reference=reference)

    def uncalibrated(self) -> RatioModel:
        """The published construction: exponents Delta + delta, without the calibration of moments."""
        slopes = self.structure.rates.slope
        parts = tuple(
            tuple(
                replace(part, moments=published_construction(name, slopes[p, r], len(part.moments.residuals.before)))
                for r, part in enumerate(parts)
            )
            for p, (name, parts) in enumerate(zip(self.structure.processes, self.parts, strict=True))
        )
        return replace(self, parts=parts)
