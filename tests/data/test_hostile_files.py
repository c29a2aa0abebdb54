"""Files that are damaged, lie about themselves, or point to others: one line each, and nothing outside is read."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pyarrow as pa
import pytest
import uproot
from pyarrow import parquet
from tables import one_line, write_hdf5, write_rntuple

from hisigma_zfit.data import Dataset, describe, read
from hisigma_zfit.errors import InputError

X = np.arange(5.0)


def refused(call, *parts):
    with pytest.raises(InputError) as error:
        call()
    for part in parts:
        assert part in one_line(error)


@pytest.fixture
def pointers(tmp_path):
    """A file whose columns are in other files but for one."""
    secret = tmp_path / "secret"
    X.tofile(secret)
    write_hdf5(tmp_path / "other.h5", {"x": X})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["own"] = X
        layout = h5py.VirtualLayout(shape=(5,), dtype="f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", shape=(5,))
        file.create_virtual_dataset("virtual", layout)
        file["link"] = h5py.ExternalLink("other.h5", "/x")
        file["soft"] = h5py.SoftLink("/link")
        file.create_dataset("raw", shape=(5,), dtype="f8", external=[(str(secret), 0, 40)])
        file.create_dataset("table", shape=(5, 2), dtype="f8", external=[(str(secret), 0, 80)])
        file["table"].attrs["columns"] = ["a", "b"]
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("virtual", "values are in other files"),
        ("link", "a link"),
        ("soft", "a link"),
        ("raw", "values stored outside"),
    ],
)
def test_hdf5_does_not_leave_its_file(pointers, column, reason):
    refused(lambda: read(pointers, tree="", columns={"c": f"2*{column}"}), reason, f"branch '{column}'")


def test_what_is_in_the_file_is_read(pointers):
    assert read(pointers, tree="").names == ("own",)
    refused(lambda: read(pointers, tree="table", columns=["a"]), "values stored outside")
    assert "not one number per event: link, raw, soft, table, virtual" in describe(pointers)


def test_rows_that_a_header_only_promises(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, options in (("chunked", {"chunks": (1000,)}), ("whole", {}), ("packed", {"compression": "gzip"})):
            file.create_dataset(name, shape=(10**12,), dtype="f8", **options)
        file.create_dataset("part", shape=(4000,), dtype="f8", chunks=(1000,))[:1000] = 1.0
    for name in ("chunked", "whole", "packed", "part"):
        refused(lambda name=name: read(tmp_path / "a.h5", columns=[name]), "never written")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", data=np.arange(4001.0), chunks=(1000,), compression="gzip")
        file.create_dataset("y", data=np.arange(4001.0), maxshape=(None,))
    np.testing.assert_array_equal(read(tmp_path / "b.h5")["x"], np.arange(4001.0))


def test_two_columns_of_one_name(tmp_path):
    table = pa.Table.from_arrays([pa.array(X), pa.array(X), pa.array(X)], names=["x", "x", "y"])
    parquet.write_table(table, tmp_path / "a.parquet")
    assert "not one number per event: x" in describe(tmp_path / "a.parquet")
    np.testing.assert_array_equal(read(tmp_path / "a.parquet")["y"], X)
    refused(lambda: read(tmp_path / "a.parquet", columns=["x"]), "2 columns of that name")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = np.stack([X, X], axis=1)
        file["t"].attrs["columns"] = ["x", "x"]
    refused(lambda: read(tmp_path / "a.h5", columns=["x"]), "2 columns of that name")


def test_names_that_are_no_text_can_be_printed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(b"bad\xff", data=X)
        file["t/t"] = np.stack([X, X], axis=1)
        file["t/t"].attrs["columns"] = np.array([b"a\xfe", b"b"])
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("t", {"bad\udcff": "f8", "y": "f8"}).extend({"bad\udcff": X, "y": X})
    for name in ("a.h5", "a.root"):
        assert re.search(r"bad\\(udc|x)ff", describe(tmp_path / name).encode().decode())
        with pytest.raises(InputError) as error:
            read(tmp_path / name, tree="" if name == "a.h5" else None, columns=["unknown"])
        one_line(error).encode()
    np.testing.assert_array_equal(read(tmp_path / "a.h5", tree="t/t", columns={"a": "a\\xfe"})["a"], X)


@pytest.mark.parametrize("write", [write_rntuple, write_hdf5])
def test_info_of_damaged_files(tmp_path, write):
    write(tmp_path / "a", {name: np.random.default_rng(1).normal(size=400) for name in ("x", "y", "z")})
    content = (tmp_path / "a").read_bytes()
    rng, told = np.random.default_rng(2), 0
    for _ in range(40):
        broken = bytearray(content)
        start = int(rng.integers(100, len(content)))
        broken[start : start + 60] = rng.bytes(len(broken[start : start + 60]))
        (tmp_path / "b").write_bytes(broken)
        try:
            text = describe(tmp_path / "b")
        except InputError as error:
            text, told = str(error), told + 1
        text.encode()
    assert told  # some of them are damaged where it shows


@pytest.mark.parametrize("value", [1e300, -1e200, 5e-324, 1e-200])
def test_values_of_which_no_square_can_be_taken(value):
    refused(lambda: Dataset.from_arrays({"x": [value, 0.0]}), "in column 'x'", "change the unit")
    refused(lambda: Dataset.from_arrays({"x": X}, weights=np.full(5, value)), "in the weights")
    assert len(Dataset.from_arrays({"x": [5e-324, 1.0]})) == 2
