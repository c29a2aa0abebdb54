"""Events drawn from every component of a model, with their densities: what importance samples are made of."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.likelihood.columns import Columns, Term, build_columns, terms_of
from hisigma_zfit.likelihood.graph import log_density, morph_inputs
from hisigma_zfit.likelihood.recipes import Recipe, likelihood_recipe
from hisigma_zfit.model.shapes import evaluate, sample_mass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["Proposal", "parameters_restored"]


@contextmanager
def parameters_restored(parameters: Sequence[Any]) -> Iterator[None]:
    """Give parameters back the values that they have now."""
    before = [float(p.value()) for p in parameters]
    try:
        yield
    finally:
        zfit.param.assign_values(parameters, before)


@dataclass(frozen=True)
class Proposal:
    """Events of one data set, M from every component k at parameters theta_0.

    Attributes:
        model: The extended model.
        terms: Its components.
        values: The events, shape (n, d), in the order of the model's observables.
        columns: Their cached columns.
        density: sum_k M p_k(x; theta_0) / exp(r), shape (n,); see `Columns` for r.
        recipes: What makes the likelihood of columns, by purpose, filled when they are needed.
    """

    model: Any
    terms: tuple[Term, ...]
    values: Array
    columns: Columns
    density: Array
    recipes: dict[str, Recipe] = field(default_factory=dict)

    @classmethod
    def draw(cls, model: Any, *, events: int, seed: Sequence[int]) -> Proposal:
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
        density = np.zeros(len(values))
        for row, term in zip(columns.ratio, terms, strict=True):
            density += events * (row if term.frozen else row * evaluate(term.mass, columns.mass))
        return cls(model, terms, values, columns, density)

    def take(self, keep: npt.NDArray[np.bool_]) -> Proposal:
        """Those of the events where `keep`, shape (n,), is true."""
        if keep.all():
            return self
        return dataclasses.replace(
            self, values=self.values[keep], columns=self.columns.take(keep), density=self.density[keep]
        )

    def intensity(self, parameters: Sequence[Any], theta: Array) -> Array:
        """sum_k N_k p_k(x; theta) / exp(r) of the events, shape (n,), NaN where it is negative.

        Leaves the parameters at `theta`.
        """
        zfit.param.assign_values(parameters, theta)
        columns = self.columns
        _, logs = log_density(self.terms, columns.mass, columns.ratio, morph_inputs(columns))
        return np.exp(np.asarray(logs))

    def score(self, parameters: Sequence[Any], theta: Array, steps: Array, index: npt.NDArray[np.intp]) -> Array:
        """Scores d log L_i / d theta_j of the events by differences, shape (J, n); leaves the parameters displaced.

        Args:
            parameters: All parameters, P of them.
            theta: Where, shape (P,).
            steps: Half the difference in each parameter, shape (P,).
            index: The parameters j, shape (J,).
        """
        rows, here = [], self.intensity(parameters, theta)
        for j in index:
            lower, upper = parameters[j].lower, parameters[j].upper
            low, high = theta.copy(), theta.copy()
            low[j] = theta[j] - steps[j] if lower is None else max(theta[j] - steps[j], float(lower))
            high[j] = theta[j] + steps[j] if upper is None else min(theta[j] + steps[j], float(upper))
            below, above = self.intensity(parameters, low), self.intensity(parameters, high)
            # on the side where the density is not positive any more, the point itself serves
            down, up = below > 0.0, above > 0.0
            width = np.where(up, high[j], theta[j]) - np.where(down, low[j], theta[j])
            change = np.log(np.where(up, above, here) / np.where(down, below, here))
            rows.append(np.divide(change, width, out=np.zeros_like(width), where=width > 0.0))
        return np.stack(rows)

    def recipe(self, parameters: tuple[Any, ...], purpose: str) -> Recipe:
        """What makes the likelihood of columns of this data set's model.

        Args:
            parameters: All parameters.
            purpose: Generic mass shapes are compiled once for each purpose, that is, for each size of a data set.
        """
        if purpose not in self.recipes:
            self.recipes[purpose] = likelihood_recipe(self.terms, self.columns, parameters)
        return self.recipes[purpose]
