"""Signal by weights: sPlot in the features, and S/(S+B) weights in the mass.

What to use when: `sweights` and `weighted_feature` use the mass alone to unfold the signal's features from the data and
so test the signal density p_s(x'|m) without using it; `weighted_mass` uses the features alone to bring out the peak in
the mass spectrum.

sPlot (arXiv:physics/0402083) takes the features to be independent of the mass within each component.  Here p_b(x'|m)
depends on m, so that the weights are exact only as far as this dependence is linear across the signal region and the
sidebands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zfit
from scipy.special import expit

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.projections import sample_model
from hisigma_zfit.results import Projection
from hisigma_zfit.results.explanations import WeightedFeature

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset

__all__ = ["sweights", "weighted_feature", "weighted_mass"]


def sweights(result: Any) -> dict[str, Array]:
    """SPlot weights of every event from a fit of the mass alone, by hepstats.

    The yields and mass shapes are fitted again without the features and without constraints; the parameters' values
    are put back afterwards.

    Args:
        result: zfit FitResult of an `ExtendedNLL` of one `SignalPlusBackground` model.

    Returns:
        Weights of each component by name, each of shape (n,); event by event they add up to one.

    Raises:
        FitError: The mass alone does not tell the components apart.
    """
    from hepstats.splot import compute_sweights

    model, data = result.loss.model[0], result.loss.data[0]
    alone = model.mass_only()
    mass = data.with_obs(alone.space)
    parameters = list(result.loss.parameters)
    before = result.loss.theta()
    try:
        fit(ExtendedNLL(alone, mass))
        weights = None if data.weights is None else np.asarray(data.weights)
        found = compute_sweights(alone, mass, sample_weight=weights)
    finally:
        zfit.param.set_values(parameters, before)
    return {component.name: np.asarray(found[component.extended]) for component in model.components}


def weighted_feature(
    result: Any,
    observable: str,
    *,
    simulation: Dataset | None = None,
    component: str | None = None,
    weights: dict[str, Array] | None = None,
    bins: int | npt.ArrayLike = 20,
    seed: int = 0,
) -> WeightedFeature:
    """Distribution of one feature with sPlot weights of the signal, beside its simulated shape.

    Args:
        result: zfit FitResult of an `ExtendedNLL` of one `SignalPlusBackground` model.
        observable: Name of the feature.
        simulation: Simulated signal; by default events drawn from the signal's learned density.
        component: Name of the signal; the first one by default.
        weights: What `sweights` returned, if it is known already.
        bins: Number of bins between the 0.5 % and 99.5 % quantiles of the simulated signal, or edges.
        seed: Seed of the drawn events.

    Raises:
        InputError: The model has no such feature or component.
    """
    model, data = result.loss.model[0], result.loss.data[0]
    found = sweights(result) if weights is None else weights
    name = component or next(c.name for c in model.components if c.is_signal)
    names = list(model.obs)
    for kind, given, known in (("a component", name, list(found)), ("an observable", observable, names)):
        if given not in known:
            raise InputError.from_parts(
                expected=f"{kind} among {', '.join(known)}", got=repr(given), do="correct the name"
            )
    if simulation is None:
        drawn = sample_model(result, n=50_000, seed=seed)
        shape, shape_weights = drawn.columns[name][observable], None
    else:
        shape, shape_weights = simulation[observable], simulation.weights
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim == 0:
        first, last = (float(q) for q in np.quantile(shape, [0.005, 0.995]))
        edges = np.linspace(first, last, int(edges) + 1)
    values = np.asarray(data.value())[:, names.index(observable)]
    w = found[name] if data.weights is None else found[name] * np.asarray(data.weights)
    expected = np.histogram(shape, edges, weights=shape_weights)[0].astype(np.float64)
    expected *= w.sum() / (len(shape) if shape_weights is None else shape_weights.sum())
    return WeightedFeature(
        observable=observable,
        edges=edges,
        data=np.histogram(values, edges, weights=w)[0],
        data_error=np.sqrt(np.histogram(values, edges, weights=w**2)[0]),
        expected=expected,
        component=name,
    )


def weighted_mass(result: Any, *, bins: int | npt.ArrayLike = 45, seed: int = 0, n: int = 100_000) -> Projection:
    """Mass spectrum with every event weighted by s p_s(x'|m) / (s p_s(x'|m) + b p_b(x'|m)) of its features.

    s and b are the fitted yields in the signal region; the mass itself does not enter the ratio but through the
    conditional densities, so that the weights do not make a peak of their own.

    Args:
        result: zfit FitResult of an `ExtendedNLL` of one `SignalPlusBackground` model.
        bins: Number of bins, or edges.
        seed: Seed of the events drawn from the model.
        n: Events drawn from each component.

    Returns:
        Weighted data and model.

    Raises:
        InputError: The fitted signal is not positive.
    """
    model = result.loss.model[0]
    sample = sample_model(result, n=n, seed=seed, every_member=True)
    region = model.region

    def inside(name: str) -> float:
        share = 1.0 if region is None else float(region.contains(sample.columns[name][sample.mass]).mean())
        return sample.yields[name] * share

    s = sum(inside(name) for name in sample.columns if name in sample.signal)
    b = sum(inside(name) for name in sample.columns if name not in sample.signal)
    if not (s > 0 and b > 0):
        raise InputError.from_parts(
            expected="positive signal and background", got=f"{s:.4g} and {b:.4g}", do="there is no S/(S+B) to show"
        )
    weights = {name: expit(score + np.log(s / b)) for name, score in sample.score.items()}
    plain = sample.project(sample.mass, bins=bins)  # for its edges
    counts, variances = {}, {}
    for name, columns in sample.columns.items():
        scale = sample.yields[name] / n
        counts[name] = scale * np.histogram(columns[sample.mass], plain.edges, weights=weights[name])[0]
        variances[name] = scale**2 * np.histogram(columns[sample.mass], plain.edges, weights=weights[name] ** 2)[0]
    w = weights["data"] if sample.weights is None else weights["data"] * sample.weights
    masses = sample.data[sample.mass]
    return Projection(
        observable=sample.mass,
        edges=plain.edges,
        data=np.histogram(masses, plain.edges, weights=w)[0],
        data_variance=np.histogram(masses, plain.edges, weights=w**2)[0],
        components=counts,
        component_variance=variances,
        signal=sample.signal,
        selection="S/(S+B) weighted",
    )
