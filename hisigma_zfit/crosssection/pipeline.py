"""From files to a cross-section in a run folder; `hisigma_zfit.crosssection.stored` lists what is in it."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.crosssection.inputs import input_digests, input_roles, read, read_data
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.regions import require_observed
from hisigma_zfit.crosssection.sanity import require_inside
from hisigma_zfit.crosssection.stored import TASK, CrossSectionResults, load_cross_section
from hisigma_zfit.measurement.blind import trained_digests
from hisigma_zfit.results import CrossSectionResult, DesignSummary, Presentation
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.crosssection.expectation import Expectation
    from hisigma_zfit.crosssection.inputs import Inputs, Observed
    from hisigma_zfit.crosssection.learning import Learner, Simulation
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.results import BiasStudy, HeldBackStudy, MethodAnswer, ShapeClosure, SimulationError, Unblinding

__all__ = ["cross_section", "cross_section_identity", "run_cross_section"]

_log = logging.getLogger(__name__)

_STAGES = ("read", "posterior", "design", "exponents", "replicas", "fit", "check", "draw")
_TRIALS = 12  # settings of the nuisances at which the fit is tried
_HELD_BACK_TRUTH = 3.0  # a few events fluctuate; a large signal keeps their fit away from where R vanishes
_SHOWN = 5  # features of a page of closures


def cross_section(
    *,
    out: str | Path,
    config: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    scheduler: Any = None,
    **options: Any,
) -> CrossSectionResult:
    """Measure a signal strength from unbinned events with learned systematics, and keep everything in a run folder.

    An interrupted run resumes when it is called again; a complete one with the same inputs and options is read back.

    Args:
        out: The run folder.
        config: YAML or JSON with options, which `options` override.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine, for trees and replicas.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.
        **options: See `CrossSectionOptions`.

    Returns:
        What is in the folder's ``result.json``.

    Raises:
        InputError: Files, columns or options are wrong; nothing is left half-written.

    Example:
        >>> result = hz.cross_section(config="analysis.yaml", out="runs/xsec")  # doctest: +SKIP
        >>> result.poi["mu"].interval_68  # doctest: +SKIP
        (0.79, 1.22)
    """
    settings = CrossSectionOptions.load(config, **options)
    return run_cross_section(
        settings, out=out, quiet=quiet, overwrite=overwrite, processes=processes, scheduler=scheduler
    )


def run_cross_section(
    settings: CrossSectionOptions,
    *,
    out: str | Path,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    scheduler: Any = None,
    reuse: str | Path | None = None,
    unblinding: Callable[[], Unblinding] | None = None,
) -> CrossSectionResult:
    """Measure, see `cross_section`.

    Args:
        settings: All options.
        out: The run folder.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine, for trees and replicas.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.
        reuse: A complete run whose ratios need not be learned again.
        unblinding: Called before anything is read; makes the record of opening the data.
    """
    identity = cross_section_identity(settings)
    with RunFolder.open(out, identity, overwrite=overwrite) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            return load_cross_section(run.path).result
        record = None if unblinding is None else unblinding()
        if reuse is not None:
            run.take_members(reuse)
        stages = [name for name in _STAGES if name != "replicas" or settings.uncertainty.what == "all"]
        where: dict[str, Any] = {"processes": processes, "scheduler": scheduler}
        task = _Task(settings, run, Stages(stages, quiet=quiet), where)
        results = task.results(identity)
        words = Presentation(**settings.figure_words())
        results = replace(results, result=replace(results.result, unblinding=record), presentation=words)
        run.write_text("config.yaml", settings.document())
        with task.stages("draw"):
            run.save_page(results)
        results = replace(results, result=replace(results.result, timings_s=task.stages.timings()))
        run.write_text("table.txt", results.table() + "\n")
        run.write_results(results.stored())
    return results.result


def _worst(page: Sequence[ShapeClosure]) -> list[ShapeClosure]:
    """The score and the features that close worst."""
    score, *others = page
    return [score, *sorted(others, key=lambda own: -np.nan_to_num(own.chi2_by_ndf))[: _SHOWN - 1]]


def cross_section_identity(settings: CrossSectionOptions) -> Identity:
    """What makes a cross-section this one.

    Raises:
        InputError: A file is missing.
    """
    return Identity(TASK, input_digests(settings), settings.numbers(), roles=input_roles(settings))


@dataclass
class _Task:
    """One cross-section on its way through the stages."""

    settings: CrossSectionOptions
    run: RunFolder
    stages: Stages
    where: Mapping[str, Any]  # processes and scheduler, as `finished` takes them
    cpu: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.process_time()
        with self.stages(name):
            yield
        self.cpu[name] = round(self.cpu.get(name, 0.0) + time.process_time() - start, 2)

    def results(self, identity: Identity) -> CrossSectionResults:
        """All of it."""
        settings = self.settings
        with self._stage("read"):
            inputs = read(settings)
            data = None if settings.blind or settings.data is None else read_data(settings, inputs.analysis.recipe)
            outside = {} if data is None else require_inside(data.x, inputs.rows, inputs.features)
        # only now, which a mistake in the files need not wait for
        from hisigma_zfit.crosssection.answers import answers, best, nuisance_profile, poi_scan
        from hisigma_zfit.crosssection.cautions import of_answers, of_data, of_learning, of_nominal, of_simulation
        from hisigma_zfit.crosssection.checks import closures, exponent_summaries, moment_summaries, posterior_summary
        from hisigma_zfit.crosssection.expectation import Expectation
        from hisigma_zfit.crosssection.learning import Learner
        from hisigma_zfit.crosssection.methods import methods_of
        from hisigma_zfit.crosssection.observing import assignments_of, event_counts, observed_cells
        from hisigma_zfit.crosssection.postfit import PostFit, PreFit, variation_maps

        learner = Learner(inputs, settings, folder=self.run.member_folder("ratios"), seed=settings.seed, **self.where)
        model, simulation = self._learn(learner, data)
        rows = [own.rows for own in simulation.placed]
        self.warnings += [*of_data(outside), *of_simulation(rows, model.cells.names, model.cells.unbinned)]
        expectation = Expectation(inputs, simulation, model)
        replicas = self._replicas(inputs, model)
        with self._stage("fit"):
            methods = methods_of(settings.inference.compare, model, simulation, inputs.analysis.design)
            expected = self._expected(expectation, methods)
            errors = self._simulation_errors(inputs, model, expected["unbinned"], replicas)
            fitted, assignments, dropped = (
                (expected, (), 0) if data is None else assignments_of(data, model, methods, settings)
            )
            unbinned = fitted["unbinned"]
            likelihood = model.likelihood(unbinned)
            found = answers(
                likelihood,
                levels=(settings.inference.cl[0], settings.inference.cl[1]),
                simulation={poi: own.sigma for poi, own in errors.items()},
                ranked=settings.inference.impacts,
                observed=observed_cells(model, unbinned),
            )
            others = {name: own.likelihood(fitted[name]) for name, own in methods.items()}
            comparison = self._comparison(methods, others)
            del others["unbinned"]
            scans = tuple(
                poi_scan(
                    likelihood,
                    poi,
                    simulation=errors[poi].sigma if poi in errors else None,
                    others=others if k == 0 else None,
                )
                for k, poi in enumerate(likelihood.yields)
            )
            profiles = tuple(
                nuisance_profile(likelihood, own) for own in model.structure.shapes if own.coordinate.t(0.0)[2] != 0.0
            )
            fit = PostFit(model, likelihood, found.theta, found.free, unbinned, inputs.features, simulation.squares)
            counting, gof = (None, {}) if data is None else (fit.counting(), fit.tests(settings.seed))
        with self._stage("check"):
            pages = closures(inputs, simulation, model)
            bias, held = self._biases(inputs, simulation, model, methods, expectation, errors)
            shapes = exponent_summaries(
                inputs, simulation, model, pages, seed=None if settings.preset == "quick" else settings.seed
            )
            assert model.reference is not None
            back = model.likelihood(model.reference)
            nominal = {poi: (best(back, poi), own.error) for poi, own in found.pois.items()}
        self.warnings += [
            *of_learning(shapes),
            *of_nominal(nominal),
            *of_answers(found, errors, profiles, inputs.analysis.reach),
        ]
        for text in self.warnings:
            _log.warning("%s", text)
        design = inputs.analysis.design
        result = CrossSectionResult(
            data="asimov" if data is None else "observed",
            luminosity=settings.luminosity,
            poi=found.pois,
            signal={
                poi: tuple(p for p, own in model.structure.pois.items() if poi in own) for poi in likelihood.yields
            },
            cl=(settings.inference.cl[0], settings.inference.cl[1]),
            parameters=found.parameters,
            correlations=found.correlations,
            impacts=found.impacts,
            n_events=event_counts(data, model, unbinned, dropped, inputs.samples),
            yields=found.yields,
            cells=found.cells,
            design=DesignSummary(
                design.nuisances,
                np.array(design.points),
                design.monomials.names,
                design.singular_values,
                {own.name: "" for own in inputs.analysis.shapes if own.coordinate != "identity"},
            ),
            posterior=posterior_summary(model, simulation),
            exponents=shapes,
            moments=moment_summaries(model),
            bias=bias,
            uncertainty=errors,
            gof_counting=counting,
            gof=gof,
            comparison=comparison,
            assignments=assignments,
            held_back=held,
            reference=dict.fromkeys(likelihood.yields, 1.0) | {own.name: 0.0 for own in inputs.analysis.shapes},
            warnings=tuple(self.warnings),
            timings_s=self.stages.timings(),
            cpu_s=self.cpu,
            seed=settings.seed,
            inputs=dict(identity.inputs),
            versions=dict(identity.versions),
            options=dict(identity.options),
            blind=settings.blind,
            trained=trained_digests(self.run.folder),
        )
        worst = tuple(own for page in pages.values() for own in _worst(page))
        maps = variation_maps(model, design.values, design.points, design.nuisances, fit)
        after = fit.projections()
        before = PreFit.of(fit).projections(after)
        return CrossSectionResults(result, scans, profiles, worst, after, maps, prefit=before)

    def _learn(self, learner: Learner, data: Observed | None) -> tuple[RatioModel, Simulation]:
        with self._stage("posterior"):
            scorer = learner.scorer()
            if data is not None:
                cells = learner.analysis.cells
                require_observed(cells, cells(data.columns, scorer.scores(data.x, data.fold)))
        with self._stage("design"):
            simulation = learner.simulation(scorer)
        with self._stage("exponents"):
            model = learner.model(scorer, simulation)
        return model, simulation

    def _expected(self, expectation: Expectation, methods: Mapping[str, Method]) -> dict[str, Scored]:
        """The Asimov set: simulation shifted to where the options ask for it, else to the centre of the constraints."""
        from hisigma_zfit.crosssection.expectation import methods_scored

        wanted = self.settings.asimov
        settings = {name: wanted.get(name, value) for name, value in expectation.medians().items()}
        factors = expectation.factors(wanted)
        return {name: own.times(factors) for name, own in methods_scored(methods, expectation.rows(settings)).items()}

    def _replicas(self, inputs: Inputs, model: RatioModel) -> Mapping[str, Array]:
        """Fits of replicas of everything, where they are asked for."""
        if self.settings.uncertainty.what != "all":
            return {}
        from hisigma_zfit.crosssection.replicas import retrained_replicas

        with self._stage("replicas"):
            folder = self.run.member_folder("replicas")
            return retrained_replicas(inputs, self.settings, model, folder=folder, **self.where)

    def _simulation_errors(
        self, inputs: Inputs, model: RatioModel, expected: Scored, replicas: Mapping[str, Array]
    ) -> dict[str, SimulationError]:
        if self.settings.uncertainty.what == "off":
            return {}
        from hisigma_zfit.crosssection.trials import simulation_error

        effective = {own.name: float(own.weights.sum() ** 2 / (own.weights**2).sum()) for own in inputs.samples}
        return {
            poi: simulation_error(
                model, expected, poi, seed=self.settings.seed, effective=effective, retrained=replicas.get(poi)
            )
            for poi in inputs.analysis.pois
        }

    def _comparison(self, methods: Mapping[str, Method], likelihoods: Mapping[str, Any]) -> dict[str, MethodAnswer]:
        from hisigma_zfit.crosssection.methods import method_answer

        poi, cl = next(iter(self.settings.pois)), self.settings.inference.cl[0]
        return {name: method_answer(own, likelihoods[name], poi, cl) for name, own in methods.items()}

    def _biases(
        self,
        inputs: Inputs,
        simulation: Simulation,
        model: RatioModel,
        methods: Mapping[str, Method],
        expectation: Expectation,
        errors: Mapping[str, SimulationError],
    ) -> tuple[dict[str, BiasStudy], HeldBackStudy | None]:
        from hisigma_zfit.crosssection.expectation import Expectation
        from hisigma_zfit.crosssection.trials import bias_studies, held_back_study, trial_points

        settings, poi = self.settings, next(iter(self.settings.pois))
        points = trial_points(inputs.analysis, _TRIALS, seed=settings.seed)
        if not points or settings.preset == "quick":
            return {}, None
        bias = bias_studies(methods, expectation, points, poi, truth=1.0, seed=settings.seed)
        held = None
        if inputs.held_back:
            error = errors[poi].sigma if poi in errors else None
            held = held_back_study(
                methods,
                Expectation(inputs, simulation, model, inputs.held_back),
                points,
                poi,
                fraction=settings.held_back,
                truth=_HELD_BACK_TRUTH,
                seed=settings.seed,
                error_simulation=error,
            )
        return bias, held
