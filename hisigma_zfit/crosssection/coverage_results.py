"""What the pseudo-experiments of a cross-section leave in their folder; see `crosssection.study`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.results import CoverageStudy, Presentation
from hisigma_zfit.runs.page import study_origin
from hisigma_zfit.runs.redrawing import stored_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

__all__ = ["CoverageResults", "load_coverage"]


@dataclass(frozen=True)
class CoverageResults:
    """All that a finished study knows and that its figures are drawn from."""

    study: CoverageStudy
    presentation: Presentation = field(default_factory=Presentation)

    def table(self) -> str:
        """Content of ``table.txt``."""
        from hisigma_zfit.report.crosssection_tables import coverage

        return coverage(self.study)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.coverage_figures import coverage_figures
        from hisigma_zfit.report.style import presented

        with presented(self.presentation):
            return coverage_figures(self.study)

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``."""
        from hisigma_zfit.report.page import page
        from hisigma_zfit.report.pages import coverage_content

        return page(coverage_content(self.study), figures, study_origin(folder / "study.json", "cross-section toys"))


def load_coverage(path: str | Path) -> CoverageResults:
    """Read a finished study.

    Raises:
        RunFolderError: There is none.
    """
    try:
        study = CoverageStudy.from_json((Path(path) / "toys.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError, TypeError) as error:
        raise RunFolderError.from_parts(
            expected=f"a finished study in '{path}'", got=type(error).__name__, do="finish the study first"
        ) from error
    return CoverageResults(study, stored_words(path))
