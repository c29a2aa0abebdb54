"""Invertible map of features to the unit cube: one smooth marginal CDF per feature, fitted to the training events.

A hard edge of the support becomes a face of the cube, so that a density on the cube has exactly the support of the
data and nothing has to be smeared.  Between the edges the CDF is a monotone cubic through quantiles; open sides
continue as exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.kinds import advice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["FeatureTransform", "MarginalCDF", "Support", "Tables", "cube_columns", "to_cube"]


GRID = 24  # quantiles at k / GRID ...
REFINEMENTS = 5  # ... and the outermost interval halved this many times at both ends
MIN_OUTER_EVENTS = 5  # fewer events beyond the outermost quantile say nothing about its place
MIN_EDGE_EVENTS = 200  # order statistics that decide between an edge and a tail
EDGE_RATIO = 2.5  # largest over mean excess: 2 for a step, 3 for a linear ramp, ln n + 0.58 for an exponential
EDGE_GAPS = 3.0  # an estimated edge lies this many mean gaps outside: e^-3 is its chance to cut into the support
INVERSE_BLOCK = 8192
MAX_ATOM = 0.01  # share of events at one value above which a column is not continuous


@dataclass(frozen=True)
class Support:
    """Where a feature can lie: its limits (infinite on open sides) and on which sides a tail runs out to them."""

    lower: float
    upper: float
    lower_tail: bool
    upper_tail: bool

    @classmethod
    def infer(cls, values: Array, *, name: str, limits: tuple[float, float] = (-np.inf, np.inf)) -> Self:
        """Decide for each side between a hard edge and a tail.

        With y the excesses of the n1 outermost values over the next one, max(y) / mean(y) is 2 at a step of the
        density and grows as ln(n1) for an exponential tail.  An edge without a declared limit is placed three mean
        gaps outside the outermost value, so that a new event rarely falls outside.

        Args:
            values: Training values, finite.
            name: Name of the column, for messages.
            limits: Declared limits; infinite where there is none.

        Raises:
            InputError: The column is not finite, constant, discrete, or exceeds its declared limits.
        """
        _require_continuous(values, name)
        ordered = np.sort(values)
        outside = int(np.sum((ordered < limits[0]) | (ordered > limits[1])))
        if outside:
            raise InputError.from_parts(
                expected=f"{name} in [{limits[0]:g}, {limits[1]:g}]",
                got=f"{outside} of {len(values)} events outside",
                do="cut them away or widen the limits of the feature space",
            )
        lower, lower_tail = _outer_side(-ordered[::-1], -limits[0])
        upper, upper_tail = _outer_side(ordered, limits[1])
        return cls(lower=-lower, upper=upper, lower_tail=lower_tail, upper_tail=upper_tail)


def _require_continuous(values: Array, name: str) -> None:
    if not np.all(np.isfinite(values)):
        raise InputError.from_parts(
            expected=f"finite values of {name}",
            got=f"{int(np.sum(~np.isfinite(values)))} NaN or infinite",
            do="drop these events first",
        )
    if len(values) < 2 * GRID:
        raise InputError.from_parts(
            expected=f"{2 * GRID} or more events to fit {name}", got=f"{len(values)}", do="give more events"
        )
    _, counts = np.unique(values, return_counts=True)
    if len(counts) == 1:
        raise InputError.from_parts(
            expected=f"a feature {name} that varies", got=f"{values[0]:g} in every event", do="leave the feature out"
        )
    # a repeated pair among few events is no atom
    if counts.max() > max(2, MAX_ATOM * len(values)):
        raise InputError.from_parts(
            expected=f"a continuous feature {name}",
            got=f"one value in {100 * counts.max() / len(values):.1f} % of the events",
            do=f"state its kind, such as kinds={{{name!r}: {advice(values)!r}}} of train_flow and hisigma measure "
            f"--kind {name}={advice(values)}; or leave the feature out",
        )


def _outer_side(ordered: Array, limit: float) -> tuple[float, bool]:
    """Edge or tail at the upper side of ascending values, given a declared limit or infinity: (limit, tail)."""
    n = len(ordered)
    n_outer = min(max(n // (GRID << REFINEMENTS), MIN_EDGE_EVENTS), n // 10)
    excess = ordered[-n_outer:] - ordered[-n_outer - 1]
    mean, largest = float(excess.mean()), float(excess[-1])
    is_edge = largest == 0 or largest < EDGE_RATIO * mean
    if not np.isfinite(limit):
        return (float(ordered[-1]) + EDGE_GAPS * largest / n_outer, False) if is_edge else (np.inf, True)
    # a limit far from all events is a place where the tail ends, not an edge of the bulk
    return limit, not is_edge or limit - ordered[-1] > mean


class MarginalCDF(NamedTuple):
    """Smooth CDF of one feature.

    Attributes:
        knots: Positions, strictly increasing, shape (n,).
        levels: CDF at the knots, shape (n,); 0 and 1 at hard edges.
        slopes: Density at the knots, positive, shape (n,).
        limits: Lower and upper end of the support, infinite where open.
        scales: Decay length of the exponential beyond the outer knots; 0 at hard edges.
    """

    knots: Array
    levels: Array
    slopes: Array
    limits: tuple[float, float]
    scales: tuple[float, float]

    @classmethod
    def fit(cls, values: Array, support: Support, *, weights: Array | None = None) -> MarginalCDF:
        """Fit to events inside `support`.

        Args:
            values: Shape (n,).
            support: From `Support.infer`, of the whole data set, so that all bootstraps share one domain.
            weights: Non-negative, shape (n,); equal if omitted.
        """
        w = np.ones_like(values) if weights is None else weights
        x, w = values[w > 0], w[w > 0]
        order = np.argsort(x, kind="stable")
        x, w = x[order], w[order]
        refinements = int(np.clip(np.log2(max(len(x) / (GRID * MIN_OUTER_EVENTS), 1.0)), 0, REFINEMENTS))
        outer = 2.0 ** -np.arange(refinements, 0, -1) / GRID
        levels = np.concatenate([outer, np.arange(1, GRID) / GRID, 1 - outer[::-1]])
        # mid-point convention: symmetric under x -> -x
        knots = np.interp(levels, (np.cumsum(w) - 0.5 * w) / w.sum(), x)
        knots, levels = _with_edges(knots, levels, support)

        upper = (_decay_length(x, w, knots[-1], support.upper), 1 - levels[-1]) if support.upper_tail else (0.0, 0.0)
        lower = (_decay_length(-x, w, -knots[0], -support.lower), levels[0]) if support.lower_tail else (0.0, 0.0)
        slopes = _slopes(knots, levels)
        for at, (scale, mass), limit in ((0, lower, support.lower), (-1, upper, support.upper)):
            if scale > 0:  # continue the exponential's density, within what keeps the cubic monotone
                density = mass / scale / -np.expm1(-abs(limit - knots[at]) / scale)
                slopes[at] = np.clip(density, *_slope_bounds(knots, levels, at))
        return cls(knots, levels, slopes, (support.lower, support.upper), (lower[0], upper[0]))


def _with_edges(knots: Array, levels: Array, support: Support) -> tuple[Array, Array]:
    """Drop repeated quantiles (rounded values) and add hard edges as knots of level 0 and 1."""
    low = support.lower if not support.lower_tail else -np.inf
    high = support.upper if not support.upper_tail else np.inf
    smallest = 1e-9 * (knots[-1] - knots[0])
    keep = np.concatenate([[True], np.diff(knots) > smallest]) & (knots > low + smallest) & (knots < high - smallest)
    knots, levels = knots[keep], levels[keep]
    if not support.lower_tail:
        knots, levels = np.append(low, knots), np.append(0.0, levels)
    if not support.upper_tail:
        knots, levels = np.append(knots, high), np.append(levels, 1.0)
    return knots, levels


def _slope_bounds(knots: Array, levels: Array, at: int) -> tuple[float, float]:
    secant = np.diff(levels)[at] / np.diff(knots)[at]
    return 0.1 * secant, 2.5 * secant


def _slopes(knots: Array, levels: Array) -> Array:
    """PCHIP's slopes, kept within (0, 2.5] secants: at 0 or 3 of them the density would touch zero."""
    slopes = np.asarray(PchipInterpolator(knots, levels).derivative()(knots))
    secants = np.diff(levels) / np.diff(knots)
    slopes = np.minimum(slopes, 2.5 * np.minimum(np.append(secants, np.inf), np.append(np.inf, secants)))
    for at in (0, -1):
        slopes[at] = np.clip(slopes[at], *_slope_bounds(knots, levels, at))
    return slopes


def _decay_length(x: Array, w: Array, start: float, limit: float) -> float:
    """Maximum-likelihood scale of an exponential on [start, limit], from the events above `start`."""
    beyond = x > start
    mean = float(np.average(x[beyond] - start, weights=w[beyond]))
    length = limit - start
    if not np.isfinite(length):
        return mean
    # the mean of the truncated exponential is below length / 2 for any decay; 0.45 keeps the root finite
    mean = min(mean, 0.45 * length)
    return float(brentq(lambda tau: tau - length / np.expm1(min(length / tau, 700.0)) - mean, mean, 10 * length))


class Tables(NamedTuple):
    """The marginals of all features as rectangular arrays, to be arguments of a compiled function."""

    knots: Any  # (d, n), padded with inf
    levels: Any  # (d, n)
    slopes: Any  # (d, n)
    counts: Any  # (d,), knots in use
    limits: Any  # (d, 2)
    scales: Any  # (d, 2), 1 where there is no tail
    masses: Any  # (d, 2), probability of the tails


@dataclass(frozen=True)
class FeatureTransform:
    """Map x in R^d <-> u in [0, 1]^d, feature by feature.

    Attributes:
        features: Names, in the order of the columns.
        marginals: One CDF per feature.
    """

    features: tuple[str, ...]
    marginals: tuple[MarginalCDF, ...]

    @classmethod
    def fit(
        cls, x: Array, features: Sequence[str], *, supports: Sequence[Support], weights: Array | None = None
    ) -> Self:
        """Fit every marginal to events x of shape (n, d); see `MarginalCDF.fit`."""
        columns = zip(x.T, supports, strict=True)
        return cls(tuple(features), tuple(MarginalCDF.fit(v, s, weights=weights) for v, s in columns))

    @cached_property
    def tables(self) -> Tables:
        """Rectangular float64 arrays for `to_cube`."""
        n = GRID + 1 + 2 * REFINEMENTS

        def padded(rows: Sequence[Array], fill: float) -> Array:
            return np.stack([np.pad(row, (0, n - len(row)), constant_values=fill) for row in rows])

        marginals = self.marginals
        scales = np.array([m.scales for m in marginals])
        return Tables(
            knots=padded([m.knots for m in marginals], np.inf),
            levels=padded([m.levels for m in marginals], 1.0),
            slopes=padded([m.slopes for m in marginals], 1.0),
            counts=np.array([len(m.knots) for m in marginals], dtype=np.int32),
            limits=np.array([m.limits for m in marginals]),
            scales=np.where(scales > 0, scales, 1.0),
            masses=np.array([[m.levels[0], 1 - m.levels[-1]] for m in marginals]),
        )

    def inside(self, x: npt.ArrayLike) -> Mask:
        """Tell which rows of x, shape (n, d), are in the domain."""
        values, limits = np.asarray(x, dtype=np.float64), self.tables.limits
        return np.asarray(((values >= limits[:, 0]) & (values <= limits[:, 1]) & np.isfinite(values)).all(axis=1))

    def forward(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        """Map x, shape (n, d), to u, shape (n, d), and log |du/dx|, shape (n,): -inf outside the domain."""
        u, log_jacobian = to_cube(self.tables, tf.constant(np.asarray(x, dtype=np.float64)))
        return np.asarray(u), np.asarray(log_jacobian)

    def inverse(self, u: npt.ArrayLike) -> Array:
        """Map u in [0, 1]^d, shape (n, d), back to x."""
        columns = zip(np.asarray(u, dtype=np.float64).T, self.marginals, strict=True)
        return np.stack([_quantile(column, marginal) for column, marginal in columns], axis=1)

    def to_json(self) -> list[dict[str, Any]]:
        """Reduce to plain values; Python writes float64 so that it reads back identical."""
        return [
            {
                "name": name,
                "knots": m.knots.tolist(),
                "levels": m.levels.tolist(),
                "slopes": m.slopes.tolist(),
                "limits": [limit if np.isfinite(limit) else None for limit in m.limits],
                "scales": list(m.scales),
            }
            for name, m in zip(self.features, self.marginals, strict=True)
        ]

    @classmethod
    def from_json(cls, raw: Sequence[Mapping[str, Any]]) -> Self:
        """Rebuild from `to_json`'s values."""
        marginals = []
        for entry in raw:
            lower, upper = entry["limits"]
            limits = (-np.inf if lower is None else lower, np.inf if upper is None else upper)
            knots, levels, slopes = (np.array(entry[key], dtype=np.float64) for key in ("knots", "levels", "slopes"))
            marginals.append(MarginalCDF(knots, levels, slopes, limits, (entry["scales"][0], entry["scales"][1])))
        return cls(tuple(entry["name"] for entry in raw), tuple(marginals))


def to_cube(tables: Tables, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Map features to the cube, in a graph, compiled or eagerly.

    Args:
        tables: From `FeatureTransform.tables`.
        x: Shape (n, d), float64.

    Returns:
        u, shape (n, d), in [0, 1] whatever x is, and log |du/dx|, shape (n,), -inf outside the domain.
    """
    u, log_density, inside = cube_columns(tables, x)
    log_jacobian = tf.reduce_sum(log_density, axis=0)
    minus_infinity = tf.constant(-np.inf, log_jacobian.dtype)
    log_jacobian = tf.where(tf.reduce_all(inside, axis=0), log_jacobian, minus_infinity)
    return tf.transpose(u), log_jacobian


def cube_columns(tables: Tables, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The same column by column: u, log |du/dx| and whether x is inside the domain, each of shape (d, n)."""
    t = Tables(*(tf.convert_to_tensor(array) for array in tables))
    x = tf.transpose(x)
    inside = (x >= t.limits[:, :1]) & (x <= t.limits[:, 1:]) & tf.math.is_finite(x)
    last = t.counts[:, None] - 1
    first_knot, last_knot = t.knots[:, :1], tf.gather(t.knots, last, batch_dims=1)
    x = tf.where(inside, x, first_knot)

    y = tf.clip_by_value(x, first_knot, last_knot)
    i = tf.clip_by_value(tf.searchsorted(t.knots, y, side="right") - 1, 0, last - 1)
    q0, q1 = (tf.gather(t.knots, k, batch_dims=1) for k in (i, i + 1))
    p0, p1 = (tf.gather(t.levels, k, batch_dims=1) for k in (i, i + 1))
    d0, d1 = (tf.gather(t.slopes, k, batch_dims=1) for k in (i, i + 1))
    u, log_density = _hermite((y - q0) / (q1 - q0), q1 - q0, p0, p1, d0, d1)
    log_density = tf.math.log(log_density)

    for side, excess, end in ((0, first_knot - x, first_knot), (1, x - last_knot, last_knot)):
        scale, mass = t.scales[:, side, None], t.masses[:, side, None]
        reach = -tf.math.expm1(-tf.abs(t.limits[:, side, None] - end) / scale)
        # a hard edge has no mass beyond it, and no length: any finite number will do there
        reach = tf.where(mass > 0, reach, 1.0)
        e = tf.maximum(excess, 0.0) / scale
        u += (2 * side - 1) * mass * -tf.math.expm1(-e) / reach
        tail = tf.math.log(tf.where(mass > 0, mass, 1.0) / (scale * reach)) - e
        log_density = tf.where(excess > 0, tail, log_density)
    return tf.clip_by_value(u, 0.0, 1.0), log_density, inside


def _hermite(t: Any, h: Any, p0: Any, p1: Any, d0: Any, d1: Any) -> tuple[Any, Any]:
    """Cubic with end values p and end slopes d on an interval of width h, and its derivative, at t in [0, 1]."""
    secant = (p1 - p0) / h
    c2, c3 = 3 * secant - 2 * d0 - d1, d0 + d1 - 2 * secant
    return p0 + h * t * (d0 + t * (c2 + t * c3)), d0 + t * (2 * c2 + 3 * t * c3)


def _quantile(u: Array, marginal: MarginalCDF) -> Array:
    """Invert one marginal, in blocks that fit the processor's cache."""
    x = np.empty_like(u)
    for start in range(0, len(u), INVERSE_BLOCK):
        block = slice(start, start + INVERSE_BLOCK)
        x[block] = _quantile_of_block(u[block], marginal)
    return x


def _quantile_of_block(u: Array, marginal: MarginalCDF) -> Array:
    """Newton inside a shrinking bracket for the cubic, closed form in the tails."""
    q, p, d = marginal.knots, marginal.levels, marginal.slopes
    i = np.clip(np.searchsorted(p, u, side="right") - 1, 0, len(q) - 2)
    low, high = np.zeros_like(u), np.ones_like(u)
    width, height = np.diff(q), np.diff(p)
    # u - p as a cubic in the share of an interval that lies below x; see `_hermite`
    c1, c2, c3 = width * d[:-1], 3.0 * height - width * (2.0 * d[:-1] + d[1:]), width * (d[:-1] + d[1:]) - 2.0 * height
    c1, c2, c3, rise = c1[i], c2[i], c3[i], u - p[i]
    t = np.clip(rise / height[i], 0.0, 1.0)
    for _ in range(60):
        excess = t * (c1 + t * (c2 + t * c3)) - rise
        slope = c1 + t * (2.0 * c2 + 3.0 * t * c3)
        low, high = np.where(excess <= 0.0, t, low), np.where(excess >= 0.0, t, high)
        newton = t - excess / slope
        accepted = (newton >= low) & (newton <= high)
        t_new = np.where(accepted, newton, 0.5 * (low + high))
        # after a step of Newton's the error is of the order of its square
        done = np.abs(t_new - t) < np.where(accepted, 1e-9, 1e-15)
        t = t_new
        if done.all():
            break
    x = q[i] + t * width[i]
    for at, sign, mass, depth in ((0, -1.0, p[0], p[0] - u), (-1, 1.0, 1 - p[-1], u - p[-1])):
        limit, scale = marginal.limits[at], marginal.scales[at]
        if scale > 0:
            reach = -np.expm1(-abs(limit - q[at]) / scale)
            # u = 0 or 1 on an open side is at infinity: stay at the last number before it
            share = np.clip(depth / mass * reach, 0.0, 1 - 1e-16)
            x = np.where(depth > 0, q[at] - sign * scale * np.log1p(-share), x)
    return np.clip(x, *marginal.limits)
