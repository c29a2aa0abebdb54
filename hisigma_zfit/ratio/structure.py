"""What a trained model of ratios says, in plain numbers: everything that a likelihood needs besides events.

Cells are where events are counted: the unbinned regions come first, in which events also enter one by one, then the
bins of the counting regions.  All numbers of events are those of the reference, the nominal simulation with all factors
one.  Equation numbers are those of docs/cross-section.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.ratio.coordinates import Coordinate
    from hisigma_zfit.ratio.monomials import Monomials

__all__ = ["Constraint", "NormEffect", "Rates", "RatioColumns", "RatioStructure", "ShapeParameter"]

Kind = Literal["gaussian", "lognormal"]


@dataclass(frozen=True)
class Constraint:
    """What is known of a nuisance theta beforehand.

    Attributes:
        kind: "gaussian": a standard normal around the auxiliary measurement, 0; "uniform": free between limits; "none".
        limits: Of theta in fits.
    """

    kind: Literal["gaussian", "uniform", "none"] = "gaussian"
    limits: tuple[float, float] = (-5.0, 5.0)


@dataclass(frozen=True)
class ShapeParameter:
    """A nuisance that moves events.

    Attributes:
        name: Name of its theta in fits.
        coordinate: Its theta, value and t.
        constraint: Of theta.
        start: Of theta in fits.
    """

    name: str
    coordinate: Coordinate
    constraint: Constraint
    start: float = 0.0


@dataclass(frozen=True)
class NormEffect:
    """A nuisance that scales processes: f = 1 + a theta, or (1 + a)^theta, at least 0.01.

    Attributes:
        name: Name of its theta in fits.
        sizes: a by process.
        kind: Which of the two.
        constraint: Of theta.
    """

    name: str
    sizes: Mapping[str, float]
    kind: Kind = "gaussian"
    constraint: Constraint = Constraint()


@dataclass(frozen=True)
class Rates:
    """Expected events by process and cell, N exp(d0 + V . delta); d0 is zero in unbinned cells.

    Attributes:
        size: N, shape (P, B).
        constant: d0, shape (P, B).
        slope: delta, shape (P, B, K).
    """

    size: Array
    constant: Array
    slope: Array


@dataclass(frozen=True)
class RatioStructure:
    """The whole model of ratios without events.

    Attributes:
        processes: Names, P of them.
        pois: By process the names of the parameters of interest that multiply it, possibly none.
        shapes: Nuisances that move events, n of them, in the order of the monomials.
        norms: Nuisances that scale processes.
        monomials: V.
        rates: Of all processes in all cells.
        cells: Names, B of them.
        unbinned: Number of unbinned regions, the first cells.
        poi_limits: Lower and upper limits of the parameters of interest in fits, by name; none if not named.
    """

    processes: tuple[str, ...]
    pois: Mapping[str, tuple[str, ...]]
    shapes: tuple[ShapeParameter, ...]
    norms: tuple[NormEffect, ...]
    monomials: Monomials
    rates: Rates
    cells: tuple[str, ...]
    unbinned: int
    poi_limits: Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class RatioColumns:
    """Events of the unbinned regions as the likelihood sees them, and the counts of the other cells.

    Attributes:
        posterior: g, shape (n, P): shares of the processes in the reference; rows sum to one.
        exponents: a, shape (n, P, K), with which S = exp(V . a), rates included.
        region: Which unbinned region, shape (n,).
        weights: Shape (n,), or None for events of data.
        counts: Events in the counting bins, shape (B - unbinned,).
    """

    posterior: Float32
    exponents: Float32
    region: Integers
    weights: Array | None
    counts: Array
