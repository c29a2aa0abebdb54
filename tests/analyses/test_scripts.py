"""The study's scripts say what they do, and the figure of the strategies is drawn from their results."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from hisigma_zfit.results import LikelihoodScan
from hisigma_zfit.results.strategies import StrategySummary

ROOT = Path(__file__).parents[2]
STUDY = (
    *("five_datasets", "strategies", "systematics", "closure", "nuisances", "resonant", "coupling", "variants"),
    "preselection",
)
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure7", "figure8", "figure9", "growth", "speed")


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
                if name in {"samples", "measure", "dihiggs_samples", "quick_fit", "scores", "systematics"}:
                    del sys.modules[name]

    return run


@pytest.mark.parametrize("name", [f"analyses/dihiggs/{name}" for name in STUDY] + [f"plots/{name}" for name in FIGURES])
def test_help_names_the_options(script, capsys, name):
    with pytest.raises(SystemExit) as end:
        script(ROOT / f"{name}.py", "--help")
    assert end.value.code == 0
    assert "--out" in capsys.readouterr().out or name.endswith("strategies")


def test_the_nuisance_is_drawn_as_an_average(script, tmp_path):
    values = np.linspace(50.0, 400.0, 141)

    def scans(width):
        curves = [((values - best) / width) ** 2 for best in (190.0, 215.0)]
        return [json.loads(LikelihoodScan("n_sig", values, t, np.empty((0, 141))).to_json()) for t in curves]

    (tmp_path / "systematics.json").write_text(json.dumps({"scans": {"measurement": scans(22.0), "jes": scans(25.0)}}))
    script(ROOT / "plots" / "figure9.py", tmp_path, "--truth", 200, "--out", tmp_path / "figures")
    assert (tmp_path / "figures" / "figure9.png").stat().st_size > 5000


def test_strategies_are_drawn(script, tmp_path):
    summary = StrategySummary("HI-SIGMA", 5, 200.0, 0.107, 0.002, 0.01, 0.05, 0.12, 0.04, 9.5)
    results = tmp_path / "strategies.json"
    results.write_text(json.dumps({"summaries": [json.loads(summary.to_json())], "results": []}))
    script(ROOT / "plots" / "figure7.py", results, "--out", tmp_path / "figures")
    assert (tmp_path / "figures" / "figure7_strategies.png").stat().st_size > 5000
