"""Events drawn from every component of a model, with their densities: what importance samples are made of."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.likelihood.columns import Columns, columns_and_reference
from hisigma_zfit.likelihood.graph import MOVING, log_density, morph_inputs
from hisigma_zfit.likelihood.recipes import Recipe, likelihood_recipe
from hisigma_zfit.model.shapes import evaluate
from hisigma_zfit.model.terms import Term, reference_of, terms_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["Proposal", "parameters_restored"]


@contextmanager
def parameters_restored(parameters: Sequence[Any]) -> Iterator[None]:
    """Give parameters back the values that they have now; other threads wait for these."""
    with MOVING:
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
        density: sum_k M p_k(x; theta_0) / exp(r), shape (n,), over those that were drawn from; see `Columns` for r.
            One over the weight, divided by exp(r), for the events of a reference.
        recipes: What makes the likelihood of columns, by purpose, filled when they are needed.
    """

    model: Any
    terms: tuple[Term, ...]
    values: Array
    columns: Columns
    density: Array
    recipes: dict[str, Recipe] = field(default_factory=dict)

    @classmethod
    def draw(cls, model: Any, *, events: int, seed: int, category: int = 0) -> Proposal:
        """Draw `events` events from every component at the parameters' current values.

        Terms that are known as ratios to weighted events have these instead, all of them.

        Raises:
            InputError: There is nothing to draw from.
        """
        terms, names = terms_of(model), list(model.obs)
        reference = reference_of(terms)
        if reference is not None:
            drawn = [reference.columns]
        else:
            samples = [term.sample(events, stream(seed, Purpose.POOL, category, k)) for k, term in enumerate(terms)]
            drawn = [sample for sample in samples if sample is not None]
        if not drawn:
            raise InputError.from_parts(
                expected="a component that can be drawn from, or weighted events that the ratios refer to",
                got="neither",
                do="give the ratios their reference",
            )
        values = np.concatenate([np.stack([sample[name] for name in names], axis=1) for sample in drawn])
        columns, taken_out = columns_and_reference(terms, zfit.Data.from_numpy(obs=model.space, array=values))
        if reference is not None:
            return cls(model, terms, values, columns, np.exp(-taken_out) / reference.weights)
        density = np.zeros(len(values))
        for row, term, sample in zip(columns.ratio, terms, samples, strict=True):
            if sample is not None:
                density += events * (row if term.frozen else row * evaluate(term.mass, columns.masses))
        return cls(model, terms, values, columns, density)

    def take(self, keep: Mask) -> Proposal:
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
