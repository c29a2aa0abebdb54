"""The simulation at other values of the nuisances: shifts in their order, selection, features, scores, cells.

Of the features only those of events in unbinned regions are kept, in 32 bits; everything else is summed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.crosssection.functions import call_on_columns, shift_arguments
from hisigma_zfit.crosssection.recipe import kept
from hisigma_zfit.crosssection.samples import weights_of
from hisigma_zfit.crosssection.smearing import RowNumbers
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.rows import CountedRows, ProcessRows, ShiftedRows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.crosssection.nuisances import ShapeNuisance
    from hisigma_zfit.crosssection.recipe import Recipe
    from hisigma_zfit.crosssection.regions import Cells
    from hisigma_zfit.crosssection.samples import Sample

__all__ = ["Moved", "Placed", "Scorer", "Shifter", "apply_shift", "cell_sums", "file_events", "prepare"]

Scorer = Callable[["Float32", "Integers"], "Array"]
"""Shares of the processes, shape (n, P), of features (n, d) by the models that have not seen a fold, (n,)."""


@dataclass(frozen=True)
class Moved:
    """Selected events of one process somewhere in the space of the nuisances.

    Attributes:
        columns: After shifts, selection and derivation, each of shape (m,).
        weights: Shape (m,).
        raw: Which row of the sample each is, shape (m,); -1 where there is none.
        event: Identity of the hard event, shape (m,).
        fold: Shape (m,).
    """

    columns: Mapping[str, Array]
    weights: Array
    raw: Integers
    event: Integers
    fold: Integers


@dataclass(frozen=True)
class Placed:
    """The nominal events of one process in cells.

    Attributes:
        rows: All that pass the selection.
        raw: Which row of the sample each is, shape (n,).
        near: Which rows of the sample may be in a region of scores after a shift, one for each; None for all.
        sums: Sum of weights by cell, shape (B,).
        squares: Sum of squared weights, shape (B,).
    """

    rows: ProcessRows
    raw: Integers
    near: Mask | None
    sums: Array
    squares: Array


def prepare(sample: Sample, recipe: Recipe) -> ProcessRows:
    """The nominal simulation of a process before anything is learned: in no cell.

    Args:
        sample: Of the process.
        recipe: Selection and features.

    Raises:
        InputError: A function fails, or features are not finite.
    """
    columns, raw = recipe.selected(sample.columns)
    _require_some(raw, sample.name)
    return ProcessRows(
        sample.name,
        recipe.x(columns, whose=f"process {sample.name}"),
        sample.weights[raw],
        sample.events.identity[raw],
        sample.fold[raw],
        np.full(len(raw), -1, dtype=np.int32),
    )


def _require_some(rows: Integers, name: str) -> None:
    if not len(rows):
        raise InputError.from_parts(
            expected=f"events of process {name} that pass the selection", got="none", do="loosen it"
        )


def apply_shift(
    nuisance: ShapeNuisance, columns: Mapping[str, Array], point: float, numbers: RowNumbers | None, *, whose: str
) -> tuple[dict[str, Array], Mask | None]:
    """Call the function of a nuisance and check what it returns.

    Args:
        nuisance: With a function.
        columns: Each of shape (n,).
        point: In its unit.
        numbers: What a stochastic function draws from.
        whose: Whose columns they are, for messages.

    Raises:
        InputError: It fails, loses a column, or makes values that are not finite.
    """
    function = nuisance.shift
    if function is None:
        raise TypeError(nuisance.kind)
    what = f"shift {nuisance.name} at {point:+g} of {whose}"
    arguments = (nuisance.value(point), numbers)[: shift_arguments(function) - 1]
    found, mask = call_on_columns(function, columns, *arguments, what=what)
    if lost := [name for name in columns if name not in found]:
        raise InputError.from_parts(
            expected=f"all columns from {what}", got=f"none of the name {lost[0]!r}", do="return it too"
        )
    for name, values in found.items():
        if values.dtype.kind == "f" and (bad := len(values) - int(np.count_nonzero(np.isfinite(values)))):
            raise InputError.from_parts(
                expected=f"finite values of {name!r} from {what}",
                got=f"{bad} NaN or infinite in {len(values)} events",
                do="correct the function, or drop these events by a mask",
            )
    return found, mask


def file_events(
    nuisance: ShapeNuisance, setting: float, process: str, read: Callable[[tuple[str, ...]], Dataset] | None
) -> Dataset:
    """All events of the files of a nuisance.

    Args:
        nuisance: With files.
        setting: At which they were made.
        process: Whose.
        read: Reads them where they are paths.

    Raises:
        InputError: They cannot be read, or there are none at this setting.
    """
    given = (nuisance.files or {}).get(setting)
    if given is None:
        raise InputError.from_parts(
            expected=f"nuisance {nuisance.name} at one of {', '.join(f'{s:g}' for s in nuisance.settings)}",
            got=f"{setting:g}",
            do="files are known there only",
        )
    files = given[process]
    if isinstance(files, Dataset):
        return files
    if read is None:
        raise InputError.from_parts(
            expected=f"datasets for nuisance {nuisance.name}", got="paths", do="give what hz.read returns"
        )
    return read((files,) if isinstance(files, str) else tuple(files))


def cell_sums(cell: Integers, weights: Array, size: int) -> Array:
    """Sum of weights by cell, shape (size,); of events in none, nothing."""
    inside = cell >= 0
    return np.bincount(cell[inside], weights=weights[inside], minlength=size).astype(np.float64)


class Shifter:
    """Moves the simulation and says what is then where.

    Args:
        nuisances: Those that move events, in their order.
        recipe: Selection, derived columns and features.
        cells: The regions.
        scorer: What regions of scores are made of; None where there is none.
        seed: The user's.
        read: Reads the files of a nuisance.
    """

    def __init__(
        self,
        nuisances: Sequence[ShapeNuisance],
        recipe: Recipe,
        cells: Cells,
        scorer: Scorer | None = None,
        *,
        seed: int,
        read: Callable[[tuple[str, ...]], Dataset] | None = None,
    ) -> None:
        if cells.use_scores and scorer is None:
            raise InputError.from_parts(
                expected="scores for regions of scores", got="none", do="train posteriors first"
            )
        self.nuisances, self.recipe, self.cells = tuple(nuisances), recipe, cells
        self._scorer, self._seed, self._read = scorer, seed, read

    def nominal(self, sample: Sample) -> Placed:
        """The nominal simulation of a process in its cells.

        Raises:
            InputError: As `prepare`; regions overlap.
        """
        columns, raw = self.recipe.selected(sample.columns)
        _require_some(raw, sample.name)
        x, fold = self.recipe.x(columns, whose=f"process {sample.name}"), sample.fold[raw]
        scores = self._scorer(x, fold) if self._scorer is not None else None
        cell, weights = self.cells(columns, scores), sample.weights[raw]
        stored = None if scores is None else scores.astype(np.float32)
        rows = ProcessRows(sample.name, x, weights, sample.events.identity[raw], fold, cell, stored)
        near = None
        if scores is not None and self.cells.use_scores and (own := self.cells.near(scores)) is not None:
            # what the selection drops at the nominal may come back anywhere
            near = np.ones(len(sample.events), dtype=bool)
            near[raw] = own
        size = self.cells.size
        return Placed(rows, raw, near, cell_sums(cell, weights, size), cell_sums(cell, weights**2, size))

    def moved(self, sample: Sample, point: Sequence[float], *numbers: int) -> Moved:
        """Selected events of a process at a point, anywhere within reach of the functions.

        Args:
            sample: Of the process.
            point: Settings of all nuisances in their units, 0 for the nominal.
            numbers: Which set of random numbers; those of the design have a single number.

        Raises:
            InputError: A function or a file fails; the message names the process and the column.
        """
        acting = [
            (own, float(setting))
            for own, setting in zip(self.nuisances, point, strict=True)
            if setting and own.acts_on(sample.name)
        ]
        events, raw = self._events(sample, acting)
        columns: dict[str, Array] = dict(events.columns)
        weights, rows = weights_of(events), np.arange(len(events), dtype=np.int64)
        for own, setting in acting:
            if own.kind == "shift":
                source = RowNumbers(sample.keys[rows], self._seed, own.name, *numbers) if own.stochastic else None
                columns, mask = apply_shift(own, columns, setting, source, whose=sample.name)
                columns, rows = kept(columns, mask, rows)
            elif own.weights is not None:
                weights = weights * self._weight_ratio(sample, own, setting)
        columns, selected = self.recipe.selected(columns)
        rows = rows[selected]
        event = events.identity[rows]
        # only files bring rows that the sample does not have
        fold = sample.fold_of(event) if events is not sample.events else sample.fold[rows]
        return Moved(columns, weights[rows], raw[rows], event, fold)

    def _events(self, sample: Sample, acting: Sequence[tuple[ShapeNuisance, float]]) -> tuple[Dataset, Integers]:
        """The events that a point starts from, and which row of the sample each is."""
        varied = [(own, setting) for own, setting in acting if own.files is not None]
        if not varied:
            return sample.events, np.arange(len(sample.events), dtype=np.int64)
        (own, setting), *others = varied
        if others or len(acting) > 1:
            raise InputError.from_parts(
                expected=f"nuisance {own.name}, which has files, alone at a point",
                got=", ".join(nuisance.name for nuisance, _ in acting),
                do="give a shift function or weights",
            )
        found = sample.like(file_events(own, setting, sample.name, self._read))
        return found, sample.rows_of(found.identity)

    def _weight_ratio(self, sample: Sample, nuisance: ShapeNuisance, setting: float) -> Array:
        names = {float(value): name for value, name in (nuisance.weights or {}).items()}
        if setting not in names:
            raise InputError.from_parts(
                expected=f"nuisance {nuisance.name} at one of {', '.join(f'{s:g}' for s in names)}",
                got=f"{setting:g}",
                do="weights are known there only",
            )
        varied, nominal = sample.events[names[setting]] * sample.part.scale, sample.weights
        copies = sample.part.copies(sample.events.identity)
        if copies is not None:  # the nominal weights have them
            varied = varied * copies
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(nominal == 0.0, 1.0, varied / nominal)
        return np.asarray(ratio)

    def shifted(
        self, sample: Sample, point: Sequence[float], placed: Placed, *numbers: int, keep: bool = False
    ) -> ShiftedRows:
        """A process at a point: its events in unbinned cells, and the sums of all.

        Args:
            sample: Of the process.
            point: Settings of all nuisances in their units.
            placed: The same process at the nominal.
            numbers: Which random numbers, of which as many sets are used as the design has; the design's own if none.
            keep: Whether the events in counting bins are kept one by one.

        Raises:
            InputError: As `moved`; features are not finite, regions overlap.
        """
        acting = [
            own for own, setting in zip(self.nuisances, point, strict=True) if setting and own.acts_on(sample.name)
        ]
        if not acting:
            return self._unmoved(placed, keep=keep)
        sets = max(own.sets for own in acting)
        parts = [self._one_set(sample, point, placed, (*numbers, number), sets, keep=keep) for number in range(sets)]
        return parts[0] if sets == 1 else _joined(parts)

    def _counted(self, cell: Integers, weights: Array, event: Integers) -> CountedRows:
        at = np.flatnonzero(cell >= self.cells.unbinned)
        return CountedRows(cell[at], weights[at], event[at])

    def _unmoved(self, placed: Placed, *, keep: bool) -> ShiftedRows:
        rows = placed.rows
        at = np.flatnonzero(self._open(rows.cell))
        scores = None if rows.scores is None else rows.scores[at]
        return ShiftedRows(
            at,
            rows.x[at],
            rows.weights[at],
            rows.fold[at],
            rows.cell[at],
            placed.sums,
            placed.squares,
            rows.event[at],
            scores,
            self._counted(rows.cell, rows.weights, rows.event) if keep else None,
        )

    def _open(self, cell: Integers) -> Mask:
        return np.asarray((cell >= 0) & (cell < self.cells.unbinned))

    def _one_set(
        self,
        sample: Sample,
        point: Sequence[float],
        placed: Placed,
        numbers: Sequence[int],
        sets: int,
        *,
        keep: bool,
    ) -> ShiftedRows:
        moved = self.moved(sample, point, *numbers)
        whose = f"process {sample.name} at {list(point)}"
        scores: Array | None = None
        scored, x_scored = np.zeros(len(moved.raw), dtype=bool), None
        if self.cells.use_scores and self._scorer is not None:
            known = moved.raw >= 0
            scored[:] = True
            if placed.near is not None:
                scored[known] = placed.near[moved.raw[known]]
            x_scored = self.recipe.x(moved.columns, scored, whose=whose)
            found = self._scorer(x_scored, moved.fold[scored])
            scores = np.full((len(scored), found.shape[1]), np.nan)
            scores[scored] = found
        cell = self.cells(moved.columns, scores)
        inside = self._open(cell)
        if x_scored is not None and not (inside & ~scored).any():
            x = x_scored[inside[scored]]
        else:
            x = self.recipe.x(moved.columns, inside, whose=whose)
        stored = None if scores is None else scores[inside].astype(np.float32)
        if stored is None and self._scorer is not None:  # regions of columns alone, whose events have scores too
            stored = self._scorer(x, moved.fold[inside]).astype(np.float32)
        nominal = np.full(len(sample.events) + 1, -1, dtype=np.int64)  # the last one for rows of nowhere
        nominal[placed.raw] = np.arange(len(placed.raw))
        size = self.cells.size
        return ShiftedRows(
            nominal[moved.raw[inside]],
            x,
            moved.weights[inside] / sets,
            moved.fold[inside],
            cell[inside],
            cell_sums(cell, moved.weights, size) / sets,
            cell_sums(cell, moved.weights**2, size) / sets,
            moved.event[inside],
            stored,
            self._counted(cell, moved.weights / sets, moved.event) if keep else None,
        )


def _joined(parts: Sequence[ShiftedRows]) -> ShiftedRows:
    """Several sets of random numbers of the same events."""
    first = parts[0]
    names = ("row", "x", "weights", "fold", "cell", "event") + (() if first.scores is None else ("scores",))
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    sums = np.sum([part.sums for part in parts], axis=0)
    kept = [part.counted for part in parts if part.counted is not None]
    if kept:
        joined["counted"] = CountedRows(
            *(np.concatenate([getattr(own, name) for own in kept]) for name in ("cell", "weights", "event"))
        )
    return replace(first, **joined, sums=sums, squares=np.sum([part.squares for part in parts], axis=0))
