"""Forecasts of a measurement beside the same fits of the same sets through a zfit loss, and beside toys' own errors."""

from __future__ import annotations

from dataclasses import replace

import by_hand
import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.density.flows import MixtureFlow
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import combination
from hisigma_zfit.inference.forecast import Forecast
from hisigma_zfit.inference.hypotests import expected_discovery
from hisigma_zfit.inference.shape_envelope import shape_envelope
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.systematics import nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.toys.samples import sample_of

EVENTS = 4000


@pytest.fixture(scope="module")
def loss():
    """Three members that differ, luminosity, and data that have no part in it."""
    background = MixtureFlow([models.background_flow(shift) for shift in (-0.05, 0.0, 0.06)])
    model = signal_plus_background(
        FlowProductPDF(models.peak(), models.signal_flow()),
        FlowProductPDF(models.falling(), background),
        poi=lognormal_yield(zfit.Parameter("n_sig", 0.0), nuisance("lumi"), 1.1),
        yields=[zfit.Parameter("n_bkg", 3000.0, 0.0)],
    )
    return ExtendedNLL(model, models.toy(models.model(n_sig=20.0, n_bkg=2000.0), seed=1))


@pytest.fixture(scope="module")
def envelope(loss):
    return Forecast(loss, "n_sig", loss.theta(), method="envelope", seed=4, events=EVENTS)


def fitted_alone(model, data):
    """Every bootstrap on weighted events that stand for their expectation."""
    return tuple(Profiler(ExtendedNLL(one, data, expected=True), "n_sig") for one in model.bootstraps())


def test_members_fit_the_set_of_their_average(loss, envelope):
    """The same weighted events in zfit losses, whose densities are evaluated anew."""
    found = envelope.expect("sixty", 60.0)
    asimov = envelope.asimov(60.0)
    constraints = asimov.constraints()
    (data,) = asimov.data()
    # the luminosity's own constraint is at zero, as that of the set
    direct = fitted_alone(loss.model[0], data)
    assert constraints[0].observation[0] == pytest.approx(0.0, abs=1e-9)
    assert len(found.members) == len(direct) == 3
    for member, profiler in zip(found.members, direct, strict=True):
        assert member.value == pytest.approx(profiler.best, abs=1e-3 * profiler.error)
        assert member.error == pytest.approx(profiler.error, rel=1e-4)
    expected = combination("envelope", Profiler(loss, "n_sig"), direct).interval(cl=ONE_SIGMA)
    assert found.interval_68 == pytest.approx((expected.lower, expected.upper), abs=1e-3 * expected.error)
    assert found.error == pytest.approx(expected.error, rel=1e-3)
    # the average's fit is the set's own: where it was made, and with the luminosity in its error but for the last
    assert found.nominal.value == pytest.approx(60.0, abs=1e-3)
    assert found.stat_only < found.nominal.error < found.error
    others = {"n_bkg": 3000.0, "p1": 1.7, "p2": 0.2, "lumi": 0.0}
    assert found.nominal.z == pytest.approx(expected_discovery(loss, "n_sig", 60.0, others=others, seed=8).z, rel=0.03)


def test_the_mass_alone_has_the_error_of_its_fisher_information(envelope):
    """Error of the yields and the shape from the integral of their scores over the expected mass spectrum."""
    found = envelope.expect("sixty", 60.0).mass_only
    m, step = np.linspace(90.0, 180.0, 9001), 1e-4

    def intensity(n_sig, n_bkg, p1, p2):
        return n_sig * by_hand.peak(m) + n_bkg * by_hand.falling(m, p1, p2)

    here = np.array([60.0, 3000.0, 1.7, 0.2])
    slopes = [
        (intensity(*(here + step * row)) - intensity(*(here - step * row))) / (2 * step) for row in np.eye(here.size)
    ]
    information = np.array([[np.trapezoid(a * b / intensity(*here), m) for a in slopes] for b in slopes])
    statistical = np.sqrt(np.linalg.inv(information)[0, 0])
    assert found.error == pytest.approx(np.hypot(statistical, 60.0 * np.log(1.1)), rel=0.02)
    assert found.value == pytest.approx(60.0, abs=1e-3)


def test_without_signal_errors_are_those_of_the_upper_edge(envelope):
    """Where t of the set is one: at zero the Hessian is that of a few events which only signal explains."""
    found, fits = envelope.expect("none", 0.0), envelope.at(0.0)
    assert found.nominal.value == pytest.approx(0.0, abs=1e-3)
    alone = envelope.mass_only(0.0)
    for profiler, error in ((fits.nominal, found.nominal.error), (alone, found.mass_only.error)):
        assert profiler.t(profiler.best + error) == pytest.approx(1.0, abs=1e-3)
    assert found.stat_only == pytest.approx(found.nominal.error, rel=0.01)  # luminosity does little to little signal
    assert found.value + found.error == pytest.approx(found.interval_68[1])
    assert found.error > found.nominal.error


def test_the_signal_of_a_significance_has_it(envelope):
    signal = envelope.signal_for(3.0)
    found = envelope.expect("3 sigma", signal)
    assert found.z == pytest.approx(3.0, abs=0.02)
    # the envelope takes the least of the members
    assert found.z == pytest.approx(min(member.z for member in found.members), abs=1e-3)


def test_the_limit_is_that_of_the_set_without_signal(loss, envelope):
    limit = envelope.upper_limit(cl=0.95, seed=1)
    bands = limit.expected
    assert bands["-2"] < bands["-1"] < bands["0"] < bands["1"] < bands["2"]
    assert limit.limit > bands["0"]  # the largest of the members'
    assert limit.method == "CLs, envelope"
    alone = Forecast(loss, "n_sig", loss.theta(), seed=4, events=EVENTS).upper_limit(cl=0.95, seed=1)
    assert alone.expected["0"] == pytest.approx(bands["0"], rel=1e-6)
    # the observed limit of a set without signal is the median of the expected ones
    assert alone.limit == pytest.approx(bands["0"], rel=0.01)


def test_the_scan_shows_the_members_and_what_is_beside_them(envelope):
    scan = envelope.scan(60.0, points=15)
    assert scan.members.shape == (3, 15)
    np.testing.assert_array_equal(scan.combined, scan.members.min(axis=0))
    profiler = envelope.mass_only(60.0)
    np.testing.assert_allclose(scan.reference, profiler.scan(scan.values), atol=1e-3)


def test_no_data_have_a_part_in_it(loss, envelope):
    other = ExtendedNLL(list(loss.model), [models.toy(models.model(n_sig=500.0, n_bkg=900.0), seed=2)])
    again = Forecast(other, "n_sig", loss.theta(), method="envelope", seed=4, events=EVENTS)
    assert again.expect("sixty", 60.0) == envelope.expect("sixty", 60.0)


def test_discrete_profiling_compares_the_members(loss):
    """Each member's full likelihood, with the constant that its columns leave out."""
    forecast = Forecast(loss, "n_sig", loss.theta(), method="discrete", seed=4, events=EVENTS)
    fits = forecast.at(30.0)
    (data,) = forecast.asimov(30.0).data()
    direct = combination("discrete", fits.nominal, fitted_alone(loss.model[0], data))
    np.testing.assert_allclose(fits.combined.offsets, direct.offsets, atol=1e-4 * direct.offsets.max())
    assert sample_of(fits.members[0].loss) is forecast.sample


def test_several_shapes_are_profiled_as_the_data_will_be(loss):
    """The same weighted events in zfit losses of every shape."""
    (first,) = loss.model
    signal, background = first.components
    exponential = zfit.pdf.Exponential(zfit.Parameter("lam", -0.017), obs=models.mass_space())
    other = first.copy(components=(signal, replace(background, pdf=background.pdf.copy(mass=exponential))))
    shapes, penalties = [ExtendedNLL(other, loss.data)], [2.0, 1.0]
    options = {"shapes": shapes, "penalties_of_shapes": penalties, "seed": 4, "events": EVENTS}
    forecast = Forecast(loss, "n_sig", loss.theta(), **options)
    found = forecast.at(40.0)
    (data,) = forecast.asimov(40.0).data()
    direct = [Profiler(ExtendedNLL(model, data, expected=True), "n_sig") for model in (first, other)]
    combined = shape_envelope("mixture", direct, penalties=penalties)
    np.testing.assert_allclose(found.combined.offsets, combined.offsets, atol=1e-3)
    for value in (-20.0, 0.0, 40.0, 90.0):
        assert found.combined.t(value) == pytest.approx(combined.t(value), abs=2e-3)
        alone = [p.t(value) + o for p, o in zip(direct, combined.offsets, strict=True)]
        assert found.combined.t(value) == pytest.approx(min(alone), abs=2e-3)
    assert found.combined.shape_at(40.0) in {0, 1}
    limit = forecast.upper_limit(cl=0.95, seed=1)
    assert limit.limit > 0.95 * limit.expected["0"]


@pytest.mark.slow
def test_several_shapes_of_several_bootstraps_have_each_a_best_one(loss):
    (first,) = loss.model
    signal, background = first.components
    exponential = zfit.pdf.Exponential(zfit.Parameter("lam", -0.017), obs=models.mass_space())
    other = first.copy(components=(signal, replace(background, pdf=background.pdf.copy(mass=exponential))))
    options = {"shapes": [ExtendedNLL(other, loss.data)], "penalties_of_shapes": [2.0, 1.0], "events": EVENTS}
    fits = Forecast(loss, "n_sig", loss.theta(), method="envelope", seed=4, **options).at(40.0)
    # three bootstraps with either shape
    np.testing.assert_array_equal(fits.combined.offsets.reshape(3, 2).min(axis=1), 0.0)
    alone = Forecast(loss, "n_sig", loss.theta(), method="envelope", seed=4, events=EVENTS).at(40.0)
    np.testing.assert_allclose([p.best for p in fits.combined.profilers[::2]], [p.best for p in alone.members])
