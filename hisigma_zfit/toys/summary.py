"""From fits of pseudo-experiments to bias, pulls, coverage and expected results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, chi2

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import Coverage, LimitQuantiles, ToyParameter, ToySummary
from hisigma_zfit.statistics.intervals import ONE_SIGMA, quantiles

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.toys.source import ToySource
    from hisigma_zfit.toys.toy_fits import ToyFits

__all__ = ["summarise"]


_LEVELS = {"68": ONE_SIGMA, "95": 0.95}


def _of_parameter(values: Array, errors: Array, truth: float) -> ToyParameter:
    """Bias of one parameter, and pulls of the toys that have its error; NaN without two of them."""
    known = np.isfinite(errors)
    n, pulls = int(np.count_nonzero(known)), ((values - truth) / errors)[known]
    spread, width = float(np.std(values, ddof=1)), float(np.std(pulls, ddof=1)) if n > 1 else float("nan")
    return ToyParameter(
        true=truth,
        bias=float(np.mean(values) - truth),
        bias_error=float(spread / np.sqrt(values.size)),
        spread=spread,
        error=float(np.mean(errors[known])) if n else float("nan"),
        pull_mean=float(np.mean(pulls)) if n else float("nan"),
        pull_mean_error=float(width / np.sqrt(n)) if n else float("nan"),
        pull_width=width,
        pull_width_error=float(width / np.sqrt(2.0 * (n - 1))) if n > 1 else float("nan"),
    )


def summarise(fits: ToyFits, pool: ToySource, poi: str, *, seed: int, limit: float | None = None) -> ToySummary:
    """Reduce fits of toys.

    Args:
        fits: The fits.
        pool: Where the toys came from.
        poi: Name of the parameter of interest.
        seed: Seed of the toys, for the record.
        limit: Confidence level of the limits, for the record.

    Raises:
        InputError: Fewer than two toys could be fitted.
    """
    fitted, index = fits.fitted, pool.parameters.index(poi)
    n = int(np.count_nonzero(fitted))
    if n < 2:
        raise InputError.from_parts(expected="two or more fitted toys", got=str(n), do="ask for more")
    values, errors, t = fits.values[fitted], fits.errors[fitted], fits.t_true[fitted]
    coverage = {}
    for name, cl in _LEVELS.items():
        inside = int(np.count_nonzero(t <= chi2.ppf(cl, 1)))
        share = binomtest(inside, n).proportion_ci(ONE_SIGMA)  # Clopper and Pearson's: never too narrow
        coverage[name] = Coverage(cl, inside, inside / n, float(share.low), float(share.high))
    z = np.sqrt(fits.q0[fitted])
    limits = fits.limit[fitted]
    limits = limits[np.isfinite(limits)]
    pulls = (values[:, index] - pool.theta[index]) / errors[:, index]
    unknown = {k: int(np.count_nonzero(~np.isfinite(errors[:, k]))) for k in sorted({*pool.free, index})}
    return ToySummary(
        poi=poi,
        injected=float(pool.theta[index]),
        n=n,
        failed=len(fits) - n,
        seed=seed,
        parameters={
            pool.parameters[k]: _of_parameter(values[:, k], errors[:, k], float(pool.theta[k]))
            for k in sorted({*pool.free, index})
        },
        coverage=coverage,
        significance=quantiles(z),
        limit=LimitQuantiles(**vars(quantiles(limits)), cl=limit) if limit is not None and limits.size else None,
        pulls=pulls[np.isfinite(pulls)],
        z=z,
        limits=limits,
        without_error={pool.parameters[k]: number for k, number in unknown.items() if number},
        without_limit=0 if limit is None else n - limits.size,
    )
