"""The figures of one measurement: the one list that the pipeline and the redrawing script share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.report import explanations, plotting
from hisigma_zfit.report.expected_figures import expected
from hisigma_zfit.report.shape_figures import shape
from hisigma_zfit.report.style import LABEL
from hisigma_zfit.results.explanations import Correlations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from hisigma_zfit.results import (
        BlindMeasurement,
        GoodnessOfFit,
        LikelihoodScan,
        Measurement,
        Projection,
        ShapeFit,
        TrainingHistory,
    )

__all__ = ["blind_figures", "measurement_figures"]


def measurement_figures(
    measurement: Measurement,
    projections: Iterable[Projection] = (),
    projections_enriched: Iterable[Projection] = (),
    scan: LikelihoodScan | None = None,
    histories: Sequence[TrainingHistory] = (),
    *,
    projections_prefit: Iterable[Projection] = (),
    shapes: Iterable[ShapeFit] = (),
    tests: Mapping[str, GoodnessOfFit] | None = None,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> dict[str, Figure]:
    """Draw everything that a run has results for.

    Args:
        measurement: The result; its interval is marked in the scan.
        projections: Observables of all fitted events.
        projections_enriched: The same where signal is enriched.
        scan: Profiled likelihood.
        histories: Losses of the trainings.
        projections_prefit: Observables beside what was to be expected.
        shapes: Mass shapes over their events.
        tests: Two-sample tests by category.
        labels: The user's own names of observables and components.
        label: Text above the frames; its first word is set in bold.
        right_label: Text above the frames at the right.

    Returns:
        Figures by name: ``projection_NAME``, ``enriched_NAME``, ``prefit_NAME``, ``shape_NAME``, ``scan``,
        ``expected``, ``correlations``, ``impacts``, ``goodness_of_fit``, ``training``; NAME is that of the observable
        or of the component, behind that of its category where there are several.
    """
    words = {"label": label, "right_label": right_label}
    figures = {}
    groups = (("projection", projections), ("enriched", projections_enriched), ("prefit", projections_prefit))
    for prefix, group in groups:
        for what in group:
            figures["_".join(filter(None, (prefix, what.category, what.observable)))] = plotting.projection(
                what, labels=labels, label=label, right_label=right_label
            )
    if scan is not None:
        figures["scan"] = plotting.scan(
            scan, labels=labels, interval=measurement.interval_68, label=label, right_label=right_label
        )
    for each in shapes:
        name = "_".join(filter(None, ("shape", each.category, each.name)))
        figures[name] = shape(each, labels=labels, **words)
    fit = measurement.fit
    if fit is not None and len(fit.names) > 1:
        figures["correlations"] = explanations.correlations(
            Correlations(fit.names, np.array(fit.correlations)), labels=labels, **words
        )
    if fit is not None and fit.impacts is not None and fit.impacts.impacts:
        figures["impacts"] = explanations.impacts(fit.impacts, labels=labels, label=label, right_label=right_label)
    if fit is not None and fit.expected_limit is not None:
        figures["expected"] = expected(measurement, labels=labels, **words)
    for category, test in (tests or {}).items():
        name = "_".join(filter(None, ("goodness_of_fit", category)))
        figures[name] = explanations.goodness_of_fit(test, **words)
    if histories:
        figures["training"] = plotting.training(histories, label=label, right_label=right_label)
    return figures


def blind_figures(
    measurement: BlindMeasurement,
    sidebands: Iterable[Projection] = (),
    scan: LikelihoodScan | None = None,
    histories: Sequence[TrainingHistory] = (),
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
) -> dict[str, Figure]:
    """Draw everything that a blind run has results for.

    Args:
        measurement: The result; the interval that it expects last is marked in the scan.
        sidebands: Observables of the sidebands.
        scan: Profiled likelihood of the Asimov set with the signal that it expects last.
        histories: Losses of the trainings.
        labels: The user's own names of observables and components.
        label: Text above the frames; its first word is set in bold.

    Returns:
        Figures by name: ``sidebands_NAME``, ``expected_scan``, ``training``; NAME is that of the observable, behind
        that of its category where there are several.
    """
    figures = {
        "_".join(filter(None, ("sidebands", what.category, what.observable))): plotting.projection(
            what, labels=labels, label=label
        )
        for what in sidebands
    }
    if scan is not None:
        shown = measurement.expected[-1]
        figures["expected_scan"] = plotting.scan(
            scan,
            labels=labels,
            interval=shown.interval_68,
            label=label,
            right_label=f"expected, {shown.signal:.4g} signal events",
        )
    if histories:
        figures["training"] = plotting.training(histories, label=label)
    return figures
