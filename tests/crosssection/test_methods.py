"""Counts of the score in bins: against Poisson sums written by hand; and methods by name."""

from __future__ import annotations

import numpy as np
import pytest
from ratio_toy import Toy
from scipy.stats import poisson

from hisigma_zfit.crosssection.methods import Binned, method_answer
from hisigma_zfit.crosssection.model import Scored
from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.structure import Constraint, NormEffect, Rates, RatioStructure, ShapeParameter

SIZE = np.array([[4.0, 11.0, 6.0], [50.0, 20.0, 90.0]])  # two bins of the score, one counting bin
CONSTANT = np.array([[0.0, 0.02, 0.0], [-0.01, 0.03, 0.05]])
SLOPE = np.array([[[0.01], [0.1], [0.02]], [[-0.03], [0.06], [0.04]]])


@pytest.fixture(scope="module")
def binned():
    structure = RatioStructure(
        processes=("signal", "background"),
        pois={"signal": ("mu",), "background": ()},
        shapes=(ShapeParameter("scale", Toy().structure().shapes[0].coordinate, Constraint(), 0.0),),
        norms=(NormEffect("size", {"background": 0.1}),),
        monomials=Monomials(("scale",), ()),
        rates=Rates(SIZE, CONSTANT, SLOPE),
        cells=("U, score bin 1", "U, score bin 2", "C"),
        unbinned=0,
        poi_limits={},
    )
    return Binned(structure, (np.array([0.2]),))


def scored(score: np.ndarray, weights: np.ndarray | None, count: float) -> Scored:
    n = len(score)
    return Scored(
        np.full((n, 2), 0.5, np.float32), np.zeros((n, 2, 1), np.float32), np.zeros(n, np.int64), score, weights,
        np.array([count]),
    )  # fmt: skip


def test_binned_likelihood_is_a_product_of_poissons(binned):
    # an event on an edge is in the upper bin
    score = np.concatenate([np.full(49, 0.1), np.full(1, 0.2), np.full(38, 0.7)])
    likelihood = binned.likelihood(scored(score, None, 103.0), auxiliary={"scale": 0.3, "size": -0.2})
    counts = np.array([49, 39, 103])

    def by_hand(mu, scale, size):
        factors = np.array([mu, 1.0 + 0.1 * size])
        expected = factors @ (SIZE * np.exp(CONSTANT + SLOPE[:, :, 0] * scale))
        return -poisson.logpmf(counts, expected).sum() + 0.5 * (scale - 0.3) ** 2 + 0.5 * (size + 0.2) ** 2

    assert [str(p.name) for p in likelihood.parameters] == ["mu", "scale", "size"]
    start = np.array([1.0, 0.0, 0.0])
    for theta in ([2.0, 0.5, -1.0], [0.3, -2.0, 1.5], [-0.5, 0.1, 0.2]):
        found = likelihood.value(np.array(theta)) - likelihood.value(start)
        assert found == pytest.approx(by_hand(*theta) - by_hand(*start), rel=1e-10)


def test_weights_are_counted(binned):
    weighted = scored(np.array([0.1, 0.3, 0.3]), np.array([50.0, 30.5, 9.5]), 100.0)
    assert binned.likelihood(weighted).columns.counts.tolist() == [50.0, 40.0, 100.0]
    assert binned.bins == 2


def test_an_answer_has_its_interval_and_that_without_nuisances(binned):
    weights = (SIZE * np.exp(CONSTANT)).sum(axis=0)
    expected = scored(np.array([0.1, 0.3]), weights[:2], weights[2])
    answer = method_answer(binned, binned.likelihood(expected), "mu", 0.683)
    assert answer.value == pytest.approx(1.0, abs=1e-4)
    assert answer.interval_68[0] < 1.0 < answer.interval_68[1]
    assert answer.width == pytest.approx(answer.interval_68[1] - answer.interval_68[0])
    assert 0.0 < answer.stat_only < answer.error
    assert answer.score_bins == 2
