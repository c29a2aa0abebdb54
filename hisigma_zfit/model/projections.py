"""Fitted model against data in one observable: templates from flow samples, scaled to the fit (paper section 4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.model import shapes
from hisigma_zfit.model.masked import windows_of
from hisigma_zfit.results import Projection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["ModelSample", "draw_model", "project", "round_edges", "sample_model", "whole_edges"]

_MOST_NUMBERS = 40


@dataclass(frozen=True)
class ModelSample:
    """Events drawn from every component of a fitted model, and the data that were fitted.

    Attributes:
        columns: Events of each component by name, each a mapping from observable to an array of shape (n,).
        yields: Fitted yield of each component.
        signal: Names of the components that count as signal.
        densities: p_s(x'|m) and p_b(x'|m) of the score, see `sample_model`.
        data: Data columns by observable.
        weights: Data weights, or None.
        mass: Name of the mass.
        mass_range: Where the model lives; None for that of the data.
        masked: Masked windows of the mass, of which there is nothing.
        region: The signal region, None where there is none.
    """

    columns: dict[str, dict[str, Array]]
    yields: dict[str, float]
    signal: tuple[str, ...]
    densities: tuple[ConditionalFlow, ConditionalFlow]
    data: dict[str, Array]
    weights: Array | None
    mass: str
    mass_range: tuple[float, float] | None = None
    masked: tuple[SignalRegion, ...] = ()
    region: SignalRegion | None = None

    @property
    def score(self) -> dict[str, Array]:
        """Log density ratio p_s(x'|m) / p_b(x'|m) of each component's events and of "data"; made when first needed."""
        return self._score_in(None)

    @cached_property
    def _scores(self) -> dict[SignalRegion | None, dict[str, Array]]:
        return {}

    def _score_in(self, region: SignalRegion | None) -> dict[str, Array]:
        """The same with -inf outside of a region of masses, where densities need not be evaluated."""
        if region not in self._scores:
            self._scores[region] = {
                name: _score(*self.densities, sample, self.mass, region)
                for name, sample in {"data": self.data, **self.columns}.items()
            }
        return self._scores[region]

    def project(
        self,
        observable: str,
        *,
        bins: int | npt.ArrayLike = 40,
        region: SignalRegion | None = None,
        signal_efficiency: float | None = None,
    ) -> Projection:
        """Histogram of one observable.

        Args:
            observable: The mass or a feature.
            bins: Number of bins, or edges.  The mass is shown from one end of its range or of `region` to the other,
                a feature between the 0.1 % and 99.9 % quantiles of the data.
            region: Show events of this mass region only.
            signal_efficiency: Cut on the likelihood ratio of the features that keeps this fraction of the signal.

        Raises:
            InputError: The model has no such observable, or nothing is left of the data.
        """
        if observable not in self.data:
            raise InputError.from_parts(
                expected=f"one of {', '.join(self.data)}", got=repr(observable), do="correct the name"
            )
        masks = self.selection(region, signal_efficiency)
        values = self.data[observable][masks["data"]]
        if not values.size:
            raise InputError.from_parts(expected="data in the selection", got="none", do="loosen it")
        weights = np.ones(values.size) if self.weights is None else self.weights[masks["data"]]
        edges = self._edges(observable, values, bins, region)
        components, variances, beyond = {}, {}, np.zeros(2)
        for name, columns in self.columns.items():
            drawn = columns[observable][masks[name]]
            counts = np.histogram(drawn, edges)[0].astype(np.float64)
            scale = self.yields[name] / masks[name].size
            components[name], variances[name] = scale * counts, scale**2 * counts
            beyond += scale * np.array([np.sum(drawn < edges[0]), np.sum(drawn > edges[-1])])
        words = [
            "" if region is None else "signal region",
            ""
            if signal_efficiency is None
            else f"likelihood ratio cut at {100 * signal_efficiency:.0f} % of the signal",
            *(f"without {observable} = {value:g}" for value in self._far(observable, values) if np.ndim(bins) == 0),
        ]
        return Projection(
            observable=observable,
            edges=edges,
            data=np.histogram(values, edges, weights=weights)[0],
            data_variance=np.histogram(values, edges, weights=weights**2)[0],
            components=components,
            component_variance=variances,
            signal=self.signal,
            selection=", ".join(w for w in words if w),
            outside=(float(weights[values < edges[0]].sum()), float(weights[values > edges[-1]].sum())),
            model_outside=(float(beyond[0]), float(beyond[1])),
            **(self._marked() if observable == self.mass and region is None else {}),
        )

    def _marked(self) -> dict[str, Any]:
        """Windows that a figure of the mass shows; the signal region beside others only."""
        if not self.masked:
            return {}
        own = None if self.region is None else (self.region.lower, self.region.upper)
        return {"masked": tuple((window.lower, window.upper) for window in self.masked), "region": own}

    def selection(self, region: SignalRegion | None, efficiency: float | None) -> dict[str, Mask]:
        """Which events of each component and of "data" a projection shows; see `project`."""
        everything: Mapping[str, Mapping[str, Array]] = {"data": self.data, **self.columns}
        masks = {
            name: np.ones(len(columns[self.mass]), dtype=bool)
            if region is None
            else region.contains(columns[self.mass])
            for name, columns in everything.items()
        }
        if efficiency is not None:
            reference = self.signal[0]
            score = self._score_in(region)
            threshold = np.quantile(score[reference][masks[reference]], 1.0 - efficiency)
            masks = {name: mask & (score[name] > threshold) for name, mask in masks.items()}
        return masks

    def _far(self, observable: str, values: Array) -> list[float]:
        """Values of many events, such as -999, that would leave no room on the axis for all others."""
        atoms = self.densities[1].atoms.get(observable, ())
        beside = values[~np.isin(values, atoms)]
        if not atoms or not beside.size:
            return []
        low, high = np.quantile(beside, [0.001, 0.999])
        return [atom for atom in atoms if max(low - atom, atom - high) > high - low]

    def _shown(self, observable: str, values: Array) -> Array:
        return values[~np.isin(values, self._far(observable, values))]

    def _edges(self, observable: str, values: Array, bins: int | npt.ArrayLike, region: SignalRegion | None) -> Array:
        if np.ndim(bins) > 0:
            return np.asarray(bins, dtype=np.float64)
        number = int(np.asarray(bins))
        if observable == self.mass:
            ends = self.mass_range if region is None else (region.lower, region.upper)
            return whole_edges(*(ends or (float(values.min()), float(values.max()))), number)
        counted = np.unique(values)
        if len(counted) < _MOST_NUMBERS and (counted == np.rint(counted)).all():  # a bin for each whole number
            return np.arange(counted[0] - 0.5, counted[-1] + 1.0)
        lower, upper = (float(q) for q in np.quantile(self._shown(observable, values), [0.001, 0.999]))
        return round_edges(lower, upper, number)


_ROUND = (1.0, 2.0, 2.5, 5.0)  # widths of bins, by powers of ten


def whole_edges(lower: float, upper: float, bins: int) -> Array:
    """Edges of equally wide bins from `lower` to `upper` and not beyond.

    Of a round width, if one that gives about `bins` of them divides the range, else as many as `bins`.
    """
    wanted = (upper - lower) / bins
    power = 10.0 ** np.floor(np.log10(wanted))
    widths = sorted((p * step for p in (power, 10.0 * power) for step in _ROUND), key=lambda w: abs(np.log(w / wanted)))
    for width in widths:
        number = (upper - lower) / width
        if 0.6 * bins <= number <= 1.7 * bins and abs(number - round(number)) < 1e-6 * number:
            return np.linspace(lower, upper, round(number) + 1)
    return np.linspace(lower, upper, bins + 1)


def round_edges(lower: float, upper: float, bins: int) -> Array:
    """About `bins` edges whose width is 1, 2, 2.5 or 5 times a power of ten, and which are multiples of it."""
    width = (upper - lower) / bins
    power = 10.0 ** np.floor(np.log10(width))
    width = power * min((*_ROUND, 10.0), key=lambda step: abs(np.log(step * power / width)))
    return width * np.arange(np.floor(lower / width + 1e-9), np.ceil(upper / width - 1e-9) + 1)


def sample_model(
    result: Any, *, n: int = 200_000, seed: int = 0, every_member: bool = False, category: int = 0
) -> ModelSample:
    """Draw events from every component of a fitted model.

    Args:
        result: zfit FitResult of an `ExtendedNLL` of `SignalPlusBackground` models.
        n: Events for each component.
        seed: Same seed, same sample.
        every_member: Take the scores from all members of the densities.  By default they are those of the first member
            of each, which is as good for choosing a region of data and model, and many times quicker.
        category: Which of the models of a simultaneous fit.
    """
    with result:
        return draw_model(
            result.loss.model[category], result.loss.data[category], n=n, seed=seed, every_member=every_member
        )


def draw_model(
    model: SignalPlusBackground,
    data: Any,
    *,
    n: int = 200_000,
    seed: int = 0,
    every_member: bool = False,
    outside: SignalRegion | None = None,
) -> ModelSample:
    """The same for a model as its parameters are now.

    Args:
        model: The model.
        data: zfit Data to be shown beside, in the model's observables.
        n: As for `sample_model`.
        seed: As for `sample_model`.
        every_member: As for `sample_model`.
        outside: Only what the backgrounds have beside this region, with that part of their yields.
    """
    names = list(model.obs)
    columns, yields = {}, {}
    # backgrounds first: the order in which they are stacked
    ordered = sorted(enumerate(model.pdfs), key=lambda term: model.components[term[0]].is_signal)
    for k, pdf in ordered:
        if outside is not None and model.components[k].is_signal:
            continue
        rng = stream(seed, Purpose.PROJECTION, k)
        m = shapes.sample_mass(pdf.mass, n, rng, stratified=True)
        x = pdf.sample_features(m, seed=int(rng.integers(2**31)))
        shown = np.ones(n, dtype=bool) if outside is None else ~outside.contains(m)
        if not shown.any():
            continue
        columns[pdf.name] = {model.mass: m[shown]} | dict(zip(pdf.flow.features, x[shown].T, strict=True))
        yields[pdf.name] = float(np.squeeze(pdf.get_yield().value())) * float(shown.mean())
    values = np.asarray(data.value())
    observed = {name: values[:, names.index(name)] for name in names}
    signal = next(c.pdf.flow for c in model.components if c.is_signal)
    background = next(c.pdf.flow for c in model.components if not c.is_signal)
    if not every_member:
        signal, background = _first(signal), _first(background)
    return ModelSample(
        columns=columns,
        yields=yields,
        signal=tuple(c.name for c in model.components if c.is_signal and c.name in columns),
        densities=(signal, background),
        data=observed,
        weights=None if data.weights is None else np.asarray(data.weights),
        mass=model.mass,
        mass_range=shapes.finite_limits(model.pdfs[0].mass.space),
        masked=windows_of(model.pdfs[0].mass),
        region=model.region,
    )


def _score(signal: Any, background: Any, columns: Mapping[str, Array], mass: str, region: SignalRegion | None) -> Array:
    inside = slice(None) if region is None else region.contains(columns[mass])
    x = np.stack([columns[name][inside] for name in signal.features], axis=1)
    m = columns[mass][inside]
    score = np.full(len(columns[mass]), -np.inf)
    with np.errstate(invalid="ignore"):  # outside of both domains: -inf - -inf
        score[inside] = signal.log_prob_array(x, m) - background.log_prob_array(x, m)
    return np.asarray(np.nan_to_num(score, nan=-np.inf, neginf=-np.inf, posinf=np.inf))


def _first(flow: Any) -> Any:
    """The first member of the first member, and so on, of a density."""
    while (member := flow.members[0]) is not flow:
        flow = member
    return flow


def project(
    result: Any,
    observables: str | Sequence[str],
    *,
    region: SignalRegion | None = None,
    bins: int | npt.ArrayLike = 40,
    seed: int = 0,
) -> Any:
    """Histogram one observable (or several) of a fit result; see `ModelSample.project`.

    Returns:
        A `Projection`, or a list of them if several observables were named.
    """
    sample = sample_model(result, seed=seed)
    if isinstance(observables, str):
        return sample.project(observables, bins=bins, region=region)
    return [sample.project(name, bins=bins, region=region) for name in observables]
