"""Impacts against fits with the nuisance really fixed, and against linear algebra where that is exact."""

from __future__ import annotations

import models
import numpy as np
import pytest
import resonant
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.impacts import constrained_parameters, correlations, impacts, prefit
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.results.explanations import Correlations, Impacts

PREFIT = {"n_res": (100.0, 25.0), "n_bkg": (6050.0, 60.0)}


@pytest.fixture(scope="module")
def loss():
    model = resonant.with_resonant()
    data = models.toy(model, seed=21)
    parameters = {p.name: p for p in model.get_params()}
    constraints = [
        zfit.constraint.GaussianConstraint(parameters[name], observation=value, sigma=error)
        for name, (value, error) in PREFIT.items()
    ]
    loss = ExtendedNLL(model, data, constraints=constraints)
    fit(loss)
    return loss


@pytest.fixture(scope="module")
def budget(loss):
    return impacts(loss, "n_sig", groups={"yields": ["n_res", "n_bkg"], "resonant": ["n_res"]})


def fixed(loss, name, value, *, wanted="n_sig"):
    """Best poi of a new fit with one parameter held, by way of zfit's own switches."""
    parameter = resonant.parameters(loss)[name]
    before = loss.theta()
    try:
        parameter.set_value(value)
        parameter.floating = False
        result = fit(loss)
        return result.params[resonant.parameters(loss)[wanted]]["value"]
    finally:
        parameter.floating = True
        zfit.param.set_values(loss.parameters, before)


def test_every_shift_is_that_of_a_fit_with_the_nuisance_fixed(loss, budget):
    for impact in budget.impacts:
        ends = (impact.value - impact.errors[0], impact.value + impact.errors[1])
        shifts = [fixed(loss, impact.name, end) - budget.value for end in ends]
        np.testing.assert_allclose(impact.postfit, shifts, atol=2e-3 * budget.total[0])
    resonant_yield = budget["n_res"]
    ends = (resonant_yield.value - 25.0, resonant_yield.value + 25.0)
    shifts = [fixed(loss, "n_res", end) - budget.value for end in ends]
    np.testing.assert_allclose(resonant_yield.prefit, shifts, atol=2e-3 * budget.total[0])


def test_nuisances_are_ranked_and_complete(loss, budget):
    assert [i.name for i in budget.impacts] == sorted(
        (i.name for i in budget.impacts), key=lambda name: -budget[name].size
    )
    assert {i.name for i in budget.impacts} == {"n_res", "n_bkg", "p1", "p2"}
    assert budget["p1"].prefit is None
    assert budget["p1"].pull is None
    assert constrained_parameters(loss) == tuple(p.name for p in loss.parameters if p.name in PREFIT)


def test_pulls_and_constraints_compare_with_the_constraint_term(budget):
    for name, (value, error) in PREFIT.items():
        impact = budget[name]
        assert impact.prefit_value == pytest.approx(value, rel=1e-9)
        assert impact.prefit_error == pytest.approx(error, rel=1e-6)
        assert impact.pull == pytest.approx((impact.value - value) / error, rel=1e-6)
        assert 0.2 < impact.constraint < 1.0  # the data know something, and less than everything


def test_linear_error_budget_is_that_of_the_hessian(loss):
    got = impacts(loss, "n_sig", minos=False, groups={"resonant": ["n_res"]})
    names = [p.name for p in loss.parameters if p.floating]
    every = [k for k, p in enumerate(loss.parameters) if p.floating]
    hessian = Profiler(loss, "n_sig").minimum.evaluation.hessian

    def variance(held):
        free = [k for k, name in zip(every, names, strict=True) if name not in held]
        inverse = np.linalg.inv(hessian[np.ix_(free, free)])
        return inverse[free.index(every[names.index("n_sig")]), free.index(every[names.index("n_sig")])]

    total, statistical, alone = variance(()), variance(PREFIT), variance(("n_res",))
    assert got.total[0] == pytest.approx(np.sqrt(total), rel=1e-4)
    assert got.statistical[0] == pytest.approx(np.sqrt(statistical), rel=1e-4)
    assert got.systematic[1] == pytest.approx(np.sqrt(total - statistical), rel=1e-3)
    assert got.groups["resonant"][0] == pytest.approx(np.sqrt(total - alone), rel=1e-3)


def test_minos_budget_adds_in_quadrature(budget):
    for side in (0, 1):
        assert budget.statistical[side] ** 2 + budget.systematic[side] ** 2 == pytest.approx(budget.total[side] ** 2)
        assert 0 < budget.groups["resonant"][side] <= budget.groups["yields"][side] * (1 + 1e-6)
        assert budget.groups["yields"][side] == pytest.approx(budget.systematic[side], rel=1e-6)


def test_a_nuisance_that_nothing_depends_on_stays_as_it_was(loss):
    free = zfit.Parameter("idle", 0.3)
    term = zfit.constraint.GaussianConstraint(free, observation=0.3, sigma=2.0)
    with_idle = ExtendedNLL(loss.model[0], loss.data[0], constraints=[*loss.constraints, term])
    impact = impacts(with_idle, "n_sig", nuisances=["idle"])["idle"]
    assert impact.pull == pytest.approx(0.0, abs=1e-6)
    assert impact.constraint == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(impact.postfit, 0.0, atol=1e-3)


def test_prefit_serves_every_kind_of_constraint():
    model = resonant.with_resonant()
    parameters = {p.name: p for p in model.get_params()}
    together = zfit.constraint.GaussianConstraint(
        [parameters["p1"], parameters["p2"]], observation=[1.6, 0.3], cov=np.array([[0.04, 0.01], [0.01, 0.09]])
    )
    counted = zfit.constraint.PoissonConstraint(parameters["n_res"], observation=90.0)
    loss = ExtendedNLL(model, models.toy(model, seed=22), constraints=[together, counted])
    got = prefit(loss)
    np.testing.assert_allclose(got["p1"], (1.6, 0.2), rtol=1e-6)
    np.testing.assert_allclose(got["p2"], (0.3, 0.3), rtol=1e-6)
    # zfit continues Poisson(k | 90) in k, whose mode is half a count lower
    np.testing.assert_allclose(got["n_res"], (89.5, np.sqrt(90.0)), rtol=1e-4)
    assert prefit(ExtendedNLL(model, models.toy(model, seed=22))) == {}


def test_parameters_are_left_alone(loss):
    zfit.param.set_values(loss.parameters, loss.theta() * 1.01)
    before, floating = loss.theta(), [p.floating for p in loss.parameters]
    impacts(loss, "n_sig", minos=False)
    correlations(loss)
    np.testing.assert_array_equal(loss.theta(), before)
    assert [p.floating for p in loss.parameters] == floating


def test_correlations_are_those_of_zfit(loss):
    result = fit(loss)
    got = correlations(result)
    expected = result.correlation([resonant.parameters(loss)[name] for name in got.names])
    np.testing.assert_allclose(got.matrix, expected, atol=1e-6)
    np.testing.assert_allclose(np.diag(got.matrix), 1.0)
    assert got["p1", "p2"] > 0.8
    few = correlations(loss, names=["p2", "n_sig"])
    assert few.names == ("p2", "n_sig")
    assert few["p2", "n_sig"] == pytest.approx(got["n_sig", "p2"], abs=1e-6)


def test_results_survive_the_disk(loss, budget):
    assert Impacts.from_json(budget.to_json()) == budget
    got = correlations(loss)
    again = Correlations.from_json(got.to_json())
    assert again.names == got.names
    np.testing.assert_array_equal(again.matrix, got.matrix)
    assert "stat" in str(budget)


def test_wrong_input_is_named(loss):
    with pytest.raises(InputError, match=r"floating nuisances among .* got 'nobody'"):
        impacts(loss, "n_sig", nuisances=["nobody"])
    with pytest.raises(InputError, match="got 'peak_mu'"):
        impacts(loss, "n_sig", groups={"shape": ["peak_mu"]})
    with pytest.raises(InputError, match="got 'nobody'"):
        correlations(loss, names=["nobody"])
