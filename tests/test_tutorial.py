"""The pages of the documentation run as they stand, and give what they say."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import uproot
from scipy.stats import norm

from hisigma_zfit.learn import schedule

ROOT = Path(__file__).parents[1]
INJECTED = 200


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[tuple[str, str]]:
    """Language and content of every fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page(name), flags=re.DOTALL | re.MULTILINE)


def run(code: str, names: dict[str, Any], where: str) -> str:
    """Run one block and return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, where, "exec"), names)
    return printed.getvalue()


@dataclass(frozen=True)
class Walked:
    """The tutorial after its last block: names that it defined, and (printed, quoted) of each block with output."""

    names: dict[str, Any]
    outputs: list[tuple[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder from which the repository's sample is found, as from the repository itself."""
    path = tmp_path_factory.mktemp("tutorial")
    (path / "analyses").symlink_to(ROOT / "analyses")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


@pytest.fixture(scope="module")
def tutorial(folder):
    names: dict[str, Any] = {}
    outputs = []
    printed = ""
    for k, (language, content) in enumerate(blocks("tutorial.md")):
        if language == "python":
            assert not printed, f"the block before block {k} prints what the page does not show"
            printed = run(content, names, f"tutorial.md, block {k}")
        else:
            assert language == "text"
            outputs.append((printed, content))
            printed = ""
    assert not printed
    yield Walked(names, outputs)
    plt.close("all")


@pytest.fixture(scope="module")
def inference(tutorial, folder):
    """docs/inference.md on the tutorial's objects; the varied simulation has pT(bb) scaled by 3 %."""
    with uproot.open(folder / "runs" / "tutorial" / "signal.root") as file:
        events = file["events"].arrays(library="np")
    for name, scale in (("jes_up", 1.03), ("jes_down", 0.97)):
        with uproot.recreate(folder / f"{name}.root") as file:
            file["events"] = events | {"Hbb_pt": events["Hbb_pt"] * np.float32(scale)}
    names = dict(tutorial.names)
    with pytest.MonkeyPatch.context() as patch:
        # of the varied densities only that they are there matters
        patch.setattr(schedule, "MIN_STEPS", 60)
        patch.setattr(schedule, "PASSES", dict.fromkeys(schedule.PASSES, (0.5, 0.5)))
        patch.setitem(sys.modules, "dask_jobqueue", batch_system())
        for k, (language, content) in enumerate(blocks("inference.md")):
            if language == "python":
                names["printed"] = run(content, names, f"inference.md, block {k}")
    return names


def batch_system() -> ModuleType:
    """A stand-in for dask-jobqueue, which needs a batch system: the part of its interface that the page uses."""

    class HTCondorCluster:
        scheduler_address = "tcp://10.0.0.1:8786"

        def __init__(self, *, cores: int, memory: str, disk: str) -> None:
            self.jobs = 0

        def scale(self, *, jobs: int) -> None:
            self.jobs = jobs

    module = ModuleType("dask_jobqueue")
    module.HTCondorCluster = HTCondorCluster
    return module


def without_numbers(text: str) -> list[str]:
    """Words of an output: without numbers, and without the closure's partners and flags, which follow from them."""
    text = re.sub(r"\x1b\[\d*m", "", text)  # zfit's tables have colours
    text = re.sub(r" with \w+( +<- flagged)?$", "", text, flags=re.MULTILINE)
    text = re.sub(r"[-+]?\d+\.?\d*(e[-+]?\d+)?", "#", text)
    return re.sub(r"-{2,}", "", text).split()


def test_what_is_printed_looks_as_quoted(tutorial):
    assert len(tutorial.outputs) == 12
    for printed, quoted in tutorial.outputs:
        assert without_numbers(printed) == without_numbers(quoted)


def test_quoted_results_are_those_of_the_run(tutorial):
    """Trainings differ in rounding from machine to machine; half an error is what that may change at most."""
    quoted = "\n".join(text for _, text in tutorial.outputs)
    n_sig, low, high = re.search(r"^n_sig = ([\d.]+)  \[([\d.]+), ([\d.]+)\].*profile", quoted, re.MULTILINE).groups()
    measured = tutorial.names["measured"]
    error = measured.upper - measured.value
    np.testing.assert_allclose(
        [float(n_sig), float(low), float(high)], [measured.value, measured.lower, measured.upper], atol=0.5 * error
    )


def test_no_event_is_in_two_files(tutorial):
    """Float32 branches in GeV: two different events with the same five numbers do not occur by chance."""
    files = tutorial.names["files"]
    rows = np.concatenate([np.column_stack(list(events.values())) for events in files.values()])
    assert len(np.unique(rows, axis=0)) > len(rows) - 10  # a few doubles are in the sample itself


def test_the_first_look_is_blind(tutorial):
    for name in ("training", "check"):
        assert not tutorial.names["region"].contains(tutorial.names[name]["m_gg"]).any()


def test_the_moving_edge_is_seen_and_cured(tutorial):
    assert "dr_gg" in tutorial.names["first_closure"].flagged
    assert tutorial.names["second_closure"].passed
    assert tutorial.names["rehearsal"].passed
    for name in ("data", "signal", "more"):
        assert tutorial.names[name]["opening_gg"].min() >= 0.0


@pytest.mark.statistical
def test_the_injected_signal_is_found(tutorial):
    """Five sigma: false alarms 6e-7 each, for the features and for the mass alone."""
    import hisigma_zfit as hz

    measured = tutorial.names["measured"]
    assert abs(measured.value - INJECTED) < 5 * measured.error
    alone = hz.interval(tutorial.names["mass_only"], "n_sig")
    assert abs(alone.value - INJECTED) < 5 * alone.error
    assert measured.error < 0.5 * alone.error
    assert tutorial.names["found"].z > 8


def test_interval_and_significance_are_those_of_the_profile(tutorial):
    """At the edges of 68.3 % the profile is 1, at zero it is Z squared; Minuit finds the same minimum."""
    import zfit

    import hisigma_zfit as hz

    nll, measured, found = (tutorial.names[name] for name in ("nll", "measured", "found"))
    t = hz.profile(nll, "n_sig", [measured.lower, measured.upper, 0.0])
    np.testing.assert_allclose(t, [1.0013, 1.0013, found.z**2], rtol=2e-3)
    assert found.p0 == pytest.approx(norm.sf(found.z), rel=1e-9)
    minuit = zfit.minimize.Minuit(gradient="zfit").minimize(nll)
    by_name = {p.name: v["value"] for p, v in minuit.params.items()}
    assert by_name["n_sig"] == pytest.approx(measured.value, abs=0.01 * measured.error)


def test_the_envelope_holds_its_bootstraps(tutorial):
    """Eq. 3.2: the union of the members' intervals, about the mean of their best values."""
    members, envelope = tutorial.names["members"], tutorial.names["envelope_interval"]
    edges = [member.interval(1.0) for member in members]
    assert envelope.value == pytest.approx(np.mean([member.best for member in members]))
    assert envelope.lower == pytest.approx(min(low for low, _ in edges), abs=0.1)
    assert envelope.upper == pytest.approx(max(high for _, high in edges), abs=0.1)
    assert tutorial.names["envelope_found"].z <= min(np.sqrt(member.t(0.0)) for member in members) + 1e-9


def test_the_error_of_the_training_is_in_the_interval(tutorial):
    measured, whole, sigma = (tutorial.names[name] for name in ("measured", "whole_interval", "sigma"))
    assert sigma == pytest.approx(np.std([member.best for member in tutorial.names["members"]], ddof=1))
    assert whole.value == pytest.approx(measured.value, abs=0.01 * measured.error)
    assert whole.error == pytest.approx(np.hypot(measured.error, sigma), rel=0.01)


def test_hepstats_agrees(tutorial):
    assert tutorial.names["z"] == pytest.approx(tutorial.names["found"].z, rel=1e-3)


def test_figures_are_written(tutorial, folder):
    for stem in ("scan", "pt_bb", "m_gg_enriched"):
        for kind, start in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
            content = (folder / "runs" / "tutorial" / f"{stem}.{kind}").read_bytes()
            assert content.startswith(start)
            assert len(content) > 5000
    assert (folder / "runs" / "tutorial" / "features.png").stat().st_size > 5000


@pytest.mark.slow
def test_systematics_of_the_inference_page(inference):
    """The impact of a log-normal luminosity is known: n = s 1.02^nu is fixed by the data, so s moves by 1.02^-nu."""
    budget = inference["budget"]
    assert {impact.name for impact in budget.impacts} >= {"jes", "luminosity"}
    (luminosity,) = (impact for impact in budget.impacts if impact.name == "luminosity")
    np.testing.assert_allclose(luminosity.postfit, budget.value * np.array([1.02 - 1, 1 / 1.02 - 1]), rtol=0.02)
    assert budget.total[1] > inference["measured"].upper - inference["measured"].value


@pytest.mark.slow
def test_hepstats_of_the_inference_page(inference):
    import hisigma_zfit as hz

    measured, found = inference["measured"], inference["found"]
    assert inference["z"] == pytest.approx(found.z, rel=1e-3)
    assert inference["edges"]["lower"] == pytest.approx(measured.lower, abs=0.05 * measured.error)
    assert inference["edges"]["upper"] == pytest.approx(measured.upper, abs=0.05 * measured.error)
    limit = inference["limit"]
    cls = hz.upper_limit(inference["result"], "n_sig", expected=True)
    assert limit["observed"] == pytest.approx(cls.limit, rel=0.02)
    assert limit["expected"] == pytest.approx(cls.expected["0"], rel=0.05)
    assert inference["p0_toys"] == pytest.approx(1 / 100)  # no toy of the background reaches such an excess


@pytest.mark.slow
def test_the_cluster_of_the_inference_page(inference):
    assert inference["cluster"].jobs == 200
    assert "tcp://" in inference["printed"]


@pytest.mark.parametrize("name", ["inference.md", "tutorial.md"])
def test_names_that_the_pages_mention_exist(name):
    import hisigma_zfit as hz

    text = page(name)
    for path in re.findall(r"`hisigma_zfit\.([\w.]+)", text):
        *modules, last = path.split(".")
        parent = importlib.import_module(".".join(["hisigma_zfit", *modules]))
        assert hasattr(parent, last) or importlib.import_module(f"hisigma_zfit.{path}"), path
    for used in re.findall(r"\bhz\.(\w+)", text):
        assert hasattr(hz, used), used
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / "docs" / link).is_file(), link
