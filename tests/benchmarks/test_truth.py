"""The worlds of known truth are what they say: densities that are normalised and drawn from, and a fit that is one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "truth"))

from asimov import TruthSample
from report import WAYS, summarise, table
from rivals import copula
from worlds import WORLDS

from hisigma_zfit.data import Dataset


@pytest.mark.parametrize("component", ["background", "signal"])
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.statistical
def test_densities_are_normalised_and_are_what_is_drawn(name, component):
    """The mean of p / q under q is one; q is the same density at another mass.  False alarms: 6e-7 each, 16 of them."""
    density = getattr(WORLDS[name], component)
    for here, there in ((0.0, 0.15), (-0.1, 0.05)):
        t = np.full(40_000, here)
        x = density.sample(t, np.random.default_rng(3))
        ratio = np.exp(density.log_prob(x, np.full_like(t, there)) - density.log_prob(x, t))
        assert abs(ratio.mean() - 1.0) <= 5.0 * ratio.std() / np.sqrt(ratio.size) + 1e-12


def test_sidebands_have_their_share():
    world = WORLDS["edges"]
    m = world.draw_background_mass(200_000, np.random.default_rng(1))
    expected = world.share_of_sidebands
    assert np.mean(~world.inside(m)) == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / m.size))


@pytest.mark.parametrize("name", ["edges", "small"])
def test_the_fit_is_that_of_a_plain_minimiser(name):
    """-log L written down once more, its best signal found by another method."""
    world = WORLDS[name]
    truth = TruthSample(world, n_background=3000, n_signal=1000)
    low, high = world.mass_range
    edges = np.linspace(low, high, 4001)
    side = 0.5 * (edges[1:] + edges[:-1])
    side = side[~world.inside(side)]
    expected = np.exp(-world.slope * (side - low) / (high - low))
    expected *= world.n_background * world.share_of_sidebands / expected.sum()
    fine = np.linspace(0.0, 1.0, 20_001)
    ratio = np.exp(truth.exact_signal - truth.exact_background)
    peak = world.signal_mass_density(truth.m) * (high - low)

    def value(theta):
        n_s, n_b, p1, p2 = theta
        norm = np.trapezoid(np.exp(-p1 * fine + p2 * fine**2), fine)
        falling = [
            np.exp(-p1 * t + p2 * t**2) / norm for t in ((truth.m - low) / (high - low), (side - low) / (high - low))
        ]
        inside = np.log(n_s * peak * ratio + n_b * falling[0])
        return n_s + n_b - truth.weights @ inside - expected @ np.log(n_b * falling[1])

    start = np.array([world.n_signal, world.n_background, world.slope, 0.0])
    scale = np.array([20.0, 200.0, 0.1, 0.1])
    best = minimize(lambda z: value(start + scale * z) - value(start), np.zeros(4), method="BFGS", tol=1e-9)
    found = truth.fit(truth.exact_background, truth.exact_signal)
    assert found.signal == pytest.approx(start[0] + scale[0] * best.x[0], abs=0.02 * found.error)
    assert found.noise == pytest.approx(found.error, rel=0.05)  # the exact densities are no worse than they say


@pytest.mark.statistical
def test_the_leverage_is_the_spread_of_a_fitted_polynomial():
    """400 fits of a parabola to noise: the spread is right to 3.5 %; five of that, 6e-7."""
    world, rng = WORLDS["edges"], np.random.default_rng(4)
    assert world.leverage(0) == pytest.approx(1.0)
    assert world.leverage(0, ((90.0, 100.0),)) > 1.0  # fewer events
    found = []
    for _ in range(400):
        m = world.draw_background_mass(1000, rng, sidebands=True)
        fit = np.polynomial.Polynomial.fit(m, rng.standard_normal(1000), 2)
        found.append(fit(world.peak[0]))
    assert np.std(found) * np.sqrt(1000.0) == pytest.approx(world.leverage(2), rel=0.18)


@pytest.mark.parametrize("name", ["edges", "small"])
def test_the_influence_of_the_background_is_the_derivative_of_the_fit(name):
    """A small change of log p_b, fitted again."""
    truth = TruthSample(WORLDS[name], n_background=3000, n_signal=1000)
    low, high = truth.world.mass_range
    change = 1e-3 * np.sin(3.0 * truth.x[:, 0])
    plain = truth.fit(truth.exact_background, truth.exact_signal)
    moved = truth.fit(truth.exact_background + change, truth.exact_signal)
    _, theta, covariance = truth.minimum(truth.exact_background, truth.exact_signal)
    t = (truth.m - low) / (high - low)
    ratio = truth.world.signal_mass_density(truth.m) * (high - low)
    ratio *= np.exp(truth.exact_signal - truth.exact_background)
    # the influence is for the density of expected events; here are events of that density
    n_s, n_b, p1, p2 = theta
    fine = np.linspace(0.0, 1.0, 20_001)
    falling = np.exp(-p1 * t + p2 * t**2) / np.trapezoid(np.exp(-p1 * fine + p2 * fine**2), fine)
    each = truth.influence(t, ratio, theta, covariance) / (n_s * ratio + n_b * falling)
    assert moved.signal - plain.signal == pytest.approx(truth.weights @ (each * change), rel=0.02)


def test_the_counting_floor_falls_with_the_root_of_the_events():
    truth = TruthSample(WORLDS["small"], n_background=5000, n_signal=500)
    floor = truth.counting_floor(1000.0)
    assert truth.counting_floor(4000.0) == pytest.approx(floor / 2.0)
    assert 0.1 < floor / truth.fit(truth.exact_background, truth.exact_signal).error < 1.0


def test_a_perfect_training_has_no_shift_and_covers():
    """Every fit is the exact one: the coverage is that of a Gaussian, whatever the way."""
    exact = [100.0, 20.0, 20.0, -5.0]
    names = ("exact", "plain", "background alone", "signal alone", "mixture", "copula", "reweighted")
    fits = dict.fromkeys(names, exact) | {name: [exact] * 5 for name in ("bootstraps", "signal bootstraps", "halves")}
    records = [{"world": "edges", "extra": 0, "number": k, "sidebands": 30_000, "fits": fits} for k in range(3)]
    records = [record | {"unseen": [0.0] * 5} for record in records]
    rows = summarise(records)
    assert {row["way"] for row in rows} == set(WAYS)
    for row in rows:
        assert (row["shift"], row["width"]) == (0.0, pytest.approx(1.0))
        np.testing.assert_allclose(row["coverage"], [68.2689, 95.4500], atol=1e-3)
    assert "+0.000 +- 0.000" in table(records)


def test_a_bias_that_halves_tell_is_subtracted():
    """One over the number of events, which the jackknife takes for granted and unseen events measure."""
    exact, biased, half = [100.0, 20.0, 20.0, -5.0], [110.0, 20.0, 20.0, -5.0], [120.0, 20.0, 20.0, -5.0]
    fits = {"exact": exact, "plain": biased, "halves": [half, half]}
    fits |= {name: [exact] * 5 for name in ("bootstraps", "signal bootstraps")}
    record = {"world": "edges", "extra": 0, "number": 0, "sidebands": 30_000, "fits": fits, "unseen": [18.0, 22.0]}
    rows = {row["way"]: row for row in summarise([record])}
    for way in ("the same less what halves find more", "halves less what they find unseen (default)"):
        assert rows[way]["shift"] == pytest.approx(0.0)
        np.testing.assert_allclose(rows[way]["coverage"], [68.2689, 95.4500], atol=1e-3)


def test_a_copula_is_exact_where_the_truth_is_one():
    """Correlated normal features: the density by scipy."""
    rng = np.random.default_rng(4)
    matrix = np.array([[1.0, 0.6], [0.6, 1.0]])
    x = rng.multivariate_normal(np.zeros(2), matrix, size=20_000)
    world = replace(WORLDS["smooth"], features=("a", "b"))
    events = Dataset.from_arrays({"a": x[:, 0], "b": x[:, 1], "m": np.zeros(len(x))})
    points = rng.multivariate_normal(np.zeros(2), matrix, size=5000)
    learned = copula(world, events, points)
    inside = np.isfinite(learned)
    difference = multivariate_normal(np.zeros(2), matrix).logpdf(points)[inside] - learned[inside]
    assert abs(difference.mean()) < 0.02
