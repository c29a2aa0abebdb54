"""Toys of events without their densities: a calibrated sample, drawn and evaluated once, to draw from.

A toy of 40,000 events costs seconds if its events are drawn from the flows and their densities evaluated again.  An
`AsimovSet` has events of every component with all columns of the likelihood, weighted so that its best fit is the
hypothesis itself; a `Pool` is the part of it that pseudo-experiments need, in plain numbers.  It can be sent to other
processes, and needs no TensorFlow there as long as the likelihood has no systematic shape variations.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.protocol import PlainParameter, PseudoLikelihood, limits_of, names_of
from hisigma_zfit.likelihood.recipes import GraphRecipe, Recipe, likelihood_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.likelihood.auxiliary import AuxiliaryData
    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.likelihood.evaluate import Evaluator
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.toys.source import ToySource

__all__ = ["Pool", "PoolCategory"]


def feed(digest: Any, value: Any) -> None:
    """Add numbers, arrays and what is made of them to a hash, by their content alone.

    Objects that are no dataclasses count with their public attributes, or by ``numbers`` where they have it: caches
    must not change a hash.
    """
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (tuple, list)):
        digest.update(f"{len(value)}".encode())
        for item in value:
            feed(digest, item)
    elif isinstance(value, dict):
        feed(digest, sorted(value.items()))
    elif isinstance(value, partial):
        feed(digest, (value.func.__name__, value.args, sorted(value.keywords.items())))
    elif is_dataclass(value):
        feed(digest, (type(value).__name__, [getattr(value, f.name) for f in fields(value)]))
    elif hasattr(value, "numbers"):
        feed(digest, (type(value).__name__, value.numbers))
    elif isinstance(value, (str, int, float, slice, np.generic)) or value is None:
        digest.update(repr(value).encode())
    else:
        public = sorted((name, own) for name, own in vars(value).items() if not name.startswith("_"))
        feed(digest, (type(value).__name__, public))


@dataclass(frozen=True)
class PoolCategory:
    """Weighted events of one data set.

    Attributes:
        columns: Their columns in the likelihood that is fitted.
        cumulative: Sums of their weights up to each of them, shape (n,); the last is the expected number of events.
        likelihood: Makes the likelihood of columns.
    """

    columns: Columns
    cumulative: Array
    likelihood: Recipe

    def draw(self, rng: np.random.Generator) -> Columns:
        """Columns of one pseudo-experiment with a Poisson-distributed number of events."""
        n = int(rng.poisson(self.cumulative[-1]))
        # in order, the search and the copy walk through memory once
        positions = np.sort(rng.random(n)) * self.cumulative[-1]
        at = np.searchsorted(self.cumulative, positions, side="right")
        return self.columns.take(np.minimum(at, self.cumulative.size - 1))

    def weighted(self) -> Evaluator:
        """Likelihood of all events with their weights."""
        weights = np.diff(self.cumulative, prepend=0.0)
        return self.likelihood(replace(self.columns, weights=weights, total=float(weights.sum())))


@dataclass(frozen=True, repr=False)
class Pool:
    """Everything that pseudo-experiments of one hypothesis and their fits need, in plain numbers; a `ToySource`.

    Attributes:
        parameters: Names of all parameters, P of them.
        theta: Their true values, shape (P,).
        free: Indices of those that float in the fit.
        limits: Lower and upper limits, each of shape (P,).
        categories: Events of each data set.
        auxiliary: Measurements behind the constraint terms.
        background: The background-only hypothesis, from which upper limits of toys have the Asimov value of their test
            statistic; None if it was not prepared.
    """

    parameters: tuple[str, ...]
    theta: Array
    free: tuple[int, ...]
    limits: tuple[Array, Array]
    categories: tuple[PoolCategory, ...]
    auxiliary: AuxiliaryData
    background: ToySource | None = None

    def __repr__(self) -> str:
        events = [category.columns.size for category in self.categories]
        truth = ", ".join(f"{self.parameters[k]}={self.theta[k]:.6g}" for k in self.free)
        return f"{type(self).__name__}(events={events[0] if len(events) == 1 else events}, {truth})"

    @classmethod
    def from_datasets(cls, loss: ExtendedNLL, datasets: Mapping[str, Dataset]) -> Pool:
        """Pseudo-experiments of weighted simulation: fits to them also show how wrong the model is.

        The true yields are the parameters' current values.  Those of the other parameters are taken as true as well,
        although simulation knows nothing of them: set them to a fit of the simulation before their pulls are read.

        Args:
            loss: The likelihood that is fitted, of one model; its data are not used.
            datasets: Simulated events of each component by name; weights count relative to each other.

        Raises:
            InputError: Other names than the model's, more than one model, or weights that cannot be drawn from.
        """
        import zfit

        from hisigma_zfit.likelihood.columns import build_columns, terms_of
        from hisigma_zfit.likelihood.constraints import auxiliary_data

        model = loss.model[0]
        terms = terms_of(model)
        names = [term.name for term in terms]
        if len(loss.model) != 1 or sorted(names) != sorted(datasets):
            raise InputError.from_parts(
                expected=f"one model and simulation of {', '.join(names)}",
                got=f"{len(loss.model)} and {', '.join(datasets) or 'none'}",
                do="pass a data set for each component",
            )
        values, weights = [], []
        for term in terms:
            data = datasets[term.name].within(model.space)
            own = np.ones(len(data)) if data.weights is None else np.asarray(data.weights, dtype=np.float64)
            if not own.size or own.min() < 0.0 or not own.sum() > 0.0:
                raise InputError.from_parts(
                    expected=f"{term.name} events with weights that are not negative",
                    got=f"{own.size} events, smallest weight {own.min(initial=np.inf):g}",
                    do="select others, or merge events of opposite weights",
                )
            values.append(data.array(model.obs))
            weights.append(own * (float(term.extended.value()) / own.sum()))
        columns = build_columns(terms, zfit.Data.from_numpy(obs=model.space, array=np.concatenate(values)))
        columns = replace(columns, weights=None)
        likelihood = likelihood_recipe(terms, columns, loss.parameters)
        category = PoolCategory(columns, np.cumsum(np.concatenate(weights)), likelihood)
        auxiliary = auxiliary_data(loss.constraints or (), loss.parameters)
        return cls.build(loss.parameters, loss.theta(), [category], auxiliary)

    @classmethod
    def build(
        cls, parameters: tuple[Any, ...], theta: Array, categories: Sequence[PoolCategory], auxiliary: AuxiliaryData
    ) -> Pool:
        """From zfit's parameters at the truth `theta`, shape (P,)."""
        return cls(
            parameters=names_of(parameters),
            theta=theta,
            free=tuple(k for k, p in enumerate(parameters) if p.floating),
            limits=limits_of(parameters),
            categories=tuple(categories),
            auxiliary=auxiliary,
        )

    @property
    def n_categories(self) -> int:
        """Number of data sets."""
        return len(self.categories)

    @property
    def n_auxiliary(self) -> int:
        """Number of auxiliary observations A."""
        return int(self.auxiliary.observed.size)

    @property
    def portable(self) -> bool:
        """Whether other processes can have it: all but likelihoods with shapes that only TensorFlow evaluates."""
        return not any(isinstance(category.likelihood, GraphRecipe) for category in self.categories)

    @property
    def digest(self) -> str:
        """Hash of all that the toys depend on: events, weights, variations, measurements, hypothesis, what floats."""
        digest = xxhash.xxh3_128()
        feed(digest, (self.parameters, self.theta, self.free, self.limits, self.auxiliary))
        for category in self.categories:
            feed(digest, (category.columns, category.cumulative, category.likelihood))
        if self.background is not None:
            digest.update(self.background.digest.encode())
        return digest.hexdigest()

    @cached_property
    def fit_parameters(self) -> tuple[PlainParameter, ...]:
        """The parameters without zfit."""
        return tuple(
            PlainParameter(
                name,
                k in self.free,
                float(low) if np.isfinite(low) else None,
                float(high) if np.isfinite(high) else None,
            )
            for k, (name, low, high) in enumerate(zip(self.parameters, *self.limits, strict=True))
        )

    def asimov(self) -> PseudoLikelihood:
        """-log L of the events themselves with their weights, and auxiliary observations that agree with the truth."""
        return self._sum([category.weighted() for category in self.categories], self.auxiliary.asimov(self.theta))

    def _sum(self, parts: Sequence[Evaluator], observation: Array) -> PseudoLikelihood:
        own = [self.auxiliary.evaluator(observation)] if observation.size else []
        return PseudoLikelihood(self.fit_parameters, [*parts, *own], self.theta)

    def draw(self, rng: np.random.Generator) -> tuple[PseudoLikelihood, list[int], Array]:
        """One pseudo-experiment.

        Returns:
            Its likelihood, the Poisson-distributed numbers of events of the categories, and the observations of the
            auxiliary measurements, which fluctuate too, shape (A,).
        """
        columns = [category.draw(rng) for category in self.categories]
        parts = [category.likelihood(own) for category, own in zip(self.categories, columns, strict=True)]
        observation = self.auxiliary.draw(self.theta, rng)
        return self._sum(parts, observation), [own.size for own in columns], observation
