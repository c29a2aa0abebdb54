"""An analytic cross-section: two processes, two Gaussian features, an energy scale and a smearing, in closed form.

The first feature of process p is normal around m_p and moves by kappa_p for a unit of the scale; the second is smeared
by normal noise of width s, so that its variance grows by s^2.  Events are in the unbinned region or in one of the
counting bins with fixed probabilities, and rates change as exp(V . delta), so that everything is known:

- `Toy.posterior` and `Toy.exponents` are what trainings should find, `Toy.structure` the model without events;
- `Toy.draw` makes events by shifting nominal ones, as a shift function of an analyst would, and knows no likelihood;
- `Toy.log_variation` is ln S exactly.  The exponents are its expansion to second order in t; in the scale it ends
  there, in the smearing the next order is u^3 (z^2 / 2 - 1 / 6), where u is the variance of the noise over that of the
  feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.ratio.coordinates import SquaredWidth, Standard
from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.reference import RatioReference
from hisigma_zfit.ratio.structure import Constraint, NormEffect, Rates, RatioColumns, RatioStructure, ShapeParameter

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["PARAMETERS", "Toy"]

PARAMETERS = ("mu", "scale", "smearing", "size")
"""Of the likelihood, in its order: signal strength, energy scale, smearing, size of the background."""


@dataclass(frozen=True)
class Toy:
    """What is true.

    Attributes:
        size: Expected events of signal and background in the unbinned region.
        centre: Means of both features at nominal, shape (process, feature).
        width: Standard deviations, shape (process, feature).
        move: Shift of the first feature by a unit of the scale, by process.
        median: Of the smearing s, in units of the second feature.
        spread: Of ln s.
        rate: ln of the rate's change by a unit of the scale, and by t = 1 of the smearing, by process.
        bins: Expected events in the counting bins, shape (process, bins).
        bin_rate: As `rate`, shape (process, 2).
        norm: Relative error of the background's size.
    """

    size: tuple[float, float] = (150.0, 1500.0)
    centre: tuple[tuple[float, float], tuple[float, float]] = ((1.2, 0.0), (0.0, 0.4))
    width: tuple[tuple[float, float], tuple[float, float]] = ((0.6, 0.8), (1.0, 1.0))
    move: tuple[float, float] = (0.05, 0.08)
    median: float = 0.25
    spread: float = 0.5
    rate: tuple[tuple[float, float], tuple[float, float]] = ((0.01, 0.0), (0.03, -0.02))
    bins: tuple[tuple[float, ...], tuple[float, ...]] = ((10.0, 30.0, 5.0), (800.0, 500.0, 300.0))
    bin_rate: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (-0.02, 0.03))
    norm: float = 0.05

    processes = ("signal", "background")
    monomials = Monomials(("scale", "smearing"), squares=(0, 1), pairs=((0, 1),))

    @property
    def smearing(self) -> SquaredWidth:
        """Coordinate of the smearing: t is one where the noise has twice its median width."""
        return SquaredWidth(self.median, self.spread, 2.0 * self.median)

    @property
    def start(self) -> float:
        """Theta of the smearing in fits."""
        return 0.0

    def slopes(self, rate: tuple[float, float]) -> Array:
        """Delta of all monomials, shape (5,)."""
        return np.array([*rate, 0.0, 0.0, 0.0])

    def structure(self) -> RatioStructure:
        """The model without events."""
        size = np.array([[total, *bins] for total, bins in zip(self.size, self.bins, strict=True)])
        slope = np.array(
            [
                [self.slopes(inside), *[self.slopes(outside)] * (size.shape[1] - 1)]
                for inside, outside in zip(self.rate, self.bin_rate, strict=True)
            ]
        )
        return RatioStructure(
            processes=self.processes,
            pois={"signal": ("mu",), "background": ()},
            shapes=(
                ShapeParameter("scale", Standard(), Constraint()),
                ShapeParameter("smearing", self.smearing, Constraint(limits=(-5.0, 3.0)), self.start),
            ),
            norms=(NormEffect("size", {"background": self.norm}),),
            monomials=self.monomials,
            rates=Rates(size, np.zeros_like(size), slope),
            cells=("U", *(f"bin {k}" for k in range(size.shape[1] - 1))),
            unbinned=1,
            poi_limits={},
        )

    def density(self, process: int, x: Array) -> Array:
        """Nominal density of a process, shape (n,), at x of shape (n, 2)."""
        z = (x - np.array(self.centre[process])) / np.array(self.width[process])
        return np.exp(-0.5 * (z**2).sum(axis=1)) / (2.0 * np.pi * np.prod(self.width[process]))

    def posterior(self, x: Array) -> Array:
        """g, shape (n, 2)."""
        rates = np.stack([n * self.density(p, x) for p, n in enumerate(self.size)], axis=1)
        return rates / rates.sum(axis=1, keepdims=True)

    def exponents(self, x: Array) -> Array:
        """a, rates included, shape (n, 2, 5)."""
        result = np.zeros((len(x), 2, 5))
        for p in range(2):
            first, second = ((x - np.array(self.centre[p])) / np.array(self.width[p])).T
            kick, noise = self.move[p] / self.width[p][0], (self.smearing.scale / self.width[p][1]) ** 2
            result[:, p] = self.slopes(self.rate[p])
            result[:, p, 0] += kick * first
            result[:, p, 1] += noise * 0.5 * (second**2 - 1.0)
            result[:, p, 2] -= 0.5 * kick**2
            result[:, p, 3] += noise**2 * (0.25 - 0.5 * second**2)
        return result

    def log_variation(self, process: int, x: Array, scale: float, s: float) -> Array:
        """ln S exactly, rates included, shape (n,).

        Args:
            process: Number of the process.
            x: Events, shape (n, 2).
            scale: The scale, in standard deviations.
            s: Width of the noise.
        """
        first, second = ((x - np.array(self.centre[process])) / np.array(self.width[process])).T
        kick, u = scale * self.move[process] / self.width[process][0], (s / self.width[process][1]) ** 2
        rate = self.rate[process][0] * scale + self.rate[process][1] * self.smearing.t_of(s)
        return rate + kick * first - 0.5 * kick**2 - 0.5 * np.log1p(u) + 0.5 * second**2 * u / (1.0 + u)

    def factors(self, mu: float, size: float) -> Array:
        """c of both processes."""
        return np.array([mu, 1.0 + self.norm * size])

    def expected(self, mu: float, scale: float, smearing: float, size: float) -> Array:
        """Expected events by process and cell, shape (2, 1 + bins); arguments as the likelihood's parameters."""
        structure, t = self.structure(), np.array([scale, self.smearing.t(smearing)[0]])
        change = np.exp(structure.rates.slope @ self.monomials.values(t))
        return self.factors(mu, size)[:, None] * structure.rates.size * change

    def shifted(self, process: int, x: Array, scale: float, s: float, noise: Array) -> Array:
        """Nominal events after both shifts, shape (n, 2).

        Args:
            process: Their process.
            x: Shape (n, 2).
            scale: The scale, in standard deviations.
            s: Width of the noise.
            noise: Standard normal numbers, shape (n,).
        """
        return x + np.stack([np.full(len(x), self.move[process] * scale), s * noise], axis=1)

    def nominal(self, process: int, n: int, rng: np.random.Generator) -> Array:
        """N events of a process, shape (n, 2)."""
        return np.array(self.centre[process]) + np.array(self.width[process]) * rng.standard_normal((n, 2))

    def events(self, theta: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """One experiment at true `theta`, in the order of `PARAMETERS`, made by shifting nominal events.

        Returns:
            Features of the unbinned events, shape (n, 2), and contents of the counting bins.
        """
        mu, scale, smearing, size = theta
        expected = self.expected(mu, scale, smearing, size)
        s = self.smearing.value(smearing)
        parts = []
        for p in range(2):
            n = rng.poisson(expected[p, 0])
            parts.append(self.shifted(p, self.nominal(p, n, rng), scale, s, rng.standard_normal(n)))
        return np.concatenate(parts), rng.poisson(expected[:, 1:].sum(axis=0)).astype(np.float64)

    def draw(self, theta: Array, rng: np.random.Generator) -> RatioColumns:
        """The same as the likelihood sees it."""
        x, counts = self.events(theta, rng)
        return self.columns(x, counts=counts)

    def columns(self, x: Array, *, weights: Array | None = None, counts: npt.ArrayLike | None = None) -> RatioColumns:
        """Events as the likelihood sees them; counts as expected at nominal by default."""
        return RatioColumns(
            posterior=self.posterior(x).astype(np.float32),
            exponents=self.exponents(x).astype(np.float32),
            region=np.zeros(len(x), dtype=np.int64),
            weights=weights,
            counts=np.sum(self.bins, axis=0) if counts is None else np.asarray(counts, dtype=np.float64),
        )

    def reference(self, rows: int, seed: int) -> RatioReference:
        """Simulated rows of both processes, so many of each."""
        rng = np.random.default_rng(seed)
        x = np.concatenate([self.nominal(p, rows, rng) for p in range(2)])
        columns = self.columns(x)
        return RatioReference(
            posterior=columns.posterior,
            exponents=columns.exponents,
            region=columns.region,
            weights=np.repeat(np.array(self.size) / rows, rows),
            process=np.repeat(np.arange(2), rows),
        )

    def likelihood(self, columns: RatioColumns, **keywords: object) -> RatioLikelihood:
        """Eq. (7) with the exact ratios."""
        return RatioLikelihood(self.structure(), columns, **keywords)
