"""What a nuisance does to the bins of a feature, against densities that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import variations
import zfit
from scipy.stats import norm

from hisigma_zfit.inference.propagation import BinnedModel
from hisigma_zfit.model.projections import draw_model
from hisigma_zfit.model.systematics import nuisance

EDGES = np.linspace(-1.5, 1.5, 7)


def _exact(m, nu, n):
    """Events of the background's first feature: a Gaussian whose mean follows mass and nuisance."""
    mean = variations.SHIFT * nu + 0.5 * (m - 135.0) / 45.0
    return n * np.diff(norm.cdf(EDGES[:, None] - mean), axis=0).mean(axis=1)


def test_a_nuisance_moves_bins_and_band_as_its_density_does():
    jes = nuisance("jes_of_bins")
    model = variations.make([jes], sidebands="full", samples=5000, poi=zfit.Parameter("n_sig", 1e-6))
    rng = np.random.default_rng(1)
    data = zfit.Data.from_numpy(
        obs=model.space, array=np.column_stack([rng.uniform(90, 180, 50), rng.normal(size=(50, 4))])
    )
    sample = draw_model(model, data, n=40_000, seed=1)
    parameters = [model.poi, jes]
    drawn, theta = np.array([1e-6, 0.0]), np.array([1e-6, 1.0])
    covariance = np.diag([0.0, 0.5**2])
    shown = BinnedModel(model, sample, parameters, drawn, theta, covariance).project("a", bins=EDGES)
    m = sample.columns["background"]["m"]
    expected = _exact(m, 1.0, 8000.0)
    # 40,000 events are drawn, 10,000 of which tell the change: 5 errors of a bin are 8 %, false alarms 1e-5
    np.testing.assert_allclose(shown.components["background"], expected, rtol=0.08)
    slope = (_exact(m, 1.01, 8000.0) - _exact(m, 0.99, 8000.0)) / 0.02
    np.testing.assert_allclose(shown.model_error, 0.5 * np.abs(slope), atol=0.12 * 0.5 * np.abs(slope).max())
    assert float(jes.value()) == pytest.approx(0.0)
