"""Results of a measurement in its run folder: which there are, under which names.

result.json                  the `Measurement`
scan.json                    profile of the parameter of interest
training_NAME.json           losses of a training
projections/NAME.json        an observable in data and in the fitted model
projections_enriched/NAME.json   the same where signal is enriched
projections_prefit/NAME.json     beside what was to be expected, the features in the signal region
shapes/NAME.json             a fitted mass shape over its events
goodness_of_fit*.json        two-sample test of the signal region, by category
model/                       the fitted model: densities, shapes and yields

A blind run has a `BlindMeasurement` and sidebands/NAME.json in the place of the projections, its scan is that of an
Asimov set, and once its region was opened, unblinding.json is the record of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.report import tables
from hisigma_zfit.results import (
    BlindMeasurement,
    GoodnessOfFit,
    LikelihoodScan,
    Measurement,
    Presentation,
    Projection,
    ShapeFit,
    TrainingHistory,
)
from hisigma_zfit.runs.identity import stored_identity
from hisigma_zfit.runs.page import run_page
from hisigma_zfit.runs.stored import PRESENTATION, RESULT, StoredResults, read_results
from hisigma_zfit.stored_files import file_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from hisigma_zfit.results.base import Result

__all__ = ["BLIND_TASK", "TASK", "BlindResults", "MeasurementResults", "load_any", "load_blind", "load_results"]

TASK = "measure"
BLIND_TASK = "measure --blind"
_TEST = "goodness_of_fit"

_LAYOUT: dict[str, type[Result]] = {
    RESULT: Measurement,
    PRESENTATION: Presentation,
    "scan": LikelihoodScan,
    "training_*": TrainingHistory,
    "projections/*": Projection,
    "projections_enriched/*": Projection,
    "projections_prefit/*": Projection,
    "shapes/*": ShapeFit,
    "goodness_of_fit*": GoodnessOfFit,
}


_BLIND_LAYOUT: dict[str, type[Result]] = {
    RESULT: BlindMeasurement,
    PRESENTATION: Presentation,
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
    projections_prefit: tuple[Projection, ...] = ()
    shapes: tuple[ShapeFit, ...] = ()
    tests: dict[str, GoodnessOfFit] = field(default_factory=dict)
    scan: LikelihoodScan | None = None
    histories: tuple[TrainingHistory, ...] = ()
    presentation: Presentation = field(default_factory=Presentation)

    def stored(self) -> StoredResults:
        """The same by the names of the files; `load_results` reads them back."""
        named: dict[str, Result] = {
            _file(group, projection): projection
            for group in ("projections", "projections_enriched", "projections_prefit")
            for projection in getattr(self, group)
        }
        named |= {
            f"shapes/{file_name('_'.join(filter(None, (each.category, each.name))))}": each for each in self.shapes
        }
        named |= {"_".join(filter(None, (_TEST, category))): test for category, test in self.tests.items()}
        named |= {f"training_{file_name(history.name)}": history for history in self.histories}
        if self.scan is not None:
            named["scan"] = self.scan
        return StoredResults(named | {PRESENTATION: self.presentation, RESULT: self.measurement})

    def table(self) -> str:
        """Content of ``table.txt``."""
        return tables.measurement(self.measurement)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        # matplotlib takes a second, which a table need not
        from hisigma_zfit.report.figures import measurement_figures
        from hisigma_zfit.report.style import presented

        with presented(self.presentation):
            return measurement_figures(
                self.measurement,
                self.projections,
                self.projections_enriched,
                self.scan,
                self.histories,
                projections_prefit=self.projections_prefit,
                shapes=self.shapes,
                tests=self.tests,
            )

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``; see `hisigma_zfit.runs.page`."""
        from hisigma_zfit.measurement.options import MeasureOptions
        from hisigma_zfit.report.pages import measurement_content

        return run_page(folder, measurement_content(self.measurement), figures, MeasureOptions)


@dataclass(frozen=True)
class BlindResults:
    """All that a finished blind run knows and that its figures are drawn from."""

    measurement: BlindMeasurement
    sidebands: tuple[Projection, ...] = ()
    scan: LikelihoodScan | None = None
    histories: tuple[TrainingHistory, ...] = ()
    presentation: Presentation = field(default_factory=Presentation)

    def stored(self) -> StoredResults:
        """The same by the names of the files; `load_blind` reads them back."""
        named: dict[str, Result] = {_file("sidebands", projection): projection for projection in self.sidebands}
        named |= {f"training_{file_name(history.name)}": history for history in self.histories}
        if self.scan is not None:
            named["scan"] = self.scan
        return StoredResults(named | {PRESENTATION: self.presentation, RESULT: self.measurement})

    def table(self) -> str:
        """Content of ``table.txt``."""
        return tables.blind_measurement(self.measurement)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from hisigma_zfit.report.figures import blind_figures
        from hisigma_zfit.report.style import presented

        with presented(self.presentation):
            return blind_figures(self.measurement, self.sidebands, self.scan, self.histories)

    def page(self, folder: Path, figures: Mapping[str, Figure]) -> str:
        """Content of ``report.html``; see `hisigma_zfit.runs.page`."""
        from hisigma_zfit.measurement.options import MeasureOptions
        from hisigma_zfit.report.pages import blind_content

        return run_page(folder, blind_content(self.measurement), figures, MeasureOptions)


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
        projections_prefit=found.all("projections_prefit/*", Projection),
        shapes=found.all("shapes/*", ShapeFit),
        tests={
            name.removeprefix(_TEST).removeprefix("_"): test
            for name, test in found.results.items()
            if isinstance(test, GoodnessOfFit)
        },
        scan=found.one("scan", LikelihoodScan),
        histories=found.all("training_*", TrainingHistory),
        presentation=found.one(PRESENTATION, Presentation) or Presentation(),
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
        presentation=found.one(PRESENTATION, Presentation) or Presentation(),
    )


def load_any(path: str | Path) -> MeasurementResults | BlindResults:
    """Read the results of a measurement's run folder, blind or open.

    Raises:
        RunFolderError: `path` is neither with a result, or a file in it is damaged.
    """
    stored = stored_identity(Path(path)) or {}
    return load_blind(path) if stored.get("task") == BLIND_TASK else load_results(path)
