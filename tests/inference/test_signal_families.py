"""Families of signals whose density is known exactly: a magnitude that scales, an angle, and a heavier magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, lognorm, truncnorm

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.family_likelihood import Landscape, Ratios
from hisigma_zfit.inference.family_profiles import YieldProfile, edges, peaks, polish
from hisigma_zfit.inference.signal_coordinates import Frame
from hisigma_zfit.inference.signal_families import ScaledSignal, SignalFamily

WINDOW, WIDTH = (90.0, 110.0), 0.15
FRAME = Frame(("light", "angle"), "m", np.array([[0.0, np.inf], [0.0, 1.0]]), WINDOW)
PAIR = Frame(("light", "step"), "m", np.array([[0.0, np.inf], [0.0, np.inf]]), WINDOW)
MASS = truncnorm(-10 / 3, 10 / 3, 100.0, 3.0)


def signal(theta, n, rng):
    """`light` about theta, an angle that rises, a peak of the mass."""
    return {
        "light": lognorm(WIDTH, scale=theta).rvs(n, random_state=rng),
        "angle": beta(2, 1).rvs(n, random_state=rng),
        "m": MASS.rvs(n, random_state=rng),
    }


def log_signal(events, theta):
    parts = lognorm(WIDTH, scale=theta).logpdf(events["light"]), beta(2, 1).logpdf(events["angle"])
    return sum(parts) + MASS.logpdf(events["m"])


def pair(light, heavy, n, rng):
    """Two magnitudes in order, the heavier one told by the difference."""
    a, b = (lognorm(WIDTH, scale=theta).rvs(2 * n, random_state=rng) for theta in (light, heavy))
    kept = np.flatnonzero(b > a)[:n]
    return {"light": a[kept], "step": (b - a)[kept], "m": MASS.rvs(len(kept), random_state=rng)}


def background(n, rng):
    return {"light": rng.exponential(80.0, n), "angle": rng.random(n), "m": rng.uniform(*WINDOW, n)}


def log_background(events):
    return -events["light"] / 80.0 - np.log(80.0) - np.log(WINDOW[1] - WINDOW[0])


def prepared(density, events):
    features = density.coordinates.frame.features
    return density.prepare(np.column_stack([events[name] for name in features]), events["m"])


@pytest.fixture(scope="module")
def scaled():
    sample = Dataset.from_arrays(signal(100.0, 4000, np.random.default_rng(1)))
    return ScaledSignal(sample, scale={"light": "theta"}, at={"theta": 100.0}).learn(FRAME, seed=1)


@pytest.fixture(scope="module")
def grid():
    rng = np.random.default_rng(2)
    samples = {(theta,): Dataset.from_arrays(signal(theta, 3000, rng)) for theta in (60.0, 90.0, 140.0)}
    return SignalFamily(samples, theta=("theta",), moving=("light",)).learn(FRAME, seed=1)


@pytest.fixture(scope="module")
def ordered():
    sample = Dataset.from_arrays(pair(100.0, 150.0, 4000, np.random.default_rng(3)))
    at = {"light": 100.0, "heavy": 150.0}
    return ScaledSignal(sample, scale={"light": "light", "light + step": "heavy"}, at=at).learn(PAIR, seed=1)


@pytest.mark.statistical
@pytest.mark.parametrize(("kind", "theta"), [("scaled", 60.0), ("scaled", 150.0), ("grid", 75.0), ("grid", 140.0)])
def test_densities_are_normalised_and_those_of_the_truth(kind, theta, request):
    """E_b[p_s / p_b] is 1, by 100,000 events: beyond five of its errors 6e-7; the divergence has a noise of 0.002."""
    density = request.getfixturevalue(kind)
    events = background(100_000, np.random.default_rng(4))
    ratio = np.exp(density.log_density(prepared(density, events), np.array([theta])) - log_background(events))
    assert ratio.mean() == pytest.approx(1.0, abs=5 * ratio.std() / np.sqrt(len(ratio)))
    new = signal(theta, 20_000, np.random.default_rng(5))
    found = density.log_density(prepared(density, new), np.array([theta]))
    assert 0.0 < np.mean(log_signal(new, theta) - found) < 0.05


@pytest.mark.statistical
def test_what_a_scaled_expression_puts_outside_is_divided_out(ordered):
    """At equal magnitudes half of the mixture is outside; normalised by 60,000 events, 6e-7 at five errors."""
    theta = np.array([120.0, 121.0])
    assert ordered.share_inside(theta) == pytest.approx(0.5, abs=0.1)
    rng = np.random.default_rng(6)
    events = {"light": rng.uniform(40, 300, 60_000), "step": rng.uniform(0, 250, 60_000)}
    events["m"] = rng.uniform(*WINDOW, 60_000)
    ratio = np.exp(ordered.log_density(prepared(ordered, events), theta)) * 260 * 250 * 20
    assert ratio.mean() == pytest.approx(1.0, abs=5 * ratio.std() / np.sqrt(len(ratio)) + 0.02)
    x, m = ordered.sample(theta, 5000, rng)
    assert np.all(x > 0.0)
    assert len(m) == 5000
    assert np.all((m > WINDOW[0]) & (m < WINDOW[1]))
    new = pair(*theta, 5000, rng)
    for column, name in zip(x.T, ("light", "step"), strict=True):
        assert np.median(column) == pytest.approx(np.median(new[name]), rel=0.06)


def test_coordinates_go_there_and_back(ordered, scaled):
    for density, events in (
        (ordered, pair(90.0, 160.0, 500, np.random.default_rng(7))),
        (scaled, background(500, np.random.default_rng(8))),
    ):
        coordinates = density.coordinates
        x = np.column_stack([events[name] for name in coordinates.frame.features])
        z, log_jacobian = coordinates.forward(x, events["m"])
        back, m = coordinates.inverse(z)
        np.testing.assert_allclose(back, x, rtol=1e-6)
        np.testing.assert_allclose(m, events["m"], rtol=1e-9)
        matrix = np.empty((3, 3))
        for k, step in enumerate(1e-5 * np.eye(3)):
            ends = [
                coordinates.forward(x[:1] + sign * step[:2], events["m"][:1] + sign * step[2])[0][0] for sign in (1, -1)
            ]
            matrix[:, k] = (ends[0] - ends[1]) / 2e-5
        assert np.linalg.slogdet(matrix)[1] == pytest.approx(log_jacobian[0], abs=1e-4)


def test_the_yield_is_that_of_the_extended_likelihood():
    log_ratio = np.concatenate([(rng := np.random.default_rng(9)).normal(-4, 3, 3000), rng.normal(4, 1, 60)])
    ratios, ratio = Ratios.of(log_ratio), np.exp(log_ratio)
    n = len(ratio)
    s, b = np.meshgrid(np.linspace(30, 90, 31), np.linspace(2950, 3050, 51), indexing="ij")
    value = 2 * (-s - b + np.log(s[..., None] * ratio + b[..., None]).sum(axis=-1) + n - n * np.log(n))
    best, at = ratios.best()
    assert best == pytest.approx(value.max(), abs=0.02)
    assert at == pytest.approx(s[:, 0][value.max(axis=1).argmax()], abs=2.0)
    for k in (2, 15, 28):
        assert ratios.at(s[k, 0]) == pytest.approx(value[k].max(), abs=0.02)
    assert Ratios.of(np.full(100, -3.0)).best() == (0.0, 0.0)


@pytest.fixture(scope="module")
def landscape(grid):
    rng = np.random.default_rng(10)
    parts = background(4000, rng), signal(75.0, 120, rng)
    events = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Landscape(grid, prepared(grid, events), log_background(events))


@pytest.mark.statistical
def test_a_signal_between_the_points_is_found(landscape):
    """Parameter and yield within five of their errors, 1e-6: twice WIDTH / sqrt(S), and of what is under the peak."""
    found = peaks(landscape)
    t, s = found[0].t, landscape.ratios(np.exp(found[0].t)).best()[1]
    assert t[0] == pytest.approx(np.log(75.0), abs=5 * 2 * WIDTH / np.sqrt(120))
    assert s == pytest.approx(120, abs=5 * np.sqrt(120 + 250))
    assert found[0].value > 30.0
    line = np.linspace(np.log(60), np.log(140), 100)
    assert found[0].value == pytest.approx(max(landscape.value(np.array([v])) for v in line), abs=0.05)


def test_the_profile_of_the_yield_is_that_of_a_scan(landscape):
    profile = YieldProfile(landscape, peaks(landscape))
    line = np.linspace(np.log(60), np.log(140), 100)
    ratios = [landscape.ratios(np.array([np.exp(v)])) for v in line]
    for s in (60.0, 120.0, 160.0):
        value, t = profile.maximum(s)
        values = [r.at(s) for r in ratios]
        assert value == pytest.approx(max(values), abs=0.1)
        assert t[0] == pytest.approx(line[int(np.argmax(values))], abs=0.03)


def test_edges_and_maxima_of_what_is_known():
    low, high = edges(lambda v: (v - 1.0) ** 2 / 0.25, 1.0, (1.0, 3.84), (0.6, 100.0), 0.1)
    np.testing.assert_allclose(low, [0.6, 1.5], atol=0.02)
    np.testing.assert_allclose(high, [0.6, 1.98], atol=0.02)
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])
    value, point = polish(lambda p: float(3.0 - (p - 1.0) @ matrix @ (p - 1.0)), np.zeros(2), np.full(2, 0.7))
    assert value == pytest.approx(3.0, abs=0.02)
    np.testing.assert_allclose(point, 1.0, atol=0.15)


def test_descriptions_that_make_no_sense():
    sample = Dataset.from_arrays(signal(100.0, 600, np.random.default_rng(11)))
    weighted = Dataset.from_arrays({name: sample[name] for name in sample.names}, weights=np.ones(600))

    def learn(scale, signal=sample):
        return ScaledSignal(signal, scale=scale, at=dict.fromkeys(scale.values(), 100.0)).learn(FRAME, seed=1)

    with pytest.raises(InputError, match="without weights"):
        learn({"light": "theta"}, weighted)
    with pytest.raises(InputError, match="'heavy' in the features"):
        learn({"heavy": "theta"})
    with pytest.raises(InputError, match="in proportion with light"):
        learn({"light ** 2": "theta"})
    with pytest.raises(InputError, match="nothing else scales"):
        learn({"light": "theta", "2 * light": "other"})
    with pytest.raises(InputError, match="at least 500 events"):
        learn({"light": "theta"}, sample.select(np.arange(600) < 100))
    with pytest.raises(InputError, match="a value in at="):
        ScaledSignal(sample, scale={"light": "theta"}, at={"mass": 100.0})
    with pytest.raises(InputError, match="positive parameters"):
        ScaledSignal(sample, scale={"light": "theta"}, at={"theta": -1.0})
    with pytest.raises(InputError, match="two or more points"):
        SignalFamily({(100.0,): sample}, theta=("theta",))
    with pytest.raises(InputError, match="a column 'theta'"):
        SignalFamily(sample, theta=("theta",))
    with pytest.raises(InputError, match="different values of b"):
        SignalFamily({(1.0, 2.0): sample, (2.0, 2.0): sample}, theta=("a", "b"))
    with pytest.raises(InputError, match="a value of each of a, b"):
        SignalFamily({(1.0,): sample, (2.0,): sample}, theta=("a", "b"))


def test_columns_of_parameters_are_the_same_as_a_table():
    rng = np.random.default_rng(12)
    parts = {theta: signal(theta, 700, rng) for theta in (80.0, 120.0)}
    joint = {name: np.concatenate([part[name] for part in parts.values()]) for name in parts[80.0]}
    joint["theta"] = np.repeat(list(parts), 700)
    table = SignalFamily({(k,): Dataset.from_arrays(part) for k, part in parts.items()}, ("theta",), ("light",))
    columns = SignalFamily(Dataset.from_arrays(joint), ("theta",), ("light",))
    events = background(50, rng)
    first, second = (family.learn(FRAME, seed=1) for family in (table, columns))
    at = np.array([100.0])
    expected = first.log_density(prepared(first, events), at)
    np.testing.assert_allclose(second.log_density(prepared(second, events), at), expected)
