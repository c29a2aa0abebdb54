"""A whole analysis as a user states it, from Python or from a file, and what is wrong with it before any training."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.crosssection.nuisances import NormNuisance, ShapeNuisance
from hisigma_zfit.crosssection.regions import Cells
from hisigma_zfit.crosssection.shifted import apply_shift
from hisigma_zfit.crosssection.smearing import RowNumbers, row_keys
from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.design import make_design

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.crosssection.nuisances import Process
    from hisigma_zfit.crosssection.recipe import Recipe
    from hisigma_zfit.crosssection.regions import Counting, Unbinned
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.ratio.design import Design, Joint

__all__ = ["CHECKED_ROWS", "Analysis", "check_shift"]

CHECKED_ROWS = 1000
IDENTITY = 1e-6  # what a shift may change at its nominal value, relative to values above one


@dataclass(frozen=True)
class Analysis:
    """Processes, nuisances, regions and what is learned from.

    Attributes:
        processes: With their simulated events.
        nuisances: In the order in which their shifts are applied.
        recipe: Selection, derived columns and features.
        regions: Where events enter one by one or are counted.
        joint: Nuisances that are shifted together.
        quick: Whether few points are enough.
        read: Reads files of a nuisance; None where these are datasets.

    Raises:
        InputError: Names are not distinct or not known, nobody carries a parameter of interest, or the design is
            singular.
    """

    processes: Sequence[Process]
    nuisances: Sequence[ShapeNuisance | NormNuisance]
    recipe: Recipe
    regions: Sequence[Unbinned | Counting]
    joint: Joint = "all"
    quick: bool = False
    read: Callable[[tuple[str, ...]], Dataset] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        names = [process.name for process in self.processes]
        _require_distinct("processes", names)
        _require_distinct("parameters of interest and nuisances", [*self.pois, *(own.name for own in self.nuisances)])
        if not self.pois:
            raise InputError.from_parts(
                expected="a process with a parameter of interest", got="none", do="give poi= to one"
            )
        for own in self.nuisances:
            named = [*own.sizes] if isinstance(own, NormNuisance) else [*own.processes]
            if isinstance(own, ShapeNuisance) and own.files is not None:
                named += [process for files in own.files.values() for process in files]
            if unknown := [name for name in named if name not in names]:
                raise InputError.from_parts(
                    expected=f"processes of nuisance {own.name} among {', '.join(names)}",
                    got=repr(unknown[0]),
                    do="correct it",
                )
        self.cells  # noqa: B018 - regions are checked there
        self.design  # noqa: B018 - and the points there

    @property
    def pois(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return tuple(dict.fromkeys(poi for process in self.processes for poi in process.pois))

    @property
    def signal(self) -> tuple[bool, ...]:
        """Which processes carry a parameter of interest."""
        return tuple(bool(process.pois) for process in self.processes)

    @property
    def shapes(self) -> tuple[ShapeNuisance, ...]:
        """Nuisances that move events."""
        return tuple(own for own in self.nuisances if isinstance(own, ShapeNuisance))

    @property
    def norms(self) -> tuple[NormNuisance, ...]:
        """Nuisances that scale processes."""
        return tuple(own for own in self.nuisances if isinstance(own, NormNuisance))

    @cached_property
    def cells(self) -> Cells:
        """The regions, before bins are merged."""
        return Cells(tuple(self.regions), tuple(process.name for process in self.processes))

    @cached_property
    def design(self) -> Design:
        """Where the simulation is shifted."""
        return make_design([own.axis() for own in self.shapes], self.joint, quick=self.quick)

    @property
    def reach(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value at which each nuisance with a function is simulated, by name."""
        found = {}
        for k, own in enumerate(self.shapes):
            if own.kind == "shift":
                values = [own.value(0.0), *(own.value(float(point[k])) for point in self.design.points)]
                found[own.name] = min(values), max(values)
        return found


def _require_distinct(what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError.from_parts(expected=f"distinct {what}", got=f"{twice[0]!r} twice", do="rename one")


def check_shift(nuisance: ShapeNuisance, events: Dataset, *, seed: int, whose: str = "the events") -> None:
    """Check the function of a nuisance on a thousand rows.

    At its nominal value it changes nothing; it changes no input in place, loses no column, and takes random numbers
    only from what it is given.

    Args:
        nuisance: With a function.
        events: Of which the first 1,000 are used.
        seed: The user's.
        whose: Whose they are, for messages.

    Raises:
        InputError: It does otherwise.
    """
    columns = {name: values[:CHECKED_ROWS].copy() for name, values in events.columns.items()}
    keys = row_keys(events.identity[:CHECKED_ROWS])

    def called(point: float) -> tuple[dict[str, Array], Mask | None]:
        numbers = RowNumbers(keys, seed, nuisance.name, 0) if nuisance.stochastic else None
        given = {name: values.copy() for name, values in columns.items()}
        found = apply_shift(nuisance, given, point, numbers, whose=whose)
        for name, values in columns.items():
            if not np.array_equal(given[name], values):
                raise InputError.from_parts(
                    expected=f"shift {nuisance.name} to leave its input as it is",
                    got=f"column {name!r} changed in place",
                    do="return new arrays",
                )
        return found

    same, mask = called(0.0)
    if mask is not None and not mask.all():
        raise InputError.from_parts(
            expected=f"shift {nuisance.name} to keep all rows at its nominal value {nuisance.nominal:g}",
            got=f"{int(np.count_nonzero(~mask))} of {len(mask)} dropped",
            do="drop events in the selection",
        )
    for name, values in columns.items():
        changed = np.abs(same[name] - values) > IDENTITY * np.maximum(1.0, np.abs(values))
        if changed.any():
            raise InputError.from_parts(
                expected=f"shift {nuisance.name} to change nothing at its nominal value {nuisance.nominal:g}",
                got=f"{int(changed.sum())} of {len(values)} other values in {name!r}",
                do="correct the function, or its nominal value",
            )
    for point in (nuisance.settings[0], nuisance.settings[-1]):
        first, second = called(point), called(point)
        if any(not np.array_equal(values, second[0][name]) for name, values in first[0].items()):
            raise InputError.from_parts(
                expected=f"shift {nuisance.name} to give the same twice",
                got=f"random numbers at {point:+g}",
                do="take them from rng" if nuisance.stochastic else "say stochastic: true, and take them from rng",
            )
