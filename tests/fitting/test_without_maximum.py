"""Likelihoods of few events: without a maximum, without background at it, at a limit; against scipy and by hand."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from hisigma_zfit.density.flows import DistributionFlow
from hisigma_zfit.errors import FitError, NoMaximumError
from hisigma_zfit.fitting import newton
from hisigma_zfit.fitting.limits import cls_limit
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.decisive import gains
from hisigma_zfit.inference.hypotests import discovery, interval
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.protocol import PlainParameter
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic, evaluate


class TwoComponents:
    """-log L = s + b - sum_i log(s S_i + b B_i) of events with known densities S_i and B_i, shape (n,)."""

    yields = ("s", "b")

    def __init__(self, signal, background, *, upper=None, background_floats=True, start=(0.0, 10.0)):
        self.densities = np.stack([signal, background])
        self.parameters = PlainParameter("s", upper=upper), PlainParameter("b", background_floats, lower=0.0)
        self._start = np.array(start)

    def theta(self):
        return self._start.copy()

    def evaluator(self, *, around=None):
        return self

    def data_constant(self):
        return 0.0

    def value(self, theta):
        density = theta @ self.densities
        return float(theta.sum() - np.log(density).sum()) if density.min() > 0.0 else np.inf

    def evaluate(self, theta):
        value = self.value(theta)
        if not np.isfinite(value):
            return Evaluation(np.inf, np.full(2, np.nan), np.full((2, 2), np.nan))
        slopes = self.densities / (theta @ self.densities)
        return Evaluation(value, 1.0 - slopes.sum(axis=1), slopes @ slopes.T)

    def __add__(self, other):
        raise NotImplementedError


UNLIKE = np.array([0.2, 0.5]), np.array([1.0, 1.0])  # S < B at every event


def test_a_likelihood_without_a_maximum_says_where_it_runs():
    loss = TwoComponents(*UNLIKE)
    # the proof: with b = 0.6 |s| every event has a density, and fewer events than none are expected
    far = [loss.value(np.array([-s, 0.6 * s])) for s in (1e2, 1e4, 1e6)]
    assert far[0] > far[1] > far[2]
    with pytest.raises(NoMaximumError, match=r"the likelihood has no maximum, s runs to -inf.*; give s a limit"):
        fit(loss)
    assert issubclass(NoMaximumError, FitError)


def test_it_is_asked_as_one_of_a_signal_that_is_not_negative(caplog):
    loss = TwoComponents(*UNLIKE)
    found = interval(loss, "s")
    assert "s runs to -inf" in caplog.text
    assert (found.value, found.lower) == (0.0, 0.0)
    assert discovery(loss, "s").z == 0.0

    def profiled(s):
        return min(minimize(lambda b: loss.value(np.array([s, b[0]])), [x], bounds=[(0, None)]).fun for x in (0.5, 2.0))

    exact = brentq(lambda s: 2.0 * (profiled(s) - profiled(0.0)) - 1.0, 0.01, 10.0)
    assert found.upper == pytest.approx(exact, rel=1e-4)


def test_one_event_like_the_signal_is_enough_for_a_maximum():
    loss = TwoComponents(np.array([0.2, 30.0]), np.array([1.0, 1.0]))
    scan = minimize(lambda y: loss.value(np.maximum(y, [-np.inf, 0.0])), [0.5, 1.0], method="Nelder-Mead", tol=1e-10)
    found = fit(loss)
    assert [found.values["s"], found.values["b"]] == pytest.approx(scan.x, abs=1e-3)


def test_no_background_at_the_best_fit_is_no_obstacle():
    """30 events that are all like the signal: a Poisson number where there is no background."""
    signal, background = np.full(30, 50.0), np.linspace(0.01, 0.1, 30)
    loss = TwoComponents(signal, background, start=(10.0, 10.0))
    result = fit(loss)
    assert result.values == pytest.approx({"s": 30.0, "b": 0.0}, abs=1e-3)
    # without signal all 30 are background, whose number is 30 again
    assert discovery(result, "s").q0 == pytest.approx(2.0 * np.log(signal / background).sum(), rel=1e-6)

    def cls(s):
        q, q_asimov = 2.0 * (s - 30.0 - 30.0 * np.log(s / 30.0)), 2.0 * s  # no background under the peak
        return norm.sf(np.sqrt(q)) / norm.sf(np.sqrt(q) - np.sqrt(q_asimov))

    exact = brentq(lambda s: cls(s) - 0.05, 31.0, 60.0)
    assert exact == pytest.approx(40.0, abs=0.2)
    limit = cls_limit([Profiler.of(result, "s")], np.zeros(1), cl=0.95, asimov=lambda s: 2.0 * s)
    assert limit == pytest.approx(exact, rel=1e-3)


def exponential(rate, region=None):
    import tensorflow as tf
    import tensorflow_probability as tfp

    def at(m):
        rates = tf.ones_like(tf.convert_to_tensor(m, tf.float64))[:, None] * rate
        return tfp.distributions.Independent(tfp.distributions.Exponential(rates), 1)

    return DistributionFlow(at, features=("y",), given="m", signal_region=region)


@pytest.mark.parametrize("far", [30.0, 1e5])
def test_one_event_far_from_all_others_is_named(far, caplog):
    """A model whose tails are extrapolated: the ratio at y = 30 is 47 nats, whatever is known of such events."""
    model = signal_plus_background(
        FlowProductPDF(models.peak(), exponential(0.6)),
        FlowProductPDF(models.falling(), exponential(2.2, models.REGION)),
        poi=zfit.Parameter("n_sig", 0.0),
        yields=[zfit.Parameter("n_bkg", 1000.0, 0.0)],
    )
    rng = np.random.default_rng(1)
    events = np.stack([90 + 90 * rng.beta(1, 1.6, 1000), rng.exponential(1 / 2.2, 1000)], axis=1)
    events = np.append(events, [[125.0, far]], axis=0)
    space = zfit.Space("m", 90, 180) * zfit.Space("y", -1e100, 1e100)
    result = fit(ExtendedNLL(model, zfit.Data.from_numpy(obs=space, array=events)))
    found = discovery(result, "n_sig")
    assert "row 1000 of the data (m = 125, y = " in caplog.text
    assert ("no density is known so far out" in caplog.text) == (far > 200.0)
    log_ratio = min(np.log(0.6 / 2.2) + 1.6 * far, 300.0)
    # the event is signal for sure: it brings 2 log(s S r / b B) less the one event that the fit adds
    peak, falling = (evaluate(term.mass, np.array([125.0]))[0] for term in model.components)
    alone = 2.0 * (np.log(peak / falling / 1000.0) + log_ratio)
    assert found.q0 == pytest.approx(alone, abs=12.0)  # the other thousand events want a few, too
    assert sum(part.sum() for part in gains(Profiler.of(result, "n_sig"))) == pytest.approx(found.q0, abs=0.2)


def test_a_fit_at_a_limit_and_one_far_below_zero_say_so(caplog):
    within = fit(TwoComponents(np.full(35, 2.0), np.ones(35), upper=31.0, background_floats=False))
    assert within.values["s"] == pytest.approx(30.0, abs=0.01)  # 1 = 35 x 2 / (2 s + 10)
    assert not caplog.text
    result = fit(TwoComponents(np.full(60, 2.0), np.ones(60), upper=30.0, background_floats=False))
    assert result.values["s"] == 30.0
    assert "s ended at its upper limit of 30" in caplog.text
    caplog.clear()
    empty = TwoComponents(np.ones(50), np.ones(50), background_floats=False, start=(0.0, 100.0))
    assert fit(empty).values["s"] == pytest.approx(-50.0, abs=0.01)  # of an error of 7: what the minimiser may leave
    assert "s = -50 +- 7.1 is 7.1 errors below zero" in caplog.text


def masses(*values):
    """The model of a peak over a falling shape, whose two parameters float without limits, for a few masses."""
    falling = ExpQuadratic(models.mass_space(), zfit.Parameter("p1", 1.0), zfit.Parameter("p2", 0.0))
    model = models.model(n_sig=0.0, n_bkg=float(len(values)), mass=falling).mass_only()
    data = zfit.Data.from_numpy(obs=models.mass_space(), array=np.array(values)[:, None])
    loss = ExtendedNLL(model, data)
    return loss, [str(p.name) for p in loss.parameters]


def narrower(loss, names, at, size):
    """All parameters with the falling shape a peak at one place: exp(-size (t - at)^2)."""
    theta = loss.theta()
    theta[names.index("p1")], theta[names.index("p2")] = -2.0 * size * at, -size
    return theta


def test_a_shape_that_narrows_onto_the_only_event_has_no_maximum():
    loss, names = masses(150.0)
    # the proof: the integral is sqrt(pi / size), so that the density of the event grows by the root of ten a decade
    values = [loss.evaluator().value(narrower(loss, names, 60.0 / 90.0, size)) for size in (1e3, 1e4, 1e5)]
    assert -np.diff(values) == pytest.approx(0.5 * np.log(10.0), rel=1e-3)
    for ask in (fit, lambda loss: interval(loss, "n_sig"), lambda loss: discovery(loss, "n_sig")):
        with pytest.raises(NoMaximumError, match="the likelihood has no maximum"):
            ask(loss)


def test_a_shape_that_narrows_onto_the_event_that_is_no_signal_has_no_maximum():
    """Two events, one of them at the peak: with a signal of two the background is the other event's alone."""
    loss, names = masses(125.0, 150.0)
    values = []
    for size in (1e4, 1e5, 1e6):
        theta = narrower(loss, names, 60.0 / 90.0, size)
        theta[names.index("n_sig")], theta[names.index("n_bkg")] = 2.0, 1.0
        values.append(loss.evaluator().value(theta))
    assert -np.diff(values) == pytest.approx(0.5 * np.log(10.0), rel=1e-3)
    with pytest.raises(NoMaximumError, match="no maximum, p1 runs to -inf and p2 runs to -inf; give p1 a limit"):
        cls_limit([Profiler(loss, "n_sig")], np.zeros(1), cl=0.95, asimov=lambda s: 2.0 * s)


def test_a_search_that_takes_many_steps_has_its_minimum_all_the_same():
    """Newton's steps double a yield that starts at one, twenty times here: it went a million times as far."""
    evaluator = TwoComponents(np.ones(1), np.ones(1))
    evaluator.evaluate = lambda theta: Evaluation(
        theta[0] - 5e6 * np.log(theta[0]), np.array([1.0 - 5e6 / theta[0], 0.0]), np.diag([5e6 / theta[0] ** 2, 0.0])
    )
    found = newton.minimise(evaluator, np.array([1.0, 0.0]), [0])
    assert found.status is newton.Status.CONVERGED
    assert found.iterations > 20
    assert found.theta[0] == pytest.approx(5e6)
    stopped = newton.minimise(evaluator, np.array([1.0, 0.0]), [0], max_iterations=12)
    assert stopped.status is newton.Status.NOT_CONVERGED
