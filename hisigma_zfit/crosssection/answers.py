"""What the likelihood of one set of events says: values, intervals, error budget, yields, profiles."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.stats import chi2

from hisigma_zfit.crosssection.propagation import derivatives, spread
from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.impacts import correlations, impacts
from hisigma_zfit.results import (
    CellTotal,
    Correlations,
    FittedParameter,
    Impacts,
    NuisanceProfile,
    PoiAnswer,
    PoiScan,
    ProcessYield,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.ratio.structure import ShapeParameter

__all__ = ["Answers", "answers", "best", "nuisance_profile", "poi_scan", "with_simulation"]

_log = logging.getLogger(__name__)

_SCANNED = 41  # points of a profile
_REACH = 3.5  # standard deviations on each side


@dataclass(frozen=True)
class Answers:
    """All that one likelihood says.

    Attributes:
        pois: Parameters of interest by name.
        parameters: All parameters by name.
        correlations: Of those that are not at a limit.
        impacts: By parameter of interest; empty if they were not asked for.
        yields: By process and cell.
        cells: All processes together.
        theta: Best fit of all parameters, shape (T,).
        free: Indices of those that are not at a limit and have an effect.
    """

    pois: dict[str, PoiAnswer]
    parameters: dict[str, FittedParameter]
    correlations: Correlations
    impacts: dict[str, Impacts]
    yields: dict[str, dict[str, ProcessYield]]
    cells: dict[str, CellTotal]
    theta: Array
    free: Integers


def answers(
    likelihood: RatioLikelihood,
    *,
    levels: tuple[float, float],
    simulation: Mapping[str, float] | None = None,
    ranked: bool = True,
    observed: Sequence[float] | None = None,
) -> Answers:
    """Fit, profile, rank.

    Args:
        likelihood: Of data or of an Asimov set.
        levels: Confidence levels of the two intervals.
        simulation: Error of the simulation by parameter of interest, where it is known.
        ranked: Whether impacts are found.
        observed: Events by cell, shape (B,).

    Raises:
        FitError: A fit did not converge.
    """
    names = [str(p.name) for p in likelihood.parameters]
    pois, found, budget = {}, {}, {}
    groups = {
        "shapes": [own.name for own in likelihood.structure.shapes],
        "norms": [own.name for own in likelihood.structure.norms],
    }
    groups = {name: own for name, own in groups.items() if own}
    profiler: Profiler | None = None
    for poi in likelihood.yields:
        profiler = Profiler(likelihood, poi)
        pois[poi] = _poi(profiler, levels, (simulation or {}).get(poi))
        if ranked:
            nuisances = [name for name in names if name not in likelihood.yields]
            budget[poi] = impacts(likelihood, poi, nuisances=nuisances, groups=groups)
    assert profiler is not None
    theta, covariance = profiler.minimum.theta, profiler.covariance
    lower, upper = profiler.limits
    by_name = {own.name: own for own in likelihood.structure.shapes}
    for k, name in enumerate(names):
        own = by_name.get(name)
        constrained = name in likelihood.constrained
        error = _error(name, budget, pois, float(np.sqrt(max(covariance[k, k], 0.0))))
        centre = float(likelihood.auxiliary.observed[likelihood.constrained.index(name)]) if constrained else 0.0
        found[name] = FittedParameter(
            value=float(theta[k]),
            error=error,
            pull=float(theta[k]) - centre if constrained else None,
            constraint=error if constrained else None,
            at_limit=bool(theta[k] <= lower[k] or theta[k] >= upper[k]),
            setting=None if own is None else own.coordinate.value(float(theta[k])),
        )
    yields, cells = _yields(likelihood, theta, covariance, observed)
    return Answers(pois, found, correlations(likelihood), budget, yields, cells, theta, profiler.minimum.free)


def _error(name: str, budget: Mapping[str, Impacts], pois: Mapping[str, PoiAnswer], hesse: float) -> float:
    """Half of the profiled interval where there is one."""
    if name in pois:
        return pois[name].error
    for own in budget.values():
        below, above = own[name].errors
        return 0.5 * (below + above)
    return hesse


def _poi(profiler: Profiler, levels: tuple[float, float], simulation: float | None) -> PoiAnswer:
    """Intervals of one parameter of interest."""
    first, second = (_interval(profiler, cl) for cl in levels)
    held = {str(p.name) for p in profiler.loss.parameters} - {*profiler.names}
    alone = Profiler(profiler.loss, profiler.name, held=held, start=profiler.minimum.theta)
    low, high = _interval(alone, levels[0])
    total, statistical = 0.5 * (first[1] - first[0]), 0.5 * (high - low)
    wide: list[tuple[float, float] | None] = [None, None]
    if simulation is not None:
        wide = [with_simulation(profiler, simulation, cl) for cl in levels]
    limit = profiler.limits[0][profiler.index]
    return PoiAnswer(
        value=profiler.best,
        interval_68=first,
        interval_95=second,
        error_stat=statistical,
        error_syst=float(np.sqrt(max(total**2 - statistical**2, 0.0))),
        error_simulation=simulation,
        interval_68_with_simulation=wide[0],
        interval_95_with_simulation=wide[1],
        one_sided=bool(first[0] <= limit) or not np.isfinite(profiler.t(first[0] - 1e-6 * total)),
    )


def _interval(profiler: Profiler, cl: float) -> tuple[float, float]:
    low, high = profiler.interval(float(chi2.ppf(cl, 1)))
    return float(low), float(high)


def with_simulation(profiler: Profiler, sigma: float, cl: float) -> tuple[float, float]:
    """Interval with a Gaussian nuisance that shifts the parameter of interest by sigma.

    t(mu) = min over nu of t_0(mu + sigma nu) + nu^2, where t_0 is the profile without it.

    Args:
        profiler: Of the parameter.
        sigma: Size of the shift by one standard deviation.
        cl: Confidence level.
    """
    level = float(chi2.ppf(cl, 1))
    low, high = profiler.interval(level)
    values = np.linspace(profiler.best - 2.0 * (profiler.best - low), profiler.best + 2.0 * (high - profiler.best), 25)
    t = profiler.scan(values)
    known = np.isfinite(t)
    curve = CubicSpline(values[known], np.maximum(t[known], 0.0))
    fine = np.linspace(values[known][0], values[known][-1], 2001)
    inside = np.maximum(curve(fine), 0.0)

    def convolved(mu: float) -> float:
        return float(np.min(inside + ((fine - mu) / sigma) ** 2)) if sigma > 0.0 else float(curve(mu))

    far = np.sqrt(level) * sigma + (high - low)
    return (
        float(brentq(lambda mu: convolved(mu) - level, low - far, profiler.best)),
        float(brentq(lambda mu: convolved(mu) - level, profiler.best, high + far)),
    )


def _yields(
    likelihood: RatioLikelihood, theta: Array, covariance: Array, observed: Sequence[float] | None
) -> tuple[dict[str, dict[str, ProcessYield]], dict[str, CellTotal]]:
    structure = likelihood.structure
    expected = likelihood.expected(theta)
    at = np.flatnonzero(np.nan_to_num(np.diag(covariance)) > 0.0)
    own = np.nan_to_num(covariance[np.ix_(at, at)])
    moved = derivatives(likelihood.expected, theta, at, own)
    errors, band = spread(moved, own), spread(moved.sum(axis=1), own)
    yields = {
        process: {
            cell: ProcessYield(float(structure.rates.size[p, b]), float(expected[p, b]), float(errors[p, b]))
            for b, cell in enumerate(structure.cells)
        }
        for p, process in enumerate(structure.processes)
    }
    cells = {
        cell: CellTotal(
            unbinned=b < structure.unbinned,
            observed=None if observed is None else float(observed[b]),
            postfit=float(expected[:, b].sum()),
            error=float(band[b]),
        )
        for b, cell in enumerate(structure.cells)
    }
    return yields, cells


def poi_scan(
    likelihood: RatioLikelihood,
    poi: str,
    *,
    simulation: float | None = None,
    others: Mapping[str, RatioLikelihood] | None = None,
) -> PoiScan:
    """-2 Delta ln L of a parameter of interest, profiled and with the nuisances fixed.

    Args:
        likelihood: Of this method.
        poi: The parameter.
        simulation: Error of the simulation.
        others: Other likelihoods of the same events, by method.
    """
    profiler = Profiler(likelihood, poi)
    held = {str(p.name) for p in likelihood.parameters} - {poi}
    low, high = profiler.interval(1.0)
    below, above = profiler.best - low, high - profiler.best
    values = np.concatenate(
        [
            profiler.best - below * np.linspace(_REACH, 0.0, _SCANNED // 2 + 1)[:-1],
            profiler.best + above * np.linspace(0.0, _REACH, _SCANNED // 2 + 1),
        ]
    )
    profiled = profiler.scan(values)
    fixed = Profiler(likelihood, poi, held=held, start=profiler.minimum.theta).scan(values)
    wide = None
    if simulation:
        gaps = ((values[:, None] - values) / simulation) ** 2
        wide = np.nanmin(profiled + gaps, axis=1)
        wide -= wide.min()
    methods = {name: Profiler(own, poi).scan(values) for name, own in (others or {}).items()}
    return PoiScan(poi, values, profiled, fixed, wide, methods)


def nuisance_profile(likelihood: RatioLikelihood, own: ShapeParameter, *, unit: str = "") -> NuisanceProfile:
    """-2 Delta ln L of a nuisance beside its constraint."""
    profiler = Profiler(likelihood, own.name)
    low, high = profiler.interval(4.0)
    values = np.linspace(low, high, _SCANNED)
    constrained = own.constraint.kind == "gaussian"
    return NuisanceProfile(
        name=own.name,
        theta=values,
        profiled=profiler.scan(values),
        constraint=values**2 if constrained else np.zeros(len(values)),
        settings=np.array([own.coordinate.value(float(v)) for v in values]),
        unit=unit,
    )


def best(likelihood: RatioLikelihood, poi: str) -> float:
    """Best fit; nan where there is none."""
    try:
        return Profiler(likelihood, poi).best
    except FitError as error:
        _log.warning("%s", error)
        return float("nan")
