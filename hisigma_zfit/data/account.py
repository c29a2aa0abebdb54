"""What became of every event."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ReadReport", "SourceReport"]


@dataclass(frozen=True)
class SourceReport:
    """What one file gave: its format, the tree or dataset in it, rows read and rows used."""

    format: str
    tree: str
    n_read: int
    n_used: int


@dataclass(frozen=True)
class ReadReport:
    """Account of all events: ``n_read == n_used + sum(dropped.values())``.

    Attributes:
        n_read: Events read from files or given as arrays.
        n_used: Events in the dataset.
        dropped: Reason -> number of events that it removed.
        sources: Path -> what that file gave when it was read.
    """

    n_read: int
    n_used: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, SourceReport] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The counts in plain types, as in the ``n_events`` of a run folder's ``result.json``."""
        return {"read": self.n_read, "used": self.n_used, "dropped": dict(self.dropped)}

    def after(self, dropped: Mapping[str, int]) -> ReadReport:
        """The report with as many events less, by reason."""
        total = dict(Counter(self.dropped) + Counter(dropped))
        return replace(self, n_used=self.n_used - sum(dropped.values()), dropped=total)

    def plus(self, other: ReadReport) -> ReadReport:
        """The report of both data sets together."""
        return ReadReport(
            n_read=self.n_read + other.n_read,
            n_used=self.n_used + other.n_used,
            dropped=dict(Counter(self.dropped) + Counter(other.dropped)),
            sources={**self.sources, **other.sources},
        )
