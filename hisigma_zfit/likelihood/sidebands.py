"""The sidebands as a measurement of the members' weights: numpy only, so that toys in other processes can have it.

The likelihood of the sideband events is known as a function of the weights w.  A repetition of that measurement, in a
pseudo-experiment or an Asimov set, is described by its best weights x.  Events j that were drawn from the mixture with
the weights v of the data stand for those of a mixture with weights x if each counts p_x(x'_j) / p_v(x'_j) times; the
likelihood of these is stationary at x exactly, whatever x is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["MemberWeights", "SidebandMeasurement", "SidebandTerm"]

SidebandTerm = Literal["exact", "gaussian"]


@dataclass(frozen=True)
class MemberWeights:
    """Weights of E members from a fit to the sidebands.

    Attributes:
        values: Sum to one, shape (E,).
        covariance: From the sandwich of curvature and scatter of the scores, which also holds when no combination of
            the members is exact, shape (E, E); its rows sum to zero.
        density: p_i of the events relative to the largest, shape (E, n).
        event_weights: Shape (n,).
    """

    values: Array
    covariance: Array
    density: Array
    event_weights: Array


@dataclass(frozen=True)
class SidebandMeasurement:
    """-log L_SB as a function of the members' yields p, shape (E,), whose shares are the weights.

    Observations are the best weights of the sidebands but the last, shape (E - 1,).

    Attributes:
        weights: The fit to the sidebands of the data.
        term: ``"exact"``, or ``"gaussian"`` with the sandwich covariance.
    """

    weights: MemberWeights
    term: SidebandTerm

    @property
    def observed(self) -> Array:
        """The observations of the data."""
        return self.weights.values[:-1]

    @cached_property
    def precision(self) -> Array:
        """Inverse covariance of all weights but the last, shape (E - 1, E - 1)."""
        return np.asarray(np.linalg.inv(self.weights.covariance[:-1, :-1]))

    @cached_property
    def relative(self) -> Array:
        """Members' densities of the sideband events relative to that of the data's mixture, shape (E, n)."""
        return self.weights.density / (self.weights.values @ self.weights.density)

    def event_weights(self, x: Array) -> Array:
        """Weights with which the sideband events stand for those of a repetition, shape (n,)."""
        return self.weights.event_weights * (np.append(x, 1.0 - x.sum()) @ self.relative)

    def stationary(self, p: Array) -> Array:
        """The observations at which the term is stationary in `p`."""
        return p[:-1] / p.sum()

    def draw(self, p: Array, rng: np.random.Generator) -> Array:
        """Best weights of a repetition when those of `p` are true: they scatter with the covariance of the data's."""
        return self.stationary(p) + np.linalg.cholesky(self.weights.covariance[:-1, :-1]) @ rng.standard_normal(
            p.size - 1
        )

    def terms(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        """-log L up to a constant, its gradient (E,) and its Hessian (E, E) in `p`."""
        return self._exact(p, x) if self.term == "exact" else self._gaussian(p, x)

    def _exact(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        relative, weights, total = self.relative, self.event_weights(x), float(p.sum())
        mixture, number = p @ relative, float(weights.sum())
        if not mixture.min() > 0.0:
            return np.inf, np.full(p.size, np.nan), np.full((p.size, p.size), np.nan)
        # relative to the mixture of the data: two large numbers would cost digits of the profile
        value = -float(weights @ np.log(mixture / total))
        slopes = relative / mixture
        return value, number / total - slopes @ weights, (slopes * weights) @ slopes.T - number / total**2

    def _gaussian(self, p: Array, x: Array) -> tuple[float, Array, Array]:
        total = float(p.sum())
        w = p / total
        shift = w[:-1] - x
        pull = np.append(self.precision @ shift, 0.0)
        jacobian = (np.eye(p.size) - w[:, None])[:-1] / total
        hessian = jacobian.T @ self.precision @ jacobian
        hessian += (2.0 * (pull @ w) - pull[:, None] - pull) / total**2
        return 0.5 * float(shift @ pull[:-1]), jacobian.T @ pull[:-1], hessian
