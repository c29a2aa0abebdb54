"""The signal response: refits say the same, and a wrong density of the signal is seen."""

from __future__ import annotations

import models
import numpy as np
import pytest

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.response import SignalResponse, signal_response
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.shapes import sample_mass

N_SIGNAL, N_BACKGROUND, N_SIMULATED = 200.0, 8000, 20_000


def signal_events(flow, n, seed):
    rng = np.random.default_rng(seed)
    m = sample_mass(models.peak(), n, rng)
    x = flow.sample(m, seed=seed)
    return Dataset.from_arrays(dict(zip(("m", *flow.features), (m, *x.T), strict=True)))


@pytest.fixture(scope="module")
def data():
    """Background once, and signal of the model and another one, each weighted to the same yield."""
    model = models.model()
    background = models.toy(models.model(0.0, N_BACKGROUND), seed=1).value()
    own, other = models.signal_flow(), models.gaussian_flow([0.6, 0.5, -0.5, 0.4], 0.1, 0.8)
    columns = dict(zip(model.obs, np.asarray(background).T, strict=True))
    signals = {"own": signal_events(own, N_SIMULATED, 2), "other": signal_events(other, N_SIMULATED, 3)}
    weights = np.concatenate([np.ones(len(background)), np.full(N_SIMULATED, N_SIGNAL / N_SIMULATED)])
    whole = {
        name: Dataset.from_arrays(
            {key: np.concatenate([values, signal[key]]) for key, values in columns.items()}, weights
        )
        for name, signal in signals.items()
    }
    return model, signals, {name: Profiler(ExtendedNLL(model, events), "n_sig") for name, events in whole.items()}


@pytest.mark.statistical
def test_the_models_own_signal_comes_back(data):
    """At four errors: wrong alarms in 6e-5 of the cases."""
    _, signals, fits = data
    found = signal_response(fits["own"], "n_sig", signals["own"], seed=4)
    assert abs(found.value - 1.0) < 4.0 * found.error
    assert found.error < 0.02
    assert found.passed
    assert found.n_events == N_SIMULATED
    assert SignalResponse.from_json(found.to_json()) == found


@pytest.mark.statistical
def test_a_wrong_density_returns_what_a_fit_of_such_events_returns(data):
    """Same events in both; beside second orders only the drawn ones differ, with an error of 0.006: at five of it."""
    _, signals, fits = data
    refitted = 1.0 + (fits["other"].best - fits["own"].best) / N_SIGNAL
    found = signal_response(fits["own"], "n_sig", signals["other"], seed=4)
    assert refitted < 0.9
    assert found.value == pytest.approx(refitted, abs=0.03)
    assert not found.passed


def test_events_outside_of_the_domain_are_lost(data):
    """Nothing is left of <w>_simulation, and <w>_model is one up to the fluctuation of 8000 background events."""
    model, signals, fits = data
    flow = next(c.pdf.flow for c in model.components if not c.is_signal)
    flow.limits[0, 1] = 50.0
    far = signals["own"].with_columns(a=np.full(N_SIMULATED, 60.0))
    assert signal_response(fits["own"], "n_sig", far, seed=4).value == pytest.approx(0.0, abs=0.1)
    flow.limits[0, 1] = np.inf


def test_weights_count(data):
    _, signals, fits = data
    events = signals["own"]
    few = np.arange(len(events)) < 2000
    weighted = Dataset.from_arrays(events.columns, np.where(few, 5.0, 1e-9))
    expected = signal_response(fits["own"], "n_sig", events.select(few), seed=4)
    found = signal_response(fits["own"], "n_sig", weighted, seed=4)
    # the drawn events are others
    assert found.value == pytest.approx(expected.value, abs=5.0 * 1.5 / np.sqrt(8000))


def test_misuse_is_said(data):
    model, signals, fits = data
    with pytest.raises(InputError, match="100 or more simulated events"):
        signal_response(fits["own"], "n_sig", signals["own"].select(np.arange(N_SIMULATED) < 50))
    both = Profiler(ExtendedNLL([model, model], [fits["own"].loss.data[0]] * 2), "n_sig")
    with pytest.raises(InputError, match="one data set"):
        signal_response(both, "n_sig", signals["own"])
