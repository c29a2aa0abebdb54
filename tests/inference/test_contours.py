"""Contours against independent conditional fits, the profile of one parameter, and a grid."""

from __future__ import annotations

import models
import numpy as np
import pytest
import resonant
from scipy.stats import chi2

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.contours import contour, spread, surface
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.results.explanations import Contour


@pytest.fixture(scope="module")
def loss():
    model = resonant.with_resonant()
    loss = ExtendedNLL(model, models.toy(model, seed=31))
    fit(loss)
    return loss


@pytest.fixture(scope="module")
def line(loss):
    return contour(loss, "n_sig", "n_res", cl=0.95, points=32)


def test_points_have_the_level_by_a_fit_with_both_parameters_fixed(loss, line):
    named = resonant.parameters(loss)
    pair = [named["n_sig"], named["n_res"]]
    lowest = Profiler(loss, "n_sig").minimum.value
    assert line.level == pytest.approx(chi2.ppf(0.95, 2))
    for point in line.points[::8]:
        try:
            for parameter, value in zip(pair, point, strict=True):
                parameter.set_value(value)
                parameter.floating = False
            assert 2 * (fit(loss).fminopt - lowest) == pytest.approx(line.level, abs=2e-3)
        finally:
            for parameter in pair:
                parameter.floating = True
            fit(loss)


def test_extent_is_the_crossing_of_one_profile(loss, line):
    # the shadow of a contour at level L on one axis is that parameter's own interval at L
    for axis, name in enumerate(("n_sig", "n_res")):
        profiler = Profiler(loss, name)
        edges = line.points[:, axis].min(), line.points[:, axis].max()
        # 32 points see an extremum to 1 - cos(pi / 32) = 0.5 % of the width
        np.testing.assert_allclose(edges, profiler.interval(line.level), atol=0.01 * profiler.error * 2.5)


def test_inside_on_a_grid_is_inside_the_line(loss, line):
    x = np.linspace(*line.points[:, 0][[line.points[:, 0].argmin(), line.points[:, 0].argmax()]], 7)
    y = np.linspace(*line.points[:, 1][[line.points[:, 1].argmin(), line.points[:, 1].argmax()]], 7)
    t = surface(loss, "n_sig", "n_res", x, y)
    inside = np.array([[line.contains(a, b) for b in y] for a in x])
    clear = np.abs(t - line.level) > 0.1  # between two points the line is straight, the level is not
    np.testing.assert_array_equal(inside[clear], (t < line.level)[clear])
    assert inside[clear].any()
    assert (~inside)[clear].any()


def test_surface_is_zero_at_the_best_fit_and_agrees_with_the_profile(loss):
    profiler = Profiler(loss, ("n_sig", "n_res"))
    best = profiler.values
    t = surface(loss, "n_sig", "n_res", [best[0], best[0] + 10.0], [best[1]])
    assert t[0, 0] == pytest.approx(0.0, abs=1e-5)
    # the minimum over the second parameter is the profile of the first
    fine = surface(loss, "n_sig", "n_res", [best[0] + 10.0], best[1] + np.linspace(-10, 5, 31))
    assert fine.min() == pytest.approx(Profiler(loss, "n_sig").t(best[0] + 10.0), abs=2e-3)


def test_correlated_parameters_are_covered_evenly(loss):
    line = contour(loss, "p1", "p2", cl=0.6827, points=24)
    profiler = Profiler(loss, ("p1", "p2"))
    np.testing.assert_allclose([profiler.t(p) for p in line.points], line.level, atol=1e-3)
    white = np.linalg.solve(np.linalg.cholesky(spread(profiler)), (line.points - profiler.values).T)
    steps = np.hypot(*np.diff(white, axis=1))
    assert steps.max() < 1.3 * steps.min()  # not all points at the two ends of a thin ellipse


def test_a_limit_cuts_the_line_and_says_so():
    model = resonant.with_resonant(n_sig=200.0, n_res=8.0)
    loss = ExtendedNLL(model, models.toy(model, seed=32))
    line = contour(loss, "n_sig", "n_res", cl=0.95, points=24)
    at_limit = line.bounded.astype(bool)
    assert 0 < at_limit.sum() < 24
    np.testing.assert_allclose(line.points[at_limit, 1], 0.0, atol=1e-9)
    assert (line.points[~at_limit, 1] > 0).all()
    profiler = Profiler(loss, ("n_sig", "n_res"))
    assert all(profiler.t(p) <= line.level + 1e-3 for p in line.points)


def test_contours_of_two_levels_are_nested(loss, line):
    inner = contour(loss, "n_sig", "n_res", cl=0.6827, points=16)
    assert inner.level == pytest.approx(2.296, abs=1e-3)
    assert all(line.contains(*point) for point in inner.points)
    assert not any(inner.contains(*point) for point in line.points)


def test_parameters_are_left_alone(loss):
    before = loss.theta()
    contour(loss, "n_sig", "n_bkg", points=4)
    np.testing.assert_array_equal(loss.theta(), before)


def test_contour_survives_the_disk(line):
    again = Contour.from_json(line.to_json())
    np.testing.assert_array_equal(again.points, line.points)
    assert again.best == line.best


def test_wrong_input_is_named(loss):
    with pytest.raises(InputError, match="different parameters"):
        contour(loss, "n_sig", "n_sig")
    with pytest.raises(InputError, match="0 < cl < 1"):
        contour(loss, "n_sig", "n_bkg", cl=95)
    with pytest.raises(InputError, match="four or more"):
        contour(loss, "n_sig", "n_bkg", points=3)
    with pytest.raises(InputError, match="'nobody'"):
        contour(loss, "n_sig", "nobody")
