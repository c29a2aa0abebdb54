"""The signal response: refits say the same, and a wrong density of the signal is seen."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.response import SignalResponse, signal_response
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import sample_mass
from hisigma_zfit.model.uncertain_yields import scaled_yield
from hisigma_zfit.toys.sampling import sample_sum

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
    with pytest.raises(InputError, match="of simulated signal for each category, got 1, 1 components and 1 sets"):
        signal_response(both, "n_sig", signals["own"])
    with pytest.raises(InputError, match="10 in every category, got 20000, 5"):
        signal_response(both, "n_sig", [signals["own"], signals["own"].select(np.arange(N_SIMULATED) < 5)])


@pytest.mark.statistical
@pytest.mark.slow
def test_categories_are_weighed_by_their_part_of_the_signal():
    """A wrong density in one of two categories, against a fit of such events; five errors of the drawn ones: 0.03."""
    shares, n_sig = {"low": 0.3, "high": 0.7}, zfit.Parameter("n_sig", N_SIGNAL)
    own, other = models.signal_flow(), models.gaussian_flow([0.6, 0.5, -0.5, 0.4], 0.1, 0.8)
    parts, peak, falling = {"own": [], "other": []}, models.peak(), models.falling()
    categories, signals = [], {"own": [], "other": []}
    for k, (name, share) in enumerate(shares.items()):
        category = signal_plus_background(
            FlowProductPDF(peak, own),
            FlowProductPDF(falling, models.background_flow()),
            poi=scaled_yield(n_sig, share, name=f"signal_{name}"),
            yields=[zfit.Parameter(f"n_bkg_{name}", N_BACKGROUND / 2, 0.0)],
            region=models.REGION,
        )
        categories.append(category)
        with n_sig.set_value(0.0):
            background = np.asarray(sample_sum(category, N_BACKGROUND // 2, seed=k))
        weights = np.concatenate([np.ones(len(background)), np.full(N_SIMULATED, share * N_SIGNAL / N_SIMULATED)])
        for which, flow in (("own", own), ("other", own if name == "low" else other)):
            events = signal_events(flow, N_SIMULATED, 10 + k)
            signals[which].append(events)
            rows = np.concatenate([background, events.array(category.obs)])
            parts[which].append(Dataset.from_arrays(dict(zip(category.obs, rows.T, strict=True)), weights))
    fits = {which: Profiler(ExtendedNLL(categories, data), "n_sig") for which, data in parts.items()}
    refitted = 1.0 + (fits["other"].best - fits["own"].best) / N_SIGNAL
    found = signal_response(fits["own"], "n_sig", signals["other"], seed=4)
    assert refitted < 0.95
    assert found.value == pytest.approx(refitted, abs=0.03)
    assert found.n_events == 2 * N_SIMULATED
    same = signal_response(fits["own"], "n_sig", signals["own"], seed=4)
    assert abs(same.value - 1.0) < 4.0 * same.error  # 6e-5
    assert same.error < 0.02
