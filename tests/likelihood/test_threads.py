"""Threads share parameters and caches: what one of them moves for a while, the others must not see."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import models
import numpy as np
import zfit

from hisigma_zfit.inference.impacts import impacts
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.proposal import parameters_restored


def test_who_reads_the_parameters_waits_until_they_are_back():
    model = models.model(n_sig=60.0, n_bkg=500.0)
    loss = ExtendedNLL(model, models.toy(model, seed=1))
    before, moved = loss.theta(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        with parameters_restored(loss.parameters):
            model.poi.set_value(-1.0)
            read = executor.submit(lambda: (moved.set(), loss.theta())[1])
            assert moved.wait(10.0)
            assert not read.done()
        np.testing.assert_array_equal(read.result(10.0), before)


def test_an_asimov_set_of_one_thread_is_not_seen_by_another():
    model = models.model(n_sig=60.0, n_bkg=500.0)
    loss = ExtendedNLL(model, models.toy(model, seed=1))
    before = loss.theta()
    sample = ImportanceSample(loss, events=500, seed=1)
    other = np.where(before == 60.0, 30.0, before)
    with ThreadPoolExecutor(1) as executor:
        made = executor.submit(sample.asimov, other)
        while not made.done():
            np.testing.assert_array_equal(loss.theta(), before)
        assert made.result().profiler("n_sig").best > 20.0


def test_impacts_leave_floating_flags_and_values_alone():
    """Other threads would fit with what this one holds."""
    model = models.model(n_sig=60.0, n_bkg=500.0)
    slope = next(p for p in model.get_params() if p.name == "p1")
    constraint = zfit.constraint.GaussianConstraint(slope, observation=1.7, sigma=0.3)
    loss = ExtendedNLL(model, models.toy(model, seed=1), constraints=[constraint])

    class Watched:
        """The same likelihood, which notices when its parameters are moved."""

        parameters, constraints = loss.parameters, loss.constraints

        def theta(self):
            np.testing.assert_array_equal(loss.theta(), before)
            assert [p.floating for p in loss.parameters] == floating
            return loss.theta()

        def evaluator(self, *, around=None):
            self.theta()
            return loss.evaluator(around=around)

    before, floating = loss.theta(), [p.floating for p in loss.parameters]
    found = impacts(Watched(), "n_sig", groups={"slope": ["p1"]}, minos=False)
    assert found.groups["slope"][0] > 0.0
    assert found.statistical[0] < found.total[0]


def test_one_normalisation_serves_several_threads():
    variation = ShapeVariation(nuisance("shape"), models.background_flow(0.2), models.background_flow(-0.2))
    model = signal_plus_background(
        FlowProductPDF(models.peak(), models.signal_flow()),
        FlowProductPDF(models.falling(), models.background_flow(), variations=[variation]),
        poi=zfit.Parameter("n_sig", 60.0),
        yields=[zfit.Parameter("n_bkg", 500.0, 0.0)],
    )
    normaliser = model.components[1].pdf.morph.normaliser
    values = np.linspace(-1.0, 1.0, 8)
    expected = [normaliser.expansion(np.array([nu])).copy() for nu in values]

    def ask(k):
        for _ in range(200):
            np.testing.assert_array_equal(normaliser.expansion(values[[k]]), expected[k])

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(ask, range(8)))
