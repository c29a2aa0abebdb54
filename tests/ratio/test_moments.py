"""Moments of reweighted simulation: what their calibration makes right, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import shifted_gaussian as toy

from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.moments import (
    MomentCorrection,
    calibrate_moments,
    equal_content_edges,
    joined_edges,
    published_construction,
)

NO_SLOPES = np.zeros(5)
ALL = slice(None)
EDGES = np.array([-1.0, 0.0, 1.0])


def _score(x):
    return x[:, 0].astype(np.float64)


def _too_weak(rows, inside):
    x = rows.x[inside]
    return (0.6 * toy.exact(x)).astype(np.float32), _score(x)


def _phi(x, linear):
    bins = np.eye(len(EDGES) + 1)[np.searchsorted(EDGES, _score(x), side="right")]
    return np.concatenate([bins, 0.6 * toy.exact(x)[:, :linear] / 0.05], axis=1)


@pytest.fixture(scope="module")
def nominal():
    return toy.rows(6000, seed=3, events=4000)


def _two_points(nominal):
    """As many points as monomials that are asked for: then every moment can be right."""
    points = [3, 7]  # (2, 0) and (0, 2)
    return [toy.shifted(nominal, toy.POINTS[k]) for k in points], toy.VALUES[points][:, :2]


def _two_exponents(rows, inside):
    delta, score = _too_weak(rows, inside)
    return delta[:, :2], score


def _calibrated(nominal, kind, linear):
    shifted, values = _two_points(nominal)
    arguments = {"cell": 0, "edges": EDGES, "linear": linear, "kind": kind}
    return calibrate_moments(nominal, shifted, values, np.zeros(2), _two_exponents, **arguments), shifted, values


@pytest.mark.parametrize("linear", [0, 2])
def test_forward_moments_agree_to_the_size_of_the_ridge(nominal, linear):
    correction, shifted, values = _calibrated(nominal, "forward", linear)
    exponents = correction.exponents(*_two_exponents(nominal, ALL)).astype(np.float64)
    for own, v in zip(shifted, values, strict=True):
        predicted = (nominal.weights * np.exp(exponents @ v)) @ _phi(nominal.x, linear)
        wanted = own.weights @ _phi(own.x, linear)
        start = (nominal.weights * np.exp(_two_exponents(nominal, ALL)[0] @ v)) @ _phi(nominal.x, linear)
        assert np.linalg.norm(predicted - wanted) < 2e-3 * np.linalg.norm(start - wanted)
    assert correction.residuals.rms_after < 2e-3 * correction.residuals.rms_before


def test_inverse_moments_agree_to_the_size_of_the_ridge(nominal):
    correction, shifted, values = _calibrated(nominal, "inverse", 0)
    wanted = nominal.weights @ _phi(nominal.x, 0)
    for own, v in zip(shifted, values, strict=True):
        exponents = correction.exponents(*_two_exponents(own, ALL)).astype(np.float64)
        found = (own.weights * np.exp(-exponents @ v)) @ _phi(own.x, 0)
        assert found == pytest.approx(wanted, rel=1e-5)


def test_more_points_than_monomials_are_fitted_smoothly(nominal):
    arguments = {"cell": 0, "edges": EDGES, "linear": 2, "kind": "forward"}
    correction = calibrate_moments(nominal, toy.design(nominal), toy.VALUES, NO_SLOPES, _too_weak, **arguments)
    assert correction.residuals.before.shape == (10,)
    assert correction.residuals.rms_after < 0.2 * correction.residuals.rms_before
    # no step of the search, in any direction, makes the residuals smaller
    generator = np.random.default_rng(4)
    phi, (delta, _) = _phi(nominal.x, 2), _too_weak(nominal, ALL)
    units = np.sqrt(nominal.weights**2 @ phi**2)
    targets = [own.weights @ _phi(own.x, 2) for own in toy.design(nominal)]

    def loss(beta):
        exponents = delta + phi @ beta.T
        sums = [(nominal.weights * np.exp(exponents @ v)) @ phi for v in toy.VALUES]
        return sum(np.sum(((s - t) / units) ** 2) for s, t in zip(sums, targets, strict=True))

    least = loss(correction.beta)
    assert least / correction.beta.shape[1] / 10 == pytest.approx(correction.residuals.rms_after**2, rel=1e-3)
    for _ in range(20):
        assert loss(correction.beta + 1e-3 * generator.normal(size=correction.beta.shape)) > least


def test_rates_are_in_beta_from_the_start(nominal):
    slopes = np.array([0.3, -0.1, 0.0, 0.0, 0.0])
    published = published_construction("toy", slopes, 10)
    delta, score = _too_weak(nominal, ALL)
    assert np.allclose(published.exponents(delta, score), delta + slopes, rtol=0.0, atol=1e-7)


def test_storage_keeps_everything(nominal, tmp_path):
    correction, _, _ = _calibrated(nominal, "forward", 2)
    np.savez(tmp_path / "moments.npz", **correction.arrays())
    with np.load(tmp_path / "moments.npz", allow_pickle=False) as stored:
        again = MomentCorrection.from_arrays(stored)
    columns = _two_exponents(nominal, ALL)
    assert np.array_equal(again.exponents(*columns), correction.exponents(*columns))
    assert again.residuals.rms_after == correction.residuals.rms_after


def test_bins_of_equal_content(nominal):
    score = _score(nominal.x)
    edges = equal_content_edges(score, nominal.weights, 12)
    content = np.bincount(np.searchsorted(edges, score, side="right"), weights=nominal.weights)
    assert content == pytest.approx(np.full(12, nominal.weights.sum() / 12), rel=5e-3)
    assert len(equal_content_edges(np.zeros(5), np.ones(5), 12)) == 0
    with pytest.raises(InputError, match="at least one bin"):
        equal_content_edges(score, np.zeros(len(score)), 12)


def test_bins_with_few_events_are_joined_from_the_top():
    edges = np.array([0.2, 0.4, 0.6, 0.8])
    score = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], [1000, 50, 500, 150, 60])
    ones = np.ones(len(score))
    # 60 and 150 together are enough; 500 are; 50 need the thousand below
    np.testing.assert_array_equal(joined_edges(edges, score, ones, 200), [0.4, 0.6])
    # every other event counts: 30, 75 and 250 together, then 25 and 500
    np.testing.assert_array_equal(joined_edges(edges, score, np.arange(len(score)) % 2 * 3.0, 200), [0.4])
    assert len(joined_edges(edges, score, ones, 1e6)) == 0
    assert len(joined_edges(edges, score, 0.0 * ones, 200)) == 0


def test_inverse_calibration_takes_score_bins_only(nominal):
    with pytest.raises(InputError, match="forward calibration only"):
        _calibrated(nominal, "inverse", 2)
