"""An exported analysis gives the numbers of its run, alone and combined, and goes on giving them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit import cli
from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.measurement.pipeline import load_models
from hisigma_zfit.measurement.stored import load_results

# the shipped example as measured and exported by version 0.1.0, with a nuisance and an error of the training;
# neither this file nor the numbers below may ever change
OLD = Path(__file__).parent / "made_by_0_1_0.hisigma.zip"
OLD_DIGEST = "sha256:3b0259849766e2cab93753f9992444f2f3015549084851994d9306884fb6aae2"


@pytest.fixture(scope="module")
def old():
    return hz.load_analysis(OLD, digest=OLD_DIGEST)


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """The run that all tests share, exported."""
    return hz.export_analysis(finished_run.out, tmp_path_factory.mktemp("export") / "run.hisigma.zip")


@pytest.fixture(scope="module")
def data():
    return hz.examples.events()


def halves(data):
    even = np.arange(len(data)) % 2 == 0
    return data.select(even), data.select(~even)


def test_an_export_of_the_first_version_is_read_for_ever(old, data):
    assert old.poi == "n_sig"
    assert old.observables == {"": ("m", "pt", "angle")}
    assert old.measurement.value == pytest.approx(44.790493, abs=1e-6)
    assert old.about["inputs"]["events.root"].startswith("sha256:5ea3b202")
    # the numbers of the machine that exported it; the nets are evaluated in single precision
    assert old.verify() < 1e-3
    assert old.nll(data) == pytest.approx(24673.62675, abs=2e-3)
    moved = {"n_sig": 10.0, "lumi": 1.0, "p1": 2.2}
    assert old.nll(data, moved) - old.nll(data) == pytest.approx(13.525062, abs=1e-3)


def test_the_mass_alone_in_hs3_is_what_pyhs3_reads_in_it(old):
    doc = json.loads(read(OLD, "hs3.json"))
    known = {own["name"]: own["value"] for own in doc["parameter_points"][0]["parameters"]} | {"exp": np.exp}
    fine, m = np.linspace(100.0, 160.0, 60_001), np.linspace(101.0, 159.0, 59)
    for own in doc["functions"]:
        known[own["name"]] = eval(own["expression"], {"__builtins__": {}}, known)

    def density(own, m):
        if own["type"] == "generic_dist":
            return eval(own["expression"], {"__builtins__": {}}, known | {"m": m})
        m0, s, al, nl, ar, nr = (known[own[k]] for k in ("m0", "sigma_L", "alpha_L", "n_L", "alpha_R", "n_R"))
        t = (m - m0) / s
        left = (nl / al) ** nl * np.exp(-(al**2) / 2) * (nl / al - al - np.minimum(t, -al)) ** -nl
        right = (nr / ar) ** nr * np.exp(-(ar**2) / 2) * (nr / ar - ar + np.maximum(t, ar)) ** -nr
        return np.where(t < -al, left, np.where(t > ar, right, np.exp(-0.5 * t**2)))

    by_name = {own["name"]: own for own in doc["distributions"]}
    (whole,) = (by_name[name] for name in doc["likelihoods"][0]["distributions"])
    yields = [known[name] for name in whole["coefficients"]]
    parts = [density(by_name[name], m) / np.trapezoid(density(by_name[name], fine), fine) for name in whole["summands"]]
    gaussians = [by_name[name] for name in doc["likelihoods"][0]["aux_distributions"]]
    pulls = [(known[own["x"]] - known[own["mean"]]) / own["sigma"] for own in gaussians]
    terms = sum(-0.5 * pull**2 - 0.5 * np.log(2.0 * np.pi) for pull in pulls)
    log_prob = np.log(np.dot(yields, parts)).sum() - sum(yields) + terms
    assert log_prob == pytest.approx(-2807.1490216, abs=1e-4)  # Model.log_prob of pyhs3 0.4.2 for these masses
    shapes = [component.pdf.mass for component in old.models[""].components]
    for shape, part in zip(shapes, parts, strict=True):
        np.testing.assert_allclose(np.asarray(shape.pdf(m)), part, rtol=1e-5, atol=1e-12)


def test_a_fit_of_the_data_is_the_measurement(old, data):
    nll = old.likelihood(data)
    for parameter in nll.parameters:
        if parameter.name in {"n_sig", "n_bkg", "p1"}:
            parameter.set_value(1.3 * old.parameters[parameter.name])
    result = hz.fit(nll)
    found = hz.interval(result, "n_sig", cl=old.measurement.confidence.interval_68)
    assert found.value == pytest.approx(old.measurement.value, abs=2e-3)
    assert found.error == pytest.approx(old.measurement.error, abs=2e-3)
    assert hz.discovery(result, "n_sig").z == pytest.approx(old.measurement.significance.z, abs=1e-3)
    again = old.fit(data)
    assert again.params["n_bkg"]["value"] == pytest.approx(old.measurement.parameters["n_bkg"].value, abs=1e-2)


def test_the_likelihood_is_that_of_the_run(exported, finished_run):
    analysis = hz.load_analysis(exported)
    events = hz.read(finished_run.inputs / "data.root", columns=["m", "a", "b"])
    model = load_models(finished_run.out)[""]
    inside = model.components[1].pdf.flow.inside(events.array(("a", "b")), events["m"])
    run = ExtendedNLL(model, events.select(inside))
    assert analysis.nll(events) == pytest.approx(float(run.value()), rel=1e-9, abs=1e-9)
    values = {"n_sig": 30.0, "p1": 1.8, "p2": 0.1}
    with_others = {p.name: values.get(p.name, float(p.value())) for p in run.parameters}
    at = run.evaluator().value(np.array([with_others[p.name] for p in run.parameters])) + run.data_constant()
    assert analysis.nll(dict(events.columns), values) == pytest.approx(at, rel=1e-9)
    nominal = load_results(finished_run.out).measurement.nominal
    result = analysis.fit(events)
    assert result.params["n_sig"]["value"] == pytest.approx(nominal.value, abs=0.05 * nominal.error)
    assert hz.discovery(result, "n_sig").z == pytest.approx(nominal.z, abs=1e-3)


def test_pseudo_experiments_have_the_right_size_and_come_back(old):
    expected = old.parameters["n_sig"] + 4.318895 + old.parameters["n_bkg"]  # with the bias of the training
    drawn = [old.draw(seed=seed) for seed in range(4)]
    assert len({len(events) for events in drawn}) > 1
    assert sum(map(len, drawn)) == pytest.approx(4 * expected, abs=4 * np.sqrt(4 * expected))  # 6e-5
    assert drawn[0].names == ("m", "pt", "angle")
    np.testing.assert_array_equal(old.draw(seed=2)["pt"], drawn[2]["pt"])
    more = old.draw(seed=0, values={"n_bkg": 10.0, "n_sig": 2000.0})
    assert np.median(np.abs(more["m"] - 125.0)) < 2.0
    summary = old.toys(20, seed=1, inject=60.0, events=4000)
    bias = summary.parameters["n_sig"]
    assert summary.injected == 60.0
    assert abs(bias.bias) < 4 * bias.bias_error  # 6e-5
    assert bias.spread == pytest.approx(14.0, rel=0.6)


def test_a_combination_is_the_sum_with_what_is_shared(old, data):
    first, second = halves(data)
    both = hz.combine_analyses({"a": old, "b": hz.load_analysis(OLD)}, poi="mu", expected={"a": 40.0, "b": 20.0})
    assert both.poi == "mu"
    assert both.about["shared"] == ["lumi"]
    assert {"lumi", "training_a", "training_b", "n_bkg_a", "p1_b"} < set(both.parameters)
    own = {
        "a": {"training": 0.3, "n_bkg": 1500.0, "p1": 2.0, "p2": -0.1},
        "b": {"training": -0.4, "n_bkg": 1490.0, "p1": 1.9, "p2": 0.0},
    }
    joint = {f"{name}_{part}": value for part, values in own.items() for name, value in values.items()}
    joint |= {"mu": 1.3, "lumi": 0.7}
    # two terms of the sum hold the constraint of the one nuisance that they share
    constraint = 0.5 * 0.7**2 + 0.5 * np.log(2.0 * np.pi)
    by_hand = old.nll(first, own["a"] | {"n_sig": 52.0, "lumi": 0.7})
    by_hand += old.nll(second, own["b"] | {"n_sig": 26.0, "lumi": 0.7}) - constraint
    assert both.nll({"a": first, "b": second}, joint) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.slow
def test_analyses_that_share_nothing_find_what_each_finds_alone(old, data):
    apart = hz.combine_analyses({"a": old, "b": old}, shared=())
    assert {"n_sig_a", "n_sig_b", "lumi_a", "lumi_b"} < set(apart.parameters)
    alone = apart.fit({"a": data, "b": data})
    assert alone.params["n_sig_b"]["value"] == pytest.approx(old.measurement.value, abs=1e-2)
    drawn = apart.draw(seed=1)
    assert set(drawn) == {"a", "b"}


def test_what_cannot_be_combined_or_asked_is_told(old, data):
    pair = {"a": old, "b": old}
    with pytest.raises(InputError, match="two or more analyses with names"):
        hz.combine_analyses({"a": old})
    with pytest.raises(InputError, match="two or more analyses with names"):
        hz.combine_analyses({"a b": old, "b": old})
    with pytest.raises(InputError, match="shared parameter 'jes'"):
        hz.combine_analyses(pair, shared=["jes"])
    with pytest.raises(InputError, match="pass both, or neither"):
        hz.combine_analyses(pair, expected={"a": 1.0, "b": 2.0})
    with pytest.raises(InputError, match="a new name for the common parameter"):
        hz.combine_analyses(pair, poi="lumi")
    with pytest.raises(InputError, match="events of each category: a, b"):
        hz.combine_analyses(pair).nll(data)
    with pytest.raises(InputError, match="one of the parameters"):
        old.nll(data, {"jes": 1.0})
    with pytest.raises(InputError, match="'angle'"):
        old.nll({"m": data["m"], "pt": data["pt"]})
    with pytest.raises(InputError, match="an export"):
        hz.combine_analyses(pair).verify()
    with pytest.raises(InputError, match="get the right file"):
        hz.load_analysis(OLD, digest="sha256:0")


def test_other_numbers_of_a_density_are_noticed(old):
    probe = dict(old.probe)
    for changed in ({"nll": probe["nll"] + 0.01}, {"gradient": probe["gradient"] | {"p1": 1.0}}):
        with pytest.raises(InputError, match="the likelihood that was exported"):
            type(old)(old.contents, old.densities, probe=probe | changed).verify()


def test_the_export_holds_what_it_should_and_no_more(exported, finished_run):
    archive = hz.load_analysis(exported)
    names = set(json.loads(read(exported, "analysis.json"))["files"])
    assert {"hs3.json", "result.json", "table.txt", "probe.json", "README.txt", "configuration.yaml"} < names
    assert {"densities/signal/weights.npz", "densities/background/flow.json", "hepdata/submission.yaml"} < names
    assert not [name for name in names if name.endswith((".py", ".pkl", ".root", ".pickle"))]
    assert archive.measurement == load_results(finished_run.out).measurement
    assert archive.about["events"]["used"] == archive.measurement.n_events.used
    assert str(finished_run.inputs) not in read(exported, "configuration.yaml")
    assert "data.root" in read(exported, "configuration.yaml")


def read(path, name):
    import zipfile

    with zipfile.ZipFile(path) as whole:
        return whole.read(name).decode()


def test_the_command_line_exports_and_describes(exported, finished_run, tmp_path, capsys):
    out = tmp_path / "a.hisigma.zip"
    assert cli.main(["export", str(finished_run.out), str(out)]) == 0
    printed = capsys.readouterr().out
    assert hz.load_analysis(exported).digest in printed
    assert out.read_bytes() == exported.read_bytes()  # the same run is the same file
    assert cli.main(["info", str(out)]) == 0
    assert "m, a, b" in capsys.readouterr().out
    assert cli.main(["export", str(finished_run.out), str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    whole = bytearray(out.read_bytes())
    whole[len(whole) // 2] ^= 255
    out.write_bytes(whole)
    assert cli.main(["info", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "get the file again" in line


def test_blind_runs_and_other_folders_are_refused(finished_run, tmp_path, capsys):
    blind = tmp_path / "blind"
    blind.mkdir()
    stored = json.loads((finished_run.out / "run.json").read_text()) | {"task": "measure --blind"}
    (blind / "run.json").write_text(json.dumps(stored))
    (blind / "result.json").write_text("{}")
    for folder, words in ((blind, "hisigma unblind"), (tmp_path, "a folder that is not a run")):
        assert cli.main(["export", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not list(tmp_path.glob("*.zip"))
    run = tmp_path / "run"
    shutil.copytree(finished_run.out, run, ignore=shutil.ignore_patterns("members", "figures"))
    (run / "model" / "model.json").write_text("{")
    assert cli.main(["export", str(run)]) == 2
    assert "the fitted model" in capsys.readouterr().err
    assert cli.main(["export", str(finished_run.out), str(tmp_path / "none" / "a.zip")]) == 2
    assert "make it first" in capsys.readouterr().err
