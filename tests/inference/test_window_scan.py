"""Which windows are searched and with what, without training; and one small scan with it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import zfit

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference import window_scan
from hisigma_zfit.inference.retrained import NullModel, SearchedWindow
from hisigma_zfit.learn.streams import Purpose
from hisigma_zfit.results import SidebandWindows

MASS = zfit.Space("m", 100, 160)
FEATURES = hz.feature_space("pt", angle=(0.0, 1.0))
WINDOWS = ((104.0, 118.0), (118.0, 132.0))
OPTIONS = {"start": 104, "stop": 132, "width": 14, "step": 14, "degree": 1, "seed": 1}


@pytest.fixture(scope="module")
def data():
    return hz.examples.events()


@pytest.fixture
def searches(monkeypatch):
    """What was searched; instead of a search, the mean of the window's features."""
    calls = []

    def search(data, window, how, *, blind=None, **options):
        calls.append({"data": data, "window": window, "how": how, "blind": blind, **options})
        inside = data.select(hz.SignalRegion(*window).contains(data["m"]))
        spectrum = hz.fit_spectrum(data["m"], how.mass_range, window, degree=how.degree)
        t = float(inside["pt"].mean() + inside["angle"].mean())
        return SearchedWindow(t, len(inside), NullModel(hz.examples.flow("background").pack(), spectrum))

    monkeypatch.setattr(window_scan, "search_window", search)
    return calls


def edges_of(found):
    return [window.range for window in found.windows]


def test_windows_lie_as_they_were_asked_for(data, searches):
    scan = hz.scan_windows(data, FEATURES, MASS, **OPTIONS)
    assert tuple(edges_of(scan)) == WINDOWS
    assert [w.n_events for w in scan.windows] == [int(np.sum((data["m"] >= a) & (data["m"] < b))) for a, b in WINDOWS]
    assert scan.best == int(np.argmax([w.t for w in scan.windows]))
    assert searches[0]["how"].limits == {"angle": (0.0, 1.0)}
    assert searches[0]["how"].features == ("pt", "angle")
    overlapping = hz.scan_windows(data, ["pt", "angle"], MASS, width=12, step=4, stop=136, seed=1)
    assert [window.range for window in overlapping.windows] == [
        (112.0, 124.0),
        (116.0, 128.0),
        (120.0, 132.0),
        (124.0, 136.0),
    ]


def test_toys_are_searched_as_the_data_and_kept(data, searches, tmp_path):
    def scan(**options):
        return hz.scan_windows(data, FEATURES, MASS, checkpoint=tmp_path / "scan", **OPTIONS | options)

    first = scan(toys=2)
    assert [(call["window"], call["how"]) for call in searches] == [
        (window, searches[0]["how"]) for _ in range(3) for window in WINDOWS
    ]
    assert {call["purpose"] for call in searches} == {Purpose.WINDOW_SCAN}
    assert len({call["numbers"] for call in searches}) == 6
    toy, other = searches[2]["data"], searches[4]["data"]
    assert toy is searches[3]["data"]
    most = max((w.t, w.range) for w in first.windows)[1]
    expected = hz.fit_spectrum(data["m"], (100.0, 160.0), most, degree=1).events
    for events in (toy, other):
        assert len(events) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert len(toy) != len(other)
    searches.clear()
    longer = scan(toys=3)
    assert len(searches) == 4
    np.testing.assert_array_equal(longer.t_toys[:2], first.t_toys)
    assert longer.windows[0].p_local in {0.25, 0.5, 0.75, 1.0}
    assert json.loads((tmp_path / "scan" / "scan-000002.json").read_text())["t"] == longer.t_toys[2].tolist()
    with pytest.raises(InputError, match="toys of the same background"):
        scan(toys=1, seed=2)


def test_sideband_windows_are_apart_and_alike(data, searches):
    larger, region = data.concatenate(data, data), hz.examples.REGION
    found = hz.sideband_windows(larger, FEATURES, MASS, region, n=2, degree=1, seed=1)
    (low, first), (second, high) = edges_of(found)
    assert 100.0 < low < first <= 118.0
    assert 132.0 <= second < high < 160.0
    expected = hz.fit_spectrum(larger["m"], (100.0, 160.0), (118.0, 132.0), degree=1).expected(118.0, 132.0)
    assert 0.4 * expected < found.windows[1].n_events < found.windows[0].n_events
    assert found.windows[0].n_events == pytest.approx(expected, abs=3)
    three = hz.sideband_windows(larger, FEATURES, MASS, region, n=3, degree=1, seed=1)
    edges = [edge for window in edges_of(three) for edge in window]
    assert edges == sorted(edges)
    assert sum(high <= 118.0 for _, high in edges_of(three)) == 2
    # of 2,000 events below and 700 above, only those below have room
    assert all(high <= 118.0 for _, high in edges_of(hz.sideband_windows(data, FEATURES, MASS, region, n=2, seed=1)))
    assert "blind in [118, 132)" in str(found)
    assert SidebandWindows.from_json(found.to_json()) == found


def test_nothing_of_the_signal_region_is_looked_at(data, searches):
    inside = hz.examples.REGION.contains(data["m"])
    poisoned = data.with_columns(**{name: np.where(inside, 1e9, data[name]) for name in ("pt", "angle")})
    options = {"n": 2, "degree": 1, "seed": 1}
    found, again = (
        hz.sideband_windows(each, FEATURES, MASS, hz.examples.REGION, **options) for each in (data, poisoned)
    )
    assert again.to_json() == found.to_json()
    assert {call["blind"] for call in searches} == {(118.0, 132.0)}
    assert not any(hz.examples.REGION.contains(call["data"]["m"]).any() for call in searches)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 0}, "width > 0"),
        ({"step": -1.0}, "step > 0"),
        ({"start": 120}, "room for a window of width 14"),
        ({"start": 100}, "both sidebands"),
        ({"start": 90}, "a signal region inside"),
        ({"width": 2, "step": 2}, "at least 500 events"),
        ({"toys": -1}, "toys >= 0"),
        ({"degree": 0}, "degree >= 1"),
        ({"members": 0}, "members >= 1"),
        ({"components": 0}, "components >= 1"),
    ],
)
def test_bad_scans_are_refused_before_anything_is_trained(data, searches, options, said):
    with pytest.raises(InputError, match=said):
        hz.scan_windows(data, FEATURES, MASS, **OPTIONS | options)
    assert not searches


def test_bad_input_is_refused(data, searches):
    weighted = dataclasses.replace(data, weights=np.ones(len(data)))
    with pytest.raises(InputError, match="without weights"):
        hz.scan_windows(weighted, FEATURES, MASS, **OPTIONS)
    with pytest.raises(InputError, match="mass space with limits"):
        hz.scan_windows(data, FEATURES, zfit.Space("m"), **OPTIONS)
    with pytest.raises(InputError, match="n >= 1"):
        hz.sideband_windows(data, FEATURES, MASS, hz.examples.REGION, n=0, seed=1)
    with pytest.raises(InputError, match="at least 500 events"):
        hz.sideband_windows(data, FEATURES, MASS, hz.examples.REGION, n=5, seed=1)
    with pytest.raises(InputError, match="both sidebands"):
        hz.sideband_windows(data, FEATURES, MASS, hz.SignalRegion(100.0, 118.0), seed=1)
    with pytest.raises(InputError, match="a column 'mass'"):
        hz.sideband_windows(data, FEATURES, zfit.Space("mass", 100, 160), hz.examples.REGION, seed=1)
    assert not searches


def test_a_small_scan_finds_the_signal(data):
    """400 events of signal among 700 of the window: more than twice as much as in a toy without a signal."""
    signal = hz.examples.simulation()
    more = data.concatenate(signal.select(np.arange(len(signal)) < 400))
    options = {"toys": 1, "preset": "quick", "members": 1, "centres": 100, "start": 118}
    scan = hz.scan_windows(more, hz.feature_space(pt=(0.0, np.inf)), MASS, **OPTIONS | options)
    assert scan.t_toys.shape == (1, 1)
    assert scan.windows[0].t > 2 * scan.t_toys[0, 0] > 0.0
    assert scan.windows[0].p_local == scan.p_global == 0.5
    assert "by 1 retrained scans" in str(scan)
