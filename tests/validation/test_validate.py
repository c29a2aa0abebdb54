"""A validation from files to the page, on a few thousand events with short trainings."""

from __future__ import annotations

import dataclasses
import html
import json
import shutil

import folders
import numpy as np
import pytest
from same_numbers import assert_same_results, assert_same_text

from hisigma_zfit.measurement.inputs import read
from hisigma_zfit.results import Validation
from hisigma_zfit.validation import load_validation, pipeline
from hisigma_zfit.validation.options import ValidateOptions

CHANGES = {
    "--features": "a",
    "--bootstraps": "1",
    "--combine": "mixture",
    "--signal-region": ("121", "129"),  # 4.6 % of the simulated signal are outside
    "--windows": "2",
    "--strengths": ("0", "4"),
    "--variants": "seed",
}


def command(inputs, out, **changes):
    words = folders.measure(inputs, out, CHANGES | changes)
    return ["validate", *words[1:]]


@pytest.fixture(scope="module")
def finished(event_files, tmp_path_factory):
    out = tmp_path_factory.mktemp("validations") / "out"
    outcome = folders.hisigma(*command(event_files, out))
    assert outcome.code == 0, outcome.err
    return out, outcome


@pytest.fixture(scope="module")
def found(finished):
    return load_validation(finished[0])


def test_the_folder_holds_the_page_and_every_job(finished, found):
    out, outcome = finished
    names = ["window-000", "window-001", "injection-000", "injection-001", "contamination-000", "stability-seed"]
    assert [job.name for job in found.jobs] == names
    assert sorted(path.stem for path in (out / "jobs").iterdir()) == sorted(names)
    assert not [job.failure for job in found.jobs if job.failure]
    assert {"result.json", "report.html", "validation.pdf", "table.txt", "config.yaml"} <= {
        path.name for path in out.iterdir()
    }
    assert len(list((out / "figures").glob("*.pdf"))) == 4
    assert outcome.out.startswith((out / "table.txt").read_text().rstrip("\n"))
    assert html.escape(found.verdict) in (out / "report.html").read_text(encoding="utf-8")
    assert "6/6" in outcome.err


def test_fits_are_those_of_their_inputs(found):
    for window in found.of("window"):
        assert window.truth is None
        # no signal is there: 5 sigma of the fit's own error
        assert abs(window.value) < 5 * window.error
        assert window.n_inside > 100
        assert 0 < window.p_value <= 1
    for job in (*found.of("injection"), *found.of("contamination")):
        assert abs(job.truth.value - job.injected) < 5 * job.truth.error
        assert job.shift == pytest.approx((job.value - job.truth.value) / found.spurious.sigma)
    none, some = found.of("injection")
    assert none.injected == 0
    assert some.injected == round(4 * found.spurious.sigma)
    (clean,) = found.of("contamination")
    assert (clean.n_leaked, clean.injected) == (0, some.injected)
    assert some.n_training == clean.n_training + some.n_leaked
    assert clean.truth.value == pytest.approx(some.truth.value, abs=1e-3)
    assert found.signal_outside == pytest.approx(0.0455, abs=0.02)
    (seed,) = found.of("stability")
    partner = found.job(seed.partner)
    assert (seed.n_data, seed.n_training, seed.region) == (partner.n_data, partner.n_training, partner.region)
    assert seed.value != partner.value


def test_an_interrupted_validation_ends_with_the_same_numbers(finished, found, tmp_path, event_files):
    """Two of the jobs are lost, in the middle, and done again on Dask; the others are not."""
    distributed = pytest.importorskip("distributed")
    out, outcome = finished
    partial = tmp_path / "out.partial"
    shutil.copytree(out, partial)
    for name in ("result.json", "jobs/window-001.json"):
        (partial / name).unlink()
    (partial / "jobs" / "injection-000.json").write_text("{")  # half-written by something else
    kept = partial / "jobs" / "injection-001.json"
    before = kept.stat().st_mtime_ns
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        again = folders.hisigma(*command(event_files, tmp_path / "out"), "--scheduler", cluster.scheduler_address)
    assert again.code == 0, again.err
    assert again.out.splitlines()[:-1] == outcome.out.splitlines()[:-1]
    assert (tmp_path / "out" / "jobs" / "injection-001.json").stat().st_mtime_ns == before
    for path in (out / "jobs").iterdir():
        assert_same_text((tmp_path / "out" / "jobs" / path.name).read_text(), path.read_text())
    for name in ("report.html", "validation.pdf"):
        assert (tmp_path / "out" / name).exists()
    assert_same_results(load_validation(tmp_path / "out"), found)


def test_a_complete_one_is_read_back_and_another_refused(finished, event_files, monkeypatch):
    out, outcome = finished
    assert folders.hisigma("info", out).out == (out / "table.txt").read_text()
    monkeypatch.setattr(pipeline, "read", None)
    assert folders.hisigma(*command(event_files, out)).out == outcome.out
    refused = folders.hisigma(*command(event_files, out, **{"--windows": "3"}))
    assert refused.code == 2
    assert "option 'windows' 2 then and 3 now" in refused.err


def test_the_blind_data_decide_nothing(finished, found, event_files, tmp_path, monkeypatch):
    """The events of all jobs are the same with other data in the signal region, even where these were read."""
    seen = {}

    def stop(material, checkpoints):
        seen["material"] = material
        raise KeyboardInterrupt

    def emptied(options):
        inputs = read(options.model_copy(update={"blind": False}))
        m = inputs.data["m"]
        few = (m < 121) | (m >= 129) | (np.arange(len(m)) % 7 == 0)
        return dataclasses.replace(inputs, data=inputs.data.select(few))

    monkeypatch.setattr("hisigma_zfit.validation.jobs.train_reference", stop)
    materials = []
    for k, reading in enumerate((read, emptied)):
        monkeypatch.setattr(pipeline, "read", reading)
        assert folders.hisigma(*command(event_files, tmp_path / f"out{k}")).code == 130
        materials.append(seen["material"])
    first, second = materials
    assert first.shape == second.shape
    for name in ("sidebands", "more", "signal", "reserve"):
        assert np.array_equal(getattr(first, name)["m"], getattr(second, name)["m"])


def test_its_own_configuration_repeats_it(finished, found):
    raw = json.loads((finished[0] / "run.json").read_text())
    assert raw["task"] == "validate"
    options = ValidateOptions.load(finished[0] / "config.yaml")
    assert options.numbers() == found.options
    assert isinstance(found, Validation)
