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

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import zfit

from hisigma_zfit.baselines.cuts import Candidates
from hisigma_zfit.baselines.score_fits import (
    ScoreFit,
    score_ratio,
    score_templates,
    templates_projection,
)
from hisigma_zfit.baselines.weighted import simulation_weights, weights_of
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.expected import expect_fit
from hisigma_zfit.inference.hypotests import discovery
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.kappa import PolynomialYield
from hisigma_zfit.model.shapes import ExpQuadratic, evaluate, finite_limits, fit_shape
from hisigma_zfit.results.strategies import StrategyResult

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.baselines.classifiers import Classifier
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.inference.expected import Truth
    from hisigma_zfit.results import Projection
    from hisigma_zfit.results.strategies import Expectation

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


_CURVED = 200  # events in a class whose mass shape has a quadratic term


class Strategy(Protocol):
    """A way to measure the signal yield."""

    name: str

    def fit(self, data: Dataset, *, dataset: int = 0) -> StrategyResult:
        """Measure the yield in a data set; `dataset` is only noted in the result."""

    def expect(self, truth: Truth, *, dataset: int = 0) -> Expectation:
        """Error of the yield for true densities, from simulation that had no part in the preparation."""


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
        kept at zero or above; the error of zero is the upper side of its interval.
        """
        profiler = self.profiler(data)
        at_limit = profiler.best <= 0.0 and profiler.loss.parameters[profiler.index].has_limits
        return StrategyResult(
            strategy=self.name,
            dataset=dataset,
            value=profiler.best,
            error=profiler.crossing(1.0, upwards=True) - profiler.best if at_limit else profiler.error,
            z=discovery(profiler, "n_sig").z,
            n_events=sum(int(part.num_entries) for part in profiler.loss.data),
        )

    def expect(self, truth: Truth, *, dataset: int = 0) -> Expectation:
        """Error for true densities; see `Strategy`."""
        masks = _masks(truth.events, self.classifier, self.edges)
        profiler = self._converged([truth.events.select(mask) for mask in masks])
        return expect_fit(self.name, profiler, truth, masks, dataset=dataset)

    def profiler(self, data: Dataset) -> Profiler:
        """Profile likelihood of the yield in a data set, which `fit` summarises.

        Raises:
            FitError: The fit did not converge.
        """
        return self._converged(self._parts(data))

    def _parts(self, data: Dataset) -> list[Dataset]:
        return _classes(data.within(self.mass), self.classifier, self.edges)

    def _converged(self, parts: list[Dataset]) -> Profiler:
        try:
            return self._profiler(parts, None)
        except FitError:
            return self._profiler(parts, 0.0)

    def projections(self, data: Dataset, *, bins: int = 45) -> tuple[Projection, ...]:
        """Mass of the data and of the fit in each class, the highest last; see figure 4 of the paper.

        Args:
            data: The data set.
            bins: Number of bins.
        """
        parts, profiler = self._parts(data), self.profiler(data)
        edges, name = np.linspace(*finite_limits(self.mass), bins + 1), self.mass.obs[0]
        with zfit.param.set_values(profiler.loss.parameters, profiler.minimum.theta):
            expected = [[_expected(pdf, edges) for pdf in model.pdfs] for model in profiler.loss.model]
        found = []
        for part, (signal, background) in zip(parts, expected, strict=True):
            counts, variance = (
                np.histogram(part[name], edges, weights=weights_of(part) ** power)[0] for power in (1, 2)
            )
            found.append(templates_projection(name, edges, (counts, variance), signal, background, self.name))
        return tuple(found)

    def _profiler(self, parts: list[Dataset], lower: float | None) -> Profiler:
        poi = zfit.Parameter("n_sig", 1.0, lower, stepsize=10.0)
        models = [
            self._model(k, float(weights_of(part).sum()), peak, fraction, poi)
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


def _expected(pdf: zfit.pdf.BasePDF, edges: Array) -> Array:
    """Events of an extended PDF in bins of equal width with n + 1 edges, shape (n,)."""
    width = edges[1] - edges[0]
    points = edges[:-1, None] + width * (np.arange(20) + 0.5) / 20.0
    density = evaluate(pdf, points.ravel()).reshape(points.shape).mean(axis=1)
    return np.asarray(width * np.squeeze(pdf.get_yield().value()) * density)


def _masks(events: Dataset, classifier: Classifier | None, edges: tuple[float, ...]) -> list[Mask]:
    """Which events have log odds between neighbouring edges."""
    if classifier is None:
        return [np.ones(len(events), dtype=bool)]
    score = classifier(events)
    return [(score >= lower) & (score < upper) for lower, upper in pairwise(edges)]


def _classes(events: Dataset, classifier: Classifier | None, edges: tuple[float, ...]) -> list[Dataset]:
    """Events whose log odds lie between neighbouring edges."""
    if classifier is None:
        return [events]
    return [events.select(mask, reason="classifier") for mask in _masks(events, classifier, edges)]


def _mass_fit(
    name: str,
    signal: Dataset,
    mass: zfit.Space,
    classifier: Classifier | None = None,
    edges: tuple[float, ...] = (-np.inf, np.inf),
) -> MassFit:
    """Fit the peak of every class to simulation."""
    inside = signal.within(mass)
    parts, total = _classes(inside, classifier, edges), simulation_weights(inside).sum()
    return MassFit(
        name=name,
        mass=mass,
        peaks=tuple(fit_shape(zfit.pdf.DoubleCB, part, mass, prefix=f"peak{k}_") for k, part in enumerate(parts)),
        fractions=tuple(float(weights_of(part).sum() / total) for part in parts),
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
    found = _candidates(signal, background, classifier, mass, region, expected)
    name = "cut and fit" if expected == 0.0 else "cut at S/sqrt(S+B)"
    return _mass_fit(name, signal, mass, classifier, (found.best_cut(), np.inf))


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
    found = _candidates(signal, background, classifier, mass, region, expected)
    return _mass_fit(f"{n} categories", signal, mass, classifier, found.best_classes(n))


def _candidates(
    signal: Dataset,
    background: Dataset,
    classifier: Classifier,
    mass: zfit.Space,
    region: SignalRegion,
    expected: float,
) -> Candidates:
    if mass.obs[0] in classifier.names:
        raise InputError.from_parts(
            expected="a classifier that does not see the mass",
            got=", ".join(classifier.names),
            do="train it on the features alone",
        )
    s, b = (events.signal_region(mass, region) for events in (signal, background))
    return Candidates.of(
        classifier(s),
        classifier(b),
        expected,
        signal_weights=simulation_weights(s),
        background_weights=simulation_weights(b),
    )
