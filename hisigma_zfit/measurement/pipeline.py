"""From files to a measurement: the seven steps of paper (arXiv:2506.06438) section 2.1 in one call."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.data.memory import mounted
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.elsewhere import trained_elsewhere
from hisigma_zfit.measurement.blind import measure_blind
from hisigma_zfit.measurement.in_memory import with_addresses
from hisigma_zfit.measurement.inputs import CLOSED, input_digests, input_roles
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.measurement.preparation import prepare
from hisigma_zfit.measurement.stored import TASK, MeasurementResults, load_any, load_results
from hisigma_zfit.results import EventCounts, Measurement, Presentation
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hisigma_zfit.data.account import ReadReport
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.results import BlindMeasurement, Unblinding

__all__ = ["load_model", "load_models", "measure", "measure_open"]

_log = logging.getLogger(__name__)

_STAGES = ("read", "train", "score", "fit", "draw")


def measure(
    *,
    out: str | Path,
    config: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    reuse: str | Path | None = None,
    processes: int = 1,
    scheduler: Any = None,
    **options: Any,
) -> Measurement | BlindMeasurement:
    """Measure a signal yield from files, or from events in memory, and keep everything in a run folder.

    An interrupted run resumes when it is called again; a complete one with the same inputs and options is read back.

    Args:
        out: The run folder; its ``config.yaml`` repeats the run.
        config: YAML or JSON with options, which `options` override.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        reuse: A complete run with the same events, seed and training, whose members need not be trained again: to add
            systematic uncertainties to a measurement.
        processes: Worker processes on this machine for the trainings; 1 trains in this one, on all its cores.
        scheduler: Address of a Dask scheduler, or a cluster, whose workers train instead.
        **options: See `MeasureOptions`.  In the place of a file may be a `Dataset`, a pandas DataFrame, an awkward
            array of records or a mapping of names to arrays; columns, cut and weight are expressions of its columns.

    Returns:
        The measurement, as in the folder's ``result.json``; with ``blind=True`` what may be known before the signal
        region is opened, which `hisigma_zfit.measurement.unblind` does later.

    Raises:
        InputError: Files, columns or options are wrong; nothing is left half-written.

    Example:
        >>> import tempfile
        >>> example = hz.examples
        >>> files = {"data": example.path("events.root"), "signal": example.path("simulation.root")}
        >>> columns = {"mass": "m", "range": example.MASSES, "features": example.FEATURES, "signal_region": (118, 132)}
        >>> quick = {"preset": "quick", "members": 1, "bootstraps": 1, "combine": "mixture"}
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     result = hz.measure(out=f"{folder}/out", **files, **columns, **quick)
        >>> abs(result.value - 60) < 3 * result.error  # doctest: +SKIP
        True
    """
    plain, events = with_addresses(options)
    settings = MeasureOptions.load(config, **plain)
    with mounted(events), trained_elsewhere(processes=processes, scheduler=scheduler):
        if settings.blind:
            return measure_blind(settings, out=out, quiet=quiet, overwrite=overwrite, reuse=reuse)
        return measure_open(settings, out=out, quiet=quiet, overwrite=overwrite, reuse=reuse)


def measure_open(
    settings: MeasureOptions,
    *,
    out: str | Path,
    quiet: bool = True,
    overwrite: bool = False,
    reuse: str | Path | None = None,
    unblinding: Callable[[], Unblinding] | None = None,
) -> Measurement:
    """Measure with data in the signal region; see `measure`.

    Args:
        settings: All options, of a run that is not blind.
        out: The run folder.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        reuse: A complete run whose members need not be trained again.
        unblinding: Called before anything is read; makes the record of opening the signal region.
    """
    identity = Identity(TASK, input_digests(settings), settings.numbers(), roles=input_roles(settings))
    with RunFolder.open(out, identity, overwrite=overwrite) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            return load_results(run.path).measurement
        record = None if unblinding is None else unblinding()
        if reuse is not None:
            run.take_members(reuse)
        stages = Stages(_STAGES, quiet=quiet, counting=("read", "train"))
        results = _results(settings, identity, run, stages)
        results = replace(results, measurement=replace(results.measurement, unblinding=record))
        run.write_text("config.yaml", settings.document())
        with stages("draw"):
            run.save_page(results)
        # drawing is a part of the time that it took
        results = replace(results, measurement=replace(results.measurement, timings_s=stages.timings()))
        run.write_text("table.txt", results.table() + "\n")
        run.write_results(results.stored())
    return results.measurement


def load_model(folder: str | Path, category: str = "") -> SignalPlusBackground:
    """Rebuild the fitted model of a run: densities, shapes and yields at their best values, without the data.

    Args:
        folder: A complete run folder; the model of a blind one is that of its sidebands, without signal.
        category: Which of the models of a run with several categories.

    Raises:
        InputError: The folder is no such run, has no model in it, or has several, of which this is none.
    """
    load_any(folder)  # says what is there if it is no run, before anything imports TensorFlow
    place = Path(folder) / "model"
    known = sorted(path.parent.name for path in place.glob("*/model.json"))
    if category not in (known or [""]):
        raise InputError.from_parts(
            expected=f"a run of one category, or one of {', '.join(known)}" if known else "no category of this run",
            got=f"{category!r} for '{folder}'" if category else f"'{folder}' with {len(known)} categories",
            do="name one, as in load_model(folder, category)" if known else "leave it out",
        )
    from hisigma_zfit.model.stored import load_model as load

    return load(place / category)


def load_models(folder: str | Path) -> dict[str, SignalPlusBackground]:
    """Rebuild the fitted models of all categories of a run; what they share is one parameter.

    Args:
        folder: A complete run folder.

    Returns:
        The models by category; that of a run without categories by the empty name.

    Raises:
        InputError: The folder is no such run, or has no model in it.
    """
    load_results(folder)
    from hisigma_zfit.model.stored import load_models as load

    return load(Path(folder) / "model")


def _results(settings: MeasureOptions, identity: Identity, run: RunFolder, stages: Stages) -> MeasurementResults:
    """All seven steps."""
    prepared = prepare(settings, run, stages)
    # only now: these import TensorFlow, which a mistake in the files need not wait for
    from threadpoolctl import threadpool_limits

    from hisigma_zfit.fitting.minimizer import fit_physical
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.answers import ask, bootstrap_fits, others_of, with_training
    from hisigma_zfit.measurement.closing import closure
    from hisigma_zfit.measurement.densities import choices
    from hisigma_zfit.measurement.falling import best_first
    from hisigma_zfit.measurement.falling import choices as falling_choices
    from hisigma_zfit.model.stored import save_model

    inputs, densities = prepared.inputs, prepared.densities
    # products of vectors: a second thread waits for a core longer than it works
    with stages("score"), threadpool_limits(1, user_api="blas"):
        models, data = prepared.models(), prepared.data()
        checks = closure(inputs, densities, seed=settings.seed)
    with stages("fit"), threadpool_limits(1, user_api="blas"):
        shapes = best_first(falling_choices(models, inputs, settings), data, settings.poi)
        composed = list(shapes[0].models)
        members = bootstrap_fits(composed, data, settings)
        fitted, sigma, bias = with_training(composed, data, members, settings, inputs=inputs, seed=settings.seed)
        result = fit_physical(ExtendedNLL(fitted, data), fitted[0].poi)
        for category, model in zip(models, fitted, strict=True):
            save_model(model, run.folder / "model" / category)
        others = others_of(shapes, settings, data, sigma=sigma, bias=bias)
        answers = ask(
            result,
            data,
            inputs,
            settings,
            members=members,
            shapes=shapes,
            others=others,
            weighted=settings.weight is not None,
            seed=settings.seed,
        )
    measurement = Measurement(
        **answers.values,
        n_events=_counts([events.report for events in data], inputs, settings),
        timings_s=stages.timings(),
        seed=settings.seed,
        inputs=dict(identity.inputs),
        versions=dict(identity.versions),
        options=dict(identity.options),
        closure=checks,
        signal_response=answers.response,
        training_error=sigma,
        training_bias=bias,
        training=choices(densities.values()),
        fit=answers.reviewed.report,
    )
    return MeasurementResults(
        measurement=measurement,
        projections=answers.projections,
        projections_enriched=answers.projections_enriched,
        projections_prefit=answers.projections_prefit,
        shapes=answers.reviewed.shapes,
        tests=answers.reviewed.tests,
        scan=answers.scan,
        histories=prepared.histories,
        presentation=Presentation(**settings.figure_words()),
    )


def _counts(reports: Sequence[ReadReport], inputs: Mapping[str, Inputs], settings: MeasureOptions) -> EventCounts:
    """Events of all categories together: every category has read all of them and dropped those of the others."""
    read_events = reports[0].n_read
    if not settings.categories:
        dropped = dict(reports[0].dropped)
    else:
        dropped = {"in no category": read_events}
        for report, part in zip(reports, settings.parts().values(), strict=True):
            elsewhere = report.dropped.get(f"cut {part.cut}", 0)
            dropped["in no category"] -= read_events - elsewhere
            for reason, n in report.dropped.items():
                if reason != f"cut {part.cut}":
                    dropped[reason] = dropped.get(reason, 0) + n
    read_events -= dropped.pop(CLOSED, 0)  # how many there are in a masked window is not told
    return EventCounts(
        read=read_events,
        used=sum(report.n_used for report in reports),
        dropped=dropped,
        signal_simulation=sum(len(part.signal.events) for part in inputs.values()),
        sideband_training=sum(len(part.training.events) for part in inputs.values()),
    )
