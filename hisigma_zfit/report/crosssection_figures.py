"""The figures of one cross-section: the one list that the pipeline and the redrawing script share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisigma_zfit.report import explanations, plotting
from hisigma_zfit.report.counting_figures import counting_bins, points
from hisigma_zfit.report.coverage_figures import coverage_figures
from hisigma_zfit.report.ratio_figures import calibration_curves, ratio_map, shape_closure
from hisigma_zfit.report.ratio_fit_figures import bias_points, likelihood, nuisance_profile, replicas, widths
from hisigma_zfit.report.style import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from hisigma_zfit.results import (
        CoverageStudy,
        CrossSectionResult,
        NuisanceProfile,
        PoiScan,
        Projection,
        RatioMap,
        ShapeClosure,
        TrainingHistory,
    )

__all__ = ["cross_section_figures"]

_FEATURES = 5  # rows of a page of closures


def cross_section_figures(
    result: CrossSectionResult,
    scans: Iterable[PoiScan] = (),
    profiles: Iterable[NuisanceProfile] = (),
    postfit: Iterable[Projection] = (),
    closures: Iterable[ShapeClosure] = (),
    maps: Iterable[RatioMap] = (),
    posterior_histories: Sequence[TrainingHistory] = (),
    exponent_histories: Sequence[TrainingHistory] = (),
    toys: CoverageStudy | None = None,
    *,
    prefit: Iterable[Projection] = (),
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> dict[str, Figure]:
    """Draw everything that a run has results for.

    Args:
        result: The result.
        scans: Profiled likelihoods of the parameters of interest.
        profiles: Those of nuisances.
        postfit: Observables of the unbinned regions, in data and in the fitted model.
        closures: Shifted simulation beside the reweighted one.
        maps: Learned functions over two features.
        posterior_histories: Losses of the classifiers, of networks only.
        exponent_histories: Losses of the exponents.
        toys: Pseudo-experiments.
        prefit: Observables of the unbinned regions, in data and in the model before its fit.
        labels: The user's own names of observables, processes, parameters, bins and methods.
        label: Text above the frames; its first word is set in bold.
        right_label: Text above the frames of fitted events at the right; the luminosity by default.

    Returns:
        Figures by name: ``postfit_REGION_NAME``, ``prefit_REGION_NAME``,
        ``counting_bins``, ``likelihood_POI``, ``impacts_POI``,
        ``correlations``, ``calibration_REGION``, ``closure_PROCESS_REGION_PAGE``,
        ``map_QUANTITY_PROCESS_X_Y_NUISANCES``, ``bias``, ``held_back``, ``replicas_POI``, ``widths``, ``profile_NAME``,
        ``training_posterior``, ``training_exponents``, ``toys_NAME``; parts that are not known are left out.
    """
    if not right_label and result.luminosity is not None:
        right_label = rf"{result.luminosity:g} fb$^{{-1}}$"
    figures = _of_the_fit(result, scans, profiles, (*postfit, *prefit), labels, label, right_label)
    figures |= _of_the_learning(result, closures, maps, labels, label)
    if posterior_histories:
        loss = "Balanced cross-entropy [nats]"
        figures["training_posterior"] = plotting.training(posterior_histories, loss=loss, labels=labels, label=label)
    if exponent_histories:
        loss = "Loss by event, less that of no variation"
        figures["training_exponents"] = plotting.training(exponent_histories, loss=loss, labels=labels, label=label)
    if toys is not None:
        figures |= coverage_figures(toys, labels=labels, label=label)
    return figures


def _of_the_fit(
    result: CrossSectionResult,
    scans: Iterable[PoiScan],
    profiles: Iterable[NuisanceProfile],
    shown: Iterable[Projection],
    labels: Mapping[str, str] | None,
    label: str,
    right_label: str,
) -> dict[str, Figure]:
    """What the events of the fit decide."""
    figures: dict[str, Figure] = {}
    for own in shown:
        kind = "prefit" if own.model == "Pre-fit" else "postfit"
        figures[_name(kind, own.category, own.observable)] = plotting.projection(
            own, labels=labels, logy=True, data=points(result), label=label, right_label=right_label
        )
    if any(not cell.unbinned and cell.observed is not None for cell in result.cells.values()):
        figures["counting_bins"] = counting_bins(result, labels=labels, label=label, right_label=right_label)
    for scan in scans:
        figures[f"likelihood_{scan.poi}"] = likelihood(scan, labels=labels, label=label, right_label=right_label)
    for poi, found in result.impacts.items():
        if found.impacts:
            figures[f"impacts_{poi}"] = explanations.impacts(found, labels=labels, label=label)
    if result.correlations.names:
        figures["correlations"] = explanations.correlations(result.correlations, labels=labels, label=label)
    if any(method.score_bins is not None for method in result.comparison.values()):
        figures["widths"] = widths(
            result.comparison, poi=result.leading, labels=labels, label=label, right_label=right_label
        )
    for profile in profiles:
        figures[f"profile_{profile.name}"] = nuisance_profile(
            profile, labels=labels, label=label, right_label=right_label
        )
    return figures


def _of_the_learning(
    result: CrossSectionResult,
    closures: Iterable[ShapeClosure],
    maps: Iterable[RatioMap],
    labels: Mapping[str, str] | None,
    label: str,
) -> dict[str, Figure]:
    """What the simulation alone decides."""
    figures: dict[str, Figure] = {}
    curves = result.posterior.calibration
    for region in dict.fromkeys(curve.region for curve in curves):
        own = [curve for curve in curves if curve.region == region]
        figures[_name("calibration", region)] = calibration_curves(own, labels=labels, label=label)
    pages: dict[tuple[str, str], list[ShapeClosure]] = {}
    for closure in closures:
        pages.setdefault((closure.process, closure.region), []).append(closure)
    for (process, region), each in pages.items():
        for page, first in enumerate(range(0, len(each), _FEATURES), start=1):
            number = str(page) if len(each) > _FEATURES else ""
            figures[_name("closure", process, region, number)] = shape_closure(
                each[first : first + _FEATURES], units=result.design.units, labels=labels, label=label
            )
    for what in maps:
        settings = (f"{name}{value:+g}" for name, value in what.settings.items())
        figures[_name("map", what.quantity, what.process, what.x, what.y, *settings)] = ratio_map(
            what, units=result.design.units, labels=labels, label=label
        )
    if any(study.points for study in result.bias.values()):
        figures["bias"] = bias_points(result.bias, poi=result.leading, labels=labels, label=label)
    if result.held_back is not None and any(study.points for study in result.held_back.study.values()):
        figures["held_back"] = bias_points(result.held_back.study, poi=result.leading, labels=labels, label=label)
    for poi, found in result.uncertainty.items():
        error = result.poi[poi].error
        figures[f"replicas_{poi}"] = replicas(found, poi=poi, error=error, labels=labels, label=label)
    return figures


def _name(*parts: str) -> str:
    return "_".join(filter(None, parts))
