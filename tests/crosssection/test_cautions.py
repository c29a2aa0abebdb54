"""What is said to a reader of a cross-section, and when nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hisigma_zfit.crosssection.answers import Answers
from hisigma_zfit.crosssection.cautions import of_answers, of_data, of_learning, of_nominal, of_simulation
from hisigma_zfit.ratio.rows import ProcessRows
from hisigma_zfit.results import (
    Correlations,
    ExponentSummary,
    FittedParameter,
    Impact,
    Impacts,
    NuisanceProfile,
    PoiAnswer,
    SimulationError,
)

GOOD = ExponentSummary("learned", 1e4, 0.1, {"score": 1.1, "pt": 0.9}, 0.3, 0.001, 0.002)


def rows(name: str, n: int, weight: float) -> ProcessRows:
    nothing = np.zeros(n, dtype=np.int64)
    return ProcessRows(name, np.zeros((n, 1), np.float32), np.full(n, weight), nothing, nothing, nothing)


def test_few_simulated_events_for_what_they_expect():
    told = of_simulation([rows("Z", 100, 0.5), rows("H", 100, 0.01)], ("U", "C"), 1)
    assert told == [
        "fewer than 5 effective simulated events for each expected one in U: 2 of Z; see the error of the simulation"
    ]
    assert of_simulation([rows("H", 100, 0.1)], ("U", "C"), 1) == []
    assert of_simulation([rows("Z", 100, 0.5)], ("C",), 0) == []


def test_data_outside_of_the_simulation_are_counted():
    assert of_data({"pt": 3}) == ["3 events of data outside of the simulated range of pt; they are kept"]


def test_closure_and_bound():
    assert of_learning({"Z": GOOD}) == []
    bad = replace(GOOD, closure={"score": 1.1, "pt": 2.5, "m": 3.25}, at_bound=0.04)
    assert of_learning({"Z": GOOD, "H": bad}) == [
        "H does not close: chi2/ndf = 3.2 in m and 1 more",
        "4.0% of the exponents of H are at their bound; raise exponents.bound",
    ]
    nothing = replace(GOOD, closure={"score": float("nan")})
    assert of_learning({"Z": nothing}) == []


def answer(errors=(0.9, 1.0), **parameters) -> Answers:
    impact = Impact("jes", 0.0, errors, 0.0, 1.0, (-0.1, 0.1), (-0.1, 0.1))
    budget = Impacts("mu", 1.0, (0.2, 0.2), (0.15, 0.15), {}, (impact,))
    own = PoiAnswer(1.0, (0.8, 1.2), (0.6, 1.4), 0.15, 0.13)
    known = {"mu": FittedParameter(1.0, 0.2), "jes": FittedParameter(0.1, 0.95, 0.1, 0.95)} | parameters
    names = tuple(known)
    return Answers(
        {"mu": own},
        known,
        Correlations(names, np.eye(len(names))),
        {"mu": budget},
        {},
        {},
        np.zeros(0),
        np.zeros(0, int),
    )


def simulation(sigma: float) -> SimulationError:
    return SimulationError("templates", 1.0, np.array([1.0, 1.1]), sigma, {"Z": sigma, "H": 0.0}, {"Z": 100.0})


def test_a_quiet_fit_says_nothing():
    assert of_answers(answer(), {"mu": simulation(0.05)}) == []


def test_pulls_constraints_and_simulation():
    far = {"tes": FittedParameter(-2.5, 0.3, -2.5, 0.3)}
    told = of_answers(answer(**far), {"mu": simulation(0.1)})
    assert told[0].startswith("the finite simulation moves mu by 0.1, its other error is 0.2; ")
    assert told[0].endswith("times the events of Z would halve it")
    assert told[1:] == [
        "tes is pulled by -2.5 standard deviations",
        "tes is constrained to 0.30 of its prior: check that its shape is real",
    ]


def test_extrapolations_are_told():
    far = {"tes": FittedParameter(-2.5, 0.9, -2.0, 0.9, setting=0.975)}
    assert of_answers(answer(**far), {}, reach={"tes": (0.97, 1.03)}) == []
    assert of_answers(answer(**far), {}, reach={"tes": (0.98, 1.02)}) == [
        "tes is fitted at 0.975, beyond the points from 0.98 to 1.02 where it was simulated: add points, or limits"
    ]


@pytest.mark.parametrize("errors", [(0.5, 1.0), (1.0, 0.5), (np.inf, 1.0), (np.nan, 1.0)])
def test_profiles_that_are_no_parabolas(errors):
    assert of_answers(answer(errors), {}) == ["the profile is no parabola of jes: quote it, and not its error alone"]


def test_profiles_are_looked_at_where_there_are_no_impacts():
    theta = np.linspace(-2.0, 2.0, 41)
    crooked = NuisanceProfile("jes", theta, np.where(theta < 0.0, 4.0, 1.0) * theta**2, theta**2, theta)
    assert len(of_answers(answer(), {}, [crooked])) == 1
    assert of_answers(answer(), {}, [replace(crooked, profiled=theta**2)]) == []


def test_a_nominal_simulation_that_is_not_given_back_is_told():
    assert of_nominal({"mu": (1.05, 0.2), "kappa": (0.9, 0.4)}) == []
    (text,) = of_nominal({"mu": (1.05, 0.2), "kappa": (1.4, 0.4)})
    assert text.startswith("the nominal simulation gives kappa = 1.4 instead of 1")
    assert len(of_nominal({"mu": (float("nan"), 0.2)})) == 1
