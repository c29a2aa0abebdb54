"""Mass shapes against scipy."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit
from scipy import integrate
from scipy.stats import chi2

from hisigma_zfit.data import Dataset
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic, evaluate, exponential_family, finite_limits, fit_shape, sample_mass


def parameters(p1, p2):
    return zfit.Parameter("p1", p1, -200, 200), zfit.Parameter("p2", p2, -200, 200)


@pytest.mark.parametrize(("p1", "p2"), [(1.7, 0.2), (0.0, 1e-5), (-3.0, 4.0), (40.0, -10.0), (5.0, 0.0)])
@pytest.mark.parametrize(("lower", "upper"), [(90, 180), (100, 115), (135, 179)])
def test_integral_equals_scipy_quadrature(p1, p2, lower, upper):
    shape = ExpQuadratic(models.mass_space(), *parameters(p1, p2))
    expected, _ = integrate.quad(
        lambda m: np.exp(-p1 * (m - 90) / 90 + p2 * ((m - 90) / 90) ** 2), lower, upper, epsabs=0, epsrel=1e-13
    )
    got = np.squeeze(shape.integrate(zfit.Space("m", lower, upper), norm=False))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_second_derivative_survives_a_vanishing_curvature():
    """The closed form in error functions loses it: 615 instead of 0.069 at p2 = 1e-5."""
    p1, p2 = parameters(1.0, 1e-5)
    family = exponential_family(ExpQuadratic(models.mass_space(), p1, p2))
    _, mean, covariance = family.log_partition(np.array([1.0, 1e-5]))
    weight = lambda t: np.exp(-t + 1e-5 * t * t)  # noqa: E731
    moments = [integrate.quad(lambda t, k=k: t**k * weight(t), 0, 1)[0] for k in range(5)]
    first, second = moments[2] / moments[0], moments[4] / moments[0]
    np.testing.assert_allclose(mean[1], first, rtol=1e-10)
    np.testing.assert_allclose(covariance[1, 1], second - first**2, rtol=1e-8)


def test_exponential_family_gives_the_density_and_its_derivatives():
    p1, p2 = parameters(2.0, 0.3)
    shape = ExpQuadratic(models.mass_space(), p1, p2)
    family = exponential_family(shape)
    m = np.linspace(90, 180, 7)
    theta = np.array([2.0, 0.3])
    partition, mean, covariance = family.log_partition(theta)
    np.testing.assert_allclose(np.exp(theta @ family.statistics(m) - partition), evaluate(shape, m), rtol=1e-12)
    for k in range(2):
        step = np.eye(2)[k] * 1e-5
        up, down = family.log_partition(theta + step), family.log_partition(theta - step)
        np.testing.assert_allclose((up[0] - down[0]) / 2e-5, mean[k], rtol=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-5, covariance[k], rtol=1e-5)


def test_other_shapes_are_not_taken_for_the_family():
    assert exponential_family(models.peak()) is None
    shared = zfit.Parameter("p", 1.0)
    assert exponential_family(ExpQuadratic(models.mass_space(), shared, shared)) is None


def test_crystal_ball_is_recovered_from_simulation():
    rng = np.random.default_rng(1)
    m = rng.normal(125.0, 1.7, 20_000)
    shape = fit_shape(zfit.pdf.DoubleCB, Dataset.from_arrays({"m": m}), models.mass_space(), prefix="test_")
    assert not shape.get_params(floating=True)
    assert float(shape.params["mu"].value()) == pytest.approx(125.0, abs=5 * 1.7 / np.sqrt(m.size))  # 5 sigma: 6e-7
    grid = np.linspace(122, 128, 50)
    truth = np.exp(-0.5 * ((grid - 125) / 1.7) ** 2) / 1.7 / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(evaluate(shape, grid), truth, rtol=0.1)


def test_weights_count_in_the_fit_of_a_shape():
    m = np.concatenate(
        [np.random.default_rng(2).normal(120.0, 1.0, 4000), np.random.default_rng(3).normal(130, 1, 4000)]
    )
    data = Dataset.from_arrays({"m": m}, weights=np.repeat([1.0, 0.0], 4000))
    start = {"mu": (125.0, 100, 150), "sigma": (2.0, 0.1, 20)}
    shape = fit_shape(zfit.pdf.Gauss, data, models.mass_space(), start=start, prefix="weighted_", freeze=False)
    assert float(shape.params["mu"].value()) == pytest.approx(120.0, abs=0.1)
    assert shape.params["mu"].floating


def test_wrong_input_is_named():
    data = Dataset.from_arrays({"m": np.full(10, 50.0)})
    with pytest.raises(InputError, match=r"m in \[90, 180\], got none"):
        fit_shape(zfit.pdf.DoubleCB, data, models.mass_space())
    with pytest.raises(InputError, match="start value"):
        fit_shape(zfit.pdf.Gamma, Dataset.from_arrays({"m": np.full(10, 100.0)}), models.mass_space())
    with pytest.raises(InputError, match="one finite range"):
        finite_limits(zfit.Space("m", -np.inf, np.inf))


@pytest.mark.parametrize(
    ("p1", "p2", "t", "log_integral"),
    [
        (-800.0, 0.0, 1.0, 800.0 - np.log(800.0)),  # of exp(800 t) on [0, 1]
        (3000.0, 0.0, 0.0, -np.log(3000.0)),
        (-2000.0, -2000.0, 0.5, 500.0 + 0.5 * np.log(np.pi / 2000.0)),  # a Gaussian of width 0.016
    ],
)
def test_steep_shapes_have_a_density(p1, p2, t, log_integral):
    values = zfit.Parameter("p1", p1), zfit.Parameter("p2", p2)
    pdf = ExpQuadratic(zfit.Space("m", 90, 180), *values)
    exact = np.exp((p2 * t - p1) * t - log_integral) / 90.0
    assert evaluate(pdf, np.array([90.0 + 90.0 * t]))[0] == pytest.approx(exact, rel=1e-9)
    family = exponential_family(pdf)
    assert family.log_integral(np.array([p1, p2])) == pytest.approx(log_integral + np.log(90.0), rel=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # zfit's own of such spaces
def test_a_space_of_two_ranges_is_refused_in_one_line():
    closed = zfit.Space("m", 90, 115) + zfit.Space("m", 135, 180)
    data = Dataset.from_arrays({"m": [100.0, 120.0, 150.0], "x": [1.0, 2.0, 3.0]})
    features = zfit.Space("x", 0, 1) + zfit.Space("x", 2, 3)
    uniform = zfit.pdf.Uniform(90.0, 180.0, obs=closed)
    for call in (
        lambda: ExpQuadratic(closed, 1.0, 0.0),
        lambda: fit_shape(zfit.pdf.DoubleCB, data, closed),
        lambda: FlowProductPDF(uniform, models.gaussian_flow([0.0], 0.0, 1.0, features=("x",))),
        lambda: train_flow(data, features, given="m", seed=1),
    ):
        with pytest.raises(InputError, match=r"expected one range of [mx], got 2: .*; give the whole range") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.statistical
def test_drawn_masses_are_independent():
    """Counts in 100 parts of equal probability spread like multinomial ones, not less; false alarm 1e-6."""
    shape, n, parts, rng = models.falling(), 20_000, 100, np.random.default_rng(31)
    grid = np.linspace(90.0, 180.0, 100_001)
    cumulative = integrate.cumulative_simpson(evaluate(shape, grid), x=grid, initial=0.0)
    edges = np.interp(np.linspace(0.0, 1.0, parts + 1), cumulative / cumulative[-1], grid)
    counts, even = (np.histogram(sample_mass(shape, n, rng, stratified=s), edges)[0] for s in (False, True))
    spread = np.sum((counts - n / parts) ** 2) / (n / parts)
    assert chi2.ppf(5e-7, parts - 1) < spread < chi2.isf(5e-7, parts - 1)
    # what histograms and integrals gain
    assert np.abs(even - n / parts).max() <= 2
    once, again = (sample_mass(shape, 5, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(once, again)


@pytest.mark.statistical
@pytest.mark.parametrize("stratified", [False, True])
def test_drawn_masses_follow_the_shape(stratified):
    """Moments of 20,000 masses; false alarm 1e-6 for each of four, less for the stratified ones."""
    shape = models.falling()
    m = sample_mass(shape, 20_000, np.random.default_rng(32), stratified=stratified)
    grid = np.linspace(90.0, 180.0, 100_001)
    density = evaluate(shape, grid)

    def mean(values):
        return integrate.simpson(values * density, x=grid)

    for power in (1, 2):
        expected = mean(grid**power)
        error = np.sqrt((mean(grid ** (2 * power)) - expected**2) / m.size)
        assert abs(np.mean(m**power) - expected) < 4.9 * error
