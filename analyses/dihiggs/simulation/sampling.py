"""Adaptive importance sampling on the unit cube (G. P. Lepage, J. Comput. Phys. 27 (1978) 192: VEGAS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


class Vegas:
    """A product of one-dimensional step densities that learns where the integrand is large.

    Args:
        dimension: Number of variables.
        seed: Of the generator the points are drawn with.
        bins: Steps per variable.
    """

    def __init__(self, dimension: int, seed: int, bins: int = 60) -> None:
        self.rng = np.random.default_rng(seed)
        self._bins = bins
        self._edges = np.tile(np.linspace(0, 1, bins + 1), (dimension, 1))

    def sample(self, n: int) -> tuple[Array, Array, npt.NDArray[np.int64]]:
        """Draw n points: coordinates (d, n), 1 / density (n,), and the step each coordinate fell into (d, n)."""
        scaled = self.rng.uniform(size=(len(self._edges), n)) * self._bins
        step = scaled.astype(np.int64)
        low = np.take_along_axis(self._edges, step, axis=1)
        width = np.take_along_axis(self._edges, step + 1, axis=1) - low
        return low + (scaled - step) * width, np.prod(width * self._bins, axis=0), step

    def adapt(self, step: npt.NDArray[np.int64], squares: Array, damping: float) -> None:
        """Move the edges so that every step holds about the same share of the damped squares (n,)."""
        for i, edges in enumerate(self._edges):
            content = np.bincount(step[i], weights=squares, minlength=self._bins)
            content = np.convolve(np.pad(content, 1, mode="edge"), [0.2, 0.6, 0.2], "valid")
            if content.sum() <= 0:
                continue
            share = np.clip(content / content.sum(), 1e-12, 1 - 1e-12)
            importance = ((1 - share) / -np.log(share)) ** damping
            cumulative = np.concatenate([[0.0], np.cumsum(importance)])
            self._edges[i] = np.interp(np.linspace(0, cumulative[-1], self._bins + 1), cumulative, edges)

    def train(self, integrand: Callable[[Array], Array], *, iterations: int, points: int) -> tuple[float, float]:
        """Adapt to `integrand` (maps (d, n) to (n,)); integral and its error from the iterations after the fourth."""
        means, variances = [], []
        for k in range(iterations):
            u, jacobian, step = self.sample(points)
            f = integrand(u) * jacobian
            means.append(f.mean())
            variances.append(f.var() / points)
            self.adapt(step, f**2, 0.7 if k < 6 else 0.4)
        weights = 1 / np.array(variances[4:])
        return float(np.average(means[4:], weights=weights)), float(weights.sum() ** -0.5)


def ceiling(f: Array, excess: float) -> float:
    """The height above which lies the fraction `excess` of the integral of the sampled values f (n,)."""
    descending = np.sort(f)[::-1]
    above = (np.cumsum(descending) - np.arange(1, len(f) + 1) * descending) / f.sum()
    return float(descending[np.searchsorted(above, excess)])


def unweighted_copies(f: Array, height: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of accepted points: each appears f / height times on average, more than once where f > height.

    Repeating the few high points, rather than cutting them off, keeps unit weights and the distribution exact.
    """
    return np.repeat(np.arange(len(f)), np.floor(f / height + rng.uniform(size=len(f))).astype(np.int64))
