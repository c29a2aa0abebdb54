"""Value, gradient and exact Hessian of the extended likelihood in one pass over cached columns; numpy only.

`ColumnEvaluator` is the quick path: mass shapes that are frozen or belong to the exponential family, systematic
variations, and yields that are parameters or know their own derivatives.  It works through the columns in blocks that
fit the processor's cache, one exponential an event and one logarithm for four of them, and leaves the sums of products
to BLAS; nothing is traced or compiled, so toys and bootstraps cost nothing to set up, and nothing needs TensorFlow, so
that other processes start quickly.
`hisigma_zfit.likelihood.graph.GraphEvaluator` is the generic path for any other zfit shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hisigma_zfit.likelihood.compiled import CompiledTerm, TermOnData, split_linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.likelihood.expansion import FarEvents

__all__ = [
    "ColumnEvaluator",
    "Evaluation",
    "Evaluator",
    "EvaluatorSum",
    "Prepared",
    "WeightedEvaluator",
    "typical_weight",
]


# Events in a block: a handful of such buffers fits the second-level cache, and numpy's overhead is spread over many.
_BLOCK = 16_384
_ONE_THREAD = 2**18  # matrix products below this stay on one thread of BLAS: results do not depend on threads
_LEAST = 1e-290  # least product of densities that keeps its full precision
_MAX_COMMON = 50.0  # largest exponent that is taken out of the densities, so that nothing of them is lost


_Moments = tuple[float, "Array", "Array"]
_Size = tuple[float, "Array", "Array"]


@dataclass(frozen=True)
class Evaluation:
    """-log L with its gradient, shape (P,), and Hessian, shape (P, P)."""

    value: float
    gradient: Array
    hessian: Array


class Prepared(NamedTuple):
    """What all events share at some parameters, for each of K terms.

    Attributes:
        yields: Shape (K,).
        moments: log of the mass shape's norm, mean and covariance of its powers; None for a frozen shape.
        sizes: The yield with its gradient and Hessian.
        morphs: Weights of the variations.
        polynomials: Coefficients of the log mass density in t, the constant first.
    """

    yields: Array
    moments: list[_Moments | None]
    sizes: list[_Size]
    morphs: list[Any]
    polynomials: list[list[float]]


class Evaluator(Protocol):
    """-log L (without the constants of the data) as a function of a vector of all parameters."""

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""


class WeightedEvaluator(Evaluator, Protocol):
    """-log L of events that may have weights, which knows how far these make its gradient fluctuate."""

    def scatter(self, theta: Array) -> Array:
        """Covariance of the gradient when the events are drawn again, shape (P, P).

        Without weights it is the Hessian.  With weights w of a Poisson number of events it is the sum of w^2 g g^T,
        where g is the gradient of an event's log density lambda, yields included (C. Langenbruch, arXiv:1911.01303,
        for an extended likelihood; the second moment of a compound Poisson sum).  With a typical weight c, which is
        that of all events where they have the same, this is written as

            c H + sum_i w_i (w_i - c) g_i g_i^T.

        The two have the same mean, because the sum of w g g^T has that of the Hessian H.  The second form says of equal
        weights exactly what it says of unweighted events, and its noise is that of the differences between weights.

        Args:
            theta: All parameters, shape (P,), at the best fit.
        """


def typical_weight(weights: Array) -> float:
    """Sum of w^2 over the sum of |w|; zero for no events.

    Args:
        weights: Shape (n,).
    """
    total = float(np.abs(weights).sum())
    return float(weights @ weights) / total if total > 0.0 else 0.0


class ColumnEvaluator:
    """Quick path for one data set; see the module's text.

    Args:
        terms: One for each row of the columns.
        columns: The data set.
        far: Further events, summed by a series; see `hisigma_zfit.likelihood.compression`.
    """

    def __init__(self, terms: Sequence[CompiledTerm], columns: Columns, *, far: FarEvents | None = None) -> None:
        terms, columns = split_linear(terms, columns)
        self._compiled, self._far = tuple(terms), far
        # events where variations act come first: the others are spared their weights
        acting = [morph.active for morph in columns.morphs if morph is not None]
        active = np.logical_or.reduce(acting) if acting else np.zeros(columns.size, dtype=bool)
        self._n_active, n = int(np.count_nonzero(active)), active.size
        if 0 < self._n_active < n:
            columns = columns.take(np.argsort(~active, kind="stable"))
        self.columns, self._weights, self._total = columns, columns.weights, columns.total
        self.terms, self._rows = [], 0
        for k, term in enumerate(self._compiled):
            self.terms.append(TermOnData(term, columns, k, self._rows))
            self._rows = self.terms[-1].rest.stop
        self._n = n

    def split(self, near: npt.NDArray[np.intp], far: FarEvents) -> ColumnEvaluator:
        """The same likelihood with only some of the events, by index, visited one by one, the others by `far`."""
        return ColumnEvaluator(self._compiled, self.columns.take(near), far=far)

    def yields(self, theta: Array) -> Array:
        """Yields of the terms, shape (K,)."""
        return np.array([term.size(theta)[0] for term in self._compiled])

    def shapes(self, theta: Array) -> list[list[float]]:
        """Coefficients of each term's log mass density as a polynomial in t, the constant first."""
        return [
            c.polynomial(
                theta, 0.0 if c.term.family is None else -c.term.family.log_integral(theta[c.parameters[: c.q]])
            )
            for c in self.terms
        ]

    def _blocks(self, size: int) -> list[slice]:
        """Blocks of events, with a border where the variations cease to act."""
        parts = ((0, self._n_active), (self._n_active, self._n))
        return [slice(at, min(at + size, stop)) for start, stop in parts for at in range(start, stop, size)]

    def _block_weights(self, block: slice) -> Array | None:
        return None if self._weights is None else self._weights[block]

    @np.errstate(all="ignore")  # a density that is not positive is answered, not warned of
    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""
        yields = self.yields(theta)
        morphs = [c.weights(theta) for c in self.terms]
        # the yield goes into the exponent: that of no events, minus infinity, makes a density of zero
        polynomials, factors = [], []
        for c, size in zip(self.terms, yields, strict=True):
            family = c.term.family
            shift = 0.0 if family is None else np.log(abs(size)) - family.log_integral(theta[c.parameters[: c.q]])
            polynomials.append(c.polynomial(theta, float(shift)))
            factors.append(size if family is None else 1.0 if size >= 0.0 else -1.0)
        common = next((p[0] for p, c in zip(polynomials, self.terms, strict=True) if c.powers is not None), 0.0)
        common = common if abs(common) < _MAX_COMMON else 0.0
        for k, c in enumerate(self.terms):  # a factor of the whole density is cheaper outside of the loop
            if c.powers is None:
                factors[k] *= float(np.exp(-common))
            else:
                polynomials[k][0] -= common
        buffers, total, positive = np.empty((2, min(_BLOCK, self._n))), 0.0, bool(yields.min() >= 0.0)
        for block in self._blocks(_BLOCK):
            density, scratch = buffers[:, : block.stop - block.start]
            for k, (c, morph) in enumerate(zip(self.terms, morphs, strict=True)):
                part = scratch if k else density
                own = c.density(polynomials[k], block, part)
                if own is not part or factors[k] != 1.0:
                    np.multiply(own, factors[k], out=part)
                if morph is not None and block.start < self._n_active:
                    part *= morph.value(block)
                if k:
                    density += part
            total += _sum_of_logs(density, self._block_weights(block), positive=positive)
        if self._far is not None:
            total += self._far.log_sum(yields, self.shapes(theta))
        return float(yields.sum() - total - common * self._total) if np.isfinite(total) else np.inf

    @np.errstate(all="ignore")
    def evaluate(self, theta: Array, prepared: Prepared | None = None) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,); `prepared` is what this has of it, if it is at hand.

        With a_k = ratio_k W_k f_k / L the derivatives of log L_i are a_k for a yield and y_k a_k S for the parameters
        of a component, where S is T - <T> for a shape and d log W_k / d nu for a nuisance.  Those of second order
        follow from the same sums and from dS, which is -Cov(T) for every event for a shape.
        """
        yields, moments, sizes, morphs, polynomials = prepared or self.prepared(theta)
        length = min(_BLOCK, self._n, max(_ONE_THREAD // (self._rows * (self._rows + 1)), _BLOCK // 8))
        # the last row of ones makes the sums of the derivatives one more column of their products, and hides from BLAS
        # that these are symmetric, for which its kernel is four times slower
        buffer, buffers = np.ones((self._rows + 1, length)), np.empty((2, length))
        products, total, positive = np.zeros((self._rows, self._rows + 1)), 0.0, bool(yields.min() >= 0.0)
        seconds = [np.zeros((c.parameters.size,) * 2) for c in self.terms]
        for block in self._blocks(max(length, 1)):
            size, acting = block.stop - block.start, block.start < self._n_active
            derivatives, (density, scratch) = buffer[:, :size], buffers[:, :size]
            densities: list[Array] = []
            slopes: list[Array | None] = []
            bends: list[Array | None] = []
            for k, (c, morph) in enumerate(zip(self.terms, morphs, strict=True)):
                own, slope, bend = c.density(polynomials[k], block, derivatives[c.start]), c.slope(block), None
                if morph is not None and acting:
                    weight, varied, bend = morph.derivatives(block)
                    own = np.multiply(own, weight, out=derivatives[c.start])
                    slope = varied if slope is None else np.concatenate([slope, varied])
                elif block.start == self._n_active:
                    derivatives[c.rest] = 0.0  # from here on nothing is written to the rows of the nuisances
                np.multiply(own, yields[k], out=scratch if k else density)
                if k:
                    density += scratch
                densities.append(own)
                slopes.append(slope)
                bends.append(bend)
            for c, own, slope in zip(self.terms, densities, slopes, strict=True):
                share = np.divide(own, density, out=derivatives[c.start])
                if slope is not None:
                    np.multiply(share, slope, out=derivatives[c.start + 1 : c.start + 1 + len(slope)])
            weights = self._block_weights(block)
            weighted = derivatives[:-1] if weights is None else derivatives[:-1] * weights
            products += weighted @ derivatives.T
            for c, second, slope, bend in zip(self.terms, seconds, slopes, bends, strict=True):
                if slope is not None:
                    second[: len(slope), : len(slope)] += weighted[c.start + 1 : c.start + 1 + len(slope)] @ slope.T
                if bend is not None:
                    _add_symmetric(second[c.q :, c.q :], bend @ weighted[c.start])
            total += _sum_of_logs(density, weights, positive=positive)
        if self._far is not None:
            total += self._far.add(yields, polynomials, products, seconds)
        if not np.isfinite(total):
            nan = np.full(theta.size, np.nan)
            return Evaluation(np.inf, nan, np.outer(nan, nan))
        return self._assemble(theta, float(yields.sum() - total), products, seconds, moments, sizes)

    @np.errstate(all="ignore")
    def prepared(self, theta: Array) -> Prepared:
        """What all events share at `theta`, shape (P,)."""
        moments = [
            None if c.term.family is None else c.term.family.log_partition(theta[c.parameters[: c.q]])
            for c in self.terms
        ]
        sizes, morphs = [term.size(theta) for term in self._compiled], [c.weights(theta) for c in self.terms]
        polynomials = [
            c.polynomial(theta, 0.0 if moment is None else -moment[0])
            for c, moment in zip(self.terms, moments, strict=True)
        ]
        return Prepared(np.array([size for size, _, _ in sizes]), moments, sizes, morphs, polynomials)

    def scatter(self, theta: Array) -> Array:
        """See `WeightedEvaluator`."""
        hessian = self.evaluate(theta).hessian
        if self._weights is None:
            return hessian
        typical, prepared = typical_weight(self._weights), self.prepared(theta)
        total = typical * hessian
        for block in self._blocks(_BLOCK):
            weights, scores = self._weights[block], self._scores(theta, block, prepared)
            total += (scores * (weights * (weights - typical))) @ scores.T
        return total

    def _scores(self, theta: Array, block: slice, prepared: Prepared) -> Array:
        """Derivatives of the log density of the events in a block, shape (P, B)."""
        yields, moments, sizes, morphs, polynomials = prepared
        n, densities, slopes = block.stop - block.start, [], []
        for c, moment, morph, polynomial in zip(self.terms, moments, morphs, polynomials, strict=True):
            own, slope = c.density(polynomial, block, np.empty(n)), np.zeros((c.parameters.size, n))
            if moment is not None and c.powers is not None:
                slope[: c.q] = c.signs[: c.q, None] * c.powers[:, block] - moment[1][:, None]
            if morph is not None and block.start < self._n_active:
                weight, varied, _ = morph.derivatives(block)
                own, slope[c.q :] = own * weight, varied
            densities.append(own)
            slopes.append(slope)
        density = yields @ np.array(densities)
        scores = np.zeros((theta.size, n))
        for c, own, slope, (size, change, _) in zip(self.terms, densities, slopes, sizes, strict=True):
            scores[list(c.term.extended)] += change[:, None] * (own / density)
            scores[c.parameters] += size * (own / density) * slope
        return scores

    def _assemble(
        self,
        theta: Array,
        value: float,
        products: Array,
        seconds: list[Array],
        moments: list[_Moments | None],
        sizes: list[_Size],
    ) -> Evaluation:
        """Turn sums over raw slopes into derivatives with respect to the parameters.

        First into those by yields and shape parameters of each component, in the order of the rows, then by parameter.
        """
        first, starts = products[:, -1], [c.start for c in self.terms]
        local = np.eye(self._rows)  # from raw slopes to derivatives of log L
        place = np.zeros((theta.size, self._rows))  # where each of them belongs among the parameters
        bends, curved = np.zeros((self._rows, self._rows)), np.zeros((theta.size, theta.size))
        for c, second, moment, (size, slope, bend) in zip(self.terms, seconds, moments, sizes, strict=True):
            number, extended = first[c.start], np.array(c.term.extended)
            place[extended, c.start] = slope
            if c.term.composed is not None:
                curved[extended[:, None], extended] += bend * (1.0 - number)
            if not c.parameters.size:
                continue
            place[c.parameters, range(c.rest.start, c.rest.stop)] = 1.0
            mean, covariance = np.zeros(c.parameters.size), np.zeros((c.parameters.size,) * 2)
            if moment is not None:
                _, mean[: c.q], covariance[: c.q, : c.q] = moment
            local[c.rest, c.rest] *= size * c.signs
            local[c.rest, c.start] = -size * mean
            sums = c.signs * first[c.rest]
            bends[c.start, c.rest] = bends[c.rest, c.start] = sums - mean * number
            mixed = mean[:, None] * sums
            spread = second * (c.signs[:, None] * c.signs) - mixed - mixed.T
            bends[c.rest, c.rest] = size * (spread + (mean[:, None] * mean - covariance) * number)
        slopes = -local @ first
        slopes[starts] += 1.0  # of the expected number of events
        hessian = place @ (local @ products[:, :-1] @ local.T - bends) @ place.T
        return Evaluation(value, place @ slopes, hessian + curved)


def _add_symmetric(matrix: Array, rows: Array) -> None:
    """Add a symmetric matrix, given as its lower triangle row by row, in place."""
    lower = np.zeros_like(matrix)
    lower[np.tril_indices(len(matrix))] = rows
    matrix += lower + np.tril(lower, -1).T


def _sum_of_logs(density: Array, weights: Array | None, *, positive: bool) -> float:
    """Sum of (weighted) logarithms of numbers of shape (n,), not finite if one is not positive; overwrites them.

    Without weights four numbers are multiplied first, because a logarithm costs more than products.

    Args:
        density: The numbers.
        weights: Their weights, or None.
        positive: True if none of them can be negative.
    """
    if not positive and not density.min() > 0.0:
        return -np.inf
    quarter = density.size // 4
    if weights is None and quarter:
        first, second, third, fourth = density[: 4 * quarter].reshape(4, quarter)
        products = first * second
        products *= third
        products *= fourth
        if products.min() > _LEAST:
            rest = density[4 * quarter :]
            total = float(np.log(products, out=products).sum() + (np.log(rest).sum() if rest.size else 0.0))
            if np.isfinite(total):  # else one of the products overflowed
                return total
    logs = np.log(density, out=density)
    return float(logs.sum() if weights is None else logs @ weights)


class EvaluatorSum:
    """Sum of evaluators of the same vector: categories and constraints."""

    def __init__(self, parts: Sequence[Evaluator]) -> None:
        self.parts = tuple(parts)

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,)."""
        return float(sum(part.value(theta) for part in self.parts))

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        results = [part.evaluate(theta) for part in self.parts]
        return Evaluation(
            float(sum(r.value for r in results)),
            np.sum([r.gradient for r in results], axis=0),
            np.sum([r.hessian for r in results], axis=0),
        )
