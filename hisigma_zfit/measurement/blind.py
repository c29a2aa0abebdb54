"""What may be said before the signal region is opened: ``hisigma measure --blind``.

The data in the region are dropped where they are read.  Densities are learned from the sidebands as ever; the mass
shape and the number of background events come from a fit to the sidebands alone, and everything that is expected in the
region from Asimov sets of that model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.measurement.inputs import input_digests, input_roles
from hisigma_zfit.measurement.preparation import prepare
from hisigma_zfit.measurement.stored import BLIND_TASK, BlindResults, load_blind
from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.results import BlindCounts, BlindMeasurement, Estimate, Presentation
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.fitting.newton import Minimum
    from hisigma_zfit.inference.forecast import Forecast
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.falling import Choice
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.measurement.preparation import Prepared
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.results import ExpectedMeasurement, Projection

__all__ = ["blind_identity", "measure_blind", "trained_digests"]

_log = logging.getLogger(__name__)

_STAGES = ("read", "train", "score", "fit", "draw")
_WANTED = (3, 5)  # standard deviations of the signals that are looked for


def blind_identity(settings: MeasureOptions) -> Identity:
    """What makes a blind run this run.

    Raises:
        InputError: A file is missing.
    """
    return Identity(BLIND_TASK, input_digests(settings), settings.numbers(), roles=input_roles(settings))


def measure_blind(
    settings: MeasureOptions,
    *,
    out: str | Path,
    quiet: bool = True,
    overwrite: bool = False,
    reuse: str | Path | None = None,
) -> BlindMeasurement:
    """Say what may be known before the signal region is opened, and keep it in a run folder; see `measure`.

    Args:
        settings: All options.
        out: The run folder.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        reuse: A complete run whose members need not be trained again.

    Raises:
        InputError: Files, columns or options are wrong.
        FitError: A fit did not converge.
    """
    identity = blind_identity(settings)
    with RunFolder.open(out, identity, overwrite=overwrite) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            return load_blind(run.path).measurement
        if reuse is not None:
            run.take_members(reuse)
        stages = Stages(_STAGES, quiet=quiet, counting=("read", "train"))
        results = _results(settings, identity, run, stages)
        run.write_text("config.yaml", settings.document())
        with stages("draw"):
            run.save_page(results)
        measurement = dataclasses.replace(results.measurement, timings_s=stages.timings())
        results = dataclasses.replace(results, measurement=measurement)
        run.write_text("table.txt", results.table() + "\n")
        run.write_results(results.stored())
    return results.measurement


def trained_digests(folder: Path) -> dict[str, str]:
    """Digest of the trained members of each density in a run folder, by its name."""
    digests = {}
    for place in sorted((folder / "members").glob("*")):
        whole = hashlib.sha256()
        for file in sorted(path for path in place.rglob("*") if path.is_file()):
            whole.update(f"{file.relative_to(place).as_posix()} {file_digest(file)}\n".encode())
        digests[place.name] = f"sha256:{whole.hexdigest()}"
    return digests


def _results(settings: MeasureOptions, identity: Identity, run: RunFolder, stages: Stages) -> BlindResults:
    prepared = prepare(settings, run, stages)
    # only now: these import TensorFlow, which a mistake in the files need not wait for
    from hisigma_zfit.inference.forecast import Forecast
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.closing import closure, response
    from hisigma_zfit.measurement.densities import choices
    from hisigma_zfit.model.stored import save_model

    seed = settings.seed
    with stages("score"):
        models, data = prepared.models(), prepared.data()
        shapes = _best_shapes(models, data, prepared)
        models = dict(zip(models, shapes[0].models, strict=True)) if shapes else models
        loss = ExtendedNLL(list(models.values()), data)
        checks = closure(prepared.inputs, prepared.densities, seed=seed)
    with stages("fit"):
        theta, covariance, parameters, region_background = _fit_sidebands(loss, settings)
        sidebands = _projections(models, loss, prepared, theta, covariance)
        # fitted weights have much the error of the average
        method = "mixture" if settings.combine == "weights" else settings.combine
        options: dict[str, Any] = {"penalties": settings.penalties or None, "seed": stream_seed(seed, Stream.FORECAST)}
        sigma = None
        if method == "nuisance":
            alone = [model.mass_only() for model in models.values()]
            sigma, loss, theta = _with_training_error(loss, theta, settings.poi, **options)
            options["mass_only"] = alone
        options |= _other_shapes(shapes, data, sigma)
        for category, model in zip(models, loss.model, strict=True):
            save_model(model, run.folder / "model" / category)
        forecast = Forecast(loss, settings.poi, theta, method=method, **options)
        expected = _expected(forecast, prepared)
        limit = forecast.upper_limit(cl=0.95, seed=stream_seed(seed, Stream.LIMIT))
        scan = forecast.scan(expected[-1].signal)
        returned = response(forecast.at(expected[-1].signal).nominal, prepared.inputs, seed=seed)
    measurement = BlindMeasurement(
        poi=settings.poi,
        signal_region=settings.signal_region,
        parameters=parameters,
        region_background=region_background,
        expected=expected,
        upper_limit_95=limit,
        combine=method,
        n_events=_counts(data, prepared),
        timings_s=stages.timings(),
        seed=seed,
        inputs=dict(identity.inputs),
        versions=dict(identity.versions),
        options=dict(identity.options),
        trained=trained_digests(run.folder),
        closure=checks,
        signal_response=returned,
        training_error=sigma,
        training=choices(prepared.densities.values()),
        falling=tuple(choice.name for choice in shapes),
    )
    words = Presentation(**settings.figure_words())
    return BlindResults(measurement, sidebands, scan, prepared.histories, words)


def _best_shapes(models: dict[str, SignalPlusBackground], data: list[Dataset], prepared: Prepared) -> list[Choice]:
    """The falling shapes in the order in which the sidebands like them, with their penalties; none where there is one.

    Their parameters are left where the sidebands have them.
    """
    import zfit

    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.falling import choices as falling_choices

    settings = prepared.settings
    if len(settings.falling) == 1:
        return []
    known = []
    for choice in falling_choices(models, prepared.inputs, settings):
        loss = ExtendedNLL(list(choice.models), data)
        found, free, _ = _sideband_minimum(loss, settings)
        zfit.param.assign_values([loss.parameters[k] for k in free], found.theta[free])
        known.append((2.0 * (found.value + loss.data_constant()) + choice.penalty, choice))
    return [choice for _, choice in sorted(known, key=itemgetter(0))]


def _other_shapes(shapes: list[Choice], data: list[Dataset], sigma: float | None) -> dict[str, Any]:
    """What a forecast is told of several falling shapes: those that are not the first, and all penalties.

    Args:
        shapes: The best first; none where there is one.
        data: Events of all categories.
        sigma: Error of the training, where it is a nuisance.
    """
    from hisigma_zfit.inference.training_error import with_training_error
    from hisigma_zfit.likelihood.nll import ExtendedNLL

    if not shapes:
        return {}
    models = [list(choice.models) for choice in shapes[1:]]
    if sigma is not None:
        models = [with_training_error(own, sigma) for own in models]
    return {
        "shapes": [ExtendedNLL(own, data) for own in models],
        "penalties_of_shapes": [choice.penalty for choice in shapes],
    }


def _fit_sidebands(loss: ExtendedNLL, settings: MeasureOptions) -> tuple[Array, Array, dict[str, Estimate], Estimate]:
    """Fit everything but the signal, which is none, to the sidebands, and leave the parameters there.

    Backgrounds from simulation of which nothing is known beforehand stay at what was expected: they peak where the
    sidebands do not see them.

    Returns:
        All parameters, their covariance, those that were fitted, and the background in the signal region.
    """
    import zfit

    from hisigma_zfit.likelihood.protocol import names_of
    from hisigma_zfit.measurement.falling import require_positive

    found, free, inside = _sideband_minimum(loss, settings)
    require_positive(loss.model, loss.parameters, found.theta)
    names = names_of(loss.parameters)
    zfit.param.assign_values([loss.parameters[k] for k in free], found.theta[free])
    covariance = found.covariance()
    parameters = {names[k]: Estimate(float(found.theta[k]), float(np.sqrt(covariance[k, k]))) for k in free}
    numbers = [number.evaluate(found.theta) for number in inside]
    slope, known = sum(number.gradient for number in numbers), np.nan_to_num(covariance)
    background = Estimate(sum(number.value for number in numbers), float(np.sqrt(slope @ known @ slope)))
    return found.theta, known, parameters, background


def _sideband_minimum(loss: ExtendedNLL, settings: MeasureOptions) -> tuple[Minimum, list[int], tuple[Any, ...]]:
    """The fit of the sidebands, the indices of what floats in it, and what is expected in the region."""
    from hisigma_zfit.fitting.newton import minimise
    from hisigma_zfit.likelihood.outside import outside_likelihood
    from hisigma_zfit.likelihood.protocol import limits_of, names_of

    likelihood, inside = outside_likelihood(loss, settings.region)
    names = names_of(loss.parameters)
    held = {settings.poi, *(f"n_{name}" for name, own in settings.backgrounds.items() if own.uncertainty == "free")}
    free = [k for k, p in enumerate(loss.parameters) if p.floating and names[k] not in held]
    found = minimise(likelihood, likelihood.theta(), free, limits=limits_of(loss.parameters))
    return found.required("the fit of the sidebands"), free, inside


def _with_training_error(loss: ExtendedNLL, theta: Array, poi: str, **options: Any) -> tuple[float, ExtendedNLL, Array]:
    """Spread of the yields that redrawn trainings find in an Asimov set of three sigma, and the likelihood with it."""
    from hisigma_zfit.inference.forecast import Forecast
    from hisigma_zfit.inference.training_error import redrawn_models, training_error, with_training_error
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.likelihood.protocol import names_of

    models: list[Any] = list(loss.model)
    plain = Forecast(loss, poi, theta, method="mixture", members=redrawn_models(models), **options)
    sigma = training_error(plain.at(plain.signal_for(_WANTED[0])).members)
    shifted = ExtendedNLL(with_training_error(models, sigma), list(loss.data))
    known = dict(zip(names_of(loss.parameters), theta, strict=True))
    return sigma, shifted, np.array([known.get(name, 0.0) for name in names_of(shifted.parameters)])


def _expected(forecast: Forecast, prepared: Prepared) -> tuple[ExpectedMeasurement, ...]:
    """What to expect without signal, of signals of some sigma, and of those that simulation or user name."""
    settings = prepared.settings
    signals = {"none": 0.0} | {f"{z} sigma": forecast.signal_for(z) for z in _WANTED}
    if settings.weight is not None:
        events = sum(part.size("signal") for part in prepared.inputs.values())
        signals["simulation"] = events / settings.events_per_unit
    if settings.inject is not None:
        signals["injected"] = settings.inject
    return tuple(forecast.expect(name, signal) for name, signal in signals.items())


def _projections(
    models: Mapping[str, SignalPlusBackground],
    loss: ExtendedNLL,
    prepared: Prepared,
    theta: Array,
    covariance: Array,
) -> tuple[Projection, ...]:
    """Every observable of the sidebands in data and in the model that was fitted to them."""
    from hisigma_zfit.inference.propagation import BinnedModel
    from hisigma_zfit.model.projections import draw_model

    shown = []
    for (category, model), data in zip(models.items(), loss.data, strict=True):
        part: Any = prepared.inputs[category]
        seed = stream_seed(prepared.settings.seed, Stream.SAMPLE, category)
        sample = draw_model(model, data, seed=seed, outside=part.region)
        binned = BinnedModel(model, sample, loss.parameters, theta, theta, covariance)
        words = ", ".join(filter(None, (category, "sidebands")))
        shown += [
            dataclasses.replace(binned.project(name), selection=words, category=category)
            for name in (str(part.mass.obs[0]), *part.features)
        ]
    return tuple(shown)


def _counts(data: list[Dataset], prepared: Prepared) -> BlindCounts:
    """Events of all categories together; what was read is not told, because the signal region is in it."""
    parts = prepared.inputs.values()
    lost = sum(len(part.data) - len(events) for part, events in zip(parts, data, strict=True))
    return BlindCounts(
        sidebands=sum(len(events) for events in data),
        dropped={"outside the domain of the background density": lost} if lost else {},
        signal_simulation=sum(len(part.signal.events) for part in parts),
        sideband_training=sum(len(part.training.events) for part in parts),
    )
