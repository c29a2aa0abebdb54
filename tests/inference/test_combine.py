"""Combinations of members against their definitions, written out literally and minimised by brute force."""

from __future__ import annotations

from types import SimpleNamespace

import by_hand
import models
import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2, norm

from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.limits import asymptotic_cls, cls_limit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import Combination, bootstrap_profilers, combination
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.statistics.intervals import ONE_SIGMA

CENTRES = np.linspace(0.05, 0.95, 10)
SIGNAL = norm.pdf(CENTRES, 0.5, 0.1) / norm.pdf(CENTRES, 0.5, 0.1).sum()
OBSERVED = np.array([118.0, 104, 99, 92, 97, 89, 71, 66, 60, 51])


class Counting:
    """A small likelihood with everything a `Profiler` asks for: ten bins, signal s, background b of a given shape.

    The evaluator's value lacks a constant, as the cached likelihood's does; it differs from member to member.
    """

    def __init__(self, slope: float, observed=OBSERVED, *, hidden: float = 0.0) -> None:
        self.observed, self.hidden = observed, hidden
        shape = np.exp(-slope * CENTRES)
        self.templates = np.stack([SIGNAL, shape / shape.sum()])
        self.parameters = tuple(
            SimpleNamespace(name=name, floating=True, lower=lower, upper=None)
            for name, lower in (("s", None), ("b", 0.0))
        )

    def evaluator(self, *, around=None):
        return self

    def theta(self):
        return np.array([5.0, 800.0])

    def data_constant(self):
        return self.hidden

    def full(self, s, b):
        """-log L with the constant that the evaluator hides."""
        expected = s * self.templates[0] + b * self.templates[1]
        return np.sum(expected - self.observed * np.log(expected)) if expected.min() > 0 else np.inf

    def value(self, theta):
        return self.full(*theta) - self.hidden

    def evaluate(self, theta):
        expected = theta @ self.templates
        if expected.min() <= 0:
            return Evaluation(np.inf, np.zeros(2), np.eye(2))
        ratio = self.observed / expected
        gradient = self.templates @ (1.0 - ratio)
        hessian = (self.templates * ratio / expected) @ self.templates.T
        return Evaluation(self.value(theta), gradient, hessian)

    # the brute force: nothing of the package below this line

    def profiled(self, s):
        """Minimum of -log L over b."""
        found = minimize_scalar(lambda b: min(self.full(s, b), 1e9), bounds=(1.0, 3000.0), method="bounded",
                                options={"xatol": 1e-7})  # fmt: skip
        return float(found.fun)

    def best(self):
        """(s, -log L) at the minimum over both."""
        found = minimize_scalar(self.profiled, bounds=(-40.0, 150.0), method="bounded", options={"xatol": 1e-7})
        return float(found.x), float(found.fun)

    def crossings(self, level):
        """Where 2 dNLL reaches `level`."""
        s, minimum = self.best()

        def above(value):
            return 2 * (self.profiled(value) - minimum) - level

        # the signal is negative enough for the density to vanish at about -60
        return brentq(above, -55.0, s, xtol=1e-8), brentq(above, s, 250.0, xtol=1e-8)


@pytest.fixture(scope="module")
def losses():
    # the second describes the data worst and hides most of it
    return [Counting(0.75, hidden=-3.0), Counting(0.45, hidden=40.0), Counting(0.95, hidden=0.0)]


@pytest.fixture(scope="module")
def profilers(losses):
    return [Profiler(loss, "s") for loss in losses]


@pytest.fixture(scope="module")
def minima(losses):
    return np.array([loss.best() for loss in losses])


POINTS = np.linspace(-20.0, 90.0, 12)


def test_the_members_differ_enough_to_matter(minima):
    assert np.ptp(minima[:, 0]) > 3
    assert np.ptp(2 * minima[:, 1]) > 1


def test_envelope_is_equation_3_1(losses, profilers, minima):
    combined = combination("envelope", profilers[0], profilers)
    for s in POINTS:
        literal = min(2 * loss.profiled(s) - 2 * minimum for loss, (_, minimum) in zip(losses, minima, strict=True))
        np.testing.assert_allclose(combined.t(s), literal, atol=1e-6)
    # a different member is the lowest on either side
    scan = combined.scan(POINTS)
    assert len(set(scan.members.argmin(axis=0))) > 1
    np.testing.assert_allclose(scan.combined, [combined.t(s) for s in POINTS], atol=2e-5)
    np.testing.assert_allclose(combined.best, minima[:, 0].mean(), atol=1e-4)


@pytest.mark.parametrize("n_sigma", [1, 2])
def test_envelope_interval_is_equation_3_2(losses, profilers, n_sigma):
    found = combination("envelope", profilers[0], profilers).interval(cl=chi2.cdf(n_sigma**2, 1))
    edges = [loss.crossings(n_sigma**2) for loss in losses]
    np.testing.assert_allclose(found.lower, min(lower for lower, _ in edges), atol=1e-4)
    np.testing.assert_allclose(found.upper, max(upper for _, upper in edges), atol=1e-4)
    narrowest = min(upper - lower for lower, upper in edges)
    assert found.upper - found.lower > narrowest + 2  # a union, not one of them
    assert found.method == "envelope"


class Parabola:
    """t = ((s - 100) / 20)^2, as a profile has it."""

    name = "s"
    best = 100.0
    weighted = False

    def interval(self, level):
        return 100.0 - 20.0 * np.sqrt(level), 100.0 + 20.0 * np.sqrt(level)


@pytest.mark.parametrize("method", ["envelope", "mixture", "discrete"])
def test_95_per_cent_of_a_parabola_are_196_hundredths_of_its_error(method):
    combined = Combination(method, (Parabola(), Parabola()), np.zeros(2))
    found = combined.interval(cl=0.95)
    assert (found.lower, found.upper) == pytest.approx((100 - 20 * 1.959963985, 100 + 20 * 1.959963985), rel=1e-8)
    found = combined.interval(cl=ONE_SIGMA)
    assert (found.lower, found.upper, found.error) == pytest.approx((80.0, 120.0, 20.0), rel=1e-12)


def test_discrete_profiling_is_the_minimum_of_all_likelihoods(losses, profilers, minima):
    combined = combination("discrete", profilers[0], profilers)
    lowest = minima[:, 1].min()
    for s in POINTS:
        literal = 2 * (min(loss.profiled(s) for loss in losses) - lowest)
        np.testing.assert_allclose(combined.t(s), literal, atol=1e-5)
    np.testing.assert_allclose(combined.best, minima[minima[:, 1].argmin(), 0], atol=1e-4)
    np.testing.assert_allclose(combined.offsets, 2 * (minima[:, 1] - lowest), atol=1e-5)
    # literally: the values of s whose t is at most one
    grid = np.linspace(-20.0, 90.0, 551)
    t = 2 * (np.min([[loss.profiled(s) for s in grid] for loss in losses], axis=0) - lowest)
    inside = grid[t <= 1.0]
    found = combined.interval(cl=chi2.cdf(1, 1))
    np.testing.assert_allclose((found.lower, found.upper), (inside[0], inside[-1]), atol=0.2)  # one step of the grid
    # and it is not the envelope
    envelope = combination("envelope", profilers[0], profilers).interval(cl=chi2.cdf(1, 1))
    assert envelope.upper - envelope.lower > found.upper - found.lower + 1


def test_a_hopeless_member_does_not_count_in_discrete_profiling(losses, profilers):
    hopeless = Profiler(Counting(-6.0), "s")
    with_it = combination("discrete", profilers[0], [*profilers, hopeless])
    without = combination("discrete", profilers[0], profilers)
    assert with_it.offsets[-1] > 100
    assert with_it.interval(cl=0.95) == without.interval(cl=0.95)
    assert with_it.discovery() == without.discovery()
    assert with_it.best == without.best


def test_a_mixture_is_the_nominal_profile(profilers):
    nominal = profilers[1]
    combined = combination("mixture", nominal, profilers)
    for s in POINTS:
        assert combined.t(s) == nominal.t(s)
    found = combined.interval(cl=0.6827)
    np.testing.assert_allclose((found.lower, found.upper), nominal.interval(chi2.ppf(0.6827, 1)))
    assert found.value == nominal.best


def test_discovery_needs_every_member_that_counts(losses, profilers, minima):
    combined = combination("envelope", profilers[0], profilers)
    literal = min(2 * (loss.profiled(0.0) - minimum) for loss, (_, minimum) in zip(losses, minima, strict=True))
    found = combined.discovery()
    np.testing.assert_allclose(found.q0, literal, atol=1e-6)
    np.testing.assert_allclose(found.z, np.sqrt(literal), atol=1e-6)
    np.testing.assert_allclose(found.p0, norm.sf(found.z))
    sceptic = Profiler(Counting(0.75, OBSERVED - 60 * SIGNAL), "s")
    assert sceptic.best < 0
    assert Combination("envelope", (*profilers, sceptic), np.zeros(4)).discovery().q0 == 0.0
    # a member that the data rule out has no say in discrete profiling
    assert Combination("discrete", (*profilers, sceptic), np.array([0.0, 0.0, 0.0, 50.0])).discovery().q0 > 1


# --- limits ----------------------------------------------------------------------------------------------------------


def literal_cls(q, mu, sigma):
    """CLs from the distribution of q-tilde, arXiv:1007.1727, eq. 65, at the tested and at the null hypothesis."""

    def tail(true):
        if q <= (mu / sigma) ** 2:
            return norm.sf(np.sqrt(q) - (mu - true) / sigma)
        return norm.sf((q - (mu**2 - 2 * mu * true) / sigma**2) / (2 * mu / sigma))

    return tail(mu) / tail(0.0)


@pytest.mark.parametrize("q", [0.0, 0.3, 1.0, 2.7, 5.0, 9.0])
@pytest.mark.parametrize("mu", [0.5, 1.5, 3.0])
def test_cls_is_the_ratio_of_tail_probabilities(q, mu):
    np.testing.assert_allclose(asymptotic_cls(q, (mu / 1.3) ** 2), literal_cls(q, mu, 1.3), rtol=1e-9)


def literal_limit(members, cl):
    """CLs limit from min_d [2 dNLL_d + offset_d] by brute force, with the error at mu of the lowest member."""
    offsets = np.array([offset for _, offset in members])
    lead = members[int(offsets.argmin())][0]
    best = lead.best()[0]
    minima = [loss.best()[1] for loss, _ in members]
    reference = 0.0
    if best < 0:
        reference = min(2 * (m.profiled(0.0) - b) + o for (m, o), b in zip(members, minima, strict=True))

    def excess(mu):
        t = [2 * (m.profiled(mu) - b) + o for (m, o), b in zip(members, minima, strict=True)]
        loss = members[int(np.argmin(t))][0]
        b = minimize_scalar(lambda b: loss.full(mu, b), bounds=(1.0, 3000.0), method="bounded", options={"xatol": 1e-7})
        expected = mu * loss.templates[0] + b.x * loss.templates[1]
        information = (loss.templates * loss.observed / expected**2) @ loss.templates.T
        sigma = np.sqrt(np.linalg.inv(information)[0, 0])
        return literal_cls(max(min(t) - reference, 0.0), mu, sigma) - (1 - cl)

    return brentq(excess, max(best, 0.0) + 1e-3, 300.0, xtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 40.0, 80.0], ids=["excess", "nothing", "deficit"])
def test_upper_limit_of_one_profile(shift):
    loss = Counting(0.75, OBSERVED - shift * SIGNAL)
    profiler = Profiler(loss, "s")
    found = combination("mixture", profiler).upper_limit(cl=0.95)
    np.testing.assert_allclose(found.limit, literal_limit([(loss, 0.0)], 0.95), atol=1e-3 * profiler.error)
    assert found.limit > profiler.best
    if shift == 80.0:
        assert profiler.best < -20
        assert found.limit > 0  # CLs excludes no signal to which the experiment is blind


def test_upper_limits_of_combinations(losses, profilers, minima):
    envelope = combination("envelope", profilers[0], profilers).upper_limit(cl=0.95)
    each = [literal_limit([(loss, 0.0)], 0.95) for loss in losses]
    np.testing.assert_allclose(envelope.limit, max(each), atol=0.02)
    discrete = combination("discrete", profilers[0], profilers).upper_limit(cl=0.9)
    offsets = 2 * (minima[:, 1] - minima[:, 1].min())
    np.testing.assert_allclose(discrete.limit, literal_limit(list(zip(losses, offsets, strict=True)), 0.9), atol=0.02)
    assert (envelope.cl, discrete.cl) == (0.95, 0.9)


def test_the_seed_of_a_limit_is_that_of_its_asimov_set():
    """An Asimov set of 20,000 events of each component gives limits to 1 %: another one, another limit, not by much."""
    model = models.model(n_sig=20.0, n_bkg=400.0)
    combined = combination("mixture", Profiler(ExtendedNLL(model, models.toy(model, seed=41)), "n_sig"))
    first, again, other = (combined.upper_limit(cl=0.95, seed=seed).limit for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first == pytest.approx(other, rel=0.03)


def test_a_limit_where_the_parameter_cannot_be_negative():
    loss = Counting(0.75, OBSERVED - 80 * SIGNAL)
    free = cls_limit([Profiler(loss, "s")], [0.0], cl=0.95)
    loss.parameters[0].lower = 0.0
    bounded = Profiler(loss, "s")
    assert bounded.best == 0.0
    # q-tilde compares with zero in both cases
    np.testing.assert_allclose(cls_limit([bounded], [0.0], cl=0.95), free, rtol=1e-4)


def test_wrong_combinations_are_refused(profilers):
    with pytest.raises(InputError, match=r"one of nuisance, envelope, mixture.*'mean'"):
        combination("mean", profilers[0], profilers)
    for method in ("envelope", "discrete"):
        with pytest.raises(InputError, match=f"two or more bootstraps for {method}, got 1"):
            combination(method, profilers[0], profilers[:1])


# --- the whole model -------------------------------------------------------------------------------------------------

SHIFTS = (-0.06, 0.0, 0.09)


@pytest.fixture(scope="module")
def events():
    return models.toy(models.model(n_sig=60.0, n_bkg=2500.0), seed=31)


@pytest.fixture(scope="module")
def model():
    return models.model(background=MixtureFlow([models.background_flow(shift) for shift in SHIFTS]))


@pytest.fixture(scope="module")
def members(model, events):
    return bootstrap_profilers(model, events)


@pytest.fixture(scope="module")
def literal(events):
    """By hand: each member's likelihood and its minimum by Minuit."""
    likelihoods = [by_hand.Likelihood(np.asarray(events.value()), shifts=(shift,)) for shift in SHIFTS]
    return [(each, each.minuit([60.0, 2500.0, 1.7, 0.2])) for each in likelihoods]


def profiled(likelihood, minuit, s):
    return likelihood.minuit(list(minuit.values), fixed=s).fval


def test_every_bootstrap_is_fitted_with_its_own_density(members, literal):
    assert len(members) == 3
    for profiler, (_, minuit) in zip(members, literal, strict=True):
        np.testing.assert_allclose(profiler.best, minuit.values["n_sig"], atol=0.01 * profiler.error)
    assert np.ptp([profiler.best for profiler in members]) > 0.05 * members[0].error


def test_envelope_and_discrete_profiling_of_the_whole_model(members, literal):
    # the cached likelihoods of the members lack different constants; only discrete profiling needs them
    envelope = combination("envelope", members[0], members)
    discrete = combination("discrete", members[0], members)
    fval = np.array([minuit.fval for _, minuit in literal])
    assert np.ptp(2 * fval) > 3
    np.testing.assert_allclose(discrete.offsets, 2 * (fval - fval.min()), atol=1e-3)
    for s in (0.0, 40.0, 100.0):
        held = np.array([profiled(*each, s) for each in literal])
        np.testing.assert_allclose(envelope.t(s), 2 * (held - fval).min(), atol=1e-3)
        np.testing.assert_allclose(discrete.t(s), 2 * (held.min() - fval.min()), atol=1e-3)


def test_the_mixture_averages_the_densities(model, events):
    nominal = Profiler(ExtendedNLL(model, events), "n_sig")
    likelihood = by_hand.Likelihood(np.asarray(events.value()), shifts=SHIFTS)
    minuit = likelihood.minuit([60.0, 2500.0, 1.7, 0.2])
    np.testing.assert_allclose(nominal.best, minuit.values["n_sig"], atol=0.01 * nominal.error)
    np.testing.assert_allclose(nominal.t(20.0), 2 * (profiled(likelihood, minuit, 20.0) - minuit.fval), atol=1e-3)


def test_bootstraps_of_signal_and_background_are_combined(events):
    signals = MixtureFlow([models.signal_flow(), models.gaussian_flow([0.7, 0.7, -0.6, 0.5], 0.1, 0.85)])
    backgrounds = MixtureFlow([models.background_flow(shift) for shift in SHIFTS])
    model = models.model(background=backgrounds)
    model = model.with_flows({"signal": signals})
    profilers = bootstrap_profilers(model, events)
    assert len(profilers) == 2 * 3
    assert len({round(profiler.best, 6) for profiler in profilers}) == 6


def test_bootstraps_of_categories_are_resamples_of_the_whole_data_set(model, events, members):
    """Two categories of the same events: the same best values, and errors that are smaller by sqrt(2)."""
    joint = bootstrap_profilers([model, model], [events, events])
    assert len(joint) == len(members)
    for both, one in zip(joint, members, strict=True):
        assert len(both.loss.model) == 2
        assert both.best == pytest.approx(one.best, abs=1e-3 * one.error)
        assert both.error == pytest.approx(one.error / np.sqrt(2.0), rel=1e-3)
    plain = model.with_flows({"background": model.components[1].pdf.flow.bootstraps[0]})
    with pytest.raises(InputError, match="as many bootstraps in each category, got 3, 1"):
        bootstrap_profilers([model, plain], [events, events])
