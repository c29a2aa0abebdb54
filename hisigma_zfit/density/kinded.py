"""The spline density for features with kinds: atoms have probabilities, angles a density on a circle.

    p(x_j | x_<j, m) = P_j(a | x_<j, m)                          at the atom a,
                       P_j(none | x_<j, m) p_j(x_j | x_<j, m)    elsewhere,

with P_j a softmax of further outputs of the feature's net, which start at the shares of the training events, and p_j
the density of `warped`, or on a circle that of `circles`.  Nets of later features see an atom as its
number and as a flag of its own, and an angle as its cosine and sine: nothing is to be seen where the circle was cut.

No probability goes below a floor, half an event of the training, so that a value that a training has not seen is rare
and not impossible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.circles import MAP_OUTPUTS, draw_angle, log_circle_density
from hisigma_zfit.density.kernel import log_warped_density
from hisigma_zfit.density.warped import BOUND, WarpedSplineConfig
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.circles import BINS, spline_shares
from hisigma_zfit.learn.kinded_transform import ATOM, on_circle
from hisigma_zfit.learn.splines import periodic_spline_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32
    from hisigma_zfit.density.base import FlowConfig
    from hisigma_zfit.learn.kinded_transform import KindedTransform, Kinds
    from hisigma_zfit.learn.preprocess import Support

__all__ = ["KindedSplineConfig", "for_kinds"]

EDGE = 2e-4  # as in `cube`
MAX_FLAGS = 20  # atoms of a feature that have a flag each; more of them are told by their number alone
SMALLEST = 2.0**-30
FEWEST = 5  # splines on a circle


def for_kinds(config: FlowConfig, kinds: Kinds, n_events: int, supports: Sequence[Support] = ()) -> FlowConfig:
    """The recipe for features of some kinds.

    Args:
        config: That for continuous features, or one of these.
        kinds: Of the features; none where all are continuous.
        n_events: Number of training events.
        supports: Of the features, which tell what circle was cut; none where none was.

    Raises:
        InputError: There are kinds, and the recipe is no `spline_flow` with bins.
    """
    if not any(kinds):
        return config
    if not isinstance(config, WarpedSplineConfig):
        raise InputError.from_parts(
            expected="flow=spline_flow(...) with bins > 0 for features with kinds",
            got=f"kind {config.kind!r}",
            do="leave out the option flow, or the kinds",
        )
    # a power of two, so that varied samples of a few events more or less share the compiled functions
    floor = max(2.0 ** -math.ceil(math.log2(2.0 * n_events)), SMALLEST)
    shared = {field.name: getattr(config, field.name) for field in fields(WarpedSplineConfig)}
    return KindedSplineConfig(
        **shared,
        atoms=tuple(0 if kind is None else len(kind.atoms) for kind in kinds),
        continuous=tuple(kind is None or kind.continuous for kind in kinds),
        periodic=tuple(
            kind is not None and kind.circle is not None and (not supports or on_circle(kind, supports[j]))
            for j, kind in enumerate(kinds)
        ),
        floor=floor,
    )


@dataclass(frozen=True)
class KindedSplineConfig(WarpedSplineConfig):
    """What `for_kinds` returns.

    Attributes:
        atoms: Number of atoms of each feature.
        continuous: Which features have a density beside their atoms.
        periodic: Which of these densities are on a circle that was not cut.
        floor: Least probability of an atom.
    """

    kind: ClassVar[str] = "kinded spline on moved circles"
    atoms: tuple[int, ...] = ()
    continuous: tuple[bool, ...] = ()
    periodic: tuple[bool, ...] = ()
    floor: float = 1e-6

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """See `FlowConfig.from_json`; lists become tuples again."""
        found = super().from_json(raw)
        return replace(
            found, atoms=tuple(found.atoms), continuous=tuple(found.continuous), periodic=tuple(found.periodic)
        )

    @property
    def _smooth(self) -> int:
        """Outputs of a net for the density beside the atoms."""
        return self.knots + 3 * self.bins - 1

    @property
    def _flags(self) -> list[int]:
        """Features whose atoms have flags."""
        return [j for j, count in enumerate(self.atoms) if 0 < count <= MAX_FLAGS]

    def _start(self) -> Array:
        """As of `WarpedSplineConfig`, then the logits of no atom and of each atom."""
        extra = 1 + max(self.atoms) if any(self.atoms) else 0
        return np.concatenate([super()._start(), np.zeros(extra)])

    def _shapes(self, d: int) -> list[tuple[int, ...]]:
        shapes = super()._shapes(d)
        shapes[0] = (d, self._mask(d).shape[1], self.hidden)
        return shapes

    def _mask(self, d: int) -> Float32:
        plain = super()._mask(d)
        flags = [np.repeat(plain[:, j : j + 1], self.atoms[j], axis=1) for j in self._flags]
        return np.concatenate([plain, *flags], axis=1)

    def init(self, rng: np.random.Generator, n_features: int) -> Float32:
        """See `FlowConfig.init`; on a circle the uniform density has equal shares and no map."""
        parameters = super().init(rng, n_features)
        self._last_biases(parameters[None])[:, np.array(self.periodic), : self._smooth] = 0.0
        return parameters

    def _last_biases(self, parameters: Float32) -> Float32:
        """View of the outputs that the nets start from, shape (E, d, outputs)."""
        outputs = len(self._start())
        d = len(self.atoms)
        return parameters[:, -d * outputs :].reshape(len(parameters), d, outputs)

    @property
    def _around(self) -> int:
        """Number of splines on a circle."""
        return max(self.knots, FEWEST)

    def independent(self, transform: KindedTransform) -> float:
        """Loss in nats of independent features with the shares of a transform, which is 0 of continuous ones."""
        shares = np.array([share for own in transform.shares for share in own if share > 0])
        loss = -np.sum(shares * np.log(shares))
        for j, events in transform.turns.items():
            centres = (np.arange(BINS) + 0.5) / BINS
            density = periodic_spline_matrix(centres, self._around) @ spline_shares(events, self._around)
            beside = transform.shares[j][0] if transform.shares[j] else 1.0
            loss -= beside * float(events @ np.log(density)) / events.sum()
        return float(loss)

    def with_shares(self, parameters: Float32, transform: KindedTransform) -> Float32:
        """Starting parameters, shape (E, P), of independent features with the shares of a transform."""
        parameters = parameters.copy()
        biases = self._last_biases(parameters)
        for j, events in transform.turns.items():
            biases[:, j, : self._around] = np.log(spline_shares(events, self._around) * self._around)
        for j, own in enumerate(transform.shares):
            first = self._smooth + (not self.continuous[j])
            known = np.asarray(own[not self.continuous[j] :])
            biases[:, j, first : first + len(known)] = np.log(known)
        return parameters

    def _inputs(self, u: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        """Net inputs, shape (n, 2 d + flags + 1): of places and atoms as the module says."""
        u, c = tf.cast(u, tf.float32), tf.cast(c, tf.float32)
        at = u >= ATOM
        inner = tf.where(at, 0.5, u)
        # a feature without density is told by the number of its atom, at the same distances as places
        number = (u - ATOM + 0.5) / tf.constant([max(count, 1) for count in self.atoms], tf.float32)
        inner = tf.where(self._each(self.continuous), inner, tf.clip_by_value(number, 0.0, 1.0))
        turn, round_ = 2.0 * math.pi * inner, self._each(self.periodic)
        first = tf.where(round_, 2**0.5 * tf.cos(turn), (inner - 0.5) * 12**0.5)
        second = tf.math.ndtri(tf.clip_by_value(inner, EDGE, 1 - EDGE))
        second = tf.where(round_, 2**0.5 * tf.sin(turn), second)
        beside = at & self._each(self.continuous)
        first, second = (tf.where(beside, 0.0, values) for values in (first, second))
        flags = [self._flagged(u[:, j], self.atoms[j]) for j in self._flags]
        return tf.concat([first, second, c[:, None], *flags], axis=1)

    @staticmethod
    def _each(answers: tuple[bool, ...]) -> tf.Tensor:
        return tf.constant(answers, tf.bool)

    @staticmethod
    def _flagged(u: tf.Tensor, count: int) -> tf.Tensor:
        return tf.cast(u[:, None] == ATOM + tf.range(count, dtype=tf.float32), tf.float32)

    def prepare(self, u: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Net inputs, normal quantiles of places, places, and numbers of atoms (1, 2, ...; 0 for none), each (n, .)."""
        at = u >= ATOM
        inner = tf.where(at, tf.constant(0.5, u.dtype), u)
        numbers = tf.where(at, u - (ATOM - 1.0), tf.zeros_like(u))
        return self._inputs(u, c), tf.clip_by_value(tf.math.ndtri(inner), -BOUND, BOUND), inner, numbers

    def log_conditionals(self, parameters: tf.Tensor, prepared: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """See `SplineConfig.log_conditionals`."""
        inputs, z, inner, numbers = (tf.transpose(array) for array in prepared)
        d = len(self.atoms)
        short = self.outputs(parameters, inputs, n_features=d)
        outputs = tf.cast(short, z.dtype)
        beside: dict[int, tf.Tensor] = {}
        plain = [j for j in range(d) if self.continuous[j] and not self.periodic[j]]
        if plain:
            values = log_warped_density(
                tf.gather(short[:, :, : self._smooth], plain, axis=1),
                tf.gather(z, plain),
                knots=self._t,
                degree=self.degree,
                bins=self.bins,
                bound=BOUND,
            )
            beside |= dict(zip(plain, tf.unstack(values, axis=1), strict=True))
        for j in np.flatnonzero(self.periodic).tolist():
            beside[j] = log_circle_density(outputs[:, j, : self._around + MAP_OUTPUTS], inner[j])
        each = [self._log_atom(j, outputs, numbers[j], beside.get(j)) if self.atoms[j] else beside[j] for j in range(d)]
        return tf.stack(each, axis=1)

    def _log_atom(self, j: int, outputs: tf.Tensor, number: tf.Tensor, beside: tf.Tensor | None) -> tf.Tensor:
        """Log-probability of the atom, or of none and the density beside them, shape (E, n)."""
        log_shares = tf.math.log(self._shares(j, outputs[:, j], axis=1))
        first = 0 if self.continuous[j] else 1
        numbers = tf.range(first, first + log_shares.shape[1], dtype=number.dtype)
        chosen = tf.cast(numbers[:, None] == number, log_shares.dtype)
        value = tf.reduce_sum(log_shares * chosen, axis=1)
        return value if beside is None else value + tf.where(number > 0, tf.zeros_like(beside), beside)

    def _shares(self, j: int, outputs: tf.Tensor, *, axis: int) -> tf.Tensor:
        """Probabilities of no atom, where that can be, and of each atom, along an axis of a net's outputs."""
        size = [int(self.continuous[j]), self.atoms[j]]
        start = self._smooth + 1 - size[0]
        logits = tf.gather(outputs, range(start, start + sum(size)), axis=axis)
        return (1.0 - sum(size) * self.floor) * tf.nn.softmax(logits, axis=axis) + self.floor

    def draw(self, parameters: tf.Tensor, c: tf.Tensor, choice: tf.Tensor, simplex: tf.Tensor) -> tf.Tensor:
        """See `SplineConfig.draw`; returns places."""
        d = len(self.atoms)
        nets = self._nets(parameters, d)
        columns: list[tf.Tensor] = []
        for j in range(d):
            u = tf.stack(columns + [tf.fill(tf.shape(c), tf.constant(0.5, c.dtype))] * (d - j), axis=1)
            outputs = self._logits([weight[:, j : j + 1] for weight in nets], self._inputs(u, c))[0, 0]
            columns.append(self._draw_place(j, tf.cast(outputs, u.dtype), choice[:, j], simplex[:, j]))
        return tf.stack(columns, axis=1)

    def _draw_place(self, j: int, outputs: tf.Tensor, choice: tf.Tensor, simplex: tf.Tensor) -> tf.Tensor:
        drawn = tf.zeros_like(choice)
        if self.atoms[j]:
            shares = self._shares(j, outputs, axis=1)
            levels = tf.cumsum(shares, axis=1)
            drawn = tf.reduce_sum(tf.cast(choice[:, None] > levels[:, :-1], choice.dtype), axis=1)
            if not self.continuous[j]:
                return ATOM + drawn
            # what is left of the uniform number where no atom was drawn is uniform again
            choice = tf.clip_by_value(choice / shares[:, 0], 0.0, 1.0)
        smooth = outputs[:, : self._smooth]
        if self.periodic[j]:
            place = draw_angle(outputs[:, : self._around + MAP_OUTPUTS], choice, simplex)
        else:
            place = self._draw_feature(smooth, choice, simplex)
        return tf.where(drawn > 0, ATOM - 1.0 + drawn, place)
