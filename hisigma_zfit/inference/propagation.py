"""The fitted model in bins, with what the covariance of the fit says of each: bands, yields by region, chi2.

The events of a `ModelSample` are drawn once, at the best fit.  At other parameters each counts f(m) w(x') at these over
the same at the best fit, and its component has another yield; derivatives are differences over a small part of an
error.  What nuisances do to the features is evaluated for every few events only, as a factor of each bin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.model import shapes
from hisigma_zfit.results import Estimate, RegionYields
from hisigma_zfit.statistics.binned_chi2 import binned_chi2
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.model.projections import ModelSample
    from hisigma_zfit.results import Projection

__all__ = ["BinnedModel"]

_STEP = 0.05  # of a parameter's error
_VARIED = 10_000  # events of a component for which the variations of the features are evaluated


@dataclass(frozen=True)
class _Part:
    """Events of one component at the wanted parameters, and the derivatives of their weights.

    Attributes:
        unit: What one event stands for, by the yield.
        size: The yield.
        weight: Of each event relative to where it was drawn, shape (n,).
        rows: Events for which the variations were evaluated.
        varied: Their weights by the variations, of the shape of `rows`; None without variations.
        size_slopes: Of the yield by the parameters, shape (P,).
        weight_slopes: Of `weight`, by the index of the parameter.
        varied_slopes: Of `varied`, likewise.
    """

    unit: float
    size: float
    weight: Array
    rows: slice
    varied: Array | None
    size_slopes: Array
    weight_slopes: dict[int, Array]
    varied_slopes: dict[int, Array]

    def contents(self, bins: Integers, number: int) -> tuple[Array, Array]:
        """Expected events of bins, shape (B,), and their derivatives, shape (P, B).

        Args:
            bins: Bin of each event, -1 for none, shape (n,).
            number: How many bins there are, B.
        """

        def filled(weights: Array | None, at: slice) -> Array:
            inside = bins[at] >= 0
            own = None if weights is None else weights[inside]
            return np.bincount(bins[at][inside], own, number).astype(np.float64)

        def factor(weights: Array, empty: float) -> Array:
            # of each bin: the mean over its events that were evaluated
            sums, counts = filled(weights, self.rows), filled(None, self.rows)
            return np.divide(sums, counts, out=np.full(number, empty), where=counts > 0)

        every = slice(None)
        plain = self.unit * filled(self.weight, every)
        changed = np.ones(number) if self.varied is None else factor(self.varied, 1.0)
        slopes = np.outer(self.size_slopes, plain * changed)
        for k, slope in self.weight_slopes.items():
            slopes[k] += self.size * self.unit * filled(slope, every) * changed
        for k, slope in self.varied_slopes.items():
            slopes[k] += self.size * plain * factor(slope, 0.0)
        return self.size * plain * changed, slopes


class BinnedModel:
    """A model at some parameters, with their covariance, as histograms.

    Args:
        model: The model.
        sample: Events of its components.
        parameters: Of the likelihood, P of them.
        drawn: Their values where the events were drawn, shape (P,).
        theta: Where the model is wanted, shape (P,).
        covariance: Of the parameters there, shape (P, P); zero for those that are held.
        fitted: Whether the data of the sample decided `theta`.

    Attributes:
        names: Names of the components.
    """

    def __init__(
        self,
        model: Any,
        sample: ModelSample,
        parameters: Sequence[Any],
        drawn: Array,
        theta: Array,
        covariance: Array,
        *,
        fitted: bool = True,
    ) -> None:
        self.sample, self.fitted = sample, fitted
        self._spread = np.nan_to_num(covariance)
        errors = np.sqrt(np.maximum(np.diag(self._spread), 0.0))
        parts = {pdf.name: pdf for pdf in model.pdfs if pdf.name in sample.columns}
        self._parts = {
            name: _part(parts[name], sample, name, list(parameters), drawn, theta, errors) for name in sample.columns
        }
        self.names = tuple(self._parts)

    def error(self, slopes: Array) -> Array:
        """Root of the variance of numbers with derivatives of shape (P, B), shape (B,)."""
        return np.sqrt(np.maximum(np.einsum("pb,pq,qb->b", slopes, self._spread, slopes), 0.0))

    def project(self, observable: str, *, model: str = "Post-fit", **options: Any) -> Projection:
        """Histogram of one observable with the error of the model and its chi2.

        Args:
            observable: The mass or a feature.
            model: What the model is, for the legend.
            **options: As for `ModelSample.project`.
        """
        shown = self.sample.project(observable, **options)
        masks = self.sample.selection(options.get("region"), options.get("signal_efficiency"))
        number = len(shown.edges) - 1
        components, variances, total = {}, {}, np.zeros((len(self._spread), number))
        for name, part in self._parts.items():
            bins = _bins(self.sample.columns[name][observable], shown.edges)
            bins[~masks[name]] = -1
            components[name], slopes = part.contents(bins, number)
            total += slopes
            drawn = shown.component_variance[name], shown.components[name]
            scale = np.divide(components[name], drawn[1], out=np.ones(number), where=drawn[1] != 0)
            variances[name] = drawn[0] * scale**2
        # finite samples of the model fluctuate too, of which no fit knows, but not in the mass: it is stratified
        noise = np.sum(list(variances.values()), axis=0)
        if observable == self.sample.mass and options.get("signal_efficiency") is None:
            noise = np.zeros(number)
        covariance = total.T @ self._spread @ total
        chi2 = None
        if self.sample.weights is None:
            mean = np.sum(list(components.values()), axis=0)
            chi2 = binned_chi2(shown.data, mean, covariance, fitted=self.fitted, noise=noise)
        return replace(
            shown,
            components=components,
            component_variance=variances,
            model_error=np.sqrt(np.maximum(np.diag(covariance), 0.0)),
            model=model,
            model_outside=shown.model_outside if self.fitted else None,
            chi2=chi2,
        )

    def yields(self, region: SignalRegion, category: str = "") -> tuple[RegionYields, ...]:
        """Events of data and of each component in the signal region, in the sidebands and in all.

        Args:
            region: The signal region.
            category: Name of the category.
        """
        mass = self.sample.mass
        inside = {name: region.contains(columns[mass]) for name, columns in self.sample.columns.items()}
        observed = region.contains(self.sample.data[mass])
        weights = np.ones(observed.size) if self.sample.weights is None else self.sample.weights
        found = {name: part.contents(inside[name].astype(np.intp), 2) for name, part in self._parts.items()}
        rows = []
        for words, chosen, data in (
            ("signal region", np.array([0.0, 1.0]), weights[observed]),
            ("sidebands", np.array([1.0, 0.0]), weights[~observed]),
            ("all", np.ones(2), weights),
        ):
            each = {name: (float(chosen @ values), slopes @ chosen) for name, (values, slopes) in found.items()}
            slopes = np.sum([slope for _, slope in each.values()], axis=0)
            rows.append(
                RegionYields(
                    region=words,
                    category=category,
                    observed=float(data.sum()),
                    components={name: Estimate(value, self._error_of(slope)) for name, (value, slope) in each.items()},
                    total=Estimate(sum(value for value, _ in each.values()), self._error_of(slopes)),
                )
            )
        return tuple(rows)

    def _error_of(self, slope: Array) -> float:
        return float(self.error(slope[:, None])[0])


def _bins(values: Array, edges: Array) -> Integers:
    """Bin of each value, -1 outside; the last edge belongs to its bin, as in numpy's histograms."""
    bins = np.searchsorted(edges, values, side="right") - 1
    bins[values == edges[-1]] = len(edges) - 2
    bins[bins > len(edges) - 2] = -1
    return bins


def _part(
    pdf: Any, sample: ModelSample, name: str, parameters: list[Any], drawn: Array, theta: Array, errors: Array
) -> _Part:
    """The events of one component at `theta`."""
    masses, names = sample.columns[name][sample.mass], [str(p.name) for p in parameters]
    shape = {str(p.name) for p in pdf.mass.get_params(floating=None, is_yield=False, extract_independent=True)}
    varying = {str(v.nuisance.name) for v in pdf.variations}
    floats, moved = bool(shape & set(names)), np.flatnonzero(errors > 0.0).tolist()
    rows = slice(None, None, max(1, masses.size // _VARIED))

    def number() -> float:
        return float(np.squeeze(pdf.get_yield().value()))

    def density() -> Array:
        return shapes.evaluate(pdf.mass, masses) if floats else np.ones(masses.size)

    size_slopes, weight_slopes, varied_slopes = np.zeros(len(names)), {}, {}
    with parameters_restored(parameters):
        zfit.param.assign_values(parameters, drawn)
        weigh = _variation_weights(pdf, sample, name, rows) if varying else None
        before, base = number(), density()
        varied_before = None if weigh is None else weigh()

        def varied() -> Array:
            assert weigh is not None
            assert varied_before is not None
            return weigh() / varied_before

        zfit.param.assign_values(parameters, theta)
        size, weight = number(), density() / base
        changed = None if weigh is None else varied()
        for k in moved:
            step = _STEP * errors[k]

            def slope(function: Callable[[], Any], k: int = k, step: float = step) -> Any:
                ends = []
                for sign in (1.0, -1.0):
                    zfit.param.assign_values([parameters[k]], [theta[k] + sign * step])
                    ends.append(function())
                zfit.param.assign_values([parameters[k]], [theta[k]])
                return (ends[0] - ends[1]) / (2.0 * step)

            size_slopes[k] = slope(number)
            if names[k] in shape:
                weight_slopes[k] = slope(lambda: density() / base)
            if names[k] in varying:
                varied_slopes[k] = slope(varied)
    # where only a part of the mass was kept, its share stays with the events
    share = sample.yields[name] / before if before != 0.0 else 1.0
    return _Part(share / masses.size, size, weight, rows, changed, size_slopes, weight_slopes, varied_slopes)


def _variation_weights(pdf: Any, sample: ModelSample, name: str, rows: slice) -> Any:
    """A function: weights of some events of a component at the nuisances' present values."""
    columns = sample.columns[name]
    x = np.stack([columns[feature][rows] for feature in pdf.flow.features], axis=1)
    m = columns[sample.mass][rows]
    known = pdf.morph.columns(x, m, pdf.flow.log_prob_array(x, m))

    def weights() -> Array:
        nu = np.array([float(v.nuisance.value()) for v in pdf.variations])
        return np.asarray(pdf.morph.weights(known, nu).value(slice(None)))

    return weights
