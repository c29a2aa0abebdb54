"""Densities built from densities: mixtures, flows that change with the mass region, and wrapped distributions.

What to use when: `train_flow` returns a ready `ConditionalFlow`; `MixtureFlow` averages several; `RegionFlow` puts the
signal density inside the signal region and the background density outside; `DistributionFlow` wraps any
``tfp.distributions.Distribution`` that depends on the mass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hisigma_zfit.density.base import Arrays, ConditionalFlow, pack_children, unpack_children
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import SignalRegion

__all__ = [
    "ConditionalFlow",
    "DistributionFlow",
    "MixtureFlow",
    "RegionFlow",
]


def _require_same_columns(flows: Sequence[ConditionalFlow]) -> None:
    first = flows[0]
    for flow in flows[1:]:
        if (flow.features, flow.given) != (first.features, first.given):
            raise InputError.from_parts(
                expected=f"flows of ({', '.join(first.features)}) given {first.given}",
                got=f"one of ({', '.join(flow.features)}) given {flow.given}",
                do="train them on the same columns in the same order",
            )


def _joint_domain(flows: Sequence[ConditionalFlow]) -> Array:
    domains = np.stack([flow.domain for flow in flows])
    return np.stack([domains[..., 0].min(axis=0), domains[..., 1].max(axis=0)], axis=1)


class MixtureFlow(ConditionalFlow):
    """Arithmetic mixture sum_i w_i p_i(x | m), which is normalised because the w_i sum to one.

    Averaging log p instead, as ensembles often do, does not give a density.
    """

    kind = "mixture"

    def __init__(self, flows: Sequence[ConditionalFlow], weights: npt.ArrayLike | None = None) -> None:
        """Mix flows over the same columns.

        Args:
            flows: The components p_i.
            weights: Non-negative, rescaled to sum to one; equal if omitted.

        Raises:
            InputError: No component, other columns, or unusable weights.
        """
        self.flows = tuple(flows)
        if not self.flows:
            raise InputError.from_parts(expected="one or more flows", got="none", do="pass the flows to mix")
        _require_same_columns(self.flows)
        w = np.ones(len(self.flows)) if weights is None else np.asarray(weights, dtype=np.float64)
        if w.shape != (len(self.flows),) or not np.all(np.isfinite(w)) or np.any(w < 0) or w.sum() <= 0:
            raise InputError.from_parts(
                expected=f"{len(self.flows)} non-negative weights", got=f"{w.tolist()}", do="give one weight per flow"
            )
        self.weights: Array = w / w.sum()
        self.features, self.given = self.flows[0].features, self.flows[0].given
        self.signal_region = self.flows[0].signal_region

    @property
    def bootstraps(self) -> tuple[ConditionalFlow, ...]:
        """The components."""
        return self.flows

    @property
    def members(self) -> tuple[ConditionalFlow, ...]:
        """Every single net of every component."""
        return tuple(member for flow in self.flows for member in flow.members)

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        parts = [np.log(w) + flow.log_prob(x, m) for w, flow in zip(self.weights, self.flows, strict=True) if w > 0]
        # TensorFlow's logsumexp replaces an infinite maximum by zero, so that all components at -inf give -inf
        return tf.reduce_logsumexp(tf.stack(parts), axis=0)

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        """See `ConditionalFlow.log_prob_array`; components are evaluated one after the other."""
        x, m = self.check(x, m)
        total = np.full(len(x), -np.inf)
        for w, flow in zip(self.weights, self.flows, strict=True):
            if w > 0:
                np.logaddexp(total, np.log(w) + flow.log_prob_array(x, m), out=total)
        return total

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`; each event comes from a component picked by weight."""
        masses = np.asarray(m, dtype=np.float64)
        component = stream(seed, Purpose.COMPONENT).choice(len(self.flows), size=len(masses), p=self.weights)
        out = np.empty((len(masses), len(self.features)))
        for i, flow in enumerate(self.flows):
            rows = component == i
            if rows.any():
                out[rows] = flow.sample(masses[rows], seed=seed_for(seed, Purpose.PART, i))
        return out

    @property
    def domain(self) -> Array:
        """Smallest box that holds the domains of all components."""
        return _joint_domain(self.flows)

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """Tell which rows are in the domain of at least one component: there the mixture is positive."""
        masks = [flow.inside(x, m) for w, flow in zip(self.weights, self.flows, strict=True) if w > 0]
        return np.logical_or.reduce(masks)

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        children, arrays = pack_children(self.flows)
        return {"flows": children}, {**arrays, "weights": self.weights}

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> MixtureFlow:
        """See `ConditionalFlow.from_pack`."""
        flow = cls(unpack_children(structure["flows"], arrays), arrays["weights"])
        flow.weights = arrays["weights"]  # as stored: dividing by their sum again could move the last bit
        return flow


class RegionFlow(ConditionalFlow):
    """One density for masses in a region, another elsewhere; normalised for every mass.

    The sidebands trained the background density, so it must not be tested on them: setting the signal's density to
    the background's there leaves only the mass in the likelihood ratio (section 3 of arXiv:2506.06438).
    """

    kind = "region"

    def __init__(self, *, inside: ConditionalFlow, outside: ConditionalFlow, region: SignalRegion) -> None:
        """Join two flows over the same columns.

        Args:
            inside: Density for m in `region`.
            outside: Density for every other m.
            region: Where to change.

        Raises:
            InputError: The flows have other columns.
        """
        _require_same_columns((inside, outside))
        self.inner, self.outer, self.region = inside, outside, region
        self.features, self.given = inside.features, inside.given
        self.signal_region = inside.signal_region

    def _within(self, m: Array) -> Mask:
        return np.asarray(self.region.contains(m), dtype=bool)

    @property
    def atoms(self) -> dict[str, tuple[float, ...]]:
        """Those of both densities."""
        return self.outer.atoms | self.inner.atoms

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        within = (m >= self.region.lower) & (m < self.region.upper)  # half-open, as `SignalRegion.contains`
        return tf.where(within, self.inner.log_prob(x, m), self.outer.log_prob(x, m))

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        """See `ConditionalFlow.log_prob_array`; each flow sees only its own events."""
        x, m = self.check(x, m)
        out = np.empty(len(x))
        within = self._within(m)
        for flow, rows in ((self.inner, within), (self.outer, ~within)):
            out[rows] = flow.log_prob_array(x[rows], m[rows])
        return out

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`; the two flows draw independently of each other."""
        masses = np.asarray(m, dtype=np.float64)
        out = np.empty((len(masses), len(self.features)))
        within = self._within(masses)
        for i, (flow, rows) in enumerate(((self.inner, within), (self.outer, ~within))):
            if rows.any():
                out[rows] = flow.sample(masses[rows], seed=seed_for(seed, Purpose.PART, i))
        return out

    @property
    def domain(self) -> Array:
        """Smallest box that holds the domains of both flows."""
        return _joint_domain((self.inner, self.outer))

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """Tell which rows are in the domain of both flows: a change of region is no cut on the features."""
        return self.inner.inside(x, m) & self.outer.inside(x, m)

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        children, arrays = pack_children((self.inner, self.outer))
        return {"flows": children, "region": [self.region.lower, self.region.upper]}, arrays

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> RegionFlow:
        """See `ConditionalFlow.from_pack`."""
        from hisigma_zfit.data import SignalRegion

        inner, outer = unpack_children(structure["flows"], arrays)
        return cls(inside=inner, outside=outer, region=SignalRegion(*structure["region"]))


class DistributionFlow(ConditionalFlow):
    """Any factory m -> ``tfp.distributions.Distribution`` over x as a flow."""

    kind = "distribution"

    def __init__(
        self,
        factory: Callable[[tf.Tensor], Any],
        *,
        features: Sequence[str],
        given: str,
        limits: npt.ArrayLike | None = None,
        signal_region: SignalRegion | None = None,
    ) -> None:
        """Wrap `factory`.

        Args:
            factory: Given masses of shape (n,), float64, returns a distribution of batch shape (n,) and event shape
                (d,), normalised in x.
            features: Names of the d columns.
            given: Name of the mass.
            limits: Lower and upper edge of each feature, shape (d, 2), where the distribution has edges.
            signal_region: Masses left out in training, if any.

        Raises:
            InputError: `limits` has another shape.
        """
        self.factory, self.features, self.given = factory, tuple(features), given
        self.signal_region = signal_region
        d = len(self.features)
        edges = np.tile([-np.inf, np.inf], (d, 1)) if limits is None else np.asarray(limits, dtype=np.float64)
        if edges.shape != (d, 2):
            raise InputError.from_parts(
                expected=f"limits of shape ({d}, 2)", got=f"shape {edges.shape}", do="give (lower, upper) per feature"
            )
        self.limits: Array = edges

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        lower, upper = self.limits[:, 0], self.limits[:, 1]
        inside = tf.reduce_all((x >= lower) & (x <= upper) & tf.math.is_finite(x), axis=-1)
        value = tf.cast(self.factory(m).log_prob(x), tf.float64)
        return tf.where(inside, value, tf.constant(-np.inf, tf.float64))

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`."""
        masses = tf.constant(np.asarray(m, dtype=np.float64))
        state = stream(seed, Purpose.FLOW).integers(
            2**31, size=2, dtype=np.int32
        )  # as TFP's stateless samplers take it
        return np.asarray(self.factory(masses).sample(seed=tf.constant(state)), dtype=np.float64)

    @property
    def domain(self) -> Array:
        """The limits."""
        return self.limits

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """See `ConditionalFlow.inside`."""
        del m
        values = np.asarray(x, dtype=np.float64)
        within = (values >= self.limits[:, 0]) & (values <= self.limits[:, 1]) & np.isfinite(values)
        return np.asarray(within.all(axis=-1))
