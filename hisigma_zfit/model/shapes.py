"""One-dimensional mass shapes and how they are fitted to simulation.

`ExpQuadratic` is the falling background of the paper (arXiv:2506.06438, eq. 4.3); every other zfit PDF of one
observable works as well.  Shapes of the exponential family, f(m) = exp(theta . T(m) - A(theta)), are described to the
fast likelihood by `exponential_family`: their derivatives follow from the moments of T and cost one exponential.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.data.region import in_any
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.model.crystal_ball import PARAMETERS, fit_double_crystal_ball, log_double_crystal_ball
from hisigma_zfit.model.families import ExponentialFamily, quadrature
from hisigma_zfit.zfit_internals import require_one_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset, SignalRegion

__all__ = [
    "ExpQuadratic",
    "ExponentialFamily",
    "KnownExponent",
    "Masking",
    "exponential_family",
    "fit_shape",
    "fit_to_simulation",
    "parameter_names",
    "sample_mass",
    "starts",
]

_LARGEST = 300.0  # exponent up to which the density is as it is written
_PARTS = 24  # of the range in an integral: enough for slopes of some thousands
_TABLE = 20_001  # points of the tabulated mass density: 4.5 MeV apart on 90 GeV


class ExpQuadratic(zfit.pdf.BasePDF):
    r"""Falling mass spectrum :math:`\exp(-p_1 t + p_2 t^2)`, t = (m - lower) / (upper - lower).

    `lower` and `upper` are those of `obs`, whatever range is integrated later, so the parameters keep their meaning in
    a sub-range.  Source: arXiv:2506.06438, eq. 4.3.

    Args:
        obs: Space of the mass, with finite limits.
        p1: Slope, dimensionless.
        p2: Curvature, dimensionless.
        extended: Yield, if the PDF is to be extended.
        norm: Normalisation range; `obs` by default.
        name: Name of the PDF.
        label: Human-readable name.

    Raises:
        InputError: `obs` is not one-dimensional with finite limits.

    Example:
        >>> spectrum = hz.ExpQuadratic(hz.examples.mass(), p1=2.0, p2=0.0)
        >>> low, high = spectrum.pdf([100.0, 160.0]).numpy()
        >>> float(low / high)  # exp(p1 - p2)
        7.389
    """

    _N_OBS = 1

    def __init__(
        self,
        obs: zfit.Space,
        p1: Any,
        p2: Any,
        *,
        extended: Any = None,
        norm: Any = None,
        name: str = "ExpQuadratic",
        label: str | None = None,
    ) -> None:
        self._lower, self._upper = finite_limits(zfit.Space(obs) if isinstance(obs, str) else obs)
        super().__init__(obs=obs, params={"p1": p1, "p2": p2}, extended=extended, norm=norm, name=name, label=label)

    @property
    def unit_interval(self) -> tuple[float, float]:
        """Masses at which t is 0 and 1."""
        return self._lower, self._upper

    def scaled(self, m: Any) -> Any:
        """Mass on the unit interval, same shape as `m`."""
        return (m - self._lower) / (self._upper - self._lower)

    @zfit.supports(norm=False)
    def _pdf(self, x: Any, norm: Any, params: Mapping[str, Any]) -> Any:
        del norm
        return znp.exp(_exponent(self.scaled(x[0]), params))


def _exponent(t: Any, params: Mapping[str, Any]) -> Any:
    """-p1 t + p2 t^2 on [0, 1], less what of it would overflow: all of the density by one factor."""
    p1, p2 = params["p1"], params["p2"]
    bent = tf.where(p2 < 0.0, p2, -1.0)
    top = tf.clip_by_value(0.5 * p1 / bent, 0.0, 1.0)  # of a parabola that opens downwards
    inside = tf.where(p2 < 0.0, (p2 * top - p1) * top, 0.0)
    largest = znp.maximum(znp.maximum(inside, p2 - p1), 0.0)
    return (p2 * t - p1) * t - znp.maximum(largest - _LARGEST, 0.0)


def _integrate_exp_quadratic(limits: Any, params: Mapping[str, Any], model: ExpQuadratic) -> Any:
    nodes, weights = quadrature(limits.v1.lower, limits.v1.upper, parts=_PARTS)
    return znp.sum(weights * znp.exp(_exponent(model.scaled(nodes), params)))


ExpQuadratic.register_analytic_integral(
    func=_integrate_exp_quadratic, limits=zfit.Space(axes=0, limits=(zfit.Space.ANY_LOWER, zfit.Space.ANY_UPPER))
)


@runtime_checkable
class KnownExponent(Protocol):
    """A shape that says itself which member of the exponential family it is."""

    def exponent(self) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, float], bool]:
        """Names of the parameters, signs of the powers of t, where t is 0 and 1, and whether of log m instead of m."""


@runtime_checkable
class Masking(Protocol):
    """A shape that is another one without some windows, see `hisigma_zfit.model.masked`."""

    shape: Any
    windows: tuple[SignalRegion, ...]

    @property
    def norm(self) -> Any:
        """Range on which it is normalised."""


def exponential_family(pdf: zfit.pdf.BasePDF) -> ExponentialFamily | None:
    """Describe `pdf` as a member of the exponential family, or return None if it is not known to be one."""
    if isinstance(pdf, Masking):
        whole = exponential_family(pdf.shape) if pdf.norm == pdf.shape.norm else None
        return None if whole is None else replace(whole, windows=pdf.windows)
    names: tuple[str, ...]
    signs: tuple[float, ...]
    logarithmic = False
    if isinstance(pdf, KnownExponent):
        names, signs, (origin, end), logarithmic = pdf.exponent()
    elif type(pdf) is ExpQuadratic:
        names, signs = ("p1", "p2"), (-1.0, 1.0)
        origin, end = pdf.unit_interval
    elif type(pdf) is zfit.pdf.Exponential:
        names, signs = ("lam",), (1.0,)
        origin, end = 0.0, 1.0
    else:
        return None
    try:
        lower, upper = finite_limits(pdf.norm)
    except InputError:
        return None  # several ranges or none: the generic path integrates them
    parameters = tuple(pdf.params[name] for name in names)
    if not all(p.independent for p in parameters) or len(set(parameters)) < len(parameters):
        return None
    return ExponentialFamily(signs, origin, end - origin, lower, upper, parameters, logarithmic)


def finite_limits(space: zfit.Space) -> tuple[float, float]:
    """Lower and upper limit of a one-dimensional space.

    Raises:
        InputError: More than one observable, several ranges, or limits that are missing or infinite.
    """
    require_one_range(space)
    limits: tuple[float, ...] = ()
    if space is not False and space.n_obs == 1 and space.limits_are_set:
        limits = (*np.ravel(space.v1.lower), *np.ravel(space.v1.upper))
    if len(limits) != 2 or not np.all(np.isfinite(limits)):
        raise InputError.from_parts(
            expected="one observable with one finite range, such as zfit.Space('m_gg', 90, 180)",
            got=str(space),
            do="give the mass space its limits",
        )
    return float(limits[0]), float(limits[1])


def _crystal_ball_start(m: Array, weights: Array, lower: float, upper: float) -> dict[str, tuple[float, float, float]]:
    """Value and limits of each parameter of zfit's Crystal Ball shapes, from quantiles of the sample."""
    order = np.argsort(m)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    low, middle, high = (float(q) for q in np.interp([0.16, 0.5, 0.84], cumulative, m[order]))
    sigma = max(0.5 * (high - low), 1e-6 * (upper - lower))
    width = (0.7 * sigma, 0.02 * sigma, 10.0 * sigma)
    tail, power = (1.3, 0.1, 6.0), (4.0, 1.01, 100.0)
    start = {"mu": (middle, lower, upper)}
    start |= dict.fromkeys(("sigma", "sigmal", "sigmar"), width)
    start |= dict.fromkeys(("alphal", "alphar", "alpha"), tail)
    return start | dict.fromkeys(("nl", "nr", "n"), power)


def fit_shape(
    shape: type[zfit.pdf.BasePDF],
    data: Dataset,
    mass: zfit.Space,
    *,
    start: Mapping[str, tuple[float, float, float]] | None = None,
    prefix: str = "",
    freeze: bool = True,
    minimizer: Any = None,
) -> zfit.pdf.BasePDF:
    """Fit a mass shape to simulation and freeze it (paper, section 4.3).

    Args:
        shape: A zfit PDF class of one observable, for example ``zfit.pdf.DoubleCB``.
        data: Simulated events; their weights are used.
        mass: Space of the mass; events outside its limits are left out.
        start: Start value and limits (value, lower, upper) by parameter name.  Crystal Ball shapes and `ExpQuadratic`
            find their own.
        prefix: Put before the parameters' names, to tell two shapes of one model apart.
        freeze: Hold the parameters at the fitted values, as signal shapes are in the fit to data.
        minimizer: A zfit minimiser; Minuit by default, for ``DoubleCB`` with a likelihood in numpy.

    Returns:
        The fitted PDF in the observable of `mass`.

    Raises:
        InputError: No events in the range, or a parameter without a start value.
        FitError: The fit did not converge.

    Example:
        >>> start = {"mu": (125.0, 120.0, 130.0), "sigma": (2.0, 0.5, 5.0)}
        >>> peak = hz.fit_shape(zfit.pdf.Gauss, hz.examples.simulation(), hz.examples.mass(), start=start)
        >>> [float(p.value()) for p in peak.params.values()]  # drawn with 125 and 2
        [125.0, 1.93]
        >>> peak.params["mu"].floating
        False
    """
    known = starts(data, mass) | {"p1": (1.0, -50.0, 50.0), "p2": (0.0, -50.0, 50.0)} | dict(start or {})
    names = parameter_names(shape)
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError.from_parts(
            expected=f"a start value for each parameter of {shape.__name__}",
            got=f"none for {', '.join(missing)}",
            do=f"pass start={{{missing[0]!r}: (value, lower, upper)}}",
        )
    parameters = {name: zfit.Parameter(f"{prefix}{name}", *known[name]) for name in names}
    pdf = shape(obs=mass, **parameters)
    if shape is zfit.pdf.DoubleCB and minimizer is None:
        m, weights = _simulated(data, mass)
        values, converged = fit_double_crystal_ball(m, weights, finite_limits(mass), known)
        for name, parameter in parameters.items():
            parameter.set_value(values[name])
        if not converged:
            raise not_converged(shape.__name__, m.size)
    else:
        fit_to_simulation(pdf, data, mass, minimizer=minimizer)
    if freeze:
        for parameter in parameters.values():
            parameter.floating = False
    return pdf


def not_converged(shape: str, events: int) -> FitError:
    """What is said of a fit to simulation that did not converge."""
    return FitError(f"the fit of {shape} to {events} simulated events did not converge; pass start values")


def fit_to_simulation(pdf: zfit.pdf.BasePDF, data: Dataset, mass: zfit.Space, *, minimizer: Any = None) -> None:
    """Fit any shape to simulation by zfit's own likelihood, and leave its parameters at the minimum.

    Raises:
        FitError: The fit did not converge.
    """
    m, weights = _simulated(data, mass)
    relative = None if data.weights is None else weights / weights.mean()
    sample = zfit.Data.from_numpy(obs=mass, array=m[:, None], weights=relative)
    loss = zfit.loss.UnbinnedNLL(pdf, sample)
    result = (minimizer or zfit.minimize.Minuit(gradient="zfit")).minimize(loss)
    if not (result.converged and np.isfinite(result.fminopt)):
        raise not_converged(type(pdf).__name__, m.size)


def _simulated(data: Dataset, mass: zfit.Space) -> tuple[Array, Array]:
    """Masses within the limits and their weights."""
    lower, upper = finite_limits(mass)
    m = data[mass.obs[0]]
    weights = np.ones(len(m)) if data.weights is None else data.weights
    kept = (m >= lower) & (m <= upper)
    m, weights = m[kept], weights[kept]
    if not weights.sum() > 0.0:
        raise InputError.from_parts(
            expected=f"simulated events with {mass.obs[0]} in [{lower:g}, {upper:g}]",
            got="none",
            do="check the range and the unit of the mass",
        )
    return m, weights


def starts(data: Dataset, mass: zfit.Space) -> dict[str, tuple[float, float, float]]:
    """Value and limits of the parameters of peaks by the names that zfit gives them, from simulation.

    Raises:
        InputError: No events in the range.
    """
    return _crystal_ball_start(*_simulated(data, mass), *finite_limits(mass))


def parameter_names(shape: type[zfit.pdf.BasePDF]) -> list[str]:
    """Names of the shape's own parameters: the required arguments of its constructor but the observable."""
    import inspect

    signature = inspect.signature(shape.__init__)
    return [
        name
        for name, argument in signature.parameters.items()
        if name not in {"self", "obs"} and argument.default is inspect.Parameter.empty
    ]


def evaluate(pdf: zfit.pdf.BasePDF, m: Array) -> Array:
    """Normalised density of a one-dimensional PDF at masses of shape (n,), without cutting on its limits."""
    # zfit takes its norm operation by operation; a power of one has another integral
    if type(pdf) is zfit.pdf.DoubleCB and (pdf.norm is pdf.space or pdf.norm == pdf.space):
        values = tuple(float(pdf.params[name].value()) for name in PARAMETERS)
        lower, upper = (float(np.squeeze(edge)) for edge in (pdf.space.v1.lower, pdf.space.v1.upper))
        if np.isfinite(upper - lower) and 1.0 not in values[3::2]:
            return np.exp(log_double_crystal_ball(m, values, (lower, upper)))
    sample = zfit.Data.from_tensor(obs=pdf.obs, tensor=tf.convert_to_tensor(m[:, None], tf.float64))
    return np.asarray(pdf.pdf(sample))


def sample_mass(pdf: Any, n: int, rng: np.random.Generator, *, stratified: bool = False) -> Array:
    """Draw masses from a one-dimensional PDF by its tabulated distribution function.

    Args:
        pdf: The mass shape, with finite limits.
        n: Number of masses.
        rng: Source of randomness.
        stratified: One mass in each n-th of the distribution, in random order: histograms and integrals over them are
            far less noisy.  Such masses are not independent, so they never stand for data.

    Returns:
        Shape (n,).
    """
    grid, widths = np.linspace(*finite_limits(pdf.space), _TABLE), np.ones(_TABLE - 1)
    if isinstance(pdf, Masking):
        grid, widths = _beside(pdf, grid)
    density = np.maximum(evaluate(pdf, grid), 0.0)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * widths)])
    quantiles = rng.random(n)
    if stratified:
        quantiles = rng.permutation((np.arange(n) + quantiles) / n)
    return np.interp(quantiles, cumulative / cumulative[-1], grid)


def _beside(pdf: Masking, grid: Array) -> tuple[Array, Array]:
    """A grid with the edges of the windows, and the widths of its intervals, those in windows without any."""
    edges = np.array([edge for own in pdf.windows for edge in (np.nextafter(own.lower, -np.inf), own.upper)])
    grid = np.union1d(grid, edges)
    return grid, np.where(in_any(0.5 * (grid[1:] + grid[:-1]), pdf.windows), 0.0, np.diff(grid))
