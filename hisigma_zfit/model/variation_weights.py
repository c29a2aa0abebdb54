"""Weights of the events of one data set under the variations of one component: numpy only, for toy workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.model.normalisation import weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.model.interpolation import Coefficients, Interpolation
    from hisigma_zfit.model.normalisation import Normaliser

__all__ = ["MorphColumns", "MorphForm", "MorphWeights"]


@dataclass(frozen=True)
class MorphColumns:
    """What the weights of one component need of every event of a data set.

    Attributes:
        columns: C of every variation, each of shape (R_j, n); zero, which gives weight one, where nothing varies.
        basis: Functions of m in which the normalisation is expanded, shape (B, n); zero where nothing varies.
        active: Events where the variations act, shape (n,).
    """

    columns: tuple[Array, ...]
    basis: Array
    active: Mask

    def take(self, at: npt.NDArray[Any]) -> MorphColumns:
        """The same for some of the events, by index or mask."""
        return MorphColumns(
            tuple(np.ascontiguousarray(c[:, at]) for c in self.columns),
            np.ascontiguousarray(self.basis[:, at]),
            self.active[at],
        )


class MorphWeights:
    """Weights of the events of one data set at one value of the nuisances; from `Morph.weights`.

    Args:
        coefficients: Of every variation, J of them.
        columns: The data set.
        expansion: Of the normalisation and its derivatives, see `Normaliser.expansion`.
    """

    def __init__(self, coefficients: Sequence[Coefficients], columns: MorphColumns, expansion: Array) -> None:
        self._coefficients, self._columns, self._expansion = tuple(coefficients), columns, expansion

    def value(self, block: slice) -> Array:
        """W = prod_j w_j / N of the events in a block of size B, shape (B,)."""
        weight: Array = 1.0 / (1.0 + self._expansion[0] @ self._columns.basis[:, block])
        for own, columns in zip(self._coefficients, self._columns.columns, strict=True):
            weight *= own.weight(columns[:, block])
        return weight

    def derivatives(self, block: slice) -> tuple[Array, Array, Array]:
        """W, d log W / d nu_j and d^2 log W / d nu_j d nu_k of the events in a block of size B.

        Returns:
            Shapes (B,), (J, B), and (J (J + 1) / 2, B) for pairs (j, k <= j) row by row.
        """
        n = len(self._coefficients)
        mean = self._expansion @ self._columns.basis[:, block]
        mean[0] += 1.0
        mean[1:] /= mean[0]
        weight, moments = weights(self._coefficients, [columns[:, block] for columns in self._columns.columns])
        weight /= mean[0]
        slope, bend = -mean[1 : 1 + n], -mean[1 + n :]
        row = 0
        for j, (first, second) in enumerate(moments):
            for k in range(j + 1):
                bend[row] += mean[1 + j] * mean[1 + k]
                row += 1
            bend[row - 1] += second - first * first
            slope[j] += first
        return weight, slope, bend


@dataclass(frozen=True)
class MorphForm:
    """What the weights need of a `Morph` besides columns: no densities, so that other processes can have it.

    Attributes:
        forms: Interpolation of every variation, J of them.
        normaliser: N(m, nu).
    """

    forms: tuple[Interpolation, ...]
    normaliser: Normaliser

    def weights(self, columns: MorphColumns, nu: Array) -> MorphWeights:
        """Prepare prod_j w_j / N of a data set at nuisances of shape (J,)."""
        coefficients = [form.at(float(value)) for form, value in zip(self.forms, nu, strict=True)]
        return MorphWeights(coefficients, columns, self.normaliser.expansion(nu))
