"""The events and the background of one search, checked before anything is searched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.density.gaussianised import Gaussianised, window_transform
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.blobs import Points
from hisigma_zfit.learn.streams import Purpose, hashed_uniform
from hisigma_zfit.model.shapes import evaluate
from hisigma_zfit.model.spectrum import Spectrum

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["Scene", "fold_of", "scene"]

LEAST = 500  # events of a window
MOST_DUPLICATES = 1e-4
MOST_OUTSIDE = 1e-3
_FOLDS = 0  # stream of a search


@dataclass(frozen=True)
class Scene:
    """What is searched.

    Attributes:
        place: The gaussianised coordinates.
        points: Events with the background's density.
        bootstraps: log p_b(y) of the events by each bootstrap of the background, shape (n,) each.
        observables: Mass and features of the events, shape (n, d + 1).
        identity: Of the events, shape (n,).
        background: The learned density.
    """

    place: Gaussianised
    points: Points
    bootstraps: tuple[Array, ...]
    observables: Array
    identity: Integers
    background: ConditionalFlow

    def __len__(self) -> int:
        return len(self.points)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the observables."""
        return (self.place.given, *self.place.features)

    def observables_at(self, y: Array) -> list[float]:
        """Mass and features at one point, shape (d + 1,)."""
        x, m = self.place.inverse(y[None])
        return [float(m[0]), *map(float, x[0])]

    def log_backgrounds(self, y: Array) -> list[Array]:
        """Log p_b at points y of shape (n, d + 1), by the density and by each bootstrap."""
        x, m = self.place.inverse(y)
        return _log_backgrounds(self.place, self.background, x, m, self.place.forward(x, m)[1])


def scene(
    data: Dataset,
    background: ConditionalFlow,
    shape: zfit.pdf.BasePDF | Spectrum,
    *,
    region: SignalRegion,
    components: int,
    folds: int,
    strict: bool = True,
) -> Scene:
    """Check the input of a search and compute what all of it needs; see `find_signal`.

    Experiments are not judged as data are (`strict`): what a user would mend may happen in one of many by chance.
    """
    for option, value, least in (("components", components, 1), ("folds", folds, 2)):
        if value < least:
            raise InputError.from_parts(expected=f"{option} >= {least}", got=f"{value}", do=f"raise {option}")
    if data.weights is not None:
        raise InputError.from_parts(
            expected="events without weights", got="weighted ones", do="search data, not weighted simulation"
        )
    inside = data.select(region.contains(data[background.given]))
    if strict and len(inside) < LEAST:
        raise InputError.from_parts(
            expected=f"at least {LEAST} events in {region}", got=f"{len(inside)}", do="widen the window"
        )
    x, m = inside.array(background.features), inside[background.given]
    observables = np.column_stack([m, x])
    _require_distinct(observables)
    known = background.inside(x, m)
    if strict and np.mean(~known) > MOST_OUTSIDE:
        raise InputError.from_parts(
            expected="events inside of the domain of the background's density",
            got=f"{int(np.sum(~known))} of {len(known)} outside",
            do="train on sidebands with the same selection, or give the features limits",
        )
    x, m = x[known], m[known]
    density = shape.density if isinstance(shape, Spectrum) else partial(evaluate, shape)
    mass = window_transform(density, (region.lower, region.upper), name=background.given)
    place = Gaussianised.of(background, mass)
    y, log_jacobian = place.forward(x, m)
    log_background, *bootstraps = _log_backgrounds(place, background, x, m, log_jacobian)
    return Scene(
        place,
        Points.of(y, log_background),
        tuple(bootstraps),
        observables[known],
        inside.identity[known],
        background,
    )


def _log_backgrounds(
    place: Gaussianised, background: ConditionalFlow, x: Array, m: Array, log_jacobian: Array
) -> list[Array]:
    """Log p_b(y) by the density and, where there are any, by each bootstrap."""
    redrawn = background.bootstraps if len(background.bootstraps) > 1 else ()
    return [place.log_background(flow, x, m, log_jacobian=log_jacobian) for flow in (background, *redrawn)]


def _require_distinct(rows: Array) -> None:
    duplicates = len(rows) - len(np.unique(rows, axis=0))
    if duplicates > MOST_DUPLICATES * len(rows):
        raise InputError.from_parts(
            expected="every event once",
            got=f"{duplicates} duplicates among {len(rows)} events",
            do="remove them: equal events look like a signal",
        )


def fold_of(identity: Integers, seed: int, folds: int) -> Integers:
    """Fold of every event, by its identity and nothing else, shape (n,)."""
    return (hashed_uniform(identity, seed, Purpose.SEARCH, _FOLDS) * folds).astype(np.int64)
