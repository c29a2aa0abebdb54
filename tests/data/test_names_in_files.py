"""The tree, branch or field of exactly the name that was asked for, and a true message where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import uproot
from tables import one_line

from hisigma_zfit.data import describe, read
from hisigma_zfit.data.places import Place, expand
from hisigma_zfit.errors import InputError

X = np.arange(5.0)
SAMPLES = Path(__file__).parent / "scikit_hep"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "odd.root"
    with uproot.recreate(path) as file:
        file.mktree("a:b", {"x": "f8"}).extend({"x": X})
        file.mktree("folder/c:d", {"x": "f8"}).extend({"x": X + 1})
        file["ev"] = {"photon.pt": X + 2, "a/b": X + 3}  # an RNTuple
        file["ev"] = {"x": X + 4}
        file.mktree("twins", {"\u00b5": "f8", "\u03bc": "f8"}).extend({"\u00b5": X, "\u03bc": X + 100})
    return path


@pytest.mark.parametrize(("tree", "first"), [("a:b", 0), ("folder/c:d", 1), ("/folder/c:d", 1), ("ev", 4), ("ev;2", 4)])
def test_trees(odd, tree, first):
    assert read(odd, tree=tree, columns=["x"])["x"][0] == first
    assert read(f"{odd}:{tree}", columns=["x"])["x"][0] == first


def test_fields_with_dots_and_slashes(odd):
    data = read(odd, tree="ev;1", columns={"pt": "photon.pt", "ratio": "a/b", "sum": "photon.pt + `a/b`"})
    np.testing.assert_array_equal(data.array(["pt", "ratio", "sum"]), np.stack([X + 2, X + 3, 2 * X + 5], axis=1))
    assert set(read(odd, tree="ev;1").names) == {"photon.pt", "a/b"}


def test_twins_of_unicode(odd):
    data = read(odd, tree="twins", columns={"micro": "1*\u00b5", "greek": "1*\u03bc"})
    np.testing.assert_array_equal(data["greek"] - data["micro"], np.full(5, 100.0))


def test_a_cycle_that_is_not_there(odd):
    with pytest.raises(InputError, match=r"a tree 'ev;9'.*got no cycle 9 of ev; there are 1, 2; choose") as error:
        read(odd, tree="ev;9")
    one_line(error)
    with pytest.raises(InputError, match=r"a tree 'b' .*choose one of 'a:b', "):
        read(odd, tree="b")


def test_sizes_of_collections_atomics_and_members_of_structs():
    muons = SAMPLES / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root"
    flat = uproot.open(muons)["Events"]["Muon_pt"].array(library="np")
    np.testing.assert_array_equal(read(muons)["nMuon"], [len(own) for own in flat])
    atomic = read(SAMPLES / "test_atomic_bitset_rntuple_v1-0-0-0.root")
    assert atomic.names == ("atomic_int",)  # bitset holds 42
    np.testing.assert_array_equal(atomic["atomic_int"][:3], [1, 2, 3])
    nested = SAMPLES / "test_nested_structs_rntuple_v1-0-0-0.root"
    data = read(nested, columns={"i": "my_struct.i", "k": "my_struct.sub_struct.sub_sub_struct.i - my_struct.i"})
    np.testing.assert_array_equal(data["i"][:3], [0, 1, 2])
    np.testing.assert_array_equal(data["k"], np.full(len(data), 2.0))
    for name in ("my_struct", "my_struct.sub_struct.sub_sub_struct.v"):
        with pytest.raises(InputError, match=f"one number per event in branch '{name}'"):
            read(nested, columns=[name])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("one.root", "two.root", "odd:name.root"):
        with uproot.recreate(tmp_path / name) as file:
            for k, tree in enumerate(("t1", "t2")):
                file.mktree(tree, {"x": "f8"}).extend({"x": X + k})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_tree_behind_the_name_of_its_file(folder):
    assert expand("one.root:t1") == [Place(Path("one.root"), "t1")]
    assert read("one.root:t2")["x"][0] == 1
    assert read(folder / "one.root:t2")["x"][0] == 1
    assert read("odd:name.root:t2")["x"][0] == 1
    assert expand("odd:name.root") == [Place(Path("odd:name.root"))]
    assert [str(own) for own in expand("*o.root:t1")] == ["two.root:t1"]
    # the tree of the file goes before that of all files
    both = read(["one.root:t1", "one.root:t2", "two.root"], tree="t2")
    np.testing.assert_array_equal(both["x"][::5], [0, 1, 1])
    assert list(both.report.sources) == ["one.root:t1", "one.root:t2", "two.root"]
    assert describe("one.root:t2").count("5 events") == 1
    with pytest.raises(InputError, match=r"a tree 't3' in one\.root, got none of that name; choose one of 't1', 't2'"):
        read("one.root:t3")
    with pytest.raises(InputError, match=r"a file missing\.root:t1, got nothing there"):
        read("missing.root:t1")


def test_each_file_once_whatever_its_name(folder):
    os.link("one.root", "hard.root")
    Path("soft.root").symlink_to("one.root")
    for other in ("hard.root", "soft.root", "./one.root"):
        with pytest.raises(InputError, match="each file once") as error:
            read(["one.root", other], tree="t1")
        one_line(error)
    with pytest.raises(InputError, match=r"one\.root:t1 twice"):
        read(["one.root:t1", "one.root:t1"])
    with pytest.raises(InputError, match="each file once"):
        read(["one.root:t1", "one.root"], tree="t1")


@pytest.mark.parametrize(
    "address", ["root://eospublic.cern.ch//eos/a.root", "https://host/a.root", "s3://bucket/a.parquet:t"]
)
def test_addresses_are_told_as_they_were_typed(address):
    with pytest.raises(InputError, match="local files only") as error:
        read(address)
    assert address in one_line(error)
    with pytest.raises(InputError, match="local files only"):
        read(Path(address))


def test_what_is_no_file(folder):
    os.mkfifo("pipe.root")
    for name, part in (
        ("pipe.root", "a pipe or a device"),
        ("a" * 300, "too long"),
        ("a\0b", "nothing there"),
        ("/dev/zero", "a pipe or a device"),
    ):
        with pytest.raises(InputError, match=part) as error:
            read(name)
        one_line(error)
    assert read("file://one.root:t1")["x"][0] == 0
