"""The events of a training, checked before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.arrays import taken
from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.pilot import choose_coordinates
from hisigma_zfit.density.stacks import TrainingTask
from hisigma_zfit.density.trained import MassScale
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.dependence import require_independent
from hisigma_zfit.learn.kinded_transform import KindedTransform, dequantised, infer_support
from hisigma_zfit.learn.kinds import resolve_kinds
from hisigma_zfit.learn.moving import Coordinates
from hisigma_zfit.learn.resampling import held_out_mask, validation_mask
from hisigma_zfit.zfit_internals import require_one_range

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import zfit

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.base import ConditionalFlow, FlowConfig
    from hisigma_zfit.learn.kinded_transform import Kinds
    from hisigma_zfit.learn.preprocess import Support

__all__ = ["checked_task"]


def checked_task(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    *,
    given: zfit.Space | str,
    seed: int,
    config: FlowConfig,
    like: ConditionalFlow | None,
    checkpoint: str | os.PathLike[str] | None,
    kinds: Mapping[str, str] | None = None,
) -> tuple[TrainingTask, str, Coordinates]:
    """Check everything before anything is trained, and find the coordinates in which edges stand still.

    Args:
        data: See `train_flow`.
        features: See `train_flow`.
        given: See `train_flow`.
        seed: See `train_flow`.
        config: Recipe of the nets that compare coordinates.
        like: See `train_flow`.
        checkpoint: See `train_flow`.
        kinds: See `train_flow`.

    Returns:
        The events, the name of the mass and the coordinates.

    Raises:
        InputError: See `train_flow`.
    """
    names, mass = _names(features), _names(given)
    if len(mass) != 1 or mass[0] in names or len(set(names)) != len(names) or not names:
        raise InputError.from_parts(
            expected="distinct features and one mass that is not among them",
            got=f"features ({', '.join(names)}) given ({', '.join(mass)})",
            do="name each column once",
        )
    x, m = data.array(names), data[mass[0]]
    weights = np.ones(len(x)) if data.weights is None else data.require_nonnegative_weights().weights
    assert weights is not None
    used = weights > 0
    x, m, weights, identity = (taken(array, used) for array in (x, m, weights, data.identity))
    limits = _limits(features, len(names))
    stated = _kinds_of(data, names, kinds, like)
    supports = _supports(x, names, limits, stated)
    require_independent(dequantised(x, stated) if stated else x, m, names, mass[0])
    if like is not None:
        coordinates = _coordinates_of(like)
    else:
        # edges are looked for among the features that are continuous
        plain = [j for j in range(len(names)) if not (stated and stated[j])]
        found = choose_coordinates(
            x[:, plain],
            m,
            weights,
            features=[names[j] for j in plain],
            given=mass[0],
            limits=[limits[j] for j in plain],
            config=config,
            seed=seed,
            checkpoint=checkpoint,
        )
        coordinates = Coordinates(names, mass[0], found.changed)
    if coordinates.changed:
        x, limits = coordinates.forward(x, m)[0], coordinates.limits(limits)
        supports = _supports(x, names, limits, stated)
    task = TrainingTask(
        x=x,
        m=m,
        weights=weights,
        identity=identity,
        held_out=held_out_mask(identity, seed=seed),
        validates=validation_mask(identity, seed=seed),
        features=names,
        supports=supports,
        mass_scale=MassScale.fit(m),
        seed=seed,
        kinds=stated,
    )
    return task, mass[0], coordinates


def _supports(
    x: Array, names: Sequence[str], limits: Sequence[tuple[float, float]], kinds: Kinds
) -> tuple[Support, ...]:
    columns = zip(x.T, names, limits, kinds or [None] * len(names), strict=True)
    return tuple(infer_support(values, name=name, limits=own, kind=kind) for values, name, own, kind in columns)


def _kinds_of(
    data: Dataset, names: tuple[str, ...], kinds: Mapping[str, str] | None, like: ConditionalFlow | None
) -> Kinds:
    """Kinds of the features, those of `like` if there is one; none where all are continuous."""
    if like is not None:
        leaf = like.members[0]
        transform = getattr(leaf.inner if isinstance(leaf, CoordinateFlow) else leaf, "transform", None)
        return transform.kinds if isinstance(transform, KindedTransform) else ()
    found = resolve_kinds(kinds or {}, names, [data])
    return tuple(found.get(name) for name in names) if found else ()


def _coordinates_of(flow: ConditionalFlow) -> Coordinates:
    leaf = flow.members[0]
    return leaf.coordinates if isinstance(leaf, CoordinateFlow) else Coordinates(leaf.features, leaf.given)


def _names(columns: zfit.Space | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(getattr(columns, "obs", columns))


def _limits(columns: zfit.Space | Sequence[str], n: int) -> list[tuple[float, float]]:
    require_one_range(columns)
    if not getattr(columns, "has_limits", False):
        return [(-np.inf, np.inf)] * n
    space: Any = columns
    return [(float(low), float(high)) for low, high in zip(space.v1.lower, space.v1.upper, strict=True)]
