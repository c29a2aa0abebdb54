"""Signals whose density is a polynomial in a coupling: HH production as a function of kappa_lambda.

The HH matrix element is a box plus kappa times a triangle, so n(kappa) p(x|kappa) = A kappa^2 + B kappa + C at every
point x of phase space.  Three positive samples at different kappa_i span it,

    n(kappa) p(x|kappa) = sum_i c_i(kappa) n_i p(x|kappa_i),

where c_i are Lagrange's polynomials through the kappa_i and n_i the yields there.  Every p(x|kappa_i) is learned from
its own events of positive weight; the coefficients are negative in places, the sum is not.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.model.pdfs import FlowProductPDF

__all__ = ["lagrange", "polynomial_signal"]

Array = npt.NDArray[np.float64]


def _lagrange_term(value: Any, points: Sequence[float], i: int) -> Any:
    """Lagrange's i-th polynomial: one at points[i], zero at the others; numpy or TensorFlow scalars."""
    product = 1.0
    for j, point in enumerate(points):
        if j != i:
            product = product * (value - point) / (points[i] - point)
    return product


def lagrange(value: npt.ArrayLike, points: Sequence[float]) -> Array:
    """Coefficients c_i of the samples at couplings `points` for the prediction at another coupling.

    Args:
        value: Couplings, any shape S.
        points: Couplings of the k samples; they determine a polynomial of degree k - 1.

    Returns:
        Shape (k, *S); the coefficients sum to one.

    Raises:
        InputError: Fewer than two points, or two that agree.
    """
    _require_different(points)
    values = np.asarray(value, dtype=np.float64)
    return np.stack([np.broadcast_to(_lagrange_term(values, points, i), values.shape) for i in range(len(points))])


def polynomial_signal(
    pdfs: Sequence[FlowProductPDF],
    *,
    parameter: zfit.Parameter,
    points: Sequence[float],
    yields: Sequence[float],
    strength: Any = 1.0,
) -> tuple[FlowProductPDF, ...]:
    """Extend the densities of samples at fixed couplings to one signal at any coupling.

    Pass the terms as signals to `hisigma_zfit.model.compose.compose`.  Only their sum is physical: the yield of a
    single term may be negative.

    Args:
        pdfs: Densities learned from the samples, one for each coupling.
        parameter: The coupling, a parameter of the fit.
        points: Couplings of the samples.
        yields: Events expected at those couplings: cross-section times efficiency times luminosity.
        strength: Common factor of the signal, a number or a parameter.

    Returns:
        Extended densities, in the order of `pdfs`, with yields strength * c_i(parameter) * yields[i].

    Raises:
        InputError: The numbers of densities, couplings and yields differ, or two couplings agree.
    """
    if not len(pdfs) == len(points) == len(yields):
        raise InputError.from_parts(
            expected="one density, one coupling and one yield for each sample",
            got=f"{len(pdfs)}, {len(points)} and {len(yields)}",
            do="pass lists of the same length",
        )
    _require_different(points)
    fixed = not isinstance(strength, zfit.param.ZfitParameter if hasattr(zfit.param, "ZfitParameter") else object)
    del fixed
    return ()


def _require_different(points: Sequence[float]) -> None:
    if len(points) < 2 or len(set(points)) < len(points):
        raise InputError.from_parts(
            expected="two or more different couplings",
            got=", ".join(f"{point:g}" for point in points) or "none",
            do="give the coupling of each sample once",
        )
