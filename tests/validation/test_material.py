"""What becomes of the events: nothing of the blind data, pairs that differ in one thing, no event on both sides."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import zfit

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.inputs import Inputs, Sample
from hisigma_zfit.validation.material import RESERVED, collect, modified
from hisigma_zfit.validation.options import ValidateOptions
from hisigma_zfit.validation.plan import Job

REGION = (120.0, 130.0)
SETTINGS = ValidateOptions.build(
    data="data.root", signal="signal.root", mass="m", range=(90, 180), signal_region=REGION, features=["x"]
)
INJECTION = Job("injection-000", "injection", events_seed=11, training_seed=12, strength=5.0)


class Background:
    """A feature that is flat from 0 to 1."""

    features = ("x",)

    def sample(self, m, *, seed):
        return np.random.default_rng(seed).random((len(m), 1))


def make(*, weighted=False, more=True):
    rng = np.random.default_rng(1)
    m = np.concatenate([90 + 90 * rng.random(6000), rng.normal(125.0, 4.0, 300)])
    data = hz.Dataset.from_arrays({"m": m, "x": rng.random(len(m))})
    further = hz.Dataset.from_arrays({"m": 90 + 90 * rng.random(4000), "x": rng.random(4000)})
    weights = rng.random(5000) * (rng.random(5000) < 0.5) if weighted else None
    simulated = hz.Dataset.from_arrays({"m": rng.normal(125.0, 4.0, 5000), "x": rng.random(5000) ** 0.5}, weights)
    mass, region = zfit.Space("m", 90, 180), hz.SignalRegion(*REGION)
    pool = data.concatenate(further) if more else data
    inputs = Inputs(
        mass, region, ("x",), data, Sample(pool.sidebands(mass, region), {}), Sample(simulated.within(mass), {}), {}
    )
    material = collect(inputs, SETTINGS.measured(), seed=3)
    return inputs, dataclasses.replace(material, sigma=20.0)


@pytest.fixture(scope="module")
def made():
    return make()


def rows(*sets):
    """Every event as a tuple of its numbers."""
    return {tuple(row) for events in sets for row in np.stack([events["m"], events["x"]], axis=1)}


def test_nothing_of_the_signal_regions_data_is_kept(made):
    """Whatever is in the pickle that goes to workers: no blind event, in no field."""
    inputs, material = made
    blind = inputs.data.select((inputs.data["m"] >= 120) & (inputs.data["m"] < 130))
    assert len(blind) > 500
    assert rows(material.sidebands, material.more, material.signal, material.reserve).isdisjoint(rows(blind))
    content = pickle.dumps(material)
    assert blind["x"][:3].tobytes() not in content
    assert material.sidebands["x"][:3].tobytes() in content
    other = dataclasses.replace(
        inputs, data=inputs.data.select((inputs.data["m"] < 120) | (inputs.data["m"] >= 130) | (inputs.data["x"] < 0.5))
    )
    again = collect(other, SETTINGS.measured(), seed=3)
    # half of the blind data less change nothing
    assert again.shape == material.shape
    assert np.array_equal(again.sidebands["m"], material.sidebands["m"])


def test_the_data_and_the_further_training_events_are_told_apart(made):
    inputs, material = made
    assert len(material.more) + len(material.sidebands) == len(inputs.training.events)
    assert rows(material.training) == rows(inputs.training.events)
    assert len(make(more=False)[1].more) == 0


def test_a_fifth_of_the_simulation_trains_nothing(made):
    """Of 5,000: 1,000 +- 28; five of these."""
    inputs, material = made
    assert len(material.reserve) + len(material.signal) == len(inputs.signal.events)
    assert len(material.reserve) == pytest.approx(RESERVED * 5000, abs=142)
    assert rows(material.reserve).isdisjoint(rows(material.signal))
    m = inputs.signal.events["m"]
    # the same share in the part that trains, five binomial errors
    assert material.signal_outside == pytest.approx(np.mean((m < 120) | (m >= 130)), abs=0.03)


def test_a_window_is_hidden_from_the_training_and_the_signal_moved_there(made):
    _, material = made
    job = Job("window-000", "window", events_seed=1, training_seed=2, window=(140.0, 150.0))
    change = modified(material, job, Background())
    inputs = change.inputs
    assert (inputs.region.lower, inputs.region.upper) == (140.0, 150.0)
    trained = inputs.training.events
    assert not inputs.region.contains(trained["m"]).any()
    assert not ((trained["m"] >= 120) & (trained["m"] < 130)).any()
    inside = inputs.data.select(inputs.region.contains(inputs.data["m"]))
    real = material.sidebands.select(inputs.region.contains(material.sidebands["m"]))
    assert rows(inside) == rows(real)
    np.testing.assert_allclose(inputs.signal.events["m"], material.signal["m"] + 20.0)
    # the true signal region is filled with as many events as the sidebands foretell, five Poisson errors
    filler = inputs.data.select((inputs.data["m"] >= 120) & (inputs.data["m"] < 130))
    foretold = material.shape.expected(*REGION)
    assert len(filler) == pytest.approx(foretold, abs=5 * np.sqrt(foretold))
    assert rows(filler).isdisjoint(rows(material.training))
    assert len(set(inputs.data.identity)) == len(inputs.data)


def test_injected_signal_is_simulation_that_trains_nothing(made):
    _, material = made
    change = modified(material, INJECTION, Background())
    assert change.injected == 100  # five errors of 20
    data = change.inputs.data
    injected = rows(data) & rows(material.reserve)
    assert len(injected) == 100
    assert rows(change.inputs.signal.events).isdisjoint(injected)
    outside = {row for row in injected if not 120 <= row[0] < 130}
    assert change.leaked == len(outside) > 0
    trained = rows(change.inputs.training.events)
    assert outside <= trained
    # sidebands of the data, and as many further ones as there were
    sidebands = data.select((data["m"] < 120) | (data["m"] >= 130))
    assert len(trained) == len(sidebands) + len(material.more)
    assert rows(sidebands) <= trained
    assert trained.isdisjoint(rows(material.training))  # all drawn anew


def test_the_clean_training_differs_by_the_leaked_events_alone(made):
    _, material = made
    dirty = modified(material, INJECTION, Background())
    clean = modified(material, dataclasses.replace(INJECTION, clean=True), Background())
    assert rows(clean.inputs.data) == rows(dirty.inputs.data)
    ours, theirs = clean.inputs.training.events, dirty.inputs.training.events
    assert clean.leaked == 0
    assert len(rows(theirs) - rows(ours)) == dirty.leaked
    # an event has the same identity in both, and so the same resamples
    identity = dict(zip(theirs["x"], theirs.identity, strict=True))
    assert all(identity[x] == number for x, number in zip(ours["x"], ours.identity, strict=True))


def test_strength_adds_signal_to_the_same_background(made):
    _, material = made
    without = modified(material, dataclasses.replace(INJECTION, strength=0.0), Background())
    assert (without.injected, without.leaked) == (0, 0)
    assert rows(without.inputs.data) <= rows(modified(material, INJECTION, Background()).inputs.data)


def test_weights_of_the_simulation_say_how_often_it_is_drawn():
    _, material = make(weighted=True)
    change = modified(material, INJECTION, Background())
    chosen = np.isin(material.reserve["x"], change.inputs.data["x"])
    assert np.sum(chosen) == 100
    assert material.reserve.weights[chosen].min() > 0
    # a draw by weights that are flat from 0 to 1 has a mean of 2/3 instead of 1/2; six errors of 0.024 for these seeds
    assert material.reserve.weights[chosen].mean() == pytest.approx(2 / 3, abs=0.14)


def test_more_signal_than_there_is_is_refused(made):
    _, material = made
    with pytest.raises(InputError, match="2000 simulated signal events that train nothing"):
        modified(material, dataclasses.replace(INJECTION, strength=100.0), Background())
