"""A model with a second, resonant background which impacts, contours and compositions are tested on."""

from __future__ import annotations

import models
import zfit

from hisigma_zfit.model.compose import SignalPlusBackground, compose
from hisigma_zfit.model.pdfs import FlowProductPDF

RESONANT = (-0.8, 0.3, 0.4, -0.2)  # means of the features


def with_resonant(
    *, n_sig: float = 200.0, n_bkg: float = 6000.0, n_res: float = 120.0, **options
) -> SignalPlusBackground:
    """Signal, falling background, and a resonant background in the peak of the signal."""
    peak = models.peak()
    yields = {
        name: zfit.Parameter(name, value, *limits)
        for name, value, limits in (("n_sig", n_sig, ()), ("n_bkg", n_bkg, (0.0, None)), ("n_res", n_res, (0.0, None)))
    }
    signal = FlowProductPDF(peak, models.signal_flow(), extended=yields["n_sig"], name="signal")
    falling = FlowProductPDF(models.falling(), models.background_flow(), extended=yields["n_bkg"], name="background")
    resonant = FlowProductPDF(peak, models.gaussian_flow(RESONANT, 0.1, 0.9), extended=yields["n_res"], name="resonant")
    return compose([signal], [falling, resonant], poi=yields["n_sig"], **options)


def parameters(loss) -> dict[str, zfit.Parameter]:
    return {p.name: p for p in loss.parameters}
