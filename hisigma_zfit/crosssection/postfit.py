"""The fitted model beside the events that it was fitted to: distributions, and tests of whether it describes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.results import CountingFit, Projection, RatioMap
from hisigma_zfit.statistics.weighted_samples import WeightedEvents, weighted_two_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.results import WeightedTest

__all__ = ["PostFit", "variation_maps"]

_STEP = 1e-3  # of a parameter's error, for derivatives
_BINS, _SCORE_BINS = 40, 25
_FEW = 25  # values of a feature that count as integers do
_SHOWN = 5  # features
_TAIL = 0.002  # of the events that no bin shows on each side
_CELLS = 30  # of a map by feature
_LEAST = 5.0  # effective events of a cell


@dataclass(frozen=True)
class PostFit:
    """A model at its best fit, and the events that it was fitted to.

    Attributes:
        model: What was learned, with its reference.
        likelihood: Of the events.
        theta: Best fit, shape (T,).
        covariance: Of theta, shape (T, T); 0 or nan for parameters at a limit.
        events: Data, or an Asimov set.
        features: Names of the features.
    """

    model: RatioModel
    likelihood: RatioLikelihood
    theta: Array
    covariance: Array
    events: Scored
    features: tuple[str, ...]

    @cached_property
    def rows(self) -> Array:
        """Events that each simulated row stands for at the best fit, shape (n,)."""
        return self.likelihood.reference_rows(self.theta)

    @property
    def _reference(self) -> Scored:
        assert self.model.reference is not None
        return self.model.reference

    @cached_property
    def _moved(self) -> tuple[Array, Array]:
        """Derivatives of `rows`, shape (k, n), by the k parameters that move, and the covariance of these."""
        covered = np.nan_to_num(self.covariance)
        errors = np.sqrt(np.maximum(np.diag(covered), 0.0))
        moving = np.flatnonzero(errors > 0.0)
        found = np.zeros((len(moving), len(self.rows)))
        for i, k in enumerate(moving):
            step = np.zeros(len(self.theta))
            step[k] = _STEP * errors[k]
            above, below = (self.likelihood.reference_rows(self.theta + sign * step) for sign in (1.0, -1.0))
            found[i] = (above - below) / (2.0 * step[k])
        return found, covered[np.ix_(moving, moving)]

    def counting(self) -> CountingFit | None:
        """Chi2 of the counting bins; None without any.

        To first order the fitted counts follow the observed ones, so that the residuals have the covariance V - J C J^T
        of a linear fit, with V that of the counts, J the derivatives of the expected ones and C the covariance of the
        parameters, whatever else was fitted at the same time.
        """
        structure = self.likelihood.structure
        first, size = structure.unbinned, len(structure.cells) - structure.unbinned
        if not size:
            return None
        expected = self.likelihood.expected(self.theta)[:, first:].sum(axis=0)
        covered = np.nan_to_num(self.covariance)
        errors = np.sqrt(np.maximum(np.diag(covered), 0.0))
        moved = np.zeros((len(errors), size))
        for k in np.flatnonzero(errors > 0.0):
            step = np.zeros(len(errors))
            step[k] = _STEP * errors[k]
            above, below = (
                self.likelihood.expected(self.theta + sign * step)[:, first:].sum(axis=0) for sign in (1.0, -1.0)
            )
            moved[k] = (above - below) / (2.0 * step[k])
        left = np.diag(expected) - moved.T @ covered @ moved
        residual = self.events.counts - expected
        value = float(residual @ np.linalg.pinv(left, rcond=1e-10, hermitian=True) @ residual)
        return CountingFit(value, size, float(chi2.sf(value, size)))

    def tests(self, seed: int) -> dict[str, WeightedTest]:
        """Two-sample tests of the events and the fitted simulation by unbinned region; none where events are few."""
        found, own = {}, self._reference
        assert own.x is not None
        assert own.event is not None
        assert self.events.x is not None
        for r, name in enumerate(self.likelihood.structure.cells[: self.likelihood.structure.unbinned]):
            here, there = np.flatnonzero(self.events.region == r), np.flatnonzero(own.region == r)
            weights = np.ones(len(here)) if self.events.weights is None else self.events.weights[here]
            event = np.arange(len(here)) if self.events.event is None else self.events.event[here]
            data = WeightedEvents(self.events.x[here], weights, event)
            model = WeightedEvents(own.x[there], np.maximum(self.rows[there], 0.0), own.event[there])
            try:
                found[name] = weighted_two_sample(data, model, seed=seed_for(seed, Purpose.GOODNESS_OF_FIT, r))
            except InputError:  # few events say nothing of many dimensions
                continue
        return found

    def projections(self) -> tuple[Projection, ...]:
        """Score and the features that separate the signal best, by unbinned region."""
        found, structure = [], self.likelihood.structure
        assert self._reference.x is not None
        assert self.events.x is not None
        for r in range(structure.unbinned):
            shown = [self._score(r)]
            for j in self.separating(r)[:_SHOWN]:
                ours, theirs = self.events.x[:, j].astype(np.float64), self._reference.x[:, j].astype(np.float64)
                edges = _edges(theirs[self._reference.region == r], self.rows[self._reference.region == r])
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
        moved, covariance = self._moved
        slopes = np.array([np.bincount(bins, row[rows], size) for row in moved]).reshape(len(moved), size)
        band = np.sqrt(np.maximum(np.einsum("ib,ij,jb->b", slopes, covariance, slopes), 0.0))
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
        )


def _binned(values: Array, edges: Array) -> tuple[Integers, Integers]:
    """Bin of each value that has one, and which they are."""
    bins = np.searchsorted(edges, values, side="right") - 1
    inside = np.flatnonzero((bins >= 0) & (bins < len(edges) - 1))
    return bins[inside], inside


def _edges(values: Array, weights: Array) -> Array:
    """Of bins that hold nearly all events: one for each of a few integers, else equally wide ones."""
    order = np.argsort(values)
    share = np.cumsum(np.maximum(weights, 0.0)[order])
    low, high = values[order][
        np.searchsorted(share, share[-1] * np.array([_TAIL, 1.0 - _TAIL])).clip(0, len(order) - 1)
    ]
    known = np.unique(values)
    if len(known) <= _FEW and np.array_equal(known, np.round(known)):
        return np.arange(known[0], known[-1] + 2.0) - 0.5
    if not high > low:
        low, high = float(known[0]), max(float(known[-1]), float(known[0]) + 1.0)
    return np.linspace(low, high, _BINS + 1)


def variation_maps(
    model: RatioModel, values: Array, points: Sequence[Sequence[float]], nuisances: Sequence[str], fit: PostFit
) -> tuple[RatioMap, ...]:
    """The signal's posterior, and how each nuisance alone changes the largest background, over two features.

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
    x_edges, y_edges = (_edges(column, weights)[:: _step(column, weights)] for column in (x, y))

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


def _step(column: Array, weights: Array) -> int:
    """Which of the edges a map takes, so that it has about _CELLS of them."""
    return max(1, round((len(_edges(column, weights)) - 1) / _CELLS))


def _means(x: Array, y: Array, weights: Array, values: Array, edges: tuple[Array, ...]) -> Array:
    """Weighted means in cells of two features; nan where fewer than five effective events are."""
    sums, squares, total = (
        np.histogram2d(x, y, bins=edges, weights=own)[0] for own in (weights, weights**2, weights * values)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums**2 >= _LEAST * squares, total / sums, np.nan) if sums.size else sums
