"""Eq. (7) of a cross-section written a second time, event by event and in complex numbers, and random models for it.

A complex step has no rounding: the imaginary part of f(x + ih) / h is the derivative to 1e-15.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from hisigma_zfit.ratio.coordinates import SquaredWidth, Standard
from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.structure import Constraint, NormEffect, Rates, RatioColumns, RatioStructure, ShapeParameter


def random_model(rng, *, events=500, bins=4, shapes=3, norms=2, pois=1, weights=True, alike=False):
    """A structure and columns whose numbers mean nothing; three processes, two unbinned regions.

    With `alike` two of the processes vary in all events as in the first one.
    """
    processes, names = ("a", "b", "c"), [f"shape_{k}" for k in range(shapes)]
    monomials = Monomials(tuple(names), squares=tuple(range(shapes)), pairs=tuple(combinations(range(shapes), 2)))
    own = [SquaredWidth(1.0, 0.5, 2.0) if k == 2 else Standard() for k in range(shapes)]
    cells = 2 + bins
    rates = Rates(
        rng.uniform(20.0, 200.0, (3, cells)),
        np.concatenate([np.zeros((3, 2)), 0.05 * rng.standard_normal((3, bins))], axis=1),
        0.05 * rng.standard_normal((3, cells, monomials.size)),
    )
    effects = tuple(
        NormEffect(f"norm_{k}", {"b": 0.1, "c": 0.2} if k else {"c": 0.3}, "lognormal" if k % 2 else "gaussian")
        for k in range(norms)
    )
    structure = RatioStructure(
        processes=processes,
        pois={"a": ("mu", "kappa")[:pois], "b": ("kappa",) if pois > 1 else ()},
        shapes=tuple(
            ShapeParameter(name, coordinate, Constraint("none" if k == 1 else "gaussian"), 0.1 * k)
            for k, (name, coordinate) in enumerate(zip(names, own, strict=True))
        ),
        norms=effects,
        monomials=monomials,
        rates=rates,
        cells=tuple(f"cell {k}" for k in range(cells)),
        unbinned=2,
        poi_limits={"mu": (-1.0, 5.0)},
    )
    columns = RatioColumns(
        posterior=rng.dirichlet(np.ones(3), events).astype(np.float32),
        exponents=(0.05 * rng.standard_normal((events, 3, monomials.size))).astype(np.float32),
        region=rng.integers(0, 2, events),
        weights=rng.uniform(0.1, 2.0, events) if weights else None,
        counts=rng.poisson(200.0, bins).astype(float) * (np.arange(bins) != 1),  # one bin is empty
    )
    if alike:
        columns.exponents[:, [0, 2]] = columns.exponents[:1, [0, 2]]
    return structure, columns


def minus_log(structure, columns, theta):
    """-ln L / L_0 with the constants of Gaussian constraints, at real or complex theta; observations are zero."""
    pois = list(dict.fromkeys(name for p in structure.processes for name in structure.pois.get(p, ())))
    names = [*pois, *(s.name for s in structure.shapes), *(n.name for n in structure.norms)]
    value = dict(zip(names, theta, strict=True))
    t = []
    for shape in structure.shapes:
        own = shape.coordinate
        if isinstance(own, SquaredWidth):
            t.append((own.median * np.exp(own.width * value[shape.name]) / own.scale) ** 2)
        else:
            t.append(value[shape.name])
    monomials = structure.monomials
    v = np.array([*t, *(t[k] ** 2 for k in monomials.squares), *(t[i] * t[k] for i, k in monomials.pairs)])
    factors = []
    for process in structure.processes:
        factor = np.prod([value[name] for name in structure.pois.get(process, ())] or [1.0])
        for norm in structure.norms:
            if process in norm.sizes:
                size = norm.sizes[process]
                gaussian = norm.kind == "gaussian"
                factor = factor * (1.0 + size * value[norm.name] if gaussian else (1.0 + size) ** value[norm.name])
        factors.append(factor)
    c = np.array(factors)
    nominal = structure.rates.size * np.exp(structure.rates.constant)
    expected = c @ (nominal * np.exp(structure.rates.slope @ v))
    total = expected.sum() - nominal.sum()
    ratio = ((columns.posterior.astype(float) * np.exp(columns.exponents.astype(float) @ v)) * c).sum(axis=1)
    weights = np.ones(len(ratio)) if columns.weights is None else columns.weights
    total -= (weights * np.log(ratio)).sum()
    first = structure.unbinned
    total -= (columns.counts * np.log(expected[first:] / nominal.sum(axis=0)[first:])).sum()
    for nuisance in (*structure.shapes, *structure.norms):
        if nuisance.constraint.kind == "gaussian":
            total += 0.5 * value[nuisance.name] ** 2 + 0.5 * np.log(2.0 * np.pi)
    return total


def complex_gradient(structure, columns, theta):
    """Its gradient, to rounding."""
    steps = 1e-30j * np.eye(theta.size)
    return np.array([np.imag(minus_log(structure, columns, theta + step)) / 1e-30 for step in steps])
