"""Events in memory are those of files, in every task that takes them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit.density import training
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement import unblinding

COLUMNS = {"mass": "m", "range": hz.examples.MASSES, "features": ("pt", "half"), "signal_region": (118, 132)}
MADE = {"columns": {"half": "angle / 2"}, "cut": "pt > 2", "preset": "quick", "members": 1, "bootstraps": 2}
FILES = {"data": hz.examples.path("events.root"), "signal": hz.examples.path("simulation.root")}


class _StoppedError(Exception):
    """The test has seen enough."""


def tables(names, make):
    read = {"data": hz.examples.events, "signal": hz.examples.simulation}
    return {name: make({c: read[name]()[c] for c in ("m", "pt", "angle")}) for name in names}


@pytest.mark.parametrize(("task", "names"), [("search", ["data"]), ("validate", ["data", "signal"])])
def test_the_background_is_trained_on_the_same_events(task, names, tmp_path, monkeypatch):
    seen = []

    def train_flow(data, features, **_):
        seen.append(data)
        raise _StoppedError

    monkeypatch.setattr(training, "train_flow", train_flow)
    for events in ({name: FILES[name] for name in names}, tables(names, dict), tables(names, hz.Dataset.from_arrays)):
        with pytest.raises(_StoppedError):
            getattr(hz, task)(out=tmp_path / "out", **events, **COLUMNS, **MADE)
    from_files, *others = seen
    assert len(from_files) > 1000
    for own in others:
        np.testing.assert_array_equal(own.array(own.names), from_files.array(own.names))
        np.testing.assert_array_equal(own.identity, from_files.identity)
    assert list(tmp_path.iterdir()) == []


def test_weights_of_observed_events_are_refused(tmp_path):
    weighted = hz.Dataset.from_arrays({"m": np.arange(3.0)}, np.ones(3))
    with pytest.raises(InputError, match="observed events without weights, got weights of data"):
        hz.search(out=tmp_path / "out", data=weighted, **COLUMNS)


def test_a_blind_run_gets_its_events_again(tmp_path, monkeypatch):
    """By the addresses that its configuration has; what it does with them is the same as with those of files."""
    (tmp_path / "run.json").write_text(json.dumps({"schema": "hisigma-zfit/run/2", "task": "measure --blind"}))
    monkeypatch.setattr(unblinding, "unblind", lambda folder, **_: len(hz.read("memory://data")))
    assert hz.unblind(tmp_path, **tables(["data"], dict)) == len(hz.examples.events())
    with pytest.raises(InputError, match="by the names that they had there, got data="):
        hz.unblind(tmp_path, data="d.root")
    with pytest.raises(InputError, match="got cut="):
        hz.unblind(tmp_path, cut="a > 1")


@pytest.mark.slow
def test_a_blind_run_in_memory_is_opened(tmp_path):
    events = tables(["data", "signal"], hz.Dataset.from_arrays)
    quick = {**COLUMNS, **MADE, "bootstraps": 1, "combine": "mixture"}
    hz.measure(out=tmp_path / "blind", blind=True, **events, **quick)
    with pytest.raises(InputError, match=r"events in memory at memory://data, got none"):
        hz.unblind(tmp_path / "blind")
    opened = hz.unblind(tmp_path / "blind", **events)
    again = hz.measure(out=tmp_path / "open", reuse=tmp_path / "blind", **events, **quick)
    assert opened.unblinding is not None
    assert (opened.value, opened.error) == (again.value, again.error)
