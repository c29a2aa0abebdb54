"""Which events a measurement is made of, and what it refuses or tells before anything is trained."""

from __future__ import annotations

import os
import shutil

import folders
import numpy as np
import pytest
import truth

import hisigma_zfit as hz
from hisigma_zfit.density import training
from hisigma_zfit.errors import InputError, RunFolderError

OPTIONS = folders.MEASURE


class _StoppedError(Exception):
    """The test has seen enough."""


def trained_on(monkeypatch, tmp_path, inputs, **options):
    """The events that the background is trained on."""
    seen = []

    def train_flow(data, features, **_):
        seen.append(data)
        raise _StoppedError

    monkeypatch.setattr(training, "train_flow", train_flow)
    with pytest.raises(_StoppedError):
        hz.measure(
            out=tmp_path / "out", **{"data": inputs / "data.root", "signal": inputs / "signal.root"} | OPTIONS | options
        )
    assert list(tmp_path.glob("out*")) == []
    return seen[0]


def test_sideband_training_adds_to_the_sidebands_only(event_files, tmp_path, monkeypatch):
    own = trained_on(monkeypatch, tmp_path, event_files)
    # the addition alone has too few events on each side to train on, which does not matter
    more = truth.BACKGROUND.columns(600, seed=5)
    folders.write(tmp_path / "more.root", more)
    both = trained_on(monkeypatch, tmp_path, event_files, sideband_training=tmp_path / "more.root")
    outside = (more["m"] < 115) | (more["m"] >= 135)
    assert len(both) == len(own) + outside.sum()
    np.testing.assert_array_equal(both["a"][len(own) :], more["a"][outside])
    assert not ((both["m"] >= 115) & (both["m"] < 135)).any()
    assert both.weights is None


def test_events_in_memory_are_those_of_files(event_files, tmp_path, monkeypatch):
    from_files = trained_on(monkeypatch, tmp_path, event_files, cut="c > 1.5", columns={"a": "a / 2"})
    for make in (dict, hz.Dataset.from_arrays):
        tables = {
            name: make({c: hz.read(event_files / f"{name}.root")[c] for c in ("m", "a", "b", "c")})
            for name in ("data", "signal")
        }
        seen = trained_on(monkeypatch, tmp_path, event_files, cut="c > 1.5", columns={"a": "a / 2"}, **tables)
        np.testing.assert_array_equal(seen.array(seen.names), from_files.array(seen.names))
        np.testing.assert_array_equal(seen.identity, from_files.identity)
        assert seen.report.to_dict() == from_files.report.to_dict()


@pytest.mark.slow
def test_a_measurement_in_memory_has_the_numbers_of_one_from_files(finished_run, measured, tmp_path):
    tables = {name: hz.read(finished_run.inputs / f"{name}.root") for name in ("data", "signal")}
    found = hz.measure(out=tmp_path / "out", **tables, **OPTIONS)
    assert (found.value, found.error) == (measured.value, measured.error)
    assert set(found.inputs) == {"data", "signal"}
    again = hz.measure(out=tmp_path / "out", **tables, **OPTIONS)  # read back
    assert again.value == found.value
    fewer = tables | {"data": tables["data"][:-1]}
    with pytest.raises(RunFolderError, match="input 'data' with other content"):
        hz.measure(out=tmp_path / "out", **fewer, **OPTIONS)
    with pytest.raises(InputError, match=r"events in memory at memory://data, got none; give them again"):
        hz.measure(out=tmp_path / "other", config=tmp_path / "out" / "config.yaml")


@pytest.mark.parametrize("how", ["the file", "hard link", "copy"])
def test_data_are_no_sideband_training(event_files, tmp_path, how):
    data, other = event_files / "data.root", tmp_path / "other.root"
    if how == "hard link":
        os.link(data, other)
    elif how == "copy":
        shutil.copy(data, other)
    else:
        other = data
    files = {"data": data, "signal": event_files / "signal.root", "sideband_training": other}
    with pytest.raises(
        InputError, match=r"each event once, got the same content in .*data\.root \(data\) and .*training"
    ):
        hz.measure(out=tmp_path / "out", **files, **OPTIONS)
    assert not list(tmp_path.glob("out*"))


def test_a_column_that_nothing_uses_is_told(event_files, tmp_path, monkeypatch, caplog):
    trained_on(monkeypatch, tmp_path, event_files, columns={"aa": "d"})
    assert "columns: expected only those that are used, got 'aa'; did you mean 'a'?" in caplog.text


def test_the_cut_and_the_columns_hold_for_every_file(event_files, tmp_path, monkeypatch):
    data = trained_on(
        monkeypatch, tmp_path, event_files, cut="c > 1.5", columns={"a": "d", "half": "b / 2"}, features=["a", "half"]
    )
    assert data.names == ("m", "a", "half")
    source = truth.BACKGROUND.columns(folders.N_BACKGROUND, seed=1)
    kept = (source["c"] > 1.5) & ((source["m"] < 115) | (source["m"] >= 135))
    np.testing.assert_array_equal(data["a"][: kept.sum()], source["d"][kept])
    np.testing.assert_array_equal(data["half"][: kept.sum()], source["b"][kept] / 2)


def test_unknown_options_are_named():
    with pytest.raises(InputError, match="epochs"):
        hz.measure(out="nowhere", data="a.root", signal="b.root", epochs=5, **OPTIONS)


def test_variations_of_other_events_are_noticed(caplog):
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.measurement.inputs import warn_of_other_events

    def events(rows, n_read=1000):
        return Dataset.from_arrays({"m": np.arange(float(n_read))}).select(np.isin(np.arange(n_read), rows))

    nominal = events(np.arange(20, 1000))
    warn_of_other_events(nominal, {"jes": (events(np.arange(950)), nominal)})  # events leave and enter at the ends
    assert not caplog.records
    warn_of_other_events(nominal, {"jes": (nominal, events(np.arange(100, 900)))})
    # as many events, but of files in which rows are missing: they cannot be matched
    warn_of_other_events(nominal, {"jes": (nominal, events(np.arange(980), n_read=980))})
    first, second = caplog.records
    assert "expected the 980 events of the nominal training from 1000 rows, got 800 of them" in first.getMessage()
    assert "from 980 rows" in second.getMessage()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"yield_systematic": {"lumi": 1.0}}, "factor other than 1 for lumi"),
        ({"yield_systematic": {"lumi": -0.5}}, "positive factor .* got -0.5"),
        ({"yield_systematic": {"n_bkg": 1.1}}, "no other parameter's, got 'n_bkg'"),
        ({"penalties": [1.0, 2.0]}, "in discrete profiling, got 2 for envelope"),
        ({"penalties": [1.0], "combine": "discrete"}, "each of 2 bootstraps"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(InputError, match=message):
        hz.measure(out="nowhere", data="a.root", signal="b.root", **OPTIONS | options)
