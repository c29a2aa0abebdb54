"""Falling shapes by name: densities, derivatives, fits and sidebands against what is written down by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
import zfit
from iminuit import Minuit

from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.shape_envelope import shape_envelope
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.outside import outside_likelihood
from hisigma_zfit.measurement.falling import require_positive
from hisigma_zfit.model.falling import Chebyshev, falling_shape
from hisigma_zfit.model.linear_families import laurent_exponents
from hisigma_zfit.model.shape_names import FallingName

LOW, HIGH = 90.0, 180.0
REGION = SignalRegion(115.0, 135.0)
PEAK = 125.0, 2.0
SLOW = pytest.param("exp-polynomial:2", marks=pytest.mark.slow)  # the machinery of ExpQuadratic, which has its tests
NAMES = ("exponential", "power-law", SLOW, "bernstein:3", "chebyshev:2", "laurent:1")
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def by_hand(name, m, p):
    """Density of any norm; `p` without the coefficient that is held at one."""
    t = (m - LOW) / (HIGH - LOW)
    kind = name.partition(":")[0]
    if kind == "exponential":
        return np.exp(p[0] * (m - LOW))
    if kind == "power-law":
        return (m / LOW) ** -p[0]
    if kind == "exp-polynomial":
        return np.exp(sum(c * t ** (k + 1) for k, c in enumerate(p)))
    if kind == "bernstein":  # of degree 3, the first coefficient held
        b = [1.0, *p]
        return b[0] * (1 - t) ** 3 + 3 * b[1] * t * (1 - t) ** 2 + 3 * b[2] * t**2 * (1 - t) + b[3] * t**3
    if kind == "chebyshev":
        x = 2 * t - 1
        return 1.0 + p[0] * x + p[1] * (2 * x**2 - 1)
    integrals = [(HIGH ** (q + 1) - LOW ** (q + 1)) / (q + 1) for q in (-4, -5)]
    return m**-4.0 / integrals[0] + p[0] * m**-5.0 / integrals[1]


def integral(name, p, low=LOW, high=HIGH):
    m = 0.5 * (low + high) + 0.5 * (high - low) * NODES
    return 0.5 * (high - low) * float(WEIGHTS @ by_hand(name, m, p))


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(5)
    falling = LOW - 35.0 * np.log(1.0 - rng.random(4000))
    return Dataset.from_arrays({"m": np.concatenate([falling[falling < HIGH][:1500], rng.normal(*PEAK, 40)])})


def model(name, events):
    mass = zfit.Space("m", LOW, HIGH)
    shape = falling_shape(name, events, mass, region=REGION)
    mean, width = (zfit.Parameter(n, v, floating=False) for n, v in zip(("mu", "sigma"), PEAK, strict=True))
    signal = zfit.pdf.Gauss(mean, width, obs=mass, extended=zfit.Parameter("n_sig", 20.0, stepsize=1.0))
    background = shape.copy(extended=zfit.Parameter("n_bkg", 1500.0, 0.0))
    return zfit.pdf.SumPDF([signal, background]), shape


def hand_fit(name, m, start, n_sig=None):
    """-log L and the parameters (n_sig, n_bkg, shape) of its minimum, by Minuit and the density above."""
    mu, sigma = PEAK
    peak = np.exp(-0.5 * ((m - mu) / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))

    def nll(values):
        s, b, *p = values
        density = s * peak + b * by_hand(name, m, p) / integral(name, p)
        return s + b - np.log(density).sum() if density.min() > 0 else 1e9

    minuit = Minuit(nll, [30.0 if n_sig is None else n_sig, 1500.0, *start])
    minuit.errordef, minuit.tol, minuit.strategy = 0.5, 1e-4, 2
    minuit.limits[1] = (0.0, None)
    if name.startswith(("bernstein", "laurent")):
        for k in range(2, 2 + len(start)):
            minuit.limits[k] = (0.0, None)
    minuit.fixed[0] = n_sig is not None
    minuit.migrad()
    return float(minuit.fval), np.array(minuit.values), np.array(minuit.errors)


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_is_that_of_the_density_written_by_hand(name, events):
    pdf, shape = model(name, events)
    nll = ExtendedNLL(pdf, events)
    assert isinstance(nll.evaluator(), ColumnEvaluator)  # the quick path, with exact derivatives
    profiler = Profiler(nll, "n_sig")
    floating = [k for k, p in enumerate(nll.parameters) if p.floating and p.name not in {"n_sig", "n_bkg"}]
    p = profiler.minimum.theta[floating]
    held = [p for p in shape.params.values() if not p.floating]
    assert len(floating) == FallingName.parse(name).n_free
    assert all(float(p.value()) == 1.0 for p in held)
    if name == "laurent:1":
        assert held[0].name == "laurent1_c0"
        assert laurent_exponents(3) == (-4, -5, -3, -6)

    m = np.linspace(LOW, HIGH, 7)
    with zfit.param.set_values(nll.parameters, profiler.minimum.theta):
        density = shape.pdf(m).numpy()
        window = float(np.squeeze(shape.integrate(zfit.Space("m", 115, 135), norm=shape.space)))
    np.testing.assert_allclose(density, by_hand(name, m, p) / integral(name, p), rtol=1e-9)
    assert window == pytest.approx(integral(name, p, 115, 135) / integral(name, p), rel=1e-9)

    value, found, errors = hand_fit(name, events["m"], p * 1.02)
    assert profiler.minimum.value == pytest.approx(value, abs=2e-4)
    assert profiler.best == pytest.approx(found[0], abs=0.02 * errors[0])
    assert profiler.error == pytest.approx(errors[0], rel=0.01)

    around = profiler.minimum.theta * 1.01
    exact, step = nll.evaluator().evaluate(around), 1e-6
    for k in [*floating, profiler.index]:
        up, down = (around + sign * step * max(1.0, abs(around[k])) * np.eye(around.size)[k] for sign in (1, -1))
        width = up[k] - down[k]
        values, gradients = zip(
            *((e.value, e.gradient) for e in map(nll.evaluator().evaluate, (up, down))), strict=True
        )
        assert exact.gradient[k] == pytest.approx((values[0] - values[1]) / width, rel=1e-4, abs=1e-3)
        np.testing.assert_allclose(exact.hessian[k], (gradients[0] - gradients[1]) / width, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", [pytest.param("power-law", marks=pytest.mark.slow), "chebyshev:2"])
def test_the_sidebands_alone_expect_what_the_density_has_outside(name, events):
    pdf, shape = model(name, events)
    beside = events.select(~REGION.contains(events["m"]))
    likelihood, (inside,) = outside_likelihood(ExtendedNLL(pdf, beside), REGION)
    theta, parameters = likelihood.theta(), likelihood.parameters
    share, peak = (
        float(np.squeeze(each.integrate(zfit.Space("m", 115, 135), norm=shape.space))) for each in (shape, pdf.pdfs[0])
    )
    values = dict(zip((p.name for p in parameters), theta, strict=True))
    expected = share * values["n_bkg"] + peak * values["n_sig"]
    assert inside.evaluate(theta).value == pytest.approx(expected, rel=1e-8)
    exact = likelihood.evaluate(theta)
    for k in range(theta.size):
        moved = [theta + sign * 1e-6 * max(1.0, abs(theta[k])) * np.eye(theta.size)[k] for sign in (1, -1)]
        slope = (likelihood.value(moved[0]) - likelihood.value(moved[1])) / (moved[0][k] - moved[1][k])
        assert exact.gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-3)


def test_the_envelope_is_the_least_of_fits_by_hand(events):
    names, penalty = ("exponential", "chebyshev:2", "power-law"), 0.5
    profilers = [Profiler(ExtendedNLL(model(name, events)[0], events), "n_sig") for name in names]
    penalties = [penalty * FallingName.parse(name).n_free for name in names]
    envelope = shape_envelope("mixture", profilers, penalties=penalties)
    starts = {
        name: p.minimum.theta[[k for k, q in enumerate(p.loss.parameters) if q.floating and "n_" not in q.name]]
        for name, p in zip(names, profilers, strict=True)
    }

    def least(n_sig):
        return [
            2.0 * hand_fit(name, events["m"], starts[name], n_sig)[0] + own
            for name, own in zip(names, penalties, strict=True)
        ]

    best = min(least(None))
    for value in (20.0, 80.0):
        hand = least(value)
        assert envelope.t(value) == pytest.approx(min(hand) - best, abs=2e-3)
        assert envelope.shape_at(value) == int(np.argmin(hand))
    assert envelope.discovery().q0 == pytest.approx(min(least(0.0)) - best, abs=2e-3)
    interval = envelope.interval(cl=0.6826894921370859)
    for edge in (interval.lower, interval.upper):
        assert min(least(edge)) - best == pytest.approx(1.0, abs=5e-3)
    assert interval.upper - interval.lower >= 2.0 * 0.98 * profilers[int(np.argmin(envelope.offsets))].error


def test_members_and_shapes_are_profiled_as_their_combination_says(events):
    rng = np.random.default_rng(8)
    more = Dataset.from_arrays({"m": np.concatenate([events["m"], rng.uniform(LOW, HIGH, 60)])})
    exponential, power = (
        [Profiler(ExtendedNLL(model(name, each)[0], each), "n_sig") for each in (events, more)]
        for name in ("exponential", "power-law")
    )
    envelope = shape_envelope("envelope", [], [exponential, power], penalties=[0.0, 30.0])
    # 30 units hold the second shape off, so that this is the envelope of the first's members
    assert envelope.best == pytest.approx(np.mean([p.best for p in exponential]))
    assert envelope.t(40.0) == pytest.approx(min(p.t(40.0) for p in exponential))
    with pytest.raises(InputError, match="choose one of them"):
        shape_envelope("weights", exponential, penalties=[1.0])


def test_a_polynomial_that_becomes_negative_between_events_is_told():
    c1, c2 = zfit.Parameter("c1", -1.3), zfit.Parameter("c2", 0.4)

    class Component:
        class pdf:  # noqa: N801
            mass = Chebyshev(zfit.Space("m", LOW, HIGH), c1=c1, c2=c2)

    class Model:
        components = (Component,)

    require_positive([Model], [c1, c2], np.array([-1.0, 0.3]))
    with pytest.raises(FitError, match=r"negative at 1[0-9.]*: it is no density"):
        require_positive([Model], [c1, c2], np.array([-1.5, 0.2]))


def test_names_are_read_and_refused():
    assert str(FallingName.parse("bernstein:4")) == "bernstein:4"
    assert FallingName.parse("bernstein:4").n_free == 4
    assert FallingName.parse("chebyshev:4").n_free == 4
    for text, words in {
        "berstein:3": "did you mean 'bernstein'",
        "bernstein": "with a degree N from 1 to 8",
        "chebyshev:12": "got 'chebyshev:12'",
        "exponential:2": "write exponential",
    }.items():
        with pytest.raises(InputError, match=re.escape(words)):
            FallingName.parse(text)
