"""What densities find among events that they have not seen, in a world whose densities are known."""

from __future__ import annotations

from functools import partial

import models
import numpy as np
import pytest
from scipy.optimize import minimize

from hisigma_zfit.data import Dataset
from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference import unseen
from hisigma_zfit.inference.training_error import training_bias
from hisigma_zfit.inference.unseen import Hypothesis, Taught, share_inside, unseen_yield
from hisigma_zfit.learn.resampling import half_of
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.shapes import evaluate, sample_mass

N_SIGNAL, N_BACKGROUND = 150.0, 2000.0
SHIFT = 0.08


def dataset(flow, shape, n, *, seed, sidebands=False):
    rng = np.random.default_rng(seed)
    m = sample_mass(shape, n, rng)
    m = m[~models.REGION.contains(m)] if sidebands else m
    return Dataset.from_arrays({"m": m, **dict(zip(flow.features, flow.sample(m, seed=seed).T, strict=True))})


@pytest.fixture(scope="module")
def shapes():
    return models.peak(), models.falling()


@pytest.fixture(scope="module")
def events(shapes):
    """Sideband events and simulated signal."""
    background = dataset(models.background_flow(), shapes[1], 60_000, seed=1, sidebands=True)
    return background, dataset(models.signal_flow(), shapes[0], 20_000, seed=2)


def found(shapes, events, background):
    hypothesis = Hypothesis(*(partial(evaluate, shape) for shape in shapes), N_SIGNAL, N_BACKGROUND, models.REGION)
    rng = np.random.default_rng(3)
    return unseen_yield(background, models.signal_flow(), *events, hypothesis, rng=rng)


@pytest.mark.statistical
def test_exact_densities_find_the_hypothesis(shapes, events):
    """47,000 events of the sidebands stand for 2,000: five times a fifth of the data's error, 6e-7."""
    assert found(shapes, events, models.background_flow()) == pytest.approx(N_SIGNAL, abs=5 * 4.0)


@pytest.mark.statistical
def test_a_wrong_density_is_off_by_what_it_is_off_in_data(shapes, events):
    """Ten times the data, fitted by the likelihood with both densities on the same events; noise of two events."""
    spurious = found(shapes, events, models.background_flow(SHIFT)) - found(shapes, events, models.background_flow())
    share = share_inside(partial(evaluate, shapes[0]), models.REGION)
    n_bkg = 10 * N_BACKGROUND / share_inside(partial(evaluate, shapes[1]), models.REGION)
    model = models.model(n_sig=10 * N_SIGNAL / share, n_bkg=n_bkg)
    data = models.toy(model, seed=4)
    wrong = model.with_flows({"background": models.background_flow(SHIFT)})
    fits = [Profiler(ExtendedNLL(one, data), "n_sig").best for one in (wrong, model)]
    true = 0.1 * (fits[0] - fits[1]) * share
    assert abs(true) > 8.0
    assert spurious == pytest.approx(true, abs=0.2 * abs(true) + 1.0)


def test_halves_less_what_they_find_unseen(shapes, events):
    """Both halves are wrong by as much: what is left is the value of the exact density, but for the events' noise."""
    wrong = models.background_flow(SHIFT)
    background = EnsembleFlow(models.background_flow(0.3 * SHIFT), [wrong, wrong], [wrong, wrong])
    signal = EnsembleFlow(models.signal_flow(), [models.signal_flow()] * 2, [models.signal_flow()] * 2)
    model = models.model(n_sig=N_SIGNAL, n_bkg=8000.0, background=background).with_flows({"signal": signal})
    data = models.toy(model.with_flows({"background": models.background_flow()}), seed=5)
    exact, halved, whole = (
        Profiler(ExtendedNLL(model.with_flows({"background": flow}), data), "n_sig").best
        for flow in (models.background_flow(), wrong, background)
    )
    taught = {"background": Taught(events[0], 7), "signal": Taught(events[1], 8)}
    bias = training_bias(model, data, taught=taught, seed=1)
    assert abs(halved - exact) > 8.0
    assert whole - bias == pytest.approx(exact, abs=0.25 * abs(halved - exact) + 5.0)
    # without the events it is the jackknife's
    assert training_bias(model, data) == pytest.approx(halved - whole, abs=1e-3)
    assert training_bias(model, data, taught=taught, seed=1) == bias


def test_no_event_is_seen_by_its_half(events):
    taught = Taught(events[0], 7)
    parts = [taught.unseen(k) for k in range(2)]
    assert len(parts[0]) + len(parts[1]) == len(events[0])
    assert set(half_of(parts[0].identity, seed=7)) == {1}
    assert len(parts[0]) == pytest.approx(0.5 * len(events[0]), rel=0.05)


def test_the_fit_is_that_of_a_plain_minimiser():
    rng = np.random.default_rng(1)
    ratio = np.concatenate([np.exp(rng.normal(-4, 2, 2000)), np.exp(rng.normal(3, 1, 200))])
    weights = np.concatenate([rng.uniform(0.2, 0.4, 1000).repeat(2) * np.tile([1.0, 2.0], 1000), np.full(200, 0.3)])
    best = minimize(
        lambda z: z.sum() - weights @ np.log(np.maximum(z[0] * ratio + z[1], 1e-9)),
        [50.0, 900.0],
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-9},
    )
    events = (
        unseen._Events(ratio[:2000].reshape(1000, 2), weights[:2000:2], np.array([1.0, 2.0])),  # noqa: SLF001
        unseen._Events(ratio[2000:, None], weights[2000:], np.ones(1)),  # noqa: SLF001
    )
    assert unseen._fit(events, np.array([10.0, 1500.0])) == pytest.approx(best.x[0], abs=1e-3)  # noqa: SLF001
