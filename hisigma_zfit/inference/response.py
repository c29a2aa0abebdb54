"""Does the fit return the signal that is in the data?  Simulated events that no density was trained with, weighed.

A density of the signal that was trained too short, or on too few events, does not look like the signal: the fit then
returns a part of it only, and no bootstrap of the background shows it.  Near the best fit one more event at x in
category c changes the fitted parameter by its influence w_c(x).  A unit of the parameter are e_c events in category c,
and in an extended likelihood the fit returns what the model puts in: sum_c e_c <w_c>_model = 1.  Over the true signal
it is

    response = 1 + sum_c e_c (<w_c>_simulation - <w_c>_model),

to first order in the difference of the two.  Both means see the mass shape as well as the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.expected import influence
from hisigma_zfit.inference.hypotests import as_profiler
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.shapes import sample_mass
from hisigma_zfit.results import SignalResponse
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.model.terms import Term

__all__ = ["SignalResponse", "enough_events", "signal_response"]


_MIN_EVENTS = 100  # with fewer the error itself is not known
_MIN_IN_CATEGORY = 10  # a category with few of them has little of the signal, and little weight
_STEP = 1e-3  # of the parameter's error
_COPIES = 4  # events of the model by simulated event: their noise is then half of the simulation's


def enough_events(signals: Sequence[Dataset]) -> bool:
    """Whether there are enough simulated events for an error: 100 in all, and 10 in every category."""
    sizes = [len(signal) for signal in signals]
    return sum(sizes) >= _MIN_EVENTS and min(sizes) >= _MIN_IN_CATEGORY


def signal_response(
    result: Any, poi: str | Any, signal: Dataset | Sequence[Dataset], *, seed: int = 0
) -> SignalResponse:
    """Measure what part of the true signal a fit returns.

    Args:
        result: A FitResult or the likelihood, of one data set or of several categories.
        poi: The signal yield, or its name.
        signal: Simulated signal in the mass range that was not trained with, such as `held_out_events` gives, of each
            category; weights are honoured.  Events outside of the domain of the background count as lost: a fit cannot
            see them.  What of the signal falls into each category is taken from the model.
        seed: Of the events that are drawn from the model's signal.

    Raises:
        InputError: A model has not exactly one signal component, it is not one data set for each model, or there are
            fewer than 100 events in all or 10 in a category.

    Example:
        >>> print(hz.signal_response(hz.examples.fitted(), "n_sig", hz.examples.simulation()))
        signal response 1.01 +- 0.03 (1000 simulated events)
    """
    profiler = as_profiler(result, poi)
    models: list[SignalPlusBackground] = list(profiler.loss.model)
    simulated = list(signal) if isinstance(signal, Sequence) else [signal]
    signals = [[c for c in model.components if c.is_signal] for model in models]
    if len(simulated) != len(models) or any(len(own) != 1 for own in signals):
        raise InputError.from_parts(
            expected="one signal component and one set of simulated signal for each category",
            got=f"{', '.join(str(len(own)) for own in signals)} components and {len(simulated)} sets",
            do="pass a list with the simulated signal of each category, for a model of one signal",
        )
    if not enough_events(simulated):
        raise InputError.from_parts(
            expected=f"{_MIN_EVENTS} or more simulated events, {_MIN_IN_CATEGORY} in every category",
            got=", ".join(str(len(events)) for events in simulated),
            do="hold out more of them",
        )
    value, variance = 1.0, 0.0
    for k, (model, (own,), events) in enumerate(zip(models, signals, simulated, strict=True)):
        drawn = _drawn(own, model.mass, events, stream(seed, Purpose.RESPONSE, k))
        found, modelled = (_influences(profiler, model, each) for each in (events, drawn))
        weights = np.ones(len(events)) if events.weights is None else events.weights / events.weights.mean()
        mean = float(np.mean(weights * found))
        share = _events_per_unit(profiler, own)
        value += share * (mean - float(modelled.mean()))
        noise = np.mean((weights * (found - mean)) ** 2) / len(events) + modelled.var() / len(modelled)
        variance += share**2 * float(noise)
    return SignalResponse(value, float(np.sqrt(variance)), sum(len(events) for events in simulated))


def _drawn(signal: Term, mass: str, events: Dataset, rng: np.random.Generator) -> Dataset:
    """Events of the model's signal, several for each of the simulated ones."""
    masses = sample_mass(signal.pdf.mass, _COPIES * len(events), rng, stratified=True)
    columns = np.column_stack([masses, signal.pdf.sample_features(masses, seed=int(rng.integers(2**31)))])
    return type(events).from_arrays(dict(zip((mass, *signal.pdf.flow.features), columns.T, strict=True)))


def _value(profiler: Profiler) -> float:
    """Where influences are taken."""
    # with no signal in the data the mean would be that of a likelihood ratio, which few events dominate
    return max(profiler.best, profiler.error)


def _events_per_unit(profiler: Profiler, signal: Term) -> float:
    """Expected events of a component per unit of the parameter of interest, by a difference."""
    parameters, theta, step = profiler.loss.parameters, profiler.at(_value(profiler)).theta, _STEP * profiler.step
    numbers = []
    with parameters_restored(parameters):
        for sign in (1.0, -1.0):
            theta[profiler.index] = _value(profiler) + sign * step
            zfit.param.assign_values(parameters, theta)
            numbers.append(float(np.squeeze(signal.extended.value())))
    return (numbers[0] - numbers[1]) / (2.0 * step)


def _influences(profiler: Profiler, model: SignalPlusBackground, events: Dataset) -> Array:
    """Influence of every event of one category, 0 outside of the domain."""
    inside = np.ones(len(events), dtype=bool)
    for component in model.components:
        if not component.is_signal:
            inside &= component.pdf.flow.inside(events.array(component.pdf.flow.features), events[model.mass])
    found = np.zeros(len(events))
    if inside.any():
        found[inside] = influence(profiler, _value(profiler), of=ExtendedNLL(model, events.select(inside)))[0]
    return found
