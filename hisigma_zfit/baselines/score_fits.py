"""Fits of a classifier's score, binned or as a density ratio: what could be reached if simulation were exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from iminuit import Minuit
from scipy.interpolate import PchipInterpolator

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
    "LEAST_BACKGROUND",
    "ScoreFit",
    "fit_yields",
    "joined_quantiles",
    "score_ratio",
    "score_templates",
    "templates_projection",
]


LEAST_BACKGROUND = 20  # simulated background events that a cut or a bin must keep, so that its yield is known


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
        score = self.classifier(data.within(self.mass))
        if self.edges is None:
            value, error, z = fit_yields(np.exp(score) / self.ratio[0], np.ones(score.size))
        else:
            value, error, z = fit_yields(self.ratio, self._counts(score, self.edges))
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
    def _counts(score: Array, edges: Array) -> Array:
        return np.histogram(np.clip(score, edges[0], edges[-1]), edges)[0].astype(np.float64)

    def projections(self, data: Dataset) -> tuple[Projection, ...]:
        """Bins of the data and of the fit, by their number, from background to signal; see figure 4 of the paper.

        Args:
            data: The data set.

        Raises:
            InputError: The fit is unbinned.
        """
        if self.edges is None or self.background is None:
            raise InputError.from_parts(expected="a binned fit", got=self.name, do="use score_templates")
        counts = self._counts(self.classifier(data.within(self.mass)), self.edges)
        s, _, _ = fit_yields(self.ratio, counts)
        signal, background = s * self.ratio * self.background, (counts.sum() - s) * self.background
        edges = np.arange(counts.size + 1.0)
        return (templates_projection("score_bin", edges, counts, signal, background, self.name),)


def templates_projection(
    observable: str, edges: Array, counts: Array, signal: Array, background: Array, words: str
) -> Projection:
    """Histogram of data with expected signal and background that are known exactly, each of shape (n,)."""
    return Projection(
        observable=observable,
        edges=edges,
        data=counts,
        data_variance=counts,
        components={"background": background, "signal": signal},
        component_variance={name: np.zeros_like(counts) for name in ("background", "signal")},
        signal=("signal",),
        selection=words,
    )


def fit_yields(ratio: Array, counts: Array) -> tuple[float, float, float]:
    """Extended fit of s and b to bins or events of known density ratio: -log L = s + b - sum_i n_i log(s r_i + b).

    For bins this is the Poisson likelihood of s S_i + b B_i without constants, with r_i = S_i / B_i.

    Args:
        ratio: r_i, shape (n,).
        counts: Events n_i at each, shape (n,).

    Returns:
        s, its error from the Hessian, and sqrt(q0).
    """
    total = float(counts.sum())

    def nll(s: float, b: float) -> float:
        density = s * ratio + b
        if (density[counts > 0] <= 0.0).any():
            return 1e12  # beyond the edge of validity
        return float(s + b - counts @ np.log(np.maximum(density, 1e-300)))

    def gradient(s: float, b: float) -> tuple[float, float]:
        share = counts / np.maximum(s * ratio + b, 1e-300)
        return float(1.0 - share @ ratio), float(1.0 - share.sum())

    minuit = Minuit(nll, s=0.01 * total, b=0.99 * total, grad=gradient)
    minuit.errordef, minuit.tol = Minuit.LIKELIHOOD, 1e-4
    minuit.migrad()
    s, b = minuit.values
    share = counts / (s * ratio + b) ** 2
    # the Hessian is known exactly
    hessian = np.array([[share @ ratio**2, share @ ratio], [share @ ratio, share.sum()]])
    error = float(np.sqrt(np.linalg.inv(hessian)[0, 0]))
    q0 = 2.0 * (nll(0.0, total) - nll(s, b)) if s > 0 else 0.0
    return float(s), error, float(np.sqrt(max(q0, 0.0)))


def _templates(s: Array, b: Array, bins: int) -> tuple[Array, Array, Array]:
    """Edges in log odds, shape (k + 1,); ratio of signal to background, and fraction of the latter, by bin, (k,).

    Quantiles of the signal, joined from the top until each bin has enough background; as many as leave the wanted
    number of bins, or else the most below it.
    """
    best = joined_quantiles(s, b, bins)
    for n in range(bins + 1, 4 * bins):
        edges = joined_quantiles(s, b, n)
        if best.size < edges.size <= bins + 1:
            best = edges
        if best.size == bins + 1:
            break
    parts = [np.histogram(score, best)[0] / score.size for score in (s, b)]
    return best, parts[0] / parts[1], parts[1]


def joined_quantiles(s: Array, b: Array, n: int) -> Array:
    """Edges between n quantiles of the signal, without those that would leave a bin too little background.

    Args:
        s: Score of simulated signal, shape (k,).
        b: Score of simulated background, shape (l,).
        n: Number of bins, before neighbours are joined from the top until each has 20 background events.

    Returns:
        Edges that contain all events, at least two.
    """
    edges = np.unique(np.quantile(s, np.linspace(0.0, 1.0, n + 1)))
    edges[0], edges[-1] = min(edges[0], b.min()), max(edges[-1], b.max())
    content = np.histogram(b, edges)[0]
    kept, filled = [edges[-1]], 0
    for k in range(len(content) - 1, -1, -1):
        filled += int(content[k])
        if filled >= LEAST_BACKGROUND:
            kept.append(edges[k])
            filled = 0
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
    s, b = (classifier(events.within(mass)) for events in (signal, background))
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
    s, b = (classifier(events.within(mass)) for events in (signal, background))
    edges, ratio, _ = _templates(s, b, 50)
    inside = np.clip(np.searchsorted(edges, b, side="right") - 1, 0, ratio.size - 1)
    content = np.bincount(inside, minlength=ratio.size)
    mean, centres = (np.bincount(inside, values, ratio.size) / content for values in (np.exp(b), b))
    curve = PchipInterpolator(centres, np.log(ratio / mean))

    def calibrated(score: Array) -> Array:
        return np.asarray(score + curve(np.clip(score, centres[0], centres[-1])))

    sees = replace(classifier, log_odds=lambda values: calibrated(classifier.log_odds(values)))
    return ScoreFit("unbinned ratio", mass, sees, None, np.array([np.exp(calibrated(b)).mean()]))
