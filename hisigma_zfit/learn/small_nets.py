"""Nets that are small enough for plain numpy: residual layers with SiLU, their gradient, and a decaying Adam.

With some ten thousand parameters and batches of a thousand rows a compiled step has nothing to win, and what evaluates
such a net needs neither TensorFlow nor a compilation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hisigma_zfit.files import write_npz
from hisigma_zfit.learn.state import require_same_training
from hisigma_zfit.stored_files import read_npz, sound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hisigma_zfit.arrays import Array, Float32

__all__ = ["Adam", "AdamState", "SmallNet"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
BLOCK = 8192  # rows that are evaluated at once


class _Layer(NamedTuple):
    matrix: Float32
    bias: Float32


class _Kept(NamedTuple):
    """What the way back needs of a hidden layer: its input, its sigmoid, and the slope of its SiLU."""

    entered: Float32
    slope: Float32


@dataclass(frozen=True)
class SmallNet:
    """Hidden layers with SiLU and a linear last one; a hidden layer as wide as its input is added to it.

    Attributes:
        sizes: Numbers of inputs, of nodes in each hidden layer, and of outputs.
    """

    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of parameters, P."""
        return sum((n + 1) * m for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @cached_property
    def decaying(self) -> Float32:
        """One for parameters that belong to a matrix, zero for a bias, shape (P,)."""
        pairs = zip(self.sizes[:-1], self.sizes[1:], strict=True)
        return np.concatenate([np.repeat(np.array([1, 0], dtype=np.float32), (n * m, m)) for n, m in pairs])

    def start(self, generator: np.random.Generator) -> Float32:
        """Random parameters with a last layer of zeros, shape (P,): the untrained net is zero everywhere."""
        parameters = np.zeros(self.size, dtype=np.float32)
        for matrix, _ in self._layers(parameters)[:-1]:
            matrix[:] = generator.normal(0.0, np.sqrt(2.0 / len(matrix)), matrix.shape)
        return parameters

    def value(self, parameters: Float32, x: Float32) -> Float32:
        """Outputs, shape (n, K).

        Args:
            parameters: Shape (P,).
            x: Inputs, shape (n, d).
        """
        layers = self._layers(parameters)
        out = np.empty((len(x), self.sizes[-1]), dtype=np.float32)
        for first in range(0, len(x), BLOCK):
            out[first : first + BLOCK] = _forward(layers, x[first : first + BLOCK])[0]
        return out

    def forward(self, parameters: Float32, x: Float32) -> tuple[Float32, Any]:
        """Outputs of one batch, shape (n, K), and what `backward` needs."""
        layers, kept = self._layers(parameters), list[_Kept]()
        out, last = _forward(layers, x, kept)
        return out, (layers, kept, last)

    def backward(self, memory: Any, slope: Float32) -> Float32:
        """Gradient of a loss in the parameters, shape (P,).

        Args:
            memory: Of `forward`.
            slope: Derivatives of the loss in the outputs, shape (n, K).
        """
        layers, kept, last = memory
        gradient = np.empty(self.size, dtype=np.float32)
        parts = self._layers(gradient)
        np.matmul(last.T, slope, out=parts[-1].matrix)
        parts[-1].bias[:] = slope.sum(axis=0)
        into = slope @ layers[-1].matrix.T
        for k in range(len(kept) - 1, -1, -1):
            entered, own = kept[k]
            own *= into
            np.matmul(entered.T, own, out=parts[k].matrix)
            parts[k].bias[:] = own.sum(axis=0)
            if k:
                through = own @ layers[k].matrix.T
                into = through + into if _residual(layers[k]) else through
        return gradient

    def _layers(self, parameters: Float32) -> list[_Layer]:
        layers, at = [], 0
        for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            matrix = parameters[at : at + n * m].reshape(n, m)
            layers.append(_Layer(matrix, parameters[at + n * m : at + (n + 1) * m]))
            at += (n + 1) * m
        return layers


def _residual(layer: _Layer) -> bool:
    return layer.matrix.shape[0] == layer.matrix.shape[1]


def _forward(layers: Sequence[_Layer], x: Float32, kept: list[_Kept] | None = None) -> tuple[Float32, Float32]:
    """Outputs and the inputs of the last layer."""
    h = x
    for layer in layers[:-1]:
        a = h @ layer.matrix
        a += layer.bias
        # the sigmoid; an overflow makes an exact zero of it
        with np.errstate(over="ignore"):
            s = np.exp(-a)
        s += 1.0
        np.reciprocal(s, out=s)
        silu = a * s
        if kept is not None:
            # d silu = s + silu (1 - s)
            slope = 1.0 - s
            slope *= silu
            slope += s
            kept.append(_Kept(h, slope))
        h = silu + h if _residual(layer) else silu
    return h @ layers[-1].matrix + layers[-1].bias, h


@dataclass(frozen=True)
class Adam:
    """Adam with warm-up, half a cosine, decoupled decay of the matrices (arXiv:1711.05101) and averaged parameters.

    Attributes:
        rate: Peak of the learning rate.
        steps: Steps of the whole training.
        warm_up: Steps of linear rise; at most a fifth of all.
        floor: Last rate in units of the peak.
        decay: Share of the matrices that goes in a step, over the rate.
        averaging: Of the parameters, per step.
        clip: Largest norm of a gradient.
    """

    rate: float
    steps: int
    warm_up: int
    floor: float
    decay: float
    averaging: float
    clip: float

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from zero."""
        rising = min(1.0, (step + 1) / max(min(self.warm_up, self.steps // 5), 1))
        falling = self.floor + (1.0 - self.floor) * 0.5 * (1.0 + np.cos(np.pi * min(step / self.steps, 1.0)))
        return float(self.rate * rising * falling)

    def advance(self, state: AdamState, gradient: Float32, decaying: Float32) -> None:
        """One step, in place.

        Args:
            state: Where the training is.
            gradient: Of the loss, shape (P,).
            decaying: See `SmallNet.decaying`.
        """
        norm = float(np.sqrt(gradient @ gradient))
        if norm > self.clip:
            gradient = gradient * np.float32(self.clip / norm)
        t, rate = state.step + 1, self.rate_at(state.step)
        state.momentum += np.float32(1.0 - BETA_1) * (gradient - state.momentum)
        state.square += np.float32(1.0 - BETA_2) * (gradient * gradient - state.square)
        scale = np.sqrt(state.square / np.float32(1.0 - BETA_2**t)) + np.float32(EPSILON)
        state.parameters -= np.float32(rate / (1.0 - BETA_1**t)) * state.momentum / scale
        state.parameters -= np.float32(rate * self.decay) * decaying * state.parameters
        keep = min(self.averaging, t / (t + 10.0))
        state.average += np.float32(1.0 - keep) * (state.parameters - state.average)
        state.step = t


@dataclass
class AdamState:
    """Everything that the next step depends on, and the losses so far.

    Attributes:
        parameters, momentum, square, average: Adam's and the moving average of the parameters, shape (P,).
        step: Steps done.
        losses: Steps done, mean training loss since the last record, and held-out loss, of each record.
    """

    parameters: Float32
    momentum: Float32
    square: Float32
    average: Float32
    step: int = 0
    losses: list[tuple[float, float, float]] = field(default_factory=list)

    @classmethod
    def at(cls, parameters: Float32) -> AdamState:
        """Begin at parameters, shape (P,)."""
        return cls(parameters.copy(), np.zeros_like(parameters), np.zeros_like(parameters), parameters.copy())

    def save(self, path: Path, fingerprint: str) -> None:
        """Write to `path`, complete or not at all."""
        arrays: dict[str, Array | Float32 | Any] = {
            "fingerprint": np.array(fingerprint),
            "adam": np.stack([self.parameters, self.momentum, self.square, self.average]),
            "step": np.array(self.step),
            "losses": np.array(self.losses, dtype=np.float64).reshape(-1, 3),
        }
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> AdamState:
        """Read what `save` wrote.

        Raises:
            InputError: The file belongs to another training.
        """
        stored = read_npz(path)
        with sound(path):
            require_same_training(stored, fingerprint, path)
            losses = [(float(a), float(b), float(c)) for a, b, c in stored["losses"]]
            parameters, momentum, square, average = (row.copy() for row in stored["adam"])
            return cls(parameters, momentum, square, average, int(stored["step"]), losses)
