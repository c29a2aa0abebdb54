"""What may be wrong with simulated and observed events, each in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.crosssection.samples import weights_of
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.crosssection.nuisances import Process, ShapeNuisance
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.ratio.rows import ProcessRows

__all__ = [
    "fingerprints",
    "require_features_that_vary",
    "require_inside",
    "require_other_events",
    "require_sound",
    "require_varied",
    "rows_outside",
    "shape_problem",
]

COPIES = 1e-4  # of all rows, that may be like others by chance: of coarse columns
FEWEST_ROWS = 200  # of a process in the unbinned regions, for a shape
SHARED = 0.8  # of nominal hard events, that varied files have to hold
OUTSIDE = 1e-3  # of data, that may be beyond the range of what was learned


def fingerprints(columns: Mapping[str, Array]) -> Integers:
    """A number for each row, the same for rows that are the same in all columns, shape (n,)."""
    found = np.zeros(len(next(iter(columns.values()))), dtype=np.uint64)
    factor = np.uint64(0x9E3779B97F4A7C15)
    for name in sorted(columns):
        bits = (np.asarray(columns[name], dtype=np.float64) + 0.0).view(np.uint64)  # -0 is 0
        found = (found ^ bits) * factor
        found ^= found >> np.uint64(29)
    return found.view(np.int64)


def require_sound(process: Process, *, negative_weights: str = "refuse") -> None:
    """Check weights and identity of a process.

    Args:
        process: The process.
        negative_weights: "refuse" or "keep".

    Raises:
        InputError: Weights are negative or sum to nothing, rows are copies of others without an identity that says so,
            or hard events of several files have the same identity.
    """
    name, events = process.name, process.events
    weights = weights_of(events)
    negative = int(np.count_nonzero(weights < 0.0))
    if negative and negative_weights != "keep":
        raise InputError.from_parts(
            expected=f"weights of process {name} of at least zero",
            got=f"{negative} of {len(weights)} negative, {-weights[weights < 0].sum() / np.abs(weights).sum():.2%} of "
            "the sum",
            do="say negative_weights: keep",
        )
    if not weights.sum() > 0.0:
        raise InputError.from_parts(
            expected=f"a positive sum of weights of process {name}", got=f"{weights.sum():g}", do="check the weights"
        )
    prints = fingerprints(events.columns)
    copies = len(prints) - len(np.unique(prints)) if _rows_are_the_identity(events) else 0
    if copies > COPIES * len(events):
        raise InputError.from_parts(
            expected=f"rows of process {name} that are no copies of others, or an identity that says so",
            got=f"{copies} copies in {len(events)} rows",
            do="give identity: the column that tells hard events apart",
        )
    _require_own_identities(name, events)


def _rows_are_the_identity(events: Dataset) -> bool:
    """Whether the identity is the number of the row, as it is where nobody gave another."""
    identity = events.identity
    return bool((np.diff(identity) > 0).all() and identity[0] >= 0 and identity[-1] < max(events.report.n_read, 1))


def _require_own_identities(name: str, events: Dataset) -> None:
    """Numbers of events start anew in many files, which makes one event of several."""
    sources = list(events.report.sources.items())
    used = [source.n_used for _, source in sources]
    if len(sources) < 2 or sum(used) != len(events):
        return
    parts = np.split(events.identity, np.cumsum(used)[:-1])
    seen = np.unique(parts[0])
    for (path, _), part in zip(sources[1:], parts[1:], strict=True):
        own = np.unique(part)
        if len(shared := np.intersect1d(seen, own, assume_unique=True)):
            raise InputError.from_parts(
                expected=f"hard events of process {name} with an identity in one file only",
                got=f"{len(shared)} in {path} and in one before",
                do="make one of several columns, such as run * 1000000 + event",
            )
        seen = np.union1d(seen, own)


def require_other_events(processes: Sequence[Process]) -> None:
    """Check that no two processes have the same events.

    Raises:
        InputError: They have.
    """
    known = [(process.name, fingerprints(process.events.columns)) for process in processes]
    for k, (name, own) in enumerate(known):
        for other, theirs in known[:k]:
            shared = len(np.intersect1d(own, theirs))
            if shared > COPIES * max(1000, min(len(own), len(theirs))):
                raise InputError.from_parts(
                    expected=f"different events of processes {other} and {name}",
                    got=f"{shared} rows in both",
                    do="check their files",
                )


def require_varied(nuisance: ShapeNuisance, process: Process, varied: Mapping[float, Dataset]) -> None:
    """Check the files of a nuisance for one process: that they differ, and hold the events of the nominal one.

    Args:
        nuisance: With files.
        process: With its nominal events.
        varied: Events by setting.

    Raises:
        InputError: Two settings have the same events, or too few nominal ones are there.
    """
    nominal, whose = np.unique(process.events.identity), f"nuisance {nuisance.name} of process {process.name}"
    prints: dict[float, Integers] = {}
    for setting, events in varied.items():
        if missing := sorted(set(process.events.names) - set(events.names)):
            raise InputError.from_parts(
                expected=f"column {missing[0]!r} of {whose} at {setting:+g}", got="none", do="add it to the file"
            )
        shared = len(np.intersect1d(nominal, events.identity))
        if shared < SHARED * len(nominal):
            raise InputError.from_parts(
                expected=f"{SHARED:.0%} of the nominal hard events for {whose} at {setting:+g}",
                got=f"{shared} of {len(nominal)}",
                do="vary the same events, and keep their identity",
            )
        prints[setting] = np.sort(fingerprints({**events.columns, "": weights_of(events)}))
    settings = list(prints)
    for k, setting in enumerate(settings):
        for other in settings[:k]:
            if np.array_equal(prints[setting], prints[other]):
                raise InputError.from_parts(
                    expected=f"other events for {whose} at {setting:+g} than at {other:+g}",
                    got="the same",
                    do="check the files",
                )


def require_features_that_vary(rows: Sequence[ProcessRows], names: Sequence[str]) -> None:
    """Check that something can be learned from every feature.

    Args:
        rows: Of all processes.
        names: Of the features.

    Raises:
        InputError: One is constant.
    """
    low = np.min([own.x.min(axis=0) for own in rows], axis=0)
    high = np.max([own.x.max(axis=0) for own in rows], axis=0)
    for name, constant in zip(names, low == high, strict=True):
        if constant:
            raise InputError.from_parts(
                expected=f"a feature {name!r} that varies", got="one value in all processes", do="leave it out"
            )


def shape_problem(rows: ProcessRows, unbinned: int) -> str | None:
    """Why the shape of a process cannot be learned; None if it can be tried.

    Args:
        rows: In their cells.
        unbinned: Number of unbinned cells.
    """
    inside = int(np.count_nonzero((rows.cell >= 0) & (rows.cell < unbinned)))
    if inside >= FEWEST_ROWS or not unbinned:
        return None
    return (
        f"expected {FEWEST_ROWS} simulated events of process {rows.name} in the unbinned regions, got {inside}; say "
        "shape: none, or widen the regions"
    )


def rows_outside(x: Float32, rows: Sequence[ProcessRows]) -> Array:
    """Events of data beyond the range of the simulation, by feature, shape (d,)."""
    low = np.min([own.x.min(axis=0) for own in rows], axis=0)
    high = np.max([own.x.max(axis=0) for own in rows], axis=0)
    return np.asarray(((x < low) | (x > high)).sum(axis=0), dtype=np.float64)


def require_inside(x: Float32, rows: Sequence[ProcessRows], names: Sequence[str]) -> dict[str, int]:
    """Check that data are where something was learned.

    Args:
        x: Features of the data, shape (n, d).
        rows: Of all processes.
        names: Of the features.

    Returns:
        Number of events outside by feature, of those that have some.

    Raises:
        InputError: More than 0.1 % are outside in a feature.
    """
    outside = rows_outside(x, rows)
    for name, count in zip(names, outside, strict=True):
        if count > OUTSIDE * len(x):
            raise InputError.from_parts(
                expected=f"data inside of the simulated range of feature {name!r}",
                got=f"{int(count)} of {len(x)} events outside",
                do="check that it is the same quantity in data and simulation, or clip it",
            )
    return {name: int(count) for name, count in zip(names, outside, strict=True) if count}
