"""Small nets that tell processes apart: trained as a stack with TensorFlow, evaluated with numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, hashed, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import tensorflow as tf

    from hisigma_zfit.arrays import Array, Float32, Integers

__all__ = ["Network", "Networks", "train_networks"]

CLIP = 4.0  # features further out, in units of their spread, count as there: nets go astray beyond their training
_BLOCK = 8192
_START, _ORDER = range(2)  # streams


@dataclass(frozen=True)
class Network:
    """What nets look like and how they are trained.

    Attributes:
        width: Of each of the three hidden layers.
        epochs: Passes over the rows.
        learning_rate: Its peak.
        seeds: Nets of each fold, whose probabilities are averaged.

    Raises:
        InputError: A number is not positive.
    """

    width: int = 64
    epochs: float = 20.0
    learning_rate: float = 3e-3
    seeds: int = 1

    def __post_init__(self) -> None:
        if not (self.width >= 1 and self.epochs > 0.0 and self.learning_rate > 0.0 and self.seeds >= 1):
            raise InputError.from_parts(
                expected="a positive width, number of epochs, learning rate and number of seeds",
                got=str(self),
                do="correct the options of the nets",
            )


@dataclass(frozen=True, eq=False)
class Networks:
    """Trained nets of one fold.

    Attributes:
        centre: Of the features, shape (d,).
        spread: Of the features, shape (d,).
        parameters: Of all nets, shape (E, number of them); see `_Layers`.
        width: Of the hidden layers.
        classes: P.
    """

    centre: Float32
    spread: Float32
    parameters: Float32
    width: int
    classes: int

    def log_probabilities(self, x: Float32) -> Array:
        """Of the classes, shape (n, P).

        Args:
            x: Features, shape (n, d).
        """
        layers = _Layers(len(self.centre), self.width, self.classes)
        total = np.zeros((len(x), self.classes))
        for own in self.parameters:
            weights = [(own[matrix].reshape(shape), own[offset]) for matrix, offset, shape in layers.places]
            for first in range(0, len(x), _BLOCK):
                rows = slice(first, first + _BLOCK)
                logits = _forward(weights, _standard(x[rows], self.centre, self.spread)).astype(np.float64)
                p = np.exp(logits - logits.max(axis=1, keepdims=True))
                total[rows] += p / p.sum(axis=1, keepdims=True)
        return np.asarray(np.log(np.maximum(total / len(self.parameters), np.finfo(float).tiny)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, as arrays of numbers."""
        return {
            "centre": self.centre,
            "spread": self.spread,
            "parameters": self.parameters,
            "shape": np.array([self.width, self.classes]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of `arrays`."""
        width, classes = map(int, arrays["shape"])
        return cls(arrays["centre"], arrays["spread"], arrays["parameters"], width, classes)


@dataclass(frozen=True)
class _Layers:
    """Where the matrices stand in a flat row of parameters: d to width, twice width to width, width to P."""

    features: int
    width: int
    classes: int

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return ((self.features, self.width), *2 * ((self.width, self.width),), (self.width, self.classes))

    @property
    def places(self) -> Iterator[tuple[slice, slice, tuple[int, int]]]:
        """By layer the places of matrix and offsets, and the matrix's shape."""
        at = 0
        for rows, columns in self.shapes:
            middle, end = at + rows * columns, at + (rows + 1) * columns
            yield slice(at, middle), slice(middle, end), (rows, columns)
            at = end

    def start(self, rng: np.random.Generator) -> Float32:
        """Parameters before training: the last layer small, so that all classes are about as likely."""
        parts = []
        for k, (rows, columns) in enumerate(self.shapes):
            scale = np.sqrt(2.0 / rows) * (0.1 if k == len(self.shapes) - 1 else 1.0)
            parts += [rng.normal(0.0, scale, rows * columns), np.zeros(columns)]
        return np.concatenate(parts).astype(np.float32)


@dataclass(frozen=True)
class _ClassLogProbability:
    """The `learn.objective.Objective` of a classifier: log-probability of each event's class."""

    layers: _Layers
    xla: bool = True

    def log_likelihood(self, parameters: tf.Tensor, events: Any) -> tf.Tensor:
        import tensorflow as tf

        x, one_hot = events
        h, logits, last = x[None], None, len(self.layers.shapes) - 1
        for k, (matrix, offset, shape) in enumerate(self.layers.places):
            weights = tf.reshape(parameters[:, matrix], (parameters.shape[0], *shape))
            logits = tf.matmul(h, weights) + parameters[:, None, offset]
            h = tf.nn.silu(logits) + (h if 0 < k < last else 0.0)
        return tf.reduce_sum(tf.nn.log_softmax(logits) * one_hot[None], axis=-1)


def train_networks(
    x: Float32,
    y: Integers,
    weights: Array,
    event: Integers,
    *,
    classes: int,
    options: Network,
    seed: int,
    fold: int,
) -> Networks:
    """Train the nets of one fold.

    Args:
        x: Features, shape (n, d).
        y: Classes from 0, shape (n,).
        weights: Of mean one, classes balanced, shape (n,).
        event: Identity of the hard events, for an order that does not hang on that of the rows, shape (n,).
        classes: How many there are.
        options: Of nets and training.
        seed: Of starts and orders.
        fold: That the nets do not see, for streams of its own.
    """
    from hisigma_zfit.learn.optimiser import Stack, train_stack
    from hisigma_zfit.learn.schedule import Schedule
    from hisigma_zfit.learn.state import StackState

    layers = _Layers(x.shape[1], options.width, classes)
    centre, spread = _moments(x, weights)
    objective = _ClassLogProbability(layers)

    def order(epoch: int) -> Integers:
        return np.argsort(hashed(event, seed, Purpose.RATIO_POSTERIOR, _ORDER, fold, epoch), kind="stable")

    stack = Stack(
        objective,
        (_standard(x, centre, spread), np.eye(classes, dtype=np.float32)[y]),
        weights.astype(np.float32),
        held_out=(),
        order=order,
    )
    starts = [layers.start(stream(seed, Purpose.RATIO_POSTERIOR, _START, fold, k)) for k in range(options.seeds)]
    schedule = Schedule.plan(
        len(y), x.shape[1], learning_rate=options.learning_rate, preset="standard", epochs=options.epochs
    )
    state = train_stack(stack, schedule, StackState.start(np.stack(starts)))
    return Networks(centre, spread, state.result, options.width, classes)


def _moments(x: Float32, weights: Array) -> tuple[Float32, Float32]:
    centre = np.average(x, axis=0, weights=weights)
    spread = np.sqrt(np.average((x - centre) ** 2, axis=0, weights=weights))
    return centre.astype(np.float32), np.where(spread > 0.0, spread, 1.0).astype(np.float32)


def _standard(x: Float32, centre: Float32, spread: Float32) -> Float32:
    return np.clip((x - centre) / spread, np.float32(-CLIP), np.float32(CLIP))


def _forward(weights: Sequence[tuple[Float32, Float32]], x: Float32) -> Float32:
    """Logits, shape (n, P)."""
    h = x
    for k, (matrix, offset) in enumerate(weights[:-1]):
        z = h @ matrix + offset
        z = z / (1.0 + np.exp(-z))
        h = z + h if k > 0 else z
    matrix, offset = weights[-1]
    return np.asarray(h @ matrix + offset)
