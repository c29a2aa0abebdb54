"""A model that was written and read again is the same model."""

from __future__ import annotations

import json

import models
import numpy as np
import pytest
import zfit
from untrained import REGION, random_flow

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import compose, signal_plus_background
from hisigma_zfit.model.kappa import polynomial_signal
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic
from hisigma_zfit.model.stored import load_model, load_models, save_model
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.model.uncertain_yields import lognormal_yield, scaled_yield, shifted_yield
from hisigma_zfit.toys.toys import make_pool, run_toys


def build():
    """Two components, a shared shape nuisance, and a log-normal one on the signal."""
    space = zfit.Space("m", 90, 180)
    jes, lumi = nuisance("jes"), nuisance("lumi")
    n_sig = zfit.Parameter("n_sig", 150.0, -50.0, 1000.0, stepsize=3.0)
    peak = zfit.pdf.Gauss(models.frozen("mu", 125.0), models.frozen("sigma", 1.7), space)
    falling = ExpQuadratic(space, zfit.Parameter("p1", 1.3, -5, 5, stepsize=0.1), zfit.Parameter("p2", 0.1))
    # the seed of the normalisation is no default, so that another one would be seen
    pdfs = [
        FlowProductPDF(mass, random_flow(2, seed=seed), variations=[variation(jes, seed)], seed=seed)
        for mass, seed in ((peak, 1), (falling, 11))
    ]
    n_bkg = zfit.Parameter("n_bkg", 900.0, 0.0)
    return signal_plus_background(
        pdfs[0],
        pdfs[1],
        poi=shifted_yield(
            scaled_yield(lognormal_yield(n_sig, lumi, 1.05), 0.7, name="part"),
            nuisance("training"),
            8.0,
            name="all",
            offset=3.0,
        ),
        yields=[n_bkg],
        region=REGION,
    )


def variation(parameter, seed):
    up, down = random_flow(2, seed=seed), random_flow(2, seed=seed)
    # small shifts: random flows of other seeds would differ by many units of log density
    rng = np.random.default_rng(seed)
    for flow, sign in ((up, 1.0), (down, -1.0)):
        flow.parameters += np.float32(0.01 * sign) * rng.normal(size=flow.parameters.shape).astype(np.float32)
    return ShapeVariation(parameter, up, down, form="quadratic")


def build_coupling(strength=1.0):
    """A signal that is polynomial in a coupling, over a background."""
    space = zfit.Space("m", 90, 180)
    kappa = zfit.Parameter("kappa", 1.4, -10.0, 15.0)
    peak = zfit.pdf.Gauss(models.frozen("mu", 125.0), models.frozen("sigma", 1.7), space)
    falling = ExpQuadratic(space, zfit.Parameter("p1", 1.3, -5, 5), zfit.Parameter("p2", 0.1))
    # one density at all couplings, so that the sum is positive whatever the coefficients are
    signals = polynomial_signal(
        [FlowProductPDF(peak, random_flow(2, seed=1), name="hh")] * 3,
        parameter=kappa,
        points=(0.0, 1.0, 5.0),
        yields=(300.0, 170.0, 220.0),
        strength=strength,
    )
    background = FlowProductPDF(
        falling, random_flow(2, seed=11), extended=zfit.Parameter("n_bkg", 900.0, 0.0), name="background"
    )
    return compose(signals, [background], poi=kappa, region=REGION)


def events(model):
    pdf = model.components[-1].pdf
    m = np.random.default_rng(3).uniform(90.0, 180.0, 300)
    x = pdf.flow.sample(m, seed=4)
    columns = {"m": m} | dict(zip(pdf.flow.features, x.T, strict=True))
    return np.stack([columns[name] for name in model.obs], axis=1)


def build_strength():
    return build_coupling(zfit.Parameter("mu_hh", 1.1, 0.0, 5.0))


@pytest.mark.parametrize(
    ("build", "moved"),
    [
        (build, {"jes": 0.8, "lumi": -1.2, "n_sig": 80.0, "p1": 1.9}),
        (build_coupling, {"kappa": 3.1, "p1": 1.9}),
        (build_strength, {"kappa": -0.7, "mu_hh": 0.6}),
    ],
)
def test_the_likelihood_survives(build, moved, tmp_path):
    model = build()
    values = events(model)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.obs == model.obs
    assert again.region == REGION
    assert again.poi.name == model.poi.name
    losses = [ExtendedNLL(each, zfit.Data.from_numpy(obs=each.space, array=values)) for each in (model, again)]
    names = [[p.name for p in loss.parameters] for loss in losses]
    assert sorted(names[0]) == sorted(names[1])
    for point in ({}, moved):
        found = []
        for loss in losses:
            theta = loss.theta()
            for name, value in point.items():
                theta[[p.name for p in loss.parameters].index(name)] = value
            evaluation = loss.evaluator().evaluate(theta)
            order = np.argsort([p.name for p in loss.parameters])
            found.append((evaluation.value, evaluation.gradient[order]))
        assert found[1][0] == pytest.approx(found[0][0], rel=1e-12)
        np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-9, atol=1e-9)
    for old in losses[0].parameters:
        new = next(p for p in losses[1].parameters if p.name == old.name)
        assert float(new.value()) == float(old.value())
        assert new.floating == old.floating
        assert (new.lower is None) == (old.lower is None)


@pytest.mark.slow
def test_categories_that_are_stored_share_their_parameters_again(tmp_path):
    model = build()
    for name in ("low", "high"):
        save_model(model, tmp_path / name)
    again = load_models(tmp_path)
    assert list(again) == ["high", "low"]
    data = zfit.Data.from_numpy(obs=model.space, array=events(model))
    losses = [ExtendedNLL(models, [data, data]) for models in ([model] * 2, list(again.values()))]
    # what is known of a nuisance counts once
    assert [len(loss.constraints) for loss in losses] == [3, 3]
    assert sorted(p.name for p in losses[1].parameters) == sorted(p.name for p in losses[0].parameters)
    for moved in ({}, {"jes": 0.8, "lumi": -1.2, "n_sig": 80.0}):
        first, second = (float(loss.value(params=moved)) for loss in losses)
        assert second == pytest.approx(first, rel=1e-12)
    (only,) = load_models(tmp_path / "low").values()
    assert only.obs == model.obs
    model.poi.set_value(80.0)
    save_model(model, tmp_path / "low")
    with pytest.raises(InputError, match="the same 'n_sig' in all models"):
        load_models(tmp_path)


def test_toys_of_a_stored_coupling(tmp_path):
    """The model that `hisigma toys` finds in a run folder; couplings may be negative, yields may not."""
    save_model(build_coupling(), tmp_path / "model")
    model = load_model(tmp_path / "model")
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=events(model)))
    pool = make_pool(loss, "kappa", -1.5, events=1000, seed=1)
    fits = run_toys(pool, "kappa", n=20, seed=2)
    assert fits.fitted.all()
    index = pool.parameters.index("kappa")
    pulls = (fits.values[:, index] + 1.5) / fits.errors[:, index]
    assert abs(pulls.mean()) < 5 / np.sqrt(20)  # false alarm 6e-7
    with pytest.raises(InputError, match="not negative"):
        make_pool(loss, "n_bkg", -1.0)


def test_what_cannot_be_stored_or_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected a stored model in .*got none"):
        load_model(tmp_path)
    save_model(build(), tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema": "other/1"}))
    with pytest.raises(InputError, match="other/1"):
        load_model(tmp_path / "model")
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "components"}))
    with pytest.raises(InputError, match="damaged"):
        load_model(tmp_path / "model")
    shape = zfit.pdf.LogNormal(models.frozen("m0", 4.8), models.frozen("g", 0.1), zfit.Space("m", 90, 180))
    other = signal_plus_background(FlowProductPDF(shape, random_flow(2)), build().components[1].pdf, region=REGION)
    with pytest.raises(InputError, match="mass shapes among"):
        save_model(other, tmp_path / "other")


def test_components_of_any_name_have_folders_of_their_own(tmp_path):
    """Names that collide when they are joined, differ in the case alone, or are no names of files."""
    space = zfit.Space("m", 90, 180)
    names = ["../../up", "bb/gg", "bb gg", "BB gg", "a_jes_up", "a"]
    jes = nuisance("jes")
    pdfs = [
        FlowProductPDF(
            zfit.pdf.Gauss(models.frozen(f"mu{k}", 120.0 + k), models.frozen(f"s{k}", 2.0), space),
            random_flow(2, seed=k),
            variations=[variation(jes, k)] if name == "a" else [],
            extended=zfit.Parameter(f"n{k}", 100.0 + k, 0.0),
            name=name,
        )
        for k, name in enumerate(names)
    ]
    signal = FlowProductPDF(
        zfit.pdf.Gauss(models.frozen("mu", 125.0), models.frozen("s", 2.0), space),
        random_flow(2, seed=99),
        name="signal",
    )
    model = signal_plus_background(signal, *pdfs, poi="n_sig", region=REGION)
    save_model(model, tmp_path / "deep" / "model")
    assert [entry.name for entry in tmp_path.iterdir()] == ["deep"]
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["model"]
    again = load_model(tmp_path / "deep" / "model")
    assert [c.name for c in again.components] == [c.name for c in model.components]
    for ours, theirs in zip(model.components, again.components, strict=True):
        np.testing.assert_array_equal(theirs.pdf.flow.parameters, ours.pdf.flow.parameters)
        for mine, stored in zip(ours.pdf.variations, theirs.pdf.variations, strict=True):
            np.testing.assert_array_equal(stored.up.parameters, mine.up.parameters)


def test_a_model_is_replaced_as_a_whole_and_other_content_is_spared(tmp_path, monkeypatch):
    model = build()
    save_model(model, tmp_path / "model")
    text = (tmp_path / "model" / "model.json").read_text()
    model.poi.set_value(81.0)
    with monkeypatch.context() as patch:
        patch.setattr("hisigma_zfit.model.stored.finite_limits", lambda space: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save_model(model, tmp_path / "model")
    assert (tmp_path / "model" / "model.json").read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="other content"):
        save_model(model, tmp_path / "thesis")
