"""A flow as the density of what is beyond a known background (R-ANODE, arXiv:2312.11629), to compare a search with.

    p(u) = (1 - w) p_b(u) + w p_s(u),

with u of the features and the mass on the unit cube, p_b frozen and p_s an autoregressive spline flow whose last
feature is the mass: so the first conditionals are the density of the features at any mass.  Nothing restricts p_s, and
the likelihood of the events that train it says nothing: five hundred for a signal worth ten on other events.  Here
each fold is scored by a flow that trained on the rest, and was stopped by another fold, which also chose w.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.members import train_members
from hisigma_zfit.learn.optimiser import HeldOut, Stack
from hisigma_zfit.learn.resampling import event_order
from hisigma_zfit.learn.schedule import Schedule
from hisigma_zfit.learn.streams import Purpose, hashed_uniform, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.learn.members import Progress

__all__ = ["ResidualDensity", "ResidualFit", "train_residual"]

CONFIG = SplineConfig(knots=12, hidden=32, layers=2)
SHARES = (0.001, 0.003, 0.01, 0.03)
STEPS, BATCH = 1200, 1024
FOLDS = 5
PER_SIGNAL = 100.0  # the loss is counted by so many events: few of them are signal, and stopping looks at their gain
BLOCK = 4096
_FOLDS, _STARTS = 10, 11  # streams


@dataclass(frozen=True)
class ResidualDensity:
    """log[(1 - w) + w p_s / p_b] of every event, an `Objective` with a fixed w for each member.

    Attributes:
        config: Recipe of the nets.
        shares: w by member.
    """

    config: SplineConfig
    shares: tuple[float, ...]

    @property
    def xla(self) -> bool:
        """Whether XLA can compile `log_likelihood`."""
        return self.config.xla

    def log_likelihood(self, parameters: tf.Tensor, events: Any) -> tf.Tensor:
        """Of prepared events with log p_b as their last array, in units of `PER_SIGNAL` events, shape (E, n)."""
        *prepared, log_background = events
        log_ratio = self.config.log_prob(parameters, tuple(prepared)) - log_background
        share = tf.constant(self._shares_of(parameters), log_ratio.dtype)[:, None]
        both = tf.stack([tf.math.log1p(-share) + tf.zeros_like(log_ratio), tf.math.log(share) + log_ratio])
        return PER_SIGNAL * tf.reduce_logsumexp(both, axis=0)

    def _shares_of(self, parameters: tf.Tensor) -> tuple[float, ...]:
        n = parameters.shape[0]
        if n != len(self.shares):
            raise InputError.from_parts(
                expected=f"{len(self.shares)} members", got=f"{n}", do="give each share of signal one member"
            )
        return self.shares


@dataclass(frozen=True)
class _Without:
    """A `Training` on all folds but two: one is scored, the next one stops the training."""

    objective: ResidualDensity
    events: tuple[Float32, ...]
    identity: Integers
    trains: Mask
    stops: Mask
    seed: int
    fold: int

    @property
    def name(self) -> str:
        return f"without-{self.fold}"

    def start(self) -> Float32:
        n_features = self.events[1].shape[1]
        streams = (
            stream(self.seed, Purpose.COMPARISON_SCORES, _STARTS, self.fold, k)
            for k in range(len(self.objective.shares))
        )
        return np.stack([self.objective.config.init(rng, n_features) for rng in streams])

    def stack(self) -> Stack:
        n_held = int(self.stops.sum())
        return Stack(
            objective=self.objective,
            events=tuple(array[self.trains] for array in self.events),
            weights=np.ones(int(self.trains.sum()), np.float32),
            held_out=(HeldOut(tuple(array[self.stops] for array in self.events), np.ones(n_held, np.float32)),),
            order=partial(event_order, self.identity[self.trains], seed=self.seed, bootstrap=self.fold),
        )


@dataclass(frozen=True)
class ResidualFit:
    """Flows of all folds.

    Attributes:
        config: Recipe of the nets.
        shares: w that were tried.
        parameters: Of the flow that scores each fold, with the w that its stopping fold liked best, shape (folds, P).
        chosen: That w, by fold.
        gain: 2 ln of the likelihood ratio of events that neither trained nor stopped, summed over folds.
        gain_trained: The same for the events that trained, by fold: what it would be without folds.
        joint: log p_s(m, x) / p_b(m, x) of the events, each by the flow that has not seen its fold, shape (n,).
        x_only: log p_s(x) / p_b(x | m), likewise.
    """

    config: SplineConfig
    shares: tuple[float, ...]
    parameters: Float32
    chosen: tuple[float, ...]
    gain: float
    gain_trained: tuple[float, ...]
    joint: Array
    x_only: Array

    def log_ratios(self, u: Array, log_background: Array) -> tuple[Array, Array]:
        """Score events that no flow has seen, by the mean density of all folds.

        Args:
            u: Features and mass on the unit cube, shape (n, d + 1), the mass last.
            log_background: log p_b(u), shape (n,).

        Returns:
            joint and x_only, as the attributes, shape (n,) each.
        """
        joint, x_only = _log_densities(self.config, self.parameters, _prepared(self.config, u, log_background))
        n = np.log(len(self.parameters))
        return (
            np.asarray(np.logaddexp.reduce(joint, axis=0) - n - log_background),
            np.asarray(np.logaddexp.reduce(x_only, axis=0) - n - log_background),
        )


def train_residual(
    u: Array,
    log_background: Array,
    *,
    identity: Integers,
    shares: Sequence[float] = SHARES,
    config: SplineConfig = CONFIG,
    folds: int = FOLDS,
    steps: int = STEPS,
    seed: int,
    progress: Progress | None = None,
) -> ResidualFit:
    """Learn what is beyond the background by a flow, on folds.

    Args:
        u: Features and mass on the unit cube, shape (n, d + 1), the mass last.
        log_background: log p_b(u), shape (n,).
        identity: Of the events, shape (n,).
        shares: w that are tried.
        config: Recipe of the nets.
        folds: Parts of the events.
        steps: Of each training, at most.
        seed: Of everything that is random.
        progress: See `train_flow`.

    Raises:
        InputError: Fewer than three folds, or a share that is none.
    """
    if folds < 3:
        raise InputError.from_parts(
            expected="folds >= 3", got=str(folds), do="one is scored, one stops the training, others train"
        )
    if not shares or not all(0.0 < share < 1.0 for share in shares):
        raise InputError.from_parts(expected="shares between 0 and 1", got=str(tuple(shares)), do="correct them")
    objective = ResidualDensity(config, tuple(map(float, shares)))
    events = _prepared(config, u, log_background)
    number = (hashed_uniform(identity, seed, Purpose.COMPARISON_SCORES, _FOLDS) * folds).astype(np.int64)
    trainings = []
    for fold in range(folds):
        stops = number == (fold + 1) % folds
        trainings.append(_Without(objective, events, identity, (number != fold) & ~stops, stops, seed, fold))
    schedule = Schedule(steps, BATCH, config.learning_rate)
    states = train_members(trainings, schedule, name="residual density", progress=progress)
    joint, x_only, kept, chosen, trained = np.empty(len(u)), np.empty(len(u)), [], [], []
    share = np.array(objective.shares)[:, None]
    for training, state in zip(trainings, states, strict=True):
        whole, features = _log_densities(config, state.result, events)
        logs = np.logaddexp(np.log1p(-share), np.log(share) + whole - log_background)
        best = int(np.argmax(logs[:, training.stops].sum(axis=1)))
        own = number == training.fold
        joint[own], x_only[own] = (logs_[best, own] - log_background[own] for logs_ in (whole, features))
        kept.append(state.result[best])
        chosen.append(objective.shares[best])
        trained.append(2.0 * float(logs[best, training.trains].sum()))
    own_share = np.array(chosen)[number]
    gain = 2.0 * float(np.logaddexp(np.log1p(-own_share), np.log(own_share) + joint).sum())
    return ResidualFit(config, objective.shares, np.stack(kept), tuple(chosen), gain, tuple(trained), joint, x_only)


def _prepared(config: SplineConfig, u: Array, log_background: Array) -> tuple[Float32, ...]:
    """The nets' inputs, without a mass that is given, and log p_b."""
    arrays = config.prepare(tf.constant(u, tf.float32), tf.zeros(len(u), tf.float32))
    return (*(np.asarray(array, dtype=np.float32) for array in arrays), log_background.astype(np.float32))


@lru_cache
def _compiled(config: SplineConfig) -> Any:
    return tf.function(config.log_conditionals, autograph=False)


def _log_densities(config: SplineConfig, parameters: Float32, events: tuple[Float32, ...]) -> tuple[Array, Array]:
    """Log p_s of all columns and of all but the last one, by member, shape (E, n) each."""
    n, score, blocks = len(events[-1]), _compiled(config), []
    for start in range(0, n, BLOCK):
        # whole blocks only, so that one compiled function serves all
        rows = np.minimum(np.arange(start, start + BLOCK), n - 1)
        each = score(tf.constant(parameters), tuple(tf.constant(array[rows]) for array in events[:-1]))
        blocks.append(np.asarray(each, dtype=np.float64)[:, :, : n - start])
    logs = np.concatenate(blocks, axis=2)
    return logs.sum(axis=1), logs[:, :-1].sum(axis=1)
