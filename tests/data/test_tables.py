"""Events in memory: whatever holds columns becomes a dataset, and a part of a dataset keeps the events' identities."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import zfit
from tables import one_line

from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.errors import InputError

COLUMNS = {"m": [100.0, 120.0, 150.0, 125.0], "n": [1, 2, 3, 4]}


def tables():
    yield "mapping", COLUMNS
    yield "records", ak.Array([{"m": m, "n": n} for m, n in zip(*COLUMNS.values(), strict=True)])
    yield "zip", ak.zip(COLUMNS)
    yield "structured", np.rec.fromarrays([np.array(own) for own in COLUMNS.values()], names="m,n")
    pandas = pytest.importorskip("pandas")
    yield "frame", pandas.DataFrame(COLUMNS, index=[7, 7, 1, 0])


def test_every_table_gives_the_same_dataset():
    for kind, table in tables():
        data = Dataset.from_arrays(table, weights=[1, 2, 3, 4], identity=[9, 8, 7, 6])
        assert data.names == ("m", "n"), kind
        np.testing.assert_array_equal(data.array(["m", "n"]).T, list(COLUMNS.values()))
        assert data["n"].dtype == np.float64
        np.testing.assert_array_equal(data.identity, [9, 8, 7, 6])


@pytest.mark.parametrize(
    ("table", "part"),
    [
        (ak.Array([{"m": 1.0}, {"m": None}]), "missing values"),
        (ak.Array([{"m": [1.0]}, {"m": []}]), "lists of several"),
        (ak.Array([1.0, 2.0]), "at least one column"),
        ({"m": np.ma.array([1.0, 2.0], mask=[False, True])}, "missing values"),
        (np.zeros(3), "an array of records, got ndarray"),
        (3, "got int"),
        ({1: [1.0]}, "names are text, got 1"),
        ({"m": ["a"]}, "real numbers of shape"),
    ],
)
def test_what_is_no_table(table, part):
    with pytest.raises(InputError) as error:
        Dataset.from_arrays(table)
    assert part in one_line(error)


@pytest.fixture
def data():
    return Dataset.from_arrays(COLUMNS, weights=[0.5, 1.0, 1.5, 2.0], identity=[10, 20, 30, 40])


def test_masks_and_slices_keep_the_events_whole(data):
    for part, rows in (
        (data[data["m"] > 110], [1, 2, 3]),
        (data[[True, False, False, True]], [0, 3]),
        (data[1:3], [1, 2]),
        (data[-1:], [3]),
        (data[::2], [0, 2]),
        (data[::-1], [3, 2, 1, 0]),
    ):
        np.testing.assert_array_equal(part["m"], np.array(COLUMNS["m"])[rows])
        np.testing.assert_array_equal(part["n"], np.array(COLUMNS["n"])[rows])
        np.testing.assert_array_equal(part.weights, data.weights[rows])
        np.testing.assert_array_equal(part.identity, data.identity[rows])
        assert part.report.n_read == 4 == part.report.n_used + sum(part.report.dropped.values())
        assert part.report.n_used == len(part)
        assert not part["m"].flags.writeable


@pytest.mark.parametrize("key", [0, [0, 2], np.array([0, 2]), [True], None, np.ones((4, 1), bool)])
def test_events_are_taken_by_masks_and_slices_only(data, key):
    with pytest.raises(InputError, match="a boolean mask of shape"):
        data[key]


@pytest.mark.filterwarnings("ignore:.*is deprecated and:DeprecationWarning")
def test_a_space_of_two_ranges(data):
    blinded = zfit.Space("m", 90, 115) + zfit.Space("m", 135, 180)
    kept = data.within(blinded)
    np.testing.assert_array_equal(kept.identity, [10, 30])
    assert kept.report.dropped == {"outside m in [90, 115] or m in [135, 180]": 2}
    sidebands = data.sidebands(blinded, SignalRegion(115, 135), minimum=2)
    np.testing.assert_array_equal(sidebands.identity, [10, 30])
    assert sidebands.region == SignalRegion(115, 135)
    np.testing.assert_array_equal(np.ravel(kept.to_zfit(blinded).value()), [100.0, 150.0])
    np.testing.assert_array_equal(kept.to_zfit(blinded).weights, [0.5, 1.5])
    with pytest.raises(InputError, match="got 2 of 4 outside"):
        data.to_zfit(blinded)
    with pytest.raises(InputError, match="a signal region inside m in"):
        data.sidebands(blinded, SignalRegion(80, 135), minimum=2)
