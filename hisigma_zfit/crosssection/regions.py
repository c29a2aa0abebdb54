"""Where events enter the likelihood one by one, and where they are counted."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.crosssection.merging import box_name, merged_groups
from hisigma_zfit.crosssection.options import CountingOptions
from hisigma_zfit.crosssection.recipe import evaluated
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers, Mask
    from hisigma_zfit.crosssection.options import CrossSectionOptions

__all__ = ["Cells", "Counting", "Unbinned", "regions_of", "require_filled", "require_observed"]

SCORE = "score."
MARGIN = 0.3  # of a cut on a score: how far below it the nominal score of a shifted event inside may have been


@dataclass(frozen=True)
class Unbinned:
    """A region whose events enter the likelihood one by one.

    Attributes:
        name: Its name.
        where: Expression of columns and of ``score.PROCESS``, the share of a process, that is true for its events.

    Example:
        >>> region = hz.Unbinned("U", "(score.signal > 0.003) & (n_jets > 1)")
        >>> region.where
        '(score.signal > 0.003) & (n_jets > 1)'
    """

    name: str
    where: str


@dataclass(frozen=True)
class Counting:
    """A region whose events are counted in bins.

    Attributes:
        name: Its name.
        where: As of `Unbinned`, or "else" for all events that are in no other region.
        bins: Edges by column or expression; a lower edge belongs to its bin, and the last edge may be infinite.
        merge_below: Neighbouring bins are merged until each has as many effective events.

    Raises:
        InputError: Edges do not rise.

    Example:
        >>> region = hz.Counting("C", bins={"mass": [0, 60, 90, np.inf], "n_jets": [0, 1, np.inf]})
        >>> region.shape, region.bin_of({"mass": np.array([75.0]), "n_jets": np.array([2.0])})
        ((3, 2), array([3]))
    """

    name: str
    where: str = "else"
    bins: Mapping[str, Sequence[float]] = field(default_factory=dict)
    merge_below: float = 0.0

    def __post_init__(self) -> None:
        for name, edges in self.bins.items():
            if len(edges) < 2 or not all(np.diff(edges) > 0.0):
                raise InputError.from_parts(
                    expected=f"two or more rising edges of {name} in region {self.name}",
                    got=str(list(edges)),
                    do="order them",
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of bins."""
        return tuple(len(edges) - 1 for edges in self.bins.values())

    def bin_of(self, columns: Mapping[str, Array]) -> Integers:
        """Bin of each event, counted on from axis to axis, shape (n,); -1 beyond the edges."""
        n = len(next(iter(columns.values())))
        flat, inside = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        for name, edges in self.bins.items():
            values = evaluated(name, columns, f"bins of region {self.name}")
            at = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right") - 1
            inside &= (at >= 0) & (at < len(edges) - 1)
            flat = flat * (len(edges) - 1) + at
        return np.where(inside, flat, -1)


@dataclass(frozen=True)
class Cells:
    """All regions as numbered cells: the unbinned regions first, then the bins of the counting regions.

    Attributes:
        regions: In the order in which they were given.
        processes: Names, whose scores expressions may use.
        groups: By counting region the cell within it that each of its bins belongs to.
    """

    regions: tuple[Unbinned | Counting, ...]
    processes: tuple[str, ...]
    groups: Mapping[str, Integers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [region.name for region in self.regions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError.from_parts(expected="distinct regions", got=f"{twice[0]!r} twice", do="rename one")
        if not names:
            raise InputError.from_parts(expected="a region", got="none", do="define one")
        whole = {own.name: np.arange(math.prod(own.shape)) for own in self.counting}
        object.__setattr__(self, "groups", {**whole, **self.groups})

    @property
    def open(self) -> tuple[Unbinned, ...]:
        """The unbinned regions."""
        return tuple(region for region in self.regions if isinstance(region, Unbinned))

    @property
    def counting(self) -> tuple[Counting, ...]:
        """The counting regions."""
        return tuple(region for region in self.regions if isinstance(region, Counting))

    @property
    def unbinned(self) -> int:
        """How many cells are unbinned regions."""
        return len(self.open)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cells."""
        found = [region.name for region in self.open]
        for region in self.counting:
            groups = self.groups[region.name]
            found += [
                box_name(region.name, region.bins, np.flatnonzero(groups == cell)) for cell in range(groups.max() + 1)
            ]
        return tuple(found)

    @property
    def size(self) -> int:
        """How many cells there are."""
        return self.unbinned + sum(int(self.groups[own.name].max()) + 1 for own in self.counting)

    @property
    def use_scores(self) -> bool:
        """Whether a region or a bin is one of scores."""
        texts = [region.where for region in self.regions]
        texts += [name for region in self.counting for name in region.bins]
        return any(SCORE in text for text in texts)

    def __call__(self, columns: Mapping[str, Array], scores: Array | None = None) -> Integers:
        """Cell of each event, shape (n,); -1 for those in none.

        Args:
            columns: Each of shape (n,).
            scores: Shares of the processes, shape (n, P); NaN where an event is in no region of scores.

        Raises:
            InputError: An expression is wrong, or regions overlap.
        """
        n = len(next(iter(columns.values())))
        known = dict(columns)
        if scores is not None:
            known |= {f"{SCORE}{name}": scores[:, k] for k, name in enumerate(self.processes)}
        found, taken = np.full(n, -1, dtype=np.int32), np.full(n, -1, dtype=np.int32)
        first = self.unbinned
        starts: dict[str, int] = {}
        for own in self.counting:
            starts[own.name], first = first, first + int(self.groups[own.name].max()) + 1
        ordered = sorted(range(len(self.regions)), key=lambda k: self.regions[k].where == "else")
        for k in ordered:
            region = self.regions[k]
            inside = taken < 0 if region.where == "else" else self._inside(region, known)
            if (both := inside & (taken >= 0)).any():
                raise InputError.from_parts(
                    expected="regions that share no event",
                    got=f"{int(both.sum())} events in {self.regions[taken[both][0]].name} and {region.name}",
                    do="let their expressions exclude each other",
                )
            taken[inside] = k
            if isinstance(region, Unbinned):
                found[inside] = self.open.index(region)
            else:
                at = region.bin_of({name: values[inside] for name, values in known.items()})
                found[inside] = np.where(at >= 0, starts[region.name] + self.groups[region.name][at], -1)
        return found

    def _inside(self, region: Unbinned | Counting, known: Mapping[str, Array]) -> Mask:
        inside = np.asarray(evaluated(region.where, known, f"region {region.name}"))
        if inside.dtype != np.bool_:
            raise InputError.from_parts(
                expected=f"a region {region.name} that is true or false for each event",
                got=repr(region.where),
                do="compare it with something",
            )
        return inside

    def near(self, scores: Array) -> Mask | None:
        """Which events may be inside of a region of scores after a shift, by their nominal scores, shape (n,).

        Args:
            scores: Nominal shares, shape (n, P).

        Returns:
            Those above 0.3 of the cut; None where scores are used in another way than ``score.NAME > number``, so that
            every event has to be scored.
        """
        if any(SCORE in name for region in self.counting for name in region.bins):
            return None
        mask = np.zeros(len(scores), dtype=bool)
        for region in self.regions:
            if SCORE in region.where:
                cut = _score_cut(region.where)
                if cut is None or cut[0] not in self.processes:
                    return None
                mask |= scores[:, self.processes.index(cut[0])] > MARGIN * cut[1]
        return mask

    def merged(self, sums: Array, squares: Array) -> tuple[Cells, Integers]:
        """Merge neighbouring bins of too few effective events.

        Args:
            sums: Sums of weights of the nominal simulation by process and cell, shape (P, B).
            squares: Sums of squared weights, shape (P, B).

        Returns:
            The new cells, and which of them each old one is in, shape (B,).
        """
        groups, mapping, start, new = dict(self.groups), list(range(self.unbinned)), self.unbinned, self.unbinned
        for region in self.counting:
            old = self.groups[region.name]
            part = slice(start, start + int(old.max()) + 1)
            joined = merged_groups(
                old, region.shape, sums[:, part].sum(axis=0), squares[:, part].sum(axis=0), region.merge_below
            )
            mapping += [new + cell for cell in joined]
            groups[region.name] = joined[old]
            start, new = part.stop, new + int(joined.max()) + 1
        return replace(self, groups=groups), np.array(mapping, dtype=np.int32)


def _score_cut(text: str) -> tuple[str, float] | None:
    """Process and cut of ``score.NAME > number``, alone or joined with other conditions by ``and`` or ``&``."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return None
    parts, conditions = [tree], list[ast.expr]()
    while parts:
        part = parts.pop()
        if isinstance(part, ast.BoolOp) and isinstance(part.op, ast.And):
            parts += part.values
        elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitAnd):
            parts += [part.left, part.right]
        else:
            conditions.append(part)
    cuts = [cut for cut in map(_one_cut, conditions) if cut is not None]
    others = [part for part in conditions if _one_cut(part) is None and SCORE in ast.unparse(part)]
    return cuts[0] if cuts and not others else None


def _one_cut(part: ast.expr) -> tuple[str, float] | None:
    if not (isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], (ast.Gt, ast.GtE))):
        return None
    left, right = ast.unparse(part.left), part.comparators[0]
    if left.startswith(SCORE) and isinstance(right, ast.Constant) and isinstance(right.value, (int, float)):
        return left.removeprefix(SCORE), float(right.value)
    return None


def regions_of(options: CrossSectionOptions) -> tuple[Unbinned | Counting, ...]:
    """Regions of a configuration file, in their order."""
    return tuple(
        Counting(name, own.counting, own.bins, own.merge_below)
        if isinstance(own, CountingOptions)
        else Unbinned(name, own.unbinned)
        for name, own in options.regions.items()
    )


def require_filled(cells: Cells, sums: Array, *, signal: Sequence[bool], whose: str = "simulation") -> None:
    """Check that something is expected everywhere, and some background in every bin.

    Args:
        cells: The cells, after merging.
        sums: Sums of weights of the nominal simulation, shape (P, B).
        signal: Which processes carry a parameter of interest, P of them.
        whose: What was counted, for messages.

    Raises:
        InputError: A cell is empty, or a bin has no background.
    """
    background = sums[~np.asarray(signal, dtype=bool)].sum(axis=0)
    for b, name in enumerate(cells.names):
        if sums[:, b].sum() <= 0.0:
            raise InputError.from_parts(
                expected=f"events of the {whose} in {name}", got="none", do="widen it, or raise merge_below"
            )
        if b >= cells.unbinned and background[b] <= 0.0:
            raise InputError.from_parts(
                expected=f"background in {name}", got="none", do="widen the bin, or raise merge_below"
            )


def require_observed(cells: Cells, cell: Integers) -> None:
    """Check that every region has events of data.

    Args:
        cells: The cells, before merging.
        cell: Of each event, shape (n,).

    Raises:
        InputError: A region is empty.
    """
    counts = np.bincount(cell[cell >= 0], minlength=cells.size)
    sizes = [1] * cells.unbinned + [int(cells.groups[own.name].max()) + 1 for own in cells.counting]
    names = [own.name for own in cells.open] + [own.name for own in cells.counting]
    for name, own in zip(names, np.split(counts, np.cumsum(sizes)[:-1]), strict=True):
        if not own.sum():
            raise InputError.from_parts(
                expected=f"events of data in region {name}", got="none", do="widen it, or check the data"
            )
