"""From files to a measurement: the seven steps of paper (arXiv:2506.06438) section 2.1 in one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.measurement.inputs import input_digests, read
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.measurement.stored import TASK, MeasurementResults, load_results
from hisigma_zfit.report import tables
from hisigma_zfit.report.figures import measurement_figures
from hisigma_zfit.results import EventCounts, Measurement
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["load_model", "measure"]

_log = logging.getLogger(__name__)

_STAGES = ("read", "train", "score", "fit", "draw")


def measure(
    *,
    out: str | Path,
    config: str | Path | None = None,
    quiet: bool = True,
    reuse: str | Path | None = None,
    **options: Any,
) -> Measurement:
    """Measure a signal yield from files and keep everything in a run folder.

    An interrupted run resumes when it is called again; a complete one with the same inputs and options is read back.

    Args:
        out: The run folder; its ``config.yaml`` repeats the run.
        config: YAML or JSON with options, which `options` override.
        quiet: Do not announce the stages on stderr.
        reuse: A complete run with the same events, seed and training, whose members need not be trained again: to add
            systematic uncertainties to a measurement.
        **options: See `MeasureOptions`.

    Returns:
        The measurement, as in the folder's ``result.json``.

    Raises:
        InputError: Files, columns or options are wrong; nothing is left half-written.
    """
    settings = MeasureOptions.load(config, **options)
    identity = Identity(TASK, input_digests(settings), settings.numbers())
    with RunFolder.open(out, identity) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            return load_results(run.path).measurement
        if reuse is not None:
            run.take_members(reuse)
        stages = Stages(_STAGES, quiet=quiet, counting=("read", "train"))
        results = _results(settings, identity, run, stages)
        with stages("draw"):
            for name, figure in measurement_figures(
                results.measurement,
                results.projections,
                results.projections_enriched,
                results.scan,
                results.histories,
            ).items():
                run.save_figure(name, figure)
        run.write_text("config.yaml", settings.document())
        run.write_text("table.txt", tables.measurement(results.measurement) + "\n")
        run.write_results(results.stored())
    return results.measurement


def load_model(folder: str | Path) -> SignalPlusBackground:
    """Rebuild the fitted model of a run: densities, shapes and yields at their best values, without the data.

    Args:
        folder: A complete run folder.

    Raises:
        InputError: The folder is no such run, or has no model in it.
    """
    load_results(folder)  # says what is there if it is no run, before anything imports TensorFlow
    from hisigma_zfit.model.stored import load_model as load

    return load(Path(folder) / "model")


def _results(settings: MeasureOptions, identity: Identity, run: RunFolder, stages: Stages) -> MeasurementResults:
    """All seven steps."""
    with stages("read"):
        inputs = read(settings)
    # only now: these import TensorFlow, which a mistake in the files need not wait for
    from hisigma_zfit.fitting.minimizer import fit
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.answers import ask, closure
    from hisigma_zfit.measurement.composition import compose
    from hisigma_zfit.measurement.densities import train
    from hisigma_zfit.model.stored import save_model

    with stages("train"):
        densities = train(inputs, settings, checkpoints=run.member_folder)
    with stages("score"):
        model = compose(inputs, densities, settings)
        data = inputs.data.select(
            densities.background.inside(inputs.data.array(inputs.features)),
            reason="outside the domain of the background density",
        )
        nominal = ExtendedNLL(model, data)
        checks = closure(inputs, densities, seed=settings.seed)
    with stages("fit"):
        result = fit(nominal)
        save_model(model, run.folder / "model")
        answers = ask(result, model, data, inputs, settings, seed=settings.seed)
    measurement = Measurement(
        **answers.values,
        n_events=EventCounts(
            **data.report.to_dict(), signal_simulation=len(inputs.signal), sideband_training=len(inputs.training)
        ),
        timings_s=stages.timings(),
        seed=settings.seed,
        inputs=dict(identity.inputs),
        versions=dict(identity.versions),
        options=dict(identity.options),
        closure=checks,
        signal_response=answers.response,
    )
    return MeasurementResults(
        measurement=measurement,
        projections=answers.projections,
        projections_enriched=answers.projections_enriched,
        scan=answers.scan,
        histories=tuple(flow.history for flow in (densities.background, densities.signal) if flow.history is not None),
    )
