"""The likelihood of the events outside of a mass region, for fits before the region is opened.

An extended likelihood counts what it expects wherever an event could have been.  With a region R closed that is
sum_k n_k (1 - F_k) with F_k = int_R p_k(m) dm, and the densities of the events outside stay what they are:

    -log L_outside = -log L(events outside) - sum_k n_k F_k.

So the parameters keep their meaning: yields are those of the whole range, and the shape in the region follows from
that beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.protocol import PseudoLikelihood
from hisigma_zfit.likelihood.recipes import compiled_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.likelihood.compiled import CompiledTerm
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.model.families import ExponentialFamily
    from hisigma_zfit.model.terms import Term

__all__ = ["RegionYield", "outside_likelihood"]


class RegionYield:
    """Number of events that a model expects in a mass region, sum_k n_k F_k, with its derivatives.

    Args:
        model: An extended model of the mass, or of the mass and features.
        parameters: All parameters of the likelihood, P of them.
        region: The region, inside the range of the mass.

    Raises:
        InputError: A mass shape floats that the quick likelihood does not know, or a component has none.
    """

    def __init__(self, model: Any, parameters: tuple[Any, ...], region: SignalRegion) -> None:
        terms = terms_of(model)
        compiled = compiled_terms(terms, parameters)
        if compiled is None or any(term.mass is None for term in terms):
            raise InputError.from_parts(
                expected="mass shapes that are frozen, hz.ExpQuadratic, zfit.pdf.Exponential or from hz.falling_shape",
                got=", ".join(type(term.mass).__name__ for term in terms),
                do="choose such a shape for a fit without the signal region",
            )
        self._parts: list[tuple[CompiledTerm, ExponentialFamily | None, float]] = []
        for term, plain in zip(terms, compiled, strict=True):
            if plain.linear is not None:
                shares = plain.linear.shares(region.lower, region.upper).tolist()
                self._parts += [(part, None, own) for part, own in zip(plain.split(), shares, strict=True)]
                continue
            inside = plain.family and replace(plain.family, lower=region.lower, upper=region.upper)
            share = 0.0 if inside is not None else _frozen_share(term, region)
            self._parts.append((plain, inside, share))

    def evaluate(self, theta: Array) -> Evaluation:
        """The number, its gradient and its Hessian at `theta`, shape (P,)."""
        total, gradient, hessian = 0.0, np.zeros(theta.size), np.zeros((theta.size, theta.size))
        for term, inside, frozen in self._parts:
            size, slope, bend = term.size(theta)
            at, shape, share = list(term.extended), list(term.shape), frozen
            if inside is not None and term.family is not None:
                within, whole = inside.log_partition(theta[shape]), term.family.log_partition(theta[shape])
                share = float(np.exp(within[0] - whole[0]))
                # d log F = <T>_R - <T>, and its derivative is the difference of the covariances
                first = within[1] - whole[1]
                second = np.outer(first, first) + within[2] - whole[2]
                gradient[shape] += size * share * first
                hessian[np.ix_(shape, shape)] += size * share * second
                mixed = share * np.outer(slope, first)
                hessian[np.ix_(at, shape)] += mixed
                hessian[np.ix_(shape, at)] += mixed.T
            total += size * share
            gradient[at] += share * slope
            hessian[np.ix_(at, at)] += share * bend
        return Evaluation(total, gradient, hessian)


def _frozen_share(term: Term, region: SignalRegion) -> float:
    """Part of a frozen mass shape that lies in the region."""
    window = zfit.Space(str(term.mass.obs[0]), region.lower, region.upper)
    return float(np.squeeze(term.mass.integrate(window, norm=term.mass.space)))


class _NotCounted:
    """What is expected in the closed region, taken off -log L."""

    def __init__(self, number: RegionYield) -> None:
        self._number = number

    def value(self, theta: Array) -> float:
        return -self._number.evaluate(theta).value

    def evaluate(self, theta: Array) -> Evaluation:
        own = self._number.evaluate(theta)
        return Evaluation(-own.value, -own.gradient, -own.hessian)


def outside_likelihood(loss: ExtendedNLL, region: SignalRegion) -> tuple[PseudoLikelihood, tuple[RegionYield, ...]]:
    """-log L of events outside of a region; see the module's text.

    Args:
        loss: The whole model with these events only, none of them in the region.
        region: The region.

    Returns:
        The likelihood, and the number of events that each category expects in the region.

    Raises:
        InputError: An event is in the region, or as for `RegionYield`.
    """
    _require_outside(loss, region)
    inside = tuple(RegionYield(model, loss.parameters, region) for model in loss.model)
    parts = [loss.evaluator(), *map(_NotCounted, inside)]
    return PseudoLikelihood(loss.parameters, parts, loss.theta()), inside


def _require_outside(loss: ExtendedNLL, region: SignalRegion) -> None:
    masses: Sequence[Array | None] = [columns.mass for columns in loss.columns()]
    number = sum(int(region.contains(m).sum()) for m in masses if m is not None)
    if number:
        raise InputError.from_parts(
            expected=f"no event in {region}", got=str(number), do="select the sidebands before building the likelihood"
        )
