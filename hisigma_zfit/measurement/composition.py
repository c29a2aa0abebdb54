"""From densities to the extended model: steps 4, 5 and 6 of paper (arXiv:2506.06438) section 2.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zfit

from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.model import compose as joining
from hisigma_zfit.model.falling import falling_shape
from hisigma_zfit.model.masked import masked
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.peaks import peak_shape
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield, scaled_yield

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.measurement.component_options import BackgroundOptions
    from hisigma_zfit.measurement.densities import Densities, Learned
    from hisigma_zfit.measurement.inputs import Inputs, Sample
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.model.systematics import Nuisance

__all__ = ["Shared", "compose", "share_parameters"]


@dataclass(frozen=True)
class Shared:
    """Parameters that all categories have in common.

    Attributes:
        poi: Parameter of interest.
        signal: Number of signal events in all categories together: the same, or a multiple of it.
        nuisances: One for each name, whatever it changes.
        yields: Of the backgrounds from simulation, in all categories together.
        sizes: Weighted simulated events in all categories together, by component.
    """

    poi: zfit.Parameter
    signal: Any
    nuisances: dict[str, Nuisance]
    yields: dict[str, Any]
    sizes: dict[str, float]


def share_parameters(
    poi: str,
    nuisances: Iterable[str],
    backgrounds: Mapping[str, BackgroundOptions],
    inputs: Iterable[Inputs],
    *,
    events_per_unit: float = 1.0,
) -> Shared:
    """Make the parameters that all categories have in common.

    Args:
        poi: Name of the parameter of interest.
        nuisances: Names of the nuisances.
        backgrounds: What is known of the backgrounds from simulation.
        inputs: Events of all categories.
        events_per_unit: Signal events by unit of the parameter of interest.
    """
    made = {name: nuisance(name) for name in nuisances}
    yields = {}
    for name, own in backgrounds.items():
        number = _number(name, own)
        for effect, factor in own.yield_systematic.items():
            number = lognormal_yield(number, made[effect], factor)
        yields[name] = number
    parts = list(inputs)
    sizes = {name: sum(part.size(name) for part in parts) for name in ("signal", *parts[0].backgrounds)}
    interest = zfit.Parameter(poi, 0.0, stepsize=10.0 / events_per_unit)
    signal = interest if events_per_unit == 1.0 else scaled_yield(interest, events_per_unit, name=f"n_signal_{poi}")
    return Shared(interest, signal, made, yields, sizes)


def _total(events: Dataset) -> float:
    """Sum of the weights."""
    return float(len(events) if events.weights is None else events.weights.sum())


def _number(name: str, own: BackgroundOptions) -> Any:
    """Expected events of a background with what is known of them."""
    if own.uncertainty == "free":
        return zfit.Parameter(f"n_{name}", own.expected, 0.0, stepsize=10.0)
    if own.constraint == "lognormal":
        return lognormal_yield(own.expected, nuisance(f"{name}_yield"), 1.0 + own.uncertainty, name=f"n_{name}")
    sigma = own.expected * own.uncertainty

    def gaussian(parameter: zfit.Parameter) -> Any:
        return zfit.constraint.GaussianConstraint(parameter, observation=own.expected, sigma=sigma)

    limits = (0.0, own.expected + 10.0 * sigma)
    return nuisance(f"n_{name}", constraint=gaussian, value=own.expected, limits=limits)


def compose(
    inputs: Inputs, densities: Densities, shared: Shared, options: MeasureOptions, *, seed: int, category: str = ""
) -> SignalPlusBackground:
    """Give the densities of one category their mass shapes, variations and yields, and add them.

    Args:
        inputs: The events: shapes of simulated components are fitted to their simulation.
        densities: What was learned from them.
        shared: Parameters of all categories.
        options: What is fitted.
        seed: Seed of every random step.
        category: Name of the category, if there are several.

    Raises:
        FitError: A shape could not be fitted.
    """
    end = f"_{category}" if category else ""

    def variations(learned: Learned) -> list[ShapeVariation]:
        return [
            ShapeVariation(shared.nuisances[name], up=up, down=down, form=options.interpolation)
            for name, (up, down) in learned.varied.items()
        ]

    def part_of(number: Any, component: str) -> Any:
        """What of a number of events falls into this category, by simulation."""
        if not category:
            return number
        return scaled_yield(number, inputs.size(component) / shared.sizes[component], name=f"n_{component}{end}")

    def simulated(name: str, sample: Sample, learned: Learned, number: Any, prefix: str) -> FlowProductPDF:
        shape, start = (
            (options.peak, options.peak_start) if name == "signal" else (options.backgrounds[name].peak, None)
        )
        peak = peak_shape(shape, sample.events, inputs.mass, start=start, prefix=prefix)
        return FlowProductPDF(
            masked(peak, inputs.windows),
            learned.flow,
            variations=variations(learned),
            extended=number,
            name=name,
            seed=stream_seed(seed, Stream.NORMALISATION, name, category),
        )

    n_sig = part_of(shared.signal, "signal")
    for name, factor in options.signal_factors().items():
        n_sig = lognormal_yield(n_sig, shared.nuisances[name], factor)
    label = f"signal{end}_" if category else ""
    signal = simulated("signal", inputs.signal, densities.signal, n_sig, f"peak_{label}")
    falling = FlowProductPDF(
        falling_shape(
            options.falling[0], inputs.data, inputs.mass, region=inputs.region, windows=inputs.windows, suffix=end
        ),
        densities.background.flow,
        variations=variations(densities.background),
        extended=zfit.Parameter(f"n_bkg{end}", _total(inputs.data), 0.0, stepsize=10.0),
        name="background",
        seed=stream_seed(seed, Stream.NORMALISATION, "background", category),
    )
    others = [
        simulated(name, sample, densities.backgrounds[name], part_of(shared.yields[name], name), f"peak_{name}{end}_")
        for name, sample in inputs.backgrounds.items()
    ]
    return joining.compose(
        [signal], [falling, *others], poi=shared.poi, sidebands=options.sidebands, region=inputs.region
    )
