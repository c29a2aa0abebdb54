"""Mass shapes beside the events that they were fitted to, with the errors of their parameters.

`fit_shape` keeps values only.  The covariance is found here: H^-1 J H^-1 with the Hessian H of the weighted -log L and
the sum J of the outer products of its scores, each with its squared weight; without weights, and where the shape is
right, it is the inverse Hessian.  Both come from differences of the density at some thousand weighted mean masses,
which stand for all events.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.data.region import beside
from hisigma_zfit.model import shapes
from hisigma_zfit.model.masked import windows_of
from hisigma_zfit.model.projections import round_edges, whole_edges
from hisigma_zfit.results import Estimate, ShapeFit, ShapeParameters
from hisigma_zfit.statistics.binned_chi2 import binned_chi2
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data import Dataset, SignalRegion

__all__ = ["background_shape", "covariance_of_shape", "rows_of", "simulated_shape"]

_GROUPS = 2000  # weighted mean masses
_STEP = 0.2  # of an error, for second differences
_FLAT = 1e-3  # least eigenvalue of a Hessian in units of its diagonal that differences tell from zero
_BINS, _POINTS, _NODES = 50, 400, 5
_TAIL = 0.002  # of the simulated events that the figure of a peak leaves out on each side


def _grouped(m: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Mean masses of groups of neighbours, with their sums of weights and of squared weights."""
    order = np.argsort(m)
    starts = np.unique(np.linspace(0, m.size, min(_GROUPS, m.size), endpoint=False).astype(int))
    sums, squares, plain = (np.add.reduceat(v[order], starts) for v in (weights, weights**2, m))
    return plain / np.diff([*starts, m.size]), sums, squares


def _independent(pdf: Any) -> list[Any]:
    return sorted(pdf.get_params(floating=None, is_yield=False, extract_independent=True), key=lambda p: str(p.name))


def rows_of(matrix: Array) -> tuple[tuple[float, ...], ...]:
    """A matrix for a result that is compared as a whole."""
    return tuple(tuple(row) for row in matrix.tolist())


def _at_limit(parameter: Any) -> bool:
    """Whether the value is at an end of its range, as closely as a minimiser goes."""
    if not parameter.has_limits:
        return False
    lower, upper, value = (float(v) for v in (parameter.lower, parameter.upper, parameter.value()))
    reach = 1e-3 * (upper - lower) if np.isfinite(upper - lower) else 1e-6 * max(1.0, abs(value))
    return value - lower < reach or upper - value < reach


def covariance_of_shape(pdf: Any, m: Array, weights: Array) -> tuple[list[Any], dict[str, str], Array]:
    """Covariance of a shape's parameters in a fit to masses, which it has been through.

    Args:
        pdf: The shape at its fitted parameters.
        m: Masses in its range, shape (n,).
        weights: Of the events, shape (n,).

    Returns:
        The F parameters that the events determine, why the others have no error (``"at its limit"``,
        ``"not determined"``) by name, and the covariance, shape (F, F).
    """
    masses, sums, squares = _grouped(m, weights)
    every = _independent(pdf)
    free = [p for p in every if not _at_limit(p)]
    held = {str(p.name): "at its limit" for p in every if _at_limit(p)}
    if not free:
        return free, held, np.zeros((0, 0))
    at = np.array([float(p.value()) for p in free])

    def log_density(shift: Array) -> Array:
        zfit.param.assign_values(free, at + shift)
        return np.log(np.maximum(shapes.evaluate(pdf, masses), 1e-300))

    with parameters_restored(free):
        errors = _errors(lambda shift: -float(sums @ log_density(shift)), at, [_room(p) for p in free])
        step = np.diag(_STEP * errors)
        ends = np.array([[log_density(sign * row) for sign in (1.0, -1.0)] for row in step])
        middle = log_density(np.zeros(at.size))
        scores = (ends[:, 0] - ends[:, 1]) / (2.0 * np.diag(step)[:, None])
        hessian = np.empty((at.size, at.size))
        for i in range(at.size):
            hessian[i, i] = -sums @ (ends[i, 0] + ends[i, 1] - 2.0 * middle) / step[i, i] ** 2
            for j in range(i):
                corners = [
                    sign * log_density(a * step[i] + b * step[j])
                    for a, b, sign in ((1, 1, 1.0), (1, -1, -1.0), (-1, 1, -1.0), (-1, -1, 1.0))
                ]
                hessian[i, j] = hessian[j, i] = -sums @ np.sum(corners, axis=0) / (4.0 * step[i, i] * step[j, j])
    spans = np.array([float(p.upper) - float(p.lower) if p.has_limits else np.inf for p in free])
    kept = _determined(hessian, spans)
    held |= {str(p.name): "not determined" for k, p in enumerate(free) if k not in kept}
    inverse = np.linalg.inv(hessian[np.ix_(kept, kept)])
    covariance = inverse @ ((scores[kept] * squares) @ scores[kept].T) @ inverse if _weighted(weights) else inverse
    return [free[k] for k in kept], held, np.asarray(covariance)


def _determined(hessian: Array, spans: Array) -> list[int]:
    """Parameters whose error is smaller than their range; of a flat combination, the one that is most of it goes."""
    kept = [k for k in range(len(hessian)) if np.isfinite(hessian[k]).all() and hessian[k, k] > spans[k] ** -2.0]
    while kept:
        own = hessian[np.ix_(kept, kept)]
        scale = 1.0 / np.sqrt(np.diag(own))
        values, axes = np.linalg.eigh(scale[:, None] * own * scale)
        if values[0] > _FLAT:
            break
        del kept[int(np.argmax(np.abs(axes[:, 0])))]
    return kept


def _room(parameter: Any) -> float:
    """How far a parameter can go on both sides."""
    if not parameter.has_limits:
        return float("inf")
    value = float(parameter.value())
    return 0.9 * min(value - float(parameter.lower), float(parameter.upper) - value)


def _weighted(weights: Array) -> bool:
    return bool(np.any(weights != 1.0))


def _errors(loss: Callable[[Array], float], at: Array, rooms: Sequence[float]) -> Array:
    """Errors of the parameters one by one, for the steps of differences."""
    best, found = loss(np.zeros(at.size)), np.empty(at.size)
    for k in range(at.size):
        error = min(1e-3 * max(abs(at[k]), 1e-3), rooms[k])
        for _ in range(6):
            shift = np.zeros(at.size)
            shift[k] = error
            rise = 0.5 * (loss(shift) + loss(-shift)) - best
            # where it rises by one half
            factor = float(np.clip(np.sqrt(0.5 / rise), 0.03, 30.0)) if rise > 0.0 else 10.0
            error = min(error * factor, rooms[k])
            if 0.8 < factor < 1.25 or error == rooms[k]:
                break
        found[k] = error
    return found


def simulated_shape(
    name: str, pdf: Any, events: Dataset, mass: Any, *, category: str = "", limits: tuple[float, float]
) -> ShapeFit:
    """A shape beside the simulation that it was fitted to.

    Args:
        name: Of the component.
        pdf: The shape.
        events: The simulated events.
        mass: Name of the mass.
        category: Of the events.
        limits: Range of the mass.
    """
    m = events[mass]
    weights = np.ones(m.size) if events.weights is None else events.weights
    inside = (m >= limits[0]) & (m <= limits[1])
    m, weights = m[inside], weights[inside]
    free, held, covariance = covariance_of_shape(pdf, m, weights)
    low, high = (float(q) for q in np.quantile(m, [_TAIL, 1.0 - _TAIL]))
    edges = round_edges(low, high, _BINS) if high > low else whole_edges(*limits, _BINS)
    edges = edges[(edges >= limits[0] - 1e-9) & (edges <= limits[1] + 1e-9)]
    size = float(weights.sum())

    def density(masses: Array) -> Array:
        return size * shapes.evaluate(pdf, masses)

    squares = np.histogram(m, edges, weights=weights**2)[0]
    return _shown(
        name, category, "simulation", mass, pdf, (free, held, covariance), density, edges, m, weights,
        variance=squares if _weighted(weights) else None,
    )  # fmt: skip


def background_shape(
    terms: Sequence[Any],
    data: Dataset,
    mass: str,
    region: SignalRegion,
    *,
    parameters: Sequence[Any],
    covariance: Array,
    category: str = "",
) -> ShapeFit:
    """The sum of the backgrounds over the sidebands, whose parameters the fit of the data has found.

    Args:
        terms: The backgrounds, the falling one first.
        data: The events.
        mass: Name of the mass.
        region: The signal region, whose events are shown but do not count.
        parameters: Of the fit, at their fitted values, P of them.
        covariance: Of these, shape (P, P).
        category: Of the events.
    """
    m = data[mass]
    weights = np.ones(m.size) if data.weights is None else data.weights
    falling, own = terms[0].pdf.mass, []
    for term in terms:
        own += _independent(term.pdf.mass)
        own += list(term.extended.get_params(floating=None, extract_independent=True))
    names = {str(p.name) for p in own}
    at = [k for k, p in enumerate(parameters) if str(p.name) in names and covariance[k, k] > 0.0]
    free = [parameters[k] for k in at]

    def density(masses: Array) -> Array:
        parts = [float(np.squeeze(t.extended.value())) * shapes.evaluate(t.pdf.mass, masses) for t in terms]
        return np.asarray(np.sum(parts, axis=0))

    held = {str(p.name): "at its limit" for p in _independent(falling) if p.floating and _at_limit(p)}
    found = free, held, np.nan_to_num(covariance)[np.ix_(at, at)]
    edges = whole_edges(*shapes.finite_limits(falling.space), _BINS)
    return _shown(
        str(terms[0].name), category, "data", mass, falling, found, density, edges, m, weights,
        closed=(region.lower, region.upper), variance=None if data.weights is None else np.zeros(0),
    )  # fmt: skip


def _shown(
    name: str,
    category: str,
    events: str,
    mass: str,
    pdf: Any,
    fitted: tuple[list[Any], dict[str, str], Array],
    density: Callable[[Array], Array],
    edges: Array,
    m: Array,
    weights: Array,
    *,
    closed: tuple[float, float] | None = None,
    variance: Array | None = None,
) -> ShapeFit:
    """Histogram, curve and chi2 of a shape."""
    free, held, covariance = fitted
    width = float(np.diff(edges).mean())
    inner, lengths, bins_of = _nodes(edges, windows_of(pdf))
    masses = np.linspace(edges[0], edges[-1], _POINTS)
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))

    def curves() -> Array:
        bins = np.bincount(bins_of, density(inner) * lengths, minlength=len(edges) - 1)
        return np.concatenate([bins, width * density(masses)])

    best, slopes = curves(), np.zeros((len(free), len(edges) - 1 + _POINTS))
    with parameters_restored(free):
        for k, (parameter, error) in enumerate(zip(free, errors, strict=True)):
            value, step = float(parameter.value()), 0.05 * error
            if not step > 0.0:
                continue
            ends = []
            for sign in (1.0, -1.0):
                zfit.param.assign_values([parameter], [value + sign * step])
                ends.append(curves())
            zfit.param.assign_values([parameter], [value])
            slopes[k] = (ends[0] - ends[1]) / (2.0 * step)
    known = np.nan_to_num(covariance)
    spread = np.sqrt(np.maximum(np.einsum("pb,pq,qb->b", slopes, known, slopes), 0.0))
    number = len(edges) - 1
    counts = np.histogram(m, edges, weights=weights)[0].astype(np.float64)
    squares = np.histogram(m, edges, weights=weights**2)[0].astype(np.float64)
    used = np.ones(number, dtype=bool)
    if closed is not None:
        used = (edges[1:] <= closed[0] + 1e-9 * width) | (edges[:-1] >= closed[1] - 1e-9 * width)
    chi2 = None
    if events == "simulation" or variance is None:
        mean, moved = best[:number][used], slopes[:, :number][:, used]
        shared = moved.T @ known @ moved
        if events == "simulation":  # of which there is as much as there is
            shared += np.outer(mean, mean) * float(np.sum(weights**2)) / float(weights.sum()) ** 2
        chi2 = binned_chi2(
            counts[used], mean, shared, fitted=True, variance=None if variance is None else squares[used]
        )
    every = {str(p.name): Estimate(float(p.value()), 0.0) for p in _independent(pdf)}
    every |= {str(p.name): Estimate(float(p.value()), float(e)) for p, e in zip(free, errors, strict=True)}
    masked = windows_of(pdf)
    kind = type(pdf.shape if masked else pdf).__name__
    parameters = ShapeParameters(kind, every, tuple(str(p.name) for p in free), rows_of(covariance), held, chi2)
    return ShapeFit(
        name=name,
        category=category,
        events=events,
        observable=mass,
        fitted=parameters,
        edges=edges,
        data=counts,
        data_variance=squares,
        expected=best[:number],
        masses=masses,
        curve=best[number:],
        curve_error=spread[number:],
        closed=closed,
        masked=tuple((window.lower, window.upper) for window in masked),
    )


def _nodes(edges: Array, windows: Sequence[SignalRegion]) -> tuple[Array, Array, Integers]:
    """Where bins are integrated: masses outside of masked windows, with their weights and bins, each of shape (n,)."""
    nodes, shares = np.polynomial.legendre.leggauss(_NODES)
    masses, weights, bins = [], [], []
    for k, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
        for first, last in beside(low, high, windows):
            masses.append(0.5 * (first + last) + 0.5 * (last - first) * nodes)
            weights.append(0.5 * (last - first) * shares)
            bins.append(np.full(_NODES, k))
    return np.concatenate(masses), np.concatenate(weights), np.concatenate(bins)
