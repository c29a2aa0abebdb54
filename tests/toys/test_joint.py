"""Events and templates in one likelihood: its Asimov sets and toys are those of one counting experiment."""

from __future__ import annotations

import pickle

import counting
import numpy as np
import pytest
import zfit
from scipy.stats import chi2

from hisigma_zfit.baselines.template_fits import TemplateLikelihood
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.hypotests import expected_discovery, upper_limit
from hisigma_zfit.inference.unified import feldman_cousins
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.uncertain_yields import scaled_yield
from hisigma_zfit.toys.joint import JointPool
from hisigma_zfit.toys.samples import sample_of
from hisigma_zfit.toys.summary import summarise
from hisigma_zfit.toys.toys import make_pool, run_toys

S, B, TAU = 25.0, 40.0, 3.0


def on_off(n, off):
    """Pois(n | s + b) of events, and Pois(off | tau b) as a histogram of two bins."""
    s, b = counting.parameter("s", max(n - off / TAU, 1.0)), counting.parameter("b", off / TAU)
    model = zfit.pdf.SumPDF([counting.flat(s), counting.flat(b)])
    events = ExtendedNLL(model, counting.observe(n), expected=True)
    control = scaled_yield(b, TAU, name="control")
    return events + TemplateLikelihood([control], np.array([[0.4, 0.6]]), np.array([0.4 * off, 0.6 * off]))


def test_asimov_significance_with_a_control_region_of_templates_is_exact():
    n, m = S + B, TAU * B
    exact = 2 * (n * np.log(n * (1 + TAU) / (n + m)) + m * np.log(m * (1 + TAU) / (TAU * (n + m))))
    assert expected_discovery(on_off(60.0, 120.0), "s", S, others={"b": B}).z == pytest.approx(np.sqrt(exact), rel=1e-6)


@pytest.mark.slow
def test_limits_and_intervals_are_those_of_events_alone():
    """The same numbers with the control region as events: `counting.on_off`."""
    both, events = on_off(60.0, 120.0), counting.on_off(60.0, 120.0, TAU)
    assert upper_limit(both, "s").limit == pytest.approx(upper_limit(events, "s").limit, rel=1e-4)
    found, expected = (feldman_cousins(loss, "s") for loss in (both, events))
    assert (found.lower, found.upper) == pytest.approx((expected.lower, expected.upper), abs=1e-2)


@pytest.mark.statistical
def test_toys_of_events_and_templates():
    both = on_off(60.0, 120.0)
    assert both.yields == ("s", "b")
    pool = make_pool(both, "s", S, others={"b": B}, events=200, limits=True)
    assert isinstance(pool, JointPool)
    fits = run_toys(pool, "s", n=400, seed=3)
    s, b = (pool.parameters.index(name) for name in ("s", "b"))
    n, off = fits.events.T
    # two numbers and two parameters: the fit is exact in every toy
    np.testing.assert_allclose(fits.values[:, b], off / TAU, rtol=1e-4)
    np.testing.assert_allclose(fits.values[:, s], n - off / TAU, atol=1e-2)
    np.testing.assert_allclose(fits.errors[:, s], np.sqrt(n + off / TAU**2), rtol=1e-3)
    # 4.5 sigma, 7e-6 each: Poisson numbers that know nothing of each other
    for numbers, mean in ((n, S + B), (off, TAU * B)):
        assert abs(numbers.mean() - mean) < 4.5 * np.sqrt(mean / 400)
        assert abs(numbers.var(ddof=1) / mean - 1.0) < 4.5 * np.sqrt(2.0 / 400)
    assert abs(np.corrcoef(n, off)[0, 1]) < 4.5 / np.sqrt(400)
    # skewness of the numbers: a few hundredths
    for found in summarise(fits, pool, "s", seed=3).parameters.values():
        assert abs(found.pull_mean) < 4.5 * found.pull_mean_error + 0.06
        assert abs(found.pull_width - 1.0) < 4.5 * found.pull_width_error + 0.03


def test_the_limit_of_a_toy_is_that_of_its_data():
    """With the background of the toys' truth instead of each toy's own the limit differs by a few per cent."""
    pool = make_pool(on_off(60.0, 120.0), "s", S, others={"b": B}, events=200, limits=True)
    fits = run_toys(pool, "s", n=1, seed=4, limit=0.95)
    expected = upper_limit(counting.on_off(*fits.events[0], TAU), "s").limit
    assert fits.limit[0] == pytest.approx(expected, rel=0.05)


@pytest.mark.statistical
def test_a_shared_constraint_fluctuates_once():
    """Pois(n | s + b) twice, as events and as a histogram, with one measurement of b."""
    b, sigma, toys = 100.0, 15.0, 300
    events = counting.counting(b, b, sigma=sigma)
    shared = [next(p for p in events.parameters if p.name == name) for name in "sb"]
    both = events + TemplateLikelihood(shared, np.ones((2, 1)), np.array([b]))
    pool = make_pool(both, "s", 20.0, others={"b": b}, events=200)
    assert (pool.n_categories, pool.n_auxiliary) == (2, 1)
    fits = run_toys(pool, "s", n=toys, seed=5)
    found = dict(zip(pool.parameters, fits.values.T, strict=True))
    np.testing.assert_allclose(found["b"], fits.observation[:, 0], atol=1e-2)
    np.testing.assert_allclose(found["s"] + found["b"], fits.events.mean(axis=1), atol=1e-2)
    # false alarm 1e-6: both sources fluctuate, and by their own widths
    least, most = chi2.ppf([5e-7, 1.0 - 5e-7], toys - 1) / (toys - 1)
    assert least < found["b"].var(ddof=1) / sigma**2 < most
    assert least < found["s"].var(ddof=1) / (120.0 / 2.0 + sigma**2) < most


def test_other_processes_can_have_it():
    both = on_off(60.0, 120.0)
    pool, other = (make_pool(both, "s", value, others={"b": B}, events=200) for value in (S, S + 1.0))
    assert pool.portable
    assert repr(pool) == "JointPool(s=25, b=40)"
    again = pickle.loads(pickle.dumps(pool))
    assert again.digest == pool.digest != other.digest
    mine, theirs = (each.draw(np.random.default_rng(1)) for each in (pool, again))
    assert mine[1] == theirs[1]
    theta = np.array([20.0, 45.0])
    assert mine[0].evaluator().value(theta) == theirs[0].evaluator().value(theta)


def test_what_has_no_pseudo_data_is_named():
    loss = counting.counting(60.0, 50.0)
    pseudo = sample_of(loss, events=200).asimov(loss.theta()).likelihood
    with pytest.raises(InputError, match="got PseudoLikelihood"):
        sample_of(pseudo)
    with pytest.raises(InputError, match="not negative, got -1"):
        make_pool(on_off(60.0, 120.0), "s", -1.0)
