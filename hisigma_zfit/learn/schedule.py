"""How long a training lasts and with which steps, from the number of its events and features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Float32, Integers

__all__ = ["PASSES", "Schedule", "preset_epochs"]

# least and most passes over the events; between them, as many as make ENOUGH steps
PASSES = {"quick": (2.0, 2.0), "standard": (5.0, 20.0), "paper": (20.0, 20.0)}
ENOUGH = 1000
FEW_FEATURES = 4  # beyond them the conditionals have more to learn from, and train longer
BATCH = 512
MIN_STEPS = 300  # with few events an epoch is too short to forget the start
WARM_UP = 100


@dataclass(frozen=True)
class Schedule:
    """How long to train and with which steps.

    Attributes:
        n_steps: Number of Adam steps.
        batch: Events per step.
        learning_rate: Peak, reached after a linear warm-up and followed by half a cosine to zero.
        last: Step at which the training ends before its time, as that of another one did; None for none.
    """

    n_steps: int
    batch: int
    learning_rate: float
    last: int | None = None

    @classmethod
    def plan(
        cls, n_events: int, n_features: int, *, learning_rate: float, preset: str, epochs: float | None = None
    ) -> Self:
        """Plan the training of `n_events` events.

        Args:
            n_events: Events that are trained with.
            n_features: Columns that are learned.
            learning_rate: Its peak.
            preset: See `preset_epochs`.
            epochs: Passes over the events; overrides the preset.

        Raises:
            InputError: The preset is unknown, or `epochs` is not positive.
        """
        if epochs is not None and not epochs > 0:
            raise InputError.from_parts(expected="epochs > 0", got=f"{epochs}", do="give a positive number")
        passes = preset_epochs(preset, n_events, n_features)
        if epochs is not None:
            passes = epochs
        return cls(max(int(np.ceil(passes * n_events / BATCH)), MIN_STEPS), BATCH, learning_rate)

    def rates(self, steps: Integers) -> Float32:
        """Learning rate at `steps`, counted from 0."""
        rising = np.minimum(1.0, (steps + 1) / min(WARM_UP, max(self.n_steps // 5, 1)))
        falling = 0.5 * (1 + np.cos(np.pi * np.minimum(steps / self.n_steps, 1.0)))
        return (self.learning_rate * rising * falling).astype(np.float32)

    @property
    def end(self) -> int:
        """Steps that are taken."""
        return self.n_steps if self.last is None else self.last


def preset_epochs(preset: str, n_events: int, n_features: int) -> float:
    """Passes over the events; what they do for few events and many features is measured in docs/study.md.

    Args:
        preset: ``"quick"``, ``"standard"`` or ``"paper"``.
        n_events: Events that are trained with.
        n_features: Columns that are learned.

    Raises:
        InputError: The preset is unknown.
    """
    if preset not in PASSES:
        raise InputError.from_parts(
            expected=f"preset {', '.join(PASSES)}", got=repr(preset), do="choose one of them or give epochs"
        )
    least, most = PASSES[preset]
    passes = min(max(ENOUGH * BATCH / max(n_events, 1), least), most)
    return passes * max(1.0, n_features / FEW_FEATURES) ** 1.5
