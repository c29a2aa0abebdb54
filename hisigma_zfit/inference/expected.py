"""The error that a strategy has where the densities are the true ones, from held-out simulation.

Errors of single fits move with the fitted yield, and an error from the curvature of a likelihood whose density ratio
is wrong may be too small.  Neither is so here.  Near the truth a fitted yield is a sum over events, const + sum w(x_i),
with the influence w(x) of an event at x.  Whatever w is, sum_i (w(x_i) - <w>_b) / (<w>_s - <w>_b) is an unbiased
estimator of s if s and b are unknown, and its variance

    sigma^2 = [s <(w - <w>_b)^2>_s + b <(w - <w>_b)^2>_b] / (<w>_s - <w>_b)^2

is never below that of the true likelihood ratio (Cauchy and Schwarz).  Means are those of simulated events that had no
part in making w.  So a strategy that has learned something wrong cannot look better than it is, and the smallest sigma
that is found bounds the optimum from above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.graph import log_density, morph_inputs
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.results.strategies import Expectation
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import Dataset

__all__ = ["Truth", "expect_fit", "expect_model", "influence", "linear_error"]


_STEP = 1e-3  # of a parameter's error: derivatives by differences are then good to 1e-6


def linear_error(
    signal: Array,
    background: Array,
    n_signal: float,
    n_background: float,
    *,
    signal_weights: Array | None = None,
    background_weights: Array | None = None,
) -> float:
    """Error of the yield that a sum over events of their influence measures; see the module's text.

    Args:
        signal: Influence w of simulated signal, shape (n,).
        background: The same of background, shape (k,).
        n_signal: True signal yield.
        n_background: True background yield.
        signal_weights: How often every event of `signal` is there, shape (n,); once by default.
        background_weights: The same of `background`, shape (k,).

    Raises:
        InputError: The influences do not tell signal from background.
    """
    level = float(np.average(background, weights=background_weights))
    slope = float(np.average(signal, weights=signal_weights)) - level
    if slope == 0.0:
        raise InputError.from_parts(
            expected="weights that differ between signal and background", got="the same mean", do="use others"
        )
    variance = n_signal * np.average((signal - level) ** 2, weights=signal_weights)
    variance += n_background * np.average((background - level) ** 2, weights=background_weights)
    return float(np.sqrt(variance)) / abs(slope)


@dataclass(frozen=True)
class Truth:
    """Held-out simulation that stands for the true densities.

    Attributes:
        events: Signal, then background, weighted to the true yields.
        n_simulated: How many of the events are signal.
        n_signal: True signal yield.
        n_background: True background yield.
    """

    events: Dataset
    n_simulated: int
    n_signal: float
    n_background: float

    @classmethod
    def of(cls, signal: Dataset, background: Dataset, *, n_signal: float, n_background: float) -> Truth:
        """Join simulated signal and background; weights that they have say how often an event is there.

        Raises:
            InputError: Some weights are negative.
        """
        events = signal.concatenate(background)
        weights = np.concatenate(
            [
                np.full(len(part), n / len(part)) if part.weights is None else n * part.weights / part.weights.sum()
                for part, n in (
                    (signal.require_nonnegative_weights(), n_signal),
                    (background.require_nonnegative_weights(), n_background),
                )
            ]
        )
        weighted = type(events)(events.columns, weights, events.report)
        return cls(weighted, len(signal), n_signal, n_background)

    def error(self, influence: Array) -> float:
        """Error of the yield that a sum over events of their influence, shape (n,), measures."""
        own = self.events.weights
        return linear_error(
            influence[: self.n_simulated],
            influence[self.n_simulated :],
            self.n_signal,
            self.n_background,
            signal_weights=None if own is None else own[: self.n_simulated],
            background_weights=None if own is None else own[self.n_simulated :],
        )


def _log_density_slopes(
    loss: ExtendedNLL, parameters: Sequence[Any], theta: Array, free: Sequence[int], steps: Array
) -> list[Array]:
    """Derivatives of every event's log density of the sum, one array (n, F) for each data set."""
    sets = [
        (terms_of(model), columns.mass, columns.ratio, morph_inputs(columns))
        for model, columns in zip(loss.model, loss.columns(), strict=True)
    ]
    slopes = [np.empty((ratio.shape[1], len(free))) for _, _, ratio, _ in sets]
    with parameters_restored(parameters):
        zfit.param.assign_values(parameters, theta)
        for k, (index, step) in enumerate(zip(free, steps, strict=True)):
            for sign in (1.0, -1.0):
                zfit.param.assign_values([parameters[index]], [theta[index] + sign * step])
                for slope, arguments in zip(slopes, sets, strict=True):
                    part = sign * np.asarray(log_density(*arguments)[1]) / (2.0 * step)
                    slope[:, k] = part if sign > 0 else slope[:, k] + part
            zfit.param.assign_values([parameters[index]], [theta[index]])
    return slopes


def influence(profiler: Profiler, value: float, *, of: ExtendedNLL | None = None) -> list[Array]:
    """How much one more event changes the fitted parameter, for every event of every data set of a likelihood.

    w(x) is the parameter's row of the inverse Hessian times the derivatives of the event's log density, at `value` and
    the conditional minimum of all others.

    Args:
        profiler: The profile likelihood of the parameter, on events that stand for the truth.
        value: True value of the parameter.
        of: Likelihood of the same parameters, or some of them, whose events are meant, if they are others than those of
            the fit.

    Returns:
        An array of shape (n,) for each data set.
    """
    loss = profiler.loss
    theta = profiler.at(value).theta
    free = [k for k, p in enumerate(loss.parameters) if p.floating or k == profiler.index]
    inverse = np.linalg.inv(profiler.evaluator.evaluate(theta).hessian[np.ix_(free, free)])
    steps = _STEP * np.sqrt(np.abs(np.diag(inverse)))
    row = inverse[free.index(profiler.index)]
    events = loss if of is None else of
    return [slopes @ row for slopes in _log_density_slopes(events, loss.parameters, theta, free, steps)]


def expect_model(
    name: str,
    model: Any,
    truth: Truth,
    *,
    poi: str = "n_sig",
    value: float | None = None,
    masks: Sequence[Mask] | None = None,
    dataset: int = 0,
) -> Expectation:
    """Error that the fit of a model has for true densities.

    Args:
        name: Name of the strategy.
        model: An extended model, or a list of them for a simultaneous fit.
        truth: Simulation that none of the densities was trained with.
        poi: Name of the signal yield.
        value: Value of that parameter in the truth, if it is not the true yield because it counts events after a cut.
        masks: Which events each model takes, each of shape (n,); by default all events, for one model.
        dataset: Number of the data set, for the result.
    """
    models = list(model) if isinstance(model, (list, tuple)) else [model]
    chosen = [np.ones(len(truth.events), dtype=bool)] if masks is None else list(masks)
    parts = [truth.events.select(mask) for mask in chosen]
    return expect_fit(name, Profiler(ExtendedNLL(models, parts), poi), truth, chosen, value=value, dataset=dataset)


def expect_fit(
    name: str,
    profiler: Profiler,
    truth: Truth,
    masks: Sequence[Mask],
    *,
    value: float | None = None,
    dataset: int = 0,
) -> Expectation:
    """The same for a fit of the truth's events that exists.

    Args:
        name: As for `expect_model`.
        profiler: Profile likelihood of the yield in the selected events of the truth.
        truth: As for `expect_model`.
        masks: Which of its events each data set of the fit holds, each of shape (n,).
        value: As for `expect_model`.
        dataset: As for `expect_model`.
    """
    weights = np.zeros(len(truth.events))  # an event that no model takes has no influence
    for mask, part in zip(masks, influence(profiler, truth.n_signal if value is None else value), strict=True):
        weights[mask] = part
    return Expectation(name, dataset, truth.error(weights))
