"""Models in the words of HS3: nothing is lost, and the formulae are those of the models."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.sharing.hs3 import contents, document

INF = math.inf
UNIT = {"observation": 0.0, "sigma": 1.0}


def parameter(value, lower=-INF, upper=INF, *, floating=True, **more):
    return {"value": value, "lower": lower, "upper": upper, "floating": floating, "stepsize": 0.1, **more}


def component(name, size, shape, **parameters):
    own = {"shape": shape, "parameters": parameters, "flow": name, "variations": [], "seed": 7}
    return {"name": name, "is_signal": name == "signal", "yield": size, **own}


def model(*components, **parameters):
    return {
        "schema": "hisigma-zfit/model/1",
        "mass": {"name": "m", "range": [90.0, 180.0]},
        "observables": ["m", "a", "b"],
        "sidebands": "mass-only",
        "signal_region": [115.0, 135.0],
        "poi": "n_sig",
        "components": list(components),
        "parameters": parameters,
    }


TAILS = {"alphal": "al", "nl": "nl", "alphar": "ar", "nr": "nr"}
PEAK = {"mu": "mu", "sigma": "sigma", **TAILS}
FOUND = {
    "name": "n_found",
    "base": "n_sig",
    "factors": [["lumi", 0.05], ["jes", -0.02]],
    "number": 0.7,
    "shifts": [["training", 8.0]],
    "offset": -3.0,
}
MOVED = {"name": "mu_jes", "base": 124.0, "factors": [["jes", 0.01]]}
COUPLED = {"name": "n_hh", "coupling": "kappa", "coefficients": [2.0, -5.0, 30.0], "strength": "mu_hh"}
VALUES = {"mu": 125.0, "sigma": 1.7, "al": 1.4, "nl": 20.0, "ar": 2.0, "nr": 7.0}


def everything():
    """Two categories with all that there is to say."""
    frozen = {name: parameter(value, 0.1, 200.0, floating=False) for name, value in VALUES.items()}
    shared = {
        "n_sig": parameter(150.0),
        "lumi": parameter(0.3, -5.0, 5.0, constraint=UNIT),
        "jes": parameter(-0.4, -5.0, 5.0, constraint=UNIT),
    }
    first = model(
        component("signal", FOUND, "DoubleCB", **PEAK),
        component("background", "n_bkg_x", "ExpQuadratic", p1="p1", p2="p2"),
        component(
            "vh", "n_VH", "Gauss", mu={"name": "mu_jes", "base": 124.0, "factors": [["jes", 0.01]]}, sigma="sigma"
        ),
        **shared,
        **frozen,
        training=parameter(0.0, constraint=UNIT),
        n_bkg_x=parameter(900.0, 0.0),
        p1=parameter(1.3),
        p2=parameter(-0.2),
        n_VH=parameter(38.0, 0.0, 90.0, constraint={"observation": 40.0, "sigma": 8.0}),
    )
    second = model(
        component(
            "signal",
            COUPLED,
            "GeneralizedCB",
            sigmal="sigma",
            sigmar="sigma",
            **{k: v for k, v in PEAK.items() if k != "sigma"},
        ),
        component("background", "n_bkg_y", "Exponential", lam="lam"),
        component("other", {"name": "n_other", "base": 20.0, "factors": [["lumi", 0.05]]}, "Chebyshev", c0="c0"),
        **shared,
        **frozen,
        kappa=parameter(1.4, -10.0, 15.0),
        mu_hh=parameter(2.0),
        n_bkg_y=parameter(500.0, 0.0),
        lam=parameter(-0.02),
        c0=parameter(0.5, known="otherwise"),
    )
    return {"x": first, "y": second}


def written():
    text = json.dumps(document(everything(), versions={"hisigma_zfit": "0.1.0"}, densities={}), allow_nan=False)
    return json.loads(text)


def test_a_model_comes_back_as_it_was():
    assert contents(written()) == everything()
    assert list(contents(written())) == ["x", "y"]
    only = {"": everything()["x"]}
    assert contents(json.loads(json.dumps(document(only, versions={}, densities={})))) == only


def evaluated(doc, m):
    """What a reader who knows HS3 makes of it: all functions, and all densities that are formulae or peaks."""
    point = {own["name"]: own["value"] for own in doc["parameter_points"][0]["parameters"]}
    known = {"exp": np.exp, **point, "m_x": m, "m_y": m}
    for own in doc["functions"]:
        known[own["name"]] = eval(own["expression"], {"__builtins__": {}}, known)
    for own in doc["distributions"]:
        if own["type"] == "generic_dist":
            known[own["name"]] = eval(own["expression"], {"__builtins__": {}}, known)
    return known


def test_formulae_are_those_of_the_model():
    m = np.array([100.0, 150.0])
    known = evaluated(written(), m)
    assert known["n_found"] == pytest.approx(0.7 * (150.0 - 3.0 + 8.0 * 0.0) * math.exp(0.05 * 0.3 + 0.02 * 0.4))
    assert known["n_hh"] == pytest.approx(2.0 * (2.0 * 1.4**2 - 5.0 * 1.4 + 30.0))
    assert known["n_other"] == pytest.approx(20.0 * math.exp(0.05 * 0.3))
    assert known["mu_jes"] == pytest.approx(124.0 * math.exp(-0.01 * 0.4))
    t = (m - 90.0) / 90.0
    np.testing.assert_allclose(known["background_x_mass"], np.exp(-1.3 * t - 0.2 * t**2))
    np.testing.assert_allclose(known["background_y_mass"], np.exp(-0.02 * m))


def test_the_document_names_what_a_reader_needs():
    doc = written()
    by_name = {own["name"]: own for own in doc["distributions"]}
    assert by_name["signal_x_mass"] == {
        "name": "signal_x_mass",
        "type": "crystalball_doublesided_dist",
        "m": "m_x",
        "m0": "mu",
        "sigma_L": "sigma",
        "sigma_R": "sigma",
        "alpha_L": "al",
        "n_L": "nl",
        "alpha_R": "ar",
        "n_R": "nr",
    }
    assert by_name["vh_x_mass"] == {
        "name": "vh_x_mass",
        "type": "gaussian_dist",
        "x": "m_x",
        "mean": "mu_jes",
        "sigma": "sigma",
    }
    assert by_name["other_y_mass"]["type"] == "hisigma_zfit:Chebyshev"
    assert by_name["model_x"]["coefficients"] == ["n_found", "n_bkg_x", "n_VH"]
    # one term for each nuisance, in however many categories it is
    likelihood = doc["likelihoods"][0]
    assert sorted(likelihood["aux_distributions"]) == [f"{n}_constraint" for n in ("jes", "lumi", "n_VH", "training")]
    assert by_name["n_VH_constraint"]["sigma"] == 8.0
    assert likelihood["distributions"] == ["model_x", "model_y"]
    axes = {own["name"]: own for own in doc["domains"][0]["axes"]}
    assert axes["n_bkg_x"] == {"name": "n_bkg_x", "min": 0.0}
    assert "p1" not in axes
    points = doc["parameter_points"][0]["parameters"]
    assert {"name": "mu", "value": 125.0, "const": True} in points
    assert len({own["name"] for own in points}) == len(points)


def test_what_cannot_be_written_or_read_is_told():
    odd = everything()["x"]
    odd["parameters"]["n sig"] = odd["parameters"].pop("n_sig")
    with pytest.raises(InputError, match="'n sig'"):
        document({"": odd}, versions={}, densities={})
    clash = everything()["x"]
    clash["parameters"]["lumi_observed"] = parameter(1.0)
    with pytest.raises(InputError, match="one thing of the name"):
        document({"": clash}, versions={}, densities={})
    other = written()
    other["misc"]["hisigma_zfit"]["schema"] = "hisigma-zfit/hs3-extension/9"
    with pytest.raises(InputError, match="extension"):
        contents(other)
    lacking = written()
    del lacking["parameter_points"]
    with pytest.raises(InputError, match="without a part"):
        contents(lacking)


def test_masked_windows_survive_and_are_no_shape_that_a_reader_of_the_standard_knows():
    peak = component("signal", "n_sig", "Gauss", mu="mu", sigma="sigma")
    content = model(peak, mu=parameter(125.0), sigma=parameter(2.0), n_sig=parameter(3.0))
    content["mass"]["masked"] = [[140.0, 150.0]]
    written = document({"": content}, versions={}, densities={})
    assert contents(json.loads(json.dumps(written))) == {"": content}
    known = {own["name"]: own for own in written["distributions"]}
    assert known["signal_mass"]["type"] == "hisigma_zfit:masked"
    assert known["signal_mass"]["windows"] == [[140.0, 150.0]]
    assert known[known["signal_mass"]["of"]]["type"] == "gaussian_dist"
