"""Asimov sets in many dimensions: weighted events whose best fit is known beforehand.

A binned Asimov set needs a grid, and 45 bins in each of five dimensions are 1.8e8 cells.  Here it is an importance
sample: M events of every component k, drawn once at parameters theta_0, with the weights

    w = sum_k N_k p_k(x; theta) / sum_k M p_k(x; theta_0),

so that any sum over the events estimates an integral over the expected density at theta.  The weights are then
calibrated so that the score of the likelihood vanishes at theta, as it does for the integral itself: the best fit
*is* theta, and what is left of the sampling noise is in the curvature (0.2 % of Z for 100,000 events).

What to use when: `ImportanceSample` once for a likelihood, its `asimov` for every hypothesis (no density is evaluated
again), `AsimovSet.profiler` for the test statistic, `AsimovSet.pool` for pseudo-experiments.  `samples.sample_of` for
the same of a likelihood of any kind.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.constraints import auxiliary_data, shifted
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.protocol import PseudoLikelihood
from hisigma_zfit.results.show import table
from hisigma_zfit.toys.pool import Pool, PoolCategory
from hisigma_zfit.toys.proposal import Proposal, parameters_restored
from hisigma_zfit.toys.source import require_no_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluator
    from hisigma_zfit.toys.source import ToySource

__all__ = ["AsimovSet", "ImportanceSample"]


_log = logging.getLogger(__name__)

_SCORE_TOLERANCE = 1e-7  # the score is driven below this many standard deviations of itself
_LARGEST = 10.0  # scores of events are cut at this many standard deviations
_WORTH_A_WARNING = 0.5  # expected events that are left out


@contextmanager
def _own_constraints_set_aside(parameters: Sequence[Any]) -> Iterator[None]:
    """Keep a new `ExtendedNLL` from adding the constraints that nuisances carry, which hold the data's observations."""
    own = [(p, p.constraint_term) for p in parameters if getattr(p, "constraint_term", None) is not None]
    try:
        for parameter, _ in own:
            parameter.constraint_term = None
        yield
    finally:
        for parameter, term in own:
            parameter.constraint_term = term


class ImportanceSample:
    """Events of every component of every category of a likelihood, drawn and evaluated once.

    Args:
        loss: The likelihood; its parameters' values are not changed.
        theta: All parameters, shape (P,), at which masses are drawn; they should be near the hypotheses that are asked
            for later.  The current values by default.
        events: Events M for every component and category.
        seed: Same seed, same events.

    Raises:
        InputError: `loss` is not an `ExtendedNLL`, there are too few events, or a constraint is of an unknown kind.
    """

    def __init__(self, loss: ExtendedNLL, *, theta: Array | None = None, events: int = 50_000, seed: int = 0) -> None:
        if not isinstance(loss, ExtendedNLL):
            raise InputError.from_parts(
                expected="an hz.ExtendedNLL", got=type(loss).__name__, do="build the likelihood with hz.ExtendedNLL"
            )
        if events < 100:
            raise InputError.from_parts(expected="100 events or more", got=str(events), do="raise events=")
        self.loss = loss
        self.parameters = loss.parameters
        self.auxiliary = auxiliary_data(loss.constraints or (), loss.parameters)
        with parameters_restored(self.parameters):
            zfit.param.assign_values(self.parameters, loss.theta() if theta is None else theta)
            self.categories = tuple(
                Proposal.draw(model, events=events, seed=seed, category=k) for k, model in enumerate(loss.model)
            )

    def __repr__(self) -> str:
        events = [len(category.values) for category in self.categories]
        return f"{type(self).__name__}(events={events[0] if len(events) == 1 else events}, of={self.loss!r})"

    def asimov(self, theta: Array, *, poi: str | None = None) -> AsimovSet:
        """The Asimov set of a hypothesis.

        Args:
            theta: All parameters, shape (P,), in the order of the likelihood's `parameters`.
            poi: Name of the parameter of interest.  The score vanishes in it although it may not float, and events that
                are impossible without signal are left out: one of them would be a discovery by itself, and they are
                in no median experiment.

        Raises:
            FitError: The density is negative at `theta`, or the events do not represent it.
        """
        theta = np.array(theta, dtype=np.float64)
        free = np.array([k for k, p in enumerate(self.parameters) if p.floating or p.name == poi], dtype=np.intp)
        without = np.where([p.name == poi for p in self.parameters], 0.0, theta)
        with parameters_restored(self.parameters):
            categories, weights, lost = [], [], 0.0
            for category in self.categories:
                w = category.intensity(self.parameters, theta) / category.density
                if not np.all(w >= 0.0):
                    values = ", ".join(f"{self.parameters[k].name} = {theta[k]:.4g}" for k in free)
                    raise FitError(f"the density is not positive everywhere at {values}; choose another hypothesis")
                keep = (w > 0.0) & (category.intensity(self.parameters, without) > 0.0)
                lost += float(w[~keep].sum())
                categories.append(category.take(keep))
                weights.append(w[keep])
            if not any(w.size for w in weights):
                raise FitError(
                    f"nothing to expect at {poi or 'the hypothesis'}: no event has a density without signal there; "
                    "give the parameters of the background limits, or more events"
                )
            if lost:
                _log.log(
                    logging.WARNING if lost > _WORTH_A_WARNING else logging.INFO,
                    "left out of the Asimov set: %.3g expected events where no density but the signal's is positive",
                    lost,
                )
            kept = copy.copy(self)
            kept.categories = tuple(categories)
            return _calibrated(AsimovSet(kept, theta, tuple(weights), self.auxiliary.asimov(theta)), free)


def _calibrated(asimov: AsimovSet, free: npt.NDArray[np.intp]) -> AsimovSet:
    """Multiply the weights by 1 + lambda . h, a small change that makes the score vanish.

    h is the score of one event, cut where it is extreme: any function would do, because lambda is found with the
    exact gradient.
    """
    theta, weights, parameters = asimov.theta, asimov.weights, asimov.sample.parameters
    here = asimov.events_likelihood().evaluate(theta)
    curvature = np.abs(np.diag(here.hessian))
    steps = np.where(curvature > 0.0, 1e-3 / np.sqrt(np.maximum(curvature, 1e-300)), 1e-3)
    scores = [category.score(parameters, theta, steps, free) for category in asimov.sample.categories]
    total = sum(float(w.sum()) for w in weights)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # of densities that are next to nothing; told below, if it matters
        spread = np.sqrt(sum(t**2 @ w for t, w in zip(scores, weights, strict=True)) / total)
    cut = [np.clip(t, -_LARGEST * spread[:, None], _LARGEST * spread[:, None]) for t in scores]
    for _ in range(10):
        matrix = np.asarray(sum((h * w) @ t.T for h, t, w in zip(cut, scores, weights, strict=True)))
        scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        gradient = here.gradient[free] * scale
        if np.abs(gradient).max(initial=0.0) < _SCORE_TOLERANCE:
            return asimov
        multiplier = scale * (np.linalg.pinv((matrix * np.outer(scale, scale)).T, rcond=1e-10) @ gradient)
        factors = [1.0 + multiplier @ h for h in cut]
        if min(f.min() for f in factors) <= 0.0:
            break
        weights = tuple(w * f for w, f in zip(weights, factors, strict=True))
        asimov = dataclasses.replace(asimov, weights=weights)
        here = asimov.events_likelihood().evaluate(theta)
    raise FitError("the Asimov set does not represent its hypothesis; raise events= or choose nearer parameters")


@dataclass(frozen=True, repr=False)
class AsimovSet:
    """Weighted events and auxiliary observations whose best fit is `theta`; made by `ImportanceSample.asimov`.

    Attributes:
        sample: The events, as far as they are possible under the hypothesis.
        theta: All parameters, shape (P,).
        weights: Event weights of each category, each of shape (n,); their sum is the expected number of events.
        observation: Auxiliary observations at which the constraints are stationary, shape (A,).
    """

    sample: ImportanceSample
    theta: Array
    weights: tuple[Array, ...]
    observation: Array

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name: the hypothesis, and the events that stand for it."""
        content: dict[str, Any] = {
            "events": sum(w.size for w in self.weights),
            "expected": float(sum(w.sum() for w in self.weights)),
        }
        values = zip(self.sample.parameters, self.theta.tolist(), strict=True)
        return content | {p.name: value for p, value in values if p.floating}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value:.6g}' for name, value in self.shown().items())})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self.shown())

    def events_likelihood(self) -> PseudoLikelihood:
        """-log L of the weighted events without the constraints."""
        return PseudoLikelihood(self.sample.parameters, self._parts(), self.theta)

    def _parts(self) -> list[Evaluator]:
        return [
            category.recipe(self.sample.parameters, "sample")(
                dataclasses.replace(category.columns, weights=w, reference=0.0, total=float(w.sum()))
            )
            for category, w in zip(self.sample.categories, self.weights, strict=True)
        ]

    @cached_property
    def likelihood(self) -> PseudoLikelihood:
        """-log L of the set."""
        auxiliary, parts = self.sample.auxiliary, self._parts()
        own = [auxiliary.evaluator(self.observation)] if auxiliary.terms else []
        return PseudoLikelihood(self.sample.parameters, [*parts, *own], self.theta)

    def profiler(self, poi: str) -> Profiler:
        """Its profile likelihood in one parameter: t(s) is the Asimov value of the test statistic.

        Raises:
            FitError: The global fit did not converge.
        """
        return Profiler(self.likelihood, poi)

    def pool(self, *, background: ToySource | None = None) -> Pool:
        """Pseudo-experiments of the fitted model: the bias of fits to them is that of the fit alone.

        Args:
            background: Those of the background-only hypothesis, which upper limits of the toys need.

        Raises:
            InputError: The data's events have weights.
        """
        sample = self.sample
        require_no_weights(sample.loss)
        categories = [
            PoolCategory(
                dataclasses.replace(category.columns, weights=None),
                np.cumsum(weights),
                category.recipe(sample.parameters, "toys"),
            )
            for category, weights in zip(sample.categories, self.weights, strict=True)
        ]
        pool = Pool.build(sample.parameters, self.theta, categories, sample.auxiliary)
        return dataclasses.replace(pool, background=background)

    def data(self) -> list[zfit.Data]:
        """The weighted events as zfit data, one set for each category."""
        return [
            zfit.Data.from_numpy(obs=category.model.space, array=category.values, weights=w)
            for category, w in zip(self.sample.categories, self.weights, strict=True)
        ]

    def constraints(self) -> list[Any]:
        """Constraints for zfit with the Asimov observations."""
        return shifted(self.sample.auxiliary, self.sample.parameters, self.observation)

    def loss(self) -> ExtendedNLL:
        """The same as a zfit loss; it evaluates the densities again, which `profiler` does not."""
        with _own_constraints_set_aside(self.sample.parameters):
            return ExtendedNLL(
                list(self.sample.loss.model), self.data(), constraints=self.constraints() or None, expected=True
            )
