"""Errors of fitted mass shapes against the textbook's for a Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import zfit

from hisigma_zfit.data import Dataset
from hisigma_zfit.inference.shape_fits import covariance_of_shape, simulated_shape

N = 20_000


@pytest.fixture(scope="module")
def gauss():
    m = np.random.default_rng(3).normal(3.1, 0.05, N)
    mu = zfit.Parameter("shape_fits_mu", m.mean(), 2.6, 3.6, floating=False)
    sigma = zfit.Parameter("shape_fits_sigma", m.std(), 0.001, 1.0, floating=False)
    return zfit.pdf.Gauss(mu, sigma, obs=zfit.Space("m", 2.6, 3.6)), m


@pytest.mark.parametrize("weight", [1.0, 0.01])
def test_errors_of_a_gaussian_are_the_textbooks_whatever_the_weight(gauss, weight):
    pdf, m = gauss
    free, held, covariance = covariance_of_shape(pdf, m, np.full(N, weight))
    assert [p.name for p in free] == ["shape_fits_mu", "shape_fits_sigma"]
    assert held == {}
    sigma = m.std()
    # sigma^2 / n and sigma^2 / 2n, uncorrelated
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [sigma / N**0.5, sigma / (2 * N) ** 0.5], rtol=0.03)
    assert abs(covariance[0, 1]) < 0.05 * np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert [float(p.value()) for p in free] == [m.mean(), sigma]


def test_a_shape_stands_beside_its_simulation(gauss):
    pdf, m = gauss
    shown = simulated_shape("signal", pdf, Dataset.from_arrays({"m": m}), "m", limits=(2.6, 3.6))
    assert shown.fitted.parameters["shape_fits_mu"].error == pytest.approx(m.std() / N**0.5, rel=0.03)
    assert shown.data.sum() == pytest.approx(N, rel=0.01)
    assert shown.expected.sum() == pytest.approx(shown.data.sum(), rel=0.01)
    assert shown.edges[0] >= 2.6
    assert shown.fitted.chi2.p_value > 1e-4  # it was drawn from the shape


@pytest.mark.slow  # zfit's own Crystal Ball, traced
def test_what_the_events_do_not_determine_is_said():
    """Tails beyond all events: neither where they begin nor how they fall changes the likelihood."""
    m = np.random.default_rng(3).normal(125.0, 1.7, 5000)
    values = {"mu": m.mean(), "sigma": m.std(), "alphal": 5.9, "nl": 4.0, "alphar": 5.9, "nr": 4.0}
    limits = {
        "mu": (90, 180),
        "sigma": (0.1, 20),
        "alphal": (0.1, 7),
        "nl": (1, 100),
        "alphar": (0.1, 7),
        "nr": (1, 100),
    }
    parameters = {n: zfit.Parameter(f"flat_{n}", v, *limits[n], floating=False) for n, v in values.items()}
    pdf = zfit.pdf.DoubleCB(obs=zfit.Space("m", 90, 180), **parameters)
    free, held, covariance = covariance_of_shape(pdf, m, np.ones(m.size))
    assert [p.name for p in free] == ["flat_mu", "flat_sigma"]
    assert held == dict.fromkeys(("flat_alphal", "flat_alphar", "flat_nl", "flat_nr"), "not determined")
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [m.std() / 5000**0.5, m.std() / 10000**0.5], rtol=0.05)
