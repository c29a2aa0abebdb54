"""Per-event columns of a model: everything in the likelihood that the fit does not change.

Flow weights and frozen mass shapes stay put during a fit, so log p_k(x'|m), its systematic variations and frozen
p_k(m) are computed once for each data set.  What is left for every iteration is the floating mass shapes, the yields
and the weights of the variations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
import zfit

from hisigma_zfit.density.flows import ConditionalFlow, RegionFlow
from hisigma_zfit.errors import DomainError, InputError
from hisigma_zfit.likelihood.cached import Columns
from hisigma_zfit.model import shapes
from hisigma_zfit.model.pdfs import FlowProductPDF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.morphing import Morph
    from hisigma_zfit.model.variation_weights import MorphColumns

__all__ = ["Columns", "Term", "build_columns", "components", "data_version", "terms_of"]


# Log of the largest ratio of densities that may stand in the columns: four of them are multiplied before the logarithm.
_FAR = 100.0


@dataclass(frozen=True)
class Term:
    """One component of the extended sum: a mass shape, a conditional density (or none) and a yield.

    Attributes:
        mass: zfit PDF of the mass.
        flow: Density of the features given the mass; None in a fit of the mass alone.
        extended: The yield, a zfit parameter.
        frozen: True if no parameter of the mass shape floats, so that its density can be cached.
        name: Name of the component.
        morph: Systematic variations of the conditional density, or None.
    """

    mass: zfit.pdf.BasePDF
    flow: ConditionalFlow | None
    extended: Any
    frozen: bool
    name: str
    morph: Morph | None = None


def components(model: zfit.pdf.BasePDF) -> tuple[zfit.pdf.BasePDF, ...]:
    """The PDFs that a model sums, or the model if it is no sum."""
    return tuple(model.pdfs) if isinstance(model, zfit.pdf.SumPDF) else (model,)


def terms_of(model: zfit.pdf.BasePDF) -> tuple[Term, ...]:
    """Take an extended model apart.

    Raises:
        InputError: A component is not extended, or is neither a `FlowProductPDF` nor a PDF of the mass alone.
    """
    terms = []
    for pdf in components(model):
        if not pdf.is_extended:
            raise InputError.from_parts(
                expected="extended components", got=f"{pdf.name} without a yield", do="pass extended= to it"
            )
        if isinstance(pdf, FlowProductPDF):
            mass, flow, morph = pdf.mass, pdf.flow, pdf.morph
        elif pdf.n_obs == 1:
            mass, flow, morph = pdf, None, None
        else:
            raise InputError.from_parts(
                expected="FlowProductPDF components, or PDFs of the mass alone",
                got=f"{type(pdf).__name__} in {', '.join(pdf.obs)}",
                do="use zfit.loss.ExtendedUnbinnedNLL for this model",
            )
        frozen = not (mass.get_params(floating=True, is_yield=False))
        terms.append(Term(mass, flow, pdf.get_yield(), frozen, str(pdf.name), morph))
    return tuple(terms)


def data_version(data: zfit.Data) -> int:
    """A number that changes when the content of `data` does.

    zfit's samplers change in place, and their own hash is taken modulo 4096, so two toys in a hundred would be
    confused; the content is hashed here in full.  Other zfit data are immutable.
    """
    if not isinstance(data, zfit.data.SamplerData):
        return id(data)
    digest = xxhash.xxh3_64(np.ascontiguousarray(data.value()).tobytes())
    if data.weights is not None:
        digest.update(np.ascontiguousarray(data.weights).tobytes())
    return digest.intdigest()


def conditional_log_prob(flow: ConditionalFlow, x: Array, m: Array, known: dict[int, Array]) -> Array:
    """Log p(x'|m) of events; a density that several components share is evaluated once.

    Args:
        flow: The density.
        x: Features in the flow's order, shape (n, d).
        m: Masses, shape (n,).
        known: Results so far by flow identity; filled here.
    """
    if id(flow) not in known:
        if isinstance(flow, RegionFlow):
            inside = flow.region.contains(m)
            result = conditional_log_prob(flow.outer, x, m, known).copy()
            result[inside] = flow.inner.log_prob_array(x[inside], m[inside])
        else:
            result = flow.log_prob_array(x, m)
        known[id(flow)] = result
    return known[id(flow)]


def _reference(terms: Sequence[Term], log_prob: Array) -> Array:
    """What is taken out of every event's log densities, shape (n,).

    The first component whose mass shape floats, if no other is out of its reach by far: its ratios are one then, and
    the evaluator need not multiply by them.  Else the largest component of each event.
    """
    floating = next((k for k, term in enumerate(terms) if not term.frozen), None)
    if floating is not None and np.all(np.isfinite(log_prob[floating])):
        reference: Array = log_prob[floating].copy()
        if (log_prob - reference).max(initial=0.0) < _FAR:
            return reference
    largest: Array = log_prob.max(axis=0, initial=-np.inf)
    return largest


def build_columns(terms: Sequence[Term], data: zfit.Data) -> Columns:
    """Evaluate densities and frozen shapes on a data set.

    Raises:
        DomainError: Events at which every component's density is zero.
    """
    names = list(data.obs)
    values = np.asarray(data.value())
    m = np.ascontiguousarray(values[:, names.index(terms[0].mass.obs[0])])
    weights = None if data.weights is None else np.ascontiguousarray(data.weights, dtype=np.float64)
    log_prob = np.zeros((len(terms), m.size))
    morphs: list[MorphColumns | None] = []
    known: dict[int, Array] = {}
    for row, term in zip(log_prob, terms, strict=True):
        if term.flow is not None:
            x = values[:, [names.index(feature) for feature in term.flow.features]]
            row[:] = conditional_log_prob(term.flow, x, m, known)
        morphs.append(None if term.morph is None else term.morph.columns(x, m, row))
    reference = _reference(terms, log_prob)
    lost = ~np.isfinite(reference)
    if lost.any():
        raise DomainError.from_parts(
            expected="events inside the domain of the learned densities",
            got=f"{int(lost.sum())} of {m.size} outside of every component's",
            do="drop them (flow.inside tells which) or train on a sample that covers them",
        )
    ratio = np.exp(log_prob - reference, out=log_prob)
    for k, term in enumerate(terms):
        if term.frozen:
            ratio[k] *= shapes.evaluate(term.mass, m)
    return Columns(
        mass=m,
        weights=weights,
        ratio=ratio,
        reference=float(reference.sum() if weights is None else reference @ weights),
        total=float(m.size if weights is None else weights.sum()),
        morphs=tuple(morphs),
    )
