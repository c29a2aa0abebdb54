"""Checks of a model by simulation, on exact ratios: no bias, and an error of the simulation that is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ratio_toy import Toy
from scipy.stats import chi2, norm, qmc

from hisigma_zfit.crosssection.expectation import Expectation
from hisigma_zfit.crosssection.methods import Unbinned
from hisigma_zfit.crosssection.model import Counted, RatioModel, Scored
from hisigma_zfit.crosssection.trials import bias_studies, held_back_study, simulation_error
from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.rows import CountedRows, ShiftedRows
from hisigma_zfit.ratio.structure import NormEffect, Rates, RatioStructure

TOY = Toy(bins=((), ()), bin_rate=((0.0, 0.0),) * 2, rate=((0.0, 0.0),) * 2, median=0.2)
ROWS = 1500
NONE = np.zeros(0, dtype=np.int64)


class Exact(RatioModel):
    """A model that has the exact ratios."""

    def simulated(self, shifted):
        x = np.concatenate([own.x for own in shifted]).astype(np.float64)
        columns = TOY.columns(x)
        return Scored(
            columns.posterior,
            columns.exponents,
            columns.region,
            columns.posterior[:, 0].astype(np.float64),
            np.concatenate([own.weights for own in shifted]),
            np.zeros(0),
            np.repeat(np.arange(2), ROWS),
            np.arange(2 * ROWS),
            Counted(NONE, np.zeros(0), NONE, NONE),
        )


class Shifted(Expectation):
    """Evenly spread events of the analytic world, moved as its shifts move them."""

    def __init__(self, model):
        self.model = model
        self._z = norm.ppf(qmc.Halton(3, rng=2).random(ROWS))

    def auxiliary(self, settings):
        s = settings.get("smearing", 0.0)
        return {"scale": settings.get("scale", 0.0), "smearing": max(TOY.smearing.theta(s), -5.0) if s else -5.0}

    def rows(self, settings, *_numbers):
        found = []
        for p in range(2):
            x = np.array(TOY.centre[p]) + np.array(TOY.width[p]) * self._z[:, :2]
            x = TOY.shifted(p, x, settings.get("scale", 0.0), settings.get("smearing", 0.0), self._z[:, 2])
            weights, at = np.full(ROWS, TOY.size[p] / ROWS), np.arange(ROWS)
            none = CountedRows(NONE, np.zeros(0), NONE)
            found.append(
                ShiftedRows(at, x, weights, at % 2, np.zeros(ROWS, int), np.zeros(1), np.zeros(1), at, None, none)
            )
        return found


def model_of(structure, kind=RatioModel):
    return kind(SimpleNamespace(), SimpleNamespace(), (), structure, 0)


@pytest.fixture(scope="module")
def exact():
    model = model_of(TOY.structure(), Exact)
    return {"unbinned": Unbinned(model)}, Shifted(model)


POINTS = [{"scale": 1.5, "smearing": 0.1}, {"scale": -1.0, "smearing": 0.2}]


def test_a_perfect_model_has_no_bias(exact):
    methods, expectation = exact
    study = bias_studies(methods, expectation, POINTS, "mu", truth=2.0, seed=4)["unbinned"]
    assert study.truth == 2.0
    assert [point.settings for point in study.points] == POINTS
    for point in study.points:
        # without the true auxiliary measurements it is 0.4; rows are evenly spread, and their distance is left
        assert abs(point.value - 2.0) < 0.2 * point.sigma
        # the same events are drawn at both, so that less than one fluctuation is between them
        assert 0.0 < point.error < study.nominal_error
    assert study.rms_in_sigma < 0.2


def test_held_back_events_are_told_with_both_errors(exact):
    methods, expectation = exact
    held = held_back_study(
        methods, expectation, POINTS[:1], "mu", fraction=0.2, truth=3.0, seed=4, error_simulation=0.05
    )
    assert (held.fraction, held.truth, held.error_simulation) == (0.2, 3.0, 0.05)
    assert held.value == pytest.approx(3.0, abs=0.05)
    assert abs(held.pull) < 1.0
    assert set(held.study) == {"unbinned"}


def test_factors_are_those_of_the_likelihood(exact):
    methods, expectation = exact
    likelihood = methods["unbinned"].model.likelihood(exact[0]["unbinned"].model.simulated(expectation.rows({})))
    theta = np.array([1.7, 0.0, 0.0, -1.2])
    assert expectation.factors({"mu": 1.7, "size": -1.2}) == pytest.approx(likelihood.factors(theta))


SIZE, SIMULATED = (20.0, 400.0), (50, 800)


@pytest.fixture(scope="module")
def counted():
    """One bin, where mu is (n - background) / signal."""
    structure = RatioStructure(
        processes=("signal", "background"),
        pois={"signal": ("mu",), "background": ()},
        shapes=(),
        norms=(NormEffect("unused", {"background": 0.1}),),
        monomials=Monomials((), ()),
        rates=Rates(np.array(SIZE)[:, None], np.zeros((2, 1)), np.zeros((2, 1, 0))),
        cells=("bin",),
        unbinned=0,
        poi_limits={},
    )
    process = np.repeat([0, 1], SIMULATED)
    weights = np.repeat(np.array(SIZE) / SIMULATED, SIMULATED)
    own = Counted(np.zeros(len(process), int), weights, process, np.arange(len(process)))
    empty = np.zeros((0, 2), np.float32), np.zeros((0, 2, 0), np.float32), NONE, np.zeros(0), np.zeros(0)
    return model_of(structure), Scored(*empty, own.sums(1), NONE, NONE, own)


@pytest.mark.statistical  # a variance of 23 degrees of freedom, and of 7: 1e-5 and 1e-5
def test_simulation_error_of_a_count_is_that_of_its_weights(counted):
    """The bin's sum of weights has the variance sum w^2; the nuisance that only its constraint knows takes no part."""
    model, expected = counted
    found = simulation_error(model, expected, "mu", seed=2, effective={"signal": 50.0, "background": 800.0})
    assert found.nominal == pytest.approx(1.0, abs=1e-6)
    each = {
        name: size / np.sqrt(n) / SIZE[0]
        for name, size, n in zip(("signal", "background"), SIZE, SIMULATED, strict=True)
    }
    total = np.hypot(*each.values())
    for sigma, truth, ndf in (
        (found.sigma, total, 23),
        (found.by_process["signal"], each["signal"], 7),
        (found.by_process["background"], each["background"], 7),
    ):
        low, high = chi2.ppf([2e-6, 1.0 - 2e-6], ndf) / ndf
        assert low < (sigma / truth) ** 2 < high
    assert len(found.replicas) == 24
    assert found.effective_events == {"signal": 50.0, "background": 800.0}


def test_events_are_scaled_and_drawn_by_process(counted):
    _, expected = counted
    scaled = expected.times(np.array([3.0, 0.5]))
    assert scaled.counts == pytest.approx([3.0 * SIZE[0] + 0.5 * SIZE[1]])
    # each hard event twice
    assert expected.resampled(np.full(sum(SIMULATED), 2.0)).counts == pytest.approx([2.0 * sum(SIZE)])
    drawn = expected.drawn(np.random.default_rng(1))
    assert drawn.weights is None
    assert drawn.counts[0] == int(drawn.counts[0])
