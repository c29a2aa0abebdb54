"""Gaussian mixtures of simulated events: densities that are normalised, and shift and stretch, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32

__all__ = ["Mixture", "fit_mixture", "monomials"]

WORTH, WIDTH = 5.0, 0.1  # prior of a component's covariance: events, and their width in standard deviations
ENOUGH = 1e-4  # gain in log-likelihood by event at which the components stand still
MAX_STEPS = 200
BLOCK = 2048  # events whose densities stay in the processor's cache


@dataclass(frozen=True)
class Mixture:
    """Gaussians with shares.

    Attributes:
        shares: Summing to one, shape (K,).
        means: Shape (K, D).
        covariances: Shape (K, D, D).
    """

    shares: Array
    means: Array
    covariances: Array

    def moved(self, offset: Array, factor: Array) -> Self:
        """The mixture of offset + factor * z, both of shape (D,)."""
        covariances = self.covariances * factor[:, None] * factor
        return type(self)(self.shares, offset + factor * self.means, covariances)

    def joined(self, other: Self, share: float) -> Self:
        """This mixture and another one, which gets a share."""
        return type(self)(
            np.concatenate([(1.0 - share) * self.shares, share * other.shares]),
            np.concatenate([self.means, other.means]),
            np.concatenate([self.covariances, other.covariances]),
        )

    def coefficients(self) -> Array:
        """Of the `monomials` in log(share N), shape (q, K)."""
        size = self.means.shape[1]
        rows, columns = np.triu_indices(size)
        precisions = np.linalg.inv(self.covariances)
        linear = np.einsum("kij,kj->ki", precisions, self.means)
        constant = -0.5 * (np.einsum("ki,ki->k", linear, self.means) + np.linalg.slogdet(self.covariances)[1])
        constant += np.log(np.maximum(self.shares, 1e-300)) - 0.5 * size * np.log(2.0 * np.pi)
        quadratic = -precisions[:, rows, columns] * np.where(rows == columns, 0.5, 1.0)
        return np.concatenate([constant[:, None], linear, quadratic], axis=1).T

    def log_density(self, powers: Float32) -> Float32:
        """Logarithm of the density at points whose `monomials` are given, shape (n,).

        One product of matrices in single precision; as good as 1e-3 at points within a few standard deviations of the
        origin.
        """
        coefficients, total = self.coefficients().astype(np.float32), np.empty(len(powers), dtype=np.float32)
        for start in range(0, len(powers), BLOCK):
            logs = powers[start : start + BLOCK] @ coefficients
            total[start : start + BLOCK] = np.exp(logs, out=logs).sum(axis=1)
        with np.errstate(divide="ignore"):  # far from everything the density is zero
            return np.log(total, out=total)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Points, shape (n, D)."""
        component = rng.choice(len(self.shares), size=n, p=self.shares / self.shares.sum())
        normal = rng.standard_normal((n, self.means.shape[1]))
        roots = np.linalg.cholesky(self.covariances)
        return np.asarray(self.means[component] + np.einsum("nij,nj->ni", roots[component], normal))


def monomials(z: Array) -> Float32:
    """(1, z, z z^T) of points of shape (n, D), shape (n, q)."""
    rows, columns = np.triu_indices(z.shape[1])
    return np.column_stack([np.ones(len(z)), z, z[:, rows] * z[:, columns]]).astype(np.float32)


def _memberships(logs: Float32) -> tuple[Float32, Float32]:
    """Log of the sum of exponentials, shape (n,), and each one's share of it, shape (n, K)."""
    top = logs.max(axis=1)
    parts = np.exp(logs - top[:, None])
    total = parts.sum(axis=1)
    return top + np.log(total), parts / total[:, None]


def fit_mixture(z: Array, *, components: int, rng: np.random.Generator) -> Mixture:
    """Maximum likelihood by expectation maximisation, with a weak prior that keeps components from collapsing.

    Args:
        z: Points, shape (n, D), of a spread of about one in every direction.
        components: How many.
        rng: Source of randomness of the starts.
    """
    size, spread = z.shape[1], z.var(axis=0)
    powers = monomials(z)
    rows, columns = np.triu_indices(size)
    mixture = Mixture(
        np.full(components, 1.0 / components),
        _scattered(z, components, rng),
        np.tile(np.diag(0.25 * spread), (components, 1, 1)),
    )
    before = -np.inf
    for _ in range(MAX_STEPS):
        log_density, shares = _memberships(powers @ mixture.coefficients().astype(np.float32))
        value = float(log_density.mean(dtype=np.float64))
        if value - before < ENOUGH:
            break
        before = value
        sums = (powers.T @ shares).T.astype(np.float64)
        n, first = np.maximum(sums[:, 0], 1e-9), sums[:, 1 : 1 + size]
        second = np.empty((components, size, size))
        second[:, rows, columns] = second[:, columns, rows] = sums[:, 1 + size :]
        means = first / n[:, None]
        scatter = second - n[:, None, None] * means[:, :, None] * means[:, None, :]
        covariances = (scatter + WORTH * WIDTH**2 * np.diag(spread)) / (n + WORTH)[:, None, None]
        mixture = Mixture(n / n.sum(), means, covariances)
    return mixture


def _scattered(z: Array, number: int, rng: np.random.Generator) -> Array:
    """Events far from each other, each chosen with a probability that grows with its distance to those before."""
    chosen = [z[rng.integers(len(z))]]
    distance = ((z - chosen[0]) ** 2).sum(axis=1)
    for _ in range(1, number):
        chosen.append(z[rng.choice(len(z), p=distance / distance.sum())])
        distance = np.minimum(distance, ((z - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)
