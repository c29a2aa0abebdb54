"""Several signals and backgrounds, shared parameters and simultaneous categories."""

from __future__ import annotations

import models
import numpy as np
import pytest
import resonant
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import compose, signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF


def test_three_components_equal_zfits_own_likelihood():
    model = resonant.with_resonant(n_sig=50.0, n_bkg=500.0, n_res=30.0)
    data = models.toy(model, seed=81)
    ours, theirs = ExtendedNLL(model, data), zfit.loss.ExtendedUnbinnedNLL(model, data)
    np.testing.assert_allclose(ours.value(full=True), theirs.value(full=True), rtol=1e-9)


def test_components_keep_their_names_order_and_part():
    model = resonant.with_resonant()
    assert [c.name for c in model.components] == ["signal", "background", "resonant"]
    assert [c.is_signal for c in model.components] == [True, False, False]
    assert model.poi.name == "n_sig"
    assert model.region == models.REGION


def test_in_the_sidebands_only_the_mass_counts_for_every_component():
    model = resonant.with_resonant()
    data = models.toy(model, seed=82)
    moved = np.array(data.value())
    sideband = ~models.REGION.contains(moved[:, 0])
    moved[sideband, 1:] += 0.7
    losses = [
        ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=v)) for v in (np.array(data.value()), moved)
    ]
    theta = losses[0].theta()
    shifted = theta.copy()
    shifted[:3] *= (1.5, 1.02, 0.7)
    differences = [loss.evaluator().value(shifted) - loss.evaluator().value(theta) for loss in losses]
    assert differences[0] == pytest.approx(differences[1], abs=1e-6)


@pytest.mark.statistical
def test_two_signal_yields_are_measured_together():
    peak = models.peak()
    numbers = [zfit.Parameter("n_first", 300.0), zfit.Parameter("n_second", 250.0)]
    flows = models.signal_flow(), models.gaussian_flow(resonant.RESONANT, 0.1, 0.9)
    signals = [
        FlowProductPDF(peak, flow, extended=n, name=f"signal_{k}")
        for k, (flow, n) in enumerate(zip(flows, numbers, strict=True))
    ]
    background = FlowProductPDF(
        models.falling(), models.background_flow(), extended=zfit.Parameter("n_bkg", 5000.0, 0.0), name="background"
    )
    model = compose(signals, [background], poi=numbers[0])
    result = fit(ExtendedNLL(model, models.toy(model, seed=83)))
    for number, truth in zip(numbers, (300.0, 250.0), strict=True):
        fitted = result.params[number]
        # five standard deviations: false alarm 6e-7
        assert abs(fitted["value"] - truth) < 5 * fitted["hesse"]["error"]
        assert fitted["hesse"]["error"] < 60


def test_a_constraint_on_the_resonant_yield_narrows_the_signal():
    model = resonant.with_resonant()
    data = models.toy(model, seed=84)
    number = model.components[2].extended
    term = zfit.constraint.GaussianConstraint(number, observation=120.0, sigma=5.0)
    free = Profiler(ExtendedNLL(model, data), "n_sig")
    held = Profiler(ExtendedNLL(model, data, constraints=[term]), "n_sig")
    at = held.loss.parameters.index(number)
    # at one point: errors move with the fitted yields by more than the constraint takes away
    theta, floating = held.minimum.theta, [k for k, p in enumerate(held.loss.parameters) if p.floating]
    own = floating.index(held.index)
    variances = [
        np.linalg.inv(each.evaluator.evaluate(theta).hessian[np.ix_(floating, floating)])[own, own]
        for each in (held, free)
    ]
    assert variances[0] < variances[1]
    assert held.minimum.theta[at] == pytest.approx(120.0, abs=10.0)


def test_categories_share_a_strength():
    first = resonant.with_resonant()
    other_yields = {
        "background": zfit.Parameter("n_bkg_b", 3000.0, 0.0),
        "resonant": zfit.Parameter("n_res_b", 60.0, 0.0),
    }
    second = compose(
        [first.components[0].pdf.copy(extended=first.poi, name="signal")],
        [c.pdf.copy(extended=other_yields[c.name], name=c.name) for c in first.components[1:]],
        poi=first.poi,
    )
    data = [models.toy(first, seed=85), models.toy(second, seed=86)]
    joint = Profiler(ExtendedNLL([first, second], data), "n_sig")
    alone = [Profiler(ExtendedNLL(m, d), "n_sig") for m, d in zip((first, second), data, strict=True)]
    low, high = sorted(p.best for p in alone)
    assert low < joint.best < high
    # shape parameters are shared, too: the joint error is at least as good as the average of independent ones
    assert joint.error < 1.02 * sum(p.error**-2 for p in alone) ** -0.5
    with zfit.param.set_values(joint.loss.parameters, joint.minimum.theta):
        total = sum(
            ExtendedNLL(m, d).evaluator().value(ExtendedNLL(m, d).theta())
            for m, d in zip((first, second), data, strict=True)
        )
    assert joint.minimum.value == pytest.approx(total, rel=1e-10)


def test_wrong_input_is_named():
    signal = FlowProductPDF(models.peak(), models.signal_flow(), extended=zfit.Parameter("n_sig", 10.0), name="one")
    background = FlowProductPDF(models.falling(), models.background_flow(), name="two")
    extended = background.copy(extended=zfit.Parameter("n_bkg", 100.0))
    poi = signal.extended
    with pytest.raises(InputError, match="one signal and one background"):
        compose([signal], [], poi=poi)
    with pytest.raises(InputError, match="got none for two"):
        compose([signal], [background], poi=poi)
    with pytest.raises(InputError, match="'one' twice"):
        compose([signal], [extended.copy(name="one")], poi=poi)
    with pytest.raises(InputError, match="sidebands to be one of"):
        compose([signal], [extended], poi=poi, sidebands="none")
    with pytest.raises(InputError, match="got DoubleCB for signal; wrap it, or fit the mass alone"):
        signal_plus_background(models.peak(), models.falling())


def test_a_copy_is_the_same_model_of_the_same_parameters():
    model = models.model()
    data = models.toy(model, seed=3)
    copied = model.copy(name="copied")
    assert copied is not model
    assert copied.name == "copied"
    assert copied.poi is model.poi
    assert (copied.region, copied.sidebands) == (model.region, model.sidebands)
    assert copied.get_params(floating=None) == model.get_params(floating=None)
    loss, other = ExtendedNLL(model, data), ExtendedNLL(copied, data)
    assert float(other.value()) == float(loss.value())
    assert float(ExtendedNLL(model.copy(sidebands="full"), data).value()) != float(loss.value())
    with pytest.raises(InputError, match="got fracs"):
        model.copy(fracs=[0.5])
