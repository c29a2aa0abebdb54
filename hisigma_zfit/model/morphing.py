"""A conditional density under its variations: weights, their normalisation, and samples.

The density of a component at nuisances nu is p(x'|m, nu) = p(x'|m) prod_j w_j(x', m, nu_j) / N(m, nu), with w_j from
`hisigma_zfit.model.interpolation` and N the mean of the product under p(x'|m).  Without N the product is no density:
the fit would take its integral for signal.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit.z.numpy as znp
from scipy.special import logsumexp

from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.model import shapes
from hisigma_zfit.model.normalisation import Normaliser
from hisigma_zfit.model.variation_weights import MorphColumns, MorphForm, MorphWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import zfit

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.model.systematics import Variation

__all__ = ["Morph"]


_log = logging.getLogger(__name__)

# Splines in m of the normalisation.  A signal region is a few peaks wide.
_INTERVALS = 4
_INTERVALS_IN_REGION = 2

# Rejection sampling: largest ratio of target to proposal that is not cut, events proposed at once, and the probability
# in cut ratios from which on it is reported.
_LARGEST_RATIO = 25.0
_MAX_CANDIDATES = 200_000
_REPORTED_LOSS = 1e-3


class Morph:
    """p(x'|m, nu) of one component.

    Args:
        flow: p(x'|m), the density at nu = 0.
        variations: The variations, J of them; their weights multiply.
        mass: Mass shape of the component: the normalisation is most precise where it is large.
        region: Masses at which the variations act; everywhere by default.
        samples: Events for the normalisation.
        seed: Same seed, same normalisation.
    """

    def __init__(
        self,
        flow: ConditionalFlow,
        variations: Sequence[Variation],
        *,
        mass: zfit.pdf.BasePDF,
        region: SignalRegion | None = None,
        samples: int = 50_000,
        seed: int = 0,
    ) -> None:
        for variation in variations:
            variation.check(flow)
        self.flow, self.variations, self.mass, self.region = flow, tuple(variations), mass, region
        self.samples, self.seed = samples, seed
        self.nuisances = tuple(variation.nuisance for variation in variations)

    def replace(self, **changes: Any) -> Morph:
        """The same with some arguments replaced, normalised anew."""
        arguments: dict[str, Any] = {
            "flow": self.flow,
            "variations": self.variations,
            "mass": self.mass,
            "region": self.region,
            "samples": self.samples,
            "seed": self.seed,
        }
        return Morph(**(arguments | changes))

    @property
    def limits(self) -> tuple[float, float]:
        """Range of masses in which the variations act."""
        lower, upper = shapes.finite_limits(self.mass.space)
        if self.region is None:
            return lower, upper
        return max(lower, self.region.lower), min(upper, self.region.upper)

    @cached_property
    def normaliser(self) -> Normaliser:
        """N(m, nu); made when it is first needed, because that evaluates every density on a sample."""
        with tf.init_scope():  # zfit may ask from inside of a trace
            return self._normaliser()

    @property
    def form(self) -> MorphForm:
        """Interpolations and normalisation without the densities."""
        return MorphForm(tuple(variation.form for variation in self.variations), self.normaliser)

    def _normaliser(self) -> Normaliser:
        rng = stream(self.seed, Purpose.NORMALISATION)
        m = _spread_masses(self.mass, self.limits, self.samples, rng)
        densities = [density for variation in self.variations for density in variation.densities]
        proposals = [self.flow, *densities]
        x = np.empty((m.size, len(self.flow.features)))
        for k, proposal in enumerate(proposals):
            rows = slice(k, None, len(proposals))
            x[rows] = proposal.sample(m[rows], seed=int(rng.integers(2**31)))
        logs = np.stack([proposal.log_prob_array(x, m) for proposal in proposals])
        known = {id(flow): row for flow, row in zip(proposals, logs, strict=True)}
        log_ratios = self._log_ratios(x, m, logs[0], lambda flow, *_: known[id(flow)])
        # every event counts as drawn from the mixture of all proposals, whose ratio to each of them is bounded
        log_mixture = logsumexp(logs, axis=0) - np.log(len(proposals))
        return Normaliser(
            forms=[variation.form for variation in self.variations],
            normalised=[bool(variation.densities) for variation in self.variations],
            limits=self.limits,
            intervals=_INTERVALS if self.region is None else _INTERVALS_IN_REGION,
            m=m,
            log_ratios=log_ratios,
            weight=np.exp(logs[0] - log_mixture),
            densities=np.exp(logs[1:] - log_mixture),
        )

    def _log_ratios(
        self, x: Any, m: Any, log_nominal: Any, log_prob: Callable[..., Any], xp: Any = np
    ) -> list[list[Any]]:
        def clean(ratio: Any) -> Any:
            # where the nominal density is zero the weight does not matter, but must be a number
            usable = xp.isfinite(log_nominal) & ~xp.isnan(ratio)
            return xp.where(usable, ratio, xp.zeros_like(ratio))

        with np.errstate(invalid="ignore"):  # -inf - -inf
            return [[clean(r) for r in v.log_ratios(x, m, log_nominal, log_prob)] for v in self.variations]

    def acts(self, m: Array) -> Mask:
        """Where the variations act, of m's shape."""
        return np.ones(m.shape, dtype=bool) if self.region is None else self.region.contains(m)

    def columns(
        self, x: Array, m: Array, log_nominal: Array, log_prob: Callable[..., Array] | None = None
    ) -> MorphColumns:
        """Evaluate the varied densities on a data set.

        Args:
            x: Features, shape (n, d).
            m: Masses, shape (n,).
            log_nominal: log p(x'|m), shape (n,).
            log_prob: Evaluates a flow, ``log_prob(flow, x, m)``; its `log_prob_array` by default.
        """
        log_prob = log_prob or (lambda flow, x, m: flow.log_prob_array(x, m))
        active = self.acts(m)
        at = slice(None) if active.all() else np.flatnonzero(active)
        ratios = self._log_ratios(x[at], m[at], log_nominal[at], log_prob)
        columns = []
        for variation, own in zip(self.variations, ratios, strict=True):
            values = variation.form.columns(own)
            columns.append(np.zeros((len(values), m.size)))
            columns[-1][:, at] = values
        basis = np.zeros((self.normaliser.size, m.size))
        basis[:, at] = self.normaliser.basis(m[at])
        return MorphColumns(tuple(columns), basis, active)

    def weights(self, columns: MorphColumns, nu: Array) -> MorphWeights:
        """Prepare prod_j w_j / N of a data set at nuisances of shape (J,)."""
        return self.form.weights(columns, nu)

    def weight_in_graph(self, columns: Sequence[Any], basis: Any) -> Any:
        """prod_j w_j / N as TensorFlow operations of the nuisances; columns and basis as in `MorphColumns`."""
        nu = [parameter.value() for parameter in self.nuisances]
        product: Any = 1.0
        for variation, own, value in zip(self.variations, columns, nu, strict=True):
            product = product * variation.form.in_graph(own, value)
        return product / (1.0 + tf.linalg.matvec(basis, self.normaliser.excess_in_graph(nu), transpose_a=True))

    def density_weight_in_graph(self, x: Any, m: Any, log_nominal: Any) -> Any:
        """prod_j w_j / N of events with features (n, d) and masses (n,), as TensorFlow operations."""
        ratios = self._log_ratios(x, m, log_nominal, lambda flow, x, m: flow.log_prob(x, m), xp=znp)
        columns = [v.form.columns(own, xp=znp) for v, own in zip(self.variations, ratios, strict=True)]
        weight = self.weight_in_graph(columns, self.normaliser.basis_in_graph(m))
        if self.region is None:
            return weight
        return tf.where((m >= self.region.lower) & (m < self.region.upper), weight, tf.ones_like(weight))

    def sample(self, m: Array, nu: Array, *, seed: int) -> Array:
        """Draw x' of p(x'|m, nu) for masses of shape (n,) where the variations act; shape (n, d).

        Events of the mixture of the nominal and the varied densities on the side of nu are accepted or rejected by the
        ratio of p(x'|m, nu) to it.

        Args:
            m: Masses, shape (n,).
            nu: Nuisances, shape (J,).
            seed: Same seed, same sample.
        """
        rng = stream(seed, Purpose.VARIED)
        towards = [v.towards(value) for v, value in zip(self.variations, nu, strict=True)]
        proposals = [self.flow, *(flow for flow in towards if flow is not None)]
        x, pending = np.empty((m.size, len(self.flow.features))), np.arange(m.size)
        bound = lost = seen = 0.0
        while pending.size:
            tries = max(1, min(int(3.0 * bound), _MAX_CANDIDATES // pending.size))  # one round should do for most
            event = np.repeat(pending, tries)
            candidates, ratio = self._candidates(proposals, m[event], nu, rng)
            bound = bound or float(np.clip(1.2 * ratio.max(), 1.0, _LARGEST_RATIO))
            seen += float(ratio.sum())
            lost += float(np.maximum(ratio - bound, 0.0).sum())
            accepted = np.flatnonzero(rng.random(event.size) * bound < ratio)
            done, first = np.unique(event[accepted], return_index=True)
            x[done] = candidates[accepted[first]]
            pending = np.setdiff1d(pending, done, assume_unique=True)
        if lost > _REPORTED_LOSS * seen:
            values = ", ".join(f"{p.name} = {value:.3g}" for p, value in zip(self.nuisances, nu, strict=True))
            _log.warning(
                "at %s %.2g of the density could not be sampled: the variations are large", values, lost / seen
            )
        return x

    def _candidates(
        self, proposals: Sequence[ConditionalFlow], m: Array, nu: Array, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """One event of the mixture of `proposals` for each mass, and the ratio of p(x'|m, nu) to the mixture there."""
        chosen = rng.integers(len(proposals), size=m.size)
        x = np.empty((m.size, len(self.flow.features)))
        for k, proposal in enumerate(proposals):
            rows = chosen == k
            x[rows] = proposal.sample(m[rows], seed=int(rng.integers(2**31)))
        known = {id(proposal): proposal.log_prob_array(x, m) for proposal in proposals}
        log_nominal = known[id(self.flow)]

        def log_prob(flow: ConditionalFlow, x: Array, m: Array) -> Array:
            if id(flow) not in known:
                known[id(flow)] = flow.log_prob_array(x, m)
            return known[id(flow)]

        log_mixture = logsumexp([known[id(p)] for p in proposals], axis=0) - np.log(len(proposals))
        weight = self.weights(self.columns(x, m, log_nominal, log_prob), nu).value(slice(None))
        return x, weight * np.exp(log_nominal - log_mixture)


def _spread_masses(pdf: zfit.pdf.BasePDF, limits: tuple[float, float], n: int, rng: np.random.Generator) -> Array:
    """Masses of the normalisation sample: uniform, half of them by the mass shape where this is frozen; shape (n,)."""
    lower, upper = limits
    m = lower + (upper - lower) * (np.arange(n) + rng.random(n)) / n
    if not pdf.get_params(floating=True, is_yield=False):
        # a peak: most events are needed there, and the background's shape would move with its parameters
        peaked = shapes.sample_mass(pdf, n, rng, stratified=True)
        peaked = peaked[(peaked >= lower) & (peaked <= upper)][: n // 2]
        m = np.concatenate([m[rng.permutation(n)[: n - peaked.size]], peaked])
    return rng.permutation(m)
