"""``report.html`` of a run folder: what the folder itself knows goes on the page beside the results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import Unblinding
from hisigma_zfit.runs.identity import stored_identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from hisigma_zfit.configuration.options import Options
    from hisigma_zfit.report.page import Content, Origin

__all__ = ["PAGE", "Drawable", "option_meanings", "origin_of", "run_page", "study_origin"]

PAGE = "report.html"


class Drawable(Protocol):
    """Results of a run that can be drawn and put on a page."""

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``.

        Args:
            folder: The run folder.
            figures: All figures by name.
        """


def run_page(folder: Path, content: Content, figures: Mapping[str, Figure], options: type[Options]) -> str:
    """The page of a run.

    Args:
        folder: Where ``run.json`` and ``config.yaml`` are.
        content: What the task has to say.
        figures: All figures by name.
        options: The task's options.
    """
    from hisigma_zfit.report.page import page  # takes a second, which checking a folder need not wait for

    return page(content, figures, origin_of(folder, options))


def option_meanings(options: type[Options]) -> dict[str, str]:
    """The descriptions of a task's options, by name."""
    return {name: field.description or "" for name, field in options.model_fields.items()}


def origin_of(folder: Path, options: type[Options]) -> Origin:
    """Where the numbers of a run come from; of an old folder what it knows."""
    from hisigma_zfit.report.page import Origin

    stored: dict[str, Any] = stored_identity(folder) or {}
    return Origin(
        task=str(stored.get("task", "")),
        inputs=stored.get("inputs", {}),
        versions=stored.get("versions", {}),
        configuration=_text(folder / "config.yaml"),
        options=stored.get("options", {}),
        meanings=option_meanings(options),
        unblinding=_opened(folder),
    )


def study_origin(file: Path, task: str) -> Origin:
    """Where the numbers of pseudo-experiments come from.

    Args:
        file: Where the study keeps its options and versions.
        task: As on the command line.
    """
    from hisigma_zfit.report.meanings import TOY_OPTIONS
    from hisigma_zfit.report.page import Origin

    try:
        stored: dict[str, Any] = json.loads(_text(file) or "{}")
    except ValueError:
        stored = {}
    options = dict(stored.get("options", {}))
    run = options.pop("run", None) or {}
    return Origin(
        task=task,
        inputs=run.get("inputs") or {},
        versions=stored.get("versions", {}),
        options=options,
        meanings=TOY_OPTIONS,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _opened(folder: Path) -> str:
    text = _text(folder / "unblinding.json")
    try:
        return f"The signal region of this blind run was {Unblinding.from_json(text)}." if text else ""
    except InputError:
        return "There is a record of opening this run, which is damaged."
