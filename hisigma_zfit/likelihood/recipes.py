"""What makes the likelihood of columns, chosen once for a model: the quick path, or a compiled graph."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hisigma_zfit.likelihood.compiled import CompiledTerm, ComposedYield
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.likelihood.evaluate import WeightedEvaluator
    from hisigma_zfit.likelihood.graph import GraphEvaluator
    from hisigma_zfit.model.terms import Term

__all__ = ["GraphRecipe", "Recipe", "compiled_terms", "likelihood_recipe"]


class Recipe(Protocol):
    """What makes the likelihood of columns of one data set."""

    def __call__(self, columns: Columns, /) -> WeightedEvaluator:
        """The likelihood, which keeps these columns."""


class GraphRecipe:
    """Likelihood of columns through one compiled graph; each has its own columns."""

    def __init__(self, evaluator: GraphEvaluator) -> None:
        self._evaluator = evaluator

    def __call__(self, columns: Columns, /) -> WeightedEvaluator:
        """The likelihood, which keeps these columns."""
        self._evaluator.load(columns)
        return copy.copy(self._evaluator)  # shares the compiled functions, not the columns


def compiled_terms(terms: Sequence[Term], parameters: tuple[Any, ...]) -> tuple[CompiledTerm, ...] | None:
    """The terms of a model without zfit objects, so that other processes can have them.

    Returns:
        None if one of the shapes or yields is outside of what the quick path knows.
    """
    # these need zfit, which finished columns do not
    from hisigma_zfit.model.falling import linear_family
    from hisigma_zfit.model.shapes import exponential_family

    index = {parameter: k for k, parameter in enumerate(parameters)}
    compiled = []
    for term in terms:
        composed = term.extended if isinstance(term.extended, ComposedYield) else None
        sources = (term.extended,) if composed is None else composed.sources
        if not all(source in index for source in sources):
            return None  # a yield composed of other parameters
        family = None if term.frozen else exponential_family(term.mass)
        linear = None if term.frozen or family is not None else linear_family(term.mass)
        shape: Any = family or linear
        if shape is None and not term.frozen:
            return None
        compiled.append(
            CompiledTerm(
                extended=tuple(index[p] for p in sources),
                composed=None if composed is None else composed.size,
                family=None if family is None else replace(family, parameters=()),
                shape=() if shape is None else tuple(index[p] for p in shape.parameters),
                morph=None if term.morph is None else term.morph.form,
                nuisances=() if term.morph is None else tuple(index[p] for p in term.morph.nuisances),
                linear=None if linear is None else replace(linear, parameters=()),
            )
        )
    return tuple(compiled)


def likelihood_recipe(terms: Sequence[Term], columns: Columns, parameters: tuple[Any, ...]) -> Recipe:
    """What makes the likelihood of any columns of a model.

    Args:
        terms: Components of the model.
        columns: Some of its columns; one event of them is looked at.
        parameters: All parameters.
    """
    from hisigma_zfit.likelihood.graph import GraphEvaluator

    compiled = compiled_terms(terms, parameters)
    if compiled is not None:
        return partial(ColumnEvaluator, compiled)
    return GraphRecipe(GraphEvaluator(terms, columns.take(np.arange(1)), parameters))
