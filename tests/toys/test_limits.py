"""Upper limits of toys, against conditional fits and against limits of the same events as data."""

from __future__ import annotations

from dataclasses import replace

import models
import numpy as np
import pytest
import zfit
from toy_likelihood import EVENTS, likelihood

from hisigma_zfit.fitting.limits import AsimovCurve, asymptotic_cls
from hisigma_zfit.fitting.newton import minimise
from hisigma_zfit.inference.hypotests import upper_limit
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.summary import summarise
from hisigma_zfit.toys.toys import make_pool, run_toys


def cls_of_toy(pool, seed, k, mu):
    """CLs of one value from conditional fits of one toy and of the background-only events."""
    index = pool.parameters.index("n_sig")
    experiment, _, _ = pool.draw(stream(seed, Purpose.TOY, k))
    others = [j for j in pool.free if j != index]

    def fit(value, free, likelihood=experiment):
        theta = pool.theta.copy()
        theta[index] = value
        return minimise(likelihood, theta, free, limits=pool.limits, tolerance=1e-9)

    best = fit(0.0, pool.free)
    if best.theta[index] < 0.0:
        best = fit(0.0, others)
    tested, asimov = fit(mu, others), pool.background.asimov()
    q_asimov = 2.0 * (fit(mu, others, asimov).value - fit(0.0, others, asimov).value)
    return asymptotic_cls(2.0 * (tested.value - best.value), q_asimov)


def test_limits_are_where_cls_says():
    pool = make_pool(likelihood(), "n_sig", 10.0, events=EVENTS, seed=2, limits=True)
    fits = run_toys(pool, "n_sig", n=20, seed=5, limit=0.95)
    error = fits.errors[:, pool.parameters.index("n_sig")]
    best = fits.values[:, pool.parameters.index("n_sig")]
    assert np.all(fits.limit > np.maximum(best, 0.0) + error)
    for k in range(3):
        assert cls_of_toy(pool, 5, k, fits.limit[k]) == pytest.approx(0.05, abs=1e-4)
    summary = summarise(fits, pool, "n_sig", seed=5, limit=0.95)
    assert summary.limit.cl == 0.95
    assert summary.limit.bands["-1"] < summary.limit.median < summary.limit.bands["1"]
    assert summary.limit.median == np.median(fits.limit)
    # q0 of a best value below zero is zero
    assert np.all((fits.q0 == 0.0) == (best <= 0.0))


@pytest.mark.slow
def test_limits_of_toys_are_those_of_their_data():
    """The same toy as data: `upper_limit` has an Asimov set of its own, with the nuisances as that toy has them.

    Toys share the set of their truth, which is right to 1 to 2 %.  Over eleven events of background under the signal
    Wald's form is 2 to 12 % too high.
    """
    loss, events = sparse(), 60_000
    pool = make_pool(loss, "s", 3.0, events=events, seed=2, limits=True)
    exact = run_toys(pool, "s", n=4, seed=5, limit=0.95).limit
    wald = run_toys(replace(pool, background=None), "s", n=4, seed=5, limit=0.95).limit
    found = []
    for k in range(4):
        rng = stream(5, Purpose.TOY, k)
        m = np.concatenate([category.draw(rng).mass for category in pool.categories])
        data = zfit.Data.from_numpy(obs=loss.model[0].space, array=m[:, None])
        found.append(upper_limit(ExtendedNLL(loss.model[0], data), "s", seed=7).limit)
    np.testing.assert_allclose(exact, found, rtol=0.03)
    assert np.mean(wald / found) > 1.03


def sparse():
    """A peak over eleven events of an exponential."""
    space = zfit.Space("m", 0.0, 1.0)
    signal = zfit.pdf.Gauss(
        models.frozen("mu", 0.4), models.frozen("width", 0.05), space, extended=zfit.Parameter("s", 3.0)
    )
    slope = zfit.Parameter("slope", -1.0)
    background = zfit.pdf.Exponential(slope, space, extended=zfit.Parameter("b", 60.0, 0.0))
    slope.floating = False
    m = np.linspace(0.01, 0.99, 60)
    return ExtendedNLL(zfit.pdf.SumPDF([signal, background]), zfit.Data.from_numpy(obs=space, array=m[:, None]))


def test_a_curve_is_its_profile():
    class Counting:
        """Pois(b | s + b) over a known background of 9."""

        def t(self, s):
            return 2.0 * (s - 9.0 * np.log1p(s / 9.0))

    curve = AsimovCurve.of(Counting(), reach=30.0)
    for s in (0.0, 0.4, 3.0, 11.0, 29.0):
        assert curve(s) == pytest.approx(Counting().t(s), rel=2e-3, abs=1e-9)
    assert np.sqrt(curve(40.0)) == pytest.approx(np.sqrt(Counting().t(40.0)), rel=0.02)


def test_limits_without_their_asimov_set_say_so(pool, caplog):
    run_toys(pool, "n_sig", n=1, seed=5, limit=0.95)
    assert "limits=True" in caplog.text
