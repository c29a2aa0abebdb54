"""From densities to the extended model: steps 4, 5 and 6 of paper (arXiv:2506.06438) section 2.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zfit

from hisigma_zfit.model.compose import SignalPlusBackground, signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic, fit_shape
from hisigma_zfit.model.systematics import ShapeVariation, lognormal_yield, nuisance

if TYPE_CHECKING:
    from hisigma_zfit.measurement.densities import Densities, VariedDensities
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.measurement.options import ModelOptions

__all__ = ["compose"]


def compose(inputs: Inputs, densities: Densities, options: ModelOptions) -> SignalPlusBackground:
    """Give the densities their mass shapes, variations and yields, and add them.

    Args:
        inputs: The events: the signal's shape is fitted to its simulation.
        densities: What was learned from them.
        options: Parameters and nuisances.

    Raises:
        FitError: The signal's shape could not be fitted.
    """
    # one parameter for each name, whatever it changes
    names = {**inputs.varied_signal, **inputs.varied_training, **options.yield_systematic}
    nuisances = {name: nuisance(name) for name in names}

    def variations(varied: VariedDensities) -> list[ShapeVariation]:
        return [
            ShapeVariation(nuisances[name], up=up, down=down, form=options.interpolation)
            for name, (up, down) in varied.items()
        ]

    n_sig: Any = zfit.Parameter(options.poi, 0.0, stepsize=10.0)
    for name, factor in options.yield_systematic.items():
        n_sig = lognormal_yield(n_sig, nuisances[name], factor)
    peak = fit_shape(zfit.pdf.DoubleCB, inputs.signal, inputs.mass, prefix="peak_")
    falling = ExpQuadratic(
        inputs.mass, zfit.Parameter("p1", 1.0, stepsize=0.1), zfit.Parameter("p2", 0.0, stepsize=0.1), name="falling"
    )
    return signal_plus_background(
        FlowProductPDF(peak, densities.signal, variations=variations(densities.varied_signal)),
        FlowProductPDF(falling, densities.background, variations=variations(densities.varied_background)),
        poi=n_sig,
        yields=[zfit.Parameter("n_bkg", float(len(inputs.data)), 0.0, stepsize=10.0)],
        sidebands=options.sidebands,
        region=inputs.region,
    )
