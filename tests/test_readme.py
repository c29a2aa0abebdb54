"""What README and docs/measure.md promise: the script runs, commands name options and files that exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURE = (ROOT / "docs" / "measure.md").read_text(encoding="utf-8")
STUDY = ROOT / "analyses" / "dihiggs"


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture
def small_dataset(tmp_path, monkeypatch):
    """The files that the script reads, cut down so that it runs in seconds."""
    monkeypatch.syspath_prepend(str(STUDY))
    import samples

    paths = samples.write_dataset(0, tmp_path / "whole")
    folder = tmp_path / "runs" / "dataset0"
    folder.mkdir(parents=True)
    for name, path in paths.items():
        with uproot.open(path) as file:
            events = file["events"].arrays(library="np")
        with uproot.recreate(folder / path.name) as file:
            file["events"] = {branch: values[: 8000 if name != "data" else 12_000] for branch, values in events.items()}
    sys.modules.pop("samples", None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_script_runs(small_dataset, capsys):
    (script,) = blocks("python", MEASURE)
    assert "members=5, bootstraps=5" in script
    quick = script.replace("members=5, bootstraps=5", "bootstraps=2, preset='quick'")
    quick = quick.replace("members=5,", "preset='quick',")
    names: dict[str, object] = {}
    exec(compile(quick, "measure.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "n_sig" in printed
    assert "excluded with Z" in printed
    assert (small_dataset / "pt_bb.pdf").stat().st_size > 1000
    assert np.isfinite(names["result"].fmin)


def test_the_command_line_is_understood():
    from hisigma_zfit.cli import parser
    from hisigma_zfit.configuration.arguments import given_options
    from hisigma_zfit.measurement.options import MeasureOptions

    (command, with_file, blind) = [block for block in blocks("bash", MEASURE) if "hisigma measure" in block]
    words = re.sub(r"\\\n", " ", command).replace('"', "").split()
    options = MeasureOptions.build(**given_options(parser().parse_args(words[1:]), MeasureOptions))
    assert options.signal_region == (115.0, 135.0)
    assert options.columns["pt_gg_over_m"] == "Hgg_pt/Hgg_mass"
    for words in with_file.split("&&"):
        assert set(given_options(parser().parse_args(words.split()[1:]), MeasureOptions)) == set()
    measure, unblind = (parser().parse_args(line.split("#")[0].split()[1:]) for line in blind.splitlines())
    assert given_options(measure, MeasureOptions) == {"blind": True}
    assert f"{unblind.folder}" == measure.out


def test_every_command_of_the_readme_is_understood():
    from hisigma_zfit.cli import parser

    lines = "\n".join(blocks("bash", README)).replace("\\\n", " ").splitlines()
    commands = [line.replace('"', "").split()[1:] for line in lines if line.startswith(".venv/bin/hisigma ")]
    assert [words[0] for words in commands] == ["measure", "cross-section", "cross-section"]
    for words in commands:
        parser().parse_args(words)
    assert len(README.splitlines()) < 100  # a screen and a half; the rest is in docs/


def test_the_configuration_file_is_understood(tmp_path):
    from hisigma_zfit.measurement.options import MeasureOptions

    (content,) = blocks("yaml", MEASURE)
    (tmp_path / "analysis.yaml").write_text(content)
    options = MeasureOptions.load(tmp_path / "analysis.yaml")
    assert options.signal == (str(tmp_path / "signal.root"),)
    assert options.columns["pt_gg_over_m"] == "Hgg_pt / Hgg_mass"
    assert options.backgrounds["VH"].uncertainty == 0.2
    assert options.parts()["resolved"].cut == "Hbb_pt <= 150"


def test_files_that_it_names_exist():
    for link in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / link).exists(), link
    for command in blocks("bash", README):
        for script in re.findall(r"\S+\.py", command):
            assert (ROOT / script).is_file(), script


def test_the_data_sets_share_no_event():
    sys.path.insert(0, str(STUDY))
    try:
        import samples
    finally:
        sys.path.remove(str(STUDY))
    background = samples.load("background.root")["Hgg_mass"]
    signal = samples.load("signal.root")["Hgg_mass"]
    assert background.size >= samples.N_BACKGROUND * samples.N_DATASETS
    assert 0.05 * signal.size > samples.N_SIGNAL * samples.N_DATASETS
    sys.modules.pop("samples", None)
