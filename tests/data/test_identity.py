"""An event keeps its identity through everything that is done with a sample."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import uproot
import zfit

from hisigma_zfit.data import Dataset, SignalRegion, read
from hisigma_zfit.errors import InputError

N = 5000
MASSES = np.random.default_rng(1).uniform(100.0, 160.0, N)


@pytest.fixture
def data():
    return Dataset.from_arrays({"m": MASSES, "row": np.arange(float(N))})


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.select(data["m"] > 110),
        lambda data: data.within(zfit.Space("m", 110, 150)),
        lambda data: data.sidebands("m", SignalRegion(120, 130)),
        lambda data: data.signal_region("m", SignalRegion(120, 130)),
        lambda data: data.select(data["m"] > 110).with_columns(more=np.zeros(int((MASSES > 110).sum()))),
        lambda data: replace(data, weights=np.ones(N)).select(data["m"] < 120),
        lambda data: pickle.loads(pickle.dumps(data.select(data["m"] > 110))),
        lambda data: Dataset.from_arrays(data.columns, identity=data.identity),
    ],
)
def test_selections_keep_it(data, change):
    changed = change(data)
    np.testing.assert_array_equal(changed.identity, changed["row"])
    assert changed.identity.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        changed.identity[0] = 1


def test_concatenation_counts_on(data):
    """As if all had been read at once, whatever has been cut before."""
    first, second = data.select(data["m"] > 110), data.select(data["m"] < 130)
    joined = first.concatenate(second, first)
    expected = np.concatenate([first["row"], second["row"] + N, first["row"] + 2 * N])
    np.testing.assert_array_equal(joined.identity, expected)
    nested = first.concatenate(second).concatenate(first)
    np.testing.assert_array_equal(nested.identity, expected)


@pytest.mark.parametrize("chunk_bytes", [4000, 2**26])
@pytest.mark.parametrize("cut", [None, "m > 110"])
def test_files_count_rows_before_the_cut(tmp_path, chunk_bytes, cut):
    """However the rows are split into files, and however many are read at a time."""
    parts = np.split(np.arange(N), [1200, 1300])
    for k, rows in enumerate(parts):
        with uproot.recreate(tmp_path / f"{k}.root") as file:
            file["events"] = {"m": MASSES[rows], "row": rows.astype(float)}
    together = read([tmp_path / f"{k}.root" for k in range(3)], cut=cut, chunk_bytes=chunk_bytes)
    np.testing.assert_array_equal(together.identity, together["row"])
    assert len(together) == (N if cut is None else np.sum(MASSES > 110))
    one_by_one = [read(tmp_path / f"{k}.root", cut=cut, chunk_bytes=chunk_bytes) for k in range(3)]
    np.testing.assert_array_equal(one_by_one[0].concatenate(*one_by_one[1:]).identity, together["row"])


@pytest.mark.parametrize(
    ("identity", "message"),
    [(np.arange(3), "m: 4, identity: 3"), (np.arange(4.0), "integers"), (np.zeros((4, 1), dtype=int), "integers")],
)
def test_what_is_no_identity_is_refused(identity, message):
    with pytest.raises(InputError, match=message):
        Dataset.from_arrays({"m": np.arange(4.0)}, identity=identity)
