"""Is a feature a function of the others?  Then their joint density is infinite on a surface, and nothing can learn it.

Each variable is predicted from one other, from two others (tensor splines) and from all of them (polynomial), by least
squares on two thirds of a few thousand events.  The error on the last third, in units of the variable's own spread,
is an upper limit of its conditional width: a small number cannot come about by chance, and correlated features that
keep a width of their own are left alone.  A relation of many variables that no polynomial describes stays unseen.
"""

from __future__ import annotations

import itertools
import logging
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.interpolate import BSpline
from scipy.special import ndtri

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.arrays import Array

    Tier = Iterator[tuple[tuple[int, ...], Array]]  # columns that predict, widths of all columns

__all__ = ["Dependence", "narrowest", "require_independent"]


_log = logging.getLogger(__name__)

CLOSE = 0.15  # 9 features with 0.12 gave yields that nearly doubled with the length of the training
NARROW = 0.05  # exact relations of two features leave 0.01 to 0.04, the closest features of the study 0.29
MAX_EVENTS = 6000
MIN_EVENTS = 600
_SPLINES = 9  # by variable
_MAX_TERMS = 500  # of the polynomial: degree 5 for 6 variables, 3 for 12
_RIDGE = 1e-6


class Dependence(NamedTuple):
    """One variable predicted from others.

    Attributes:
        name: The variable.
        others: What predicts it.
        width: Root mean square of what is left, in units of the variable's spread (after mapping it to a normal).
    """

    name: str
    others: tuple[str, ...]
    width: float


def narrowest(columns: Array, names: Sequence[str]) -> Dependence | None:
    """Find the variable that the others predict best; fewest others first.

    Args:
        columns: Events, shape (n, k); the first `MAX_EVENTS` of them are used.
        names: Of the k columns.

    Returns:
        A dependence narrower than `NARROW` if there is one, the narrowest of all otherwise; None with fewer than
        two variables or `MIN_EVENTS` events.
    """
    if len(columns) < MIN_EVENTS or len(names) < 2:
        return None
    normal = _normal_scores(columns[:MAX_EVENTS])
    best = Dependence("", (), np.inf)
    for tier in (_singles(normal), _pairs(normal), _everything(normal)):
        for predictors, widths in tier:
            j = int(np.nanargmin(widths))
            if widths[j] < best.width:
                others = predictors or tuple(i for i in range(len(names)) if i != j)
                best = Dependence(names[j], tuple(names[i] for i in others), float(widths[j]))
        if best.width < NARROW:
            break
    return best


def require_independent(x: Array, m: Array, features: Sequence[str], given: str) -> None:
    """Refuse features one of which is a function of the others and the mass; warn where one nearly is.

    Args:
        x: Events, shape (n, d), in any order.
        m: Their masses, shape (n,).
        features: Names of the columns of x.
        given: Name of the mass.

    Raises:
        InputError: What is left of a feature, or of the mass, once the others are known is below 5 % of its spread.
    """
    rows = np.random.default_rng(0).permutation(len(x))[:MAX_EVENTS]
    found = narrowest(np.column_stack([x[rows], m[rows]]), (*features, given))
    if found is None or found.width > CLOSE:
        return
    words = f"{found.name}, which {' and '.join(found.others)} predict to {100 * found.width:.1f} % of its spread"
    if found.width < NARROW:
        raise InputError.from_parts(
            expected=f"features that are no functions of each other and of {given}",
            got=words,
            do="leave one of them out: their joint density is singular",
        )
    _log.warning(
        "features that are nearly functions of each other: %s or less; results may depend on the training", words
    )


def _normal_scores(columns: Array) -> Array:
    """Map every column to a standard normal by its ranks: smooth monotone relations stay smooth, tails do no harm."""
    ranks = np.argsort(np.argsort(columns, axis=0, kind="stable"), axis=0)
    scores: Array = ndtri((ranks + 0.5) / len(columns))
    return scores


def _splines(normal: Array) -> list[Array]:
    """Cubic B-splines of every column with knots at its quantiles, each of shape (n, _SPLINES)."""
    inner = np.quantile(normal[:, 0], np.linspace(0.0, 1.0, _SPLINES - 2))  # all columns have the same ranks
    knots = np.concatenate([np.full(3, inner[0]), inner, np.full(3, inner[-1])])
    return [BSpline.design_matrix(column, knots, 3).toarray() for column in normal.T]


def _singles(normal: Array) -> Tier:
    for i, basis in enumerate(_splines(normal)):
        yield (i,), _widths(basis, normal, exclude=(i,))


def _pairs(normal: Array) -> Tier:
    splines = _splines(normal)
    # with two columns, a pair is all there is: nothing is left to be predicted
    for i, k in itertools.combinations(range(len(splines)), 2) if len(splines) > 2 else ():
        basis = (splines[i][:, :, None] * splines[k][:, None, :]).reshape(len(normal), -1)
        yield (i, k), _widths(basis, normal, exclude=(i, k))


def _everything(normal: Array) -> Tier:
    """Predict each column by a polynomial of all others, of the highest degree that `_MAX_TERMS` allows."""
    k = normal.shape[1]
    degree = max((p for p in range(1, 6) if math.comb(k + p, p) <= _MAX_TERMS), default=1)
    powers = [c for p in range(degree + 1) for c in itertools.combinations_with_replacement(range(k), p)]
    basis = np.stack([np.prod(normal[:, list(c)], axis=1) for c in powers], axis=1)
    equations, held_out = _normal_equations(basis, normal)
    widths = np.empty(k)
    for j in range(k):
        kept = np.flatnonzero([j not in c for c in powers])
        solution = np.linalg.solve(equations.gram[np.ix_(kept, kept)], equations.rhs[kept, j])
        widths[j] = _width(normal[len(normal) - len(held_out) :, j], held_out[:, kept] @ solution)
    yield (), widths


class _Equations(NamedTuple):
    """Normal equations of a least-squares fit."""

    gram: Array
    rhs: Array


def _normal_equations(basis: Array, targets: Array) -> tuple[_Equations, Array]:
    """Equations of the first two thirds of the events, and the scaled basis of the rest."""
    train = 2 * len(basis) // 3
    scaled = basis / (np.sqrt(np.mean(basis[:train] ** 2, axis=0)) + 1e-12)
    gram = scaled[:train].T @ scaled[:train]
    gram[np.diag_indices(len(gram))] += _RIDGE * train
    return _Equations(gram, scaled[:train].T @ targets[:train]), scaled[train:]


def _width(target: Array, prediction: Array) -> Array:
    """Root mean square of what is left of each target, in units of its spread."""
    width: Array = np.sqrt(np.mean((target - prediction) ** 2, axis=0) / np.var(target, axis=0))
    return width


def _widths(basis: Array, targets: Array, *, exclude: tuple[int, ...]) -> Array:
    """Held-out width of every target, shape (k,); NaN for excluded ones."""
    equations, held_out = _normal_equations(basis, targets)
    prediction = held_out @ np.linalg.solve(equations.gram, equations.rhs)
    widths = _width(targets[len(targets) - len(held_out) :], prediction)
    widths[list(exclude)] = np.nan
    return widths
