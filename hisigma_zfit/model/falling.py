"""Falling mass shapes by name, beside `ExpQuadratic`: quick in the likelihood, and started where the sidebands are.

Exponentials of polynomials and powers of the mass are of the exponential family; polynomials and Laurent series are
linear in their coefficients, see `hisigma_zfit.model.linear_families`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf
import zfit
import zfit.z.numpy as znp
from scipy.optimize import nnls

from hisigma_zfit.data.region import beside
from hisigma_zfit.errors import InputError
from hisigma_zfit.model.families import quadrature
from hisigma_zfit.model.linear_families import LinearFamily, chebyshev_in_bernstein
from hisigma_zfit.model.masked import masked
from hisigma_zfit.model.shape_names import FallingName
from hisigma_zfit.model.shapes import ExpQuadratic, Masking, finite_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset, SignalRegion

__all__ = ["Bernstein", "Chebyshev", "ExpPolynomial", "Laurent", "PowerLaw", "falling_shape", "linear_family"]

_BINS = 60  # of the sidebands, for starts
_LEAST = 0.02  # of a positive coefficient at its start, in units of the largest


class _Falling(zfit.pdf.BasePDF):
    """A shape of one observable with finite limits, which keep the meaning of its parameters in any sub-range."""

    _N_OBS = 1

    def __init__(
        self,
        obs: zfit.Space,
        *,
        extended: Any = None,
        norm: Any = None,
        name: str | None = None,
        label: str | None = None,
        **parameters: Any,
    ) -> None:
        self._lower, self._upper = finite_limits(obs)
        name = name or type(self).__name__
        super().__init__(obs=obs, params=parameters, extended=extended, norm=norm, name=name, label=label)

    def _height(self, m: Any, params: Mapping[str, Any]) -> Any:
        """Density of any norm, as TensorFlow operations."""
        raise NotImplementedError

    @zfit.supports(norm=False)
    def _pdf(self, x: Any, norm: Any, params: Mapping[str, Any]) -> Any:
        del norm
        return self._height(x[0], params)


def _integral(limits: Any, params: Mapping[str, Any], model: _Falling) -> Any:
    nodes, weights = quadrature(limits.v1.lower, limits.v1.upper)
    return znp.sum(weights * model._height(nodes, params))  # noqa: SLF001 - of the same module


class _Exponent(_Falling):
    """exp(sum_k sign_k c_k t^k) of a reduced mass t."""

    _sign = 1.0
    _logarithmic = False

    def _ends(self) -> tuple[float, float]:
        """Where t is 0 and 1."""
        return self._lower, self._upper

    def _height(self, m: Any, params: Mapping[str, Any]) -> Any:
        origin, end = self._ends()
        coefficients = [self._sign * znp.asarray(value) for value in params.values()]

        def exponent(m: Any) -> Any:
            t = ((znp.log(m) if self._logarithmic else m) - origin) / (end - origin)
            total = znp.zeros_like(t)
            for coefficient in reversed(coefficients):
                total = (total + coefficient) * t
            return total

        # the largest one is taken out, of density and integral alike, so that neither overflows
        grid = znp.asarray(np.linspace(self._lower, self._upper, 101))
        return znp.exp(exponent(znp.asarray(m)) - tf.stop_gradient(znp.max(exponent(grid))))

    def exponent(self) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, float], bool]:
        """See `hisigma_zfit.model.shapes.KnownExponent`."""
        names = tuple(self.params)
        return names, (self._sign,) * len(names), self._ends(), self._logarithmic


class ExpPolynomial(_Exponent):
    """exp(c1 t + c2 t^2 + ...), t from 0 to 1 over `obs`; the coefficients are given by these names."""


class PowerLaw(_Exponent):
    """(m / lower edge)^-a."""

    _sign = -1.0
    _logarithmic = True

    def __init__(self, obs: zfit.Space, *, a: Any, **options: Any) -> None:
        super().__init__(obs, **options, a=a)
        _require_positive(self._lower, "a power law")

    def _ends(self) -> tuple[float, float]:
        return float(np.log(self._lower)), float(np.log(self._lower)) + 1.0


class _Linear(_Falling):
    """Sum of normalised densities with coefficients; see `hisigma_zfit.model.linear_families`."""

    def family(self) -> LinearFamily:
        """The same in plain numbers but for the parameters."""
        n = len(self.params)
        return self._family("bernstein", np.eye(n), np.zeros(n))

    def _family(self, kind: Literal["bernstein", "laurent"], matrix: Array, constant: Array) -> LinearFamily:
        rows = tuple(map(tuple, matrix.tolist()))
        return LinearFamily(kind, self._lower, self._upper, rows, tuple(constant.tolist()), tuple(self.params.values()))

    def _height(self, m: Any, params: Mapping[str, Any]) -> Any:
        family = self.family()
        coefficients = [znp.asarray(value) for value in params.values()]
        total = znp.zeros_like(m)
        for density, row, constant in zip(family.densities(m), family.matrix, family.constant, strict=True):
            total += density * (constant + sum(own * c for own, c in zip(row, coefficients, strict=True)))
        return total


class Bernstein(_Linear):
    """sum_j c_j B_j(t) of Bernstein's polynomials, positive with coefficients ``c0``, ``c1``, ... that are.

    One of them has to be held, because their scale is no parameter of a density.
    """


class Chebyshev(_Linear):
    """1 + c1 T_1 + c2 T_2 + ... of Chebyshev's polynomials from -1 to 1 over `obs`; it may become negative."""

    def family(self) -> LinearFamily:
        """See `_Linear.family`."""
        matrix = np.array(chebyshev_in_bernstein(len(self.params)))
        return self._family("bernstein", matrix[:, 1:], matrix[:, 0])


class Laurent(_Linear):
    """sum_j c_j m^p_j, p = -4, -5, -3, -6, ..., each term normalised; coefficients as those of `Bernstein`."""

    def __init__(self, obs: zfit.Space, **options: Any) -> None:
        super().__init__(obs, **options)
        _require_positive(self._lower, "a Laurent series")

    def family(self) -> LinearFamily:
        """See `_Linear.family`."""
        n = len(self.params)
        return self._family("laurent", np.eye(n), np.zeros(n))


for _kind in (ExpPolynomial, PowerLaw, Bernstein, Chebyshev, Laurent):  # zfit keeps them by class
    _kind.register_analytic_integral(
        func=_integral, limits=zfit.Space(axes=0, limits=(zfit.Space.ANY_LOWER, zfit.Space.ANY_UPPER))
    )


def _require_positive(lower: float, what: str) -> None:
    if not lower > 0.0:
        raise InputError.from_parts(
            expected=f"a range of positive masses for {what}", got=f"one from {lower:g}", do="choose another shape"
        )


def linear_family(pdf: zfit.pdf.BasePDF) -> LinearFamily | None:
    """Describe `pdf` as linear in its coefficients on its own range, or return None if it is not known to be."""
    if isinstance(pdf, Masking):
        whole = linear_family(pdf.shape) if pdf.norm == pdf.shape.norm else None
        return None if whole is None else replace(whole, windows=pdf.windows)
    if not isinstance(pdf, _Linear):
        return None
    family = pdf.family()
    try:
        same = finite_limits(pdf.norm) == (family.lower, family.upper)
    except InputError:
        return None
    independent = all(p.independent for p in family.parameters)
    return family if same and independent and len(set(family.parameters)) == len(family.parameters) else None


def falling_shape(
    name: str,
    data: Dataset,
    mass: zfit.Space,
    *,
    region: SignalRegion | None = None,
    windows: Sequence[SignalRegion] = (),
    suffix: str = "",
) -> zfit.pdf.BasePDF:
    """A falling mass shape by name, with floating parameters that start where the data beside the signal region are.

    Args:
        name: ``"exp-quadratic"``, ``"exponential"``, ``"power-law"``, or with a degree ``"exp-polynomial:3"``,
            ``"bernstein:4"``, ``"chebyshev:3"`` and ``"laurent:2"``.
        data: Events with the mass; their weights are used.
        mass: Space of the mass, with finite limits.
        region: Masses that are not looked at.
        windows: Masses at which the shape is zero, and events are not looked at either; see `MaskedShape`.
        suffix: Put behind the parameters' names, to tell the shapes of several categories apart.

    Raises:
        InputError: There is no such shape, or it is none of this range.

    Example:
        >>> shape = hz.falling_shape("bernstein:2", hz.examples.events(), hz.examples.mass())
        >>> [p.name for p in shape.get_params()]  # one coefficient is held, the scale is no parameter
        ['bernstein2_c1', 'bernstein2_c2']
        >>> low, high = shape.pdf([100.0, 160.0]).numpy()
        >>> float(low / high)  # drawn with 7.4
        6.8
    """
    closed = windows if region is None else (region, *windows)
    return masked(_whole_shape(name, data, mass, closed, suffix), windows)


def _whole_shape(
    name: str, data: Dataset, mass: zfit.Space, closed: Sequence[SignalRegion], suffix: str
) -> zfit.pdf.BasePDF:
    parsed = FallingName.parse(name)
    names = tuple(f"{own}{suffix}" for own in parsed.parameters)
    lower, upper = finite_limits(mass)
    if parsed.kind == "exp-quadratic":
        p1, p2 = (zfit.Parameter(own, start, stepsize=0.1) for own, start in zip(names, (1.0, 0.0), strict=True))
        return ExpQuadratic(mass, p1, p2, name="falling")
    if parsed.kind in {"power-law", "laurent"}:
        _require_positive(lower, parsed.kind)
    histogram = _sidebands(data, str(mass.obs[0]), beside(lower, upper, closed))
    if parsed.kind == "exponential":
        (start,) = _exponent_start(histogram, 1, 0.0, 1.0)
        lam = zfit.Parameter(names[0], start, stepsize=0.1 / (upper - lower))
        return zfit.pdf.Exponential(lam, obs=mass, name="falling")
    if parsed.kind == "power-law":
        edges, counts = histogram
        (start,) = _exponent_start((np.log(edges), counts), 1, 0.0, 1.0, measure=edges)
        return PowerLaw(mass, a=zfit.Parameter(names[0], -start, stepsize=0.1), name="falling")
    if parsed.kind == "exp-polynomial":
        starts = _exponent_start(histogram, len(names), lower, upper - lower)
        made = {
            f"c{k + 1}": zfit.Parameter(own, start, stepsize=0.1)
            for k, (own, start) in enumerate(zip(names, starts, strict=True))
        }
        return ExpPolynomial(mass, **made, name="falling")
    return _linear_shape(parsed, names, mass, histogram)


Histogram = tuple["Array", "Array"]  # edges of the bins, shape (2, bins), and contents


def _sidebands(data: Dataset, name: str, outside: Sequence[tuple[float, float]]) -> Histogram:
    """Events in bins of the parts of a range that are looked at."""
    m = data[name]
    lower, upper = outside[0][0], outside[-1][1]
    edges, counts = [], []
    for low, high in outside:
        n = max(round(_BINS * (high - low) / (upper - lower)), 2)
        found, at = np.histogram(m, bins=n, range=(low, high), weights=data.weights)
        edges.append(np.stack([at[:-1], at[1:]]))
        counts.append(found.astype(np.float64))
    return np.concatenate(edges, axis=1), np.concatenate(counts)


def _exponent_start(
    histogram: Histogram, degree: int, origin: float, width: float, *, measure: Array | None = None
) -> list[float]:
    """Coefficients of a polynomial in t through the logarithms of the contents, by least squares, without the constant.

    Args:
        histogram: Edges in what t is linear in, and contents.
        degree: Of the polynomial.
        origin: Where t is zero.
        width: By which t grows by one.
        measure: Edges in mass, if the others are none.
    """
    edges, counts = histogram
    t = (edges.mean(axis=0) - origin) / width
    sizes = np.diff(edges if measure is None else measure, axis=0)[0]
    weights = np.sqrt(np.maximum(counts, 0.25))
    rows = np.vander(t, degree + 1, increasing=True)
    logs = np.log(np.maximum(counts, 0.5) / sizes)
    found = np.linalg.lstsq(rows * weights[:, None], logs * weights, rcond=None)[0]
    return [float(each) for each in found[1:]]


_LINEAR: dict[str, type[_Linear]] = {"bernstein": Bernstein, "chebyshev": Chebyshev, "laurent": Laurent}


def _linear_shape(
    parsed: FallingName, names: tuple[str, ...], mass: zfit.Space, histogram: Histogram
) -> zfit.pdf.BasePDF:
    kind, first = _LINEAR[parsed.kind], 1 if parsed.kind == "chebyshev" else 0
    parameters = {f"c{first + k}": zfit.Parameter(own, 0.5, stepsize=0.1) for k, own in enumerate(names)}
    pdf = kind(mass, **parameters, name="falling")
    family = pdf.family()
    edges, counts = histogram
    shares = np.stack([family.shares(low, high) for low, high in edges.T.tolist()])
    matrix, weights = np.array(family.matrix), 1.0 / np.sqrt(np.maximum(counts, 1.0))
    if parsed.kind == "chebyshev":
        whole = np.column_stack([family.constant, matrix])
        found = np.linalg.lstsq(shares @ whole * weights[:, None], counts * weights, rcond=None)[0]
        starts = found[1:] / found[0]
        while family.lowest(starts)[0] < 0.02:  # a start has to be a density
            starts = 0.9 * starts
    else:
        found = nnls(shares @ matrix * weights[:, None], counts * weights)[0]
        starts = np.maximum(found / (found.max() or 1.0), _LEAST)
        for parameter in parameters.values():
            parameter.lower = 0.0
        starts[int(np.argmax(found))] = 1.0
        parameters[f"c{int(np.argmax(found))}"].floating = False
    for parameter, start in zip(parameters.values(), starts.tolist(), strict=True):
        parameter.set_value(start)
    return pdf
