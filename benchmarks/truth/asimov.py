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
        self._peak = world.signal_mass_density(self.m) * (high - low)  # in units of t
        self.exact_background = world.background.log_prob(self.x, world.scaled(self.m))
        self.exact_signal = world.signal.log_prob(self.x, world.scaled(self.m))

    def fit(self, log_background: Array, log_signal: Array) -> AsimovFit:
        """Fit the expected data with densities of the features; shapes (n,).

        Events outside of the background's domain, where its density is zero, are left out, as a measurement does.
        """
        low, high = self.world.mass_range
        inside = np.isfinite(log_background) & np.isfinite(log_signal)
        ratio = np.where(inside, np.exp(np.where(inside, log_signal - log_background, 0.0)), 0.0)
        w = np.where(np.isfinite(log_background), self.weights, 0.0)
        t = np.concatenate([(self.m - low) / (high - low), self._t_side])
        w = np.concatenate([w, self._w_side])
        signal = np.concatenate([self._peak * ratio, np.zeros(len(self._t_side))])
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
        return AsimovFit(float(theta[0]), float(np.sqrt(covariance[0, 0])), float(np.sqrt(scatter[0, 0])), float(value))
