"""From fits of pseudo-experiments to bias, pulls, coverage and expected results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, chi2, norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import ToySummary

if TYPE_CHECKING:
    from hisigma_zfit.inference.pool import Pool
    from hisigma_zfit.inference.toy_fits import ToyFits

__all__ = ["clopper_pearson", "quantiles", "summarise"]

Array = npt.NDArray[np.float64]

_ONE_SIGMA = float(1.0 - 2.0 * norm.sf(1.0))
_LEVELS = {"68": 0.6827, "95": 0.9545}


def clopper_pearson(k: int, n: int, *, cl: float = _ONE_SIGMA) -> tuple[float, float]:
    """Binomial limits of a share of k in n (Biometrika 26, 404): never too narrow, and not empty at 0 and 1."""
    tail = 0.5 * (1.0 - cl)
    lower = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    upper = float(beta.isf(tail, k + 1, n - k)) if k < n else 1.0
    return lower, upper


def quantiles(values: Array) -> dict[str, float]:
    """Median with its error and quantiles at -2 to 2 sigma of a sample of shape (n,).

    The error of the median is half the distance of the order statistics that hold it with 68.3 %.
    """
    found = np.quantile(values, norm.cdf([-2.0, -1.0, 0.0, 1.0, 2.0]))
    half = 0.5 / np.sqrt(values.size)
    low, high = np.quantile(values, [max(0.5 - half, 0.0), min(0.5 + half, 1.0)])
    names = ("-2", "-1", "0", "1", "2")
    return {
        "median": float(found[2]),
        "median_error": float(0.5 * (high - low)),
        **{name: float(value) for name, value in zip(names, found, strict=True)},
    }


def _of_parameter(values: Array, errors: Array, truth: float) -> dict[str, float]:
    """Bias and pulls of one parameter."""
    n = values.size
    pulls = (values - truth) / errors
    spread, width = float(np.std(values, ddof=1)), float(np.std(pulls, ddof=1))
    return {
        "true": truth,
        "bias": float(np.mean(values) - truth),
        "bias_error": float(spread / np.sqrt(n)),
        "spread": spread,
        "error": float(np.mean(errors)),
        "pull_mean": float(np.mean(pulls)),
        "pull_mean_error": float(width / np.sqrt(n)),
        "pull_width": width,
        "pull_width_error": float(width / np.sqrt(2.0 * (n - 1))),
    }


def summarise(fits: ToyFits, pool: Pool, poi: str, *, seed: int, limit: float | None = None) -> ToySummary:
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
        lower, upper = clopper_pearson(inside, n)
        coverage[name] = {"cl": cl, "inside": float(inside), "value": inside / n, "lower": lower, "upper": upper}
    z = np.sqrt(fits.q0[fitted])
    limits = fits.limit[fitted]
    limits = limits[np.isfinite(limits)]
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
        limit={"cl": limit, **quantiles(limits)} if limit is not None and limits.size else {},
        pulls=(values[:, index] - pool.theta[index]) / errors[:, index],
        z=z,
        limits=limits,
    )
