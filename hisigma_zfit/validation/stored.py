"""Results of a validation in its run folder.

result.json      the `Validation`
jobs/NAME.json   every finished job, at once
report.html      the page; validation.pdf is a shorter one on one sheet
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hisigma_zfit.report import validation_page
from hisigma_zfit.results import Presentation, Validation
from hisigma_zfit.runs.page import run_page
from hisigma_zfit.runs.redrawing import stored_words
from hisigma_zfit.runs.stored import RESULT, read_results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["TASK", "ValidationResults", "load_validation", "load_validation_results"]

TASK = "validate"


@dataclass(frozen=True)
class ValidationResults:
    """All that a finished validation knows and that its figures are drawn from."""

    validation: Validation
    presentation: Presentation = field(default_factory=Presentation)

    def table(self) -> str:
        """Content of ``table.txt``."""
        return validation_page.as_text(self.validation)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.style import presented
        from hisigma_zfit.report.validation_figures import validation_figures

        with presented(self.presentation):
            return validation_figures(self.validation)

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``; see `hisigma_zfit.runs.page`."""
        from hisigma_zfit.validation.options import ValidateOptions

        return run_page(folder, validation_page.validation_content(self.validation), figures, ValidateOptions)


def load_validation(path: str | Path) -> Validation:
    """Read the validation in a run folder.

    Raises:
        RunFolderError: `path` is not a validation with a result, or a file in it is damaged.
    """
    (found,) = read_results(path, {RESULT: Validation}, task=TASK).all(RESULT, Validation)
    return found


def load_validation_results(path: str | Path) -> ValidationResults:
    """Read the validation in a run folder, with the words on its figures.

    Raises:
        RunFolderError: `path` is not a validation with a result, or a file in it is damaged.
    """
    return ValidationResults(load_validation(path), stored_words(path))
