"""Learned exponents are made to give the moments that simulation has, for the few that decide the signal strength.

S = exp[V . (Delta + beta phi)]: phi are bins of the score, and for the signal the learned exponents themselves; beta is
found so that at every design point moments of phi agree, equations (9) and (10) of the specification.  The bins sum to
one, so that beta holds the rate too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.ratio_closure import MomentResiduals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows

    Evaluated = Callable[[ProcessRows | ShiftedRows, Integers], tuple[Float32, Array]]

__all__ = ["MomentCorrection", "calibrate_moments", "equal_content_edges", "joined_edges", "published_construction"]

UNIT = 0.05  # of Delta in phi, about its size
STEPS = 5
RIDGE = 1e-3  # of the mean curvature
BLOCK = 65_536  # rows that are summed at once

Kind = Literal["forward", "inverse", "off"]


@dataclass(frozen=True)
class MomentCorrection:
    """beta of one process in one region, with which exponents are Delta + beta phi.

    Attributes:
        edges: Inner edges of the score bins, shape (Q - 1,).
        linear: How many of the first components of Delta are in phi.
        beta: Shape (K, Q + linear).
        residuals: How well the moments agree.
    """

    edges: Array
    linear: int
    beta: Array
    residuals: MomentResiduals

    def exponents(self, delta: Float32, score: Array) -> Float32:
        """A of events, with which S = exp(V . a), rates included, shape (n, K).

        Args:
            delta: Learned exponents, shape (n, K).
            score: Score of the events, shape (n,).
        """
        beta, bins = self.beta.astype(np.float32), len(self.edges) + 1
        found = delta + beta[:, _binned(score, self.edges)].T
        if self.linear:
            found += (delta[:, : self.linear] / np.float32(UNIT)) @ beta[:, bins:].T
        return found.astype(np.float32, copy=False)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as arrays without pickle, for an ``.npz``."""
        return {
            "edges": self.edges,
            "linear": np.array(self.linear),
            "beta": self.beta,
            "residuals": np.array(self.residuals.to_json(indent=None)),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Rebuild from what `arrays` gave.

        Raises:
            InputError: The description of the residuals is not readable.
        """
        return cls(
            edges=np.asarray(arrays["edges"]),
            linear=int(arrays["linear"]),
            beta=np.asarray(arrays["beta"]),
            residuals=MomentResiduals.from_json(str(arrays["residuals"])),
        )


def equal_content_edges(score: Array, weights: Array, bins: int) -> Array:
    """Inner edges of bins that hold equal sums of weights, shape (Q - 1,); equal ones are left out.

    Args:
        score: Shape (n,).
        weights: Shape (n,), for example of the signal.
        bins: How many, Q at most.

    Raises:
        InputError: There is no bin, or no event.
    """
    if bins < 1 or not np.any(weights > 0.0):
        raise InputError.from_parts(
            expected="at least one bin and one event", got=f"{bins} bins, {len(score)} events", do="give more of them"
        )
    order = np.argsort(score, kind="stable")
    content = np.cumsum(weights[order])
    at = np.searchsorted(content, np.arange(1, bins) / bins * content[-1])
    edges = np.unique(np.asarray(score, dtype=np.float64)[order][np.minimum(at, len(order) - 1)])
    return edges[edges > np.min(score)]


def joined_edges(edges: Array, score: Array, weights: Array, least: float) -> Array:
    """Edges between which every bin has enough events of a process, shape (Q' - 1,).

    From the top, where the signal is, a bin with fewer takes in the next lower one.

    Args:
        edges: Inner edges, rising, shape (Q - 1,).
        score: Of the events of the process, shape (n,).
        weights: Of the same, shape (n,).
        least: Fewest effective events of a bin, (sum w)^2 / sum w^2.
    """
    which, bins = _binned(score, edges), len(edges) + 1
    sums, squares = (np.bincount(which, weights=own, minlength=bins) for own in (weights, weights**2))

    def enough(own: slice) -> bool:
        total, square = float(sums[own].sum()), float(squares[own].sum())
        return total > 0.0 and total**2 >= least * square

    kept, top = [], bins
    for k in range(bins - 1, 0, -1):
        if enough(slice(k, top)) and enough(slice(0, k)):
            kept.append(k - 1)
            top = k
    return np.asarray(edges, dtype=np.float64)[kept[::-1]]


def published_construction(name: str, slopes: Array, points: int) -> MomentCorrection:
    """No calibration: the exponents are Delta + delta (arXiv:2505.05544).

    Args:
        name: The process.
        slopes: delta of the rates, shape (K,).
        points: Number of design points.
    """
    unknown = np.full(points, np.nan)
    return MomentCorrection(
        np.zeros(0), 0, np.array(slopes, dtype=np.float64)[:, None], MomentResiduals(name, "off", unknown, unknown)
    )


def calibrate_moments(
    nominal: ProcessRows,
    shifted: Sequence[ShiftedRows],
    values: Array,
    slopes: Array,
    evaluate: Evaluated,
    *,
    cell: int,
    edges: Array,
    linear: int = 0,
    kind: Literal["forward", "inverse"],
) -> MomentCorrection:
    """Find beta of one process in one unbinned region.

    Args:
        nominal: The process.
        shifted: The same at each design point, D of them.
        values: V at the design points, shape (D, K).
        slopes: delta of the rates in this cell, shape (K,), where the search starts.
        evaluate: Delta, shape (n, K), and score, shape (n,), of rows of a sample, which are given by index.
        cell: The region.
        edges: Inner edges of the score bins, shape (Q - 1,); none for one bin.
        linear: How many of the first components of Delta are moments too; for forward calibrations.
        kind: "forward", for a signal: nominal events times S have the moments of shifted ones.  "inverse", for a
            background: shifted events over S have those of nominal ones.

    Raises:
        InputError: Shapes do not agree, or components of Delta are asked for in an inverse calibration, whose moments
            would move with them.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(shifted), len(slopes)) or not 0 <= linear <= len(slopes) or (linear and kind == "inverse"):
        raise InputError.from_parts(
            expected="V of shape (D, K), delta of shape (K,), and components of Delta in a forward calibration only",
            got=f"{values.shape} and {np.shape(slopes)} for {len(shifted)} points, {linear} components, {kind}",
            do="take values and slopes of the same design",
        )
    at_nominal = _side(nominal, cell, evaluate, edges, linear)
    units = np.sqrt(at_nominal.sums(at_nominal.weights**2, squared=True))
    units = np.where(units > 0.0, units, 1.0)
    # of a shifted sample only what the equations need is kept: sums, or one number and one bin by row
    if kind == "forward":
        targets = []
        for own in shifted:
            side = _side(own, cell, evaluate, edges, linear)
            targets.append(side.sums(side.weights))
        points = [_Point(v, 1.0, at_nominal, at_nominal.delta @ v, t) for v, t in zip(values, targets, strict=True)]
    else:
        target, points = at_nominal.sums(at_nominal.weights), []
        for own, v in zip(shifted, values, strict=True):
            side = _side(own, cell, evaluate, edges, linear)
            points.append(_Point(v, -1.0, side.without_delta(), side.delta @ v, target))
    moments = len(edges) + 1 + linear
    beta = np.zeros((len(slopes), moments))
    beta[:, : len(edges) + 1] = np.asarray(slopes)[:, None]
    before = _rms(points, beta, units)
    for _ in range(STEPS):
        beta += _step(points, beta, units)
    after = _rms(points, beta, units)
    return MomentCorrection(
        np.array(edges, dtype=np.float64), linear, beta, MomentResiduals(nominal.name, kind, before, after)
    )


def _binned(score: Array, edges: Array) -> Integers:
    return np.searchsorted(edges, score, side="right")


@dataclass(frozen=True)
class _Side:
    """Rows of a sample in the region: Delta, bins of the score, moments phi of Delta, weights."""

    delta: Float32
    which: Integers
    more: Float32
    weights: Array
    bins: int

    def sums(self, weights: Array, *, squared: bool = False) -> Array:
        """Sums over rows of weights times phi, or phi squared, shape (Q + linear,)."""
        more = self.more.astype(np.float64)
        return np.concatenate(
            [np.bincount(self.which, weights=weights, minlength=self.bins), weights @ (more**2 if squared else more)]
        )

    def products(self, weights: Array) -> Array:
        """Sums over rows of weights times phi phi^T, shape (Q + linear, Q + linear)."""
        bins, linear = self.bins, self.more.shape[1]
        found = np.zeros((bins + linear, bins + linear))
        found[np.arange(bins), np.arange(bins)] = np.bincount(self.which, weights=weights, minlength=bins)
        for first in range(0, len(weights), BLOCK) if linear else ():
            rows = slice(first, first + BLOCK)
            more = self.more[rows].astype(np.float64)
            times = weights[rows, None] * more
            found[bins:, bins:] += more.T @ times
            for k in range(linear):
                found[:bins, bins + k] += np.bincount(self.which[rows], weights=times[:, k], minlength=bins)
        found[bins:, :bins] = found[:bins, bins:].T
        return found

    def without_delta(self) -> _Side:
        """The same without what is needed once."""
        return _Side(self.delta[:, :0], self.which, self.more, self.weights, self.bins)


def _side(rows: ProcessRows | ShiftedRows, cell: int, evaluate: Evaluated, edges: Array, linear: int) -> _Side:
    inside = np.flatnonzero(rows.cell == cell)
    delta, score = evaluate(rows, inside)
    which = _binned(score, edges).astype(np.int16)
    more = np.ascontiguousarray(delta[:, :linear]) / np.float32(UNIT)
    return _Side(delta, which, more, np.asarray(rows.weights[inside], dtype=np.float64), len(edges) + 1)


@dataclass(frozen=True)
class _Point:
    """The moments at one design point: rows times exp(sign V . (Delta + beta phi)) should have the sums `target`."""

    v: Array
    sign: float
    side: _Side
    learned: Array
    target: Array

    def weights(self, beta: Array) -> Array:
        """Of the rows after reweighting, shape (n,)."""
        own, bins = self.v @ beta, self.side.bins
        exponent = self.learned + own[:bins][self.side.which]
        if len(own) > bins:
            exponent += self.side.more @ own[bins:]
        return self.side.weights * np.exp(self.sign * exponent)


def _residuals(points: Sequence[_Point], beta: Array, units: Array) -> Array:
    """Shape (D, Q + linear), in units of one fluctuation."""
    return np.array([(p.side.sums(p.weights(beta)) - p.target) / units for p in points])


def _rms(points: Sequence[_Point], beta: Array, units: Array) -> Array:
    return np.asarray(np.sqrt(np.mean(_residuals(points, beta, units) ** 2, axis=1)))


def _step(points: Sequence[_Point], beta: Array, units: Array) -> Array:
    """One step of Gauss and Newton, damped by a ridge, shape as beta."""
    size, moments = beta.size, beta.shape[1]
    curvature, slope = np.zeros((size, size)), np.zeros(size)
    for p in points:
        weights = p.weights(beta)
        residual = (p.side.sums(weights) - p.target) / units
        own = p.sign * p.side.products(weights) / units[:, None]  # d residual_f / d (v . beta)_g
        jacobian = np.einsum("a,fg->fag", p.v, own).reshape(moments, size)
        curvature += jacobian.T @ jacobian
        slope += jacobian.T @ residual
    curvature[np.diag_indices(size)] += RIDGE * np.trace(curvature) / size
    step = np.zeros(size)
    step -= np.linalg.solve(curvature, slope)
    return step.reshape(beta.shape)
