"""Coordinates in which the edges of features stand still.

A feature that ends where another one stands, x_j <= U(x_i), is learned as its place between its edges,

    y_j = (x_j - L) / (U - L),    or  x_j - L,  or  x_j - U  where the other side is open,

with L and U linear in another feature or in the mass.  No feature's edges depend, directly or by others, on the feature
itself, so that the Jacobian is triangular and p(x | m) = p(y | m) / prod_j (U_j - L_j) exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["Coordinate", "Coordinates", "Edge", "Limits", "in_order"]

Limits = tuple[float, float]


@dataclass(frozen=True)
class Edge:
    """An edge of a feature: intercept + slope times another column, within [least, most].

    Attributes:
        other: The column that it follows, a feature or the mass; empty where it stands still.
        intercept: Its place where `other` is zero.
        slope: How it moves; 0 where it stands still.
        least: It goes no lower.
        most: It goes no higher.
    """

    other: str
    intercept: float
    slope: float
    least: float = -np.inf
    most: float = np.inf

    @classmethod
    def fixed(cls, place: float) -> Self:
        """One that stands still."""
        return cls("", float(place), 0.0)

    @property
    def moves(self) -> bool:
        """Whether it follows another column."""
        return bool(self.other)

    def at(self, columns: Mapping[str, Any], *, clip: Any = np.clip) -> Any:
        """Its place in each event: columns by name, numpy arrays, or tensors with TensorFlow's `clip`."""
        if not self.moves:
            return self.intercept
        return clip(self.intercept + self.slope * columns[self.other], self.least, self.most)

    def reach(self, box: Mapping[str, Limits]) -> Limits:
        """Lowest and highest place where the other columns are within `box`."""
        if not self.moves:
            return self.intercept, self.intercept
        ends = np.clip(self.intercept + self.slope * np.array(box[self.other]), self.least, self.most)
        return float(ends.min()), float(ends.max())

    def __str__(self) -> str:
        if not self.moves:
            return f"{self.intercept:.4g}"
        size = self.other if abs(self.slope) == 1 else f"{abs(self.slope):.4g} {self.other}"
        sign = "-" if self.slope < 0 else "+"
        line = f"{self.intercept:.4g} {sign} {size}" if self.intercept else f"{sign.strip('+')}{size}"
        bounds = [f"{name} {value:.4g}" for name, value in (("least", self.least), ("most", self.most))]
        told = [words for words, value in zip(bounds, (self.least, self.most), strict=True) if np.isfinite(value)]
        return f"[{line}, at {' and '.join(told)}]" if told else line if " " not in line else f"({line})"


@dataclass(frozen=True)
class Coordinate:
    """One feature's place relative to its edges.

    Attributes:
        feature: Name of the feature.
        lower: Its lower edge; None where it is open.
        upper: Its upper edge; None where it is open.  One edge at least moves.
        room: Limits of the feature that the edges follow, where that feature itself could go on to where they meet.
    """

    feature: str
    lower: Edge | None
    upper: Edge | None
    room: Limits | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """The columns that its edges follow."""
        return tuple(dict.fromkeys(edge.other for edge in (self.lower, self.upper) if edge is not None and edge.moves))

    @property
    def limits(self) -> Limits:
        """Where the coordinate lies."""
        if self.lower is not None and self.upper is not None:
            return 0.0, 1.0
        return (0.0, np.inf) if self.upper is None else (-np.inf, 0.0)

    def frame(self, columns: Mapping[str, Any], *, clip: Any = np.clip) -> tuple[Any, Any]:
        """Origin and length of its unit in every event; see `Edge.at`.  A length that is not positive has no event."""
        if self.lower is not None and self.upper is not None:
            low = self.lower.at(columns, clip=clip)
            return low, self.upper.at(columns, clip=clip) - low
        edge = self.upper if self.lower is None else self.lower
        assert edge is not None
        return edge.at(columns, clip=clip), 1.0

    def box(self, box: Mapping[str, Limits]) -> Limits:
        """Lowest and highest value of the feature where the other columns are within `box`."""
        low = -np.inf if self.lower is None else self.lower.reach(box)[0]
        return low, np.inf if self.upper is None else self.upper.reach(box)[1]

    def __str__(self) -> str:
        if self.lower is None or self.upper is None:
            edge = self.upper if self.lower is None else self.lower
            return f"{self.feature} as {self.feature} - {edge}"
        if self.lower == Edge.fixed(0.0):
            return f"{self.feature} as {self.feature} / {self.upper}"
        upper = str(self.upper).removeprefix("(").removesuffix(")")
        return f"{self.feature} as ({self.feature} - {self.lower}) / ({upper} - {self.lower})"

    def to_json(self) -> dict[str, Any]:
        """Reduce to plain values; infinite bounds become None."""

        def plain(edge: Edge | None) -> Any:
            if edge is None:
                return None
            return [edge.other, edge.intercept, edge.slope, *_finite((edge.least, edge.most))]

        room = None if self.room is None else _finite(self.room)
        return {"feature": self.feature, "lower": plain(self.lower), "upper": plain(self.upper), "room": room}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`'s values."""

        def edge(values: Any) -> Edge | None:
            if values is None:
                return None
            other, intercept, slope, *bounds = values
            return Edge(other, intercept, slope, *_infinite(bounds))

        room = None if raw["room"] is None else _infinite(raw["room"])
        return cls(raw["feature"], edge(raw["lower"]), edge(raw["upper"]), room)


def _finite(limits: Limits) -> list[float | None]:
    return [float(limit) if np.isfinite(limit) else None for limit in limits]


def _infinite(limits: Sequence[float | None]) -> Limits:
    low, high = limits
    return -np.inf if low is None else low, np.inf if high is None else high


@dataclass(frozen=True)
class Coordinates:
    """All features in the coordinates in which their edges stand still.

    Attributes:
        features: Names of the columns of x, in order.
        given: Name of the mass.
        changed: The features that are learned in another coordinate, each after those that its edges follow.
    """

    features: tuple[str, ...]
    given: str
    changed: tuple[Coordinate, ...] = ()

    def limits(self, limits: Sequence[Limits]) -> list[Limits]:
        """Limits of the coordinates from the declared ones of the features, in order."""
        found = dict(zip(self.features, limits, strict=True))
        for coordinate in self.changed:
            if coordinate.room is not None:
                (other,), (low, high) = coordinate.others, coordinate.room
                found[other] = (max(found[other][0], low), min(found[other][1], high))
        found |= {coordinate.feature: coordinate.limits for coordinate in self.changed}
        return [found[name] for name in self.features]

    def box(self, limits: Sequence[Limits]) -> Array:
        """Smallest box around the features where the coordinates are within `limits`; shape (d, 2)."""
        found = {self.given: (-np.inf, np.inf), **dict(zip(self.features, limits, strict=True))}
        for coordinate in self.changed:
            found[coordinate.feature] = coordinate.box(found)
        return np.array([found[name] for name in self.features])

    def forward(self, x: Array, m: Array) -> tuple[Array, Array]:
        """Map features to coordinates.

        Args:
            x: Shape (n, d).
            m: Masses, shape (n,).

        Returns:
            y, shape (n, d), and log |dy/dx|, shape (n,): -inf, and any y, where an event is beyond all edges.
        """
        columns = {self.given: m, **dict(zip(self.features, x.T, strict=True))}
        y, log_jacobian = np.array(x, dtype=np.float64), np.zeros(len(x))
        for coordinate in self.changed:
            origin, length = coordinate.frame(columns)
            length = np.broadcast_to(length, m.shape)
            room = length > 0
            unit = np.where(room, length, 1.0)
            y[:, self.features.index(coordinate.feature)] = (columns[coordinate.feature] - origin) / unit
            log_jacobian -= np.where(room, np.log(unit), np.inf)
        return y, log_jacobian

    def inverse(self, y: Array, m: Array) -> Array:
        """Map coordinates, shape (n, d), at masses of shape (n,) to features, shape (n, d)."""
        columns = {self.given: m, **dict(zip(self.features, np.array(y, dtype=np.float64).T, strict=True))}
        for coordinate in self.changed:
            origin, length = coordinate.frame(columns)
            x = origin + columns[coordinate.feature] * length
            # rounding must not carry an event over its edge
            low, high = (None if edge is None else edge.at(columns) for edge in (coordinate.lower, coordinate.upper))
            columns[coordinate.feature] = x if low is None and high is None else np.clip(x, low, high)
        return np.stack([columns[name] for name in self.features], axis=1)

    @property
    def masses(self) -> tuple[float, ...]:
        """Masses such that what is within the edges at all of them is so at every mass: edges are monotone in it."""
        follow = any(self.given in coordinate.others for coordinate in self.changed)
        return (-np.inf, np.inf) if follow else (0.0,)

    def only(self, changed: Sequence[Coordinate]) -> Coordinates:
        """The same with these changes alone."""
        return replace(self, changed=tuple(changed))

    def __str__(self) -> str:
        return ", ".join(map(str, self.changed)) or "features as they are"

    def to_json(self) -> dict[str, Any]:
        """Reduce to plain values."""
        changed = [coordinate.to_json() for coordinate in self.changed]
        return {"features": list(self.features), "given": self.given, "changed": changed}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`'s values."""
        return cls(tuple(raw["features"]), raw["given"], tuple(map(Coordinate.from_json, raw["changed"])))


def in_order(changed: Sequence[Coordinate]) -> tuple[Coordinate, ...] | None:
    """Sort so that each comes after those that its edges follow; None where they go round in a circle."""
    done: list[Coordinate] = []
    left = list(changed)
    while left:
        waiting = {coordinate.feature for coordinate in left}
        ready = [coordinate for coordinate in left if waiting.isdisjoint(coordinate.others)]
        if not ready:
            return None
        done += ready
        left = [coordinate for coordinate in left if coordinate not in ready]
    return tuple(done)
