"""What a fit with learned densities returns on average: one weighted truth sample, no noise of the data.

Independent of the package's own likelihood: four parameters (signal, background, slope and curvature of the
background's mass), one Newton iteration in numpy, the normalisation of the mass by quadrature.  Only the signal region
has features; the sidebands count by their mass, as in the package's default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from worlds import World

    from hisigma_zfit.arrays import Array

__all__ = ["AsimovFit", "TruthSample"]

FLOOR_EVENTS = 4000


@dataclass(frozen=True)
class AsimovFit:
    """Best fit to the expected data.

    Attributes:
        signal: Fitted signal yield.
        error: Its error by the likelihood.
        noise: Spread of the yield in repeated data sets with these densities (sandwich form): with the exact
            densities it is the error.
        value: -log L at the minimum, relative to the exact background alone.
    """

    signal: float
    error: float
    noise: float
    value: float


class TruthSample:
    """Background and signal events of one world with exact densities, weighted to the expected data.

    Args:
        world: The world.
        n_background: Background events of the signal region.
        n_signal: Signal events.
        seed: Same seed, same sample.
    """

    def __init__(self, world: World, *, n_background: int = 60_000, n_signal: int = 15_000, seed: int = 1) -> None:
        rng = np.random.default_rng([seed, 1])
        self.world = world
        m_b = np.empty(0)
        while len(m_b) < n_background:
            more = world.draw_background_mass(4 * n_background, rng)
            m_b = np.concatenate([m_b, more[world.inside(more)]])
        m_b, m_s = m_b[:n_background], world.draw_signal_mass(n_signal, rng)
        self.m = np.concatenate([m_b, m_s])
        self.x = np.concatenate(
            [world.background.sample(world.scaled(m_b), rng), world.signal.sample(world.scaled(m_s), rng)]
        )
        expected = world.n_background * (1.0 - world.share_of_sidebands)
        self.weights = np.concatenate(
            [np.full(n_background, expected / n_background), np.full(n_signal, world.n_signal / n_signal)]
        )
        # sidebands: their mass alone, on a fine grid with the expected events as weights
        low, high = world.mass_range
        edges = np.linspace(low, high, 4001)
        centres = 0.5 * (edges[1:] + edges[:-1])
        centres = centres[~world.inside(centres)]
        t = (centres - low) / (high - low)
        density = np.exp(-world.slope * t)
        self._t_side, self._w_side = t, world.n_background * world.share_of_sidebands * density / density.sum()
        self._nodes, node_weights = np.polynomial.legendre.leggauss(64)
        self._nodes, self._node_weights = 0.5 * (self._nodes + 1.0), 0.5 * node_weights
        self.peak = world.signal_mass_density(self.m) * (high - low)  # in units of t
        self.exact_background = world.background.log_prob(self.x, world.scaled(self.m))
        self.exact_signal = world.signal.log_prob(self.x, world.scaled(self.m))

    def fit(self, log_background: Array, log_signal: Array) -> AsimovFit:
        """Fit the expected data with densities of the features; shapes (n,).

        Events outside of the background's domain, where its density is zero, are left out, as a measurement does.
        """
        return self.minimum(log_background, log_signal)[0]

    def minimum(self, log_background: Array, log_signal: Array) -> tuple[AsimovFit, Array, Array]:
        """The fit, its four parameters and their covariance."""
        low, high = self.world.mass_range
        inside = np.isfinite(log_background) & np.isfinite(log_signal)
        ratio = np.where(inside, np.exp(np.where(inside, log_signal - log_background, 0.0)), 0.0)
        w = np.where(np.isfinite(log_background), self.weights, 0.0)
        t = np.concatenate([(self.m - low) / (high - low), self._t_side])
        w = np.concatenate([w, self._w_side])
        signal = np.concatenate([self.peak * ratio, np.zeros(len(self._t_side))])
        theta = np.array([self.world.n_signal, self.world.n_background, self.world.slope, 0.0])
        for _ in range(60):
            n_s, n_b, p1, p2 = theta
            shape = np.exp(-p1 * self._nodes + p2 * self._nodes**2) * self._node_weights
            norm = shape.sum()
            mean = np.array([-(shape @ self._nodes), shape @ self._nodes**2]) / norm
            moments = [shape @ self._nodes**k / norm for k in (2, 3, 4)]
            square = np.array([[moments[0], -moments[1]], [-moments[1], moments[2]]])
            f_b = np.exp(-p1 * t + p2 * t**2) / norm
            total = n_s * signal + n_b * f_b
            derivative = np.stack([-t - mean[0], t**2 - mean[1]])  # of log f_b
            slopes = np.concatenate([[signal], [f_b], n_b * f_b * derivative]) / total
            gradient = np.array([1.0, 1.0, 0.0, 0.0]) - slopes @ w
            hessian = (slopes * w) @ slopes.T
            share = w * n_b * f_b / total
            hessian[2:, 2:] -= (derivative * share) @ derivative.T - (square - np.outer(mean, mean)) * share.sum()
            cross = derivative @ (w * f_b / total)
            hessian[1, 2:] -= cross
            hessian[2:, 1] -= cross
            step = np.linalg.solve(hessian, gradient)
            theta = theta - step * min(1.0, 0.5 * n_b / max(abs(step[1]), 1e-9))
            if np.abs(step[0]) < 1e-6 * max(1.0, np.sqrt(self.world.n_signal)):
                break
        covariance = np.linalg.inv(hessian)
        scatter = covariance @ ((slopes * w) @ slopes.T) @ covariance
        learned = np.where(np.isfinite(log_background), log_background - self.exact_background, 0.0)
        value = theta[0] + theta[1] - w @ np.log(total) - w[: len(learned)] @ learned
        found = AsimovFit(
            float(theta[0]), float(np.sqrt(covariance[0, 0])), float(np.sqrt(scatter[0, 0])), float(value)
        )
        return found, theta, covariance

    def influence(self, t: Array, ratio: Array, theta: Array, covariance: Array) -> Array:
        """By how much the fitted signal moves for a relative change of p_b(x) at one place, times the expected events.

        First order in the change, from the derivative of the gradient by log p_b.

        Args:
            t: Masses on [0, 1], shape (n,).
            ratio: Peak in t times p_s(x) / p_b(x), shape (n,).
            theta: Parameters of the fit.
            covariance: Theirs.

        Returns:
            In units of the density of expected events over p_b(x), shape (n,).
        """
        n_s, n_b, p1, p2 = theta
        shape = np.exp(-p1 * self._nodes + p2 * self._nodes**2) * self._node_weights
        norm = shape.sum()
        mean = np.array([-(shape @ self._nodes), shape @ self._nodes**2]) / norm
        f_b = np.exp(-p1 * t + p2 * t**2) / norm
        total = n_s * ratio + n_b * f_b
        drift = covariance[0, 2:] @ np.stack([-t - mean[0], t**2 - mean[1]])
        by_signal = -n_b * covariance[0, 0] + n_s * covariance[0, 1] + n_b * n_s * drift
        return np.asarray(ratio * f_b / total * by_signal)

    def counting_floor(self, n_sidebands: float) -> float:
        """Spread of the fitted signal if p_b were the histogram of so many events with infinitely fine bins.

        What counting alone leaves uncertain, in units of the yield.  A density that is assumed to be smooth can be
        better, one that learns more than the mean of its events cannot.
        """
        _, theta, covariance = self.minimum(self.exact_background, self.exact_signal)
        low, high = self.world.mass_range
        edges = (np.array(self.world.region) - low) / (high - low)
        nodes = edges[0] + (edges[1] - edges[0]) * self._nodes
        rng = np.random.default_rng(2)
        rows = rng.choice(np.flatnonzero(self.weights == self.weights[0]), FLOOR_EVENTS, replace=False)
        change = np.zeros(len(rows))
        for t, weight in zip(nodes, (edges[1] - edges[0]) * self._node_weights, strict=True):
            m = np.full(len(rows), low + (high - low) * t)
            scaled = self.world.scaled(m)
            log_ratio = self.world.signal.log_prob(self.x[rows], scaled)
            log_ratio -= self.world.background.log_prob(self.x[rows], scaled)
            peak = self.world.signal_mass_density(m) * (high - low)
            ratio = peak * np.exp(log_ratio)
            change += weight * self.influence(np.full(len(rows), t), ratio, theta, covariance)
        return float(change.std() / np.sqrt(n_sidebands))
