"""One term of an extended model, whatever it is known as: a density of the events, or its ratio to a reference.

The likelihood sees of a term the logarithm of its ratio to a reference that all terms of the model have in common, a
mass shape or none, a yield, and systematic variations.  `FlowProductPDF` is one maker of terms: its ratios are to the
unit density of the features, and it can be drawn from.  A PDF that is known as a ratio only, as a classifier learns it,
is another: it brings weighted events of the reference instead, and pseudo-data are made of these.  Any zfit PDF of the
mass alone is a term without features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import zfit

from hisigma_zfit.arrays import stacked
from hisigma_zfit.errors import InputError
from hisigma_zfit.model import shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.morphing import Morph
    from hisigma_zfit.model.variation_weights import MorphColumns

__all__ = ["Events", "Reference", "Term", "TermPDF", "components", "reference_of", "terms_of"]


@dataclass(frozen=True)
class Events:
    """Events of one data set, with a memory of the densities that were evaluated on them.

    Attributes:
        names: Observables.
        values: Shape (n, d), in their order.
        known: Log densities by identity of the density, filled by those that several terms share.
    """

    names: tuple[str, ...]
    values: Array
    known: dict[int, Array] = field(default_factory=dict)

    def column(self, name: str) -> Array:
        """One observable, shape (n,)."""
        values = self.values[:, self.names.index(name)]
        return np.asarray(values) if values.flags.c_contiguous else self.array([name])[:, 0]

    def array(self, names: Sequence[str]) -> Array:
        """Some observables, shape (n, len(names))."""
        if not names:
            return np.empty((len(self.values), 0))
        return stacked([self.values[:, self.names.index(name)] for name in names])


@dataclass(frozen=True)
class Reference:
    """Weighted events of what the ratios of a model refer to.

    For every term the weights times its ratios sum to one, as far as the number of events allows.

    Attributes:
        columns: Observables by name, each of shape (n,).
        weights: Positive, shape (n,).
    """

    columns: Mapping[str, Array]
    weights: Array


@runtime_checkable
class TermPDF(Protocol):
    """What a zfit PDF has to know about itself to be a term of the quick likelihood.

    Attributes:
        mass: zfit PDF of the mass, a factor of the density, or None.
        features: The other observables that it depends on.
        morph: Systematic variations of its ratio, or None.
        reference: Weighted events for pseudo-data, or None if it can be drawn from, or others of the model can.
    """

    mass: Any
    morph: Morph | None
    reference: Reference | None

    @property
    def features(self) -> tuple[str, ...]:
        """See the attributes."""

    def log_ratio(self, events: Events) -> Array:
        """Log of the density over the common reference, without the mass shape, shape (n,); -inf where it is zero."""

    def draw(self, n: int, rng: np.random.Generator) -> Mapping[str, Array] | None:
        """N events by observable, without the variations; None if it cannot be drawn from."""


class _MassAlone:
    """A zfit PDF of the mass as a term: in the features it is the reference itself."""

    features: tuple[str, ...] = ()
    morph: Morph | None = None
    reference: Reference | None = None

    def __init__(self, pdf: Any) -> None:
        self.mass = pdf

    def log_ratio(self, events: Events) -> Array:
        return np.zeros(len(events.values))

    def draw(self, n: int, rng: np.random.Generator) -> Mapping[str, Array] | None:
        return {str(self.mass.obs[0]): shapes.sample_mass(self.mass, n, rng, stratified=True)}


@dataclass(frozen=True)
class Term:
    """One term of the sum: its density as the user wrote it, its yield and its part in the fit.

    Attributes:
        name: Name of the component.
        pdf: The density, a `FlowProductPDF`, another `TermPDF`, or a zfit PDF of the mass.
        extended: The yield, a zfit parameter.
        is_signal: Whether it counts as signal.
    """

    name: str
    pdf: Any
    extended: Any
    is_signal: bool = False

    @cached_property
    def known_as(self) -> TermPDF:
        """What the likelihood asks.

        Raises:
            InputError: The density is neither a `TermPDF` nor one of the mass alone.
        """
        if isinstance(self.pdf, TermPDF):
            return self.pdf
        if self.pdf.n_obs == 1:
            return _MassAlone(self.pdf)
        raise InputError.from_parts(
            expected="FlowProductPDF components, or PDFs of the mass alone",
            got=f"{type(self.pdf).__name__} in {', '.join(self.pdf.obs)}",
            do="use zfit.loss.ExtendedUnbinnedNLL for this model",
        )

    def shown(self) -> dict[str, Any]:
        """What a notebook shows, by name."""
        size = float(np.squeeze(self.extended.value()))
        content = {"signal": self.is_signal, "yield": f"{self.extended.name} = {size:.6g}"}
        content["mass"] = "-" if self.mass is None else type(self.mass).__name__
        nuisances = () if self.morph is None else tuple(str(p.name) for p in self.morph.nuisances)
        return content | {"features": self.features, "varied by": nuisances}

    @property
    def mass(self) -> Any:
        """The zfit PDF of the mass, or None."""
        return self.known_as.mass

    @property
    def features(self) -> tuple[str, ...]:
        """The other observables."""
        return self.known_as.features

    @property
    def morph(self) -> Morph | None:
        """Systematic variations, or None."""
        return self.known_as.morph

    @cached_property
    def frozen(self) -> bool:
        """True if no parameter of the mass shape floated when the likelihood was built: the shape can be cached."""
        return self.mass is None or not self.mass.get_params(floating=True, is_yield=False)

    def log_ratio(self, events: Events) -> Array:
        """See `TermPDF.log_ratio`."""
        return self.known_as.log_ratio(events)

    def variations(self, events: Events, log_ratio: Array) -> MorphColumns | None:
        """Columns of the systematic variations of events whose log ratios, shape (n,), are known; None without any."""
        if self.morph is None:
            return None
        m = np.zeros(len(log_ratio)) if self.mass is None else events.column(str(self.mass.obs[0]))
        return self.morph.columns(events.array(self.features), m, log_ratio)

    def sample(self, n: int, rng: np.random.Generator) -> Mapping[str, Array] | None:
        """N events by observable, without the variations; None for a ratio, whose events are its `reference`."""
        return self.known_as.draw(n, rng)


def components(model: zfit.pdf.BasePDF) -> tuple[zfit.pdf.BasePDF, ...]:
    """The PDFs that a model sums, or the model if it is no sum."""
    return tuple(model.pdfs) if isinstance(model, zfit.pdf.SumPDF) else (model,)


def terms_of(model: zfit.pdf.BasePDF) -> tuple[Term, ...]:
    """Take an extended model apart.

    Raises:
        InputError: A component is not extended, or is neither a `TermPDF` nor a PDF of the mass alone.
    """
    terms = []
    for pdf in components(model):
        if not pdf.is_extended:
            raise InputError.from_parts(
                expected="extended components", got=f"{pdf.name} without a yield", do="pass extended= to it"
            )
        terms.append(Term(str(pdf.name), pdf, pdf.get_yield()))
    for term in terms:
        _ = term.frozen  # now, whatever is done to the parameters later
    return tuple(terms)


def reference_of(terms: Sequence[Term]) -> Reference | None:
    """The weighted events that the terms of a model refer to; None if events are drawn from them.

    Raises:
        InputError: They refer to different events.
    """
    found = {id(r): r for term in terms if (r := term.known_as.reference) is not None}
    if len(found) > 1:
        raise InputError.from_parts(
            expected="ratios to one reference", got=f"{len(found)} references", do="give all terms the same events"
        )
    return next(iter(found.values()), None)
