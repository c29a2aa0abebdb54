"""What a command says when it is done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.stored_files import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "written"]


@dataclass(frozen=True)
class Answer:
    """What a command has to say.

    Attributes:
        text: For people.
        document: The same for programs: a file of JSON, or what becomes one.
    """

    text: str
    document: Path | Mapping[str, Any]

    def json(self) -> str:
        """The document's text."""
        if isinstance(self.document, Path):
            return read_text(self.document).rstrip("\n")
        return json.dumps(self.document, indent=1)


def written(table: str, place: str | Path, document: str = "result.json") -> Answer:
    """A table, and where the rest is."""
    return Answer(f"{table}\n\nwritten to {place}: see {Path(place) / 'report.html'}", Path(place) / document)
