"""Scores that a search is compared with: marginals by quadrature, and nothing is scored by what has seen it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from untrained import REGION, random_flow

import hisigma_zfit as hz
from hisigma_zfit.baselines import anomaly_scores
from hisigma_zfit.baselines.anomaly_scores import (
    background_events,
    cross_fitted_scores,
    lump_scores,
    residual_fit,
    residual_scores,
    supervised_classifier,
    weak_classifier,
)
from hisigma_zfit.baselines.classifiers import Classifier, with_folds
from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.density.residual import ResidualDensity
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.blobs import Blobs, Points
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.learn.streams import Purpose, hashed_uniform
from hisigma_zfit.model.spectrum import Spectrum

SPECTRUM = Spectrum(np.array([-1.5]), (90.0, 180.0), (REGION.lower, REGION.upper), 1000.0, 1.0)
SMALL = SplineConfig(knots=6, hidden=8, layers=1)
RESIDUAL = {"seed": 1, "shares": (0.01, 0.1), "config": SMALL, "folds": 3, "steps": 24}


@pytest.fixture(scope="module")
def background():
    return random_flow(2, members=1, strength=0.3)


def draw(background, n, *, seed):
    rng = np.random.default_rng(seed)
    m = REGION.lower + (REGION.upper - REGION.lower) * rng.random(n)
    x = background.sample(m, seed=seed)
    return hz.Dataset.from_arrays({"m": m, **dict(zip(background.features, x.T, strict=True))})


@pytest.fixture(scope="module")
def here(background):
    return scene(draw(background, 1500, seed=1), background, SPECTRUM, region=REGION, components=1, folds=2)


@pytest.fixture(scope="module")
def blobs():
    """Two lumps that are correlated with the mass."""
    covariance = np.array([[0.5, 0.2, 0.1], [0.2, 0.3, -0.05], [0.1, -0.05, 0.4]])
    return Blobs(
        np.array([[0.01, 0.004]]),
        np.array([[[0.2, 1.1, -0.8], [-0.5, 0.3, 0.9]]]),
        np.array([[covariance, np.eye(3) * 0.4]]),
    )


def test_lump_scores_are_the_lumps_with_and_without_the_mass(here, background, blobs):
    """The joint score by the normal density, the x-only one by quadrature over the mass coordinate."""
    events = draw(background, 12, seed=5)
    scores = lump_scores(here, blobs, events)
    y, log_jacobian = here.place.forward(events.array(background.features), events["m"])
    share = blobs.shares[0] / blobs.shares[0].sum()

    def lump(points):
        parts = zip(share, blobs.means[0], blobs.covariances[0], strict=True)
        return sum(s * multivariate_normal(mean, cov).pdf(points) for s, mean, cov in parts)

    # p_b(m) is what makes the mass uniform after its transform
    log_b = background.log_prob_array(events.array(background.features), events["m"])
    log_mass = here.place.mass.forward(events["m"][:, None])[1]
    np.testing.assert_allclose(scores.joint, np.log(lump(y)) + log_jacobian - log_b - log_mass, atol=1e-4)
    given = log_b + log_mass - log_jacobian - norm.logpdf(y[:, 0])
    for point, log_given, score in zip(y, given, scores.x_only, strict=True):
        marginal = quad(lambda y_0, point=point: lump(np.array([y_0, *point[1:]])), -8.0, 8.0, epsabs=1e-12)[0]
        assert score == pytest.approx(np.log(marginal) - log_given, abs=1e-4)


def test_events_outside_of_the_domain_are_never_selected(here, background, blobs):
    events = draw(background, 20, seed=6)
    limits = background.domain
    column = next(k for k in range(2) if np.isfinite(limits[k, 1]))
    name = background.features[column]
    values = events[name].copy()
    values[3] = limits[column, 1] + 1.0
    scores = lump_scores(here, blobs, events.with_columns(**{name: values}))
    assert np.flatnonzero(np.isinf(scores.joint)).tolist() == [3]
    assert np.flatnonzero(np.isinf(scores.x_only)).tolist() == [3]


def test_masses_outside_of_the_window_are_refused(here, background, blobs):
    events = draw(background, 20, seed=7)
    with pytest.raises(InputError, match="window"):
        lump_scores(here, blobs, events.with_columns(m=events["m"] + 100.0))


def test_searched_events_are_scored_by_the_lumps_of_other_folds(here, blobs):
    """Two folds with lumps of their own: each event has the score that the other fold's lumps give it alone."""
    folds = (np.arange(len(here)) % 2).astype(np.int64)
    other = Blobs(blobs.shares, blobs.means + 0.3, blobs.covariances)
    found = SimpleNamespace(scene=here, folds=folds, parts=(blobs, other), scores=np.zeros(len(here)))
    got = cross_fitted_scores(found).x_only
    columns = dict(zip(here.names, here.observables.T, strict=True))
    events = hz.Dataset.from_arrays(columns)
    for fold, part in enumerate((blobs, other)):
        np.testing.assert_allclose(got[folds == fold], lump_scores(here, part, events).x_only[folds == fold], atol=1e-9)


@pytest.mark.statistical
def test_background_events_have_the_shape_of_the_spectrum(here):
    """Mass levels are uniform and the density's ratio has mean one: five sigma, 6e-7 each."""
    drawn = background_events(here, 20_000, seed=3)
    level = here.place.mass.forward(drawn["m"][:, None])[0][:, 0]
    assert level.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * 20_000))
    again = background_events(here, 20_000, seed=3)
    np.testing.assert_array_equal(drawn["m"], again["m"])


def memorise(signal, background, names, *, kind, seed):
    """A classifier that knows its own events and nothing else."""
    seen = {*map(tuple, signal.array(names)), *map(tuple, background.array(names))}
    return Classifier(tuple(names), lambda values: np.array([float(tuple(row) in seen) for row in values]))


def test_no_event_is_scored_by_a_classifier_that_saw_it(here, background, monkeypatch):
    monkeypatch.setattr(anomaly_scores, "train_classifier", memorise)
    data, template = draw(background, 300, seed=8), background_events(here, 1200, seed=9)
    options = {"folds": 3, "seeds": 2, "seed": 1}
    fit = weak_classifier(data, template, background.features, **options)
    assert not fit(with_folds(data, 3)).any()
    assert not fit(with_folds(template, 3)).any()
    np.testing.assert_allclose(fit.mean()(data), 2 / 3)  # two of three have seen each
    fit = supervised_classifier(data, template, background.features, **options)
    assert not fit(with_folds(data, 3)).any()


def test_a_classifier_finds_a_large_signal(here, background):
    """It need not be good: signal at one place of the plane, a tenth of all events."""
    rng = np.random.default_rng(4)
    plain = draw(background, 900, seed=10)
    x = background.transform.inverse(norm.cdf(rng.normal([1.8, -1.8], 0.2, (300, 2))))
    signal = hz.Dataset.from_arrays({"m": np.full(300, 125.0), **dict(zip(background.features, x.T, strict=True))})
    data = plain.concatenate(signal.select(np.arange(300) < 100))
    fit = weak_classifier(data, background_events(here, 4000, seed=11), background.features, seeds=1, folds=2, seed=1)
    new = fit.mean()
    assert np.median(new(signal.select(np.arange(300) >= 100))) > np.quantile(new(draw(background, 900, seed=12)), 0.95)


def test_bad_options(here, background):
    data = draw(background, 300, seed=8)
    with pytest.raises(InputError, match="1200 background events"):
        weak_classifier(data, data, background.features, seed=1)
    with pytest.raises(InputError, match="seeds"):
        supervised_classifier(data, data, background.features, seeds=0, seed=1)
    for options in ({"folds": 2}, {"shares": (0.0,)}):
        with pytest.raises(InputError):
            residual_fit(here, seed=1, **options)


def test_the_residual_objective_is_the_log_of_the_sum():
    objective = ResidualDensity(SMALL, (0.01, 0.2))
    rng = np.random.default_rng(5)
    u, log_b = rng.random((50, 3)).astype(np.float32), rng.normal(size=50).astype(np.float32)
    parameters = np.stack([SMALL.init(np.random.default_rng(k), 3) for k in range(2)])
    parameters += (0.3 * rng.normal(size=parameters.shape)).astype(np.float32)
    prepared = SMALL.prepare(tf.constant(u), tf.zeros(50))
    log_s = np.asarray(SMALL.log_prob(parameters, prepared))
    got = np.asarray(objective.log_likelihood(parameters, (*prepared, log_b)))
    for row, w, ls in zip(got, objective.shares, log_s, strict=True):
        np.testing.assert_allclose(row / 100.0, np.log(1 - w + w * np.exp(ls - log_b)), atol=2e-6)
    with pytest.raises(InputError, match="2 members"):
        objective.log_likelihood(parameters[:1], (*prepared, log_b))


@pytest.fixture(scope="module")
def fit(here):
    return residual_fit(here, **RESIDUAL)


def test_residual_flow_is_scored_on_folds_and_marginalises_the_mass(here, background, fit):
    """The score without the mass is the mean over its levels, by the midpoint rule."""
    assert fit.joint.shape == fit.x_only.shape == (len(here),)
    assert np.isfinite(fit.joint).all()
    assert len(fit.gain_trained) == 3
    assert set(fit.chosen) <= {0.01, 0.1}
    u = np.random.default_rng(6).random((5, 3))
    _, x_only = fit.log_ratios(u, np.zeros(5))
    levels = (np.arange(400) + 0.5) / 400
    for k in range(5):
        grid = np.column_stack([np.tile(u[k, :2], (400, 1)), levels])
        joint, _ = fit.log_ratios(grid, np.zeros(400))
        assert logsumexp(joint) - np.log(400) == pytest.approx(x_only[k], abs=2e-3)
    events = draw(background, 30, seed=13)
    scores = residual_scores(here, fit, events)
    assert np.isfinite(scores.joint).all()


def test_no_residual_flow_has_seen_what_it_scores(here, fit):
    """Events of one fold are changed: the flow that scores it stays what it was, those of other folds do not."""
    own = (hashed_uniform(here.identity, 1, Purpose.COMPARISON_SCORES, 10) * 3).astype(int) == 0
    y = np.where(own[:, None], -here.points.y, here.points.y)
    changed = SimpleNamespace(points=Points.of(y, here.points.log_background), identity=here.identity)
    again = residual_fit(changed, **RESIDUAL)
    np.testing.assert_array_equal(again.parameters[0], fit.parameters[0])
    assert not np.array_equal(again.parameters[1], fit.parameters[1])
