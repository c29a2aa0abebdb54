"""The study's scripts say what they do, and the figure of the strategies is drawn from their results."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from hisigma_zfit.results_strategies import StrategySummary

ROOT = Path(__file__).parents[2]
STUDY = ("five_datasets", "strategies", "systematics", "resonant", "coupling", "variants", "preselection")
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure7", "figure8", "figure9")


@pytest.fixture
def script(monkeypatch):
    """Run a script as from the command line; modules beside it are forgotten afterwards."""

    def run(path, *arguments):
        monkeypatch.setattr(sys, "argv", [path.name, *map(str, arguments)])
        monkeypatch.syspath_prepend(str(path.parent))
        before = set(sys.modules)
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            for name in set(sys.modules) - before:
                if name in {"samples", "measure", "_samples", "quick_fit", "scores"}:
                    del sys.modules[name]

    return run


@pytest.mark.parametrize("name", [f"analyses/dihiggs/{name}" for name in STUDY] + [f"plots/{name}" for name in FIGURES])
def test_help_names_the_options(script, capsys, name):
    with pytest.raises(SystemExit) as end:
        script(ROOT / f"{name}.py", "--help")
    assert end.value.code == 0
    assert "--out" in capsys.readouterr().out or name.endswith("strategies")


def test_strategies_are_drawn(script, tmp_path):
    summary = StrategySummary("HI-SIGMA", 5, 200.0, 0.107, 0.002, 0.01, 0.05, 0.12, 0.04, 9.5)
    results = tmp_path / "strategies.json"
    results.write_text(json.dumps({"summaries": [json.loads(summary.to_json())], "results": []}))
    script(ROOT / "plots" / "figure7.py", results, "--out", tmp_path / "figures")
    assert (tmp_path / "figures" / "figure7_strategies.png").stat().st_size > 5000
