"""What learned densities bring with them: an error and a bias of the signal yield.

Every redrawn training (the k-th resample of the background's events and of the signal's simulation) is fitted to the
same data.  The standard deviation of the yields that they return is how far other events of the training would have
moved the result.  Trainings on each half of the events tell the bias: what they find among events of the other half is
measured (`hisigma_zfit.inference.unseen`).  Where the events are not at hand it is guessed: if it falls as one over
the number of events, it is as large as what half of the events find more than all of them, the jackknife of Quenouille
(Biometrika 43 (1956) 353).  Both enter the model as

    n_sig + bias + sigma nu,

with nu a Gaussian nuisance, so that interval, limit, significance, impacts and toys have them without knowing of them.
The value is that of densities that were trained on the events as they are: nearer to the truth than what redrawn ones
return (docs/coverage.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.density.base import ConditionalFlow
from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.density.flows import RegionFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.unseen import Hypothesis, Taught, share_inside, unseen_yield
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.shapes import evaluate
from hisigma_zfit.model.systematics import nuisance
from hisigma_zfit.model.terms import Term
from hisigma_zfit.model.uncertain_yields import LogNormalYield, shifted_yield
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = [
    "NUISANCE",
    "redrawn_models",
    "redrawn_profilers",
    "training_bias",
    "training_error",
    "with_training_error",
]

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
    return tuple(_fit(redrawn, datasets, constraints) for redrawn in redrawn_models(models))


def redrawn_models(models: Sequence[SignalPlusBackground]) -> list[list[SignalPlusBackground]]:
    """The models of all categories with each redrawn training of all densities, without variations.

    Args:
        models: As for `redrawn_profilers`.

    Raises:
        InputError: Densities have different numbers of redrawn trainings, or fewer than two.
    """
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

    return [_others(models, partial(redrawn, k=k)) for k in range(number)]


def training_bias(
    model: SignalPlusBackground | Sequence[SignalPlusBackground],
    data: Any,
    *,
    constraints: Any = None,
    taught: Mapping[str, Taught] | None = None,
    seed: int = 0,
) -> float | None:
    """By how much the fitted parameter of interest is too large because no more events could be trained with.

    Args:
        model: As for `redrawn_profilers`.
        data: A `Dataset` or zfit Data, or one for each category.
        constraints: zfit constraints.
        taught: The events that trained the densities, by the names of the components: of one background and the
            signal.  Without them, and for several categories, the bias is that of the jackknife.
        seed: Of the masses at which unseen events are put.

    Returns:
        The yield of the whole less what halves find in the data beyond what they find unseen, or, as the jackknife
        has it, mean of the yields of the halves less that of the whole; None where no density was trained on halves.

    Raises:
        FitError: A fit did not converge.
    """
    models, datasets = _listed(model, data)
    if not any(_halves(c.pdf.flow) for one in models for c in one.components):
        return None

    def half(flow: ConditionalFlow, k: int) -> ConditionalFlow:
        return _halves(flow)[k] if _halves(flow) else flow

    whole = _fit(_others(models, lambda flow: flow), datasets, constraints)
    halves = [_fit(_others(models, partial(half, k=k)), datasets, constraints).best for k in range(2)]
    pair = _taught_pair(models, taught or {})
    if pair is None:
        return float(np.mean(halves)) - whole.best
    spurious = _unseen(whole, models[0].region, pair, taught or {}, seed)
    return whole.best - float(np.mean(np.subtract(halves, spurious)))


def _taught_pair(models: Sequence[SignalPlusBackground], taught: Mapping[str, Taught]) -> tuple[Term, Term] | None:
    """Background and signal whose trainings are known, if these are all that has to be known."""
    if len(models) > 1 or models[0].region is None:
        return None
    known = [c for c in models[0].components if c.name in taught and _halves(c.pdf.flow)]
    signals, backgrounds = ([c for c in known if c.is_signal == wanted] for wanted in (True, False))
    return (backgrounds[0], signals[0]) if len(signals) == len(backgrounds) == 1 else None


def _unseen(
    whole: Profiler, region: Any, pair: tuple[Term, Term], taught: Mapping[str, Taught], seed: int
) -> list[float]:
    """Signal that the halves' densities find unseen beyond the hypothesis of the fit, in units of the parameter."""
    parameters = whole.loss.parameters
    with parameters_restored(parameters):
        zfit.param.assign_values(parameters, whole.minimum.theta)
        falling, peak = (partial(evaluate, term.mass) for term in pair)
        shares = [share_inside(falling, region), share_inside(peak, region)]
        n_background, n_signal = (
            max(float(np.squeeze(term.extended.value())), 0.0) * share for term, share in zip(pair, shares, strict=True)
        )
        hypothesis = Hypothesis(peak, falling, n_signal, n_background, region)
        found = []
        for k in range(2):
            p_b, p_s = (_halves(term.pdf.flow)[k] for term in pair)
            sidebands, simulation = (taught[term.name].unseen(k) for term in pair)
            rng = stream(seed, Purpose.UNSEEN, k)
            fitted = unseen_yield(p_b, p_s, sidebands, simulation, hypothesis, rng=rng)
            found.append((fitted - n_signal) / shares[1] / _events_per_unit(pair[1].extended))
    return found


def _events_per_unit(size: Any) -> float:
    """What multiplies the parameter of interest in the signal's yield, as that of a signal strength."""
    return size.number if isinstance(size, LogNormalYield) and size.base is not None else 1.0


def _halves(flow: ConditionalFlow) -> tuple[ConditionalFlow, ...]:
    return flow.halves if isinstance(flow, EnsembleFlow) else ()


def _listed(
    model: SignalPlusBackground | Sequence[SignalPlusBackground], data: Any
) -> tuple[list[SignalPlusBackground], list[Any]]:
    return (list(model), list(data)) if isinstance(model, Sequence) else ([model], [data])


def _others(
    models: Sequence[SignalPlusBackground], choose: Callable[[ConditionalFlow], ConditionalFlow]
) -> list[SignalPlusBackground]:
    """The models with other densities, without their variations."""

    def other(term: Term) -> Term:
        return Term(term.name, term.pdf.copy(flow=choose(term.pdf.flow), morph=None), term.extended, term.is_signal)

    return [model.copy(components=tuple(map(other, model.components))) for model in models]


def _fit(models: list[SignalPlusBackground], datasets: list[Any], constraints: Any) -> Profiler:
    quick = [_without_sidebands(model) for model in models]
    return Profiler(ExtendedNLL(quick, datasets, constraints=constraints), str(models[0].poi.name))


def _without_sidebands(model: SignalPlusBackground) -> SignalPlusBackground:
    """The same likelihood up to a constant, for which no features are evaluated where only the mass counts."""
    if model.sidebands != "mass-only" or model.region is None:
        return model
    main = next(c for c in model.components if not c.is_signal)
    flow = RegionFlow(inside=main.pdf.flow, outside=_Shared(main.pdf.flow), region=model.region)
    return model.with_flows({main.name: flow})


class _Shared(ConditionalFlow):
    """Stands for a density that all components have in common, which decides nothing: log p is 0 for any of them."""

    def __init__(self, flow: ConditionalFlow) -> None:
        self._flow = flow
        self.features, self.given, self.signal_region = flow.features, flow.given, flow.signal_region

    def log_prob(self, x: Any, m: Any) -> Any:
        del x
        return 0.0 * m

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        del m
        return np.zeros(len(np.asarray(x)))

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        return self._flow.sample(m, seed=seed)

    @property
    def domain(self) -> Array:
        return self._flow.domain

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        return self._flow.inside(x, m)


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
