"""Asimov sets and toys of likelihoods of different kinds that share parameters: of each part its own, fitted together.

Every part is taken at its share of the joint parameters.  A constraint belongs to one part, so that the measurement
behind it fluctuates once, and all parts are fitted with that observation.  Numpy only, for toys in other processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.protocol import LikelihoodSum, PlainParameter
from hisigma_zfit.toys.source import Hypothesis, PlainSource, Sample, ToySource

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["JointAsimov", "JointPool", "JointSample"]


@dataclass(frozen=True)
class JointSample:
    """What the Asimov sets of a sum of likelihoods are made of.

    Attributes:
        loss: The sum.
        samples: Those of its parts.
    """

    loss: LikelihoodSum
    samples: tuple[Sample, ...]

    def asimov(self, theta: Array, *, poi: str | None = None) -> JointAsimov:
        """See `Sample`."""
        theta = np.array(theta, dtype=np.float64)
        parts = [sample.asimov(theta[at], poi=poi) for sample, at in zip(self.samples, self.loss.places, strict=True)]
        return JointAsimov(self.loss, theta, tuple(parts))


@dataclass(frozen=True)
class JointAsimov:
    """Asimov sets of all parts at the same parameters.

    Attributes:
        loss: The likelihood that is fitted.
        theta: All parameters, shape (P,).
        parts: The sets.
    """

    loss: LikelihoodSum
    theta: Array
    parts: tuple[Hypothesis, ...]

    @cached_property
    def likelihood(self) -> LikelihoodSum:
        """-log L of all sets."""
        return LikelihoodSum([part.likelihood for part in self.parts])

    def profiler(self, poi: str) -> Profiler:
        """See `Hypothesis`."""
        return Profiler(self.likelihood, poi)

    def pool(self, *, background: ToySource | None = None) -> JointPool:
        """See `Hypothesis`."""
        parameters = tuple(PlainParameter.of(parameter) for parameter in self.loss.parameters)
        return JointPool(parameters, self.theta, tuple(part.pool() for part in self.parts), background)


@dataclass(frozen=True, repr=False)
class JointPool(PlainSource):
    """Toys of all parts.

    Attributes:
        parts: Theirs, with the parameters of each in the joint order.
        background: See `ToySource`.
    """

    parts: tuple[ToySource, ...]
    background: ToySource | None = None

    @property
    def n_categories(self) -> int:
        """See `ToySource`."""
        return sum(part.n_categories for part in self.parts)

    @property
    def n_auxiliary(self) -> int:
        """See `ToySource`."""
        return sum(part.n_auxiliary for part in self.parts)

    @property
    def portable(self) -> bool:
        """See `ToySource`."""
        return all(part.portable for part in self.parts)

    @property
    def digest(self) -> str:
        """See `ToySource`."""
        sources = self.parts if self.background is None else (*self.parts, self.background)
        return xxhash.xxh3_128("".join(source.digest for source in sources).encode()).hexdigest()

    def asimov(self) -> LikelihoodSum:
        """See `ToySource`."""
        return LikelihoodSum([part.asimov() for part in self.parts])

    def draw(self, rng: np.random.Generator) -> tuple[LikelihoodSum, list[int], Array]:
        """See `ToySource`."""
        likelihoods, events, observations = zip(*(part.draw(rng) for part in self.parts), strict=True)
        return LikelihoodSum(likelihoods), [n for own in events for n in own], np.concatenate(observations)
