"""Large arrays lie in files without a name, and are the same arrays."""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np
import pytest

from hisigma_zfit import arrays
from hisigma_zfit.data import Dataset, read
from hisigma_zfit.data.immutable import read_only
from hisigma_zfit.examples import path


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Everything above 100 bytes is large, and files without a name have a folder of their own."""
    monkeypatch.setattr(arrays, "LARGE", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def in_file(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, arrays.Unnamed)


def test_room_is_in_memory_below_the_size_and_in_a_file_above(small):
    assert not in_file(arrays.room_for(12, np.float64))
    large = arrays.room_for((13, 2), np.float32)
    assert in_file(large)
    assert large.shape == (13, 2)
    assert large.dtype == np.float32
    assert not list(small.iterdir())  # it has no name


@pytest.mark.parametrize("n", [0, 3, 40])
def test_the_same_as_without(small, n):
    rng = np.random.default_rng(1)
    parts = [rng.random(n), rng.random(5)]
    np.testing.assert_array_equal(arrays.joined(parts), np.concatenate(parts))
    pair = [rng.random(n), rng.random(n)]
    np.testing.assert_array_equal(arrays.stacked(pair), np.stack(pair, axis=1))
    values, mask = rng.random((n, 2)), rng.random(n) < 0.5
    np.testing.assert_array_equal(arrays.taken(values, mask), values[mask])
    rows = rng.permutation(n)
    np.testing.assert_array_equal(arrays.taken(values, rows), values[rows])


@pytest.mark.parametrize("sizes", [(3,), (0, 4), (20, 1, 30), (13, 0), (5, 5, 5, 5)])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_growing(small, sizes, shape):
    rng = np.random.default_rng(2)
    parts = [rng.random((n, *shape)).astype(np.float32) for n in sizes]
    growing = arrays.Growing()
    for part in parts:
        growing.append(part)
    whole = growing.whole()
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.dtype == np.float32
    assert in_file(whole) == (whole.nbytes >= 100)


def test_events_of_a_file_are_the_same_and_nobody_copies_them(small, monkeypatch):
    found = read(path("events.root"), tree="events", columns=["m", "pt"], cut="pt > 20", chunk_bytes=4000)
    assert in_file(found["m"])
    assert in_file(found.identity)
    cut = found.select(found["pt"] > 30.0).concatenate(found)
    assert in_file(cut["pt"])
    assert in_file(cut.array(["m", "pt"]))
    monkeypatch.setattr(arrays, "LARGE", 2**30)
    other = read(path("events.root"), tree="events", columns=["m", "pt"], cut="pt > 20")
    again = other.select(other["pt"] > 30.0).concatenate(other)
    assert not in_file(again["pt"])
    for name in ("m", "pt"):
        np.testing.assert_array_equal(cut[name], again[name])
    np.testing.assert_array_equal(cut.identity, again.identity)


def test_a_file_of_somebody_else_may_change_and_is_copied(tmp_path):
    np.arange(3.0).tofile(tmp_path / "values")
    theirs = read_only(np.memmap(tmp_path / "values", dtype=np.float64, mode="r+"))
    data = Dataset.from_arrays({"m": theirs})
    np.array([7.0, 8.0, 9.0]).tofile(tmp_path / "values")
    assert data["m"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(), reason="Linux tells which memory no file stands behind"
)
def test_a_large_array_needs_no_memory_of_its_own():
    before = anonymous()
    large = arrays.room_for(16 * 2**20, np.float64)
    large[:] = 1.0
    assert anonymous() - before < 32  # of 128 MiB


def anonymous():
    with pathlib.Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 2**10
