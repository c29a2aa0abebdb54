"""What simulation says of what was learned: shares, closure of the systematic variations, calibrated moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.ratio.closure import close_ratio, ratio_normalisation
from hisigma_zfit.ratio.moments import equal_content_edges
from hisigma_zfit.results import ClosurePoint, ExponentSummary, MomentSummary, ShapeClosure
from hisigma_zfit.statistics.posteriors import posterior_quality
from hisigma_zfit.statistics.weighted_samples import WeightedEvents, weighted_two_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.crosssection.inputs import Inputs
    from hisigma_zfit.crosssection.learning import Simulation
    from hisigma_zfit.crosssection.model import RatioModel
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows
    from hisigma_zfit.results import PosteriorSummary
    from hisigma_zfit.results.ratio_closure import FeatureClosure

__all__ = ["closures", "exponent_summaries", "moment_summaries", "posterior_summary"]

_JUDGED = 20_000  # rows that are to be told from others


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
    *,
    seed: int | None,
) -> dict[str, ExponentSummary]:
    """By process, of the first unbinned region where there are several.

    Args:
        inputs: Simulation and analysis.
        simulation: The same at all design points.
        model: What was learned.
        found: Closures by process and region.
        seed: Of the trees that try to tell shifted from reweighted events; None leaves them out.
    """
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
            two_sample=None
            if seed is None or not training.learned
            else _two_sample(simulation, model, p, design.values, seed),
        )
    return summaries


def _two_sample(
    simulation: Simulation, model: RatioModel, p: int, values: Array, seed: int
) -> tuple[float, float] | None:
    """Whether trees can tell shifted from reweighted events at the outermost point, see `ExponentSummary`."""
    d = int(np.argmax((values**2).sum(axis=1)))
    nominal, shifted, samples = simulation.placed[p].rows, simulation.shifted[d][p], []
    for own, monomials in ((shifted, None), (nominal, values[d])):
        at = np.flatnonzero(own.cell == 0)
        assert own.event is not None
        weights = np.maximum(own.weights[at], 0.0)
        if monomials is not None:
            assert own.scores is not None
            score = own.scores[at, model.signal].astype(np.float64)
            weights *= np.exp(model.parts[p][0](own.x[at], own.fold[at], score).astype(np.float64) @ monomials)
        samples.append(WeightedEvents(own.x[at], weights, own.event[at]))
    try:
        own_seed = seed_for(seed, Purpose.GOODNESS_OF_FIT, 1000 + p)
        test = weighted_two_sample(*samples, seed=own_seed, paired=True, most=_JUDGED)
    except InputError:  # few events say nothing of many dimensions
        return None
    return test.area - 0.5, test.z


def moment_summaries(model: RatioModel) -> dict[str, MomentSummary]:
    """By process, of the first unbinned region; none where moments are not calibrated."""
    found = {}
    for name, parts in zip(model.structure.processes, model.parts, strict=True):
        if parts and parts[0].moments.residuals.kind != "off":
            own = parts[0].moments.residuals
            found[name] = MomentSummary(own.rms_before, own.rms_after)
    return found
