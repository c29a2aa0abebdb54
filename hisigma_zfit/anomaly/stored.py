"""Results of a search in its run folder.

result.json               the `Search`
share_profile.json        test statistic against the signal's share
learned/NAME.json         an observable of the learned signal beside the background
enriched_mass.json        mass of the events that look most like the learned signal
training_background.json  losses of the training
scores.parquet            row, fold and cross-fitted score of every event of the window
learned_signal.parquet    events drawn from the learned signal
learned_signal/           its density, for `hisigma_zfit.load_flow`
members/, toys/           trained members; background-only experiments
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hisigma_zfit.results import LearnedFeature, Presentation, Projection, Search, ShareProfile, TrainingHistory
from hisigma_zfit.runs.page import run_page
from hisigma_zfit.runs.stored import PRESENTATION, RESULT, StoredResults, read_results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from hisigma_zfit.results.base import Result

__all__ = ["TASK", "SearchResults", "load_search"]

TASK = "search"

_LAYOUT: dict[str, type[Result]] = {
    RESULT: Search,
    PRESENTATION: Presentation,
    "share_profile": ShareProfile,
    "learned/*": LearnedFeature,
    "enriched_mass": Projection,
    "training_*": TrainingHistory,
}


@dataclass(frozen=True)
class SearchResults:
    """All that a finished search knows and that its figures are drawn from."""

    search: Search
    profile: ShareProfile | None = None
    learned: tuple[LearnedFeature, ...] = ()
    enriched: Projection | None = None
    histories: tuple[TrainingHistory, ...] = ()
    presentation: Presentation = field(default_factory=Presentation)

    def stored(self) -> StoredResults:
        """The same by the names of the files; `load_search` reads them back."""
        named: dict[str, Result] = {f"learned/{feature.name}": feature for feature in self.learned}
        named |= {f"training_{history.name}": history for history in self.histories}
        named |= {"share_profile": self.profile} if self.profile is not None else {}
        named |= {"enriched_mass": self.enriched} if self.enriched is not None else {}
        return StoredResults(named | {PRESENTATION: self.presentation, RESULT: self.search})

    def table(self) -> str:
        """Content of ``table.txt``."""
        return str(self.search)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.search_figures import search_figures
        from hisigma_zfit.report.style import presented

        with presented(self.presentation):
            return search_figures(self.search, self.profile, self.learned, self.enriched, self.histories)

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``; see `hisigma_zfit.runs.page`."""
        from hisigma_zfit.anomaly.options import SearchOptions
        from hisigma_zfit.report.pages import search_content

        return run_page(folder, search_content(self.search), figures, SearchOptions)


def load_search(path: str | Path) -> SearchResults:
    """Read the results of a search's run folder.

    Raises:
        RunFolderError: `path` is not a search with a result, or a file in it is damaged.
    """
    found = read_results(path, _LAYOUT, task=TASK)
    (search,) = found.all(RESULT, Search)
    return SearchResults(
        search=search,
        profile=found.one("share_profile", ShareProfile),
        learned=found.all("learned/*", LearnedFeature),
        enriched=found.one("enriched_mass", Projection),
        histories=found.all("training_*", TrainingHistory),
        presentation=found.one(PRESENTATION, Presentation) or Presentation(),
    )
