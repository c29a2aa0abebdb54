"""Fits of a family over a background that is known: data are drawn from the very density that they are fitted with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zfit
from untrained import REGION, random_flow

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.family_fits import kappa
from hisigma_zfit.results import FamilyFit

N_BACKGROUND, N_SIGNAL, SIZE, WIDTH = 1500, 60, 3.0, 0.15


def signal(n, rng):
    """`b` about a size that is to be found, `a` near one, a peak of the mass."""
    return {
        "m": rng.normal(125.0, 1.5, n),
        "a": rng.beta(8.0, 2.0, n),
        "b": SIZE * np.exp(WIDTH * rng.standard_normal(n)),
    }


@pytest.fixture(scope="module")
def background():
    return random_flow(2, members=2, strength=0.3)


@pytest.fixture(scope="module")
def data(background):
    rng = np.random.default_rng(1)
    m = rng.uniform(REGION.lower, REGION.upper, N_BACKGROUND)
    x, own = background.sample(m, seed=1), signal(N_SIGNAL, rng)
    drawn = {"m": m, **dict(zip(background.features, x.T, strict=True))}
    return hz.Dataset.from_arrays({name: np.concatenate([drawn[name], own[name]]) for name in own})


def fitted(data, background):
    simulated = hz.Dataset.from_arrays(signal(1500, np.random.default_rng(2)))
    family = hz.ScaledSignal(simulated, scale={"b": "size"}, at={"size": SIZE}, limits={"size": (1.5, 6.0)})
    flat = hz.ExpQuadratic(zfit.Space("m", 90, 180), p1=0.0, p2=0.0)
    return hz.fit_family(data, background, flat, family, region=REGION, seed=1)


@pytest.fixture(scope="module")
def fit(data, background):
    return fitted(data, background)


@pytest.mark.statistical
def test_yield_and_parameter_are_found(fit):
    """Within five errors, 6e-7 each."""
    result, size = fit.result, fit.result.parameters["size"]
    assert abs(result.signal_yield - N_SIGNAL) < 5 * np.sqrt(N_SIGNAL + 40)
    assert fit.values["size"] == pytest.approx(SIZE, rel=5 * 2 * WIDTH / np.sqrt(N_SIGNAL))
    assert result.interval_95[0] < result.interval_68[0] < result.signal_yield < result.interval_68[1]
    assert size.interval_95[0] < size.interval_68[0] < size.value < size.interval_68[1] < size.interval_95[1]
    assert result.t > 50.0
    assert result.background_yield + result.signal_yield == pytest.approx(result.n_events)
    assert result.response.value == pytest.approx(1.0, abs=5 * result.response.error)
    assert result.response.n_events > 1450  # of 1500, in the window


@pytest.mark.statistical
def test_no_factor_is_missing_between_the_densities(fit):
    """Of 20,000 events from the background, 6e-7 at five errors."""
    value, error = kappa(fit, np.array([SIZE]), n=20_000, seed=3)
    assert value == pytest.approx(1.0, abs=5 * error)


def test_same_seed_same_result_and_round_trip(fit, data, background):
    again = fitted(data, background)
    assert again.result.to_json() == fit.result.to_json()
    stored = FamilyFit.from_json(fit.result.to_json())
    assert str(stored) == str(fit)
    older = json.loads(fit.result.to_json())
    del older["response"]  # runs that did not measure it
    assert FamilyFit.from_json(json.dumps(older)).response is None


@pytest.mark.statistical
def test_an_interval_from_toys_is_near_that_of_the_profile(fit):
    """No toy of five without signal reaches t > 50."""
    found = hz.family_interval(fit, cl=0.68, toys=5, seed=4)
    assert found.p_null == pytest.approx(1 / 6)
    low, high = fit.result.interval_68
    assert low - 0.5 * (fit.signal_yield - low) <= found.lower < fit.signal_yield < found.upper
    assert found.upper <= high + 0.5 * (high - fit.signal_yield) + 1.0


def test_questions_that_make_no_sense(fit, data, background):
    with pytest.raises(InputError, match="two of size"):
        fit.contour("size", "mass")
    with pytest.raises(InputError, match="at least 5 toys"):
        hz.family_interval(fit, toys=3, seed=1)
    with pytest.raises(InputError, match="0 < cl < 1"):
        hz.family_interval(fit, cl=1.0, seed=1)
    weighted = hz.Dataset.from_arrays({name: data[name] for name in data.names}, weights=np.ones(len(data)))
    with pytest.raises(InputError, match="without weights"):
        fitted(weighted, background)
