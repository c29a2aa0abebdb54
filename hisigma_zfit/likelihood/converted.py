"""Data sets as zfit has them, made once for all likelihoods that are there at the same time.

A measurement fits the same events with many models, and a copy for each would be gigabytes for ten million events.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from hisigma_zfit.data.ranges import ranges

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.data import Dataset

__all__ = ["as_zfit"]

_log = logging.getLogger(__name__)

# A data set never changes.  What nobody uses any more is gone.
_MADE: weakref.WeakKeyDictionary[Dataset, dict[Any, weakref.ref[zfit.Data]]] = weakref.WeakKeyDictionary()


def as_zfit(data: Dataset, space: zfit.Space) -> zfit.Data:
    """The events inside of a space, with its columns in its order; see `Dataset.to_zfit`.

    Raises:
        InputError: A column is missing.
    """
    made = _MADE.setdefault(data, {})
    key = (tuple(space.obs), tuple(tuple(part.items()) for part in ranges(space)))
    known = made[key]() if key in made else None
    if known is not None:
        return known
    inside = data.within(space)
    if len(inside) < len(data):
        _log.info("%d of %d events are outside of the model's range", len(data) - len(inside), len(data))
    converted = inside.to_zfit(space)
    made[key] = weakref.ref(converted)
    return converted
