"""Results in a run folder, also in one that the first version wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.measurement.stored import MeasurementResults, load_results
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity

OLD = Path(__file__).parent / "old_run"  # the shipped example, before run folders knew of tasks


def test_a_run_of_the_first_version_is_read():
    results = load_results(OLD)
    assert results.measurement.poi == "n_sig"
    assert results.measurement.value == pytest.approx(215.373, abs=1e-3)
    assert results.measurement.interval_68 == pytest.approx((192.530, 238.524), abs=1e-3)
    assert [p.observable for p in results.projections] == ["m_gg", "pt_bb"]
    assert results.projections[0].data.sum() == results.measurement.n_events.used
    assert [p.selection.split(",")[0] for p in results.projections_enriched] == ["signal region"]
    assert results.scan is not None
    assert results.scan.members.shape == (5, 61)
    assert [h.name for h in results.histories] == ["signal"]


def test_a_run_of_the_first_version_is_complete_and_can_be_shown(tmp_path):
    """By a process that never loads TensorFlow, which would take longer than all that is shown."""
    stored = json.loads((OLD / "run.json").read_text())
    assert "task" not in stored
    shutil.copytree(OLD, tmp_path / "out")
    identity = Identity("measure", stored["inputs"], stored["options"], stored["versions"])
    assert RunFolder.open(tmp_path / "out", identity).complete
    program = (
        "import sys; from hisigma_zfit.cli import main\n"
        "for line in (['info', 'out'], ['plot', 'out', '--to', 'figures'], ['completion', 'bash']):\n"
        "    assert main(line) == 0\n"
        "print({'tensorflow', 'zfit', 'keras', 'hepstats'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "215.4 +- 23.0" in shown
    assert shown.endswith("set()\n")
    names = ["enriched_m_gg", "projection_m_gg", "projection_pt_bb", "scan", "training"]
    assert sorted(p.stem for p in (tmp_path / "figures").glob("*.pdf")) == names


def test_results_are_stored_under_their_names(tmp_path):
    results = load_results(OLD)
    with RunFolder.open(tmp_path / "out", Identity("measure", {}, {})) as run:
        run.write_results(results.stored())
    again = load_results(tmp_path / "out")
    assert isinstance(again, MeasurementResults)
    assert again.measurement == results.measurement
    for one, other in zip(again.projections, results.projections, strict=True):
        np.testing.assert_array_equal(one.components["signal"], other.components["signal"])
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.json")}
    assert files == {str(path.relative_to(OLD)) for path in OLD.rglob("*.json")} | {"presentation.json"}


def test_a_run_of_another_task_is_no_measurement(tmp_path):
    with RunFolder.open(tmp_path / "out", Identity("search", {}, {})) as run:
        run.write_results(load_results(OLD).stored())
    with pytest.raises(RunFolderError, match=r"a run of the task 'measure'.*got one of 'search'"):
        load_results(tmp_path / "out")
