"""Gaussian lumps over a known background, by expectation maximisation: many starts and subsets in one product.

    p(y) = (1 - w) p_b(y) + sum_k pi_k N(y; mu_k, Sigma_k),    w = sum_k pi_k,
    lambda = 2 sum_i log[p(y_i) / p_b(y_i)].

The background is one frozen component.  log N_k - log p_b is linear in the monomials (1, y, y y^T), so that one matrix
product serves all columns: starts, folds, bootstraps, each with event weights and a share of its own.  An inverse
Wishart prior on each Sigma, worth NU events of covariance S0^2, keeps a lump from shrinking onto a few events.

A lump may be idle in some of the features: there it is distributed as the background is given the active ones,

    mu = m + W (mu - m),    Sigma = C + W (Sigma - C) W^T,    W = 1 where active, C_ia C_aa^-1 where idle,

with m and C mean and covariance of all events.  It is a Gaussian still, but nothing of an idle feature is fitted.
Which features are active is chosen by `lump_starts`, with the price of `Blobs.log_prior`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask

__all__ = ["Blobs", "Maximum", "Points", "completed", "maximise"]

NU, S0 = 20.0, 0.5
PRICE = 0.65  # of a parameter in log-likelihood; with 1 (Akaike) faint lumps lose against empty ones
ENOUGH = 0.006  # change of the objective at which a column has converged
MAX_STEPS = 500
LEAST = 5.0  # events of a lump
FAR = -1000.0  # test statistic of a lump that is none
CEILING = 80.0  # of log r: what float32 can square


@dataclass(frozen=True)
class Points:
    """Events as the search sees them.

    Attributes:
        y: Gaussianised coordinates, shape (n, D).
        log_background: log p_b(y), shape (n,).
        monomials: (1, y, y y^T), shape (n, q).
        overall: All events, if these are those near a lump.
    """

    y: Array
    log_background: Array
    monomials: Float32
    overall: Points | None = None

    @classmethod
    def of(cls, y: Array, log_background: Array) -> Self:
        """Compute the monomials."""
        rows, columns = np.triu_indices(y.shape[1])
        monomials = np.column_stack([np.ones(len(y)), y, y[:, rows] * y[:, columns]])
        return cls(y, log_background, monomials.astype(np.float32))

    def __len__(self) -> int:
        return len(self.y)

    def select(self, rows: Integers | Mask | slice) -> Points:
        """Some of the events, which know nothing of the others."""
        return Points(self.y[rows], self.log_background[rows], self.monomials[rows])

    def near(self, rows: Mask | slice) -> Points:
        """Some of the events, with mean and covariance of all."""
        overall = self if self.overall is None else self.overall
        return replace(self.select(rows), overall=overall)

    @cached_property
    def mean(self) -> Array:
        """Of all events, which is the background's but for a few permille, shape (D,)."""
        return np.asarray(self.y.mean(axis=0)) if self.overall is None else self.overall.mean

    @cached_property
    def covariance(self) -> Array:
        """Of all events, shape (D, D)."""
        return np.cov(self.y.T) if self.overall is None else self.overall.covariance


@dataclass(frozen=True)
class Blobs:
    """Lumps of R searches with K components each.

    Attributes:
        shares: pi, shape (R, K).
        means: Shape (R, K, D).
        covariances: Shape (R, K, D, D).
        active: Coordinates in which a lump is one, shape (R, K, D); all of them by default.
    """

    shares: Array
    means: Array
    covariances: Array
    active: Mask | None = None

    @classmethod
    def joined(cls, parts: Sequence[Blobs], *, axis: int = 0) -> Self:
        """Searches one after another, or with axis 1 the components of each."""
        columns = zip(*((part.shares, part.means, part.covariances, part.mask) for part in parts), strict=True)
        return cls(*(np.concatenate(column, axis=axis) for column in columns))

    def __len__(self) -> int:
        return len(self.shares)

    def take(self, rows: Integers | Mask) -> Blobs:
        """Some of the searches, by number."""
        return Blobs(self.shares[rows], self.means[rows], self.covariances[rows], self.mask[rows])

    @property
    def mask(self) -> Mask:
        """Active coordinates, shape (R, K, D)."""
        return np.ones(self.means.shape, dtype=np.bool_) if self.active is None else self.active

    @property
    def without_mass(self) -> Blobs:
        """Their marginals in the features, the coordinates but the first."""
        active = None if self.active is None else self.active[..., 1:]
        return Blobs(self.shares, self.means[..., 1:], self.covariances[..., 1:, 1:], active)

    @property
    def total(self) -> Array:
        """w, shape (R,)."""
        return np.asarray(self.shares.sum(axis=1))

    @property
    def log_prior(self) -> Array:
        """Logarithm of the prior density up to a constant, shape (R,).

        The covariance of idle features is at the prior's mode.  A lump that is idle in some gets back the PRICE of
        the parameters that it lacks, less the logarithm of the number of ways to choose as many features.
        """
        own = _block(self.covariances, self.mask, S0**2)
        trace = np.trace(np.linalg.inv(own), axis1=2, axis2=3)
        _, log_det = np.linalg.slogdet(own)
        features = self.means.shape[-1] - 1
        active = self.mask[..., 1:].sum(axis=2)
        choices = gammaln(features + 1) - gammaln(active + 1) - gammaln(features - active + 1)
        saved = PRICE * (_parameters(features) - _parameters(active)) - choices
        return np.asarray((-0.5 * NU * (S0**2 * trace + log_det) + saved).sum(axis=1))

    def log_densities(self, points: Points) -> Array:
        """Log N_k(y_i), shape (n, R, K)."""
        flat = self.means.reshape(-1, self.means.shape[-1]), self.covariances.reshape(-1, *self.covariances.shape[-2:])
        logs = points.monomials @ _coefficients(*flat).astype(np.float32)
        return np.asarray(logs.reshape(len(points), *self.shares.shape))

    def log_ratio(self, points: Points) -> Array:
        """Log of p_s(y) / p_b(y) with p_s the lumps' normalised density, shape (n, R)."""
        share = self.shares / np.maximum(self.total[:, None], 1e-300)
        logs = self.log_densities(points) + np.log(np.maximum(share, 1e-300))
        return np.asarray(np.logaddexp.reduce(logs, axis=2) - points.log_background[:, None])

    def sample(self, n: int, rng: np.random.Generator, *, search: int = 0) -> Array:
        """Points of the lumps of one search, shape (n, D)."""
        share = self.shares[search] / self.shares[search].sum()
        component = rng.choice(len(share), size=n, p=share)
        roots = np.linalg.cholesky(self.covariances[search])
        normal = rng.standard_normal((n, self.means.shape[-1]))
        return np.asarray(self.means[search][component] + np.einsum("nij,nj->ni", roots[component], normal))


def _parameters(features: int | Integers) -> Integers:
    """Of a lump in the mass and so many features: its share, mean and covariance."""
    size = np.asarray(features) + 1
    return 1 + size + size * (size + 1) // 2


def _block(matrices: Array, active: Mask, rest: float) -> Array:
    """Of the active coordinates, with a multiple of the unit matrix in the others."""
    inner = np.where(active[..., :, None] & active[..., None, :], matrices, 0.0)
    return np.asarray(inner + np.where(active, 0.0, rest)[..., None] * np.eye(active.shape[-1]))


def completed(points: Points, means: Array, covariances: Array, active: Mask) -> tuple[Array, Array]:
    """Means and covariances with idle coordinates as those of the background given the active ones, see the module.

    Args:
        points: Events.
        means: Those of active coordinates count, shape (..., D).
        covariances: The same, shape (..., D, D).
        active: Shape (..., D).
    """
    overall = points.covariance
    inner = active[..., :, None] & active[..., None, :]
    slopes = overall @ np.where(inner, np.linalg.inv(_block(overall, active, 1.0)), 0.0)
    slopes = np.where(active[..., :, None], np.eye(len(overall)), slopes)
    means = points.mean + np.einsum("...ij,...j->...i", slopes, means - points.mean)
    return means, overall + slopes @ (covariances - overall) @ slopes.swapaxes(-1, -2)


def _coefficients(means: Array, covariances: Array) -> Array:
    """Of the monomials in log N, shape (q, R)."""
    size = means.shape[1]
    rows, columns = np.triu_indices(size)
    precisions = np.linalg.inv(covariances)
    linear = np.einsum("rij,rj->ri", precisions, means)
    constant = -0.5 * (np.einsum("ri,ri->r", linear, means) + np.linalg.slogdet(covariances)[1])
    constant -= 0.5 * size * np.log(2.0 * np.pi)
    quadratic = -precisions[:, rows, columns] * np.where(rows == columns, 0.5, 1.0)
    return np.concatenate([constant[:, None], linear, quadratic], axis=1).T


@dataclass(frozen=True)
class Maximum:
    """What `maximise` returns; leading axis R.

    Attributes:
        blobs: The lumps.
        gain: lambda, without the prior.
        objective: lambda / 2 with the prior; minus infinity for a lump of fewer than five events, which is none.
        steps: Taken by each.
    """

    blobs: Blobs
    gain: Array
    objective: Array
    steps: Integers

    @property
    def statistic(self) -> Array:
        """Test statistic, shape (R,): twice the objective less that of no events in lumps at the prior's mode.

        Such a lump is idle in all features; one of fewer than five events counts as far below it.

        What is maximised is what is to be compared with toys: lambda at this maximum fluctuates twice as much where
        there is no signal, since among lumps of much the same objective the prior picks narrow or wide ones.
        """
        components, size = self.blobs.means.shape[1:]
        mode = -0.5 * NU * size * (1.0 + np.log(S0**2)) + PRICE * (_parameters(size - 1) - _parameters(0))
        return np.maximum(2.0 * (self.objective - components * mode), FAR)

    def best(self) -> int:
        """Number of the search with the largest objective."""
        return int(np.argmax(self.objective))

    def take(self, rows: Integers) -> Maximum:
        """Some of the searches, by number."""
        return Maximum(self.blobs.take(rows), self.gain[rows], self.objective[rows], self.steps[rows])


def maximise(
    points: Points,
    start: Blobs,
    *,
    weights: Array | None = None,
    share: Array | None = None,
    outside: int = 0,
    enough: float = ENOUGH,
    most: int = MAX_STEPS,
) -> Maximum:
    """Expectation maximisation of lambda / 2 + log prior, every column until it stands still.

    Args:
        points: Events.
        start: One search for each column; what is idle stays idle.
        weights: How often an event counts in each column, shape (n, R); once by default.
        share: w of each column, shape (R,), if it is not to be fitted.
        outside: Further events, so far from the lumps that they are background.
        enough: Change of the objective at which a column is left alone.
        most: Steps.

    Returns:
        Where each column ended.
    """
    counts = np.full(len(start), float(len(points) + outside)) if weights is None else weights.sum(axis=0)
    blobs = start
    gain, objective = np.zeros(len(start)), np.full(len(start), -np.inf)
    steps = np.zeros(len(start), dtype=np.intp)
    active = np.arange(len(start))
    for step in range(most):
        own = blobs.take(active)
        part = None if weights is None else weights[:, active]
        moved, half = _step(points, own, counts[active], part, None if share is None else share[active])
        half = half + outside * np.log1p(-own.total)
        value = half + own.log_prior
        settled = value - objective[active] < enough
        gain[active], objective[active], steps[active] = 2.0 * half, value, step
        going = active[~settled]
        if not len(going):
            break
        moved = moved.take(~settled)
        blobs = Blobs(
            _put(blobs.shares, going, moved.shares),
            _put(blobs.means, going, moved.means),
            _put(blobs.covariances, going, moved.covariances),
            blobs.active,
        )
        active = going
    objective[blobs.total * counts < LEAST] = -np.inf
    return Maximum(blobs, gain, objective, steps)


def _put(old: Array, rows: Integers, new: Array) -> Array:
    result = old.copy()
    result[rows] = new
    return result


def _step(
    points: Points, blobs: Blobs, counts: Array, weights: Array | None, share: Array | None
) -> tuple[Blobs, Array]:
    """The next lumps, and lambda / 2 of the present ones."""
    size = points.y.shape[1]
    logs = blobs.log_densities(points) - points.log_background[:, None, None].astype(np.float32)
    ratio = np.exp(np.minimum(logs, CEILING)) * blobs.shares.astype(np.float32)
    density = ratio.sum(axis=2) + (1.0 - blobs.total).astype(np.float32)
    log_density = np.log(density)
    half = log_density.sum(axis=0, dtype=np.float64) if weights is None else np.einsum("nr,nr->r", weights, log_density)
    ratio /= density[:, :, None]
    if weights is not None:
        ratio *= weights[:, :, None]
    sums = (points.monomials.T @ ratio.reshape(len(points), blobs.shares.size)).T.astype(np.float64)
    sums = sums.reshape(*blobs.shares.shape, -1)
    n, first = sums[..., 0], sums[..., 1 : 1 + size]
    rows, columns = np.triu_indices(size)
    second = np.empty((*n.shape, size, size))
    second[..., rows, columns] = second[..., columns, rows] = sums[..., 1 + size :]
    safe = np.maximum(n, 1e-9)
    means = first / safe[..., None]
    scatter = second - safe[..., None, None] * means[..., :, None] * means[..., None, :]
    covariances = (scatter + NU * S0**2 * np.eye(size)) / (n + NU)[..., None, None]
    if not blobs.mask.all():
        means, covariances = completed(points, means, covariances, blobs.mask)
    shares = n / counts[:, None]
    if share is not None:
        shares = n / safe.sum(axis=1, keepdims=True) * share[:, None]
    return replace(blobs, shares=shares, means=means, covariances=covariances), np.asarray(half)
