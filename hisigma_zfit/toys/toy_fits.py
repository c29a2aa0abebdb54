"""Draw and fit pseudo-experiments: the part that other processes run, numpy only.

Every toy has a random stream of its own, named by the seed and its number, so that it is the same whichever process
makes it, and whatever was made before.

What to use when: `fit_toys` for a study of pulls, coverage and expected results, which `toys.run_toys` spreads over
processes; `conditional_fits` for the distribution of a test statistic under one hypothesis.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.limits import AsimovCurve, cls_limit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.toys.source import ToySource

__all__ = ["ConditionalFits", "ToyFits", "ToyPlan", "conditional_fits", "fit_toys", "require_fitted"]


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToyPlan:
    """What is done in every toy.

    Attributes:
        pool: Where its data come from.
        poi: Index of the parameter of interest.
        seed: Seed of the toys.
        limit: Confidence level of an upper limit, or None for none.
        background: Background-only Asimov value of t for the limits; None for Wald's form, see `limits.cls_limit`.
    """

    pool: ToySource
    poi: int
    seed: int
    limit: float | None = None
    background: AsimovCurve | None = None


@dataclass(frozen=True)
class ToyFits:
    """Fits of n toys; what could not be fitted is NaN.

    Attributes:
        values: Best values of all parameters, shape (n, P).
        errors: Their Hessian errors, shape (n, P): zero for those that do not float, NaN for those that a fit has at a
            limit or cannot determine.  That of the parameter of interest is the parabola's, which goes on there.
        t_true: 2 dNLL of the true parameter of interest, shape (n,).
        q0: 2 dNLL of zero, or 0 for a best value below zero, shape (n,).
        limit: Upper limit, shape (n,); NaN if none was asked for.
        events: Number of events of each category, shape (n, C).
        observation: Auxiliary observations, shape (n, A).
    """

    values: Array
    errors: Array
    t_true: Array
    q0: Array
    limit: Array
    events: Array
    observation: Array

    def __len__(self) -> int:
        return len(self.t_true)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put toys behind each other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def arrays(self) -> dict[str, Array]:
        """All arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def fitted(self) -> Mask:
        """Toys whose fits converged, shape (n,)."""
        return np.isfinite(self.t_true) & np.isfinite(self.q0)


@dataclass(frozen=True)
class ConditionalFits:
    """Fits of n toys of one hypothesis; NaN where a fit failed, inf where the density is not positive.

    Attributes:
        best: Best value of the parameter of interest, shape (n,).
        minimum: -log L there, shape (n,).
        conditional: -log L with the parameter held at V values, shape (n, V).
    """

    best: Array
    minimum: Array
    conditional: Array

    def t_bounded(self, k: int, zero: int) -> Array:
        """t-tilde of the k-th value, with column `zero` held at zero; failed toys are left out."""
        reference = np.where(self.best < 0.0, self.conditional[:, zero], self.minimum)
        t = 2.0 * (self.conditional[:, k] - reference)
        return np.maximum(t[~np.isnan(t)], 0.0)


def _toys(
    pool: ToySource, poi: str, streams: Iterable[np.random.Generator]
) -> Iterator[tuple[Profiler | None, list[int], Array]]:
    """Profile, numbers of events and auxiliary observations of toys; no profile where the fit failed."""
    for rng in streams:
        experiment, events, observation = pool.draw(rng)
        try:
            profile = Profiler(experiment, poi, quick=True)
        except FitError:
            profile = None
        yield profile, events, observation


def _row(plan: ToyPlan, profile: Profiler) -> dict[str, Any]:
    """One row of `ToyFits` but for what is drawn."""
    variances = np.diag(profile.covariance).copy()
    variances[np.setdiff1d(profile.moved, [*profile.minimum.free, profile.index])] = np.nan
    variances[variances < 0.0] = np.nan
    row = {
        "values": profile.minimum.theta,
        "errors": np.sqrt(variances),
        "t_true": profile.t(float(plan.pool.theta[plan.poi])),
        "q0": profile.t(0.0) if profile.best > 0.0 else 0.0,
    }
    if plan.limit is not None:
        row["limit"] = cls_limit([profile], np.zeros(1), cl=plan.limit, asimov=plan.background)
    return row


def fit_toys(plan: ToyPlan, start: int, stop: int) -> ToyFits:
    """Draw and fit the toys of numbers `start` to `stop - 1`."""
    pool, n = plan.pool, stop - start
    size = pool.theta.size
    shapes = {"values": (n, size), "errors": (n, size), "t_true": (n,), "q0": (n,), "limit": (n,)}
    shapes |= {"events": (n, pool.n_categories), "observation": (n, pool.n_auxiliary)}
    rows = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    streams = (stream(plan.seed, Purpose.TOY, k) for k in range(start, stop))
    for k, (profile, events, observation) in enumerate(_toys(pool, pool.parameters[plan.poi], streams)):
        rows["events"][k], rows["observation"][k] = events, observation
        try:
            fitted = {} if profile is None else _row(plan, profile)
        except FitError:
            continue  # stays NaN and is counted
        for name, value in fitted.items():
            rows[name][k] = value
    return ToyFits(**rows)


def conditional_fits(
    pool: ToySource, poi: str, values: npt.ArrayLike, *, toys: int, seed: Sequence[int]
) -> ConditionalFits:
    """Draw and fit pseudo-experiments of one hypothesis, with as many conditional fits as there are `values`.

    Args:
        pool: The hypothesis.
        poi: Name of the parameter of interest.
        values: Where it is held, shape (V,).
        toys: Number of pseudo-experiments n.
        seed: The user's seed, and numbers that tell this hypothesis from others.  Same numbers, same toys; the first
            of them do not depend on `toys`.

    Raises:
        FitError: More than one toy in ten could not be fitted.
    """
    values = np.asarray(values, dtype=np.float64)
    best, minimum, conditional = np.full(toys, np.nan), np.full(toys, np.nan), np.full((toys, values.size), np.nan)
    user, *hypothesis = seed
    streams = (stream(user, Purpose.TEST_TOY, *hypothesis, k) for k in range(toys))
    for k, (profile, _, _) in enumerate(_toys(pool, poi, streams)):
        try:
            held = None if profile is None else [profile.at(float(value)).value for value in values]
        except FitError:
            continue  # stays NaN and is counted
        if profile is not None and held is not None:
            best[k], minimum[k], conditional[k] = profile.best, profile.minimum.value, held
    require_fitted(np.isfinite(best))
    return ConditionalFits(best, minimum, conditional)


def require_fitted(fitted: Mask) -> None:
    """Say how many toys could not be fitted.

    Args:
        fitted: Whether each could, shape (n,).

    Raises:
        FitError: More than one in ten could not.
    """
    failed = int(np.count_nonzero(~fitted))
    if failed > 0.1 * fitted.size:
        raise FitError(
            f"{failed} of {fitted.size} toys could not be fitted; check limits of parameters and numbers of events"
        )
    if failed:
        _log.warning("%d of %d toys could not be fitted and are left out", failed, fitted.size)
