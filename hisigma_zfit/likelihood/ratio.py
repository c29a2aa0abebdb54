"""The likelihood of learned ratios and counting bins: a cross-section from unbinned data (arXiv:2505.05544).

    -2 ln L / L_0 = 2 sum_cells [sum_p c_p N_pr(nu) - N_r(0)] - 2 sum_i w_i ln R(x_i)
                    - 2 sum_bins n_b ln(lambda_b / lambda_b0) + sum_k (nu_k - a_k)^2,
    R(x) = sum_p c_p g_p(x) exp(V(nu) . a_p(x)),         lambda_b = sum_p c_p N_pb(nu)

What to use when: `RatioLikelihood` for fits, profiles, limits, impacts and toys of this package, as any other
`Likelihood`; `hisigma_zfit.likelihood.ratio_loss.RatioLoss` around it for zfit's minimisers and hepstats.  Numpy only,
so that toys in other processes are likelihoods like all others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.auxiliary import AuxiliaryData, GaussianMeasurement
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.protocol import LikelihoodSum, PlainParameter, add, names_of, shown_parameters
from hisigma_zfit.likelihood.ratio_evaluate import Factors, LogSum, RateSum
from hisigma_zfit.ratio.powers import Powers
from hisigma_zfit.results.show import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.protocol import Likelihood
    from hisigma_zfit.ratio.reference import RatioReference
    from hisigma_zfit.ratio.structure import NormEffect, RatioColumns, RatioStructure, ShapeParameter

__all__ = ["RatioLikelihood", "parameters_of"]

_SUM = 1e-3  # largest distance from one of an event's sum of posteriors


def parameters_of(structure: RatioStructure) -> tuple[PlainParameter, ...]:
    """Parameters of a model of ratios, T of them: those of interest, shape nuisances, norm nuisances.

    Raises:
        InputError: A name stands for two of them, or none is of interest.
    """
    pois = dict.fromkeys(name for process in structure.processes for name in structure.pois.get(process, ()))
    found = [PlainParameter(name, True, *structure.poi_limits.get(name, (None, None))) for name in pois]
    nuisances: tuple[ShapeParameter | NormEffect, ...] = (*structure.shapes, *structure.norms)
    found += [PlainParameter(n.name, True, *n.constraint.limits) for n in nuisances]
    names = [p.name for p in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError.from_parts(
            expected="a name of its own for every parameter", got=f"{', '.join(twice)} twice", do="rename one"
        )
    if not pois:
        raise InputError.from_parts(
            expected="a process with a parameter of interest", got="none", do="give one process a poi"
        )
    return tuple(found)


class RatioLikelihood(Shown):
    """-log L of events with learned ratios and of counting bins, relative to the reference; it is its own evaluator.

    Args:
        structure: The model without events.
        columns: The events; weights, where there are some, stand for expected numbers and do not fluctuate.
        auxiliary: Observations of nuisances with a Gaussian constraint by name, 0 by default.
        parameters: zfit parameters by name, in the place of plain ones; fits start at their values.
        start: Where fits start, by name, for plain parameters; by default signal strengths at one, nuisances as the
            structure has it.
        reference: Simulated rows, which Asimov sets and toys need; see `hisigma_zfit.toys.ratio`.

    Attributes:
        structure: As given.
        columns: As given.
        reference: As given.
        parameters: Those of interest, shape nuisances, norm nuisances; T of them.
        auxiliary: The measurements behind the constraints.
        constrained: Names of the nuisances with a Gaussian constraint, A of them.
        yields: Names of the parameters of interest, which are factors of numbers of events.

    Raises:
        InputError: Shapes do not match, posteriors do not sum to one, numbers that are not finite, a nuisance for an
            unknown process, or names that are used twice or unknown.

    Example:
        >>> from hisigma_zfit.ratio.monomials import Monomials
        >>> from hisigma_zfit.ratio.structure import Rates, RatioColumns, RatioStructure
        >>> rates = Rates(np.array([[20.0], [80.0]]), np.zeros((2, 1)), np.zeros((2, 1, 0)))  # one bin
        >>> structure = RatioStructure(
        ...     ("signal", "background"), {"signal": ("mu",)}, (), (), Monomials((), ()), rates, ("bin",), 0, {}
        ... )
        >>> nothing = np.zeros((0, 2), np.float32), np.zeros((0, 2, 0), np.float32), np.zeros(0, np.int64), None
        >>> likelihood = RatioLikelihood(structure, RatioColumns(*nothing, counts=np.array([110.0])))
        >>> hz.interval(likelihood, "mu").value  # (110 - 80) / 20
        1.5
    """

    def __init__(
        self,
        structure: RatioStructure,
        columns: RatioColumns,
        *,
        auxiliary: Mapping[str, float] | None = None,
        parameters: Mapping[str, Any] | None = None,
        start: Mapping[str, float] | None = None,
        reference: RatioReference | None = None,
    ) -> None:
        plain = parameters_of(structure)
        _check(structure, columns)
        self.structure, self.columns, self.reference = structure, columns, reference
        self.yields = names_of(plain[: len(plain) - len(structure.shapes) - len(structure.norms)])
        nuisances: tuple[ShapeParameter | NormEffect, ...] = (*structure.shapes, *structure.norms)
        self.constrained = tuple(n.name for n in nuisances if n.constraint.kind == "gaussian")
        self._require_known("parameters=", parameters or {}, names_of(plain))
        self._require_known("auxiliary=", auxiliary or {}, self.constrained)
        self._require_known("start=", start or {}, names_of(plain))
        self._start = dict.fromkeys(self.yields, 1.0) | {s.name: s.start for s in structure.shapes} | dict(start or {})
        self.parameters: tuple[Any, ...] = tuple((parameters or {}).get(p.name, p) for p in plain)
        self._names = names_of(plain)
        self.auxiliary = self._measurements(auxiliary or {})
        self._constraints = self.auxiliary.evaluator(self.auxiliary.observed)
        first = len(self.yields)
        self._shapes = slice(first, first + len(structure.shapes))
        self._factors = Factors(structure, self._names)
        size = structure.rates.size * np.exp(structure.rates.constant)
        self._rates = RateSum(size, structure.rates.slope)
        self._nominal = float(size.sum())
        self._sums = tuple(
            one for one in (LogSum(columns.posterior, columns.exponents, columns.weights), self._bins(size)) if one.size
        )

    @staticmethod
    def _require_known(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for name in given:
            if name not in known:
                raise InputError.from_parts(
                    expected=f"names in {what} among {', '.join(known) or 'none'}",
                    got=repr(name),
                    do="correct the name",
                )

    def _measurements(self, observed: Mapping[str, float]) -> AuxiliaryData:
        one = np.eye(1)
        terms = [
            (GaussianMeasurement(one, one), np.array([self._names.index(name)], dtype=np.intp), slice(k, k + 1))
            for k, name in enumerate(self.constrained)
        ]
        return AuxiliaryData(terms, np.array([float(observed.get(name, 0.0)) for name in self.constrained]))

    def _bins(self, size: Array) -> LogSum:
        """Counting bins with events as events of that weight."""
        first, counts = self.structure.unbinned, self.columns.counts
        filled = counts > 0.0
        expected = size[:, first:][:, filled]
        slope = self.structure.rates.slope[:, first:][:, filled]
        return LogSum((expected / expected.sum(axis=0)).T, np.moveaxis(slope, 0, 1), counts[filled])

    def evaluator(self, *, around: Array | None = None) -> RatioLikelihood:
        """Itself, wherever it is evaluated."""
        del around
        return self

    def theta(self) -> Array:
        """Where fits start, shape (T,)."""
        start = [self._start.get(name, 0.0) for name in self._names]
        values = [float(p.value()) if hasattr(p, "value") else s for p, s in zip(self.parameters, start, strict=True)]
        return np.array(values)

    def data_constant(self) -> float:
        """Zero: what only the data decide is the likelihood of the reference, which this one is a ratio to."""
        return 0.0

    def expected(self, theta: Array) -> Array:
        """Expected events by process and cell, c_p N_pr(nu), shape (P, B).

        Args:
            theta: All parameters, shape (T,).
        """
        return self._factors.value(theta)[:, None] * self._rates.expected(self.powers(theta).value)

    def powers(self, theta: Array) -> Powers:
        """The monomials and their derivatives at all parameters, shape (T,)."""
        return Powers.of(self.structure.monomials, self.structure.shapes, theta[self._shapes])

    def factors(self, theta: Array) -> Array:
        """c, shape (P,), at all parameters, shape (T,)."""
        return self._factors.value(theta)

    @np.errstate(over="ignore")
    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (T,); inf where R or what a bin expects is not positive."""
        factors, powers = self._factors.value(theta), self.powers(theta).value
        rates = factors @ self._rates.expected(powers)
        if not self._possible(rates):
            return np.inf
        logs = sum(one.value(factors, powers) for one in self._sums)
        value = float(rates.sum()) - self._nominal - logs + self._constraints.value(theta)
        return value if np.isfinite(value) else np.inf

    def _possible(self, rates: Array) -> bool:
        """Whether no counting bin expects less than nothing; what unbinned regions expect, R decides."""
        return bool((rates[self.structure.unbinned :] >= 0.0).all())

    @np.errstate(over="ignore")
    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (T,); see `value`."""
        powers = self.powers(theta)
        factors, slope, bend = self._factors.derivatives(theta)
        P, T = slope.shape
        # first derivatives of ln R by all parameters, from those by c and by shape nuisances
        place = np.zeros((P + len(powers.slope), T))
        place[:P], place[P:, self._shapes] = slope, np.eye(len(powers.slope))
        moments, logs, products = self._rates.evaluate(powers), 0.0, np.zeros((len(place),) * 2)
        for one in self._sums:
            total, own, squares = one.evaluate(factors, powers)
            moments, logs, products = moments - own, logs + total, products + squares
        rates = factors @ self._rates.expected(powers.value)
        value = float(rates.sum()) - self._nominal - logs
        if not (np.isfinite(value) and self._possible(rates)):
            nan = np.full(T, np.nan)
            return Evaluation(np.inf, nan, np.outer(nan, nan))
        moved = moments.linear @ powers.slope.T
        gradient = moments.number @ slope
        gradient[self._shapes] += factors @ moved
        hessian = place.T @ products @ place + np.tensordot(moments.number, bend, 1)
        mixed = slope.T @ moved
        hessian[:, self._shapes] += mixed
        hessian[self._shapes] += mixed.T
        hessian[self._shapes, self._shapes] += np.tensordot(factors, moments.square, 1)
        hessian[self._shapes, self._shapes] += powers.bend @ (factors @ moments.linear)
        known = self._constraints.evaluate(theta)
        return Evaluation(value + known.value, gradient + known.gradient, hessian + known.hessian)

    def reference_rows(self, theta: Array, reference: RatioReference | None = None) -> Array:
        """Expected events that each simulated row stands for, shape (n,); negative where a factor is.

        Args:
            theta: All parameters, shape (T,).
            reference: The rows; by default those of the likelihood.

        Raises:
            InputError: There are none.
        """
        own = self.reference if reference is None else reference
        if own is None:
            raise InputError.from_parts(
                expected="simulated rows", got="a RatioLikelihood without", do="pass reference= to it"
            )
        exponents = own.exponents[np.arange(len(own.process)), own.process]
        variation = np.exp(exponents @ self.powers(theta).value)
        return np.asarray(own.weights * self.factors(theta)[own.process] * variation)

    def with_data(self, columns: RatioColumns, auxiliary: Array, start: Array) -> RatioLikelihood:
        """The same model of other events, with plain parameters.

        Args:
            columns: The events.
            auxiliary: Observations in the order of `constrained`, shape (A,).
            start: Where fits start, shape (T,).
        """
        return RatioLikelihood(
            self.structure,
            columns,
            auxiliary=dict(zip(self.constrained, auxiliary.tolist(), strict=True)),
            parameters={str(p.name): PlainParameter.of(p) for p in self.parameters},
            start=dict(zip(self._names, start.tolist(), strict=True)),
        )

    def with_parameters(self, parameters: Mapping[str, Any]) -> RatioLikelihood:
        """The same likelihood with other parameters by name."""
        return RatioLikelihood(
            self.structure,
            self.columns,
            auxiliary=dict(zip(self.constrained, self.auxiliary.observed.tolist(), strict=True)),
            parameters={str(p.name): p for p in self.parameters} | dict(parameters),
            start=self._start,
            reference=self.reference,
        )

    def joined(self, other: RatioLikelihood) -> LikelihoodSum:
        """Two data sets; a constraint that both hold counts once.

        Raises:
            InputError: They hold it with different observations.
        """
        mine = dict(zip(self.constrained, self.auxiliary.observed.tolist(), strict=True))
        its = dict(zip(other.constrained, other.auxiliary.observed.tolist(), strict=True))
        if different := [name for name in its if mine.get(name, its[name]) != its[name]]:
            raise InputError.from_parts(
                expected="one auxiliary measurement of each nuisance",
                got=f"two of {', '.join(different)}",
                do="give both likelihoods the same observations",
            )

        def free(own: Any) -> Any:
            if own.name not in mine or own.constraint.kind != "gaussian":
                return own
            return replace(own, constraint=replace(own.constraint, kind="none"))

        structure = replace(
            other.structure,
            shapes=tuple(map(free, other.structure.shapes)),
            norms=tuple(map(free, other.structure.norms)),
        )
        rest = RatioLikelihood(
            structure,
            other.columns,
            auxiliary={name: value for name, value in its.items() if name not in mine},
            parameters={str(p.name): p for p in other.parameters},
            start=dict(zip(names_of(other.parameters), other.theta().tolist(), strict=True)),
            reference=other.reference,
        )
        return LikelihoodSum([self, rest])

    def __add__(self, other: Any) -> Likelihood:
        """See `Likelihood`."""
        return add(self, other)

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name."""
        bins = self.columns.counts.size
        content: dict[str, Any] = {"events": len(self.columns.posterior), "bins": bins}
        return content | {"constraints": len(self.constrained)} | shown_parameters(self)

    def __repr__(self) -> str:
        content = ", ".join(f"{name}={value:.6g}" for name, value in self.shown().items())
        return f"{type(self).__name__}({content})"


def _check(structure: RatioStructure, columns: RatioColumns) -> None:
    """Refuse what cannot be a model and its events."""
    P, B, K = len(structure.processes), len(structure.cells), structure.monomials.size
    n = len(columns.posterior)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "rates.size": (structure.rates.size, (P, B)),
        "rates.constant": (structure.rates.constant, (P, B)),
        "rates.slope": (structure.rates.slope, (P, B, K)),
        "posterior": (columns.posterior, (n, P)),
        "exponents": (columns.exponents, (n, P, K)),
        "region": (columns.region, (n,)),
        "weights": (columns.weights, (n,)),
        "counts": (columns.counts, (B - structure.unbinned,)),
    }
    for name, (array, shape) in shapes.items():
        if array is None:
            continue
        if array.shape != shape:
            raise InputError.from_parts(
                expected=f"{name} of shape {shape}", got=str(array.shape), do="make structure and columns by one model"
            )
        if not np.isfinite(array).all():
            raise InputError.from_parts(
                expected=f"finite numbers in {name}",
                got=f"{np.count_nonzero(~np.isfinite(array))} others",
                do="look for missing values in the features",
            )
    if n and not np.abs(columns.posterior.sum(axis=1, dtype=np.float64) - 1.0).max() < _SUM:
        wrong = np.abs(columns.posterior.sum(axis=1, dtype=np.float64) - 1.0) >= _SUM
        raise InputError.from_parts(
            expected="posteriors that sum to one",
            got=f"other sums for {np.count_nonzero(wrong)} of {n} events",
            do="calibrate them as a chain; an event that no process explains has no likelihood",
        )
    if tuple(s.name for s in structure.shapes) != structure.monomials.nuisances:
        raise InputError.from_parts(
            expected=f"the shape nuisances {', '.join(structure.monomials.nuisances)}",
            got=", ".join(s.name for s in structure.shapes),
            do="keep the order of the monomials",
        )
    for process in (*structure.pois, *(p for norm in structure.norms for p in norm.sizes)):
        if process not in structure.processes:
            raise InputError.from_parts(
                expected=f"processes among {', '.join(structure.processes)}", got=repr(process), do="correct the name"
            )
    if columns.counts.size and not columns.counts.min() >= 0.0:
        raise InputError.from_parts(
            expected="counts that are not negative", got=f"{columns.counts.min():g}", do="merge bins of the simulation"
        )
    empty = (structure.rates.size[:, structure.unbinned :].sum(axis=0) <= 0.0) & (columns.counts > 0.0)
    if empty.any():
        cells = [structure.cells[structure.unbinned + k] for k in np.flatnonzero(empty)]
        raise InputError.from_parts(
            expected="simulation in every counting bin with events",
            got=f"none in {', '.join(cells)}",
            do="merge the bin with another",
        )
