"""What simulation says of a learned model before any data are looked at: closure, bias, held-back events, replicas."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.crosssection.answers import best
from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.ratio.closure import close_ratio, ratio_normalisation
from hisigma_zfit.ratio.powers import norm_factor
from hisigma_zfit.results import (
    BiasPoint,
    BiasStudy,
    ClosurePoint,
    ExponentSummary,
    HeldBackStudy,
    MomentSummary,
    ShapeClosure,
    SimulationError,
)
from hisigma_zfit.statistics.posteriors import posterior_quality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.crosssection.inputs import Inputs
    from hisigma_zfit.crosssection.learning import Simulation
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.crosssection.samples import Sample
    from hisigma_zfit.crosssection.shifted import Placed
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows
    from hisigma_zfit.results import PosteriorSummary
    from hisigma_zfit.results.ratio_closure import FeatureClosure

__all__ = [
    "Expectation",
    "bias_studies",
    "closures",
    "exponent_summaries",
    "held_back_study",
    "moment_summaries",
    "posterior_summary",
    "simulation_error",
]

_log = logging.getLogger(__name__)

_REPLICAS = 24  # of fixed templates; they cost a fit each
_BOOTSTRAPS = 6  # of each point of a bias study


class Expectation:
    """Expected events anywhere, scored: the simulation itself, shifted, and not the model of it.

    Args:
        inputs: Samples and analysis.
        simulation: Their places.
        model: What was learned.
        samples: Others than those that were learned from, held back for example.
    """

    def __init__(
        self, inputs: Inputs, simulation: Simulation, model: RatioModel, samples: Sequence[Sample] | None = None
    ) -> None:
        self.analysis, self.model = inputs.analysis, model
        self._shifter = simulation.shifter
        self._samples = inputs.samples if samples is None else tuple(samples)
        self._placed: tuple[Placed, ...] = (
            simulation.placed if samples is None else tuple(map(self._shifter.nominal, self._samples))
        )
        self._others: dict[str, RatioModel] = {}

    def rows(self, settings: Mapping[str, float], *numbers: int) -> list[ShiftedRows]:
        """Shifted events by process.

        Args:
            settings: Of the shape nuisances as the options write them; nominal where they are not named.
            numbers: Which random numbers; those of the design if none.
        """
        point = tuple(float(settings.get(own.name, 0.0)) for own in self.analysis.shapes)
        return [
            self._shifter.shifted(sample, point, placed, *numbers, keep=True)
            for sample, placed in zip(self._samples, self._placed, strict=True)
        ]

    def factors(self, values: Mapping[str, float]) -> Array:
        """C by process, shape (P,), for parameters of interest and nuisances of rates by name."""
        structure = self.model.structure
        found = np.ones(len(structure.processes))
        for p, process in enumerate(structure.processes):
            for poi in structure.pois.get(process, ()):
                found[p] *= values.get(poi, 1.0)
            for norm in structure.norms:
                if process in norm.sizes and norm.name in values:
                    found[p] *= norm_factor(values[norm.name], norm.sizes[process], norm.kind)[0]
        return found

    def medians(self) -> dict[str, float]:
        """Settings of the shape nuisances at the centre of their constraints."""
        return {own.name: own.point(own.clothes.value(0.0)) for own in self.analysis.shapes}


def methods_scored(methods: Mapping[str, Method], rows: Sequence[ShiftedRows]) -> dict[str, Scored]:
    """Shifted events as each method wants them; those of the same model once."""
    found: dict[int, Scored] = {}
    own: dict[str, Scored] = {}
    first = methods["unbinned"].model  # type: ignore[union-attr]
    for name, method in methods.items():
        model: RatioModel = getattr(method, "model", first)
        if id(model) not in found:
            found[id(model)] = model.simulated(rows)
        own[name] = found[id(model)]
    return own


def posterior_summary(model: RatioModel, simulation: Simulation) -> PosteriorSummary:
    """Areas, cross-entropy, calibration curves everywhere."""
    rows = [own.rows for own in simulation.placed]
    scores = [np.asarray(own.scores, dtype=np.float64) for own in rows]
    posterior = model.scorer.posterior
    return posterior_quality(
        model.structure.processes,
        scores,
        [np.maximum(own.weights, 0.0) for own in rows],
        [own.event for own in rows],
        kind=posterior.kind,
        folds=len(posterior.members),
        signal=model.signal,
    )


def closures(
    inputs: Inputs, simulation: Simulation, model: RatioModel
) -> dict[tuple[str, str], tuple[ShapeClosure, ...]]:
    """Shifted simulation beside the reweighted one, by process and unbinned region; the score is the first feature."""
    design, found = inputs.analysis.design, {}
    for p, name in enumerate(model.structure.processes):
        nominal, shifted = simulation.placed[p].rows, [point[p] for point in simulation.shifted]
        for r in range(model.structure.unbinned):
            part, region = model.parts[p][r], model.structure.cells[r]
            edges = _score_edges(simulation, model, r)

            def evaluate(own: ProcessRows | ShiftedRows, inside: Integers, part: Any = part) -> tuple[Float32, Array]:
                assert own.scores is not None
                score = own.scores[inside, model.signal].astype(np.float64)
                return part(own.x[inside], own.fold[inside], score), score

            closure = close_ratio(
                nominal,
                shifted,
                design.values,
                evaluate,
                cell=r,
                region=region,
                points=[str(point) for point in design.points],
                features=inputs.features,
                edges=edges,
            )
            settings = [dict(zip(design.nuisances, point, strict=True)) for point in design.points]
            found[name, region] = tuple(
                _as_shape(name, region, feature, settings) for feature in (closure.score, *closure.features)
            )
    return found


def _score_edges(simulation: Simulation, model: RatioModel, r: int) -> Array:
    from hisigma_zfit.ratio.moments import equal_content_edges

    signal = simulation.placed[model.signal].rows
    assert signal.scores is not None
    at = np.flatnonzero(signal.cell == r)
    return equal_content_edges(signal.scores[at, model.signal].astype(np.float64), signal.weights[at], 20)


def _as_shape(process: str, region: str, feature: FeatureClosure, settings: Sequence[dict[str, float]]) -> ShapeClosure:
    points = tuple(
        ClosurePoint(
            settings=own,
            shifted=feature.target[d],
            reweighted=feature.predicted[d],
            error=feature.error[d],
            chi2=float(feature.chi2[d]),
            ndf=int(feature.ndf[d]),
        )
        for d, own in enumerate(settings)
    )
    nominal = feature.start[0] if len(feature.start) else np.zeros(len(feature.edges) - 1)
    return ShapeClosure(process, feature.name, feature.edges, nominal, points, region)


def exponent_summaries(
    inputs: Inputs,
    simulation: Simulation,
    model: RatioModel,
    found: Mapping[tuple[str, str], Sequence[ShapeClosure]],
) -> dict[str, ExponentSummary]:
    """By process, of the first unbinned region where there are several."""
    if not model.structure.unbinned:
        return {}
    design, own = inputs.analysis.design, model.reference
    assert own is not None
    assert own.weights is not None
    region = model.structure.cells[0]
    at = np.flatnonzero(own.region == 0)
    rates = model.structure.rates
    expected = rates.size[:, 0, None] * np.exp(rates.constant[:, 0, None] + rates.slope[:, 0] @ design.values.T)
    sums = ratio_normalisation(
        own.weights[at],
        own.posterior[at],
        own.exponents[at],
        design.values,
        expected,
        processes=model.structure.processes,
        region=region,
        points=[str(point) for point in design.points],
    )
    summaries = {}
    for p, name in enumerate(model.structure.processes):
        training = model.parts[p][0].exponents.training
        shapes = found[name, region]
        summaries[name] = ExponentSummary(
            shape="learned" if training.learned else "none",
            effective_events=training.effective_inside,
            loss=training.loss if training.learned else None,
            closure={shape.feature: shape.chi2_by_ndf for shape in shapes},
            residual_over_variation=shapes[0].residual_over_variation,
            at_bound=float(training.at_bound.max(initial=0.0)),
            normalisation=float(np.abs(sums.excess[p]).max(initial=0.0)),
        )
    del simulation
    return summaries


def moment_summaries(model: RatioModel) -> dict[str, MomentSummary]:
    """By process, of the first unbinned region; none where moments are not calibrated."""
    found = {}
    for name, parts in zip(model.structure.processes, model.parts, strict=True):
        if parts and parts[0].moments.residuals.kind != "off":
            own = parts[0].moments.residuals
            found[name] = MomentSummary(own.rms_before, own.rms_after)
    return found


def _multiplicity(scored: Scored, rng: np.random.Generator, process: int | None = None) -> Array:
    """How often each hard event is drawn; of one process alone, or of all."""
    assert scored.event is not None
    assert scored.counted is not None
    assert scored.process is not None
    n = 1 + max(int(scored.event.max(initial=-1)), int(scored.counted.event.max(initial=-1)))
    drawn = rng.poisson(1.0, n).astype(np.float64)
    if process is not None:
        own = np.zeros(n, dtype=bool)
        own[scored.event[scored.process == process]] = True
        own[scored.counted.event[scored.counted.process == process]] = True
        drawn = np.where(own, drawn, 1.0)
    return drawn


def simulation_error(
    model: RatioModel, expected: Scored, poi: str, *, seed: int, effective: Mapping[str, float]
) -> SimulationError:
    """Error of the finite simulation: hard events of expected data are drawn again, what was learned is fixed.

    To first order it is the same as drawing those again that were learned from, by symmetry.

    Args:
        model: What was learned.
        expected: Shifted simulation of all processes.
        poi: Parameter of interest.
        seed: Of the analysis.
        effective: Effective simulated events by process.
    """
    start = Profiler(model.likelihood(expected), poi)
    names = [str(p.name) for p in start.loss.parameters]
    at = dict(zip(names, start.minimum.theta.tolist(), strict=True))

    def rms(process: int | None, n: int) -> Array:
        found = []
        for k in range(n):
            rng = stream(seed, Purpose.REPLICA, k, 0 if process is None else process + 1)
            drawn = expected.resampled(_multiplicity(expected, rng, process))
            found.append(best(model.likelihood(drawn, start=at), poi))
        # few events may draw themselves to where the likelihood has no minimum
        return np.array([value for value in found if np.isfinite(value)])

    replicas = rms(None, _REPLICAS)
    by_process = {
        name: float(np.std(rms(p, _REPLICAS // 3), ddof=1)) for p, name in enumerate(model.structure.processes)
    }
    return SimulationError(
        what="templates",
        nominal=start.best,
        replicas=replicas,
        sigma=float(np.std(replicas, ddof=1)),
        by_process=by_process,
        effective_events=dict(effective),
    )


def bias_studies(
    methods: Mapping[str, Method],
    expectation: Expectation,
    points: Sequence[Mapping[str, float]],
    poi: str,
    *,
    truth: float,
    seed: int,
    bootstraps: int = _BOOTSTRAPS,
) -> dict[str, BiasStudy]:
    """Fits of shifted simulation by every method, with errors from resampled hard events.

    Args:
        methods: By name.
        expectation: Of the events.
        points: Settings of the nuisances.
        poi: Parameter of interest.
        truth: Its value.
        seed: Of the bootstrap.
        bootstraps: How many; each costs a fit by point and method.
    """
    everywhere = [{}, *points]
    values: dict[str, list[float]] = {name: [] for name in methods}
    sigmas: dict[str, list[float]] = {name: [] for name in methods}
    draws: dict[str, list[Array]] = {name: [] for name in methods}
    factors = expectation.factors({poi: truth})
    for settings in everywhere:
        rows = expectation.rows(settings)
        for name, scored in methods_scored(methods, rows).items():
            expected = scored.times(factors)
            # what is drawn again is told by the hard event, so that the same is drawn at all points
            value, sigma, at = _fitted(methods[name].likelihood(expected), poi)
            values[name].append(value)
            sigmas[name].append(sigma)
            drawn = []
            for k in range(bootstraps):
                again = expected.resampled(_by_identity(rows, expected, seed, k))
                drawn.append(best(methods[name].likelihood(again, start=at), poi))
            draws[name].append(np.array(drawn))
    found = {}
    for name in methods:
        nominal = draws[name][0]
        found[name] = BiasStudy(
            truth=truth,
            nominal=values[name][0],
            nominal_error=float(np.nanstd(nominal, ddof=1)),
            points=tuple(
                BiasPoint(dict(settings), value, float(np.nanstd(own - nominal, ddof=1)), sigma)
                for settings, value, own, sigma in zip(
                    points, values[name][1:], draws[name][1:], sigmas[name][1:], strict=True
                )
            ),
        )
    return found


def _fitted(likelihood: RatioLikelihood, poi: str) -> tuple[float, float, dict[str, float]]:
    """Best fit, half of its interval, and where it is; nan where events bound the fit and there is no minimum."""
    try:
        profiler = Profiler(likelihood, poi)
        low, high = profiler.interval(1.0)
    except FitError as error:
        _log.warning("no fit of expected events: %s", error)
        return np.nan, np.nan, {}
    names = [str(p.name) for p in likelihood.parameters]
    at = dict(zip(names, profiler.minimum.theta.tolist(), strict=True))
    return profiler.best, float(0.5 * (high - low)), at


def _by_identity(rows: Sequence[ShiftedRows], scored: Scored, seed: int, k: int) -> Array:
    """How often each hard event is drawn in bootstrap k, whatever point it is at."""
    from hisigma_zfit.learn.resampling import bootstrap_weights

    assert scored.event is not None
    assert scored.counted is not None
    n = 1 + max(int(scored.event.max(initial=-1)), int(scored.counted.event.max(initial=-1)))
    drawn, first, counted = np.ones(n), 0, 0
    for p, own in enumerate(rows):
        assert own.event is not None
        assert own.counted is not None
        part = slice(first, first + len(own.event))
        # processes number their events alike
        drawn[scored.event[part]] = bootstrap_weights(seed, 1000 * p + k, own.event)
        first = part.stop
        part = slice(counted, counted + len(own.counted.event))
        drawn[scored.counted.event[part]] = bootstrap_weights(seed, 1000 * p + k, own.counted.event)
        counted = part.stop
    return drawn


def held_back_study(
    methods: Mapping[str, Method],
    expectation: Expectation,
    points: Sequence[Mapping[str, float]],
    poi: str,
    *,
    fraction: float,
    truth: float,
    seed: int,
    error_simulation: float | None,
) -> HeldBackStudy:
    """Events that nothing was learned from, scored and fitted as data are.

    Args:
        methods: By name.
        expectation: Of the held-back events.
        points: Settings of the nuisances.
        poi: Parameter of interest.
        fraction: Share of the hard events that was held back.
        truth: Value of the parameter.
        seed: Of the bootstrap.
        error_simulation: Of the events that were learned from.
    """
    study = bias_studies(methods, expectation, points, poi, truth=truth, seed=seed, bootstraps=2 * _BOOTSTRAPS)
    own = study["unbinned"]
    return HeldBackStudy(
        fraction=fraction,
        truth=truth,
        value=own.nominal,
        error=own.nominal_error,
        error_simulation=error_simulation,
        study=study,
    )
