"""Measurements that only a configuration file can describe, beside the same fits written with the Python API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import folders
import numpy as np
import pytest
import truth
import yaml
import zfit
from same_numbers import assert_same_results

import hisigma_zfit as hz
from hisigma_zfit.density import training
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement import load_model
from hisigma_zfit.measurement.stored import MeasurementResults, load_results
from hisigma_zfit.model.compose import compose
from hisigma_zfit.model.kappa import PolynomialYield
from hisigma_zfit.runs.toys import load_toys

if TYPE_CHECKING:
    from pathlib import Path

VH = truth.Toy(falloff=1.8, soft=18.0, hard=50.0, centre=3.2, scale=1.3, peak=(125.0, 2.0))
N_BACKGROUND, N_SIGNAL, N_VH = 5000, 80, 60
CUTS = {"low": "c < 2.6", "high": "c >= 2.6"}
FILE = {
    "data": "data.root",
    "signal": "signal.root",
    "mass": "m",
    "range": [90, 180],
    "signal_region": [115, 135],
    "features": ["a", "b"],
    "backgrounds": {"VH": {"files": "vh.root", "expected": 50, "uncertainty": 0.2}},
    "bootstraps": 1,
    "members": 1,
    "combine": "mixture",
    "preset": "quick",
}
MASS, REGION = zfit.Space("m", 90, 180), hz.SignalRegion(115, 135)


@dataclass(frozen=True)
class Run:
    """A measurement by ``hisigma measure --config``."""

    inputs: Path
    out: Path
    outcome: folders.Outcome
    results: MeasurementResults


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("components")
    parts = [
        toy.columns(n, seed=seed)
        for toy, n, seed in ((truth.BACKGROUND, N_BACKGROUND, 21), (truth.SIGNAL, N_SIGNAL, 22), (VH, N_VH, 23))
    ]
    folders.write(folder / "data.root", {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    folders.write(folder / "signal.root", truth.SIGNAL.columns(2500, seed=24))
    folders.write(folder / "vh.root", VH.columns(2500, seed=25))
    folders.write(folder / "few.root", VH.columns(9, seed=25))
    return folder


def measured(inputs, out, **more):
    (inputs / f"{out.name}.yaml").write_text(yaml.safe_dump(FILE | more))
    outcome = folders.hisigma("measure", "--config", inputs / f"{out.name}.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    return Run(inputs, out, outcome, load_results(out))


@pytest.fixture(scope="module")
def resonant(inputs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # those of the categories are looked at
        patch.setattr("hisigma_zfit.report.figures.measurement_figures", lambda *results, **more: {})
        return measured(inputs, tmp_path_factory.mktemp("resonant") / "out")


@pytest.fixture(scope="module")
def categories(inputs, tmp_path_factory):
    more = {"categories": {name: {"cut": cut} for name, cut in CUTS.items()}, "yield_systematic": {"lumi": 1.05}}
    more["categories"]["high"]["yield_systematic"] = {"lumi": 1.02, "migration": 0.9}
    return measured(inputs, tmp_path_factory.mktemp("categories") / "out", **more)


@pytest.fixture
def again(resonant, tmp_path, monkeypatch):
    """The same with other options and the densities of `resonant`; draws no figures."""
    flows = {c.name: c.pdf.flow for c in load_model(resonant.out).components}
    monkeypatch.setattr(training, "train_flow", lambda *_, name, **__: flows[name])
    monkeypatch.setattr("hisigma_zfit.report.figures.measurement_figures", lambda *results, **more: {})
    return lambda **options: hz.measure(out=tmp_path / "out", **options)


def by_hand(inputs, out, category, yields, prefix):
    """Model and data of one category, from its trained densities; all else is written down anew."""
    cut = CUTS.get(category)
    events = {
        name: hz.read(inputs / f"{name}.root", columns=["m", "a", "b"], cut=cut) for name in ("data", "signal", "vh")
    }
    flows = {c.name: c.pdf.flow for c in load_model(out, category).components}
    peaks = {
        name: hz.fit_shape(zfit.pdf.DoubleCB, events[file], MASS, prefix=f"{prefix}{name}_")
        for name, file in (("signal", "signal"), ("VH", "vh"))
    }
    falling = hz.ExpQuadratic(MASS, zfit.Parameter(f"{prefix}p1", 1.0), zfit.Parameter(f"{prefix}p2", 0.0))
    number = zfit.Parameter(f"{prefix}n_bkg", 4000.0, 0.0)
    signal, vh = (hz.FlowProductPDF(peaks[k], flows[k], extended=yields[k], name=k) for k in ("signal", "VH"))
    continuum = hz.FlowProductPDF(falling, flows["background"], extended=number, name="background")
    model = compose([signal], [continuum, vh], poi=yields["poi"], region=REGION)
    inside = flows["background"].inside(events["data"].array(("a", "b")))
    return model, events["data"].select(inside)


def test_a_resonant_background_has_the_number_that_is_known_of_it(resonant):
    m = resonant.results.measurement
    assert set(m.parameters) == {"n_sig", "n_bkg", "p1", "p2", "VH_yield"}
    n_sig = zfit.Parameter("n_sig", 0.0)
    vh = hz.lognormal_yield(50.0, hz.nuisance("VH_yield"), 1.2)
    model, data = by_hand(resonant.inputs, resonant.out, "", {"poi": n_sig, "signal": n_sig, "VH": vh}, "r_")
    result = hz.fit(hz.ExtendedNLL(model, data))
    expected = {p.name.removeprefix("r_"): (v["value"], v["hesse"]["error"]) for p, v in result.params.items()}
    for name, found in m.parameters.items():
        value, error = expected[name]
        assert found.value == pytest.approx(value, abs=5e-3 * error), name
        assert found.error == pytest.approx(error, rel=5e-3), name
    interval, found = hz.interval(result, "n_sig", cl=0.6827), hz.discovery(result, "n_sig")
    assert m.interval_68 == pytest.approx((interval.lower, interval.upper), abs=5e-3 * interval.error)
    assert m.significance.z == pytest.approx(found.z, rel=1e-3)
    # wide enough for any defect of the fit to show: four errors of either
    assert abs(m.value - N_SIGNAL) < 4 * m.error
    assert abs(m.parameters["VH_yield"].value) < 4
    # the data hardly add to what was known; in an exponent they may flatten the curvature at the minimum a little
    assert 0.5 < m.parameters["VH_yield"].error < 1.1
    assert m.stat_only.error < m.nominal.error


def test_what_is_known_may_be_gaussian_or_nothing(resonant, again):
    path = resonant.inputs / "out.yaml"
    own = {"files": resonant.inputs / "vh.root", "expected": 50}
    gaussian = again(config=path, backgrounds={"VH": own | {"uncertainty": 0.2, "constraint": "gaussian"}})
    number = gaussian.parameters["n_VH"]
    assert 0.5 * 10 < number.error < 1.01 * 10
    # near the expectation a log-normal and a Gaussian of 20 % are much the same
    assert gaussian.error == pytest.approx(resonant.results.measurement.error, rel=0.05)


def test_a_number_that_is_not_known_costs_precision(resonant, again):
    own = {"files": resonant.inputs / "vh.root", "expected": 50, "uncertainty": "free"}
    free = again(config=resonant.inputs / "out.yaml", backgrounds={"VH": own})
    assert free.parameters["n_VH"].error > 10
    assert free.error > 1.02 * resonant.results.measurement.error
    assert free.stat_only.error == pytest.approx(free.nominal.error, rel=1e-6)  # nothing is constrained


def test_the_archived_configuration_repeats_the_run(resonant, again, monkeypatch, tmp_path):
    stored = yaml.safe_load((resonant.out / "config.yaml").read_text())
    assert stored["data"] == [str(resonant.inputs / "data.root")]
    assert stored["backgrounds"]["VH"]["files"] == [str(resonant.inputs / "vh.root")]
    assert stored["seed"] == 1  # also what was not given
    monkeypatch.chdir(tmp_path)
    repeated = again(config=resonant.out / "config.yaml")
    assert_same_results(repeated, resonant.results.measurement)


def test_toys_repeat_what_is_known_of_the_background(resonant, tmp_path):
    outcome = folders.hisigma("toys", resonant.out, "--n", "20", "--events", "3000", "--out", tmp_path / "toys")
    assert outcome.code == 0, outcome.err
    assert "VH_yield" in outcome.out


@pytest.mark.slow
def test_categories_share_the_signal_and_the_nuisances(categories):
    m = categories.results.measurement
    assert set(m.parameters) == {
        *("n_sig", "VH_yield", "lumi", "migration"),
        *(f"{name}_{category}" for name in ("n_bkg", "p1", "p2") for category in CUTS),
    }
    n_sig, known = zfit.Parameter("n_sig", 0.0), hz.nuisance("VH_yield")
    lumi, migration = hz.nuisance("lumi"), hz.nuisance("migration")
    c = {name: hz.read(categories.inputs / f"{name}.root", columns=["c"])["c"] for name in ("signal", "vh")}
    parts = []
    for category, inside in {"low": lambda c: c < 2.6, "high": lambda c: c >= 2.6}.items():
        share = {name: float(inside(values).mean()) for name, values in c.items()}
        assert 0.1 < share["signal"] < 0.9
        # luminosity and migration are known from their constraints alone, so that they may be left out of the values
        signal = PolynomialYield(f"s_{category}", n_sig, [share["signal"], 0.0])
        vh = hz.lognormal_yield(50.0 * share["vh"], known, 1.2, name=f"vh_{category}")
        yields = {"poi": n_sig, "signal": signal, "VH": vh}
        parts.append(by_hand(categories.inputs, categories.out, category, yields, f"{category}_"))
    models, data = zip(*parts, strict=True)
    del lumi, migration
    result = hz.fit(hz.ExtendedNLL(list(models), list(data)))
    expected = {p.name: v["value"] for p, v in result.params.items()}
    error = next(v["hesse"]["error"] for p, v in result.params.items() if p.name == "n_sig")
    assert m.parameters["n_sig"].value == pytest.approx(expected["n_sig"], abs=0.05 * error)
    for category in CUTS:
        other = expected[f"{category}_n_bkg"]
        assert m.parameters[f"n_bkg_{category}"].value == pytest.approx(other, abs=0.05 * np.sqrt(other))
    assert m.stat_only.error == pytest.approx(error, rel=0.05)
    assert abs(m.value - N_SIGNAL) < 4 * m.error
    assert m.parameters["lumi"].error == pytest.approx(1.0, rel=0.02)


@pytest.mark.slow
def test_the_signal_response_is_that_of_all_categories(categories):
    """Events that only validated the training, 5 % of all; a quick one may lose a tenth of the signal."""
    found = categories.results.measurement.signal_response
    assert 100 <= found.n_events < 180
    assert found.value == pytest.approx(1.0, abs=5.0 * found.error + 0.1)
    assert found.error < 0.3


@pytest.mark.slow
def test_every_event_of_the_categories_is_accounted_for(categories):
    n = categories.results.measurement.n_events
    assert n.read == N_BACKGROUND + N_SIGNAL + N_VH
    assert n.used == n.read - sum(n.dropped.values())
    assert n.dropped["in no category"] == 0
    assert n.signal_simulation == 2500


@pytest.mark.slow
def test_every_category_has_its_projections_and_its_model(categories):
    results = categories.results
    names = {(p.category, p.observable) for p in results.projections}
    assert names == {(category, name) for category in CUTS for name in ("m", "a", "b")}
    assert sum(p.data.sum() for p in results.projections if p.observable == "m") == results.measurement.n_events.used
    for p in results.projections:
        assert p.selection == p.category
    assert {p.stem for p in (categories.out / "figures").glob("*.pdf")} >= {"projection_low_m", "enriched_high_a"}
    assert load_model(categories.out, "low").poi.name == "n_sig"
    assert [h.name for h in results.histories] == sorted(
        f"{component}_{category}" for component in ("background", "signal", "VH") for category in CUTS
    )


@pytest.mark.slow
def test_toys_draw_every_category_and_fit_all_together(categories, tmp_path):
    outcome = folders.hisigma("toys", categories.out, "--n", "20", "--events", "3000", "--out", tmp_path / "toys")
    assert outcome.code == 0, outcome.err
    m, summary = categories.results.measurement, load_toys(tmp_path / "toys")
    assert set(summary.parameters) == set(m.parameters)
    with np.load(tmp_path / "toys" / "chunks" / "0000000.npz") as stored:
        events, observation = stored["events"], stored["observation"]
    # one measurement each of VH_yield, lumi and migration, whatever the number of categories; 5 sigma: 6e-7
    assert observation.shape == (20, 3)
    truth_of_nuisances = sorted(m.parameters[name].value for name in ("VH_yield", "lumi", "migration"))
    np.testing.assert_allclose(sorted(observation.mean(axis=0)), truth_of_nuisances, atol=5.0 / np.sqrt(20))
    # at the best fit the expected number of every category is that of its data: 5 sigma
    used = [
        sum(p.data.sum() for p in categories.results.projections if p.selection == c and p.observable == "m")
        for c in ("high", "low")
    ]
    assert sum(used) == m.n_events.used
    np.testing.assert_allclose(events.mean(axis=0), used, atol=5.0 * np.sqrt(max(used) / 20))
    assert abs(summary.parameters["n_sig"].bias) < 5.0 * summary.parameters["n_sig"].bias_error
    # the toys know what the fit of the data knows
    assert summary.parameters["n_sig"].error == pytest.approx(m.parameters["n_sig"].error, rel=0.15)


@pytest.mark.slow
def test_a_category_that_is_not_there_is_named(categories):
    with pytest.raises(InputError, match="got 'middle'"):
        load_model(categories.out, "middle")
    with pytest.raises(InputError, match="a run of one category, or one of high, low"):
        load_model(categories.out)


REFUSED = {
    "unknown-key": ({"backgrounds": {"VH": {"file": "vh.root"}}}, ["backgrounds.VH", "analysis.yaml"]),
    "unknown-uncertainty": (
        {"backgrounds": {"VH": {"files": "vh.root", "expected": 50, "uncertainty": "large"}}},
        ["backgrounds.VH.uncertainty", "'large'"],
    ),
    "no-uncertainty": (
        {"backgrounds": {"VH": {"files": "vh.root", "expected": 50}}},
        ["backgrounds.VH.uncertainty: expected a value, got none"],
    ),
    "per-cent": (
        {"backgrounds": {"VH": {"files": "vh.root", "expected": 50, "uncertainty": 20}}},
        ["backgrounds.VH.uncertainty", "less than 1", "got 20"],
    ),
    "no-file": (
        {"backgrounds": {"VH": {"files": "zh.root", "expected": 50, "uncertainty": 0.1}}},
        ["zh.root", "nothing there"],
    ),
    "reserved": (
        {"backgrounds": {"signal": {"files": "vh.root", "expected": 50, "uncertainty": 0.1}}},
        ["backgrounds", "no other thing's, got 'signal'"],
    ),
    "nuisance-of-that-name": ({"yield_systematic": {"VH_yield": 1.1}}, ["no other parameter's, got 'VH_yield'"]),
    "overlap": (
        {"categories": {"one": {"cut": "c < 3"}, "two": {"cut": "c > 2"}}},
        ["categories that share no event", "events of the data in one and two"],
    ),
    "no-condition": (
        {"categories": {"one": {"cut": "c + 1"}, "two": {"cut": "c > 2"}}},
        ["a cut of category one that is true or false", "'c + 1'"],
    ),
    "no-cut": ({"categories": {"one": {}}}, ["categories.one.cut: expected a value, got none; add it"]),
    "repeated-feature": (
        {"categories": {"one": {"cut": "c < 3", "features": ["a", "a"]}}},
        ["categories.one: features: expected distinct names, got a twice"],
    ),
    "weights": (
        {"categories": {"one": {"cut": "c < 3"}}, "combine": "weights", "bootstraps": 2},
        ["nuisance, envelope, mixture or discrete for several categories, got weights"],
    ),
    "two-things-of-one-name": (
        {"backgrounds": {"bkg": {"files": "vh.root", "expected": 50, "uncertainty": 0.1}}},
        ["tell all parameters and densities apart, got 'n_bkg' twice"],
    ),
    "parameter-of-interest": ({"poi": "p1"}, ["apart, got 'p1' twice"]),
    "few-simulated-events": (
        {"backgrounds": {"VH": FILE["backgrounds"]["VH"] | {"files": "few.root"}}},
        ["VH: expected", "or more events to fit a, got 9"],
    ),
    "few-events": ({"categories": {"one": {"cut": "c < 1"}}}, ["at least 1000 events in the sidebands"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_said_before_training(name, inputs, tmp_path, monkeypatch):
    changes, parts = REFUSED[name]
    monkeypatch.setattr(training, "train_flow", lambda *_, **__: pytest.fail("trains"))
    for file in ("data.root", "signal.root", "vh.root", "few.root"):
        (tmp_path / file).symlink_to(inputs / file)
    (tmp_path / "analysis.yaml").write_text(json.dumps(FILE | changes))
    before = sorted(tmp_path.iterdir())
    outcome = folders.hisigma("measure", "--config", tmp_path / "analysis.yaml", "--out", tmp_path / "out")
    assert outcome.code == 2
    *stages, line = outcome.err.splitlines()
    assert [stage.split()[1:3] for stage in stages] in ([], [["read", "done"]])
    for part in parts:
        assert part in line
    assert sorted(tmp_path.iterdir()) == before
