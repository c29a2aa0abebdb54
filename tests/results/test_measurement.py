"""The content of result.json, and that old folders are still read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import tables, toy_tables
from hisigma_zfit.results import (
    ConfidenceLevels,
    Discovery,
    Estimate,
    EventCounts,
    FitSummary,
    Measurement,
    MemberFit,
    SignalResponse,
    ToySummary,
)

STORED = Path(__file__).parent / "stored"
FIRST = (STORED / "measurement_1.json").read_text()


def test_a_folder_of_version_1_is_read():
    found, raw = Measurement.from_json(FIRST), json.loads(FIRST)
    for name in ("poi", "value", "error", "upper_limit_95", "timings_s", "seed", "inputs", "versions", "options"):
        assert getattr(found, name) == raw[name]
    assert (list(found.interval_68), list(found.interval_95)) == (raw["interval_68"], raw["interval_95"])
    # it was the interval of two standard deviations, whatever its name
    assert found.confidence == ConfidenceLevels(0.6827, 0.9545, 0.95)
    assert found.stat_only == Estimate(214.52575015548732, 21.41371916380763)
    assert found.nominal == FitSummary(214.52575015548732, 21.41271419750766, 16.750072044825732)
    assert found.significance == Discovery("n_sig", 16.709417001692326, 5.596220833817368e-63, 279.2046165364445)
    assert found.parameters["p1"] == Estimate(1.7131606965694848, 0.06587702865920933)
    assert found.mass_only == FitSummary(262.8905116493585, 63.83032461662775, 4.215287739097821)
    assert found.n_events == EventCounts(40200, 40200, {}, 68625, 182503)
    assert found.members[1] == MemberFit(1, 213.38942331592563, 21.358078720861652, 16.709417001692326)
    assert len(found.members) == 5
    assert found.closure.passed
    assert found.closure.flagged == ()
    assert found.closure.misfit == raw["closure"]["misfit in nats"]
    assert found.signal_response == SignalResponse(1.001, 0.014, None)
    assert found.signal_response.passed
    assert Measurement.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["schema"] == "hisigma-zfit/measurement/2"
    assert "fitted signal by true signal  1.001 +- 0.014" in tables.measurement(found)


def test_missed_features_of_version_1_are_told_apart():
    raw = json.loads(FIRST)
    raw["closure"]["background in the sidebands"] = "misses pt_bb, dr_bb"
    found = Measurement.from_json(json.dumps(raw))
    assert found.closure.flagged == ("pt_bb", "dr_bb")
    assert not found.closure.passed
    assert str(found.closure) == "misses pt_bb, dr_bb"


def test_version_1_without_checks_is_read():
    raw = json.loads(FIRST)
    del raw["closure"]
    found = Measurement.from_json(json.dumps(raw))
    assert (found.closure, found.signal_response) == (None, None)
    assert "Closure" not in tables.measurement(found)


def test_a_damaged_version_1_is_refused_in_one_line():
    raw = json.loads(FIRST)
    raw["closure"]["fitted signal by true signal"] = "about one"
    with pytest.raises(InputError, match="content of hisigma-zfit/measurement/1, got ValueError") as caught:
        Measurement.from_json(json.dumps(raw))
    assert "\n" not in str(caught.value)


def test_nothing_in_result_json_is_a_number_in_words_or_a_name_with_blanks(measured):
    """Blanks belong to what users name: files, and reasons for which events were dropped."""

    def look(value, path=()):
        if isinstance(value, dict):
            for key, inner in value.items():
                assert " " not in key or path[-1:] in {("dropped",), ("inputs",)}, (*path, key)
                look(inner, (*path, key))
        elif isinstance(value, list):
            for inner in value:
                look(inner, path)
        elif isinstance(value, str):
            assert "+-" not in value, path

    look(json.loads(measured.to_json()))


def test_toys_of_version_1_are_read():
    text = (STORED / "toys_1.json").read_text()
    found, raw = ToySummary.from_json(text), json.loads(text)
    assert found.significance.median == raw["significance"]["median"]
    assert found.significance.bands == {n: raw["significance"][n] for n in ("-2", "-1", "0", "1", "2")}
    assert found.limit is None
    assert vars(found.coverage["68"]) == raw["coverage"]["68"]
    assert type(found.coverage["68"].inside) is int
    assert vars(found.parameters["n_sig"]) == raw["parameters"]["n_sig"]
    assert ToySummary.from_json(found.to_json()).to_json() == found.to_json()
    assert "pull width" in toy_tables.toys(found)
    with_limit = raw | {"limit": {"cl": 0.9, **raw["significance"]}}
    again = ToySummary.from_json(json.dumps(with_limit)).limit
    assert (again.cl, again.median, again.bands) == (0.9, found.significance.median, found.significance.bands)
