"""Tests of tests: p-values are flat for a right model and small for a wrong one."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit
from scipy.stats import kstest, truncexpon

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import Newton, fit
from hisigma_zfit.inference.gof import goodness_of_fit, two_sample
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.results.explanations import GoodnessOfFit

METHODS = ["classifier", "energy", "neighbours"]


def correlated(rng, n, d=3, rho=0.5):
    return rng.multivariate_normal(np.zeros(d), (1 - rho) * np.eye(d) + rho, size=n)


@pytest.mark.statistical
@pytest.mark.parametrize(("method", "toys"), [("classifier", 20), ("energy", 80), ("neighbours", 80)])
def test_p_values_are_flat_for_equal_densities(method, toys):
    rng = np.random.default_rng(51)
    p = [
        two_sample(correlated(rng, 120), correlated(rng, 150), method=method, permutations=99, seed=k).p_value
        for k in range(toys)
    ]
    # false alarm 1e-6; steps of 1/100 are far below what so few toys can see
    assert kstest(p, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_lost_correlation_is_found(method):
    rng = np.random.default_rng(52)
    # equal marginals: only a test in all dimensions together can see it
    got = two_sample(correlated(rng, 1200), correlated(rng, 1200, rho=0.0), method=method, permutations=199, seed=1)
    assert got.p_value == pytest.approx(1 / 200)
    assert got.z > 5


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_answer(method):
    rng = np.random.default_rng(53)
    x, y = correlated(rng, 200), correlated(rng, 200)
    first, again, other = (two_sample(x, y, method=method, permutations=50, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.null, again.null)
    assert first.statistic == again.statistic
    assert not np.array_equal(first.null, other.null)


def test_energy_distance_by_hand():
    rng = np.random.default_rng(54)
    x, y = rng.normal(size=(60, 1)), rng.normal(0.5, size=(50, 1))
    got = two_sample(x, y, method="energy", permutations=10, seed=1)
    # one dimension: the scores are normal quantiles of the ranks
    from scipy.stats import norm, rankdata

    z = norm.ppf((rankdata(np.concatenate([x, y])[:, 0]) - 0.5) / 110)
    a, b = z[:60], z[60:]

    def mean(u, v):
        return np.abs(u[:, None] - v).mean()

    assert got.statistic == pytest.approx(2 * mean(a, b) - mean(a, a) - mean(b, b), rel=1e-3)


def test_neighbours_of_separate_samples_are_of_their_own_kind():
    rng = np.random.default_rng(55)
    apart = two_sample(
        rng.normal(size=(80, 2)), rng.normal(50, 1, size=(80, 2)), method="neighbours", permutations=20, seed=1
    )
    assert apart.statistic > 0.95  # ranks close the gap, a few neighbours are beyond it


@pytest.mark.statistical
@pytest.mark.parametrize(("method", "toys"), [("energy", 60), pytest.param("neighbours", 60, marks=pytest.mark.slow)])
def test_p_values_of_an_exactly_known_model_are_flat(method, toys):
    """KS test of data sets in one dimension; false alarm 1e-6 for each of two.

    Only the yield is fitted, so that no data set pulls the model towards it.
    """
    n, slope, rng, p = 150, -0.02, np.random.default_rng(58), []
    model = zfit.pdf.Exponential(
        models.frozen("slope", slope), obs=models.mass_space(), extended=zfit.Parameter("n", float(n))
    )
    data = model.create_sampler(n=n)

    def draw():
        data.update_data(90.0 + truncexpon.rvs(-90.0 * slope, scale=-1.0 / slope, size=(n, 1), random_state=rng))

    draw()
    result = fit(ExtendedNLL(model, data))
    for seed in range(toys):
        draw()
        found = goodness_of_fit(result, method=method, everywhere=True, permutations=99, seed=seed)
        p.append(found.p_value - rng.random() / 100)  # a multiple of 1/100 that is spread over its step
    assert kstest(p, "uniform").pvalue > 1e-6


@pytest.fixture(scope="module")
def fitted():
    model = models.model(n_sig=200.0, n_bkg=8000.0)
    return fit(ExtendedNLL(model, models.toy(model, seed=56)))


@pytest.fixture(scope="module")
def misfitted():
    """Second feature's mean off by half its width; the mass is right."""
    truth = models.model(n_sig=200.0, n_bkg=8000.0)
    wrong = models.gaussian_flow([0.0, 0.5, 0.0, 0.0], 0.5, 1.0, region=models.REGION)
    model = models.model(n_sig=200.0, n_bkg=8000.0, background=wrong)
    return fit(ExtendedNLL(model, models.toy(truth, seed=56)))


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_feature_density_is_found_in_the_signal_region(fitted, misfitted, method):
    right = goodness_of_fit(fitted, method=method, permutations=99, seed=1)
    wrong = goodness_of_fit(misfitted, method=method, permutations=99, seed=1)
    assert right.p_value > 0.02
    assert wrong.p_value == pytest.approx(0.01)
    inside = models.REGION.contains(np.asarray(fitted.loss.data[0].value())[:, 0]).sum()
    assert right.n_data == inside
    assert abs(right.n_model - inside) < 6 * np.sqrt(2 * inside)


def test_all_masses_on_request(fitted):
    got = goodness_of_fit(fitted, method="neighbours", everywhere=True, permutations=20, max_events=1000, seed=1)
    assert (got.n_data, got.n_model) == (1000, 1000)


def test_result_survives_the_disk(fitted):
    got = goodness_of_fit(fitted, method="energy", permutations=20, max_events=200, seed=1)
    again = GoodnessOfFit.from_json(got.to_json())
    np.testing.assert_array_equal(again.null, got.null)
    assert again.p_value == got.p_value
    assert "energy" in str(got)


def test_wrong_input_is_named(fitted):
    with pytest.raises(InputError, match="a method among"):
        goodness_of_fit(fitted, method="chi2", seed=1)
    with pytest.raises(InputError, match="at least 50 events"):
        two_sample(np.zeros((10, 2)), np.zeros((100, 2)), method="energy", seed=1)
    with pytest.raises(InputError, match="same columns"):
        two_sample(np.zeros((60, 2)), np.zeros((60, 3)), method="energy", seed=1)
    weighted = fitted.loss.data[0].with_weights(np.ones(int(fitted.loss.data[0].num_entries)))
    model = fitted.loss.model[0]
    with pytest.raises(InputError, match="unweighted data"):
        goodness_of_fit(Newton().minimize(ExtendedNLL(model, weighted)), seed=1)
