"""The window in which a signal is looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Mask

__all__ = ["SignalRegion"]


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
