"""The Poisson likelihood of a histogram in plain numbers: what fits and toys of templates need, in any process.

Numpy only; `template_fits.TemplateLikelihood` makes it of zfit's parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.protocol import PseudoLikelihood
from hisigma_zfit.toys.pool import feed
from hisigma_zfit.toys.source import PlainSource

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.model.yields import Size
    from hisigma_zfit.toys.source import ToySource

__all__ = ["BinnedEvaluator", "TemplatePool", "Templates"]


@dataclass(frozen=True)
class Templates:
    """Expected contents of a histogram, sum_k y_k T_ki.

    Attributes:
        places: Where each yield finds its parameters, K arrays of indices.
        sizes: Yields that are composed of several parameters; None for one that is a parameter itself.
        shares: Share of each component in every bin, shape (K, bins).
    """

    places: tuple[Integers, ...]
    sizes: tuple[Size | None, ...]
    shares: Array

    def expected(self, theta: Array) -> Array:
        """Expected contents at `theta`, shape (bins,)."""
        return np.asarray(self.yields(theta)[0] @ self.shares)

    def yields(self, theta: Array) -> tuple[Array, Array, list[tuple[int, Integers, Array]]]:
        """Yields, their derivatives by all parameters, shape (P, K), and second ones of those that are composed."""
        yields = np.empty(len(self.shares))
        jacobian, bends = np.zeros((theta.size, yields.size)), []
        for k, (at, size) in enumerate(zip(self.places, self.sizes, strict=True)):
            if size is None:
                yields[k], jacobian[at[0], k] = theta[at[0]], 1.0
            else:
                yields[k], slope, bend = size.derivatives(theta[at])
                jacobian[at, k] = slope
                bends.append((k, at, bend))
        return yields, jacobian, bends


class BinnedEvaluator:
    """-log L of contents, n_i ~ Poisson(sum_k y_k T_ki), without constants.

    Args:
        templates: What is expected.
        counts: The contents, shape (bins,).
        variance: Sums of squared weights, shape (bins,), if the contents are sums of weights; None for events.
    """

    def __init__(self, templates: Templates, counts: Array, variance: Array | None = None) -> None:
        self.templates, self.counts, self.variance = templates, counts, variance

    def scatter(self, theta: Array) -> Array:
        """Covariance of the gradient when the events are drawn again, shape (P, P).

        As `evaluate.WeightedEvaluator.scatter`, with the events of a bin together.
        """
        hessian = self.evaluate(theta).hessian
        if self.variance is None:
            return hessian
        yields, jacobian, _ = self.templates.yields(theta)
        expected, changes = yields @ self.templates.shares, jacobian @ self.templates.shares
        typical = float(self.variance.sum() / max(np.abs(self.counts).sum(), 1e-300))
        excess = self.variance - typical * self.counts
        filled = (expected > 0.0) & (excess != 0.0)
        weights = np.divide(excess, expected**2, out=np.zeros_like(expected), where=filled)
        return np.asarray(typical * hessian + (changes * weights) @ changes.T)

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where a bin is expected to hold less than nothing, or its events."""
        return self.evaluate(theta).value

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        counts, shares = self.counts, self.templates.shares
        yields, jacobian, bends = self.templates.yields(theta)
        expected = yields @ shares
        filled = counts > 0
        if (expected < 0.0).any() or (expected[filled] == 0.0).any():
            nan = np.full(theta.size, np.nan)
            return Evaluation(np.inf, nan, np.outer(nan, nan))
        share = np.divide(counts, expected, out=np.zeros_like(expected), where=filled)
        by_yield = shares @ (1.0 - share)
        changes = jacobian @ shares
        weights = np.divide(share, expected, out=np.zeros_like(expected), where=filled)
        hessian = (changes * weights) @ changes.T
        for k, at, bend in bends:
            hessian[np.ix_(at, at)] += by_yield[k] * bend
        value = expected.sum() - counts[filled] @ np.log(expected[filled])
        return Evaluation(float(value), jacobian @ by_yield, hessian)


@dataclass(frozen=True, repr=False)
class TemplatePool(PlainSource):
    """Toys of a histogram: contents that are Poisson-distributed about those expected; a `ToySource`.

    Attributes:
        templates: What is expected.
        background: See `ToySource`.
    """

    templates: Templates
    background: ToySource | None = None

    n_categories = 1
    n_auxiliary = 0
    portable = True

    @property
    def digest(self) -> str:
        """See `ToySource`."""
        digest = xxhash.xxh3_128()
        feed(digest, (self.parameters, self.theta, self.free, self.limits, self.templates))
        if self.background is not None:
            digest.update(self.background.digest.encode())
        return digest.hexdigest()

    def asimov(self) -> PseudoLikelihood:
        """See `ToySource`."""
        return self._of(self.templates.expected(self.theta))

    def draw(self, rng: np.random.Generator) -> tuple[PseudoLikelihood, list[int], Array]:
        """See `ToySource`."""
        counts = rng.poisson(self.templates.expected(self.theta)).astype(np.float64)
        return self._of(counts), [int(counts.sum())], np.zeros(0)

    def _of(self, counts: Array) -> PseudoLikelihood:
        return PseudoLikelihood(self.fit_parameters, [BinnedEvaluator(self.templates, counts)], self.theta)
