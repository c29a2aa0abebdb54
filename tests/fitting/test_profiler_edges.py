"""Profiles where there is no parabola, and errors with some parameters held."""

from __future__ import annotations

from types import SimpleNamespace

import models
import numpy as np
import pytest

from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.evaluate import Evaluation
from hisigma_zfit.likelihood.nll import ExtendedNLL


class Hill:
    """-log L = -x^2 / 2 between -1 and 1: the best fit is at a limit, where no parabola gives an error."""

    parameters = (SimpleNamespace(name="x", floating=True, lower=-1.0, upper=1.0),)

    def evaluator(self, *, around=None):
        return self

    def theta(self):
        return np.array([0.5])

    def evaluate(self, theta):
        return Evaluation(float(-0.5 * theta[0] ** 2), -theta, -np.eye(1))


def test_a_best_fit_at_a_limit_without_a_parabola_has_an_interval_but_no_error():
    profiler = Profiler(Hill(), "x")
    assert profiler.best == 1.0
    assert np.isnan(profiler.error)
    assert profiler.crossing(0.5, upwards=True) == 1.0
    assert profiler.crossing(0.5, upwards=False) == pytest.approx(np.sqrt(0.5), abs=1e-6)  # t = 1 - x^2


def test_an_error_without_others_is_that_of_a_fit_that_holds_them():
    model = models.model()
    loss = ExtendedNLL(model, models.toy(model, seed=21))
    profiler = Profiler(loss, "n_sig")
    assert profiler.error_without(()) == profiler.error
    held = ("p1", "n_bkg")
    for parameter, value in zip(loss.parameters, profiler.minimum.theta, strict=True):
        parameter.set_value(value)
        if parameter.name in held:
            parameter.floating = False
    assert profiler.error_without(held) == pytest.approx(Profiler(loss, "n_sig").error, rel=1e-5)
    assert profiler.error_without(held) < profiler.error
