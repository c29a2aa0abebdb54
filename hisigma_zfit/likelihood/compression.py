"""The same likelihood with fewer events to visit, for scans: most hold no signal to speak of.

What to use when: `compress` where many values near some place are asked for, as in profiles, intervals and contours;
it takes about as long as four evaluations.  A single fit, as in a toy, is not worth it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.arrays import room_for, taken
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator, Evaluation, Evaluator, EvaluatorSum
from hisigma_zfit.likelihood.expansion import FarEvents, largest_share

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["CompressedEvaluator", "compress", "covers"]


_FEWEST = 4096  # events below which all are visited as quickly
_BLOCK = 2**17  # events
_MARGIN = 3.0  # how much further from the dominating component an event may come before the series fails


class CompressedEvaluator:
    """A likelihood whose far events are summed by a series where that is exact, and visited where it is not."""

    def __init__(self, full: ColumnEvaluator, reduced: ColumnEvaluator, far: FarEvents) -> None:
        self._full, self._reduced, self._far = full, reduced, far

    @property
    def visited(self) -> int:
        """Number of events that are gone through one by one where the series is used."""
        return int(self._reduced.columns.size)

    def covers(self, theta: Array) -> bool:
        """Whether the series is used at `theta`."""
        return self._far.covers(self._full.yields(theta), self._full.shapes(theta))

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""
        return (self._reduced if self.covers(theta) else self._full).value(theta)

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        prepared = self._reduced.prepared(theta)
        covered = self._far.covers(prepared.yields, prepared.polynomials)
        return (self._reduced if covered else self._full).evaluate(theta, prepared)


def covers(evaluator: Evaluator, theta: Array) -> bool:
    """Whether `evaluator` is as quick as it can be at `theta`: false where a compressed one must visit all events."""
    if isinstance(evaluator, EvaluatorSum):
        return all(covers(part, theta) for part in evaluator.parts)
    return evaluator.covers(theta) if isinstance(evaluator, CompressedEvaluator) else True


def compress(evaluator: Evaluator, theta: Array) -> Evaluator:
    """Sum the events in which one component dominates by a series around `theta`.

    Args:
        evaluator: The likelihood.
        theta: The best fit or a start of the fit, shape (P,).

    Returns:
        The same likelihood to rounding, at `theta` and far from it; `evaluator` itself if it is not of the kind: one
        component with a floating mass shape of the exponential family and up to three of frozen shape, none varied.
    """
    if isinstance(evaluator, EvaluatorSum):
        return EvaluatorSum([compress(part, theta) for part in evaluator.parts])
    if not isinstance(evaluator, ColumnEvaluator):
        return evaluator
    return _compressed(evaluator, theta) or evaluator


def _compressed(full: ColumnEvaluator, theta: Array) -> CompressedEvaluator | None:
    terms, columns = full.terms, full.columns
    dominating = [k for k, c in enumerate(terms) if c.powers is not None]
    share = largest_share(len(terms) - 1)
    simple = len(dominating) == 1 and terms[dominating[0]].plain and all(c.morph is None for c in terms)
    if share is None or not simple or columns.size < _FEWEST:
        return None
    row, yields = dominating[0], full.yields(theta)
    own = terms[row]
    others = [k for k in range(len(terms)) if k != row]
    if own.powers is None or own.term.family is None or not yields[row] > 0.0:
        return None
    # a yield may move by its error, which is no larger than that of all events
    relative = (np.abs(yields[others]) + np.sqrt(abs(columns.total))) / yields[row]
    t, shape, weight = own.powers[0], full.shapes(theta)[row][::-1], _MARGIN / share * relative
    near = np.empty(t.size, dtype=bool)
    for start in range(0, t.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        with np.errstate(over="ignore"):
            near[block] = weight @ columns.ratio[others, block] * np.exp(-np.polyval(shape, t[block])) > 1.0
    if 2 * np.count_nonzero(near) > near.size:
        return None
    far = np.flatnonzero(~near)
    ratio = room_for((len(others), far.size), np.float64)
    for k, part in zip(others, ratio, strict=True):
        np.take(columns.ratio[k], far, out=part, mode="clip")  # a mode that cannot fail needs no buffer
    events = FarEvents(
        taken(t, far),
        ratio,
        None if columns.weights is None else columns.weights[far],
        q=own.q,
        dominating=(row, own.start),
        others=[(k, terms[k].start) for k in others],
    )
    return CompressedEvaluator(full, full.split(np.flatnonzero(near), events), events)
