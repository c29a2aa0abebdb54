"""The configuration file: what it may say, and in which line it is told what is wrong."""

from __future__ import annotations

import copy

import pytest
import yaml

from hisigma_zfit.crosssection.nuisances import NormNuisance, ShapeNuisance, lognormal, nuisances_of, square, uniform
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.design import make_design

DOCUMENT = """
luminosity: 10.0
tree: events
columns: {pt: jet_pt, met: met, m: "sqrt(2*pt*met)"}
weight: weights
identity: event
processes:
  htautau: {files: data/h.root, poi: mu}
  ztautau: {files: [data/z.root]}
  ttbar:   {files: data/t.root, shape: none}
selection: {apply: systematics.py:thresholds, cut: "pt > 20"}
nuisances:
  tes:      {shift: "systematics.py:tes", unit: 0.01, points: [-3, -2, -1, 1, 2, 3], constraint: gaussian}
  jes:      {shift: "systematics.py:jes", unit: 0.01}
  soft_met: {shift: "systematics.py:soft_met", coordinate: {square: 2.0}, points: [1, 2, 3, 4, 5],
             constraint: {lognormal: [1.0, 1.0]}, stochastic: true, sets: 3, limits: [0.007, 9]}
  ttbar:    {norm: {ttbar: 0.02}}
  up:       {files: {up: {ztautau: z_up.root}, down: {ztautau: z_down.root}}, processes: [ztautau]}
  pdf:      {weights: {up: w_up, down: w_down}}
joint_points: [[tes, jes], [tes, soft_met], [jes, soft_met]]
features: [pt, met, "pt/met"]
exponents: {epochs: 6}
moments: off
regions:
  U: {unbinned: "score.htautau > 0.003"}
  C: {counting: else, bins: {m: [0, 60, inf], met: [0, 50, inf]}, merge_below: 200}
uncertainty: {replicas: 5, what: off}
data: data/observed.root
"""
FUNCTIONS = """
def tes(columns, value, rng=None): return {**columns, "pt": columns["pt"] * (1 + value)}
jes = soft_met = tes
def thresholds(columns): return columns, columns["pt"] > 20
"""
RAW = yaml.safe_load(DOCUMENT)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "analysis.yaml").write_text(DOCUMENT)
    (tmp_path / "systematics.py").write_text(FUNCTIONS)
    return tmp_path / "analysis.yaml"


def test_the_file_is_read_and_written_back(config, tmp_path):
    options = CrossSectionOptions.load(config)
    assert options.pois == ("mu",)
    assert options.processes["ztautau"].files == (str(tmp_path / "data/z.root"),)
    assert options.data.files == (str(tmp_path / "data/observed.root"),)
    assert options.nuisances["tes"].shift == f"{tmp_path}/systematics.py:tes"
    assert options.nuisances["up"].files[-1.0]["ztautau"] == (str(tmp_path / "z_down.root"),)
    assert options.selection.apply == f"{tmp_path}/systematics.py:thresholds"
    assert (options.moments.score_bins, options.uncertainty.what) == (0, "off")
    assert len(options.functions()) == 4
    written = tmp_path / "elsewhere" / "again.yaml"
    written.parent.mkdir()
    written.write_text(options.document())
    assert CrossSectionOptions.load(written) == options
    assert str(tmp_path) not in str(options.numbers())
    assert CrossSectionOptions.schema_of_file()["properties"]["regions"]


def test_nuisances_become_what_fits_and_designs_need(config):
    options = CrossSectionOptions.load(config)
    found = nuisances_of(options.nuisances)
    assert [type(own) for own in found] == [ShapeNuisance] * 3 + [NormNuisance] + [ShapeNuisance] * 2
    tes, _, met, top, files, weights = found
    assert tes.value(-3.0) == pytest.approx(-0.03)
    assert (met.t(2.0), met.parameter().start, met.sets) == (1.0, -1.0, 3)
    assert met.parameter().constraint.limits == pytest.approx((-4.9618, 2.1972), abs=1e-4)
    assert top.effect().sizes == {"ttbar": 0.02}
    assert files.acts_on("ztautau")
    assert not files.acts_on("ttbar")
    assert weights.settings == (-1.0, 1.0)
    design = make_design([own.axis() for own in found if isinstance(own, ShapeNuisance)], options.joint_points)
    assert len(design.points) == 29 + 4
    assert design.monomials.size == 9 + 4


def test_presets(config):
    quick = CrossSectionOptions.load(config, preset="quick")
    assert (quick.exponents.epochs, quick.exponents.seeds) == (2, 1)
    paper = CrossSectionOptions.load(config, preset="paper")
    assert (paper.exponents.epochs, paper.exponents.seeds) == (6, 4)
    assert paper.uncertainty.what == "off"  # as the file says
    without = CrossSectionOptions.build(**{name: RAW[name] for name in ("processes", "features", "regions")})
    assert (without.uncertainty.what, without.columns, without.joint_points) == ("templates", {}, "all")
    named = {name: RAW[name] for name in ("processes", "features", "regions")}
    paper = CrossSectionOptions.build(**named, preset="paper").uncertainty
    assert (paper.what, paper.replicas) == ("all", 10)
    assert CrossSectionOptions.load(config, preset="quick", uncertainty={"what": "all"}).uncertainty.what == "templates"


MISTAKES = [
    ("processess", {}, "got 'processess'; did you mean 'processes'?"),
    ("nuisances.tes.unitt", 1, "nuisances.tes.unitt: expected one of constraint, .* did you mean 'unit'?"),
    ("nuisances.ttbar.kindd", 1, "nuisances.ttbar.kindd: expected one of norm, kind.* did you mean 'kind'?"),
    ("nuisances.tes", {"shif": "a"}, "nuisances.tes: expected exactly one of shift, files, weights, norm"),
    ("nuisances.tes", {"shift": "a:b", "norm": {}}, "expected exactly one of shift, files, weights, norm"),
    ("nuisances.tes.constraint", {"lognormal": [1, 1]}, "expected lognormal together with coordinate"),
    ("nuisances.soft_met.constraint", {"lognormal": [1, 0]}, "expected a positive median and a positive width"),
    ("nuisances.tes.constraint", "gauss", "expected gaussian or none or {lognormal"),
    ("nuisances.tes.constraint", {"uniform": [1, 0]}, "uniform: expected lower < upper"),
    ("nuisances.tes.limits", [3, 1], "limits: expected lower < upper"),
    ("nuisances.tes.points", [0, 1], "points: expected different ones without 0"),
    ("nuisances.soft_met.points", [-1, 1], "coordinate: expected a positive scale and positive points"),
    ("nuisances.soft_met.nominal", 1.0, "nominal: expected 0 for a squared coordinate"),
    ("nuisances.tes.sets", 2, "sets: expected 1 where nothing is drawn"),
    ("nuisances.pdf.weights", {"up": "a"}, "weights: expected up and down"),
    ("nuisances.up.files.up", {"ttbar": "x.root"}, "files: expected the same processes at all values"),
    ("nuisances.ttbar.norm", {"wjets": 0.1}, "expected processes among htautau, ztautau, ttbar, got 'wjets'"),
    ("nuisances.ttbar.norm", {"ttbar": 0.0}, "expected a size that is not zero for ttbar"),
    ("nuisances.mu", {"norm": {"ttbar": 0.1}}, "expected no name of a parameter of interest, got mu"),
    ("processes.htautau.poi", [], "expected a process with a parameter of interest, got none"),
    ("joint_points", [["tes", "ttbar"]], "expected nuisances with a shift function or weights, got 'ttbar'"),
    ("joint_points", [["tes", "up"]], "expected nuisances with a shift function or weights, got 'up'"),
    ("joint_points", [["tes"]], "expected two or more nuisances each"),
    ("joint_points", "al", "expected all, or a list of lists"),
    ("regions.U", {"unbind": 3}, "regions.U: expected exactly one of unbinned, counting"),
    ("regions.U.unbinned", "score.hh > 1", "expected score. of one of htautau, ztautau, ttbar, got 'hh'"),
    ("regions.C.bins", {"m": [1, 0]}, "expected two or more rising edges of m"),
    ("regions.D", {"counting": "else"}, "expected one region of all that is in no other"),
    ("posterior.folds", 1, "posterior.folds: Input should be greater than or equal to 2"),
    ("exponents.epochs", 0, "exponents.epochs: Input should be greater than or equal to 1"),
    ("uncertainty.replicas", 0, "uncertainty.replicas: Input should be"),
    ("held_back", True, "held_back: expected a number"),
    ("asimov", {"mu": 1}, "expected none together with data"),
    ("inference.compare", ["bined-8"], "expected some of counting, binned-N"),
    ("inference.bounds", {"nu": [0, 1]}, "bounds: expected some of mu"),
    ("data", {"files": "a", "fold": "one"}, "data.fold: expected one of files.* did you mean 'folds'?"),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_a_mistake_is_one_line(place, value, message):
    raw = copy.deepcopy(RAW)
    raw.setdefault("posterior", {})
    raw.setdefault("inference", {})
    inner = raw
    *path, last = place.split(".")
    for name in path:
        inner = inner[name] if inner[name] != {"what": False} else inner
    inner[last] = value
    with pytest.raises(InputError, match=message) as caught:
        CrossSectionOptions.build(**raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "exactly one of shift, files, weights"),
        ({"shift": lambda c, v: c, "weights": {1: "a", -1: "b"}}, "exactly one of shift"),
        ({"weights": {1: "a", -1: "b"}, "points": (1.0,)}, "only with a shift"),
        ({"shift": lambda c, v: c, "constraint": lognormal(1.0, 1.0)}, "a squared coordinate with lognormal"),
        ({"shift": lambda c, v: c, "points": (0.0, 1.0)}, "different points without 0"),
        ({"shift": lambda c, v: c, "coordinate": square(1.0), "points": (-1.0, 1.0)}, "positive points"),
        ({"shift": lambda c, v: c, "constraint": uniform(1.0, 0.0)}, "lower < upper"),
        ({"shift": lambda c, v: c, "sets": 2}, "one set of random numbers"),
        ({"shift": lambda c, v: c, "coordinate": "cube"}, "a coordinate identity or hz.square"),
    ],
)
def test_a_nuisance_that_cannot_be_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        ShapeNuisance("k", **given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "a function as module:function"),
        ("missing.py:f", "expected a file missing.py, got nothing there"),
        ("no_such_module:f", "expected a module no_such_module that can be imported"),
        ("math:no_such", "expected a function 'no_such' in math"),
        ("math:pi", "expected a function 'pi' in math, got float"),
    ],
)
def test_a_function_that_is_not_there(text, message):
    from hisigma_zfit.crosssection.functions import load_function

    with pytest.raises(InputError, match=message):
        load_function(text)
