"""What a likelihood is to everything that fits it: parameters, where they are, and -log L as a plain function of them.

`Profiler`, contours, impacts, limits and toys take any `Likelihood`: an `ExtendedNLL` of events, an Asimov set or a toy
(`PseudoLikelihood`), a histogram's (`baselines.template_fits.TemplateLikelihood`), or a sum of any of these
(`LikelihoodSum`).  Numpy only, so that toys in other processes are likelihoods like all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.evaluate import Evaluation, Evaluator, EvaluatorSum
from hisigma_zfit.results.show import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.likelihood.auxiliary import AuxiliaryData

__all__ = [
    "FitParameter",
    "Likelihood",
    "LikelihoodSum",
    "PlainParameter",
    "PseudoLikelihood",
    "add",
    "constraints_in",
    "has_weights",
    "limits_of",
    "measured_in",
    "names_of",
    "scatter_of",
    "shown_parameters",
    "yields_in",
]


class FitParameter(Protocol):
    """All that a fit asks of a parameter; zfit's parameters have it, `PlainParameter` is nothing else."""

    @property
    def name(self) -> str:
        """Name, by which likelihoods share it."""

    @property
    def floating(self) -> bool:
        """Whether fits move it."""

    @property
    def lower(self) -> Any:
        """Lower limit, a number; None for none."""

    @property
    def upper(self) -> Any:
        """Upper limit, a number; None for none."""


@dataclass(frozen=True)
class PlainParameter:
    """A parameter without zfit; see `FitParameter`."""

    name: str
    floating: bool = True
    lower: float | None = None
    upper: float | None = None

    @classmethod
    def of(cls, parameter: FitParameter) -> PlainParameter:
        """The same in plain numbers, infinite limits as none."""
        (lower,), (upper,) = limits_of((parameter,))
        return cls(
            str(parameter.name),
            bool(parameter.floating),
            float(lower) if np.isfinite(lower) else None,
            float(upper) if np.isfinite(upper) else None,
        )


@runtime_checkable
class Likelihood(Protocol):
    """-log L of some data.

    One with constraint terms of zfit has them as ``constraints``, see `constraints_in`; one with auxiliary measurements
    but without zfit has these as ``auxiliary``, see `measured_in`; one of expected numbers of events names those among
    its parameters as ``yields``, see `yields_in`.  One of events with weights says so as
    ``weighted``, and has ``scatter``; see `has_weights` and `scatter_of`.
    """

    @property
    def parameters(self) -> tuple[Any, ...]:
        """All parameters, P of them, each a `FitParameter`."""

    def theta(self) -> Array:
        """Where fits start, shape (P,): the parameters' current values."""

    def evaluator(self, *, around: Array | None = None) -> Evaluator:
        """-log L without the constants of the data, as plain functions of a vector in the order of `parameters`.

        Args:
            around: Parameters, shape (P,), in whose neighbourhood many values will be asked for.
        """

    def data_constant(self) -> float:
        """What the evaluator leaves out because only the data decide it."""

    def __add__(self, other: Any) -> Likelihood:
        """The likelihood of both data sets, with the parameters that they share by name; see `add`."""


def names_of(parameters: Sequence[FitParameter]) -> tuple[str, ...]:
    """Names of parameters."""
    return tuple(str(p.name) for p in parameters)


def limits_of(parameters: Sequence[FitParameter]) -> tuple[Array, Array]:
    """Lower and upper limits of parameters, infinite where there are none, each of shape (P,)."""
    lower = [-np.inf if p.lower is None else float(p.lower) for p in parameters]
    upper = [np.inf if p.upper is None else float(p.upper) for p in parameters]
    return np.array(lower), np.array(upper)


def constraints_in(likelihood: Likelihood) -> tuple[Any, ...]:
    """The zfit constraints that a likelihood holds as terms, none if it knows of no such thing."""
    return tuple(getattr(likelihood, "constraints", None) or ())


def measured_in(likelihood: Likelihood) -> tuple[tuple[str, ...], tuple[Evaluator, ...]]:
    """Parameters of auxiliary measurements that a likelihood holds without zfit's constraints, by name, and the terms.

    Returns:
        Names of the parameters, and -log L of the measurements as functions of all parameters.
    """
    if isinstance(likelihood, LikelihoodSum):
        found, terms = dict[str, None](), list[Evaluator]()
        for part, at in zip(likelihood.parts, likelihood.places, strict=True):
            names, own = measured_in(part)
            found |= dict.fromkeys(names)
            terms += [_Placed(term, at) for term in own]
        return tuple(found), tuple(terms)
    auxiliary: AuxiliaryData | None = getattr(likelihood, "auxiliary", None)
    if auxiliary is None or not auxiliary.terms:
        return (), ()
    at = np.concatenate([index for _, index, _ in auxiliary.terms])
    names = names_of([likelihood.parameters[k] for k in at])
    return tuple(dict.fromkeys(names)), (auxiliary.evaluator(auxiliary.observed),)


def yields_in(likelihood: Likelihood) -> tuple[str, ...]:
    """Names of the parameters that are numbers of events or factors of one, none if it knows of no such thing."""
    return tuple(getattr(likelihood, "yields", ()))


def has_weights(likelihood: Likelihood) -> bool:
    """Whether a likelihood has events with weights that fluctuate with them: its curvature says less than it seems."""
    return bool(getattr(likelihood, "weighted", False))


def scatter_of(likelihood: Likelihood, theta: Array) -> Array | None:
    """Covariance of a likelihood's gradient when the data are drawn again, shape (P, P).

    Args:
        likelihood: The likelihood.
        theta: All parameters, shape (P,), at the best fit.

    Returns:
        None if it is the Hessian, as for events without weights; see `evaluate.WeightedEvaluator.scatter`.
    """
    return likelihood.scatter(theta) if has_weights(likelihood) else None  # type: ignore[attr-defined]


def shown_parameters(likelihood: Likelihood) -> dict[str, float]:
    """Where fits of a likelihood start, of its floating parameters, by name: what a notebook shows."""
    theta = likelihood.theta().tolist()
    return {p.name: value for p, value in zip(likelihood.parameters, theta, strict=True) if p.floating}


class PseudoLikelihood(EvaluatorSum):
    """-log L of pseudo-data, up to a constant; it is its own evaluator.

    Its events may have weights, as those of an Asimov set, which stand for expected numbers and do not fluctuate.

    Args:
        parameters: All parameters, P of them.
        parts: Evaluators of the categories and of the constraints.
        start: Where fits start, shape (P,).
    """

    def __init__(self, parameters: tuple[Any, ...], parts: Sequence[Evaluator], start: Array) -> None:
        super().__init__(parts)
        self.parameters = parameters
        self._start = start

    def evaluator(self, *, around: Array | None = None) -> PseudoLikelihood:
        """See `Likelihood`."""
        del around
        return self

    def theta(self) -> Array:
        """See `Likelihood`."""
        return self._start.copy()

    def data_constant(self) -> float:
        """Zero: pseudo-data are compared with themselves only."""
        return 0.0

    def __add__(self, other: Any) -> Likelihood:
        """See `Likelihood`."""
        return add(self, other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(shown_parameters(self))})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, shown_parameters(self))


class LikelihoodSum:
    """-log L of independent data sets whose likelihoods are of different kinds; build it with ``+``.

    Attributes:
        parts: The likelihoods.
        parameters: Theirs, each once, in the order in which they come.
        places: Where each part finds its own among them.
    """

    def __init__(self, parts: Sequence[Likelihood]) -> None:
        self.parts = tuple(parts)
        found: dict[str, Any] = {}
        for parameter in (p for part in self.parts for p in part.parameters):
            known = found.setdefault(str(parameter.name), parameter)
            if known is not parameter and not _same(known, parameter):
                raise InputError.from_parts(
                    expected=f"one parameter of the name {parameter.name!r}",
                    got="two of them",
                    do="build both likelihoods with the same parameter, or rename one",
                )
        self.parameters = tuple(found.values())
        position = {name: k for k, name in enumerate(found)}
        self.places: tuple[Integers, ...] = tuple(
            np.array([position[name] for name in names_of(part.parameters)], dtype=np.intp) for part in self.parts
        )

    @property
    def constraints(self) -> tuple[Any, ...]:
        """The zfit constraints of all parts."""
        return tuple(constraint for part in self.parts for constraint in constraints_in(part))

    @property
    def yields(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(dict.fromkeys(name for part in self.parts for name in yields_in(part)))

    @property
    def weighted(self) -> bool:
        """See `has_weights`."""
        return any(has_weights(part) for part in self.parts)

    def scatter(self, theta: Array) -> Array:
        """See `scatter_of`; that of parts without weights is their Hessian."""
        total = np.zeros((theta.size, theta.size))
        for part, at in zip(self.parts, self.places, strict=True):
            own = scatter_of(part, theta[at])
            total[np.ix_(at, at)] += part.evaluator().evaluate(theta[at]).hessian if own is None else own
        return total

    def theta(self) -> Array:
        """See `Likelihood`; where several parts share a parameter, the first has the word."""
        theta = np.empty(len(self.parameters))
        for part, at in zip(reversed(self.parts), reversed(self.places), strict=True):
            theta[at] = part.theta()
        return theta

    def evaluator(self, *, around: Array | None = None) -> Evaluator:
        """See `Likelihood`."""
        return EvaluatorSum(
            [
                _Placed(part.evaluator(around=None if around is None else around[at]), at)
                for part, at in zip(self.parts, self.places, strict=True)
            ]
        )

    def data_constant(self) -> float:
        """See `Likelihood`."""
        return sum(part.data_constant() for part in self.parts)

    def __add__(self, other: Any) -> Likelihood:
        """See `Likelihood`."""
        return add(self, other)

    def __repr__(self) -> str:
        return " + ".join(repr(part) for part in self.parts)

    def _repr_html_(self) -> str:
        kinds = {"parts": [type(part).__name__ for part in self.parts]}
        return table(type(self).__name__, kinds | shown_parameters(self))


def _same(first: Any, second: Any) -> bool:
    """Whether two parameters of one name stand for the same; a plain copy has no value of its own to differ in."""
    plain = PlainParameter.of(first), PlainParameter.of(second)
    return plain[0] == plain[1] and (first == plain[0] or second == plain[1])


class _Placed:
    """A likelihood as a function of more parameters than it knows."""

    def __init__(self, evaluator: Evaluator, at: Integers) -> None:
        self._evaluator, self._at = evaluator, at

    def value(self, theta: Array) -> float:
        return self._evaluator.value(theta[self._at])

    def evaluate(self, theta: Array) -> Evaluation:
        own = self._evaluator.evaluate(theta[self._at])
        gradient, hessian = np.zeros(theta.size), np.zeros((theta.size, theta.size))
        gradient[self._at], hessian[np.ix_(self._at, self._at)] = own.gradient, own.hessian
        return Evaluation(own.value, gradient, hessian)


def add(first: Likelihood, second: Any) -> Likelihood:
    """The likelihood of two independent data sets.

    Those that know how to become one of their own kind (``joined``) do: `ExtendedNLL`, whose constraints would count
    twice otherwise.

    Args:
        first: A likelihood.
        second: Another one.

    Raises:
        InputError: The second is no likelihood, or they have different parameters of one name.
    """
    if not isinstance(second, Likelihood):
        raise InputError.from_parts(
            expected="another likelihood", got=type(second).__name__, do="add an hz.ExtendedNLL or a TemplateLikelihood"
        )
    parts = list(first.parts) if isinstance(first, LikelihoodSum) else [first]
    for new in second.parts if isinstance(second, LikelihoodSum) else (second,):
        same = next((k for k, part in enumerate(parts) if type(part) is type(new) and hasattr(part, "joined")), None)
        if same is None:
            parts.append(new)
        else:
            parts[same] = parts[same].joined(new)  # type: ignore[attr-defined]
    return parts[0] if len(parts) == 1 else LikelihoodSum(parts)
