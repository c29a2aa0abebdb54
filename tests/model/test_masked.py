"""A mass shape without some windows is the shape that counts beside them, in every form in which it is evaluated."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.data.region import beside, in_any
from hisigma_zfit.errors import DomainError, InputError
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.outside import outside_likelihood
from hisigma_zfit.model.falling import falling_shape
from hisigma_zfit.model.masked import MaskedShape, masked
from hisigma_zfit.model.shapes import evaluate, sample_mass
from hisigma_zfit.model.stored import load_model, save_model

WINDOWS = (SignalRegion(140.0, 150.0), SignalRegion(95.0, 105.0))
FALLING = ("exp-quadratic", "exponential", "power-law", "exp-polynomial:3", "bernstein:3", "chebyshev:2", "laurent:2")


@pytest.fixture(scope="module")
def events():
    """Beside the windows, of which a shape must not need anything."""
    rng = np.random.default_rng(5)
    m = 90.0 - 40.0 * np.log(1.0 - rng.random(6000))
    return Dataset.from_arrays({"m": m[(m < 180.0) & ~in_any(m, WINDOWS)][:3000]})


def test_what_is_beside_windows():
    assert beside(90.0, 180.0, WINDOWS) == ((90.0, 95.0), (105.0, 140.0), (150.0, 180.0))
    assert beside(100.0, 145.0, WINDOWS) == ((105.0, 140.0),)
    assert beside(96.0, 104.0, WINDOWS) == ()
    assert beside(90.0, 180.0, ()) == ((90.0, 180.0),)


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([SignalRegion(90.0, 95.0)], "inside the range 90 to 180 with masses on both sides"),
        ([SignalRegion(170.0, 190.0)], "inside the range 90 to 180 with masses on both sides"),
        ([SignalRegion(100.0, 110.0), SignalRegion(110.0, 120.0)], "windows with masses between them"),
    ],
)
def test_windows_that_leave_nothing_between_them_are_refused(windows, words):
    with pytest.raises(InputError, match=words):
        MaskedShape(models.peak(), windows)


@pytest.mark.parametrize("name", ["peak", *FALLING])
def test_it_is_the_shape_beside_the_windows_by_its_integral_there(name, events):
    space = models.mass_space()
    shape = masked(models.peak(), WINDOWS) if name == "peak" else falling_shape(name, events, space, windows=WINDOWS)
    edges = np.linspace(90.0, 180.0, 90_001)
    m = 0.5 * (edges[1:] + edges[:-1])
    density, whole = evaluate(shape, m), evaluate(shape.shape, m)
    inside = in_any(m, WINDOWS)
    assert not density[inside].any()
    np.testing.assert_allclose(density[~inside], whole[~inside] / (whole[~inside].sum() * 1e-3), rtol=1e-6)
    share = float(np.squeeze(shape.integrate(zfit.Space("m", 100.0, 130.0))))
    assert share == pytest.approx(density[(m > 100.0) & (m < 130.0)].sum() * 1e-3, rel=1e-6)
    drawn = sample_mass(shape, 20_000, np.random.default_rng(1), stratified=True)
    assert not in_any(drawn, WINDOWS).any()
    assert np.mean((drawn > 100.0) & (drawn < 130.0)) == pytest.approx(share, abs=2e-4)  # they are stratified


@pytest.mark.parametrize("name", FALLING)
def test_the_quick_likelihood_and_its_derivatives_are_those_of_the_density(name, events):
    shape = falling_shape(name, events, models.mass_space(), region=models.REGION, windows=WINDOWS)
    n_sig, n_bkg = zfit.Parameter("n_sig", 30.0), zfit.Parameter("n_bkg", 3100.0, 0.0)
    model = zfit.pdf.SumPDF(
        [masked(models.peak(), WINDOWS).copy(extended=n_sig), shape.copy(extended=n_bkg)], name="both"
    )
    loss = ExtendedNLL(model, events)
    evaluator = loss.evaluator()
    assert isinstance(evaluator, ColumnEvaluator)
    theta = loss.theta()
    m = events["m"]
    by_hand = 3130.0 - np.log(30.0 * evaluate(model.pdfs[0], m) + 3100.0 * evaluate(shape, m)).sum()
    assert evaluator.value(theta) == pytest.approx(by_hand + loss.columns()[0].reference, abs=1e-6)
    found = evaluator.evaluate(theta)
    steps = 1e-5 * np.maximum(np.abs(theta), 1e-3)
    for k in range(theta.size):
        ends = [evaluator.evaluate(theta + sign * steps[k] * np.eye(theta.size)[k]) for sign in (1.0, -1.0)]
        slope = (ends[0].value - ends[1].value) / (2.0 * steps[k])
        assert found.gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-4)
        bend = (ends[0].gradient - ends[1].gradient) / (2.0 * steps[k])
        np.testing.assert_allclose(found.hessian[k], bend, rtol=1e-4, atol=1e-4 * np.abs(bend).max())


def test_events_where_nothing_can_be_are_refused(events):
    shape = falling_shape("exponential", events, models.mass_space(), windows=WINDOWS)
    model = shape.copy(extended=zfit.Parameter("n_bkg", 3000.0, 0.0))
    with pytest.raises(DomainError, match=r"beside the masked \[95, 105\), \[140, 150\), got 2 of 3 in there"):
        ExtendedNLL(model, Dataset.from_arrays({"m": [100.0, 120.0, 145.0]}))


def test_a_region_that_is_closed_too_expects_what_the_shape_has_there(events):
    shape = falling_shape("bernstein:3", events, models.mass_space(), region=models.REGION, windows=WINDOWS)
    model = shape.copy(extended=zfit.Parameter("n_bkg", 3000.0, 0.0))
    outside = events.select(~models.REGION.contains(events["m"]))
    loss = ExtendedNLL(model, outside)
    _, (number,) = outside_likelihood(loss, models.REGION)
    share = float(np.squeeze(shape.integrate(zfit.Space("m", 115.0, 135.0))))
    assert number.evaluate(loss.theta()).value == pytest.approx(3000.0 * share, rel=1e-6)


def test_a_model_of_masked_shapes_is_stored_and_drawn_from_without_the_windows(tmp_path):
    from untrained import REGION, random_flow

    from hisigma_zfit.model.compose import signal_plus_background
    from hisigma_zfit.model.pdfs import FlowProductPDF

    space = models.mass_space()
    p1, p2 = zfit.Parameter("p1", 1.3), zfit.Parameter("p2", 0.1)
    from hisigma_zfit.model.shapes import ExpQuadratic

    model = signal_plus_background(
        FlowProductPDF(masked(models.peak(), WINDOWS), random_flow(2, seed=1)),
        FlowProductPDF(masked(ExpQuadratic(space, p1, p2), WINDOWS), random_flow(2, seed=2)),
        region=REGION,
    )
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert '"schema": "hisigma-zfit/model/2"' in (tmp_path / "model" / "model.json").read_text()
    assert [pdf.mass.windows for pdf in again.pdfs] == [tuple(sorted(WINDOWS, key=lambda w: w.lower))] * 2
    m = np.linspace(91.0, 179.0, 45)
    for one, other in zip(model.pdfs, again.pdfs, strict=True):
        np.testing.assert_array_equal(evaluate(one.mass, m), evaluate(other.mass, m))
    drawn = model.sample(300, params={"n_sig": 50.0, "n_bkg": 250.0}).value().numpy()
    assert not in_any(drawn[:, list(model.obs).index("m")], WINDOWS).any()
