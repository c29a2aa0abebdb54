"""The whole chain on a known truth: what learned densities cost against the exact ones, on the same events.

Two fits of one data set differ only in p(x'|m), so that the statistical fluctuation of the data drops out and what is
left is the price of learning.  It is mostly a common shift of the yield: a smooth net under-models the steep tail in
which signal lives.
"""

from __future__ import annotations

import models
import numpy as np
import pytest
import tensorflow as tf
import truth
import zfit

from hisigma_zfit.data import Dataset, feature_space
from hisigma_zfit.density.base import ConditionalFlow
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic

N_BACKGROUND, N_SIGNAL = 20_000, 150
N_TRAINING = {"background": 60_000, "signal": 20_000}


class ExactFlow(ConditionalFlow):
    """The density that the toy's events are drawn from."""

    features, given, signal_region = truth.FEATURES, truth.MASS, models.REGION

    def __init__(self, toy: truth.Toy) -> None:
        self.toy = toy

    def log_prob(self, x, m):
        return tf.numpy_function(self.toy.log_prob, [x, m], tf.float64)

    def log_prob_array(self, x, m):
        return self.toy.log_prob(*self.check(x, m))

    def sample(self, m, *, seed):
        return self.toy.sample(np.asarray(m), np.random.default_rng(seed))

    def inside(self, x, m=None):
        return np.ones(len(x), dtype=bool)


def learn(seed):
    """Signal and background densities from events of their own."""
    space = feature_space(**truth.LIMITS)
    background = Dataset.from_arrays(
        truth.BACKGROUND.columns(N_TRAINING["background"], seed=seed + 1, region="sidebands")
    ).sidebands(truth.MASS, models.REGION)
    signal = Dataset.from_arrays(truth.SIGNAL.columns(N_TRAINING["signal"], seed=seed + 2))
    return [train_flow(data, space, given=truth.MASS, seed=seed) for data in (signal, background)]


def fitted(data, signal, background):
    """Profile of the signal yield."""
    mass = models.mass_space()
    peak = zfit.pdf.Gauss(models.frozen("mean", 125.0), models.frozen("width", 2.0), obs=mass)
    falling = ExpQuadratic(mass, zfit.Parameter("p1", 1.8), zfit.Parameter("p2", 0.0))
    model = signal_plus_background(
        FlowProductPDF(peak, signal),
        FlowProductPDF(falling, background),
        poi=zfit.Parameter("n_sig", 100.0),
        yields=[zfit.Parameter("n_bkg", 20_000.0, 0.0)],
        region=models.REGION,
    )
    return Profiler(ExtendedNLL(model, data), "n_sig")


def closure(seed):
    """Fits of one data set with learned and with exact densities."""
    parts = (
        truth.BACKGROUND.columns(N_BACKGROUND, seed=seed + 3),
        truth.SIGNAL.columns(N_SIGNAL, seed=seed + 4),
    )
    data = Dataset.from_arrays({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    learned = learn(seed)
    data = data.select(learned[1].inside(data.array(truth.FEATURES)), reason="outside the domain")
    return fitted(data, *learned), fitted(data, ExactFlow(truth.SIGNAL), ExactFlow(truth.BACKGROUND)), data


@pytest.mark.statistical
def test_learned_densities_measure_what_the_exact_ones_do():
    learned, exact, data = closure(seed=100)
    assert len(data) >= N_BACKGROUND + N_SIGNAL - 5
    assert learned.error == pytest.approx(exact.error, rel=0.05)
    assert abs(learned.best - exact.best) < 0.7 * exact.error
    # the truth itself: 4.4 sigma are exceeded once in a hundred thousand times
    assert abs(exact.best - N_SIGNAL) < 4.4 * exact.error
