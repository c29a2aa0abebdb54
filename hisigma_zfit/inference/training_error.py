"""The error that learned densities bring with them, as a nuisance of the signal yield.

Every redrawn training (the k-th resample of the background's events and of the signal's simulation) is fitted to the
same data.  The standard deviation of the yields that they return is how far other events of the training would have
moved the result.  It is added to the model as n_sig + sigma nu, with nu a Gaussian nuisance, so that interval, limit,
significance, impacts and toys have it without knowing of it.  Redrawn trainings tell the error and not the value: that
of densities that were trained on the events as they are is nearer to the truth (docs/coverage.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.systematics import nuisance
from hisigma_zfit.model.terms import Term
from hisigma_zfit.model.uncertain_yields import shifted_yield

if TYPE_CHECKING:
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["NUISANCE", "redrawn_profilers", "training_error", "with_training_error"]

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
    models, datasets = (list(model), list(data)) if isinstance(model, Sequence) else ([model], [data])
    counts = {len(c.pdf.flow.bootstraps) for one in models for c in one.components} - {1}
    if len(counts) != 1:
        got = " and ".join(map(str, sorted(counts))) or "one"
        raise InputError.from_parts(
            expected="two or more redrawn trainings, as many of each density",
            got=got,
            do="train all with the same bootstraps=",
        )
    (number,) = counts
    return tuple(
        Profiler(
            ExtendedNLL([_redrawn(one, k) for one in models], datasets, constraints=constraints),
            str(models[0].poi.name),
        )
        for k in range(number)
    )


def _redrawn(model: SignalPlusBackground, k: int) -> SignalPlusBackground:
    def other(term: Term) -> Term:
        flows = term.pdf.flow.bootstraps
        pdf = term.pdf.copy(flow=flows[k] if len(flows) > 1 else term.pdf.flow, morph=None)
        return Term(term.name, pdf, term.extended, term.is_signal)

    return model.copy(components=tuple(other(term) for term in model.components))


def training_error(redrawn: Sequence[Profiler]) -> float:
    """Standard deviation of the yields that redrawn trainings return, in events.

    Args:
        redrawn: Their fits, two or more.
    """
    return float(np.std([profiler.best for profiler in redrawn], ddof=1))


def with_training_error(models: Sequence[SignalPlusBackground], sigma: float) -> list[SignalPlusBackground]:
    """The same models with a signal that a nuisance shifts, one for all categories.

    Args:
        models: Of all categories, which share the parameter of interest.
        sigma: Events of the parameter of interest by one standard deviation of the nuisance.
    """
    shift = nuisance(NUISANCE, limits=None)  # far from the best fit a few standard deviations are not enough

    def shifted(term: Term) -> Term:
        if not term.is_signal:
            return term
        name = f"{getattr(term.extended, 'name', 'signal')}_{NUISANCE}"
        return Term(term.name, term.pdf, shifted_yield(term.extended, shift, sigma, name=name), True)

    return [model.copy(components=tuple(map(shifted, model.components))) for model in models]
