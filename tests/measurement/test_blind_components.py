"""Blind runs of several components and categories, with densities of known truth in the place of trained ones."""

from __future__ import annotations

from functools import partial

import folders
import models
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import hisigma_zfit as hz
from hisigma_zfit.density import training
from hisigma_zfit.density.flows import DistributionFlow
from hisigma_zfit.inference.forecast import Forecast
from hisigma_zfit.measurement.stored import BlindResults, load_blind

pytestmark = pytest.mark.slow

N_BACKGROUND, N_VH = 4000, 60
EDGE = 0.45  # of the feature c between the categories
SHARE = (np.exp(-25 / 50) - np.exp(-45 / 50)) / (1 - np.exp(-90 / 50))  # of the background in the region


def gaussian(mean):
    """Two independent features of unit width, the same at every mass."""

    def at(m):
        location = tf.zeros_like(tf.convert_to_tensor(m, tf.float64))[:, None] + np.full(2, mean)
        return tfp.distributions.MultivariateNormalDiag(location, np.ones(2))

    return DistributionFlow(at, features=("a", "b"), given="m", signal_region=models.REGION)


DENSITIES = {"background": gaussian(0.0), "signal": gaussian(0.8), "VH": gaussian(0.3)}


def events(rng, n, mean, *, peak=True):
    m = rng.normal(125, 2, n) if peak else 90 - 50 * np.log1p(rng.random(n) * np.expm1(-90 / 50))
    return {"m": m, "a": rng.normal(mean, 1, n), "b": rng.normal(mean, 1, n), "c": rng.random(n), "w": np.full(n, 0.05)}


class _SeenError(Exception):
    """The test has seen enough."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("known"), np.random.default_rng(31)
    parts = [events(rng, N_BACKGROUND, 0.0, peak=False), events(rng, N_VH, 0.3), events(rng, 70, 0.8)]
    folders.write(folder / "data.root", {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    folders.write(folder / "signal.root", events(rng, 2500, 0.8))
    folders.write(folder / "vh.root", events(rng, 2000, 0.3))
    return folder


@pytest.fixture
def blind(inputs, tmp_path, monkeypatch):
    """A blind run of other options, stored and read back."""
    monkeypatch.setattr(training, "train_flow", lambda *_, name, **__: DENSITIES[name.split("_")[0]])
    monkeypatch.setattr("hisigma_zfit.model.stored.save_model", lambda *_: None)  # they are functions of Python
    monkeypatch.setattr(BlindResults, "figures", lambda self: {})
    monkeypatch.setattr("hisigma_zfit.inference.forecast.Forecast", partial(Forecast, events=2000))
    plain = {
        "data": inputs / "data.root",
        "signal": inputs / "signal.root",
        "mass": "m",
        "range": (90, 180),
        "signal_region": (115, 135),
        "features": ["a", "b"],
        "bootstraps": 1,
        "combine": "mixture",
        "blind": True,
    }

    def run(name, **options):
        hz.measure(out=tmp_path / name, **plain | options)
        return load_blind(tmp_path / name)

    run.vh = {"files": inputs / "vh.root", "expected": 50}
    return run


def test_what_the_sidebands_cannot_see_stays_where_it_was_expected(blind):
    results = blind("known", backgrounds={"VH": blind.vh | {"uncertainty": 0.2}})
    known = results.measurement
    free = blind("free", backgrounds={"VH": blind.vh | {"uncertainty": "free"}}).measurement
    assert all(list(p.components) == ["background"] for p in results.sidebands)  # the rest has no event there
    assert set(known.parameters) == {"n_bkg", "p1", "p2", "VH_yield"}
    # the peak has no event beside the region to speak of: what was known is all that is known
    assert known.parameters["VH_yield"].value == pytest.approx(0.0, abs=0.1)
    assert known.parameters["VH_yield"].error == pytest.approx(1.0, abs=0.02)
    assert set(free.parameters) == {"n_bkg", "p1", "p2"}
    for each in (known, free):
        # five errors are missed once in two million
        expected = SHARE * N_BACKGROUND + 50
        assert abs(each.region_background.value - expected) < 5 * each.region_background.error
        assert each.signal_response is not None
    assert free.region_background.value == pytest.approx(known.region_background.value, rel=1e-3)
    # 20 % of 50 events more, in quadrature
    wider = np.hypot(free.region_background.error, 0.2 * 50)
    assert known.region_background.error == pytest.approx(wider, rel=0.05)
    # a number that only the region can tell costs precision there
    assert free.expected[-1].name == known.expected[-1].name == "5 sigma"
    assert free.expected[-1].signal > known.expected[-1].signal


def test_categories_are_fitted_together_and_shown_apart(blind, inputs):
    cuts = {"low": {"cut": f"c < {EDGE}"}, "high": {"cut": f"c >= {EDGE}"}}
    results = blind("categories", categories=cuts, weight="w", yield_systematic={"lumi": 1.1}, inject=30)
    b = results.measurement
    columns = hz.read(inputs / "data.root", columns=["m", "c"])
    outside = ~models.REGION.contains(columns["m"])
    assert b.n_events.sidebands == outside.sum()  # Gaussian densities have no edges
    assert b.n_events.dropped == {}
    assert set(b.parameters) == {"lumi", *(f"{name}_{category}" for name in ("n_bkg", "p1", "p2") for category in cuts)}
    for category, part in {"low": EDGE, "high": 1 - EDGE}.items():
        n = b.parameters[f"n_bkg_{category}"]
        assert abs(n.value - part * N_BACKGROUND) < 5 * n.error
    assert abs(b.region_background.value - SHARE * N_BACKGROUND) < 5 * b.region_background.error
    assert [e.name for e in b.expected] == ["none", "3 sigma", "5 sigma", "simulation", "injected"]
    simulation, injected = b.expected[-2:]
    assert simulation.signal == pytest.approx(0.05 * 2500)  # the weights' sum
    # the luminosity is ten per cent of the signal
    assert injected.nominal.error == pytest.approx(np.hypot(injected.stat_only, 3.0), rel=0.03)
    shown = {(p.category, p.observable): p for p in results.sidebands}
    assert set(shown) == {(category, name) for category in cuts for name in ("m", "a", "b")}
    assert shown["low", "m"].data.sum() == (outside & (columns["c"] < EDGE)).sum()
    assert shown["low", "m"].selection == "low, sidebands"
    assert abs(b.signal_response.value - 1.0) < 5.0 * b.signal_response.error


def test_fitted_weights_are_foretold_by_the_average(blind, monkeypatch):
    """Known densities cannot be bootstrapped: what is asked for is seen on the way to the forecast."""
    asked = []

    def watching(*_, method, **__):
        asked.append(method)
        raise _SeenError

    monkeypatch.setattr("hisigma_zfit.inference.forecast.Forecast", watching)
    for combine in ("weights", "envelope"):
        with pytest.raises(_SeenError):
            blind(combine, combine=combine, bootstraps=2)
    assert asked == ["mixture", "envelope"]
