"""Shares of processes that are right on average: a chain of corrections of few parameters, so that rows sum to one.

In a chain of processes p_1, p_2, ..., p_P the share of p_s among those from p_s on is u_s = g_s / (g_s + ... + g_P).
Each is corrected by

    logit u' = logit u + b(ln u),   b piecewise linear between knots, constant outside                        (eq. 7a)

and the shares are put together again: g'_1 = u'_1, g'_2 = (1 - u'_1) u'_2, ...  The values of b at the knots are those
of largest likelihood for rows of p_s against those of later processes, weighted; knots have equal contents of p_s
between them.  Constants are then added so that the sum of g'_p over all rows is the number of expected events of p.

Few parameters are essential: a correction that follows every fluctuation of the simulation, such as isotonic
regression on the same rows, makes a spectrum that looks better than it is and regresses as soon as events move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from hisigma_zfit.errors import InputError
from hisigma_zfit.statistics.posteriors import area_under_curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers

__all__ = ["Calibration", "Chain", "calibrate", "distinctness", "refine"]

# calibrated with one half of the worked example's simulation, the other half has the best log-loss and curves with 3 to
# 8 knots everywhere, while 16 follow fluctuations; inside of a region 1 to 4 do no harm, 8 and more do
KNOTS, KNOTS_WITHIN = 6, 4
_BEFOREHAND = 2.0  # standard deviation of what is known of b before any row is seen
_STEPS = 20  # of Newton; five are enough in practice
_LEAST_SHARE = 1e-30  # smaller shares count as this


@dataclass(frozen=True, eq=False)
class Chain:
    """One chain of corrections.

    Attributes:
        order: Processes in the order of the chain, shape (P,).
        knots: By step positions in ln u, rising; P - 1 of them.
        values: Of b at the knots.
    """

    order: Integers
    knots: tuple[Array, ...]
    values: tuple[Array, ...]

    def apply(self, g: Array) -> Array:
        """Correct shares, shape (n, P); see `Calibration.apply`."""
        log_u, logit = _steps(g, self.order)
        chain = zip(log_u, logit, self.knots, self.values, strict=True)
        return _together([z + np.interp(v, knots, values) for v, z, knots, values in chain], self.order)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A chain for all events, and further ones inside of regions.

    Attributes:
        everywhere: Of all events.
        regions: Of the events of region r, after the former.
    """

    everywhere: Chain
    regions: tuple[Chain, ...] = ()

    def apply(self, g: Array, region: Integers | None = None) -> Array:
        """Calibrated shares; rows sum to one, shape (n, P).

        Regions that are defined by shares take those that are calibrated everywhere, without a region.

        Args:
            g: Shares of a posterior, shape (n, P).
            region: Of each event, shape (n,); others than those that have a chain are calibrated everywhere only.
        """
        shares = self.everywhere.apply(g)
        return shares if region is None else self.within(shares, region)

    def within(self, shares: Array, region: Integers) -> Array:
        """The second step of `apply` alone, for shares that are calibrated everywhere, shape (n, P)."""
        result = shares.copy()
        for r, chain in enumerate(self.regions):
            own = np.flatnonzero(region == r)
            result[own] = chain.apply(shares[own])
        return result

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, as arrays of numbers."""
        chains = (self.everywhere, *self.regions)
        steps = {
            f"{c}.{s}": np.stack([chain.knots[s], chain.values[s]])
            for c, chain in enumerate(chains)
            for s in range(len(chain.knots))
        }
        return {"orders": np.stack([chain.order for chain in chains]), **steps}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of `arrays`."""
        chains = []
        for c, order in enumerate(arrays["orders"]):
            steps = [arrays[f"{c}.{s}"] for s in range(len(order) - 1)]
            chains.append(Chain(order, tuple(k for k, _ in steps), tuple(b for _, b in steps)))
        return cls(chains[0], tuple(chains[1:]))


def calibrate(
    scores: Sequence[Array],
    weights: Sequence[Array],
    *,
    first: Sequence[int] = (0,),
    order: Sequence[int] | None = None,
    knots: int = KNOTS,
) -> Calibration:
    """Calibrate shares on simulated rows.

    Args:
        scores: By process the cross-fitted shares of its rows, each of shape (n_p, P).
        weights: By process, each of shape (n_p,); not negative.
        first: Processes with which the chain begins, the signals.
        order: All processes in the order of the chain; that of `distinctness` by default.
        knots: Their number in each step of the chain.

    Raises:
        InputError: Scores, weights or order do not fit together, or a process has no weight.
    """
    _check(scores, weights, order)
    chosen = distinctness(scores, weights, first=first) if order is None else tuple(order)
    return Calibration(_fit(np.concatenate(scores), _labelled(weights), chosen, knots))


def refine(
    calibration: Calibration,
    scores: Sequence[Array],
    weights: Sequence[Array],
    regions: Sequence[Integers],
    *,
    knots: int = KNOTS_WITHIN,
) -> Calibration:
    """Calibrate inside of regions too, so that the sums of shares are right in each.

    Args:
        calibration: Of `calibrate`, with the order of its chain.
        scores: Before calibration, as for `calibrate`.
        weights: As for `calibrate`.
        regions: By process the region of each row, from 0; negative or further numbers for none.  Shape (n_p,).
        knots: Their number in each step; a single one is a constant.

    Raises:
        InputError: As for `calibrate`, or a process has no weight in a region.
    """
    order = tuple(int(p) for p in calibration.everywhere.order)
    _check(scores, weights, order)
    region, labelled = np.concatenate(regions), _labelled(weights)
    shares = calibration.everywhere.apply(np.concatenate(scores))
    chains = []
    for r in range(int(region.max(initial=-1)) + 1):
        inside = region == r
        own = _Labelled(labelled.process[inside], labelled.weights[inside])
        empty = np.flatnonzero(np.bincount(own.process, own.weights, minlength=len(order)) <= 0.0)
        if len(empty):
            raise InputError.from_parts(
                expected=f"simulated events of all processes in unbinned region {r}",
                got=f"none of process {empty[0]}",
                do="take a wider region",
            )
        chains.append(_fit(shares[inside], own, order, knots))
    return Calibration(calibration.everywhere, tuple(chains))


def distinctness(scores: Sequence[Array], weights: Sequence[Array], *, first: Sequence[int] = ()) -> tuple[int, ...]:
    """Order of a chain: signals, then backgrounds as well as they are told from the largest one, which is the last.

    Args:
        scores: By process, each of shape (n_p, P).
        weights: By process, each of shape (n_p,).
        first: Processes that stand before all others, in whatever order they are given.
    """
    sizes = np.array([w.sum() for w in weights])
    signals = tuple(first)[: len(sizes) - 1]  # one is left, which the others are told from
    rest = [p for p in range(len(sizes)) if p not in signals]
    last = max(rest, key=lambda p: sizes[p])

    def told_apart(p: int) -> float:
        own, other = (np.log(np.maximum(scores[k], _LEAST_SHARE)) for k in (p, last))
        return area_under_curve(own[:, p] - own[:, last], other[:, p] - other[:, last], weights[p], weights[last])

    rest.remove(last)
    return (*signals, *sorted(rest, key=told_apart, reverse=True), last)


@dataclass(frozen=True)
class _Labelled:
    """Process and weight of all rows."""

    process: Integers
    weights: Array


def _labelled(weights: Sequence[Array]) -> _Labelled:
    return _Labelled(np.repeat(np.arange(len(weights)), [len(w) for w in weights]), np.concatenate(weights))


def _check(scores: Sequence[Array], weights: Sequence[Array], order: Sequence[int] | None) -> None:
    shapes = [(len(w), len(weights)) for w in weights]
    if [g.shape for g in scores] != shapes:
        raise InputError.from_parts(
            expected=f"scores of shapes {shapes}",
            got=str([g.shape for g in scores]),
            do="score the rows of all processes",
        )
    if order is not None and sorted(order) != list(range(len(weights))):
        raise InputError.from_parts(
            expected=f"an order of the processes 0 to {len(weights) - 1}", got=str(tuple(order)), do="name each once"
        )
    for p, w in enumerate(weights):
        if not w.sum() > 0.0 or (w < 0.0).any():
            raise InputError.from_parts(
                expected="weights of at least zero, and a positive sum",
                got=f"a sum of {w.sum():g} and a smallest of {w.min(initial=0.0):g} for process {p}",
                do="give absolute values of weights, and no process without events",
            )


def _steps(g: Array, order: Integers) -> tuple[list[Array], list[Array]]:
    """Ln u and logit u of every step of the chain, P - 1 of shape (n,) each."""
    own = np.maximum(g[:, order], _LEAST_SHARE)
    later = np.cumsum(own[:, ::-1], axis=1)[:, ::-1]  # of each and all after it
    log_own, log_later = np.log(own), np.log(later)
    steps = range(own.shape[1] - 1)
    # no difference from one, which would lose the digits of a share near one
    return [log_own[:, s] - log_later[:, s] for s in steps], [log_own[:, s] - log_later[:, s + 1] for s in steps]


def _together(logits: Sequence[Array], order: Integers) -> Array:
    """Shares from the logits of the steps, shape (n, P)."""
    result, left = np.empty((len(logits[0]), len(order))), np.ones(len(logits[0]))
    for logit, p in zip(logits, order[:-1], strict=True):
        result[:, p] = left * expit(logit)
        left = left * expit(-logit)
    result[:, order[-1]] = left
    return result


def _fit(g: Array, rows: _Labelled, order: Sequence[int], knots: int) -> Chain:
    log_u, logit = _steps(g, np.array(order))
    all_knots, all_values, left = [], [], rows.weights
    for s, p in enumerate(order[:-1]):
        # rows of this process and of later ones
        taking_part = np.isin(rows.process, order[s:]) & (rows.weights > 0.0)
        own, w = rows.process[taking_part] == p, rows.weights[taking_part]
        at = _knots(log_u[s][taking_part], w * own, knots)
        b = _most_likely(log_u[s][taking_part], logit[s][taking_part], own, w, at)
        corrected = logit[s] + np.interp(log_u[s], at, b)
        constant = _constant(corrected, left, float(rows.weights[rows.process == p].sum()))
        left = left * expit(-corrected - constant)
        all_knots.append(at)
        all_values.append(b + constant)
    return Chain(np.array(order), tuple(all_knots), tuple(all_values))


def _knots(log_u: Array, content: Array, number: int) -> Array:
    """Middles, in content, of groups of equal content: rising, of shape (number,) or fewer where values repeat."""
    order = np.argsort(log_u, kind="stable")
    cumulative = np.cumsum(content[order])
    middles = (np.arange(number) + 0.5) / number * cumulative[-1]
    return np.unique(log_u[order][np.searchsorted(cumulative, middles)])


def _most_likely(log_u: Array, logit: Array, own: npt.NDArray[np.bool_], w: Array, knots: Array) -> Array:
    """Values of b at the knots, by Newton's method; the likelihood is concave."""
    n = len(knots)
    position = np.interp(log_u, knots, np.arange(n, dtype=np.float64))
    below = np.minimum(position.astype(np.intp), max(n - 2, 0))
    above = np.minimum(below + 1, n - 1)
    share = position - below
    # where there is one process only, the value would run to infinity; a likelihood counts rows, these are weights
    prior = float(np.sum(w**2) / np.sum(w)) / _BEFOREHAND**2
    b = np.zeros(n)
    for _ in range(_STEPS):
        p = expit(logit + (1.0 - share) * b[below] + share * b[above])
        pull, stiffness = w * (own - p), w * p * (1.0 - p)
        gradient = np.bincount(below, (1.0 - share) * pull, n) + np.bincount(above, share * pull, n) - prior * b
        hessian = prior * np.eye(n)
        np.add.at(hessian, np.diag_indices(n), np.bincount(below, (1.0 - share) ** 2 * stiffness, n))
        np.add.at(hessian, np.diag_indices(n), np.bincount(above, share**2 * stiffness, n))
        mixed = np.bincount(below, (1.0 - share) * share * stiffness, n)
        at = np.arange(n - 1)
        hessian[at, at + 1] += mixed[:-1]
        hessian[at + 1, at] += mixed[:-1]
        step = np.linalg.solve(hessian, gradient)
        b += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return b


def _constant(logit: Array, left: Array, wanted: float) -> float:
    """What to add to all logits for sum_i left_i expit(logit_i) to be `wanted`."""
    constant = 0.0
    for _ in range(_STEPS):
        p = expit(logit + constant)
        step = (wanted - float(left @ p)) / max(float(left @ (p * (1.0 - p))), np.finfo(float).tiny)
        constant += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-12:
            break
    return constant
