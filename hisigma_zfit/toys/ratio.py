"""Asimov sets and toys of a likelihood of ratios: Poisson copies of simulated rows, which are scored already.

A row of process p stands for w c_p(theta) S_p(x | theta) events, with the g and the exponents of the row itself: the
pseudo-data follow the simulation and not its learned posteriors, so that a posterior that is wrong shows in the toys.
Bins expect what the rates say.  Copies of the same rows that the templates were made of do not know of the finite
number of simulated events: quote coverage from them with that remark.  Numpy only, for toys in other processes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.protocol import PlainParameter
from hisigma_zfit.ratio.structure import RatioColumns
from hisigma_zfit.toys.pool import feed
from hisigma_zfit.toys.source import PlainSource

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.ratio.reference import RatioReference
    from hisigma_zfit.toys.source import ToySource

__all__ = ["RatioAsimov", "RatioPool", "RatioSample"]

_log = logging.getLogger(__name__)

_MANY = 2.0  # expected copies of a row from which on few rows begin to carry the toys
_TOO_MANY = 5.0


@dataclass(frozen=True)
class RatioSample:
    """What the Asimov sets of a likelihood of ratios are made of; a `Sample` as others.

    Attributes:
        loss: The likelihood.
        reference: Simulated rows.

    Raises:
        InputError: The rows are of another model.
    """

    loss: RatioLikelihood
    reference: RatioReference

    @classmethod
    def of(cls, loss: RatioLikelihood) -> RatioSample:
        """The reference that the likelihood brings along.

        Raises:
            InputError: It has none.
        """
        if loss.reference is None:
            raise InputError.from_parts(
                expected="simulated rows for pseudo-data",
                got="a RatioLikelihood without",
                do="pass reference= to it",
            )
        return cls(loss, loss.reference)

    def __post_init__(self) -> None:
        wanted = len(self.loss.structure.processes), self.loss.structure.monomials.size
        if self.reference.exponents.shape[1:] != wanted:
            raise InputError.from_parts(
                expected=f"rows of {wanted[0]} processes and {wanted[1]} monomials",
                got=f"{self.reference.exponents.shape[1]} and {self.reference.exponents.shape[2]}",
                do="score them by the model of the likelihood",
            )

    def asimov(self, theta: Array, *, poi: str | None = None) -> RatioAsimov:
        """The Asimov set of a hypothesis.

        Args:
            theta: All parameters, shape (T,).
            poi: Not needed: nothing is left out.

        Raises:
            FitError: A process or a bin expects less than nothing.
        """
        del poi
        return RatioAsimov(self, np.array(theta, dtype=np.float64))


@dataclass(frozen=True)
class RatioAsimov:
    """Simulated rows weighted as expected at `theta`; a `Hypothesis` as others.

    Attributes:
        sample: What it is made of.
        theta: All parameters, shape (T,).
    """

    sample: RatioSample
    theta: Array

    def __post_init__(self) -> None:
        if self.rows.min(initial=0.0) < 0.0 or self.bins.min(initial=0.0) < 0.0:
            values = zip(self.sample.loss.parameters, self.theta.tolist(), strict=True)
            raise FitError(
                f"fewer events than none are expected at {', '.join(f'{p.name} = {v:.4g}' for p, v in values)}; "
                "choose another hypothesis"
            )

    @cached_property
    def rows(self) -> Array:
        """Events that each row stands for, shape (n,)."""
        return self.sample.loss.reference_rows(self.theta, self.sample.reference)

    @cached_property
    def bins(self) -> Array:
        """Expected events in the counting bins, shape (B - unbinned,)."""
        loss = self.sample.loss
        return loss.expected(self.theta)[:, loss.structure.unbinned :].sum(axis=0)

    @cached_property
    def likelihood(self) -> RatioLikelihood:
        """-log L of the expected events, with auxiliary observations that agree with the truth."""
        return self.pool().asimov()

    def profiler(self, poi: str) -> Profiler:
        """Its profile likelihood in one parameter."""
        return Profiler(self.likelihood, poi)

    def pool(self, *, background: ToySource | None = None) -> RatioPool:
        """Its toys; see `Hypothesis`."""
        loss, reference = self.sample.loss, self.sample.reference
        parameters = tuple(PlainParameter.of(p) for p in loss.parameters)
        none = RatioColumns(
            reference.posterior[:0], reference.exponents[:0], reference.region[:0], None, np.zeros(self.bins.size)
        )
        model = loss.with_data(none, loss.auxiliary.observed, self.theta)
        return RatioPool(
            parameters,
            self.theta,
            model,
            reference.posterior,
            reference.exponents,
            reference.region,
            self.rows,
            self.bins,
            background,
        )


@dataclass(frozen=True, repr=False)
class RatioPool(PlainSource):
    """Toys of a likelihood of ratios: copies of rows, contents of bins and auxiliary observations; a `ToySource`.

    Attributes:
        model: A likelihood of the same model without events.
        posterior: Of the rows, shape (n, P).
        exponents: Of the rows, shape (n, P, K).
        region: Of the rows, shape (n,).
        rows: Expected copies of each row, shape (n,).
        bins: Expected contents of the counting bins.
        background: See `ToySource`.
    """

    model: RatioLikelihood
    posterior: Float32
    exponents: Float32
    region: Integers
    rows: Array
    bins: Array
    background: ToySource | None = None

    portable = True

    @property
    def n_categories(self) -> int:
        """The unbinned regions, and all counting bins together."""
        return self.model.structure.unbinned + int(self.bins.size > 0)

    @property
    def n_auxiliary(self) -> int:
        """See `ToySource`."""
        return len(self.model.constrained)

    @cached_property
    def digest(self) -> str:
        """See `ToySource`."""
        digest = xxhash.xxh3_128()
        feed(digest, (self.parameters, self.theta, self.free, self.limits, self.model.structure))
        feed(digest, (self.posterior, self.exponents, self.region, self.rows, self.bins))
        if self.background is not None:
            digest.update(self.background.digest.encode())
        return digest.hexdigest()

    def asimov(self) -> RatioLikelihood:
        """See `ToySource`."""
        return self._of(self.rows, self.bins, self.model.auxiliary.asimov(self.theta))

    def draw(self, rng: np.random.Generator) -> tuple[RatioLikelihood, list[int], Array]:
        """See `ToySource`.

        Raises:
            InputError: A row stands for more than five events.
        """
        self._require_small_weights()
        copies, bins = rng.poisson(self.rows), rng.poisson(self.bins)
        observation = self.model.auxiliary.draw(self.theta, rng)
        events = np.bincount(self.region, copies, self.model.structure.unbinned).astype(int).tolist()
        if bins.size:
            events.append(int(bins.sum()))
        return self._of(copies.astype(np.float64), bins.astype(np.float64), observation), events, observation

    def _require_small_weights(self) -> None:
        """Refuse rows that few of carry everything, before the first toy."""
        if self._largest > _TOO_MANY:
            raise InputError.from_parts(
                expected=f"rows that stand for {_TOO_MANY:g} events at most",
                got=f"{self._largest:.3g}",
                do="simulate more events, or merge the region into a counting bin",
            )

    @cached_property
    def _largest(self) -> float:
        largest = float(self.rows.max(initial=0.0))
        if _MANY < largest <= _TOO_MANY:
            _log.warning("some simulated rows stand for up to %.2g events: toys repeat them", largest)
        return largest

    def _of(self, weights: Array, counts: Array, observation: Array) -> RatioLikelihood:
        at = np.flatnonzero(weights)
        columns = RatioColumns(self.posterior[at], self.exponents[at], self.region[at], weights[at], counts)
        return self.model.with_data(columns, observation, self.theta)
