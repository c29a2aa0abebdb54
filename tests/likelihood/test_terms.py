"""A component that is known as a ratio only: events and their weighted reference, no density and no mass.

The truth is exact: the reference is uniform in x on [0, 1], the signal 2 x, the background the reference itself.
"""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from scipy.optimize import minimize_scalar

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.inference.hypotests import discovery, upper_limit
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.terms import Reference, Term, TermPDF, reference_of, terms_of
from hisigma_zfit.runs.toys import ToyFolder
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.summary import summarise
from hisigma_zfit.toys.toys import make_pool, run_toys

SPACE = ("x", 0.0, 1.0)
S, B = 150.0, 1000.0


class Ratio(zfit.pdf.BasePDF):
    """exp(log_ratio(x)) relative to a reference that is known by weighted events."""

    mass = morph = None

    def __init__(self, log_ratio, reference, *, extended, name):
        self._log_ratio, self.reference = log_ratio, reference
        super().__init__(obs=zfit.Space(*SPACE), params={}, extended=extended, name=name)

    features = ("x",)

    def log_ratio(self, events):
        return self._log_ratio(events.column("x"))

    def draw(self, n, rng):
        return None

    def _unnormalized_pdf(self, x):
        raise NotImplementedError  # it is no density


def reference(n=20_000, *, seed=1):
    """Events of density 2 (1 - 0.9 x) / 1.1, weighted to be uniform."""
    rng = np.random.default_rng(seed)
    u = rng.random(n)
    x = (1.0 - np.sqrt(1.0 - 0.99 * u)) / 0.9
    return Reference({"x": x}, 0.55 / (1.0 - 0.9 * x) / n)


def model(events=None):
    known = events or reference()
    return zfit.pdf.SumPDF(
        [
            Ratio(lambda x: np.log(2.0 * x), known, extended=zfit.Parameter("s", S), name="signal"),
            Ratio(np.zeros_like, known, extended=zfit.Parameter("b", B, 0.0), name="background"),
        ]
    )


def data(seed=3):
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.sqrt(rng.random(rng.poisson(S))), rng.random(rng.poisson(B))])
    return zfit.Data.from_numpy(obs=zfit.Space(*SPACE), array=x[:, None])


@pytest.fixture(scope="module")
def loss():
    return ExtendedNLL(model(), data())


def test_a_ratio_is_a_term(loss):
    terms = terms_of(loss.model[0])
    assert all(isinstance(term, Term) and isinstance(term.pdf, TermPDF) for term in terms)
    assert all(term.frozen and term.mass is None for term in terms)
    assert terms[0].sample(10, np.random.default_rng(1)) is None
    events = reference_of(terms)
    assert events is terms[1].pdf.reference
    # what the reference promises: the weights times the ratios sum to one; 20,000 events know it to 0.5 %
    assert events.weights @ (2.0 * events.columns["x"]) == pytest.approx(1.0, abs=0.04)
    with pytest.raises(InputError, match="one reference, got 2"):
        reference_of([terms[0], *terms_of(model(reference(100)))])


def test_a_fit_of_ratios_is_that_of_the_densities(loss):
    x = np.asarray(loss.data[0].value())[:, 0]
    result = fit(loss)
    profiler = Profiler(loss, "s")

    def by_hand(s):  # the extended likelihood has s + b = n at its minimum
        return -np.log(2.0 * s * x + (x.size - s)).sum()

    best = minimize_scalar(by_hand, bounds=(0.0, 500.0), method="bounded", options={"xatol": 1e-6}).x
    assert result.params["s"]["value"] == pytest.approx(best, abs=1e-2)
    assert profiler.best == pytest.approx(best, abs=1e-3)
    assert profiler.t(0.0) == pytest.approx(2.0 * (by_hand(0.0) - by_hand(best)), rel=1e-5)
    assert contour(loss, "s", "b", points=8).contains(best, x.size - best)
    generic = GraphEvaluator(terms_of(loss.model[0]), loss.columns()[0], loss.parameters, jit=False)
    quick, theta = loss.evaluator().evaluate(loss.theta()), loss.theta()
    assert generic.value(theta) == pytest.approx(quick.value, rel=1e-12)
    np.testing.assert_allclose(generic.evaluate(theta).hessian, quick.hessian, rtol=1e-9)


def test_an_asimov_set_of_ratios_is_the_reference_with_weights(loss):
    theta = np.array([{"s": 120.0, "b": 900.0}[p.name] for p in loss.parameters])
    asimov = ImportanceSample(loss, events=100).asimov(theta, poi="s")
    x, weights = asimov.sample.categories[0].values[:, 0], asimov.weights[0]
    assert len(x) == 20_000
    assert weights.sum() == pytest.approx(1020.0, rel=1e-6)
    # the mean of x is 2/3 and 1/2; the calibration leaves the noise of the reference, 0.3 % of the mean
    assert weights @ x == pytest.approx(120.0 * 2.0 / 3.0 + 450.0, rel=0.02)
    profiler = asimov.profiler("s")
    np.testing.assert_allclose(profiler.minimum.theta, theta, rtol=1e-5)
    # t of zero by quadrature: 2 int r log(r / r_0), with the best background of all events
    grid = (np.arange(20_000) + 0.5) / 20_000
    rate = 240.0 * grid + 900.0
    exact = 2.0 * np.mean(rate * np.log(rate / 1020.0))
    assert profiler.t(0.0) == pytest.approx(exact, rel=0.05)
    assert discovery(asimov.likelihood, "s").z == pytest.approx(np.sqrt(exact), rel=0.025)
    assert upper_limit(loss, "s").limit > Profiler(loss, "s").best


@pytest.mark.statistical
@pytest.mark.slow
def test_toys_of_ratios_return_what_is_put_in(loss, tmp_path):
    pool = make_pool(loss, "s", 120.0, others={"b": 900.0}, events=100)
    fits = run_toys(pool, "s", n=200, seed=4)
    summary = summarise(fits, pool, "s", seed=4)
    # 5 sigma each: 6e-7
    for found in summary.parameters.values():
        assert abs(found.pull_mean) < 5 * found.pull_mean_error
        assert abs(found.pull_width - 1.0) < 5 * found.pull_width_error
    # Poisson numbers: 5 sigma
    assert abs(fits.events[:, 0].mean() - 1020.0) < 5 * np.sqrt(1020.0 / 200)
    with ToyFolder.open(tmp_path / "study", {"seed": 4, "pool": pool.digest}) as study:
        study.finish(summary)


def test_a_ratio_beside_a_density_takes_its_events():
    """A signal that is known relative to the background's own density: events are drawn from the background."""
    space = zfit.Space(*SPACE)
    background = zfit.pdf.Exponential(zfit.Parameter("slope", -1.0), space, extended=zfit.Parameter("b", B, 0.0))

    class Tilted(Ratio):
        """Its density over the unit density; the mass shape of the background is not a factor of it."""

    signal = Tilted(lambda x: np.log(2.0 * x), None, extended=zfit.Parameter("s", S), name="signal")
    loss = ExtendedNLL(zfit.pdf.SumPDF([signal, background]), data())
    asimov = ImportanceSample(loss, events=5000, seed=2).asimov(loss.theta(), poi="s")
    assert len(asimov.sample.categories[0].values) == 5000
    assert asimov.profiler("s").best == pytest.approx(S, abs=1e-3)
    assert asimov.weights[0].sum() == pytest.approx(S + B, rel=1e-6)


def test_nothing_to_draw_from_is_named():
    lonely = Ratio(lambda x: np.log(2.0 * x), None, extended=zfit.Parameter("s", S), name="signal")
    with pytest.raises(InputError, match="give the ratios their reference"):
        ImportanceSample(ExtendedNLL(lonely, data()), events=100)
