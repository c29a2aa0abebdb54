"""Where systematic variations are simulated, and the monomials that these points determine (arXiv:2505.05544)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.monomials import Monomials

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["Axis", "Design", "Joint", "make_design"]

Joint = Literal["all"] | Sequence[Sequence[str] | Mapping[str, float]]
"""Nuisances that are shifted together: all pairs, or lists of names, or points."""

NEAR, FAR = 0.5, 2.0 / 3.0  # of the outermost point: corners of two nuisances, and of all of them
SINGULAR = 1e-6  # of a column of the design's matrix, which the columns before leave of it


@dataclass(frozen=True)
class Axis:
    """One nuisance, as far as the design has to know it.

    Attributes:
        name: Its name.
        settings: Where it is simulated alone, ascending and without 0, the nominal.
        t: Coordinate of a setting.
        together: Whether it can be simulated together with others.
        anywhere: Whether it can be simulated at other settings too.
    """

    name: str
    settings: tuple[float, ...]
    t: Callable[[float], float]
    together: bool = True
    anywhere: bool = True

    def thinned(self) -> Axis:
        """The same with few settings: one on each side of the nominal, or three on one."""
        sides = [[s for s in self.settings if s < 0], [s for s in self.settings if s > 0]]
        if all(sides):
            kept = [side[len(side) // 2] for side in sides]
        else:
            own = list(self.settings)
            kept = [own[0], own[len(own) // 2], own[-1]]
        return Axis(self.name, tuple(dict.fromkeys(kept)), self.t, self.together, self.anywhere)

    def corners(self, share: float) -> tuple[float, ...]:
        """Settings at this share of the way to the outermost one on each side, to half a step."""
        low, high = min(self.settings), max(self.settings)
        ends = [end for end, there in ((low, low < 0), (high, high > 0)) if there]
        if not self.anywhere:
            return tuple(ends)
        step = 0.5 * float(np.diff(sorted((*self.settings, 0.0))).min())
        return tuple(float(np.sign(end)) * max(1, round(share * abs(end) / step)) * step for end in ends)


@dataclass(frozen=True, eq=False)
class Design:
    """Points at which the simulation is shifted; the nominal is not among them, where all settings are 0.

    Attributes:
        nuisances: Names, n of them.
        points: Settings of all nuisances, D times n.
        t: Their coordinates, shape (D, n).
        monomials: V, K of them.
    """

    nuisances: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    t: Array
    monomials: Monomials

    @cached_property
    def values(self) -> Array:
        """V at the points, shape (D, K)."""
        return self.monomials.values(self.t)

    @cached_property
    def singular_values(self) -> Array:
        """Of V with columns of length one, descending, shape (K,)."""
        if not self.points:
            return np.empty(0)
        return np.asarray(np.linalg.svd(self.values / np.linalg.norm(self.values, axis=0), compute_uv=False))

    @property
    def labels(self) -> tuple[str, ...]:
        """What is shifted at each point, in words."""
        named = ([(n, s) for n, s in zip(self.nuisances, point, strict=True) if s] for point in self.points)
        return tuple(", ".join(f"{name} {setting:+g}" for name, setting in point) for point in named)

    @property
    def absent(self) -> tuple[str, ...]:
        """Pairs of nuisances without a product, for want of a common point."""
        pairs = itertools.combinations(range(len(self.nuisances)), 2)
        return tuple(f"{self.nuisances[i]} {self.nuisances[k]}" for i, k in pairs if (i, k) not in self.monomials.pairs)


def make_design(axes: Sequence[Axis], joint: Joint = "all", *, quick: bool = False) -> Design:
    """Points along each nuisance, corners of those that are shifted together, far corners of all of these.

    Squares enter where a nuisance has two or more settings besides the nominal, products where two have a common point.

    Args:
        axes: The nuisances in the order of the monomials.
        joint: Which of them are shifted together: all that can be, or these; a mapping names one point.
        quick: Few points, and none in common.

    Raises:
        InputError: A nuisance is named that is unknown or cannot be shifted together with others, or the points do not
            determine a monomial.

    Example:
        >>> design = make_design([Axis("a", (-1.0, 1.0), float), Axis("b", (1.0, 2.0), float)])
        >>> design.monomials.names, len(design.points)
        (('a', 'b', 'a^2', 'b^2', 'a b'), 8)
    """
    own = [axis.thinned() for axis in axes] if quick else list(axes)
    names = [axis.name for axis in own]
    alone: list[dict[str, float]] = [{axis.name: setting} for axis in own for setting in axis.settings]
    common = [] if quick else _joint_points(own, joint)
    points = tuple(dict.fromkeys(tuple(point.get(name, 0.0) for name in names) for point in (*alone, *common)))
    coordinates = np.array(
        [[axis.t(s) if s else 0.0 for axis, s in zip(own, point, strict=True)] for point in points], dtype=np.float64
    ).reshape(len(points), len(own))
    squares = tuple(k for k, axis in enumerate(own) if len({axis.t(s) for s in axis.settings} - {0.0}) > 1)
    pairs = tuple(
        (i, k) for i, k in itertools.combinations(range(len(own)), 2) if any(point[i] and point[k] for point in points)
    )
    design = Design(tuple(names), points, coordinates, Monomials(tuple(names), squares, pairs))
    _require_determined(design)
    return design


def _joint_points(axes: Sequence[Axis], joint: Joint) -> list[dict[str, float]]:
    by_name = {axis.name: axis for axis in axes}
    if joint == "all":
        free = [axis.name for axis in axes if axis.together and axis.anywhere]
        groups: list[Sequence[str]] = [list(pair) for pair in itertools.combinations(free, 2)]
        points: list[dict[str, float]] = []
    else:
        for name in (name for group in joint for name in group):
            if name not in by_name or not by_name[name].together:
                raise InputError.from_parts(
                    expected="nuisances with a shift function or weights in the joint points",
                    got=repr(name),
                    do="correct or remove it",
                )
        groups = [list(group) for group in joint if not isinstance(group, Mapping)]
        points = [dict(group) for group in joint if isinstance(group, Mapping)]
    pairs = list(dict.fromkeys(pair for group in groups for pair in itertools.combinations(group, 2)))
    for pair in pairs:
        corners = itertools.product(*(by_name[name].corners(NEAR) for name in pair))
        points += [dict(zip(pair, corner, strict=True)) for corner in corners]
    together = [axis for axis in axes if any(axis.name in pair for pair in pairs)]
    known = {frozenset(pair) for pair in pairs}
    # a point far out in all of them has all their products, and needs them
    if all(frozenset((a.name, b.name)) in known for a, b in itertools.combinations(together, 2)):
        points += _far_corners(together)
    return points


def _far_corners(axes: Sequence[Axis]) -> list[dict[str, float]]:
    """Corners of all nuisances at once: every combination of sides of two, a fraction of those of many.

    The sides are columns of a Hadamard matrix, so that any two nuisances see all four combinations.
    """
    settings = [axis.corners(FAR) for axis in axes]
    two_sided = [k for k, own in enumerate(settings) if len(own) == 2]
    n = 1 << len(two_sided).bit_length() if two_sided else 1
    rows = [
        {
            axis.name: own[(row & (two_sided.index(k) + 1)).bit_count() % 2] if k in two_sided else own[0]
            for k, (axis, own) in enumerate(zip(axes, settings, strict=True))
        }
        for row in range(n)
    ]
    return rows if len(axes) > 1 else []


def _require_determined(design: Design) -> None:
    """Refuse a monomial that is a combination of those before it at all points."""
    basis: list[Array] = []
    for name, column in zip(design.monomials.names, design.values.T, strict=True):
        rest = column.copy()
        for _ in range(2):  # twice is enough (Kahan)
            for vector in basis:
                rest -= (vector @ rest) * vector
        length = float(np.linalg.norm(rest))
        if length <= SINGULAR * float(np.linalg.norm(column)):
            raise InputError.from_parts(
                expected="design points that determine every monomial",
                got=f"{len(design.points)} points that do not determine {name}",
                do="add points of these nuisances",
            )
        basis.append(rest / length)
