"""Results of a cross-section: the round trip, and the numbers that they derive from their content."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from hisigma_zfit.results import (
    BiasPoint,
    BiasStudy,
    ClosurePoint,
    CoverageStudy,
    CrossSectionResult,
    DesignSummary,
    HeldBackStudy,
    NuisanceProfile,
    Projection,
    ShapeClosure,
    SimulationError,
)


def test_everything_comes_back(
    cross_section, toy_study, closures, ratio_maps, poi_scan, soft_met_profile, postfit, ratio_histories
):
    stored = [cross_section, toy_study, *closures, *ratio_maps, poi_scan, soft_met_profile, postfit, *ratio_histories]
    for result in stored:
        text = result.to_json()
        again = type(result).from_json(text)
        assert again.to_json() == text
    found = CrossSectionResult.from_json(cross_section.to_json())
    assert found.poi == cross_section.poi
    assert found.parameters == cross_section.parameters
    np.testing.assert_array_equal(found.correlations.matrix, cross_section.correlations.matrix)
    assert math.isnan(type(ratio_maps[0]).from_json(ratio_maps[0].to_json()).values[0, -1])


def test_the_keys_of_the_files_are_those_that_other_programs_read(cross_section, toy_study):
    raw = json.loads(cross_section.to_json())
    assert raw["schema"] == "hisigma-zfit/cross-section/1"
    assert {"value", "interval_68", "error_stat", "error_syst", "error_simulation"} <= raw["poi"]["mu"].keys()
    assert raw["parameters"]["jes"]["constraint"] == 0.08
    assert raw["yields"]["ztautau"]["U"]["reference"] == pytest.approx(46_746.0)
    assert raw["comparison"]["binned-8"]["width"] == 0.49
    raw = json.loads(toy_study.to_json())
    assert raw["schema"] == "hisigma-zfit/cross-section-toys/1"
    assert {"coverage", "error", "width", "score", "pull_mean", "pull_rms", "by_mu"} <= raw["methods"][
        "unbinned"
    ].keys()
    assert len(raw["truth"]) == raw["draws"] == 50


def test_what_people_read(cross_section, toy_study):
    assert str(cross_section).splitlines() == [
        "Cross-section from unbinned data, observed (950 800 events)",
        "  mu                     1.04 -0.2 +0.22 (0.192 stat, 0.085 syst; 0.21 simulation)",
        "                         [0.84, 1.26] at 68.3 %, [0.65, 1.48] at 95.4 %",
        "                         [0.75, 1.35] at 68.3 %, [0.47, 1.66] at 95.4 %, with simulation",
        "  impacts on mu          jes 0.062, tes 0.045, diboson_norm 0.016, bkg 0.011, soft_met 0.01, ttbar_norm 0.007",
        "  pulls                  jes +0.42 (0.08), tes -0.31 (0.04), diboson_norm +0.90 (0.21), bkg +0.10 (0.76), "
        "soft_met -0.20 (0.13), ttbar_norm +1.20 (0.29)  (post-fit by pre-fit error)",
        "  counting               1.2 +- 0.775  (0.37 stat)",
        "  binned-8               1.14 +- 0.245  (0.21 stat)",
        "  binned-20              1.1 +- 0.225  (0.197 stat)",
        "  binned-60              1.09 +- 0.224  (0.195 stat)",
        "  unbinned-uncalibrated  1.07 +- 0.212  (0.193 stat)",
        "  unbinned               1.04 +- 0.21  (0.192 stat)",
        "  warning                the error of the simulation is 1.0 of that of the data",
    ]
    first, unbinned, *_ = str(toy_study).splitlines()
    assert first == "50 draws of the nuisances (random), 20 toys each, seed 3"
    assert "coverage 0.6" in unbinned


def test_errors_of_an_answer(cross_section):
    own = cross_section.poi["mu"]
    assert own.error == pytest.approx(0.21)
    assert own.errors == pytest.approx((0.2, 0.22))
    assert cross_section.leading == "mu"
    assert cross_section.n_events.used == 53_391 + 897_409
    plain = dataclasses.replace(own, error_simulation=None, interval_68_with_simulation=None)
    assert "simulation" not in str(dataclasses.replace(cross_section, poi={"mu": plain})).split("impacts")[0]


def test_bias_of_three_points():
    points = tuple(BiasPoint({"tes": float(k)}, value, 0.1, 0.5) for k, value in enumerate((1.1, 0.8, 1.4)))
    study = BiasStudy(1.0, 1.1, 0.2, points)
    assert study.mean == pytest.approx(0.1)
    assert study.rms == pytest.approx(math.sqrt((0.01 + 0.04 + 0.16) / 3))
    assert study.rms_in_sigma == pytest.approx(2.0 * study.rms)
    assert study.largest == pytest.approx(0.4)
    assert study.rms_to_nominal == pytest.approx(math.sqrt((0.0 + 0.09 + 0.09) / 3))
    assert math.isnan(BiasStudy(1.0, 1.0, 0.1, ()).rms)
    assert HeldBackStudy(0.1, 3.0, 2.5, 0.3, 0.4).pull == pytest.approx(-1.0)


def test_which_events_halve_the_error_of_the_simulation():
    def grown(**shares):
        return SimulationError("all", 1.0, np.array([0.9, 1.1]), 0.14, shares).halved_by()

    # one process makes it: 9 / (10 / 4 - 1) = 6 times its events
    assert grown(z=3.0, h=1.0) == pytest.approx({"z": 6.0})
    # two alike: both, and what is left hardly matters; 2 / (2.01 / 4 - 0.01)
    assert grown(z=1.0, t=1.0, h=0.1) == pytest.approx(dict.fromkeys(("t", "z"), 2.0 / 0.4925))
    assert grown() == {}
    assert SimulationError("all", 1.0, np.array([0.9, 1.1, 1.0]), 0.1).sigma_error == pytest.approx(0.05)


def test_closure_of_two_bins():
    nominal = np.array([100.0, 200.0, 0.0])

    def point(settings, shifted, reweighted, chi2):
        return ClosurePoint(settings, np.array(shifted), np.array(reweighted), np.ones(3), chi2, 2)

    points = (
        point({"tes": -1.0}, [90.0, 220.0, 1.0], [91.0, 220.0, 0.0], 1.0),
        point({"tes": 1.0}, [110.0, 180.0, 0.0], [110.0, 178.0, 0.0], 4.0),
        point({"tes": 3.0, "jes": 0.0}, [110.0, 180.0, 0.0], [110.0, 180.0, 0.0], 0.0),
        point({"tes": 1.0, "jes": 1.0}, [110.0, 180.0, 0.0], [110.0, 180.0, 0.0], 0.0),
        point({"met": 2.0}, [110.0, 180.0, 0.0], [110.0, 180.0, 0.0], 0.0),
    )
    found = ShapeClosure("z", "m_vis", np.arange(4.0), nominal, points)
    assert found.nuisances == ("tes", "met")
    assert found.along("tes") == (points[1], points[0])
    assert found.along("tes", reach=5.0) == (points[2], points[0])
    assert found.along("met") == (points[4],)  # none within reach: the nearest
    assert found.along("jes") == ()
    assert found.chi2_by_ndf == pytest.approx(0.5)
    # residuals 0.01 twice of ten numbers, all variations 0.1
    assert found.residual_over_variation == pytest.approx(math.sqrt(2e-4 / 10) / 0.1)


def test_condition_of_a_design():
    design = DesignSummary(("tes",), np.array([[1.0], [-1.0]]), ("tes", "tes^2"), np.array([4.0, 0.5]))
    assert design.condition == 8.0
    assert dataclasses.replace(design, singular_values=np.array([4.0, 0.0])).condition == math.inf
    assert dataclasses.replace(design, singular_values=np.empty(0)).condition == 1.0


def test_profiles_that_are_no_parabolas(soft_met_profile):
    theta = np.linspace(-4.0, 4.0, 801)
    parabola = NuisanceProfile("tes", theta, theta**2, theta**2, theta)
    assert parabola.asymmetry == pytest.approx(0.0, abs=1e-9)
    assert parabola.parabolic
    # distances 1 and 2
    skew = dataclasses.replace(parabola, profiled=np.where(theta < 0, theta**2, 0.25 * theta**2))
    assert skew.asymmetry == pytest.approx(1 / 3, abs=1e-3)
    flat = dataclasses.replace(parabola, profiled=np.where(theta < 0, 0.0, theta**2))
    assert flat.asymmetry == math.inf
    assert 0.1 < soft_met_profile.asymmetry < 0.5
    assert not soft_met_profile.parabolic


def test_projections_of_before_have_no_error_of_the_fit(postfit):
    raw = json.loads(postfit.to_json())
    del raw["model_error"]
    assert Projection.from_json(json.dumps(raw)).model_error is None


def test_toys_come_back_with_their_truths(toy_study):
    again = CoverageStudy.from_json(toy_study.to_json())
    np.testing.assert_array_equal(again.truth[7].truth, toy_study.truth[7].truth)
    np.testing.assert_equal(
        dataclasses.asdict(again)["methods"], dataclasses.asdict(toy_study)["methods"]
    )  # where nan is nan
