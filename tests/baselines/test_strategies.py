"""Strategies that the method is compared with, against what is known exactly.

Events have a mass and one feature; signal and background are Gaussian and uniform in the feature, so that the density
ratio, and with it the smallest error that any strategy can reach, is known.
"""

from __future__ import annotations

import random
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from peak_toy import events, exact, feature_ratio, space
from scipy.optimize import minimize, minimize_scalar

from hisigma_zfit.baselines import strategies as baselines
from hisigma_zfit.baselines.classifiers import FOLD, Classifier, cross_fit, train_classifier, train_ratio, with_folds
from hisigma_zfit.baselines.cuts import Candidates
from hisigma_zfit.baselines.weighted import LEAST_BACKGROUND
from hisigma_zfit.baselines.yield_fits import fit_yields
from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.results.strategies import Expectation, PairedSummary, StrategyResult, StrategySummary

REGION = SignalRegion(115, 135)


def optimal_error(n_signal, n_background):
    """Error of s from the Fisher information of the true densities, b floating."""
    sample = events(0, 200_000, 5)
    r = np.exp(exact(["m", "x"])(sample))
    total = n_signal * r + n_background
    information = np.empty((2, 2))
    for i, first in enumerate((r, np.ones_like(r))):
        for j, second in enumerate((r, np.ones_like(r))):
            information[i, j] = np.mean(first * second / total)
    return np.sqrt(np.linalg.inv(information)[0, 0])


def all_strategies(simulation):
    signal, background = simulation
    options = {"mass": space(), "region": REGION}
    features, everything = exact(["x"]), exact(["m", "x"])
    return [
        baselines.mass_only(signal, mass=space()),
        baselines.cut_and_fit(signal, background, features, **options),
        baselines.cut_and_fit(signal, background, features, **options, expected=0.03),
        baselines.categories(signal, background, features, **options, expected=0.03),
        baselines.score_templates(signal, background, everything, mass=space()),
        baselines.score_ratio(signal, background, everything, mass=space()),
    ]


@pytest.mark.statistical
def test_every_strategy_finds_the_signal_and_their_order_is_as_it_must_be(simulation):
    """Yields within five of their errors: false alarm 6e-7 for each of six."""
    strategies = all_strategies(simulation)
    data = events(300, 30_000, 3)
    results = {strategy.name: strategy.fit(data, dataset=4) for strategy in strategies}
    assert len(results) == 6
    for name, result in results.items():
        assert result.dataset == 4
        assert abs(result.value - 300.0) < 5.0 * result.error, name
        assert result.z > 3.0
    best = optimal_error(300.0, 30_000.0)
    # errors move with the fitted yield, by a few per cent
    assert results["unbinned ratio"].error == pytest.approx(best, rel=0.1)
    assert results["binned score"].error == pytest.approx(best, rel=0.1)
    assert best < 1.05 * results["4 categories"].error
    assert results["4 categories"].error < results["cut at S/sqrt(S+B)"].error < results["mass only"].error
    assert results["mass only"].n_events == results["4 categories"].n_events == results["binned score"].n_events
    assert results["cut and fit"].n_events < results["mass only"].n_events


def test_projections_add_up_to_the_fit(simulation):
    signal, background = simulation
    data = events(300, 10_000, 12)
    classes = baselines.categories(signal, background, exact(["x"]), mass=space(), region=REGION, expected=0.03, n=2)
    binned = baselines.score_templates(signal, background, exact(["m", "x"]), mass=space())
    for strategy, n in ((classes, 2), (binned, 1)):
        result, shown = strategy.fit(data), strategy.projections(data)
        assert len(shown) == n
        assert sum(p.data.sum() for p in shown) == result.n_events
        assert sum(p.components["signal"].sum() for p in shown) == pytest.approx(result.value, rel=1e-3)
        assert sum(p.components["background"].sum() for p in shown) == pytest.approx(
            result.n_events - result.value, rel=1e-3
        )
    with pytest.raises(InputError, match="a binned fit"):
        baselines.score_ratio(signal, background, exact(["m", "x"]), mass=space()).projections(data)


def test_few_events_are_fitted_as_well(simulation):
    signal, background = simulation
    strategy = baselines.cut_and_fit(signal, background, exact(["x"]), mass=space(), region=REGION)
    for seed in (20, 21, 22):
        result = strategy.fit(events(4, 400, seed))
        assert result.n_events < 100
        assert np.isfinite([result.value, result.error, result.z]).all()


def handful(*masses):
    return Dataset.from_arrays({"m": np.array(masses), "x": np.ones(len(masses))})


@pytest.mark.parametrize("masses", [(110.0,), (110.0, 150.0), (148.0, 142.0, 111.0), (101.0, 102.0, 103.0)])
def test_a_handful_of_events_beside_the_peak_have_no_signal(simulation, masses):
    """Log L falls by the share of the signal that is kept for each signal event: 0.5 is reached after one."""
    half = baselines.MassFit("half", space(), baselines.mass_only(simulation[0], mass=space()).peaks, (0.5,))
    found = half.fit(handful(*masses))
    assert (found.value, found.z, found.n_events) == (0.0, 0.0, len(masses))
    assert found.error == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("masses", [(125.0,), (125.1, 124.0)])
def test_a_handful_of_events_in_the_peak_are_signal(simulation, masses):
    """All are signal; without it they are background of the best slope, found by scipy on a grid of its own."""
    peak = baselines.mass_only(simulation[0], mass=space()).peaks
    found = baselines.MassFit("half", space(), peak, (0.5,)).fit(handful(*masses))
    n = len(masses)
    assert found.value == pytest.approx(2.0 * n, rel=1e-4)
    assert found.error == pytest.approx(2.0 * np.sqrt(n), rel=1e-4)
    t, grid = (np.array(masses) - 100.0) / 60.0, np.linspace(0.0, 1.0, 4001)
    slope = minimize(
        lambda p: n * np.log(60.0 * np.trapezoid(np.exp(-p[0] * grid), grid)) + p[0] * t.sum(), [0.0], tol=1e-12
    )
    q0 = 2.0 * (float(np.sum(np.log(np.squeeze(peak[0].pdf(np.array(masses)))))) + float(slope.fun))
    assert found.z == pytest.approx(np.sqrt(q0), rel=1e-4)


def test_the_cut_is_the_best_of_a_brute_force_scan(simulation):
    signal, background = simulation
    classifier = exact(["x"])
    found = baselines.cut_and_fit(signal, background, classifier, mass=space(), region=REGION, expected=0.05)
    s, b = (classifier(part.signal_region(space(), REGION)) for part in simulation)

    def worth(cut):
        n_s, n_b = np.mean(s >= cut), np.mean(b >= cut)
        return n_s / np.sqrt(0.05 * n_s + n_b)

    scan = [worth(cut) for cut in np.quantile(s, np.linspace(0.0, 0.99, 1000))]
    assert worth(found.edges[0]) == pytest.approx(max(scan), rel=2e-3)
    assert found.fractions[0] == pytest.approx(np.mean(classifier(signal.within(space())) >= found.edges[0]))


def test_classes_are_the_best_of_all_pairs_of_cuts():
    rng = np.random.default_rng(6)
    s, b = rng.normal(1.0, 1.0, 2000), rng.normal(-0.5, 1.0, 5000)
    found = Candidates.of(s, b, 0.1)
    edges, cuts = found.best_classes(3), found.cuts

    def total(edges):
        worth = 0.0
        for lower, upper in pairwise(edges):
            n_s, n_b = (np.mean((score >= lower) & (score < upper)) for score in (s, b))
            worth += n_s**2 / (0.1 * n_s + n_b) if n_b * b.size >= LEAST_BACKGROUND else -np.inf
        return worth

    assert edges[0] == -np.inf
    assert edges[-1] == np.inf
    some = cuts[1:-1:4]
    brute = max(total((-np.inf, i, j, np.inf)) for i, j in combinations(some, 2))
    assert total(edges) >= brute
    # and no neighbouring cut is better
    at = [int(np.flatnonzero(cuts == edge)[0]) for edge in edges[1:-1]]
    for i, j in product((-1, 0, 1), (-1, 0, 1)):
        assert total((-np.inf, cuts[at[0] + i], cuts[at[1] + j], np.inf)) <= total(edges) * (1.0 + 1e-12)


def test_yields_and_errors_equal_a_poisson_fit_of_the_bins():
    rng = np.random.default_rng(7)
    signal, background = np.array([0.05, 0.15, 0.8]), np.array([0.7, 0.25, 0.05])
    counts = rng.poisson(60.0 * signal + 900.0 * background).astype(float)
    value, error, z = fit_yields(signal / background, counts)

    def nll(theta):
        expected = theta[0] * signal + theta[1] * background
        return float(expected.sum() - counts @ np.log(expected))

    best = minimize(nll, [50.0, 900.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    assert value == pytest.approx(best.x[0], rel=1e-4)
    null = minimize(lambda b: nll([0.0, b[0]]), [950.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    assert z == pytest.approx(np.sqrt(2.0 * (null.fun - best.fun)), rel=1e-4)
    expected = best.x[0] * signal + best.x[1] * background
    information = np.einsum("ib,jb,b->ij", [signal, background], [signal, background], counts / expected**2)
    assert error == pytest.approx(np.sqrt(np.linalg.inv(information)[0, 0]), rel=1e-4)


@pytest.mark.parametrize("counts", [(100.0, 40.0, 0.0), (5.0, 0.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, 0.0)])
def test_no_bin_is_expected_to_hold_less_than_nothing(counts):
    """The bin of the signal is empty: the best yields make its expectation zero, found by scipy with that limit."""
    signal, background, counts = np.array([0.05, 0.15, 0.8]), np.array([0.7, 0.25, 0.05]), np.array(counts)
    value, error, z = fit_yields(signal / background, counts)

    def nll(s, b):
        expected = s * signal + b * background
        if (expected < -1e-12).any() or (expected[counts > 0] <= 0.0).any():
            return np.inf
        return expected.sum() - counts[counts > 0] @ np.log(expected[counts > 0])

    def profiled(s):
        least = max(-s * signal / background)
        return minimize_scalar(
            lambda b: nll(s, b), bounds=(least, least + 500.0), method="bounded", options={"xatol": 1e-9}
        ).fun

    best = minimize_scalar(profiled, bounds=(-20.0, 20.0), method="bounded", options={"xatol": 1e-9})
    assert value == pytest.approx(best.x, abs=1e-4)
    assert z == 0.0
    assert profiled(value + error) - profiled(value) == pytest.approx(0.5, abs=1e-4)


def test_yields_that_have_no_best_fit_are_refused():
    """Where no event is likelier to be signal, less signal and more background is always better."""
    with pytest.raises(FitError, match=r"no best fit: the ratio of signal to background is 0\.1 to 0\.9"):
        fit_yields(np.array([0.1, 0.5, 0.9]), np.ones(3))
    with pytest.raises(FitError, match="no best fit"):
        fit_yields(np.array([3.0, 3.0]), np.array([5.0, 2.0]))


def test_as_many_bins_are_kept_as_were_asked_for(simulation):
    signal, background = simulation
    for bins in (10, 30):
        strategy = baselines.score_templates(signal, background, exact(["m", "x"]), mass=space(), bins=bins)
        assert strategy.ratio.size == bins
        content = strategy.background * len(background)
        assert content.min() > LEAST_BACKGROUND - 0.5
        assert content.sum() == pytest.approx(len(background))
    few = background.select(np.arange(len(background)) < 300)
    scarce = baselines.score_templates(signal, few, exact(["m", "x"]), mass=space(), bins=30)
    assert 2 <= scarce.ratio.size <= 15


@pytest.mark.parametrize("kind", ["trees", pytest.param("net", marks=pytest.mark.slow)])
def test_trained_classifiers_learn_the_ratio(kind):
    signal, background = events(10_000, 0, 10), events(0, 15_000, 11)
    classifier = train_classifier(signal, background, ["x"], kind=kind, seed=8)
    x = np.linspace(0.6, 0.95, 50)[:, None]
    assert np.abs(classifier.log_odds(x) - np.log(feature_ratio(x))).mean() < 0.12


@pytest.mark.slow
def test_a_net_leaves_the_random_numbers_of_the_process_alone():
    signal, background = events(300, 0, 19), events(0, 400, 20)
    before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    once, again = (train_classifier(signal, background, ["x"], kind="net", seed=4) for _ in range(2))
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    x = np.linspace(0.1, 0.9, 9)[:, None]
    assert np.array_equal(once.log_odds(x), again.log_odds(x))


def test_every_event_is_scored_by_the_classifier_that_has_not_seen_it():
    signal, background = (with_folds(sample, 3) for sample in (events(300, 0, 15), events(0, 400, 16)))
    assert np.bincount(signal[FOLD].astype(int)).tolist() == [100, 100, 100]

    def remember(s, b, k):
        assert not (s[FOLD] == k).any()
        assert not (b[FOLD] == k).any()
        assert len(s) == 200
        return Classifier(("x",), lambda values: np.full(len(values), float(k)))

    crossed = cross_fit(signal, background, 3, remember)
    assert crossed.names == ("x", FOLD)
    # whatever is selected first, the fold travels along
    for sample in (signal, background.select(background["x"] > 0.4)):
        assert np.array_equal(crossed(sample), sample[FOLD])
    assert crossed.mean()(background) == pytest.approx(np.ones(400))
    with pytest.raises(InputError, match="two or more folds"):
        cross_fit(signal, background, 1, remember)


def test_ratio_knows_the_peak():
    """A peak of 1.5 GeV in 60 and the feature's ratio, which trees of both alone learn as steps."""
    signal, background = events(10_000, 0, 17), events(0, 20_000, 18)
    ratio = train_ratio(signal, background, ["x"], mass=space(), kind="trees", seeds=[3])
    assert ratio.names == ("m", "x")
    m, x = (v.ravel() for v in np.meshgrid(np.linspace(121.0, 129.0, 33), np.linspace(0.6, 0.95, 20)))
    values = np.stack([m, x], axis=1)
    assert np.abs(ratio.log_odds(values) - exact(["m", "x"]).log_odds(values)).mean() < 0.15


def test_ratios_are_paired_by_data_set():
    results = [
        *(StrategyResult("a", k, 200.0, error, 5.0, 100) for k, error in enumerate([20.0, 30.0, 25.0])),
        *(StrategyResult("b", k, 200.0, error, 5.0, 100) for k, error in ((2, 20.0), (0, 10.0), (1, 20.0), (7, 1.0))),
    ]
    paired = PairedSummary.of(results, "a", "b")
    ratios = np.array([2.0, 1.5, 1.25])
    assert paired.n == 3
    assert paired.ratio == pytest.approx(ratios.mean())
    assert paired.ratio_error == pytest.approx(ratios.std(ddof=1) / np.sqrt(3.0))
    assert PairedSummary.from_json(paired.to_json()) == paired
    expected = Expectation("a", 3, 21.5)
    assert Expectation.from_json(expected.to_json()) == expected
    with pytest.raises(InputError, match="two or more data sets"):
        PairedSummary.of(results, "a", "c")


def test_summary_of_several_data_sets():
    results = [StrategyResult("a", k, value, 20.0 + k, 5.0 + k, 100) for k, value in enumerate([180.0, 220.0, 206.0])]
    summary = StrategySummary.of(results, 200.0)
    assert summary.sigma == pytest.approx(0.105)
    assert summary.sigma_error == pytest.approx(0.005 / np.sqrt(3.0))
    assert summary.bias == pytest.approx(0.01)
    assert summary.spread == pytest.approx(np.std([0.9, 1.1, 1.03], ddof=1))
    assert summary.z == 6.0
    assert StrategySummary.from_json(summary.to_json()) == summary
    assert StrategyResult.from_json(results[0].to_json()) == results[0]


def test_wrong_input_is_named(simulation):
    signal, background = simulation
    options = {"mass": space(), "region": REGION}
    with pytest.raises(InputError, match="does not see the mass"):
        baselines.cut_and_fit(signal, background, exact(["m", "x"]), **options)
    with pytest.raises(InputError, match="at least two classes"):
        baselines.categories(signal, background, exact(["x"]), **options, expected=0.01, n=1)
    with pytest.raises(InputError, match="at least 100 events"):
        train_classifier(events(50, 0, 9), background, ["x"], seed=1)
    with pytest.raises(InputError, match="trees, large trees, net"):
        train_classifier(signal, background, ["x"], kind="forest", seed=1)
    weighted = Dataset.from_arrays({"m": signal["m"], "x": signal["x"]}, weights=-np.ones(len(signal)))
    with pytest.raises(InputError, match="weights of at least zero"):
        train_classifier(weighted, background, ["x"], seed=1)
