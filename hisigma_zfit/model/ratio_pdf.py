"""A process that is known as a ratio, as a zfit PDF over the columns g and a (arXiv:2505.05544)."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.ratio_variations import RatioForm, RatioRate, RatioSize
from hisigma_zfit.model.terms import Reference
from hisigma_zfit.model.variation_weights import MorphColumns
from hisigma_zfit.ratio.powers import FLOOR
from hisigma_zfit.zfit_internals import random_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.terms import Events
    from hisigma_zfit.ratio.coordinates import Coordinate
    from hisigma_zfit.ratio.reference import RatioReference
    from hisigma_zfit.ratio.structure import RatioColumns, RatioStructure

__all__ = ["RatioPDF", "ratio_array", "ratio_pdfs", "ratio_space"]

_UNBOUNDED = 1e100


def _names(structure: RatioStructure, process: str) -> tuple[str, ...]:
    return (f"g_{process}", *(f"a_{process}_{k}" for k in range(structure.monomials.size)))


def ratio_space(structure: RatioStructure) -> zfit.Space:
    """Space of the columns: of every process its g, and its K exponents."""
    names = [name for process in structure.processes for name in _names(structure, process)]
    return reduce(operator.mul, (zfit.Space(name, -_UNBOUNDED, _UNBOUNDED) for name in names))


def ratio_array(columns: RatioColumns | RatioReference) -> Array:
    """Events in the order of `ratio_space`, shape (n, P (1 + K))."""
    joined = np.concatenate([columns.posterior[:, :, None], columns.exponents], axis=2)
    return joined.reshape(len(joined), -1).astype(np.float64)


def _in_graph(coordinate: Coordinate, theta: Any) -> Any:
    """T of a nuisance as an operation with two derivatives, whatever the coordinate is."""

    def numbers(value: Any) -> Any:
        return np.array(coordinate.t(float(value)))

    @tf.custom_gradient
    def t(value: Any) -> Any:
        found = tf.ensure_shape(tf.numpy_function(numbers, [value], tf.float64, stateful=False), [3])

        @tf.custom_gradient
        def slope(again: Any) -> Any:
            del again
            return found[1], lambda upstream: upstream * found[2]

        return found[0], lambda upstream: upstream * slope(value)

    return t(tf.convert_to_tensor(theta, tf.float64))


class _Graph:
    """Monomials and rate of a process as operations."""

    def __init__(self, rate: RatioRate) -> None:
        self.rate = rate

    def powers(self, theta: list[Any]) -> Any:
        """V, shape (K,)."""
        monomials, t = (
            self.rate.monomials,
            [_in_graph(s.coordinate, v) for s, v in zip(self.rate.shapes, theta, strict=True)],
        )
        squares = [t[k] ** 2 for k in monomials.squares]
        return znp.stack([*t, *squares, *(t[i] * t[k] for i, k in monomials.pairs)])

    def number(self, theta: list[Any]) -> Any:
        """N."""
        if not theta:
            return znp.asarray(float(self.rate.size.sum()))
        return znp.sum(self.rate.size * znp.exp(tf.linalg.matvec(self.rate.slope, self.powers(theta))))


class RatioYield(zfit.ComposedParameter):
    """Expected events of a process in the unbinned regions; see `RatioSize`.

    Attributes:
        base: Its first parameter of interest, or its name.
        sources: Parameters of interest, norm nuisances, shape nuisances.
        size: The same in plain numbers.
    """

    def __init__(self, name: str, size: RatioSize, sources: tuple[Any, ...]) -> None:
        self.size, self.sources, graph = size, sources, _Graph(size.rate)
        self.base: Any = sources[0] if size.pois else name
        split = size.pois + len(size.norms)

        def value(params: Any) -> Any:
            values = list(params.values())
            total = graph.number(values[split:])
            for poi in values[: size.pois]:
                total *= poi
            for nu, (a, kind) in zip(values[size.pois : split], size.norms, strict=True):
                total *= znp.maximum((1.0 + a) ** nu if kind == "lognormal" else 1.0 + a * nu, FLOOR)
            return total

        super().__init__(name, value, params={f"source_{k}": p for k, p in enumerate(sources)}, unpack_params=False)


class _RatioMorph:
    """Variations of a process in the form of `model.morphing.Morph`, as far as likelihoods ask."""

    def __init__(self, rate: RatioRate, nuisances: tuple[Any, ...]) -> None:
        self.nuisances, self.variations, self.form = nuisances, (), RatioForm(rate)
        self._graph = _Graph(rate)

    def columns(self, x: Array, m: Array, log_ratio: Array) -> MorphColumns:
        del m, log_ratio
        n = len(x)
        return MorphColumns((np.ascontiguousarray(x[:, 1:].T),), np.zeros((0, n)), np.ones(n, dtype=bool))

    def weight_in_graph(self, columns: Any, basis: Any) -> Any:
        del basis
        theta = [znp.asarray(p) for p in self.nuisances]
        exponent = tf.linalg.matvec(columns[0], self._graph.powers(theta), transpose_a=True)
        return znp.exp(exponent) * float(self._graph.rate.size.sum()) / self._graph.number(theta)


class RatioPDF(zfit.pdf.BasePDF):
    """g_p S_p / N_p(nu) over the columns g and a: a density with respect to the weighted events of the reference.

    Sums over the reference with its weights are one, as far as it goes; an integral over a part of the columns means
    nothing and is refused.  Events are drawn from the reference, which is finite.

    Args:
        structure: The model without events.
        process: Its name.
        parameters: zfit parameters by name, all that the structure has.
        reference: Simulated rows.
        replace: Whether `sample` may draw a row twice.

    Raises:
        InputError: The process or a parameter is missing, or more events are drawn than the reference is worth.
    """

    def __init__(
        self,
        structure: RatioStructure,
        process: str,
        parameters: Mapping[str, Any],
        reference: RatioReference,
        *,
        replace: bool = False,
    ) -> None:
        if process not in structure.processes:
            raise InputError.from_parts(
                expected=f"a process among {', '.join(structure.processes)}", got=repr(process), do="correct the name"
            )
        norms = [norm for norm in structure.norms if process in norm.sizes]
        names = [*structure.pois.get(process, ()), *(n.name for n in norms), *(s.name for s in structure.shapes)]
        if missing := [name for name in names if name not in parameters]:
            raise InputError.from_parts(
                expected=f"parameters {', '.join(names)}", got=f"no {', '.join(missing)}", do="make them with zfit"
            )
        self.process, self.replace, self._index = process, replace, structure.processes.index(process)
        own = slice(0, structure.unbinned)
        rate = RatioRate(
            structure.monomials,
            structure.shapes,
            structure.rates.size[self._index, own],
            structure.rates.slope[self._index, own],
        )
        nuisances = tuple(parameters[s.name] for s in structure.shapes)
        sources = tuple(parameters[name] for name in names)
        kinds = tuple((norm.sizes[process], str(norm.kind)) for norm in norms)
        size = RatioSize(len(names) - len(norms) - len(nuisances), kinds, rate)
        self._features = _names(structure, process)
        self._rows, self._graph = ratio_array(reference), _Graph(rate)
        space = ratio_space(structure)
        self.mass = None
        self.morph: Any = _RatioMorph(rate, nuisances) if nuisances else None
        columns = dict(zip(space.obs, self._rows.T, strict=True))
        self.reference = Reference(columns, reference.weights)
        super().__init__(
            obs=space,
            params={str(p.name): p for p in nuisances},
            extended=RatioYield(f"n_{process}", size, sources),
            name=process,
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Its g and its exponents."""
        return self._features

    def log_ratio(self, events: Events) -> Array:
        """Log of g / N at nominal, shape (n,)."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(events.column(self._features[0]) / self._graph.rate.size.sum()))

    def draw(self, n: int, rng: np.random.Generator) -> None:
        """None: its events are the reference's."""
        del n, rng

    def _theta(self, params: Mapping[str, Any]) -> list[Any]:
        return [params[shape.name] for shape in self._graph.rate.shapes]

    @zfit.supports(norm=True)
    def _pdf(self, x: Any, norm: Any, params: Mapping[str, Any]) -> Any:
        del norm
        theta = self._theta(params)
        density = x.value(self._features[0]) / self._graph.number(theta)
        if not theta:
            return density
        exponents = znp.stack([x.value(name) for name in self._features[1:]], axis=-1)
        return density * znp.exp(tf.linalg.matvec(exponents, self._graph.powers(theta)))

    @zfit.supports(norm=True)
    def _integrate(self, limits: Any, norm: Any, options: Any = None) -> Any:
        del norm, options
        if np.abs(np.asarray(limits.v1.limits)).min() < _UNBOUNDED:
            raise InputError.from_parts(
                expected="an integral over all columns", got="one over a part", do="count events of the reference"
            )
        return znp.ones(1)

    def _shares(self, theta: Array) -> Array:
        """Weights w g S of the reference's rows at shape nuisances, shape (n,)."""
        weights = self.reference.weights * self._rows[:, self.obs.index(self._features[0])]
        if not theta.size:
            return np.asarray(weights)
        own = [self.obs.index(name) for name in self._features[1:]]
        return np.asarray(weights * np.exp(self._rows[:, own] @ self._graph.rate.derivatives(theta)[0].value))

    def sample(self, n: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Rows of the reference at the nuisances' values; see zfit.

        Raises:
            InputError: `n` is larger than what the reference is worth, and rows may not be drawn twice.
        """
        if isinstance(n, (int, np.integer)) and not self.replace:
            weights = self._shares(np.array([float(p) for p in self._theta(self.params)]))
            worth = float(weights.sum() ** 2 / (weights @ weights))
            if n > worth:
                raise InputError.from_parts(
                    expected=f"{worth:.0f} events of {self.process} at most, which the reference is worth",
                    got=str(n),
                    do="simulate more, or pass replace=True",
                )
        return super().sample(n, *args, **kwargs)

    @zfit.supports()
    def _sample(self, n: Any, limits: Any) -> Any:
        del limits

        def rows(seed: Any, number: Any, theta: Any) -> Any:
            weights = self._shares(np.asarray(theta))
            at = np.random.default_rng(int(seed)).choice(
                len(weights), int(number), replace=self.replace, p=weights / weights.sum()
            )
            return self._rows[at]

        theta = [znp.asarray(p) for p in self._theta(self.params)]
        # inside of a graph: zfit traces what draws
        drawn = tf.numpy_function(
            rows, [random_seed(), n, znp.stack(theta) if theta else znp.zeros(0)], tf.float64, stateful=True
        )
        return tf.ensure_shape(drawn, (None, self._rows.shape[1]))


def ratio_pdfs(
    structure: RatioStructure, parameters: Mapping[str, Any], reference: RatioReference
) -> tuple[RatioPDF, ...]:
    """PDFs of all processes; their sum is the model of the unbinned regions."""
    return tuple(RatioPDF(structure, process, parameters, reference) for process in structure.processes)
