"""Files in, checked events out; every mistake is told in one line before anything is trained."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import yaml

from hisigma_zfit import cli
from hisigma_zfit.crosssection import arguments
from hisigma_zfit.crosssection.analysis import Analysis
from hisigma_zfit.crosssection.checking import check
from hisigma_zfit.crosssection.inputs import (
    Observed,
    analysis_of,
    check_simulation,
    input_digests,
    observe,
    read,
    read_data,
    split,
)
from hisigma_zfit.crosssection.nuisances import NormNuisance, Process, ShapeNuisance
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.recipe import Recipe
from hisigma_zfit.crosssection.regions import Counting, Unbinned
from hisigma_zfit.crosssection.sanity import require_features_that_vary, require_inside, shape_problem
from hisigma_zfit.crosssection.shifted import prepare
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError

REGIONS = (Unbinned("U", "pt > 60"), Counting("C"))


def document_of(folder, **changes):
    raw = {
        "tree": "events",
        "columns": {"pt": "pt", "phi": "phi", "ln_pt": "log(pt)"},
        "weight": "weights",
        "identity": "event",
        "processes": {
            "signal": {"files": f"{folder}/signal.root", "poi": "mu"},
            "background": {"files": f"{folder}/background.root"},
        },
        "selection": {"apply": f"{folder}/functions.py:threshold"},
        "nuisances": {
            "scale": {"shift": f"{folder}/functions.py:scale", "unit": 0.02},
            "smear": {
                "shift": f"{folder}/functions.py:smear",
                "coordinate": {"square": 2.0},
                "constraint": {"lognormal": [1.0, 1.0]},
                "stochastic": True,
            },
            "lumi": {"norm": {"signal": 0.02, "background": 0.02}},
        },
        "features": ["ln_pt", "phi"],
        "regions": {"U": {"unbinned": "score.signal > 0.5"}, "C": {"counting": "else", "bins": {"pt": [20, 40, 1e9]}}},
        "data": {"files": f"{folder}/data.root"},
    }
    for place, value in changes.items():
        inner = raw
        *path, last = place.split("__")
        for name in path:
            inner = inner[name]
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    return raw


def options_of(folder, **changes):
    return CrossSectionOptions.build(**copy.deepcopy(document_of(folder, **changes)))


def test_simulation_and_data_are_read(folder, world):
    options = options_of(folder)
    inputs = read(options)
    assert [own.name for own in inputs.rows] == ["signal", "background"]
    assert inputs.features == ("ln_pt", "phi")
    signal = inputs.samples[0]
    np.testing.assert_array_equal(np.unique(np.diff(np.unique(signal.events.identity)) % 4), [0])
    total = world.columns["signal"]["weights"].sum()
    assert signal.weights.sum() == pytest.approx(total)
    assert inputs.held_back[0].weights.sum() == pytest.approx(total)
    # expressions of other columns are made after the selection, and not read
    assert signal.events.names == ("pt", "phi")
    np.testing.assert_allclose(
        inputs.rows[0].x[:, 0], np.log(signal.events["pt"][signal.events["pt"] > 20.0]), rtol=1e-6
    )
    observed = read_data(options, inputs.analysis.recipe)
    assert observed.weights is None
    assert observed.n_read == 2000
    assert set(np.unique(observed.fold)) == {0, 1}
    np.testing.assert_array_equal(observed.swapped().fold, 1 - observed.fold)
    assert set(input_digests(options)) == {"signal.root", "background.root", "data.root", "functions.py"}
    again = read_data(options_of(folder, seed=2), inputs.analysis.recipe)
    assert not np.array_equal(again.fold, observed.fold)


def test_all_columns_of_the_files_are_read_without_weight_and_identity(folder):
    options = options_of(folder, columns="all", features=["pt", "phi"])
    assert set(analysis_of(options).processes[0].events.names) == {"pt", "phi"}
    assert set(read_data(options, Recipe(("pt",))).columns) == {"pt", "phi"}


def test_derived_columns_may_be_a_function(folder):
    options = options_of(
        folder, columns="all", features=f"{folder}/functions.py:features", derived=f"{folder}/functions.py:features"
    )
    inputs = read(options)
    assert inputs.features == ("ln_pt", "phi")


def said(*words):
    """Options of a command line."""
    return arguments.options_of(cli.parser().parse_args(["cross-section", *map(str, words)]))


def test_check_takes_all_that_a_run_takes(folder):
    config = folder / "analysis.yaml"
    config.write_text(yaml.safe_dump(document_of(folder)))
    words = ["--preset", "quick", "--seed", "3", "--set", "posterior.folds=3", "--set", "exponents.epochs=1", "--blind"]
    words += ["--data", folder / "data.root", "--out", folder / "run", "--processes", "2"]
    run = said("--config", config, *words)
    assert (run.preset, run.seed, run.posterior.folds, run.exponents.epochs) == ("quick", 3, 3, 1)
    for line in (["check", config, *words], ["check", "--config", config, *words], [*words, "check", config]):
        assert said(*line) == run
    # lists before and behind are joined
    assert said("--set", "posterior.folds=3", "check", config, "--set", "exponents.epochs=1").posterior.folds == 3
    with pytest.raises(InputError, match="expected one preset, got 'quick' and 'paper'"):
        said("--preset", "quick", "check", config, "--preset", "paper")
    with pytest.raises(InputError, match="expected a configuration file, got none"):
        said("check", "--preset", "quick")
    assert "without products, for want of a common point: scale smear" in check(said("check", config, *words[:2]))


def test_check_tells_what_there_is_without_reading_it_all(folder):
    text = check(options_of(folder))
    assert text.splitlines() == [
        "signal: 3,000 rows, times mu",
        "background: 6,000 rows, background",
        "data: 2,000 rows",
        "2 features: ln_pt, phi",
        "2 nuisances that move events, 1 that scale processes",
        "15 design points and the nominal, 5 monomials: scale, smear, scale^2, smear^2, scale smear",
        text.splitlines()[6],
        "3 cells before merging: U, C",
    ]
    assert "smallest singular value of the design" in text
    assert "without products" in check(options_of(folder, joint_points=[]))


MISTAKES = [
    ({"processes__signal__files": "nowhere.root"}, "nowhere.root, got nothing there"),
    ({"tree": "evnts"}, "expected a tree 'evnts' in .* choose one of 'events'"),
    ({"columns": {"pt": "ptt", "phi": "phi", "ln_pt": "log(pt)"}}, "expected a branch 'ptt' .* did you mean 'pt'"),
    ({"weight": "weigths"}, "process signal: expected a branch 'weigths' .* did you mean 'weights'"),
    ({"identity": "evnt"}, "expected a branch 'evnt'"),
    ({"identity": "pt"}, "expected whole numbers below 2\\^53 in the identity 'pt'"),
    ({"features": ["pt", "eta"]}, "expected a branch 'eta' in feature 'eta'"),
    ({"selection": {"cut": "pt > 1e9"}}, "expected events of process signal that pass the selection, got none"),
    ({"selection": {"cut": "pt"}}, "expected a cut that is true or false"),
    ({"features": ["phi", "1.0 + 0 * phi"]}, "expected a feature '1.0 \\+ 0 \\* phi' that varies, got one value"),
    ({"features": ["log(pt - 40)"]}, "finite values of feature 'log\\(pt - 40\\)' of process signal, got .* NaN"),
    ({"nuisances__pdf": {"weights": {"up": "w_up", "down": "weights"}}}, "expected a branch 'w_up'"),
    ({"nuisances__pdf": {"weights": {"up": "weights", "down": "weights"}}}, "expected other weights for nuisance pdf"),
    (
        {"processes__background__files": "{folder}/signal.root"},
        "expected different events of processes signal and background, got 3000 rows in both",
    ),
    ({"data": {"files": "{folder}/signal.root"}}, "expected data that are no simulation, got .*process signal"),
    (
        {"nuisances__f": {"files": {"up": {"signal": "{folder}/up.root"}, "down": {"signal": "{folder}/up.root"}}}},
        "expected other files for nuisance f at -1 than at \\+1, got .*up.root for both",
    ),
    (
        {"nuisances__f": {"files": {"up": {"signal": "{folder}/up.root"}, "down": {"signal": "{folder}/same.root"}}}},
        "expected other events for nuisance f of process signal at \\+1 than at -1, got the same",
    ),
    (
        {"nuisances__f": {"files": {"up": {"signal": "{folder}/up.root"}, "down": {"signal": "{folder}/half.root"}}}},
        "expected 80% of the nominal hard events for nuisance f of process signal at -1",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake_is_one_line(folder, world, write, changes, message):
    if "up.root" in str(changes):
        up = {**world.columns["signal"], "pt": 1.02 * world.columns["signal"]["pt"]}
        write(folder / "up.root", up)
        write(folder / "same.root", up)
        write(folder / "half.root", {name: values[:1500] for name, values in up.items()})
    filled = {k: eval(repr(v).replace("{folder}", str(folder))) for k, v in changes.items()}
    with pytest.raises(InputError, match=message) as caught:
        read(options_of(folder, **filled))
    assert "\n" not in str(caught.value)


def test_files_of_one_process_have_the_same_columns_and_events_of_their_own(folder, world, write):
    more = world.events(5, 500, 40.0)
    write(folder / "more.root", {**more, "extra": more["pt"]})
    both = [f"{folder}/signal.root", f"{folder}/more.root"]
    with pytest.raises(InputError, match=r"got 'extra' in one of them only"):
        analysis_of(options_of(folder, columns="all", features=["pt"], processes__signal__files=both))
    analysis = analysis_of(options_of(folder, processes__signal__files=both))
    with pytest.raises(InputError, match=r"an identity in one file only, got 375 in .*more.root and in one before"):
        check_simulation(analysis, seed=1)


def test_not_a_number_is_counted_with_its_process(folder, world, write):
    columns = world.columns["background"]
    write(folder / "background.root", {**columns, "pt": np.where(np.arange(6000) < 3, np.nan, columns["pt"])})
    with pytest.raises(InputError, match=r"process background: expected finite values in column 'pt', got 3 NaN"):
        read(options_of(folder))


def test_data_have_no_weights_unless_they_stand_for_data(folder, world, write):
    write(folder / "data.root", world.events(9, 1000, 15.0))
    options = options_of(folder)
    recipe = analysis_of(options, max_events=100).recipe
    with pytest.raises(
        InputError, match=r"expected data without weights, got the column 'weights' .* pseudo_data: true"
    ):
        read_data(options, recipe)
    pseudo = read_data(options_of(folder, data__pseudo_data=True), recipe)
    assert pseudo.weights.sum() > 1000.0
    with pytest.raises(InputError, match=r"expected data, got none"):
        read_data(options_of(folder, data=None), recipe)


def with_weights(process, weights):
    return replace(process, events=replace(process.events, weights=weights))


def test_weights_and_copies_are_checked(world):
    signal, background = world.processes
    negative = with_weights(signal, np.where(np.arange(3000) < 300, -1.0, signal.events.weights))
    recipe = Recipe(("pt", "phi"))
    analysis = Analysis((negative, background), (), recipe, REGIONS)
    with pytest.raises(InputError, match=r"process signal of at least zero, got 300 of 3000 negative, .*% of the sum"):
        check_simulation(analysis, seed=1)
    check_simulation(analysis, seed=1, negative_weights="keep")
    with pytest.raises(InputError, match=r"a positive sum of weights of process signal, got 0"):
        check_simulation(Analysis((with_weights(signal, np.zeros(3000)), background), (), recipe, REGIONS), seed=1)
    twice = {name: np.repeat(values[:100], 2) for name, values in signal.events.columns.items()}
    copies = Process("signal", Dataset.from_arrays(twice), "mu")
    with pytest.raises(InputError, match=r"no copies of others, .* got 100 copies in 200 rows; give identity"):
        check_simulation(Analysis((copies, background), (), recipe, REGIONS), seed=1)
    siblings = Process("signal", Dataset.from_arrays(twice, identity=np.repeat(np.arange(100), 2)), "mu")
    check_simulation(Analysis((siblings, background), (), recipe, REGIONS), seed=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"processes": lambda own: (own[0], own[0])}, "expected distinct processes, got 'signal' twice"),
        ({"processes": lambda own: (replace(own[0], poi=()), own[1])}, "a process with a parameter of interest"),
        ({"nuisances": lambda _: (NormNuisance("mu", {"signal": 0.1}),)}, "and nuisances, got 'mu' twice"),
        ({"nuisances": lambda _: (NormNuisance("k", {"top": 0.1}),)}, "among signal, background, got 'top'"),
        (
            {"nuisances": lambda _: (ShapeNuisance("k", weights={1: "a", -1: "b"}, processes=("top",)),)},
            "processes of nuisance k among signal, background, got 'top'",
        ),
        ({"regions": lambda _: (Unbinned("U", "pt > 1"), Counting("U"))}, "distinct regions, got 'U' twice"),
    ],
)
def test_an_analysis_from_python_is_checked_too(world, change, message):
    given = {"processes": world.processes, "nuisances": (), "recipe": world.recipe, "regions": REGIONS}
    with pytest.raises(InputError, match=message):
        Analysis(**{name: change[name](own) if name in change else own for name, own in given.items()})


def test_an_analysis_knows_its_parts(world):
    norm = NormNuisance("lumi", {"signal": 0.02})
    analysis = Analysis(world.processes, (world.scale, norm, world.smear), world.recipe, REGIONS)
    assert analysis.shapes == (world.scale, world.smear)
    assert analysis.norms == (norm,)
    assert (analysis.pois, analysis.signal) == (("mu",), (True, False))
    inputs = split(analysis, seed=1, held_back=0.0, folds=3)
    assert inputs.held_back == ()
    assert inputs.rows[0].fold.max() == 2


def test_data_outside_of_what_was_learned(world):
    rows = [
        prepare(sample, world.recipe)
        for sample in split(
            Analysis(world.processes, (), world.recipe, REGIONS), seed=1, held_back=0.0, folds=2
        ).samples
    ]
    inside = rows[1].x[:2000].copy()
    assert require_inside(inside, rows, ("pt", "phi")) == {}
    inside[0, 0] = 1e6
    assert require_inside(inside, rows, ("pt", "phi")) == {"pt": 1}
    inside[:3, 1] = -7.0
    with pytest.raises(InputError, match=r"inside of the simulated range of feature 'phi', got 3 of 2000"):
        require_inside(inside, rows, ("pt", "phi"))
    with pytest.raises(InputError, match=r"a feature 'phi' that varies"):
        require_features_that_vary(
            [replace(rows[0], x=np.stack([rows[0].x[:, 0], 0 * rows[0].x[:, 0]], 1))], ("pt", "phi")
        )
    few = replace(rows[0], cell=np.where(np.arange(len(rows[0].cell)) < 150, 0, 1))
    assert "got 150; say shape: none" in shape_problem(few, 1)
    assert shape_problem(few, 2) is None


def test_observed_events_from_python(world):
    events = Dataset.from_arrays({"pt": [25.0, 10.0, 70.0], "phi": [0.0, 1.0, 2.0]})
    found = observe(events, world.recipe, seed=1, folds=2, digest="ab12")
    assert isinstance(found, Observed)
    assert found.x[:, 0].tolist() == [25.0, 70.0]
    with pytest.raises(InputError, match=r"expected data that pass the selection, got none"):
        observe(events.select(events["pt"] < 20.0), world.recipe, seed=1, folds=2, digest="ab12")
