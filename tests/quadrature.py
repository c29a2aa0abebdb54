"""Integrals of two-dimensional conditional densities by quadrature, and counts in cells, for checks of any of them."""

from __future__ import annotations

import numpy as np
import pytest
import truth
import zfit
from scipy.special import ndtr
from scipy.stats import chi2

from hisigma_zfit.density.flows import DistributionFlow, MixtureFlow, RegionFlow
from hisigma_zfit.density.trained import TrainedFlow
from hisigma_zfit.density.warped import BOUND, WarpedSplineConfig
from hisigma_zfit.model.pdfs import FlowProductPDF

LOW, HIGH = truth.MASS_RANGE
CUTS = (LOW, *truth.REGION, HIGH)
# every chi-square test fails by chance once in a million times
FALSE_ALARM = 1e-6


def leaves(flow):
    """The flows that others are made of."""
    if isinstance(flow, RegionFlow):
        return [leaf for part in (flow.inner, flow.outer) for leaf in leaves(part)]
    return [leaf for part in flow.flows for leaf in leaves(part)] if isinstance(flow, MixtureFlow) else [flow]


def flows_of(pdf):
    """Flows inside a PDF; none for a PDF of the mass."""
    parts = pdf.pdfs if isinstance(pdf, zfit.pdf.SumPDF) else [pdf]
    return [leaf for part in parts if isinstance(part, FlowProductPDF) for leaf in leaves(part.flow)]


def tolerance(flows):
    return 1e-3 if any(isinstance(leaf, TrainedFlow) for leaf in flows) else 1e-6


def borders(flows, j):
    """Places between which every density is smooth in feature j."""
    found = []
    for leaf in flows:
        if isinstance(leaf, DistributionFlow):
            found.append(np.linspace(-11.0, 11.0, 45))
            continue
        tables = leaf.transform.tables
        knots, limits = tables.knots[j][: tables.counts[j]], tables.limits[j]
        # above the last knot, 12 decay lengths of the tail hold all but 6e-6 of its 0.3 %
        tail = knots[-1] + tables.scales[j, 1] * np.arange(1, 13)
        found += [knots, tail[tail < limits[1]], limits[np.isfinite(limits)]]
        if isinstance(leaf.config, WarpedSplineConfig):  # beyond the knots its map still has bins, in normal quantiles
            levels = ndtr(np.multiply.outer([-1, 1], np.linspace(3.25, BOUND, 4)).ravel())
            found.append(leaf.transform.inverse(np.tile(levels[:, None], 2))[:, j])
    return np.unique(np.concatenate(found))


def gauss_legendre(edges, n):
    node, weight = np.polynomial.legendre.leggauss(n)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (node + 1)).ravel(), (half * weight).ravel()


def grid(flows, n=None):
    """Nodes of shape (n, 2) and their weights, for integrals over both features."""
    n = n or (5 if all(isinstance(leaf, DistributionFlow) for leaf in flows) else 2)
    (a, wa), (b, wb) = (gauss_legendre(borders(flows, j), n) for j in range(2))
    return np.stack([x.ravel() for x in np.meshgrid(a, b, indexing="ij")], axis=1), np.outer(wa, wb).ravel()


def density(pdf, m, x=None, **options):
    """PDF at masses (n,) and features (n, 2), as a zfit user would ask for it."""
    columns = {truth.MASS: m} if x is None else {truth.MASS: m, "a": x[:, 0], "b": x[:, 1]}
    values = np.stack([columns[name] for name in pdf.obs], axis=1)
    return np.asarray(pdf.pdf(zfit.Data.from_numpy(obs=pdf.obs, array=values), **options))


def mass_density(pdf, m, norm=None):
    """p(m) of any entry: the mass shapes, weighted with their yields."""
    if not isinstance(pdf, zfit.pdf.SumPDF):
        shape = pdf.mass if isinstance(pdf, FlowProductPDF) else pdf
        return density(shape, m, norm=norm)
    yields = np.array([float(part.get_yield().value()) for part in pdf.pdfs])
    # the fractions of a sum are those of the full range, wherever it is normalised
    shapes = np.stack([mass_density(part, m) for part in pdf.pdfs])
    values = yields @ shapes / yields.sum()
    if norm is not None:
        nodes, weights = mass_nodes(np.ravel(norm.v1.lower)[0], np.ravel(norm.v1.upper)[0])
        values /= weights @ mass_density(pdf, nodes)
    return values


def mass_nodes(lower=LOW, upper=HIGH):
    """Nodes and weights that resolve the peak and its tails."""
    edges = np.unique(np.clip([*CUTS, *np.arange(lower, upper, 0.1)], lower, upper))
    return gauss_legendre(np.append(edges, upper) if edges[-1] < upper else edges, 4)


def cells(flows, x, n):
    """Cell number of each row of x, n by n of them with borders where quadrature intervals meet."""
    numbers = []
    for j in range(2):
        edges = borders(flows, j)
        middle = np.quantile(cells.sample[:, j], np.arange(1, n) / n)
        cuts = edges[np.unique(np.abs(edges[:, None] - middle).argmin(axis=0))]
        numbers.append(np.searchsorted(cuts, x[:, j]))
    return numbers[0] * n + numbers[1]


def compare(observed, expected):
    """Chi-square of counts with expectations that add up to the same number."""
    assert expected.sum() == pytest.approx(observed.sum(), rel=1e-3)
    small = expected < 10
    observed = np.append(observed[~small], observed[small].sum())
    expected = np.append(expected[~small], max(expected[small].sum(), 1e-9))
    if expected[-1] < 10:
        assert observed[-1] < 40  # fewer than 1e-11 for an expectation of ten
        observed, expected = observed[:-1], expected[:-1]
    assert observed.size > 3
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, observed.size - 1) > FALSE_ALARM, statistic


def cell_counts(flows, n, *samples):
    """Sums of weights in the cells, for each pair of rows and weights."""
    return [np.bincount(cells(flows, x, n), weights=weights, minlength=n * n) for x, weights in samples]
