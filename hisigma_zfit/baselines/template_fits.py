"""Fits of histograms of classifier scores with several templates, which are taken as exact.

`ScoreBins` are bins in one or two scores, `TemplateLikelihood` the Poisson likelihood of their contents.  It answers
like an `ExtendedNLL`, so that `Profiler` and `contour` take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.baselines.score_fits import joined_quantiles
from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.slots import ComposedYield

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["ScoreBins", "TemplateLikelihood"]


@dataclass(frozen=True)
class ScoreBins:
    """Bins in a score, each divided in a second score.

    Attributes:
        edges: Edges in the first score, shape (k + 1,).
        inner: Edges in the second score, for each bin of the first.
    """

    edges: Array
    inner: tuple[Array, ...]

    @classmethod
    def of(cls, signal: Array, background: Array, *, bins: int, inner: int = 1) -> ScoreBins:
        """Quantiles of the signal, joined until each bin has 20 background events.

        Args:
            signal: Both scores of simulated signal, shape (n, 2).
            background: The same of background, shape (k, 2).
            bins: Bins in the first score, at most.
            inner: Bins in the second, at most; one to leave it out.
        """
        edges = joined_quantiles(signal[:, 0], background[:, 0], bins)
        at_s, at_b = (_bin(edges, scores[:, 0]) for scores in (signal, background))
        rows = [joined_quantiles(signal[at_s == k, 1], background[at_b == k, 1], inner) for k in range(edges.size - 1)]
        return cls(edges, tuple(rows))

    def __len__(self) -> int:
        return sum(row.size - 1 for row in self.inner)

    def histogram(self, scores: Array, weights: Array | None = None) -> Array:
        """Sum of weights in every bin, shape (len(self),).

        Args:
            scores: Both scores of the events, shape (n, 2).
            weights: Their weights, shape (n,); one by default.
        """
        first = _bin(self.edges, scores[:, 0])
        starts = np.cumsum([0, *(row.size - 1 for row in self.inner)])
        at = np.empty(len(scores), dtype=np.intp)
        for k, row in enumerate(self.inner):
            mine = first == k
            at[mine] = starts[k] + _bin(row, scores[mine, 1])
        return np.bincount(at, weights, len(self)).astype(np.float64)


def _bin(edges: Array, values: Array) -> npt.NDArray[np.intp]:
    """Number of the bin; values beyond the edges belong to the outermost."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, edges.size - 2)


class TemplateLikelihood:
    """-log L of a histogram, n_i ~ Poisson(sum_k y_k T_ki), without constants.

    Args:
        yields: zfit parameters, or yields that depend on some and know their derivatives, such as `PolynomialYield`.
        templates: Share of each component in every bin, shape (K, bins).
        counts: Contents of the histogram, shape (bins,).

    Attributes:
        parameters: The independent parameters, P of them.

    Raises:
        InputError: The shapes do not match.
    """

    def __init__(self, yields: Sequence[Any], templates: Array, counts: Array) -> None:
        if templates.shape != (len(yields), counts.size):
            raise InputError.from_parts(
                expected=f"templates of shape ({len(yields)}, {counts.size})",
                got=str(templates.shape),
                do="give one for each yield, in the bins of the data",
            )
        sources = [y.sources if isinstance(y, ComposedYield) else (y,) for y in yields]
        self.parameters = tuple({p.name: p for each in sources for p in each}.values())
        names = [p.name for p in self.parameters]
        self._at = [[names.index(p.name) for p in each] for each in sources]
        self._sizes = [y.size if isinstance(y, ComposedYield) else None for y in yields]
        self._templates, self._counts = templates, counts

    def evaluator(self, *, around: Array | None = None) -> TemplateLikelihood:
        """Itself, wherever it is evaluated."""
        del around
        return self

    def theta(self) -> Array:
        """Current values of the parameters, shape (P,)."""
        return np.array([float(p.value()) for p in self.parameters])

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where a bin with events is expected to be empty."""
        return self.evaluate(theta).value

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        yields = np.empty(len(self._at))
        jacobian, bends = np.zeros((theta.size, yields.size)), []
        for k, (at, size) in enumerate(zip(self._at, self._sizes, strict=True)):
            if size is None:
                yields[k], jacobian[at[0], k] = theta[at[0]], 1.0
            else:
                yields[k], slope, bend = size.derivatives(theta[at])
                jacobian[at, k] = slope
                bends.append((k, at, bend))
        expected = yields @ self._templates
        filled = self._counts > 0
        if (expected[filled] <= 0.0).any():
            nan = np.full(theta.size, np.nan)
            return Evaluation(np.inf, nan, np.outer(nan, nan))
        share = np.divide(self._counts, expected, out=np.zeros_like(expected), where=filled)
        by_yield = self._templates @ (1.0 - share)
        changes = jacobian @ self._templates
        weights = np.divide(share, expected, out=np.zeros_like(expected), where=filled)
        hessian = (changes * weights) @ changes.T
        for k, at, bend in bends:
            hessian[np.ix_(at, at)] += by_yield[k] * bend
        value = expected.sum() - self._counts[filled] @ np.log(expected[filled])
        return Evaluation(float(value), jacobian @ by_yield, hessian)
