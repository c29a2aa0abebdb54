"""Cached columns of a data set: numpy only, so that other processes can have them; `columns` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.variation_weights import MorphColumns

__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns:
    """Cached columns of one data set under one model.

    With r_i taken out of every event, the log ratio of one component (log p_k(x'_i|m_i) of a density) or the largest,
    nothing overflows:
    log L_i = r_i + log sum_k y_k ratio_ki W_ki(nu) f_k(m_i), where f_k is the floating mass shape, or 1 if it is
    cached, and W_k the weight of the component's systematic variations, or 1 if it has none.

    Attributes:
        mass: m, shape (n,); None if no component has a mass shape.
        weights: Event weights, shape (n,), or None.
        ratio: exp(log p_k(x'|m) - r), times p_k(m) for frozen shapes, shape (K, n).
        reference: Sum of w_i r_i.
        total: Sum of w_i.
        morphs: Columns of the weights W_k for components with variations, else None.
    """

    mass: Array | None
    weights: Array | None
    ratio: Array
    reference: float
    total: float
    morphs: tuple[MorphColumns | None, ...]

    @property
    def size(self) -> int:
        """Number of events, n."""
        return self.ratio.shape[1]

    @property
    def masses(self) -> Array:
        """m, where a component has a mass shape."""
        assert self.mass is not None
        return self.mass

    def take(self, at: npt.NDArray[Any]) -> Columns:
        """The columns of some of the events, by index or mask."""
        weights = None if self.weights is None else self.weights[at]
        ratio = np.ascontiguousarray(self.ratio[:, at])
        return Columns(
            mass=None if self.mass is None else self.mass[at],
            weights=weights,
            ratio=ratio,
            reference=0.0,  # a constant, and of no event alone
            total=float(ratio.shape[1] if weights is None else weights.sum()),
            morphs=tuple(None if morph is None else morph.take(at) for morph in self.morphs),
        )
