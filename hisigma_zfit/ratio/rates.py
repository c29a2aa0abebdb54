"""Expected events of every process and cell as functions of the nuisances: equation (6) of arXiv:2505.05544's kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.ratio.structure import Rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.ratio.design import Design

__all__ = ["fit_rates", "rate_residuals", "rates_told"]

FEWEST = 0.5  # expected events of which a dependence is fitted
LOWEST, HIGHEST = 0.02, 50.0  # rates over the nominal one whose logarithms start the fit: no event has none
STEPS = 20
CONVERGED = 1e-12  # relative change of the sum of squares
RIDGE = 1e-12


def fit_rates(sizes: Array, sums: Array, design: Design, *, free: Mask, reference: Array | None = None) -> Rates:
    """Fit N exp(d0 + V . delta) to the sums of weights at the design points and at the nominal.

    The squares of yields relative to the nominal are minimised, not those of logarithms, which are biased low where few
    rows make a bin.  The constant is free where it may be: a rate that is pinned to the nominal simulation carries the
    fluctuation of that sample to every point.

    Args:
        sizes: Sums of weights of the nominal simulation, shape (P, B).
        sums: The same after the shift at every design point, shape (D, P, B).
        design: The points.
        free: Cells where d0 is free, the counting bins, shape (B,); it is 0 in the others.
        reference: N of the result where it is another than `sizes`, shape (P, B): of unbinned cells, whose extended
            term counts the events as the posteriors do.

    Returns:
        Of processes with fewer than 0.5 expected events in a cell, slopes of zero; see `rates_told`.
    """
    n_processes, n_cells = sizes.shape
    constant, slope = np.zeros((n_processes, n_cells)), np.zeros((n_processes, n_cells, design.monomials.size))
    values = np.vstack([np.zeros((1, design.monomials.size)), design.values])  # the nominal is a point too
    for p, b in zip(*np.nonzero(sizes >= FEWEST), strict=True):
        ratios = np.concatenate([[1.0], sums[:, p, b] / sizes[p, b]])
        constant[p, b], slope[p, b] = _fit(values, ratios, free=bool(free[b]))
    return Rates(np.asarray(sizes if reference is None else reference, dtype=np.float64), constant, slope)


def rates_told(sizes: Array, processes: Sequence[str], cells: Sequence[str]) -> tuple[str, ...]:
    """One line for each process whose rate is constant in some cells, because it expects too few events there.

    Args:
        sizes: Sums of weights of the nominal simulation, shape (P, B).
        processes: Names, P of them.
        cells: Names, B of them.
    """
    lines = []
    for name, own in zip(processes, sizes, strict=True):
        few = [cell for cell, size in zip(cells, own, strict=True) if size < FEWEST]
        if few:
            more = f" and {len(few) - 3} more" if len(few) > 3 else ""
            lines.append(
                f"{name}: fewer than {FEWEST} expected events, so no systematic change, in {', '.join(few[:3])}{more}"
            )
    return tuple(lines)


def rate_residuals(rates: Rates, sizes: Array, sums: Array, design: Design) -> Array:
    """Fitted over simulated rate minus one, shape (D, P, B); NaN where nothing is simulated.

    Args:
        rates: The fitted ones.
        sizes: As in `fit_rates`.
        sums: As in `fit_rates`.
        design: The points.
    """
    exponents = rates.constant + np.einsum("dk,pbk->dpb", design.values, rates.slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = sizes * np.exp(exponents) / sums
    return np.where(sums > 0.0, ratio - 1.0, np.nan)


def _fit(values: Array, ratios: Array, *, free: bool) -> tuple[float, Array]:
    """Least squares of exp(d0 + V . delta) by Gauss-Newton with halved steps, from the solution of logarithms."""
    matrix = np.hstack([np.ones((len(values), 1)), values]) if free else values[1:]
    wanted = ratios if free else ratios[1:]
    if not matrix.size:
        return 0.0, np.empty(0)
    logarithms = np.log(np.clip(ratios[1:], LOWEST, HIGHEST))
    own = np.linalg.lstsq(values[1:], logarithms, rcond=None)[0]
    theta = np.concatenate([[0.0], own]) if free else own
    residual = np.exp(matrix @ theta) - wanted
    for _ in range(STEPS):
        jacobian = np.exp(matrix @ theta)[:, None] * matrix
        normal = jacobian.T @ jacobian
        normal[np.diag_indices_from(normal)] *= 1.0 + RIDGE
        step = np.linalg.lstsq(normal, -jacobian.T @ residual, rcond=None)[0]
        before = float(residual @ residual)
        for _halved in range(10):
            changed = np.exp(np.clip(matrix @ (theta + step), -50.0, 50.0)) - wanted
            if changed @ changed <= before:
                theta, residual = theta + step, changed
                break
            step = 0.5 * step
        if before - float(residual @ residual) <= CONVERGED * before:
            break
    found = np.asarray(theta, dtype=np.float64)
    return (float(found[0]), found[1:]) if free else (0.0, found)
