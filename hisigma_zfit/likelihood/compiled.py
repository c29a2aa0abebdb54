"""The terms of a model as the quick likelihood sees them: where their numbers are, and their densities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hisigma_zfit.arrays import kept
from hisigma_zfit.model.linear_families import ShareSize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.model.families import ExponentialFamily
    from hisigma_zfit.model.linear_families import LinearFamily
    from hisigma_zfit.model.variation_weights import MorphForm, MorphWeights
    from hisigma_zfit.model.yields import Size

__all__ = ["CompiledTerm", "ComposedYield", "TermOnData", "bases_of", "split_linear"]


@runtime_checkable
class ComposedYield(Protocol):
    """A yield that depends on several parameters and knows its derivatives, such as `systematics.LogNormalYield`."""

    sources: tuple[Any, ...]
    size: Size


def bases_of(yields: Iterable[Any]) -> tuple[str, ...]:
    """Names of what yields are multiples of, each once: their base if they are composed, or themselves.

    Couplings are no such thing: they may be negative.
    """
    bases = [getattr(size, "base", size) for size in yields]  # that of a log-normal yield may be a number
    return tuple(dict.fromkeys(str(base.name) for base in bases if hasattr(base, "name")))


@dataclass(frozen=True)
class CompiledTerm:
    """A `Term` in plain numbers: where it finds its own in the parameter vector; without densities.

    Attributes:
        extended: Parameters of the yield; one, unless the yield is composed.
        composed: The yield if it is composed.
        family: The mass shape, or None if it is cached or there is none.
        shape: Parameters of the family, q of them.
        morph: The systematic variations, or None.
        nuisances: Their parameters, J of them.
        linear: The mass shape, if it is linear in its parameters; see `split_linear`.
    """

    extended: tuple[int, ...]
    composed: Size | None
    family: ExponentialFamily | None
    shape: tuple[int, ...]
    morph: MorphForm | None
    nuisances: tuple[int, ...]
    linear: LinearFamily | None = None

    def split(self) -> tuple[CompiledTerm, ...]:
        """The frozen shapes that a linear one is the sum of, each with a yield that its coefficients decide."""
        if self.linear is None:
            return (self,)
        sources = (*self.extended, *self.shape)
        sizes = (
            ShareSize(self.composed, len(self.extended), self.linear, j)  # of a plain yield it has one source
            for j in range(self.linear.size)
        )
        return tuple(replace(self, extended=sources, composed=size, shape=(), linear=None) for size in sizes)

    def size(self, theta: Array) -> tuple[float, Array, Array]:
        """The yield with its gradient and Hessian with respect to the parameters in `extended`."""
        if self.composed is None:
            return float(theta[self.extended[0]]), np.ones(1), np.zeros((1, 1))
        return self.composed.derivatives(theta[list(self.extended)])


def split_linear(terms: Sequence[CompiledTerm], columns: Columns) -> tuple[tuple[CompiledTerm, ...], Columns]:
    """Terms and columns in which every mass shape is frozen or of the exponential family; the same if they are already.

    Args:
        terms: K terms.
        columns: Theirs.
    """
    if all(term.linear is None for term in terms) or columns.mass is None:
        return tuple(terms), columns
    split, rows, morphs = list[CompiledTerm](), list["Array"](), []
    for term, ratio, morph in zip(terms, columns.ratio, columns.morphs, strict=True):
        parts = term.split()
        split += parts
        rows += [ratio] if term.linear is None else list(ratio * term.linear.basis(columns.mass))
        morphs += [morph] * len(parts)
    return tuple(split), replace(columns, ratio=np.stack(rows), morphs=tuple(morphs))


class TermOnData:
    """A compiled term with its row of the columns, ready for the loop over blocks.

    Derivatives are summed with respect to the yield, the powers of t in the family's exponent and the nuisances, one
    row each, `start` being the first of them.
    """

    def __init__(self, term: CompiledTerm, columns: Columns, k: int, start: int) -> None:
        self.term, self.ratio, self.morph = term, columns.ratio[k], columns.morphs[k]
        self.plain = bool(np.all(self.ratio == 1.0))  # what the ratios refer to
        self.powers = None if term.family is None or columns.mass is None else kept(term.family.powers(columns.mass))
        self.q = len(term.shape)
        self.signs = np.array([*(() if term.family is None else term.family.signs), *[1.0] * len(term.nuisances)])
        self.parameters = np.array([*term.shape, *term.nuisances], dtype=np.intp)
        self.start, self.rest = start, slice(start + 1, start + 1 + self.parameters.size)

    def slope(self, block: slice) -> Array | None:
        """Powers of t of the events in a block, shape (q, B)."""
        return None if self.powers is None else self.powers[:, block]

    def weights(self, theta: Array) -> MorphWeights | None:
        """Weights of the variations at `theta`."""
        if self.term.morph is None or self.morph is None:
            return None
        return self.term.morph.weights(self.morph, theta[list(self.term.nuisances)])

    def density(self, polynomial: Sequence[float], block: slice, out: Array) -> Array:
        """Ratio times exp(c_0 + c_1 t + ...) of the events in a block, shape (B,); in `out` unless it is cached."""
        if self.powers is None:
            return self.ratio[block]
        t = self.powers[0, block]
        np.multiply(t, polynomial[-1], out=out)
        for coefficient in polynomial[-2:0:-1]:
            out += coefficient
            out *= t
        if polynomial[0] != 0.0:
            out += polynomial[0]
        np.exp(out, out=out)
        if not self.plain:
            out *= self.ratio[block]
        return out

    def polynomial(self, theta: Array, constant: float) -> list[float]:
        """Coefficients of the exponent, the constant first."""
        return [constant, *(self.signs[: self.q] * theta[self.parameters[: self.q]]).tolist()]
