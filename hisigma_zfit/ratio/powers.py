"""Monomials and factors of processes as functions of the nuisances of a fit, with derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.ratio.monomials import Monomials
    from hisigma_zfit.ratio.structure import ShapeParameter

__all__ = ["FLOOR", "Powers", "norm_factor"]

FLOOR = 0.01
"""Least factor of a norm nuisance."""


@dataclass(frozen=True)
class Powers:
    """The monomials at some theta, with derivatives in theta.

    Attributes:
        value: V, shape (K,).
        slope: V', shape (n, K).
        bend: V'', shape (n, n, K).
    """

    value: Array
    slope: Array
    bend: Array

    @classmethod
    def of(cls, monomials: Monomials, shapes: Sequence[ShapeParameter], theta: Array) -> Powers:
        """Of shape nuisances at `theta`, shape (n,)."""
        n = len(shapes)
        t, first, second = np.zeros((3, n))
        for k, (shape, own) in enumerate(zip(shapes, theta.tolist(), strict=True)):
            t[k], first[k], second[k] = shape.coordinate.t(own)
        gradient = monomials.gradient(t)
        bend = np.zeros((n, n, monomials.size))
        bend[range(n), range(n)] = gradient * second[:, None]
        for i, k, at, value in monomials.hessian:
            bend[i, k, at] += value * first[i] * first[k]
            if i != k:
                bend[k, i, at] += value * first[i] * first[k]
        return cls(monomials.values(t), gradient * first[:, None], bend)


def norm_factor(theta: float, size: float, kind: str) -> tuple[float, float, float]:
    """F of a norm nuisance, with its derivatives."""
    if kind == "lognormal":
        log = float(np.log1p(size))
        factor = float(np.exp(log * theta))
        first, second = log * factor, log**2 * factor
    else:
        factor, first, second = 1.0 + size * theta, size, 0.0
    return (factor, first, second) if factor > FLOOR else (FLOOR, 0.0, 0.0)
