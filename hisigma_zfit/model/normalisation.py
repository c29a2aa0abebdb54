"""N(m, nu), the mean of the product of weights under the nominal density, as a smooth function of m.

N is estimated on a sample that is drawn and evaluated once, and expanded in a few cubic splines in m, which cannot
follow a mass peak.  In nu it is as exact as the weights themselves: the mean of their product over the same events is
taken again at every nu, with its derivatives.  Three things keep its error near a part in a thousand:

- The events come from the mixture of the nominal and all varied densities, to which every ratio is bounded.
- The mean of every ratio p_f / p_0 is known to be one.  What the sample says instead is subtracted to first order, so
  that N is exactly one at nu = 0, and for a single nuisance also at +1 and -1; what is left is of second order.
- Where ratios were cut, or a varied density reaches where the nominal one is zero, that mean is corrected for it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.learn.splines import m_spline_matrix, m_splines
from hisigma_zfit.model.interpolation import FLOOR, LOG_RATIO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.interpolation import Coefficients, Interpolation

__all__ = ["Normaliser", "weights"]


_log = logging.getLogger(__name__)

_DEGREE = 3
_REPORTED_LOSS = 1e-3

# Events in a block, points in nu where a weight is compared with the floor, and numbers in a tensor of moments
_BLOCK = 8192
_GRID = 65
_LARGEST_TENSOR = 2_000_000


class Normaliser:
    """N(m, nu) of one component.

    Args:
        forms: Interpolation of every variation, J of them.
        normalised: For every variation whether its ratios are of densities that are normalised in x'.
        limits: Range of masses.
        intervals: Of the splines; none should be as narrow as a peak.
        m: Masses of the sample, shape (M,).
        log_ratios: For every variation its F_j log-ratios, each of shape (M,).
        weight: Nominal density over the density that the sample was drawn from, shape (M,).
        densities: The same for the varied densities of all `normalised` variations, one after the other.
    """

    def __init__(
        self,
        *,
        forms: Sequence[Interpolation],
        normalised: Sequence[bool],
        limits: tuple[float, float],
        intervals: int,
        m: Array,
        log_ratios: Sequence[Sequence[Array]],
        weight: Array,
        densities: Array,
    ) -> None:
        self._forms = tuple(forms)
        self._limits = limits
        inner = self._scaled(np.quantile(m, np.arange(1, intervals) / intervals))
        self._knots = np.concatenate([np.zeros(_DEGREE + 1), inner, np.ones(_DEGREE + 1)])
        basis = self.basis(m)
        projection: Array = np.asarray(np.linalg.solve(basis @ basis.T, basis), dtype=np.float64)
        self._weighted = projection * weight
        self._columns = [form.columns(ratios) for form, ratios in zip(forms, log_ratios, strict=True)]
        self._corrections: list[Array] = []
        rows = iter(densities)
        for known, ratios in zip(normalised, log_ratios, strict=True):
            self._corrections.append(np.zeros((len(ratios), self.size)))
            if known:
                for correction, log_ratio in zip(self._corrections[-1], ratios, strict=True):
                    correction[:] = self._correction(log_ratio, weight, next(rows), projection)
        self._moments = _Moments(forms, self._columns, self._weighted)
        rest = ~self._moments.regular
        self._irregular = [np.ascontiguousarray(c[:, rest]) for c in self._columns], self._weighted[:, rest]
        self._last: tuple[tuple[float, ...], Array] = ((), np.empty(0))

    def _correction(self, log_ratio: Array, weight: Array, density: Array, projection: Array) -> Array:
        """Mean of a ratio less one as it must be, minus that of the sample."""
        cut = np.clip(log_ratio, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        changed = (cut != log_ratio) | (weight == 0.0)
        excess = np.where(changed, weight * np.exp(cut) - density, 0.0)
        outside = float(density[changed].sum() / density.size)
        if outside > _REPORTED_LOSS:
            _log.warning(
                "%.2g of a varied density lies where the nominal one is (nearly) zero and no weight reaches: "
                "are the edges of a feature moved?",
                outside,
            )
        return projection @ excess - self._weighted @ np.expm1(cut)

    @property
    def size(self) -> int:
        """Number of basis functions, B."""
        return len(self._knots) - _DEGREE - 1

    @property
    def numbers(self) -> tuple[Any, ...]:
        """All that N depends on besides the forms, for a hash."""
        return (self._limits, self._knots, self._weighted, self._columns, self._corrections)

    def _scaled(self, m: Any) -> Any:
        lower, upper = self._limits
        return (m - lower) / (upper - lower)

    def basis_in_graph(self, m: Any) -> Any:
        """The basis functions at masses of shape (n,) as TensorFlow operations, shape (B, n); constant outside."""
        import tensorflow as tf

        scaled = tf.clip_by_value(self._scaled(m), 0.0, 1.0)
        return tf.transpose(m_splines(scaled, self._knots, _DEGREE))

    def basis(self, m: Array) -> Array:
        """The same in numpy."""
        scaled = np.clip(self._scaled(m), 0.0, 1.0)
        return np.ascontiguousarray(m_spline_matrix(scaled, self._knots, _DEGREE).T)

    def expansion(self, nu: Array) -> Array:
        """Expansion of N - 1 and its derivatives at nuisances of shape (J,).

        Returns:
            Shape (1 + J + J (J + 1) / 2, B): the value, first derivatives, and second ones (j, k <= j) row by row.
        """
        key = tuple(float(v) for v in nu)
        last = self._last  # read once: another thread may replace it
        if key != last[0]:
            self._last = last = (key, self._expand(key))
        return last[1]

    def _expand(self, nu: tuple[float, ...]) -> Array:
        coefficients = [form.at(value) for form, value in zip(self._forms, nu, strict=True)]
        expansion = self._moments.expansion(coefficients) if self._moments.take(nu) else None
        columns, weighted = (self._columns, self._weighted) if expansion is None else self._irregular
        if expansion is None:
            expansion = np.zeros((1 + len(nu) + len(nu) * (len(nu) + 1) // 2, self.size))
        for start in range(0, weighted.shape[1], _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = products(coefficients, [c[:, block] for c in columns])
            rows[0] -= 1.0
            expansion += rows @ weighted[:, block].T
        for j, (form, value, correction) in enumerate(zip(self._forms, nu, self._corrections, strict=True)):
            tangent = form.tangent(value) @ correction
            expansion[[0, 1 + j, 1 + len(nu) + j * (j + 1) // 2 + j]] += tangent
        return expansion

    def excess_in_graph(self, nu: Sequence[Any]) -> Any:
        """Expansion of N - 1 as TensorFlow operations, shape (B,)."""
        import tensorflow as tf

        product: Any = 1.0
        for form, columns, value in zip(self._forms, self._columns, nu, strict=True):
            product = product * form.in_graph(tf.constant(columns), value)
        excess = tf.linalg.matvec(tf.constant(self._weighted), product - 1.0)
        for form, correction, value in zip(self._forms, self._corrections, nu, strict=True):
            excess += tf.linalg.matvec(tf.constant(correction), form.tangent_in_graph(value), transpose_a=True)
        return excess


def weights(coefficients: Sequence[Coefficients], columns: Sequence[Array]) -> tuple[Array, list[tuple[Array, Array]]]:
    """Product of the weights of J variations, shape (n,), and for every one w'/w and w''/w, each of shape (n,)."""
    product, moments = np.ones(columns[0].shape[1]), []
    for own, values in zip(coefficients, columns, strict=True):
        w, first, second = own.derivatives(values)
        product *= w
        moments.append((first, second))
    return product, moments


def products(coefficients: Sequence[Coefficients], columns: Sequence[Array]) -> Array:
    """The product of the weights and its derivatives: value, first, and second ones (j, k <= j) row by row.

    Returns:
        Shape (1 + J + J (J + 1) / 2, n).
    """
    product, moments = weights(coefficients, columns)
    rows = [np.ones_like(product), *(first for first, _ in moments)]
    rows += [
        second if j == k else first * moments[k][0] for j, (first, second) in enumerate(moments) for k in range(j + 1)
    ]
    return np.stack(rows) * product


class _Moments:
    """Sums over the sample of all products of one column of each variation.

    While every weight is 1 + a . C, as that of a polynomial is, the mean of their product is a contraction of these
    sums with the a_j, whatever nu: exact, and independent of the size of the sample.  It holds for |nu_j| <= 1, and for
    events whose weights are bent nowhere there; the few others are left to a sum over events.

    Args:
        forms: Interpolation of every variation.
        columns: Columns of every variation, each of shape (R_j, M).
        weighted: Projection on the basis times weight of the events, shape (B, M).
    """

    def __init__(self, forms: Sequence[Interpolation], columns: Sequence[Array], weighted: Array) -> None:
        grid = np.linspace(-1.0, 1.0, _GRID)
        coefficients = [[form.at(value) for value in grid] for form in forms]
        self.regular = np.ones(weighted.shape[1], dtype=bool)
        self._tensor: Array | None = None
        if any(c.exponential for own in coefficients for c in own):
            return
        rows = [own[0].rows for own in coefficients]
        shape = [1 + c[r].shape[0] for c, r in zip(columns, rows, strict=True)]
        if len(weighted) * np.prod(shape) > _LARGEST_TENSOR:
            return
        for own, c, r in zip(coefficients, columns, rows, strict=True):
            values = np.stack([each.values[0] for each in own])
            for start in range(0, weighted.shape[1], _BLOCK):
                block = slice(start, start + _BLOCK)
                # twice the floor: the minimum may lie between two points of the grid
                self.regular[block] &= (values @ c[r, block]).min(axis=0) > 2.0 * FLOOR - 1.0
        tensor = np.zeros((len(weighted), int(np.prod(shape))))
        kept, size = np.flatnonzero(self.regular), max(1, _LARGEST_TENSOR // int(np.prod(shape)))
        for start in range(0, kept.size, size):
            at = kept[start : start + size]
            product = np.ones((at.size, 1))
            for c, r in zip(columns, rows, strict=True):
                extended = np.concatenate([np.ones((1, at.size)), c[r][:, at]]).T
                product = (product[:, :, None] * extended[:, None, :]).reshape(at.size, -1)
            tensor += weighted[:, at] @ product
        tensor[:, 0] = 0.0  # of N - 1
        self._tensor = tensor.reshape(len(weighted), *shape)

    def take(self, nu: Sequence[float]) -> bool:
        """Whether the mean at these nuisances is known from the moments."""
        return self._tensor is not None and all(abs(value) <= 1.0 for value in nu)

    def expansion(self, coefficients: Sequence[Coefficients]) -> Array:
        """Contribution of the regular events to `Normaliser.expansion`, shape (1 + J + J (J + 1) / 2, B)."""
        assert self._tensor is not None
        result, n = self._tensor, len(coefficients)
        for own in coefficients:
            first = np.concatenate([[[1.0], [0.0], [0.0]], own.values], axis=1)
            result = np.tensordot(result, first, axes=([1], [1]))
        # result[b, d_1, ..., d_J]: the d_j-th derivative in nu_j
        orders = np.zeros((1 + n + n * (n + 1) // 2, n), dtype=np.intp)
        orders[1 : 1 + n] = np.eye(n)
        for row, (j, k) in enumerate(zip(*np.tril_indices(n), strict=True), start=1 + n):
            orders[row, j] += 1
            orders[row, k] += 1
        return np.ascontiguousarray(result[(slice(None), *orders.T)].T)
