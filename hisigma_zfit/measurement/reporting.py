"""What a measurement says of its own fit: status, shapes, yields by region, goodness of fit, pre-fit model, impacts."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.inference.hypotests import asimov_profiler, discovery, expected_limits
from hisigma_zfit.inference.impacts import constrained_parameters, impacts, prefit
from hisigma_zfit.inference.propagation import BinnedModel
from hisigma_zfit.inference.shape_fits import background_shape, rows_of, simulated_shape
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.outside import outside_likelihood
from hisigma_zfit.likelihood.protocol import limits_of, names_of
from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.model.shapes import finite_limits
from hisigma_zfit.results import (
    ExpectedSignificance,
    FitReport,
    FitStatus,
    FitTest,
    Projection,
    UpperLimit,
)
from hisigma_zfit.statistics.two_sample import two_sample
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.model.projections import ModelSample
    from hisigma_zfit.results import GoodnessOfFit, Impacts, RegionYields, ShapeFit

__all__ = ["Reviewed", "binned_models", "expectations", "prefit_projections", "review"]

_log = logging.getLogger(__name__)

_PERMUTATIONS = 199
_REGION_BINS = 30  # of an observable in the signal region


@dataclass(frozen=True)
class Reviewed:
    """What a reviewer is shown.

    Attributes:
        report: The numbers.
        shapes: Mass shapes with their curves.
        tests: Two-sample tests by category, with what a right model gives.
    """

    report: FitReport
    shapes: tuple[ShapeFit, ...]
    tests: dict[str, GoodnessOfFit]


def binned_models(profiler: Profiler, samples: Mapping[str, ModelSample]) -> dict[str, BinnedModel]:
    """The fitted model of each category with the covariance of the fit.

    Args:
        profiler: Of the fit.
        samples: Events of each category's model, drawn at its best fit.
    """
    theta, covariance = profiler.minimum.theta, profiler.minimum.covariance(profiler.scatter)
    parameters = profiler.loss.parameters
    return {
        category: BinnedModel(model, sample, parameters, theta, theta, covariance)
        for (category, sample), model in zip(samples.items(), profiler.loss.model, strict=True)
    }


def review(
    profiler: Profiler,
    data: Sequence[Dataset],
    inputs: Mapping[str, Inputs],
    fitted: Mapping[str, BinnedModel],
    *,
    expected: tuple[tuple[ExpectedSignificance, ...], UpperLimit | None],
    seed: int,
) -> Reviewed:
    """Everything but the distributions.

    Args:
        profiler: Of the fit.
        data: The events that were fitted, of each category.
        inputs: All events of each category by its name.
        fitted: The models in bins.
        expected: From `expectations`.
        seed: Seed of the measurement.

    """
    names, minimum = names_of(profiler.loss.parameters), profiler.minimum
    covariance = minimum.covariance(profiler.scatter)
    free = [k for k in minimum.free.tolist() if covariance[k, k] > 0.0]
    own = covariance[np.ix_(free, free)]
    errors = np.sqrt(np.diag(own))
    moved = {*minimum.free.tolist(), *minimum.flat.tolist()}
    status = FitStatus(
        converged=minimum.converged,
        edm=float(minimum.edm),
        at_limit=tuple(names[k] for k in profiler.moved if k not in moved),
        undetermined=tuple(names[k] for k in minimum.flat.tolist()),
    )
    shapes = _shapes(profiler, data, inputs, covariance)
    yields: list[RegionYields] = []
    tests: list[FitTest] = []
    compared: dict[str, GoodnessOfFit] = {}
    for category, part in inputs.items():
        yields += fitted[category].yields(part.region, category)
        tests += _mass_tests(fitted[category], category)
        found = _in_the_region(fitted[category], part, category, seed)
        if found is not None:
            compared[category] = found
            words = "mass and features in the signal region"
            tests.append(FitTest(words, category, found.method, found.statistic, found.p_value, None, found.n_data))
    report = FitReport(
        status=status,
        names=tuple(names[k] for k in free),
        covariance=rows_of(own),
        correlations=rows_of(own / np.outer(errors, errors)),
        shapes={"_".join(filter(None, (each.category, each.name))): each.fitted for each in shapes},
        yields=tuple(yields),
        tests=tuple(tests),
        expected=expected[0],
        expected_limit=expected[1],
        impacts=_impacts(profiler),
    )
    return Reviewed(report, shapes, compared)


def _impacts(profiler: Profiler) -> Impacts | None:
    """Where there is a nuisance; a measurement does not fail because an end of its error cannot be fitted."""
    if not constrained_parameters(profiler.loss):
        return None
    try:
        return impacts(profiler.loss, profiler.name, minos=False)
    except FitError as error:
        _log.warning("no impacts: %s", error)
        return None


def _shapes(
    profiler: Profiler, data: Sequence[Dataset], inputs: Mapping[str, Inputs], covariance: Array
) -> tuple[ShapeFit, ...]:
    """Simulated shapes over their simulation, the backgrounds over the sidebands."""
    shown, parameters = [], profiler.loss.parameters
    with parameters_restored(parameters):
        zfit.param.assign_values(parameters, profiler.minimum.theta)
        for (category, part), model, events in zip(inputs.items(), profiler.loss.model, data, strict=True):
            mass, limits = str(part.mass.obs[0]), finite_limits(part.mass)
            simulated = {"signal": part.signal, **part.backgrounds}
            for term in model.components:
                if term.name in simulated:
                    shape, known = term.pdf.mass, part.fitted(simulated[term.name].events)
                    shown.append(simulated_shape(term.name, shape, known, mass, category=category, limits=limits))
            terms = sorted((t for t in model.components if not t.is_signal), key=lambda t: t.name in simulated)
            shown.append(
                background_shape(
                    terms, events, mass, part.region, parameters=parameters, covariance=covariance, category=category
                )
            )
    return tuple(shown)


def _mass_tests(fitted: BinnedModel, category: str) -> list[FitTest]:
    """Chi2 of the mass spectrum."""
    shown = fitted.project(fitted.sample.mass)
    if shown.chi2 is None:
        return []
    own, used = shown.chi2, round(float(shown.data.sum()))
    return [FitTest("mass", category, "chi2", own.value, own.p_value, own.ndf, used)]


def _in_the_region(fitted: BinnedModel, part: Inputs, category: str, seed: int) -> GoodnessOfFit | None:
    """Energy distance of the data in the signal region to the fitted model's events; None for few or weighted ones.

    In the sidebands, where the densities were trained, such a test means little.
    """
    sample = fitted.sample
    if sample.weights is not None:
        return None
    names = [sample.mass, *part.features]
    inside = part.region.contains(sample.data[sample.mass])
    observed = np.stack([sample.data[name][inside] for name in names], axis=1)
    rng = np.random.default_rng(stream_seed(seed, Stream.GOODNESS, category))
    drawn = []
    sizes = {name: max(each.value, 0.0) for name, each in fitted.yields(part.region)[0].components.items()}
    total = sum(sizes.values())
    for name, columns in sample.columns.items():
        rows = np.flatnonzero(part.region.contains(columns[sample.mass]))
        wanted = min(round(len(observed) * sizes[name] / total), rows.size) if total > 0.0 else 0
        chosen = rng.choice(rows, wanted, replace=False)
        drawn.append(np.stack([columns[own][chosen] for own in names], axis=1))
    try:
        return two_sample(
            observed, np.concatenate(drawn), method="energy", permutations=_PERMUTATIONS, seed=int(rng.integers(2**31))
        )
    except InputError:  # few events say nothing of many dimensions
        return None


def expectations(
    profiler: Profiler, sample: Any, signals: Mapping[str, float], *, cl: float, seed: int
) -> tuple[tuple[ExpectedSignificance, ...], UpperLimit | None]:
    """Significances that signals were expected to have, and the limit without signal; nothing where that is not known.

    Args:
        profiler: Of the fit; all but the signal is as the data fit it.
        sample: Events of Asimov sets; None where none can be made.
        signals: Yields by the reason why they are of interest.
        cl: Confidence level of the limit.
        seed: Of Asimov sets.
    """
    if sample is None:
        return (), None
    found = []
    try:
        for name, signal in signals.items():
            if signal > 0.0:
                z = discovery(asimov_profiler(profiler, signal, sample, seed), profiler.name).z
                found.append(ExpectedSignificance(name, signal, z))
        bands = expected_limits(asimov_profiler(profiler, 0.0, sample, seed), cl=cl)
    except (FitError, InputError) as error:
        _log.warning("no expected limit: %s", error)
        return tuple(found), None
    limit = UpperLimit(profiler.name, limit=bands["0"], cl=cl, expected=bands, method="CLs, Asimov")
    return tuple(found), limit


def prefit_projections(
    profiler: Profiler,
    data: Sequence[Dataset],
    inputs: Mapping[str, Inputs],
    samples: Mapping[str, ModelSample],
    *,
    signal: float | None,
) -> tuple[Projection, ...]:
    """Data beside what was to be expected: backgrounds by the sidebands, nuisances by their constraints.

    The mass shape and the number of background events are fitted to the masses outside of the signal region.

    Args:
        profiler: Of the fit.
        data: The events that were fitted, of each category.
        inputs: All events of each category by its name.
        samples: Events of each category's model, drawn at its best fit.
        signal: Signal that simulation expects; None where nothing is expected, and no signal is shown.

    Returns:
        The mass and, in the signal region, every feature; empty where the shape cannot be fitted to sidebands.
    """
    try:
        theta, covariance = _before_the_fit(profiler, data, inputs, signal or 0.0)
    except (InputError, FitError) as error:
        _log.warning("no pre-fit figures: %s", error)
        return ()
    shown = []
    for (category, part), model in zip(inputs.items(), profiler.loss.model, strict=True):
        sample = samples[category]
        if signal is None:
            kept = {name: own for name, own in sample.columns.items() if name not in sample.signal}
            sample = replace(sample, columns=kept, signal=())
        binned = BinnedModel(
            model, sample, profiler.loss.parameters, profiler.minimum.theta, theta, covariance, fitted=False
        )
        words = "background from the sidebands"
        whole = binned.project(sample.mass, model="Pre-fit")
        # the sidebands decided it, so that there is nothing to test in them
        shown.append(_named(dataclasses.replace(whole, chi2=None), category, words))
        options: dict[str, Any] = {"region": part.region, "bins": _REGION_BINS, "model": "Pre-fit"}
        shown += [_named(binned.project(name, **options), category, words) for name in part.features]
    return tuple(shown)


def _named(shown: Projection, category: str, words: str) -> Projection:
    return replace(shown, category=category, selection=", ".join(filter(None, (category, shown.selection, words))))


def _before_the_fit(
    profiler: Profiler, data: Sequence[Dataset], inputs: Mapping[str, Inputs], signal: float
) -> tuple[Array, Array]:
    """All parameters as the sidebands' masses and the constraints have them, and their covariance."""
    parameters, names = profiler.loss.parameters, names_of(profiler.loss.parameters)
    theta, covariance = profiler.minimum.theta.copy(), np.zeros((len(names), len(names)))
    for name, (value, error) in prefit(profiler.loss).items():
        k = names.index(name)
        theta[k], covariance[k, k] = value, error**2
    theta[profiler.index] = signal
    outside = [
        events.select(~part.region.contains(events[str(part.mass.obs[0])]))
        for events, part in zip(data, inputs.values(), strict=True)
    ]
    with parameters_restored(parameters):
        zfit.param.assign_values(parameters, theta)
        alone = ExtendedNLL([model.mass_only() for model in profiler.loss.model], outside)
        # one region for all categories, as of the options
        likelihood, _ = outside_likelihood(alone, next(iter(inputs.values())).region)
        own = names_of(alone.parameters)
        simulated = {f"n_{name}" for part in inputs.values() for name in part.backgrounds}
        constrained = set(constrained_parameters(profiler.loss))
        free = [
            k
            for k, p in enumerate(alone.parameters)
            if p.floating and own[k] not in {profiler.name, *(simulated - constrained)}
        ]
        found = minimise(likelihood, likelihood.theta(), free, limits=limits_of(alone.parameters))
        found.required("the fit of the sidebands")
    at, errors = [names.index(own[k]) for k in free], found.covariance()
    theta[at] = found.theta[free]
    covariance[np.ix_(at, at)] = errors[np.ix_(free, free)]
    return theta, np.nan_to_num(covariance)
