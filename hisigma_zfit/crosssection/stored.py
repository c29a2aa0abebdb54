"""Results of a cross-section in its run folder.

result.json                    the `CrossSectionResult`
scans/POI.json                 profiled likelihood of a parameter of interest
profiles/NAME.json             that of a nuisance
closures/PROCESS_REGION_K.json shifted simulation beside the reweighted one, by feature
postfit/REGION_K.json          distributions of the score and of features in data and in the fitted model
maps/K.json                    learned functions over two features
members/ratios/                posterior, design points and exponents, with which an interrupted run goes on
members/replicas/              fits of replicas of everything, where they were asked for
toys/toys.json                 pseudo-experiments, where there were some
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hisigma_zfit.report import crosssection_tables
from hisigma_zfit.results import (
    CoverageStudy,
    CrossSectionResult,
    NuisanceProfile,
    PoiScan,
    Presentation,
    Projection,
    RatioMap,
    ShapeClosure,
)
from hisigma_zfit.runs.page import run_page
from hisigma_zfit.runs.stored import PRESENTATION, RESULT, StoredResults, read_results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from hisigma_zfit.results.base import Result

__all__ = ["TASK", "CrossSectionResults", "load_cross_section"]

TASK = "cross-section"

_LAYOUT: dict[str, type[Result]] = {
    RESULT: CrossSectionResult,
    PRESENTATION: Presentation,
    "scans/*": PoiScan,
    "profiles/*": NuisanceProfile,
    "closures/*": ShapeClosure,
    "postfit/*": Projection,
    "prefit/*": Projection,
    "maps/*": RatioMap,
    "toys/toys": CoverageStudy,
}


@dataclass(frozen=True)
class CrossSectionResults:
    """All that a finished cross-section knows and that its figures are drawn from."""

    result: CrossSectionResult
    scans: tuple[PoiScan, ...] = ()
    profiles: tuple[NuisanceProfile, ...] = ()
    closures: tuple[ShapeClosure, ...] = ()
    postfit: tuple[Projection, ...] = ()
    maps: tuple[RatioMap, ...] = ()
    toys: CoverageStudy | None = None
    prefit: tuple[Projection, ...] = ()
    presentation: Presentation = field(default_factory=Presentation)

    def stored(self) -> StoredResults:
        """The same by the names of the files; `load_cross_section` reads them back."""
        named: dict[str, Result] = {f"scans/{scan.poi}": scan for scan in self.scans}
        named |= {f"profiles/{own.name}": own for own in self.profiles}
        named |= {f"closures/{own.process}_{own.region}_{k:02d}": own for k, own in enumerate(self.closures)}
        named |= {f"postfit/{own.category}_{k:02d}": own for k, own in enumerate(self.postfit)}
        named |= {f"prefit/{own.category}_{k:02d}": own for k, own in enumerate(self.prefit)}
        named |= {f"maps/{k:02d}": own for k, own in enumerate(self.maps)}
        return StoredResults(named | {PRESENTATION: self.presentation, RESULT: self.result})

    def table(self) -> str:
        """Content of ``table.txt``."""
        return crosssection_tables.cross_section(self.result)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.crosssection_figures import cross_section_figures
        from hisigma_zfit.report.style import presented

        with presented(self.presentation):
            return cross_section_figures(
                self.result,
                self.scans,
                self.profiles,
                self.postfit,
                closures=self.closures,
                maps=self.maps,
                toys=self.toys,
                prefit=self.prefit,
            )

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``; see `hisigma_zfit.runs.page`."""
        from hisigma_zfit.crosssection.options import CrossSectionOptions
        from hisigma_zfit.report.pages import cross_section_content

        return run_page(folder, cross_section_content(self.result), figures, CrossSectionOptions)


def load_cross_section(path: str | Path) -> CrossSectionResults:
    """Read the results of a cross-section's run folder.

    Raises:
        RunFolderError: `path` is not a cross-section with a result, or a file in it is damaged.
    """
    found = read_results(path, _LAYOUT, task=TASK)
    (result,) = found.all(RESULT, CrossSectionResult)
    return CrossSectionResults(
        result=result,
        scans=found.all("scans/*", PoiScan),
        profiles=found.all("profiles/*", NuisanceProfile),
        closures=found.all("closures/*", ShapeClosure),
        postfit=found.all("postfit/*", Projection),
        maps=found.all("maps/*", RatioMap),
        prefit=found.all("prefit/*", Projection),
        toys=found.one("toys/toys", CoverageStudy),
        presentation=found.one(PRESENTATION, Presentation) or Presentation(),
    )
