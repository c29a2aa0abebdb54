"""Event weights in the strategies: they are copies of events, in simulation and in data."""

from __future__ import annotations

import numpy as np
import pytest
from peak_toy import events, exact, feature_ratio, space

from hisigma_zfit.baselines import strategies as baselines
from hisigma_zfit.baselines.classifiers import train_classifier, train_ratio
from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.errors import InputError

REGION = SignalRegion(115, 135)


def test_weights_count_in_the_training():
    """Uniform events weighted to the signal's density are as good as signal."""
    uniform, background = events(0, 20_000, 13), events(0, 20_000, 14)
    weighted = Dataset(uniform.columns, feature_ratio(uniform.array(["x"])), uniform.report)
    classifier = train_classifier(weighted, background, ["x"], seed=8)
    x = np.linspace(0.6, 0.95, 50)[:, None]
    assert np.abs(classifier.log_odds(x) - np.log(feature_ratio(x))).mean() < 0.12


def weighted(sample, weights):
    return Dataset(sample.columns, np.asarray(weights, dtype=np.float64), sample.report)


def repeated(sample, copies):
    return Dataset.from_arrays({name: np.repeat(values, copies) for name, values in sample.columns.items()})


def prepared(signal, background, *, bins=50):
    """What every strategy takes from simulation, but for the peaks."""
    options = {"mass": space(), "region": REGION}
    feature = exact(["x"])
    classes = [
        baselines.cut_and_fit(signal, background, feature, **options),
        baselines.cut_and_fit(signal, background, feature, **options, expected=0.03),
        baselines.categories(signal, background, feature, **options, expected=0.03),
    ]
    binned = baselines.score_templates(signal, background, feature, mass=space(), bins=bins)
    ratio = baselines.score_ratio(signal, background, feature, mass=space())
    shown = ratio.classifier.log_odds(np.linspace(0.05, 0.95, 20)[:, None])
    edges = [np.array(fit.edges[:-1]) for fit in classes] + [binned.edges]
    return edges, [*(np.array(fit.fractions) for fit in classes), binned.ratio, binned.background, ratio.ratio, shown]


@pytest.fixture
def no_peaks(monkeypatch):
    """`fit_shape` has tests of its own, also of its weights, and takes nearly all of the time."""
    monkeypatch.setattr(baselines, "fit_shape", lambda *_, **__: None)


@pytest.mark.usefixtures("no_peaks")
def test_a_common_weight_of_all_simulation_changes_nothing(simulation):
    plain, scaled = (prepared(*(weighted(s, np.full(len(s), w)) for s in simulation)) for w in (1.0, 4.0))
    unweighted = prepared(*simulation)
    for found in (plain, scaled):
        for part, other in zip(found[0] + found[1], unweighted[0] + unweighted[1], strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-12)


@pytest.mark.usefixtures("no_peaks")
def test_weights_of_simulation_are_copies_of_events(simulation):
    """Where enough background is left for all bins: copies would pretend to know a scarce one better."""
    copies = [np.random.default_rng(30 + k).integers(0, 4, len(sample)) for k, sample in enumerate(simulation)]
    edges, numbers = prepared(*(weighted(s, n) for s, n in zip(simulation, copies, strict=True)), bins=20)
    same, expected = prepared(*(repeated(s, n) for s, n in zip(simulation, copies, strict=True)), bins=20)
    for part, other in zip(edges, same, strict=True):
        np.testing.assert_array_equal(part[1:-1], other[1:-1])
    for part, other in zip(numbers, expected, strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-10)


def test_weights_of_data_are_copies_that_come_together(simulation):
    """The same values as of copies; errors larger by the square root of sum w^2 / sum w, which is 5/3 here."""
    signal, background = simulation
    data = events(300, 10_000, 31)
    copies = np.random.default_rng(32).integers(0, 3, len(data))
    everything = exact(["m", "x"])
    for strategy in (
        baselines.mass_only(signal, mass=space()),
        baselines.score_templates(signal, background, everything, mass=space()),
        baselines.score_ratio(signal, background, everything, mass=space()),
    ):
        found, expected = strategy.fit(weighted(data, copies)), strategy.fit(repeated(data, copies))
        assert found.value == pytest.approx(expected.value, rel=1e-4), strategy.name
        inflation = np.sqrt(np.sum(copies**2) / np.sum(copies))
        # to first order: the weights of single events count by where they are
        assert found.error == pytest.approx(inflation * expected.error, rel=0.05), strategy.name
        assert found.z == pytest.approx(expected.z / inflation, rel=0.05), strategy.name
        if strategy.name != "unbinned ratio":
            shown, other = strategy.projections(weighted(data, copies)), strategy.projections(repeated(data, copies))
            np.testing.assert_allclose(shown[0].data, other[0].data)
            assert shown[0].data_variance.sum() == pytest.approx(np.sum(copies**2))


def test_negative_weights_of_simulation_are_refused(simulation):
    signal, background = simulation
    negative = weighted(background, np.where(np.arange(len(background)) % 5 == 0, -1.0, 1.0))
    with pytest.raises(InputError, match="weights of at least zero"):
        baselines.score_templates(signal, negative, exact(["m", "x"]), mass=space())
    with pytest.raises(InputError, match="weights of at least zero"):
        baselines.cut_and_fit(signal, negative, exact(["x"]), mass=space(), region=REGION)
    with pytest.raises(InputError, match="weights of at least zero"):
        train_ratio(signal, negative, ["x"], mass=space(), seeds=[1])


def test_signal_is_moved_to_masses_of_the_weighted_background():
    """Half of the background has no weight and sits at one mass: no signal may go there."""
    signal, background = events(10_000, 0, 17), events(0, 20_000, 18)
    empty = Dataset.from_arrays({"m": np.full(20_000, 150.0), "x": np.full(20_000, 0.5)})
    whole = weighted(background.concatenate(empty), np.repeat([1.0, 0.0], 20_000))
    ratio = train_ratio(signal, whole, ["x"], mass=space(), kind="trees", seeds=[3])
    m, x = (v.ravel() for v in np.meshgrid(np.linspace(121.0, 129.0, 33), np.linspace(0.6, 0.95, 20)))
    values = np.stack([m, x], axis=1)
    # trees of 10,000 events err by 0.15; with half of the signal at the other mass it would be log 2 more
    assert np.abs(ratio.log_odds(values) - exact(["m", "x"]).log_odds(values)).mean() < 0.25
