"""Training of a stack of nets: Adam on one flat [E, P] tensor, many steps per compiled call.

Members that see the same events are one call; members that each leave out a part are calls of their own, which pay for
no event that they do not see and may run side by side.

Everything random is a function of a seed and the step number, so that a training that was interrupted resumes where
its last state was saved and ends with the same bits, on however many threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from hisigma_zfit.learn.stopping import checks, hopeless

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.learn.objective import Objective
    from hisigma_zfit.learn.schedule import Schedule
    from hisigma_zfit.learn.state import StackState

__all__ = ["AdamStack", "HeldOut", "Stack", "compiled_chunk", "train_stack"]

CHUNK = 24  # steps per compiled call
AVERAGING = 0.999
CLIP = 5.0
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
VALIDATION_BLOCK = 4096
LANES = 8  # numbers that a processor computes at once
SURE = 6.0  # standard deviations
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

    def batches(self, rows: Integers, batch: int) -> list[tuple[slice, Integers, Float32]]:
        """Events of the steps of one chunk, for each group of members that sees the same.

        Args:
            rows: Events of all steps, one after the other, shape (CHUNK * batch,).
            batch: Events of a step.

        Returns:
            Members, events of each step, shape (CHUNK, slots), and their weights, of the same shape.
        """
        if self.folds is None or self.left_out is None:
            return [(slice(None), rows.reshape(CHUNK, batch), self.weights[rows].reshape(CHUNK, batch))]
        slots, parts = self._slots(batch), len(self._sizes)
        # of mean one again, so that the clipping of gradients means the same
        scale = np.float32(parts / (parts - 1.0) * slots / batch)
        found = []
        for e, fold in enumerate(self.left_out):
            seen = self.folds[rows] != fold
            if slots < batch:
                events, weights = _in_steps(rows[seen], slots)
                weights *= self.weights[events]
            else:
                events, weights = rows.reshape(CHUNK, batch), (self.weights[rows] * seen).reshape(CHUNK, batch)
            found.append((slice(e, e + 1), events, weights * scale))
        return found

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        """Numbers of events in the parts."""
        assert self.folds is not None
        return tuple(int(np.count_nonzero(self.folds == k)) for k in range(int(self.folds.max()) + 1))

    def _slots(self, batch: int) -> int:
        """Room for the events that a member sees of a batch: of two sizes, because each is compiled."""
        sizes = self._sizes
        share, nominal = 1.0 - min(sizes) / sum(sizes), 1.0 - 1.0 / len(sizes)
        margin = SURE * np.sqrt(nominal * (1.0 - nominal) * batch / CHUNK)  # chunks differ by chance
        least = int(np.ceil((nominal * batch + margin) / LANES)) * LANES
        return least if share * batch + margin <= least < batch else batch


def _in_steps(rows: Integers, slots: int) -> tuple[Integers, Float32]:
    """Rows in equal parts, one for each step of a chunk, filled up to some number; and 1 for each, 0 for what fills."""
    events, weights = np.zeros((CHUNK, slots), dtype=np.intp), np.zeros((CHUNK, slots), dtype=np.float32)
    for step, part in enumerate(np.array_split(rows, CHUNK)):
        own = part[:slots]
        events[step, : len(own)], weights[step, : len(own)] = own, 1.0
    return events, weights


@dataclass(frozen=True)
class HeldOut:
    """Events that a member does not see.

    Attributes:
        events: As `Stack.events`, leading axis k.
        weights: Positive weights, shape (k,).
    """

    events: tuple[Float32, ...]
    weights: Float32


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
    """The first n steps of a chunk: events [CHUNK, batch, ...], weights [CHUNK, batch], rates [CHUNK]."""

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


def _held_out_loss(stack: Stack, parameters: Float32, n_checks: int, each_of: Any) -> Array:
    """Mean loss of the held-out events by member, shape (E,), one of some number of checks; `each_of` is a `map`."""
    each = len(stack.held_out) > 1
    rows = [parameters[e : e + 1] for e in range(len(parameters))] if each else [parameters]
    events = n_checks * sum(len(own.weights) for own in stack.held_out) * (1 if each else len(parameters))
    score = _compiled_score(stack.objective, xla=stack.objective.xla and events > WORTH_COMPILING)
    return np.concatenate(list(each_of(partial(_loss, score), rows, stack.held_out)))


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
    threads: int = 1,
) -> StackState:
    """Train until `schedule` is complete.

    Args:
        stack: Nets and events.
        schedule: Steps to take.
        state: Where to start; changed in place.
        checkpoint: File that holds the state, and the fingerprint of the training; written every few seconds, at the
            end, and when an exception (Ctrl-C) stops the training between two chunks.
        on_progress: Called after every chunk with the number of steps that it took.
        threads: For members that leave out different parts.

    Returns:
        `state`, complete.
    """
    order = lru_cache(maxsize=1)(stack.order)  # an epoch has many chunks; a chunk of several epochs asks once for each
    end = schedule.end
    due = checks(schedule.n_steps) if stack.held_out else ()
    saved = monotonic()
    try:
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            each_of = pool.map if threads > 1 and stack.folds is not None else map
            if due and not state.validations:
                state.checked(_held_out_loss(stack, state.average, len(due), each_of))
            while state.step < end and not state.complete:
                n = min(CHUNK, next((step for step in due if step > state.step), end) - state.step, end - state.step)
                first = state.step * schedule.batch
                rows = _rows(order, len(stack.weights), first, first + CHUNK * schedule.batch)
                batches = stack.batches(rows, schedule.batch)
                parts = list(each_of(partial(_chunk, stack, schedule, state, n), batches))
                parameters, momentum, square, average, losses = map(np.concatenate, zip(*parts, strict=True))
                done = state.step + n
                held_out = _held_out_loss(stack, average, len(due), each_of) if done in due else None
                # all together and last: whatever stops the training above leaves a state that can be resumed
                state.parameters, state.momentum, state.square, state.average = parameters, momentum, square, average
                state.losses.append((done, losses.astype(np.float64)))
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


def _chunk(
    stack: Stack, schedule: Schedule, state: StackState, n: int, batches: tuple[slice, Integers, Float32]
) -> tuple[Float32, ...]:
    """N steps of some members: parameters, momentum, square and average afterwards, and the losses, shape (E,)."""
    members, events, weights = batches
    adam, losses = compiled_chunk(stack.objective)(
        AdamStack(*(tf.constant(a[members]) for a in (state.parameters, state.momentum, state.square, state.average))),
        tuple(tf.constant(array[events]) for array in stack.events),
        tf.constant(weights),
        tf.constant(schedule.rates(np.arange(state.step, state.step + CHUNK))),
        tf.constant(state.step),
        tf.constant(n),
    )
    return (*(np.asarray(a) for a in adam), np.asarray(losses))
