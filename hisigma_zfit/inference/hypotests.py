"""Discovery significance, intervals and limits from the profile likelihood.

The functions answer from the fast likelihood; `hepstats.hypotests` accepts the same loss and `Newton` as its minimiser
and gives the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.inference.fitting import Profiler
from hisigma_zfit.results import Discovery, Interval, UpperLimit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["asymptotic_cls", "cls_limit", "discovery", "interval", "significance", "upper_limit"]


def _profiler(result: Any, poi: str | Any) -> Profiler:
    return result if isinstance(result, Profiler) else Profiler(getattr(result, "loss", result), poi)


def significance(q0: float) -> tuple[float, float]:
    """Z = sqrt(q0) and its one-sided p-value; through the survival function, which holds beyond 8 sigma."""
    z = float(np.sqrt(max(q0, 0.0)))
    return z, float(norm.sf(z))


def discovery(result: Any, poi: str | Any) -> Discovery:
    """Test the hypothesis poi = 0 with q0 = 2 dNLL, zero for a negative best fit.

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.

    Returns:
        Z, p0 and q0; constraint terms are part of the likelihood.
    """
    profiler = _profiler(result, poi)
    q0 = profiler.t(0.0) if profiler.best > 0 else 0.0
    z, p0 = significance(q0)
    return Discovery(poi=profiler.name, z=z, p0=p0, q0=q0)


def interval(result: Any, poi: str | Any, *, cl: float = 0.6827) -> Interval:
    """Two-sided interval where 2 dNLL stays below the chi-square quantile (Wilks).

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.
        cl: Confidence level, between 0 and 1.

    Raises:
        InputError: `cl` is not between 0 and 1.
    """
    if not 0.0 < cl < 1.0:
        raise InputError.from_parts(expected="0 < cl < 1", got=str(cl), do="give it as a fraction, such as 0.95")
    profiler = _profiler(result, poi)
    lower, upper = profiler.interval(float(chi2.ppf(cl, 1)))
    return Interval(poi=profiler.name, value=profiler.best, lower=lower, upper=upper, cl=cl)


def asymptotic_cls(q: float, q_asimov: float) -> float:
    """CLs from the observed test statistic q-tilde and its Asimov value (arXiv:1007.1727, eqs. 65 and 69).

    Args:
        q: q-tilde of the tested value.
        q_asimov: The same on background-only Asimov data.
    """
    root, root_asimov = np.sqrt(max(q, 0.0)), np.sqrt(max(q_asimov, 1e-300))
    if q <= q_asimov:
        p_sb, p_b = norm.sf(root), norm.sf(root - root_asimov)
    else:
        p_sb, p_b = norm.sf((q + q_asimov) / (2 * root_asimov)), norm.sf((q - q_asimov) / (2 * root_asimov))
    return float(p_sb / p_b) if p_b > 0 else 0.0


def cls_limit(profilers: Sequence[Profiler], offsets: npt.ArrayLike, *, cl: float) -> float:
    """Asymptotic CLs limit from t(s) = min_d [t_d(s) + offset_d].

    The background-only Asimov value of q-tilde is taken from Wald's form (mu / sigma)^2 with the Hessian error at mu of
    the member that attains the minimum.

    Args:
        profilers: Profiles of the parameter, one for each member.
        offsets: Added to each member's t, shape (D,).
        cl: Confidence level.

    Raises:
        FitError: The limit was not found.
    """
    offsets = np.asarray(offsets, dtype=np.float64)
    lead = profilers[int(np.argmin(offsets))]
    reference = 0.0
    if lead.best < 0:  # q-tilde compares with the best physical value
        reference = min(2 * (p.at(0.0).value - p.minimum.value) + o for p, o in zip(profilers, offsets, strict=True))

    def excess(mu: float) -> float:
        minima = [p.at(mu) for p in profilers]
        t = [2 * (m.value - p.minimum.value) + o for m, p, o in zip(minima, profilers, offsets, strict=True)]
        k = int(np.argmin(t))
        free = sorted({*minima[k].free.tolist(), lead.index})
        hessian = minima[k].evaluation.hessian[np.ix_(free, free)]
        variance = np.linalg.inv(hessian)[free.index(lead.index), free.index(lead.index)]
        q = max(0.0, t[k] - reference) if mu > lead.best else 0.0
        return asymptotic_cls(q, mu**2 / variance) - (1.0 - cl)

    low = max(lead.best, 0.0) + 1e-6 * lead.error
    high = low + 2.0 * lead.error
    for _ in range(60):
        if excess(high) < 0:
            return float(brentq(excess, low, high, xtol=1e-4 * lead.error))
        high += lead.error
    raise FitError(f"no upper limit on {lead.name} below {high:g}; check that the data constrain it")


def upper_limit(result: Any, poi: str | Any, *, cl: float = 0.95) -> UpperLimit:
    """Asymptotic CLs upper limit with the q-tilde test statistic (arXiv:1007.1727).

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name; not negative under the hypotheses that are tested.
        cl: Confidence level.
    """
    profiler = _profiler(result, poi)
    return UpperLimit(poi=profiler.name, limit=cls_limit([profiler], np.zeros(1), cl=cl), cl=cl)
