"""What part of a signal a family's density finds: against fits of events by that density, in a world that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from hisigma_zfit.data import Dataset
from hisigma_zfit.inference import signal_families
from hisigma_zfit.inference.family_response import family_response
from hisigma_zfit.inference.family_yields import LEVELS, FamilyYield
from hisigma_zfit.inference.signal_coordinates import Frame
from hisigma_zfit.results import SignalResponse

WINDOW, SHARE = (90.0, 110.0), 0.03
FRAME = Frame(("light", "angle"), "m", np.array([[0.0, np.inf], [0.0, 1.0]]), WINDOW)
THETA = np.array([100.0])


def signal(n, rng):
    return {
        "light": 100.0 * np.exp(0.15 * rng.standard_normal(n)),
        "angle": rng.beta(2.0, 1.0, n),
        "m": np.clip(100.0 + 3.0 * rng.standard_normal(n), 90.1, 109.9),
    }


def columns(events):
    return np.column_stack([events["light"], events["angle"]]), events["m"]


def log_background(x, m):
    return -x[:, 0] / 80.0 - np.log(80.0) + np.zeros(len(m)) - np.log(WINDOW[1] - WINDOW[0])


def fitted(density):
    """The share that many events of background and of signal give, by that of the signal: no expansion."""
    rng = np.random.default_rng(3)
    background = {
        "light": rng.exponential(80.0, 100_000),
        "angle": rng.random(100_000),
        "m": rng.uniform(*WINDOW, 100_000),
    }
    ratios = []
    for events in (background, signal(20_000, rng)):
        x, m = columns(events)
        ratios.append(
            np.exp(density.log_density(density.prepare(x, m), THETA).astype(float) - log_background(x, m)) - 1
        )
    b, s = ratios

    def slope(w):
        return (1.0 - SHARE) * np.mean(b / (1.0 + w * b)) + SHARE * np.mean(s / (1.0 + w * s))

    return brentq(slope, 1e-4, 0.5) / SHARE


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "each", "least", "most"), [(4000, 400, 0.96, 1.02), (600, 30, 0.6, 0.95)])
def test_response_is_what_a_fit_returns(n, each, least, most, monkeypatch):
    """A good mixture, and one of thirty events a Gaussian, which fits noise; five errors, and the expansion's 0.02."""
    monkeypatch.setattr(signal_families, "EVENTS_EACH", each)
    sample = Dataset.from_arrays(signal(n, np.random.default_rng(1)))
    density = signal_families.ScaledSignal(sample, scale={"light": "theta"}, at={"theta": 100.0}).learn(FRAME, seed=1)
    found = family_response(density, log_background, THETA, SHARE, np.random.default_rng(2))
    true = fitted(density)
    assert least < true < most
    assert found.value == pytest.approx(true, abs=5 * found.error + 0.02)
    assert found.error < 0.03
    assert found.n_events == n


def test_errors_of_training_and_simulation_widen_as_nuisances_do():
    """Of a parabola: the yield is response times signal plus the background's shift, both shifts Gaussian."""
    response, background, width = SignalResponse(0.9, 0.05, 1000), 6.0, 10.0
    profiled = tuple((45.0 - width * np.sqrt(level), 45.0 + width * np.sqrt(level)) for level in LEVELS)
    own = FamilyYield(45.0, profiled, background, response)
    assert own.value == pytest.approx(50.0)

    def fall(s):
        def of_response(change):
            expected = own.value * 0.9 + (s - own.value) * 0.9 + 45.0 / 0.9 * 0.05 * change
            shift = minimize_scalar(lambda v: ((45.0 - expected - background * v) / width) ** 2 + v**2).fun
            return shift + change**2

        return minimize_scalar(of_response).fun

    for (low, high), level in zip(own.intervals, LEVELS, strict=True):
        assert fall(low) == pytest.approx(level, rel=1e-3)
        assert fall(high) == pytest.approx(level, rel=1e-3)


def test_without_bootstraps_only_the_simulation_widens():
    profiled = tuple((45.0 - d, 45.0 + d) for d in (10.0, 20.0))
    found = FamilyYield(45.0, profiled, float("nan"), SignalResponse(1.0, 0.0, 1000))
    assert found.intervals == profiled
    assert FamilyYield(3.0, ((0.0, 8.0), (0.0, 14.0)), 2.0, SignalResponse(1.0, 0.0, 1000)).intervals[0][0] == 0.0
