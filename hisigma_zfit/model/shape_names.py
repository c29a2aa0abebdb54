"""Names of mass shapes, as options have them; neither zfit nor TensorFlow, so that a mistake is told at once."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Self

from hisigma_zfit.errors import InputError

__all__ = ["DEFAULT_FALLING", "DEFAULT_PEAK", "FALLING", "PEAKS", "FallingName", "peak_parts"]

DEFAULT_PEAK, DEFAULT_FALLING = "DoubleCB", "exp-quadratic"

# zfit's shapes of one observable that can stand for a peak: a table, because no name of a file is looked up
PEAKS = (
    "BifurGauss",
    "Cauchy",
    "CrystalBall",
    "DoubleCB",
    "ExpModGauss",
    "Gauss",
    "GaussExpTail",
    "GeneralizedCB",
    "GeneralizedGauss",
    "GeneralizedGaussExpTail",
    "JohnsonSU",
    "QGauss",
    "StudentT",
    "Voigt",
)
_OTHER_WORDS = {"GaussCB": "Gauss+CrystalBall"}

# degrees that a falling shape may have; none where the name says it
FALLING: dict[str, tuple[int, int] | None] = {
    "exp-quadratic": None,
    "exponential": None,
    "power-law": None,
    "exp-polynomial": (1, 5),
    "bernstein": (1, 8),
    "chebyshev": (1, 8),
    "laurent": (1, 6),
}


def _closest(name: str, known: tuple[str, ...]) -> str:
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    return f"did you mean {lower[close[0]]!r}?" if close else "choose one of them"


def peak_parts(name: str) -> tuple[str, ...]:
    """The zfit shapes that a peak is the sum of, such as Gauss and CrystalBall of ``"Gauss+CrystalBall"``.

    Raises:
        InputError: One of them is none of `PEAKS`.
    """
    parts = tuple(part.strip() for part in _OTHER_WORDS.get(name, name).split("+"))
    for part in parts:
        if part not in PEAKS:
            raise InputError.from_parts(
                expected=f"a peak among {', '.join(PEAKS)} or a sum such as Gauss+CrystalBall",
                got=repr(part),
                do=_closest(part, PEAKS),
            )
    return parts


@dataclass(frozen=True)
class FallingName:
    """Name of a falling shape.

    Attributes:
        kind: One of `FALLING`.
        degree: Its degree, where it has one.
    """

    kind: str
    degree: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"exponential"`` or ``"bernstein:4"``.

        Raises:
            InputError: There is no such shape, or its degree is missing, too many or out of range.
        """
        kind, colon, number = (part.strip() for part in text.partition(":"))
        if kind not in FALLING:
            words = ", ".join(name if degrees is None else f"{name}:N" for name, degrees in FALLING.items())
            raise InputError.from_parts(
                expected=f"a falling shape among {words}", got=repr(kind), do=_closest(kind, tuple(FALLING))
            )
        degrees = FALLING[kind]
        if degrees is None:
            if colon:
                raise InputError.from_parts(expected=f"{kind} without a degree", got=repr(text), do=f"write {kind}")
            return cls(kind)
        low, high = degrees
        if not (number.isdecimal() and low <= int(number) <= high):
            raise InputError.from_parts(
                expected=f"{kind}:N with a degree N from {low} to {high}", got=repr(text), do=f"write {kind}:3"
            )
        return cls(kind, int(number))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its parameters in a fit; those of the default are short."""
        if self.kind == "exp-quadratic":
            return ("p1", "p2")
        if self.degree is None:
            return ({"exponential": "exponential_lam", "power-law": "power_law_a"}[self.kind],)
        stem, first = f"{self.kind.replace('-', '_')}{self.degree}_c", 0 if self.kind in {"bernstein", "laurent"} else 1
        return tuple(f"{stem}{k}" for k in range(first, self.degree + 1))

    @property
    def n_free(self) -> int:
        """How many of them float: one coefficient of a sum of positive terms stays 1."""
        return len(self.parameters) - (self.kind in {"bernstein", "laurent"})

    def __str__(self) -> str:
        return self.kind if self.degree is None else f"{self.kind}:{self.degree}"
