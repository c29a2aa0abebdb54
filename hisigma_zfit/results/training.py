"""What a training says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import JsonArray, Result

__all__ = [
    "TrainingHistory",
]


@dataclass(frozen=True)
class TrainingHistory(Result):
    """Loss of a density training.

    Attributes:
        name: What was trained, for example ``"background"``.
        steps: Optimiser step of each record, shape (n,).
        epochs: The same in epochs, shape (n,).
        train: Mean negative log-likelihood on the cube in nats, by member, shape (E, n).
        validation: The same on held-out events, shape (E, k), or None.
        validation_steps: Steps of the validation records, shape (k,), or None.
        kept_step: Step whose parameters are kept, or None for the last.
        recipe: Words for the recipe that was chosen.
        events: Number of events that were trained with, or None.
        coordinates: Features that were learned relative to edges that move, in words; empty where there are none.
    """

    schema: ClassVar[str] = "hisigma-zfit/training/1"
    name: str
    steps: JsonArray
    epochs: JsonArray
    train: JsonArray
    validation: JsonArray | None = None
    validation_steps: JsonArray | None = None
    kept_step: int | None = None
    recipe: str = ""
    events: int | None = None
    coordinates: tuple[str, ...] = ()
