"""From densities to the extended model: steps 4, 5 and 6 of paper (arXiv:2506.06438) section 2.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zfit

from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.model import compose as joining
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic, fit_shape
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield, scaled_yield

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hisigma_zfit.measurement.densities import Densities, Learned
    from hisigma_zfit.measurement.inputs import Inputs, Sample
    from hisigma_zfit.measurement.options import BackgroundOptions, ModelOptions
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.model.systematics import Nuisance

__all__ = ["Shared", "compose", "share_parameters"]


@dataclass(frozen=True)
class Shared:
    """Parameters that all categories have in common.

    Attributes:
        poi: Parameter of interest, the signal in all categories together.
        nuisances: One for each name, whatever it changes.
        yields: Of the backgrounds from simulation, in all categories together.
        sizes: Weighted simulated events in all categories together, by component.
    """

    poi: zfit.Parameter
    nuisances: dict[str, Nuisance]
    yields: dict[str, Any]
    sizes: dict[str, float]


def share_parameters(
    poi: str, nuisances: Iterable[str], backgrounds: Mapping[str, BackgroundOptions], inputs: Iterable[Inputs]
) -> Shared:
    """Make the parameters that all categories have in common.

    Args:
        poi: Name of the parameter of interest.
        nuisances: Names of the nuisances.
        backgrounds: What is known of the backgrounds from simulation.
        inputs: Events of all categories.
    """
    made = {name: nuisance(name) for name in nuisances}
    yields = {}
    for name, own in backgrounds.items():
        number = _number(name, own)
        for effect, factor in own.yield_systematic.items():
            number = lognormal_yield(number, made[effect], factor)
        yields[name] = number
    samples = [{"signal": part.signal, **part.backgrounds} for part in inputs]
    sizes = {name: sum(part[name].size for part in samples) for name in samples[0]}
    return Shared(zfit.Parameter(poi, 0.0, stepsize=10.0), made, yields, sizes)


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
    inputs: Inputs, densities: Densities, shared: Shared, options: ModelOptions, *, seed: int, category: str = ""
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

    def part_of(number: Any, component: str, sample: Sample) -> Any:
        """What of a number of events falls into this category, by simulation."""
        if not category:
            return number
        return scaled_yield(number, sample.size / shared.sizes[component], name=f"n_{component}{end}")

    def simulated(name: str, sample: Sample, learned: Learned, number: Any, prefix: str) -> FlowProductPDF:
        peak = fit_shape(zfit.pdf.DoubleCB, sample.events, inputs.mass, prefix=prefix)
        return FlowProductPDF(
            peak,
            learned.flow,
            variations=variations(learned),
            extended=number,
            name=name,
            seed=stream_seed(seed, Stream.NORMALISATION, name, category),
        )

    n_sig = part_of(shared.poi, "signal", inputs.signal)
    for name, factor in options.yield_systematic.items():
        n_sig = lognormal_yield(n_sig, shared.nuisances[name], factor)
    label = f"signal{end}_" if category else ""
    signal = simulated("signal", inputs.signal, densities.signal, n_sig, f"peak_{label}")
    p1, p2 = (zfit.Parameter(f"{name}{end}", start, stepsize=0.1) for name, start in (("p1", 1.0), ("p2", 0.0)))
    falling = FlowProductPDF(
        ExpQuadratic(inputs.mass, p1, p2, name="falling"),
        densities.background.flow,
        variations=variations(densities.background),
        extended=zfit.Parameter(f"n_bkg{end}", float(len(inputs.data)), 0.0, stepsize=10.0),
        name="background",
        seed=stream_seed(seed, Stream.NORMALISATION, "background", category),
    )
    others = [
        simulated(
            name, sample, densities.backgrounds[name], part_of(shared.yields[name], name, sample), f"peak_{name}{end}_"
        )
        for name, sample in inputs.backgrounds.items()
    ]
    return joining.compose(
        [signal], [falling, *others], poi=shared.poi, sidebands=options.sidebands, region=inputs.region
    )
