"""`FlowProductPDF`: a parametric mass shape times a learned conditional density, as one zfit PDF."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit
import zfit.z.numpy as znp
from zfit.exception import SpecificFunctionNotImplemented

from hisigma_zfit.arrays import room_for
from hisigma_zfit.density.flows import RegionFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.model.morphing import Morph
from hisigma_zfit.model.shapes import sample_mass
from hisigma_zfit.zfit_internals import random_seed, require_one_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.model.systematics import Variation
    from hisigma_zfit.model.terms import Events

__all__ = ["FlowProductPDF"]

# zfit takes the difference of limits to compare spaces, and inf - inf is not zero: "unbounded" must be finite
_UNBOUNDED = 1e100

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _without_graphs() -> Iterator[None]:
    """Let compiled functions run operation by operation.

    Inside a graph that samples, Python code occupies one of TensorFlow's threads for operations.  A compiled function
    that it calls waits for another one, for ever where all of them are sampling: always on one core, and on as many
    cores as a sum has components.  `tf.experimental.function_executor_type` would be a switch for this thread alone,
    but its executor waits for the same threads.
    """
    with _ONE_AT_A_TIME:  # the switch is one for all threads
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(before)


def _conditional_log_prob(flow: ConditionalFlow, x: Array, m: Array, known: dict[int, Array]) -> Array:
    """Log p(x'|m) of events; a density that several components share is evaluated once.

    Args:
        flow: The density.
        x: Features in the flow's order, shape (n, d).
        m: Masses, shape (n,).
        known: Results so far by flow identity; filled here.
    """
    if id(flow) not in known:
        if isinstance(flow, RegionFlow):
            inside = flow.region.contains(m)
            result = room_for(len(m), np.float64)
            result[:] = _conditional_log_prob(flow.outer, x, m, known)
            result[inside] = flow.inner.log_prob_array(x[inside], m[inside])
        else:
            result = flow.log_prob_array(x, m)
        known[id(flow)] = result
    return known[id(flow)]


class FlowProductPDF(zfit.pdf.BaseFunctor):
    """p(m, x') = p(m) p(x'|m): paper (arXiv:2506.06438) eq. 2.3.

    The flow is normalised over the features for every mass, so integrals over the whole feature space are those of
    the mass shape.  Integrals over a part of the feature space are refused rather than approximated.

    Args:
        mass: zfit PDF of the mass, one observable.
        flow: Density of the features given the mass.
        variations: Systematic variations of `flow`; their weights multiply, and the product is normalised in the
            features for every mass and every value of the nuisances.
        morph: The variations with their normalisation, in place of `variations`, prepared before.
        obs: Space with the mass and every feature in the order that is wanted; by default the mass, then the
            features of the flow, unbounded.
        extended: Yield, if the PDF is to be extended.
        norm: Normalisation range; `obs` by default.
        name: Name of the PDF.
        label: Human-readable name.
        seed: Seed of the events that normalise the `variations`; a `morph` has its own.

    Raises:
        InputError: The observables are not the mass and the features of the flow, the flow or a variation was trained
            for others, or feature limits cut the flow's support.

    Example:
        >>> peak = zfit.pdf.Gauss(125.0, 2.0, obs=hz.examples.mass())
        >>> pdf = hz.FlowProductPDF(peak, hz.examples.flow("signal"))
        >>> pdf.obs
        ('m', 'pt', 'angle')
        >>> pdf.pdf(np.array([[125.0, 60.0, 0.9]])).numpy()  # 0.1995 of the mass times 0.011 of the features
        array([0.0022])
    """

    def __init__(
        self,
        mass: zfit.pdf.BasePDF,
        flow: ConditionalFlow,
        *,
        variations: Sequence[Variation] = (),
        morph: Morph | None = None,
        obs: zfit.Space | None = None,
        extended: Any = None,
        norm: Any = None,
        name: str = "FlowProductPDF",
        label: str | None = None,
        seed: int = 0,
    ) -> None:
        require_one_range(mass.space)
        expected = (mass.obs[0], *flow.features)
        if flow.given != mass.obs[0]:
            raise InputError.from_parts(
                expected=f"a flow conditional on {mass.obs[0]!r}",
                got=f"one conditional on {flow.given!r}",
                do="train it with given= the space of the mass shape",
            )
        if obs is None:
            obs = mass.space
            for feature in flow.features:
                obs = obs * zfit.Space(feature, -_UNBOUNDED, _UNBOUNDED)
        if sorted(obs.obs) != sorted(expected):
            raise InputError.from_parts(
                expected=f"the observables {', '.join(expected)}", got=", ".join(obs.obs), do="correct obs"
            )
        self.mass = mass
        self.flow = flow
        if variations and morph is None:
            morph = Morph(flow, variations, mass=mass, seed=seed)
        self.morph = morph if morph is not None and morph.variations else None
        self.reference = None  # it can be drawn from
        self._restricted: dict[SignalRegion, Morph] = {}
        # zfit differentiates automatically only with respect to parameters that it is told of
        params = {variation.nuisance.name: variation.nuisance for variation in self.variations}
        super().__init__(pdfs=[mass], obs=obs, params=params, extended=extended, norm=norm, name=name, label=label)
        self._mass_space(obs)

    def _mass_space(self, space: Any) -> Any:
        """The mass part of a space; refuses limits that cut the features."""
        require_one_range(space)
        if space is False or space is None or not space.limits_are_set:
            return False
        support = dict(zip(self.flow.features, self.flow.domain, strict=True))
        for feature in self.flow.features:
            limits = space.with_obs(feature)
            # get_static_value: inside a trace the limits are symbolic constants
            lower, upper = (np.ravel(tf.get_static_value(edge)).item() for edge in (limits.v1.lower, limits.v1.upper))
            first, last = np.clip(support[feature], -_UNBOUNDED, _UNBOUNDED)
            if lower > first or upper < last:
                raise InputError.from_parts(
                    expected=f"limits of {feature} that contain the density's support [{first:g}, {last:g}]",
                    got=f"[{lower:g}, {upper:g}]",
                    do="select the events before training, or declare the limits in feature_space()",
                )
        return space.with_obs(self.mass.obs)

    def conditional_log_prob(self, x: zfit.Data) -> Any:
        """Log p(x'|m) of events in zfit Data, shape (n,)."""
        features = znp.stack([x.value(feature) for feature in self.flow.features], axis=-1)
        m = x.value(self.mass.obs[0])
        log_prob = self.flow.log_prob(features, m)
        if self.morph is None:
            return log_prob
        return log_prob + znp.log(self.morph.density_weight_in_graph(features, m, log_prob))

    @property
    def features(self) -> tuple[str, ...]:
        """The observables besides the mass, in the order of the flow."""
        return tuple(self.flow.features)

    def log_ratio(self, events: Events) -> Array:
        """Log p(x'|m) of events without the variations, shape (n,); the reference is the unit density in x'."""
        x, m = events.array(self.flow.features), events.column(str(self.mass.obs[0]))
        return _conditional_log_prob(self.flow, x, m, events.known)

    def draw(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """N events by observable, without the variations; masses are stratified."""
        m = sample_mass(self.mass, n, rng, stratified=True)
        x = self.flow.sample(m, seed=int(rng.integers(2**31)))
        columns = {str(self.mass.obs[0]): m}
        return columns | dict(zip(self.flow.features, np.asarray(x, dtype=np.float64).T, strict=True))

    @property
    def variations(self) -> tuple[Variation, ...]:
        """The systematic variations of the flow."""
        return () if self.morph is None else self.morph.variations

    def morph_within(self, region: SignalRegion | None) -> Morph | None:
        """The variations acting in a region of masses only, or as they are; its normalisation is made only once."""
        if self.morph is None or region is None or self.morph.region == region:
            return self.morph
        if region not in self._restricted:
            self._restricted[region] = self.morph.replace(region=region)
        return self._restricted[region]

    def _sample_features(self, m: Array, nu: Sequence[float], seed: int) -> Array:
        if self.morph is None or not np.any(nu):
            return self.flow.sample(m, seed=seed)
        varied = self.morph.acts(m)
        x = np.empty((m.size, len(self.flow.features)))
        if not varied.all():
            x[~varied] = self.flow.sample(m[~varied], seed=seed)
        x[varied] = self.morph.sample(m[varied], np.asarray(nu), seed=seed)
        return x

    def sample_features(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """Draw features for masses of shape (n,) at the nuisances' current values; shape (n, d)."""
        nu = [float(variation.nuisance.value()) for variation in self.variations]
        return self._sample_features(np.asarray(m, dtype=np.float64), nu, seed)

    @cached_property
    def bootstraps(self) -> tuple[FlowProductPDF, ...]:
        """One PDF for each bootstrap of the flow, with the variations of the same bootstrap (paper, section 3.2).

        Raises:
            InputError: A variation has another number of bootstraps than the flow.
        """
        flows = self.flow.bootstraps
        if len(flows) == 1:
            return (self,)
        varied = [variation.bootstraps for variation in self.variations]
        for variation, parts in zip(self.variations, varied, strict=True):
            if len(parts) != len(flows):
                raise InputError.from_parts(
                    expected=f"{len(flows)} bootstraps of the variation {variation.nuisance.name}",
                    got=str(len(parts)),
                    do="train it with the same bootstraps= and seed= as the nominal density",
                )
        return tuple(self.copy(flow=flow, variations=[parts[d] for parts in varied]) for d, flow in enumerate(flows))

    @zfit.supports(norm=True, multiple_limits=True)
    def _pdf(self, x: Any, norm: Any) -> Any:
        density = self.mass.pdf(x.with_obs(self.mass.obs), norm=self._mass_space(norm))
        return density * znp.exp(self.conditional_log_prob(x))

    @zfit.supports(norm=True, multiple_limits=True)
    def _integrate(self, limits: Any, norm: Any, options: Any = None) -> Any:
        return self.mass.integrate(self._mass_space(limits), norm=self._mass_space(norm), options=options)

    @zfit.supports(norm=True, multiple_limits=True)
    def _partial_integrate(self, x: Any, limits: Any, norm: Any, *, options: Any = None) -> Any:
        del options
        if set(limits.obs) != set(self.flow.features):
            raise SpecificFunctionNotImplemented
        return self.mass.pdf(x.with_obs(self.mass.obs), norm=self._mass_space(norm))

    @zfit.supports(multiple_limits=True)
    def _sample(self, n: Any, limits: Any) -> Any:
        m = self.mass.sample(n=n, limits=self._mass_space(limits)).value()[:, 0]
        seed = random_seed()
        nu = [variation.nuisance.value() for variation in self.variations]

        def draw(m: Array, seed: int, *nu: float) -> Array:
            with _without_graphs():
                return self._sample_features(m, nu, int(seed))

        features = tf.numpy_function(draw, [m, seed, *nu], tf.float64, stateful=True)
        columns = {name: features[:, j] for j, name in enumerate(self.flow.features)} | {self.mass.obs[0]: m}
        return znp.stack([columns[name] for name in self.obs], axis=-1)

    def copy(self, **overrides: Any) -> FlowProductPDF:
        """A new PDF with some arguments replaced."""
        arguments: dict[str, Any] = {
            "mass": self.mass,
            "flow": self.flow,
            "obs": self.space,
            "name": self.name,
            "label": self.label,
        }
        if self.is_extended:
            arguments["extended"] = self.extended
        if self.morph is not None and "morph" not in overrides:
            changed = {name: value for name, value in overrides.items() if name in {"flow", "mass", "variations"}}
            arguments["morph"] = self.morph.replace(**changed) if changed else self.morph
        return type(self)(**(arguments | overrides))
