"""Asimov sets under models that they were not drawn from: bootstraps, other shapes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zfit

from hisigma_zfit.likelihood.columns import Columns, columns_and_reference, terms_of
from hisigma_zfit.likelihood.protocol import PseudoLikelihood
from hisigma_zfit.likelihood.recipes import Recipe, likelihood_recipe
from hisigma_zfit.toys.samples import sample_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.toys.asimov import ImportanceSample

__all__ = ["ForeseenLikelihood", "ScoredEvents"]


class ForeseenLikelihood(PseudoLikelihood):
    """-log L of an Asimov set under one of the models, which knows where further sets come from.

    Args:
        frame: Parameters and auxiliary observations.
        theta: The hypothesis, shape (P,).
        model: The models, one for each category.
        parts: Their evaluators.
        constant: What tells the likelihoods of several models of the same events apart.
        sample: What further sets are made of.

    Attributes:
        model: The models.
        sample: As above.
    """

    def __init__(
        self,
        frame: ImportanceSample,
        theta: Array,
        model: Sequence[Any],
        parts: Sequence[Any],
        *,
        constant: float,
        sample: Any,
    ) -> None:
        auxiliary = frame.auxiliary
        own = [auxiliary.evaluator(auxiliary.asimov(theta))] if auxiliary.terms else []
        super().__init__(frame.parameters, [*parts, *own], theta)
        self.model, self.sample, self._constant = list(model), sample, constant

    def data_constant(self) -> float:
        """What tells the members' likelihoods of the same events apart."""
        return self._constant


@sample_of.register(ForeseenLikelihood)
def _(loss: ForeseenLikelihood, *, theta: Array | None = None, events: int = 0, seed: int = 0) -> Any:
    del theta, events, seed  # drawn once for the whole forecast
    return loss.sample


@dataclass(frozen=True)
class ScoredEvents:
    """The events of one category under one model.

    Attributes:
        values: Shape (n, d).
        keep: Which are in the domain of its background, shape (n,).
        columns: What the likelihood needs of these.
        reference: Log of the density that its ratios refer to.
        recipe: What evaluates them.
    """

    values: Array
    keep: Mask
    columns: Columns
    reference: Array
    recipe: Recipe

    @classmethod
    def of(cls, model: Any, values: Array, parameters: tuple[Any, ...]) -> ScoredEvents:
        """Score events, shape (n, d), for a likelihood of these parameters."""
        terms, names = terms_of(model), list(model.obs)
        # as of the data: what is outside of the background's domain is left out
        flow = next(c.pdf.flow for c in model.components if not c.is_signal)
        keep = flow.inside(values[:, [names.index(name) for name in flow.features]], values[:, names.index(model.mass)])
        columns, reference = columns_and_reference(terms, zfit.Data.from_numpy(obs=model.space, array=values[keep]))
        return cls(values, keep, columns, reference, likelihood_recipe(terms, columns, parameters))

    def evaluator(self, weights: Array) -> tuple[Any, float]:
        """The likelihood of the events with these weights, shape (n,), and its constant."""
        kept = weights[self.keep]
        columns = dataclasses.replace(self.columns, weights=kept, reference=0.0, total=float(kept.sum()))
        return self.recipe(columns), -float(kept @ self.reference)
