"""A whole cross-section from files to a run folder, on the analytic world: against exact ratios, and after kills."""

# ruff: noqa: F811 - the fixtures of the run are imported, and named again where they are taken

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from crosssection_run import (  # noqa: F401 - fixtures
    WRONG,
    KilledError,
    exact_expected,
    few_steps,
    killing,
    learned,
    learner_of,
    no_figures,
    numbers,
    observed,
    run,
)
from crosssection_world import MOVE, TOY, write_root
from same_numbers import assert_same_text

from hisigma_zfit.crosssection import checks, learning, methods, pipeline, replicas, trials
from hisigma_zfit.crosssection.expectation import Expectation
from hisigma_zfit.crosssection.inputs import read, read_data, split
from hisigma_zfit.crosssection.options import CrossSectionOptions, UncertaintyOptions
from hisigma_zfit.crosssection.shifted import Shifter
from hisigma_zfit.crosssection.stored import CrossSectionResults, load_cross_section
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.ratio import exponents
from hisigma_zfit.results import CrossSectionResult


# few events are outside of U, so that the fit of all of them with exact ratios is what this one should be
@pytest.mark.statistical  # the simulation moves mu by a known error; 4.5 of them have a rate of 7e-6
def test_the_interval_is_that_of_exact_ratios(run):
    own, low_high = run.result.poi["mu"], exact_expected().interval(1.0)
    assert own.error == pytest.approx(0.5 * (low_high[1] - low_high[0]), rel=0.08)
    assert abs(own.value - 1.0) < 4.5 * run.result.uncertainty["mu"].sigma
    assert own.interval_68_with_simulation[0] < own.interval_68[0] < own.value < own.interval_68[1]
    assert own.error_stat < own.error


def test_a_shape_that_is_not_learned_has_bins_of_the_score(run, learned, tmp_path):
    """With one bin the nuisances would not move it, and the interval would be too short."""
    processes = run.world.content()["processes"]
    config = run.world.config("none", processes=processes | {"background": processes["background"] | {"shape": "none"}})
    settings = CrossSectionOptions.load(config)
    shutil.copytree(run.path / "members" / "ratios", tmp_path / "ratios")
    own = learning.Learner(read(settings), settings, folder=tmp_path / "ratios", seed=settings.seed)
    scorer = own.scorer()
    model = own.model(scorer, own.simulation(scorer))
    edges = learning.Construction.of(model).edges
    assert edges[0][0] == tuple(range(settings.moments.score_bins - 1))
    background = own.inputs.samples[1]
    assert 1 < len(edges[1][0]) < len(background.weights) / learning.BIN_ENOUGH
    assert learning.Construction.of(learned.model).edges[1][0] == ()  # a shape that is learned from few events
    # the number of events in a bin moves with the nuisance as the simulation says
    before, after = np.array(model.parts[1][0].moments.residuals.before), model.parts[1][0].moments.residuals.after
    assert np.sqrt(np.mean(np.square(after))) < 0.5 * np.sqrt(np.mean(before**2))


def test_finer_methods_have_shorter_intervals(run):
    compared = run.result.comparison
    assert set(compared) == {"unbinned", "binned-8", "counting", "unbinned-uncalibrated"}
    assert compared["unbinned"].width < 1.01 * compared["binned-8"].width < compared["counting"].width
    assert compared["unbinned"].value == pytest.approx(run.result.poi["mu"].value, abs=1e-4)
    assert [compared[name].score_bins for name in ("unbinned", "binned-8", "counting")] == [None, 8, 1]


def test_yields_are_those_of_the_processes(run):
    result = run.result
    assert [own.unbinned for own in result.cells.values()] == [True, False, False, False]
    for process, size in zip(TOY.processes, TOY.size, strict=True):
        cells = result.yields[process]
        assert sum(own.reference for own in cells.values()) == pytest.approx(size, rel=0.005)
    for cell, own in result.cells.items():
        assert own.postfit == pytest.approx(sum(result.yields[p][cell].postfit for p in TOY.processes))
    # the best fit of expected events expects what they are
    assert sum(own.postfit for own in result.cells.values()) == pytest.approx(
        sum(own.observed for own in result.cells.values()), rel=0.003
    )


def test_the_run_folder_has_everything_and_is_read_back(run):
    table = (run.path / "table.txt").read_text()
    assert "mu" in table
    assert "unbinned" in table
    expected = {"counting_bins", "likelihood_mu", "impacts_mu", "correlations", "widths", "profile_smearing"}
    assert expected <= set(run.figures)
    assert {path.name for path in (run.path / "figures").iterdir()} == {"likelihood_mu.pdf", "likelihood_mu.png"}
    again = load_cross_section(run.path)
    assert again.result.to_json() == run.result.to_json()
    assert CrossSectionResult.from_json((run.path / "result.json").read_text()).to_json() == run.result.to_json()
    assert [scan.poi for scan in again.scans] == ["mu"]
    # a complete run is not made again
    assert pipeline.cross_section(config=run.world.config(), out=run.path).to_json() == run.result.to_json()


def test_a_run_killed_in_every_stage_ends_as_one_that_was_not(run, monkeypatch):
    config, path = run.world.config("again"), run.world.folder / "killed"
    places = [
        (learning, "train_posterior", 0),
        (Shifter, "shifted", 7),
        (exponents.NetTraining, "train", 1),
        (methods, "methods_of", 0),
        (checks, "closures", 0),
    ]
    for owner, name, at in places:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killing(getattr(owner, name), at))
            with pytest.raises(KilledError):
                pipeline.cross_section(config=config, out=path)
        assert not path.exists()
    monkeypatch.setattr(CrossSectionResults, "figures", no_figures)
    monkeypatch.setattr(learning, "train_posterior", killing(learning.train_posterior, 0))  # it is kept
    result = pipeline.cross_section(config=config, out=path)
    assert_same_text(numbers(result), numbers(run.result))


def test_a_blind_run_looks_at_no_data(run, monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise AssertionError

    monkeypatch.setattr(CrossSectionResults, "figures", no_figures)
    monkeypatch.setattr(pipeline, "read_data", refuse)
    (run.world.folder / "closed.root").write_text("nobody opens this")
    data = {"files": str(run.world.folder / "closed.root")}
    settings = CrossSectionOptions.load(run.world.config("blind", data=data, blind=True))
    result = pipeline.run_cross_section(settings, out=run.world.folder / "blind", reuse=run.path)
    assert (result.data, result.n_events.read, result.assignments) == ("asimov", 0, ())
    assert result.poi["mu"].to_json() == run.result.poi["mu"].to_json()


@pytest.mark.statistical
def test_data_are_fitted_with_both_assignments(run, observed):
    first, second = observed.assignments
    assert observed.data == "observed"
    assert first.value == pytest.approx(observed.poi["mu"].value, abs=1e-4)
    # folds hang on the digest of a file that is new each time: both differences have a spread of about 0.12, and twice
    # the error is 0.56, which is beyond by chance in fewer than one of 10^5 runs
    assert 1e-6 < abs(first.value - second.value) < 2.0 * observed.poi["mu"].error
    events = observed.n_events
    assert events.read == events.used + sum(events.dropped.values())
    assert events.read == len(run.world.observed()["x"])
    # the same events with exact ratios; learned ones add the error of the simulation and less
    columns = run.world.observed()
    exact = Profiler(TOY.likelihood(TOY.columns(np.stack([columns["x"], columns["y"]], axis=1))), "mu")
    assert abs(observed.poi["mu"].value - exact.best) < 2.0 * observed.poi["mu"].error


@pytest.mark.statistical  # two p-values, 1e-5 each
def test_the_fitted_model_describes_the_data(run, observed):
    assert observed.gof_counting.bins == 3
    assert observed.gof_counting.p_value > 1e-5
    assert observed.gof["U"].p_value > 1e-5
    assert (run.result.gof_counting, run.result.gof) == (None, {})
    stored = load_cross_section(run.world.folder / "observed")
    assert [own.observable for own in stored.postfit] == ["score.signal", "x", "y"]
    assert stored.postfit[0].data.sum() == observed.n_events.unbinned["U"]
    assert [own.quantity for own in stored.maps] == ["posterior", "variation", "variation"]


@pytest.mark.slow
def test_everything_is_learned_again_for_replicas(run, learned, tmp_path):
    """Two of them: different from each other, and no farther than the events of the templates allow."""
    settings = CrossSectionOptions.load(run.world.config("replicas", uncertainty={"what": "all", "replicas": 2}))
    inputs = read(settings)
    found = replicas.retrained_replicas(inputs, settings, learned.model, folder=tmp_path / "kept")["mu"]
    sigma = run.result.uncertainty["mu"].sigma
    assert 0.0 < abs(found[0] - found[1]) < 10.0 * sigma
    assert np.abs(found - 1.0).max() < 8.0 * sigma
    # those that are there are not made again, but those of other options are
    kept = json.loads((tmp_path / "kept" / "0000.json").read_text())
    (tmp_path / "kept" / "0000.json").write_text(json.dumps(kept | {"values": {"mu": 1.25}}))
    (tmp_path / "kept" / "0001.json").write_text(json.dumps(kept | {"identity": "other", "values": {"mu": 1.25}}))
    again = replicas.retrained_replicas(inputs, settings, learned.model, folder=tmp_path / "kept")["mu"]
    assert again.tolist() == [1.25, pytest.approx(found[1], abs=1e-6)]
    error = trials.simulation_error(learned.model, learned.model.reference, "mu", seed=1, effective={}, retrained=found)
    assert (error.what, error.sigma) == ("all", pytest.approx(np.std(found, ddof=1)))
    assert set(error.by_process) == set(TOY.processes)


def test_a_replica_that_fails_costs_no_run(run, learned, monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise InputError("nothing is left")

    monkeypatch.setattr(learning, "train_posterior", refuse)
    inputs, one = read(run.settings), run.settings.model_copy(update={"uncertainty": UncertaintyOptions(what="all")})
    assert len(replicas.retrained_replicas(inputs, one, learned.model)["mu"]) == 0


def test_weights_of_a_nuisance_are_drawn_with_their_events(run, learned):
    """The yield at "up" is that at nominal times the weights' ratio, however often events are drawn."""
    world = run.world
    for p, name in enumerate(TOY.processes):
        columns = world.simulated(p)
        write_root(world.folder / f"{name}_w.root", {**columns, "up": 1.1 * columns["weights"]})
    content = world.content()
    changes = {
        "processes": {
            name: own | {"files": str(world.folder / f"{name}_w.root")} for name, own in content["processes"].items()
        },
        "nuisances": {"pdf": {"weights": {"up": "up", "down": "weights"}}, "size": content["nuisances"]["size"]},
    }
    inputs = read(CrossSectionOptions.load(world.config("weighted", **changes)))
    for own in (inputs, replicas.replica_inputs(inputs, 1)):
        analysis = own.analysis
        shifter = Shifter(analysis.shapes, analysis.recipe, learned.model.cells, learned.scorer.scores, seed=1)
        for sample in own.samples:
            placed = shifter.nominal(sample)
            shifted = shifter.shifted(sample, (1.0,), placed)
            np.testing.assert_allclose(shifted.sums, 1.1 * placed.sums)


def test_regions_of_columns_alone_are_learned_too(run, tmp_path):
    """No region knows of scores; binned fits and moments do."""
    config = run.world.config("columns", regions={"U": {"unbinned": "x > -0.5"}, "C": {"counting": "else"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CrossSectionResults, "figures", no_figures)
        result = pipeline.cross_section(config=config, out=tmp_path / "run")
    assert result.poi["mu"].error == pytest.approx(run.result.poi["mu"].error, rel=0.15)
    assert result.comparison["binned-8"].width > result.comparison["unbinned"].width


def test_a_replica_draws_hard_events(run):
    inputs = read(run.settings)
    own = replicas.replica_inputs(inputs, 3)
    for mine, its in zip(own.samples, inputs.samples, strict=True):
        copies = mine.part.copies(its.events.identity)
        assert mine.weights.sum() == pytest.approx((its.weights * copies).sum())
        assert set(mine.events.identity) == set(its.events.identity[copies > 0])
        assert abs(copies.mean() - 1.0) < 5.0 / np.sqrt(len(copies))
        # varied events of files are drawn alike
        varied = mine.like(its.events)
        assert varied.weights.sum() == pytest.approx(mine.weights.sum())
    assert not np.array_equal(own.samples[0].part.replica, own.samples[1].part.replica)


def test_trees_tell_shifted_events_from_those_without_a_variation(run, learned):
    """And hardly from those that the learned variation reweights."""
    inputs, simulation, model = learned.inputs, learned.simulation, learned.model
    pages = checks.closures(inputs, simulation, model)
    own = checks.exponent_summaries(inputs, simulation, model, pages, seed=1)["background"]
    nothing = replace(model.parts[1][0], moments=SimpleNamespace(exponents=lambda learned, _: 0.0 * learned))
    still = replace(model, parts=(model.parts[0], (nothing,)))
    without = checks.exponent_summaries(inputs, simulation, still, pages, seed=1)["background"]
    assert without.two_sample[1] > 6.0
    assert own.two_sample[1] < 0.5 * without.two_sample[1]
    assert run.result.exponents["background"].two_sample is None  # not in the quick preset


def test_an_event_is_scored_by_the_models_of_its_fold_alone(run, learned):
    settings = CrossSectionOptions.load(run.world.config("scored", data={"files": str(run.world.folder / "data.root")}))
    data = read_data(settings, learned.inputs.analysis.recipe)
    scorer = learned.scorer
    each = [scorer.scores(data.x, np.full(len(data.x), k, dtype=np.int8)) for k in range(2)]
    own = scorer.scores(data.x, data.fold)
    assert set(data.fold.tolist()) == {0, 1}
    assert own == pytest.approx(np.where((data.fold == 0)[:, None], *each), abs=1e-6)
    assert np.abs(each[0] - each[1]).max() > 0.01
    assert np.array_equal(data.swapped().fold, 1 - data.fold)
    scored, outside = learned.model.observed(data)
    inside = own[:, 0] > 0.01
    assert outside == 0
    assert scored.score == pytest.approx(own[inside, 0], abs=1e-6)


def test_events_that_are_held_back_teach_nothing_and_are_scored_once(run, learned):
    settings = CrossSectionOptions.load(run.world.config("held", held_back=0.2))
    inputs = read(settings)
    for used, held in zip(inputs.samples, inputs.held_back, strict=True):
        assert not np.intersect1d(used.events.identity, held.events.identity).size
        assert held.weights.sum() == pytest.approx(used.weights.sum())
    expectation = Expectation(inputs, learned.simulation, learned.model, inputs.held_back)
    rows = expectation.rows({})
    for own in rows:
        assert own.scores == pytest.approx(learned.scorer.scores(own.x, own.fold), abs=1e-6)


def test_files_say_the_same_as_the_function_that_made_them(run, learned):
    world = run.world
    files = {}
    for side, value in (("up", 1.0), ("down", -1.0)):
        files[side] = {}
        for p, name in enumerate(TOY.processes):
            columns = world.simulated(p)
            order = np.random.default_rng(p).permutation(len(columns["x"]))  # identity finds the pairs
            moved = {**columns, "x": columns["x"] + MOVE * value}
            write_root(world.folder / f"{name}_{side}.root", {key: own[order] for key, own in moved.items()})
            files[side][name] = [str(world.folder / f"{name}_{side}.root")]
    size = world.content()["nuisances"]["size"]
    shift = {"shift": f"{world.folder / 'shifts.py'}:scale", "points": [-1, 1]}
    found = []
    for name, scale in (("function", shift), ("files", {"files": files})):
        config = world.config(name, nuisances={"scale": scale, "size": size})
        own = learner_of(run, CrossSectionOptions.load(config), folder=False)
        found.append((own, own.simulation(learned.scorer)))
    (own, function), (_, varied) = found
    assert own.analysis.design.monomials.size == 2
    np.testing.assert_allclose(varied.sums, function.sums, rtol=1e-12)
    for mine, its in zip(chain(*function.shifted), chain(*varied.shifted), strict=True):
        order, other = np.argsort(mine.row), np.argsort(its.row)
        for name in ("row", "x", "weights", "fold", "cell", "scores"):
            np.testing.assert_allclose(getattr(mine, name)[order], getattr(its, name)[other], rtol=1e-6)


def test_the_order_of_rows_is_nothing(run, learned):
    analysis = learned.inputs.analysis
    processes = []
    for own in analysis.processes:
        order = np.random.default_rng(5).permutation(len(own.events))
        columns = {name: values[order] for name, values in own.events.columns.items()}
        events = Dataset.from_arrays(columns, own.events.weights[order], identity=own.events.identity[order])
        processes.append(replace(own, events=events))
    inputs = split(replace(analysis, processes=tuple(processes)), seed=run.settings.seed, held_back=0.0, folds=2)
    own = learning.Learner(inputs, run.settings, seed=run.settings.seed)
    simulation = own.simulation(learned.scorer)
    np.testing.assert_allclose(simulation.sizes, learned.simulation.sizes, rtol=1e-12)
    np.testing.assert_allclose(simulation.sums, learned.simulation.sums, rtol=1e-12)
    posterior = learning.train_posterior(inputs.rows, kind="network", folds=2, seed=run.settings.seed)
    x = learned.inputs.rows[1].x[:500]
    fold = learned.inputs.rows[1].fold[:500]
    assert np.abs(posterior.scores(x, fold) - learned.scorer.posterior.scores(x, fold)).max() < 1e-6


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line(run, tmp_path, monkeypatch, change, message):
    trained = []

    def posterior(*_arguments, **_keywords):
        trained.append(1)
        return learner_of(run).scorer().posterior

    monkeypatch.setattr(learning, "train_posterior", posterior)
    out = tmp_path / "wrong"
    with pytest.raises(InputError) as caught:
        pipeline.cross_section(config=run.world.config("wrong", **change(run.world)), out=out)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    # what was learned is kept, before that there is nothing
    assert trained or not list(tmp_path.iterdir())
