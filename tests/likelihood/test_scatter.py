"""Covariance of the gradient against the gradients of single events, which tests elsewhere compare with zfit's."""

from __future__ import annotations

import dataclasses

import models
import numpy as np
import pytest
import weighted
import zfit
from variations import make

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator, typical_weight
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.protocol import has_weights, scatter_of
from hisigma_zfit.likelihood.recipes import likelihood_recipe
from hisigma_zfit.model.systematics import nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield

M, WEIGHTS = weighted.sample()


def varied():
    """Two nuisances that move the features, in the signal region only, and one that scales the signal."""
    scaled = lognormal_yield(zfit.Parameter("n_sig", 40.0), nuisance("luminosity"), 1.1)
    model = make([nuisance("first"), nuisance("second")], samples=2000, n_bkg=300.0, poi=scaled)
    data = models.toy(model, seed=3)
    n = int(data.num_entries)
    loss = ExtendedNLL(model, data.with_weights(np.random.default_rng(4).normal(1.0, 0.5, n)))
    theta = loss.theta()
    moved = {"first": 0.4, "second": -1.3, "luminosity": 0.7}
    theta += [moved.get(p.name, 0.0) for p in loss.parameters]
    return loss, theta, ColumnEvaluator


def peak(kind, *, every=6, **options):
    loss = weighted.peak_loss(M[::every], WEIGHTS[::every], **options)
    return loss, loss.theta() + 0.01, kind


CASES = {
    "variations": varied,
    "peak": lambda: peak(ColumnEvaluator),
    "any shape": lambda: peak(GraphEvaluator, every=30, mean=zfit.Parameter("mean", 0.5, 0.4, 0.6)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_covariance_of_the_gradient_is_the_sum_over_events(case):
    loss, theta, kind = CASES[case]()
    (columns,), w = loss.columns(), loss.columns()[0].weights
    recipe = likelihood_recipe(terms_of(loss.model[0]), columns, loss.parameters)

    def evaluated(weights):
        return recipe(dataclasses.replace(columns, weights=weights, total=float(weights.sum()))).evaluate(theta)

    at = np.arange(0, w.size, max(1, w.size // 60))
    nothing = evaluated(np.zeros(w.size)).gradient
    scores = np.array([nothing - evaluated(one).gradient for one in np.eye(w.size)[at]])
    weights, some = w[at], np.zeros(w.size)
    some[at] = weights
    part = recipe(dataclasses.replace(columns, weights=some, total=float(some.sum())))
    assert isinstance(part, kind)
    c, hessian = typical_weight(some), part.evaluate(theta).hessian
    expected = c * (hessian - (scores.T * weights) @ scores) + (scores.T * weights**2) @ scores
    scale = np.sqrt(np.maximum(np.diag(expected), 1e-12))
    scales = np.outer(scale, scale)
    np.testing.assert_allclose(part.scatter(theta) / scales, expected / scales, atol=1e-9)
    if not loss.constraints:
        return
    # in the whole likelihood they keep their Hessian
    others = loss.evaluator().evaluate(theta).hessian - recipe(columns).evaluate(theta).hessian
    whole = recipe(columns).scatter(theta) + others
    np.testing.assert_allclose(loss.scatter(theta) / scales, whole / scales, atol=1e-8)


def test_no_weights_and_expected_ones_have_the_hessian():
    theta = weighted.peak_loss(M).theta()
    for loss in (weighted.peak_loss(M), weighted.peak_loss(M, WEIGHTS, expected=True)):
        assert not has_weights(loss)
        assert scatter_of(loss, theta) is None
        np.testing.assert_array_equal(loss.scatter(theta), loss.evaluator().evaluate(theta).hessian)
    assert typical_weight(np.zeros(0)) == 0.0


def test_every_data_set_has_its_own_weights():
    heavy, plain = weighted.peak_loss(M, WEIGHTS), weighted.peak_loss(M)
    shared = ExtendedNLL(heavy.model, plain.data)
    both = heavy + shared
    assert isinstance(both, ExtendedNLL)
    theta = both.theta()
    expected = heavy.scatter(theta) + shared.evaluator().evaluate(theta).hessian
    np.testing.assert_allclose(both.scatter(theta), expected, rtol=1e-12)
    kept = ExtendedNLL(heavy.model, heavy.data, expected=True) + heavy
    assert kept.expected == (True, False)
    assert kept.create_new().expected == (True, False)
    with pytest.raises(InputError, match="one value of expected= for each of 1 data sets"):
        weighted.peak_loss(M, WEIGHTS, expected=[True, False])
