"""Immutable results that explain a fit: impacts, correlations, contours, goodness of fit.

Numpy only, with the JSON round trip of `hisigma_zfit.results`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from hisigma_zfit.results.base import Answer, JsonArray, Result

__all__ = ["Contour", "Correlations", "GoodnessOfFit", "Impact", "Impacts", "WeightedFeature"]


@dataclass(frozen=True)
class Impact(Result):
    """What one nuisance does to the parameter of interest, and what the data did to it.

    Attributes:
        name: Name of the nuisance.
        value: Best fit of the nuisance.
        errors: Its post-fit errors, distances below and above, both positive.
        prefit_value: Where its constraint has its centre; None for a nuisance that only the data constrain.
        prefit_error: Error that the constraint alone gives; None likewise.
        postfit: Shift of the best poi when the nuisance is fixed at best - and best + post-fit error.
        prefit: The same for the pre-fit error; None for a nuisance without constraint.
    """

    schema: ClassVar[str] = "hisigma-zfit/impact/1"
    name: str
    value: float
    errors: tuple[float, float]
    prefit_value: float | None
    prefit_error: float | None
    postfit: tuple[float, float]
    prefit: tuple[float, float] | None

    @property
    def size(self) -> float:
        """The larger of both post-fit shifts, without sign: what the ranking goes by."""
        return max(abs(shift) for shift in self.postfit)

    @property
    def pull(self) -> float | None:
        """(best - pre-fit value) / pre-fit error; None without constraint."""
        if self.prefit_value is None or self.prefit_error is None:
            return None
        return (self.value - self.prefit_value) / self.prefit_error

    @property
    def constraint(self) -> float | None:
        """Mean post-fit error / pre-fit error: one where the data say nothing; None without constraint."""
        return None if self.prefit_error is None else 0.5 * sum(self.errors) / self.prefit_error


@dataclass(frozen=True)
class Impacts(Answer):
    """Error budget of the parameter of interest.

    All errors are distances from the best value to the lower and upper edge of the 68.3 % interval, both positive.

    Attributes:
        poi: Name of the parameter of interest.
        value: Its best fit.
        total: Its errors.
        statistical: Its errors with every constrained nuisance fixed at its best fit.
        groups: What is lost in quadrature when the nuisances of one group are fixed, by group.
        impacts: The nuisances, largest impact first.
    """

    schema: ClassVar[str] = "hisigma-zfit/impacts/1"
    poi: str
    value: float
    total: tuple[float, float]
    statistical: tuple[float, float]
    groups: dict[str, tuple[float, float]] = field(default_factory=dict)
    impacts: tuple[Impact, ...] = ()

    @property
    def systematic(self) -> tuple[float, float]:
        """Root of total^2 - statistical^2, below and above."""
        below, above = (max(t**2 - s**2, 0.0) ** 0.5 for t, s in zip(self.total, self.statistical, strict=True))
        return below, above

    def __getitem__(self, name: str) -> Impact:
        return next(impact for impact in self.impacts if impact.name == name)

    def __str__(self) -> str:
        def pair(errors: tuple[float, float]) -> str:
            return f"-{errors[0]:.4g} +{errors[1]:.4g}"

        head = (
            f"{self.poi} = {self.value:.4g} {pair(self.total)} "
            f"({pair(self.statistical)} stat, {pair(self.systematic)} syst{self.correction})"
        )
        rows = [f"  {i.name:<24} {i.postfit[0]:+9.4g} {i.postfit[1]:+9.4g}" for i in self.impacts]
        return "\n".join([head, *rows])


@dataclass(frozen=True)
class Correlations(Answer):
    """Correlation matrix of the parameters at the best fit.

    Attributes:
        names: Names of the parameters, P of them.
        matrix: Correlation coefficients, shape (P, P).
    """

    schema: ClassVar[str] = "hisigma-zfit/correlations/1"
    names: tuple[str, ...]
    matrix: JsonArray

    def __getitem__(self, pair: tuple[str, str]) -> float:
        first, second = (self.names.index(name) for name in pair)
        return float(self.matrix[first, second])

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`."""
        rows = (dict(zip(self.names, row.tolist(), strict=True)) for row in self.matrix)
        return {"matrix": dict(zip(self.names, rows, strict=True))}


@dataclass(frozen=True)
class Contour(Answer):
    """Closed line of constant profiled 2 dNLL in the plane of two parameters.

    Attributes:
        x: Name of the first parameter.
        y: Name of the second parameter.
        best: Best fit of both.
        cl: Confidence level of the region inside, for two parameters together.
        level: Value of t on the line; 2.30 for 68.3 %, 5.99 for 95 %.
        points: The line in the order of the angle, shape (n, 2); the first point is not repeated at the end.
        bounded: Whether each point lies at a parameter's limit, where t stays below the level, shape (n,), 0 or 1.
    """

    schema: ClassVar[str] = "hisigma-zfit/contour/1"
    x: str
    y: str
    best: tuple[float, float]
    cl: float
    level: float
    points: JsonArray
    bounded: JsonArray

    @property
    def area(self) -> float:
        """Area inside the line."""
        x, y = self.points.T
        return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))

    def contains(self, x: float, y: float) -> bool:
        """Whether a point is inside: the line is star-shaped around the best fit, so winding decides."""
        relative = self.points - np.array([x, y])
        turned = np.roll(relative, -1, axis=0)
        cross = relative[:, 0] * turned[:, 1] - relative[:, 1] * turned[:, 0]
        angle = np.arctan2(cross, np.sum(relative * turned, axis=1)).sum()
        return bool(abs(angle) > np.pi)


@dataclass(frozen=True)
class GoodnessOfFit(Result):
    """One test of the whole fitted density against the data.

    Attributes:
        method: Name of the test.
        statistic: Observed value; large values speak against the model.
        null: The same for exchanged labels, shape (n,): what a right model gives.
        p_value: (1 + number of null values at or above the observed one) / (n + 1), exact for exchangeable samples.
        n_data: Events of the data that entered.
        n_model: Events drawn from the model that entered.
        seed: Seed of the model sample and of the permutations.
    """

    schema: ClassVar[str] = "hisigma-zfit/goodness-of-fit/1"
    method: str
    statistic: float
    null: JsonArray
    p_value: float
    n_data: int
    n_model: int
    seed: int

    @property
    def z(self) -> float:
        """Distance of the observed value from the mean of the null values, in their standard deviations."""
        spread = float(self.null.std())
        return (self.statistic - float(self.null.mean())) / spread if spread > 0 else 0.0

    def shown(self) -> dict[str, Any]:
        """See `Result.shown`."""
        return super().shown() | {"z": self.z}

    def __str__(self) -> str:
        return (
            f"goodness of fit ({self.method}): p = {self.p_value:.3g}, {self.z:+.1f} standard deviations from the "
            f"mean of {self.null.size} permutations ({self.n_data} events against {self.n_model} from the model)"
        )


@dataclass(frozen=True)
class WeightedFeature(Result):
    """Signal distribution of one feature, taken from the data by sPlot weights, beside simulation.

    Attributes:
        observable: Name of the feature.
        edges: Bin edges, shape (n + 1,).
        data: Sum of signal sWeights by bin, shape (n,).
        data_error: Root of the sum of squared sWeights, shape (n,).
        expected: Simulated signal scaled to the sum of all sWeights, shape (n,).
        component: Name of the signal.
    """

    schema: ClassVar[str] = "hisigma-zfit/weighted-feature/1"
    observable: str
    edges: JsonArray
    data: JsonArray
    data_error: JsonArray
    expected: JsonArray
    component: str = "signal"
