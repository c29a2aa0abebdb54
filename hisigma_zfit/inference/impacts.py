"""Pulls, ranked impacts and the error budget of the parameter of interest.

What to use when: `impacts` tells which nuisance costs how much; `correlations` shows which parameters the data cannot
tell apart.  A nuisance is any floating parameter but the poi.  Those with a constraint term have a pre-fit value and
error, which are the minimum and the curvature of the constraint terms alone, so that every zfit constraint serves;
the others (a background's yield and slope) have post-fit impacts only and count as statistical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.evaluate import EvaluatorSum
from hisigma_zfit.likelihood.protocol import constraints_in, limits_of, measured_in
from hisigma_zfit.results.explanations import Correlations, Impact, Impacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["constrained_parameters", "correlations", "impacts", "prefit"]

Pair = tuple[float, float]


def constrained_parameters(loss: Likelihood) -> tuple[str, ...]:
    """Names of the floating parameters that stand in a constraint term."""
    found = {p.name for constraint in constraints_in(loss) for p in constraint.get_params(floating=True)}
    found |= set(measured_in(loss)[0])
    return tuple(p.name for p in loss.parameters if p.name in found and p.floating)


def prefit(loss: Likelihood) -> dict[str, tuple[float, float]]:
    """Central value and error that the constraint terms alone give to their parameters, by name.

    Raises:
        FitError: The constraint terms have no minimum.
    """
    names = constrained_parameters(loss)
    if not names:
        return {}
    at = [k for k, p in enumerate(loss.parameters) if p.name in names]
    terms, own = list(measured_in(loss)[1]), constraints_in(loss)
    if own:
        from hisigma_zfit.likelihood.constraints import constraint_evaluators  # zfit's, which takes seconds to import

        terms = [*constraint_evaluators(own, loss.parameters), *terms]
    minimum = minimise(EvaluatorSum(terms), loss.theta(), at, limits=limits_of(loss.parameters), tolerance=1e-10)
    minimum.required(f"the minimum of the constraints of {', '.join(names)}")
    errors = np.sqrt(np.diag(minimum.covariance()))
    return {loss.parameters[k].name: (float(minimum.theta[k]), float(errors[k])) for k in at}


def impacts(
    loss: Any,
    poi: str | Any,
    *,
    nuisances: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    minos: bool = True,
) -> Impacts:
    """Fit once for every nuisance and end of its error, and for every group.

    The impact of a nuisance is the shift of the best poi when the nuisance is held one error away from its best fit
    and all others are fitted again.  The statistical error is that with all constrained nuisances held at their best
    fit; the systematic one is what remains in quadrature.

    Args:
        loss: The likelihood, or the result of its fit; its parameters are not changed.
        poi: The parameter of interest, or its name.
        nuisances: Names of those to rank; by default all floating parameters but the poi.
        groups: Names of nuisances by group, for the error budget.
        minos: Post-fit errors from the profile of each nuisance; else from the Hessian, which is faster.

    Returns:
        The error budget, with the nuisances ranked by post-fit impact.

    Raises:
        InputError: A nuisance is unknown or does not float.
        FitError: A fit did not converge.

    Example:
        >>> found = hz.impacts(hz.examples.fitted(), "n_sig", minos=False)
        >>> found.impacts[0].name, round(found.impacts[0].size, 1)
        ('n_bkg', 2.3)
    """
    loss = getattr(loss, "loss", loss)
    profiler = Profiler(loss, poi)
    others = [p.name for p in loss.parameters if p.floating and p.name != profiler.name]
    wanted = others if nuisances is None else list(nuisances)
    _require_known([*wanted, *(name for group in (groups or {}).values() for name in group)], others)
    before = prefit(loss)
    total = _errors(profiler, minos=minos)
    found = [_impact(name, profiler, before.get(name), minos=minos) for name in wanted]
    statistical = _errors_without(profiler, constrained_parameters(loss), minos=minos)
    budget = {
        group: _quadratic_difference(total, _errors_without(profiler, names, minos=minos))
        for group, names in (groups or {}).items()
    }
    return Impacts(
        poi=profiler.name,
        value=profiler.best,
        total=total,
        statistical=statistical,
        groups=budget,
        impacts=tuple(sorted(found, key=lambda impact: -impact.size)),
        weights_corrected=profiler.weighted,
    )


def _require_known(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError.from_parts(
                expected=f"floating nuisances among {', '.join(known)}", got=repr(name), do="correct the name"
            )


def _errors(profiler: Profiler, *, minos: bool) -> Pair:
    if not minos:
        return profiler.error, profiler.error
    lower, upper = profiler.interval(1.0)
    return profiler.best - lower, upper - profiler.best


def _impact(name: str, poi: Profiler, before: Pair | None, *, minos: bool) -> Impact:
    nuisance = Profiler(poi.loss, name, start=poi.minimum.theta)

    def shift(value: float) -> float:
        minimum = nuisance.at(value).required(f"the fit with {name} = {value:.4g}")
        return float(minimum.theta[poi.index]) - poi.best

    below, above = _errors(nuisance, minos=minos)
    width = None if before is None else before[1]
    return Impact(
        name=name,
        value=nuisance.best,
        errors=(below, above),
        prefit_value=None if before is None else before[0],
        prefit_error=width,
        postfit=(shift(nuisance.best - below), shift(nuisance.best + above)),
        prefit=None if width is None else (shift(nuisance.best - width), shift(nuisance.best + width)),
    )


def _errors_without(poi: Profiler, names: Iterable[str], *, minos: bool) -> Pair:
    """Errors of the poi with some nuisances held at their best fit."""
    held = set(names) - {poi.name}
    return _errors(Profiler(poi.loss, poi.name, held=held, start=poi.minimum.theta), minos=minos)


def _quadratic_difference(whole: Pair, part: Pair) -> Pair:
    below, above = (max(w**2 - p**2, 0.0) ** 0.5 for w, p in zip(whole, part, strict=True))
    return below, above


def correlations(loss: Any, *, names: Sequence[str] | None = None) -> Correlations:
    """Correlation matrix of the floating parameters from the exact Hessian at the best fit, or with event weights.

    Args:
        loss: The likelihood, or the result of its fit.
        names: The parameters to show; by default all that float and are not held at a limit.

    Raises:
        InputError: A parameter is unknown, does not float or is held at a limit.
        FitError: The fit did not converge.
    """
    loss = getattr(loss, "loss", loss)
    floating = [p.name for p in loss.parameters if p.floating]
    _require_known(names or (), floating)
    profiler = Profiler(loss, floating[0])
    minimum, covariance = profiler.minimum, profiler.minimum.covariance(profiler.scatter)
    free = [loss.parameters[k].name for k in minimum.free]
    shown = [name for name in floating if name in free] if names is None else list(names)
    lost = [name for name in shown if name not in free]
    if lost:
        raise InputError.from_parts(
            expected="parameters inside of their limits", got=f"{', '.join(lost)} at a limit", do="leave them out"
        )
    at = [[p.name for p in loss.parameters].index(name) for name in shown]
    errors = np.sqrt(np.diag(covariance))[at]
    return Correlations(
        names=tuple(shown),
        matrix=covariance[np.ix_(at, at)] / np.outer(errors, errors),
        weights_corrected=profiler.weighted,
    )
