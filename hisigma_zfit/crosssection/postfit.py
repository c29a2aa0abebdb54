"""The fitted model beside the events that it was fitted to: distributions, and tests of whether it describes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.crosssection.propagation import derivatives, spread
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.results import CountingFit, Projection, RatioMap
from hisigma_zfit.statistics.weighted_samples import WeightedEvents, weighted_two_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.results import WeightedTest

__all__ = ["PostFit", "PreFit", "histogram_edges", "variation_maps"]

_BINS, _SCORE_BINS = 40, 25
_FEW = 25  # values of a feature that count as integers do
_SHOWN = 5  # features
_TAIL = 0.002  # of the events that no bin shows on each side
_CELLS = 30  # of a map by feature
_LEAST = 5.0  # effective events of a cell
_FOLLOWED = 1e-6  # share of a combination of bins that no fit follows exactly


@dataclass(frozen=True)
class PostFit:
    """A model at its best fit, and the events that it was fitted to.

    Attributes:
        model: What was learned, with its reference.
        likelihood: Of the events.
        theta: Best fit, shape (T,).
        free: Indices of the parameters that the events decide; the others are held or at a limit.
        events: Data, or an Asimov set.
        features: Names of the features.
        squares: Sums of squared weights of the nominal simulation by process and cell, shape (P, B).
    """

    words: ClassVar[str] = "Post-fit"
    model: RatioModel
    likelihood: RatioLikelihood
    theta: Array
    free: Integers
    events: Scored
    features: tuple[str, ...]
    squares: Array

    @cached_property
    def rows(self) -> Array:
        """Events that each simulated row stands for at the best fit, shape (n,)."""
        return self.likelihood.reference_rows(self.theta)

    @property
    def _reference(self) -> Scored:
        assert self.model.reference is not None
        return self.model.reference

    @cached_property
    def covariance(self) -> Array:
        """Of the free parameters, shape (k, k), from the Hessian where the bins contain what the fit expects.

        That of the observed contents differs by their fluctuations, and would not go with the expected variances.
        """
        own = self.likelihood
        expected = self._expected(self.theta)
        columns = replace(own.columns, counts=expected)
        hessian = own.with_data(columns, own.auxiliary.observed, self.theta).evaluate(self.theta).hessian
        return np.linalg.inv(hessian[np.ix_(self.free, self.free)])

    def _expected(self, theta: Array) -> Array:
        """Contents of the bins, shape (B - unbinned,)."""
        return self.likelihood.expected(theta)[:, self.likelihood.structure.unbinned :].sum(axis=0)

    def _derivatives(self, function: Callable[[Array], Array]) -> Array:
        """By the free parameters, shape (k, n) for a function of shape (n,)."""
        return derivatives(function, self.theta, self.free, self.covariance)

    @cached_property
    def _moved(self) -> Array:
        return self._derivatives(self.likelihood.reference_rows)

    def counting(self) -> CountingFit | None:
        """Chi2 of the counting bins; None without any that the fit does not follow, or for events with weights.

        To first order the fitted contents follow the observed ones, so that residuals have the covariance V - J^T C J
        with V of the contents, J the derivatives of the expected ones and C the covariance of the parameters, whatever
        else was fitted at the same time.  The simulation fluctuates too, by S, of which the fit follows as much: what
        is left is P S P^T with P = 1 - J^T C J V^-1.  Combinations of bins that the fit follows altogether have no
        residual and are not counted.
        """
        structure = self.likelihood.structure
        first = structure.unbinned
        if len(structure.cells) == first or self.events.weights is not None:
            return None
        expected = self._expected(self.theta)
        moved = self._derivatives(self._expected)
        scale = 1.0 / np.sqrt(expected)
        follows = scale[:, None] * (moved.T @ self.covariance @ moved) * scale
        values, axes = np.linalg.eigh(np.eye(len(expected)) - follows)
        left = axes[:, values > _FOLLOWED]
        if not left.shape[1]:
            return None
        rates = structure.rates.size[:, first:]
        factors = self.likelihood.expected(self.theta)[:, first:] / np.where(rates > 0.0, rates, 1.0)
        simulated = (factors**2 * self.squares[:, first:]).sum(axis=0) * scale**2
        keeps = np.eye(len(expected)) - follows
        spread = left.T @ (keeps + keeps @ (simulated[:, None] * keeps.T)) @ left
        residual = left.T @ (scale * (self.events.counts - expected))
        value = float(residual @ np.linalg.solve(spread, residual))
        return CountingFit(value, left.shape[1], float(chi2.sf(value, left.shape[1])))

    def tests(self, seed: int) -> dict[str, WeightedTest]:
        """Two-sample tests of the events and the fitted simulation by unbinned region.

        There is none where events are few, or have weights.  Rows that stand for fewer than no events, of a process
        with a negative strength, are left out.
        """
        found: dict[str, WeightedTest] = {}
        own = self._reference
        if self.events.weights is not None:
            return found
        assert own.x is not None
        assert own.event is not None
        assert self.events.x is not None
        for r, name in enumerate(self.likelihood.structure.cells[: self.likelihood.structure.unbinned]):
            here, there = np.flatnonzero(self.events.region == r), np.flatnonzero(own.region == r)
            data = WeightedEvents(self.events.x[here], np.ones(len(here)), np.arange(len(here)))
            model = WeightedEvents(own.x[there], np.maximum(self.rows[there], 0.0), own.event[there])
            try:
                found[name] = weighted_two_sample(data, model, seed=seed_for(seed, Purpose.GOODNESS_OF_FIT, r))
            except InputError:  # few events say nothing of many dimensions
                continue
        return found

    def projections(self, like: Sequence[Projection] = ()) -> tuple[Projection, ...]:
        """Score and the features that separate the signal best, by unbinned region.

        Args:
            like: Others of the same events, whose bins are taken.
        """
        found, structure = [], self.likelihood.structure
        known = {(own.category, own.observable): own.edges for own in like}
        assert self._reference.x is not None
        assert self.events.x is not None
        for r in range(structure.unbinned):
            shown = [self._score(r)]
            for j in self.separating(r)[:_SHOWN]:
                ours, theirs = self.events.x[:, j].astype(np.float64), self._reference.x[:, j].astype(np.float64)
                edges = known.get((structure.cells[r], self.features[j]))
                if edges is None:
                    edges = histogram_edges(theirs[self._reference.region == r], self.rows[self._reference.region == r])
                shown.append(self._projection(r, self.features[j], ours, theirs, edges))
            found += shown
        return tuple(found)

    def separating(self, region: int) -> list[int]:
        """Features by how far the signal's mean is from the others', in standard deviations, the farthest first."""
        own = self._reference
        assert own.x is not None
        assert own.weights is not None
        assert own.process is not None
        at = np.flatnonzero(own.region == region)
        x, weights, signal = own.x[at], np.maximum(own.weights[at], 0.0), own.process[at] == self.model.signal
        if not signal.any() or signal.all():
            return list(range(len(self.features)))
        means = [np.average(x[rows], axis=0, weights=weights[rows]) for rows in (signal, ~signal)]
        spread = np.sqrt(np.average((x[~signal] - means[1]) ** 2, axis=0, weights=weights[~signal]))
        away = np.abs(means[0] - means[1]) / np.where(spread > 0.0, spread, np.inf)
        return [int(j) for j in np.argsort(-away, kind="stable")]

    def _score(self, r: int) -> Projection:
        theirs = self._reference.score
        at = self._reference.region == r
        low, high = (float(np.quantile(theirs[at], q)) for q in (0.0, 1.0))
        if low > 0.0 and high > 30.0 * low:
            edges = np.geomspace(low, high, _SCORE_BINS + 1)
        else:
            edges = np.linspace(low, high, _SCORE_BINS + 1)
        edges[-1] = np.nextafter(edges[-1], np.inf)
        edges[0] = np.nextafter(edges[0], -np.inf)
        name = self.likelihood.structure.processes[self.model.signal]
        return self._projection(r, f"score.{name}", self.events.score, theirs, edges)

    def _projection(self, r: int, name: str, ours: Array, theirs: Array, edges: Array) -> Projection:
        structure, own, events = self.likelihood.structure, self._reference, self.events
        assert own.process is not None
        here, there = np.flatnonzero(events.region == r), np.flatnonzero(own.region == r)
        size = len(edges) - 1
        bins, inside = _binned(theirs[there], edges)
        rows = there[inside]
        slopes = np.array([np.bincount(bins, row[rows], size) for row in self._moved]).reshape(-1, size)
        band = spread(slopes, self.covariance)
        components, variances = {}, {}
        for p, process in enumerate(structure.processes):
            part = own.process[rows] == p
            components[process] = np.bincount(bins[part], self.rows[rows[part]], size).astype(np.float64)
            variances[process] = np.bincount(bins[part], self.rows[rows[part]] ** 2, size).astype(np.float64)
        signal = tuple(own for own in structure.processes if structure.pois.get(own))
        # the largest on top, but the signal on top of all
        order = sorted(components, key=lambda name: (name in signal, float(components[name].sum())))
        bins, inside = _binned(ours[here], edges)
        weights = np.ones(len(inside)) if events.weights is None else events.weights[here[inside]]
        data = np.bincount(bins, weights, size).astype(np.float64)
        every = np.ones(len(here)) if events.weights is None else events.weights[here]
        return Projection(
            observable=name,
            edges=edges,
            data=data,
            # of an Asimov set what data would have
            data_variance=data,
            components={name: components[name] for name in order},
            component_variance={name: variances[name] for name in order},
            signal=signal,
            category=structure.cells[r],
            model_error=band,
            model=self.words,
            outside=_beyond(ours[here], every, edges),
            model_outside=_beyond(theirs[there], self.rows[there], edges),
        )


@dataclass(frozen=True)
class PreFit(PostFit):
    """The same before the fit: strengths of one, nuisances where their measurements have them, with their errors."""

    words: ClassVar[str] = "Pre-fit"

    @classmethod
    def of(cls, fit: PostFit) -> PreFit:
        """Before a fit; of nuisances without a constraint nothing is known, and the band has not got them."""
        own = fit.likelihood
        known = dict(zip(own.constrained, own.auxiliary.observed.tolist(), strict=True))
        names = [parameter.name for parameter in own.parameters]
        theta = np.array([1.0 if name in own.yields else known.get(name, 0.0) for name in names])
        free = np.flatnonzero([name in known for name in names])
        return cls(fit.model, own, theta, free, fit.events, fit.features, fit.squares)

    @cached_property
    def covariance(self) -> Array:
        """Of the constraints: nuisances are in standard deviations, shape (k, k)."""
        return np.eye(len(self.free))


def _beyond(values: Array, weights: Array, edges: Array) -> tuple[float, float]:
    """Sums of weights below and above all bins."""
    return float(weights[values < edges[0]].sum()), float(weights[values > edges[-1]].sum())


def _binned(values: Array, edges: Array) -> tuple[Integers, Integers]:
    """Bin of each value that has one, and which they are."""
    bins = np.searchsorted(edges, values, side="right") - 1
    inside = np.flatnonzero((bins >= 0) & (bins < len(edges) - 1))
    return bins[inside], inside


def histogram_edges(values: Array, weights: Array, bins: int = _BINS) -> Array:
    """Edges of bins that hold nearly all events: one for each of a few integers, else equally wide ones.

    Args:
        values: Shape (n,).
        weights: Shape (n,).
        bins: How many, where they are equally wide.
    """
    order = np.argsort(values)
    share = np.cumsum(np.maximum(weights, 0.0)[order])
    ends = np.searchsorted(share, share[-1] * np.array([_TAIL, 1.0 - _TAIL]))
    low, high = values[order][ends.clip(0, len(order) - 1)]
    known = np.unique(values)
    if known[-1] - known[0] <= _FEW and np.array_equal(known, np.round(known)):
        return np.arange(known[0], known[-1] + 2.0) - 0.5
    if not high > low:
        low, high = float(known[0]), max(float(known[-1]), float(known[0]) + 1.0)
    edges = np.linspace(low, high, bins + 1)
    edges[-1] = np.nextafter(edges[-1], np.inf)  # many events may be where the feature ends
    return edges


def variation_maps(
    model: RatioModel, values: Array, points: Sequence[Sequence[float]], nuisances: Sequence[str], fit: PostFit
) -> tuple[RatioMap, ...]:
    """The signal's posterior, and how each nuisance alone changes the largest background, over two features.

    Of the first unbinned region.

    Args:
        model: What was learned, with its reference.
        values: Monomials of the design points, shape (D, K).
        points: The design points, as the options write them.
        nuisances: Names of their coordinates.
        fit: Names the features and which of them separate the signal best.
    """
    own = model.reference
    assert own is not None
    if not model.structure.unbinned or len(fit.features) < 2:
        return ()
    assert own.x is not None
    assert own.weights is not None
    assert own.process is not None
    at = np.flatnonzero(own.region == 0)
    first, second = fit.separating(0)[:2]
    x, y = own.x[at, first].astype(np.float64), own.x[at, second].astype(np.float64)
    weights, process = np.maximum(own.weights[at], 0.0), own.process[at]
    x_edges, y_edges = (histogram_edges(column, weights, _CELLS) for column in (x, y))

    def mean(quantity: Array, rows: Integers) -> dict[str, Any]:
        means = _means(x[rows], y[rows], weights[rows], quantity[rows], (x_edges, y_edges))
        names = {"x": fit.features[first], "y": fit.features[second]}
        return names | {"x_edges": x_edges, "y_edges": y_edges, "values": means}

    processes = model.structure.processes
    shares = own.posterior[at, model.signal].astype(np.float64)
    found = [RatioMap("posterior", processes[model.signal], **mean(shares, np.arange(len(at))))]
    sums = np.bincount(process, weights, len(processes))
    sums[[bool(model.structure.pois.get(name)) for name in processes]] = -1.0
    largest = int(np.argmax(sums))
    rows = np.flatnonzero(process == largest)
    for k, nuisance in enumerate(nuisances):
        alone = [d for d, point in enumerate(points) if point[k] > 0.0 and not np.any(np.delete(point, k))]
        if not alone or not len(rows):
            continue
        d = min(alone, key=lambda d: points[d][k])
        changed = np.exp(own.exponents[at, largest].astype(np.float64) @ values[d])
        setting = {nuisance: float(points[d][k])}
        found.append(RatioMap("variation", processes[largest], **mean(changed, rows), settings=setting))
    return tuple(found)


def _means(x: Array, y: Array, weights: Array, values: Array, edges: tuple[Array, ...]) -> Array:
    """Weighted means in cells of two features; nan where fewer than five effective events are."""
    sums, squares, total = (
        np.histogram2d(x, y, bins=edges, weights=own)[0] for own in (weights, weights**2, weights * values)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums**2 >= _LEAST * squares, total / sums, np.nan) if sums.size else sums
