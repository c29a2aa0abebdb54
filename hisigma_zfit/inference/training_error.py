"""What learned densities bring with them: an error and a bias of the signal yield.

Every redrawn training (the k-th resample of the background's events and of the signal's simulation) is fitted to the
same data.  The standard deviation of the yields that they return is how far other events of the training would have
moved the result.  Trainings on each half of the events are further from the truth than that on all of them.  If a bias
falls as one over the number of events, by as much as this is itself: the jackknife of Quenouille (Biometrika 43 (1956)
353), bias = mean of the halves' yields - yield.  Both enter the model as

    n_sig + bias + sigma nu,

with nu a Gaussian nuisance, so that interval, limit, significance, impacts and toys have them without knowing of them.
The value is that of densities that were trained on the events as they are: nearer to the truth than what redrawn ones
return (docs/coverage.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.systematics import nuisance
from hisigma_zfit.model.terms import Term
from hisigma_zfit.model.uncertain_yields import shifted_yield

if TYPE_CHECKING:
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["NUISANCE", "redrawn_profilers", "training_bias", "training_error", "with_training_error"]

NUISANCE = "training"  # name of the parameter


def redrawn_profilers(
    model: SignalPlusBackground | Sequence[SignalPlusBackground], data: Any, *, constraints: Any = None
) -> tuple[Profiler, ...]:
    """Fit the data with every redrawn training of all components together.

    Shape variations are left out: they are ratios to the density that they were trained beside, and to another one
    their noise would count as signal.

    Args:
        model: The model, whose flows hold their redrawn trainings as `bootstraps`, or those of several categories.
        data: A `Dataset` or zfit Data, or one for each category.
        constraints: zfit constraints.

    Raises:
        InputError: Components or categories have different numbers of redrawn trainings, or fewer than two.
        FitError: A fit did not converge.
    """
    models, datasets = _listed(model, data)
    counts = {len(c.pdf.flow.bootstraps) for one in models for c in one.components} - {1}
    if len(counts) != 1:
        got = " and ".join(map(str, sorted(counts))) or "one"
        raise InputError.from_parts(
            expected="two or more redrawn trainings, as many of each density",
            got=got,
            do="train all with the same bootstraps=",
        )
    (number,) = counts

    def redrawn(flow: ConditionalFlow, k: int) -> ConditionalFlow:
        return flow.bootstraps[k] if len(flow.bootstraps) > 1 else flow

    return tuple(_fit(models, datasets, partial(redrawn, k=k), constraints) for k in range(number))


def training_bias(
    model: SignalPlusBackground | Sequence[SignalPlusBackground], data: Any, *, constraints: Any = None
) -> float | None:
    """Events by which the fitted yield is too large because no more events could be trained with.

    Args:
        model: As for `redrawn_profilers`.
        data: A `Dataset` or zfit Data, or one for each category.
        constraints: zfit constraints.

    Returns:
        Mean of the yields of the halves less the yield of the whole; None where no density was trained on halves.

    Raises:
        FitError: A fit did not converge.
    """
    models, datasets = _listed(model, data)
    if not any(_halves(c.pdf.flow) for one in models for c in one.components):
        return None

    def half(flow: ConditionalFlow, k: int) -> ConditionalFlow:
        return _halves(flow)[k] if _halves(flow) else flow

    whole = _fit(models, datasets, lambda flow: flow, constraints).best
    return float(np.mean([_fit(models, datasets, partial(half, k=k), constraints).best for k in range(2)])) - whole


def _halves(flow: ConditionalFlow) -> tuple[ConditionalFlow, ...]:
    return flow.halves if isinstance(flow, EnsembleFlow) else ()


def _listed(
    model: SignalPlusBackground | Sequence[SignalPlusBackground], data: Any
) -> tuple[list[SignalPlusBackground], list[Any]]:
    return (list(model), list(data)) if isinstance(model, Sequence) else ([model], [data])


def _fit(
    models: list[SignalPlusBackground],
    datasets: list[Any],
    choose: Callable[[ConditionalFlow], ConditionalFlow],
    constraints: Any,
) -> Profiler:
    """The fit of models with other densities, without their variations."""

    def other(term: Term) -> Term:
        return Term(term.name, term.pdf.copy(flow=choose(term.pdf.flow), morph=None), term.extended, term.is_signal)

    others = [model.copy(components=tuple(map(other, model.components))) for model in models]
    return Profiler(ExtendedNLL(others, datasets, constraints=constraints), str(models[0].poi.name))


def training_error(redrawn: Sequence[Profiler]) -> float:
    """Standard deviation of the yields that redrawn trainings return, in events.

    Args:
        redrawn: Their fits, two or more.
    """
    return float(np.std([profiler.best for profiler in redrawn], ddof=1))


def with_training_error(
    models: Sequence[SignalPlusBackground], sigma: float, *, bias: float = 0.0
) -> list[SignalPlusBackground]:
    """The same models with a signal that a nuisance shifts, one for all categories.

    Args:
        models: Of all categories, which share the parameter of interest.
        sigma: Events of the parameter of interest by one standard deviation of the nuisance.
        bias: Events that are found beyond the true ones.
    """
    # without limits: far from the best fit a few standard deviations are not enough
    shift = nuisance(NUISANCE, limits=None)

    def shifted(term: Term) -> Term:
        if not term.is_signal:
            return term
        name = f"{getattr(term.extended, 'name', 'signal')}_{NUISANCE}"
        return Term(term.name, term.pdf, shifted_yield(term.extended, shift, sigma, name=name, offset=bias), True)

    return [model.copy(components=tuple(map(shifted, model.components))) for model in models]
