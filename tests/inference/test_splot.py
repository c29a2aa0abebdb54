"""sPlot weights against the truth of a toy whose features do not depend on the mass."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.splot import sweights, weighted_feature, weighted_mass
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.results.explanations import WeightedFeature


def flat_model(n_sig=900.0, n_bkg=9000.0):
    """Features that know nothing of the mass within each component, as sPlot wants it."""
    return signal_plus_background(
        FlowProductPDF(models.peak(), models.gaussian_flow([0.8, 0.7, -0.6, 0.5], 0.0, 0.8)),
        FlowProductPDF(models.falling(), models.gaussian_flow([0.0] * 4, 0.0, 1.0, region=models.REGION)),
        poi=zfit.Parameter("n_sig", n_sig),
        yields=[zfit.Parameter("n_bkg", n_bkg, 0.0)],
    )


@pytest.fixture(scope="module")
def result():
    model = flat_model()
    return fit(ExtendedNLL(model, models.toy(model, seed=61)))


@pytest.fixture(scope="module")
def weights(result):
    return sweights(result)


def test_weights_add_up(result, weights):
    np.testing.assert_allclose(weights["signal"] + weights["background"], 1.0, atol=1e-5)
    alone = Profiler(ExtendedNLL(result.loss.model[0].mass_only(), result.loss.data[0]), "n_sig")
    assert weights["signal"].sum() == pytest.approx(alone.best, rel=1e-4)


def test_weighted_data_have_the_signals_moments(result, weights):
    w = weights["signal"]
    values = np.asarray(result.loss.data[0].value())
    for column, truth in enumerate((0.8, 0.7, -0.6, 0.5), start=1):
        x = values[:, column]
        mean = w @ x / w.sum()
        error = np.sqrt(np.sum(w**2 * (x - mean) ** 2)) / w.sum()
        # four comparisons with 5 standard deviations: false alarm 2e-6
        assert abs(mean - truth) < 5 * error
        assert error < 0.1


def test_parameters_are_left_alone(result):
    zfit.param.set_values(result.loss.parameters, result.loss.theta())
    before = result.loss.theta()
    sweights(result)
    np.testing.assert_array_equal(result.loss.theta(), before)


def test_feature_is_the_histogram_of_the_weights(result, weights):
    got = weighted_feature(result, "a", weights=weights, bins=np.linspace(-6, 6, 13))
    values = np.asarray(result.loss.data[0].value())[:, 1]
    inside = (values >= 1) & (values < 2)
    assert got.data[7] == pytest.approx(weights["signal"][inside].sum())
    assert got.data_error[7] == pytest.approx(np.sqrt(np.sum(weights["signal"][inside] ** 2)))
    assert got.expected.sum() == pytest.approx(weights["signal"].sum(), rel=1e-3)  # every bin is inside
    again = WeightedFeature.from_json(got.to_json())
    np.testing.assert_array_equal(again.expected, got.expected)


def test_simulation_may_be_given(result, weights):
    simulated = Dataset.from_arrays({"a": np.array([0.5, 0.5, 1.5, 1.5])}, weights=[1.0, 1.0, 1.0, 5.0])
    got = weighted_feature(result, "a", simulation=simulated, weights=weights, bins=[0.0, 1.0, 2.0])
    np.testing.assert_allclose(got.expected / got.expected.sum(), [0.25, 0.75])


def test_weighted_mass_brings_out_the_peak_and_nothing_else(result):
    got = weighted_mass(result, bins=np.linspace(90, 180, 31))
    total = got.components["signal"] + got.components["background"]
    # 30 bins at 6 standard deviations: false alarm 6e-8, and the template's error is included
    variance = got.data_variance + got.component_variance["signal"] + got.component_variance["background"]
    assert np.all(np.abs(got.data - total) < 6 * np.sqrt(variance))
    plain = result.loss.theta()[0] / result.loss.theta()[1]
    assert got.components["signal"].sum() / got.components["background"].sum() > 1.5 * plain
    # the background's own weights are smooth: no peak is made at 125
    falling, error = got.components["background"], np.sqrt(got.component_variance["background"])
    bend = np.abs(falling[1:-1] - 0.5 * (falling[2:] + falling[:-2]))
    assert np.all(bend < 0.01 * falling[1:-1] + 6 * 1.3 * error[1:-1])  # 1.3: of a value and the mean of two others


def test_wrong_input_is_named(result, weights):
    with pytest.raises(InputError, match="an observable among"):
        weighted_feature(result, "z", weights=weights)
    with pytest.raises(InputError, match="a component among"):
        weighted_feature(result, "a", component="nobody", weights=weights)
    model = flat_model(n_sig=-3.0)
    with zfit.param.set_values([model.poi], [0.0]):
        data = models.toy(model, seed=62)
    model.poi.floating = False
    with pytest.raises(InputError, match="positive signal"):
        weighted_mass(fit(ExtendedNLL(model, data)), n=1000)
