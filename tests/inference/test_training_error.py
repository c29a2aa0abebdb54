"""The error of learned densities: known spreads of exact densities come back as a nuisance of the yield."""

from __future__ import annotations

import models
import numpy as np
import pytest

from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.hypotests import discovery, upper_limit
from hisigma_zfit.inference.impacts import impacts
from hisigma_zfit.inference.training_error import (
    redrawn_profilers,
    training_bias,
    training_error,
    with_training_error,
)
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF

SHIFTS = (-0.1, 0.0, 0.1)


@pytest.fixture(scope="module")
def model():
    background = EnsembleFlow(models.background_flow(), [models.background_flow(shift) for shift in SHIFTS])
    return models.model(n_sig=200.0, n_bkg=8000.0, background=background)


@pytest.fixture(scope="module")
def data(model):
    return models.toy(model, seed=3)


def test_redrawn_trainings_are_fitted_each_alone(model, data):
    redrawn = redrawn_profilers(model, data)
    alone = [
        Profiler(ExtendedNLL(model.with_flows({"background": models.background_flow(shift)}), data), "n_sig").best
        for shift in SHIFTS
    ]
    np.testing.assert_allclose([p.best for p in redrawn], alone, rtol=1e-8)
    assert training_error(redrawn) == pytest.approx(np.std(alone, ddof=1))
    assert np.ptp(alone) > 1.0


def test_the_error_is_in_interval_significance_limit_and_impacts(model, data):
    sigma = 25.0
    (shifted,) = with_training_error([model], sigma)
    plain, full = (Profiler(ExtendedNLL(one, data), "n_sig") for one in (model, shifted))
    assert full.best == pytest.approx(plain.best, rel=1e-6)
    assert full.error == pytest.approx(np.hypot(plain.error, sigma), rel=1e-4)
    # t with a Gaussian nuisance is min over nu of t(s + sigma nu) + nu^2: by brute force
    for s in (0.0, 150.0):
        nu = np.linspace(0.0, 8.0, 201)
        expected = min(plain.t(s + sigma * step) + step**2 for step in nu)
        assert full.t(s) == pytest.approx(expected, rel=2e-3)
    assert discovery(full, "n_sig").z < discovery(plain, "n_sig").z
    assert upper_limit(full, "n_sig").limit > upper_limit(plain, "n_sig").limit
    (training,) = [impact for impact in impacts(full, "n_sig").impacts if impact.name == "training"]
    # one standard deviation before the fit is one of the yield
    assert np.abs(training.prefit) == pytest.approx([sigma, sigma], rel=1e-3)


def test_halves_tell_the_bias_that_is_subtracted(data):
    """Twice as far from the truth with half of the events: what is left is what was known of the truth."""
    halves = [models.background_flow(shift) for shift in (0.04, 0.08)]
    whole = models.background_flow(0.03)
    background = EnsembleFlow(whole, [whole, models.background_flow(0.05)], halves)
    model = models.model(n_sig=200.0, n_bkg=8000.0, background=background)
    alone = [
        Profiler(ExtendedNLL(model.with_flows({"background": flow}), data), "n_sig").best for flow in (whole, *halves)
    ]
    bias = training_bias(model, data)
    assert bias == pytest.approx(np.mean(alone[1:]) - alone[0], rel=1e-6)
    (corrected,) = with_training_error([model], 10.0, bias=bias)
    assert Profiler(ExtendedNLL(corrected, data), "n_sig").best == pytest.approx(alone[0] - bias, abs=1e-3)


def test_without_halves_there_is_no_bias(model, data):
    assert training_bias(model, data) is None


def test_one_redrawn_training_has_no_spread(model, data):
    one = signal_plus_background(
        FlowProductPDF(models.peak(), models.signal_flow()),
        FlowProductPDF(models.falling(), models.background_flow()),
        poi="n_one",
    )
    with pytest.raises(InputError, match="two or more redrawn trainings"):
        redrawn_profilers(one, data)
    with pytest.raises(InputError, match="redrawn trainings, got none"):
        EnsembleFlow(models.background_flow(), [])
