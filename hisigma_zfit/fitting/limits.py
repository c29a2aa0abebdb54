"""Asymptotic CLs limits from profiles, numpy only: the part that toys in other processes share with `hypotests`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.stats import norm

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.crossings import bracket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.fitting.newton import Minimum
    from hisigma_zfit.fitting.profiler import Profiler

__all__ = ["AsimovCurve", "asymptotic_cls", "bounded_t", "cls_limit"]


_DEEP = 1e4  # arguments of the normal tails, beyond which these are their leading terms to 1e-8
_STEPS = 24  # exact points of a curve; between them it is good to 1e-4 of sqrt(t)


@dataclass(frozen=True)
class AsimovCurve:
    """Background-only Asimov value of t as a function of the tested value, from a few exact points.

    sqrt(t) is interpolated, which is nearly linear in the value, and continued linearly beyond the last point.

    Attributes:
        values: Tested values, from zero upwards, shape (n,).
        roots: sqrt(t) there, shape (n,).
    """

    values: Array
    roots: Array

    @classmethod
    def of(cls, background: Profiler, *, reach: float) -> Self:
        """Sample the profile of a background-only Asimov set.

        Args:
            background: Its profile.
            reach: The largest value that should be exact.

        Raises:
            FitError: There are no two points that could be fitted.
        """
        # denser towards zero, where rare events that only the signal explains can bend the curve
        values = reach * np.linspace(0.0, 1.0, _STEPS + 1) ** 2
        roots = np.sqrt([_t_or_nan(background, float(value)) for value in values])
        good = np.isfinite(roots)
        if np.count_nonzero(good) < 2:
            raise FitError(f"the Asimov set of {background.name} = 0 could not be fitted; check limits of parameters")
        return cls(values[good], np.maximum.accumulate(roots[good]))

    @cached_property
    def _smooth(self) -> PchipInterpolator:
        return PchipInterpolator(self.values, self.roots)

    def __call__(self, value: float) -> float:
        """Background-only t at one value."""
        x, y = self.values, self.roots
        if value <= x[-1]:
            return float(self._smooth(value)) ** 2
        return float(y[-1] + (value - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])) ** 2


def _t_or_nan(profile: Profiler, value: float) -> float:
    """T of a point of a curve, which its neighbours can replace."""
    try:
        return profile.t(value)
    except FitError:
        return float("nan")


def asymptotic_cls(q: float, q_asimov: float) -> float:
    """CLs from the observed test statistic q-tilde and its Asimov value (arXiv:1007.1727, eqs. 65 and 69).

    Where the second is next to nothing it is exp(-q / 2): one for a tested value of zero, whatever rounding has made of
    the two.

    Args:
        q: q-tilde of the tested value.
        q_asimov: The same on background-only Asimov data.
    """
    q, q_asimov = max(q, 0.0), max(q_asimov, 0.0)  # rounding may make either of them negative
    root, root_asimov = np.sqrt(q), np.sqrt(q_asimov)
    if q <= q_asimov:
        return float(np.exp(norm.logsf(root) - norm.logsf(root - root_asimov)))
    if q > _DEEP * root_asimov:  # both tails by their leading terms, whose difference would be rounding
        return float(np.exp(-0.5 * q) * (q - q_asimov) / (q + q_asimov))
    above, below = (q + q_asimov) / (2 * root_asimov), (q - q_asimov) / (2 * root_asimov)
    return float(np.exp(norm.logsf(above) - norm.logsf(below)))


def bounded_t(profile: Profiler, value: float) -> float:
    """q-tilde of a tested value: zero below the best one, and relative to zero where that is negative."""
    if value <= profile.best:
        return 0.0
    reference = profile.at(0.0) if profile.best < 0.0 else profile.minimum
    return max(0.0, 2.0 * (profile.nll(profile.at(value)) - profile.nll(reference)))


def cls_limit(
    profilers: Sequence[Profiler],
    offsets: npt.ArrayLike,
    *,
    cl: float,
    asimov: Callable[[float], float] | None = None,
) -> float:
    """Asymptotic CLs limit from t(s) = min_d [t_d(s) + offset_d].

    Args:
        profilers: Profiles of the parameter, one for each member.
        offsets: Added to each member's t, shape (D,).
        cl: Confidence level.
        asimov: Background-only Asimov value of q-tilde at a tested value, see `hypotests.background_t` and
            `AsimovCurve`.  Without it Wald's form (mu / sigma)^2 is used, with the Hessian error at mu of the member
            that attains the minimum.  That needs no sample, but it is the error of the observed data, not of
            background-only ones: limits of a few events over a background of nearly none came out 10 to 20 % too high,
            those of a clear signal to 0.1 %.

    Raises:
        FitError: The limit was not found.
    """
    offsets = np.asarray(offsets, dtype=np.float64)
    lead = profilers[int(np.argmin(offsets))]
    reference = 0.0
    if lead.best < 0:  # q-tilde compares with the best physical value
        reference = min(2 * (p.nll(p.at(0.0)) - p.minimum.value) + o for p, o in zip(profilers, offsets, strict=True))

    def excess(mu: float) -> float:
        minima = [p.at(mu) for p in profilers]
        t = [2 * (p.nll(m) - p.minimum.value) + o for m, p, o in zip(minima, profilers, offsets, strict=True)]
        k = int(np.argmin(t))
        if not np.isfinite(t[k]):  # no member has a positive density: excluded, whatever the Asimov set says
            return cl - 1.0
        q = max(0.0, t[k] - reference) if mu > lead.best else 0.0
        q_asimov = _wald(minima[k], lead.index, mu) / profilers[k].inflation if asimov is None else asimov(mu)
        return asymptotic_cls(q, q_asimov) - (1.0 - cl)

    step = lead.step
    low = max(lead.best, 0.0) + 1e-6 * step
    if cl < 0.5 and excess(low) < 0.0:  # at the best fit CLs is one half or more, at zero it is one
        return float(brentq(excess, 1e-9 * step, low, xtol=1e-4 * step))
    missed = f"no upper limit on {lead.name} below"
    low, high = bracket(lambda mu: -excess(mu), low, 2.0 * step, stride=step, missed=missed)
    return float(brentq(excess, low, high, xtol=1e-4 * min(step, high - low)))


def _wald(minimum: Minimum, index: int, mu: float) -> float:
    """(mu / sigma)^2 with the Hessian error of the parameter at a conditional minimum."""
    free = sorted({*minimum.free.tolist(), index})
    try:
        variance = np.linalg.inv(minimum.evaluation.hessian[np.ix_(free, free)])[free.index(index), free.index(index)]
    except np.linalg.LinAlgError:
        variance = np.nan
    if not variance > 0.0:
        raise FitError(f"no parabola at {mu:g} for Wald's form of the limit; prepare an Asimov set")
    return float(mu**2 / variance)
