"""Results of a measurement in its run folder: which there are, under which names.

result.json                  the `Measurement`
scan.json                    profile of the parameter of interest
training_NAME.json           losses of a training
projections/NAME.json        an observable in data and in the fitted model
projections_enriched/NAME.json   the same where signal is enriched
model/                       the fitted model: densities, shapes and yields

A blind run has a `BlindMeasurement` and sidebands/NAME.json in the place of the projections, its scan is that of an
Asimov set, and once its region was opened, unblinding.json is the record of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.report import tables
from hisigma_zfit.results import BlindMeasurement, LikelihoodScan, Measurement, Projection, TrainingHistory
from hisigma_zfit.runs.identity import stored_identity
from hisigma_zfit.runs.stored import RESULT, StoredResults, read_results
from hisigma_zfit.stored_files import file_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hisigma_zfit.results.base import Result

__all__ = ["BLIND_TASK", "TASK", "BlindResults", "MeasurementResults", "load_any", "load_blind", "load_results"]

TASK = "measure"
BLIND_TASK = "measure --blind"

_LAYOUT: dict[str, type[Result]] = {
    RESULT: Measurement,
    "scan": LikelihoodScan,
    "training_*": TrainingHistory,
    "projections/*": Projection,
    "projections_enriched/*": Projection,
}


_BLIND_LAYOUT: dict[str, type[Result]] = {
    RESULT: BlindMeasurement,
    "scan": LikelihoodScan,
    "training_*": TrainingHistory,
    "sidebands/*": Projection,
}


def _file(group: str, projection: Projection) -> str:
    return f"{group}/{file_name('_'.join(filter(None, (projection.category, projection.observable))))}"


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
            _file(group, projection): projection
            for group in ("projections", "projections_enriched")
            for projection in getattr(self, group)
        }
        named |= {f"training_{file_name(history.name)}": history for history in self.histories}
        if self.scan is not None:
            named["scan"] = self.scan
        return StoredResults(named | {RESULT: self.measurement})

    def table(self) -> str:
        """Content of ``table.txt``."""
        return tables.measurement(self.measurement)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.figures import measurement_figures  # matplotlib takes a second, which a table need not

        return measurement_figures(
            self.measurement, self.projections, self.projections_enriched, self.scan, self.histories
        )


@dataclass(frozen=True)
class BlindResults:
    """All that a finished blind run knows and that its figures are drawn from."""

    measurement: BlindMeasurement
    sidebands: tuple[Projection, ...] = ()
    scan: LikelihoodScan | None = None
    histories: tuple[TrainingHistory, ...] = ()

    def stored(self) -> StoredResults:
        """The same by the names of the files; `load_blind` reads them back."""
        named: dict[str, Result] = {_file("sidebands", projection): projection for projection in self.sidebands}
        named |= {f"training_{file_name(history.name)}": history for history in self.histories}
        if self.scan is not None:
            named["scan"] = self.scan
        return StoredResults(named | {RESULT: self.measurement})

    def table(self) -> str:
        """Content of ``table.txt``."""
        return tables.blind_measurement(self.measurement)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.figures import blind_figures

        return blind_figures(self.measurement, self.sidebands, self.scan, self.histories)


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


def load_blind(path: str | Path) -> BlindResults:
    """Read the results of a blind run's folder.

    Raises:
        RunFolderError: `path` is not a blind run with a result, or a file in it is damaged.
    """
    found = read_results(path, _BLIND_LAYOUT, task=BLIND_TASK)
    (measurement,) = found.all(RESULT, BlindMeasurement)
    return BlindResults(
        measurement=measurement,
        sidebands=found.all("sidebands/*", Projection),
        scan=found.one("scan", LikelihoodScan),
        histories=found.all("training_*", TrainingHistory),
    )


def load_any(path: str | Path) -> MeasurementResults | BlindResults:
    """Read the results of a measurement's run folder, blind or open.

    Raises:
        RunFolderError: `path` is neither with a result, or a file in it is damaged.
    """
    stored = stored_identity(Path(path)) or {}
    return load_blind(path) if stored.get("task") == BLIND_TASK else load_results(path)
