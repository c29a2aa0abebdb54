"""Models with exactly known densities that several test modules share: Gaussian features whose mean moves with m."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import zfit

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.density.flows import DistributionFlow
from hisigma_zfit.model.compose import SignalPlusBackground, signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic

REGION = SignalRegion(115, 135)
FEATURES = ("a", "b", "c", "d")
PEAK = {"mu": 125.0, "sigma": 1.7, "alphal": 1.5, "nl": 5.0, "alphar": 2.0, "nr": 6.0}


def mass_space() -> zfit.Space:
    return zfit.Space("m", 90, 180)


def gaussian_flow(mean, slope, width, *, region=None, features=FEATURES) -> DistributionFlow:
    """Independent Gaussians of equal width; every mean moves by `slope` per 45 GeV."""
    mean = np.asarray(mean, dtype=np.float64)

    def at(m):
        location = mean + slope * (tf.convert_to_tensor(m, tf.float64)[:, None] - 135.0) / 45.0
        return tfp.distributions.MultivariateNormalDiag(location, np.full(len(mean), width))

    return DistributionFlow(at, features=features, given="m", signal_region=region)


def background_flow(shift: float = 0.0) -> DistributionFlow:
    return gaussian_flow([shift, 0.0, 0.0, 0.0], 0.5, 1.0, region=REGION)


def signal_flow() -> DistributionFlow:
    return gaussian_flow([0.8, 0.7, -0.6, 0.5], 0.1, 0.8)


def frozen(name: str, value: float) -> zfit.Parameter:
    parameter = zfit.Parameter(name, value)
    parameter.floating = False
    return parameter


def peak() -> zfit.pdf.BasePDF:
    return zfit.pdf.DoubleCB(obs=mass_space(), **{name: frozen(f"peak_{name}", v) for name, v in PEAK.items()})


def falling(p1: float = 1.7, p2: float = 0.2) -> ExpQuadratic:
    return ExpQuadratic(mass_space(), zfit.Parameter("p1", p1, -30, 30), zfit.Parameter("p2", p2, -30, 30))


def model(
    n_sig: float = 200.0, n_bkg: float = 8000.0, *, background=None, mass=None, **options
) -> SignalPlusBackground:
    return signal_plus_background(
        FlowProductPDF(peak(), signal_flow()),
        FlowProductPDF(mass or falling(), background or background_flow()),
        poi=zfit.Parameter("n_sig", n_sig),
        yields=[zfit.Parameter("n_bkg", n_bkg, 0.0)],
        **options,
    )


def toy(pdf: SignalPlusBackground, *, seed: int) -> zfit.Data:
    """One data set: independent events, of each component a Poisson number around its yield."""
    from hisigma_zfit.model.shapes import sample_mass

    parts = []
    for k, term in enumerate(pdf.pdfs):
        rng = np.random.default_rng([seed, k])
        m = sample_mass(term.mass, rng.poisson(float(term.get_yield().value())), rng)
        x = term.flow.sample(m, seed=int(rng.integers(2**31)))
        columns = {"m": m} | dict(zip(term.flow.features, x.T, strict=True))
        parts.append(np.stack([columns[name] for name in pdf.obs], axis=1))
    return zfit.Data.from_numpy(obs=pdf.space, array=np.concatenate(parts))
