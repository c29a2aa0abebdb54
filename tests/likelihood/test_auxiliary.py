"""Auxiliary measurements against zfit's own constraints, which know their value but not what fluctuates."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zfit
from counting import parameter

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.auxiliary import AuxiliaryEvaluator
from hisigma_zfit.likelihood.constraints import auxiliary_data, constraint_evaluators, shifted
from hisigma_zfit.likelihood.graph import ConstraintEvaluator

COVARIANCE = np.array([[0.5, 0.2], [0.2, 0.3]])


def gaussian(p):
    return zfit.constraint.GaussianConstraint(p[:2], observation=[7.5, 3.2], cov=COVARIANCE)


def single(p):
    return zfit.constraint.GaussianConstraint(p[1], observation=3.1, sigma=0.2)


def poisson(p):
    return zfit.constraint.PoissonConstraint(p[:2], observation=[9.0, 4.0])


def lognormal(p):
    return zfit.constraint.LogNormalConstraint(p[:2], observation=[2.0, 1.1], uncertainty=[0.2, 0.3])


@pytest.fixture
def parameters():
    return [parameter("first", 8.0), parameter("second", 3.0), parameter("other", 1.0)]


@pytest.mark.parametrize("build", [gaussian, single, poisson, lognormal])
def test_values_are_those_of_zfit_and_derivatives_are_theirs(parameters, build):
    constraint = build(parameters)
    auxiliary = auxiliary_data([constraint], parameters)
    evaluator = auxiliary.evaluator(auxiliary.observed)
    theta, shifted = np.array([8.0, 3.0, 1.0]), np.array([6.6, 3.4, 2.0])

    def reference(values):
        with zfit.param.set_values(parameters, values):
            return float(constraint.value())

    for values in (theta, shifted):  # with all constants
        np.testing.assert_allclose(evaluator.value(values), reference(values), rtol=1e-9)
    here = evaluator.evaluate(theta)
    assert here.value == evaluator.value(theta)
    for k in range(3):
        step = np.zeros(3)
        step[k] = 1e-5
        up, down = evaluator.evaluate(theta + step), evaluator.evaluate(theta - step)
        np.testing.assert_allclose((up.value - down.value) / 2e-5, here.gradient[k], atol=1e-8)
        np.testing.assert_allclose((up.gradient - down.gradient) / 2e-5, here.hessian[k], atol=1e-7)


def test_gaussian_constraints_of_different_nuisances_are_one_sum(parameters):
    def third(p):
        return zfit.constraint.GaussianConstraint(p[2], observation=0.9, sigma=0.5)

    theta = np.array([6.6, 3.4, 2.0])
    for builds, joint in (((gaussian, third, poisson), 2), ((gaussian, single, third), 3)):
        constraints = [build(parameters) for build in builds]
        auxiliary = auxiliary_data(constraints, parameters)
        assert len(auxiliary.joint_terms) == joint
        found = auxiliary.evaluator(auxiliary.observed).evaluate(theta)
        parts = [auxiliary_data([own], parameters) for own in constraints]
        each = [part.evaluator(part.observed).evaluate(theta) for part in parts]
        np.testing.assert_allclose(found.value, sum(part.value for part in each), rtol=1e-12)
        np.testing.assert_allclose(found.gradient, sum(part.gradient for part in each), rtol=1e-12)
        np.testing.assert_allclose(found.hessian, sum(part.hessian for part in each), rtol=1e-12)


def test_constraints_of_all_kinds_have_zfits_value(parameters):
    x, y, other = parameters
    twice = zfit.ComposedParameter("twice", lambda p: 2 * p, params={"p": other})
    constraints = [
        gaussian(parameters),
        poisson(parameters),
        lognormal(parameters),
        zfit.constraint.GaussianConstraint(twice, observation=1.5, sigma=0.4),  # of a composed parameter
        zfit.constraint.GaussianConstraint(x, observation=y, sigma=2.0),  # of one parameter around another
        zfit.constraint.SimpleConstraint(lambda: 0.1 * (x - y) ** 2, params=[x, y]),
    ]
    evaluators = constraint_evaluators(constraints, tuple(parameters))
    assert [type(e) for e in evaluators] == [AuxiliaryEvaluator, ConstraintEvaluator]
    theta = np.array([6.6, 3.4, 2.0])
    with zfit.param.set_values(parameters, theta):
        expected = sum(float(c.value()) for c in constraints)
    np.testing.assert_allclose(sum(e.value(theta) for e in evaluators), expected, rtol=1e-9)
    gradient = sum(e.evaluate(theta).gradient for e in evaluators)
    for k in range(3):
        up, down = (sum(e.value(theta + sign * 1e-5 * np.eye(3)[k]) for e in evaluators) for sign in (1.0, -1.0))
        np.testing.assert_allclose((up - down) / 2e-5, gradient[k], atol=1e-7)


@pytest.mark.parametrize("build", [gaussian, single, poisson, lognormal])
def test_asimov_observations_make_the_constraint_stationary(parameters, build):
    auxiliary = auxiliary_data([build(parameters)], parameters)
    theta = np.array([6.0, 2.5, 1.0])
    assert np.abs(auxiliary.evaluator(auxiliary.observed).evaluate(theta).gradient).max() > 0.1
    observation = auxiliary.asimov(theta)
    np.testing.assert_allclose(auxiliary.evaluator(observation).evaluate(theta).gradient, 0.0, atol=1e-12)
    (again,) = shifted(auxiliary, parameters, observation)
    np.testing.assert_allclose(auxiliary_data([again], parameters).observed, observation)


@pytest.mark.statistical
def test_observations_fluctuate_as_the_measurement_says(parameters):
    auxiliary = auxiliary_data([gaussian(parameters), poisson(parameters), lognormal(parameters)], parameters)
    theta, rng, n = np.array([8.0, 3.0, 1.0]), np.random.default_rng(1), 4000
    draws = np.array([auxiliary.draw(theta, rng) for _ in range(n)])
    mean = np.array([8.0, 3.0, 8.0, 3.0, np.log(8.0), np.log(3.0)])
    # a Poisson count of zero is replaced by 1/e, which moves the mean of 3.0 by 0.018
    mean[3] += np.exp(-3.0 - 1.0)
    variance = np.array([0.5, 0.3, 8.0, 3.0, 0.04, 0.09])
    # six means at 5 sigma: false alarms 3e-6; variances scatter by sqrt(2/n) = 2.2 %, Poisson a little more
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 5 * np.sqrt(variance / n))
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.15)
    correlation = np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]
    assert abs(correlation - 0.2 / np.sqrt(0.15)) < 5 * (1 - 0.2**2 / 0.15) / np.sqrt(n)


def test_observations_follow_the_order_of_the_constraint(parameters):
    swapped = zfit.constraint.GaussianConstraint(parameters[1::-1], observation=[3.2, 7.5], cov=COVARIANCE[::-1, ::-1])
    theta = np.array([6.0, 2.5, 1.0])
    first, second = (auxiliary_data([c], parameters) for c in (gaussian(parameters), swapped))
    np.testing.assert_allclose(second.asimov(theta), first.asimov(theta)[::-1])
    np.testing.assert_allclose(
        second.evaluator(second.observed).evaluate(theta).gradient,
        first.evaluator(first.observed).evaluate(theta).gradient,
    )


def test_constraints_of_unknown_measurements_are_refused(parameters):
    simple = zfit.constraint.SimpleConstraint(lambda: parameters[0] ** 2, params=parameters[0])
    with pytest.raises(InputError, match="got SimpleConstraint"):
        auxiliary_data([simple], parameters)
    twice = zfit.ComposedParameter("twice", lambda p: 2 * p, params={"p": parameters[0]})
    with pytest.raises(InputError, match="one of twice"):
        auxiliary_data([zfit.constraint.GaussianConstraint(twice, observation=1.0, sigma=1.0)], parameters)


def test_a_portable_copy_needs_no_zfit(parameters):
    auxiliary = auxiliary_data([gaussian(parameters), lognormal(parameters)], parameters)
    copied = pickle.loads(pickle.dumps(auxiliary))
    theta = np.array([6.0, 2.5, 1.0])
    np.testing.assert_array_equal(
        copied.draw(theta, np.random.default_rng(1)), auxiliary.draw(theta, np.random.default_rng(1))
    )
    observation = copied.asimov(theta)
    assert copied.evaluator(observation).value(theta + 0.1) == auxiliary.evaluator(observation).value(theta + 0.1)
