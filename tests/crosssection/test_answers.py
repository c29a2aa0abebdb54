"""What a likelihood says: the error of the simulation as one more nuisance, parameters, yields, profiles."""

from __future__ import annotations

import numpy as np
import pytest
from ratio_toy import Toy
from scipy.optimize import brentq
from scipy.stats import chi2, norm, qmc

from hisigma_zfit.crosssection.answers import answers, nuisance_profile, poi_scan, with_simulation
from hisigma_zfit.fitting.profiler import Profiler

TOY = Toy()


@pytest.fixture(scope="module")
def expected():
    """Expected events at nominal, of few weighted rows."""
    z = norm.ppf(qmc.Halton(2, rng=1).random(600))
    x = np.concatenate([np.array(TOY.centre[p]) + np.array(TOY.width[p]) * z for p in range(2)])
    return TOY.likelihood(TOY.columns(x, weights=np.repeat(np.array(TOY.size) / 600, 600)))


@pytest.fixture(scope="module")
def profiler(expected):
    return Profiler(expected, "mu")


def test_interval_with_simulation_is_that_of_a_scan_in_two_dimensions(profiler):
    """t(mu) = min over nu of t_0(mu + sigma nu) + nu^2, on a grid of both."""
    sigma, cl = 0.15, 0.683
    level = chi2.ppf(cl, 1)
    shifted = np.linspace(profiler.best - 0.9, profiler.best + 0.9, 61)
    t = profiler.scan(shifted)
    nu = np.linspace(-4.0, 4.0, 4001)

    def of(mu):
        return float(np.min(np.interp(mu + sigma * nu, shifted, t) + nu**2))

    edges = [brentq(lambda mu: of(mu) - level, profiler.best, profiler.best + way * 0.9) for way in (-1.0, 1.0)]
    assert with_simulation(profiler, sigma, cl) == pytest.approx(edges, abs=2e-3)
    low, high = profiler.interval(level)
    assert with_simulation(profiler, 0.0, cl) == pytest.approx([low, high], abs=1e-3)
    # of a parabola both add in quadrature; this one nearly is
    wide = np.subtract(*with_simulation(profiler, sigma, cl)[::-1])
    assert wide == pytest.approx(2.0 * np.hypot(0.5 * (high - low), sigma), rel=0.01)


def test_all_that_a_likelihood_says_hangs_together(expected, profiler):
    found = answers(expected, levels=(0.683, 0.954), simulation={"mu": 0.1}, observed=[1650.0, 810.0, 530.0, 305.0])
    own = found.pois["mu"]
    low, high = profiler.interval(chi2.ppf(0.683, 1))
    assert own.interval_68 == pytest.approx((low, high), abs=1e-4)
    assert own.error**2 == pytest.approx(own.error_stat**2 + own.error_syst**2)
    assert own.interval_68_with_simulation[1] > own.interval_68[1]
    assert not own.one_sided
    assert list(found.parameters) == ["mu", "scale", "smearing", "size"]
    assert found.parameters["mu"].pull is None
    for name in ("scale", "smearing", "size"):
        parameter = found.parameters[name]
        assert parameter.constraint == pytest.approx(parameter.error)
        assert 0.0 < parameter.constraint < 1.02
        assert parameter.pull == pytest.approx(parameter.value)
    smearing = found.parameters["smearing"]
    assert smearing.setting == pytest.approx(TOY.median * np.exp(TOY.spread * smearing.value))
    assert found.parameters["size"].setting is None
    # groups and all: the budget of the error
    assert set(found.impacts["mu"].groups) == {"shapes", "norms"}
    # every cell expects what its processes do, and observed events are passed on
    assert [cell.observed for cell in found.cells.values()] == [1650.0, 810.0, 530.0, 305.0]
    for name, cell in found.cells.items():
        assert cell.postfit == pytest.approx(sum(own[name].postfit for own in found.yields.values()))
        assert cell.unbinned == (name == "U")


def test_yields_have_the_error_of_the_covariance(expected):
    """A bin that only mu and the size of the background scale: error propagation by hand."""
    found = answers(expected, levels=(0.683, 0.954), ranked=False)
    profiler = Profiler(expected, "mu")
    covariance = profiler.covariance
    theta = profiler.minimum.theta
    # d(expected)/d(mu) of the signal is N exp(V . delta), and the bins' rates of the signal do not move
    error = TOY.bins[0][1] * np.sqrt(covariance[0, 0])
    assert found.yields["signal"]["bin 1"].error == pytest.approx(error, rel=1e-5)
    assert found.yields["signal"]["bin 1"].postfit == pytest.approx(TOY.bins[0][1] * theta[0], rel=1e-6)
    assert found.impacts == {}


def test_scans_are_zero_at_the_minimum_and_ordered(expected, profiler):
    scan = poi_scan(expected, "mu", simulation=0.1, others={"same": expected})
    at = int(np.argmin(scan.profiled))
    assert scan.values[at] == pytest.approx(profiler.best, abs=1e-6)
    assert abs(scan.profiled[at]) < 1e-6
    assert (scan.statistical >= scan.profiled - 1e-6).all()
    assert (scan.with_simulation <= scan.profiled + 1e-6).all()
    assert scan.methods["same"] == pytest.approx(scan.profiled, abs=1e-6)


def test_profile_of_a_nuisance_stands_beside_its_constraint(expected):
    own = nuisance_profile(expected, expected.structure.shapes[1], unit="GeV")
    assert own.profiled[0] == pytest.approx(4.0, abs=0.05)
    assert own.profiled[-1] == pytest.approx(4.0, abs=0.05)
    profiler = Profiler(expected, "smearing")
    assert own.profiled[30] == pytest.approx(profiler.t(own.theta[30]), abs=1e-4)
    assert own.constraint == pytest.approx(own.theta**2)
    assert own.settings == pytest.approx(TOY.median * np.exp(TOY.spread * own.theta))
    assert own.unit == "GeV"
