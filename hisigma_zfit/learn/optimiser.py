"""Training of a stack of nets: Adam on one flat [E, P] tensor, many steps per compiled call.

Everything random is a function of a seed and the step number, so that a training that was interrupted resumes where
its last state was saved and ends with the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache, partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.learn.stopping import TOLERANCE, checks, hopeless, kept
from hisigma_zfit.stored_files import read_npz, sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.learn.objective import Objective
    from hisigma_zfit.learn.schedule import Schedule

__all__ = ["AdamStack", "HeldOut", "Stack", "StackState", "compiled_chunk", "train_stack"]

CHUNK = 24  # steps per compiled call
AVERAGING = 0.999
CLIP = 5.0
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
VALIDATION_BLOCK = 4096
WORTH_COMPILING = 500_000  # held-out losses of events by member that take XLA as long to compile as it saves
SAVE_EVERY_S = 5.0


@dataclass(frozen=True)
class Stack:
    """What one stack of members is trained on.

    Attributes:
        objective: What is maximised.
        events: Arrays of the training events, as the objective takes them, leading axis n.
        weights: Positive weights of mean one, shape (n,).
        held_out: Events that stop the training: of each member in turn, or one set for all; none to go on to the end.
        order: Order of the events in an epoch, from its number: a permutation of 0 to n - 1.
        folds: Part that each training event is in, shape (n,); None where every member sees all of them.
        left_out: Part that each member does not see, shape (E,).
    """

    objective: Objective
    events: tuple[Float32, ...]
    weights: Float32
    held_out: tuple[HeldOut, ...]
    order: Callable[[int], Integers]
    folds: Integers | None = None
    left_out: Integers | None = None

    def seen(self, rows: Integers) -> Float32:
        """Weights of events by member, shape (E, len(rows)), or (1, len(rows)) where all members see all of them."""
        weights = self.weights[rows]
        if self.folds is None or self.left_out is None:
            return weights[None]
        parts = int(self.folds.max()) + 1
        mask = self.folds[rows][None, :] != self.left_out[:, None]
        # of mean one again, so that the clipping of gradients means the same
        return (weights * mask * (parts / (parts - 1.0))).astype(np.float32)


@dataclass(frozen=True)
class HeldOut:
    """Events that a member does not see.

    Attributes:
        events: As `Stack.events`, leading axis k.
        weights: Positive weights, shape (k,).
    """

    events: tuple[Float32, ...]
    weights: Float32


@dataclass
class StackState:
    """Everything that the next step depends on, and the losses so far; rows are members.

    Attributes:
        parameters, momentum, square, average: Adam's state and the moving average of the parameters, shape (E, P).
        step: Steps done.
        losses: Step after each record and the mean training loss by member since the last one.
        validations: The same for held-out events, at the checks of `hisigma_zfit.learn.stopping`.
        snapshots: Averages at those checks that may still be kept, by their steps.
        complete: Whether the training has ended.
    """

    parameters: Float32
    momentum: Float32
    square: Float32
    average: Float32
    step: int = 0
    losses: list[tuple[int, Array]] = field(default_factory=list)
    validations: list[tuple[int, Array]] = field(default_factory=list)
    snapshots: dict[int, Float32] = field(default_factory=dict)
    complete: bool = False

    @property
    def check_losses(self) -> list[float]:
        """Held-out loss of all members at every check."""
        return [float(values.mean()) for _, values in self.validations]

    @property
    def kept_step(self) -> int:
        """Step whose parameters are kept."""
        return self.validations[kept(self.check_losses)][0] if self.validations else self.step

    @property
    def result(self) -> Float32:
        """Parameters that are kept, shape (E, P)."""
        return self.snapshots.get(self.kept_step, self.average)

    def checked(self, losses: Array) -> None:
        """Take note of the held-out losses by member, shape (E,), at the present step."""
        self.validations.append((self.step, losses))
        self.snapshots[self.step] = self.average
        smallest = min(self.check_losses)
        hopeful = {
            step
            for (step, _), loss in zip(self.validations, self.check_losses, strict=True)
            if loss <= smallest + TOLERANCE
        }
        self.snapshots = {step: average for step, average in self.snapshots.items() if step in hopeful}

    @classmethod
    def start(cls, parameters: Float32) -> StackState:
        """Begin at `parameters`."""
        return cls(parameters, np.zeros_like(parameters), np.zeros_like(parameters), parameters)

    def save(self, path: Path, fingerprint: str) -> None:
        """Write to `path`, complete or not at all."""
        write_npz(
            path,
            {
                "fingerprint": np.array(fingerprint),
                "adam": np.stack([self.parameters, self.momentum, self.square, self.average]),
                "step": np.array(self.step),
                "complete": np.array(self.complete),
                "snapshot_steps": np.array(list(self.snapshots), dtype=np.int64),
                "snapshots": np.array(list(self.snapshots.values()), dtype=np.float32),
                **_records_to_arrays("losses", self.losses),
                **_records_to_arrays("validations", self.validations),
            },
        )

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> StackState:
        """Read what `save` wrote.

        Raises:
            InputError: The file belongs to another training.
        """
        stored = read_npz(path)
        with sound(path):
            if str(stored["fingerprint"]) != fingerprint:
                raise InputError.from_parts(
                    expected="a checkpoint of the same data, options, seed and versions",
                    got=f"another training's in {path.parent}",
                    do="give another checkpoint folder or delete this one",
                )
            parameters, momentum, square, average = stored["adam"]
            return cls(
                parameters,
                momentum,
                square,
                average,
                step=int(stored["step"]),
                complete=bool(stored["complete"]),
                snapshots=dict(zip(stored["snapshot_steps"].tolist(), stored["snapshots"], strict=True)),
                losses=_arrays_to_records("losses", stored),
                validations=_arrays_to_records("validations", stored),
            )


def _records_to_arrays(name: str, records: list[tuple[int, Array]]) -> dict[str, Any]:
    steps, values = zip(*records, strict=True) if records else ((), ())
    return {f"{name}_steps": np.array(steps, dtype=np.int64), name: np.array(values, dtype=np.float64)}


def _arrays_to_records(name: str, stored: Any) -> list[tuple[int, Array]]:
    return [(int(step), value) for step, value in zip(stored[f"{name}_steps"], stored[name], strict=True)]


class AdamStack(NamedTuple):
    """Adam's state and the moving average of the parameters, shape (E, P) each."""

    parameters: tf.Tensor
    momentum: tf.Tensor
    square: tf.Tensor
    average: tf.Tensor


def _adam_step(
    objective: Objective, adam: AdamStack, events: Any, weights: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
) -> tuple[AdamStack, tf.Tensor]:
    """One step of every member on the same batch; returns the new state and the loss by member, shape (E,)."""
    p = adam.parameters
    with tf.GradientTape() as tape:
        tape.watch(p)
        losses = -tf.reduce_mean(objective.log_likelihood(p, events) * weights, axis=1)
        # the members share no parameter: the gradient of the sum is each one's own
        total = tf.reduce_sum(losses)
    gradient = tape.gradient(total, p)
    norm = tf.sqrt(tf.reduce_sum(gradient**2, axis=1, keepdims=True))
    gradient *= tf.minimum(1.0, CLIP / (norm + 1e-12))
    t = tf.cast(step, tf.float32) + 1
    momentum = BETA_1 * adam.momentum + (1 - BETA_1) * gradient
    square = BETA_2 * adam.square + (1 - BETA_2) * gradient**2
    p -= rate * (momentum / (1 - BETA_1**t)) / (tf.sqrt(square / (1 - BETA_2**t)) + EPSILON)
    keep = tf.minimum(AVERAGING, t / (t + 10))
    return AdamStack(p, momentum, square, keep * adam.average + (1 - keep) * p), losses


def _run_chunk(
    objective: Objective,
    adam: AdamStack,
    events: tuple[tf.Tensor, ...],
    weights: tf.Tensor,
    rates: tf.Tensor,
    first: tf.Tensor,
    n: tf.Tensor,
) -> tuple[AdamStack, tf.Tensor]:
    """The first n steps of a chunk: events [CHUNK, batch, ...], weights [CHUNK, E or 1, batch], rates [CHUNK]."""

    def body(i: tf.Tensor, adam: AdamStack, total: tf.Tensor) -> tuple[tf.Tensor, AdamStack, tf.Tensor]:
        batch = tuple(e[i] for e in events)
        adam, losses = _adam_step(objective, adam, batch, weights[i], rates[i], first + i)
        return i + 1, adam, total + losses

    start = (tf.constant(0), adam, tf.zeros(adam.parameters.shape[0]))
    _, adam, total = tf.while_loop(lambda i, *_: i < n, body, start)
    return adam, total / tf.cast(n, tf.float32)


_FIRST = Lock()  # threads that begin together would all find the caches below empty, and each would compile its own


def compiled_chunk(objective: Objective) -> Any:
    """`_run_chunk` of an objective, one compiled function for all threads."""
    with _FIRST:
        return _chunk_function(objective)


@lru_cache
def _chunk_function(objective: Objective) -> Any:
    return tf.function(partial(_run_chunk, objective), jit_compile=objective.xla, autograph=False)


def _rows(order: Callable[[int], Integers], n: int, start: int, stop: int) -> Integers:
    """Events number `start` to `stop` of an endless stream of orders of n events, one an epoch."""
    epochs = range(start // n, (stop - 1) // n + 1)
    stream = np.concatenate([order(epoch) for epoch in epochs])
    return stream[start - epochs[0] * n : stop - epochs[0] * n]


def _compiled_score(objective: Objective, *, xla: bool) -> Any:
    with _FIRST:
        return _score_function(objective, xla)


@lru_cache
def _score_function(objective: Objective, xla: bool) -> Any:
    return tf.function(objective.log_likelihood, jit_compile=xla, autograph=False)


def _held_out_loss(stack: Stack, parameters: Float32, n_checks: int) -> Array:
    """Mean loss of the held-out events by member, shape (E,), one of some number of checks."""
    each = len(stack.held_out) > 1
    rows = [parameters[e : e + 1] for e in range(len(parameters))] if each else [parameters]
    events = n_checks * sum(len(own.weights) for own in stack.held_out) * (1 if each else len(parameters))
    score = _compiled_score(stack.objective, xla=stack.objective.xla and events > WORTH_COMPILING)
    return np.concatenate([_loss(score, own, held_out) for own, held_out in zip(rows, stack.held_out, strict=True)])


def _loss(score: Any, parameters: Float32, held_out: HeldOut) -> Array:
    """Mean loss of one set of events, shape (E,)."""
    total = np.zeros(len(parameters))
    for start in range(0, len(held_out.weights), VALIDATION_BLOCK):
        # whole blocks only, the last one filled up with its first event, so that one compiled function serves all
        own = held_out.weights[start : start + VALIDATION_BLOCK]
        at = np.full(VALIDATION_BLOCK, start)
        at[: len(own)] += np.arange(len(own))
        value = score(tf.constant(parameters), tuple(tf.constant(array[at]) for array in held_out.events))
        total -= np.asarray(value, dtype=np.float64)[:, : len(own)] @ own
    return total / held_out.weights.sum()


def train_stack(
    stack: Stack,
    schedule: Schedule,
    state: StackState,
    *,
    checkpoint: tuple[Path, str] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> StackState:
    """Train until `schedule` is complete.

    Args:
        stack: Nets and events.
        schedule: Steps to take.
        state: Where to start; changed in place.
        checkpoint: File that holds the state, and the fingerprint of the training; written every few seconds, at the
            end, and when an exception (Ctrl-C) stops the training between two chunks.
        on_progress: Called after every chunk with the number of steps that it took.

    Returns:
        `state`, complete.
    """
    run = compiled_chunk(stack.objective)
    order = lru_cache(maxsize=1)(stack.order)  # an epoch has many chunks; a chunk of several epochs asks once for each
    end = schedule.end
    due = checks(schedule.n_steps) if stack.held_out else ()
    saved = monotonic()
    try:
        if due and not state.validations:
            state.checked(_held_out_loss(stack, state.average, len(due)))
        while state.step < end and not state.complete:
            n = min(CHUNK, next((step for step in due if step > state.step), end) - state.step, end - state.step)
            steps = np.arange(state.step, state.step + CHUNK)
            shape = (CHUNK, schedule.batch)
            first = state.step * schedule.batch
            rows = _rows(order, len(stack.weights), first, first + CHUNK * schedule.batch)
            weights = stack.seen(rows)
            adam, losses = run(
                AdamStack(*(tf.constant(a) for a in (state.parameters, state.momentum, state.square, state.average))),
                tuple(tf.constant(array[rows].reshape(*shape, *array.shape[1:])) for array in stack.events),
                tf.constant(weights.reshape(len(weights), *shape).swapaxes(0, 1)),
                tf.constant(schedule.rates(steps)),
                tf.constant(state.step),
                tf.constant(n),
            )
            parameters, momentum, square, average = (np.asarray(a) for a in adam)
            done = state.step + n
            held_out = _held_out_loss(stack, average, len(due)) if done in due else None
            # all together and last: whatever stops the training above leaves a state that can be resumed
            state.parameters, state.momentum, state.square, state.average = parameters, momentum, square, average
            state.losses.append((done, np.asarray(losses, dtype=np.float64)))
            state.step = done
            if held_out is not None:
                state.checked(held_out)
                state.complete = hopeless(state.check_losses)
            if checkpoint is not None and monotonic() - saved > SAVE_EVERY_S:
                state.save(*checkpoint)
                saved = monotonic()
            on_progress(n)
        state.complete = True
    finally:
        if checkpoint is not None:
            state.save(*checkpoint)
    return state
