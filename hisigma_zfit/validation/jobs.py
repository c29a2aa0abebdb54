"""What is trained and fitted: the reference once, and every job by itself.  This module needs TensorFlow."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.density import diagnostics
from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.minimizer import fit_physical
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.gof import goodness_of_fit
from hisigma_zfit.inference.training_error import NUISANCE
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.measurement.answers import bootstrap_fits, combine, with_training
from hisigma_zfit.measurement.closing import closure
from hisigma_zfit.measurement.composition import compose, share_parameters
from hisigma_zfit.measurement.densities import require_learnable, train
from hisigma_zfit.measurement.inputs import Inputs, Sample
from hisigma_zfit.results import ClosureReport, Estimate, RetrainedFit
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.validation.material import Material, modified
from hisigma_zfit.validation.plan import Job, Use, use_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["run_job", "run_job_apart", "train_reference"]

_SIGMA_DRAWS = 8  # background-only pseudo-experiments, whose errors are averaged
_MIN_TESTED = 50  # events that a goodness of fit needs
_PERMUTATIONS = 299
_MEMBER_EVENTS = 20_000  # events of the conditional test times members


def train_reference(material: Material, checkpoints: Callable[[str], Path]) -> tuple[Material, ClosureReport]:
    """Train on the sidebands as they are, and find the error that background alone lets expect.

    Args:
        material: The events.
        checkpoints: Makes the folder where the training of that name keeps its members; an interrupted one goes on.

    Returns:
        The material with its reference, and what held-out sidebands say of it.

    Raises:
        InputError: Events from which no density can be learned.
        FitError: A fit of pseudo-experiments did not converge.
    """
    options = material.options
    inputs = Inputs(
        material.mass,
        options.region,
        options.features,
        material.sidebands,
        Sample(replace(material.training, region=options.region, mass=options.mass), {}),
        Sample(material.signal, {}),
        {},
        windows=options.masked_windows,
    )
    require_learnable(inputs)
    densities = train(inputs, options, value=options.value, checkpoints=checkpoints)
    checks = closure({"": inputs}, {"": densities}, seed=options.seed)
    flows = densities.background.flow, densities.signal.flow
    known = replace(material, reference=(flows[0].pack(), flows[1].pack()))
    shared = share_parameters(options.poi, (), {}, [inputs])
    model = compose(inputs, densities, shared, options, seed=options.seed)
    errors = []
    for number in range(_SIGMA_DRAWS):
        seed = use_seed(options.seed, Use.REFERENCE, number)
        drawn = modified(known, Job("", "injection", seed, seed), flows[0]).inputs.data
        errors.append(Profiler(ExtendedNLL(model, _inside(drawn, flows[0], options)), options.poi).error)
    return replace(known, sigma=float(np.mean(errors))), checks


def run_job(material: Material, job: Job) -> RetrainedFit:
    """Train and fit one modified input.

    Args:
        material: The events, with their reference.
        job: What to do.

    Returns:
        The fit; one that did not converge has no numbers and says why.

    Raises:
        InputError: More signal is to be injected than there is, or a density cannot be learned.
    """
    truth = material.flows()
    change = modified(material, job, truth[0])
    inputs, options = change.inputs, _options(material.options, job)
    masses = inputs.data[options.mass]
    facts: dict[str, Any] = {
        "name": job.name,
        "kind": job.kind,
        "region": (inputs.region.lower, inputs.region.upper),
        "strength": job.strength,
        "injected": change.injected,
        "variant": job.variant,
        "partner": job.partner,
        "n_data": len(masses),
        "n_inside": int(inputs.region.contains(masses).sum()),
        "n_training": len(inputs.training.events),
        "n_leaked": change.leaked,
    }
    try:
        found = _fitted(inputs, options, truth if job.window is None else None)
        own = {} if job.kind != "window" else _looked_at(found, inputs, options)
    except FitError as error:
        nothing = Estimate(np.nan, np.nan)
        numbers: dict[str, Any] = dict.fromkeys(("value", "error", "z", "unit"), np.nan)
        numbers |= {"statistical": nothing, "truth": None}
        return RetrainedFit(**facts, **numbers, failure=" ".join(str(error).split()))
    unit = material.sigma if job.window is None else found.numbers["statistical"].error
    return RetrainedFit(**facts, **found.numbers, **own, unit=unit)


def run_job_apart(material: Material, job: Job) -> RetrainedFit:
    """The same for one of several processes, which must not all draw their bars on one terminal."""
    with contextlib.redirect_stderr(_NoTerminal()):
        return run_job(material, job)


class _NoTerminal:
    """stderr that is no terminal."""

    def write(self, text: str) -> int:
        assert sys.__stderr__ is not None
        return sys.__stderr__.write(text)

    def flush(self) -> None:
        """Nothing is kept here."""

    def isatty(self) -> bool:
        return False


def _options(options: MeasureOptions, job: Job) -> MeasureOptions:
    changes: dict[str, Any] = {"seed": job.training_seed}
    if job.variant in {"spline", "maf"}:
        changes["flow"] = job.variant
    elif job.variant not in {"", "seed"}:
        changes["preset"] = job.variant
    return options.model_copy(update=changes)


@dataclass(frozen=True)
class _Found:
    """A fit with its model and density."""

    numbers: dict[str, Any]
    result: Any
    background: ConditionalFlow


def _inside(data: Dataset, flow: ConditionalFlow, options: MeasureOptions) -> Dataset:
    """The events that a density can be asked about."""
    return data.select(flow.inside(data.array(options.features), data[options.mass]), reason="outside the domain")


def _fitted(inputs: Inputs, options: MeasureOptions, truth: tuple[ConditionalFlow, ConditionalFlow] | None) -> _Found:
    """The measurement, and the same events with the densities that they were drawn from."""
    require_learnable(inputs)
    with tempfile.TemporaryDirectory() as folder:

        def checkpoints(name: str) -> Path:
            place = Path(folder) / name
            place.mkdir(exist_ok=True)
            return place

        densities = train(inputs, options, value=options.value, checkpoints=checkpoints)
    shared = share_parameters(options.poi, (), {}, [inputs])
    model = compose(inputs, densities, shared, options, seed=options.seed)
    background = densities.background.flow
    data = _inside(inputs.data, background, options)
    members = bootstrap_fits([model], [data], options)
    models, sigma, _ = with_training([model], [data], members, options, inputs={"": inputs}, seed=options.seed)
    held = () if sigma is None else (NUISANCE,)
    result = fit_physical(ExtendedNLL(models, [data]), models[0].poi)
    nominal = Profiler.of(result, options.poi)
    combined = combine(nominal, models, [data], members, inputs.training.events, options)
    interval = combined.interval(cl=ONE_SIGMA)
    numbers = {
        "value": interval.value,
        "error": 0.5 * (interval.upper - interval.lower),
        "z": combined.discovery().z,
        "statistical": Estimate(nominal.best, nominal.error_without(held)),
        "truth": None if truth is None else _true_fit(model, truth, inputs.data, options),
    }
    return _Found(numbers, result, background)


def _true_fit(
    model: SignalPlusBackground,
    truth: tuple[ConditionalFlow, ConditionalFlow],
    data: Dataset,
    options: MeasureOptions,
) -> Estimate:
    background, signal = truth
    true = model.with_flows({"background": background, "signal": signal})
    profiler = Profiler(ExtendedNLL(true, _inside(data, background, options)), options.poi)
    return Estimate(profiler.best, profiler.error)


def _looked_at(found: _Found, inputs: Inputs, options: MeasureOptions) -> dict[str, Any]:
    """Whether density and whole model describe the window's data, which trained neither."""
    own: dict[str, Any] = {}
    seeds = [use_seed(options.seed, Use.WINDOW, 2, k) for k in range(2)]
    inside = inputs.data.select(inputs.region.contains(inputs.data[options.mass]), reason="outside the window")
    if len(_inside(inside, found.background, options)) >= diagnostics.MIN_EVENTS:
        seen = diagnostics.closure(
            found.background,
            inside,
            seed=seeds[0],
            classifier=False,
            pit_events=max(_MEMBER_EVENTS // len(found.background.members), diagnostics.MIN_EVENTS),
        )
        own = {"flagged": seen.flagged, "misfit": {f.feature: f.conditional_misfit for f in seen.features}}
    if len(inside) >= _MIN_TESTED:
        tested = goodness_of_fit(
            found.result, method="energy", region=inputs.region, permutations=_PERMUTATIONS, seed=seeds[1]
        )
        own["p_value"] = tested.p_value
    return own
