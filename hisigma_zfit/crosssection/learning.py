"""Learning everything that a cross-section needs from its simulation, one stage after the other.

Posterior and calibration decide where events are, the design says how they move, exponents and moments say how their
densities change.  Each stage can be kept in a folder, from which an interrupted run takes it up again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.console.progress import Pieces
from hisigma_zfit.crosssection.model import Part, RatioModel
from hisigma_zfit.crosssection.regions import require_filled
from hisigma_zfit.crosssection.sanity import shape_problem
from hisigma_zfit.crosssection.shifted import Placed, Shifter
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.ratio.calibration import calibrate, refine
from hisigma_zfit.ratio.exponents import ExponentRecipe, train_exponents
from hisigma_zfit.ratio.moments import calibrate_moments, equal_content_edges, joined_edges, published_construction
from hisigma_zfit.ratio.pairs import effective_events
from hisigma_zfit.ratio.posterior import Posterior, train_posterior
from hisigma_zfit.ratio.rates import fit_rates
from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows
from hisigma_zfit.ratio.scoring import Scorer
from hisigma_zfit.ratio.structure import RatioStructure
from hisigma_zfit.stored_files import read_npz, sound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.crosssection.inputs import Inputs
    from hisigma_zfit.crosssection.options import CrossSectionOptions
    from hisigma_zfit.crosssection.regions import Cells
    from hisigma_zfit.crosssection.samples import Sample
    from hisigma_zfit.ratio.exponents import Exponents
    from hisigma_zfit.ratio.structure import Rates

__all__ = ["Construction", "Learner", "Simulation"]

LEAST_STEPS, QUICK_STEPS = 1000, 300  # of a net: with fewer than the first the held-out loss still falls
# effective events of a background in a region from which its bins of the score are calibrated.  Where nothing else is
# known of its shape a noisy bin is better than none: pulls of benchmarks/crosssection/retrained.py --background none
# have an rms of 1.5 instead of 2.8.  Beside a learned shape of few events bins make mu noisier.
LEARNED_ENOUGH = 20_000.0
BIN_ENOUGH = 500.0


@dataclass(frozen=True)
class Simulation:
    """The simulation in its cells, nominal and at every design point.

    Attributes:
        shifter: Moves it elsewhere.
        placed: Nominal, by process.
        shifted: By design point and process.
    """

    shifter: Shifter
    placed: tuple[Placed, ...]
    shifted: tuple[tuple[ShiftedRows, ...], ...]

    @property
    def sizes(self) -> Array:
        """Sums of weights by process and cell, shape (P, B)."""
        return np.array([own.sums for own in self.placed])

    @property
    def squares(self) -> Array:
        """Sums of squared weights, shape (P, B)."""
        return np.array([own.squares for own in self.placed])

    @property
    def sums(self) -> Array:
        """Sums of weights at the design points, shape (D, P, B)."""
        P, B = self.sizes.shape
        return np.array([[rows.sums for rows in point] for point in self.shifted]).reshape(-1, P, B)


@dataclass(frozen=True)
class Construction:
    """What was decided by how many events there are, so that others can do it alike.

    Attributes:
        cells: Regions and bins, merged.
        learned: Whether a shape was learned, by process and unbinned region.
        edges: Which of the edges between the signal's score bins are edges of the calibrated ones, likewise.
    """

    cells: Cells
    learned: tuple[tuple[bool, ...], ...]
    edges: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(cls, model: RatioModel) -> Construction:
        """Of what was learned."""
        signals = model.parts[model.signal]
        return cls(
            model.cells,
            tuple(tuple(part.exponents.training.learned for part in parts) for parts in model.parts),
            tuple(tuple(map(_places, signals, parts)) for parts in model.parts),
        )


class Learner:
    """Learns a `RatioModel` from simulation, stage by stage.

    Args:
        inputs: Simulation and analysis.
        options: How to learn.
        folder: Where trained parts are kept; nothing is kept without one.
        seed: Of everything that is random.
        processes: Worker processes of the trees.
        scheduler: A Dask scheduler to be used instead.
        like: Decisions that are not made again; by default all are made from the numbers of events.
    """

    def __init__(
        self,
        inputs: Inputs,
        options: CrossSectionOptions,
        *,
        folder: Path | None = None,
        seed: int,
        processes: int = 1,
        scheduler: Any = None,
        like: Construction | None = None,
    ) -> None:
        self.inputs, self.options, self.folder = inputs, options, folder
        self.seed, self.like = seed, like
        self._where = {"processes": processes, "scheduler": scheduler}
        self.analysis = inputs.analysis
        self.signal = self.analysis.signal.index(True)
        self._raw: list[Array] = []  # shares of the nominal rows before calibration, by process

    def _kept(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / name

    def scorer(self) -> Scorer:
        """Posterior of the processes, calibrated everywhere."""
        rows, own = self.inputs.rows, self.options.posterior
        path = self._kept("posterior.npz")
        if path is not None and path.exists():
            with sound(path):
                posterior = Posterior.from_arrays(read_npz(path))
        else:
            posterior = train_posterior(rows, kind=own.kind, folds=own.folds, seed=self.seed, **self._where)
            if path is not None:
                write_npz(path, posterior.arrays())
        scores = self._raw = [posterior.scores(sample.x, sample.fold) for sample in rows]
        weights = [np.maximum(sample.weights, 0.0) for sample in rows]
        first = [p for p, own in enumerate(self.analysis.signal) if own]
        return Scorer(posterior, calibrate(scores, weights, first=first))

    def simulation(self, scorer: Scorer) -> Simulation:
        """The simulation at all design points."""
        samples, analysis = self.inputs.samples, self.analysis
        shifter = self._shifter(scorer, analysis.cells if self.like is None else self.like.cells)
        placed = tuple(shifter.nominal(sample) for sample in samples)
        if self.like is None:
            sums, squares = (np.array([getattr(own, name) for own in placed]) for name in ("sums", "squares"))
            cells, mapping = analysis.cells.merged(sums, squares)
            if cells.size < analysis.cells.size:
                shifter = self._shifter(scorer, cells)
                placed = tuple(_merged(own, mapping, cells.size) for own in placed)
            require_filled(cells, np.array([own.sums for own in placed]), signal=analysis.signal)
            self._require_shapes(placed, cells.unbinned)
        shifted, pieces = [], Pieces("shifted simulation", len(analysis.design.points))
        for d, point in enumerate(analysis.design.points):
            shifted.append(
                tuple(self._point(shifter, sample, point, own, d) for sample, own in zip(samples, placed, strict=True))
            )
            pieces.advance()
        return Simulation(shifter, placed, tuple(shifted))

    def _require_shapes(self, placed: Sequence[Placed], unbinned: int) -> None:
        """Refuse to learn a shape of a handful of events before anything is shifted; "auto" leaves it at none."""
        for process, own in zip(self.analysis.processes, placed, strict=True):
            wanted = process.shape == "learned" and self.analysis.shapes
            if wanted and (problem := shape_problem(own.rows, unbinned)) is not None:
                raise InputError(problem)

    def _shifter(self, scorer: Scorer, cells: Any) -> Shifter:
        analysis = self.analysis
        return Shifter(analysis.shapes, analysis.recipe, cells, scorer.scores, seed=self.seed, read=analysis.read)

    def _point(self, shifter: Shifter, sample: Sample, point: Sequence[float], placed: Placed, d: int) -> ShiftedRows:
        path = self._kept(f"design/{sample.name}-{d:03d}.npz")
        if path is not None and path.exists():
            stored: dict[str, Any] = read_npz(path)
            with sound(path):
                return ShiftedRows(**stored)
        rows = shifter.shifted(sample, point, placed)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_npz(path, {name: array for name, array in vars(rows).items() if array is not None})
        return rows

    def model(self, scorer: Scorer, simulation: Simulation) -> RatioModel:
        """Exponents, moments and rates: everything else."""
        analysis, placed = self.analysis, simulation.placed
        cells = simulation.shifter.cells
        open_cells, names = range(cells.unbinned), tuple(process.name for process in analysis.processes)
        rows = tuple(own.rows for own in placed)
        scorer = replace(scorer, calibration=self._refined(scorer, rows)) if cells.unbinned else scorer
        free = np.arange(cells.size) >= cells.unbinned
        sizes = simulation.sizes
        reference = sizes.copy()
        for p in range(len(names)):
            for r in open_cells:
                reference[p, r] = sum(self._share(scorer, own, r, p) for own in rows)
        rates = fit_rates(sizes, simulation.sums, analysis.design, free=free, reference=reference)
        pieces = Pieces("variations of a process in a region", len(names) * len(open_cells))

        def part(p: int, r: int) -> Part:
            made = self._part(rows, simulation, rates, p, r)
            pieces.advance()
            return made

        parts = tuple(tuple(part(p, r) for r in open_cells) for p in range(len(names)))
        structure = RatioStructure(
            processes=names,
            pois={process.name: process.pois for process in analysis.processes},
            shapes=tuple(own.parameter() for own in analysis.shapes),
            norms=tuple(own.effect() for own in analysis.norms),
            monomials=analysis.design.monomials,
            rates=rates,
            cells=cells.names,
            unbinned=cells.unbinned,
            poi_limits=dict(self.options.inference.bounds),
        )
        model = RatioModel(cells, scorer, parts, structure, self.signal)
        return replace(model, reference=model.simulated(self.at_nominal(simulation)))

    def at_nominal(self, simulation: Simulation) -> list[ShiftedRows]:
        """The nominal simulation as a design point, with its events in bins."""
        nothing = (0.0,) * len(self.analysis.shapes)
        return [
            simulation.shifter.shifted(sample, nothing, own, keep=True)
            for sample, own in zip(self.inputs.samples, simulation.placed, strict=True)
        ]

    def _refined(self, scorer: Scorer, rows: Sequence[ProcessRows]) -> Any:
        """Calibration inside of each unbinned region too."""
        raw = self._raw or [scorer.posterior.scores(own.x, own.fold) for own in rows]
        weights = [np.maximum(own.weights, 0.0) for own in rows]
        regions = [np.where(own.cell < self.analysis.cells.unbinned, own.cell, -1) for own in rows]
        return refine(scorer.calibration, raw, weights, regions)

    def _share(self, scorer: Scorer, rows: ProcessRows, region: int, p: int) -> float:
        at = np.flatnonzero(rows.cell == region)
        assert rows.scores is not None
        shares = scorer.within(rows.scores[at].astype(np.float64), rows.cell[at])
        return float(rows.weights[at] @ shares[:, p])

    def _part(self, rows: Sequence[ProcessRows], simulation: Simulation, rates: Rates, p: int, r: int) -> Part:
        nominal, shifted = rows[p], [point[p] for point in simulation.shifted]
        design, own = self.analysis.design, self.options.exponents
        values, slopes = design.values, rates.slope[p, r]
        linear = len(self.analysis.shapes)
        process = self.analysis.processes[p]
        shape = process.shape
        if self.like is not None:
            shape = "learned" if self.like.learned[p][r] else "none"
        recipe = ExponentRecipe(
            shape=shape,
            hidden=own.hidden,
            bound=own.bound,
            seeds=own.seeds,
            epochs=own.epochs,
            decay=own.decay,
            pairing=own.pairing,
            least_steps=QUICK_STEPS if self.options.preset == "quick" else LEAST_STEPS,
        )
        exponents = train_exponents(
            nominal,
            shifted,
            values,
            slopes,
            cell=r,
            linear=linear,
            recipe=recipe,
            folds=self.options.posterior.folds,
            seed=seed_for(self.seed, Purpose.RATIO_EXPONENTS, p),
            checkpoint=self._kept(f"exponents/{nominal.name}-{r}"),
        )
        bins = self.options.moments.score_bins
        if not bins or not shifted:
            return Part(exponents, published_construction(nominal.name, slopes, len(shifted)))
        return Part(exponents, self._moments(rows, p, r, exponents, shifted, values, slopes, bins))

    def _scores(self, rows: ProcessRows, region: int) -> tuple[Array, Array]:
        """Score of the signal, and weights, of the events in a region."""
        at = np.flatnonzero(rows.cell == region)
        assert rows.scores is not None
        return rows.scores[at, self.signal].astype(np.float64), rows.weights[at]

    def _moments(
        self,
        rows: Sequence[ProcessRows],
        p: int,
        r: int,
        exponents: Exponents,
        shifted: Sequence[ShiftedRows],
        values: Array,
        slopes: Array,
        bins: int,
    ) -> Any:
        def evaluate(own: ProcessRows | ShiftedRows, inside: Integers) -> tuple[Float32, Array]:
            assert own.scores is not None
            score = own.scores[inside, self.signal].astype(np.float64)
            return exponents.learned(own.x[inside], own.fold[inside]), score

        nominal = rows[p]
        score, weights = self._scores(rows[self.signal], r)
        edges = equal_content_edges(score, weights, bins)
        if self.like is not None:
            edges = edges[[k for k in self.like.edges[p][r] if k < len(edges)]]
        elif not self.analysis.signal[p]:
            own = self._scores(nominal, r)
            if not exponents.training.learned:
                edges = joined_edges(edges, *own, BIN_ENOUGH)
            elif effective_events(own[1]) < LEARNED_ENOUGH:
                edges = edges[:0]
        forward = bool(self.analysis.signal[p]) or not self.options.moments.inverse_for_backgrounds
        return calibrate_moments(
            nominal,
            shifted,
            values,
            slopes,
            evaluate,
            cell=r,
            edges=edges,
            linear=len(self.analysis.shapes) if forward and exponents.training.learned else 0,
            kind="forward" if forward else "inverse",
        )


def _places(signal: Part, part: Part) -> tuple[int, ...]:
    """Where the edges of a process are among those of the signal."""
    return tuple(np.flatnonzero(np.isin(signal.moments.edges, part.moments.edges)).tolist())


def _merged(placed: Placed, mapping: Integers, size: int) -> Placed:
    """The same in merged cells."""
    rows = placed.rows
    cell = np.where(rows.cell >= 0, mapping[rows.cell], -1).astype(np.int32)

    def joined(sums: Array) -> Array:
        return np.bincount(mapping, sums, size).astype(np.float64)

    return replace(placed, rows=replace(rows, cell=cell), sums=joined(placed.sums), squares=joined(placed.squares))
