"""Global p-values against brute force: random fields whose largest value is drawn as often as it takes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, gumbel_r, norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.look_elsewhere import global_p_value, gross_vitells, scan_result
from hisigma_zfit.results import WindowScan

N = 60  # windows
WIDTH = 3.0  # standard deviation of the smoothing, in windows
LOCATION, SCALE = 25.0, 4.0


def fields(n, seed, *, width=WIDTH, size=N):
    """Smooth Gaussian fields of unit variance, shape (n, size)."""
    reach = int(4 * width) + 1
    place = np.arange(size + 2 * reach)[:, None] - np.arange(reach, size + reach)
    kernel = np.exp(-0.5 * (place / width) ** 2)
    noise = np.random.default_rng(seed).standard_normal((n, len(kernel)), dtype=np.float32)
    return noise @ (kernel / np.sqrt((kernel**2).sum(axis=0))).astype(np.float32)


def statistics(n, seed):
    """The same as test statistics with Gumbel distributions."""
    return gumbel_r(LOCATION, SCALE).isf(norm.sf(fields(n, seed).astype(np.float64)))


@pytest.fixture(scope="module")
def largest():
    """Of 200,000 fields."""
    return np.concatenate([fields(50_000, seed).max(axis=1) for seed in range(4)])


@pytest.mark.statistical
@pytest.mark.parametrize("z", [2.5, 3.0, 3.5])
def test_gross_vitells_is_brute_force(largest, z):
    """The bound is an equality where it is small.  Five errors of both: 6e-7; 3 % for what crosses between windows."""
    exact = np.mean(largest > z)
    observed = np.full(N, -1.0)
    observed[10] = z
    found = gross_vitells(observed, fields(100, 11))
    error = np.hypot(found.p_global_error, np.sqrt(exact / len(largest)))
    assert found.p_global == pytest.approx(exact + 0.5 * exact**2, abs=5 * error + 0.03 * exact)
    assert found.crossings == pytest.approx(np.exp(-0.5) * (N - 1) / (2 * np.pi * np.sqrt(2) * WIDTH), rel=0.4)


def test_the_formula_is_that_of_rice():
    toys = np.array([[0.0, 2.0, 0.0, 2.0, 2.0], [2.0, 0.0, 0.0, 0.0, 0.5]])
    found = gross_vitells(np.array([0.0, 4.0, 0.0, 0.0, 0.0]), toys)
    assert (found.crossings, found.z) == (1.0, 4.0)
    assert found.p_global == pytest.approx(norm.sf(4.0) + np.exp(-7.5))
    assert found.p_global_error == pytest.approx(np.sqrt(2) / 2 * np.exp(-7.5))
    assert gross_vitells(np.full(5, -2.0), toys).p_global == 1.0


@pytest.mark.statistical
def test_all_ways_to_the_global_p_value_agree(largest):
    """Counting and both extrapolations of one scan with 400 toys, at a significance of 3 in one window.

    Counting within five binomial errors.  The extrapolations have errors of a fit to 400 toys: a fifth each of them, of
    which a factor of two is 3.5; this seed passes for ever.
    """
    exact = np.mean(largest > 3.0)
    observed = statistics(1, 21)[0]
    observed[30] = gumbel_r(LOCATION, SCALE).isf(norm.sf(3.0))
    windows = [(float(k), float(k + 1)) for k in range(N)]
    scan = scan_result(windows, [1000] * N, observed, statistics(400, 22), seed=1)
    assert scan.best == 30
    assert scan.p_global == pytest.approx(exact, abs=5 * np.sqrt(exact / 400))
    assert 0.5 < scan.p_global_extrapolated / exact < 2.0
    assert 0.5 < scan.gross_vitells.p_global / exact < 2.0
    assert scan.windows[30].p_extrapolated == pytest.approx(norm.sf(3.0), rel=0.6)
    assert scan.trials == scan.p_global_extrapolated / scan.windows[30].p_extrapolated
    assert 5.0 < scan.trials < N
    text = str(scan)
    assert "Gross-Vitells" in text
    assert text.count(" <\n") == 1
    assert WindowScan.from_json(scan.to_json()).to_json() == scan.to_json()


@pytest.mark.statistical
def test_counting_is_exact_without_a_signal():
    """1,000 experiments with 19 toys: 5 % of them have p <= 0.05 whatever the windows' scales; false alarm 1e-6."""
    scales = np.array([1.0, 10.0, 0.1, 3.0, 1.0, 1.0])
    t = np.exp(fields(20_000, 5, width=1.0, size=6)).reshape(1000, 20, 6) * scales
    p = np.array([global_p_value(each[0], each[1:]) for each in t])
    assert set(np.round(p * 20, 9)) <= set(range(1, 21))
    low, high = binom(1000, 0.05).ppf([5e-7, 1 - 5e-7])
    assert low <= np.sum(p <= 0.05 + 1e-9) <= high


def test_a_signal_in_a_narrow_window_counts_as_much_as_in_a_wide_one():
    rng = np.random.default_rng(3)
    toys = rng.gumbel([30.0, 300.0], [4.0, 40.0], (99, 2))
    assert global_p_value(np.array([80.0, 280.0]), toys) == 0.01
    assert global_p_value(np.array([28.0, 800.0]), toys) == 0.01
    assert global_p_value(np.array([28.0, 280.0]), toys) > 0.3


def test_few_toys_count_only_and_none_say_nothing():
    windows = [(0.0, 1.0), (1.0, 2.0)]
    toys = np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 0.5]])
    few = scan_result(windows, [500, 600], np.array([9.0, 1.5]), toys, seed=1)
    assert [w.p_local for w in few.windows] == [0.25, 0.5]
    assert (few.best, few.p_global, few.trials, few.gross_vitells) == (0, 0.25, 1.0, None)
    assert np.isnan(few.p_global_extrapolated)
    none = scan_result(windows, [500, 600], np.array([1.0, 9.0]), np.empty((0, 2)), seed=1)
    assert (none.best, none.n_toys) == (1, 0)
    assert np.isnan([none.p_global, none.trials, none.windows[0].p_local]).all()
    assert "no toys" in str(none)


@pytest.mark.parametrize("function", [global_p_value, gross_vitells])
@pytest.mark.parametrize("toys", [np.empty((0, 3)), np.ones((4, 2))])
def test_toys_are_of_the_same_windows(function, toys):
    with pytest.raises(InputError, match="toys with 3 windows each"):
        function(np.ones(3), toys)
