"""Five worlds whose densities are known exactly: where a learned density can be told from the right one.

========  =====================================================================================================
world     what is hard in it
========  =====================================================================================================
smooth    nothing: normal and log-normal features, correlations that drift with the mass
edges     features that begin or end at a finite density, correlations that drift with the mass
moving    a feature that ends where another one stands, event by event
small     2,000 background events in all, two features
few       the moving edge and its four features with 2,000 background events in all
========  =====================================================================================================

Every density is a product of conditional textbook distributions or a Gaussian copula, so that it is normalised, can be
drawn from, and can be written down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

import hisigma_zfit as hz
from hisigma_zfit.arrays import Array

__all__ = ["WORLDS", "World"]

Marginal = Callable[[Array], stats.rv_continuous]  # of scaled masses t in [-1, 1], shape (n,)
Correlations = Callable[[Array], Array]  # of the same; shape (n, d, d)


@dataclass(frozen=True)
class Copula:
    """Features with known marginals, joined by a Gaussian copula; both may depend on the mass.

    Attributes:
        marginals: One for each feature.
        correlations: Of the normal scores.
        last: A further feature as a multiple, between 0 and 1, of the second one; None if there is none.
    """

    marginals: tuple[Marginal, ...]
    correlations: Correlations
    last: Marginal | None = None

    def sample(self, t: Array, rng: np.random.Generator) -> Array:
        """Features at scaled masses of shape (n,); shape (n, d)."""
        n, d = len(t), len(self.marginals)
        root = np.linalg.cholesky(self.correlations(t))
        z = np.einsum("nij,nj->ni", root, rng.standard_normal((n, d)))
        x = np.stack([marginal(t).ppf(ndtr(z[:, j])) for j, marginal in enumerate(self.marginals)], axis=1)
        if self.last is None:
            return x
        return np.column_stack([x, x[:, 1] * self.last(t).ppf(rng.random(n))])

    def log_prob(self, x: Array, t: Array) -> Array:
        """Exact log p(x | m), shape (n,)."""
        total, z = np.zeros(len(t)), np.empty((len(t), len(self.marginals)))
        for j, marginal in enumerate(self.marginals):
            own = marginal(t)
            total += own.logpdf(x[:, j])
            z[:, j] = ndtri(own.cdf(x[:, j]))
        matrix = self.correlations(t)
        solved = np.linalg.solve(matrix, z[..., None])[..., 0]
        total -= 0.5 * (np.linalg.slogdet(matrix)[1] + np.sum(z * (solved - z), axis=1))
        if self.last is not None:
            total += self.last(t).logpdf(x[:, -1] / x[:, 1]) - np.log(x[:, 1])
        return total


@dataclass(frozen=True)
class World:
    """A measurement whose truth is known.

    Attributes:
        name: Of the world.
        features: Names of the features.
        mass_range: Range of the mass.
        region: Signal region.
        peak: Mean and width of the signal's mass.
        slope: The background's mass falls as exp(-slope t), t from 0 to 1 over the range.
        background: Its features.
        signal: Its features.
        n_background: Expected background events in the data.
        n_signal: Expected signal events.
        n_simulated: Signal events of the simulation that trains the signal's density.
    """

    name: str
    features: tuple[str, ...]
    mass_range: tuple[float, float]
    region: tuple[float, float]
    peak: tuple[float, float]
    slope: float
    background: Copula = field(repr=False)
    signal: Copula = field(repr=False)
    n_background: int = 40_000
    n_signal: int = 200
    n_simulated: int = 20_000

    def scaled(self, m: Array) -> Array:
        """Masses on [-1, 1]."""
        low, high = self.mass_range
        return (2.0 * m - low - high) / (high - low)

    def draw_background_mass(self, n: int, rng: np.random.Generator, *, sidebands: bool = False) -> Array:
        """Masses of the background, shape (n,)."""
        low, high = self.mass_range
        total = -np.expm1(-self.slope)
        masses = np.empty(0)
        while len(masses) < n:
            more = low - (high - low) * np.log1p(-total * rng.random(2 * n)) / self.slope
            masses = np.concatenate([masses, more[~self.inside(more)] if sidebands else more])
        return masses[:n]

    def draw_signal_mass(self, n: int, rng: np.random.Generator) -> Array:
        """Masses of the signal, shape (n,): all of them are in the signal region but for a few in a million."""
        mean, width = self.peak
        a, b = ((edge - mean) / width for edge in self.mass_range)
        masses: Array = stats.truncnorm(a, b, mean, width).ppf(rng.random(n))
        return masses

    def inside(self, m: Array) -> Array:
        """Whether masses are in the signal region."""
        return (m >= self.region[0]) & (m < self.region[1])

    @property
    def share_of_sidebands(self) -> float:
        """Fraction of the background that is outside of the signal region."""
        low, high = self.mass_range
        t = (np.array(self.region) - low) / (high - low)
        return 1.0 - float((np.exp(-self.slope * t[0]) - np.exp(-self.slope * t[1])) / -np.expm1(-self.slope))

    def leverage(self, order: int, masked: tuple[tuple[float, float], ...] = ()) -> float:
        """What interpolation costs: error at the peak of a polynomial in the mass that is fitted to the sidebands.

        In units of the error of a mean over all of them.  A density that changes with the mass has to be followed from
        both sides into the signal region; how well that can be done depends on what the change may look like.

        Args:
            order: Of the polynomial.
            masked: Windows beside the signal region that are left out too; the unit stays that of all sidebands.
        """
        low, high = self.mass_range
        centres = np.linspace(low, high, 4001)
        centres = centres[~self.inside(centres)]
        density = np.exp(-self.slope * (centres - low) / (high - low))
        powers, kept = np.vander(self.scaled(centres), order + 1), density.copy()
        for first, last in masked:
            kept[(centres >= first) & (centres < last)] = 0.0
        moments = (powers.T * kept) @ powers / density.sum()
        at = np.vander(self.scaled(np.array([self.peak[0]])), order + 1)[0]
        return float(np.sqrt(at @ np.linalg.solve(moments, at)))

    def signal_mass_density(self, m: Array) -> Array:
        """p_s(m), shape (n,)."""
        mean, width = self.peak
        a, b = ((edge - mean) / width for edge in self.mass_range)
        density: Array = stats.truncnorm(a, b, mean, width).pdf(m)
        return density

    def sidebands(self, n: int, *, seed: tuple[int, ...]) -> hz.Dataset:
        """Background events outside of the signal region, as a training sees them."""
        rng = np.random.default_rng(seed)
        m = self.draw_background_mass(n, rng, sidebands=True)
        return self._dataset(self.background, m, rng).sidebands("m", hz.SignalRegion(*self.region))

    def simulation(self, *, seed: tuple[int, ...]) -> hz.Dataset:
        """Simulated signal."""
        rng = np.random.default_rng(seed)
        return self._dataset(self.signal, self.draw_signal_mass(self.n_simulated, rng), rng)

    def _dataset(self, density: Copula, m: Array, rng: np.random.Generator) -> hz.Dataset:
        x = density.sample(self.scaled(m), rng)
        return hz.Dataset.from_arrays({**dict(zip(self.features, x.T, strict=True)), "m": m})


def _drifting(rows: list[list[float]], drift: list[list[float]]) -> Correlations:
    """Correlations of the normal scores: `rows` below the diagonal at the middle mass, plus `drift` times t."""
    size = len(rows) + 1
    at = np.tril_indices(size, -1)
    middle, slope = (np.array([value for row in table for value in row]) for table in (rows, drift))

    def matrix(t: Array) -> Array:
        result = np.tile(np.eye(size), (len(t), 1, 1))
        values = middle + slope * t[:, None]
        result[:, at[0], at[1]] = values
        result[:, at[1], at[0]] = values
        return result

    return matrix


_FOUR = ("x1", "x2", "x3", "x4")
_B_ROWS, _B_DRIFT = [[0.3], [-0.4, 0.1], [0.2, -0.25, 0.2]], [[0.12], [-0.08, 0.08], [-0.12, -0.08, 0.08]]
_S_ROWS = [[0.3], [-0.3, -0.2], [0.1, -0.3, 0.2]]
_STILL = [[0.0], [0.0, 0.0], [0.0, 0.0, 0.0]]


def _cut_normal(low: float, high: float, mean: float, width: float, drift: float) -> Marginal:
    def marginal(t: Array) -> stats.rv_continuous:
        middle = mean + drift * t
        return stats.truncnorm((low - middle) / width, (high - middle) / width, middle, width)

    return marginal


_SMOOTH = World(
    "smooth",
    _FOUR,
    (90.0, 180.0),
    (115.0, 135.0),
    (125.0, 1.8),
    2.0,
    Copula(
        (
            lambda t: stats.norm(0.15 * t, 1.0 + 0.1 * t),
            lambda t: stats.lognorm(0.5 + 0.05 * t, 0.0, 40.0 * np.exp(0.2 * t)),
            lambda t: stats.gamma(3.0, 0.0, 0.4 * np.exp(0.1 * t)),
            lambda t: stats.logistic(2.5 + 0.2 * t, 0.35),
        ),
        _drifting(_B_ROWS, _B_DRIFT),
    ),
    Copula(
        (
            lambda t: stats.norm(0.9 + 0.0 * t, 0.9),
            lambda t: stats.lognorm(0.45 + 0.0 * t, 0.0, 75.0),
            lambda t: stats.gamma(4.0 + 0.0 * t, 0.0, 0.22),
            lambda t: stats.logistic(1.7 + 0.0 * t, 0.3),
        ),
        _drifting(_S_ROWS, _STILL),
    ),
)

_EDGES = World(
    "edges",
    _FOUR,
    (90.0, 180.0),
    (115.0, 135.0),
    (125.0, 1.8),
    2.0,
    Copula(
        (
            lambda t: stats.beta(1.0, 2.2 * np.exp(0.2 * t)),
            lambda t: stats.expon(25.0, 30.0 * np.exp(0.2 * t)),
            _cut_normal(0.4, 5.0, 2.8, 0.9, 0.2),
            lambda t: stats.weibull_min(1.5, 0.0, 1.0 * np.exp(0.1 * t)),
        ),
        _drifting(_B_ROWS, _B_DRIFT),
    ),
    Copula(
        (
            lambda t: stats.beta(1.0 + 0.0 * t, 1.0),
            lambda t: stats.expon(25.0 + 0.0 * t, 60.0),
            _cut_normal(0.4, 5.0, 1.9, 0.8, 0.0),
            lambda t: stats.weibull_min(1.5 + 0.0 * t, 0.0, 0.65),
        ),
        _drifting(_S_ROWS, _STILL),
    ),
)

_MOVING = World(
    "moving",
    _FOUR,
    (90.0, 180.0),
    (115.0, 135.0),
    (125.0, 1.8),
    2.0,
    Copula(
        (
            lambda t: stats.beta(1.0, 2.2 * np.exp(0.2 * t)),
            lambda t: stats.gamma(2.0, 20.0, 16.0 * np.exp(0.2 * t)),
            _cut_normal(0.4, 5.0, 2.8, 0.9, 0.2),
        ),
        _drifting(_B_ROWS[:2], _B_DRIFT[:2]),
        last=lambda t: stats.beta(1.6 * np.exp(0.1 * t), 1.0),
    ),
    Copula(
        (
            lambda t: stats.beta(1.0 + 0.0 * t, 1.0),
            lambda t: stats.gamma(3.0 + 0.0 * t, 20.0, 22.0),
            _cut_normal(0.4, 5.0, 1.9, 0.8, 0.0),
        ),
        _drifting(_S_ROWS[:2], _STILL[:2]),
        last=lambda t: stats.beta(4.0 + 0.0 * t, 1.0),
    ),
)

_SMALL = World(
    "small",
    ("x1", "x2"),
    (2.6, 3.6),
    (2.95, 3.25),
    (3.1, 0.04),
    0.8,
    Copula(
        (lambda t: stats.beta(2.0 + 0.0 * t, 2.0), lambda t: stats.lognorm(0.5 + 0.0 * t, 0.0, 1.0)),
        _drifting([[0.0]], [[0.0]]),
    ),
    Copula(
        (lambda t: stats.beta(6.0 + 0.0 * t, 2.0), lambda t: stats.lognorm(0.4 + 0.0 * t, 0.0, 1.5)),
        _drifting([[0.0]], [[0.0]]),
    ),
    n_background=2_000,
    n_signal=80,
    n_simulated=20_000,
)

# unlike in the small world the features depend on each other, so that falling back on independent ones is no answer
_FEW = replace(_MOVING, name="few", n_background=2_000, n_signal=80)

WORLDS = {world.name: world for world in (_SMOOTH, _EDGES, _MOVING, _SMALL, _FEW)}
