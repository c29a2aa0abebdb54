"""Errors of weighted events against counts that can be written down, zfit's own, and repeated experiments."""

from __future__ import annotations

import numpy as np
import pytest
import weighted
import zfit
from scipy.stats import norm

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.cached import Columns
from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator
from hisigma_zfit.likelihood.recipes import compiled_terms

M, WEIGHTS = weighted.sample()
W = 4.0
TRUE = 240.0  # signal in repeated experiments


def errors(result):
    return {p.name: found["hesse"]["error"] for p, found in result.params.items()}


def test_without_weights_nothing_changes():
    profiler = Profiler(weighted.peak_loss(M), "s")
    assert profiler.scatter is None
    assert (profiler.inflation, profiler.weighted) == (1.0, False)
    assert profiler.t(40.0) == 2.0 * (profiler.at(40.0).value - profiler.minimum.value)
    free = profiler.minimum.free
    inverse = np.linalg.inv(profiler.minimum.evaluation.hessian[np.ix_(free, free)])
    at = free.tolist().index(profiler.index)
    assert profiler.error == np.sqrt(inverse[at, at])
    np.testing.assert_array_equal(profiler.covariance[np.ix_(free, free)], inverse)
    ones = Profiler(weighted.peak_loss(M, np.ones(M.size)), "s")
    assert (ones.inflation, ones.weighted) == (1.0, False)


def test_events_of_one_weight_are_so_many_events_each():
    """With 4 for all weights the yields are fourfold, and so is all that is said of them: Z is that of the events."""
    plain = Profiler(weighted.peak_loss(M), "s")
    heavy = Profiler(weighted.peak_loss(M, np.full(M.size, W), scale=W), "s")
    assert heavy.weighted
    assert heavy.inflation == pytest.approx(W, rel=1e-9)
    assert heavy.best == pytest.approx(W * plain.best, rel=1e-6)
    assert heavy.error == pytest.approx(W * plain.error, rel=1e-6)
    np.testing.assert_allclose(heavy.interval(3.84), W * np.array(plain.interval(3.84)), rtol=1e-6)
    values = np.linspace(20.0, 100.0, 9)
    np.testing.assert_allclose(heavy.scan(W * values), plain.scan(values), atol=1e-3)
    assert heavy.t(0.0) == pytest.approx(plain.t(0.0), rel=1e-7)
    # the parabola alone has half of the error
    alone = Profiler(weighted.peak_loss(M, np.full(M.size, W), scale=W, expected=True), "s")
    assert alone.error == pytest.approx(0.5 * heavy.error, rel=1e-6)
    assert alone.t(0.0) == pytest.approx(W * heavy.t(0.0), rel=1e-9)


def test_errors_are_those_of_counts():
    """A sum of weights has the variance sum of w^2; a known error and control events without weights add theirs."""
    sum_w, sum_w2 = WEIGHTS.sum(), (WEIGHTS**2).sum()
    profiler = Profiler(weighted.counts(WEIGHTS, 500.0), "s")
    assert profiler.best == pytest.approx(sum_w - 500.0, rel=1e-6)
    assert profiler.error == pytest.approx(np.sqrt(sum_w2), rel=1e-6)
    assert profiler.inflation == pytest.approx(sum_w2 / sum_w, rel=1e-6)
    loss = weighted.counts(WEIGHTS, 500.0, sigma=30.0)
    profiler = Profiler(loss, "s")
    assert profiler.error == pytest.approx(np.sqrt(sum_w2 + 30.0**2), rel=1e-6)
    assert profiler.inflation == pytest.approx((sum_w2 + 30.0**2) / (sum_w + 30.0**2), rel=1e-6)
    assert profiler.error_without(["b"]) == pytest.approx(np.sqrt(sum_w2), rel=1e-6)
    # zfit's own correction takes the constraint for an event without a gradient, and b for known
    assert errors(fit(loss)) == pytest.approx({"s": np.sqrt(sum_w2 + 900.0), "b": 30.0}, rel=1e-4)
    other = fit(loss, minimizer=zfit.minimize.Minuit(gradient="zfit"))
    assert errors(other) == pytest.approx({"s": np.sqrt(sum_w2 + 900.0), "b": 30.0}, rel=1e-3)
    profiler = Profiler(weighted.counts(WEIGHTS, 500.0, off=400), "s")
    assert profiler.best == pytest.approx(sum_w - 400.0, rel=1e-6)
    assert profiler.error == pytest.approx(np.sqrt(sum_w2 + 400.0), rel=1e-6)


def test_weights_may_be_negative():
    signed = WEIGHTS * np.where(np.arange(WEIGHTS.size) % 5 == 0, -1.0, 1.0)
    profiler = Profiler(weighted.counts(signed, 200.0), "s")
    assert profiler.best == pytest.approx(signed.sum() - 200.0, rel=1e-6)
    assert profiler.error == pytest.approx(np.sqrt((signed**2).sum()), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("slope_floats", "tolerance"), [(False, 1e-3), (True, 5e-3)])
def test_errors_are_those_of_zfit(slope_floats, tolerance):
    """Exactly for yields; else both have noise, ours that of the differences between the weights only."""
    result = fit(weighted.peak_loss(M, WEIGHTS, slope_floats=slope_floats))
    stock = zfit.loss.ExtendedUnbinnedNLL(result.loss.model, result.loss.data)
    theirs = zfit.minimize.Minuit(gradient="zfit").minimize(stock).hesse(weightcorr="asymptotic")
    assert errors(result) == pytest.approx({p.name: found["error"] for p, found in theirs.items()}, rel=tolerance)
    covariance = result.covariance()
    assert np.sqrt(np.diag(covariance)) == pytest.approx(list(errors(result).values()))
    # MINOS starts from the same error
    minos, _ = result.errors(params=[p for p in result.params if p.name == "s"])
    (ends,) = minos.values()
    assert 0.5 * (ends["upper"] - ends["lower"]) == pytest.approx(errors(result)["s"], rel=0.02)


class Drawn:
    """One experiment of the peak over the slope, without zfit."""

    weighted = True

    def __init__(self, parameters, terms, m, weights):
        self.parameters, self._evaluator = parameters, ColumnEvaluator(terms, _columns(m, weights))

    def theta(self):
        return np.array([{"s": TRUE, "b": 5.0 * TRUE, "slope": weighted.SLOPE}[p.name] for p in self.parameters])

    def evaluator(self, *, around=None):
        return self._evaluator

    def scatter(self, theta):
        return self._evaluator.scatter(theta)

    def data_constant(self):
        return 0.0

    def __add__(self, other):
        raise NotImplementedError


def _columns(m, weights):
    peak = norm.pdf(m, weighted.MEAN, weighted.WIDTH)
    return Columns(m, weights, np.stack([peak, np.ones_like(m)]), 0.0, float(weights.sum()), (None, None))


def test_pulls_of_repeated_experiments_have_width_one():
    """Acceptance-corrected events, whose weights depend on the mass and are random besides.

    The width of 400 pulls has an error of 0.035, the fraction within one sigma one of 0.023: four of either are a false
    alarm in 1e-4.  The parabola's pulls have a width of 1.8.
    """
    loss = weighted.peak_loss(M)
    terms, rng = compiled_terms(terms_of(loss.model[0]), loss.parameters), np.random.default_rng(7)
    pulls, naive, within = [], [], []
    for _ in range(400):
        m = weighted.masses(rng, *rng.poisson([TRUE, 5.0 * TRUE]))
        accepted = 0.2 + 0.4 * m
        keep = rng.random(m.size) < accepted
        weights = rng.uniform(0.0, 2.0, m.size)[keep] / accepted[keep]
        profiler = Profiler(Drawn(loss.parameters, terms, m[keep], weights), "s")
        pulls.append((profiler.best - TRUE) / profiler.error)
        naive.append(pulls[-1] * np.sqrt(profiler.inflation))
        within.append(profiler.t(TRUE) < 1.0)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.14)
    assert np.mean(within) == pytest.approx(0.683, abs=0.093)
    assert np.std(naive) > 1.5


def test_no_parabola_is_an_error():
    profiler = Profiler(weighted.peak_loss(M, WEIGHTS), "s")
    profiler.minimum.evaluation.hessian[profiler.index, profiler.index] *= -1.0
    with pytest.raises(FitError, match="no error of s from events with weights"):
        profiler.t(10.0)
