"""From files to a validation in a run folder.

result.json                      the `Validation`
jobs/NAME.json                   every finished job, at once
report.html, validation.pdf      the page
table.txt, figures/              the same in parts
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data.memory import mounted
from hisigma_zfit.data.region import beside
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.elsewhere import trained_elsewhere
from hisigma_zfit.measurement.in_memory import with_addresses
from hisigma_zfit.measurement.inputs import input_digests, input_roles, read
from hisigma_zfit.report import validation_page
from hisigma_zfit.report.style import presented
from hisigma_zfit.results import ClosureReport, Presentation, RetrainedFit, Spectrum, Validation
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity
from hisigma_zfit.runs.redrawing import write_words
from hisigma_zfit.runs.stages import Stages
from hisigma_zfit.runs.stored import RESULT
from hisigma_zfit.stored_files import read_text
from hisigma_zfit.validation import verdict
from hisigma_zfit.validation.material import collect
from hisigma_zfit.validation.options import ValidateOptions
from hisigma_zfit.validation.plan import make_plan
from hisigma_zfit.validation.stored import TASK, ValidationResults, load_validation
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hisigma_zfit.validation.material import Material
    from hisigma_zfit.validation.plan import Job

__all__ = ["TASK", "load_validation", "validate"]

_log = logging.getLogger(__name__)

_STAGES = ("read", "reference", "jobs", "draw")
_BINS = 40  # of the mass, over the whole range


def validate(
    *,
    out: str | Path,
    config: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    scheduler: Any = None,
    **options: Any,
) -> Validation:
    """Try a measurement on the user's own files without looking at the data of the signal region.

    See `hisigma_zfit.validation` for what is tried, `hisigma_zfit.validation.material` for what becomes of the events
    and `hisigma_zfit.validation.verdict` for the thresholds.  Each job is a measurement, trained from nothing; with the
    default options there are eleven or twelve, and one training of the reference.  A finished job is kept at once, and
    an interrupted validation goes on when it is called again; a complete one is read back.

    Args:
        out: The run folder.
        config: YAML or JSON with options, such as that of the measurement, which `options` override.
        quiet: Do not announce the stages and jobs on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine; a training uses several cores by itself.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.
        **options: See `ValidateOptions`.  In the place of a file may be a table, as for `measure`.

    Returns:
        The validation, as in the folder's ``result.json``.

    Raises:
        InputError: Files, columns or options are wrong; nothing is left half-written.
        FitError: The reference could not be fitted, or a worker died.

    Example:
        >>> import tempfile
        >>> example = hz.examples
        >>> files = {"data": example.path("events.root"), "signal": example.path("simulation.root")}
        >>> columns = {"mass": "m", "range": example.MASSES, "features": ["pt"], "signal_region": (118, 132)}
        >>> quick = {"preset": "quick", "members": 1, "bootstraps": 2}
        >>> few = {"windows": 2, "strengths": (0, 2), "variants": ()}
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     found = hz.validate(out=f"{folder}/out", **files, **columns, **quick, **few)
        >>> found.spurious.n, found.spurious.quoted > 0  # doctest: +SKIP
        (2, True)
    """
    if processes < 1:
        raise InputError.from_parts(expected="processes of 1 or more", got=str(processes), do="correct it")
    plain, events = with_addresses(options)
    settings = ValidateOptions.load(config, **plain)
    with mounted(events):
        return _validated(settings, out, quiet=quiet, overwrite=overwrite, processes=processes, scheduler=scheduler)


def _validated(
    settings: ValidateOptions, out: str | Path, *, quiet: bool, overwrite: bool, processes: int, scheduler: Any
) -> Validation:
    measured = settings.measured()
    identity = Identity(TASK, input_digests(measured), settings.numbers(), roles=input_roles(measured))
    with RunFolder.open(out, identity, overwrite=overwrite) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            return load_validation(run.path)
        stages = Stages(_STAGES, quiet=quiet, counting=("read", "reference", "jobs"))
        with stages("read"):
            seen = read(measured.model_copy(update={"blind": True}))
            material = collect(seen, measured, seed=settings.seed)
            jobs = make_plan(settings, material.sidebands[settings.mass], leaks=material.signal_outside > verdict.LEAKS)
        from hisigma_zfit.validation.jobs import train_reference  # TensorFlow, for which a mistake need not wait

        with stages("reference"), trained_elsewhere(processes=processes, scheduler=scheduler):
            material, closure = train_reference(material, run.member_folder)
        with stages("jobs"):
            fits = _run(run, material, jobs, stages, processes=processes, scheduler=scheduler)
        result = _summary(settings, identity, material, fits, closure, stages)
        run.write_text("config.yaml", settings.document())
        words = Presentation(**settings.figure_words())
        write_words(run.folder, words)
        with stages("draw"), presented(words):
            run.save_page(ValidationResults(result, words))
            run.write_bytes("validation.pdf", validation_page.as_pdf(result))
        run.write_text("table.txt", validation_page.as_text(result) + "\n")
        run.write_json(f"{RESULT}.json", result)
    return result


def _run(
    run: RunFolder, material: Material, jobs: Sequence[Job], stages: Stages, *, processes: int, scheduler: Any
) -> tuple[RetrainedFit, ...]:
    """Every job's fit, in the order of the plan: those that are in the folder already, and the others."""
    from hisigma_zfit.validation.jobs import run_job, run_job_apart

    done = {job.name: fit for job in jobs if (fit := _stored(run, job)) is not None}
    missing = [(job,) for job in jobs if job.name not in done]
    if done and missing:
        _log.info("going on with %d of %d jobs", len(missing), len(jobs))
    beside = scheduler is None and processes > 1 and len(missing) > 1
    function = run_job_apart if beside else run_job
    for (job,), fit in finished(function, material, missing, processes=processes, scheduler=scheduler, name="jobs"):
        run.write_json(f"jobs/{job.name}.json", fit)
        done[job.name] = fit
        stages.say(f"{len(done)}/{len(jobs)} {job.name}: {fit.failure or f'{fit.value:.1f} +- {fit.error:.1f}'}")
    return tuple(done[job.name] for job in jobs)


def _stored(run: RunFolder, job: Job) -> RetrainedFit | None:
    try:
        return RetrainedFit.from_json(read_text(run.folder / "jobs" / f"{job.name}.json"))
    except (OSError, InputError):
        return None  # not there, or not whole: it is done again


def _summary(
    settings: ValidateOptions,
    identity: Identity,
    material: Material,
    fits: tuple[RetrainedFit, ...],
    closure: ClosureReport,
    stages: Stages,
) -> Validation:
    spurious = verdict.spurious_signal(fits, material.sigma)
    slope = verdict.response(fits)
    checks = verdict.all_checks(fits, spurious, slope, closure, signal_outside=material.signal_outside)
    state, words = verdict.verdict(checks, spurious)
    return Validation(
        poi=settings.poi,
        region=settings.signal_region,
        state=state,
        verdict=words,
        spurious=spurious,
        response=slope,
        signal_outside=material.signal_outside,
        checks=checks,
        jobs=fits,
        closure=closure,
        spectrum=_spectrum(material),
        left_out=settings.left_out(),
        timings_s=stages.timings(),
        seed=settings.seed,
        inputs=dict(identity.inputs),
        versions=dict(identity.versions),
        options=dict(identity.options),
    )


def _spectrum(material: Material) -> Spectrum:
    """Masses of the sidebands in bins of about one size, which end at the signal region and at masked windows."""
    options = material.options
    low, high = options.range
    masses, edges = material.sidebands[options.mass], []
    for side in beside(low, high, (options.region, *options.masked_windows)):
        grid = np.linspace(*side, max(round(_BINS * (side[1] - side[0]) / (high - low)), 1) + 1)
        edges.append(np.stack([grid[:-1], grid[1:]], axis=1))
    bins = np.concatenate(edges)
    # the last edge belongs to the range
    counts = [np.sum((masses >= a) & ((masses < b) | ((b == high) & (masses == high)))) for a, b in bins]
    expected = [material.shape.expected(float(a), float(b)) for a, b in bins]
    return Spectrum(options.mass, bins, np.array(counts, dtype=np.float64), np.array(expected))
