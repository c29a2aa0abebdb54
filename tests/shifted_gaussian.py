"""A process of two features whose ratios are known: one is moved, the other stretched.

u' = u + MOVED a,            ln ratio = MOVED a u - (MOVED a)^2 / 2
v' = v exp(STRETCHED b),     ln ratio = STRETCHED b (v^2 - 1) - (STRETCHED b)^2 v^2 + third order
"""

from __future__ import annotations

import numpy as np

from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows

MOVED, STRETCHED = 0.06, 0.03
MONOMIALS = Monomials(("a", "b"), (0, 1), ((0, 1),))
POINTS = np.array([(-2, 0), (-1, 0), (1, 0), (2, 0), (0, -2), (0, -1), (0, 1), (0, 2), (1.5, 1.5), (-1.5, 1.5)])
VALUES = MONOMIALS.values(POINTS)


def exact(x):
    """Delta of the monomials a, b, a^2, b^2, ab."""
    u, v = np.asarray(x, dtype=np.float64).T
    none = np.zeros_like(u)
    columns = [MOVED * u, STRETCHED * (v**2 - 1.0), none - MOVED**2 / 2.0, -((STRETCHED * v) ** 2), none]
    return np.stack(columns, axis=1)


def rows(n, *, seed=1, folds=2, events=None):
    """n weighted rows in cell 0, of `events` hard events."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 2)).astype(np.float32)
    event = generator.integers(0, events or n, n)
    weights = generator.uniform(0.5, 1.5, n)
    return ProcessRows("toy", x, weights, event, event % folds, np.zeros(n, dtype=np.int64))


def shifted(nominal, point):
    """The same rows at a point (a, b)."""
    x = (nominal.x * [1.0, np.exp(STRETCHED * point[1])] + [MOVED * point[0], 0.0]).astype(np.float32)
    n = len(x)
    total = np.array([nominal.weights.sum()])
    squares = np.array([np.sum(nominal.weights**2)])
    return ShiftedRows(np.arange(n), x, nominal.weights, nominal.fold, np.zeros(n, dtype=np.int64), total, squares)


def design(nominal):
    """At all points."""
    return [shifted(nominal, point) for point in POINTS]
