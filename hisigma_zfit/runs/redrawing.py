"""Figures and page of a finished run once more, with other words on them: ``hisigma plot``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import make_parents, new_place, write_text
from hisigma_zfit.results import Presentation
from hisigma_zfit.runs.page import PAGE
from hisigma_zfit.runs.stored import PRESENTATION
from hisigma_zfit.stored_files import file_name, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Redrawn", "redraw", "stored_words", "write_words"]


@dataclasses.dataclass(frozen=True)
class Redrawn:
    """What was drawn.

    Attributes:
        folder: Where the figures are.
        figures: Their names.
        page: The page with all of them.
    """

    folder: Path
    figures: tuple[str, ...]
    page: Path


def stored_words(folder: str | Path) -> Presentation:
    """Words on the figures of a folder; none where none were kept.

    Raises:
        RunFolderError: The file with them is damaged.
    """
    file = Path(folder) / f"{PRESENTATION}.json"
    try:
        return Presentation.from_json(read_text(file))
    except FileNotFoundError:
        return Presentation()
    except (InputError, TypeError) as error:
        raise RunFolderError.from_parts(
            expected=f"a whole file '{file}'", got=f"a damaged one ({error})", do="remove it, and say the words again"
        ) from error


def write_words(folder: Path, words: Presentation) -> None:
    """Keep the words on the figures of a folder."""
    write_text(folder / f"{PRESENTATION}.json", f"{words.to_json()}\n")


def redraw(results: Any, folder: str | Path, *, to: str | Path | None = None, words: Mapping[str, Any]) -> Redrawn:
    """Draw all figures of a finished run or study, and write its page.

    Args:
        results: What it knows: a dataclass with a `presentation`, `figures` and `page`.
        folder: The run or study.
        to: Where to write; figures and page of the run itself by default, which then keeps the words too.
        words: Words of `Presentation` that take the place of the run's own; units and titles are added to these.

    Raises:
        InputError: The place is a file.
    """
    from hisigma_zfit.report import plotting  # matplotlib, which takes a second

    folder = Path(folder)
    target = Path(to) if to is not None else folder / "figures"
    page = (target if to is not None else folder) / PAGE
    if new_place(target).exists() and not target.is_dir():
        raise InputError.from_parts(expected=f"a folder '{target}'", got="a file", do="choose another place")
    own = results.presentation
    joined = {name: getattr(own, name) | value if isinstance(value, dict) else value for name, value in words.items()}
    results = dataclasses.replace(results, presentation=dataclasses.replace(own, **joined))
    figures = {file_name(name): figure for name, figure in results.figures().items()}
    make_parents(new_place(target))
    target.mkdir(exist_ok=True)
    for name, figure in figures.items():
        plotting.save(figure, target / name)
    write_text(page, results.page(folder, figures))
    if words and to is None:
        write_words(folder, results.presentation)
    return Redrawn(target, tuple(figures), page)
