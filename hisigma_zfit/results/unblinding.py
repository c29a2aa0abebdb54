"""The record of opening a signal region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hisigma_zfit.results.base import Result

__all__ = ["Unblinding"]


@dataclass(frozen=True)
class Unblinding(Result):
    """When the signal region of a blind run was opened for the first time, by what, and after which result.

    Attributes:
        time: Of the first look, UTC, as in ``"2026-01-31T12:00:00Z"``.
        blind_result: SHA-256 of the blind run's ``result.json``.
        inputs: Digest of each input file by its name.
        versions: Versions of Python and of the packages that opened it.
    """

    schema: ClassVar[str] = "hisigma-zfit/unblinding/1"
    time: str
    blind_result: str
    inputs: dict[str, str]
    versions: dict[str, str]

    def __str__(self) -> str:
        return f"opened {self.time} after the blind result {self.blind_result}"
