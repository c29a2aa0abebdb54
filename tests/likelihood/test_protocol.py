"""All likelihoods are of one kind: what fits one of them fits the others and their sums."""

from __future__ import annotations

import counting
import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.baselines.template_fits import TemplateLikelihood
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.inference.hypotests import discovery, interval
from hisigma_zfit.inference.impacts import correlations, impacts
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.protocol import Likelihood, LikelihoodSum, PlainParameter, PseudoLikelihood, limits_of
from hisigma_zfit.toys.asimov import ImportanceSample

B = 50.0


def histogram(loss, n):
    """One bin with the same signal, over a known background of B events."""
    s, b = (next(p for p in loss.parameters if p.name == name) for name in "sb")
    return TemplateLikelihood([s, b], np.ones((2, 1)), np.array([n]))


class Parabola:
    """-log L = (x - 1)^2 / 2 + (y - x)^2 / 2 of parameters that are no zfit objects."""

    def __init__(self):
        self.parameters = (PlainParameter("x"), PlainParameter("y", lower=-10.0, upper=10.0))
        self._hessian = np.array([[2.0, -1.0], [-1.0, 1.0]])

    def theta(self):
        return np.zeros(2)

    def evaluator(self, *, around=None):
        return self

    def data_constant(self):
        return 0.0

    def value(self, theta):
        return self.evaluate(theta).value

    def evaluate(self, theta):
        x, y = theta
        gradient = np.array([x - 1.0 - (y - x), y - x])
        return Evaluation(0.5 * (x - 1.0) ** 2 + 0.5 * (y - x) ** 2, gradient, self._hessian)

    def __add__(self, other):
        return LikelihoodSum((self, other))


def test_every_likelihood_is_one():
    loss = counting.counting(60.0, B)
    asimov = ImportanceSample(loss, events=200, seed=1).asimov(loss.theta())
    kinds = [loss, histogram(loss, 70.0), asimov.likelihood, asimov.pool().asimov(), Parabola()]
    assert isinstance(asimov.likelihood, PseudoLikelihood)
    for kind in kinds:
        assert isinstance(kind, Likelihood)
        assert isinstance(kind + histogram(loss, 70.0), Likelihood)
    assert not isinstance(zfit.loss.ExtendedUnbinnedNLL(loss.model, loss.data), Likelihood)


def test_a_sum_is_the_likelihood_of_both_data_sets():
    loss = counting.counting(60.0, B)
    both = loss + histogram(loss, 70.0)
    assert isinstance(both, LikelihoodSum)
    assert [p.name for p in both.parameters] == [p.name for p in loss.parameters]
    # 130 events where 2 (s + b) are expected
    assert Profiler(both, "s").best == pytest.approx(15.0, abs=1e-3)
    exact = 2.0 * (130.0 * np.log(65.0 / B) - 30.0)
    assert discovery(both, "s").q0 == pytest.approx(exact, rel=1e-9)
    assert both.data_constant() == loss.data_constant() + histogram(loss, 70.0).data_constant()
    # whatever comes first, and however it is nested
    again = histogram(loss, 70.0) + (loss + histogram(loss, 80.0))
    assert Profiler(again, "s").best == pytest.approx(20.0, abs=1e-3)
    assert interval(again, "s").upper > 20.0


def test_a_sum_is_prepared_for_scans_as_its_parts_are():
    model = models.model(n_sig=60.0, n_bkg=8000.0)
    loss = ExtendedNLL(model, models.toy(model, seed=1))
    bins = TemplateLikelihood([model.poi], np.ones((1, 1)), np.array([70.0]))
    both = loss + bins
    values = np.linspace(20.0, 120.0, 7)
    exact = [2.0 * (Profiler(loss, "n_sig").t(v) / 2.0 + v - 70.0 * np.log(v)) for v in values]
    scan = Profiler(both, "n_sig").scan(values)
    np.testing.assert_allclose(scan - scan[0], np.array(exact) - exact[0], atol=2e-3)


def test_two_losses_make_one_and_their_constraint_counts_once():
    first = counting.counting(60.0, B, sigma=5.0)
    s, b = (next(p for p in first.parameters if p.name == name) for name in "sb")
    second = ExtendedNLL(
        zfit.pdf.SumPDF([counting.flat(s), counting.flat(b)]),
        counting.observe(80.0),
        constraints=first.constraints,
        expected=True,
    )
    both = first + second
    assert isinstance(both, ExtendedNLL)
    assert len(both.constraints) == 1
    # b is its measurement, s + b the mean number of events
    profiler = Profiler(both, "s")
    assert profiler.best == pytest.approx(70.0 - B, abs=1e-3)
    assert profiler.error == pytest.approx(np.sqrt(70.0 / 2.0 + 25.0), rel=1e-5)
    # also behind a likelihood of another kind
    nested = (first + histogram(first, 100.0)) + second
    assert len(nested.constraints) == 1
    found = Profiler(nested, "s")
    assert found.best == pytest.approx(80.0 - B, abs=1e-3)
    assert found.error == pytest.approx(np.sqrt(80.0 / 3.0 + 25.0), rel=1e-5)


def test_parameters_need_not_be_zfit_objects():
    likelihood = Parabola()
    profiler = Profiler(likelihood, "x")
    assert (profiler.best, profiler.error) == pytest.approx((1.0, 1.0))
    assert profiler.interval(1.0) == pytest.approx((0.0, 2.0))
    assert Profiler(likelihood, "x", held=["y"], start=np.array([0.0, 3.0])).best == pytest.approx(2.0)
    assert contour(likelihood, "x", "y", points=8).contains(1.0, 1.1)
    found = impacts(likelihood, "x")
    assert found.total == pytest.approx((1.0, 1.0), rel=1e-5)
    # y has the error sqrt(2); x moves by half of it
    assert found.impacts[0].postfit == pytest.approx((-np.sqrt(0.5), np.sqrt(0.5)), rel=1e-5)
    assert correlations(likelihood).matrix[0, 1] == pytest.approx(np.sqrt(0.5))


def test_a_plain_copy_is_the_same_parameter_and_a_namesake_is_not():
    loss = counting.counting(60.0, B)
    pool = ImportanceSample(loss, events=200, seed=1).asimov(loss.theta()).pool()
    both = loss + pool.asimov()
    assert len(both.parameters) == len(loss.parameters)
    other = counting.counting(60.0, B)
    with pytest.raises(InputError, match=r"one parameter of the name .*, got two"):
        loss + histogram(other, 70.0)
    with pytest.raises(InputError, match="another likelihood, got int"):
        loss + 3


def test_limits_are_infinite_where_there_are_none():
    parameters = (zfit.Parameter("free", 1.0), zfit.Parameter("above", 1.0, 0.0), PlainParameter("plain", upper=3.0))
    lower, upper = limits_of(parameters)
    np.testing.assert_array_equal(lower, [-np.inf, 0.0, -np.inf])
    np.testing.assert_array_equal(upper, [np.inf, np.inf, 3.0])
    assert PlainParameter.of(parameters[1]) == PlainParameter("above", lower=0.0)
