"""Fits of histograms of classifier scores with several templates, which are taken as exact.

`ScoreBins` are bins in one or two scores, `TemplateLikelihood` the Poisson likelihood of their contents: a `Likelihood`
as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from hisigma_zfit.baselines.binned import BinnedEvaluator, TemplatePool, Templates
from hisigma_zfit.baselines.score_fits import joined_quantiles
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.compiled import ComposedYield, bases_of
from hisigma_zfit.likelihood.protocol import PlainParameter, PseudoLikelihood, add, names_of, shown_parameters
from hisigma_zfit.results.show import table
from hisigma_zfit.toys.samples import sample_of
from hisigma_zfit.toys.source import require_no_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.likelihood.protocol import Likelihood
    from hisigma_zfit.toys.source import Sample, ToySource

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
    def of(
        cls,
        signal: Array,
        background: Array,
        *,
        bins: int,
        inner: int = 1,
        signal_weights: Array | None = None,
        background_weights: Array | None = None,
    ) -> ScoreBins:
        """Quantiles of the signal, joined until each bin has 20 background events.

        Args:
            signal: Both scores of simulated signal, shape (n, 2).
            background: The same of background, shape (k, 2).
            bins: Bins in the first score, at most.
            inner: Bins in the second, at most; one to leave it out.
            signal_weights: Weights of `signal`, at least zero, shape (n,); one by default.
            background_weights: The same of `background`, shape (k,).
        """
        samples = [
            (scores, np.ones(len(scores)) if weights is None else weights)
            for scores, weights in ((signal, signal_weights), (background, background_weights))
        ]

        def joined(column: int, n: int, *kept: Mask) -> Array:
            (s, v), (b, w) = ((x[at, column], y[at]) for (x, y), at in zip(samples, kept, strict=True))
            return joined_quantiles(s, b, n, signal_weights=v, background_weights=w)

        edges = joined(0, bins, *(np.ones(len(scores), dtype=bool) for scores, _ in samples))
        at = [_bin(edges, scores[:, 0]) for scores, _ in samples]
        rows = [joined(1, inner, *(row == k for row in at)) for k in range(edges.size - 1)]
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


class TemplateLikelihood(BinnedEvaluator):
    """-log L of a histogram, n_i ~ Poisson(sum_k y_k T_ki), without constants; it is its own evaluator.

    Constraints of nuisances are no part of it: in a sum they come with an `ExtendedNLL` of the same nuisances.

    Args:
        yields: zfit parameters, or yields that depend on some and know their derivatives, such as `PolynomialYield`.
        templates: Share of each component in every bin, shape (K, bins).
        counts: Contents of the histogram, shape (bins,).
        variance: Sums of squared weights in every bin, shape (bins,), if the contents are sums of weights; see
            `protocol.has_weights`.

    Attributes:
        parameters: The independent parameters, P of them.
        yields: Names of those that are numbers of events or factors of one.

    Raises:
        InputError: The shapes do not match.
    """

    def __init__(self, yields: Sequence[Any], templates: Array, counts: Array, variance: Array | None = None) -> None:
        if variance is not None and variance.shape != counts.shape:
            raise InputError.from_parts(
                expected=f"a variance of shape {counts.shape}", got=str(variance.shape), do="give that of each bin"
            )
        if templates.shape != (len(yields), counts.size):
            raise InputError.from_parts(
                expected=f"templates of shape ({len(yields)}, {counts.size})",
                got=str(templates.shape),
                do="give one for each yield, in the bins of the data",
            )
        sources = [y.sources if isinstance(y, ComposedYield) else (y,) for y in yields]
        self.parameters = tuple({p.name: p for each in sources for p in each}.values())
        self.yields = bases_of(yields)
        names = names_of(self.parameters)
        places = tuple(np.array([names.index(p.name) for p in each], dtype=np.intp) for each in sources)
        sizes = tuple(y.size if isinstance(y, ComposedYield) else None for y in yields)
        super().__init__(Templates(places, sizes, templates), counts, variance)

    def evaluator(self, *, around: Array | None = None) -> TemplateLikelihood:
        """Itself, wherever it is evaluated."""
        del around
        return self

    def theta(self) -> Array:
        """Current values of the parameters, shape (P,)."""
        return np.array([float(p.value()) for p in self.parameters])

    def data_constant(self) -> float:
        """Sum of log n_i!, which the value leaves out."""
        return float(gammaln(self.counts + 1.0).sum())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bins={self.counts.size}, events={self.counts.sum():g})"

    def _repr_html_(self) -> str:
        content = {"bins": self.counts.size, "events": float(self.counts.sum())}
        return table(type(self).__name__, content | shown_parameters(self))

    def __add__(self, other: Any) -> Likelihood:
        """See `Likelihood`."""
        return add(self, other)

    @property
    def weighted(self) -> bool:
        """See `protocol.has_weights`."""
        return self.variance is not None


@dataclass(frozen=True)
class TemplateSample:
    """Asimov sets of a histogram, in the place of an `ImportanceSample`: its expected contents.

    Attributes:
        loss: The likelihood.
    """

    loss: TemplateLikelihood

    def asimov(self, theta: Array, *, poi: str | None = None) -> TemplateAsimov:
        """The Asimov set of a hypothesis.

        Args:
            theta: All parameters, shape (P,).
            poi: Not needed: no bin is left out.

        Raises:
            FitError: A bin expects less than nothing.
        """
        del poi
        if not self.loss.templates.expected(theta).min() >= 0.0:
            values = ", ".join(f"{p.name} = {v:.4g}" for p, v in zip(self.loss.parameters, theta, strict=True))
            raise FitError(f"a bin expects less than nothing at {values}; choose another hypothesis")
        return TemplateAsimov(self.loss, np.array(theta, dtype=np.float64))


@dataclass(frozen=True)
class TemplateAsimov:
    """A histogram as expected at `theta`; a `Hypothesis` as others.

    Attributes:
        loss: The likelihood that is fitted.
        theta: All parameters, shape (P,).
    """

    loss: TemplateLikelihood
    theta: Array

    @cached_property
    def likelihood(self) -> PseudoLikelihood:
        """-log L of the expected contents."""
        templates = self.loss.templates
        expected = BinnedEvaluator(templates, templates.expected(self.theta))
        return PseudoLikelihood(self.loss.parameters, [expected], self.theta)

    def profiler(self, poi: str) -> Profiler:
        """Its profile likelihood in one parameter."""
        return Profiler(self.likelihood, poi)

    def pool(self, *, background: ToySource | None = None) -> TemplatePool:
        """Its toys; see `Hypothesis`.

        Raises:
            InputError: The contents are sums of weights.
        """
        require_no_weights(self.loss)
        parameters = tuple(PlainParameter.of(p) for p in self.loss.parameters)
        return TemplatePool(parameters, self.theta, self.loss.templates, background)


@sample_of.register(TemplateLikelihood)
def _(loss: TemplateLikelihood, *, theta: Array | None = None, events: int = 0, seed: int = 0) -> Sample:
    del theta, events, seed
    return TemplateSample(loss)
