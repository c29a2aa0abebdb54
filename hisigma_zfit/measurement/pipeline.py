"""From files to a measurement: the seven steps of paper (arXiv:2506.06438) section 2.1 in one call."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.measurement.inputs import MeasurementInputs, input_digests, read_inputs, warn_of_other_events
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.report import tables
from hisigma_zfit.report.figures import measurement_figures
from hisigma_zfit.results import Measurement
from hisigma_zfit.runs.folder import RunFolder, StoredResults, load_results, package_versions
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.inference.combine import Combination
    from hisigma_zfit.measurement.inputs import Varied
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.model.systematics import Nuisance, ShapeVariation

__all__ = ["load_model", "measure"]

_log = logging.getLogger(__name__)

_ENRICHED_EFFICIENCY = 0.5  # signal kept by the likelihood-ratio cut of the signal-enriched figures


def measure(*, out: str | Path, quiet: bool = True, reuse: str | Path | None = None, **options: Any) -> Measurement:
    """Measure a signal yield from files and keep everything in a run folder.

    An interrupted run resumes when it is called again; a complete one with the same inputs and options is read back.

    Args:
        out: The run folder.
        quiet: Do not announce the stages on stderr.
        reuse: A complete run with the same events, seed and training, whose members need not be trained again: to add
            systematic uncertainties to a measurement.
        **options: See `MeasureOptions`.

    Returns:
        The measurement, as in the folder's ``result.json``.

    Raises:
        InputError: Files, columns or options are wrong; nothing is left half-written.
    """
    settings = MeasureOptions.build(**options)
    inputs = input_digests(settings)
    with RunFolder.open(out, inputs=inputs, options=settings.numbers()) as run:
        if run.complete:
            _log.info("%s is complete; reading it back", out)
            measurement = run.measurement
            assert measurement is not None
            return measurement
        if reuse is not None:
            run.take_members(reuse)
        stages = Stages(quiet=quiet)
        results = _Analysis(settings, run, stages).results(inputs)
        with stages("draw"):
            for name, figure in measurement_figures(
                results.measurement,
                results.projections,
                results.projections_enriched,
                results.scan,
                results.histories,
            ).items():
                run.save_figure(name, figure)
        run.write_text("table.txt", tables.measurement(results.measurement) + "\n")
        run.write_results(results)
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


class _Analysis:
    """One measurement in memory; the run folder only keeps trained members."""

    def __init__(self, settings: MeasureOptions, run: RunFolder, stages: Stages) -> None:
        self.settings = settings
        self.run = run
        self.stages = stages

    def _seed(self, stage: int) -> int:
        # streams of different stages must not overlap, whatever neighbouring seeds the user picks
        return int(np.random.SeedSequence([self.settings.seed, stage]).generate_state(1)[0])

    @cached_property
    def nuisances(self) -> dict[str, Nuisance]:
        """One parameter for each name, whatever it changes."""
        from hisigma_zfit.model.systematics import nuisance

        s = self.settings
        return {name: nuisance(name) for name in {**s.systematic, **s.background_systematic, **s.yield_systematic}}

    def density(
        self, events: Dataset, mass: zfit.Space, name: str, *, stream: int, bootstraps: int = 1
    ) -> ConditionalFlow:
        """Learn p(x'|m) of some events, or resume."""
        from hisigma_zfit.density.tfp_flows import maf
        from hisigma_zfit.density.training import train_flow
        from hisigma_zfit.density.warped import spline_flow

        s = self.settings
        return train_flow(
            events,
            s.features,
            given=mass,
            members=s.members,
            bootstraps=bootstraps,
            seed=self._seed(stream),
            flow=spline_flow() if s.flow == "spline" else maf(),
            preset=s.preset,
            name=name,
            checkpoint=self.run.member_folder(name),
        )

    def train(self, inputs: MeasurementInputs, mass: zfit.Space) -> tuple[ConditionalFlow, ConditionalFlow]:
        """Steps 2 and 3: p_b(x'|m) from the sidebands, p_s(x'|m) from simulation."""
        background = self.density(inputs.training, mass, "background", stream=1, bootstraps=self.settings.bootstraps)
        return background, self.density(inputs.signal, mass, "signal", stream=2)

    def vary(self, inputs: MeasurementInputs, mass: zfit.Space) -> tuple[list[ShapeVariation], list[ShapeVariation]]:
        """Variations of signal and background: section 3.2."""
        from hisigma_zfit.model.systematics import ShapeVariation

        warn_of_other_events(inputs.signal, inputs.varied_signal)
        warn_of_other_events(inputs.training, inputs.varied_training)

        def variations(component: str, events: Varied, **options: int) -> list[ShapeVariation]:
            # the nominal density's seed: the same resamples and starts, so that their noise cancels in the ratios
            return [
                ShapeVariation(
                    self.nuisances[name],
                    up=self.density(up, mass, f"{component}-{name}-up", **options),
                    down=self.density(down, mass, f"{component}-{name}-down", **options),
                    form=self.settings.interpolation,
                )
                for name, (up, down) in events.items()
            ]

        return (
            variations("signal", inputs.varied_signal, stream=2),
            variations("background", inputs.varied_training, stream=1, bootstraps=self.settings.bootstraps),
        )

    def compose(
        self,
        inputs: MeasurementInputs,
        mass: zfit.Space,
        background: ConditionalFlow,
        signal: ConditionalFlow,
        variations: tuple[list[ShapeVariation], list[ShapeVariation]],
    ) -> SignalPlusBackground:
        """Steps 4, 5 and 6: mass shapes and the extended model."""
        import zfit

        from hisigma_zfit.model.compose import signal_plus_background
        from hisigma_zfit.model.pdfs import FlowProductPDF
        from hisigma_zfit.model.shapes import ExpQuadratic, fit_shape
        from hisigma_zfit.model.systematics import lognormal_yield

        s = self.settings
        n_sig: Any = zfit.Parameter(s.poi, 0.0, stepsize=10.0)
        for name, factor in s.yield_systematic.items():
            n_sig = lognormal_yield(n_sig, self.nuisances[name], factor)
        peak = fit_shape(zfit.pdf.DoubleCB, inputs.signal, mass, prefix="peak_")
        falling = ExpQuadratic(
            mass, zfit.Parameter("p1", 1.0, stepsize=0.1), zfit.Parameter("p2", 0.0, stepsize=0.1), name="falling"
        )
        return signal_plus_background(
            FlowProductPDF(peak, signal, variations=variations[0]),
            FlowProductPDF(falling, background, variations=variations[1]),
            poi=n_sig,
            yields=[zfit.Parameter("n_bkg", float(len(inputs.data)), 0.0, stepsize=10.0)],
            sidebands=s.sidebands,
            region=s.region,
        )

    def closure(self, background: ConditionalFlow, inputs: MeasurementInputs) -> dict[str, Any]:
        """Whether the background density describes the sidebands, feature by feature, by one of its members."""
        from hisigma_zfit.density.diagnostics import closure

        verdict = closure(
            background.members[0],
            inputs.training,
            seed=self._seed(4),
            classifier=False,
        )
        if verdict.flagged:
            _log.warning(
                "the background density misses %s in the sidebands; try --flow maf or other features",
                ", ".join(verdict.flagged),
            )
        return {
            "background in the sidebands": "misses " + ", ".join(verdict.flagged) if verdict.flagged else "passed",
            "misfit in nats": {f.feature: f.conditional_misfit for f in verdict.features},
        }

    def response(self, profiler: Profiler, signal: Dataset) -> dict[str, Any]:
        """What part of the signal the fit returns, by the simulated events that only validated the training."""
        from hisigma_zfit.inference.response import MIN_EVENTS, signal_response
        from hisigma_zfit.learn.resampling import held_out_events

        held_out = held_out_events(signal, seed=self._seed(2))
        if len(held_out) < MIN_EVENTS:
            return {}
        found = signal_response(profiler, self.settings.poi, held_out, seed=self._seed(5))
        if not found.passed:
            _log.warning(
                "the fit returns %.2f +- %.2f of the signal that is there: its density was trained too short or on too "
                "few events; try --preset paper, more simulated signal or fewer features",
                found.value,
                found.error,
            )
        return {"fitted signal by true signal": f"{found.value:.3f} +- {found.error:.3f}"}

    def results(self, digests: dict[str, str]) -> StoredResults:
        """All seven steps."""
        from hisigma_zfit.fitting.profiler import Profiler, fit
        from hisigma_zfit.inference.combine import bootstrap_profilers, combination
        from hisigma_zfit.inference.weights import weights_profiler
        from hisigma_zfit.likelihood.nll import ExtendedNLL
        from hisigma_zfit.model.projections import sample_model
        from hisigma_zfit.model.stored import save_model

        s, stages = self.settings, self.stages
        with stages("read"):
            inputs = read_inputs(s)
        mass = inputs.mass
        with stages("train"):
            background, signal = self.train(inputs, mass)
            variations = self.vary(inputs, mass)
        with stages("score"):
            model = self.compose(inputs, mass, background, signal, variations)
            data = inputs.data.select(
                background.inside(inputs.data.array(s.features)), reason="outside the domain of the background density"
            )
            nominal = ExtendedNLL(model, data)
            closure = self.closure(background, inputs)
        with stages("fit"):
            result = fit(nominal)
            save_model(model, self.run.folder / "model")
            profiler = Profiler(nominal, s.poi)
            members = bootstrap_profilers(model, data) if s.bootstraps > 1 else ()
            # Gaussian weights: exact ones would go through all events of the training at every step of the fit
            weighted = (
                weights_profiler(model, data, inputs.training, term="gaussian") if s.combine == "weights" else None
            )
            combined = combination(s.combine, profiler, members, weighted=weighted, penalties=s.penalties or None)
            mass_only = Profiler(ExtendedNLL(model.mass_only(), data), s.poi)
            closure |= self.response(profiler, inputs.signal)
            answers, scan = self._summarise(result, profiler, combined, members, mass_only)
            sample = sample_model(result, seed=self._seed(3))
        observables = (s.mass, *s.features)
        measurement = Measurement(
            **answers,
            n_events={
                **data.report.to_dict(),
                "signal_simulation": len(inputs.signal),
                "sideband_training": len(inputs.training),
            },
            timings_s=stages.timings(),
            seed=s.seed,
            inputs=digests,
            versions=package_versions(),
            options=s.numbers(),
            closure=closure,
        )
        histories = tuple(flow.history for flow in (background, signal) if flow.history is not None)
        return StoredResults(
            measurement=measurement,
            projections=tuple(sample.project(name) for name in observables),
            projections_enriched=tuple(
                sample.project(name, bins=20, region=s.region, signal_efficiency=_ENRICHED_EFFICIENCY)
                for name in observables
            ),
            scan=scan,
            histories=histories,
        )

    def _summarise(
        self,
        result: Any,
        profiler: Profiler,
        combined: Combination,
        members: tuple[Profiler, ...],
        mass_only: Profiler,
    ) -> tuple[dict[str, Any], Any]:
        """Answers of the combined likelihood, with the nominal and the mass-only fit beside it."""
        from hisigma_zfit.inference.hypotests import discovery

        one, two = combined.interval(cl=0.6827), combined.interval(cl=0.9545)
        found, found_by_mass = combined.discovery(), discovery(mass_only, self.settings.poi)
        grid = _scan_grid(profiler, one.lower, one.upper)
        constrained = [p.name for p in profiler.loss.parameters if getattr(p, "constraint_term", None) is not None]
        scan = combined.scan(grid, statistical=profiler.scan(grid), reference=mass_only.scan(grid))
        values = {
            "poi": self.settings.poi,
            "value": one.value,
            "error": one.error,
            "interval_68": (one.lower, one.upper),
            "interval_95": (two.lower, two.upper),
            "stat_only": {
                "value": profiler.best,
                "error": profiler.error_without(constrained),
                "z": discovery(profiler, profiler.name).z,
            },
            "significance": {"z": found.z, "p0": found.p0, "q0": found.q0},
            "upper_limit_95": combined.upper_limit(cl=0.95).limit,
            "parameters": {
                p.name: {"value": float(v["value"]), "error": float(v["hesse"]["error"])}
                for p, v in result.params.items()
            },
            "mass_only": {"value": mass_only.best, "error": mass_only.error, "z": found_by_mass.z},
            "members": [
                {"member": k, "value": p.best, "error": p.error, "z": discovery(p, p.name).z}
                for k, p in enumerate(members)
            ],
        }
        return values, scan


def _scan_grid(profiler: Profiler, lower: float, upper: float, points: int = 61) -> Any:
    """Scan points that show the combined interval to about three sigma on both sides."""
    width = 0.5 * (upper - lower)
    centre = 0.5 * (upper + lower)
    reach = max(3.2 * width, 3.2 * profiler.error)
    return np.linspace(centre - reach, centre + reach, points)
