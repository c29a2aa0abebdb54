"""Short trainings that choose between coordinates: those in which edges stand still, or the features as they are.

Both are trained on one half of some of the events and judged by the other, and the other way round.  Log-densities of
the same events are compared pair by pair, so that what both have in common does not count, and include the Jacobian of
the coordinates, so that they are densities of the same features.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.objective import LogDensity
from hisigma_zfit.density.trained import MassScale
from hisigma_zfit.files import write_text
from hisigma_zfit.learn.edges import find_moving_edges
from hisigma_zfit.learn.members import train_members
from hisigma_zfit.learn.moving import Coordinates
from hisigma_zfit.learn.optimiser import Stack
from hisigma_zfit.learn.preprocess import FeatureTransform, Support
from hisigma_zfit.learn.recipe import recipe
from hisigma_zfit.learn.schedule import BATCH, Schedule
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.stored_files import read_json

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.density.base import FlowConfig
    from hisigma_zfit.learn.moving import Limits

__all__ = ["Comparison", "choose_coordinates", "compare_coordinates"]

_log = logging.getLogger(__name__)

MAX_EVENTS = 30_000
PASSES = 12  # over its half; fewer than where held-out losses of few events begin to rise
STEPS = (40, 360)  # least and most of them
BETTER = 0.003  # nats by which another coordinate has to be better ...
ERRORS = 2.0  # ... and standard errors: one in forty of those that make no difference is taken
_BLOCK = 8192


@dataclass(frozen=True)
class Comparison:
    """How much better held-out events are described in other coordinates.

    Attributes:
        gain: Mean difference of the log-densities in nats.
        error: Its standard error, event by event.
    """

    gain: float
    error: float

    @property
    def better(self) -> bool:
        """Whether the other coordinates are to be taken."""
        return self.gain > max(ERRORS * self.error, BETTER)


def choose_coordinates(
    x: Array,
    m: Array,
    weights: Array,
    *,
    features: Sequence[str],
    given: str,
    limits: Sequence[Limits],
    config: FlowConfig,
    seed: int,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Coordinates:
    """Find features whose edges move, and learn them relative to their edges where held-out events agree.

    Args:
        x: Training events, shape (n, d).
        m: Their masses, shape (n,).
        weights: Their positive weights, shape (n,).
        features: Names of the columns of x.
        given: Name of the mass.
        limits: Declared limits of the features, infinite where there are none.
        config: Recipe of the nets.
        seed: Of the training.
        checkpoint: Folder that keeps the choice, so that a training that is resumed does not make it again.

    Returns:
        The coordinates to be trained in; the features as they are where no edge moves, which costs no training.
    """
    supports = [Support.infer(x[:, j], name=name, limits=limits[j]) for j, name in enumerate(features)]
    found = find_moving_edges(x, m, features, given, supports=supports, limits=limits)
    if not found.changed:
        return found
    known = None if checkpoint is None else Path(checkpoint) / "coordinates.json"
    identity = _fingerprint(found, x, m, weights, limits=limits, config=config, seed=seed)
    if known is not None and known.exists():
        stored = read_json(known)
        if stored["fingerprint"] == identity:  # else the training itself refuses the folder
            return Coordinates.from_json(stored["coordinates"])
    best = _best(found, x, m, weights, limits=limits, config=config, seed=seed)
    if known is not None and not known.exists():
        known.parent.mkdir(parents=True, exist_ok=True)
        write_text(known, json.dumps({"fingerprint": identity, "coordinates": best.to_json()}))
    return best


def _fingerprint(found: Coordinates, *arrays: Array, limits: Any, config: FlowConfig, seed: int) -> str:
    """Hash of all that the choice depends on."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    plain = [found.to_json(), repr(list(limits)), config.to_json(), seed, recipe(config)]
    digest.update(json.dumps(plain).encode())
    return digest.hexdigest()


def _best(
    found: Coordinates,
    x: Array,
    m: Array,
    weights: Array,
    *,
    limits: Sequence[Limits],
    config: FlowConfig,
    seed: int,
) -> Coordinates:
    candidates = [found]
    if len(found.changed) > 1:
        candidates += [found.only([coordinate]) for coordinate in found.changed]
    best, gain = found.only([]), 0.0
    # all of them together first; one by one only where that is no better
    for group in (candidates[:1], candidates[1:]):
        for candidate, told in zip(
            group, compare_coordinates(group, x, m, weights, limits=limits, config=config, seed=seed), strict=True
        ):
            _log.info(
                "%s: %s by %.4f +- %.4f nats in held-out events",
                candidate,
                "better" if told.better else "not better",
                told.gain,
                told.error,
            )
            if told.better and told.gain > gain:
                best, gain = candidate, told.gain
        if best.changed:
            break
    return best


def compare_coordinates(
    candidates: Sequence[Coordinates],
    x: Array,
    m: Array,
    weights: Array,
    *,
    limits: Sequence[Limits],
    config: FlowConfig,
    seed: int,
) -> list[Comparison]:
    """Compare each of some coordinates with the features as they are, by short trainings.

    Args:
        candidates: The coordinates; all of the same features.
        x: Events, shape (n, d).
        m: Their masses, shape (n,).
        weights: Their positive weights, shape (n,).
        limits: Declared limits of the features.
        config: Recipe of the nets.
        seed: Same seed, same halves and starts.
    """
    if not candidates:
        return []
    rows = stream(seed, Purpose.PILOT).permutation(len(x))[:MAX_EVENTS]
    x, m, weights = x[rows], m[rows], weights[rows]
    every = (candidates[0].only([]), *candidates)
    halves = [np.arange(len(x)) % 2 == half for half in range(2)]
    pilots = [_Pilot(c, x, m, weights, half, limits, config, seed) for c in every for half in halves]
    n_train = len(x) // 2
    steps = int(np.clip(PASSES * n_train / BATCH, *STEPS))
    schedule = Schedule(steps, BATCH, config.learning_rate)
    states = train_members(pilots, schedule, name="pilots")
    scores = [pilot.score(state.average) for pilot, state in zip(pilots, states, strict=True)]
    # every event by the half that it did not train
    plain, *others = (first + second for first, second in zip(scores[::2], scores[1::2], strict=True))
    return [_compared(other - plain, weights) for other in others]


def _compared(difference: Array, weights: Array) -> Comparison:
    known = np.isfinite(difference)
    w = weights[known] / weights[known].sum()
    gain = float(w @ difference[known])
    return Comparison(gain, float(np.sqrt(np.sum((w * (difference[known] - gain)) ** 2))))


@dataclass(frozen=True)
class _Pilot:
    """One net in some coordinates, trained by half of the events."""

    coordinates: Coordinates
    x: Array
    m: Array
    weights: Array
    trains: Mask
    limits: Sequence[Limits]
    config: FlowConfig
    seed: int

    @property
    def name(self) -> str:
        """See `Training.name`."""
        return "pilot"

    @cached_property
    def _mapped(self) -> tuple[Float32, Float32, Array]:
        """Place in the cube, scaled mass and log |du/dx| of all events."""
        y, log_jacobian = self.coordinates.forward(self.x, self.m)
        limits, features = self.coordinates.limits(self.limits), self.coordinates.features
        supports = [Support.infer(y[:, j], name=name, limits=limits[j]) for j, name in enumerate(features)]
        weights = self.weights[self.trains]
        transform = FeatureTransform.fit(y[self.trains], features, supports=supports, weights=weights)
        u, log_slope = transform.forward(y)
        return u.astype(np.float32), MassScale.fit(self.m)(self.m).astype(np.float32), log_slope + log_jacobian

    def _prepared(self, rows: Integers) -> tuple[Float32, ...]:
        u, c, _ = self._mapped
        return tuple(np.asarray(a) for a in self.config.prepare(tf.constant(u[rows]), tf.constant(c[rows])))

    def start(self) -> Float32:
        """See `Training.start`."""
        return self.config.init(stream(self.seed, Purpose.PILOT, 0), len(self.coordinates.features))[None]

    def stack(self) -> Stack:
        """See `Training.stack`; the other half is judged at the end, by `score`."""
        n = int(np.sum(self.trains))
        return Stack(
            objective=LogDensity(self.config),
            events=self._prepared(np.flatnonzero(self.trains)),
            weights=_mean_one(self.weights[self.trains]),
            held_out=(),
            order=lambda epoch: stream(self.seed, Purpose.PILOT, 1, epoch).permutation(n),
        )

    def score(self, parameters: Float32) -> Array:
        """Log-density of the features of the other half, shape (n,); 0 for the events that were trained with."""
        found = np.zeros(len(self.m))
        others = np.flatnonzero(~self.trains)
        for start in range(0, len(others), _BLOCK):
            rows = others[start : start + _BLOCK]
            log_prob = self.config.log_prob(tf.constant(parameters), tuple(map(tf.constant, self._prepared(rows))))
            found[rows] = np.asarray(log_prob, dtype=np.float64)[0] + self._mapped[2][rows]
        return found


def _mean_one(weights: Array) -> Float32:
    return (weights / weights.mean()).astype(np.float32)
