"""Coordinates in which the background of a signal region is a standard normal in each, whatever its features are.

The mass goes through the distribution function of its own shape, restricted to the region, each feature through the
marginal transform of the learned density; then both through the normal quantile,

    y_0 = Phi^-1(F_b(m)),    y_j = Phi^-1(u_j(x)),
    log p_b(y) = log p_b(x|m) - log |du/dx| + sum_j log phi(y_j).

The mass part of the density cancels: p_b(m) dm = dF.  What is left of the background's structure, its correlations and
what drifts with the mass, is in log p_b(y).  A resonance is a lump there (arXiv:2506.00119).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.integrate import cumulative_simpson
from scipy.special import ndtr, ndtri

from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.trained import TrainedFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.kinded_transform import KindedTransform
from hisigma_zfit.learn.preprocess import FeatureTransform, MarginalCDF

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.learn.moving import Coordinates

__all__ = ["Gaussianised", "drawn_background", "log_normal", "window_transform"]

KNOTS = 33  # of the distribution function of the mass, between which it is a cubic
_STEPS = 16  # of its integration, from knot to knot

FARTHEST = 7.5  # normal quantile of 3e-14: nothing is beyond it but what lies on an edge
ON_THE_EDGE = 3  # events that may lie on one by rounding


def window_transform(density: Callable[[Array], Array], window: tuple[float, float], *, name: str) -> FeatureTransform:
    """Distribution function of a mass shape in a window, as a marginal transform of one column.

    Args:
        density: Positive density of masses of shape (n,), of any norm.
        window: Lower and upper edge; they get the levels 0 and 1, exactly.
        name: Of the mass.
    """
    fine = np.linspace(*window, (KNOTS - 1) * _STEPS + 1)
    values = np.asarray(density(fine), dtype=np.float64)
    primitive = cumulative_simpson(values, x=fine, initial=0.0)
    levels, slopes = primitive[::_STEPS] / primitive[-1], values[::_STEPS] / primitive[-1]
    marginal = MarginalCDF(fine[::_STEPS], levels, slopes, (float(window[0]), float(window[1])), (0.0, 0.0))
    return FeatureTransform((name,), (marginal,))


def drawn_background(
    flow: ConditionalFlow, mass: FeatureTransform, n: int, rng: np.random.Generator, *, seed: int
) -> tuple[Array, Array]:
    """Events of a density whose mass has a distribution function.

    Args:
        flow: The density of the features.
        mass: Distribution function of the mass, see `window_transform`.
        n: Events.
        rng: Source of the masses.
        seed: Of the features.

    Returns:
        Features, shape (n, d), and masses, shape (n,).
    """
    m = mass.inverse(rng.random((n, 1)))[:, 0]
    return flow.sample(m, seed=seed), m


@dataclass(frozen=True)
class Gaussianised:
    """The coordinates y of a learned background in a window of the mass, see the module.

    Attributes:
        transform: Marginal transform of the features, or of their coordinates.
        coordinates: Those in which the features' edges stand still; None for the features as they are.
        mass: Distribution function of the background's mass in the window, see `window_transform`.
        features: Names of the features.
        given: Name of the mass.
    """

    transform: FeatureTransform
    coordinates: Coordinates | None
    mass: FeatureTransform
    features: tuple[str, ...]
    given: str

    @classmethod
    def of(cls, flow: ConditionalFlow, mass: FeatureTransform) -> Self:
        """Those of a trained density.

        Raises:
            InputError: The density was not trained, so that there is no marginal transform, or has features with kinds.
        """
        leaf = flow.members[0]
        coordinates: Coordinates | None = None
        if isinstance(leaf, CoordinateFlow):
            coordinates, leaf = leaf.coordinates, leaf.inner
        if not isinstance(leaf, TrainedFlow):
            raise InputError.from_parts(
                expected="a density from hz.train_flow", got=type(leaf).__name__, do="train the background first"
            )
        if isinstance(leaf.transform, KindedTransform):
            raise InputError.from_parts(
                expected="continuous features for a search without a signal model",
                got="integers, spikes or angles among them",
                do="train the background without their kinds and leave these features out",
            )
        return cls(leaf.transform, coordinates, mass, flow.features, flow.given)

    def forward(self, x: Array, m: Array) -> tuple[Array, Array]:
        """Coordinates of events.

        Args:
            x: Features, shape (n, d).
            m: Masses, shape (n,).

        Returns:
            y, shape (n, d + 1), the mass first, and log |dy/d(x, m)|, shape (n,).

        Raises:
            InputError: Several events lie on an edge of a feature or of the window.
        """
        log_jacobian = np.zeros(len(m))
        if self.coordinates is not None:
            x, log_jacobian = self.coordinates.forward(x, m)
        u, log_slope = self.transform.forward(x)
        level, log_density = self.mass.forward(m[:, None])
        y = ndtri(np.column_stack([level, u]))
        self._require_open(y)
        y = np.clip(y, -FARTHEST, FARTHEST)
        return y, log_jacobian + log_slope + log_density - log_normal(y).sum(axis=1)

    def features_forward(self, flow: ConditionalFlow, x: Array, m: Array) -> tuple[Array, Array]:
        """Coordinates of the features alone, and log of the density in them, at masses inside or outside of the window.

        Args:
            flow: The density.
            x: Features, shape (n, d), all inside of its domain.
            m: Masses, shape (n,).

        Returns:
            y without that of the mass, shape (n, d), and log p_b(y | m), shape (n,).
        """
        log_jacobian = np.zeros(len(m))
        own = x
        if self.coordinates is not None:
            own, log_jacobian = self.coordinates.forward(x, m)
        u, log_slope = self.transform.forward(own)
        y = np.clip(ndtri(u), -FARTHEST, FARTHEST)
        return y, flow.log_prob_array(x, m) - log_jacobian - log_slope + log_normal(y).sum(axis=1)

    def _require_open(self, y: Array) -> None:
        on_the_edge = (np.abs(y) > FARTHEST).sum(axis=0)
        for name, count in zip((self.given, *self.features), on_the_edge, strict=True):
            if count > ON_THE_EDGE:
                raise InputError.from_parts(
                    expected=f"values of {name} inside of its range",
                    got=f"{count} events on an edge of it",
                    do="cut them off: a lump of equal values looks like a signal",
                )

    def log_background(self, flow: ConditionalFlow, x: Array, m: Array, *, log_jacobian: Array | None = None) -> Array:
        """Log p_b(y) of a density whose mass is distributed as `mass`.

        Args:
            flow: The density.
            x: Features, shape (n, d).
            m: Masses, shape (n,).
            log_jacobian: What `forward` says of these events, if it was asked before.

        Returns:
            Shape (n,).
        """
        if log_jacobian is None:
            _, log_jacobian = self.forward(x, m)
        return np.asarray(flow.log_prob_array(x, m) + self.mass.forward(m[:, None])[1] - log_jacobian)

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """Features, shape (n, d), and masses, shape (n,), of points y of shape (n, d + 1)."""
        u = ndtr(y)
        m, x = self.mass.inverse(u[:, :1])[:, 0], self.transform.inverse(u[:, 1:])
        return (x if self.coordinates is None else self.coordinates.inverse(x, m)), m


def log_normal(y: Array) -> Array:
    """Logarithm of the standard normal density."""
    return np.asarray(-0.5 * y**2 - 0.5 * np.log(2.0 * np.pi))
