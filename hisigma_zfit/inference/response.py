"""Does the fit return the signal that is in the data?  Simulated events that no density was trained with, weighed.

A density of the signal that was trained too short, or on too few events, does not look like the signal: the fit then
returns a part of it only, and no bootstrap of the background shows it.  Near the best fit one more event at x changes
the fitted yield by its influence w(x), whose mean is one over the model's own signal (in an extended likelihood the
fit returns what the model puts in).  Over the true signal it is

    response = 1 + <w>_simulation - <w>_model,

to first order in the difference of the two.  Both means see the mass shape as well as the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.expected import influence
from hisigma_zfit.inference.hypotests import as_profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.shapes import sample_mass
from hisigma_zfit.results import SignalResponse

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["MIN_EVENTS", "SignalResponse", "signal_response"]


MIN_EVENTS = 100  # with fewer the error itself is not known
_COPIES = 4  # events of the model by simulated event: their noise is then half of the simulation's


def signal_response(result: Any, poi: str | Any, signal: Dataset, *, seed: int = 0) -> SignalResponse:
    """Measure what part of the true signal a fit returns.

    Args:
        result: A FitResult or the likelihood, of one data set.
        poi: The signal yield, or its name.
        signal: Simulated signal in the mass range that was not trained with, such as `held_out_events` gives; weights
            are honoured.  Events outside of the domain of the background count as lost: a fit cannot see them.
        seed: Of the events that are drawn from the model's signal.

    Raises:
        InputError: The model has not exactly one signal component, or there are fewer than 100 events.

    Example:
        >>> print(hz.signal_response(hz.examples.fitted(), "n_sig", hz.examples.simulation()))
        signal response 0.99 +- 0.03 (1000 simulated events)
    """
    profiler = as_profiler(result, poi)
    model: SignalPlusBackground = profiler.loss.model[0]
    signals = [c.pdf for c in model.components if c.is_signal]
    if len(profiler.loss.model) > 1 or len(signals) != 1:
        raise InputError.from_parts(
            expected="one data set and one signal component",
            got=f"{len(profiler.loss.model)} and {len(signals)}",
            do="ask for each likelihood and each signal on its own",
        )
    if len(signal) < MIN_EVENTS:
        raise InputError.from_parts(
            expected=f"{MIN_EVENTS} or more simulated events", got=str(len(signal)), do="hold out more of them"
        )
    pdf = signals[0]
    rng = np.random.default_rng(seed)
    masses = sample_mass(pdf.mass, _COPIES * len(signal), rng, stratified=True)
    drawn = np.column_stack([masses, pdf.sample_features(masses, seed=int(rng.integers(2**31)))])
    own = type(signal).from_arrays(dict(zip((model.mass, *pdf.flow.features), drawn.T, strict=True)))
    simulated, modelled = (_influences(profiler, events) for events in (signal, own))
    weights = np.ones(len(signal)) if signal.weights is None else signal.weights / signal.weights.mean()
    mean = float(np.mean(weights * simulated))
    variance = np.mean((weights * (simulated - mean)) ** 2) / len(signal) + modelled.var() / len(modelled)
    return SignalResponse(1.0 + mean - float(modelled.mean()), float(np.sqrt(variance)), len(signal))


def _influences(profiler: Profiler, events: Dataset) -> Array:
    """Influence of every event, 0 outside of the domain."""
    model = profiler.loss.model[0]
    inside = np.ones(len(events), dtype=bool)
    for component in model.components:
        if not component.is_signal:
            inside &= component.pdf.flow.inside(events.array(component.pdf.flow.features), events[model.mass])
    found = np.zeros(len(events))
    if not inside.any():
        return found
    # with no signal in the data the mean would be that of a likelihood ratio, which few events dominate
    value = max(profiler.best, profiler.error)
    found[inside] = influence(profiler, value, of=ExtendedNLL(model, events.select(inside)))[0]
    return found
