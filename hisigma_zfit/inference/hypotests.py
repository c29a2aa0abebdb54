"""Discovery significance, intervals and limits from the profile likelihood.

What to use when:

- `discovery` for an excess, `interval` for a measured yield, `upper_limit` (CLs) for one that is not seen.
- `hisigma_zfit.inference.unified.feldman_cousins` for one interval that is right for both, with the parameter bounded
  at zero.
- `expected_discovery` and ``upper_limit(..., expected=True)`` for what the experiment can do, `limit_scan` for the
  figure of it.
- `hisigma_zfit.inference.calculators` for the same through hepstats' classes, and for toys.

All but `interval` know that the parameter of interest is not negative: p-values of a test at the boundary are those
of the half chi-square mixture (arXiv:1007.1727), and small ones go through the survival function.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.crossings import bracket
from hisigma_zfit.fitting.limits import asymptotic_cls, bounded_t, cls_limit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.decisive import warn_of_one_event
from hisigma_zfit.likelihood.protocol import Likelihood
from hisigma_zfit.results import Discovery, Interval, UpperLimit
from hisigma_zfit.results.limits import LimitScan
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.toys.samples import sample_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hisigma_zfit.toys.source import Hypothesis, Sample

__all__ = [
    "as_discovery",
    "as_profiler",
    "asimov_profiler",
    "asimov_set",
    "background_t",
    "check_level",
    "discovery",
    "expected_discovery",
    "expected_limits",
    "interval",
    "limit_scan",
    "significance",
    "upper_limit",
]

_log = logging.getLogger(__name__)

_BANDS = (-2, -1, 0, 1, 2)
_EXCLUDED = 1e6  # beyond the edge of validity t is infinite; a large finite number lets the root finder bisect


def as_profiler(result: Any, poi: str | Any) -> Profiler:
    """Profile of the parameter in a FitResult's or a likelihood's events; a `Profiler` is returned as it is.

    That of a result begins at the result's own values, whatever its parameters have become since.

    Raises:
        InputError: It is neither.
    """
    if isinstance(result, Profiler):
        return result
    loss = getattr(result, "loss", result)
    if not isinstance(loss, Likelihood):
        raise InputError.from_parts(
            expected="the result of hz.fit or an hz.ExtendedNLL",
            got=type(loss).__name__,
            do="build the likelihood with hz.ExtendedNLL(model, data)",
        )
    return Profiler.of(result, poi)


def check_level(cl: float) -> None:
    """Refuse a confidence level that is not between 0 and 1."""
    if not 0.0 < cl < 1.0:
        raise InputError.from_parts(expected="0 < cl < 1", got=str(cl), do="give it as a fraction, such as 0.95")


def significance(q0: float) -> tuple[float, float]:
    """Z = sqrt(q0) and its one-sided p-value; through the survival function, which holds beyond 8 sigma."""
    z = float(np.sqrt(max(q0, 0.0)))
    return z, float(norm.sf(z))


def as_discovery(poi: str, q0: float, *, weighted: bool = False) -> Discovery:
    """The answer of a test statistic q0.

    Args:
        poi: Name of the parameter of interest.
        q0: The test statistic.
        weighted: Whether the fluctuation of event weights is part of it.

    Raises:
        FitError: It is infinite, as an event that only the signal explains makes it.
    """
    if not np.isfinite(q0):
        raise FitError(
            f"no likelihood at {poi} = 0: only the signal has a density at some event; leave out events outside of the "
            "background's domain (flow.inside tells which)"
        )
    z, p0 = significance(q0)
    return Discovery(poi=poi, z=z, p0=p0, q0=q0, weights_corrected=weighted)


def discovery(result: Any, poi: str | Any) -> Discovery:
    """Test the hypothesis poi = 0 with q0 = 2 dNLL, zero for a negative best fit.

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.

    Returns:
        Z, p0 and q0; constraint terms are part of the likelihood.  A warning names the event that gives most of q0, if
        one does; see `hisigma_zfit.inference.decisive`.

    Raises:
        FitError: A fit did not converge, or the likelihood is zero at poi = 0.

    Example:
        >>> print(hz.discovery(hz.examples.fitted(), "n_sig"))
        n_sig = 0 is excluded with Z = 4.6 sigma (p0 = 2.0e-06, q0 = 21.3)
    """
    profiler = as_profiler(result, poi)
    q0 = profiler.t(0.0) if profiler.best > 0 else 0.0
    warn_of_one_event(profiler, q0)
    return as_discovery(profiler.name, q0, weighted=profiler.weighted)


def interval(result: Any, poi: str | Any, *, cl: float = ONE_SIGMA) -> Interval:
    """Two-sided interval where 2 dNLL stays below the chi-square quantile (Wilks).

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.
        cl: Confidence level, between 0 and 1; by default that of one standard deviation.

    Raises:
        InputError: `cl` is not between 0 and 1.

    Example:
        >>> print(hz.interval(hz.examples.fitted(), "n_sig", cl=0.95))
        n_sig = 41.4  [18.7, 69.3] at 95 % CL (profile likelihood)
    """
    check_level(cl)
    profiler = as_profiler(result, poi)
    lower, upper = profiler.interval(float(chi2.ppf(cl, 1)))
    return Interval(
        poi=profiler.name,
        value=profiler.best,
        lower=lower,
        upper=upper,
        cl=cl,
        weights_corrected=profiler.weighted,
    )


def asimov_set(profiler: Profiler, value: float, sample: Sample | None, seed: int) -> Hypothesis:
    """Asimov set of poi = value with the other parameters as the data fit them there."""
    sample = sample or sample_of(profiler.loss, theta=profiler.minimum.theta, seed=seed)
    return sample.asimov(profiler.at(value).theta, poi=profiler.name)


def asimov_profiler(profiler: Profiler, value: float, sample: Sample | None, seed: int) -> Profiler:
    """Profile of the Asimov set of poi = value; if the data's events have weights, of such that fluctuate as theirs."""
    return asimov_set(profiler, value, sample, seed).profiler(profiler.name).scaled(profiler.inflation)


def background_t(
    profiler: Profiler, *, events: int = 20_000, seed: int = 0, sample: Sample | None = None
) -> Callable[[float], float] | None:
    """Background-only Asimov value of t as a function of the tested value, for `cls_limit`.

    Args:
        profiler: Profile of the data.
        events: Events of the Asimov set for each component; 20,000 give limits to 1 %.
        seed: Seed of those events.
        sample: The events, if they were drawn before.

    Returns:
        The function, or None if a constraint term stands for no measurement that could be repeated, or the density is
        negative somewhere, as that of members with negative weights can be.
    """
    try:
        sample = sample or sample_of(profiler.loss, theta=profiler.minimum.theta, events=events, seed=seed)
        return asimov_profiler(profiler, 0.0, sample, seed).t
    except (InputError, FitError) as error:
        _log.warning("no Asimov set for the limit, which takes Wald's form instead: %s", error)
        return None


def expected_limits(background: Profiler, *, cl: float = 0.95) -> dict[str, float]:
    """CLs limits that background-only data give: the median and its bands (arXiv:1007.1727, section 4.3).

    With q = q_A(mu) of the Asimov set, the limit at N standard deviations solves
    sqrt(q) = isf((1 - cl) Phi(N)) + N, where isf is the normal inverse survival function.

    Args:
        background: Profile of the background-only Asimov set.
        cl: Confidence level.

    Returns:
        Limits by N: "-2", "-1", "0" (the median), "1", "2".
    """
    roots = {n: float(norm.isf((1.0 - cl) * norm.cdf(n)) + n) for n in _BANDS}
    inner, step, limits = 0.0, max(background.step, 1e-6), {}
    missed = f"no expected limit on {background.name} below"
    for n, root in roots.items():

        def excess(s: float, root: float = root) -> float:
            return float(np.sqrt(min(background.t(s), _EXCLUDED)) - root)

        # steps double, because the curvature at zero says little: rare events that only signal explains dominate it
        low, high = bracket(excess, inner, step, missed=missed, patience=0, growth=2.0)
        limits[str(n)] = inner = float(brentq(excess, low, high, rtol=1e-5))
    return limits


def upper_limit(
    result: Any,
    poi: str | Any,
    *,
    cl: float = 0.95,
    expected: bool = False,
    sample: Sample | None = None,
    seed: int = 0,
) -> UpperLimit:
    """Asymptotic CLs upper limit with the q-tilde test statistic (arXiv:1007.1727).

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name; not negative under the hypotheses that are tested.
        cl: Confidence level, between 0 and 1.
        expected: Also find the background-only median and its bands; see `expected_limits`.
        sample: What the Asimov set is made of, to save making it again.
        seed: Seed of the events, if some are drawn here.

    Raises:
        InputError: `cl` is not between 0 and 1, or the likelihood cannot be sampled.
        FitError: The limit was not found.

    Example:
        >>> limit = hz.upper_limit(hz.examples.fitted(), "n_sig")
        >>> limit.limit  # 41.4 + 1.8 * 13.0
        64.5
    """
    check_level(cl)
    profiler = as_profiler(result, poi)
    background = asimov_profiler(profiler, 0.0, sample, seed)
    limit = cls_limit([profiler], np.zeros(1), cl=cl, asimov=background.t)
    bands = expected_limits(background, cl=cl) if expected else {}
    return UpperLimit(poi=profiler.name, limit=limit, cl=cl, expected=bands, weights_corrected=profiler.weighted)


def limit_scan(
    result: Any,
    poi: str | Any,
    values: npt.ArrayLike | None = None,
    *,
    cl: float = 0.95,
    sample: Sample | None = None,
    seed: int = 0,
) -> LimitScan:
    """CLs of many tested values, observed and as background-only data give them; for `report.limit_figures.limit`.

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.
        values: Tested values, not negative, shape (n,); by default 61 from zero to beyond all limits.
        cl: Confidence level of the limits, between 0 and 1.
        sample: What the Asimov set is made of, to save making it again.
        seed: Seed of the events, if some are drawn here.

    Raises:
        InputError: `cl` is not between 0 and 1, a value is negative, or the likelihood cannot be sampled.
        FitError: A limit was not found.

    Example:
        >>> result, sample = hz.examples.fitted(), hz.examples.sample()
        >>> scan = hz.limit_scan(result, "n_sig", [20.0, 40.0, 60.0, 80.0], sample=sample)
        >>> scan.observed.tolist()  # excluded at 95 % where it is below 0.05
        [0.51, 0.50, 0.09, 0.004]
        >>> scan.limit
        64.5
    """
    check_level(cl)
    profiler = as_profiler(result, poi)
    background = asimov_profiler(profiler, 0.0, sample, seed)
    limit = cls_limit([profiler], np.zeros(1), cl=cl, asimov=background.t)
    limits = expected_limits(background, cl=cl)
    tested = np.linspace(0.0, 1.2 * max(limit, *limits.values()), 61) if values is None else np.array(values, float)
    if tested.size and not tested.min() >= 0.0:
        raise InputError.from_parts(
            expected="tested values that are not negative", got=f"{tested.min():g}", do="begin at zero"
        )
    q_asimov = background.scan(tested)
    bands = {n: norm.sf(np.sqrt(q_asimov) - n) / norm.cdf(n) for n in _BANDS}
    return LimitScan(
        poi=profiler.name,
        values=tested,
        observed=np.array(
            [asymptotic_cls(bounded_t(profiler, s), q) for s, q in zip(tested.tolist(), q_asimov, strict=True)]
        ),
        expected={str(n): band for n, band in bands.items()},
        cl=cl,
        limit=limit,
        limits=limits,
        weights_corrected=profiler.weighted,
    )


def expected_discovery(
    result: Any,
    poi: str | Any,
    value: float,
    *,
    others: Mapping[str, float] | None = None,
    sample: Sample | None = None,
    seed: int = 0,
) -> Discovery:
    """Median significance of an injected signal, from its Asimov set (arXiv:1007.1727, eq. 50).

    The significance of one experiment scatters around it with unit width.

    Args:
        result: A FitResult or the likelihood.
        poi: The parameter of interest, or its name.
        value: Its injected value, positive.
        others: Values of other parameters by name; by default those that fit the data best at poi = `value`.
        sample: What the Asimov set is made of, to save making it again.
        seed: Seed of the events, if some are drawn here.

    Raises:
        InputError: `value` is not positive, or a name in `others` is unknown.
        FitError: The density is not positive under the hypothesis.

    Example:
        >>> result, sample = hz.examples.fitted(), hz.examples.sample()
        >>> hz.expected_discovery(result, "n_sig", 60.0, sample=sample).z
        6.0
    """
    if not value > 0.0:
        raise InputError.from_parts(expected="a positive signal", got=f"{value:g}", do="inject some events")
    profiler = as_profiler(result, poi)
    theta = profiler.at(value).theta
    names = [p.name for p in profiler.loss.parameters]
    for name, other in (others or {}).items():
        if name not in names or name == profiler.name:
            raise InputError.from_parts(
                expected=f"other parameters among {', '.join(names)}", got=repr(name), do="correct the name"
            )
        theta[names.index(name)] = other
    sample = sample or sample_of(profiler.loss, theta=profiler.minimum.theta, seed=seed)
    asimov = sample.asimov(theta, poi=profiler.name).profiler(profiler.name)
    return discovery(asimov.scaled(profiler.inflation), profiler.name)
