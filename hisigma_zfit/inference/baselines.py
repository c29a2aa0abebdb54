"""What the method is compared with (paper, arXiv:2506.06438, section 4.5), on equal terms.

| strategy | fitted | what it knows of the background |
|---|---|---|
| `mass_only` | the mass | a smooth mass shape, floating |
| `cut_and_fit` | the mass above a cut on a classifier of the features | the same; simulation chose the cut |
| `categories` | the mass in several classes of that classifier, as experiments do | the same in each class |
| `score_templates` | a binned classifier of features and mass | its exact shape from simulation: idealised |
| `score_ratio` | that classifier as an unbinned density ratio | the same: the best that can be reached |

Each is prepared once from simulation and then applied to data sets: ``strategy.fit(data)``.  Yields are those before
any cut, so that all strategies measure the same number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import zfit
from iminuit import Minuit
from scipy.interpolate import PchipInterpolator

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.inference.fitting import Profiler
from hisigma_zfit.inference.hypotests import discovery
from hisigma_zfit.model.kappa import PolynomialYield
from hisigma_zfit.model.likelihood import ExtendedNLL
from hisigma_zfit.model.shapes import ExpQuadratic, fit_shape
from hisigma_zfit.results_strategies import StrategyResult

if TYPE_CHECKING:
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.inference.classifiers import Classifier

__all__ = [
    "MassFit",
    "ScoreFit",
    "Strategy",
    "categories",
    "cut_and_fit",
    "mass_only",
    "score_ratio",
    "score_templates",
]

Array = npt.NDArray[np.float64]

_LEAST_BACKGROUND = 20  # simulated background events that a cut or a bin must keep, so that its yield is known
_CURVED = 200  # events in a class whose mass shape has a quadratic term
_CUTS = 200  # quantiles of the signal at which cuts are tried


class Strategy(Protocol):
    """A way to measure the signal yield."""

    name: str

    def fit(self, data: Dataset, *, dataset: int = 0) -> StrategyResult:
        """Measure the yield in a data set; `dataset` is only noted in the result."""


@dataclass(frozen=True)
class MassFit:
    """Fit of the mass in one or more classes of events, with a common signal yield.

    Attributes:
        name: Name of the strategy.
        mass: Space of the mass.
        peaks: Frozen mass shape of the signal in each class.
        fractions: Fraction of the signal in each class.
        classifier: What the classes are made of, or None for one class with all events.
        edges: Log odds between which the classes lie, one more than classes.
    """

    name: str
    mass: zfit.Space
    peaks: tuple[zfit.pdf.BasePDF, ...]
    fractions: tuple[float, ...]
    classifier: Classifier | None = None
    edges: tuple[float, ...] = (-np.inf, np.inf)

    def fit(self, data: Dataset, *, dataset: int = 0) -> StrategyResult:
        """Measure the yield; see `Strategy`.

        Where a negative yield would make the density negative, as it may in classes of very few events, the yield is
        kept at zero or above.
        """
        events = data.within(self.mass)
        parts = _classes(events, self.classifier, self.edges)
        try:
            profiler = self._profiler(parts, None)
        except FitError:
            profiler = self._profiler(parts, 0.0)
        return StrategyResult(
            strategy=self.name,
            dataset=dataset,
            value=profiler.best,
            error=profiler.error,
            z=discovery(profiler, "n_sig").z,
            n_events=sum(len(part) for part in parts),
        )

    def _profiler(self, parts: list[Dataset], lower: float | None) -> Profiler:
        poi = zfit.Parameter("n_sig", 1.0, lower, stepsize=10.0)
        models = [
            self._model(k, float(len(part)), peak, fraction, poi)
            for k, (part, peak, fraction) in enumerate(zip(parts, self.peaks, self.fractions, strict=True))
        ]
        return Profiler(ExtendedNLL(models, parts), "n_sig")

    def _model(self, k: int, n: float, peak: zfit.pdf.BasePDF, fraction: float, poi: zfit.Parameter) -> zfit.pdf.SumPDF:
        signal = PolynomialYield(f"n_sig_{k}", poi, [fraction, 0.0])
        p1, p2 = (
            zfit.Parameter(f"{name}_{k}", start, -30.0, 30.0, stepsize=0.1)
            for name, start in (("p1", 1.0), ("p2", 0.0))
        )
        p2.floating = n >= _CURVED  # a plain exponential where a curvature could not be seen
        background = zfit.Parameter(f"n_bkg_{k}", n, 0.0, stepsize=max(1.0, 0.1 * np.sqrt(n)))
        falling = ExpQuadratic(self.mass, p1, p2, extended=background)
        return zfit.pdf.SumPDF([peak.create_extended(signal), falling])


def _classes(events: Dataset, classifier: Classifier | None, edges: tuple[float, ...]) -> list[Dataset]:
    """Events whose log odds lie between neighbouring edges."""
    if classifier is None:
        return [events]
    score = classifier(events)
    return [events.select((score >= lower) & (score < upper), reason="classifier") for lower, upper in pairwise(edges)]


def _mass_fit(
    name: str,
    signal: Dataset,
    mass: zfit.Space,
    classifier: Classifier | None = None,
    edges: tuple[float, ...] = (-np.inf, np.inf),
) -> MassFit:
    """Fit the peak of every class to simulation."""
    inside = signal.within(mass)
    parts = _classes(inside, classifier, edges)
    return MassFit(
        name=name,
        mass=mass,
        peaks=tuple(fit_shape(zfit.pdf.DoubleCB, part, mass, prefix=f"peak{k}_") for k, part in enumerate(parts)),
        fractions=tuple(len(part) / len(inside) for part in parts),
        classifier=classifier,
        edges=edges,
    )


def mass_only(signal: Dataset, *, mass: zfit.Space) -> MassFit:
    """Fit of the mass of all events.

    Args:
        signal: Simulated signal.
        mass: Space of the mass.
    """
    return _mass_fit("mass only", signal, mass)


def _candidates(s: Array, b: Array, expected: float) -> tuple[Array, Array]:
    """Cuts between which classes may lie, shape (n + 1,), and S^2 / (S + B) of the class from one to another.

    A class with too little simulated background is worth minus infinity.

    Args:
        s: Log odds of the signal inside the signal region.
        b: The same of the background.
        expected: Signal by background events there; zero for S^2 / B.
    """
    cuts = np.unique(np.quantile(s, np.linspace(0.0, 1.0, _CUTS + 1)))
    cuts[0], cuts[-1] = -np.inf, np.inf
    n_signal, n_background = (np.searchsorted(np.sort(score), cuts) for score in (s, b))
    signal, background = (n[None, :] - n[:, None] for n in (n_signal / s.size, n_background / b.size))
    enough = background * b.size > _LEAST_BACKGROUND - 0.5
    worth = signal**2 / np.where(enough, expected * signal + background, 1.0)
    return cuts, np.where(enough, worth, -np.inf)


def _best_classes(cuts: Array, worth: Array, n: int) -> tuple[float, ...]:
    """Edges of the n classes that cover everything and maximise the sum of their worth, by dynamic programming."""
    best, steps = worth[:, -1], []
    for _ in range(n - 1):
        total = worth + best[None, :]  # a class from one cut to another, and the best classes above
        steps.append(total.argmax(axis=1))
        best = total.max(axis=1)
    at, edges = 0, [cuts[0]]
    for step in reversed(steps):
        at = int(step[at])
        edges.append(cuts[at])
    return (*map(float, edges), np.inf)


def cut_and_fit(
    signal: Dataset,
    background: Dataset,
    classifier: Classifier,
    *,
    mass: zfit.Space,
    region: SignalRegion,
    expected: float = 0.0,
) -> MassFit:
    """Fit of the mass above the cut on a classifier that maximises S / sqrt(B) in the signal region.

    Args:
        signal: Simulated signal that the classifier was not trained with.
        background: Simulated background, likewise.
        classifier: Trained on the features alone: one that sees the mass would make a peak of the background.
        mass: Space of the mass.
        region: The signal region.
        expected: Signal events by background event that are expected in the region; given, S / sqrt(S + B) is
            maximised, which does not run away to cuts that leave hardly any background.

    Raises:
        InputError: The classifier sees the mass.
    """
    s, b = _region_scores(signal, background, classifier, mass, region)
    cuts, worth = _candidates(s, b, expected)
    name = "cut and fit" if expected == 0.0 else "cut at S/sqrt(S+B)"
    return _mass_fit(name, signal, mass, classifier, (float(cuts[worth[:, -1].argmax()]), np.inf))


def categories(
    signal: Dataset,
    background: Dataset,
    classifier: Classifier,
    *,
    mass: zfit.Space,
    region: SignalRegion,
    expected: float,
    n: int = 4,
) -> MassFit:
    """Simultaneous fit of the mass in several classes of a classifier, as ATLAS and CMS do.

    The cuts maximise the sum of S^2 / (S + B) over the classes in the signal region; the lowest class holds all the
    rest, so that no signal is lost.

    Args:
        signal: As for `cut_and_fit`.
        background: As for `cut_and_fit`.
        classifier: As for `cut_and_fit`.
        mass: Space of the mass.
        region: The signal region.
        expected: Signal events by background event that are expected in the region.
        n: Number of classes, at least two.

    Raises:
        InputError: The classifier sees the mass, or fewer than two classes.
    """
    if n < 2:
        raise InputError.from_parts(expected="at least two classes", got=str(n), do="use cut_and_fit for one")
    s, b = _region_scores(signal, background, classifier, mass, region)
    return _mass_fit(f"{n} categories", signal, mass, classifier, _best_classes(*_candidates(s, b, expected), n))


def _region_scores(
    signal: Dataset, background: Dataset, classifier: Classifier, mass: zfit.Space, region: SignalRegion
) -> tuple[Array, Array]:
    if mass.obs[0] in classifier.names:
        raise InputError.from_parts(
            expected="a classifier that does not see the mass",
            got=", ".join(classifier.names),
            do="train it on the features alone",
        )
    s, b = (classifier(events.signal_region(mass, region)) for events in (signal, background))
    return s, b


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
    """

    name: str
    mass: zfit.Space
    classifier: Classifier
    edges: Array | None
    ratio: Array

    def fit(self, data: Dataset, *, dataset: int = 0) -> StrategyResult:
        """Measure the yield; see `Strategy`."""
        score = self.classifier(data.within(self.mass))
        if self.edges is None:
            value, error, z = fit_yields(np.exp(score) / self.ratio[0], np.ones(score.size))
        else:
            counts = np.histogram(np.clip(score, self.edges[0], self.edges[-1]), self.edges)[0]
            value, error, z = fit_yields(self.ratio, counts.astype(np.float64))
        return StrategyResult(self.name, dataset, value, error, z, score.size)


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


def _templates(s: Array, b: Array, bins: int) -> tuple[Array, Array]:
    """Edges in log odds, shape (k + 1,), and ratio of signal to background in each bin, shape (k,)."""
    edges = np.unique(np.quantile(s, np.linspace(0.0, 1.0, bins + 1)))
    edges[0], edges[-1] = min(edges[0], b.min()), max(edges[-1], b.max())
    content = np.histogram(b, edges)[0]
    kept, filled = [edges[-1]], 0
    for k in range(len(content) - 1, -1, -1):
        filled += int(content[k])
        if filled >= _LEAST_BACKGROUND:
            kept.append(edges[k])
            filled = 0
    kept[-1] = edges[0]
    edges = np.array(kept[::-1])
    parts = [np.histogram(score, edges)[0] / score.size for score in (s, b)]
    return edges, parts[0] / parts[1]


def score_templates(
    signal: Dataset, background: Dataset, classifier: Classifier, *, mass: zfit.Space, bins: int = 50
) -> ScoreFit:
    """Fit of templates to a histogram of the score, which are taken as exact (paper, section 4.5).

    Each bin holds the same share of the signal; neighbours are joined until each has 20 simulated background events.

    Args:
        signal: Simulated signal that the classifier was not trained with.
        background: Simulated background, likewise.
        classifier: Sees the features and the mass.
        mass: Space of the mass.
        bins: Number of bins before neighbours are joined.
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
    edges, ratio = _templates(s, b, 50)
    inside = np.clip(np.searchsorted(edges, b, side="right") - 1, 0, ratio.size - 1)
    content = np.bincount(inside, minlength=ratio.size)
    mean, centres = (np.bincount(inside, values, ratio.size) / content for values in (np.exp(b), b))
    curve = PchipInterpolator(centres, np.log(ratio / mean))

    def calibrated(score: Array) -> Array:
        return np.asarray(score + curve(np.clip(score, centres[0], centres[-1])))

    sees = replace(classifier, log_odds=lambda values: calibrated(classifier.log_odds(values)))
    return ScoreFit("unbinned ratio", mass, sees, None, np.array([np.exp(calibrated(b)).mean()]))
