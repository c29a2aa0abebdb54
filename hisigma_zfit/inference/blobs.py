"""Gaussian lumps over a known background, found by expectation maximisation: many starts and subsets in one product.

    p(y) = (1 - w) p_b(y) + sum_k pi_k N(y; mu_k, Sigma_k),    w = sum_k pi_k,
    lambda = 2 sum_i log[p(y_i) / p_b(y_i)].

The background is one frozen component.  log N_k - log p_b is linear in the monomials (1, y, y y^T), so that one matrix
product serves all columns: starts, folds, bootstraps, each with event weights and a share of its own.  An inverse
Wishart prior on each Sigma, worth NU events of covariance S0^2, keeps a lump from shrinking onto a few events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32, Integers, Mask

__all__ = ["Blobs", "Points", "maximise", "starts"]

NU, S0 = 20.0, 0.5
ENOUGH = 0.006  # change of the objective at which a column has converged
MAX_STEPS = 500
CEILING = 80.0  # of log r: what float32 can square
CUT = -14.0  # of log p_b, below which events are no more likely to be a start
MASS_WIDTH, FEATURE_WIDTH = 0.8, 0.5  # of the matched filter, in standard deviations of the background
APART = 2.0  # squared distance of two starts in widths


@dataclass(frozen=True)
class Points:
    """Events as the search sees them.

    Attributes:
        y: Gaussianised coordinates, shape (n, D).
        log_background: log p_b(y), shape (n,).
        monomials: (1, y, y y^T), shape (n, q).
    """

    y: Array
    log_background: Array
    monomials: Float32

    @classmethod
    def of(cls, y: Array, log_background: Array) -> Self:
        """Compute the monomials."""
        rows, columns = np.triu_indices(y.shape[1])
        monomials = np.column_stack([np.ones(len(y)), y, y[:, rows] * y[:, columns]])
        return cls(y, log_background, monomials.astype(np.float32))

    def __len__(self) -> int:
        return len(self.y)

    def select(self, rows: Integers | Mask) -> Points:
        """Some of the events."""
        return Points(self.y[rows], self.log_background[rows], self.monomials[rows])


@dataclass(frozen=True)
class Blobs:
    """Lumps of R searches with K components each.

    Attributes:
        shares: pi, shape (R, K).
        means: Shape (R, K, D).
        covariances: Shape (R, K, D, D).
    """

    shares: Array
    means: Array
    covariances: Array

    def __len__(self) -> int:
        return len(self.shares)

    def take(self, rows: Integers | Mask) -> Blobs:
        """Some of the searches, by number."""
        return Blobs(self.shares[rows], self.means[rows], self.covariances[rows])

    @property
    def total(self) -> Array:
        """w, shape (R,)."""
        return np.asarray(self.shares.sum(axis=1))

    @property
    def log_prior(self) -> Array:
        """Logarithm of the prior density up to a constant, shape (R,)."""
        precisions = np.linalg.inv(self.covariances)
        trace = np.trace(precisions, axis1=2, axis2=3)
        _, log_det = np.linalg.slogdet(self.covariances)
        return np.asarray(-0.5 * NU * (S0**2 * trace + log_det).sum(axis=1))

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
        objective: lambda / 2 with the prior.
        steps: Taken by each.
    """

    blobs: Blobs
    gain: Array
    objective: Array
    steps: Integers

    def best(self) -> int:
        """Number of the search with the largest objective."""
        return int(np.argmax(self.objective))


def maximise(
    points: Points, start: Blobs, *, weights: Array | None = None, share: Array | None = None, enough: float = ENOUGH
) -> Maximum:
    """Expectation maximisation of lambda / 2 + log prior, every column until it stands still.

    Args:
        points: Events.
        start: One search for each column.
        weights: How often an event counts in each column, shape (n, R); once by default.
        share: w of each column, shape (R,), if it is not to be fitted.
        enough: Change of the objective at which a column is left alone.

    Returns:
        Where each column ended.
    """
    counts = np.full(len(start), float(len(points))) if weights is None else weights.sum(axis=0)
    blobs = start
    gain, objective = np.zeros(len(start)), np.full(len(start), -np.inf)
    steps = np.zeros(len(start), dtype=np.intp)
    active = np.arange(len(start))
    for step in range(MAX_STEPS):
        own = blobs.take(active)
        part = None if weights is None else weights[:, active]
        moved, half = _step(points, own, counts[active], part, None if share is None else share[active])
        value = half + own.log_prior
        settled = value - objective[active] < enough
        gain[active], objective[active], steps[active] = 2.0 * half, value, step
        going = active[~settled]
        if not len(going):
            break
        moved = moved.take(~settled)
        blobs = Blobs(*(_put(old, going, new) for old, new in zip(_arrays(blobs), _arrays(moved), strict=True)))
        active = going
    return Maximum(blobs, gain, objective, steps)


def _arrays(blobs: Blobs) -> tuple[Array, Array, Array]:
    return blobs.shares, blobs.means, blobs.covariances


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
    sums = (points.monomials.T @ ratio.reshape(len(points), -1)).T.astype(np.float64)
    sums = sums.reshape(*blobs.shares.shape, -1)
    n, first = sums[..., 0], sums[..., 1 : 1 + size]
    rows, columns = np.triu_indices(size)
    second = np.empty((*n.shape, size, size))
    second[..., rows, columns] = second[..., columns, rows] = sums[..., 1 + size :]
    safe = np.maximum(n, 1e-9)
    means = first / safe[..., None]
    scatter = second - safe[..., None, None] * means[..., :, None] * means[..., None, :]
    covariances = (scatter + NU * S0**2 * np.eye(size)) / (n + NU)[..., None, None]
    shares = n / counts[:, None]
    if share is not None:
        shares = n / safe.sum(axis=1, keepdims=True) * share[:, None]
    return replace(blobs, shares=shares, means=means, covariances=covariances), np.asarray(half)


def starts(points: Points, *, number: int, keep: int, rng: np.random.Generator) -> Blobs:
    """Where lumps may be, by a matched filter.

    Lumps of a fixed shape are put onto events, more often onto those where the background is rare; the score of each
    is what it counts beyond the background's expectation in units of the noise.  Random starts miss small signals.

    Args:
        points: Events.
        number: Centres that are tried.
        keep: Starts that are returned, the best ones, none near another.
        rng: Source of randomness.

    Returns:
        At most `keep` searches with one component each.
    """
    n, size = points.y.shape
    likely = np.exp(-0.5 * np.maximum(points.log_background, CUT))
    centres = rng.choice(n, size=min(number, n), replace=False, p=likely / likely.sum())
    widths = np.full(size, FEATURE_WIDTH)
    widths[0] = MASS_WIDTH
    covariance = np.diag(widths**2)
    tried = Blobs(
        np.full((len(centres), 1), 1e-3),
        points.y[centres][:, None],
        np.broadcast_to(covariance, (len(centres), 1, size, size)),
    )
    logs = tried.log_densities(points)[:, :, 0] - points.log_background[:, None].astype(np.float32)
    ratio = np.exp(np.minimum(logs, 0.5 * CEILING))
    total, square = ratio.sum(axis=0, dtype=np.float64), (ratio**2).sum(axis=0, dtype=np.float64)
    score = (total - n) / np.sqrt(square)
    chosen: list[int] = []
    for k in np.argsort(-score):
        distance = ((points.y[centres[k]] - points.y[centres[chosen]]) / widths) ** 2
        if np.all(distance.sum(axis=1) > APART):
            chosen.append(int(k))
        if len(chosen) == keep:
            break
    return tried.take(np.array(chosen))
