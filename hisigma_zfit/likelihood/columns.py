"""Per-event columns of a model: everything in the likelihood that the fit does not change.

Flow weights and frozen mass shapes stay put during a fit, so log p_k(x'|m), its systematic variations and frozen
p_k(m) are computed once for each data set.  What is left for every iteration is the floating mass shapes, the yields
and the weights of the variations.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import xxhash
import zfit

from hisigma_zfit.arrays import room_for
from hisigma_zfit.data.region import in_any
from hisigma_zfit.errors import DomainError
from hisigma_zfit.likelihood.cached import Columns
from hisigma_zfit.model import shapes
from hisigma_zfit.model.masked import windows_of
from hisigma_zfit.model.terms import Events, Term, components, terms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["Columns", "Term", "build_columns", "columns_and_reference", "components", "data_version", "terms_of"]


# Log of the largest ratio of densities that may stand in the columns: four of them are multiplied before the logarithm.
_FAR = 100.0
_BLOCK = 2**19  # events
_FARTHEST = 300.0  # log of the largest ratio of densities that is told from infinity
_log = logging.getLogger(__name__)


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


def _blocks(n: int) -> list[slice]:
    """So many events that what is made of them on the way is small."""
    return [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]


def _reference(terms: Sequence[Term], log_prob: Array) -> Array:
    """What is taken out of every event's log densities, shape (n,).

    The first component whose mass shape floats, if no other is out of its reach by far: its ratios are one then, and
    the evaluator need not multiply by them.  Else the largest component of each event.
    """
    floating = next((k for k, term in enumerate(terms) if not term.frozen), None)
    n = log_prob.shape[1]
    reference = room_for(n, np.float64)
    if floating is not None and np.all(np.isfinite(log_prob[floating])):
        reference[:] = log_prob[floating]
        if all((log_prob[:, block] - reference[block]).max(initial=0.0) < _FAR for block in _blocks(n)):
            return reference
    return np.max(log_prob, axis=0, initial=-np.inf, out=reference)


def build_columns(terms: Sequence[Term], data: zfit.Data) -> Columns:
    """Evaluate densities and frozen shapes on a data set.

    Raises:
        DomainError: Events at which every component's density is zero.
    """
    columns, reference = columns_and_reference(terms, data)
    far = np.flatnonzero(np.any((columns.ratio > 0.0) & (columns.ratio <= np.exp(-_FARTHEST)), axis=0))
    if far.size and not all(term.frozen and term.mass is not None for term in terms):
        row = np.asarray(data.value())[far[0]].tolist()
        values = ", ".join(f"{name} = {value:.5g}" for name, value in zip(data.obs, row, strict=True))
        _log.warning(
            "%d of %d events are e^%.0f times as likely for one component as for another, or more, which is taken for "
            "e^%.0f; the first is row %d (%s): no density is known so far out",
            far.size,
            reference.size,
            _FARTHEST,
            _FARTHEST,
            far[0],
            values,
        )
    return columns


def _require_beside(terms: Sequence[Term], m: Array) -> None:
    """Refuse events at masses that every shape leaves out, where -log L has no value."""
    masks = [windows_of(term.mass) for term in terms]
    found = int(in_any(m, masks[0]).sum()) if all(own == masks[0] for own in masks) else 0
    if found:
        raise DomainError.from_parts(
            expected=f"events beside the masked {', '.join(map(str, masks[0]))}",
            got=f"{found} of {m.size} in there",
            do="leave them out of the data",
        )


def columns_and_reference(terms: Sequence[Term], data: zfit.Data) -> tuple[Columns, Array]:
    """The same, with what was taken out of every event's log ratios, shape (n,)."""
    events = Events(tuple(data.obs), np.asarray(data.value()))
    mass = next((str(term.mass.obs[0]) for term in terms if term.mass is not None), None)
    m = None if mass is None else events.column(mass)
    if m is not None:
        _require_beside(terms, m)
    weights = None if data.weights is None else np.ascontiguousarray(data.weights, dtype=np.float64)
    n = len(events.values)
    log_ratio = room_for((len(terms), n), np.float64)
    morphs = []
    for row, term in zip(log_ratio, terms, strict=True):
        row[:] = term.log_ratio(events)
        morphs.append(term.variations(events, row))
    # beyond this squares overflow, and a fit cannot start; an exact zero stays one
    for block in _blocks(n):
        part = log_ratio[:, block]
        np.maximum(part, part.max(axis=0, initial=-np.inf) - _FARTHEST, out=part, where=np.isfinite(part))
    reference = _reference(terms, log_ratio)
    lost = ~np.isfinite(reference)
    if lost.any():
        raise DomainError.from_parts(
            expected="events inside the domain of the learned densities",
            got=f"{int(lost.sum())} of {n} outside of every component's",
            do="drop them (flow.inside tells which) or train on a sample that covers them",
        )
    ratio = np.exp(np.subtract(log_ratio, reference, out=log_ratio), out=log_ratio)
    for k, term in enumerate(terms):
        if term.frozen and term.mass is not None:
            own = events.column(str(term.mass.obs[0]))
            for block in _blocks(n):
                ratio[k, block] *= shapes.evaluate(term.mass, own[block])
    columns = Columns(
        mass=m,
        weights=weights,
        ratio=ratio,
        reference=float(reference.sum() if weights is None else reference @ weights),
        total=float(n if weights is None else weights.sum()),
        morphs=tuple(morphs),
    )
    return columns, reference
