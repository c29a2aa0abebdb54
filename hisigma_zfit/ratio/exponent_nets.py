"""One net that learns exponents of systematic variations from pairs of events, and the recipe for it."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.small_nets import Adam, AdamState, SmallNet
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.ratio.pairs import Pairs

__all__ = ["ExponentRecipe", "NetTraining", "plan", "scaled", "scales_outside"]

CLIPPED = 4.0  # standard deviations, beyond which a feature tells the net no more
RECORDS = 12  # points of a learning curve
RECORDED = 20_000  # held-out entries of a point
SAVE_EVERY_S = 5.0


@dataclass(frozen=True)
class ExponentRecipe:
    """How exponents are learned; the defaults are for a process that matters.

    Attributes:
        shape: "auto": learned from 20,000 effective events of the process and 200 rows in the region on; "learned", or
            "none": Delta = 0.
        hidden: Nodes of the hidden layers.
        bound: Largest |Delta| of a linear monomial, and of a square or product.
        seeds: Nets per fold, whose Delta is averaged.
        epochs: Passes, each over a random share of the pairs.
        share: That share.
        least_steps: Steps that are taken anyway, in more passes: with few pairs or design points an epoch is short.
        batch: Pairs per step.
        rate: Peak of the learning rate.
        warm_up: Steps of linear rise.
        floor: Last learning rate in units of the peak.
        decay: Decoupled decay of the matrices, over the learning rate.
        averaging: Of the parameters, per step.
        clip: Largest norm of a gradient.
        pairing: "identity" where rows know their nominal ones; "none" to treat them as independent.

    Raises:
        InputError: A number is out of range.
    """

    shape: Literal["auto", "learned", "none"] = "auto"
    hidden: tuple[int, ...] = (48, 48)
    bound: tuple[float, float] = (0.35, 0.08)
    seeds: int = 2
    epochs: int = 4
    share: float = 0.4
    least_steps: int = 1000
    batch: int = 1024
    rate: float = 3e-3
    warm_up: int = 100
    floor: float = 1e-3
    decay: float = 0.5
    averaging: float = 0.995
    clip: float = 5.0
    pairing: Literal["identity", "none"] = "identity"

    def __post_init__(self) -> None:
        least = {"seeds": 1, "epochs": 1, "least_steps": RECORDS, "batch": 1, "warm_up": 1}
        wrong = [f"{name} = {getattr(self, name)}" for name, low in least.items() if getattr(self, name) < low]
        wrong += [f"{name} = {getattr(self, name)}" for name in ("rate", "clip") if not getattr(self, name) > 0.0]
        if not self.hidden or min(self.hidden) < 1 or min(self.bound) <= 0.0 or not 0.0 < self.share <= 1.0:
            wrong.append(f"hidden = {self.hidden}, bound = {self.bound}, share = {self.share}")
        if self.decay < 0.0 or not 0.0 <= self.averaging < 1.0 or not 0.0 <= self.floor <= 1.0:
            wrong.append(f"decay = {self.decay}, averaging = {self.averaging}, floor = {self.floor}")
        if wrong:
            raise InputError.from_parts(
                expected="positive numbers of nets, epochs and pairs, and shares between 0 and 1",
                got=", ".join(wrong),
                do="correct the recipe of the exponents",
            )

    @classmethod
    def few_events(cls) -> Self:
        """For a small background whose shape is to be learned all the same: fewer passes, stronger decay, one seed."""
        return cls(shape="learned", seeds=1, epochs=2, share=0.6, least_steps=300, decay=1.0)


@dataclass(frozen=True)
class NetTraining:
    """One net: what it sees, what it does not, and how it learns."""

    pairs: Pairs
    seen: Integers
    unseen: Integers
    scale: tuple[Float32, Float32]
    net: SmallNet
    bound: Float32
    recipe: ExponentRecipe
    adam: Adam
    per_epoch: int
    seed: int
    numbers: tuple[int, ...]

    def train(self, checkpoint: tuple[Path, str] | None, report: Callable[[int], None] | None) -> AdamState:
        """Until the end, from the start or from the checkpoint."""
        if checkpoint is not None and checkpoint[0].exists():
            state = AdamState.load(*checkpoint)
        else:
            state = AdamState.at(self.net.start(stream(self.seed, Purpose.RATIO_EXPONENTS, 0, *self.numbers)))
        if state.step >= self.adam.steps:
            return state
        judged = self._drawn(1, self.unseen, RECORDED)
        marks = set(np.linspace(0, self.adam.steps, RECORDS + 1).astype(int).tolist()[1:])
        epoch, order, losses, saved = -1, self.seen, [], monotonic()
        try:
            while state.step < self.adam.steps:
                now, at = divmod(state.step, self.per_epoch)
                if now != epoch:
                    n = int(np.ceil(self.recipe.share * len(self.seen)))
                    epoch, order = now, self._drawn(2 + now, self.seen, n)
                loss, gradient = self._loss_and_gradient(
                    state.parameters, order[at * self.recipe.batch : (at + 1) * self.recipe.batch]
                )
                self.adam.advance(state, gradient, self.net.decaying)
                losses.append(loss)
                if state.step in marks:
                    held_out = float(self._losses(state.average, judged).mean()) if len(judged) else float("nan")
                    state.losses.append((float(state.step), float(np.mean(losses)), held_out))
                    losses = []
                    if report is not None:
                        report(state.step)
                if checkpoint is not None and monotonic() - saved > SAVE_EVERY_S:
                    state.save(*checkpoint)
                    saved = monotonic()
        finally:
            if checkpoint is not None:
                state.save(*checkpoint)
        return state

    def _drawn(self, what: int, entries: Integers, n: int) -> Integers:
        """A random choice of n entries, in random order."""
        generator = stream(self.seed, Purpose.RATIO_EXPONENTS, what, *self.numbers)
        return entries[generator.permutation(len(entries))[:n]]

    def _sides(self, entries: Integers) -> tuple[Float32, Float32, Float32]:
        """Inputs of both sides one after the other, and V and weights in the same order."""
        pairs = self.pairs
        z = scaled(pairs.x[pairs.at[entries].T.ravel()], *self.scale)
        v = pairs.values[pairs.point[entries]] * self.bound
        return z, np.concatenate([v, v]), pairs.weights[entries].T.ravel()

    def _loss_and_gradient(self, parameters: Float32, entries: Integers) -> tuple[float, Float32]:
        z, v, weights = self._sides(entries)
        out, memory = self.net.forward(parameters, z)
        bounded = np.tanh(out)
        n = len(entries)
        signs = np.repeat(np.array([1, -1], dtype=np.float32), n)
        exponent = signs * np.einsum("ik,ik->i", v, bounded)
        loss = float(weights @ (np.logaddexp(np.float32(0), exponent) - np.float32(np.log(2.0)))) / n
        slope = weights * signs / (1.0 + np.exp(-exponent)) / np.float32(n)
        return loss, self.net.backward(memory, slope[:, None] * v * (1.0 - bounded * bounded))

    def _losses(self, parameters: Float32, entries: Integers) -> Array:
        z, v, _ = self._sides(entries)
        exponent = np.einsum("ik,ik->i", v, np.tanh(self.net.value(parameters, z)))
        return self.pairs.losses(exponent.reshape(2, -1).T.astype(np.float64), entries)


def plan(recipe: ExponentRecipe, n: int) -> tuple[Adam, int]:
    """How a net learns from n pairs, and the steps of an epoch."""
    per_epoch = int(np.ceil(np.ceil(recipe.share * n) / recipe.batch))
    steps = max(recipe.epochs * per_epoch, recipe.least_steps)
    adam = Adam(recipe.rate, steps, recipe.warm_up, recipe.floor, recipe.decay, recipe.averaging, recipe.clip)
    return adam, per_epoch


def scales_outside(pairs: Pairs, fold: int) -> tuple[Float32, Float32]:
    """Mean and standard deviation of the nominal features outside of a fold."""
    outside = (pairs.fold != fold) & (pairs.weights[:, 0] != 0.0)
    rows = np.unique(pairs.at[outside, 0])
    x = pairs.x[rows].astype(np.float64) if len(rows) else pairs.x.astype(np.float64)
    spread = x.std(axis=0)
    return x.mean(axis=0).astype(np.float32), np.where(spread > 0.0, spread, 1.0).astype(np.float32)


def scaled(x: Float32, centre: Float32, spread: Float32) -> Float32:
    """Features in standard deviations, clipped, shape (n, d)."""
    z = x.astype(np.float32, copy=True)
    z -= centre
    z /= spread
    return np.clip(z, -CLIPPED, CLIPPED, out=z)
