"""What a run folder keeps and gives back: results, stages, figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from counted_run import COUNTED, LAYOUT, Count, start

from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.runs.stages import Stages
from hisigma_zfit.runs.stored import StoredResults, read_results

if TYPE_CHECKING:
    from pathlib import Path


def test_results_are_read_back(tmp_path: Path) -> None:
    results = {"result": COUNTED, "pages/b": Count(2), "pages/a": Count(1)}
    with start(tmp_path / "out") as run:
        run.write_results(StoredResults(results))
        run.write_text("pages/.a.json.tmp.json", "what an interrupted writing left")
        run.write_text("pages/notes.txt", "no result")
    stored = read_results(tmp_path / "out", LAYOUT, task="count")
    assert dict(stored.results) == results
    assert stored.one("result", Count) == COUNTED
    assert stored.all("pages/*", Count) == (Count(1), Count(2))
    assert stored.one("scan", Count) is None
    assert list(stored.files())[-1] == "result.json"


def test_unreadable_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="got nothing"):
        read_results(tmp_path / "out", LAYOUT)
    with start(tmp_path / "out"):
        pass
    with pytest.raises(RunFolderError, match=r"'result\.json'"):
        read_results(tmp_path / "out", LAYOUT)
    for damaged in (COUNTED.to_json()[:20], '{"schema": "tests/count/1"}'):
        (tmp_path / "out" / "result.json").write_text(damaged)
        with pytest.raises(RunFolderError, match=r"damaged") as caught:
            read_results(tmp_path / "out", LAYOUT)
        assert "\n" not in str(caught.value)


def test_a_run_of_another_task_is_refused(tmp_path: Path) -> None:
    with start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
    with pytest.raises(RunFolderError, match=r"a run of the task 'search'.*got one of 'count'"):
        start(tmp_path / "out", task="search")
    with pytest.raises(RunFolderError, match=r"a run of the task 'search'.*got one of 'count'"):
        read_results(tmp_path / "out", LAYOUT, task="search")


def test_a_run_of_before_tasks_had_names_is_found_again(tmp_path: Path) -> None:
    with start(tmp_path / "out") as run:
        run.write_json("result.json", COUNTED)
    old = json.loads((tmp_path / "out" / "run.json").read_text())
    del old["task"]
    (tmp_path / "out" / "run.json").write_text(json.dumps(old))
    assert start(tmp_path / "out").complete
    assert read_results(tmp_path / "out", LAYOUT, task="count").one("result", Count) == COUNTED


def test_stages_are_those_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(("look", "count"), quiet=False)
    for name in ("look", "count", "count"):
        with stages(name):
            pass
    said = [line.split(" done")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["[1/2] look", "[2/2] count", "[2/2] count"]
    assert set(stages.timings()) == {"look", "count", "total"}


def test_figures_are_saved_into_the_run(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    with start(tmp_path / "out") as run:
        run.save_figure("scan", Figure())
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == ["scan.pdf", "scan.png"]
