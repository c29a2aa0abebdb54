"""Expected errors from event weights, against the exact optimum, refits and repeated data sets."""

from __future__ import annotations

import numpy as np
import pytest
from peak_toy import WIDTH, events, space
from scipy.stats import norm

from hisigma_zfit.baselines import strategies as baselines
from hisigma_zfit.baselines.classifiers import Classifier
from hisigma_zfit.baselines.score_fits import ScoreFit
from hisigma_zfit.baselines.yield_fits import fit_yields
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.expected import Truth, influence, linear_error

N_SIGNAL, N_BACKGROUND = 300.0, 20_000.0


def exact(power=1.0):
    """The true density ratio, to a power."""

    def log_odds(values):
        ratio = 60.0 * norm.pdf(values[:, 0], 125.0, 1.5) * 2.0 * norm.pdf(values[:, 1], 1.0, WIDTH)
        return power * np.log(np.maximum(ratio, 1e-30))

    return Classifier(("m", "x"), log_odds)


@pytest.fixture(scope="module")
def truth():
    return Truth.of(events(20_000, 0, 1), events(0, 200_000, 2), n_signal=N_SIGNAL, n_background=N_BACKGROUND)


def fisher_error():
    """Error of s with b floating, by integration over a grid."""
    m, x = (np.linspace(*limits, 1201) for limits in ((100.0, 160.0), (0.0, 1.0)))
    m, x = (0.5 * (v[1:] + v[:-1]) for v in (m, x))
    signal = norm.pdf(m, 125.0, 1.5)[:, None] * 2.0 * norm.pdf(x, 1.0, WIDTH)[None, :]
    background = np.full_like(signal, 1.0 / 60.0)
    cell = (m[1] - m[0]) * (x[1] - x[0])
    total = N_SIGNAL * signal + N_BACKGROUND * background
    parts = [signal, background]
    information = np.array([[cell * np.sum(a * b / total) for b in parts] for a in parts])
    return np.sqrt(np.linalg.inv(information)[0, 0])


@pytest.mark.statistical
def test_the_true_ratio_reaches_the_optimum_and_a_wrong_one_does_not(truth):
    """The sum over 200,000 simulated events has an error of 0.7 % (bootstrap); 4 % off is beyond five of it."""
    unbinned = {power: ScoreFit("ratio", space(), exact(power), None, np.ones(1)) for power in (1.0, 1.7)}
    errors = {power: strategy.expect(truth, dataset=3).error for power, strategy in unbinned.items()}
    assert errors[1.0] == pytest.approx(fisher_error(), rel=0.04)
    # by its own curvature the steeper ratio would be the better one
    ratio = np.exp(exact(1.7)(truth.events))
    share = truth.events.weights / (N_SIGNAL * ratio + N_BACKGROUND) ** 2
    claimed = np.sqrt(np.linalg.inv([[share @ ratio**2, share @ ratio], [share @ ratio, share.sum()]])[0, 0])
    assert claimed < 0.9 * errors[1.0]
    assert errors[1.7] > 1.01 * errors[1.0]
    assert unbinned[1.0].expect(truth, dataset=3).dataset == 3


def test_many_bins_are_as_good_as_none_and_few_are_not(truth):
    signal, background = events(20_000, 0, 3), events(0, 100_000, 4)
    unbinned = ScoreFit("ratio", space(), exact(), None, np.ones(1)).expect(truth).error
    errors = {
        bins: baselines.score_templates(signal, background, exact(), mass=space(), bins=bins).expect(truth).error
        for bins in (2, 40)
    }
    assert errors[40] == pytest.approx(unbinned, rel=0.02)
    assert errors[2] > 1.03 * errors[40]


@pytest.fixture(scope="module")
def mass_only():
    return baselines.mass_only(events(8000, 0, 6), mass=space())


def test_influence_is_what_one_more_event_changes(mass_only):
    data = events(300, 5000, 5)
    profiler = mass_only.profiler(data)
    theta = profiler.minimum.theta.copy()
    weights = influence(profiler, profiler.best)[0]
    assert weights.shape == (len(data),)
    for k in (0, 3000):
        more = 1e-3
        changed = np.ones(len(data))
        changed[k] += more
        again = mass_only.profiler(Dataset(data.columns, changed, data.report))
        assert weights[k] == pytest.approx((again.best - profiler.best) / more, rel=5e-3)
    assert np.array_equal(profiler.minimum.theta, theta)


@pytest.mark.statistical
def test_expected_error_is_the_spread_of_repeated_fits():
    """Spread of 1000 fits: relative error 1 / sqrt(2000) = 2.2 %; 11 % off has a probability below 1e-6."""
    rng = np.random.default_rng(9)
    signal, background = rng.dirichlet(np.ones(20), 2)
    ratio = (signal / background) ** 1.4  # a wrong ratio, as all are in practice
    share = N_SIGNAL * ratio / (N_SIGNAL * ratio + N_BACKGROUND)
    # every bin as often as it is expected: means over events are sums over bins
    often = 200_000
    events_in_bins = [np.repeat(share, np.round(often * part).astype(int)) for part in (signal, background)]
    expected = linear_error(*events_in_bins, N_SIGNAL, N_BACKGROUND)

    def fitted(s):
        return [
            fit_yields(ratio, rng.poisson(s * signal + N_BACKGROUND * background).astype(float))[0] for _ in range(500)
        ]

    values = {s: np.array(fitted(s)) for s in (0.5 * N_SIGNAL, 1.5 * N_SIGNAL)}
    low, high = values
    response = (values[high].mean() - values[low].mean()) / (high - low)
    spread = np.sqrt(np.mean([v.var() for v in values.values()]))
    assert abs(response - 1.0) > 0.05
    assert spread / response == pytest.approx(expected, rel=0.11)


def test_events_that_no_model_takes_have_no_influence(truth, mass_only):
    every = mass_only.expect(truth).error
    feature = Classifier(("x",), lambda values: values[:, 0])
    half = baselines.MassFit("half", space(), mass_only.peaks, (0.5,), feature, (0.9, np.inf))
    by_hand = truth.events.select(truth.events["x"] >= 0.9)
    n_s, n_b = (int(np.count_nonzero(truth.events["x"][part] >= 0.9)) for part in parts(truth))
    smaller = Truth(by_hand, n_s, N_SIGNAL * n_s / 20_000, N_BACKGROUND * n_b / 200_000)
    # of a tenth of the background and half of the signal; the yield is that before the cut
    found = half.expect(truth).error
    assert found == pytest.approx(mass_only.expect(smaller).error / (n_s / 20_000), rel=0.02)
    assert found < 0.8 * every


def test_weights_of_simulation_are_copies_of_events():
    signal, background = events(3000, 0, 13), events(0, 30_000, 14)
    copies = [np.random.default_rng(15 + k).integers(0, 4, len(part)) for k, part in enumerate((signal, background))]
    weighted = [
        Dataset(part.columns, n.astype(float), part.report)
        for part, n in zip((signal, background), copies, strict=True)
    ]
    repeated = [
        Dataset.from_arrays({name: np.repeat(values, n) for name, values in part.columns.items()})
        for part, n in zip((signal, background), copies, strict=True)
    ]
    ratio = ScoreFit("ratio", space(), exact(), None, np.ones(1))
    errors = [
        ratio.expect(Truth.of(*both, n_signal=N_SIGNAL, n_background=N_BACKGROUND)).error
        for both in (weighted, repeated, (signal, background))
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-10)
    assert errors[0] != pytest.approx(errors[2], rel=1e-4)
    negative = Dataset(signal.columns, -np.ones(len(signal)), signal.report)
    with pytest.raises(InputError, match="weights of at least zero"):
        Truth.of(negative, background, n_signal=N_SIGNAL, n_background=N_BACKGROUND)


def parts(truth):
    return slice(0, truth.n_simulated), slice(truth.n_simulated, None)


def test_weights_that_see_nothing_are_refused():
    with pytest.raises(InputError, match="weights that differ"):
        linear_error(np.ones(5), np.ones(7), 1.0, 10.0)
    rng = np.random.default_rng(12)
    s, b = rng.normal(1.0, 1.0, 50), rng.normal(0.0, 1.0, 70)
    # a constant and a factor change nothing
    assert linear_error(3.0 * s - 1.0, 3.0 * b - 1.0, 5.0, 9.0) == pytest.approx(linear_error(s, b, 5.0, 9.0))
