"""Coordinates of simulated signal in which a change of its parameters is a shift.

A column that scales with a parameter enters as its logarithm, any other as log, log of the distance to its one edge,
or the normal quantile of its place between two.  A scaled column may be an expression, such as the heavier jet's mass
``mj_light + dmj``: it takes the place of the last feature in it that nothing else scales, and must be linear in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import ndtr, ndtri

from hisigma_zfit.data.expressions import compile_expression
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.data.expressions import Expression

__all__ = ["Frame", "ScaledColumn", "SignalCoordinates", "scaled_columns"]

MOST_LOST = 0.02  # share of simulated events that may lie on an edge or outside of the background's domain
LEAST = 500  # simulated events


@dataclass(frozen=True)
class Frame:
    """What the density of a signal has to fit into: that of the background.

    Attributes:
        features: Their names.
        given: Name of the mass.
        domain: Of the features, shape (d, 2).
        window: Of the mass.
    """

    features: tuple[str, ...]
    given: str
    domain: Array
    window: tuple[float, float]

    def events(self, simulated: Dataset, what: str) -> tuple[Array, Array]:
        """Features and masses of simulated events in the frame.

        Raises:
            InputError: They have weights, are too few or many are outside of the domain.
        """
        if simulated.weights is not None:
            raise InputError.from_parts(
                expected=f"{what} without weights", got="weighted events", do="unweight them by accept and reject"
            )
        x, m = simulated.array(self.features), simulated[self.given]
        inside = (m >= self.window[0]) & (m < self.window[1])
        x, m = x[inside], m[inside]
        if len(m) < LEAST:
            raise InputError.from_parts(
                expected=f"at least {LEAST} events of {what} in the window", got=str(len(m)), do="simulate more"
            )
        known = self.contains(x)
        if np.mean(~known) > MOST_LOST:
            raise InputError.from_parts(
                expected=f"{what} in the domain of the background",
                got=f"{int(np.sum(~known))} of {len(m)} events outside",
                do="select simulation as the data",
            )
        return x[known], m[known]

    def contains(self, x: Array) -> Mask:
        """Which rows of x, shape (n, d), are in the domain."""
        return np.asarray(np.all((x >= self.domain[:, 0]) & (x <= self.domain[:, 1]), axis=1))


@dataclass(frozen=True)
class ScaledColumn:
    """A feature, or an expression of features that takes the place of one.

    Attributes:
        expression: Of the features.
        replaces: Number of the feature in whose place it stands.
        features: Names of all features, in order.
    """

    expression: Expression
    replaces: int
    features: tuple[str, ...]

    def value(self, x: Array) -> Array:
        """Of events with features x of shape (n, d)."""
        # a copy: a plain feature is a view of x
        return np.array(self.expression(dict(zip(self.features, x.T, strict=True)), len(x)), dtype=np.float64)

    def line(self, x: Array) -> tuple[Array, Array]:
        """Offset and slope of the value in the replaced feature, whatever that is in x, shape (n,) each."""
        moved = x.copy()
        moved[:, self.replaces] = 0.0
        offset = self.value(moved)
        moved[:, self.replaces] = 1.0
        return offset, self.value(moved) - offset


def scaled_columns(expressions: Sequence[str], features: tuple[str, ...], signal: Array) -> tuple[ScaledColumn, ...]:
    """Find for every expression the feature that it replaces.

    Args:
        expressions: Features or expressions of them.
        features: Their names.
        signal: Simulated events, shape (n, d).

    Raises:
        InputError: An expression names no feature, is not linear in the one that it replaces, or not positive.
    """
    compiled = [compile_expression(text, features, "the features") for text in expressions]
    taken = [expression.branches[0] for expression in compiled if expression.is_branch]
    found = []
    for expression in sorted(compiled, key=lambda e: not e.is_branch):
        free = [name for name in expression.branches if name not in taken]
        if not expression.is_branch and not free:
            raise InputError.from_parts(
                expected="a scaled expression of a feature that nothing else scales",
                got=repr(expression.text),
                do="leave one of the two out",
            )
        name = expression.branches[0] if expression.is_branch else free[-1]
        taken.append(name)
        column = ScaledColumn(expression, features.index(name), features)
        offset, slope = column.line(signal)
        value = column.value(signal)
        wrong = np.abs(offset + slope * signal[:, column.replaces] - value) > 1e-6 * np.abs(value)
        if np.any(wrong) or not np.all(slope > 0.0):
            raise InputError.from_parts(
                expected=f"a scaled column that grows in proportion with {name}",
                got=repr(expression.text),
                do="write it linear in the last feature that nothing else scales",
            )
        if not np.all(value > 0.0):
            raise InputError.from_parts(
                expected=f"positive values of {expression.text}",
                got=f"{int(np.sum(value <= 0))} others",
                do="scale only what is positive",
            )
        found.append(column)
    return tuple(found)


@dataclass(frozen=True)
class SignalCoordinates:
    """Coordinates z of shape (n, d + 1), the mass last.

    Attributes:
        frame: What they are made for.
        columns: Scaled columns, in the order in which they are to be inverted.
        edges: Lower and upper edge of every feature and of the mass; infinite where there is none, shape (d + 1, 2).
        centre: Subtracted from z, shape (d + 1,).
        spread: And z divided by it, shape (d + 1,).
    """

    frame: Frame
    columns: tuple[ScaledColumn, ...]
    edges: Array
    centre: Array
    spread: Array

    @classmethod
    def of(cls, frame: Frame, expressions: Sequence[str], x: Array, m: Array) -> Self:
        """Those of simulated events x, shape (n, d), with masses m.

        Raises:
            InputError: As for `scaled_columns`.
        """
        columns = scaled_columns(expressions, frame.features, x)
        edges = np.concatenate([frame.domain, [frame.window]])
        # what is positive is a magnitude, and has no events on the other side
        positive = np.append(x.min(axis=0) > 0.0, False)
        edges[:, 0] = np.where(positive & np.isinf(edges[:, 0]) & np.isinf(edges[:, 1]), 0.0, edges[:, 0])
        size = len(edges)
        plain = cls(frame, columns, edges, np.zeros(size), np.ones(size))
        z, log_jacobian = plain.forward(x, m)
        z = z[np.isfinite(log_jacobian)]
        return cls(frame, columns, edges, np.median(z, axis=0), z.std(axis=0))

    @property
    def scaled(self) -> Mapping[str, int]:
        """Number of the coordinate of every scaled expression."""
        return {column.expression.text: column.replaces for column in self.columns}

    def forward(self, x: Array, m: Array) -> tuple[Array, Array]:
        """Coordinates and log |dz/d(x, m)|, which is -inf outside of the domain; there z is zero."""
        values = np.column_stack([x, m])
        replaced = {column.replaces: column for column in self.columns}
        z, log_jacobian = np.empty_like(values), np.full(len(m), -np.log(self.spread).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            for k, (low, high) in enumerate(self.edges):
                if k in replaced:
                    value = replaced[k].value(x)
                    z[:, k], log_slope = np.log(value), np.log(replaced[k].line(x)[1] / value)
                else:
                    z[:, k], log_slope = _opened(values[:, k], low, high)
                log_jacobian += log_slope
        z = (z - self.centre) / self.spread
        good = np.isfinite(log_jacobian) & np.isfinite(z).all(axis=1)
        return np.where(good[:, None], z, 0.0), np.where(good, log_jacobian, -np.inf)

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """Features, shape (n, d), and masses, shape (n,)."""
        values = self._values(z, range(len(self.edges)))
        return values[:, :-1], values[:, -1]

    @property
    def closed(self) -> bool:
        """Whether every point has features in the domain: magnitudes that are scaled as they are."""
        return all(
            column.expression.is_branch
            and self.frame.domain[column.replaces, 0] <= 0.0
            and np.isinf(self.frame.domain[column.replaces, 1])
            for column in self.columns
        )

    def inside(self, z: Array) -> Mask:
        """Which points have features in the domain, shape (n,): only scaled columns can leave it."""
        scaled = [column.replaces for column in self.columns]
        needed = {self.frame.features.index(name) for column in self.columns for name in column.expression.branches}
        values = self._values(z, needed)[:, scaled]
        low, high = self.frame.domain[scaled].T
        return np.asarray(np.all((values >= low) & (values <= high), axis=1))

    def _values(self, z: Array, wanted: Iterable[int]) -> Array:
        """Features and mass, shape (n, d + 1), those that are not wanted zero."""
        z = self.centre + self.spread * z
        values, scaled = np.zeros_like(z), {column.replaces for column in self.columns}
        for k in set(wanted) - scaled:
            values[:, k] = _closed(z[:, k], *self.edges[k])
        x = values[:, :-1]
        for column in self.columns:
            offset, slope = column.line(x)
            x[:, column.replaces] = (np.exp(z[:, column.replaces]) - offset) / slope
        return values


def _opened(values: Array, low: float, high: float) -> tuple[Array, Array]:
    """A coordinate without edges and the log of its slope; not finite outside of the edges."""
    if np.isfinite(low) and np.isfinite(high):
        z = ndtri((values - low) / (high - low))
        return z, 0.5 * z**2 + 0.5 * np.log(2.0 * np.pi) - np.log(high - low)
    if np.isfinite(low):
        return np.log(values - low), -np.log(values - low)
    if np.isfinite(high):
        return -np.log(high - values), -np.log(high - values)
    return values, np.zeros(len(values))


def _closed(z: Array, low: float, high: float) -> Array:
    """Invert `_opened`."""
    if np.isfinite(low) and np.isfinite(high):
        return np.asarray(low + (high - low) * ndtr(z))
    if np.isfinite(low):
        return np.asarray(low + np.exp(z))
    if np.isfinite(high):
        return np.asarray(high - np.exp(-z))
    return z
