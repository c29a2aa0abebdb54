"""A background with fitted weights, p_b = sum_i w_i p_i with sum_i w_i = 1, profiled together with the signal.

The idea is that of the w_i f_i ensembles of arXiv:2506.00113.  The members p_i(x'|m) are bootstraps of one density.
Their weights are nuisances: free in the fit of the signal region, and held by the likelihood of the sideband events on
which the members were trained,

    -log L(s, nu, w) - log L_SB(w),    -log L_SB(w) = -sum_{j in SB} log sum_i w_i p_i(x'_j|m_j).

Weights may be negative as long as the density stays positive at every event.  The number of nuisances is that of the
members minus one, whatever their quality, so the answer has one smooth likelihood instead of the envelope's many.

The weights are never parameters themselves: the fit sees the yields n_i = n_b w_i, in which the density is linear and
which the quick evaluation knows.

Intervals and limits are those of the profile.  For the limit the sidebands are repeated with the signal region: see
`hisigma_zfit.likelihood.sidebands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.errors import DomainError, FitError, InputError
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.constraints import as_constraint
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.sidebands import MemberWeights, SidebandMeasurement, SidebandTerm
from hisigma_zfit.model.compose import SignalPlusBackground
from hisigma_zfit.model.terms import Term

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.flows import ConditionalFlow

__all__ = ["SidebandConstraint", "fit_weights", "member_densities", "weighted_model", "weights_profiler"]


class _OnSimplex:
    """-log L_SB in the first E - 1 weights; the last one is what they leave."""

    def __init__(self, density: Array, event_weights: Array) -> None:
        self._last = density[-1]
        self._slopes = density[:-1] - density[-1]
        self._weights = event_weights

    def value(self, theta: Array) -> float:
        """-log L_SB at the weights `theta`, shape (E - 1,)."""
        density = self._last + theta @ self._slopes
        return float(-self._weights @ np.log(density)) if density.min() > 0.0 else np.inf

    def scores(self, theta: Array) -> Array:
        """Derivatives of each event's log-density, shape (E - 1, n)."""
        return self._slopes / (self._last + theta @ self._slopes)

    def evaluate(self, theta: Array) -> Evaluation:
        """The same with gradient and Hessian."""
        value = self.value(theta)
        scores = self.scores(theta)
        return Evaluation(value, -scores @ self._weights, (scores * self._weights) @ scores.T)


def member_densities(members: Sequence[ConditionalFlow], events: Dataset) -> tuple[Array, Array]:
    """Density of every event under every member, relative to the event's largest.

    Args:
        members: E densities of the same features.
        events: Events with the features and the mass.

    Returns:
        Densities, shape (E, n), and event weights, shape (n,); events outside of every member's domain are left out.

    Raises:
        DomainError: No event is inside of any domain.
    """
    x, m = events.array(members[0].features), events[members[0].given]
    logs = np.stack([member.log_prob_array(x, m) for member in members])
    top = logs.max(axis=0)
    inside = np.isfinite(top)
    if not inside.any():
        raise DomainError.from_parts(
            expected="sideband events inside the members' domain", got="none", do="pass the events of the training"
        )
    weights = np.ones(len(m)) if events.weights is None else events.weights
    return np.exp(logs[:, inside] - top[inside]), weights[inside]


def fit_weights(members: Sequence[ConditionalFlow], events: Dataset) -> MemberWeights:
    """Fit the weights to sideband events by maximum likelihood.

    Raises:
        InputError: Fewer than two members.
        FitError: The fit did not converge, as for members that are copies of each other.
    """
    if len(members) < 2:
        raise InputError.from_parts(
            expected="two or more members to weigh", got=str(len(members)), do="train with bootstraps=5"
        )
    density, event_weights = member_densities(members, events)
    evaluator = _OnSimplex(density, event_weights)
    n = len(members) - 1
    found = minimise(evaluator, np.full(n, 1.0 / (n + 1)), np.arange(n), tolerance=1e-9)
    if not found.converged or found.flat.size or np.linalg.cond(found.evaluation.hessian) > 1e12:
        raise FitError(f"the weights of {n + 1} members are not determined; are some of them copies of each other?")
    inverse = np.linalg.inv(found.evaluation.hessian)
    scores = evaluator.scores(found.theta) * event_weights
    to_all = np.vstack([np.eye(n), -np.ones(n)])  # the last weight moves against the others
    return MemberWeights(
        values=np.append(found.theta, 1.0 - found.theta.sum()),
        covariance=to_all @ (inverse @ (scores @ scores.T) @ inverse) @ to_all.T,
        density=density,
        event_weights=event_weights,
    )


class SidebandConstraint(zfit.constraint.SimpleConstraint):
    """-log L_SB as a term of the loss, which knows how its measurement would be repeated.

    Args:
        measurement: The sidebands.
        nuisances: Yields n_i of the members, E of them.
        observation: Best weights of the sidebands but the last, shape (E - 1,).
    """

    def __init__(self, measurement: SidebandMeasurement, nuisances: Sequence[Any], observation: Array) -> None:
        self.measurement, self.nuisances, self.observation = measurement, tuple(nuisances), observation
        if measurement.term == "exact":
            relative = znp.asarray(measurement.relative.T)
            weights = znp.asarray(measurement.event_weights(observation))

            def value() -> Any:
                parts = znp.stack([n.value() for n in self.nuisances])
                return -znp.sum(weights * znp.log(znp.sum(relative * parts, axis=1) / znp.sum(parts)))
        else:

            def value() -> Any:
                parts = znp.stack([n.value() for n in self.nuisances])
                shift = parts[:-1] / znp.sum(parts) - self.observation
                return 0.5 * znp.sum(shift * znp.sum(measurement.precision * shift, axis=1))

        super().__init__(value, params=list(nuisances))


@as_constraint.register(SidebandMeasurement)
def _(measurement: SidebandMeasurement, parameters: Sequence[Any], x: Array) -> SidebandConstraint:
    return SidebandConstraint(measurement, parameters, x)


def weighted_model(
    model: SignalPlusBackground, weights: MemberWeights
) -> tuple[SignalPlusBackground, tuple[zfit.Parameter, ...]]:
    """The same model with its main background split into its bootstraps.

    Args:
        model: A model whose first background holds its bootstraps.
        weights: Their weights, from which the yields start.

    Returns:
        The model, and the yields n_i of the members; n_b is their sum.

    Raises:
        InputError: The numbers of bootstraps and weights differ.
    """
    main = next(c for c in model.components if not c.is_signal)
    members = main.pdf.flow.bootstraps
    if len(members) != len(weights.values):
        raise InputError.from_parts(
            expected=f"{len(members)} weights", got=str(len(weights.values)), do="fit them to these members"
        )
    size = float(np.squeeze(main.extended.value()))
    yields = tuple(
        zfit.Parameter(f"{main.name}_{k}", size * w, stepsize=0.01 * size) for k, w in enumerate(weights.values)
    )
    split = tuple(
        Term(f"{main.name}_{k}", main.pdf.copy(flow=member, extended=n), n, is_signal=False)
        for k, (member, n) in enumerate(zip(members, yields, strict=True))
    )
    components = tuple(part for c in model.components for part in (split if c is main else (c,)))
    return (
        SignalPlusBackground(components, poi=model.poi, region=model.region, sidebands=model.sidebands),
        yields,
    )


def weights_profiler(
    model: SignalPlusBackground,
    data: Any,
    sidebands: Dataset,
    *,
    term: SidebandTerm = "exact",
    constraints: Iterable[Any] | None = None,
    poi: str | None = None,
) -> Profiler:
    """Profile of the parameter of interest with the members' weights as nuisances.

    Args:
        model: The model with a background that holds its bootstraps.
        data: The events that are fitted; a `Dataset` or zfit Data.
        sidebands: The events that the members were trained on.
        term: ``"exact"`` for -log L_SB itself, or ``"gaussian"`` for its approximation with the sandwich covariance,
            which is faster and also covers the case that no combination of the members is exact.
        constraints: Further zfit constraints.
        poi: Name of the parameter of interest; the model's by default.

    Raises:
        InputError: `term` is unknown, it is exact although the sideband events have weights, or there are fewer than
            two bootstraps.
        FitError: A fit did not converge.
    """
    if term not in get_args(SidebandTerm):
        raise InputError.from_parts(
            expected=f"term to be one of {', '.join(get_args(SidebandTerm))}", got=repr(term), do="choose one"
        )
    if term == "exact" and sidebands.weights is not None:
        raise InputError.from_parts(
            expected="sideband events without weights for their exact likelihood",
            got="weights, which make it too steep or too flat",
            do='pass term="gaussian", whose covariance has their squares',
        )
    main = next(c for c in model.components if not c.is_signal)
    weights = fit_weights(main.pdf.flow.bootstraps, sidebands)
    split, yields = weighted_model(model, weights)
    measurement = SidebandMeasurement(weights, term)
    held = [*(constraints or ()), SidebandConstraint(measurement, yields, measurement.observed)]
    return Profiler(ExtendedNLL(split, data, constraints=held), poi or model.poi.name)
