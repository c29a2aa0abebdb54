"""Systematic uncertainties as a user writes them: nuisances, varied densities and uncertain yields.

What to use when:

- `nuisance` makes the parameter: a zfit Parameter that carries its constraint term.
- `ShapeVariation` for densities trained on an up and a down sample (paper, arXiv:2506.06438, section 3.2).
- `ConditionalVariation` for one density that was trained with the nuisance as a feature, where up and down are not
  enough: large or strongly non-linear effects.
- `lognormal_yield` of `uncertain_yields` for the normalisation of a component.
- `vary_shape` for parameters of a mass shape, such as the position and the width of a peak.

Pass the variations to `FlowProductPDF`.  The same nuisance in several components, categories or yields is one
parameter with one constraint term, which `ExtendedNLL` adds by itself.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.interpolation import Interpolation, LogPolynomial, PolynomialExponential, Quadratic
from hisigma_zfit.model.uncertain_yields import lognormal_yield, require_independent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hisigma_zfit.density.flows import ConditionalFlow

__all__ = [
    "ConditionalVariation",
    "Nuisance",
    "ShapeVariation",
    "Variation",
    "constraints_of",
    "nuisance",
    "vary_shape",
]

Form = Literal["polyexp", "quadratic"]

_FORMS: dict[str, Callable[[], Interpolation]] = {"polyexp": PolynomialExponential, "quadratic": Quadratic}


class Nuisance(zfit.Parameter):
    """A zfit Parameter with the constraint term that belongs to it; see `nuisance`.

    Attributes:
        constraint_term: zfit constraint, or None.  (TensorFlow has another use for the name `constraint`.)
    """

    constraint_term: Any = None


def _unit_gaussian(parameter: zfit.Parameter) -> Any:
    return zfit.constraint.GaussianConstraint(parameter, observation=0.0, sigma=1.0)


def nuisance(
    name: str,
    *,
    constraint: Callable[[zfit.Parameter], Any] | None = _unit_gaussian,
    value: float = 0.0,
    limits: tuple[float, float] | None = (-5.0, 5.0),
    label: str | None = None,
) -> Nuisance:
    """Make a nuisance parameter: 0 is the nominal model, +1 and -1 are its variations by one standard deviation.

    Args:
        name: Name of the parameter.
        constraint: Makes the zfit constraint from the parameter: by default a Gaussian around 0 of width 1.  None
            leaves it to the data, or to constraints that are given to `ExtendedNLL`.
        value: Start value.
        limits: Range of the fit, or None.
        label: Human-readable name.

    Returns:
        A zfit Parameter with the constraint as its `constraint_term`.

    Example:
        >>> energy_scale = hz.nuisance("energy_scale")
        >>> with energy_scale.set_value(2.0):
        ...     print(float(energy_scale.constraint_term.value()))  # 2^2 / 2 and log sqrt(2 pi)
        2.919
    """
    lower, upper = limits or (None, None)
    parameter = Nuisance(name, value, lower, upper, stepsize=0.1, label=label)
    parameter.constraint_term = None if constraint is None else constraint(parameter)
    return parameter


def constraints_of(parameters: Iterable[Any]) -> tuple[Any, ...]:
    """Constraint terms that parameters carry, each once, in the order of the parameters' names."""
    terms = [getattr(p, "constraint_term", None) for p in sorted(parameters, key=lambda p: str(p.name))]
    return tuple({id(term): term for term in terms if term is not None}.values())


class Variation(abc.ABC):
    """How one nuisance changes a density p(x'|m); see `ShapeVariation` and `ConditionalVariation`.

    Attributes:
        nuisance: The parameter.
        form: How the weight w(nu) follows from the log-ratios.
        densities: The densities of the log-ratios where these are densities of x' given m, else empty.  They are
            sampled for the normalisation, which their own normalisation makes more precise.
    """

    nuisance: Any
    form: Interpolation
    densities: tuple[ConditionalFlow, ...] = ()

    @abc.abstractmethod
    def log_ratios(self, x: Any, m: Any, log_nominal: Any, log_prob: Callable[..., Any]) -> list[Any]:
        """Log-densities of the variations less that of the nominal density, each of shape (n,).

        Args:
            x: Features, shape (n, d); numpy or TensorFlow, as all others.
            m: Masses, shape (n,).
            log_nominal: log p(x'|m) of the component, shape (n,).
            log_prob: Evaluates a flow, ``log_prob(flow, x, m)``.
        """

    def towards(self, nu: float) -> ConditionalFlow | None:
        """The density to propose events from when the nuisance is `nu`; None for the nominal one."""
        del nu
        return None

    @property
    @abc.abstractmethod
    def bootstraps(self) -> tuple[Variation, ...]:
        """One variation for each bootstrap; itself where there is only one."""

    @abc.abstractmethod
    def check(self, flow: ConditionalFlow) -> None:
        """Check that this varies `flow`.

        Raises:
            InputError: The columns differ.
        """


def _require_columns(flow: ConditionalFlow, features: tuple[str, ...], given: str) -> None:
    if (flow.features, flow.given) != (features, given):
        raise InputError.from_parts(
            expected=f"a variation of ({', '.join(features)}) given {given}",
            got=f"one of ({', '.join(flow.features)}) given {flow.given}",
            do="train it on the same columns in the same order as the nominal density",
        )


class ShapeVariation(Variation):
    """A nuisance with densities at +1 and -1 standard deviations: paper (arXiv:2506.06438) eq. 3.3 and 3.4.

    Args:
        nuisance: The parameter, from `nuisance` or any independent zfit Parameter.
        up: Density at nu = +1.
        down: Density at nu = -1.
        form: ``"polyexp"`` is eq. 3.4.  ``"quadratic"`` is the form of section 4.4; weights that it turns negative,
            mostly beyond one standard deviation, are bent to stay positive (`interpolation.floored`).

    Raises:
        InputError: The form is unknown, up and down have other columns, or `nuisance` is not independent.

    Example:
        >>> flow, scale = hz.examples.flow, hz.nuisance("pt_scale")
        >>> variation = hz.ShapeVariation(scale, up=flow("signal_up"), down=flow("signal_down"))
        >>> peak = zfit.pdf.Gauss(125.0, 2.0, obs=hz.examples.mass())
        >>> varied = hz.FlowProductPDF(peak, flow("signal"), variations=[variation])
        >>> event = np.array([[125.0, 180.0, 0.9]])
        >>> nominal = float(varied.pdf(event)[0])
        >>> with scale.set_value(1.0):
        ...     print(f"{float(varied.pdf(event)[0]) / nominal:.2f}")  # true 1.10: exponential with 63 for 60 GeV
        1.11
    """

    def __init__(self, nuisance: Any, up: ConditionalFlow, down: ConditionalFlow, *, form: Form = "polyexp") -> None:
        if form not in get_args(Form):
            raise InputError.from_parts(
                expected=f"form to be one of {', '.join(get_args(Form))}", got=repr(form), do="choose one"
            )
        require_independent(nuisance)
        _require_columns(down, up.features, up.given)
        self.nuisance, self.up, self.down, self._name = nuisance, up, down, form
        self.form = _FORMS[form]()
        self.densities = (up, down)

    def log_ratios(self, x: Any, m: Any, log_nominal: Any, log_prob: Callable[..., Any]) -> list[Any]:
        """See `Variation.log_ratios`."""
        return [log_prob(flow, x, m) - log_nominal for flow in self.densities]

    def towards(self, nu: float) -> ConditionalFlow | None:
        """See `Variation.towards`."""
        return None if nu == 0.0 else self.up if nu > 0.0 else self.down

    @property
    def bootstraps(self) -> tuple[Variation, ...]:
        """Up and down of the same bootstrap belong together.

        Raises:
            InputError: Up and down have different numbers of bootstraps.
        """
        up, down = self.up.bootstraps, self.down.bootstraps
        if len(up) != len(down):
            raise InputError.from_parts(
                expected=f"as many bootstraps up as down for {self.nuisance.name}",
                got=f"{len(up)} and {len(down)}",
                do="train both with the same bootstraps=",
            )
        return tuple(ShapeVariation(self.nuisance, u, d, form=self._name) for u, d in zip(up, down, strict=True))

    def check(self, flow: ConditionalFlow) -> None:
        """See `Variation.check`."""
        _require_columns(self.up, flow.features, flow.given)


class ConditionalVariation(Variation):
    """A nuisance that one flow was trained with: w(nu) = p(nu, x'|m) / p(0, x'|m), normalised in x'.

    Train the flow on events with a nuisance of their own, drawn for example from a uniform distribution between -2.5
    and 2.5, with the nuisance as the first feature: an autoregressive flow then holds p(nu|m) p(x'|nu, m), and the
    first factor drops out in the normalisation.  The joint density is evaluated at a few nodes for each event; between
    them log w is a polynomial in nu, beyond them it goes on linearly.

    Args:
        nuisance: The parameter, from `nuisance` or any independent zfit Parameter.
        flow: Density of (nu, x') given m; the nuisance is its first feature.
        nodes: Values of the nuisance, without 0.

    Raises:
        InputError: Nodes that are equal, zero or outside of the flow's domain, or a `nuisance` that is not independent.

    Example:
        >>> flow, scale = hz.examples.flow, hz.nuisance("pt_scale")
        >>> flow("scaled_signal").features
        ('nu', 'pt', 'angle')
        >>> variation = hz.ConditionalVariation(scale, flow("scaled_signal"))
        >>> peak = zfit.pdf.Gauss(125.0, 2.0, obs=hz.examples.mass())
        >>> varied = hz.FlowProductPDF(peak, flow("signal"), variations=[variation])
        >>> event = np.array([[125.0, 180.0, 0.9]])
        >>> nominal = float(varied.pdf(event)[0])
        >>> with scale.set_value(1.0):
        ...     print(f"{float(varied.pdf(event)[0]) / nominal:.2f}")  # true 1.10
        1.10
    """

    def __init__(
        self, nuisance: Any, flow: ConditionalFlow, *, nodes: Sequence[float] = (-2.0, -1.0, 1.0, 2.0)
    ) -> None:
        require_independent(nuisance)
        lower, upper = flow.domain[0]
        if len(set(nodes)) < len(nodes) or not all(lower < node < upper for node in (0.0, *nodes)) or 0.0 in nodes:
            raise InputError.from_parts(
                expected="different nodes without 0, all inside the flow's domain, as 0 itself",
                got=f"{tuple(nodes)} in ({lower:g}, {upper:g})",
                do="choose others, or train on a wider range",
            )
        self.nuisance, self.flow, self.nodes = nuisance, flow, tuple(nodes)
        self.form = LogPolynomial(self.nodes)

    def log_ratios(self, x: Any, m: Any, log_nominal: Any, log_prob: Callable[..., Any]) -> list[Any]:
        """See `Variation.log_ratios`; here relative to the joint density's own nominal."""
        del log_nominal, log_prob  # a caller's may remember flows by their x, which is another one here
        xp, joint = (np, self.flow.log_prob_array) if isinstance(x, np.ndarray) else (znp, self.flow.log_prob)

        def at(value: float) -> Any:
            return joint(xp.concatenate([xp.full_like(x[:, :1], value), x], axis=1), m)

        nominal = at(0.0)
        return [at(node) - nominal for node in self.nodes]

    @property
    def bootstraps(self) -> tuple[Variation, ...]:
        """One variation for each bootstrap of the flow."""
        return tuple(ConditionalVariation(self.nuisance, flow, nodes=self.nodes) for flow in self.flow.bootstraps)

    def check(self, flow: ConditionalFlow) -> None:
        """See `Variation.check`."""
        _require_columns(self.flow, (self.flow.features[0], *flow.features), flow.given)


def vary_shape(pdf: zfit.pdf.BasePDF, effects: Mapping[str, Mapping[Any, float]]) -> zfit.pdf.BasePDF:
    """The same mass shape with parameters that follow nuisances: theta * kappa_1^nu_1 * kappa_2^nu_2 ...

    The likelihood takes the generic path then, with exact derivatives; see `hisigma_zfit.likelihood.graph`.

    Args:
        pdf: A shape, for example from `hz.fit_shape`.
        effects: Name of the shape's parameter, for example ``"mu"`` -> nuisance -> factor kappa by one standard
            deviation, for example 1.003.

    Raises:
        InputError: The shape has no such parameter, or as for `lognormal_yield`.
    """
    parameters = dict(pdf.params)
    for name, factors in effects.items():
        if name not in parameters:
            raise InputError.from_parts(
                expected=f"a parameter among {', '.join(parameters)}", got=repr(name), do="correct the name"
            )
        for parameter, kappa in factors.items():
            parameters[name] = lognormal_yield(parameters[name], parameter, kappa)
    return type(pdf)(obs=pdf.space, **parameters)
