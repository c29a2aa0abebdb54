from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.measurement.stored import MeasurementResults
from hisigma_zfit.report.figures import blind_figures, measurement_figures
from hisigma_zfit.runs.folder import RunFolder
from hisigma_zfit.runs.identity import Identity

if TYPE_CHECKING:
    import pytest

    from hisigma_zfit.results import BlindMeasurement, LikelihoodScan, Measurement, Projection, TrainingHistory

SCRIPT = Path(__file__).parents[2] / "plots" / "measurement.py"


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("plots_measurement", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_result_has_its_figure(
    measured: Measurement, spectrum: Projection, parabolas: LikelihoodScan, history: TrainingHistory
) -> None:
    figures = measurement_figures(measured, [spectrum], [spectrum], parabolas, [history])
    assert set(figures) == {"projection_pt_bb", "enriched_pt_bb", "scan", "training"}
    shaded = [patch.get_label() for patch in figures["scan"].axes[0].patches]
    assert "68.27 % interval" in shaded
    assert measurement_figures(measured) == {}


def test_every_result_of_a_blind_run_has_its_figure(
    foreseen: BlindMeasurement, spectrum: Projection, parabolas: LikelihoodScan, history: TrainingHistory
) -> None:
    figures = blind_figures(foreseen, [spectrum], parabolas, [history])
    assert set(figures) == {"sidebands_pt_bb", "expected_scan", "training"}
    (axes,) = figures["expected_scan"].axes
    assert "68.27 % interval" in [patch.get_label() for patch in axes.patches]
    assert any("expected, 187.2 signal events" in text.get_text() for text in [*axes.texts, axes.title])
    assert blind_figures(foreseen) == {}


def test_script_redraws_the_figures_of_a_run(
    measured: Measurement, spectrum: Projection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder.open(tmp_path / "out", Identity("measure", {}, {})) as run:
        run.write_results(MeasurementResults(measured, (dataclasses.replace(spectrum, observable="m_gg"),)).stored())
    script = load_script()
    assert script.main([str(tmp_path / "out"), "--out", str(tmp_path / "figures")]) == 0
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "projection_m_gg.pdf",
        "projection_m_gg.png",
    ]
    assert script.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
