"""A conditional fit that fails is never a number: one policy, whoever asks."""

from __future__ import annotations

from types import SimpleNamespace

import counting
import numpy as np
import pytest

from hisigma_zfit.errors import FitError, NoMaximumError
from hisigma_zfit.fitting.limits import AsimovCurve, bounded_t, cls_limit
from hisigma_zfit.fitting.newton import Status, minimise
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.scans import profile
from hisigma_zfit.inference.combine import Combination
from hisigma_zfit.inference.contours import contour, surface
from hisigma_zfit.inference.hypotests import discovery, interval
from hisigma_zfit.inference.impacts import impacts
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.protocol import PlainParameter
from hisigma_zfit.toys.toy_fits import ToyPlan, conditional_fits, fit_toys


class Broken:
    """-log L = ((x - 1)^2 + y^2 + z^2) / 2; above x = 2 the gradient in y is wrong, below x = 0 there is no density."""

    parameters = (PlainParameter("x"), PlainParameter("y"), PlainParameter("z"))

    def __init__(self, *, lowest=0.0):
        self._lowest = lowest

    def theta(self):
        return np.array([0.5, 0.3, 0.1])

    def evaluator(self, *, around=None):
        return self

    def data_constant(self):
        return 0.0

    def value(self, theta):
        return self.evaluate(theta).value

    def evaluate(self, theta):
        x, y, z = theta
        if x < self._lowest:
            return Evaluation(np.inf, np.full(3, np.nan), np.full((3, 3), np.nan))
        slope = y if x <= 2.0 else -1.0 - abs(y)
        return Evaluation(0.5 * ((x - 1.0) ** 2 + y**2 + z**2), np.array([x - 1.0, slope, z]), np.eye(3))

    def __add__(self, other):
        raise NotImplementedError


def test_a_minimum_says_what_it_is():
    likelihood = Broken()
    assert minimise(likelihood, np.array([1.5, 1.0, 0.0]), [0, 1, 2]).status is Status.CONVERGED
    assert minimise(likelihood, np.array([2.5, 0.1, 0.0]), [1]).status is Status.NOT_CONVERGED
    undefined = minimise(likelihood, np.array([-1.0, 0.1, 0.0]), [1])
    assert undefined.status is Status.UNDEFINED
    assert undefined.value == np.inf
    assert not undefined.converged
    with pytest.raises(FitError, match="the fit of y has no positive density"):
        undefined.required("the fit of y")


@pytest.mark.parametrize(
    "ask",
    [
        lambda loss: Profiler(loss, "x").at(2.5),
        lambda loss: Profiler(loss, "x").t(2.5),
        lambda loss: Profiler(loss, "x", quick=True).t(2.5),
        lambda loss: Profiler(loss, "x").crossing(4.0, upwards=True),
        lambda loss: interval(loss, "x", cl=0.95),
        lambda loss: bounded_t(Profiler(loss, "x"), 2.5),
        lambda loss: cls_limit([Profiler(loss, "x")], np.zeros(1), cl=0.95),
        lambda loss: Combination("envelope", (Profiler(loss, "x"),), np.zeros(1)).t(2.5),
        lambda loss: contour(Broken(lowest=-9.0), "x", "z", cl=0.9),
        lambda loss: surface(loss, "x", "z", [1.5, 2.5], [0.0]),
        lambda loss: impacts(Broken(lowest=-9.0), "y"),
    ],
)
def test_who_asks_for_a_value_hears_that_there_is_none(ask):
    with pytest.raises(FitError, match=r"did not converge|does not reach"):
        ask(Broken())


def test_a_scan_leaves_a_gap_and_says_so(caplog):
    t = profile(Broken(), "x", [-0.5, 0.0, 0.5, 1.5, 2.5, 2.7])
    np.testing.assert_allclose(t[1:4], [1.0, 0.25, 0.25], atol=1e-4)
    assert t[0] == np.inf  # no density there: this is its value
    assert np.isnan(t[4:]).all()
    assert "2 of 6 scan points of x could not be fitted" in caplog.text


def test_a_gap_does_not_hide_what_lies_behind_it():
    class Gap(Broken):
        def evaluate(self, theta):
            return super().evaluate(np.array([theta[0] - 10.0 if theta[0] > 3.0 else theta[0], *theta[1:]]))

    t = profile(Gap(), "x", [1.2, 2.5, 11.0, 11.5])
    np.testing.assert_allclose(t[[0, 2, 3]], [0.04, 0.0, 0.25], atol=1e-4)
    assert np.isnan(t[1])


def test_no_density_without_signal_is_no_infinite_significance():
    loss = Broken(lowest=0.2)
    assert Profiler(loss, "x").t(0.0) == np.inf
    for ask in (discovery, lambda loss, x: Combination("mixture", (Profiler(loss, x),), np.zeros(1)).discovery()):
        with pytest.raises(FitError, match="no likelihood at x = 0"):
            ask(loss, "x")


def test_a_curve_goes_through_the_points_that_can_be_fitted():
    curve = AsimovCurve.of(Profiler(Broken(), "x"), reach=3.0)
    assert curve.values.max() < 2.01
    with pytest.raises(FitError, match="could not be fitted"):
        AsimovCurve.of(SimpleNamespace(name="x", t=lambda value: np.inf), reach=3.0)


def test_toys_that_fail_are_counted():
    class Pool:
        """Every third toy has its truth where fits fail."""

        parameters, theta, n_categories, n_auxiliary = ("x", "y", "z"), np.array([0.9, 0.0, 0.0]), 1, 0

        def __init__(self, period):
            self.period, self.made = period, 0

        def draw(self, rng):
            self.made += 1
            toy = Broken()
            if self.made % self.period == 0:
                toy.evaluate = lambda theta, own=toy.evaluate: own(
                    np.add(theta, [1.2, 0.0, 0.0]) if theta[0] == 0.9 else theta
                )
            return toy, [1], np.zeros(0)

    fits = fit_toys(ToyPlan(Pool(3), 0, 1), 0, 6)
    np.testing.assert_array_equal(fits.fitted, [True, True, False] * 2)
    held = conditional_fits(Pool(20), "x", [0.9], toys=40, seed=(1,))
    assert np.isnan(held.best).sum() == 2
    with pytest.raises(FitError, match="10 of 40 toys"):
        conditional_fits(Pool(4), "x", [0.9], toys=40, seed=(1,))


def test_a_hypothesis_without_a_density_counts_as_the_most_extreme():
    loss = SimpleNamespace(
        parameters=("x", "y", "z"), draw=lambda rng: (Broken(lowest=0.2), [1], np.zeros(0)), theta=np.zeros(3)
    )
    held = conditional_fits(loss, "x", [0.0, 0.0], toys=3, seed=(1,))
    np.testing.assert_array_equal(held.t_bounded(0, 1), np.inf)


@pytest.mark.parametrize("cl", [0.05, 0.3, 0.49, 0.5, 0.9])
def test_a_limit_of_any_level_has_its_cls(cl):
    """Below one half the limit lies below the best fit of a clear signal."""
    from hisigma_zfit.fitting.limits import asymptotic_cls

    profiler = Profiler(counting.counting(90.0, 50.0), "s")

    def asimov(s):
        return counting.poisson_t(s, 50.0, 50.0, 0.0)

    limit = cls_limit([profiler], np.zeros(1), cl=cl, asimov=asimov)
    assert asymptotic_cls(bounded_t(profiler, limit), asimov(limit)) == pytest.approx(1.0 - cl, abs=1e-3)
    assert (limit < profiler.best) == (cl < 0.5)


class Slope(Broken):
    """-log L = 2 x + 1e-7 x^2 on x >= 0: at the limit, with a curvature that says nothing; above x = 40 no fit ends."""

    parameters = (PlainParameter("x", lower=0.0), PlainParameter("y"), PlainParameter("z"))

    def evaluate(self, theta):
        x, y, z = theta
        slope = y if x <= 40.0 else -1.0 - abs(y)
        value = 2.0 * x + 1e-7 * x**2 + 0.5 * (y**2 + z**2)
        return Evaluation(value, np.array([2.0 + 2e-7 * x, slope, z]), np.diag([2e-7, 1.0, 1.0]))


def test_searches_begin_with_the_slope_where_the_curvature_says_nothing():
    profiler = Profiler(Slope(), "x")
    assert profiler.error > 1e3
    assert profiler.step == pytest.approx(0.25)
    limit = cls_limit([profiler], np.zeros(1), cl=0.95, asimov=lambda s: 4.0 * s)
    assert 4.0 * limit == pytest.approx(3.8415, rel=1e-3)
    assert profiler.interval(1.0) == pytest.approx((0.0, 0.25), abs=1e-6)


@pytest.mark.parametrize("step", [3.0, 1e3, -1e3])
def test_where_a_fit_fails_the_search_goes_nearer(step):
    from hisigma_zfit.fitting.crossings import find_crossing

    def t(value):
        if abs(value) > 5.0:
            raise FitError("no fit here")
        return value**2

    found = find_crossing(t, 4.0, best=0.0, step=step, limit=np.copysign(np.inf, step), name="x")
    assert found == pytest.approx(np.copysign(2.0, step), abs=1e-3)
    with pytest.raises(FitError, match="no fit here"):
        find_crossing(t, 36.0, best=0.0, step=step, limit=np.copysign(np.inf, step), name="x")


def test_all_searches_go_outwards_in_the_same_way():
    from hisigma_zfit.fitting.crossings import bracket

    asked = []

    def excess(value):
        asked.append(value)
        if value > 5.0:
            raise FitError("no fit here")
        return value - 3.9

    assert bracket(excess, 0.0, 8.0, missed="nothing below") == (2.0, 4.0)
    assert asked == [8.0, 2.0, 4.0]  # nearer where a fit fails, and on with the shorter step
    assert bracket(lambda value: -value - 9.0, 1.0, -4.0, missed="", limit=-11.0) == (-7.0, -11.0)
    assert bracket(lambda value: -1.0, 1.0, 4.0, missed="", limit=6.0) == (6.0, 6.0)
    inner, outer = bracket(lambda value: value - 1e4, 0.0, 1.0, missed="")
    assert inner < 1e4 <= outer < 1.3 * inner  # steps grow where a width was foreseen that is none
    with pytest.raises(FitError, match="nothing below 156532; check that the data constrain it"):
        bracket(lambda value: -1.0, 0.0, 1.0, missed="nothing below")


def test_a_fit_without_a_maximum_is_told_from_one_that_got_stuck():
    class Falling(Broken):
        """Above x = 2 -log L falls for ever with y, which the fit from the best place does not see."""

        def evaluate(self, theta):
            x, y, z = theta
            here = super().evaluate(theta)
            if x <= 2.0 or y < 0.25:
                return here
            return Evaluation(-y, np.array([x - 1.0, -1.0, z]), np.diag([1.0, 1e-12, 1.0]))

    profiler = Profiler(Falling(), "x")
    with pytest.raises(NoMaximumError, match=r"the fit with x = 2.5 .* y runs to \+inf"):
        profiler.at(2.5)
    with pytest.raises(NoMaximumError, match="y runs to"):
        profiler.crossing(4.0, upwards=True)


def test_limits_do_without_a_parabola():
    class Ramp(Broken):
        """-log L = 2 x on x >= 0: the best fit is at the limit, where the Hessian gives no error."""

        parameters = (PlainParameter("x", lower=0.0), PlainParameter("y"))

        def evaluate(self, theta):
            x, y = theta
            return Evaluation(2.0 * x + 0.5 * y**2, np.array([2.0, y]), np.diag([0.0, 1.0]))

        def theta(self):
            return np.array([0.5, 0.3])

    profiler = Profiler(Ramp(), "x")
    assert np.isnan(profiler.error)
    limit = cls_limit([profiler], np.zeros(1), cl=0.95, asimov=lambda s: 4.0 * s)
    # q = q_A = 4 s: CLs = sf(sqrt(q)) / 0.5
    assert 4.0 * limit == pytest.approx(3.8415, rel=1e-3)
    assert profiler.interval(1.0) == pytest.approx((0.0, 0.25), abs=1e-6)
