"""Coverage of a finished cross-section: the model comes back untrained, toys resume, and intervals cover."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from same_numbers import assert_same_text

from hisigma_zfit.crosssection import study
from hisigma_zfit.crosssection.draws import DrawPlan, draw_toys
from hisigma_zfit.crosssection.expectation import Expectation
from hisigma_zfit.crosssection.inputs import input_digests, input_roles, read
from hisigma_zfit.crosssection.learning import Learner
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.restoring import restored, stored_settings
from hisigma_zfit.crosssection.stored import TASK
from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.results import CoverageStudy
from hisigma_zfit.runs.identity import Identity

FUNCTIONS = """
def scale(columns, value):
    return {**columns, "x": columns["x"] + 0.1 * value}


def smear(columns, value, rng):
    return {**columns, "y": columns["y"] + value * rng.standard_normal(len(columns["y"]))}
"""
YIELDS = {"signal": 150.0, "background": 1500.0}
ROWS = {"signal": 2000, "background": 4000}


def simulated(name: str) -> dict[str, np.ndarray]:
    """Two Gaussian features, which separate signal from background by one standard deviation and a half."""
    n, rng = ROWS[name], np.random.default_rng(len(name))
    centre = 1.5 if name == "signal" else 0.0
    return {
        "x": rng.normal(centre, 1.0, n),
        "y": rng.normal(0.0, 1.0, n),
        "weights": np.full(n, YIELDS[name] / n),
        "event": np.arange(n, dtype=np.int64) // 2,
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run folder as the pipeline leaves it, without the answers that no toy asks for."""
    import uproot

    folder = tmp_path_factory.mktemp("coverage")
    for name in YIELDS:
        with uproot.recreate(folder / f"{name}.root") as file:
            file["events"] = simulated(name)
    (folder / "shifts.py").write_text(FUNCTIONS)
    content = {
        "weight": "weights",
        "identity": "event",
        "processes": {
            "signal": {"files": "signal.root", "poi": "mu", "shape": "learned"},
            "background": {"files": "background.root", "shape": "learned"},
        },
        "nuisances": {
            "scale": {"shift": "shifts.py:scale", "points": [-2, -1, 1, 2]},
            "smear": {
                "shift": "shifts.py:smear",
                "coordinate": {"square": 0.5},
                "constraint": {"lognormal": [0.25, 0.5]},
                "points": [0.25, 0.5, 0.75],
                "stochastic": True,
            },
            "size": {"norm": {"background": 0.1}},
        },
        "features": ["x", "y"],
        "exponents": {"hidden": [8]},
        "regions": {"U": {"unbinned": "score.signal > 0.05"}, "C": {"counting": "else"}},
        "held_back": 0.0,
        "inference": {"compare": ["binned-4"]},
        "preset": "quick",
        "seed": 3,
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content))
    settings = CrossSectionOptions.load(folder / "analysis.yaml")
    run = folder / "run"
    ratios = run / "members" / "ratios"
    ratios.mkdir(parents=True)
    learner = Learner(read(settings), settings, folder=ratios, seed=settings.seed)
    scorer = learner.scorer()
    model = learner.model(scorer, learner.simulation(scorer))
    identity = Identity(TASK, input_digests(settings), settings.numbers(), roles=input_roles(settings))
    (run / "run.json").write_text(json.dumps(identity.content()))
    (run / "config.yaml").write_text(settings.document())
    (run / "result.json").write_text(json.dumps({"uncertainty": {"mu": {"sigma": 0.4}}}))
    return SimpleNamespace(folder=folder, run=run, model=model)


OPTIONS = {"draws": 3, "toys": 4, "mu": (0.5, 2.0), "methods": ("unbinned", "binned-4"), "progress": False}


@pytest.fixture(scope="module")
def toys(finished):
    return study.coverage(finished.run, **OPTIONS)


def assert_same(first: CoverageStudy, second: CoverageStudy) -> None:
    """But for the time that it took."""
    texts = [json.loads(own.to_json()) for own in (first, second)]
    for text in texts:
        for draw in text["truth"]:
            del draw["cpu_s"]
    assert_same_text(*map(json.dumps, texts))


class TestRestored:
    def test_the_model_is_the_same(self, finished):
        found = restored(finished.run)
        assert list(found.methods) == ["unbinned", "binned-4"]
        for name in ("posterior", "exponents", "weights"):
            own, other = getattr(found.model.reference, name), getattr(finished.model.reference, name)
            np.testing.assert_array_equal(own, other)

    def test_nothing_is_trained_or_written(self, finished, monkeypatch):
        def trained(*_args, **_options):
            raise AssertionError

        monkeypatch.setattr("hisigma_zfit.crosssection.learning.train_posterior", trained)
        monkeypatch.setattr("hisigma_zfit.ratio.exponent_nets.NetTraining._loss_and_gradient", trained)
        monkeypatch.setattr("hisigma_zfit.crosssection.shifted.Shifter._one_set", trained)
        files = {path: path.stat().st_mtime_ns for path in (finished.run / "members").rglob("*.npz")}
        assert len(files) > 10
        restored(finished.run)
        assert {path: path.stat().st_mtime_ns for path in (finished.run / "members").rglob("*.npz")} == files

    @pytest.mark.parametrize("name", ["posterior.npz", "design/signal-001.npz", "exponents/signal-0/exponents_1_0.npz"])
    def test_what_is_missing_is_named(self, finished, tmp_path, name):
        copy = shutil.copytree(finished.run, tmp_path / "run")
        (copy / "members" / "ratios" / name).unlink()
        with pytest.raises(RunFolderError, match=f"no {name}; run again"):
            restored(copy)

    def test_files_must_be_the_same(self, finished, tmp_path):
        copy = shutil.copytree(finished.run, tmp_path / "run")
        (tmp_path / "shifts.py").write_text(FUNCTIONS.replace("0.1", "0.2"))
        text = (copy / "config.yaml").read_text()
        (copy / "config.yaml").write_text(text.replace(str(finished.folder / "shifts.py"), str(tmp_path / "shifts.py")))
        with pytest.raises(InputError, match=r"input 'shifts\.py' with other content then than now; bring them back"):
            stored_settings(copy)


@pytest.fixture(scope="module")
def plan(finished):
    settings = stored_settings(finished.run)
    found = restored(finished.run)

    def make(nuisances, mu=(1.0, 1.0)):
        own = {"poi": "mu", "mu": mu, "toys": 2, "nuisances": nuisances, "cl": 0.6827, "seed": 5}
        return DrawPlan.of(found, settings, ("unbinned",), **own)

    return make


class TestDraws:
    def test_random_nuisances_are_those_of_the_priors(self, plan):
        draw = draw_toys(plan("random"), 2)
        assert list(draw.nuisances) == ["scale", "smear", "size"]
        assert len({round(value, 9) for value in draw.nuisances.values()} | {0.0}) == 4
        assert draw.nuisances["smear"] > 0.0
        np.testing.assert_array_equal(draw.truth, 1.0)
        # aux stay where they are: all toys have the same true values, and pulls are relative to those
        assert set(draw.methods["unbinned"].nuisance_pulls) == {"scale", "smear", "size"}

    def test_fixed_nuisances_are_at_the_centre(self, plan):
        draw = draw_toys(plan("fixed"), 2)
        assert draw.nuisances == pytest.approx({"scale": 0.0, "smear": 0.25, "size": 0.0})

    def test_draws_have_smearing_of_their_own(self, plan):
        own = plan("fixed").expectation
        settings = {"smear": 0.5}
        design, one, other, again = (own.rows(settings, *n)[0] for n in ((), (5, 0, 1), (5, 1, 1), (5, 0, 1)))
        assert np.array_equal(one.x, again.x)
        assert not np.array_equal(one.x[:50], other.x[:50])
        assert not np.array_equal(one.x[:50], design.x[:50])

    @pytest.mark.parametrize(("wanted", "passed"), [("new", (5, 2, 1)), ("design", ())])
    def test_numbers_are_new_or_those_of_the_design(self, plan, wanted, passed, monkeypatch):
        seen, rows = [], Expectation.rows

        def remembering(self, settings, *numbers):
            seen.append(numbers)
            return rows(self, settings, *numbers)

        monkeypatch.setattr(Expectation, "rows", remembering)
        draw_toys(replace(plan("fixed"), numbers=wanted), 2)
        assert seen == [passed]

    def test_a_sum_of_toys_is_poissonian(self, plan):
        own = plan("fixed")
        rows = own.expectation.rows({})
        scored = own.methods["unbinned"].model.simulated(rows)
        n = [len(scored.drawn(np.random.default_rng(k)).region) for k in range(400)]
        expected = scored.weights.sum()
        # both would be missed by chance in fewer than one of 10^5 seeds
        assert abs(np.mean(n) - expected) < 4.5 * np.sqrt(expected / 400)
        assert abs(np.var(n) / expected - 1.0) < 4.5 * np.sqrt(2.0 / 400)


class TestStudy:
    def test_files(self, finished, toys):
        place = finished.run / "toys"
        assert CoverageStudy.from_json((place / "toys.json").read_text()).draws == 3
        assert (place / "table.txt").read_text().startswith("Coverage of the 68.27 % interval of mu")
        assert sorted(path.name for path in (place / "draws").iterdir()) == ["0000.json", "0001.json", "0002.json"]
        assert (place / "figures" / "toys_coverage.pdf").exists()
        assert "true nuisances drawn from their priors" in (place / "report.html").read_text(encoding="utf-8")
        for own in toys.methods.values():
            assert own.toys + own.failed == 12
            assert own.width > 0.1
        assert toys.simulation == 0.4  # as the run has it, for its own method
        own = toys.methods["unbinned"]
        assert own.coverage <= own.coverage_with_simulation
        assert np.isnan(toys.methods["binned-4"].coverage_with_simulation)
        # a mean of 12: nets of a few steps are no measure of the method, but rates are fitted at once
        assert abs(toys.methods["binned-4"].pull_mean) < 1.5

    def test_truths_are_in_the_range(self, toys):
        truth = np.concatenate([draw.truth for draw in toys.truth])
        assert truth.min() >= 0.5
        assert truth.max() <= 2.0

    def test_an_interrupted_study_goes_on(self, finished, toys, tmp_path, monkeypatch):
        monkeypatch.setattr("hisigma_zfit.report.coverage_figures.coverage_figures", lambda _: {})
        place = tmp_path / "toys"
        study.coverage(finished.run, **OPTIONS | {"draws": 2}, out=place)
        (place / "draws" / "0000.json").write_text("{")
        kept = (place / "draws" / "0001.json").stat().st_mtime_ns
        assert_same(study.coverage(finished.run, **OPTIONS, out=place), toys)
        assert (place / "draws" / "0001.json").stat().st_mtime_ns == kept
        # a finished one reads no events
        monkeypatch.setattr(study, "restored", None)
        assert_same(study.coverage(finished.run, **OPTIONS, out=place), toys)

    def test_other_options_are_refused(self, finished, toys):
        with pytest.raises(RunFolderError, match=r"same seed, got 1 then and 2 now; choose another folder with --out"):
            study.coverage(finished.run, **OPTIONS, seed=2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"draws": 0}, "draws of 1 or more, got 0"),
            ({"mu": (2.0, 1.0)}, "the lower one first, got 2 1"),
            ({"mu": (-1.0, 1.0)}, "0 or more, the lower one first, got -1 1"),
            ({"methods": ("binned-0",)}, "got 'binned-0'; correct it"),
            ({"methods": ("unbinned", "unbinned")}, "got 'unbinned' twice"),
            ({"methods": ()}, "a method, got none"),
            ({"nuisances": "free"}, "random or fixed, got 'free'"),
            ({"numbers": "old"}, "new numbers or those of the design, got 'old'"),
        ],
    )
    def test_bad_options(self, finished, options, message):
        with pytest.raises(InputError, match=message):
            study.coverage(finished.run, **OPTIONS | options)

    def test_the_command(self, finished, toys):
        parser = argparse.ArgumentParser()
        study.coverage_arguments(parser)
        line = [
            str(finished.run),
            *["--draws", "3", "--toys", "4", "--mu", "0.5", "2", "--methods", "unbinned,binned-4"],
        ]
        text, place = study.coverage_command(parser.parse_args(line))
        assert text.startswith("Coverage of the 68.27 % interval of mu")
        assert place == finished.run / "toys"

    def test_large_weights_are_told(self, finished, tmp_path, caplog, monkeypatch):
        monkeypatch.setattr("hisigma_zfit.report.coverage_figures.coverage_figures", lambda _: {})
        # a background row stands for 0.375 events, a signal row for 0.075 of mu = 1
        study.coverage(finished.run, **OPTIONS | {"draws": 1, "toys": 1, "mu": (40.0, 40.0)}, out=tmp_path / "toys")
        assert "rows of signal up to 3 times on average" in caplog.text
        assert "rows of background" not in caplog.text


def test_neither_workers_nor_a_run_import_tensorflow():
    names = ", ".join(f"hisigma_zfit.crosssection.{name}" for name in ("draws", "pipeline", "answers", "stored"))
    code = f"import sys, {names}; print('tensorflow' in sys.modules, 'zfit' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
