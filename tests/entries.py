"""Every kind of flow and of PDF, as a table of makers: each entry goes through every check of the invariants."""

from __future__ import annotations

import models
import numpy as np
import truth
import zfit

from hisigma_zfit.data import Dataset, feature_space
from hisigma_zfit.density.flows import MixtureFlow, RegionFlow
from hisigma_zfit.density.tfp_flows import maf
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import fit_shape

FEATURES = ("a", "b")


def sidebands(toy, n, *, seed, region="sidebands"):
    columns = toy.columns(n, seed=seed, region=region)
    data = Dataset.from_arrays({name: columns[name] for name in (*FEATURES, truth.MASS)})
    return data if region == "all" else data.sidebands(truth.MASS, models.REGION)


def train(**options):
    space = feature_space(a=truth.LIMITS["a"], b=truth.LIMITS["b"])
    return train_flow(sidebands(truth.BACKGROUND, 4000, seed=1), space, given=truth.MASS, seed=1, epochs=1, **options)


def gauss(shift=0.0, width=1.0):
    return models.gaussian_flow([shift, -shift], 0.5, width, region=models.REGION, features=FEATURES)


TRAINED = {
    # slowly: steep maps far outside of the few events that they saw would need a finer grid to be integrated
    "spline": lambda: train(flow=spline_flow(learning_rate=3e-3), bootstraps=2, members=2, value="bootstraps"),
    "plain spline": lambda: train(flow=spline_flow(bins=0, learning_rate=3e-3)),
    "maf spline": lambda: train(flow=maf(layers=2, bins=6, hidden=16, blocks=1, learning_rate=2e-3)),
    "maf affine": lambda: train(flow=maf(kind="affine", layers=2, hidden=16, blocks=1)),
}
FLOWS = {
    "exact": lambda t: gauss(),
    "exact mixture": lambda t: MixtureFlow([gauss(), gauss(1.0, 0.6)], [0.3, 0.7]),
    "exact region": lambda t: RegionFlow(inside=gauss(1.0, 0.6), outside=gauss(), region=models.REGION),
    "spline": lambda t: t["spline"],
    "plain spline": lambda t: t["plain spline"],
    "one member": lambda t: t["spline"].members[3],
    "maf spline": lambda t: t["maf spline"],
    "maf affine": lambda t: t["maf affine"],
    "mixture": lambda t: MixtureFlow([t["spline"].bootstraps[1], t["maf spline"]], [0.25, 0.75]),
    "region": lambda t: RegionFlow(inside=t["maf affine"], outside=t["spline"].members[0], region=models.REGION),
}


def peak():
    masses = 125.0 + 1.8 * np.random.default_rng(2).standard_t(4, size=3000)  # with tails on both sides
    return fit_shape(zfit.pdf.DoubleCB, Dataset.from_arrays({"m": masses}), models.mass_space(), prefix="peak_")


def falling():
    return models.falling(1.7, 0.3)


def total(shape, signal, background, rule):
    return signal_plus_background(
        FlowProductPDF(shape, signal),
        FlowProductPDF(falling(), background),
        poi=zfit.Parameter("n_sig", 300.0),
        yields=[zfit.Parameter("n_bkg", 700.0, 0.0)],
        sidebands=rule,
        region=models.REGION,
    )


PDFS = {
    "ExpQuadratic": lambda t: falling(),
    "DoubleCB": lambda t: t["peak"],
    "product with exact": lambda t: FlowProductPDF(falling(), gauss()),
    "product with spline": lambda t: FlowProductPDF(t["peak"], t["spline"]),
    "product with maf spline": lambda t: FlowProductPDF(falling(), t["maf spline"]),
    "product with maf affine": lambda t: FlowProductPDF(falling(), t["maf affine"]),
    "sum, mass-only": lambda t: total(t["peak"], t["maf affine"], t["spline"].members[0], "mass-only"),
    "sum, full": lambda t: total(t["peak"], gauss(0.8, 0.7), gauss(), "full"),
    "mass alone": lambda t: total(t["peak"], gauss(), gauss(), "full").mass_only(),
}
