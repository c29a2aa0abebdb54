"""From files to a search in a run folder; `hisigma_zfit.anomaly.stored` lists what is in it."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.anomaly.family import FamilyText
from hisigma_zfit.anomaly.inputs import input_digests, input_roles, properties, read
from hisigma_zfit.anomaly.options import SearchOptions
from hisigma_zfit.anomaly.stored import TASK, SearchResults, load_search
from hisigma_zfit.data.memory import mounted
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.elsewhere import trained_elsewhere
from hisigma_zfit.measurement.blind import trained_digests
from hisigma_zfit.measurement.in_memory import with_addresses
from hisigma_zfit.results import ClosureReport, EventCounts, Presentation, Search, SearchBackground
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hisigma_zfit.anomaly.inputs import SearchInputs
    from hisigma_zfit.arrays import Mask
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.model.spectrum import Spectrum
    from hisigma_zfit.results import FamilyFit, SicCurve, SidebandWindows, Unblinding, WindowScan

__all__ = ["run_search", "search", "search_identity"]

_log = logging.getLogger(__name__)

_STAGES = ("read", "train", "search", "windows", "toys", "draw")
_LEARNED = 20_000  # events of the learned signal that are written


def search(
    *,
    out: str | Path,
    config: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    scheduler: Any = None,
    **options: Any,
) -> Search:
    """Search a window of the mass for a signal that nobody has described, and keep everything in a run folder.

    An interrupted run resumes when it is called again; a complete one with the same inputs and options is read back.

    Args:
        out: The run folder.
        config: YAML or JSON with options, which `options` override.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine, for toys.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.
        **options: See `SearchOptions`.  In the place of a file may be a `Dataset`, a pandas DataFrame, an awkward array
            of records or a mapping of names to arrays, but for those of a family.

    Returns:
        The search, as in the folder's ``result.json``; of a blind run what the sidebands say.

    Raises:
        InputError: Files, columns or options are wrong; nothing is left half-written.

    Example:
        >>> import tempfile
        >>> columns = {"mass": "m", "range": hz.examples.MASSES, "features": hz.examples.FEATURES}
        >>> quick = {"preset": "quick", "members": 1, "bootstraps": 1, "folds": 2}
        >>> files = {"data": hz.examples.path("events.root"), "signal_region": (118, 132)}
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     result = hz.search(out=f"{folder}/out", **files, **columns, **quick)
        >>> round(result.found.properties["m"].median)  # doctest: +SKIP
        125
    """
    plain, events = with_addresses(options)
    settings = SearchOptions.load(config, **plain)
    with mounted(events):
        return run_search(settings, out=out, quiet=quiet, overwrite=overwrite, processes=processes, scheduler=scheduler)


def run_search(
    settings: SearchOptions,
    *,
    out: str | Path,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    scheduler: Any = None,
    reuse: str | Path | None = None,
    unblinding: Callable[[], Unblinding] | None = None,
) -> Search:
    """Search, see `search`.

    Args:
        settings: All options.
        out: The run folder.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine, for toys.
        scheduler: Dask scheduler to be used instead.
        reuse: A complete run whose members need not be trained again.
        unblinding: Called before anything is read; makes the record of opening the signal region.
    """
    named = properties(settings)
    identity = search_identity(settings)
    elsewhere = trained_elsewhere(processes=processes, scheduler=scheduler)
    with elsewhere, RunFolder.open(out, identity, overwrite=overwrite) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            return load_search(run.path).search
        record = None if unblinding is None else unblinding()
        if reuse is not None:
            run.take_members(reuse)
        stages = Stages(_STAGES, quiet=quiet, counting=("read", "train"))
        with stages("read"):
            inputs = read(settings)
            family = None if settings.family is None else FamilyText.parse(settings.family).build(settings)
        task = _Task(settings, inputs, named, family, run, stages, processes, scheduler)
        results = task.results(identity)
        words = Presentation(**settings.figure_words())
        results = replace(results, search=replace(results.search, unblinding=record), presentation=words)
        run.write_text("config.yaml", settings.document())
        with stages("draw"):
            run.save_page(results)
        results = replace(results, search=replace(results.search, timings_s=stages.timings()))
        run.write_text("table.txt", results.table() + "\n")
        run.write_results(results.stored())
    return results.search


def search_identity(settings: SearchOptions) -> Identity:
    """What makes a search this search.

    Raises:
        InputError: A file is missing.
    """
    return Identity(TASK, input_digests(settings), settings.numbers(), roles=input_roles(settings))


@dataclass(frozen=True)
class _Task:
    """One search on its way through the stages."""

    settings: SearchOptions
    inputs: SearchInputs
    properties: Mapping[str, Any]
    family: Any
    run: RunFolder
    stages: Stages
    processes: int
    scheduler: Any

    def results(self, identity: Identity) -> SearchResults:
        """All of it."""
        # only now: these import TensorFlow, which a mistake in the files need not wait for
        from hisigma_zfit.inference.search_looks import enriched_mass, learned_features
        from hisigma_zfit.inference.search_null import null_toys, search_pvalue
        from hisigma_zfit.inference.yield_response import share_profile, yield_response

        settings = self.settings
        work: dict[str, Any] = {"processes": self.processes, "scheduler": self.scheduler}
        work |= {"seed": settings.seed, "checkpoint": self.run.folder / "toys"}
        flow, windows = self._train(), None
        with self.stages("search"):
            spectrum, background = self._background(flow)
            found = None if settings.blind else self._find(flow, spectrum)
            comparison = {} if found is None else self._comparison(found)
            fitted = self._family(flow, spectrum)
        null = p_value = response = scan = None
        if settings.windows_beside:
            with self.stages("windows"):
                windows = self._windows()
        if found is not None:
            with self.stages("toys"):
                if settings.toys:
                    training: dict[str, Any] = {"members": settings.members, "preset": settings.preset}
                    null = null_toys(found, spectrum, n=settings.toys, degree=settings.degree, **training, **work)
                    p_value = search_pvalue(found, null)
                if settings.scan is not None:
                    scan = self._scan()
                if settings.responses:
                    response = yield_response(found, n=settings.responses, **work)
        result = Search(
            signal_region=settings.signal_region,
            mass=settings.mass,
            features=settings.features,
            blind=settings.blind,
            background=background,
            found=None if found is None else found.result,
            null=null,
            p_value=p_value,
            response=response,
            sideband_windows=windows,
            family=fitted,
            scan=scan,
            comparison=comparison,
            n_events=self._counts(),
            timings_s=self.stages.timings(),
            seed=settings.seed,
            inputs=dict(identity.inputs),
            versions=dict(identity.versions),
            options=dict(identity.options),
            trained=trained_digests(self.run.folder),
        )
        histories = () if flow.history is None else (flow.history,)
        if found is None:
            return SearchResults(result, histories=histories)
        self._write(found)
        return SearchResults(
            result,
            share_profile(found),
            learned_features(found, properties=self.properties, truth=self._truth(found)),
            enriched_mass(found, self.inputs.events, spectrum),
            histories,
        )

    def _train(self) -> ConditionalFlow:
        """p_b(x | m) of the sidebands."""
        from hisigma_zfit.density.training import train_flow

        settings = self.settings
        with self.stages("train"):
            return train_flow(
                self.inputs.training,
                settings.features,
                given=settings.mass,
                members=settings.members,
                bootstraps=settings.bootstraps,
                seed=settings.seed,
                preset=settings.preset,
                name="background",
                checkpoint=self.run.member_folder("background"),
            )

    def _background(self, flow: ConditionalFlow) -> tuple[Spectrum, SearchBackground]:
        """The mass spectrum, and what the sidebands say of the density."""
        from hisigma_zfit.density.diagnostics import held_out_closure
        from hisigma_zfit.model.spectrum import fit_spectrum

        settings, m = self.settings, self.inputs.events[self.settings.mass]
        window = settings.signal_region
        spectrum = fit_spectrum(m, settings.range, window, degree=settings.degree)
        checked = held_out_closure(
            flow, self.inputs.training, training_seed=settings.seed, seed=settings.seed, classifier=False
        )
        closure = ClosureReport((), {}, too_few=True)
        if checked is not None:
            misfit = {feature.feature: feature.conditional_misfit for feature in checked.features}
            closure = ClosureReport(tuple(checked.flagged), misfit)
            if checked.flagged:
                _log.warning("the background density misses %s in the sidebands", ", ".join(checked.flagged))
        seen = None if settings.blind else int(np.count_nonzero(settings.region.contains(m)))
        return spectrum, SearchBackground(
            spectrum.expected(*window), spectrum.error, seen, len(spectrum.coefficients), closure
        )

    def _find(self, flow: ConditionalFlow, spectrum: Spectrum) -> FoundSignal:
        from hisigma_zfit.inference.search import find_signal

        settings = self.settings
        return find_signal(
            self.inputs.events,
            flow,
            spectrum,
            region=settings.region,
            components=settings.components,
            folds=settings.folds,
            properties=self.properties,
            seed=settings.seed,
        )

    def _comparison(self, found: FoundSignal) -> dict[str, SicCurve]:
        """Scores beside each other, where the truth is known."""
        truth = self._truth(found)
        if truth is None:
            return {}
        from hisigma_zfit.anomaly.comparison import compare

        settings, events = self.settings, self.inputs.events
        own = events.select(np.isin(events.identity, found.scene.identity))
        return compare(found, own, truth, settings.compare, folds=settings.folds, seed=settings.seed)

    def _family(self, flow: ConditionalFlow, spectrum: Spectrum) -> FamilyFit | None:
        """A signal that is known up to parameters."""
        settings = self.settings
        if self.family is None or settings.blind:
            return None
        from hisigma_zfit.inference.family_fits import fit_family

        return fit_family(
            self.inputs.events, flow, spectrum, self.family, region=settings.region, seed=settings.seed
        ).result

    def _options(self, place: str) -> dict[str, Any]:
        """Of the trainings of other windows."""
        settings = self.settings
        own = {name: getattr(settings, name) for name in ("degree", "members", "preset", "components", "seed")}
        work = {"processes": self.processes, "scheduler": self.scheduler}
        return own | work | {"checkpoint": self.run.folder / place}

    def _windows(self) -> SidebandWindows | None:
        """The search in windows of the sidebands."""
        import zfit

        from hisigma_zfit.inference.window_scan import sideband_windows

        settings = self.settings
        mass = zfit.Space(settings.mass, *settings.range)
        where = (self.inputs.events, settings.features, mass, settings.region)
        if settings.sideband_windows is not None:
            return sideband_windows(*where, n=settings.sideband_windows, **self._options("windows"))
        for n in range(settings.windows_beside, 0, -1):
            try:
                return sideband_windows(*where, n=n, **self._options("windows"))
            except InputError as error:  # before anything is trained
                reason = error
        _log.warning("no windows in the sidebands are searched: %s", reason)
        return None

    def _scan(self) -> WindowScan:
        """The search in windows all along the mass."""
        import zfit

        from hisigma_zfit.inference.window_scan import scan_windows

        settings = self.settings
        assert settings.scan is not None
        start, stop, width, step = settings.scan
        mass = zfit.Space(settings.mass, *settings.range)
        where: dict[str, Any] = {"start": start, "stop": stop, "width": width, "step": step, "toys": settings.toys}
        return scan_windows(self.inputs.events, settings.features, mass, **where, **self._options("scan"))

    def _truth(self, found: FoundSignal) -> Mask | None:
        """Of the events of the search."""
        if self.inputs.truth is None:
            return None
        return np.asarray(self.inputs.truth[np.isin(self.inputs.events.identity, found.scene.identity)])

    def _counts(self) -> EventCounts:
        report = self.inputs.events.report
        if self.settings.blind:  # what was read and dropped would tell how many events are in the region
            n = len(self.inputs.events)
            return EventCounts(n, n, {}, signal_simulation=0, sideband_training=len(self.inputs.training))
        return EventCounts(
            read=report.n_read,
            used=report.n_used,
            dropped=dict(report.dropped),
            signal_simulation=0,
            sideband_training=len(self.inputs.training),
        )

    def _write(self, found: FoundSignal) -> None:
        """Scores of the events, events of the learned signal, and its density."""
        from hisigma_zfit.inference.search_looks import learned_events

        here = found.scene
        scores = {"row": here.identity, "fold": found.folds, "score": found.scores}
        self.run.write_bytes("scores.parquet", _parquet(scores))
        self.run.write_bytes("learned_signal.parquet", _parquet(learned_events(found, _LEARNED)))
        found.flow.save(self.run.folder / "learned_signal")


def _parquet(columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.table({name: np.asarray(values) for name, values in columns.items()}), buffer)
    return buffer.getvalue()
