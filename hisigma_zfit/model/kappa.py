"""Signals whose density is a polynomial in a coupling: HH production as a function of kappa_lambda.

The HH matrix element is a box plus kappa times a triangle, so n(kappa) p(x|kappa) = A kappa^2 + B kappa + C at every
point x of phase space.  Three positive samples at different kappa_i span it,

    n(kappa) p(x|kappa) = sum_i c_i(kappa) n_i p(x|kappa_i),

where c_i are Lagrange's polynomials through the kappa_i and n_i the yields there.  Every p(x|kappa_i) is learned from
its own events of positive weight; the coefficients are negative in places, the sum is not.  Events that are weighted
from one coupling to the others, trained with one seed, are better than three samples: the noise of their trainings is
common and cancels in the differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.yields import PolynomialSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.pdfs import FlowProductPDF

__all__ = ["PolynomialYield", "lagrange", "polynomial_signal"]


class PolynomialYield(zfit.ComposedParameter):
    """A yield strength * (polynomial in a coupling).

    Its derivatives are known in closed form, so that the quick likelihood takes it.

    Args:
        name: Name of the yield.
        coupling: The coupling, a parameter of the fit.
        coefficients: Of the polynomial, highest power first.
        strength: A number or a parameter.

    Attributes:
        sources: The coupling, and the strength if it is a parameter.
    """

    def __init__(self, name: str, coupling: Any, coefficients: npt.ArrayLike, *, strength: Any = 1.0) -> None:
        scaled = hasattr(strength, "independent")
        self.sources = (coupling, strength) if scaled else (coupling,)
        self._coefficients = np.asarray(coefficients, dtype=np.float64) * (1.0 if scaled else float(strength))

        def value(params: Any) -> Any:
            kappa, *factor = params.values()
            total = 0.0
            for coefficient in self._coefficients:  # Horner
                total = total * kappa + coefficient
            return total * factor[0] if factor else total

        params = {f"source_{k}": parameter for k, parameter in enumerate(self.sources)}
        super().__init__(name, value, params=params, unpack_params=False)

    @property
    def size(self) -> PolynomialSize:
        """The same as plain numbers."""
        return PolynomialSize(tuple(self._coefficients.tolist()), len(self.sources) == 2)

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) with respect to the `sources`, at their values (Q,)."""
        return self.size.derivatives(values)


def _basis(points: Sequence[float], i: int) -> Array:
    """Coefficients of Lagrange's i-th polynomial, one at points[i] and zero at the others; highest power first."""
    others = [point for j, point in enumerate(points) if j != i]
    return np.asarray(np.poly(others) / np.prod([points[i] - point for point in others]))


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
    return np.stack([np.polyval(_basis(points, i), values) for i in range(len(points))])


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
    terms = []
    for i, (pdf, point) in enumerate(zip(pdfs, points, strict=True)):
        name = f"{pdf.name}_{parameter.name}_{point:g}"
        number = PolynomialYield(f"n_{name}", parameter, yields[i] * _basis(points, i), strength=strength)
        terms.append(pdf.copy(extended=number, name=name))
    return tuple(terms)


def _require_different(points: Sequence[float]) -> None:
    if len(points) < 2 or len(set(points)) < len(points):
        raise InputError.from_parts(
            expected="two or more different couplings",
            got=", ".join(f"{point:g}" for point in points) or "none",
            do="give the coupling of each sample once",
        )
