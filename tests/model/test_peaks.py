"""Peaks by name against densities that are written down by hand, and on disk."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from iminuit import Minuit
from models import mass_space
from scipy.special import voigt_profile
from scipy.stats import norm
from scipy.stats import t as student
from untrained import random_flow

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.falling import falling_shape
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.peaks import PEAK_SHAPES, peak_shape, require_starts
from hisigma_zfit.model.shape_names import PEAKS
from hisigma_zfit.model.stored import load_model, save_model

GRID = np.linspace(90.0, 180.0, 20001)


def simulated(n=1500):
    rng = np.random.default_rng(3)
    m = np.concatenate([rng.normal(125, 1.7, 2 * n // 3), rng.normal(124.5, 3.5, n // 3)])
    return Dataset.from_arrays({"m": m})


def crystal_ball(m, mu, sigma, alpha, n):
    z = (m - mu) / sigma
    tail = np.exp(-0.5 * alpha**2) * (1.0 - alpha / n * (alpha + np.minimum(z, -alpha))) ** -n
    return np.where(z > -alpha, np.exp(-0.5 * z**2), tail)


def exponential_tail(m, mu, sigma, alpha):
    z = (m - mu) / sigma
    return np.where(z > -alpha, np.exp(-0.5 * z**2), np.exp(0.5 * alpha**2 + alpha * z))


def normalised(density, *p):
    return lambda m: density(m, *p) / np.trapezoid(density(GRID, *p), GRID)


HAND = {
    "CrystalBall": (lambda *p: normalised(crystal_ball, *p), [125, 2, 1.5, 5]),
    "GaussExpTail": (lambda *p: normalised(exponential_tail, *p), [125, 2, 1.2]),
    "Voigt": (lambda x, s, g: normalised(lambda m: voigt_profile(m - x, s, g)), [125, 1.5, 0.5]),
    "StudentT": (lambda n, x, s: normalised(lambda m: student.pdf((m - x) / s, n)), [5, 125, 2]),
    "Gauss+CrystalBall": (
        lambda f, x, s, t, a, n: lambda m: f * norm.pdf(m, x, s) + (1 - f) * normalised(crystal_ball, x, t, a, n)(m),
        [0.5, 125, 1.5, 3, 1.5, 10],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HAND)
def test_a_peak_is_fitted_as_by_hand(name):
    data = simulated()
    fitted = peak_shape(name, data, mass_space())
    density, start = HAND[name]

    def nll(values):
        with np.errstate(all="ignore"):
            total = -np.log(density(*values)(data["m"])).sum()
        return float(total) if np.isfinite(total) else 1e9

    minuit = Minuit(nll, start)
    minuit.errordef = 0.5
    for k, value in enumerate(start):
        minuit.limits[k] = (1e-3, 100.0 if value != 125 else 180.0)
    if "+" in name:
        minuit.limits[0] = (0.0, 1.0)
    minuit.migrad()
    ours = -float(np.log(fitted.pdf(data["m"]).numpy()).sum())
    assert ours == pytest.approx(minuit.fval, abs=0.05)
    assert not fitted.get_params(floating=True)


def test_every_name_is_a_shape_of_zfit_and_starts_are_checked():
    assert set(PEAK_SHAPES) == set(PEAKS)
    assert all(issubclass(each, zfit.pdf.BasePDF) for each in PEAK_SHAPES.values())
    require_starts("Gauss+CrystalBall", {"sigma2": (), "frac1": ()})
    with pytest.raises(InputError, match="mu, sigma, alpha, n, got 'alfa'"):
        require_starts("CrystalBall", {"alfa": ()})


@pytest.mark.parametrize(
    "name",
    ["chebyshev:2", *(pytest.param(n, marks=pytest.mark.slow) for n in ("bernstein:2", "laurent:2", "power-law"))],
)
def test_sums_and_falling_shapes_survive_the_disk(name, tmp_path):
    mass, held = mass_space(), {"floating": False}
    mu, wide, narrow = (zfit.Parameter(n, v, **held) for n, v in (("mu", 125.0), ("s1", 3.0), ("s2", 1.5)))
    alpha, n, frac = (zfit.Parameter(name, v, **held) for name, v in (("alpha", 1.2), ("n", 5.0), ("frac", 0.3)))
    parts = [zfit.pdf.Gauss(mu, wide, obs=mass), zfit.pdf.CrystalBall(mu, narrow, alpha, n, obs=mass)]
    peak = zfit.pdf.SumPDF(parts, fracs=[frac])
    flow = random_flow(1, members=1)
    events = Dataset.from_arrays({"m": 90.0 + 90.0 * np.random.default_rng(1).beta(1, 3, 2000)})
    falling = falling_shape(name, events, mass)
    save_model(signal_plus_background(FlowProductPDF(peak, flow), FlowProductPDF(falling, flow)), tmp_path / "model")
    again = [component.pdf.mass for component in load_model(tmp_path / "model").components]
    m = np.linspace(91.0, 179.0, 9)
    for old, new in zip((peak, falling), again, strict=True):
        np.testing.assert_allclose(new.pdf(m), old.pdf(m), rtol=1e-12)
    assert {p.name for p in again[1].get_params(floating=True)} == {p.name for p in falling.get_params(floating=True)}
