"""The falling mass shapes that a measurement may take: one, or several of which the data choose."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import absolute_minima
from hisigma_zfit.inference.hypotests import discovery
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.falling import falling_shape, linear_family
from hisigma_zfit.model.shape_names import FallingName
from hisigma_zfit.model.terms import Term
from hisigma_zfit.results import FallingShape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.inference.combine import Combination
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.measurement.options import ModelOptions
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["Choice", "best_first", "choices", "require_positive", "shape_fits"]

_log = logging.getLogger(__name__)

_MOST = 100  # of shapes in all categories together


@dataclass(frozen=True)
class Choice:
    """One falling shape in every category.

    Attributes:
        name: Of the shapes.
        penalty: What is added to -2 log L.
        n_parameters: Free parameters of the shapes.
        models: Of all categories.
    """

    name: str
    penalty: float
    n_parameters: int
    models: tuple[SignalPlusBackground, ...]

    def with_models(self, models: Sequence[SignalPlusBackground]) -> Choice:
        """The same shapes in other models."""
        return replace(self, models=tuple(models))


def choices(
    models: Mapping[str, SignalPlusBackground], inputs: Mapping[str, Inputs], options: ModelOptions
) -> list[Choice]:
    """All shapes that were asked for, in all categories independently.

    Args:
        models: Of all categories by name, with the first of the shapes.
        inputs: Their events.
        options: The shapes.

    Raises:
        InputError: There are too many.
    """
    names = [FallingName.parse(name) for name in options.falling]
    if len(names) ** len(models) > _MOST:
        raise InputError.from_parts(
            expected=f"at most {_MOST} combinations of falling shapes",
            got=f"{len(names)} shapes in each of {len(models)} categories",
            do="name fewer shapes",
        )
    found = []
    variants = [
        [(model if k == 0 else _with(model, inputs[category], str(name), category)) for k, name in enumerate(names)]
        for category, model in models.items()
    ]
    for indices in itertools.product(range(len(names)), repeat=len(models)):
        own = [names[k] for k in indices]
        n_parameters = sum(name.n_free for name in own)
        chosen = tuple(each[k] for each, k in zip(variants, indices, strict=True))
        words = str(own[0]) if len(set(own)) == 1 else " + ".join(map(str, own))
        found.append(Choice(words, options.falling_penalty * n_parameters, n_parameters, chosen))
    return found


def _with(model: SignalPlusBackground, part: Inputs, name: str, category: str) -> SignalPlusBackground:
    """The model with another falling shape of the background that the sidebands teach."""
    end = f"_{category}" if category else ""
    shape = falling_shape(name, part.data, part.mass, region=part.region, windows=part.windows, suffix=end)
    main = next(c for c in model.components if not c.is_signal)
    changed = {"mass": shape, "morph": main.pdf.morph} if main.pdf.morph is not None else {"mass": shape}
    other = Term(main.name, main.pdf.copy(**changed), main.extended, is_signal=False)
    return model.copy(components=tuple(other if c is main else c for c in model.components))


def best_first(found: Sequence[Choice], data: Sequence[Dataset], poi: str) -> list[Choice]:
    """The shapes in the order in which the data like them, with their penalties; one alone is not fitted.

    Args:
        found: The shapes.
        data: Events of all categories.
        poi: Name of the parameter of interest.

    Raises:
        FitError: A fit did not converge; the shape is named.
    """
    if len(found) == 1:
        return list(found)
    profilers = []
    for choice in found:
        try:
            profilers.append(Profiler(ExtendedNLL(list(choice.models), list(data)), poi))
        except FitError as error:
            raise FitError(f"falling shape {choice.name}: {error}") from error
    minima = absolute_minima(profilers) + [choice.penalty for choice in found]
    order = np.argsort(minima, kind="stable").tolist()
    _log.info("falling shapes, best first: %s", ", ".join(found[k].name for k in order))
    return [found[k] for k in order]


def require_positive(models: Sequence[Any], parameters: Sequence[Any], theta: Array) -> None:
    """Check that no fitted polynomial is negative somewhere, even where there is no event.

    Args:
        models: Of all categories.
        parameters: Of the likelihood.
        theta: Their values, shape (P,).

    Raises:
        FitError: One is.
    """
    values = dict(zip((str(p.name) for p in parameters), theta.tolist(), strict=True))
    for model in models:
        for component in model.components:
            family = linear_family(component.pdf.mass)
            if family is None:
                continue
            coefficients = np.array([values[str(p.name)] for p in family.parameters])
            least, at = family.lowest(coefficients)
            if least < -1e-9:
                raise FitError(
                    f"the fitted {type(component.pdf.mass).__name__} polynomial is negative at {at:.5g}: it is no "
                    "density; choose a bernstein, which cannot be, or a smaller degree"
                )


def shape_fits(combined: Combination, found: Sequence[Choice], grid: Array) -> tuple[FallingShape, ...]:
    """What each shape says alone, and where it is the best.

    Args:
        combined: The envelope over them.
        found: The shapes in its order.
        grid: Values of the parameter of interest that are looked at, shape (n,).
    """
    best = [combined.shape_at(float(value)) for value in grid]
    fits = []
    for h, choice in enumerate(found):
        own = [k for k, shape in enumerate(combined.shapes) if shape == h]
        first = min(own, key=lambda k: float(combined.offsets[k]))
        profiler = combined.profilers[first]
        at = grid[[each == h for each in best]]
        fits.append(
            FallingShape(
                shape=choice.name,
                n_parameters=choice.n_parameters,
                penalty=choice.penalty,
                offset=float(combined.offsets[first]),
                value=profiler.best,
                error=profiler.error,
                z=discovery(profiler, profiler.name).z,
                best_for=(float(at.min()), float(at.max())) if at.size else None,
            )
        )
    return tuple(fits)
