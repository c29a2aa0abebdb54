"""The task `search`, from files to a run folder: once with everything, once blind."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import uproot
from pyarrow import parquet

import hisigma_zfit as hz
from hisigma_zfit import cli
from hisigma_zfit.anomaly.inputs import read
from hisigma_zfit.anomaly.options import SearchOptions
from hisigma_zfit.anomaly.stored import load_search
from hisigma_zfit.anomaly.unblinding import unblind
from hisigma_zfit.errors import InputError
from hisigma_zfit.report.search_figures import learned_feature, search_figures
from hisigma_zfit.results import LearnedFeature, ScannedWindow, Search, WindowScan

OPTIONS = {
    "mass": "m",
    "range": hz.examples.MASSES,
    "features": hz.examples.FEATURES,
    "signal_region": (118, 132),
    "property": {"pt_over_m": "pt / m"},
    "preset": "quick",
    "members": 1,
    "bootstraps": 1,
    "folds": 2,
}


def options(**more):
    own = {"properties" if name == "property" else name: value for name, value in OPTIONS.items()}
    return {"data": hz.examples.path("events.root")} | own | more


EVERYTHING = options(
    toys=1,
    responses=5,
    sideband_windows=0,
    family=f"scaled:{hz.examples.path('simulation.root')}:pt=scale@scale=60",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "run"
    hz.search(out=path, **EVERYTHING)
    return path


def test_a_run_says_what_it_found(folder):
    result = load_search(folder).search
    assert Search.from_json(result.to_json()).to_json() == result.to_json()
    assert result.found is not None
    assert 118 < result.found.properties["m"].median < 132  # 60 events at 125 in 700
    over = result.found.properties["pt_over_m"]
    assert over.low < over.median < over.high
    assert len(result.null.t) == 1
    assert result.p_value.p in {0.5, 1.0}
    assert 30 < result.family.parameters["scale"].value < 120  # 60, over a background of two epochs
    low, high = result.response.interval_95
    assert low <= result.response.best <= high
    data = hz.read(hz.examples.path("events.root"), columns={"m": "m"})["m"]
    assert result.background.seen == np.sum((data >= 118) & (data < 132))
    assert abs(result.background.expected - result.background.seen) < 200
    # again: read back, not repeated
    assert hz.search(out=folder, **EVERYTHING).timings_s == result.timings_s


def test_what_is_in_the_folder(folder, capsys):
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"profile_share", "learned_pt_over_m", "enriched_m", "null", "response", "training"} <= figures
    scores = parquet.read_table(folder / "scores.parquet").to_pydict()
    result = load_search(folder).search
    assert len(scores["score"]) == result.found.n_events
    assert set(scores["fold"]) == {0, 1}
    learned = parquet.read_table(folder / "learned_signal.parquet").to_pydict()
    assert np.median(learned["m"]) == pytest.approx(result.found.properties["m"].median, abs=3.0)
    flow = hz.load_flow(folder / "learned_signal")
    assert flow.features == result.features
    assert cli.main(["info", str(folder)]) == 0
    table = capsys.readouterr().out
    assert "local p" in table
    assert table.strip() == (folder / "table.txt").read_text().strip()
    assert cli.main(["plot", str(folder), "--to", str(folder.parent / "again")]) == 0


def _poisoned(path, rng):
    """The same file with other features in the signal region."""
    with uproot.open(hz.examples.path("events.root")) as file:
        tree = file[file.keys()[0]].arrays(library="np")
    inside = (tree["m"] >= 118) & (tree["m"] < 132)
    tree["pt"] = np.where(inside, rng.permutation(tree["pt"]) + 5.0, tree["pt"])
    with uproot.recreate(path) as file:
        file["events"] = tree


def test_a_blind_run_keeps_nothing_of_the_region(tmp_path, monkeypatch):
    other = tmp_path / "other.root"
    _poisoned(other, np.random.default_rng(1))
    closed = [read(SearchOptions.build(**options(blind=True, data=path))) for path in (options()["data"], other)]
    for name in ("m", *hz.examples.FEATURES):
        np.testing.assert_array_equal(closed[0].events[name], closed[1].events[name])
        np.testing.assert_array_equal(closed[0].training[name], closed[1].training[name])
    assert not np.any((closed[0].events["m"] >= 118) & (closed[0].events["m"] < 132))

    def no_search(*_, **__):
        raise AssertionError("a blind run searched")

    monkeypatch.setattr("hisigma_zfit.inference.search.find_signal", no_search)
    folder = tmp_path / "blind"
    result = hz.search(out=folder, **options(blind=True, sideband_windows=0, toys=1))
    assert result.found is None
    assert result.background.seen is None
    assert result.null is None
    assert "closed" in str(result)
    text = (folder / "result.json").read_text() + (folder / "table.txt").read_text()
    every = hz.read(hz.examples.path("events.root"), columns={"m": "m"})
    inside = int(((every["m"] >= 118) & (every["m"] < 132)).sum())
    assert str(inside) not in text
    assert str(every.report.n_read) not in text
    assert result.background.expected > 0
    monkeypatch.undo()
    assert cli.main(["unblind", str(folder)]) == 0
    opened = load_search(tmp_path / "blind-unblinded").search
    assert opened.unblinding.time in (folder / "unblinding.json").read_text()
    assert opened.trained == result.trained
    assert opened.found.n_events == opened.background.seen
    assert len(opened.null.t) == 1
    with pytest.raises(InputError, match="a blind search"):
        unblind(tmp_path / "blind-unblinded")
    (member,) = (folder / "members" / "background").glob("members*.npz")
    member.write_bytes(member.read_bytes() + b"x")
    with pytest.raises(InputError, match="other trained members"):
        unblind(folder)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"signal_region": (95, 110)}, "sidebands on both sides"),
        ({"signal_region": (101, 159)}, "more events beside the signal region"),
        ({"folds": 1}, "folds"),
        ({"flow": "maf"}, "flow"),
        ({"toys": -1}, "toys"),
        ({"responses": 3}, "5 or more"),
        ({"properties": {"x": "pt / nothing"}}, "nothing"),
        ({"properties": {"pt": "pt"}}, "another name than a feature's"),
        ({"truth": "none_such"}, "none_such"),
        ({"kinds": {"pt": "integer"}}, "continuous features for a search.*leave pt out"),
        ({"truth": "angle"}, "another column"),
        ({"features": ("pt", "m")}, "other columns than the mass"),
        ({"data": "none.root"}, "none.root"),
        ({"compare": "net", "truth": "m2"}, "classifier"),
        ({"compare": "classifier"}, "truth"),
        ({"scan": (100, 110, 20, 5)}, "WIDTH apart"),
        ({"scan": (100, 150, 20, 5)}, "sidebands on both sides"),
        ({"sideband_training": ("none.root",), "toys": 3}, "together with toys"),
        ({"properties": {"x": "1 / (pt - pt)"}}, "not finite"),
        ({"family": "other:a.root:x=y@y=1"}, "scaled:FILE"),
        ({"family": "scaled:a.root:pt=scale"}, "NAME=VALUE"),
        ({"family": "scaled:a.root:pt=scale@scale=large"}, "numbers behind @"),
        ({"family": "grid:none.root:m_x"}, "none.root"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path, wrong, words):
    with pytest.raises(InputError, match=words):
        hz.search(out=tmp_path / "run", **options(**wrong))
    assert not list(tmp_path.iterdir())


def test_the_truth_is_that_of_the_events(tmp_path):
    with uproot.open(hz.examples.path("events.root")) as file:
        tree = file[file.keys()[0]].arrays(library="np")
    tree["signal"] = (tree["pt"] > 60).astype(np.int8)
    with uproot.recreate(tmp_path / "known.root") as file:
        file["events"] = tree
    found = read(SearchOptions.build(**options(data=tmp_path / "known.root", truth="signal", cut="angle > 0.2")))
    np.testing.assert_array_equal(found.truth, found.events["pt"] > 60)


def test_the_configuration_repeats_the_run(folder):
    again = SearchOptions.load(folder / "config.yaml")
    first = SearchOptions.build(**EVERYTHING)
    assert json.dumps(again.numbers()) == json.dumps(first.numbers())


def test_a_scan_without_toys_is_told_and_not_drawn(folder):
    found = load_search(folder)
    window = ScannedWindow((112.0, 126.0), 700, 31.0, *[float("nan")] * 4)
    nan = float("nan")
    scan = WindowScan((window,), 0, 0, nan, nan, nan, nan, nan, None, np.empty((0, 1)), 1)
    search = replace(found.search, scan=scan)
    assert "no toys" in str(search)
    assert "scan" not in search_figures(search)
    assert Search.from_json(search.to_json()).scan.windows[0].t == 31.0
    feature = LearnedFeature("m", np.arange(9.0), np.ones(8) / 8, np.ones(8) / 8, np.ones(2) / 8, np.ones(2) / 16)
    assert learned_feature(feature).axes[0].get_xlabel().startswith("$m$")
