"""Map to the unit cube for features with kinds: an atom becomes its number, any other value a place in [0, 1].

What lies beside the atoms has a marginal CDF of its own, as every continuous feature has, also a periodic one that may
be cut where hardly any event is.  Else it has the coordinate of `circles`, whose slopes at both ends are the same, so
that nothing is to be seen where the circle was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hisigma_zfit.learn.circles import binned, circle_coordinate, empty_place
from hisigma_zfit.learn.kinds import CIRCLE_SLACK, FeatureKind
from hisigma_zfit.learn.preprocess import FeatureTransform, MarginalCDF, Support, Tables, cube_columns, to_cube

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask

__all__ = [
    "ATOM",
    "KindedTables",
    "KindedTransform",
    "Kinds",
    "dequantised",
    "fit_transform",
    "infer_support",
    "on_circle",
    "to_places",
    "transform_from_json",
]

Kinds = tuple[FeatureKind | None, ...]  # of each feature; None where it is continuous

ATOM = 2.0  # the place of the first atom; that of the next is one more
PSEUDO_COUNT = 0.5  # events that every atom has beside those that were seen (Jeffreys)
_NO_DENSITY = Support(0.0, 1.0, lower_tail=False, upper_tail=False)
_STRAIGHT = MarginalCDF(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2), (0.0, 1.0), (0.0, 0.0))


def infer_support(
    values: Array, *, name: str, limits: tuple[float, float] = (-np.inf, np.inf), kind: FeatureKind | None = None
) -> Support:
    """`Support.infer` of what a feature has beside its atoms.

    Raises:
        InputError: See `Support.infer`, or the values are not of the kind.
    """
    if kind is None:
        return Support.infer(values, name=name, limits=limits)
    kind.require(values, name=name)
    if not kind.continuous:
        return _NO_DENSITY
    if kind.circle is not None:
        angles = values[~kind.at_atom(values)]
        Support.infer(angles, name=name)  # refuses what is not continuous either
        cut, (low, high) = empty_place(angles, kind.circle), kind.circle
        if cut is None:
            return Support(low, high, lower_tail=False, upper_tail=False)
        ends = (cut, cut + high - low)
        return Support.infer(cut + (angles - cut) % (high - low), name=name, limits=ends)
    return Support.infer(values[~kind.at_atom(values)], name=name, limits=limits)


def on_circle(kind: FeatureKind | None, support: Support) -> bool:
    """Whether a feature with this support is periodic and was not cut."""
    return kind is not None and kind.circle is not None and support.lower == kind.circle[0]


def dequantised(x: Array, kinds: Kinds) -> Array:
    """Events, shape (n, d), with every column at its ranks in [0, 1], those of equal values in a random order.

    Functions of continuous features stay functions; two columns whose atoms come together do not become one.
    """
    rng = np.random.default_rng(0)  # what is refused does not depend on a seed
    columns = [
        column if kind is None else np.argsort(np.lexsort((rng.random(len(x)), column))) / len(x)
        for column, kind in zip(x.T, kinds, strict=True)
    ]
    return np.stack(columns, axis=1)


class KindedTables(NamedTuple):
    """As `preprocess.Tables`, of the features beside their atoms, and the atoms."""

    smooth: Any  # Tables
    atoms: Any  # (d, k), padded with nan
    continuous: Any  # (d,)
    circles: Any  # (d, 3), lower end, period, and where it is cut; 0 where there is none
    limits: Any  # (d, 2)


@dataclass(frozen=True)
class KindedTransform:
    """Map of features with kinds to their places; see `preprocess.FeatureTransform`, whose methods it has.

    Attributes:
        smooth: CDFs of what the features have beside their atoms.
        kinds: Of the features.
        shares: Probability of no atom, then of each atom, by feature; empty for those without atoms.
        turns: Of periodic features the training events in bins of their places, see `circles.binned`, by number; what
            a training starts from, and not stored.
    """

    smooth: FeatureTransform
    kinds: Kinds
    shares: tuple[tuple[float, ...], ...]
    turns: Mapping[int, Array] = field(default_factory=dict, compare=False)

    @property
    def features(self) -> tuple[str, ...]:
        """Names, in the order of the columns."""
        return self.smooth.features

    @property
    def atoms(self) -> dict[str, tuple[float, ...]]:
        """Of the features that have some, by name."""
        named = zip(self.features, self.kinds, strict=True)
        return {name: kind.atoms for name, kind in named if kind is not None and kind.atoms}

    @cached_property
    def tables(self) -> KindedTables:
        """Rectangular float64 arrays for `to_places`."""
        plain = FeatureKind()
        kinds = [kind or plain for kind in self.kinds]
        most = max(len(kind.atoms) for kind in kinds)
        atoms = [np.pad(kind.atoms, (0, most - len(kind.atoms)), constant_values=np.nan) for kind in kinds]
        smooth = self.smooth.tables
        limits = np.array(smooth.limits)
        for j, kind in enumerate(kinds):
            ends = [*kind.atoms, *(kind.circle or (limits[j] if kind.continuous else ()))]
            limits[j] = min(ends), max(ends)
        circles = [
            (kind.circle[0], kind.circle[1] - kind.circle[0], smooth.limits[j, 0]) if kind.circle else (0.0, 0.0, 0.0)
            for j, kind in enumerate(kinds)
        ]
        return KindedTables(
            smooth, np.array(atoms), np.array([kind.continuous for kind in kinds]), np.array(circles), limits
        )

    def inside(self, x: npt.ArrayLike) -> Mask:
        """Tell which rows of x, shape (n, d), are in the domain."""
        return np.isfinite(self.forward(x)[1])

    def forward(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        """Places of x, shape (n, d), and log |du/dx|, shape (n,): -inf outside the domain, no part of it at atoms."""
        places, log_jacobian = to_places(self.tables, tf.constant(np.asarray(x, dtype=np.float64)))
        return np.asarray(places), np.asarray(log_jacobian)

    def inverse(self, u: npt.ArrayLike) -> Array:
        """Map places, shape (n, d), back to x."""
        places, atoms = np.asarray(u, dtype=np.float64), self.tables.atoms
        at = places >= ATOM
        x = self.smooth.inverse(np.where(at, 0.5, places))
        for j, (low, period, cut) in enumerate(self.tables.circles):
            if cut != low:
                x[:, j] = low + (x[:, j] - low) % period
        number = np.where(at, places - ATOM, 0).astype(int)
        return np.where(at, atoms[np.arange(len(atoms)), number] if atoms.size else x, x)

    def to_json(self) -> list[dict[str, Any]]:
        """As `FeatureTransform.to_json`, with the kinds in words."""
        return [
            entry if kind is None else {**entry, "feature_kind": str(kind), "shares": list(shares)}
            for entry, kind, shares in zip(self.smooth.to_json(), self.kinds, self.shares, strict=True)
        ]

    @classmethod
    def from_json(cls, raw: Sequence[Mapping[str, Any]]) -> Self:
        """Rebuild from `to_json`'s values."""
        words = ((entry.get("feature_kind"), entry["name"]) for entry in raw)
        kinds = tuple(None if kind is None else FeatureKind.parse(kind, name=name) for kind, name in words)
        return cls(FeatureTransform.from_json(raw), kinds, tuple(tuple(entry.get("shares", ())) for entry in raw))


def transform_from_json(raw: Sequence[Mapping[str, Any]]) -> FeatureTransform | KindedTransform:
    """Rebuild the transform that `to_json` reduced."""
    kinded = any("feature_kind" in entry for entry in raw)
    return KindedTransform.from_json(raw) if kinded else FeatureTransform.from_json(raw)


def fit_transform(
    x: Array, features: Sequence[str], *, supports: Sequence[Support], weights: Array, kinds: Kinds = ()
) -> FeatureTransform | KindedTransform:
    """Fit the marginals of events x of shape (n, d); see `FeatureTransform.fit`.

    Args:
        x: Events.
        features: Names of the columns.
        supports: From `infer_support`.
        weights: Not negative, shape (n,).
        kinds: Of the features; none where all are continuous.
    """
    if not any(kinds):
        return FeatureTransform.fit(x, features, supports=supports, weights=weights)
    marginals: list[MarginalCDF] = []
    shares, angles = [], []
    for j, (column, support, kind) in enumerate(zip(x.T, supports, kinds, strict=True)):
        beside = np.ones(len(x), dtype=bool) if kind is None else ~kind.at_atom(column)
        if kind is not None and not kind.continuous:
            marginals.append(_STRAIGHT)
        elif kind is not None and kind.circle is not None and on_circle(kind, support):
            marginals.append(circle_coordinate(column[beside], kind.circle, weights[beside]))
            angles.append((j, beside))
        elif kind is not None and kind.circle is not None:
            period = kind.circle[1] - kind.circle[0]
            turned = support.lower + (column[beside] - support.lower) % period
            marginals.append(MarginalCDF.fit(turned, support, weights=weights[beside]))
        else:
            marginals.append(MarginalCDF.fit(column[beside], support, weights=weights[beside]))
        shares.append(() if kind is None or not kind.atoms else _shares(column, kind, weights))
    found = KindedTransform(FeatureTransform(tuple(features), tuple(marginals)), tuple(kinds), tuple(shares))
    if not angles:
        return found
    places = found.forward(x)[0]
    return replace(found, turns={j: binned(places[beside, j], weights[beside]) for j, beside in angles})


def _shares(column: Array, kind: FeatureKind, weights: Array) -> tuple[float, ...]:
    """Probability of no atom and of each atom; none is zero but that of no atom where there is nothing else."""
    single = column.astype(np.float32)
    found = np.array([weights[single == np.float32(atom)].sum() for atom in kind.atoms]) / weights.sum()
    found = np.append(max(1.0 - found.sum(), 0.0), found)
    allowed = np.append(float(kind.continuous), np.ones(len(kind.atoms)))
    events = weights.sum() ** 2 / np.sum(weights**2)
    found = (events * found * allowed + PSEUDO_COUNT * allowed) / (events + PSEUDO_COUNT * allowed.sum())
    return tuple(found.tolist())


def to_places(tables: Tables | KindedTables, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Places of features, in a graph, compiled or eagerly; `to_cube` where no feature has a kind.

    Args:
        tables: From the transform.
        x: Shape (n, d), float64.

    Returns:
        Places, shape (n, d): in [0, 1], or `ATOM` + the number of an atom; and log |du/dx|, shape (n,).
    """
    if isinstance(tables, Tables):
        return to_cube(tables, x)
    atoms, continuous, circles = (tf.convert_to_tensor(array) for array in tables[1:4])
    hits = tf.cast(x, tf.float32)[:, :, None] == tf.cast(atoms, tf.float32)  # nan is no value's
    at = tf.reduce_any(hits, axis=2)
    number = tf.reduce_sum(tf.cast(hits, x.dtype) * tf.cast(tf.range(tf.shape(atoms)[1]), x.dtype), axis=2)
    low, period, cut = circles[:, 0], circles[:, 1], circles[:, 2]
    slack = CIRCLE_SLACK * period
    near = (period > 0) & (x >= low - slack) & (x <= low + period + slack)
    turned = cut + tf.math.floormod(tf.where(near, x, low) - cut, tf.where(period > 0, period, 1.0))
    u, log_density, inside = map(tf.transpose, cube_columns(tables.smooth, tf.where(near, turned, x)))
    known = tf.reduce_all(at | (continuous & inside & (near | (period == 0))), axis=1)
    log_jacobian = tf.reduce_sum(tf.where(at | ~continuous, tf.zeros_like(log_density), log_density), axis=1)
    return tf.where(at, ATOM + number, u), tf.where(known, log_jacobian, tf.constant(-np.inf, log_jacobian.dtype))
