"""What makes the likelihood of columns, chosen once for a model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hisigma_zfit.likelihood.evaluate import Evaluator, column_evaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.likelihood.columns import Term
    from hisigma_zfit.likelihood.graph import GraphEvaluator

__all__ = [
    "CompiledRecipe",
    "Recipe",
    "likelihood_recipe",
]


class Recipe(Protocol):
    """What makes the likelihood of columns of one data set."""

    def __call__(self, columns: Columns, /) -> Evaluator:
        """The likelihood, which keeps these columns."""


class CompiledRecipe:
    """Likelihood of columns through one compiled graph; each has its own columns."""

    def __init__(self, evaluator: GraphEvaluator) -> None:
        self._evaluator = evaluator

    def __call__(self, columns: Columns, /) -> Evaluator:
        """The likelihood, which keeps these columns."""
        self._evaluator.load(columns)
        return copy.copy(self._evaluator)  # shares the compiled functions, not the columns


def likelihood_recipe(terms: Sequence[Term], columns: Columns, parameters: tuple[Any, ...]) -> Recipe:
    """What makes the likelihood of any columns of a model.

    Args:
        terms: Components of the model.
        columns: Some of its columns; one event of them is looked at.
        parameters: All parameters.
    """
    from hisigma_zfit.likelihood.graph import GraphEvaluator

    one = columns.take(np.arange(1))
    quick = column_evaluator(terms, one, parameters)
    return CompiledRecipe(GraphEvaluator(terms, one, parameters)) if quick is None else quick.recipe()
