"""Fits of a classifier's score, binned or as a density ratio: what could be reached if simulation were exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator

from hisigma_zfit.baselines.weighted import (
    LEAST_BACKGROUND,
    effective_number,
    quantiles,
    simulation_weights,
    weights_of,
)
from hisigma_zfit.baselines.yield_fits import fit_yields
from hisigma_zfit.errors import InputError
from hisigma_zfit.results import Projection
from hisigma_zfit.results.strategies import Expectation, StrategyResult

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.baselines.classifiers import Classifier
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.inference.expected import Truth

__all__ = [
    "ScoreFit",
    "joined_quantiles",
    "score_ratio",
    "score_templates",
    "templates_projection",
]


@dataclass(frozen=True)
class _Scores:
    """Log odds of simulated events and their weights, each of shape (n,)."""

    values: Array
    weights: Array

    @classmethod
    def of(cls, events: Dataset, classifier: Classifier) -> _Scores:
        return cls(classifier(events), simulation_weights(events))


@dataclass(frozen=True)
class ScoreFit:
    """Fit of signal and background yields to a classifier score, binned or not.

    Attributes:
        name: Name of the strategy.
        mass: Space of the mass.
        classifier: Sees the features and the mass.
        edges: Bins in log odds; None for the unbinned ratio.
        ratio: Ratio of the signal's to the background's content of each bin; of one number, the mean of exp(log odds)
            over the background, if unbinned.
        background: Fraction of the background in each bin; None if unbinned.
    """

    name: str
    mass: zfit.Space
    classifier: Classifier
    edges: Array | None
    ratio: Array
    background: Array | None = None

    def fit(self, data: Dataset, *, dataset: int = 0) -> StrategyResult:
        """Measure the yield; see `Strategy`."""
        events = data.within(self.mass)
        score, weights = self.classifier(events), weights_of(events)
        if self.edges is None:
            ratio, counts, squares = np.exp(score) / self.ratio[0], weights, weights**2
        else:
            ratio, edges = self.ratio, self.edges
            counts, squares = (self._counts(score, weights**power, edges) for power in (1, 2))
        value, error, z = fit_yields(ratio, counts, None if events.weights is None else squares)
        return StrategyResult(self.name, dataset, value, error, z, score.size)

    def expect(self, truth: Truth, *, dataset: int = 0) -> Expectation:
        """Error for true densities; see `Strategy`.  An event's weight is its probability to be signal."""
        score = self.classifier(truth.events)
        if self.edges is None:
            ratio = np.exp(score) / self.ratio[0]
        else:
            at = np.searchsorted(self.edges, score, side="right") - 1
            ratio = self.ratio[np.clip(at, 0, self.ratio.size - 1)]
        signal = truth.n_signal * ratio
        return Expectation(self.name, dataset, truth.error(signal / (signal + truth.n_background)))

    @staticmethod
    def _counts(score: Array, weights: Array, edges: Array) -> Array:
        return np.histogram(np.clip(score, edges[0], edges[-1]), edges, weights=weights)[0]

    def projections(self, data: Dataset) -> tuple[Projection, ...]:
        """Bins of the data and of the fit, by their number, from background to signal; see figure 4 of the paper.

        Args:
            data: The data set.

        Raises:
            InputError: The fit is unbinned.
        """
        if self.edges is None or self.background is None:
            raise InputError.from_parts(expected="a binned fit", got=self.name, do="use score_templates")
        events = data.within(self.mass)
        score, weights = self.classifier(events), weights_of(events)
        counts, variance = (self._counts(score, weights**power, self.edges) for power in (1, 2))
        s, _, _ = fit_yields(self.ratio, counts)
        signal, background = s * self.ratio * self.background, (counts.sum() - s) * self.background
        edges = np.arange(counts.size + 1.0)
        return (templates_projection("score_bin", edges, (counts, variance), signal, background, self.name),)


def templates_projection(
    observable: str, edges: Array, counts: tuple[Array, Array], signal: Array, background: Array, words: str
) -> Projection:
    """Histogram of data with its variance, and expected signal and background that are known exactly; shapes (n,)."""
    data, variance = counts
    return Projection(
        observable=observable,
        edges=edges,
        data=data,
        data_variance=variance,
        components={"background": background, "signal": signal},
        component_variance={name: np.zeros_like(data) for name in ("background", "signal")},
        signal=("signal",),
        selection=words,
    )


def _templates(s: _Scores, b: _Scores, bins: int) -> tuple[Array, Array, Array]:
    """Edges in log odds, shape (k + 1,); ratio of signal to background, and fraction of the latter, by bin, (k,).

    Quantiles of the signal, joined from the top until each bin has enough background; as many as leave the wanted
    number of bins, or else the most below it.
    """

    def joined(n: int) -> Array:
        return joined_quantiles(s.values, b.values, n, signal_weights=s.weights, background_weights=b.weights)

    best = joined(bins)
    for n in range(bins + 1, 4 * bins):
        edges = joined(n)
        if best.size < edges.size <= bins + 1:
            best = edges
        if best.size == bins + 1:
            break
    parts = [np.histogram(part.values, best, weights=part.weights)[0] / part.weights.sum() for part in (s, b)]
    return best, parts[0] / parts[1], parts[1]


def joined_quantiles(
    s: Array, b: Array, n: int, *, signal_weights: Array | None = None, background_weights: Array | None = None
) -> Array:
    """Edges between n quantiles of the signal, without those that would leave a bin too little background.

    Args:
        s: Score of simulated signal, shape (k,).
        b: Score of simulated background, shape (l,).
        n: Number of bins, before neighbours are joined from the top until each has 20 background events.
        signal_weights: Weights of `s`, at least zero, shape (k,); one by default.
        background_weights: The same of `b`, shape (l,).

    Returns:
        Edges that contain all events, at least two.
    """
    weights = np.ones(s.size) if signal_weights is None else signal_weights
    edges = np.unique(quantiles(s, weights, np.linspace(0.0, 1.0, n + 1)))
    edges[0], edges[-1] = min(s.min(), b.min()), max(s.max(), b.max())
    w = np.ones(b.size) if background_weights is None else background_weights
    content, squares = (np.histogram(b, edges, weights=w**power)[0] for power in (1, 2))
    kept, filled = [edges[-1]], np.zeros(2)
    for k in range(len(content) - 1, -1, -1):
        filled += content[k], squares[k]
        if effective_number(*filled) > LEAST_BACKGROUND - 0.5:
            kept.append(edges[k])
            filled = np.zeros(2)
    return np.array([edges[0], *kept[-2:0:-1], edges[-1]])


def score_templates(
    signal: Dataset, background: Dataset, classifier: Classifier, *, mass: zfit.Space, bins: int = 50
) -> ScoreFit:
    """Fit of templates to a histogram of the score, which are taken as exact (paper, section 4.5).

    Bins are quantiles of the signal; where the signal is purest, neighbours are joined until each has 20 simulated
    background events.

    Args:
        signal: Simulated signal that the classifier was not trained with.
        background: Simulated background, likewise.
        classifier: Sees the features and the mass.
        mass: Space of the mass.
        bins: Number of bins; fewer where simulated background does not suffice.
    """
    s, b = (_Scores.of(events.within(mass), classifier) for events in (signal, background))
    return ScoreFit("binned score", mass, classifier, *_templates(s, b, bins))


def score_ratio(signal: Dataset, background: Dataset, classifier: Classifier, *, mass: zfit.Space) -> ScoreFit:
    """Unbinned fit of the classifier's density ratio: the optimum, if it knows the true densities.

    The log odds of a classifier are not quite the log ratio of densities.  In every bin of the templates, the mean of
    exp(log odds) over the background should be the ratio of their contents; a curve through what is missing is added.

    Args:
        signal: Simulated signal that the classifier was not trained with.
        background: Simulated background, likewise; on it the mean ratio is set to one.
        classifier: Sees the features and the mass.
        mass: Space of the mass.
    """
    s, b = (_Scores.of(events.within(mass), classifier) for events in (signal, background))
    edges, ratio, _ = _templates(s, b, 50)
    inside = np.clip(np.searchsorted(edges, b.values, side="right") - 1, 0, ratio.size - 1)
    content, total, moment = (
        np.bincount(inside, b.weights * values, ratio.size)
        for values in (np.ones(b.values.size), np.exp(b.values), b.values)
    )
    mean, centres = total / content, moment / content
    curve = PchipInterpolator(centres, np.log(ratio / mean))

    def calibrated(score: Array) -> Array:
        return np.asarray(score + curve(np.clip(score, centres[0], centres[-1])))

    sees = replace(classifier, log_odds=lambda values: calibrated(classifier.log_odds(values)))
    level = np.average(np.exp(calibrated(b.values)), weights=b.weights, keepdims=True)
    return ScoreFit("unbinned ratio", mass, sees, None, level)
