"""Fits of simulation whose truth is known: shifted, held back, drawn again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm, qmc

from hisigma_zfit.crosssection.answers import best
from hisigma_zfit.crosssection.expectation import methods_scored
from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.learn.resampling import bootstrap_weights
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.results import BiasPoint, BiasStudy, HeldBackStudy, SimulationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.crosssection.analysis import Analysis
    from hisigma_zfit.crosssection.expectation import Expectation
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.ratio.rows import ShiftedRows

__all__ = ["bias_studies", "held_back_study", "simulation_error", "trial_points"]

_log = logging.getLogger(__name__)

_REPLICAS = 24  # of fixed templates; they cost a fit each
_BOOTSTRAPS = 6  # of each point of a bias study
_REACH = 0.95  # probability of the constraint that points spread over


def trial_points(analysis: Analysis, n: int, *, seed: int) -> list[dict[str, float]]:
    """Settings spread over the constraints of all nuisances with a function, n of them; none where there is none.

    Args:
        analysis: With the nuisances.
        n: How many.
        seed: Of their places.
    """
    own = [nuisance for nuisance in analysis.shapes if nuisance.kind == "shift"]
    if not own:
        return []
    places = qmc.Halton(len(own), rng=seed).random(n)
    found = []
    for row in places:
        thetas = norm.ppf(0.5 + _REACH * (row - 0.5))
        found.append(
            {
                nuisance.name: round(nuisance.point(nuisance.clothes.value(float(theta))), 3)
                for nuisance, theta in zip(own, thetas, strict=True)
            }
        )
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
    model: RatioModel,
    expected: Scored,
    poi: str,
    *,
    seed: int,
    effective: Mapping[str, float],
    retrained: Array | None = None,
) -> SimulationError:
    """Error of the finite simulation: hard events of expected data are drawn again, what was learned is fixed.

    To first order it is the same as drawing those again that were learned from, by symmetry.  Fits of the latter, if
    there are any, decide; the shares of the processes are of the former.

    Args:
        model: What was learned.
        expected: Shifted simulation of all processes.
        poi: Parameter of interest.
        seed: Of the analysis.
        effective: Effective simulated events by process.
        retrained: Fits of replicas of everything, see `replicas`.
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

    again = retrained is not None and len(retrained) > 1
    if retrained is not None and not again:
        _log.warning("fewer than two replicas of everything could be fitted: the simulation's error is of templates")
    replicas = retrained if retrained is not None and again else rms(None, _REPLICAS)
    by_process = {
        name: float(np.std(rms(p, _REPLICAS // 3), ddof=1)) for p, name in enumerate(model.structure.processes)
    }
    return SimulationError(
        what="all" if again else "templates",
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

    The constraints measure the true nuisances, so that what is left is the model's.

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
        rows, auxiliary = expectation.rows(settings), expectation.auxiliary(settings)
        for name, scored in methods_scored(methods, rows).items():
            expected = scored.times(factors)
            # what is drawn again is told by the hard event, so that the same is drawn at all points
            value, sigma, at = _fitted(methods[name].likelihood(expected, auxiliary=auxiliary), poi)
            values[name].append(value)
            sigmas[name].append(sigma)
            drawn = []
            for k in range(bootstraps):
                again = expected.resampled(_by_identity(rows, expected, seed, k))
                drawn.append(best(methods[name].likelihood(again, start=at, auxiliary=auxiliary), poi))
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
