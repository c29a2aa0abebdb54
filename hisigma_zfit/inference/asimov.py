"""Asimov sets in many dimensions: weighted events whose best fit is known beforehand.

A binned Asimov set needs a grid, and 45 bins in each of five dimensions are 1.8e8 cells.  Here it is an importance
sample: M events of every component k, drawn once at parameters theta_0, with the weights

    w = sum_k N_k p_k(x; theta) / sum_k M p_k(x; theta_0),

so that any sum over the events estimates an integral over the expected density at theta.  The weights are then
calibrated so that the score of the likelihood vanishes at theta, as it does for the integral itself: the best fit
*is* theta, and what is left of the sampling noise enters the test statistic in second order only.

What to use when: `ImportanceSample` once for a likelihood, its `asimov` for every hypothesis (no density is evaluated
again), `AsimovSet.profiler` for the test statistic, `AsimovSet.toy` for pseudo-experiments of the same hypothesis.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import zfit
from zfit.core.parameter import assign_values

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.inference.auxiliary import AuxiliaryData
from hisigma_zfit.inference.fitting import Profiler
from hisigma_zfit.model.columns import Columns, Term, build_columns, terms_of
from hisigma_zfit.model.evaluate import Evaluation, Evaluator, column_evaluator
from hisigma_zfit.model.graph import GraphEvaluator, log_density
from hisigma_zfit.model.likelihood import ExtendedNLL
from hisigma_zfit.model.projections import sample_mass
from hisigma_zfit.model.shapes import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["AsimovSet", "ImportanceSample", "PseudoLikelihood"]

Array = npt.NDArray[np.float64]

# The score is driven below this many standard deviations of itself.
_SCORE_TOLERANCE = 1e-7


@contextmanager
def _parameters_restored(parameters: Sequence[Any]) -> Iterator[None]:
    before = [float(p.value()) for p in parameters]
    try:
        yield
    finally:
        assign_values(parameters, before)


class PseudoLikelihood:
    """-log L of pseudo-data, up to a constant: what a `Profiler` asks of a likelihood, without zfit objects.

    Args:
        parts: Evaluators of the categories and of the constraints.
        start: Where fits start, shape (P,).
    """

    def __init__(self, parts: Sequence[Evaluator], start: Array) -> None:
        self.parameters = parts[0].parameters
        self._parts = tuple(parts)
        self._start = start

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,)."""
        return float(sum(part.value(theta) for part in self._parts))

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        results = [part.evaluate(theta) for part in self._parts]
        return Evaluation(
            float(sum(r.value for r in results)),
            np.sum([r.gradient for r in results], axis=0),
            np.sum([r.hessian for r in results], axis=0),
        )

    def evaluator(self) -> PseudoLikelihood:
        """Itself, in the place of `ExtendedNLL.evaluator`."""
        return self

    def theta(self) -> Array:
        """Where fits start, shape (P,)."""
        return self._start.copy()

    def profiler(self, poi: str) -> Profiler:
        """Profile likelihood of one parameter.

        Raises:
            FitError: The global fit did not converge.
        """
        return Profiler(cast("ExtendedNLL", self), poi)


@dataclass(frozen=True)
class _Category:
    """Proposal events of one data set with everything that stays the same for all hypotheses."""

    model: Any
    terms: tuple[Term, ...]
    values: Array
    columns: Columns
    proposal: Array
    """sum_k M p_k(x; theta_0) / exp(r), shape (n,); see `Columns` for r."""

    @classmethod
    def draw(cls, model: Any, *, events: int, seed: Sequence[int]) -> _Category:
        """Draw `events` events from every component at the parameters' current values."""
        terms, names, parts = terms_of(model), list(model.obs), []
        for k, term in enumerate(terms):
            rng = np.random.default_rng([*seed, k])
            observables = {str(term.mass.obs[0]): sample_mass(term.mass, events, rng)}
            if term.flow is not None:
                (m,) = observables.values()
                x = term.flow.sample(m, seed=int(rng.integers(2**31)))
                observables |= dict(zip(term.flow.features, np.asarray(x, dtype=np.float64).T, strict=True))
            parts.append(np.stack([observables[name] for name in names], axis=1))
        values = np.concatenate(parts)
        columns = build_columns(terms, zfit.Data.from_numpy(obs=model.space, array=values))
        proposal = np.zeros(len(values))
        for row, term in zip(columns.ratio, terms, strict=True):
            proposal += events * (row if term.frozen else row * evaluate(term.mass, columns.mass))
        return cls(model, terms, values, columns, proposal)

    def intensity(self, parameters: Sequence[Any], theta: Array) -> Array:
        """sum_k N_k p_k(x; theta) / exp(r) of the events, shape (n,); leaves the parameters at `theta`."""
        assign_values(parameters, theta)
        _, logs = log_density(self.terms, self.columns.mass, self.columns.ratio)
        return np.exp(np.asarray(logs))

    def score(self, parameters: Sequence[Any], theta: Array, steps: Array, index: npt.NDArray[np.intp]) -> Array:
        """d log L_i / d theta_j by central differences, shape (J, n); leaves the parameters displaced."""
        rows = []
        for j in index:
            lower, upper = parameters[j].lower, parameters[j].upper
            low, high = theta.copy(), theta.copy()
            low[j] = theta[j] - steps[j] if lower is None else max(theta[j] - steps[j], float(lower))
            high[j] = theta[j] + steps[j] if upper is None else min(theta[j] + steps[j], float(upper))
            ratio = self.intensity(parameters, high) / self.intensity(parameters, low)
            rows.append(np.log(ratio) / (high[j] - low[j]))
        return np.stack(rows)

    def part(self, parameters: tuple[Any, ...], columns: Columns) -> Evaluator:
        """Likelihood of these columns."""
        return column_evaluator(self.terms, columns, parameters) or GraphEvaluator(self.terms, columns, parameters)


class ImportanceSample:
    """Events of every component of every category of a likelihood, drawn and evaluated once.

    Args:
        loss: The likelihood; the masses are drawn at its parameters' current values, which should be near the
            hypotheses that are asked for later.
        events: Events M for every component and category.
        seed: Same seed, same events.

    Raises:
        InputError: `loss` is not an `ExtendedNLL`, there are too few events, or a constraint is of an unknown kind.
    """

    def __init__(self, loss: ExtendedNLL, *, events: int = 100_000, seed: int = 0) -> None:
        if not isinstance(loss, ExtendedNLL):
            raise InputError.from_parts(
                expected="an hz.ExtendedNLL", got=type(loss).__name__, do="build the likelihood with hz.ExtendedNLL"
            )
        if events < 100:
            raise InputError.from_parts(expected="100 events or more", got=str(events), do="raise events=")
        self.loss = loss
        self.parameters = loss.parameters
        self.auxiliary = AuxiliaryData(loss.constraints or (), loss.parameters)
        self.categories = tuple(
            _Category.draw(model, events=events, seed=(seed, k)) for k, model in enumerate(loss.model)
        )

    def asimov(self, theta: Array, *, poi: str | None = None) -> AsimovSet:
        """The Asimov set of a hypothesis.

        Args:
            theta: All parameters, shape (P,), in the order of the likelihood's `parameters`.
            poi: Name of a parameter in which the score shall vanish although it does not float.

        Raises:
            FitError: The density is not positive at `theta`, or the events do not represent it.
        """
        theta = np.array(theta, dtype=np.float64)
        free = np.array([k for k, p in enumerate(self.parameters) if p.floating or p.name == poi], dtype=np.intp)
        with _parameters_restored(self.parameters):
            weights = []
            for category in self.categories:
                weights.append(category.intensity(self.parameters, theta) / category.proposal)
                if not np.all(weights[-1] > 0.0):
                    values = ", ".join(f"{self.parameters[k].name} = {theta[k]:.4g}" for k in free)
                    raise FitError(f"the density is not positive everywhere at {values}; choose another hypothesis")
            weights = self._calibrate(theta, weights, free)
        return AsimovSet(self, theta, tuple(weights), self.auxiliary.asimov(theta))

    def _weighted(self, weights: Sequence[Array]) -> list[Evaluator]:
        return [
            category.part(
                self.parameters, dataclasses.replace(category.columns, weights=w, reference=0.0, total=float(w.sum()))
            )
            for category, w in zip(self.categories, weights, strict=True)
        ]

    def _calibrate(self, theta: Array, weights: list[Array], free: npt.NDArray[np.intp]) -> list[Array]:
        """Multiply the weights by 1 + lambda . T, the smallest change that makes the score vanish.

        T is the score of one event.  It need not be exact, because lambda is corrected with the exact gradient.
        """
        here = PseudoLikelihood(self._weighted(weights), theta).evaluate(theta)
        curvature = np.abs(np.diag(here.hessian))
        steps = np.where(curvature > 0.0, 1e-3 / np.sqrt(np.maximum(curvature, 1e-300)), 1e-3)
        scores = [category.score(self.parameters, theta, steps, free) for category in self.categories]
        for _ in range(5):
            information = sum((t * w) @ t.T for t, w in zip(scores, weights, strict=True))
            scale = 1.0 / np.sqrt(np.maximum(np.diag(information), 1e-300))
            gradient = here.gradient[free] * scale
            if np.abs(gradient).max(initial=0.0) < _SCORE_TOLERANCE:
                return weights
            inverse = np.linalg.pinv(information * np.outer(scale, scale), rcond=1e-10, hermitian=True)
            multiplier = scale * (inverse @ gradient)
            factors = [1.0 + multiplier @ t for t in scores]
            if min(f.min() for f in factors) <= 0.0:
                break
            weights = [w * f for w, f in zip(weights, factors, strict=True)]
            here = PseudoLikelihood(self._weighted(weights), theta).evaluate(theta)
        raise FitError("the Asimov set does not represent its hypothesis; raise events= or choose nearer parameters")


@dataclass(frozen=True)
class AsimovSet:
    """Weighted events and auxiliary observations whose best fit is `theta`; made by `ImportanceSample.asimov`.

    Attributes:
        sample: The events.
        theta: All parameters, shape (P,).
        weights: Event weights of each category, each of shape (n,); their sum is the expected number of events.
        observation: Auxiliary observations at which the constraints are stationary, shape (A,).
    """

    sample: ImportanceSample
    theta: Array
    weights: tuple[Array, ...]
    observation: Array

    @cached_property
    def likelihood(self) -> PseudoLikelihood:
        """Its -log L."""
        return self._with_auxiliary(self.sample._weighted(self.weights), self.observation)  # noqa: SLF001

    def _with_auxiliary(self, parts: list[Evaluator], observation: Array) -> PseudoLikelihood:
        auxiliary = self.sample.auxiliary
        return PseudoLikelihood([*parts, auxiliary.evaluator(observation)] if auxiliary.terms else parts, self.theta)

    def profiler(self, poi: str) -> Profiler:
        """Its profile likelihood in one parameter: t(s) is the Asimov value of the test statistic."""
        return self.likelihood.profiler(poi)

    def data(self) -> list[zfit.Data]:
        """The weighted events as zfit data, one set for each category."""
        return [
            zfit.Data.from_numpy(obs=category.model.space, array=category.values, weights=w)
            for category, w in zip(self.sample.categories, self.weights, strict=True)
        ]

    def constraints(self) -> list[Any]:
        """zfit constraints with the Asimov observations."""
        return self.sample.auxiliary.constraints(self.observation)

    def loss(self) -> ExtendedNLL:
        """The same as a zfit loss; it evaluates the densities again, which `profiler` does not."""
        return ExtendedNLL(list(self.sample.loss.model), self.data(), constraints=self.constraints() or None)

    @cached_property
    def _cumulative(self) -> tuple[Array, ...]:
        return tuple(np.cumsum(w) for w in self.weights)

    @cached_property
    def _compiled(self) -> dict[int, GraphEvaluator]:
        return {}

    def toy(self, rng: np.random.Generator) -> PseudoLikelihood:
        """One pseudo-experiment: Poisson-distributed numbers of events and fluctuating auxiliary observations.

        Events are drawn from the weighted sample, so no density is evaluated.  A likelihood with generic mass shapes
        keeps its compiled functions and moves on to the next toy's data: use it before the next toy is drawn.
        """
        parts: list[Evaluator] = []
        for k, (category, cumulative) in enumerate(zip(self.sample.categories, self._cumulative, strict=True)):
            n = int(rng.poisson(cumulative[-1]))
            at = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
            columns = _take(category.columns, np.minimum(at, cumulative.size - 1))
            if k in self._compiled:
                self._compiled[k].load(columns)
                parts.append(self._compiled[k])
                continue
            part = category.part(self.sample.parameters, columns)
            if isinstance(part, GraphEvaluator):
                self._compiled[k] = part
            parts.append(part)
        return self._with_auxiliary(parts, self.sample.auxiliary.draw(self.theta, rng))


def _take(columns: Columns, at: npt.NDArray[np.intp]) -> Columns:
    """The columns of some events, unweighted; the reference is constant in the parameters and left out."""
    return Columns(
        mass=columns.mass[at],
        weights=None,
        ratio=np.ascontiguousarray(columns.ratio[:, at]),
        reference=0.0,
        total=float(at.size),
    )
