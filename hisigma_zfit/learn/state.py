"""Where the training of a stack is: all that the next step depends on, kept in one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_npz
from hisigma_zfit.learn.stopping import TOLERANCE, kept
from hisigma_zfit.stored_files import read_npz, sound

if TYPE_CHECKING:
    from pathlib import Path

    from hisigma_zfit.arrays import Array, Float32

__all__ = ["StackState", "require_same_training"]


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
            require_same_training(stored, fingerprint, path)
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


def require_same_training(stored: Any, fingerprint: str, path: Path) -> None:
    """Refuse a stored state that has another fingerprint.

    Args:
        stored: Arrays of the file, its fingerprint among them.
        fingerprint: Of the training that wants to go on.
        path: The file.

    Raises:
        InputError: It belongs to another training.
    """
    if str(stored["fingerprint"]) != fingerprint:
        raise InputError.from_parts(
            expected="a checkpoint of the same data, options, seed and versions",
            got=f"another training's in {path.parent}",
            do="give another checkpoint folder or delete this one",
        )


def _records_to_arrays(name: str, records: list[tuple[int, Array]]) -> dict[str, Any]:
    steps, values = zip(*records, strict=True) if records else ((), ())
    return {f"{name}_steps": np.array(steps, dtype=np.int64), name: np.array(values, dtype=np.float64)}


def _arrays_to_records(name: str, stored: Any) -> list[tuple[int, Array]]:
    return [(int(step), value) for step, value in zip(stored[f"{name}_steps"], stored[name], strict=True)]
