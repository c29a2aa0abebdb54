"""What the likelihood says of the signal: step 7 of paper (arXiv:2506.06438) section 2.1, and a look at the model."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import bootstrap_profilers, combination
from hisigma_zfit.inference.hypotests import discovery
from hisigma_zfit.inference.shape_envelope import shape_envelope
from hisigma_zfit.inference.training_error import (
    redrawn_profilers,
    training_bias,
    training_error,
    with_training_error,
)
from hisigma_zfit.inference.unseen import Taught
from hisigma_zfit.inference.weights import weights_profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.measurement.closing import response
from hisigma_zfit.measurement.falling import require_positive, shape_fits
from hisigma_zfit.measurement.reporting import (
    Reviewed,
    binned_models,
    expectations,
    prefit_projections,
    review,
)
from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.model.projections import sample_model
from hisigma_zfit.results import ConfidenceLevels, Estimate, FitSummary, MemberFit
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.toys.samples import sample_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.inference.combine import Combination
    from hisigma_zfit.measurement.falling import Choice
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.measurement.options import AskOptions
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.results import LikelihoodScan, Projection, SignalResponse

__all__ = [
    "Answers",
    "Others",
    "ask",
    "bootstrap_fits",
    "combine",
    "others_of",
    "with_training",
]

_log = logging.getLogger(__name__)

_ENRICHED_EFFICIENCY = 0.5  # signal kept by the likelihood-ratio cut of the signal-enriched figures


@dataclass(frozen=True)
class Answers:
    """What is asked of every measurement.

    Attributes:
        values: Numbers of the `Measurement` that the fit decides.
        response: What part of the signal the fit returns; None if there are too few simulated events.
        scan: Profile of the parameter of interest.
        projections: Every observable in data and in the fitted model.
        projections_enriched: The same where signal is enriched.
        projections_prefit: The mass, and the features in the signal region, beside what was to be expected there.
        reviewed: What the fit says of itself.
    """

    values: dict[str, Any]
    response: SignalResponse | None
    scan: LikelihoodScan
    projections: tuple[Projection, ...]
    projections_enriched: tuple[Projection, ...]
    projections_prefit: tuple[Projection, ...]
    reviewed: Reviewed


def bootstrap_fits(
    models: Sequence[SignalPlusBackground], data: Sequence[Dataset], options: AskOptions
) -> tuple[Profiler, ...]:
    """The fits with each bootstrap alone, none where there is only one.

    Args:
        models: Of all categories.
        data: The events that are fitted, of each category.
        options: How the bootstraps are combined.

    Raises:
        FitError: A fit did not converge.
    """
    if all(len(c.pdf.flow.bootstraps) == 1 for model in models for c in model.components):
        return ()
    if options.combine == "nuisance":
        return redrawn_profilers(list(models), list(data))
    return bootstrap_profilers(list(models), list(data))


def with_training(
    models: Sequence[SignalPlusBackground],
    data: Sequence[Dataset],
    members: tuple[Profiler, ...],
    options: AskOptions,
    *,
    inputs: Mapping[str, Inputs],
    seed: int,
) -> tuple[list[SignalPlusBackground], float | None, float | None]:
    """The models that are fitted, with what the training adds to the error and to the yield, in events.

    Args:
        models: Of all categories, as they were composed.
        data: The events that are fitted, of each category.
        members: The fits of the bootstraps.
        options: How the bootstraps are combined.
        inputs: Events of each category by its name.
        seed: Seed of the measurement, from which those of the trainings follow.

    Returns:
        The models, the error and the bias; these as they came, None and None where the training is no nuisance.

    Raises:
        FitError: A fit did not converge.
    """
    if options.combine != "nuisance":
        return list(models), None, None
    taught: dict[str, Taught] = {}
    for category, part in inputs.items():
        for name, sample, which in (
            ("background", part.training, Stream.BACKGROUND),
            ("signal", part.signal, Stream.SIGNAL),
        ):
            taught[name] = Taught(sample.events, stream_seed(seed, which, category))
    sigma, bias = training_error(members), training_bias(list(models), list(data), taught=taught, seed=seed)
    return with_training_error(models, sigma, bias=bias or 0.0), sigma, bias


@dataclass(frozen=True)
class Others:
    """The falling shapes but the best, as they are fitted; see `hisigma_zfit.measurement.falling`.

    Attributes:
        models: Of each shape those of all categories, with the error of the training.
        members: The fits of the bootstraps with each shape; empty where the combination does not ask them.
    """

    models: tuple[list[SignalPlusBackground], ...] = ()
    members: tuple[tuple[Profiler, ...], ...] = ()


def others_of(
    shapes: Sequence[Choice],
    options: AskOptions,
    data: Sequence[Dataset],
    *,
    sigma: float | None,
    bias: float | None,
) -> Others:
    """Prepare the falling shapes but the first.

    The error of the training is that of the features' densities, and taken from the fits with the best shape.

    Args:
        shapes: All shapes, the best first.
        options: How the bootstraps are combined.
        data: The events that are fitted, of each category.
        sigma: What the training adds to the error, in units of the parameter of interest; None where it is none of it.
        bias: What was subtracted for it.

    Raises:
        FitError: A fit did not converge.
    """
    rest = [list(choice.models) for choice in shapes[1:]]
    asked = options.combine in {"envelope", "discrete"}
    members = tuple(bootstrap_fits(models, data, options) for models in rest) if asked else ()
    if sigma is not None:
        rest = [with_training_error(models, sigma, bias=bias or 0.0) for models in rest]
    return Others(tuple(rest), members)


def combine(
    nominal: Profiler,
    models: Sequence[SignalPlusBackground],
    data: Sequence[Dataset],
    members: tuple[Profiler, ...],
    training: Dataset,
    options: AskOptions,
) -> Combination:
    """What a measurement reports: its trained members in one answer.

    Args:
        nominal: Profile of the models that were fitted.
        models: These, of all categories.
        data: The events that were fitted, of each category.
        members: The fits of the bootstraps.
        training: Events that the background of the first category was trained with.
        options: How they are combined.
    """
    weighted = None
    if options.combine == "weights":
        # Gaussian weights: exact ones would go through all events of the training at every step of the fit
        weighted = weights_profiler(models[0], data[0], training, term="gaussian")
    return combination(options.combine, nominal, members, weighted=weighted, penalties=options.penalties or None)


def ask(
    result: Any,
    data: Sequence[Dataset],
    inputs: Mapping[str, Inputs],
    options: AskOptions,
    *,
    members: tuple[Profiler, ...],
    shapes: Sequence[Choice],
    others: Others,
    weighted: bool = False,
    seed: int,
) -> Answers:
    """Answer every question that a measurement is asked.

    Args:
        result: FitResult of the models of all categories with the mixture of all trained members.
        data: The events that were fitted, of each category.
        inputs: All events of each category by its name, for what the training has seen and has not.
        options: How the bootstraps are combined.
        members: Their fits.
        shapes: The falling shapes with the models as they were composed, the best first, which `result` has.
        others: The others.
        weighted: Whether the simulation has weights, which tell how much signal it expects.
        seed: Seed of every random step.

    Raises:
        FitError: A fit did not converge, or a fitted shape is no density.
    """
    models: list[SignalPlusBackground] = list(result.loss.model)
    first, events = next(iter(inputs.values())), list(data)
    poi = str(models[0].poi.name)
    profiler = Profiler.of(result, poi)
    if len(shapes) == 1:
        combined = combine(profiler, models, events, members, first.training.events, options)
    else:
        rest = (Profiler(ExtendedNLL(other, events), poi) for other in others.models)
        combined = shape_envelope(
            options.combine,
            [profiler, *rest],
            [members, *others.members],
            penalties=[choice.penalty for choice in shapes],
            member_penalties=options.penalties or None,
        )
    for each in combined.profilers:
        require_positive(each.loss.model, each.loss.parameters, each.minimum.theta)
    without = _mass_only(shapes, events, poi)
    returned = response(profiler, inputs, seed=seed)
    asimov = _asimov_sample(profiler, seed=seed)
    values, scan = _summarise(result, profiler, combined, members, without, asimov=asimov, seed=seed)
    if len(shapes) > 1:
        values["falling"] = shape_fits(combined, shapes, scan.values)
        best = tuple(shapes[combined.shape_at(float(value))].name for value in scan.values)
        scan = replace(scan, shapes=best)
    simulated = sum(part.size("signal") for part in inputs.values()) if weighted else None
    signals = {"fitted": profiler.best} | ({} if simulated is None else {"simulation": simulated})
    expected = expectations(profiler, asimov, signals, cl=0.95, seed=stream_seed(seed, Stream.LIMIT))
    samples = {
        category: sample_model(result, seed=stream_seed(seed, Stream.SAMPLE, category), category=k)
        for k, category in enumerate(inputs)
    }
    fitted = binned_models(profiler, samples)
    shown = [(category, name) for category, part in inputs.items() for name in (str(part.mass.obs[0]), *part.features)]
    enriched: dict[str, Any] = {"bins": 20, "region": first.region, "signal_efficiency": _ENRICHED_EFFICIENCY}
    return Answers(
        values,
        returned,
        scan,
        tuple(_of(category, fitted[category].project(name)) for category, name in shown),
        tuple(_of(category, fitted[category].project(name, **enriched)) for category, name in shown),
        prefit_projections(profiler, data, inputs, samples, signal=simulated),
        review(profiler, data, inputs, fitted, expected=expected, seed=seed),
    )


def _mass_only(shapes: Sequence[Choice], data: Sequence[Dataset], poi: str) -> Combination:
    """The fits without the features, and so without an error of what was learned."""
    profilers = [
        Profiler(ExtendedNLL([model.mass_only() for model in choice.models], list(data)), poi) for choice in shapes
    ]
    if len(profilers) == 1:
        return combination("mixture", profilers[0])
    return shape_envelope("mixture", profilers, penalties=[choice.penalty for choice in shapes])


def _alone(combined: Combination) -> FitSummary:
    """Value, error and significance of a fit; of several shapes the error is half of the interval."""
    if len(combined.profilers) == 1:
        (only,) = combined.profilers
        return FitSummary(only.best, only.error, discovery(only, only.name).z)
    found = combined.interval(cl=ONE_SIGMA)
    return FitSummary(found.value, found.error, combined.discovery().z)


def _asimov_sample(profiler: Profiler, *, seed: int) -> Any:
    """Events of Asimov sets of the fitted model, made once; None where none can be made."""
    try:
        return sample_of(
            profiler.loss, theta=profiler.minimum.theta, events=20_000, seed=stream_seed(seed, Stream.LIMIT)
        )
    except (InputError, FitError):
        return None  # `background_t` says why


def _of(category: str, projection: Projection) -> Projection:
    """The same with the category among the words that say which events are shown."""
    if not category:
        return projection
    selection = ", ".join(filter(None, (category, projection.selection)))
    return replace(projection, category=category, selection=selection)


def _summarise(
    result: Any,
    profiler: Profiler,
    combined: Combination,
    members: tuple[Profiler, ...],
    mass_only: Combination,
    *,
    asimov: Any,
    seed: int,
) -> tuple[dict[str, Any], LikelihoodScan]:
    """Answers of the combined likelihood, with the nominal and the mass-only fit beside it."""
    one, two = combined.interval(cl=ONE_SIGMA), combined.interval(cl=0.95)
    found = combined.discovery()
    grid = _scan_grid(profiler, one.lower, one.upper)
    constrained = [p.name for p in profiler.loss.parameters if getattr(p, "constraint_term", None) is not None]
    statistical = Profiler(profiler.loss, profiler.name, held=constrained) if constrained else profiler
    scan = combined.scan(grid, statistical=statistical.scan(grid), reference=mass_only.scan(grid).combined)
    if combined.method == "nuisance":
        # what is combined is one profile; beside it those whose spread is the nuisance
        scan = replace(scan, members=np.stack([member.scan(grid) for member in members]))
    stat_only = Estimate(profiler.best, profiler.error_without(constrained))
    nominal = FitSummary(profiler.best, profiler.error, discovery(profiler, profiler.name).z)
    # drawn from the average of all members, which the other combinations have no part in
    own = asimov if combined.profilers == (profiler,) else None
    limit = combined.upper_limit(cl=0.95, seed=stream_seed(seed, Stream.LIMIT), sample=own)
    values = {
        "poi": profiler.name,
        "value": one.value,
        "error": one.error,
        "interval_68": (one.lower, one.upper),
        "interval_95": (two.lower, two.upper),
        "confidence": ConfidenceLevels(one.cl, two.cl, limit.cl),
        "stat_only": stat_only,
        "nominal": nominal,
        "significance": found,
        "upper_limit_95": limit.limit,
        "parameters": {
            p.name: Estimate(float(v["value"]), float(v["hesse"]["error"])) for p, v in result.params.items()
        },
        "mass_only": _alone(mass_only),
        "members": tuple(MemberFit(k, p.best, p.error, discovery(p, p.name).z) for k, p in enumerate(members)),
    }
    return values, scan


def _scan_grid(profiler: Profiler, lower: float, upper: float, points: int = 61) -> Any:
    """Scan points that show the combined interval to about three sigma on both sides."""
    width = 0.5 * (upper - lower)
    centre = 0.5 * (upper + lower)
    reach = max(3.2 * width, 3.2 * profiler.error)
    return np.linspace(centre - reach, centre + reach, points)
