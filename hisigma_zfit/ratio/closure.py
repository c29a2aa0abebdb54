"""Closure of learned ratios: nominal simulation times S against shifted simulation, and back.

Both come from the same hard events, so that most of their fluctuation cancels: the error of a difference is that of
the differences by hard event, sum (w' - w S)^2, with all correlations between bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.ratio_closure import FeatureClosure, RatioClosure, RatioNormalisation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows

    Evaluated = Callable[[ProcessRows | ShiftedRows, Integers], tuple[Float32, Array]]

__all__ = ["close_ratio", "ratio_normalisation"]

SMALL = 1e-9  # eigenvalues of a covariance below it, over the largest, are none
BLOCK = 65_536  # rows that are summed at once


def close_ratio(
    nominal: ProcessRows,
    shifted: Sequence[ShiftedRows],
    values: Array,
    evaluate: Evaluated,
    *,
    cell: int,
    region: str,
    points: Sequence[str],
    features: Sequence[str],
    edges: Array,
    bins: int = 20,
) -> RatioClosure:
    """Compare reweighted with shifted simulation of one process in one unbinned region.

    Args:
        nominal: The process.
        shifted: The same at D points, those of the design or others.
        values: V at these points, shape (D, K).
        evaluate: Exponents with rates, shape (n, K), and score, shape (n,), of rows of a sample, given by index.
        cell: The region.
        region: Its name.
        points: Names of the points, D of them.
        features: Names of the columns of x.
        edges: Inner edges of the score bins.
        bins: Of each feature, with equal numbers of nominal events.

    Raises:
        InputError: Numbers of points or features do not agree, or the process has no row in the region.
    """
    values = np.asarray(values, dtype=np.float64)
    inside = np.flatnonzero(nominal.cell == cell)
    expected = (len(shifted), len(points), nominal.x.shape[1])
    if (len(values), len(values), len(features)) != expected or not len(inside):
        raise InputError.from_parts(
            expected=f"rows of {nominal.name} in {region}, and a name for each point and feature",
            got=f"{len(inside)} rows, {len(values)} values of V and {len(points)} names for {len(shifted)} points, "
            f"{len(features)} names for {nominal.x.shape[1]} features",
            do="name the points and features of the design",
        )
    x, weights = nominal.x[inside], np.asarray(nominal.weights[inside], dtype=np.float64)
    exponents, score = evaluate(nominal, inside)
    own_edges = [_quantiles(column, bins) for column in x.T]
    cells = [np.searchsorted(e, column, side="right") for e, column in zip(own_edges, x.T, strict=True)]
    cells.append(np.searchsorted(edges, score, side="right"))
    tables = [_Table(name, e, column) for name, e, column in zip(features, own_edges, x.T, strict=True)]
    tables.append(_Table("score", edges, score))
    back, rates = _Table("score", edges, score), []
    for own, v in zip(shifted, values, strict=True):
        rows = np.flatnonzero(own.cell == cell)
        moved, after = own.x[rows], np.asarray(own.weights[rows], dtype=np.float64)
        their, score_after = evaluate(own, rows)
        here, there = weights * np.exp(exponents @ v), after * np.exp(-(their @ v))
        names = _Identities.of(nominal.event[inside], _events(nominal, own, rows))
        columns = [*moved.T, score_after]
        for table, before, column in zip(tables, cells, columns, strict=True):
            now = np.searchsorted(table.edges, column, side="right")
            table.add(weights, here, before, after, now, names)
        back.add(after, there, now, weights, cells[-1], names.swapped())
        rates.append((after.sum(), here.sum(), np.sqrt(np.sum(names.differences(here, after) ** 2))))
    *by_feature, by_score = (table.result() for table in tables)
    rate, predicted, error = np.array(rates).reshape(-1, 3).T
    return RatioClosure(
        process=nominal.name,
        region=region,
        points=tuple(points),
        score=by_score,
        inverse=back.result(),
        features=tuple(by_feature),
        rate=rate,
        rate_predicted=predicted,
        rate_error=error,
    )


def ratio_normalisation(
    weights: Array,
    posterior: Array | Float32,
    exponents: Array | Float32,
    values: Array,
    expected: Array,
    *,
    processes: Sequence[str],
    region: str,
    points: Sequence[str],
) -> RatioNormalisation:
    """Compare sums over the reference in one unbinned region with the rates of the extended term.

    Args:
        weights: Of the reference events, shape (n,).
        posterior: g, shape (n, P).
        exponents: a, shape (n, P, K).
        values: V at the points, shape (D, K).
        expected: N_p(nu) at the points, shape (P, D).
        processes: Names, P of them.
        region: Of the region.
        points: Names, D of them.

    Raises:
        InputError: The shapes do not agree.
    """
    wanted = (len(processes), len(points))
    if np.shape(expected) != wanted or np.shape(exponents) != (*np.shape(posterior), np.shape(values)[1]):
        raise InputError.from_parts(
            expected=f"rates of shape {wanted} and exponents of shape (n, P, K)",
            got=f"{np.shape(expected)} and {np.shape(exponents)}",
            do="take columns and rates of the same model",
        )
    sums = np.zeros(wanted)
    for first in range(0, len(weights), BLOCK):
        rows = slice(first, first + BLOCK)
        share = weights[rows, None] * posterior[rows]
        ratios = np.exp(np.einsum("ipk,dk->ipd", exponents[rows], values, optimize=True))
        sums += np.einsum("ip,ipd->pd", share, ratios)
    return RatioNormalisation(tuple(processes), region, tuple(points), sums / expected - 1.0)


def _quantiles(column: Float32, bins: int) -> Array:
    """Inner edges of bins of equal numbers of events, fewer where many events have the same value."""
    edges = np.unique(np.quantile(column, np.arange(1, bins) / bins).astype(np.float32))
    # an edge belongs to the bin above it: one at the lowest value would have an empty bin below it
    return edges[edges > column.min()].astype(np.float64)


def _with_ends(edges: Array, lowest: float, highest: float) -> Array:
    """Inner edges and two outer ones, which are those of the nominal events where these fill the last bins."""
    if not len(edges):
        return np.array([lowest, max(highest, np.nextafter(lowest, np.inf))])
    width = (edges[-1] - edges[0]) / len(edges) or 1.0
    first = lowest if lowest < edges[0] else edges[0] - width
    return np.array([first, *edges, highest if highest > edges[-1] else edges[-1] + width])


def _sums(which: Integers, weights: Array, n: int) -> Array:
    """Sums of weights by number, shape (n,)."""
    return np.asarray(np.bincount(which, weights=weights, minlength=n), dtype=np.float64)


def _events(nominal: ProcessRows, shifted: ShiftedRows, inside: Integers) -> Integers:
    """Identity of the hard events behind shifted rows; an own one, negative, where nobody knows."""
    if shifted.event is not None:
        return shifted.event[inside]
    row = shifted.row[inside]
    return np.where(row >= 0, nominal.event[row], -1 - np.arange(len(row)))


@dataclass(frozen=True)
class _Identities:
    """Which hard event is behind each row of two samples, counted from zero, of n."""

    n: int
    first: Integers
    second: Integers

    @classmethod
    def of(cls, first: Integers, second: Integers) -> Self:
        """From the events' own numbers."""
        known, which = np.unique(np.concatenate([first, second]), return_inverse=True)
        return cls(len(known), which[: len(first)], which[len(first) :])

    def swapped(self) -> _Identities:
        """With the samples the other way round."""
        return _Identities(self.n, self.second, self.first)

    def differences(self, first: Array, second: Array) -> Array:
        """Second minus first by hard event, shape (n,)."""
        return _sums(self.second, second, self.n) - _sums(self.first, first, self.n)

    def covariance(self, first: tuple[Array, Integers], second: tuple[Array, Integers], bins: int) -> Array:
        """Of second minus first in bins, from weights and bins of the rows, shape (B, B)."""
        keys = np.concatenate([self.second * bins + second[1], self.first * bins + first[1]])
        signed = np.concatenate([second[0], -first[0]])
        table = _sums(keys, signed, self.n * bins).reshape(self.n, bins)
        return table.T @ table


@dataclass(frozen=True)
class _Point:
    start: Array
    predicted: Array
    target: Array
    error: Array
    chi2: float
    ndf: int


class _Table:
    """Closure of one quantity, point after point."""

    def __init__(self, name: str, edges: Array, column: Array | Float32) -> None:
        self.name, self.edges = name, np.asarray(edges, dtype=np.float64)
        self._all_edges = _with_ends(self.edges, float(column.min()), float(column.max()))
        self._points: list[_Point] = []

    def add(
        self, start: Array, predicted: Array, before: Integers, target: Array, after: Integers, names: _Identities
    ) -> None:
        """A point: weights of the first sample before and after reweighting and their bins; those of the second."""
        bins = len(self.edges) + 1
        had, got, want = _sums(before, start, bins), _sums(before, predicted, bins), _sums(after, target, bins)
        covariance = names.covariance((predicted, before), (target, after), bins)
        size, axes = np.linalg.eigh(covariance)
        used = size > SMALL * max(size[-1], 0.0)
        along = axes[:, used].T @ (want - got)
        chi2 = float(np.sum(along**2 / size[used]))
        self._points.append(_Point(had, got, want, np.sqrt(np.diag(covariance)), chi2, int(used.sum())))

    def result(self) -> FeatureClosure:
        """All points."""
        bins = len(self.edges) + 1
        start, predicted, target, error = (
            np.array([getattr(p, name) for p in self._points]).reshape(-1, bins)
            for name in ("start", "predicted", "target", "error")
        )
        chi2, ndf = np.array([(p.chi2, p.ndf) for p in self._points], dtype=np.float64).reshape(-1, 2).T
        return FeatureClosure(self.name, self._all_edges, start, predicted, target, error, chi2, ndf)
