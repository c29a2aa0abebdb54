"""A search with a background that is known: data are drawn from the very density that it is given."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from scipy.stats import binom, multivariate_normal, norm
from untrained import REGION, random_flow

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.blobs import Points
from hisigma_zfit.inference.lump_yields import learned_yield
from hisigma_zfit.inference.search import e_value
from hisigma_zfit.results.search import SearchResult

N_BACKGROUND, N_SIGNAL = 4000, 90
MASS = zfit.Space("m", 90, 180)


@pytest.fixture(scope="module")
def background():
    return random_flow(2, members=1, strength=0.3)


@pytest.fixture(scope="module")
def shape():
    return hz.ExpQuadratic(MASS, p1=1.5, p2=0.0)


def data_of(background, n_signal, *, seed=1):
    rng = np.random.default_rng(seed)
    low, high = REGION.lower, REGION.upper
    rate = 1.5 / 90
    m = low - np.log1p(rng.random(N_BACKGROUND) * np.expm1(-rate * (high - low))) / rate
    x = background.sample(m, seed=seed)
    peak = rng.normal(125.0, 1.5, n_signal)
    lump = background.transform.inverse(norm.cdf(rng.normal([1.7, -1.5], 0.4, (n_signal, 2))))
    m, x = np.concatenate([m, peak]), np.concatenate([x, lump])
    return hz.Dataset.from_arrays({"m": m, **dict(zip(background.features, x.T, strict=True))})


@pytest.fixture(scope="module")
def data(background):
    return data_of(background, N_SIGNAL)


def search(data, background, shape, **options):
    return hz.find_signal(data, background, shape, **{"region": REGION, "seed": 1, "centres": 200} | options)


@pytest.fixture(scope="module")
def found(data, background, shape):
    return search(data, background, shape)


@pytest.mark.statistical
def test_the_signal_is_found_where_it_is(found):
    """Within five of its errors: 6e-7 each."""
    assert found.t > 100.0
    assert found.properties["m"].median == pytest.approx(125.0, abs=5 * 1.25 * 1.5 / np.sqrt(N_SIGNAL) + 0.3)
    for name, quantile in zip(("a", "b"), (1.7, -1.5), strict=True):
        column = found.scene.place.features.index(name)
        place = found.scene.place.transform.inverse(np.full((1, 2), norm.cdf(quantile)))[0, column]
        low, high = found.properties[name].low, found.properties[name].high
        assert low < place < high
    assert found.e_value.p_bound < 1e-6
    assert found.useful == found.result.features
    fiducial = found.fiducial
    assert fiducial.value == pytest.approx(0.8 * N_SIGNAL, abs=5 * fiducial.error)
    low, high = found.learned.interval_95
    assert low < found.learned.value < high < 1.6 * N_SIGNAL


def test_scores_tell_signal_from_background(found):
    scores = found.scores
    assert np.median(scores[-N_SIGNAL:]) > np.quantile(scores[:-N_SIGNAL], 0.98)
    assert set(found.folds) == set(range(5))


def test_regions_hold_the_background_that_they_say(found, background):
    """By counting 200,000 drawn events, 2e-7 at five sigma; the published region is all that is needed."""
    rng = np.random.default_rng(8)
    m = found.scene.place.mass.inverse(rng.random((200_000, 1)))[:, 0]
    y, _ = found.scene.place.forward(background.sample(m, seed=9), m)
    region = found.fiducial.regions[0]
    step = y - region.mean
    inside = np.einsum("ni,ij,nj->n", step, np.linalg.inv(region.covariance), step) <= found.fiducial.radius_squared
    assert inside.mean() == pytest.approx(region.share, abs=5 * np.sqrt(region.share / len(m)) + 0.02 * region.share)


def test_the_order_of_the_events_does_not_matter(data, background, shape, found, caplog):
    order = np.random.default_rng(3).permutation(len(data))
    shuffled = hz.Dataset.from_arrays({name: data[name][order] for name in data.names})
    assert search(shuffled, background, shape).t == pytest.approx(found.t, rel=0.02)
    assert found.blobs.total[0] > 0.02
    assert "was learned as background" in caplog.text  # that much of it would be in the sidebands too


def test_same_seed_same_result_and_round_trip(data, background, shape, found):
    again = search(data, background, shape)
    assert again.result.to_json() == found.result.to_json()
    stored = SearchResult.from_json(found.result.to_json())
    assert str(stored) == str(found)
    assert stored.to_json() == found.result.to_json()


def test_the_learned_signal_enters_a_fit(found, data, background, shape):
    """As zfit objects; its own density in the coordinates is that of the lump."""
    signal = hz.FlowProductPDF(found.mass_pdf(MASS), found.flow)
    events = data.select(REGION.contains(data["m"]))
    x, m = events.array(background.features), events["m"]
    y, log_jacobian = found.scene.place.forward(x, m)
    blob = found.blobs
    expected = multivariate_normal(blob.means[0, 0], blob.covariances[0, 0]).logpdf(y) + log_jacobian
    got = np.log(np.asarray(signal.pdf(np.column_stack([m, x]))))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    window = zfit.Space("m", REGION.lower, REGION.upper)
    falling = hz.ExpQuadratic(window, p1=1.5 * (REGION.upper - REGION.lower) / 90, p2=0.0)
    signal = hz.FlowProductPDF(found.mass_pdf(window), found.flow)
    model = hz.signal_plus_background(signal, hz.FlowProductPDF(falling, background), poi="n_found")
    result = hz.fit(hz.ExtendedNLL(model, events))
    assert result.converged
    # the same likelihood, but for the prior of the lump's covariance
    assert hz.interval(result, "n_found", cl=0.683).value == pytest.approx(found.signal_yield, abs=2.0)
    assert hz.discovery(result, "n_found").z ** 2 == pytest.approx(found.result.likelihood_ratio, rel=0.02)


def test_the_learned_yield_is_the_maximum_of_the_extended_likelihood():
    rng = np.random.default_rng(2)
    log_ratio = np.concatenate([rng.normal(-4, 2, 3000), rng.normal(4, 1, 60)])
    found = learned_yield(log_ratio)
    ratio = np.exp(log_ratio)
    s, b = np.meshgrid(np.linspace(1, 150, 150), np.linspace(2800, 3300, 126), indexing="ij")
    value = -s - b + np.log(s[..., None] * ratio + b[..., None]).sum(axis=-1)
    profile = value.max(axis=1)
    at = s[:, 0]
    assert found.value == pytest.approx(at[profile.argmax()], abs=1.0)
    inside = at[2 * (profile.max() - profile) <= 1.0]
    np.testing.assert_allclose(found.interval_68, [inside[0], inside[-1]], atol=1.5)
    assert learned_yield(rng.normal(-4, 0.1, 500)).interval_68[0] == 0.0


@pytest.mark.slow
@pytest.mark.statistical
def test_bets_on_nothing_win_nothing():
    """Ville: e > 20 has a probability of at most 5 %; that more than 6 of 14 have it, 2e-6."""
    won = 0
    for k in range(14):
        y = np.random.default_rng(k).standard_normal((300, 2))
        events = Points.of(y, multivariate_normal(np.zeros(2)).logpdf(y))
        won += e_value(events, seed=k).ln_e > np.log(20.0)
    assert binom.sf(6, 14, 0.05) < 3e-6
    assert won <= 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"folds": 1}, "folds >= 2"),
        ({"components": 0}, "components >= 1"),
        ({"region": hz.SignalRegion(124.9, 125.0)}, "at least 500 events"),
    ],
)
def test_options_that_make_no_sense(data, background, shape, change, words):
    with pytest.raises(InputError, match=words):
        search(data, background, shape, **change)


def test_events_that_would_fake_a_signal_are_refused(data, background, shape):
    columns = {name: data[name].copy() for name in data.names}
    with pytest.raises(InputError, match="without weights"):
        search(hz.Dataset.from_arrays(columns, weights=np.ones(len(data))), background, shape)
    twice = {name: np.concatenate([values, values[:100]]) for name, values in columns.items()}
    with pytest.raises(InputError, match="100 duplicates"):
        search(hz.Dataset.from_arrays(twice), background, shape)
    inside = np.flatnonzero(REGION.contains(columns["m"]))
    low = background.domain[0, 0]
    on_the_edge = dict(columns, a=columns["a"].copy())
    on_the_edge["a"][inside[:20]] = low
    with pytest.raises(InputError, match="20 events on an edge"):
        search(hz.Dataset.from_arrays(on_the_edge), background, shape)
    outside = dict(columns, a=columns["a"].copy())
    outside["a"][inside[:20]] = low - 1.0
    with pytest.raises(InputError, match=r"20 of \d+ outside"):
        search(hz.Dataset.from_arrays(outside), background, shape)
