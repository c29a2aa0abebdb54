"""Windows of the mass: the one in which a signal is looked for, and others that are masked."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hisigma_zfit.arrays import Mask

__all__ = ["SignalRegion", "beside", "in_any", "require_apart"]


@dataclass(frozen=True)
class SignalRegion:
    """Window in the resonance mass, half-open: ``lower <= m < upper``.

    Attributes:
        lower: Lower edge, in the unit of the mass column.
        upper: Upper edge.

    Raises:
        InputError: The edges are not finite or not in order.

    Example:
        >>> hz.SignalRegion(118.0, 132.0).contains([117.9, 118.0, 132.0])
        array([False,  True, False])
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise InputError.from_parts(
                expected="a signal region with finite lower < upper",
                got=str(self),
                do="give its edges in this order",
            )

    def __str__(self) -> str:
        return f"[{self.lower:g}, {self.upper:g})"

    def contains(self, m: npt.ArrayLike) -> Mask:
        """Tell which masses lie inside; the mask has the shape of `m`."""
        values = np.asarray(m)
        return (values >= self.lower) & (values < self.upper)


def in_any(m: npt.ArrayLike, windows: Iterable[SignalRegion]) -> Mask:
    """Tell which masses lie in one of several windows; the mask has the shape of `m`."""
    inside = np.zeros(np.shape(m), dtype=bool)
    for window in windows:
        inside |= window.contains(m)
    return inside


def beside(lower: float, upper: float, windows: Iterable[SignalRegion]) -> tuple[tuple[float, float], ...]:
    """The parts of a range that are outside of all windows, from low to high masses."""
    parts, start = [], lower
    for window in sorted(windows, key=lambda own: own.lower):
        if window.lower > start:
            parts.append((start, min(window.lower, upper)))
        start = max(start, window.upper)
        if start >= upper:
            return tuple(parts)
    return (*parts, (start, upper))


def require_apart(windows: Sequence[SignalRegion], lower: float, upper: float) -> None:
    """Check that windows are inside of a range and have masses between them and at its ends.

    Raises:
        InputError: They have not.
    """
    ordered = sorted(windows, key=lambda own: own.lower)
    for window in ordered:
        if not (lower < window.lower and window.upper < upper):
            raise InputError.from_parts(
                expected=f"windows inside the range {lower:g} to {upper:g} with masses on both sides",
                got=str(window),
                do="narrow it; what is at an end of the range is left out by the range",
            )
    for first, second in itertools.pairwise(ordered):
        if second.lower <= first.upper:
            raise InputError.from_parts(
                expected="windows with masses between them",
                got=f"{first} and {second}",
                do="move their edges, or give one that spans both",
            )
