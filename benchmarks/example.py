"""The model of the benchmarks: four Gaussian features over a falling spectrum with a peak, all densities known.

What the densities are does not matter to the fits, because they are evaluated before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import zfit

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.density.flows import DistributionFlow
from hisigma_zfit.model.compose import SignalPlusBackground, signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic, sample_mass

if TYPE_CHECKING:
    import numpy.typing as npt

LOWER, UPPER = 90.0, 180.0
FEATURES = ("a", "b", "c", "d")
PEAK = {"mu": 125.0, "sigmal": 1.7, "alphal": 1.5, "nl": 5.0, "sigmar": 1.8, "alphar": 2.0, "nr": 6.0}
N_SIGNAL, N_BACKGROUND = 200, 40_000
START = {"n_sig": 0.0, "n_bkg": 41_000.0, "p1": 1.0, "p2": 0.0}


class Opaque(ExpQuadratic):
    """The same shape, which the quick path does not know."""


def flow(means: list[float], slope: float, width: float) -> DistributionFlow:
    """Gaussian features whose means move with the mass."""

    def at(m: tf.Tensor) -> tfp.distributions.Distribution:
        location = np.array(means) + slope * (tf.convert_to_tensor(m, tf.float64)[:, None] - 135.0) / 45.0
        return tfp.distributions.MultivariateNormalDiag(location, np.full(len(means), width))

    return DistributionFlow(at, features=FEATURES, given="m", signal_region=SignalRegion(115, 135))


def frozen(name: str, value: float) -> zfit.Parameter:
    parameter = zfit.Parameter(f"peak_{name}", value)
    parameter.floating = False
    return parameter


def model(shape: type[ExpQuadratic] = ExpQuadratic) -> SignalPlusBackground:
    mass = zfit.Space("m", LOWER, UPPER)
    peak = zfit.pdf.GeneralizedCB(obs=mass, **{name: frozen(name, value) for name, value in PEAK.items()})
    falling = shape(mass, zfit.Parameter("p1", 1.7, -30, 30), zfit.Parameter("p2", 0.2, -30, 30))
    return signal_plus_background(
        FlowProductPDF(peak, flow([0.8, 0.7, -0.6, 0.5], 0.1, 0.8)),
        FlowProductPDF(falling, flow([0.0, 0.0, 0.0, 0.0], 0.5, 1.0)),
        poi=zfit.Parameter("n_sig", float(N_SIGNAL)),
        yields=[zfit.Parameter("n_bkg", float(N_BACKGROUND), 0.0)],
    )


def events(pdf: SignalPlusBackground, *, scale: float = 1.0, seed: int = 1) -> npt.NDArray[np.float64]:
    """Independent events, of each component a Poisson number around `scale` times its yield; the model's columns."""
    parts = []
    for k, term in enumerate(pdf.pdfs):
        rng = np.random.default_rng([seed, k])
        m = sample_mass(term.mass, rng.poisson(scale * float(term.get_yield().value())), rng)
        x = term.flow.sample(m, seed=int(rng.integers(2**31)))
        columns = {"m": m} | dict(zip(term.flow.features, x.T, strict=True))
        parts.append(np.stack([columns[name] for name in pdf.obs], axis=1))
    return np.concatenate(parts)


def start(pdf: SignalPlusBackground, *, scale: float = 1.0) -> None:
    """Set the parameters to where every fit of a benchmark starts."""
    for parameter in pdf.get_params(floating=True):
        yields = parameter.name.startswith("n_")
        parameter.set_value(START[parameter.name] * (scale if yields else 1.0))


def start_all(pdf: SignalPlusBackground, *, scale: float = 1.0) -> None:
    """The same where there are nuisances too, which start at zero."""
    for parameter in pdf.get_params(floating=True, is_yield=None, extract_independent=True):
        value = START.get(parameter.name, 0.0)
        parameter.set_value(value * (scale if parameter.name.startswith("n_") else 1.0))
