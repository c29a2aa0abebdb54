"""Results of a measurement in its run folder: which there are, under which names.

result.json                  the `Measurement`
scan.json                    profile of the parameter of interest
training_NAME.json           losses of a training
projections/NAME.json        an observable in data and in the fitted model
projections_enriched/NAME.json   the same where signal is enriched
model/                       the fitted model: densities, shapes and yields
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hisigma_zfit.results import LikelihoodScan, Measurement, Projection, TrainingHistory
from hisigma_zfit.runs.stored import RESULT, StoredResults, read_results

if TYPE_CHECKING:
    from pathlib import Path

    from hisigma_zfit.results.base import Result

__all__ = ["TASK", "MeasurementResults", "load_results"]

TASK = "measure"

_LAYOUT: dict[str, type[Result]] = {
    RESULT: Measurement,
    "scan": LikelihoodScan,
    "training_*": TrainingHistory,
    "projections/*": Projection,
    "projections_enriched/*": Projection,
}


@dataclass(frozen=True)
class MeasurementResults:
    """All that a finished measurement knows and that its figures are drawn from."""

    measurement: Measurement
    projections: tuple[Projection, ...] = ()
    projections_enriched: tuple[Projection, ...] = ()
    scan: LikelihoodScan | None = None
    histories: tuple[TrainingHistory, ...] = ()

    def stored(self) -> StoredResults:
        """The same by the names of the files; `load_results` reads them back."""
        named: dict[str, Result] = {
            f"{group}/{'_'.join(filter(None, (projection.category, projection.observable)))}": projection
            for group in ("projections", "projections_enriched")
            for projection in getattr(self, group)
        }
        named |= {f"training_{history.name}": history for history in self.histories}
        if self.scan is not None:
            named["scan"] = self.scan
        return StoredResults(named | {RESULT: self.measurement})


def load_results(path: str | Path) -> MeasurementResults:
    """Read the results of a measurement's run folder.

    Raises:
        RunFolderError: `path` is not a measurement with a result, or a file in it is damaged.
    """
    found = read_results(path, _LAYOUT, task=TASK)
    (measurement,) = found.all(RESULT, Measurement)
    return MeasurementResults(
        measurement=measurement,
        projections=found.all("projections/*", Projection),
        projections_enriched=found.all("projections_enriched/*", Projection),
        scan=found.one("scan", LikelihoodScan),
        histories=found.all("training_*", TrainingHistory),
    )
