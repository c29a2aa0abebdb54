"""Learned densities as ONNX: log p(x | m) without TensorFlow, by whatever reads ONNX.

Nets in single precision as in training, everything else in double.  What TensorFlow gives is what the graph must give:
`density_onnx` compares both at events that are drawn from the density.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.cube import EDGE, SplineConfig
from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.density.flows import MixtureFlow, RegionFlow
from hisigma_zfit.density.kinded import KindedSplineConfig
from hisigma_zfit.density.trained import TrainedFlow
from hisigma_zfit.density.warped import BOUND, WarpedSplineConfig
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.preprocess import FeatureTransform
from hisigma_zfit.learn.rational_quadratic import MIN_BIN, MIN_SLOPE
from hisigma_zfit.learn.splines import knot_vector, uniform_coefficients
from hisigma_zfit.sharing.onnx_graph import Graph, evaluated_by_onnx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.learn.preprocess import Tables
    from hisigma_zfit.sharing.onnx_graph import Value

__all__ = ["density_onnx"]

EVENTS = 256
TOLERANCE = 1e-4  # of log p; single precision leaves some 1e-5 of it where a narrow map bends, a wrong graph far more
_TINY = 1e-300


def density_onnx(flow: ConditionalFlow) -> bytes:
    """The graph of log p(x | m), inputs ``x`` of shape (n, d) and ``m`` of shape (n,), checked against TensorFlow.

    Of an ensemble it is the density itself, without the redrawn trainings.

    Args:
        flow: From `train_flow` or an export.

    Returns:
        The file; its metadata have the names of the columns.

    Raises:
        InputError: The recipe is none that has a graph (``maf``, wrapped distributions), the packages are missing, or
            the graph gives other numbers than TensorFlow.
    """
    graph = Graph()
    x, m = graph.input("x"), graph.input("m")
    said = {"features": ",".join(flow.features), "given": flow.given, "density": "log p(x | m), natural logarithm"}
    content = graph.model(_log_prob(flow, x, m), len(flow.features), said)
    _require_same(flow, content)
    return content


def _require_same(flow: ConditionalFlow, content: bytes) -> None:
    known = flow.members[0]
    scale = getattr(known.inner if isinstance(known, CoordinateFlow) else known, "mass_scale", None)
    low, high = (scale.centre - scale.half_width, scale.centre + scale.half_width) if scale else (0.0, 1.0)
    masses = np.linspace(low, high, EVENTS)
    x = flow.sample(masses, seed=1)
    x = np.concatenate([x, x + 1e9 * (np.arange(EVENTS) % 32 == 0)[:, None]])  # outside of hard edges and far in tails
    masses = np.concatenate([masses, masses])
    expected, found = flow.log_prob_array(x, masses), evaluated_by_onnx(content, x, masses)
    finite = np.isfinite(expected)
    same = np.array_equal(finite, np.isfinite(found)) and np.all(expected[~finite] == found[~finite])
    apart = 0.0
    if same:  # of 1, or far out in the tails, where log p is large, of that
        size = np.maximum(1.0, np.abs(expected[finite]))
        apart = float(np.max(np.abs(expected[finite] - found[finite]) / size, initial=0.0))
    if not same or not apart < TOLERANCE:
        raise InputError.from_parts(
            expected=f"an ONNX graph that gives the density of ({', '.join(flow.features)})",
            got=f"one that is {apart:.2g} off" if same else "one with another domain",
            do="export without --onnx, and report it",
        )


def _log_prob(flow: ConditionalFlow, x: Value, m: Value) -> Value:
    """Shape (n,)."""
    graph = x.graph
    if isinstance(flow, EnsembleFlow):
        return _log_prob(flow.value, x, m)
    if isinstance(flow, RegionFlow):
        within = (m >= flow.region.lower) & (m < flow.region.upper)
        return graph.where(within, _log_prob(flow.inner, x, m), _log_prob(flow.outer, x, m))
    if isinstance(flow, MixtureFlow):
        parts = [
            (_log_prob(own, x, m) + math.log(weight)).new_axis(0)
            for own, weight in zip(flow.flows, flow.weights.tolist(), strict=True)
            if weight > 0
        ]
        return graph.join(parts, 0).log_sum_exp(0)
    if isinstance(flow, CoordinateFlow):
        return _in_coordinates(flow, x, m)
    if isinstance(flow, TrainedFlow) and type(flow.config) in {SplineConfig, WarpedSplineConfig}:
        assert isinstance(flow.transform, FeatureTransform)
        return _trained(flow, flow.transform.tables, x, m)
    config = getattr(flow, "config", None)
    raise InputError.from_parts(
        expected="a density that ONNX can express: of spline_flow, and averages of such",
        got=f"kind {config.kind if config is not None else flow.kind!r}"
        + (", features with kinds" if isinstance(config, KindedSplineConfig) else ""),
        do="export without --onnx",
    )


def _in_coordinates(flow: CoordinateFlow, x: Value, m: Value) -> Value:
    """As `CoordinateFlow.log_prob`."""
    graph = x.graph
    columns: dict[str, Value] = {name: x.take(j, axis=1) for j, name in enumerate(flow.features)}
    columns[flow.given] = m
    changed: Mapping[str, Value] = columns
    log_jacobian, outside = m * 0.0, m < -np.inf
    for coordinate in flow.coordinates.changed:
        origin, length = coordinate.frame(columns, clip=lambda value, low, high: value.clip(low, high))
        length = length if not isinstance(length, float) else m * 0.0 + length
        outside |= ~(length > 0.0)
        length = graph.where(length > 0.0, length, 1.0)
        changed = {**changed, coordinate.feature: (columns[coordinate.feature] - origin) / length}
        log_jacobian -= length.log()
    stacked = graph.join([changed[name].new_axis(1) for name in flow.features], 1)
    return graph.where(outside, -np.inf, _log_prob(flow.inner, stacked, m) + log_jacobian)


def _trained(flow: TrainedFlow, tables: Tables, x: Value, m: Value) -> Value:
    """As `TrainedFlow.log_prob`."""
    config: Any = flow.config
    u, log_jacobian = _places(tables, x)
    scale = flow.mass_scale
    c = ((m - scale.centre) / scale.half_width).clip(-scale.reach, scale.reach)
    outputs = _net_outputs(flow, _inputs(u, c))  # (E, d, n, outputs)
    t = knot_vector(config.knots, config.degree)
    if isinstance(config, WarpedSplineConfig):
        each = _warped(outputs, u.turned([1, 0]), config, t)
    else:
        each = _log_mixture(outputs, _m_splines(u.turned([1, 0]), t, config.degree))
    members = each.sum(1).log_sum_exp(0) - math.log(len(flow.parameters))
    return members + log_jacobian


def _inputs(u: Value, c: Value) -> Value:
    """As `SplineConfig` has them, shape (n, 2 d + 1), in single precision."""
    single = u.cast(np.float32)
    clipped = single.clip(EDGE, 1 - EDGE).cast(np.float64)
    normal = clipped.normal_quantile().cast(np.float32)
    return u.graph.join([(single - 0.5) * 12**0.5, normal, c.cast(np.float32).new_axis(1)], 1)


def _net_outputs(flow: TrainedFlow, inputs: Value) -> Value:
    """Of all nets of all members, shape (E, d, n, outputs), in double precision."""
    config: Any = flow.config
    nets = config.net_arrays(flow.parameters, len(flow.features))
    h = inputs.matmul(nets[0])  # (n, i) x (E, d, i, w)
    h = _silu(h + nets[1][:, :, None])
    for layer in range(1, config.layers):
        step = _silu(h.matmul(nets[2 * layer]) + nets[2 * layer + 1][:, :, None])
        h = step if layer == 1 else h + step
    return (h.matmul(nets[-2]) + nets[-1][:, :, None]).cast(np.float64)


def _silu(h: Value) -> Value:
    return h * h.op("Sigmoid")


def _places(tables: Tables, x: Value) -> tuple[Value, Value]:
    """As `preprocess.to_cube`: u, shape (n, d), and log |du/dx|, shape (n,)."""
    graph = x.graph
    u, log_density, inside = _columns(tables, x.turned([1, 0]))
    outside = (~inside).any(0)
    return u.turned([1, 0]), graph.where(outside, -np.inf, log_density.sum(0))


def _columns(tables: Tables, x: Value) -> tuple[Value, Value, Value]:
    """As `preprocess.cube_columns`, each of shape (d, n)."""
    graph = x.graph
    knots, levels, slopes, counts, limits, scales, masses = map(np.asarray, tables)
    d, size = knots.shape
    rows = np.arange(d)
    finite = x.op("Abs") <= np.finfo(np.float64).max
    inside = (x >= limits[:, :1]) & (x <= limits[:, 1:]) & finite
    first, last = knots[:, :1], knots[rows, counts - 1][:, None]
    first_knot = graph.constant(first)
    x = graph.where(inside, x, first_knot)
    y = x.op("Max", first_knot).op("Min", last)
    # knots that are not beyond y; those that fill up the table are infinite
    passed = graph.op("Unsqueeze", y, graph.constant([2], np.int64)) >= graph.constant(knots[:, None, :])
    at = passed.cast(np.float64).sum(2) - 1.0
    at = at.op("Max", 0.0).op("Min", (counts - 2)[:, None])
    index = (at + (rows * size)[:, None]).cast(np.int64)

    def both(table: Array) -> tuple[Value, Value]:
        flat = graph.constant(table.ravel())
        return flat.take(index), flat.take(index + 1)

    (q0, q1), (p0, p1), (d0, d1) = both(np.where(np.isfinite(knots), knots, 0.0)), both(levels), both(slopes)
    h = q1 - q0
    t = (y - q0) / h
    secant = (p1 - p0) / h
    c2, c3 = secant * 3.0 - d0 * 2.0 - d1, d0 + d1 - secant * 2.0
    u = p0 + h * t * (d0 + t * (c2 + t * c3))
    log_density = (d0 + t * (c2 * 2.0 + t * c3 * 3.0)).log()
    for side, end in ((0, first), (1, last)):
        mass, scale = masses[:, side, None], scales[:, side, None]
        with np.errstate(over="ignore"):
            reach = np.where(mass > 0, -np.expm1(-np.abs(limits[:, side, None] - end) / scale), 1.0)
        excess = (x - end) if side else -(x - end)
        e = excess.op("Max", 0.0) / scale
        u += (-((-e).exp() - 1.0)) * ((2 * side - 1) * mass / reach)
        tail = -(e - np.log(np.where(mass > 0, mass, 1.0) / (scale * reach)))
        log_density = graph.where(excess > 0.0, tail, log_density)
    return u.clip(0.0, 1.0), log_density, inside


def _m_splines(u: Value, knots: Array, degree: int) -> Value:
    """As `splines.m_splines`: u of any shape; a last axis of the M-splines."""
    t = knots
    u = u.new_axis(-1)
    last = np.zeros(len(t) - 1)
    last[len(t) - 2 - degree] = 1.0
    basis = ((u >= t[:-1]) & (u < t[1:])).cast(np.float64)
    basis = u.graph.where(u >= 1.0, u.graph.constant(last), basis)
    for p in range(1, degree + 1):
        rising, falling = _reciprocal(t[p:-1] - t[: -p - 1]), _reciprocal(t[p + 1 :] - t[1:-p])
        n = len(t) - 1 - p
        left = (u - t[: -p - 1]) * rising * basis.part(0, n)
        basis = left - (u - t[p + 1 :]) * falling * basis.part(1, n + 1)
    return basis * (1.0 / uniform_coefficients(t, degree))


def _reciprocal(widths: Array) -> Array:
    return np.divide(1.0, widths, out=np.zeros_like(widths), where=widths > 0)


def _log_mixture(logits: Value, basis: Value) -> Value:
    return ((logits.softmax() * basis).sum(-1) + _TINY).log()


def _warped(outputs: Value, u: Value, config: WarpedSplineConfig, knots: Array) -> Value:
    """As `kernel.log_warped_density` of u, shape (d, n): shape (E, d, n)."""
    graph, count, bins = u.graph, config.knots, config.bins
    z = u.normal_quantile()

    def sizes(k: int) -> Value:
        shares = outputs.part(count + k * bins, count + (k + 1) * bins).softmax()
        return (shares * (1.0 - MIN_BIN * bins) + MIN_BIN) * (2.0 * BOUND)

    widths, heights = sizes(0), sizes(1)
    raw = outputs.part(count + 2 * bins, count + 3 * bins - 1)
    slopes = (raw + math.log(math.expm1(1.0 - MIN_SLOPE))).softplus() + MIN_SLOPE
    inside = z.op("Abs") < BOUND
    x = graph.where(inside, z, 0.0)
    # 1 from the bin that holds x downwards, and from the one before it downwards
    sums = widths.part(0, bins - 1).matmul(np.triu(np.ones((bins - 1, bins - 1))))
    passed = (x.new_axis(-1) >= sums - BOUND).cast(np.float64)
    one = passed.part(0, 1) * 0.0 + 1.0
    lower = graph.join([passed, one * 0.0], -1)
    here = graph.join([one, passed], -1) - lower

    def pick(values: Value, mask: Value) -> Value:
        return (values * mask).sum(-1)

    left, bottom = pick(widths, lower) - BOUND, pick(heights, lower) - BOUND
    width, height = pick(widths, here), pick(heights, here)
    below = pick(slopes, here.part(1, bins)) + here.take(0, axis=-1)
    above = pick(slopes, here.part(0, bins - 1)) + here.take(bins - 1, axis=-1)
    slope = height / width
    t = (x - left) / width
    rest = -(t - 1.0)
    tt = t * rest
    denominator = slope + (above + below - slope * 2.0) * tt
    image = bottom + height * (slope * t * t + below * tt) / denominator
    numerator = above * t * t + slope * tt * 2.0 + below * rest * rest
    log_slope = (slope.log() - denominator.log()) * 2.0 + numerator.log()
    image = graph.where(inside, image, z)
    log_slope = graph.where(inside, log_slope, 0.0)
    mixture = _log_mixture(outputs.part(0, count), _m_splines(image.normal_cdf(), knots, config.degree))
    return mixture + log_slope + (z * z - image * image) * 0.5
