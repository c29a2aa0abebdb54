"""Draw and fit pseudo-experiments: the part that other processes run, numpy only.

Every toy has a random stream of its own, spawned from the seed by its number, so that it is the same whichever process
makes it, and whatever was made before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import FitError
from hisigma_zfit.inference.newton import Minimum, minimise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.inference.pool import Experiment, Pool

__all__ = ["ToyFits", "ToyPlan", "fit_toys"]

Array = npt.NDArray[np.float64]

_TOLERANCE = 1e-7


@dataclass(frozen=True)
class ToyPlan:
    """What is done in every toy.

    Attributes:
        pool: Where its events come from.
        poi: Index of the parameter of interest.
        seed: Seed of the toys.
        limit: Confidence level of an upper limit, or None for none.
    """

    pool: Pool
    poi: int
    seed: int
    limit: float | None = None


@dataclass(frozen=True)
class ToyFits:
    """Fits of n toys; what could not be fitted is NaN.

    Attributes:
        values: Best values of all parameters, shape (n, P).
        errors: Their Hessian errors, zero for those that do not float, shape (n, P).
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
    def fitted(self) -> npt.NDArray[np.bool_]:
        """Toys whose fits converged, shape (n,)."""
        return np.isfinite(self.t_true) & np.isfinite(self.q0)


class _Profile:
    """Profile likelihood of one toy: what a limit asks for."""

    def __init__(self, experiment: Experiment, pool: Pool, index: int, name: str) -> None:
        self.index, self.name = index, name
        self._experiment, self._pool = experiment, pool
        self._free = sorted({*pool.free, index})
        self._others = [k for k in pool.free if k != index]
        self.minimum = minimise(experiment, pool.theta, self._free, limits=pool.limits, tolerance=_TOLERANCE)
        if not self.minimum.converged:
            raise FitError(f"a toy did not converge (edm {self.minimum.edm:.3g})")
        # with the parameter itself even at a limit: the parabola goes on behind it
        at = sorted({*self.minimum.free.tolist(), index})
        self.covariance = np.zeros((pool.theta.size,) * 2)
        self.covariance[np.ix_(at, at)] = np.linalg.inv(self.minimum.evaluation.hessian[np.ix_(at, at)])

    @property
    def best(self) -> float:
        return float(self.minimum.theta[self.index])

    @property
    def error(self) -> float:
        return float(np.sqrt(self.covariance[self.index, self.index]))

    def at(self, value: float) -> Minimum:
        """Conditional minimum, started where the parabola has it."""
        slope = self.covariance[:, self.index] / self.covariance[self.index, self.index]
        lower, upper = self._pool.limits
        start = np.clip(self.minimum.theta + slope * (value - self.best), lower, upper)
        start[self.index] = value
        found = minimise(self._experiment, start, self._others, limits=self._pool.limits, tolerance=_TOLERANCE)
        if not found.converged:  # far from the minimum the parabola can lead to where there is no density
            start = self.minimum.theta.copy()
            start[self.index] = value
            found = minimise(self._experiment, start, self._others, limits=self._pool.limits, tolerance=_TOLERANCE)
        return found

    def t(self, value: float) -> float:
        found = self.at(value)
        return max(0.0, 2.0 * (found.value - self.minimum.value)) if found.converged else np.nan


def _fit(plan: ToyPlan, experiment: Experiment) -> dict[str, Any]:
    """One row of `ToyFits` but for what is drawn."""
    pool = plan.pool
    profile = _Profile(experiment, pool, plan.poi, pool.parameters[plan.poi])
    row = {
        "values": profile.minimum.theta,
        "errors": np.sqrt(np.diag(profile.covariance)),
        "t_true": profile.t(float(pool.theta[plan.poi])),
        "q0": profile.t(0.0) if profile.best > 0.0 else 0.0,
    }
    if plan.limit is not None:
        from hisigma_zfit.inference.hypotests import cls_limit  # needs zfit, which the fits do not

        row["limit"] = cls_limit([cast("Any", profile)], np.zeros(1), cl=plan.limit)
    return row


def fit_toys(plan: ToyPlan, start: int, stop: int) -> ToyFits:
    """Draw and fit the toys of numbers `start` to `stop - 1`."""
    pool, n = plan.pool, stop - start
    size = pool.theta.size
    shapes = {"values": (n, size), "errors": (n, size), "t_true": (n,), "q0": (n,), "limit": (n,)}
    shapes |= {"events": (n, len(pool.categories)), "observation": (n, pool.auxiliary.observed.size)}
    rows = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    for k in range(n):
        rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(start + k,)))
        experiment, rows["events"][k], rows["observation"][k] = pool.draw(rng)
        try:
            fitted = _fit(plan, experiment)
        except (FitError, np.linalg.LinAlgError):
            continue  # stays NaN and is counted
        for name, value in fitted.items():
            rows[name][k] = value
    return ToyFits(**rows)
